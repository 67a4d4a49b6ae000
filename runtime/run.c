/* Feeding, running and fetching. */
#include "runtime/run.h"
#include "runtime/collection.h"
#include "runtime/safetensors.h"
#include "runtime/tally.h"
#include "runtime/tensor.h"
#include "runtime/train.h"

#include <stdlib.h>
#include <string.h>

enum { SHAPE_TEXT = 160, ALIGNMENT = 64 };

struct run {
    const struct run_settings *settings;
    struct executor *executor;
    struct safetensors *feed; /* NULL when there is none */
    int entry, update;        /* update: -1 where the entry does the whole step */
    const struct program_entry *program;
    int parts;     /* micro-batches that the feed holds */
    void **inputs; /* what is fed, as the entry's inputs want it: those of the first micro-batch, of the second, … */
};

/* ---- feeding ---- */

static bool convert(const struct safetensors_tensor *fed, const struct program_tensor *wanted, void *stored,
                    const char *path, struct error *error)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (wanted->rank != fed->rank ||
        memcmp(wanted->dimension, fed->dimension, sizeof *fed->dimension * (size_t)fed->rank) != 0)
        return error_set(error, "%s: %s has shape %s, the network needs %s", path, fed->name,
                         safetensors_shape(fed->rank, fed->dimension, a, sizeof a),
                         safetensors_shape(wanted->rank, wanted->dimension, b, sizeof b));
    return tensor_store(wanted, stored, fed->element, fed->data, fed->name, error);
}

static bool check_classes(const struct program_input *input, const void *stored, int64_t count, const char *path,
                          struct error *error)
{
    size_t step = program_element_bytes(input->tensor.storage);
    for (int64_t i = 0; input->classes && i < count; i++) {
        double value = tensor_get(input->tensor.storage, (const char *)stored + (size_t)i * step);
        if (value < 0 || value >= (double)input->classes)
            return error_set(error, "%s: %s: class %g at place %lld is not below %lld", path, input->name, value,
                             (long long)i, (long long)input->classes);
    }
    return true;
}

/* The part of an input that one micro-batch takes; all of the fed tensor where there is one. */
static bool feed_part(struct run *run, int input, const void *stored, int part, struct error *error)
{
    size_t bytes = program_tensor_bytes(&run->program->inputs[input].tensor);
    void *own = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    run->inputs[part * run->program->input_count + input] = own;
    if (!own)
        return error_set(error, "out of memory");
    memcpy(own, (const char *)stored + (size_t)part * bytes, bytes);
    return true;
}

static bool feed_inputs(struct run *run, struct error *error)
{
    const char *path = run->settings->feed;
    for (int i = 0; i < run->program->input_count; i++) {
        const struct program_input *input = &run->program->inputs[i];
        const struct safetensors_tensor *fed = run->feed ? safetensors_find(run->feed, input->name) : NULL;
        if (!fed)
            return error_set(error, "%s%sthe input %s is not fed", path ? path : "", path ? ": " : "", input->name);
        struct program_tensor whole = input->tensor;
        if (whole.rank)
            whole.dimension[0] *= run->parts;
        void *stored = malloc(program_tensor_bytes(&whole) + 1);
        if (!stored)
            return error_set(error, "out of memory");
        bool ok = convert(fed, &whole, stored, path, error) &&
                  check_classes(input, stored, program_tensor_elements(&whole), path, error);
        for (int part = 0; part < run->parts && ok; part++)
            ok = feed_part(run, i, stored, part, error);
        free(stored);
        if (!ok)
            return false;
    }
    return true;
}

static bool is_input(const struct program_entry *entry, const char *name)
{
    for (int i = 0; i < entry->input_count; i++)
        if (strcmp(entry->inputs[i].name, name) == 0)
            return true;
    return false;
}

static bool is_passed_over(const struct run_settings *settings, const char *name)
{
    for (int i = 0; i < settings->input_count; i++)
        if (strcmp(settings->inputs[i], name) == 0)
            return true;
    return false;
}

static bool feed_variable(struct run *run, const struct safetensors_tensor *fed, struct error *error)
{
    const struct program_variable *variable = program_find_variable(executor_program(run->executor), fed->name);
    if (!variable || variable->kind == PROGRAM_COPY)
        return error_set(error, "%s: the network has no input or variable %s", run->settings->feed, fed->name);
    void *stored = malloc(program_tensor_bytes(&variable->tensor) + 1);
    if (!stored)
        return error_set(error, "out of memory");
    bool ok = convert(fed, &variable->tensor, stored, run->settings->feed, error);
    if (ok)
        executor_write(run->executor, variable, stored);
    free(stored);
    return ok;
}

static bool feed(struct run *run, struct error *error)
{
    for (int i = 0; run->feed && i < run->feed->count; i++)
        if (!is_input(run->program, run->feed->tensors[i].name) &&
            !is_passed_over(run->settings, run->feed->tensors[i].name) &&
            !feed_variable(run, &run->feed->tensors[i], error))
            return false;
    return feed_inputs(run, error) && executor_run(run->executor, "refresh", error);
}

/* ---- fetching ---- */

static bool add_output(struct run *run, struct collection *collection, int number)
{
    const struct program_output *output = &run->program->outputs[number];
    void *stored = malloc(program_tensor_bytes(&output->tensor) + 1);
    if (!stored)
        return false;
    executor_output(run->executor, run->entry, number, stored);
    bool ok = collection_add(collection, output->name, &output->tensor, stored);
    free(stored);
    return ok;
}

/* A ratio metric: its two sums divided. */
static bool add_ratio(struct run *run, struct collection *collection, const double *results, const char *name)
{
    const struct program_tensor scalar = {.element = PROGRAM_F32, .storage = PROGRAM_F32};
    struct tally tally = {0};
    bool ok = tally_add(&tally, run->program, results, 1);
    const struct tally_item *item = ok ? tally_find(&tally, name, PROGRAM_METRIC) : NULL;
    float value = item ? (float)tally_value(item) : 0;
    ok = item && collection_add(collection, name, &scalar, &value);
    tally_free(&tally);
    return ok;
}

static bool is_fetched(const struct program_output *output)
{
    return output->kind == PROGRAM_VALUE || output->kind == PROGRAM_LOSS || output->kind == PROGRAM_METRIC ||
           output->kind == PROGRAM_NUMERATOR;
}

static bool is_kept(const struct program_variable *variable)
{
    return variable->kind != PROGRAM_COPY && variable->kind != PROGRAM_HOST;
}

/* Training steps fetch outputs and variables side by side: no two of them may have one name. */
static bool check_names(const struct run *run, struct error *error)
{
    const struct program *program = executor_program(run->executor);
    for (int i = 0; i < run->program->output_count; i++) {
        const struct program_output *output = &run->program->outputs[i];
        const struct program_variable *variable = program_find_variable(program, output->name);
        if (is_fetched(output) && variable && is_kept(variable))
            return error_set(error,
                             "two results would be called %s: a value of the model, and a parameter or state, which "
                             "training steps fetch too",
                             output->name);
    }
    return true;
}

static bool add_outputs(struct run *run, struct collection *collection, const double *results)
{
    bool ok = true;
    for (int i = 0; i < run->program->output_count && ok; i++) {
        const struct program_output *output = &run->program->outputs[i];
        if (output->kind == PROGRAM_NUMERATOR)
            ok = add_ratio(run, collection, results, output->name);
        else if (is_fetched(output))
            ok = add_output(run, collection, i);
    }
    return ok;
}

static bool add_variables(struct run *run, struct collection *collection)
{
    const struct program *program = executor_program(run->executor);
    bool ok = true;
    for (int i = 0; i < program->variable_count && ok; i++)
        if (is_kept(&program->variables[i]))
            ok = collection_add_variable(collection, run->executor, &program->variables[i]);
    return ok;
}

static void print_scalars(const struct collection *collection)
{
    for (int i = 0; i < collection->count; i++)
        if (collection->tensors[i].rank == 0)
            printf("%s %.9g\n", collection->tensors[i].name,
                   tensor_get(collection->tensors[i].element, collection->tensors[i].data));
}

static bool fetch(struct run *run, const double *results, struct error *error)
{
    struct collection collection = {0};
    bool ok = add_outputs(run, &collection, results) && (!run->settings->steps || add_variables(run, &collection));
    if (!ok)
        error_set(error, "out of memory");
    else if (executor_failed(run->executor, error))
        ok = false;
    else if (run->settings->fetch)
        ok = collection_write(&collection, run->settings->fetch, error);
    else
        print_scalars(&collection);
    collection_free(&collection);
    return ok;
}

/* ---- running ---- */

static bool open_run(struct run *run, struct error *error)
{
    const struct run_settings *settings = run->settings;
    const struct program *program = executor_program(run->executor);
    run->parts = strcmp(settings->entry, "train") == 0 ? program->accumulate : 1;
    run->update = run->parts > 1 ? executor_entry(run->executor, "update") : -1;
    run->entry = executor_entry(run->executor, run->parts > 1 ? "micro" : settings->entry);
    if (run->entry < 0) {
        error_set(error, "the program has no entry %s", settings->entry);
        return false;
    }
    run->program = &program->entries[run->entry];
    if (settings->steps && !check_names(run, error))
        return false;
    run->inputs = calloc((size_t)run->program->input_count * (size_t)run->parts + 1, sizeof *run->inputs);
    if (!run->inputs)
        return error_set(error, "out of memory");
    if (settings->feed && !(run->feed = safetensors_open(settings->feed, error)))
        return false;
    if (!executor_initialise(run->executor, settings->seed, settings->weights, settings->partial, error))
        return false;
    executor_set(run->executor, "train/steps", settings->steps ? (double)settings->steps : 1);
    return feed(run, error);
}

/* One step; gives the ticket of its last execution of the entry, 0 on failure. */
static uint64_t launch_step(struct run *run, struct error *error)
{
    uint64_t ticket = 0;
    for (int part = 0; part < run->parts; part++) {
        void *const *inputs = run->inputs + part * run->program->input_count;
        ticket = executor_launch(run->executor, run->entry, (const void *const *)inputs, error);
        if (!ticket)
            return 0;
    }
    return run->update < 0 || executor_launch(run->executor, run->update, NULL, error) ? ticket : 0;
}

/* Results stay valid for the fetch: they are those of the last step. */
static bool execute(struct run *run, struct error *error)
{
    int64_t steps = run->settings->steps ? run->settings->steps : 1;
    uint64_t ticket = 0;
    for (int64_t i = 0; i < steps; i++)
        if (!(ticket = launch_step(run, error)))
            return false;
    const double *results = executor_results(run->executor, ticket, error);
    return results && fetch(run, results, error);
}

bool run_program(struct device *device, const struct program *program, const struct run_settings *settings,
                 struct error *error)
{
    struct run run = {.settings = settings, .executor = executor_new(device, program, settings->check, error)};
    bool ok = run.executor && open_run(&run, error) && execute(&run, error);
    for (int i = 0; run.inputs && i < run.program->input_count * run.parts; i++)
        free(run.inputs[i]);
    free(run.inputs);
    safetensors_close(run.feed);
    executor_free(run.executor);
    return ok;
}
