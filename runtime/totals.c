/* Sums are in double precision, so that their order, the data's, hardly matters; the entry takes them as f32. */
#include "runtime/totals.h"
#include "runtime/tensor.h"

#include <stdlib.h>
#include <string.h>

enum { INPUT_ALIGNMENT = 64 };

bool totals_open(struct totals *totals, struct executor *executor, struct error *error)
{
    *totals = (struct totals){.executor = executor, .entry = executor_entry(executor, "metrics")};
    if (totals->entry < 0)
        return true;
    totals->metrics = &executor_program(executor)->entries[totals->entry];
    int count = totals->metrics->input_count;
    totals->sums = calloc((size_t)count + 1, sizeof *totals->sums);
    bool ok = totals->sums;
    for (int i = 0; i < count && ok; i++) {
        size_t elements = (size_t)program_tensor_elements(&totals->metrics->inputs[i].tensor);
        totals->sums[i] = calloc(elements + 1, sizeof **totals->sums);
        ok = totals->sums[i];
    }
    if (ok)
        return true;
    totals_close(totals);
    return error_set(error, "out of memory");
}

void totals_close(struct totals *totals)
{
    for (int i = 0; totals->sums && i < totals->metrics->input_count; i++)
        free(totals->sums[i]);
    free(totals->sums);
    *totals = (struct totals){.entry = -1};
}

const char *totals_metric(const struct totals *totals, const char *total)
{
    for (int i = 0; totals->entry >= 0 && i < totals->metrics->output_count; i++) {
        const char *name = totals->metrics->outputs[i].name;
        size_t length = strlen(name);
        if (strncmp(total, name, length) == 0 && strncmp(total + length, ".total.", strlen(".total.")) == 0)
            return name;
    }
    return NULL;
}

static int find_input(const struct totals *totals, const char *name)
{
    for (int i = 0; i < totals->metrics->input_count; i++)
        if (strcmp(totals->metrics->inputs[i].name, name) == 0)
            return i;
    return -1;
}

static bool add_output(struct totals *totals, int number, int output, struct error *error)
{
    const struct program_output *from = &executor_program(totals->executor)->entries[number].outputs[output];
    int input = find_input(totals, from->name);
    int64_t elements = program_tensor_elements(&from->tensor);
    if (input < 0 || elements != program_tensor_elements(&totals->metrics->inputs[input].tensor))
        return error_set(error, "the program's metrics do not take %s", from->name);
    void *stored = malloc(program_tensor_bytes(&from->tensor) + 1);
    double *values = malloc((size_t)elements * sizeof *values + 1);
    bool ok = stored && values;
    if (ok) {
        executor_output(totals->executor, number, output, stored);
        tensor_load(&from->tensor, stored, PROGRAM_F64, values);
        for (int64_t i = 0; i < elements; i++)
            totals->sums[input][i] += values[i];
    }
    free(stored);
    free(values);
    return ok || error_set(error, "out of memory");
}

bool totals_add(struct totals *totals, int number, struct error *error)
{
    const struct program_entry *entry = &executor_program(totals->executor)->entries[number];
    bool ok = true;
    for (int i = 0; totals->entry >= 0 && i < entry->output_count && ok; i++)
        if (entry->outputs[i].kind == PROGRAM_TOTAL)
            ok = add_output(totals, number, i, error);
    return ok && !executor_failed(totals->executor, error);
}

/* The sum as the entry takes it; NULL when out of memory or when an integer cannot hold it. */
static void *stored_input(const struct totals *totals, int input, struct error *error)
{
    const struct program_input *to = &totals->metrics->inputs[input];
    size_t bytes = program_tensor_bytes(&to->tensor);
    void *stored = aligned_alloc(INPUT_ALIGNMENT, (bytes / INPUT_ALIGNMENT + 1) * INPUT_ALIGNMENT);
    if (!stored)
        error_set(error, "out of memory");
    else if (tensor_store(&to->tensor, stored, PROGRAM_F64, totals->sums[input], to->name, error))
        return stored;
    free(stored);
    return NULL;
}

bool totals_finish(struct totals *totals, struct tally *tally, struct error *error)
{
    if (totals->entry < 0)
        return true;
    int count = totals->metrics->input_count;
    void **inputs = calloc((size_t)count + 1, sizeof *inputs);
    bool ok = true;
    if (!inputs)
        return error_set(error, "out of memory");
    for (int i = 0; i < count && ok; i++) {
        inputs[i] = stored_input(totals, i, error);
        ok = inputs[i] != NULL;
    }
    uint64_t ticket = ok ? executor_launch(totals->executor, totals->entry, (const void *const *)inputs, error) : 0;
    const double *results = ticket ? executor_results(totals->executor, ticket, error) : NULL;
    ok = results && (tally_add(tally, totals->metrics, results, 1) || error_set(error, "out of memory"));
    for (int i = 0; i < count; i++)
        free(inputs[i]);
    free(inputs);
    return ok;
}
