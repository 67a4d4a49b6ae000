/* Values: the expression that gives a node's element at given indices, as vectors of lanes.
 *
 * Floats are computed in f32 and rounded to the node's element type where the result may have more digits than that;
 * integers and truth values are computed as integers. A value stands as far outside of the loops as what it is
 * computed from allows. */
#include "codegen/lower.h"
#include "passes/rewrite.h"
#include "passes/view.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

enum lane_kind lower_lane(enum element element)
{
    switch (element) {
    case ELEMENT_BOOL:
        return LANE_MASK;
    case ELEMENT_I64:
        return LANE_LONG;
    case ELEMENT_I32:
    case ELEMENT_U8:
        return LANE_INT;
    default:
        return LANE_FLOAT;
    }
}

struct place *lower_place(struct lowerer *lowerer, const struct node *node)
{
    ptrdiff_t found = hmgeti(lowerer->places, node);
    if (found < 0)
        castor_bug("node %s is not part of the kernel", op_info(node->op)->name);
    return &lowerer->places[found].value;
}

void lower_append_item(struct lowerer *lowerer, int depth, enum item_kind kind, int number)
{
    struct item item = {kind, number};
    if (depth == BODY_KERNEL)
        arrput(lowerer->out.items, item);
    else if (depth == BODY_INNER)
        arrput(lowerer->inner, item);
    else
        arrput(lowerer->loops.bodies[depth], item);
}

/* Fills in depth and whether lanes differ, from the operands and the index, and puts the value where it belongs. */
int lower_append(struct lowerer *lowerer, struct value value)
{
    struct lowered *out = &lowerer->out;
    for (int i = 0; i < value.operand_count; i++) {
        const struct value *operand = &out->values[value.operands[i]];
        value.depth = operand->depth > value.depth ? operand->depth : value.depth;
        value.vector |= operand->vector;
    }
    if (value.index) {
        int depth = affine_depth(out, value.index);
        value.depth = depth > value.depth ? depth : value.depth;
        value.vector |= affine_vector(out, value.index);
    }
    int number = (int)arrlen(out->values);
    arrput(out->values, value);
    lower_append_item(lowerer, value.depth, ITEM_VALUE, number);
    return number;
}

static enum lane_kind lane_of(const struct lowerer *lowerer, int value)
{
    return lowerer->out.values[value].lane;
}

static int unary(struct lowerer *lowerer, enum value_kind kind, enum lane_kind lane, enum element element, int operand,
                 const struct node *node)
{
    return lower_append(
        lowerer,
        (struct value){
            .kind = kind, .lane = lane, .element = element, .operand_count = 1, .operands = {operand}, .node = node});
}

static int convert_lane(struct lowerer *lowerer, int value, enum lane_kind lane, enum element element,
                        const struct node *node)
{
    return unary(lowerer, VALUE_CONVERT, lane, element, value, node);
}

int lower_float(struct lowerer *lowerer, int value)
{
    const struct node *node = lowerer->out.values[value].node;
    return lane_of(lowerer, value) == LANE_FLOAT ? value : convert_lane(lowerer, value, LANE_FLOAT, ELEMENT_F32, node);
}

int lower_long(struct lowerer *lowerer, int value)
{
    const struct node *node = lowerer->out.values[value].node;
    return lane_of(lowerer, value) == LANE_LONG ? value : convert_lane(lowerer, value, LANE_LONG, ELEMENT_I64, node);
}

static int to_mask(struct lowerer *lowerer, int value)
{
    const struct node *node = lowerer->out.values[value].node;
    return lane_of(lowerer, value) == LANE_MASK ? value : convert_lane(lowerer, value, LANE_MASK, ELEMENT_BOOL, node);
}

static unsigned fits_element(enum element element)
{
    return element == ELEMENT_F16 ? FITS_F16 : element == ELEMENT_BF16 ? FITS_BF16 : 0;
}

static int round_half(struct lowerer *lowerer, int value, enum element element, const struct node *node)
{
    unsigned wanted = fits_element(element);
    if ((lowerer->out.values[value].fits & wanted) == wanted)
        return value;
    int rounded = unary(lowerer, VALUE_ROUND, LANE_FLOAT, element, value, node);
    lowerer->out.values[rounded].fits |= wanted;
    return rounded;
}

/* To another element type with the one rounding that this needs. */
int lower_convert(struct lowerer *lowerer, int value, enum element element, const struct node *node)
{
    enum lane_kind from = lane_of(lowerer, value), to = lower_lane(element);
    if (to == LANE_FLOAT)
        return round_half(lowerer, lower_float(lowerer, value), element, node);
    if (from == to && element != ELEMENT_U8)
        return value;
    return convert_lane(lowerer, value, to, element, node);
}

int lower_constant(struct lowerer *lowerer, double constant, enum element element, const struct node *node)
{
    double value = element_round(element, constant);
    unsigned fits = element_round(ELEMENT_F16, value) == value ? FITS_F16 : 0;
    fits |= element_round(ELEMENT_BF16, value) == value ? FITS_BF16 : 0;
    return lower_append(
        lowerer,
        (struct value){
            .kind = VALUE_CONSTANT, .lane = lower_lane(element), .constant = value, .fits = fits, .node = node});
}

int lower_inside(struct lowerer *lowerer, const struct affine *index, int64_t low, int64_t high)
{
    return lower_append(
        lowerer, (struct value){.kind = VALUE_INSIDE, .lane = LANE_MASK, .index = index, .low = low, .high = high});
}

int lower_select(struct lowerer *lowerer, int mask, int a, int b)
{
    return lower_append(lowerer, (struct value){.kind = VALUE_SELECT,
                                                .lane = lane_of(lowerer, a),
                                                .operand_count = 3,
                                                .operands = {mask, a, b},
                                                .fits = lowerer->out.values[a].fits & lowerer->out.values[b].fits,
                                                .node = lowerer->out.values[a].node});
}

static int lower_index_value(struct lowerer *lowerer, const struct affine *index, const struct node *node)
{
    return lower_append(lowerer, (struct value){.kind = VALUE_INDEX, .lane = LANE_INT, .index = index, .node = node});
}

/* ---- pointwise ---- */

/* In which arithmetic the op is done: floats unless all operands are integers; comparisons, selections and the like
 * of narrow integers stay in int, everything that could overflow goes to long. */
static enum lane_kind pointwise_domain(const struct lowerer *lowerer, const struct node *node, const int *operands)
{
    bool has_float = op_info(node->op)->element == RULE_FLOAT, has_long = false;
    int first = node->op == OP_where ? 1 : 0;
    for (int i = first; i < node->operand_count; i++) {
        has_float |= lane_of(lowerer, operands[i]) == LANE_FLOAT;
        has_long |= lane_of(lowerer, operands[i]) == LANE_LONG;
    }
    if (has_float)
        return LANE_FLOAT;
    switch (node->op) {
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge:
    case OP_max:
    case OP_min:
    case OP_where:
        return has_long ? LANE_LONG : LANE_INT;
    default:
        return LANE_LONG;
    }
}

static int to_domain(struct lowerer *lowerer, int value, enum lane_kind domain)
{
    if (lane_of(lowerer, value) == domain)
        return value;
    if (domain == LANE_FLOAT)
        return lower_float(lowerer, value);
    if (domain == LANE_LONG)
        return lower_long(lowerer, value);
    return convert_lane(lowerer, value, LANE_INT, ELEMENT_I32, lowerer->out.values[value].node);
}

/* Ops whose result is one of the operands or as short as they are: it fits where they do. */
static bool is_exact(enum op op)
{
    static const enum op exact[] = {OP_neg, OP_abs, OP_sign, OP_floor, OP_ceil, OP_round, OP_max, OP_min, OP_where};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (exact[i] == op)
            return true;
    return false;
}

static unsigned fits_all(const struct lowerer *lowerer, const int *operands, int first, int count)
{
    unsigned fits = FITS_ALL;
    for (int i = first; i < count; i++)
        fits &= lowerer->out.values[operands[i]].fits;
    return fits;
}

static int lower_logical(struct lowerer *lowerer, const struct node *node, const int *operands)
{
    struct value value = {
        .kind = VALUE_POINTWISE, .lane = LANE_MASK, .domain = LANE_MASK, .op = node->op, .node = node};
    value.operand_count = node->operand_count;
    for (int i = 0; i < node->operand_count; i++)
        value.operands[i] = to_mask(lowerer, operands[i]);
    return lower_append(lowerer, value);
}

/* Whether the exponent is a number known at compile time. */
static bool constant_exponent(const struct node *node, double *exponent)
{
    const struct node *b = node->operands[1];
    while (b->op == OP_broadcast || b->op == OP_reshape || b->op == OP_cast)
        b = b->operands[0];
    *exponent = b->op == OP_constant ? b->attributes->value : 0;
    return b->op == OP_constant;
}

/* Small whole exponents, by multiplication: a power with one rounding (2), or as exact as pow itself to 1 ulp. */
static int lower_power(struct lowerer *lowerer, const struct node *node, const int *operands)
{
    double exponent;
    struct value value = {
        .kind = VALUE_POINTWISE, .lane = LANE_FLOAT, .domain = LANE_FLOAT, .op = OP_mul, .node = node};
    int a = lower_float(lowerer, operands[0]);
    value.operand_count = 2;
    value.operands[0] = value.operands[1] = a;
    if (constant_exponent(node, &exponent) && (exponent == 2 || exponent == 3)) {
        int square = lower_append(lowerer, value);
        if (exponent == 2)
            return square;
        value.operands[1] = square;
        return lower_append(lowerer, value);
    }
    value.op = OP_pow;
    value.operands[1] = lower_float(lowerer, operands[1]);
    return lower_append(lowerer, value);
}

static int apply_pointwise(struct lowerer *lowerer, const struct node *node, const int *operands)
{
    enum lane_kind domain = pointwise_domain(lowerer, node, operands);
    struct value value = {.kind = VALUE_POINTWISE, .domain = domain, .lane = domain, .op = node->op, .node = node};
    value.operand_count = node->operand_count;
    for (int i = 0; i < node->operand_count; i++)
        value.operands[i] =
            node->op == OP_where && i == 0 ? to_mask(lowerer, operands[0]) : to_domain(lowerer, operands[i], domain);
    if (op_info(node->op)->element == RULE_BOOL)
        value.lane = LANE_MASK;
    if (is_exact(node->op))
        value.fits = fits_all(lowerer, value.operands, node->op == OP_where, node->operand_count);
    return lower_append(lowerer, value);
}

static int lower_pointwise(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    int operands[3] = {0};
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = lower_value(lowerer, node->operands[i], indices);
    if (node->op == OP_cast)
        return node->operands[0]->type.element == node->type.element
                   ? operands[0]
                   : lower_convert(lowerer, operands[0], node->type.element, node);
    if (node->op == OP_and || node->op == OP_or || node->op == OP_not)
        return lower_convert(lowerer, lower_logical(lowerer, node, operands), node->type.element, node);
    if (node->op == OP_pow)
        return lower_convert(lowerer, lower_power(lowerer, node, operands), node->type.element, node);
    return lower_convert(lowerer, apply_pointwise(lowerer, node, operands), node->type.element, node);
}

/* ---- memory ---- */

/* A load's depth: what this kernel itself stores cannot be read before the nest begins. */
static int load_buffer(struct lowerer *lowerer, const struct node *node, int buffer, struct value value)
{
    const struct kernel_buffer *from = &lowerer->out.buffers[buffer];
    const struct target *target = lowerer->out.target;
    value.kind = VALUE_LOAD;
    value.lane = lower_lane(node->type.element);
    value.element = target->storage[node->type.element];
    value.buffer = buffer;
    value.node = node;
    value.depth = from->written || from->scratch ? BODY_NEST : BODY_KERNEL;
    int number = lower_append(lowerer, value);
    if (view_lies_unrounded(node, target))
        return round_half(lowerer, number, node->type.element, node);
    lowerer->out.values[number].fits = fits_element(node->type.element);
    return number;
}

static int lower_load(struct lowerer *lowerer, const struct node *node, int buffer, const struct affine *const *indices)
{
    return load_buffer(lowerer, node, buffer, (struct value){.index = lower_address(lowerer, &node->type, indices)});
}

static int compare(struct lowerer *lowerer, enum op op, enum lane_kind domain, int a, int b)
{
    return lower_append(lowerer, (struct value){.kind = VALUE_POINTWISE,
                                                .lane = LANE_MASK,
                                                .domain = domain,
                                                .op = op,
                                                .operand_count = 2,
                                                .operands = {a, b}});
}

int lower_within(struct lowerer *lowerer, int index, int64_t last)
{
    int low = compare(lowerer, OP_ge, LANE_INT, index, lower_constant(lowerer, 0, ELEMENT_I32, NULL));
    int high = compare(lowerer, OP_le, LANE_INT, index, lower_constant(lowerer, (double)last, ELEMENT_I32, NULL));
    return compare(lowerer, OP_and, LANE_MASK, low, high);
}

/* A slice of a table in memory; an index outside of it gives NaN, 0 for integers. */
static int lower_gather(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    const struct node *table = node->operands[0], *index = node->operands[1];
    int axis = node->attributes->axis, index_rank = index->type.shape.rank;
    const struct affine *at[RANK_MAX], *index_at[RANK_MAX];
    for (int i = 0; i < index_rank; i++)
        index_at[i] = indices[axis + i];
    for (int i = 0; i < table->type.shape.rank; i++)
        at[i] = i < axis    ? indices[i]
                : i == axis ? affine_constant(lowerer->out.arena, 0)
                            : indices[i - 1 + index_rank];
    int64_t strides[RANK_MAX];
    type_strides(&table->type, strides);
    int number = convert_lane(lowerer, lower_value(lowerer, index, index_at), LANE_INT, ELEMENT_I32, index);
    struct value value = {.index = lower_address(lowerer, &table->type, at), .stride = strides[axis]};
    value.low = 0;
    value.high = table->type.shape.dimension[axis] - 1;
    value.operand_count = 1;
    value.operands[0] = number;
    int buffer = lower_place(lowerer, table)->buffer;
    if (buffer < 0)
        castor_bug("the table of a gather does not lie in memory");
    int64_t last = value.high;
    int slice = load_buffer(lowerer, table, buffer, value);
    int nothing = lower_constant(lowerer, element_is_float(table->type.element) ? NAN : 0, table->type.element, node);
    int taken = lower_select(lowerer, lower_within(lowerer, number, last), slice, nothing);
    return node->type.element == table->type.element ? taken : lower_convert(lowerer, taken, node->type.element, node);
}

/* ---- leaves and the rest ---- */

static int lower_iota(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    struct arena *arena = lowerer->out.arena;
    const struct affine *sum = affine_constant(arena, 0);
    int64_t stride = 1;
    for (int i = node->type.shape.rank - 1; i >= 0; i--)
        if (node->attributes->axes >> i & 1) {
            sum = affine_add(arena, sum, indices[i], stride);
            stride *= node->type.shape.dimension[i];
        }
    int number = lower_index_value(lowerer, sum, node);
    return iota_is_exact(node) ? number : lower_convert(lowerer, number, node->type.element, node);
}

static int lower_random(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    struct value value = {.kind = VALUE_RANDOM, .lane = LANE_FLOAT, .node = node, .operand_count = 2};
    for (int i = 0; i < 2; i++) {
        const struct affine *first[RANK_MAX];
        for (int k = 0; k < RANK_MAX; k++)
            first[k] = affine_constant(lowerer->out.arena, 0);
        value.operands[i] = lower_long(lowerer, lower_value(lowerer, node->operands[i], first));
    }
    value.index = lower_linear(lowerer, &node->type.shape, indices);
    int64_t key = (int64_t)node->attributes->key;
    ptrdiff_t slot = 0;
    while (slot < arrlen(lowerer->out.integers) && lowerer->out.integers[slot] != key)
        slot++;
    if (slot == arrlen(lowerer->out.integers))
        arrput(lowerer->out.integers, key);
    value.integer = (int)slot;
    return lower_append(lowerer, value);
}

/* A reduction over axes of size 1. */
static int lower_nothing_to_reduce(struct lowerer *lowerer, const struct node *node,
                                   const struct affine *const *indices)
{
    if (node->op == OP_m2 || node->op == OP_argmax || node->op == OP_argmin)
        return lower_constant(lowerer, 0, node->type.element, node);
    int value = lower_value(lowerer, node->operands[0], indices);
    return node->operands[0]->type.element == node->type.element
               ? value
               : lower_convert(lowerer, value, node->type.element, node);
}

static int lower_computed(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    switch (op_info(node->op)->class) {
    case CLASS_POINTWISE:
        return lower_pointwise(lowerer, node, indices);
    case CLASS_MOVEMENT:
        return lower_movement(lowerer, node, indices);
    case CLASS_EFFECT:
        return lower_value(lowerer, node->operands[0], indices);
    case CLASS_GATHER:
        return lower_gather(lowerer, node, indices);
    case CLASS_REDUCE:
        return lower_nothing_to_reduce(lowerer, node, indices);
    default:
        break;
    }
    switch (node->op) {
    case OP_constant:
        return lower_constant(lowerer, node->attributes->value, node->type.element, node);
    case OP_iota:
        return lower_iota(lowerer, node, indices);
    case OP_random:
        return lower_random(lowerer, node, indices);
    default:
        castor_bug("%s cannot be computed inside a kernel", op_info(node->op)->name);
    }
}

/* The result of a reduction of the nest now lowered; the rows stand where they are. */
int lower_result(struct lowerer *lowerer, const struct node *node, int reduction)
{
    const struct reduction *from = &lowerer->out.reductions[reduction];
    bool best = node->op == OP_argmax || node->op == OP_argmin;
    struct value value = {.kind = VALUE_RESULT, .node = node, .reduction = reduction};
    value.lane = best ? LANE_INT : from->lane;
    bool row = from->kind == REDUCTION_ROW;
    value.depth = !row                                                       ? BODY_INNER
                  : lowerer->loops.vector_inner || lowerer->loops.vector < 0 ? BODY_OUTER
                                                                             : BODY_VECTOR;
    value.vector = row ? !from->lanes && lowerer->loops.vector >= 0 : from->kind == REDUCTION_COLUMN;
    if (node->op == OP_reduce_max || node->op == OP_reduce_min)
        value.fits = lowerer->out.values[from->value].fits;
    int number = lower_append(lowerer, value);
    return best && node->type.element == ELEMENT_I32 ? number
                                                     : lower_convert(lowerer, number, node->type.element, node);
}

int lower_value(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    struct place *place = lower_place(lowerer, node);
    struct memo_key key = lower_key(node, indices, node->type.shape.rank, -1);
    int value = lower_recall(lowerer, key);
    if (value >= 0)
        return value;
    if (place->reduction >= 0)
        value = lower_result(lowerer, node, place->reduction);
    else if (place->buffer >= 0 && place->nest < lowerer->current)
        value = lower_load(lowerer, node, place->buffer, indices);
    else if (reduction_kind(node))
        castor_bug("a reduction is needed before it is known");
    else
        value = lower_computed(lowerer, node, indices);
    lower_remember(lowerer, key, lowerer->out.values[value].depth, value);
    return value;
}
