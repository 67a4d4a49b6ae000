/* Checkpoints: all that a run needs to go on as if it had never stopped, in one safetensors file.
 *
 *     fc1.weight, bn.running_mean …    the weights, so that the file serves as weights, too
 *     train/fc1.weight.m, train/scale  every other variable of the program but copies, which `refresh` makes
 *     train/run/step …                 where the loop stands (`positions`), what may not change (`fixed_numbers`)
 *     train/run/epoch/KIND/NAME …      averages so far, the watch for divergence, the scores of the last evaluation
 *
 * and as notes the format's version and the names of what may change (policy) and may not (optimizer). Random draws are
 * functions of the seed and of counters that are variables, the order of the data of seed and pass: nothing else is
 * needed. The newest file is last.safetensors; those before it are called by their steps. */
#include "runtime/collection.h"
#include "runtime/file.h"
#include "runtime/trainer_files.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Where the loop stands. */
static const struct {
    const char *name;
    size_t offset; /* of an int64_t in struct trainer */
} positions[] = {
    {"step", offsetof(struct trainer, launched)},
    {"batch", offsetof(struct trainer, micro)},
    {"total", offsetof(struct trainer, saved_total)},
    {"evaluated", offsetof(struct trainer, evaluated)},
    {"log", offsetof(struct trainer, log.lines)},
    {"skipped", offsetof(struct trainer, divergence.skipped)},
    {"nonfinite", offsetof(struct trainer, divergence.nonfinite)},
};
enum { POSITIONS = sizeof positions / sizeof *positions };

int64_t *trainer_position(struct trainer *trainer, int number, const char **name)
{
    if (number >= POSITIONS)
        return NULL;
    *name = positions[number].name;
    return (int64_t *)((char *)trainer + positions[number].offset);
}

void trainer_fixed_numbers(const struct trainer *trainer, struct fixed_number numbers[CHECKPOINT_FIXED])
{
    const struct fixed_number all[CHECKPOINT_FIXED] = {
        {"seed", "the seed", (int64_t)trainer->settings->seed},
        {"examples", "the number of training examples", trainer->batches->examples[SPLIT_TRAIN]},
        {"batch_size", "the batch", trainer->feeder.program->batch},
        {"accumulate", "accumulate", trainer->program->accumulate}};
    memcpy(numbers, all, sizeof all);
}

void trainer_notes(const struct trainer *trainer, struct safetensors_note notes[CHECKPOINT_NOTES])
{
    const struct train_settings *settings = trainer->settings;
    const struct safetensors_note all[CHECKPOINT_NOTES] = {
        {"format", "pt"}, /* what other readers expect of such names and shapes */
        {"castor", CHECKPOINT_FORMAT},
        {"version", CHECKPOINT_VERSION},
        {"network", trainer->program->name},
        {"device", executor_device(trainer->executor)->name},
        {"policy", settings->precision ? settings->precision : ""},
        {"optimizer", settings->optimizer ? settings->optimizer : ""},
        {"entries", settings->entries},
        {"best", trainer->best_name},
        {"best_is", trainer->best_direction ? trainer->best_direction > 0 ? "highest" : "lowest" : NULL}};
    memcpy(notes, all, sizeof all);
    for (int i = 0; i < CHECKPOINT_NOTES; i++)
        notes[i].value = notes[i].value ? notes[i].value : "";
}

/* ---- writing ---- */

/* `name` is malloced, and freed here. */
static bool add_values(struct collection *collection, char *name, enum program_element element, const void *values,
                       int count)
{
    struct program_tensor tensor = {.element = element, .storage = element, .rank = 1, .dimension = {count}};
    bool ok = collection_add(collection, name, &tensor, values);
    free(name);
    return ok;
}

static bool add_tally(struct collection *collection, const char *which, const struct tally *tally)
{
    bool ok = true;
    for (int i = 0; i < tally->count && ok; i++) {
        const struct tally_item *item = &tally->items[i];
        char *name = file_text(CHECKPOINT_PREFIX "%s/%d/%s", which, (int)item->kind, item->name);
        ok = add_values(collection, name, PROGRAM_F64, (double[]){item->sum, item->weight}, 2);
    }
    return ok;
}

static bool add_lines(struct collection *collection, const struct divergence *divergence)
{
    bool ok = true;
    for (int i = 0; i < divergence->line_count && ok; i++) {
        const struct skip_line *line = &divergence->lines[i];
        const double values[] = {(double)line->skipped, (double)line->stuck, line->before, line->scale, line->skips};
        char *name = file_text(CHECKPOINT_PREFIX "line/%s", line->name);
        ok = add_values(collection, name, PROGRAM_F64, values, 5);
    }
    return ok;
}

static bool add_result(struct collection *collection, const struct train_result *result)
{
    bool ok = add_values(collection, file_text(CHECKPOINT_PREFIX "best"), PROGRAM_F64,
                         (double[]){result->best, result->best_average}, 2);
    for (int i = 0; i < result->scores.count && ok; i++) {
        const struct score *score = &result->scores.list[i];
        char *name = file_text(CHECKPOINT_PREFIX "score/%s", score->name);
        ok = add_values(collection, name, PROGRAM_F64, (double[]){score->value, score->loss}, 2);
    }
    return ok;
}

static bool add_numbers(struct collection *collection, struct trainer *trainer)
{
    struct fixed_number fixed[CHECKPOINT_FIXED];
    const int64_t *position;
    const char *name;
    bool ok = true;
    trainer_fixed_numbers(trainer, fixed);
    for (int i = 0; ok && (position = trainer_position(trainer, i, &name)); i++)
        ok = add_values(collection, file_text(CHECKPOINT_PREFIX "%s", name), PROGRAM_I64, position, 1);
    for (int i = 0; i < CHECKPOINT_FIXED && ok; i++)
        ok = add_values(collection, file_text(CHECKPOINT_PREFIX "%s", fixed[i].name), PROGRAM_I64, &fixed[i].value, 1);
    return ok;
}

static bool add_variables(struct collection *collection, struct trainer *trainer)
{
    bool ok = true;
    for (int i = 0; i < trainer->program->variable_count && ok; i++)
        if (trainer->program->variables[i].kind != PROGRAM_COPY)
            ok = collection_add_variable(collection, trainer->executor, &trainer->program->variables[i]);
    return ok;
}

bool trainer_write_checkpoint(struct trainer *trainer, const char *path, struct error *error)
{
    struct safetensors_note notes[CHECKPOINT_NOTES];
    trainer_notes(trainer, notes);
    trainer->saved_total = trainer->total;
    struct collection collection = {.notes = notes, .note_count = CHECKPOINT_NOTES};
    bool gathered = add_variables(&collection, trainer) && add_numbers(&collection, trainer) &&
                    add_tally(&collection, "epoch", &trainer->epoch) &&
                    add_tally(&collection, "step_so_far", &trainer->step) &&
                    add_lines(&collection, &trainer->divergence) && add_result(&collection, trainer->result);
    bool ok = (gathered || error_set(error, "out of memory")) && !executor_failed(trainer->executor, error) &&
              collection_write(&collection, path, error);
    collection_free(&collection);
    return ok;
}
