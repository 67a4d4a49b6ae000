/* Which values to look at for inf and NaN: see finite.h. */
#include "passes/finite.h"

#include "passes/gelu.h"

#include <math.h>
#include <stb/stb_ds.h>

enum { BOUND_DEPTH = 8 };

/* In node->mark. SHOWN: an element that is NaN makes one of a value that is looked at NaN. */
enum { LOOKED_AT = 1, SHOWN = 2 };

static const double f16_largest = 65504, bf16_limit = 0x1p50;

static struct node *through_movement(struct node *node)
{
    while (op_is(node->op, CLASS_MOVEMENT) && node->op != OP_concat && node->op != OP_pad && node->op != OP_window &&
           node->op != OP_slice)
        node = node->operands[0];
    return node;
}

static double integer_bound(enum element element)
{
    return element == ELEMENT_BOOL ? 1 : element == ELEMENT_U8 ? 255 : element == ELEMENT_I32 ? 0x1p31 : 0x1p63;
}

/* The largest magnitude that the node can have whatever is fed; infinity when nothing is known. It looks a few nodes
 * deep: far enough to see that a byte divided by 255 cannot overflow. */
static double bound(const struct node *node, int depth)
{
    if (!element_is_float(node->type.element))
        return integer_bound(node->type.element);
    if (node->op == OP_constant)
        return fabs(node->attributes->value);
    if (node->op == OP_random)
        return 1;
    if (depth == 0 || node->operand_count == 0)
        return INFINITY;
    double a = bound(node->operands[0], depth - 1);
    switch (node->op) {
    case OP_cast:
    case OP_neg:
    case OP_abs:
    case OP_reshape:
    case OP_broadcast:
    case OP_permute:
    case OP_slice:
    case OP_flip:
        return a;
    case OP_tanh:
    case OP_sigmoid:
        return 1;
    case OP_add:
    case OP_sub:
        return a + bound(node->operands[1], depth - 1);
    case OP_mul:
        return a * bound(node->operands[1], depth - 1);
    case OP_div: {
        const struct node *divisor = through_movement(node->operands[1]);
        bool constant = divisor->op == OP_constant && divisor->attributes->value != 0;
        return constant ? a / fabs(divisor->attributes->value) : INFINITY;
    }
    default:
        return INFINITY;
    }
}

/* 0 · inf is NaN, so a bound with an infinite part is none. */
static bool is_bounded(const struct node *node)
{
    return bound(node, BOUND_DEPTH) <= f16_largest;
}

static void look_at(struct finite_values *set, struct node *node)
{
    node = through_movement(node);
    struct node *inner = gelu_match(node); /* it is what a library stores beside it, and the backward pass loads */
    if (inner && inner->type.element == node->type.element)
        node = through_movement(inner);
    if (node->mark)
        return;
    if (is_bounded(node)) {
        arrput(set->bounded, node);
        return;
    }
    node->mark = LOOKED_AT;
    arrput(set->values, node);
}

/* By the lemma: finite exactly when its operands are. */
static bool finite_as_operands(const struct node *node)
{
    return node->type.element == ELEMENT_F32 && op_is(node->op, CLASS_CONTRACTION) &&
           element_is_half(node->operands[0]->type.element) && element_is_half(node->operands[1]->type.element);
}

static bool is_half_sum(const struct node *node)
{
    return node->op == OP_sum && node->type.element == ELEMENT_F32 && element_is_half(node->operands[0]->type.element);
}

void finite_add(struct finite_values *set, struct node *gradient)
{
    gradient = through_movement(gradient);
    if (finite_as_operands(gradient)) {
        look_at(set, gradient->operands[0]);
        look_at(set, gradient->operands[1]);
    } else if (is_half_sum(gradient)) {
        arrput(set->sums, gradient);
    } else {
        look_at(set, gradient);
    }
}

static void decide_sums(struct finite_values *set)
{
    for (ptrdiff_t i = 0; i < arrlen(set->sums); i++)
        if (!through_movement(set->sums[i]->operands[0])->mark)
            look_at(set, set->sums[i]);
    arrfree(set->sums);
}

/* ---- NaN within bounds ---- */

/* Is every element of every operand in some element of the result, which is NaN where that is? */
static bool passes_nan(const struct node *node)
{
    switch (node->op) {
    case OP_pow: /* of 1, or to the power 0 */
    case OP_where:
    case OP_slice:
    case OP_window: /* steps may leave something out */
        return false;
    case OP_sum:
    case OP_reduce_max:
    case OP_reduce_min:
    case OP_cumsum:
    case OP_matmul:
        return true;
    default:
        return (op_is(node->op, CLASS_POINTWISE) || op_is(node->op, CLASS_MOVEMENT)) &&
               element_is_float(node->type.element);
    }
}

/* Marks what the value shows; shown is an stb_ds array of all that was marked. */
static void show(struct node *value, struct node ***shown)
{
    struct node **stack = NULL;
    arrput(stack, value);
    while (arrlen(stack)) {
        struct node *node = arrpop(stack);
        if (node->mark & SHOWN)
            continue;
        node->mark |= SHOWN;
        arrput(*shown, node);
        for (int i = 0; passes_nan(node) && i < node->operand_count; i++)
            arrput(stack, node->operands[i]);
    }
    arrfree(stack);
}

/* Is NaN in the node, which is bounded, shown? tanh and sigmoid bound everything but NaN, which may come from values
 * without bounds, inf - inf say. */
static bool nan_is_shown(const struct node *node, int depth)
{
    if (node->mark & SHOWN || !element_is_float(node->type.element) || op_is(node->op, CLASS_LEAF))
        return true;
    if (depth == 0 || ((node->op == OP_tanh || node->op == OP_sigmoid) && !(node->operands[0]->mark & SHOWN) &&
                       !is_bounded(node->operands[0])))
        return false;
    for (int i = 0; i < node->operand_count; i++)
        if (!nan_is_shown(node->operands[i], depth - 1))
            return false;
    return true;
}

/* Most networks have none to look at here: what a bounded activation is multiplied with, or the gradient behind it, is
 * made of it and looked at anyway. */
static void decide_bounded(struct finite_values *set)
{
    struct node **shown = NULL;
    for (ptrdiff_t i = 0; arrlen(set->bounded) && i < arrlen(set->values); i++)
        show(set->values[i], &shown);
    for (ptrdiff_t i = 0; i < arrlen(set->bounded); i++) {
        struct node *node = set->bounded[i];
        if (nan_is_shown(node, BOUND_DEPTH))
            continue;
        node->mark |= LOOKED_AT;
        arrput(set->values, node);
        show(node, &shown);
    }
    for (ptrdiff_t i = 0; i < arrlen(shown); i++)
        shown[i]->mark = 0;
    arrfree(shown);
    arrfree(set->bounded);
}

/* ---- found_inf ---- */

/* NaN is not within any limit. */
static struct node *is_finite(struct builder *builder, struct node *value)
{
    if (value->type.element != ELEMENT_BF16)
        return build_unary(builder, OP_isfinite, value);
    struct node *limit = build_constant(builder, bf16_limit, ELEMENT_F32);
    return build_binary(builder, OP_le, build_unary(builder, OP_abs, value), limit);
}

/* A bool scalar: every element is finite. */
static struct node *all_finite(struct builder *builder, struct node *value)
{
    struct node *finite = is_finite(builder, value);
    int rank = value->type.shape.rank;
    if (rank == 0)
        return finite;
    struct shape scalar = {0};
    return build_reshape(builder, build_reduce(builder, OP_reduce_min, finite, (1u << rank) - 1), &scalar);
}

/* Joined in the order in which gradients are made, the last layer's first: the kernel that knows the last of them has
 * one step to do then, and holds none of the others until then. */
struct node *finite_found_inf(struct builder *builder, struct finite_values *set)
{
    struct node *all = NULL;
    decide_sums(set);
    decide_bounded(set);
    for (ptrdiff_t i = arrlen(set->values) - 1; i >= 0; i--) {
        struct node *finite = all_finite(builder, set->values[i]);
        all = all ? build_binary(builder, OP_and, all, finite) : finite;
    }
    for (ptrdiff_t i = 0; i < arrlen(set->values); i++)
        set->values[i]->mark = 0;
    arrfree(set->values);
    return all ? build_unary(builder, OP_not, all) : NULL;
}
