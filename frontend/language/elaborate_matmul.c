/* Matrix products: NumPy's rules for vectors and leading axes, transposes folded into the product, and the message that
 * tells where each of two differing sizes came from. */
#include "frontend/language/elaborate_internal.h"

struct side {
    struct value value;
    bool transposed;
};

static int64_t side_size(const struct side *side, int from_end)
{
    int rank = side->value.node->type.shape.rank;
    return side->value.node->type.shape.dimension[rank - (side->transposed ? 3 - from_end : from_end)];
}

static struct axis side_axis(const struct side *side, int from_end)
{
    int rank = side->value.node->type.shape.rank;
    return side->value.axes[rank - (side->transposed ? 3 - from_end : from_end)];
}

static const char *side_text(struct elaborator *e, const struct side *side)
{
    struct shape shape = side->value.node->type.shape;
    shape.dimension[shape.rank - 1] = side_size(side, 1);
    shape.dimension[shape.rank - 2] = side_size(side, 2);
    return shape_text(e, &shape);
}

static bool inner_agree(struct elaborator *e, const struct side *a, const struct side *b, struct span span)
{
    if (side_size(a, 1) == side_size(b, 2))
        return true;
    struct axis x = side_axis(a, 1), y = side_axis(b, 2);
    const char *label = arena_printf(e->arena, "%lld comes from %s at %s:%d:%d, %lld from %s at %s:%d:%d",
                                     (long long)side_size(a, 1), x.from, x.span.file, x.span.line, x.span.column,
                                     (long long)side_size(b, 2), y.from, y.span.file, y.span.line, y.span.column);
    report(e, E0203, span, label, "matmul: inner dimensions differ: %s @ %s", side_text(e, a), side_text(e, b));
    return false;
}

static bool side_prepare(struct elaborator *e, struct side *side, struct span span)
{
    if (!want_tensor(e, &side->value, span, "an operand of @") || refuse_classes(e, &side->value, "matmul", span))
        return false;
    if (side->value.node->type.shape.rank < 1) {
        report(e, E0211, span, NULL, "matmul needs matrices, not a scalar");
        return false;
    }
    if (!element_is_float(side->value.node->type.element)) {
        const struct axis *axes = side->value.axes;
        side->value.node = build_cast(&e->builder, side->value.node, ELEMENT_F32);
        side->value.axes = axes;
    }
    return true;
}

/* A vector becomes a matrix of one row (left) or one column (right). */
static void side_lift(struct elaborator *e, struct side *side, bool left)
{
    int64_t size = side->value.node->type.shape.dimension[0];
    struct shape shape = {2, {left ? 1 : size, left ? size : 1}};
    struct axis axes[2] = {{0}};
    axes[left ? 1 : 0] = side->value.axes[0];
    side->value = value_tensor_axes(e, build_reshape(&e->builder, side->value.node, &shape), axes);
}

/* [.., m, k] @ [k, n] as one product of [prod.., k]. */
static struct value flattened_matmul(struct elaborator *e, const struct side *a, const struct side *b, struct span span)
{
    struct shape shape = a->value.node->type.shape, rows = {2, {1, shape.dimension[shape.rank - 1]}};
    struct axis axes[RANK_MAX];
    shape.dimension[shape.rank - 1] = side_size(b, 1);
    if (!shape_fits(e, &shape, span))
        return (struct value){0};
    for (int i = 0; i < shape.rank - 1; i++) {
        rows.dimension[0] *= shape.dimension[i];
        axes[i] = a->value.axes[i];
    }
    struct node *left = build_reshape(&e->builder, a->value.node, &rows);
    struct node *product = build_matmul(&e->builder, left, b->value.node, false, b->transposed);
    axes[shape.rank - 1] = side_axis(b, 1);
    return value_tensor_axes(e, build_reshape(&e->builder, product, &shape), axes);
}

/* Leading axes of both are broadcast to one shape. */
static struct value batched_matmul(struct elaborator *e, struct side *a, struct side *b, struct span span)
{
    struct side *sides[] = {a, b};
    struct shape lead[2], joined;
    for (int i = 0; i < 2; i++) {
        lead[i] = sides[i]->value.node->type.shape;
        lead[i].rank -= 2;
    }
    if (!shape_broadcast(&lead[0], &lead[1], &joined))
        return report(e, E0203, span, NULL, "matmul: leading dimensions do not broadcast: %s @ %s", side_text(e, a),
                      side_text(e, b));
    struct axis axes[RANK_MAX] = {{0}};
    struct shape result = joined;
    result.dimension[result.rank++] = side_size(a, 2);
    result.dimension[result.rank++] = side_size(b, 1);
    if (!shape_fits(e, &result, span))
        return (struct value){0};
    for (int i = 0; i < 2; i++) {
        struct shape full = joined;
        const struct shape *own = &sides[i]->value.node->type.shape;
        full.dimension[full.rank++] = own->dimension[own->rank - 2];
        full.dimension[full.rank++] = own->dimension[own->rank - 1];
        sides[i]->value = tensor_broadcast(e, &sides[i]->value, &full, span);
        if (sides[i]->value.kind == VALUE_ERROR)
            return sides[i]->value;
        for (int k = 0; k < joined.rank; k++)
            if (!axes[k].dimension && sides[i]->value.axes[k].from)
                axes[k] = sides[i]->value.axes[k];
    }
    axes[joined.rank] = side_axis(a, 2);
    axes[joined.rank + 1] = side_axis(b, 1);
    struct node *product = build_matmul(&e->builder, a->value.node, b->value.node, a->transposed, b->transposed);
    return value_tensor_axes(e, product, axes);
}

struct value tensor_matmul(struct elaborator *e, const struct value *a, const struct value *b, bool transpose_a,
                           bool transpose_b, struct span span)
{
    struct side left = {*a, transpose_a}, right = {*b, transpose_b};
    if (!side_prepare(e, &left, span) || !side_prepare(e, &right, span))
        return (struct value){0};
    bool vector_left = left.value.node->type.shape.rank == 1, vector_right = right.value.node->type.shape.rank == 1;
    if (vector_left)
        side_lift(e, &left, true);
    if (vector_right)
        side_lift(e, &right, false);
    if (!inner_agree(e, &left, &right, span))
        return (struct value){0};
    bool flat = right.value.node->type.shape.rank == 2 && !left.transposed;
    struct value result = flat ? flattened_matmul(e, &left, &right, span) : batched_matmul(e, &left, &right, span);
    if (result.kind == VALUE_ERROR || !(vector_left || vector_right))
        return result;
    struct shape shape = {0}, full = result.node->type.shape;
    struct axis axes[RANK_MAX];
    for (int i = 0; i < full.rank; i++) {
        if ((i == full.rank - 2 && vector_left) || (i == full.rank - 1 && vector_right))
            continue;
        axes[shape.rank] = result.axes[i];
        shape.dimension[shape.rank++] = full.dimension[i];
    }
    return tensor_reshape(e, &result, &shape, axes, span);
}
