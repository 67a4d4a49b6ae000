/* Resuming: whether a checkpoint fits this program, data and settings; then its values back into executor and loop. */
#include "runtime/entries.h"
#include "runtime/file.h"
#include "runtime/tensor.h"
#include "runtime/trainer_files.h"

#include <stdlib.h>
#include <string.h>

/* ---- what may not change ---- */

enum { PREFIX_BYTES = sizeof CHECKPOINT_PREFIX - 1, VALUES = 5, CHANGES = 8192 };

struct resuming {
    struct trainer *trainer;
    const struct safetensors *file;
    char changes[CHANGES]; /* what is otherwise than in the saved run, for a message */
    struct error *error;
};

static bool refuse(struct resuming *resuming, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool refuse(struct resuming *resuming, const char *format, ...)
{
    char text[ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(resuming->error, "%s: cannot be resumed: %s", resuming->file->path, text);
    error_hint(resuming->error, "--weights %s begins a new run with its weights", resuming->file->path);
    return false;
}

static void say(struct resuming *resuming, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct resuming *resuming, const char *format, ...)
{
    size_t used = strlen(resuming->changes);
    va_list arguments;
    va_start(arguments, format);
    if (used)
        used += (size_t)snprintf(resuming->changes + used, sizeof resuming->changes - used, "; ");
    if (used < sizeof resuming->changes)
        vsnprintf(resuming->changes + used, sizeof resuming->changes - used, format, arguments);
    va_end(arguments);
}

/* `count` values of the loop's tensor of this name; NULL when the file has none like it. */
static const void *loop_values(const struct resuming *resuming, const char *name, enum program_element element,
                               int count)
{
    char *path = file_text(CHECKPOINT_PREFIX "%s", name);
    const struct safetensors_tensor *tensor = safetensors_find(resuming->file, path);
    free(path);
    bool fits = tensor && tensor->element == element && tensor->rank == 1 && tensor->dimension[0] == count;
    return fits ? tensor->data : NULL;
}

static bool take_number(struct resuming *resuming, const char *name, int64_t *value)
{
    const void *bytes = loop_values(resuming, name, PROGRAM_I64, 1);
    if (!bytes)
        return refuse(resuming, CHECKPOINT_PREFIX "%s is missing", name);
    memcpy(value, bytes, sizeof *value);
    return true;
}

static bool check_numbers(struct resuming *resuming)
{
    struct fixed_number fixed[CHECKPOINT_FIXED];
    trainer_fixed_numbers(resuming->trainer, fixed);
    for (int i = 0; i < CHECKPOINT_FIXED; i++) {
        int64_t saved = 0;
        if (!take_number(resuming, fixed[i].name, &saved))
            return false;
        if (saved != fixed[i].value)
            return refuse(resuming, "%s was %lld and is now %lld, which a resumed run cannot change", fixed[i].text,
                          (long long)saved, (long long)fixed[i].value);
    }
    return true;
}

static void say_entries(struct resuming *resuming, const char *before, const char *now)
{
    char *changes = entries_changes(before, now);
    if (*changes)
        say(resuming, "%s", changes);
    free(changes);
}

static bool check_notes(struct resuming *resuming)
{
    struct safetensors_note now[CHECKPOINT_NOTES];
    trainer_notes(resuming->trainer, now);
    for (int i = 0; i < CHECKPOINT_NOTES; i++) {
        const char *saved = safetensors_note(resuming->file, now[i].key);
        if (!saved || strcmp(saved, now[i].value) == 0)
            continue;
        if (strcmp(now[i].key, "optimizer") == 0)
            return refuse(resuming, "it was trained by %s, now it is %s; a resumed run keeps its optimizer", saved,
                          now[i].value);
        if (strcmp(now[i].key, "entries") == 0)
            say_entries(resuming, saved, now[i].value);
        if (strcmp(now[i].key, "policy") != 0 && strcmp(now[i].key, "device") != 0)
            continue;
        say(resuming, "%s is now %s, was %s", now[i].key, now[i].value, saved);
        if (resuming->trainer->micro)
            return refuse(resuming,
                          "it lies between batches whose gradients make one step: go on with %s %s first, at least to "
                          "the end of that step",
                          now[i].key, saved);
    }
    return true;
}

/* ---- variables ---- */

static bool is_weight(const struct program_variable *variable)
{
    return variable->kind == PROGRAM_PARAMETER || variable->kind == PROGRAM_FORWARD_STATE;
}

/* What hangs on one parameter: `train/fc1.weight.m`. */
static bool is_state_of_parameter(const struct program *program, const char *name)
{
    char *parameter = file_text("%s", strncmp(name, "train/", 6) == 0 ? name + 6 : ""), *dot = strrchr(parameter, '.');
    if (dot)
        *dot = '\0';
    const struct program_variable *variable = dot ? program_find_variable(program, parameter) : NULL;
    free(parameter);
    return variable && variable->kind == PROGRAM_PARAMETER;
}

/* What is of use only between batches whose gradients make one step. */
static bool is_of_window(const char *name)
{
    return strncmp(name, "train/gradient", 14) == 0 || strncmp(name, "train/pending/", 14) == 0 ||
           strcmp(name, "train/overflow") == 0;
}

static bool check_missing(struct resuming *resuming, const struct program_variable *variable)
{
    const char *name = variable->name;
    if (is_weight(variable))
        return refuse(resuming, "it has no %s, which this network has", name);
    if (is_state_of_parameter(resuming->trainer->program, name))
        return refuse(resuming, "it has no %s, which this optimizer needs", name);
    if (!is_of_window(name))
        say(resuming, "%s begins anew", name);
    return true;
}

static bool check_left_over(struct resuming *resuming, const char *name)
{
    const struct program *program = resuming->trainer->program;
    const struct program_variable *variable = program_find_variable(program, name);
    if (strncmp(name, CHECKPOINT_PREFIX, PREFIX_BYTES) == 0 || (variable && variable->kind != PROGRAM_COPY))
        return true;
    if (strncmp(name, "train/", 6) != 0)
        return refuse(resuming, "it has %s, which this network has not", name);
    if (is_state_of_parameter(program, name))
        return refuse(resuming, "it has %s, which this optimizer does not use", name);
    if (!is_of_window(name))
        say(resuming, "%s is left out", name);
    return true;
}

static bool check_shape(struct resuming *resuming, const struct program_variable *variable,
                        const struct safetensors_tensor *saved)
{
    char a[160], b[160];
    const struct program_tensor *wanted = &variable->tensor;
    if (wanted->rank == saved->rank &&
        memcmp(wanted->dimension, saved->dimension, sizeof *saved->dimension * (size_t)saved->rank) == 0)
        return true;
    return refuse(resuming, "%s has shape %s, this network needs %s", variable->name,
                  safetensors_shape(saved->rank, saved->dimension, a, sizeof a),
                  safetensors_shape(wanted->rank, wanted->dimension, b, sizeof b));
}

static bool check_variables(struct resuming *resuming)
{
    const struct program *program = resuming->trainer->program;
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        const struct safetensors_tensor *saved = safetensors_find(resuming->file, variable->name);
        if (variable->kind != PROGRAM_COPY &&
            !(saved ? check_shape(resuming, variable, saved) : check_missing(resuming, variable)))
            return false;
    }
    for (int i = 0; i < resuming->file->count; i++)
        if (!check_left_over(resuming, resuming->file->tensors[i].name))
            return false;
    return true;
}

static bool restore_variables(struct resuming *resuming)
{
    const struct program *program = resuming->trainer->program;
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        const struct safetensors_tensor *saved = safetensors_find(resuming->file, variable->name);
        if (variable->kind == PROGRAM_COPY || !saved)
            continue;
        void *stored = malloc(program_tensor_bytes(&variable->tensor) + 1);
        bool ok = stored ? tensor_store(&variable->tensor, stored, saved->element, saved->data, variable->name,
                                        resuming->error)
                         : error_set(resuming->error, "out of memory");
        if (ok)
            executor_write(resuming->trainer->executor, variable, stored);
        free(stored);
        if (!ok)
            return false;
    }
    return executor_run(resuming->trainer->executor, "refresh", resuming->error);
}

/* ---- the loop ---- */

/* The program's own text of an output's name, NULL when it has no such output. */
static const char *output_name(const struct program *program, const char *name)
{
    for (int i = 0; i < program->entry_count; i++)
        for (int j = 0; j < program->entries[i].output_count; j++)
            if (strcmp(program->entries[i].outputs[j].name, name) == 0)
                return program->entries[i].outputs[j].name;
    return NULL;
}

static bool restore_item(struct resuming *resuming, struct tally *tally, const char *name, const double *values)
{
    char *rest;
    long kind = strtol(name, &rest, 10);
    const char *known = *rest == '/' ? output_name(resuming->trainer->program, rest + 1) : NULL;
    struct tally one = {.items = &(struct tally_item){known, (enum program_output_kind)kind, values[0], values[1]},
                        .count = 1};
    return !known || tally_merge(tally, &one) || error_set(resuming->error, "out of memory");
}

static bool restore_line(struct resuming *resuming, const char *name, const double *values)
{
    char *output = file_text("skipped%s%s", *name ? "/" : "", name);
    const char *known = output_name(resuming->trainer->program, output);
    free(output);
    const struct skip_line line = {.name = known ? known + strlen(known) - strlen(name) : NULL,
                                   .skipped = (int64_t)values[0],
                                   .stuck = (int64_t)values[1],
                                   .before = values[2],
                                   .scale = values[3],
                                   .skips = values[4] != 0};
    return !known || divergence_restore(&resuming->trainer->divergence, &line) ||
           error_set(resuming->error, "out of memory");
}

/* One of the loop's tensors of f64; `name` is what stands behind train/run/. */
static bool restore_values(struct resuming *resuming, const char *name, const double *values, int count)
{
    struct trainer *trainer = resuming->trainer;
    if (strcmp(name, "best") == 0 && count == 2) {
        trainer->result->best = values[0];
        trainer->result->best_average = values[1];
        return true;
    }
    if (strncmp(name, "epoch/", 6) == 0 && count == 2)
        return restore_item(resuming, &trainer->epoch, name + 6, values);
    if (strncmp(name, "step_so_far/", 12) == 0 && count == 2)
        return restore_item(resuming, &trainer->step, name + 12, values);
    if (strncmp(name, "score/", 6) == 0 && count == 2)
        return scores_add(&trainer->result->scores, name + 6, values[0], values[1] != 0) ||
               error_set(resuming->error, "out of memory");
    return strncmp(name, "line/", 5) != 0 || count != VALUES || restore_line(resuming, name + 5, values);
}

/* By what the best weights so far were chosen. */
static bool restore_choice(struct resuming *resuming)
{
    struct trainer *trainer = resuming->trainer;
    const char *best = safetensors_note(resuming->file, "best"), *is = safetensors_note(resuming->file, "best_is");
    trainer->best_direction = !is || !*is ? 0 : strcmp(is, "highest") == 0 ? 1 : -1;
    if (!best || !*best)
        return true;
    trainer->best_name = strdup(best);
    return trainer->best_name || error_set(resuming->error, "out of memory");
}

static bool restore_loop(struct resuming *resuming)
{
    struct trainer *trainer = resuming->trainer;
    for (int i = 0; i < resuming->file->count; i++) {
        const struct safetensors_tensor *tensor = &resuming->file->tensors[i];
        double values[VALUES];
        if (strncmp(tensor->name, CHECKPOINT_PREFIX, PREFIX_BYTES) != 0 || tensor->element != PROGRAM_F64 ||
            tensor->rank != 1 || tensor->dimension[0] > VALUES)
            continue;
        memcpy(values, tensor->data, tensor->bytes);
        if (!restore_values(resuming, tensor->name + PREFIX_BYTES, values, (int)tensor->dimension[0]))
            return false;
    }
    if (!restore_choice(resuming))
        return false;
    trainer->begun = trainer->finished = trainer->result->steps = trainer->launched;
    trainer->result->skipped = trainer->divergence.skipped;
    trainer->saved_step = trainer->launched;
    trainer->saved_micro = trainer->micro;
    trainer->saved_evaluated = trainer->evaluated;
    return true;
}

static bool take_positions(struct resuming *resuming)
{
    struct trainer *trainer = resuming->trainer;
    int64_t *position;
    const char *name;
    for (int i = 0; (position = trainer_position(trainer, i, &name)); i++) {
        if (!take_number(resuming, name, position))
            return false;
        if (*position < 0 || *position > INT64_MAX / 2) /* of which one more is still a number */
            return refuse(resuming, CHECKPOINT_PREFIX "%s is out of range", name);
    }
    return trainer->micro < trainer->program->accumulate ||
           refuse(resuming, CHECKPOINT_PREFIX "batch is beyond the batches of a step");
}

bool trainer_is_checkpoint(const struct safetensors *file, struct error *error)
{
    const char *format = safetensors_note(file, "castor"), *version = safetensors_note(file, "version");
    if (!format || strcmp(format, CHECKPOINT_FORMAT) != 0) {
        error_set(error, "%s: is no checkpoint", file->path);
        error_hint(error, "--weights %s begins a run with its weights", file->path);
        return false;
    }
    return (version && strcmp(version, CHECKPOINT_VERSION) == 0) ||
           error_set(error, "%s: is a checkpoint of format %s; this castor reads format %s", file->path,
                     version ? version : "?", CHECKPOINT_VERSION);
}

bool trainer_restore(struct trainer *trainer, const struct safetensors *file, struct error *error)
{
    struct resuming resuming = {.trainer = trainer, .file = file, .error = error};
    bool ok = check_numbers(&resuming) && take_positions(&resuming) && check_notes(&resuming) &&
              check_variables(&resuming) && restore_variables(&resuming) && restore_loop(&resuming);
    if (ok && resuming.changes[0] && !trainer->settings->quiet)
        fprintf(stderr, "castor: resumed with changes: %s\n", resuming.changes);
    return ok;
}
