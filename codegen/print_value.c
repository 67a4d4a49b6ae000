/* Expressions that host and GPU share: one C expression a value, over the functions that both preludes have. */
#include "codegen/cuda_plan.h"
#include "codegen/print.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *print_lane_type(const struct printer *printer, enum lane_kind lane)
{
    static const char *const vectors[] = {"floats", "ints", "longs", "ints"};
    static const char *const scalars[] = {"float", "int", "long long", "bool"};
    return printer->scalar ? scalars[lane] : vectors[lane];
}

const char *print_value_name(struct printer *printer, int value)
{
    const struct node *node = printer->lowered->values[value].node;
    if (printer->structural && node)
        return arena_printf(printer->arena, "%s_%d",
                            printer->lowered->values[value].kind == VALUE_LOAD ? "loaded" : op_info(node->op)->name,
                            value);
    return arena_printf(printer->arena, "%s_%d", node ? text_identifier(node, printer->arena) : "mask", value);
}

const char *print_buffer_name(struct printer *printer, int buffer)
{
    const struct node *node = printer->lowered->buffers[buffer].node;
    if (printer->structural)
        return arena_printf(printer->arena, "b%d", buffer);
    return arena_printf(printer->arena, "%s_b%d", text_identifier(node, printer->arena), buffer);
}

const char *print_integer(struct printer *printer, int integer)
{
    int pick = cuda_find_pick(printer->picks, PICK_INTEGER, integer);
    if (pick >= 0)
        return arena_printf(printer->arena, "given.integer[at[%d]]", pick);
    return arena_printf(printer->arena, printer->scalar ? "given.integer[%d]" : "integers[%d]", integer);
}

const char *print_accumulator(struct printer *printer, const struct reduction *reduction)
{
    const char *name = op_info(reduction->node->op)->name;
    if (reduction->node->op == OP_fold || reduction->node->op == OP_cumsum || reduction->node->op == OP_tap_sums)
        name = "sum";
    if (reduction->node->op == OP_reduce_max || reduction->node->op == OP_reduce_min)
        name = reduction->node->op == OP_reduce_max ? "max" : "min";
    return arena_printf(printer->arena, "%s_%s", name,
                        reduction->lane == LANE_FLOAT ? "float"
                        : reduction->lane == LANE_INT ? "int"
                                                      : "long");
}

/* ---- indices ---- */

const char *print_add_term(struct printer *printer, const char *sum, int64_t factor, const char *factor_of)
{
    const char *sign = *sum ? (factor < 0 ? " - " : " + ") : (factor < 0 ? "-" : "");
    int64_t size = factor < 0 ? -factor : factor;
    if (size == 1)
        return arena_printf(printer->arena, "%s%s%s", sum, sign, factor_of);
    return arena_printf(printer->arena, "%s%s%lld * %s", sum, sign, (long long)size, factor_of);
}

const char *print_add_constant(struct printer *printer, const char *sum, int64_t constant)
{
    if (!*sum)
        return arena_printf(printer->arena, "%lld", (long long)constant);
    if (constant == 0)
        return sum;
    return arena_printf(printer->arena, "%s %c %lld", sum, constant < 0 ? '-' : '+', (long long)llabs(constant));
}

/* Lanes lie next to each other in memory. */
bool print_is_contiguous(const struct lowered *lowered, const struct affine *index)
{
    bool contiguous = false;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        if (!variable->vector || variable->kind == INDEX_MERGED)
            continue;
        if (variable->kind != INDEX_LOOP || index->terms[i].factor != 1)
            return false;
        contiguous = true;
    }
    return contiguous;
}

int64_t print_extent(const struct printer *printer, int variable)
{
    return printer->lowered->variables[variable].high + 1;
}

const char *print_inner_place(struct printer *printer, const char *start, int64_t stride)
{
    const struct loop_nest *nest = printer->nest;
    for (int i = nest->inner_count - 1; i >= 0; i--) {
        start = arena_printf(printer->arena, "%s + %lld * i%d", start, (long long)stride, nest->inner_loops[i]);
        stride *= print_extent(printer, nest->inner_loops[i]);
    }
    return start;
}

/* ---- expressions ---- */

/* $0, $1 and $2 stand for the operands, @ for what they are: float, int, long, mask. */
static const char *fill(struct printer *printer, const char *pattern, const struct value *value)
{
    static const char *const kinds[] = {
        [LANE_FLOAT] = "float", [LANE_INT] = "int", [LANE_LONG] = "long", [LANE_MASK] = "mask"};
    struct text text = {0};
    for (const char *c = pattern; *c; c++) {
        if (*c == '$')
            text_add(&text, "%s", print_value_name(printer, value->operands[*++c - '0']));
        else if (*c == '@')
            text_add(&text, "%s", kinds[value->domain]);
        else
            text_add(&text, "%c", *c);
    }
    return text_finish(&text, printer->arena);
}

/* How each op is written for floats and for integers. NULL: the op does not occur there. */
static const struct {
    const char *on_floats, *on_integers, *on_masks;
} patterns[OP_COUNT] = {
    [OP_neg] = {"-$0", "-$0", NULL},
    [OP_abs] = {"float_abs($0)", "long_abs($0)", NULL},
    [OP_sign] = {"float_sign($0)", "long_sign($0)", NULL},
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
    [OP_sigmoid] = {"float_sigmoid($0)", NULL, NULL},
    [OP_erf] = {"float_erf($0)", NULL, NULL},
    [OP_isfinite] = {"float_isfinite($0)", "@_eq($0, $0)", NULL},
    [OP_not] = {NULL, NULL, "mask_not($0)"},
    [OP_add] = {"$0 + $1", "$0 + $1", NULL},
    [OP_sub] = {"$0 - $1", "$0 - $1", NULL},
    [OP_mul] = {"$0 * $1", "$0 * $1", NULL},
    [OP_div] = {"$0 / $1", NULL, NULL},
    [OP_pow] = {"float_pow($0, $1)", NULL, NULL},
    [OP_max] = {"float_max($0, $1)", "long_max($0, $1)", NULL},
    [OP_min] = {"float_min($0, $1)", "long_min($0, $1)", NULL},
    [OP_eq] = {"@_eq($0, $1)", "@_eq($0, $1)", NULL},
    [OP_ne] = {"@_ne($0, $1)", "@_ne($0, $1)", NULL},
    [OP_lt] = {"@_lt($0, $1)", "@_lt($0, $1)", NULL},
    [OP_le] = {"@_le($0, $1)", "@_le($0, $1)", NULL},
    [OP_gt] = {"@_gt($0, $1)", "@_gt($0, $1)", NULL},
    [OP_ge] = {"@_ge($0, $1)", "@_ge($0, $1)", NULL},
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
    const struct value *last = &printer->lowered->values[value->operands[value->operand_count - 1]];
    bool constant = last->kind == VALUE_CONSTANT && !isnan(last->constant);
    if (value->domain == LANE_FLOAT && value->op == OP_max && constant)
        return fill(printer, "choose(float_le($0, $1), $1, $0)", value); /* relu; the constant is no NaN */
    if (value->domain == LANE_INT && (value->op == OP_max || value->op == OP_min))
        return fill(printer, value->op == OP_max ? "int_max($0, $1)" : "int_min($0, $1)", value);
    const char *pattern = value->domain == LANE_FLOAT  ? patterns[value->op].on_floats
                          : value->domain == LANE_MASK ? patterns[value->op].on_masks
                                                       : patterns[value->op].on_integers;
    if (!pattern)
        castor_bug("%s cannot be printed for these operands", op_info(value->op)->name);
    return fill(printer, pattern, value);
}

/* The same in all lanes. */
static const char *splat(const struct printer *printer, const char *function, const char *scalar)
{
    return printer->scalar ? scalar : arena_printf(printer->arena, "%s(%s)", function, scalar);
}

static const char *print_float(struct printer *printer, double constant)
{
    char digits[40];
    if (isnan(constant))
        return "NOT_A_NUMBER";
    if (isinf(constant))
        return constant < 0 ? "-INFINITE" : "INFINITE";
    snprintf(digits, sizeof digits, "%.9g", constant);
    return arena_printf(printer->arena, "%s%sf", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static const char *print_constant(struct printer *printer, const struct value *value)
{
    double constant = value->constant;
    const char *text = NULL;
    switch (value->lane) {
    case LANE_MASK:
        return printer->scalar ? (constant != 0 ? "true" : "false") : constant != 0 ? "splat_int(-1)" : "splat_int(0)";
    case LANE_INT:
        text = constant < -2147483647 ? "-2147483647 - 1" : arena_printf(printer->arena, "%.0f", constant);
        return splat(printer, "splat_int", text);
    case LANE_LONG:
        text = constant <= -0x1p63 ? "-9223372036854775807LL - 1" : arena_printf(printer->arena, "%.0fLL", constant);
        return splat(printer, "splat_long", text);
    default:
        return splat(printer, "splat", print_float(printer, constant));
    }
}

static const char *print_convert(struct printer *printer, const struct value *value)
{
    static const char *const table[4][4] = {
        /* to:          floats                ints               longs                masks */
        [LANE_FLOAT] = {"$0", "float_to_int($0)", "float_to_long($0)", "float_ne($0, splat(0))"},
        [LANE_INT] = {"int_to_float($0)", "$0", "int_to_long($0)", "int_ne($0, splat_int(0))"},
        [LANE_LONG] = {"long_to_float($0)", "long_to_int($0)", "$0", "long_ne($0, splat_long(0))"},
        [LANE_MASK] = {"int_to_float($0 & 1)", "$0 & 1", "int_to_long($0 & 1)", "$0"},
    };
    enum lane_kind from = printer->lowered->values[value->operands[0]].lane;
    const char *text = fill(printer, table[from][value->lane], value);
    return value->element == ELEMENT_U8 ? arena_printf(printer->arena, "saturate_byte(%s)", text) : text;
}

const char *print_computed(struct printer *printer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_CONSTANT:
        return print_constant(printer, value);
    case VALUE_POINTWISE:
        return print_pointwise(printer, value);
    case VALUE_CONVERT:
        return print_convert(printer, value);
    case VALUE_ROUND:
        return fill(printer, value->element == ELEMENT_F16 ? "round_f16($0)" : "round_bf16($0)", value);
    case VALUE_SELECT:
        return print_where(printer, value);
    case VALUE_RESULT:
        return arena_printf(printer->arena, "%s_result(a%d)",
                            print_accumulator(printer, &printer->lowered->reductions[value->reduction]),
                            value->reduction);
    default:
        return NULL;
    }
}

const char *print_step_more(struct printer *printer, const struct reduction *reduction, const char *place,
                            const char *count)
{
    if (reduction->position >= 0)
        return arena_printf(printer->arena, ", %s", print_value_name(printer, reduction->position));
    if (reduction->node->op != OP_m2)
        return "";
    if (count)
        return arena_printf(printer->arena, ", splat(1.0f / (float)(%s))", count);
    return arena_printf(printer->arena, ", m2_float_next(%s)", place);
}

/* ---- watches ---- */

/* Lanes in which the value is not finite though its float operands are. */
static const char *print_begins(struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    const char *lanes = arena_printf(printer->arena, "nonfinite(%s)", print_value_name(printer, number));
    for (int i = 0; i < value->operand_count; i++)
        if (printer->lowered->values[value->operands[i]].lane == LANE_FLOAT)
            lanes = arena_printf(printer->arena, "%s & ~nonfinite(%s)", lanes,
                                 print_value_name(printer, value->operands[i]));
    return lanes;
}

void print_watch_open(struct printer *printer, int number)
{
    const struct watch *watch = &printer->lowered->watches[number];
    const char *triggers = NULL;
    for (ptrdiff_t i = 0; i < arrlen(watch->triggers); i++) {
        const char *name = print_value_name(printer, watch->triggers[i]);
        bool check = printer->lowered->values[watch->triggers[i]].lane == LANE_MASK;
        triggers = arena_printf(printer->arena, "%s%s%s(%s)", triggers ? triggers : "", triggers ? " | " : "",
                                check ? "mask_not" : "nonfinite", name);
    }
    text_open(&printer->text, "if (any_lane(%s, %d))", triggers, printer->lanes);
}

void print_watch_close(struct printer *printer, int number)
{
    const struct watch *watch = &printer->lowered->watches[number];
    text_line(&printer->text, "int origin = NO_ORIGIN;");
    for (ptrdiff_t i = 0; i < arrlen(watch->values); i++)
        text_line(&printer->text, "origin = smaller_origin(origin, %s, %d, %s);",
                  print_begins(printer, watch->values[i].value), printer->lanes,
                  print_integer(printer, watch->values[i].slot));
    text_line(&printer->text, "tell_origin(%s, origin);", print_buffer_name(printer, printer->lowered->overflow));
    text_close(&printer->text);
}
