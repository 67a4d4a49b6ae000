/* The host printer's expressions: one C statement a value, over the vectors of prelude/host.h. */
#include "codegen/print_host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *lane_type(enum lane_kind lane)
{
    static const char *const names[] = {"floats", "ints", "longs", "ints"};
    return names[lane];
}

const char *print_value_name(struct printer *printer, int value)
{
    const struct node *node = printer->lowered->values[value].node;
    return arena_printf(printer->arena, "%s_%d", node ? text_identifier(node, printer->arena) : "mask", value);
}

const char *print_buffer_name(struct printer *printer, int buffer)
{
    const struct node *node = printer->lowered->buffers[buffer].node;
    return arena_printf(printer->arena, "%s_b%d", text_identifier(node, printer->arena), buffer);
}

/* ---- indices ---- */

static const char *add_term(struct printer *printer, const char *sum, int64_t factor, const char *factor_of)
{
    const char *sign = *sum ? (factor < 0 ? " - " : " + ") : (factor < 0 ? "-" : "");
    int64_t size = factor < 0 ? -factor : factor;
    if (size == 1)
        return arena_printf(printer->arena, "%s%s%s", sum, sign, factor_of);
    return arena_printf(printer->arena, "%s%s%lld * %s", sum, sign, (long long)size, factor_of);
}

static const char *add_constant(struct printer *printer, const char *sum, int64_t constant)
{
    if (!*sum)
        return arena_printf(printer->arena, "%lld", (long long)constant);
    if (constant == 0)
        return sum;
    return arena_printf(printer->arena, "%s %c %lld", sum, constant < 0 ? '-' : '+', (long long)llabs(constant));
}

const char *print_uniform(struct printer *printer, const struct affine *index)
{
    const char *sum = "";
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &printer->lowered->variables[index->terms[i].variable];
        bool loop = variable->kind == INDEX_LOOP;
        if (variable->kind == INDEX_MERGED || (variable->vector && !loop))
            continue;
        const char *name = arena_printf(printer->arena, "%c%d", loop ? 'i' : 'd', index->terms[i].variable);
        sum = add_term(printer, sum, index->terms[i].factor, name);
    }
    return add_constant(printer, sum, index->constant);
}

const char *print_varying(struct printer *printer, const struct affine *index)
{
    const char *sum = "";
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &printer->lowered->variables[index->terms[i].variable];
        if (!variable->vector || variable->kind == INDEX_MERGED)
            continue;
        const char *name =
            variable->kind == INDEX_LOOP ? "lane" : arena_printf(printer->arena, "d%d", index->terms[i].variable);
        sum = add_term(printer, sum, index->terms[i].factor, name);
    }
    return *sum ? sum : NULL;
}

/* Lanes lie next to each other in memory. */
static bool is_contiguous(const struct printer *printer, const struct affine *index)
{
    bool contiguous = false;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &printer->lowered->variables[index->terms[i].variable];
        if (!variable->vector || variable->kind == INDEX_MERGED)
            continue;
        if (variable->kind != INDEX_LOOP || index->terms[i].factor != 1)
            return false;
        contiguous = true;
    }
    return contiguous;
}

static const char *ints_of(struct printer *printer, const struct affine *index)
{
    const char *varying = print_varying(printer, index), *uniform = print_uniform(printer, index);
    return varying ? arena_printf(printer->arena, "(int)(%s) + %s", uniform, varying)
                   : arena_printf(printer->arena, "splat_int((int)(%s))", uniform);
}

void print_index(struct printer *printer, int number)
{
    const struct index_variable *variable = &printer->lowered->variables[number];
    bool clamp = variable->kind == INDEX_CLAMP;
    const char *type = variable->vector ? "ints" : "long";
    const char *of = variable->vector ? ints_of(printer, variable->of) : print_uniform(printer, variable->of);
    if (clamp)
        text_line(&printer->text, "const %s d%d = %s(%s, %lld, %lld);", type, number,
                  variable->vector ? "hold_ints" : "hold", of, (long long)variable->low, (long long)variable->high);
    else
        text_line(&printer->text, "const %s d%d = (%s) %c %lld;", type, number, of,
                  variable->kind == INDEX_QUOTIENT ? '/' : '%', (long long)variable->by);
}

/* ---- memory ---- */

/* Where to find lanes: function suffix and arguments behind the buffer; `slice` chooses among slices (-1: none). */
struct access {
    const char *suffix, *at, *lanes; /* lanes: vector of offsets, NULL where it is not needed */
};

static struct access access_of(struct printer *printer, const struct affine *index, int slice, int64_t stride,
                               int64_t last)
{
    struct access access = {.suffix = "", .at = print_uniform(printer, index)};
    const char *varying = print_varying(printer, index);
    bool contiguous = is_contiguous(printer, index);
    if (slice >= 0) {
        const char *name = print_value_name(printer, slice);
        if (printer->lowered->values[slice].vector) {
            contiguous = false;
            varying = arena_printf(printer->arena, "%s%s%lld * hold_ints(%s, 0, %lld)", varying ? varying : "",
                                   varying ? " + " : "", (long long)stride, name, (long long)last);
        } else {
            access.at = arena_printf(printer->arena, "%s + %lld * hold(%s[0], 0, %lld)", access.at, (long long)stride,
                                     name, (long long)last);
        }
    }
    if (!varying)
        access.suffix = "all_";
    else if (!contiguous) {
        access.suffix = "at_";
        access.lanes = varying;
    } else if (printer->lanes < LANES) {
        access.suffix = "part_";
    }
    return access;
}

static const char *print_load(struct printer *printer, const struct value *value)
{
    int slice = value->operand_count ? value->operands[0] : -1;
    struct access access = access_of(printer, value->index, slice, value->stride, value->high);
    const char *buffer = print_buffer_name(printer, value->buffer);
    const char *start = arena_printf(printer->arena, "load_%s%s(%s, %s", access.suffix, element_name(value->element),
                                     buffer, access.at);
    if (access.lanes && value->element == ELEMENT_F32 && printer->lanes == LANES)
        return arena_printf(printer->arena, "gather_f32(%s, %s, %s)", buffer, access.at, access.lanes);
    if (access.lanes)
        return arena_printf(printer->arena, "%s, %s, %d)", start, access.lanes, printer->lanes);
    return strcmp(access.suffix, "part_") == 0 ? arena_printf(printer->arena, "%s, %d)", start, printer->lanes)
                                               : arena_printf(printer->arena, "%s)", start);
}

void print_store(struct printer *printer, const struct store *store)
{
    struct access access = access_of(printer, store->index, store->slice, store->stride, store->last);
    const char *suffix = strcmp(access.suffix, "all_") == 0 ? "one_" : access.suffix;
    const char *name = print_value_name(printer, store->value);
    const char *start = arena_printf(printer->arena, "store_%s%s(%s, %s", suffix, element_name(store->element),
                                     print_buffer_name(printer, store->buffer), access.at);
    if (access.lanes)
        text_line(&printer->text, "%s, %s, %s, %d);", start, access.lanes, name, printer->lanes);
    else if (strcmp(suffix, "part_") == 0)
        text_line(&printer->text, "%s, %s, %d);", start, name, printer->lanes);
    else
        text_line(&printer->text, "%s, %s);", start, name);
}

/* ---- expressions ---- */

/* $0, $1 and $2 stand for the operands. */
static const char *fill(struct printer *printer, const char *pattern, const struct value *value)
{
    struct text text = {0};
    for (const char *c = pattern; *c; c++) {
        if (*c == '$')
            text_add(&text, "%s", print_value_name(printer, value->operands[*++c - '0']));
        else
            text_add(&text, "%c", *c);
    }
    return text_finish(&text, printer->arena);
}

/* How each op is written for floats and for integers. NULL: the op does not occur there. Comparisons of longs give
 * longs and are narrowed by print_pointwise. */
static const struct {
    const char *on_floats, *on_integers, *on_masks;
} patterns[OP_COUNT] = {
    [OP_neg] = {"-$0", "-$0", NULL},
    [OP_abs] = {"float_abs($0)", "long_max($0, -$0)", NULL},
    [OP_sign] = {"float_sign($0)", "($0 < 0) - ($0 > 0)", NULL},
    [OP_floor] = {"float_floor($0)", "$0", NULL},
    [OP_ceil] = {"float_ceil($0)", "$0", NULL},
    [OP_round] = {"float_round($0)", "$0", NULL},
    [OP_sqrt] = {"float_sqrt($0)", NULL, NULL},
    [OP_rsqrt] = {"float_rsqrt($0)", NULL, NULL},
    [OP_exp] = {"float_exp($0)", NULL, NULL},
    [OP_expm1] = {"float_expm1($0)", NULL, NULL},
    [OP_log] = {"float_log($0)", NULL, NULL},
    [OP_log1p] = {"float_log1p($0)", NULL, NULL},
    [OP_sin] = {"float_sin($0)", NULL, NULL},
    [OP_cos] = {"float_cos($0)", NULL, NULL},
    [OP_tanh] = {"float_tanh($0)", NULL, NULL},
    [OP_erf] = {"float_erf($0)", NULL, NULL},
    [OP_isfinite] = {"float_isfinite($0)", "$0 == $0", NULL},
    [OP_not] = {NULL, NULL, "~$0"},
    [OP_add] = {"$0 + $1", "$0 + $1", NULL},
    [OP_sub] = {"$0 - $1", "$0 - $1", NULL},
    [OP_mul] = {"$0 * $1", "$0 * $1", NULL},
    [OP_div] = {"$0 / $1", NULL, NULL},
    [OP_pow] = {"float_pow($0, $1)", NULL, NULL},
    [OP_max] = {"float_max($0, $1)", "long_max($0, $1)", NULL},
    [OP_min] = {"float_min($0, $1)", "long_min($0, $1)", NULL},
    [OP_eq] = {"$0 == $1", "$0 == $1", NULL},
    [OP_ne] = {"$0 != $1", "$0 != $1", NULL},
    [OP_lt] = {"$0 < $1", "$0 < $1", NULL},
    [OP_le] = {"$0 <= $1", "$0 <= $1", NULL},
    [OP_gt] = {"$0 > $1", "$0 > $1", NULL},
    [OP_ge] = {"$0 >= $1", "$0 >= $1", NULL},
    [OP_and] = {NULL, NULL, "$0 & $1"},
    [OP_or] = {NULL, NULL, "$0 | $1"},
    [OP_fma] = {"float_fma($0, $1, $2)", "$0 * $1 + $2", NULL},
};

static const char *print_where(struct printer *printer, const struct value *value)
{
    return fill(printer,
                value->lane == LANE_FLOAT  ? "choose($0, $1, $2)"
                : value->lane == LANE_LONG ? "choose_long($0, $1, $2)"
                                           : "choose_int($0, $1, $2)",
                value);
}

static const char *print_pointwise(struct printer *printer, const struct value *value)
{
    if (value->op == OP_where)
        return print_where(printer, value);
    if (value->op == OP_pow && !value->vector)
        return fill(printer, "float_pow_uniform($0, $1)", value);
    const struct value *last = &printer->lowered->values[value->operands[value->operand_count - 1]];
    bool constant = last->kind == VALUE_CONSTANT && !isnan(last->constant);
    if (value->domain == LANE_FLOAT && value->op == OP_max && constant)
        return fill(printer, "choose($0 <= $1, $1, $0)", value); /* relu; the constant is no NaN */
    if (value->domain == LANE_INT && (value->op == OP_max || value->op == OP_min))
        return fill(printer, value->op == OP_max ? "int_max($0, $1)" : "int_min($0, $1)", value);
    const char *pattern = value->domain == LANE_FLOAT  ? patterns[value->op].on_floats
                          : value->domain == LANE_MASK ? patterns[value->op].on_masks
                                                       : patterns[value->op].on_integers;
    if (!pattern)
        castor_bug("%s cannot be printed for these operands", op_info(value->op)->name);
    const char *text = fill(printer, pattern, value);
    bool narrow = value->domain == LANE_LONG && value->lane == LANE_MASK;
    return narrow ? arena_printf(printer->arena, "__builtin_convertvector(%s, ints)", text) : text;
}

static const char *print_constant(struct printer *printer, const struct value *value)
{
    double constant = value->constant;
    if (value->lane == LANE_MASK)
        return constant != 0 ? "splat_int(-1)" : "splat_int(0)";
    if (value->lane == LANE_INT)
        return arena_printf(printer->arena, constant < -2147483647 ? "splat_int(%.0f - 1)" : "splat_int(%.0f)",
                            constant < -2147483647 ? constant + 1 : constant);
    if (value->lane == LANE_LONG)
        return constant <= -0x1p63 ? "splat_long(-9223372036854775807LL - 1)"
                                   : arena_printf(printer->arena, "splat_long(%.0fLL)", constant);
    if (isnan(constant))
        return "splat(__builtin_nanf(\"\"))";
    if (isinf(constant))
        return constant < 0 ? "splat(-__builtin_inff())" : "splat(__builtin_inff())";
    char digits[40];
    snprintf(digits, sizeof digits, "%.9g", constant);
    return arena_printf(printer->arena, "splat(%s%sf)", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static const char *print_convert(struct printer *printer, const struct value *value)
{
    static const char *const table[4][4] = {
        /* to:          floats                ints               longs                masks */
        [LANE_FLOAT] = {"$0", "float_to_int($0)", "float_to_long($0)", "$0 != 0"},
        [LANE_INT] = {"int_to_float($0)", "$0", "int_to_long($0)", "$0 != 0"},
        [LANE_LONG] = {"long_to_float($0)", "long_to_int($0)", "$0", "__builtin_convertvector($0 != 0, ints)"},
        [LANE_MASK] = {"int_to_float($0 & 1)", "$0 & 1", "int_to_long($0 & 1)", "$0"},
    };
    enum lane_kind from = printer->lowered->values[value->operands[0]].lane;
    const char *text = fill(printer, table[from][value->lane], value);
    return value->element == ELEMENT_U8 ? arena_printf(printer->arena, "saturate_byte(%s)", text) : text;
}

static const char *print_inside(struct printer *printer, const struct value *value)
{
    long long low = value->low, high = value->high;
    if (value->vector) {
        const char *index = ints_of(printer, value->index);
        return arena_printf(printer->arena, "(%s >= %lld) & (%s <= %lld)", index, low, index, high);
    }
    const char *index = print_uniform(printer, value->index);
    return arena_printf(printer->arena, "splat_int(-(%s >= %lld && %s <= %lld))", index, low, index, high);
}

/* Lanes in order from a multiple of LANES: the vector loop steps by LANES, all other factors are multiples. */
static bool is_stocked(const struct printer *printer, const struct value *value)
{
    bool stocked = value->index->constant % LANES == 0 && is_contiguous(printer, value->index);
    for (int i = 0; i < value->index->count && stocked; i++) {
        const struct index_variable *variable = &printer->lowered->variables[value->index->terms[i].variable];
        stocked = variable->vector || variable->kind == INDEX_MERGED || value->index->terms[i].factor % LANES == 0;
    }
    return stocked;
}

static const char *print_random(struct printer *printer, const struct value *value)
{
    if (is_stocked(printer, value))
        return arena_printf(printer->arena, "uniform_from(&stock_%d, %s, %s, integers[%d], %s)",
                            (int)(value - printer->lowered->values), print_value_name(printer, value->operands[0]),
                            print_value_name(printer, value->operands[1]), value->integer,
                            print_uniform(printer, value->index));
    const char *varying = print_varying(printer, value->index);
    return arena_printf(printer->arena, "uniform_bits(%s, %s, integers[%d], %s, %s)",
                        print_value_name(printer, value->operands[0]), print_value_name(printer, value->operands[1]),
                        value->integer, print_uniform(printer, value->index), varying ? varying : "splat_int(0)");
}

static const char *print_expression(struct printer *printer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_CONSTANT:
        return print_constant(printer, value);
    case VALUE_LOAD:
        return print_load(printer, value);
    case VALUE_INDEX:
        return ints_of(printer, value->index);
    case VALUE_INSIDE:
        return print_inside(printer, value);
    case VALUE_POINTWISE:
        return print_pointwise(printer, value);
    case VALUE_CONVERT:
        return print_convert(printer, value);
    case VALUE_ROUND:
        return fill(printer, value->element == ELEMENT_F16 ? "round_f16($0)" : "round_bf16($0)", value);
    case VALUE_SELECT:
        return print_where(printer, value);
    case VALUE_RANDOM:
        return print_random(printer, value);
    case VALUE_RESULT:
        break;
    }
    const struct reduction *reduction = &printer->lowered->reductions[value->reduction];
    return arena_printf(printer->arena, "%s_result(a%d)", print_accumulator(printer, reduction), value->reduction);
}

bool print_is_stocked(const struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    return value->kind == VALUE_RANDOM && is_stocked(printer, value);
}

void print_value(struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    text_line(&printer->text, "const %s %s = %s;", lane_type(value->lane), print_value_name(printer, number),
              print_expression(printer, value));
}
