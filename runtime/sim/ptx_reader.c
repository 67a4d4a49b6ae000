/* Reading PTX: declarations, initial values and instructions as they come from the grammar. */
#include "runtime/sim/ptx_reader.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct ptx_type ptx_type(const char *name)
{
    if (strcmp(name, "pred") == 0)
        return (struct ptx_type){'p', 1};
    if (strcmp(name, "bf16") == 0)
        return (struct ptx_type){'b', 16};
    if (strcmp(name, "f16x2") == 0 || strcmp(name, "bf16x2") == 0 || strcmp(name, "tf32") == 0)
        return (struct ptx_type){'b', 32};
    return (struct ptx_type){name[0], (int)strtol(name + 1, NULL, 10)};
}

struct ptx_value ptx_negate(const struct ptx_value *value)
{
    struct ptx_value negated = *value;
    if (!value->real)
        negated.bits = -value->bits;
    else
        negated.bits ^= value->real64 ? (uint64_t)1 << 63 : (uint64_t)1 << 31;
    return negated;
}

bool ptx_unknown(struct ptx_reader *reader, const char *directive)
{
    bool table = strcmp(directive, ".branchtargets") == 0; /* stands before the instruction that jumps by it */
    return ptx_fail(reader, "the simulated GPU does not know %s '%s'", table ? "brx.idx, which needs" : "the directive",
                    directive);
}

uint32_t ptx_single(const struct ptx_value *value)
{
    double wide;
    memcpy(&wide, &value->bits, sizeof wide);
    float narrow = (float)wide;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

bool ptx_sum(struct ptx_reader *reader, const struct ptx_value *value, int64_t addend, struct ptx_value *sum)
{
    *sum = *value;
    if (value->kind == PTX_VARIABLE)
        sum->offset = addend;
    else if (value->kind == PTX_IMMEDIATE && !value->real)
        sum->bits += (uint64_t)addend;
    else
        return ptx_fail(reader, "'%s' is no variable to whose address a number can be added",
                        value->name ? value->name : "this");
    return true;
}

/* ---- kernels ---- */

static bool begin(struct ptx_reader *reader, const char *name)
{
    reader->kernel = (struct ptx_kernel){.name = name, .line = reader->line, .threads_max = PTX_THREADS_MAX};
    reader->place = (struct ptx_place){0};
    reader->instruction = (struct ptx_instruction){.guard = -1};
    return ptx_scope_open(reader);
}

bool ptx_kernel_begin(struct ptx_reader *reader, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(reader->ptx->kernels); i++)
        if (reader->ptx->kernels[i].name == name)
            return ptx_fail(reader, "kernel '%s' stands twice", name);
    return begin(reader, name);
}

bool ptx_kernel_end(struct ptx_reader *reader)
{
    if (!ptx_scope_close(reader))
        return false;
    ptx_resolve_labels(reader);
    arrput(reader->ptx->kernels, reader->kernel);
    reader->kernel = (struct ptx_kernel){0};
    return true;
}

bool ptx_function_begin(struct ptx_reader *reader, const char *name)
{
    reader->in_function = true;
    return begin(reader, name);
}

bool ptx_function_end(struct ptx_reader *reader)
{
    if (!ptx_scope_close(reader))
        return false;
    reader->in_function = false;
    arrfree(reader->kernel.registers);
    arrfree(reader->kernel.parameters);
    arrfree(reader->kernel.code);
    arrfree(reader->kernel.labels);
    return true;
}

bool ptx_threads(struct ptx_reader *reader, bool exactly, int64_t x, int64_t y, int64_t z)
{
    const int64_t sizes[3] = {x, y, z};
    int64_t threads = 1;
    for (int i = 0; i < 3; i++) {
        if (sizes[i] < 1 || sizes[i] > INT32_MAX)
            return ptx_fail(reader, "a block cannot have %lld threads along an axis", (long long)sizes[i]);
        threads = threads * sizes[i] < PTX_THREADS_MAX ? threads * sizes[i] : PTX_THREADS_MAX;
        reader->kernel.threads_exactly[i] = exactly ? (int)sizes[i] : 0;
    }
    reader->kernel.threads_max = (int)threads;
    return true;
}

/* ---- declarations ---- */

void ptx_declare(struct ptx_reader *reader, enum ptx_space space, int64_t align, struct ptx_type type)
{
    reader->space = space;
    reader->align = align > 0 ? align : 0;
    reader->type = type;
}

bool ptx_dimension(struct ptx_reader *reader, int64_t so_far, int64_t size, int64_t *product)
{
    if (size < 0 && so_far == 0) {
        *product = -1;
        return true;
    }
    int64_t limit = PTX_BYTES_MAX / (so_far > 0 ? so_far : 1);
    if (size < 1 || so_far < 0 || size > limit)
        return ptx_fail(reader, "an array cannot have this size");
    *product = (so_far > 0 ? so_far : 1) * size;
    return true;
}

static bool initial_bytes(struct ptx_reader *reader, uint64_t bits)
{
    int64_t size = reader->type.bits / 8, at = reader->initialised * size;
    if (at + size > reader->variable.bytes || size > 8)
        return ptx_fail(reader, "'%s' has more initial values than room", reader->variable.name);
    while (arrlen(reader->variable.initial) < at + size)
        arrput(reader->variable.initial, 0);
    memcpy(reader->variable.initial + at, &bits, (size_t)size);
    reader->initialised++;
    return true;
}

bool ptx_initial(struct ptx_reader *reader, const struct ptx_value *value)
{
    char kind = reader->type.kind;
    if ((value->real && (kind == 'u' || kind == 's' || reader->type.bits < 32)) || (!value->real && kind == 'f'))
        return ptx_fail(reader, "'%s' begins with a value of another type", reader->variable.name);
    return initial_bytes(reader, value->real64 && reader->type.bits == 32 ? ptx_single(value) : value->bits);
}

bool ptx_initial_address(struct ptx_reader *reader, const char *name, int64_t addend)
{
    struct ptx_value value = {0};
    if (!ptx_name(reader, name, &value))
        return false;
    if (value.kind != PTX_VARIABLE || value.index >> 31)
        return ptx_fail(reader, "'%s' is no variable declared so far", name);
    struct ptx_relocation relocation = {reader->initialised * (reader->type.bits / 8), reader->type.bits / 8,
                                        value.index, addend};
    if (relocation.width != 8)
        return ptx_fail(reader, "an address needs 64 bits");
    arrput(reader->variable.relocations, relocation);
    return initial_bytes(reader, 0);
}

/* ---- instructions ---- */

void ptx_place(struct ptx_reader *reader, int64_t file, int64_t line)
{
    if (line == 0) /* made by the compiler: the last real line says more */
        return;
    reader->place = (struct ptx_place){(int)file, (int)line};
    if (!reader->kernel.place.line)
        reader->kernel.place = reader->place;
}

bool ptx_guard(struct ptx_reader *reader, const char *name, bool negated)
{
    struct ptx_value value;
    if (!ptx_name(reader, name, &value))
        return false;
    if (value.kind != PTX_REGISTER || reader->kernel.registers[value.index].type.kind != 'p')
        return ptx_fail(reader, "'%s' is no predicate", name);
    reader->instruction = (struct ptx_instruction){.guard = (int)value.index, .guard_negated = negated};
    return true;
}

bool ptx_instruction_begin(struct ptx_reader *reader, const char *opcode)
{
    if (strncmp(opcode, "call", 4) == 0 && !reader->in_function) /* its operands are no names of ours */
        return ptx_fail(reader, "the simulated GPU does not know the opcode '%s'", opcode);
    reader->instruction.opcode = opcode;
    reader->instruction.line = reader->line;
    reader->instruction.place = reader->place;
    return true;
}

bool ptx_operand(struct ptx_reader *reader, const struct ptx_operand *operand)
{
    if (reader->instruction.operand_count == PTX_OPERANDS_MAX)
        return ptx_fail(reader, "'%s' has too many operands", reader->instruction.opcode);
    reader->operands[reader->instruction.operand_count++] = *operand;
    return true;
}

bool ptx_vector(struct ptx_reader *reader, struct ptx_operand *vector, const struct ptx_value *value)
{
    if (vector->count == PTX_VECTOR_MAX)
        return ptx_fail(reader, "a vector has at most %d elements here", PTX_VECTOR_MAX);
    vector->values[vector->count++] = *value;
    return true;
}

bool ptx_instruction_end(struct ptx_reader *reader)
{
    struct ptx_instruction *instruction = &reader->instruction;
    size_t count = (size_t)instruction->operand_count;
    if (count) {
        instruction->operands = malloc(count * sizeof *instruction->operands);
        if (!instruction->operands)
            return ptx_fail(reader, "out of memory");
        memcpy(instruction->operands, reader->operands, count * sizeof *instruction->operands);
        arrput(reader->ptx->blocks, instruction->operands);
    }
    arrput(reader->kernel.code, *instruction);
    *instruction = (struct ptx_instruction){.guard = -1};
    return true;
}
