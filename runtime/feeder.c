/* Fields are matched to inputs by name, once. */
#include "runtime/feeder.h"

#include <stdlib.h>
#include <string.h>

static int find_field(const struct batches *batches, const char *name)
{
    for (int i = 0; i < batches->field_count; i++)
        if (strcmp(batches->fields[i], name) == 0)
            return i;
    return -1;
}

static bool match_fields(struct feeder *feeder, struct error *error)
{
    for (int i = 0; i < feeder->program->input_count; i++) {
        feeder->field[i] = find_field(feeder->batches, feeder->program->inputs[i].name);
        if (feeder->field[i] < 0)
            return error_set(error, "the data has no field %s, which the network takes as input",
                             feeder->program->inputs[i].name);
    }
    return true;
}

bool feeder_open(struct feeder *feeder, const struct executor *executor, const char *entry,
                 const struct batches *batches, struct error *error)
{
    *feeder = (struct feeder){.batches = batches, .entry = executor_entry(executor, entry)};
    if (feeder->entry < 0)
        return error_set(error, "the program has no entry %s", entry);
    feeder->program = &executor_program(executor)->entries[feeder->entry];
    size_t count = (size_t)feeder->program->input_count + 1;
    feeder->field = calloc(count, sizeof *feeder->field);
    feeder->inputs = calloc(count, sizeof *feeder->inputs);
    feeder->fields = calloc((size_t)batches->field_count + 1, sizeof *feeder->fields);
    if (!feeder->field || !feeder->inputs || !feeder->fields)
        error_set(error, "out of memory");
    else if (match_fields(feeder, error))
        return true;
    feeder_close(feeder);
    return false;
}

void feeder_close(struct feeder *feeder)
{
    free(feeder->field);
    free(feeder->inputs);
    free(feeder->fields);
    *feeder = (struct feeder){0};
}

void feeder_take(struct feeder *feeder, const struct feeder *from)
{
    for (int i = 0; i < feeder->program->input_count; i++)
        feeder->inputs[i] = from->fields[feeder->field[i]];
}

bool feeder_next(struct feeder *feeder, enum split split, int64_t *count, struct error *error)
{
    if (!feeder->batches->next(feeder->batches->source, split, feeder->fields, count, error))
        return false;
    feeder_take(feeder, feeder);
    return true;
}
