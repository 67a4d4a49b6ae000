/* Decoders of moves, comparisons, selections, address conversions and control. */
#include "runtime/sim/decode.h"

#include <stdlib.h>
#include <string.h>

/* ---- mov ---- */

static bool is_vector(const struct decoder *decoder, int operand)
{
    return decoder->instruction->operands[operand].vector;
}

static uint32_t pack_pair(struct decoder *decoder, int part_width, uint32_t low, uint32_t high)
{
    uint32_t packed = decode_scratch(decoder, 2 * part_width);
    decode_emit_lane(decoder, part_width == 16 ? LANE_pack_16 : LANE_pack_32, packed, low, high);
    return packed;
}

/* mov.b32 %r, {%rs1, %rs2} and so on. */
static bool decode_pack(struct decoder *decoder, int width)
{
    const struct ptx_operand *from = &decoder->instruction->operands[1];
    uint32_t d, parts[4];
    int part = from->count ? width / from->count : 0;
    if ((from->count != 2 && from->count != 4) || (part != 16 && part != 32))
        return decode_unknown(decoder);
    for (int i = 0; i < from->count; i++)
        if (!decode_source(decoder, &from->values[i], part, false, &parts[i]))
            return false;
    if (!decode_destination_at(decoder, 0, width, &d))
        return false;
    if (from->count == 4) {
        parts[0] = pack_pair(decoder, 16, parts[0], parts[1]);
        parts[1] = pack_pair(decoder, 16, parts[2], parts[3]);
        part = 32;
    }
    decode_emit_lane(decoder, part == 16 ? LANE_pack_16 : LANE_pack_32, d, parts[0], parts[1]);
    return true;
}

/* mov.b64 {%r1, %r2}, %rd and so on. The source is first copied, since a part may be one of its own. */
static bool decode_unpack(struct decoder *decoder, int width)
{
    const struct ptx_operand *to = &decoder->instruction->operands[0];
    uint32_t source, d;
    int part = to->count ? width / to->count : 0;
    if ((to->count != 2 && to->count != 4) || (part != 16 && part != 32))
        return decode_unknown(decoder);
    if (!decode_source_at(decoder, 1, width, &source))
        return false;
    uint32_t halves[2] = {source, source};
    if (width == 64) {
        for (int i = 0; i < 2; i++) {
            halves[i] = decode_scratch(decoder, 32);
            decode_emit_lane(decoder, i ? LANE_high_32 : LANE_low_32, halves[i], source, 0);
        }
    }
    for (int i = 0; i < to->count; i++) {
        if (to->values[i].kind == PTX_SINK)
            continue;
        if (!decode_destination(decoder, &to->values[i], part, &d))
            return false;
        if (part == 32)
            decode_emit_lane(decoder, LANE_mov_b32, d, halves[2 * i / to->count], 0);
        else
            decode_emit_lane(decoder, i & 1 ? LANE_high_16 : LANE_low_16, d, halves[2 * i / to->count], 0);
    }
    return true;
}

static bool decode_mov_predicate(struct decoder *decoder)
{
    const struct ptx_operand *operands = decoder->instruction->operands;
    struct op op = {.kind = OP_RUN, .run = run_move_predicate};
    bool flip;
    if (!decode_predicate_written(decoder, &operands[0].values[0], &op.d) ||
        !decode_predicate(decoder, &operands[1].values[0], &op.a, &flip))
        return false;
    op.immediate = flip;
    decode_emit(decoder, op);
    return true;
}

/* The clocks count the warp's own instructions, so that they are the same in every run. */
static bool decode_clock(struct decoder *decoder, int width)
{
    struct op op = {.kind = OP_RUN, .run = run_clock, .wide = width == 64};
    const char *name = decoder->instruction->operands[1].values[0].name;
    op.immediate = strstr(name, "hi") != NULL;
    if (!decode_destination_at(decoder, 0, width, &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

bool decode_mov(struct decoder *decoder)
{
    struct decoded_type type = decode_type(decoder->modifiers[decoder->modifier_count - 1]);
    if (decoder->modifier_count != 2 || !type.width || !decode_count(decoder, 2, 2))
        return decode_unknown(decoder);
    if (type.kind == 'p')
        return decode_mov_predicate(decoder);
    int width = type.pair ? 32 : type.width < 16 ? 16 : type.width;
    const struct ptx_operand *from = &decoder->instruction->operands[1];
    if (is_vector(decoder, 1))
        return decode_pack(decoder, width);
    if (is_vector(decoder, 0))
        return decode_unpack(decoder, width);
    if (from->values[0].kind == PTX_SPECIAL &&
        (strncmp(from->values[0].name, "%clock", 6) == 0 || strncmp(from->values[0].name, "%globaltimer", 12) == 0))
        return decode_clock(decoder, width);
    uint32_t d, a;
    if (!decode_source_at(decoder, 1, width, &a) || !decode_destination_at(decoder, 0, width, &d))
        return false;
    decode_emit_lane(decoder, width == 64 ? LANE_mov_b64 : width == 32 ? LANE_mov_b32 : LANE_mov_b16, d, a, 0);
    return true;
}

/* ---- predicates ---- */

bool decode_predicate_logic(struct decoder *decoder)
{
    const struct ptx_operand *operands = decoder->instruction->operands;
    bool unary = strcmp(decoder->modifiers[0], "not") == 0;
    struct op op = {.kind = OP_RUN, .run = run_predicate_logic, .immediate = (uint64_t)decoder->modifiers[0][0]};
    bool flip_a = false, flip_b = false;
    if (decoder->modifier_count != 2 || !decode_has(decoder, "pred"))
        return decode_unknown(decoder);
    if (!decode_count(decoder, unary ? 2 : 3, unary ? 2 : 3) ||
        !decode_predicate_written(decoder, &operands[0].values[0], &op.d) ||
        !decode_predicate(decoder, &operands[1].values[0], &op.a, &flip_a) ||
        (!unary && !decode_predicate(decoder, &operands[2].values[0], &op.b, &flip_b)))
        return false;
    op.c = flip_a ? UINT32_MAX : 0;
    op.e = flip_b ? UINT32_MAX : 0;
    decode_emit(decoder, op);
    return true;
}

static const struct {
    const char *name, *type;
} compare_rows[] = {
#define COMPARE(row, operator, of, expression) {operator, #of },
#include "runtime/sim/opcodes.def"
};

/* The row that compares this type, or -1. The unsigned operators lo, ls, hi, hs are lt, le, gt, ge. */
static int compare_row(const char *name, const char *type)
{
    static const char *const same[][2] = {{"lo", "lt"}, {"ls", "le"}, {"hi", "gt"}, {"hs", "ge"}};
    static const char *const types[][2] = {{"b16", "u16"},   {"b32", "u32"},     {"b64", "u64"},
                                           {"f16x2", "f16"}, {"bf16x2", "bf16"}, {"b8", ""}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (type[0] == 'u' && strcmp(same[i][0], name) == 0)
            name = same[i][1];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i][0], type) == 0)
            type = types[i][1];
    for (size_t i = 0; i < sizeof compare_rows / sizeof *compare_rows; i++)
        if (strcmp(compare_rows[i].name, name) == 0 && strcmp(compare_rows[i].type, type) == 0)
            return (int)i;
    return -1;
}

/* .and .or .xor behind the operator combine with a third source. */
static char combining(const struct decoder *decoder)
{
    return decode_has(decoder, "and") ? '&' : decode_has(decoder, "or") ? '|' : decode_has(decoder, "xor") ? '^' : 0;
}

/* How many modifiers setp or set may have: the operator, the types, and those that are known beside. */
static bool known_modifiers(const struct decoder *decoder, int types)
{
    return decoder->modifier_count == 2 + types + (combining(decoder) != 0) + decode_has(decoder, "ftz");
}

static bool combine_with(struct decoder *decoder, int operand, struct comparison *comparison)
{
    comparison->combine = combining(decoder);
    comparison->with = PREDICATE_TRUE;
    if (!comparison->combine)
        return true;
    const struct ptx_value *with = &decoder->instruction->operands[operand].values[0];
    return decode_predicate(decoder, with, &comparison->with, &comparison->with_flip);
}

static void emit_compare(struct decoder *decoder, int row, uint32_t a, uint32_t b, const struct comparison *comparison)
{
    struct op op = {.kind = OP_COMPARE, .a = a, .b = b, .detail = comparison};
    op.compare = decoder->module->isa->compares[row];
    op.control = decode_has(decoder, "ftz") ? 0x8040 : 0;
    decode_emit(decoder, op);
}

/* Two comparisons: p is what holds for the low halves of a pair, q for the high ones. */
static bool compare_pair(struct decoder *decoder, int row, struct comparison *comparison)
{
    struct comparison *second = decode_detail(decoder, sizeof *second);
    uint32_t sources[2];
    if (!second || !decode_source_at(decoder, 1, 32, &sources[0]) || !decode_source_at(decoder, 2, 32, &sources[1]))
        return false;
    *second = *comparison;
    second->p = comparison->q;
    second->q = comparison->q = PREDICATE_SINK;
    for (int half = 0; half < 2; half++) {
        uint32_t parts[2];
        for (int i = 0; i < 2; i++) {
            parts[i] = decode_scratch(decoder, 16);
            decode_emit_lane(decoder, half ? LANE_high_16 : LANE_low_16, parts[i], sources[i], 0);
        }
        emit_compare(decoder, row, parts[0], parts[1], half ? second : comparison);
    }
    return true;
}

/* Both predicates change at once, since one may be the guard or be combined with. */
static bool set_pair(struct decoder *decoder, int row, struct comparison *comparison)
{
    struct op op = {.kind = OP_RUN, .run = run_move_pair, .d = comparison->p, .e = comparison->q};
    op.a = comparison->p = decode_scratch_predicate(decoder);
    op.b = comparison->q = decode_scratch_predicate(decoder);
    if (!compare_pair(decoder, row, comparison))
        return false;
    decode_emit(decoder, op);
    return true;
}

bool decode_setp(struct decoder *decoder)
{
    const struct ptx_instruction *instruction = decoder->instruction;
    const char *type_name = decoder->modifiers[decoder->modifier_count - 1];
    struct decoded_type type = decode_type(type_name);
    int row = compare_row(decoder->modifier_count > 1 ? decoder->modifiers[1] : "", type_name);
    struct comparison *comparison = decode_detail(decoder, sizeof *comparison);
    if (!comparison)
        return false;
    if (row < 0 || !known_modifiers(decoder, 1))
        return decode_unknown(decoder);
    int count = combining(decoder) ? 4 : 3;
    const struct ptx_operand *to = &instruction->operands[0];
    if (!decode_count(decoder, count, count) || !combine_with(decoder, 3, comparison) ||
        !decode_predicate_written(decoder, &to->values[0], &comparison->p))
        return false;
    comparison->q = PREDICATE_SINK;
    if (to->pair && !decode_predicate_written(decoder, &to->values[1], &comparison->q))
        return false;
    if (type.pair)
        return set_pair(decoder, row, comparison);
    uint32_t a, b;
    if (!decode_source_at(decoder, 1, type.width, &a) || !decode_source_at(decoder, 2, type.width, &b))
        return false;
    emit_compare(decoder, row, a, b, comparison);
    return true;
}

static void emit_select(struct decoder *decoder, bool wide, uint32_t d, uint32_t a, uint32_t b, uint32_t predicate)
{
    struct op op = {.kind = OP_RUN, .run = run_select, .wide = wide, .d = d, .a = a, .b = b, .c = predicate};
    decode_emit(decoder, op);
}

/* What set writes for true: all ones, or 1 in the format of the destination. */
static bool truth(const struct decoded_type *type, uint64_t *bits)
{
    switch (type->kind) {
    case 'u':
    case 's':
        *bits = type->width == 16 ? UINT16_MAX : UINT32_MAX;
        return type->width == 32 || type->width == 16;
    case 'f':
        *bits = 0x3f800000;
        return type->width == 32;
    case 'h':
        *bits = 0x3c00;
        return true;
    case 'g':
        *bits = 0x3f80;
        return true;
    default:
        return false;
    }
}

static bool set_halves(struct decoder *decoder, int row, uint64_t yes, struct comparison *comparison)
{
    uint32_t d, parts[2], predicates[2] = {decode_scratch_predicate(decoder), decode_scratch_predicate(decoder)};
    comparison->p = predicates[0];
    comparison->q = predicates[1];
    if (!compare_pair(decoder, row, comparison) || !decode_destination_at(decoder, 0, 32, &d))
        return false;
    for (int half = 0; half < 2; half++) {
        parts[half] = decode_scratch(decoder, 16);
        emit_select(decoder, false, parts[half], decode_constant(decoder, yes, 16), decode_constant(decoder, 0, 16),
                    predicates[half]);
    }
    decode_emit_lane(decoder, LANE_pack_16, d, parts[0], parts[1]);
    return true;
}

bool decode_set(struct decoder *decoder)
{
    int last = decoder->modifier_count - 1;
    if (last < 3)
        return decode_unknown(decoder);
    struct decoded_type from = decode_type(decoder->modifiers[last]), to = decode_type(decoder->modifiers[last - 1]);
    int row = compare_row(decoder->modifiers[1], decoder->modifiers[last]);
    struct comparison *comparison = decode_detail(decoder, sizeof *comparison);
    uint64_t yes;
    if (!comparison)
        return false;
    if (row < 0 || !from.width || !truth(&to, &yes) || !known_modifiers(decoder, 2))
        return decode_unknown(decoder);
    int count = combining(decoder) ? 4 : 3;
    if (!decode_count(decoder, count, count) || !combine_with(decoder, 3, comparison))
        return false;
    if (from.pair)
        return set_halves(decoder, row, to.width == 32 ? UINT16_MAX : yes, comparison);
    uint32_t d, a, b;
    comparison->p = decode_scratch_predicate(decoder);
    comparison->q = PREDICATE_SINK;
    if (!decode_source_at(decoder, 1, from.width, &a) || !decode_source_at(decoder, 2, from.width, &b) ||
        !decode_destination_at(decoder, 0, to.width, &d))
        return false;
    emit_compare(decoder, row, a, b, comparison);
    emit_select(decoder, false, d, decode_constant(decoder, yes, to.width), decode_constant(decoder, 0, to.width),
                comparison->p);
    return true;
}

bool decode_selp(struct decoder *decoder)
{
    struct decoded_type type = decode_type(decoder->modifiers[decoder->modifier_count - 1]);
    uint32_t d, a, b, p;
    bool flip;
    if (decoder->modifier_count != 2 || type.width < 16 || type.pair)
        return decode_unknown(decoder);
    if (!decode_count(decoder, 4, 4) || !decode_source_at(decoder, 1, type.width, &a) ||
        !decode_source_at(decoder, 2, type.width, &b) ||
        !decode_predicate(decoder, &decoder->instruction->operands[3].values[0], &p, &flip) ||
        !decode_destination_at(decoder, 0, type.width, &d))
        return false;
    emit_select(decoder, type.width == 64, d, flip ? b : a, flip ? a : b, p);
    return true;
}

/* ---- addresses ---- */

/* The window of a space, 0 for those whose addresses are generic ones already; false for what is no space. */
static bool window_of(const struct decoder *decoder, uint64_t *window)
{
    static const struct {
        const char *name;
        uint64_t window;
    } rows[] = {{"global", 0},
                {"const", 0},
                {"shared", WINDOW(WINDOW_SHARED)},
                {"shared::cta", WINDOW(WINDOW_SHARED)},
                {"local", WINDOW(WINDOW_LOCAL)},
                {"param", WINDOW(WINDOW_PARAM)},
                {"param::entry", WINDOW(WINDOW_PARAM)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (decode_has(decoder, rows[i].name)) {
            *window = rows[i].window;
            return true;
        }
    return false;
}

bool decode_cvta(struct decoder *decoder)
{
    uint64_t window;
    uint32_t d, a;
    bool to = decode_has(decoder, "to");
    if (!window_of(decoder, &window) || !decode_has(decoder, "u64") || decoder->modifier_count != 3 + to)
        return decode_unknown(decoder);
    if (!decode_count(decoder, 2, 2) || !decode_source_at(decoder, 1, 64, &a))
        return false;
    if (!decode_destination_at(decoder, 0, 64, &d))
        return false;
    decode_emit_lane(decoder, LANE_add_offset, d, a, decode_constant(decoder, to ? -window : window, 64));
    return true;
}

bool decode_isspacep(struct decoder *decoder)
{
    struct op op = {.kind = OP_RUN, .run = run_space_test};
    if (!window_of(decoder, &op.immediate) || decoder->modifier_count != 2)
        return decode_unknown(decoder);
    op.c = decode_has(decoder, "const");
    if (!decode_count(decoder, 2, 2) || !decode_source_at(decoder, 1, 64, &op.a) ||
        !decode_predicate_written(decoder, &decoder->instruction->operands[0].values[0], &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* ---- control ---- */

bool decode_bra(struct decoder *decoder)
{
    const struct ptx_operand *to = decoder->instruction->operands;
    if (decoder->modifier_count > 1 + decode_has(decoder, "uni"))
        return decode_unknown(decoder);
    if (!decode_count(decoder, 1, 1))
        return false;
    if (to->values[0].kind != PTX_LABEL || to->values[0].negated)
        return decode_fail(decoder, "'bra' takes a label");
    decode_emit(decoder, (struct op){.kind = OP_BRANCH, .target = to->values[0].index});
    return true;
}

bool decode_exit(struct decoder *decoder)
{
    if (decoder->modifier_count > 1 + decode_has(decoder, "uni"))
        return decode_unknown(decoder);
    decode_emit(decoder, (struct op){.kind = OP_EXIT});
    return decode_count(decoder, 0, 0);
}

bool decode_trap(struct decoder *decoder)
{
    if (decoder->modifier_count > 1)
        return decode_unknown(decoder);
    decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_trap});
    return decode_count(decoder, 0, 0);
}

bool decode_nanosleep(struct decoder *decoder)
{
    if (decoder->modifier_count != 2 || !decode_has(decoder, "u32"))
        return decode_unknown(decoder);
    decode_emit(decoder, (struct op){.kind = OP_YIELD});
    return decode_count(decoder, 1, 1);
}

bool decode_nothing(struct decoder *decoder)
{
    decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_fence});
    return true;
}

/* Memory is in order here, but for that of threads of the CPU: a fence is one there too. */
bool decode_fence(struct decoder *decoder)
{
    static const char *const known[] = {"gl", "cta", "sys", "sc", "acq_rel", "acquire", "release", "gpu", "cluster"};
    for (int i = 1; i < decoder->modifier_count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || strcmp(known[k], decoder->modifiers[i]) == 0;
        if (!found)
            return decode_unknown(decoder);
    }
    decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_fence, .immediate = !decode_has(decoder, "cta")});
    return decode_count(decoder, 0, 0);
}
