/* Pass simplify: rules of the movement ops, which only choose elements, so that none can change a bit. */
#include "passes/rewrite.h"
#include "passes/simplify.h"

#include <math.h>

static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

static struct node *make(struct simplifier *simplifier, const struct node *node, struct node *operand,
                         const struct attributes *attributes)
{
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build(&simplifier->builder, node->op, &operand, 1, attributes, &node->type);
}

static struct node *reshaped(struct simplifier *simplifier, const struct node *node, struct node *operand)
{
    if (type_equal(&operand->type, &node->type))
        return simplify_become(simplifier, node, operand);
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build(&simplifier->builder, OP_reshape, &operand, 1, NULL, &node->type);
}

/* True when the operand is the given op and can be joined with the node over it, because it rounds nothing. */
static bool joins(const struct node *operand, enum op op)
{
    return operand->op == op && !movement_rounds(operand);
}

/* A reshape or broadcast of a constant as build_full makes it, which must not be rewritten into itself. */
static bool is_plain_constant(const struct node *node)
{
    if (node->op == OP_broadcast)
        node = node->operands[0];
    if (node->op == OP_reshape)
        node = node->operands[0];
    return node->op == OP_constant && node->type.shape.rank == 0;
}

static struct node *simplify_permute(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    const unsigned char *permutation = node->attributes->permutation;
    int rank = node->type.shape.rank, last = -1;
    bool in_order = true; /* axes longer than 1 keep their order: the elements lie as before */
    for (int axis = 0; axis < rank; axis++) {
        if (node->type.shape.dimension[axis] == 1)
            continue;
        in_order &= permutation[axis] > last;
        last = permutation[axis];
    }
    if (in_order)
        return reshaped(simplifier, node, x);
    if (joins(x, OP_permute)) {
        struct attributes attributes = {0};
        bool identity = true;
        for (int axis = 0; axis < rank; axis++) {
            attributes.permutation[axis] = x->attributes->permutation[permutation[axis]];
            identity &= attributes.permutation[axis] == axis;
        }
        return identity && !movement_rounds(node) ? simplify_become(simplifier, node, x->operands[0])
                                                  : make(simplifier, node, x->operands[0], &attributes);
    }
    /* (A B)' = B' A'. Only where nobody else wants A B. */
    if (x->op != OP_matmul || movement_rounds(node) || x->mark != 1 || !node_is_transpose(node) ||
        !pass_may_rewrite(simplifier->context))
        return NULL;
    struct node *operands[] = {x->operands[1], x->operands[0]};
    struct attributes attributes = {.transpose_a = !x->attributes->transpose_b,
                                    .transpose_b = !x->attributes->transpose_a};
    return build(&simplifier->builder, OP_matmul, operands, 2, &attributes, &node->type);
}

static struct node *simplify_slice(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    if (shape_equal(&x->type.shape, &node->type.shape))
        return simplify_become(simplifier, node, x);
    if (!joins(x, OP_slice))
        return NULL;
    const struct attributes *outer = node->attributes, *inner = x->attributes;
    struct attributes both = {0};
    for (int axis = 0; axis < node->type.shape.rank; axis++) {
        int64_t count = node->type.shape.dimension[axis];
        both.step[axis] = inner->step[axis] * outer->step[axis];
        both.low[axis] = inner->low[axis] + outer->low[axis] * inner->step[axis];
        both.high[axis] = count ? both.low[axis] + (count - 1) * both.step[axis] + 1 : both.low[axis];
        if (both.low[axis] > x->operands[0]->type.shape.dimension[axis])
            return NULL; /* an empty slice past the end */
    }
    return make(simplifier, node, x->operands[0], &both);
}

static struct node *simplify_pad(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    const struct attributes *outer = node->attributes, *inner = x->attributes;
    double value;
    if (shape_equal(&x->type.shape, &node->type.shape))
        return simplify_become(simplifier, node, x);
    if (node_uniform(x, &value) && same(value, outer->value))
        return simplify_full(simplifier, node, value);
    if (!joins(x, OP_pad) || !same(inner->value, outer->value))
        return NULL;
    struct attributes both = {.value = outer->value};
    for (int axis = 0; axis < node->type.shape.rank; axis++) {
        both.low[axis] = inner->low[axis] + outer->low[axis];
        both.high[axis] = inner->high[axis] + outer->high[axis];
    }
    return make(simplifier, node, x->operands[0], &both);
}

static struct node *simplify_flip(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    uint32_t axes = node->attributes->axes;
    bool moves = false;
    for (int axis = 0; axis < node->type.shape.rank; axis++)
        moves |= (axes >> axis & 1) && node->type.shape.dimension[axis] > 1;
    if (!moves)
        return simplify_become(simplifier, node, x);
    if (!joins(x, OP_flip))
        return NULL;
    return make(simplifier, node, x->operands[0], &(struct attributes){.axes = axes ^ x->attributes->axes});
}

/* A window of one element at every place. */
static struct node *simplify_window(struct simplifier *simplifier, struct node *node)
{
    const struct window *window = &node->attributes->window;
    for (int i = 0; i < window->rank; i++)
        if (window->kernel[i] != 1 || window->stride[i] != 1 || window->pad_low[i] || window->pad_high[i])
            return NULL;
    return reshaped(simplifier, node, node->operands[0]);
}

/* The first rows of a table, in order. */
struct node *simplify_gather(struct simplifier *simplifier, struct node *node)
{
    struct node *table = node->operands[0], *index = node->operands[1];
    int axis = node->attributes->axis;
    int64_t count = index->type.shape.dimension[0];
    if (index->type.shape.rank != 1 || !node_counts(index) || count > table->type.shape.dimension[axis])
        return NULL;
    struct attributes slice = {0};
    for (int i = 0; i < table->type.shape.rank; i++) {
        slice.high[i] = i == axis ? count : table->type.shape.dimension[i];
        slice.step[i] = 1;
    }
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build(&simplifier->builder, OP_slice, &table, 1, &slice, &node->type);
}

struct node *simplify_movement(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    bool keeps_values = node->op != OP_pad && node->op != OP_window && node->op != OP_concat;
    double value;
    if (keeps_values && !is_plain_constant(node) && node_uniform(x, &value))
        return simplify_full(simplifier, node, value);
    switch (node->op) {
    case OP_reshape:
        if (shape_equal(&x->type.shape, &node->type.shape))
            return simplify_become(simplifier, node, x);
        return joins(x, OP_reshape) ? reshaped(simplifier, node, x->operands[0]) : NULL;
    case OP_broadcast:
        if (shape_equal(&x->type.shape, &node->type.shape))
            return simplify_become(simplifier, node, x);
        return joins(x, OP_broadcast) ? make(simplifier, node, x->operands[0], NULL) : NULL;
    case OP_permute:
        return simplify_permute(simplifier, node);
    case OP_slice:
        return simplify_slice(simplifier, node);
    case OP_pad:
        return simplify_pad(simplifier, node);
    case OP_flip:
        return simplify_flip(simplifier, node);
    case OP_concat:
        return node->operand_count == 1 ? simplify_become(simplifier, node, x) : NULL;
    case OP_window:
        return simplify_window(simplifier, node);
    default:
        return NULL;
    }
}
