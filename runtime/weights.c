/* Loading and saving: variables in the order of the program, tensors found by name through a sorted index. */
#include "runtime/weights.h"
#include "runtime/collection.h"
#include "runtime/safetensors.h"
#include "runtime/tensor.h"

#include <stdlib.h>
#include <string.h>

enum { SHAPE_TEXT = 160, LISTED = 3 };

static bool is_weight(const struct program_variable *variable)
{
    return variable->kind == PROGRAM_PARAMETER || variable->kind == PROGRAM_FORWARD_STATE;
}

/* Names in a file that are no weights. */
static bool is_passed_over(const char *name)
{
    static const char suffix[] = "num_batches_tracked";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    if (strncmp(name, "train/", 6) == 0)
        return true;
    return length >= tail && strcmp(name + length - tail, suffix) == 0 &&
           (length == tail || name[length - tail - 1] == '.');
}

struct named {
    const char *name;
    const struct program_variable *variable;
    const struct safetensors_tensor *tensor;
};

/* Variables and tensors paired by name: both lists sorted and merged. */
struct pairing {
    int pair_count, missing_count, extra_count;
    struct named *pairs, *missing, *extra;
    struct named *memory;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static void merge(struct pairing *pairing, const struct named *variables, int variable_count,
                  const struct named *tensors, int tensor_count)
{
    for (int i = 0, j = 0; i < variable_count || j < tensor_count;) {
        int order = i == variable_count ? 1 : j == tensor_count ? -1 : strcmp(variables[i].name, tensors[j].name);
        if (order < 0)
            pairing->missing[pairing->missing_count++] = variables[i++];
        else if (order > 0)
            pairing->extra[pairing->extra_count++] = tensors[j++];
        else {
            struct named both = {variables[i].name, variables[i].variable, tensors[j].tensor};
            pairing->pairs[pairing->pair_count++] = both;
            i++, j++;
        }
    }
}

static bool pair(struct pairing *pairing, const struct program *program, const struct safetensors *file)
{
    size_t room = (size_t)program->variable_count + (size_t)file->count + 1;
    struct named *memory = calloc(5 * room, sizeof *memory);
    if (!memory)
        return false;
    *pairing =
        (struct pairing){.pairs = memory, .missing = memory + room, .extra = memory + 2 * room, .memory = memory};
    struct named *variables = memory + 3 * room, *tensors = memory + 4 * room;
    int variable_count = 0, tensor_count = 0;
    for (int i = 0; i < program->variable_count; i++)
        if (is_weight(&program->variables[i]))
            variables[variable_count++] = (struct named){program->variables[i].name, &program->variables[i], NULL};
    for (int i = 0; i < file->count; i++)
        if (!is_passed_over(file->tensors[i].name))
            tensors[tensor_count++] = (struct named){file->tensors[i].name, NULL, &file->tensors[i]};
    qsort(variables, (size_t)variable_count, sizeof *variables, by_name);
    qsort(tensors, (size_t)tensor_count, sizeof *tensors, by_name);
    merge(pairing, variables, variable_count, tensors, tensor_count);
    return true;
}

/* "a, b, c and 4 more" */
static void list_names(const struct named *names, int count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && i < LISTED && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i].name);
    if (count > LISTED && used < size)
        snprintf(text + used, size - used, " and %d more", count - LISTED);
}

static bool check_names(const struct pairing *pairing, const char *path, struct error *error)
{
    char missing[400], extra[400];
    list_names(pairing->missing, pairing->missing_count, missing, sizeof missing);
    list_names(pairing->extra, pairing->extra_count, extra, sizeof extra);
    if (!pairing->missing_count && !pairing->extra_count)
        return true;
    if (!pairing->extra_count)
        error_set(error, "%s: weights are missing: %s", path, missing);
    else if (!pairing->missing_count)
        error_set(error, "%s: weights that this network has not: %s", path, extra);
    else
        error_set(error, "%s: weights are missing: %s; weights that this network has not: %s", path, missing, extra);
    error_hint(error, "--weights-partial loads what is there and leaves the rest as it is initialised");
    return false;
}

static bool check_shape(const struct named *pair, const char *path, struct error *error)
{
    const struct program_tensor *wanted = &pair->variable->tensor;
    const struct safetensors_tensor *got = pair->tensor;
    if (wanted->rank == got->rank &&
        memcmp(wanted->dimension, got->dimension, sizeof *got->dimension * (size_t)got->rank) == 0)
        return true;
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    return error_set(error, "%s: %s has shape %s, this network needs %s", path, pair->name,
                     safetensors_shape(got->rank, got->dimension, a, sizeof a),
                     safetensors_shape(wanted->rank, wanted->dimension, b, sizeof b));
}

static bool load_pair(struct executor *executor, const struct named *pair, struct error *error)
{
    const struct program_tensor *tensor = &pair->variable->tensor;
    void *stored = malloc(program_tensor_bytes(tensor) + 1);
    if (!stored)
        return error_set(error, "out of memory");
    bool ok = tensor_store(tensor, stored, pair->tensor->element, pair->tensor->data, pair->name, error);
    if (ok)
        executor_write(executor, pair->variable, stored);
    free(stored);
    return ok;
}

bool weights_load(struct executor *executor, const char *path, bool partial, struct error *error)
{
    struct pairing pairing = {0};
    struct safetensors *file = safetensors_open(path, error);
    if (!file)
        return false;
    bool ok = pair(&pairing, executor_program(executor), file) || error_set(error, "out of memory");
    ok = ok && (partial || check_names(&pairing, path, error));
    if (ok && partial && !pairing.pair_count)
        ok = error_set(error, "%s: holds no weight of this network", path);
    for (int i = 0; i < pairing.pair_count && ok; i++)
        ok = check_shape(&pairing.pairs[i], path, error);
    for (int i = 0; i < pairing.pair_count && ok; i++)
        ok = load_pair(executor, &pairing.pairs[i], error);
    free(pairing.memory);
    safetensors_close(file);
    return ok && executor_run(executor, "refresh", error);
}

/* The average of a parameter, train/NAME.average; the variable itself when it has none. */
static const struct program_variable *average_of(const struct program *program, const struct program_variable *variable)
{
    char name[4096];
    snprintf(name, sizeof name, "train/%s.average", variable->name);
    const struct program_variable *average = program_find_variable(program, name);
    return average && variable->kind == PROGRAM_PARAMETER ? average : variable;
}

bool weights_save(struct executor *executor, const char *path, bool averaged, struct error *error)
{
    const struct program *program = executor_program(executor);
    static const struct safetensors_note note = {"format",
                                                 "pt"}; /* what readers expect of PyTorch's names and shapes */
    struct collection collection = {.notes = &note, .note_count = 1};
    bool ok = true;
    for (int i = 0; i < program->variable_count && ok; i++) {
        const struct program_variable *variable = &program->variables[i];
        if (is_weight(variable))
            ok = collection_add_variable_as(&collection, executor, averaged ? average_of(program, variable) : variable,
                                            variable->name);
    }
    ok = (ok || error_set(error, "out of memory")) && !executor_failed(executor, error) &&
         collection_write(&collection, path, error);
    collection_free(&collection);
    return ok;
}
