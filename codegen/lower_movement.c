/* Movement ops cost nothing: the value of the result at an index is that of the operand at another one. */
#include "codegen/lower.h"

#include <string.h>

static const struct affine *zero(struct lowerer *lowerer)
{
    return affine_constant(lowerer->out.arena, 0);
}

/* `value` where low <= index <= high, else the constant; nothing to do where the index is known to be inside. */
static int guard(struct lowerer *lowerer, int value, const struct affine *index, int64_t low, int64_t high,
                 double outside, const struct node *node)
{
    int64_t least, most;
    affine_range(&lowerer->out, index, &least, &most);
    if (least >= low && most <= high)
        return value;
    int mask = lower_inside(lowerer, index, low, high);
    return lower_select(lowerer, mask, value, lower_constant(lowerer, outside, node->type.element, node));
}

/* The operand at `wanted`, which may lie outside of it: there stands the node's value. */
static int padded(struct lowerer *lowerer, const struct node *node, const struct affine *const *wanted)
{
    const struct node *operand = node->operands[0];
    const struct affine *held[RANK_MAX] = {NULL};
    for (int i = 0; i < operand->type.shape.rank; i++)
        held[i] = lower_clamp(lowerer, wanted[i], 0, operand->type.shape.dimension[i] - 1);
    int value = lower_value(lowerer, operand, held);
    for (int i = 0; i < operand->type.shape.rank; i++)
        value =
            guard(lowerer, value, wanted[i], 0, operand->type.shape.dimension[i] - 1, node->attributes->value, node);
    return value;
}

static int lower_pad(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    const struct affine *wanted[RANK_MAX] = {NULL};
    for (int i = 0; i < node->type.shape.rank; i++)
        wanted[i] = affine_add(lowerer->out.arena, indices[i],
                               affine_constant(lowerer->out.arena, node->attributes->low[i]), -1);
    if (shape_elements(&node->operands[0]->type.shape) == 0)
        return lower_constant(lowerer, node->attributes->value, node->type.element, node);
    return padded(lowerer, node, wanted);
}

/* Where window place `place`, kernel position `kernel` looks along spatial axis `axis`. */
static const struct affine *window_index(struct lowerer *lowerer, const struct window *window, int axis,
                                         const struct affine *place, const struct affine *kernel)
{
    struct arena *arena = lowerer->out.arena;
    const struct affine *index = affine_constant(arena, -window->pad_low[axis]);
    index = affine_add(arena, index, place, window->stride[axis]);
    return affine_add(arena, index, kernel, window->dilation[axis]);
}

static int lower_window(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    const struct window *window = &node->attributes->window;
    int rank = node->operands[0]->type.shape.rank, lead = rank - window->rank;
    const struct affine *wanted[RANK_MAX] = {NULL};
    for (int i = 0; i < rank; i++)
        wanted[i] =
            i < lead ? indices[i] : window_index(lowerer, window, i - lead, indices[i], indices[i + window->rank]);
    return padded(lowerer, node, wanted);
}

int lower_fold_operand(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    struct arena *arena = lowerer->out.arena;
    const struct window *window = &node->attributes->window;
    const struct node *operand = node->operands[0];
    int rank = node->type.shape.rank, lead = rank - window->rank;
    const struct affine *at[RANK_MAX], *reach[SPATIAL_MAX], *rest[SPATIAL_MAX];
    memcpy(at, indices, sizeof *at * (size_t)(rank + window->rank));
    for (int i = 0; i < window->rank; i++) {
        const struct affine *reached = affine_add(arena, indices[lead + i], indices[rank + i], -window->dilation[i]);
        reach[i] = affine_add(arena, reached, affine_constant(arena, window->pad_low[i]), 1);
        int64_t last = (operand->type.shape.dimension[lead + i] - 1) * window->stride[i];
        const struct affine *held = lower_clamp(lowerer, reach[i], 0, last);
        at[lead + i] = lower_quotient(lowerer, held, window->stride[i]);
        rest[i] = lower_remainder(lowerer, held, window->stride[i]);
    }
    int value = lower_value(lowerer, operand, at);
    for (int i = 0; i < window->rank; i++) {
        int64_t last = (operand->type.shape.dimension[lead + i] - 1) * window->stride[i];
        value = guard(lowerer, value, reach[i], 0, last, 0, node);
        value = guard(lowerer, value, rest[i], 0, 0, 0, node);
    }
    return value;
}

/* The channel of x that filters of dy's channel `output` meet with their own channel `input`. */
static const struct affine *met_channel(struct lowerer *lowerer, const struct node *node, const struct affine *output,
                                        int64_t input)
{
    struct arena *arena = lowerer->out.arena;
    const struct shape *weight = &node->type.shape;
    const struct affine *group = lower_quotient(lowerer, output, weight->dimension[0] / node->attributes->groups);
    return affine_add(arena, affine_constant(arena, input), group, weight->dimension[1]);
}

int lower_tap(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices, int64_t tap)
{
    struct arena *arena = lowerer->out.arena;
    const struct node *dy = node->operands[0], *x = node->operands[1];
    const struct window *window = &node->attributes->window;
    const struct affine *wanted[RANK_MAX] = {indices[0]}, *held[RANK_MAX];
    for (int i = window->rank - 1; i >= 0; i--) {
        int64_t size = node->type.shape.dimension[2 + i];
        wanted[2 + i] = window_index(lowerer, window, i, indices[2 + i], affine_constant(arena, tap % size));
        tap /= size;
    }
    wanted[1] = met_channel(lowerer, node, indices[1], tap);
    for (int i = 0; i < x->type.shape.rank; i++)
        held[i] = lower_clamp(lowerer, wanted[i], 0, x->type.shape.dimension[i] - 1);
    int met = lower_value(lowerer, x, held);
    for (int i = 0; i < window->rank; i++)
        met = guard(lowerer, met, wanted[2 + i], 0, x->type.shape.dimension[2 + i] - 1, 0, x);
    struct value product = {.kind = VALUE_POINTWISE, .op = OP_mul, .node = node, .operand_count = 2};
    product.lane = product.domain = LANE_FLOAT;
    product.operands[0] = lower_float(lowerer, lower_value(lowerer, dy, indices));
    product.operands[1] = lower_float(lowerer, met);
    return lower_append(lowerer, product);
}

/* Only the parts that the index can reach are looked at. */
static int lower_concat(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    int axis = node->attributes->axis, value = -1;
    int64_t start = 0, size, least, most;
    const struct affine *at[RANK_MAX];
    memcpy(at, indices, sizeof *at * (size_t)node->type.shape.rank);
    affine_range(&lowerer->out, indices[axis], &least, &most);
    for (int i = 0; i < node->operand_count; i++, start += size) {
        size = node->operands[i]->type.shape.dimension[axis];
        if (size == 0 || start > most || start + size <= least)
            continue;
        at[axis] = affine_add(lowerer->out.arena, indices[axis], affine_constant(lowerer->out.arena, start), -1);
        at[axis] = lower_clamp(lowerer, at[axis], 0, size - 1);
        int part = lower_convert(lowerer, lower_value(lowerer, node->operands[i], at), node->type.element, node);
        if (value >= 0)
            part = lower_select(lowerer, lower_inside(lowerer, indices[axis], 0, start - 1), value, part);
        value = part;
    }
    return value >= 0 ? value : lower_constant(lowerer, 0, node->type.element, node);
}

/* The ops that take each operand element at most to one place by an index map without conditions. */
static void map_indices(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices,
                        const struct affine **at)
{
    struct arena *arena = lowerer->out.arena;
    const struct shape *from = &node->operands[0]->type.shape;
    const struct attributes *attributes = node->attributes;
    if (node->op == OP_reshape) {
        lower_split(lowerer, from, lower_linear(lowerer, &node->type.shape, indices), at);
        return;
    }
    for (int i = 0; i < from->rank; i++) {
        if (node->op == OP_broadcast)
            at[i] = from->dimension[i] == 1 ? zero(lowerer) : indices[i];
        else if (node->op == OP_permute)
            at[attributes->permutation[i]] = indices[i];
        else if (node->op == OP_slice && node->type.shape.dimension[i] == 1 && from->dimension[i] > 1)
            at[i] = lower_place_of(lowerer, node, i);
        else if (node->op == OP_slice)
            at[i] = affine_add(arena, affine_constant(arena, attributes->low[i]), indices[i], attributes->step[i]);
        else /* flip */
            at[i] = attributes->axes >> i & 1
                        ? affine_add(arena, affine_constant(arena, from->dimension[i] - 1), indices[i], -1)
                        : indices[i];
    }
}

int lower_movement(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    const struct affine *at[RANK_MAX];
    switch (node->op) {
    case OP_pad:
        return lower_pad(lowerer, node, indices);
    case OP_window:
        return lower_window(lowerer, node, indices);
    case OP_concat:
        return lower_concat(lowerer, node, indices);
    default:
        map_indices(lowerer, node, indices, at);
        return lower_value(lowerer, node->operands[0], at);
    }
}
