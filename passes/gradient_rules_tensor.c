/* Gradient rules of the ops that are not pointwise: reductions, movement, gather and contractions.
 *
 * Movement ops come in adjoint pairs (broadcast and sum, pad and slice, window and fold, gather and scatter_add, the
 * three convolutions), so gradients of gradients stay inside the op table. */
#include "passes/gradient_rules.h"

#include "passes/rewrite.h"

#include <string.h>

static struct node *spread(struct builder *builder, struct node *dy, const struct node *x)
{
    return build_broadcast(builder, dy, &x->type.shape);
}

/* ---- reductions ---- */

struct node *gradient_sum(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return spread(builder, dy, y->operands[i]);
}

/* The product of the others, without dividing by zero: with no zero among the elements it is y / x, with exactly one
 * it is nonzero at that place alone, with more nowhere. */
struct node *gradient_prod(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *x = y->operands[i];
    uint32_t axes = y->attributes->axes;
    struct node *is_zero = build_binary(builder, OP_eq, x, gradient_full(builder, 0, x));
    struct node *nonzero = build_where(builder, is_zero, gradient_full(builder, 1, x), x);
    struct node *product = build(builder, OP_prod, &nonzero, 1, &(struct attributes){.axes = axes}, NULL);
    struct node *zeros =
        spread(builder, build_reduce(builder, OP_sum, build_cast(builder, is_zero, ELEMENT_I32), axes), x);
    struct node *none = build_binary(builder, OP_eq, zeros, gradient_full(builder, 0, zeros));
    struct node *single = build_binary(builder, OP_eq, zeros, gradient_full(builder, 1, zeros));
    struct node *zero = gradient_full(builder, 0, x);
    struct node *others = build_binary(builder, OP_div, spread(builder, product, x), nonzero);
    struct node *slope = build_where(builder, is_zero, build_where(builder, single, spread(builder, product, x), zero),
                                     build_where(builder, none, others, zero));
    return build_binary(builder, OP_mul, spread(builder, dy, x), slope);
}

/* The gradient goes to the first of the largest (smallest): its index is all that the backward pass must know, a byte
 * for the windows of pooling. */
static struct node *pick(struct builder *builder, struct node *y, struct node *dy, enum op index_op)
{
    struct node *x = y->operands[0];
    const struct attributes *attributes = &(struct attributes){.axes = y->attributes->axes};
    int64_t size = reduced_elements(y);
    struct type index_type = type_make(size <= 256 ? ELEMENT_U8 : ELEMENT_I32, y->type.shape);
    struct node *index = build(builder, index_op, &x, 1, attributes, &index_type);
    struct type place_type = type_make(ELEMENT_I32, x->type.shape);
    struct node *place = build(builder, OP_iota, NULL, 0, attributes, &place_type);
    struct node *chosen = build_binary(builder, OP_eq, place, spread(builder, index, x));
    struct node *value = spread(builder, dy, x);
    return build_where(builder, chosen, value, gradient_full(builder, 0, value));
}

struct node *gradient_reduce_max(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return pick(builder, y, dy, OP_argmax);
}

struct node *gradient_reduce_min(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return pick(builder, y, dy, OP_argmin);
}

/* 2 dy (x - mean): that the mean moves with x adds nothing, since the deviations sum to zero. */
struct node *gradient_m2(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *x = y->operands[i];
    struct node *sum = build_reduce(builder, OP_sum, x, y->attributes->axes);
    double count = (double)reduced_elements(y);
    struct node *mean = build_binary(builder, OP_div, sum, gradient_full(builder, count, sum));
    struct node *deviation = build_binary(builder, OP_sub, x, spread(builder, mean, x));
    return build_binary(builder, OP_mul, spread(builder, gradient_scale(builder, dy, 2), x), deviation);
}

struct node *gradient_cumsum(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    struct attributes attributes = {.axis = y->attributes->axis, .reverse = !y->attributes->reverse};
    return build(builder, OP_cumsum, &dy, 1, &attributes, NULL);
}

/* ---- movement ---- */

struct node *gradient_reshape(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return build_reshape(builder, dy, &y->operands[i]->type.shape);
}

/* A product whose factors are told apart by whether they change along some axes. */
enum { FACTORS_MAX = 8, PRODUCT_DEPTH_MAX = 8 };

struct product {
    uint32_t axes;
    enum element element;
    struct node *varying[FACTORS_MAX], *fixed[FACTORS_MAX]; /* the fixed ones before their broadcast */
    int varying_count, fixed_count;
    bool negative;
};

/* True for a vector repeated along all of the axes. Scalars stay where they are: taking them out saves little, and the
 * product that contains them may be wanted elsewhere. */
static bool repeats_along(const struct node *node, uint32_t axes)
{
    if (node->op != OP_broadcast || movement_rounds(node) || shape_elements(&node->operands[0]->type.shape) == 1)
        return false;
    for (int axis = 0; axis < node->type.shape.rank; axis++)
        if ((axes >> axis & 1) && node->operands[0]->type.shape.dimension[axis] != 1)
            return false;
    return true;
}

/* Takes products and negations of one element type apart down to their factors; false when there are too many. */
static bool collect_factors(struct product *product, struct node *node, int depth)
{
    bool opens = depth < PRODUCT_DEPTH_MAX && node->type.element == product->element;
    if (opens && node->op == OP_mul)
        return collect_factors(product, node->operands[0], depth + 1) &&
               collect_factors(product, node->operands[1], depth + 1);
    if (opens && node->op == OP_neg) {
        product->negative = !product->negative;
        return collect_factors(product, node->operands[0], depth + 1);
    }
    if (product->varying_count == FACTORS_MAX || product->fixed_count == FACTORS_MAX)
        return false;
    if (!repeats_along(node, product->axes)) {
        product->varying[product->varying_count++] = node;
        return true;
    }
    product->fixed[product->fixed_count++] = node->operands[0];
    return true;
}

/* Sum over the axes of dy. Factors that are the same all along them multiply the sum, not each element: the sums that
 * normalisation needs in its backward pass become two, shared by the gradients of input, mean, variance and weight;
 * written out, they would be four. */
static struct node *sum_product(struct builder *builder, struct node *dy, uint32_t axes)
{
    struct product product = {.axes = axes, .element = dy->type.element};
    if (!collect_factors(&product, dy, 0) || product.fixed_count == 0 || product.varying_count == 0)
        return build_reduce(builder, OP_sum, dy, axes);
    struct node *inner = product.varying[0];
    for (int i = 1; i < product.varying_count; i++)
        inner = build_binary(builder, OP_mul, inner, product.varying[i]);
    struct node *sum = build_reduce(builder, OP_sum, inner, axes);
    for (int i = 0; i < product.fixed_count; i++)
        sum = build_binary(builder, OP_mul, sum, product.fixed[i]);
    return product.negative ? build_unary(builder, OP_neg, sum) : sum;
}

struct node *gradient_broadcast(struct builder *builder, struct node *y, struct node *dy, int i)
{
    const struct shape *from = &y->operands[i]->type.shape, *to = &y->type.shape;
    uint32_t axes = 0;
    for (int axis = 0; axis < to->rank; axis++)
        if (from->dimension[axis] != to->dimension[axis])
            axes |= 1u << axis;
    return axes ? sum_product(builder, dy, axes) : dy;
}

struct node *gradient_permute(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    unsigned char inverse[RANK_MAX] = {0};
    for (int axis = 0; axis < y->type.shape.rank; axis++)
        inverse[y->attributes->permutation[axis]] = (unsigned char)axis;
    return build_permute(builder, dy, inverse);
}

static struct node *pad_axis(struct builder *builder, struct node *x, int axis, int64_t low, int64_t high)
{
    if (low == 0 && high == 0)
        return x;
    struct attributes attributes = {0};
    attributes.low[axis] = low;
    attributes.high[axis] = high;
    return build(builder, OP_pad, &x, 1, &attributes, NULL);
}

/* The adjoint of taking every step-th element of one axis: its elements `step` apart with zeros between, the last one
 * without zeros behind it. The axes before and after are merged for the while, so that the rank can't overflow. */
static struct node *dilate(struct builder *builder, struct node *dy, int axis, int64_t step)
{
    struct shape shape = dy->type.shape;
    int64_t count = shape.dimension[axis], outer = 1, inner = 1;
    for (int k = 0; k < axis; k++)
        outer *= shape.dimension[k];
    for (int k = axis + 1; k < shape.rank; k++)
        inner *= shape.dimension[k];
    struct shape apart = shape_make(4, (int64_t[]){outer, count, 1, inner});
    struct node *padded = pad_axis(builder, build_reshape(builder, dy, &apart), 2, 0, step - 1);
    struct shape joined = shape_make(3, (int64_t[]){outer, count * step, inner});
    padded = build_reshape(builder, padded, &joined);
    struct attributes attributes = {.high = {outer, (count - 1) * step + 1, inner}, .step = {1, 1, 1}};
    padded = build(builder, OP_slice, &padded, 1, &attributes, NULL);
    shape.dimension[axis] = (count - 1) * step + 1;
    return build_reshape(builder, padded, &shape);
}

struct node *gradient_slice(struct builder *builder, struct node *y, struct node *dy, int i)
{
    const struct attributes *slice = y->attributes;
    const struct shape *to = &y->operands[i]->type.shape;
    if (shape_elements(&y->type.shape) == 0)
        return gradient_full(builder, 0, y->operands[i]);
    struct attributes pad = {0};
    bool padded = false;
    for (int axis = 0; axis < to->rank; axis++) {
        if (slice->step[axis] > 1 && y->type.shape.dimension[axis] > 1)
            dy = dilate(builder, dy, axis, slice->step[axis]);
        pad.low[axis] = slice->low[axis];
        pad.high[axis] = to->dimension[axis] - slice->low[axis] - dy->type.shape.dimension[axis];
        padded |= pad.low[axis] || pad.high[axis];
    }
    return padded ? build(builder, OP_pad, &dy, 1, &pad, NULL) : dy;
}

struct node *gradient_pad(struct builder *builder, struct node *y, struct node *dy, int i)
{
    const struct shape *to = &y->operands[i]->type.shape;
    struct attributes slice = {0};
    for (int axis = 0; axis < to->rank; axis++) {
        slice.low[axis] = y->attributes->low[axis];
        slice.high[axis] = slice.low[axis] + to->dimension[axis];
        slice.step[axis] = 1;
    }
    return build(builder, OP_slice, &dy, 1, &slice, NULL);
}

struct node *gradient_flip(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return build(builder, OP_flip, &dy, 1, &(struct attributes){.axes = y->attributes->axes}, NULL);
}

struct node *gradient_concat(struct builder *builder, struct node *y, struct node *dy, int i)
{
    int joined = y->attributes->axis;
    struct attributes slice = {0};
    for (int axis = 0; axis < y->type.shape.rank; axis++) {
        slice.high[axis] = y->type.shape.dimension[axis];
        slice.step[axis] = 1;
    }
    for (int k = 0; k < i; k++)
        slice.low[joined] += y->operands[k]->type.shape.dimension[joined];
    slice.high[joined] = slice.low[joined] + y->operands[i]->type.shape.dimension[joined];
    return build(builder, OP_slice, &dy, 1, &slice, NULL);
}

struct node *gradient_window(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct type type = type_make(dy->type.element, y->operands[i]->type.shape);
    return build(builder, OP_fold, &dy, 1, &(struct attributes){.window = y->attributes->window}, &type);
}

struct node *gradient_fold(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return build(builder, OP_window, &dy, 1, &(struct attributes){.window = y->attributes->window}, NULL);
}

/* ---- gather ---- */

struct node *gradient_gather(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *operands[] = {dy, y->operands[1]};
    struct type type = type_make(dy->type.element, y->operands[i]->type.shape);
    int axis = y->attributes->axis;
    int64_t rest = type.shape.dimension[axis] - dy->type.shape.dimension[axis];
    if (y->operands[1]->type.shape.rank == 1 && node_counts(y->operands[1]) && rest >= 0) /* the first rows */
        return rest ? pad_axis(builder, dy, axis, 0, rest) : dy;
    return build(builder, OP_scatter_add, operands, 2, &(struct attributes){.axis = y->attributes->axis}, &type);
}

struct node *gradient_scatter_add(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    struct node *operands[] = {dy, y->operands[1]};
    return build(builder, OP_gather, operands, 2, &(struct attributes){.axis = y->attributes->axis}, NULL);
}

/* ---- contractions ---- */

/* With A and B as they enter the product: dA = dY B^T, dB = A^T dY; an operand that is stored transposed gets the
 * transposed product, so that no permutation is needed anywhere. */
struct node *gradient_matmul(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *a = y->operands[0], *b = y->operands[1];
    bool ta = y->attributes->transpose_a, tb = y->attributes->transpose_b;
    if (i == 0)
        return ta ? build_matmul(builder, b, dy, tb, true) : build_matmul(builder, dy, b, false, !tb);
    return tb ? build_matmul(builder, dy, a, true, ta) : build_matmul(builder, a, dy, !ta, false);
}

/* One of the three convolutions, of the same geometry. `like` gives the shape where the operands do not. */
static struct node *convolve(struct builder *builder, enum op op, struct node *y, struct node *a, struct node *b,
                             const struct node *like)
{
    struct node *operands[] = {a, b};
    struct type type = type_make(element_promote(a->type.element, b->type.element), like->type.shape);
    return build(builder, op, operands, 2, y->attributes, op == OP_conv ? NULL : &type);
}

struct node *gradient_conv(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *x = y->operands[0], *weight = y->operands[1];
    return i == 0 ? convolve(builder, OP_conv_data, y, weight, dy, x)
                  : convolve(builder, OP_conv_weight, y, x, dy, weight);
}

/* y = conv_data(weight, z), linear in both. */
struct node *gradient_conv_data(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *weight = y->operands[0], *z = y->operands[1];
    return i == 0 ? convolve(builder, OP_conv_weight, y, dy, z, weight) : convolve(builder, OP_conv, y, dy, weight, z);
}

/* y = conv_weight(x, z), linear in both. */
struct node *gradient_conv_weight(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *x = y->operands[0], *z = y->operands[1];
    return i == 0 ? convolve(builder, OP_conv_data, y, dy, z, x) : convolve(builder, OP_conv, y, x, dy, z);
}
