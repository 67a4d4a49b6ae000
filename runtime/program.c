/* A program's memory (one list of blocks), lookups, and facts about tensors. */
#include "runtime/program.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_ALIGNMENT = 16 };

struct block {
    struct block *next;
    _Alignas(BLOCK_ALIGNMENT) char bytes[];
};

/* The program stands first in its own record, so that a struct program * is one to the record too. */
struct owned_program {
    struct program program;
    struct block *blocks;
};

struct program *program_new(void)
{
    struct owned_program *owned = calloc(1, sizeof *owned);
    if (!owned)
        return NULL;
    owned->program.name = owned->program.target = owned->program.source = "";
    owned->program.alignment = 64;
    owned->program.accumulate = 1;
    return &owned->program;
}

void *program_allocate(struct program *program, size_t bytes)
{
    struct owned_program *owned = (struct owned_program *)program;
    if (bytes > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *block = calloc(1, sizeof *block + bytes);
    if (!block)
        return NULL;
    block->next = owned->blocks;
    owned->blocks = block;
    return block->bytes;
}

const char *program_string(struct program *program, const char *text)
{
    if (!text)
        return NULL;
    size_t bytes = strlen(text) + 1;
    char *copy = program_allocate(program, bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void program_free(struct program *program)
{
    if (!program)
        return;
    struct owned_program *owned = (struct owned_program *)program;
    for (struct block *block = owned->blocks; block;) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    free(owned);
}

const struct program_entry *program_find_entry(const struct program *program, const char *name)
{
    for (int i = 0; i < program->entry_count; i++)
        if (strcmp(program->entries[i].name, name) == 0)
            return &program->entries[i];
    return NULL;
}

static bool is_among(const struct program_input *inputs, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(inputs[i].name, name) == 0)
            return true;
    return false;
}

struct program_input *program_data_inputs(const struct program *program, int *count)
{
    size_t most = 1;
    for (int i = 0; i < program->entry_count; i++)
        most += (size_t)program->entries[i].input_count;
    struct program_input *inputs = calloc(most, sizeof *inputs);
    *count = 0;
    for (int i = 0; inputs && i < program->entry_count; i++) {
        const struct program_entry *entry = &program->entries[i];
        bool sums = strcmp(entry->name, "metrics") == 0;
        for (int k = 0; !sums && k < entry->input_count; k++)
            if (!is_among(inputs, *count, entry->inputs[k].name))
                inputs[(*count)++] = entry->inputs[k];
    }
    return inputs;
}

const struct program_strip *program_find_strip(const struct program_entry *entry, int step)
{
    for (int i = 0; i < entry->strip_count; i++)
        if (step >= entry->strips[i].first && step - entry->strips[i].first < entry->strips[i].count)
            return &entry->strips[i];
    return NULL;
}

const struct program_variable *program_find_variable(const struct program *program, const char *name)
{
    for (int i = 0; i < program->variable_count; i++)
        if (strcmp(program->variables[i].name, name) == 0)
            return &program->variables[i];
    return NULL;
}

static const struct {
    const char *name;
    size_t bytes;
} elements[] = {
    [PROGRAM_NONE] = {"none", 0}, [PROGRAM_F16] = {"f16", 2}, [PROGRAM_BF16] = {"bf16", 2},
    [PROGRAM_F32] = {"f32", 4},   [PROGRAM_F64] = {"f64", 8}, [PROGRAM_I32] = {"i32", 4},
    [PROGRAM_I64] = {"i64", 8},   [PROGRAM_U8] = {"u8", 1},   [PROGRAM_BOOL] = {"bool", 1},
};

size_t program_element_bytes(enum program_element element)
{
    return elements[element].bytes;
}

const char *program_element_name(enum program_element element)
{
    return elements[element].name;
}

int64_t program_tensor_elements(const struct program_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= tensor->dimension[i];
    return count;
}

size_t program_tensor_bytes(const struct program_tensor *tensor)
{
    return (size_t)program_tensor_elements(tensor) * program_element_bytes(tensor->storage);
}
