/* Decoding operands: registers, constants, special registers, addresses. */
#include "runtime/sim/decode.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int width;
} special_rows[] = {
#define SPECIAL(name, text, width) {text, width},
#include "runtime/sim/specials.def"
};

bool decode_fail(struct decoder *decoder, const char *format, ...)
{
    char text[ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(decoder->error, "PTX line %d, kernel %s: %s", decoder->instruction->line, decoder->kernel->name,
                     text);
}

bool decode_unknown(struct decoder *decoder)
{
    return decode_fail(decoder, "the simulated GPU does not know the opcode '%s'", decoder->instruction->opcode);
}

bool decode_has(const struct decoder *decoder, const char *modifier)
{
    for (int i = 1; i < decoder->modifier_count; i++)
        if (strcmp(decoder->modifiers[i], modifier) == 0)
            return true;
    return false;
}

bool decode_count(struct decoder *decoder, int least, int most)
{
    int count = decoder->instruction->operand_count;
    return (count >= least && count <= most) ||
           decode_fail(decoder, "'%s' has %d operands", decoder->instruction->opcode, count);
}

void decode_emit(struct decoder *decoder, struct op op)
{
    int guard = decoder->instruction->guard;
    op.class = decoder->class;
    decoder->class = CLASS_NONE;
    op.guard = guard < 0 ? PREDICATE_TRUE : decoder->places[guard];
    op.guard_flip = guard >= 0 && decoder->instruction->guard_negated ? UINT32_MAX : 0;
    if (op.control)
        op.kind = op.kind == OP_LANE ? OP_ROUNDED : OP_ROUNDED_COMPARE;
    op.instruction = (uint32_t)(decoder->instruction - decoder->ptx->code);
    arrput(decoder->kernel->ops, op);
}

void decode_emit_lane(struct decoder *decoder, enum lane_index lane, uint32_t d, uint32_t a, uint32_t b)
{
    static const bool wide[LANE_COUNT] = {[LANE_mov_b64] = true,
                                          [LANE_pack_32] = true,
                                          [LANE_wide_u32] = true,
                                          [LANE_wide_s32] = true,
                                          [LANE_add_offset] = true};
    struct op op = {.kind = OP_LANE, .lane = decoder->module->isa->lanes[lane], .d = d, .a = a, .b = b};
    op.wide = wide[lane];
    decode_emit(decoder, op);
}

void *decode_detail(struct decoder *decoder, size_t bytes)
{
    void *detail = calloc(1, bytes);
    if (!detail)
        decode_fail(decoder, "out of memory");
    else
        arrput(decoder->kernel->details, detail);
    return detail;
}

/* ---- places ---- */

uint32_t decode_scratch(struct decoder *decoder, int width)
{
    uint32_t place = decoder->kernel->register_bytes;
    uint32_t cell = width == 64 ? 8 : 4;
    decoder->kernel->register_bytes += LANES * cell;
    return place;
}

uint32_t decode_scratch_predicate(struct decoder *decoder)
{
    return decoder->kernel->predicate_count++;
}

uint32_t decode_constant(struct decoder *decoder, uint64_t bits, int width)
{
    struct constant constant = {.key = {width == 64   ? bits
                                        : width == 32 ? (uint32_t)bits
                                                      : (uint16_t)bits,
                                        width == 64 ? 8 : 4}};
    ptrdiff_t known = hmgeti(decoder->constants, constant.key);
    if (known >= 0)
        return decoder->constants[known].value;
    constant.value = decode_scratch(decoder, width);
    hmputs(decoder->constants, constant);
    return constant.value;
}

const struct ptx_register *decode_register(const struct decoder *decoder, const struct ptx_value *value)
{
    return value->kind == PTX_REGISTER ? &decoder->ptx->registers[value->index] : NULL;
}

/* An immediate as the bits of a width; floats convert where they were written in the other format. */
static uint64_t immediate_bits(const struct ptx_value *value, int width)
{
    if (width == 32 && value->real64)
        return ptx_single(value);
    if (width == 64 && value->real && !value->real64) {
        uint32_t bits = (uint32_t)value->bits;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        double wide = (double)narrow;
        uint64_t wide_bits;
        memcpy(&wide_bits, &wide, sizeof wide_bits);
        return wide_bits;
    }
    return value->bits;
}

static bool special_source(struct decoder *decoder, const struct ptx_value *value, int width, uint32_t *place)
{
    int which = -1;
    for (size_t i = 0; i < sizeof special_rows / sizeof *special_rows; i++)
        if (strcmp(special_rows[i].name, value->name) == 0)
            which = (int)i;
    if (which < 0)
        return decode_fail(decoder, "the simulated GPU does not know the register '%s'", value->name);
    struct special *specials = decoder->kernel->specials;
    for (ptrdiff_t i = 0; i < arrlen(specials); i++)
        if (specials[i].which == which) {
            *place = specials[i].register_offset;
            which = -1;
        }
    if (which >= 0) {
        struct special made = {which, decode_scratch(decoder, 32)};
        arrput(decoder->kernel->specials, made);
        *place = made.register_offset;
    }
    if (width == 64) {
        uint32_t wide = decode_scratch(decoder, 64);
        decode_emit_lane(decoder, LANE_wide_u32, wide, *place, 0);
        *place = wide;
    } else if (width == 16) {
        uint32_t narrow = decode_scratch(decoder, 16);
        decode_emit_lane(decoder, LANE_low_16, narrow, *place, 0);
        *place = narrow;
    }
    return true;
}

static void narrow(struct decoder *decoder, int from, int to, uint32_t *place)
{
    if (from == 64) {
        uint32_t half = decode_scratch(decoder, 32);
        decode_emit_lane(decoder, LANE_low_32, half, *place, 0);
        *place = half;
    }
    if (to == 16) {
        uint32_t half = decode_scratch(decoder, 16);
        decode_emit_lane(decoder, LANE_low_16, half, *place, 0);
        *place = half;
    }
}

static bool register_source(struct decoder *decoder, const struct ptx_value *value, int width, bool relaxed,
                            uint32_t *place)
{
    const struct ptx_register *from = decode_register(decoder, value);
    int bits = from->type.bits < 16 && from->type.kind != 'p' ? 16 : from->type.bits;
    if (from->type.kind == 'p' || bits < width || (bits > width && !relaxed))
        return decode_fail(decoder, "'%s' has %d bits where '%s' takes %d", value->name, from->type.bits,
                           decoder->instruction->opcode, width);
    *place = decoder->places[value->index];
    if (bits > width)
        narrow(decoder, bits, width, place);
    return true;
}

bool decode_variable(struct decoder *decoder, const struct ptx_value *value, enum ptx_space *space, uint64_t *address)
{
    if (value->index >> 31) {
        *space = PTX_PARAM;
        *address = (uint64_t)decoder->kernel->parameter_offsets[value->index & 0x7fffffff];
        return true;
    }
    const struct ptx_variable *variable = &decoder->module->ptx->variables[value->index];
    *space = variable->space;
    if (variable->space == PTX_SHARED || variable->space == PTX_LOCAL) {
        *address = (uint64_t)decoder->shared_places[value->index];
        return true;
    }
    *address = decoder->module->addresses[value->index];
    return *address || decode_fail(decoder, "'%s' has no address here", value->name);
}

bool decode_source(struct decoder *decoder, const struct ptx_value *value, int width, bool relaxed, uint32_t *place)
{
    enum ptx_space space;
    uint64_t address;
    if (value->negated)
        return decode_fail(decoder, "'!%s' stands where no predicate does", value->name);
    switch (value->kind) {
    case PTX_REGISTER:
        return register_source(decoder, value, width, relaxed, place);
    case PTX_SPECIAL:
        return special_source(decoder, value, width, place);
    case PTX_IMMEDIATE:
        *place = decode_constant(decoder, immediate_bits(value, width), width);
        return true;
    case PTX_VARIABLE:
        if (!decode_variable(decoder, value, &space, &address))
            return false;
        *place = decode_constant(decoder, address + (uint64_t)value->offset, width);
        return true;
    default:
        return decode_fail(decoder, "'%s' cannot be read", value->name ? value->name : "?");
    }
}

bool decode_source_at(struct decoder *decoder, int operand, int width, uint32_t *place)
{
    return decode_source(decoder, &decoder->instruction->operands[operand].values[0], width, false, place);
}

bool decode_destination(struct decoder *decoder, const struct ptx_value *value, int width, uint32_t *place)
{
    if (value->kind == PTX_SINK) {
        *place = decode_scratch(decoder, width);
        return true;
    }
    const struct ptx_register *to = decode_register(decoder, value);
    int bits = !to ? 0 : to->type.bits < 16 && to->type.kind != 'p' ? 16 : to->type.bits;
    if (!to || to->type.kind == 'p' || bits != width || value->negated)
        return decode_fail(decoder, "'%s' cannot take %d bits", value->name ? value->name : "this", width);
    *place = decoder->places[value->index];
    return true;
}

bool decode_destination_at(struct decoder *decoder, int operand, int width, uint32_t *place)
{
    const struct ptx_operand *to = &decoder->instruction->operands[operand];
    if (to->address || to->vector)
        return decode_fail(decoder, "the destination of '%s' must be a register", decoder->instruction->opcode);
    return decode_destination(decoder, &to->values[0], width, place);
}

static bool named_predicate(struct decoder *decoder, const struct ptx_value *value, uint32_t *predicate)
{
    const struct ptx_register *named = decode_register(decoder, value);
    if (!named || named->type.kind != 'p')
        return decode_fail(decoder, "'%s' is no predicate", value->name ? value->name : "this");
    *predicate = decoder->places[value->index];
    return true;
}

bool decode_predicate(struct decoder *decoder, const struct ptx_value *value, uint32_t *predicate, bool *flip)
{
    *flip = value->negated;
    if (value->kind != PTX_IMMEDIATE)
        return named_predicate(decoder, value, predicate);
    *predicate = PREDICATE_TRUE;
    *flip = value->bits == 0;
    return true;
}

bool decode_predicate_written(struct decoder *decoder, const struct ptx_value *value, uint32_t *predicate)
{
    if (value->negated)
        return decode_fail(decoder, "'!%s' cannot be written", value->name);
    *predicate = PREDICATE_SINK;
    return value->kind == PTX_SINK || named_predicate(decoder, value, predicate);
}

bool decode_address(struct decoder *decoder, int operand, struct decoded_address *address)
{
    const struct ptx_operand *from = &decoder->instruction->operands[operand];
    const struct ptx_value *value = &from->values[0];
    *address = (struct decoded_address){.offset = (uint64_t)from->offset, .wide = true};
    if (!from->address || value->negated)
        return decode_fail(decoder, "operand %d of '%s' must be an address", operand + 1, decoder->instruction->opcode);
    if (value->kind == PTX_REGISTER) {
        address->wide = decode_register(decoder, value)->type.bits == 64;
        return decode_source(decoder, value, address->wide ? 64 : 32, false, &address->base);
    }
    address->base = decode_constant(decoder, 0, 64);
    if (value->kind == PTX_IMMEDIATE) {
        address->offset += value->bits;
        return true;
    }
    enum ptx_space space;
    uint64_t variable;
    if (value->kind != PTX_VARIABLE)
        return decode_fail(decoder, "'%s' is no address", value->name ? value->name : "this");
    if (!decode_variable(decoder, value, &space, &variable))
        return false;
    address->offset += variable;
    address->parameter = space == PTX_PARAM;
    return true;
}

bool decode_whole(struct decoder *decoder, int operand, int64_t *number)
{
    const struct ptx_operand *from = &decoder->instruction->operands[operand];
    if (from->address || from->vector || from->values[0].kind != PTX_IMMEDIATE || from->values[0].real)
        return decode_fail(decoder, "operand %d of '%s' must be a number", operand + 1, decoder->instruction->opcode);
    *number = (int64_t)from->values[0].bits;
    return true;
}

struct decoded_type decode_type(const char *name)
{
    static const struct {
        const char *name;
        struct decoded_type type;
    } rows[] = {{"f16", {'h', 16, false}},
                {"f16x2", {'h', 16, true}},
                {"bf16", {'g', 16, false}},
                {"bf16x2", {'g', 16, true}},
                {"pred", {'p', 1, false}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].type;
    long width = name[0] && strchr("usbf", name[0]) ? strtol(name + 1, NULL, 10) : 0;
    bool known = width == 8 || width == 16 || width == 32 || width == 64;
    return (struct decoded_type){name[0], known ? (int)width : 0, false};
}
