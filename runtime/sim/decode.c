/* Decoding a kernel: registers, shared and local variables get their places, opcodes are looked up in opcodes.def, and
 * branches are resolved. */
#include "runtime/sim/decode.h"

#include "runtime/sim/shadow.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* A row of the lane table; width 0 where there is no operand. */
struct lane_row {
    const char *pattern;
    uint8_t class;
    bool rounded;
    uint8_t widths[5];
    bool is_signed; /* the destination, as written to a wider register */
};

enum { WIDTH_no_type = 0, WIDTH_u8 = 16, WIDTH_s8 = 16, WIDTH_u16 = 16, WIDTH_s16 = 16, WIDTH_u32 = 32 };
enum { WIDTH_s32 = 32, WIDTH_f32 = 32, WIDTH_u64 = 64, WIDTH_s64 = 64, WIDTH_f64 = 64 };
enum { SIGNED_u8, SIGNED_u16 = 0, SIGNED_u32 = 0, SIGNED_u64 = 0, SIGNED_f32 = 0, SIGNED_f64 = 0 };
enum { SIGNED_s8 = 1, SIGNED_s16 = 1, SIGNED_s32 = 1, SIGNED_s64 = 1 };

#define ROW(pattern, class, rounded, d, a, b, c, e)                                                                    \
    {pattern, CLASS_##class, rounded, {WIDTH_##d, WIDTH_##a, WIDTH_##b, WIDTH_##c, WIDTH_##e}, SIGNED_##d},
#define HALF_ROWS(pattern, b, c)                                                                                       \
    ROW(pattern ".f16", HALF, false, u16, u16, b##16, c##16, no_type)                                                  \
    ROW(pattern ".f16x2", HALF, false, u32, u32, b##32, c##32, no_type)                                                \
    ROW(pattern ".bf16", HALF, false, u16, u16, b##16, c##16, no_type)                                                 \
    ROW(pattern ".bf16x2", HALF, false, u32, u32, b##32, c##32, no_type)
enum { WIDTH_none16, WIDTH_none32 = 0 };

static const struct lane_row lane_rows[] = {
#define LANE(name, pattern, class, d, a, b, c, e, expression) ROW(pattern, class, false, d, a, b, c, e)
#define ROUNDED(name, pattern, class, d, a, b, c, e, expression) ROW(pattern, class, true, d, a, b, c, e)
#define HALF1(name, pattern, expression) HALF_ROWS(pattern, none, none)
#define HALF2(name, pattern, expression) HALF_ROWS(pattern, u, none)
#define HALF3(name, pattern, expression) HALF_ROWS(pattern, u, u)
#include "runtime/sim/opcodes.def"
};

static const struct {
    const char *base;
    uint8_t class;
    decoder_function *function;
} form_rows[] = {
#define FORM(base, class, function) {base, CLASS_##class, function},
#include "runtime/sim/opcodes.def"
};

/* What a thread, a block and a launch may have at most (CUDA C++ Programming Guide, technical specifications). A block
 * may have more of shared memory that is dynamic, when it asks. */
enum { LOCAL_MAX = 512 * 1024, SHARED_MAX = 48 * 1024, PARAMETERS_MAX = 32764 };

/* ---- patterns ---- */

/* Whether one part of a pattern, "rn" or "<rn|rz>", is this word. */
static bool part_is(const char *part, size_t length, const char *word, size_t word_length)
{
    if (part[0] != '<')
        return length == word_length && memcmp(part, word, length) == 0;
    for (size_t at = 1; at < length;) {
        size_t end = at;
        while (part[end] != '|' && part[end] != '>')
            end++;
        if (end - at == word_length && memcmp(part + at, word, word_length) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

static bool pattern_is(const char *pattern, const char *opcode)
{
    while (*pattern) {
        size_t length = strcspn(pattern, ".?"), word = strcspn(opcode, ".");
        bool optional = pattern[length] == '?';
        const char *next = pattern + length + optional;
        next += *next == '.';
        if (*opcode && part_is(pattern, length, opcode, word))
            opcode += word + (opcode[word] == '.');
        else if (!optional)
            return false;
        pattern = next;
    }
    return *opcode == '\0';
}

static int find_row(struct decoder *decoder, const char *opcode)
{
    ptrdiff_t known = hmgeti(decoder->rows, opcode);
    if (known >= 0)
        return decoder->rows[known].value;
    int row = -1;
    for (size_t i = 0; i < sizeof lane_rows / sizeof *lane_rows && row < 0; i++)
        if ((lane_rows[i].pattern[0] == opcode[0] || lane_rows[i].pattern[0] == '<') &&
            pattern_is(lane_rows[i].pattern, opcode))
            row = (int)i;
    hmput(decoder->rows, opcode, row);
    return row;
}

/* ---- instructions of the lane table ---- */

/* Rounding mode and flushing, as the bits of MXCSR. */
static uint32_t control_bits(const struct decoder *decoder)
{
    uint32_t bits = decode_has(decoder, "ftz") ? 0x8040 : 0;
    if (decode_has(decoder, "rz"))
        bits |= 0x6000;
    else if (decode_has(decoder, "rm"))
        bits |= 0x2000;
    else if (decode_has(decoder, "rp"))
        bits |= 0x4000;
    return bits;
}

/* A cvt to fewer bits than its register has: the value is extended by its sign or by zeros. */
static void extend(struct decoder *decoder, const struct lane_row *row, uint32_t wide, int wide_bits, uint32_t narrow)
{
    uint32_t from = narrow;
    if (row->is_signed && row->widths[0] == 16)
        decode_emit_lane(decoder, LANE_cvt_s32_s16, from, from, 0);
    if (wide_bits == 64)
        decode_emit_lane(decoder, row->is_signed ? LANE_wide_s32 : LANE_wide_u32, wide, from, 0);
    else
        decode_emit_lane(decoder, LANE_mov_b32, wide, from, 0);
}

static bool decode_lane(struct decoder *decoder, int index)
{
    const struct lane_row *row = &lane_rows[index];
    const struct ptx_instruction *instruction = decoder->instruction;
    int sources = 0;
    while (sources < 4 && row->widths[1 + sources])
        sources++;
    bool relaxed = strcmp(decoder->modifiers[0], "cvt") == 0;
    struct op op = {.kind = OP_LANE, .lane = decoder->module->isa->lanes[index]};
    if (!decode_count(decoder, sources + 1, sources + 1))
        return false;
    uint32_t *const places[] = {&op.a, &op.b, &op.c, &op.e};
    for (int i = 0; i < sources; i++) {
        const struct ptx_operand *operand = &instruction->operands[i + 1];
        if (operand->vector || operand->address || operand->pair)
            return decode_fail(decoder, "operand %d of '%s' must be a single value", i + 2, instruction->opcode);
        if (!decode_source(decoder, &operand->values[0], row->widths[i + 1], relaxed, places[i]))
            return false;
    }
    op.wide = row->widths[0] == 64;
    op.control = row->rounded ? control_bits(decoder) : 0;
    const struct ptx_register *target = decode_register(decoder, &instruction->operands[0].values[0]);
    if (relaxed && target && target->type.bits > row->widths[0]) {
        op.d = decode_scratch(decoder, row->widths[0]);
        decode_emit(decoder, op);
        uint32_t wide;
        if (!decode_destination_at(decoder, 0, target->type.bits, &wide))
            return false;
        extend(decoder, row, wide, target->type.bits, op.d);
        return true;
    }
    if (!decode_destination_at(decoder, 0, row->widths[0], &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* ---- the kernel ---- */

static void split(struct decoder *decoder, const char *opcode)
{
    decoder->modifier_count = 0;
    while (*opcode && decoder->modifier_count < MODIFIERS_MAX) {
        size_t length = strcspn(opcode, "."), kept = length < MODIFIER_TEXT ? length : MODIFIER_TEXT - 1;
        char *modifier = decoder->modifiers[decoder->modifier_count++];
        memcpy(modifier, opcode, kept);
        modifier[kept] = '\0';
        opcode += length + (opcode[length] == '.');
    }
}

static bool decode_instruction(struct decoder *decoder)
{
    const char *opcode = decoder->instruction->opcode;
    split(decoder, opcode);
    int row = find_row(decoder, opcode);
    if (row >= 0) {
        decoder->class = lane_rows[row].class;
        return decode_lane(decoder, row);
    }
    for (size_t i = 0; i < sizeof form_rows / sizeof *form_rows; i++)
        if (strcmp(form_rows[i].base, decoder->modifiers[0]) == 0) {
            decoder->class = form_rows[i].class;
            return form_rows[i].function(decoder);
        }
    return decode_unknown(decoder);
}

/* Registers of up to 32 bits take cells of 4 bytes, those of 64 bits of 8. */
static bool place_registers(struct decoder *decoder)
{
    struct sim_kernel *kernel = decoder->kernel;
    kernel->predicate_count = PREDICATE_FIRST;
    kernel->register_bytes = REGISTER_FIRST;
    for (ptrdiff_t i = 0; i < arrlen(decoder->ptx->registers); i++) {
        const struct ptx_register *declared = &decoder->ptx->registers[i];
        if (declared->type.bits > 64)
            return error_set(decoder->error,
                             "kernel %s: register '%s' has %d bits, which the simulated GPU does not know",
                             kernel->name, declared->name, declared->type.bits);
        if (declared->type.kind == 'p')
            arrput(decoder->places, kernel->predicate_count++);
        else
            arrput(decoder->places, decode_scratch(decoder, declared->type.bits));
    }
    return true;
}

static int64_t align_up(int64_t offset, int64_t align)
{
    return align > 1 ? (offset + align - 1) & -align : offset;
}

static void place_variable(struct decoder *decoder, uint32_t index)
{
    const struct ptx_variable *variable = &decoder->module->ptx->variables[index];
    struct sim_kernel *kernel = decoder->kernel;
    bool local = variable->space == PTX_LOCAL;
    if ((variable->space != PTX_SHARED && !local) || variable->external || decoder->shared_places[index] >= 0)
        return;
    int64_t *total = local ? &kernel->local_bytes : &kernel->shared_bytes;
    decoder->shared_places[index] = align_up(*total, variable->align);
    *total = decoder->shared_places[index] + variable->bytes;
}

/* Gives a place to each shared and local variable that the kernel names; dynamic shared memory comes behind them. */
static bool place_variables(struct decoder *decoder)
{
    const struct ptx_variable *variables = decoder->module->ptx->variables;
    struct sim_kernel *kernel = decoder->kernel;
    for (ptrdiff_t i = 0; i < arrlen(variables); i++)
        arrput(decoder->shared_places, -1);
    kernel->shared_align = 16;
    for (int pass = 0; pass < 2; pass++)
        for (ptrdiff_t i = 0; i < arrlen(decoder->ptx->code); i++) {
            const struct ptx_instruction *instruction = &decoder->ptx->code[i];
            for (int k = 0; k < instruction->operand_count; k++) {
                const struct ptx_value *value = &instruction->operands[k].values[0];
                if (value->kind != PTX_VARIABLE || value->index >= arrlenu(decoder->shared_places))
                    continue; /* parameters are numbered from 2^31 on */
                const struct ptx_variable *variable = &variables[value->index];
                if (pass == 0)
                    place_variable(decoder, value->index);
                else if (variable->external && variable->space == PTX_SHARED && variable->align > kernel->shared_align)
                    kernel->shared_align = variable->align;
            }
        }
    int64_t dynamic = align_up(kernel->shared_bytes, kernel->shared_align);
    for (ptrdiff_t i = 0; i < arrlen(variables); i++)
        if (variables[i].external && variables[i].space == PTX_SHARED)
            decoder->shared_places[i] = dynamic;
    kernel->dynamic_offset = dynamic;
    if (kernel->local_bytes > LOCAL_MAX || kernel->shared_bytes > SHARED_MAX)
        return error_set(decoder->error,
                         "kernel %s: %lld bytes of local memory a thread and %lld of shared memory are too many",
                         kernel->name, (long long)kernel->local_bytes, (long long)kernel->shared_bytes);
    kernel->local_stride = shadow_words((size_t)kernel->local_bytes) * SHADOW_BYTES; /* no word is two lanes' */
    kernel->dynamic_limit = SHARED_MAX - kernel->shared_bytes;
    return true;
}

static bool place_parameters(struct decoder *decoder)
{
    struct sim_kernel *kernel = decoder->kernel;
    for (ptrdiff_t i = 0; i < arrlen(decoder->ptx->parameters); i++) {
        const struct ptx_variable *parameter = &decoder->ptx->parameters[i];
        int64_t offset = align_up(kernel->parameter_bytes, parameter->align);
        arrput(kernel->parameter_offsets, offset);
        kernel->parameter_bytes = offset + parameter->bytes;
    }
    return kernel->parameter_bytes <= PARAMETERS_MAX ||
           error_set(decoder->error, "kernel %s: %lld bytes of parameters are too many", kernel->name,
                     (long long)kernel->parameter_bytes);
}

/* Branches held the index of a label; they get that of an op. */
static bool resolve(struct decoder *decoder, const int *first_ops)
{
    struct sim_kernel *kernel = decoder->kernel;
    for (ptrdiff_t i = 0; i < arrlen(kernel->ops); i++) {
        struct op *op = &kernel->ops[i];
        if (op->kind != OP_BRANCH)
            continue;
        int64_t to = decoder->ptx->labels[op->target];
        if (to < 0)
            return error_set(decoder->error, "PTX line %d: the label stands nowhere",
                             decoder->ptx->code[op->instruction].line);
        op->target = (uint32_t)first_ops[to];
    }
    return true;
}

static bool decode_code(struct decoder *decoder)
{
    int *first_ops = NULL;
    bool good = true;
    for (ptrdiff_t i = 0; good && i < arrlen(decoder->ptx->code); i++) {
        decoder->instruction = &decoder->ptx->code[i];
        arrput(first_ops, (int)arrlen(decoder->kernel->ops));
        good = decode_instruction(decoder);
    }
    arrput(first_ops, (int)arrlen(decoder->kernel->ops));
    struct op end = {.kind = OP_EXIT, .class = CLASS_NONE, .instruction = (uint32_t)arrlen(decoder->ptx->code)};
    arrput(decoder->kernel->ops, end);
    good = good && resolve(decoder, first_ops);
    arrfree(first_ops);
    return good;
}

/* Kernels without code would give messages no line; their only op is the end. */
static bool finish(struct decoder *decoder)
{
    struct sim_kernel *kernel = decoder->kernel;
    kernel->image = calloc(1, kernel->register_bytes);
    if (!kernel->image || !sim_flow(kernel) || !sim_spread(kernel))
        return error_set(decoder->error, "no memory for a kernel");
    for (ptrdiff_t i = 0; i < hmlen(decoder->constants); i++) {
        const struct constant *constant = &decoder->constants[i];
        for (int l = 0; l < LANES; l++)
            memcpy(kernel->image + constant->value + (size_t)l * constant->key.width, &constant->key.bits,
                   constant->key.width);
    }
    return true;
}

struct sim_kernel *sim_kernel_decode(struct sim_module *module, const struct ptx_kernel *ptx, struct error *error)
{
    struct sim_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) {
        error_set(error, "no memory for a kernel");
        return NULL;
    }
    kernel->name = ptx->name;
    kernel->module = module;
    kernel->ptx = ptx;
    kernel->instruction_count = (int)arrlen(ptx->code);
    struct decoder decoder = {.module = module, .kernel = kernel, .ptx = ptx, .error = error};
    bool good = place_registers(&decoder) && place_variables(&decoder) && place_parameters(&decoder) &&
                decode_code(&decoder) && finish(&decoder);
    arrfree(decoder.places);
    arrfree(decoder.shared_places);
    hmfree(decoder.constants);
    hmfree(decoder.rows);
    if (good)
        return kernel;
    sim_kernel_free(kernel);
    return NULL;
}

void sim_kernel_free(struct sim_kernel *kernel)
{
    if (!kernel)
        return;
    for (ptrdiff_t i = 0; i < arrlen(kernel->details); i++)
        free(kernel->details[i]);
    arrfree(kernel->details);
    arrfree(kernel->ops);
    arrfree(kernel->specials);
    arrfree(kernel->parameter_offsets);
    free(kernel->image);
    free(kernel);
}
