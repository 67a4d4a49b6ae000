/* Running a step on made-up inputs, for its time and its error. */
#include "frontend/measure.h"
#include "ir/evaluate.h"
#include "runtime/clock.h"
#include "runtime/executor.h"
#include "runtime/tensor.h"
#include "runtime/train.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    struct executor *executor;
    const struct program *program;
    const struct program_entry *entry;
    int number;     /* of the entry */
    uint64_t state; /* of the draws */
    void **inputs;
    double **values; /* of each input, row-major */
};

/* ---- inputs ---- */

static uint64_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static double made_up(const struct program_input *input, uint64_t *state)
{
    uint64_t bits = draw(state);
    switch (input->tensor.element) {
    case PROGRAM_U8:
        return (double)(bits % 256);
    case PROGRAM_I32:
    case PROGRAM_I64:
    case PROGRAM_BOOL:
        return (double)(bits % (uint64_t)(input->classes > 0 ? input->classes : 2));
    default:
        return (double)(bits % 65536) / 32768 - 1;
    }
}

static bool allocate_input(struct bench *bench, int number, struct error *error)
{
    const struct program_input *input = &bench->entry->inputs[number];
    size_t count = (size_t)program_tensor_elements(&input->tensor);
    size_t bytes = (program_tensor_bytes(&input->tensor) + 63) / 64 * 64;
    bench->inputs[number] = aligned_alloc(64, bytes ? bytes : 64);
    bench->values[number] = malloc((count + 1) * sizeof(double));
    return (bench->inputs[number] && bench->values[number]) || error_set(error, "out of memory");
}

static bool draw_inputs(struct bench *bench, struct error *error)
{
    bool done = true;
    for (int i = 0; i < bench->entry->input_count && done; i++) {
        const struct program_input *input = &bench->entry->inputs[i];
        int64_t count = program_tensor_elements(&input->tensor);
        for (int64_t k = 0; k < count; k++)
            bench->values[i][k] = tensor_round(input->tensor.element, made_up(input, &bench->state));
        done = tensor_store(&input->tensor, bench->inputs[i], PROGRAM_F64, bench->values[i], input->name, error);
    }
    return done;
}

static void bench_free(struct bench *bench)
{
    for (int i = 0; bench->inputs && bench->values && i < bench->entry->input_count; i++) {
        free(bench->inputs[i]);
        free(bench->values[i]);
    }
    free(bench->inputs);
    free(bench->values);
    if (bench->executor)
        executor_free(bench->executor);
}

static bool bench_open(struct bench *bench, struct device *device, const struct program *program, uint64_t seed,
                       struct error *error)
{
    *bench = (struct bench){.program = program, .executor = executor_new(device, program, false, error)};
    if (!bench->executor)
        return false;
    bench->number = executor_entry(bench->executor, program_find_entry(program, "train") ? "train" : "micro");
    if (bench->number < 0)
        return error_set(error, "the program has no training step");
    bench->entry = &program->entries[bench->number];
    bench->inputs = calloc((size_t)bench->entry->input_count + 1, sizeof *bench->inputs);
    bench->values = calloc((size_t)bench->entry->input_count + 1, sizeof *bench->values);
    if (!bench->inputs || !bench->values)
        return error_set(error, "out of memory");
    bench->state = seed + 1;
    for (int i = 0; i < bench->entry->input_count; i++)
        if (!allocate_input(bench, i, error))
            return false;
    if (!draw_inputs(bench, error) || !executor_initialise(bench->executor, seed, NULL, false, error))
        return false;
    executor_set(bench->executor, "train/steps", 1000);
    return true;
}

static bool bench_run(struct bench *bench, struct error *error)
{
    uint64_t ticket = executor_launch(bench->executor, bench->number, (const void *const *)bench->inputs, error);
    return ticket && executor_results(bench->executor, ticket, error);
}

/* ---- time ---- */

bool measure_seconds(struct device *device, const struct program *program, uint64_t seed, double *seconds,
                     struct error *error)
{
    enum { LEAST = 3, MOST = 30 };
    const double enough = 1;
    struct bench bench;
    bool done = bench_open(&bench, device, program, seed, error) && bench_run(&bench, error);
    double begin = clock_seconds();
    *seconds = 1e9;
    for (int i = 0; done && i < MOST && (i < LEAST || clock_seconds() - begin < enough); i++) {
        double start = clock_seconds();
        done = bench_run(&bench, error);
        double took = clock_seconds() - start;
        *seconds = took < *seconds ? took : *seconds;
    }
    bench_free(&bench);
    return done;
}

/* ---- error ---- */

static bool is_gradient(const char *name)
{
    return strncmp(name, "grad:", 5) == 0;
}

/* An output's values as the device left them; malloced. */
static double *output_values(const struct bench *bench, int number)
{
    const struct program_output *output = &bench->entry->outputs[number];
    void *stored = malloc(program_tensor_bytes(&output->tensor) + 1);
    double *values = malloc(((size_t)program_tensor_elements(&output->tensor) + 1) * sizeof *values);
    if (!stored || !values)
        arena_exhausted();
    executor_output(bench->executor, bench->number, number, stored);
    tensor_load(&output->tensor, stored, PROGRAM_F64, values);
    free(stored);
    return values;
}

static bool gradients_finite(const struct bench *bench)
{
    bool finite = true;
    for (int i = 0; finite && i < bench->entry->output_count; i++) {
        if (!is_gradient(bench->entry->outputs[i].name))
            continue;
        double *values = output_values(bench, i);
        int64_t count = program_tensor_elements(&bench->entry->outputs[i].tensor);
        for (int64_t k = 0; finite && k < count; k++)
            finite = isfinite(values[k]);
        free(values);
    }
    return finite;
}

/* Runs with the scale at which no gradient overflows, as far as there is one to lower. */
static bool run_in_range(struct bench *bench, struct error *error)
{
    const double backoff = 0.25;
    while (bench_run(bench, error)) {
        double scale = executor_get(bench->executor, "train/scale");
        if (gradients_finite(bench) || !(scale > 1))
            return true;
        executor_set(bench->executor, "train/scale", backoff * scale);
    }
    return false;
}

static enum element element_of(enum program_element element)
{
    return (enum element)element; /* numbered alike, asserted in codegen/assemble.c */
}

static struct type type_of(const struct program_tensor *tensor)
{
    struct shape shape = shape_make(tensor->rank, tensor->dimension);
    return type_make(element_of(tensor->element), shape);
}

/* All variables as they are now. */
static void set_variables(struct environment *environment, struct executor *executor, const struct program *program)
{
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        struct type type = type_of(&variable->tensor);
        void *stored = malloc(program_tensor_bytes(&variable->tensor) + 1);
        double *values = malloc(((size_t)program_tensor_elements(&variable->tensor) + 1) * sizeof *values);
        if (!stored || !values)
            arena_exhausted();
        executor_read(executor, variable, stored);
        tensor_load(&variable->tensor, stored, PROGRAM_F64, values);
        environment_set_variable(environment, variable->name, &type, values);
        free(values);
        free(stored);
    }
}

/* The inputs and the state that the step saw. */
static struct environment *environment_of(const struct bench *bench)
{
    struct environment *environment = environment_new();
    for (int i = 0; i < bench->entry->input_count; i++) {
        struct type type = type_of(&bench->entry->inputs[i].tensor);
        environment_set_input(environment, bench->entry->inputs[i].name, &type, bench->values[i]);
    }
    set_variables(environment, bench->executor, bench->program);
    return environment;
}

struct environment *measure_environment(struct device *device, const struct program *program, uint64_t seed,
                                        const char *weights, struct error *error)
{
    struct executor *executor = executor_new(device, program, false, error);
    struct environment *environment = NULL;
    if (executor && executor_initialise(executor, seed, weights, false, error)) {
        environment = environment_new();
        set_variables(environment, executor, program);
    }
    if (executor)
        executor_free(executor);
    return environment;
}

/* In exact arithmetic a half copy is its parameter. */
static void copies_exact(const struct module *module, struct environment *environment)
{
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        const struct variable *variable = module->variables[i];
        const struct tensor *source =
            variable->kind == VARIABLE_COPY ? environment_variable(environment, variable->source) : NULL;
        if (!source)
            continue;
        struct type type = type_make(ELEMENT_F64, source->shape);
        environment_set_variable(environment, variable->name, &type, source->values);
    }
}

struct sum {
    double squares;
    int64_t count;
};

static double root_mean(const struct sum *sum)
{
    return sum->count ? sqrt(sum->squares / (double)sum->count) : 0;
}

static void add_difference(struct sum *sum, const double *a, const double *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double difference = a[i] - (b ? b[i] : 0);
        sum->squares += difference * difference;
    }
    sum->count += count;
}

/* Sums over all batches: how far the device is off, how far op by op is, and of the exact values. */
struct errors {
    struct sum loss[3], gradient[3];
};

static void compare(const struct bench *bench, const struct evaluation *exact, const struct evaluation *rounded,
                    struct errors *errors)
{
    for (int i = 0; i < bench->entry->output_count; i++) {
        const struct program_output *output = &bench->entry->outputs[i];
        bool of_gradient = is_gradient(output->name);
        if (!of_gradient && output->kind != PROGRAM_LOSS)
            continue;
        struct sum *sums = of_gradient ? errors->gradient : errors->loss;
        int64_t count = program_tensor_elements(&output->tensor);
        const double *wanted = evaluation_output(exact, output->name)->values;
        double *got = output_values(bench, i);
        add_difference(&sums[0], got, wanted, count);
        add_difference(&sums[1], evaluation_output(rounded, output->name)->values, wanted, count);
        add_difference(&sums[2], wanted, NULL, count);
        free(got);
    }
}

static bool measure_batch(struct bench *bench, const struct module *module, struct errors *errors, struct error *error)
{
    if (!run_in_range(bench, error))
        return false;
    const struct graph *graph = module_find_graph(module, bench->entry->name);
    struct environment *environment = environment_of(bench);
    struct evaluation *rounded = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    copies_exact(module, environment);
    struct evaluation *exact = evaluate_graph(graph, environment, EVALUATE_EXACT);
    compare(bench, exact, rounded, errors);
    evaluation_free(exact);
    evaluation_free(rounded);
    environment_free(environment);
    return true;
}

bool measure_accuracy(struct device *device, const struct program *program, const struct module *module, uint64_t seed,
                      struct accuracy *accuracy, struct error *error)
{
    struct bench bench;
    struct errors errors = {0};
    bool done = bench_open(&bench, device, program, seed, error);
    for (int i = 0; i < MEASURE_BATCHES && done; i++)
        done = (i == 0 || draw_inputs(&bench, error)) && measure_batch(&bench, module, &errors, error);
    *accuracy = (struct accuracy){.loss = root_mean(&errors.loss[0]),
                                  .gradient = root_mean(&errors.gradient[0]),
                                  .loss_magnitude = root_mean(&errors.loss[2]),
                                  .gradient_magnitude = root_mean(&errors.gradient[2]),
                                  .rounded_loss = root_mean(&errors.loss[1]),
                                  .rounded_gradient = root_mean(&errors.gradient[1])};
    bench_free(&bench);
    return done;
}

int64_t measure_few_examples(double flops, int64_t batch)
{
    const double enough = 2e8;
    int64_t few = flops > enough ? (int64_t)((double)batch * enough / flops) : batch;
    int64_t least = batch < 2 ? batch : 2;
    return few > least ? few : least;
}
