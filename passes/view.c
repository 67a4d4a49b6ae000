/* Walks movement nodes from a stored value upwards and says by strides what becomes of it. */
#include "passes/view.h"

static bool is_movement_view(const struct node *node)
{
    return node->op == OP_reshape || node->op == OP_permute || node->op == OP_broadcast || node->op == OP_slice;
}

static void apply_permute(const struct node *node, struct view *view)
{
    int64_t stride[RANK_MAX];
    for (int i = 0; i < node->type.shape.rank; i++)
        stride[i] = view->stride[node->attributes->permutation[i]];
    for (int i = 0; i < node->type.shape.rank; i++)
        view->stride[i] = stride[i];
}

static void apply_broadcast(const struct node *node, struct view *view)
{
    for (int i = 0; i < node->type.shape.rank; i++)
        if (view->type.shape.dimension[i] != node->type.shape.dimension[i])
            view->stride[i] = 0;
}

static void apply_slice(const struct node *node, struct view *view)
{
    for (int i = 0; i < node->type.shape.rank; i++) {
        view->offset += node->attributes->low[i] * view->stride[i];
        view->stride[i] *= node->attributes->step[i];
    }
}

bool view_join_axes(const struct view *view, int first, int last, int64_t *stride)
{
    bool found = false;
    int64_t expected = 0;
    *stride = 0;
    for (int i = last - 1; i >= first; i--) {
        int64_t size = view->type.shape.dimension[i];
        if (size == 1)
            continue;
        if (!found)
            *stride = view->stride[i];
        else if (view->stride[i] != expected)
            return false;
        found = true;
        expected = view->stride[i] * size;
    }
    return true;
}

/* Splits one run of joined axes over the new axes first … last - 1. */
static void split_axes(const struct shape *shape, int first, int last, int64_t stride, int64_t *strides)
{
    for (int i = last - 1; i >= first; i--) {
        strides[i] = stride;
        stride *= shape->dimension[i];
    }
}

/* Old and new axes are walked together in the shortest runs of equal products; each old run must join to one. */
static bool apply_reshape(const struct node *node, struct view *view)
{
    const struct shape *from = &view->type.shape, *to = &node->type.shape;
    int64_t strides[RANK_MAX] = {0};
    int i = 0, j = 0;
    if (shape_elements(to) == 0)
        return false;
    while (i < from->rank || j < to->rank) {
        int old_first = i, new_first = j;
        int64_t old_size = i < from->rank ? from->dimension[i++] : 1;
        int64_t new_size = j < to->rank ? to->dimension[j++] : 1;
        while (old_size != new_size)
            if (old_size < new_size)
                old_size *= from->dimension[i++];
            else
                new_size *= to->dimension[j++];
        int64_t stride;
        if (!view_join_axes(view, old_first, i, &stride))
            return false;
        split_axes(to, new_first, j, stride, strides);
    }
    for (int axis = 0; axis < to->rank; axis++)
        view->stride[axis] = strides[axis];
    return true;
}

static bool apply(const struct node *node, struct view *view)
{
    switch (node->op) {
    case OP_permute:
        apply_permute(node, view);
        return true;
    case OP_broadcast:
        apply_broadcast(node, view);
        return true;
    case OP_slice:
        apply_slice(node, view);
        return true;
    default:
        return apply_reshape(node, view);
    }
}

enum { CHAIN_MAX = 32 };

bool view_find(struct node *node, struct view *view)
{
    struct node *chain[CHAIN_MAX];
    int length = 0;
    while (node->kernel == 0 && is_movement_view(node) && length < CHAIN_MAX) {
        chain[length++] = node;
        node = node->operands[0];
    }
    *view = (struct view){.base = node, .type = node->type};
    type_strides(&node->type, view->stride);
    while (length--) {
        if (!apply(chain[length], view))
            return false;
        view->type = chain[length]->type;
    }
    return length < CHAIN_MAX;
}

bool view_is_vector(const struct view *view, int axis)
{
    for (int i = 0; i < view->type.shape.rank; i++)
        if (view->type.shape.dimension[i] > 1 && view->stride[i] != (i == axis ? 1 : 0))
            return false;
    return true;
}

bool view_offset_aligned(const struct view *view, int64_t bytes)
{
    return view->offset * (int64_t)element_bytes(view->base->type.element) % bytes == 0;
}

struct node *view_row_vector(struct node *node)
{
    struct view view;
    int last = node->type.shape.rank - 1;
    if (!view_find(node, &view) || view.base->op != OP_read || view.offset)
        return NULL;
    for (int i = 0; i <= last; i++)
        if (node->type.shape.dimension[i] > 1 && view.stride[i] != (i == last))
            return NULL;
    return view.base;
}

static void undo_permute(const struct node *node, struct view *view)
{
    int64_t stride[RANK_MAX];
    for (int i = 0; i < node->type.shape.rank; i++)
        stride[node->attributes->permutation[i]] = view->stride[i];
    for (int i = 0; i < node->type.shape.rank; i++)
        view->stride[i] = stride[i];
}

bool view_part(const struct node *concat, int part, struct view *view)
{
    struct node *node = concat->operands[part];
    *view = (struct view){.base = node, .type = node->type};
    type_strides(&concat->type, view->stride);
    for (int i = 0; i < part; i++)
        view->offset += concat->operands[i]->type.shape.dimension[concat->attributes->axis] *
                        view->stride[concat->attributes->axis];
    while ((node->op == OP_reshape || node->op == OP_permute) && node->kernel == 0 &&
           node->type.element == node->operands[0]->type.element) {
        if (node->op == OP_permute)
            undo_permute(node, view);
        else if (!apply_reshape(node->operands[0], view))
            return false;
        node = view->base = node->operands[0];
        view->type = node->type;
    }
    return true;
}

bool view_is_alias(const struct view *view)
{
    int64_t strides[RANK_MAX];
    type_strides(&view->type, strides);
    if (view->offset || shape_elements(&view->type.shape) != shape_elements(&view->base->type.shape))
        return false;
    for (int i = 0; i < view->type.shape.rank; i++)
        if (view->type.shape.dimension[i] > 1 && view->stride[i] != strides[i])
            return false;
    return true;
}

/* One of the last two axes is contiguous and the other one does not overlap it; the axes before join to one. */
static bool matrix_readable(const struct view *view)
{
    int rank = view->type.shape.rank;
    const int64_t *size = &view->type.shape.dimension[rank - 2], *stride = &view->stride[rank - 2];
    int64_t batch;
    bool rows = (stride[1] == 1 || size[1] == 1) && (stride[0] >= size[1] || size[0] == 1);
    bool columns = (stride[0] == 1 || size[0] == 1) && (stride[1] >= size[0] || size[1] == 1);
    return (rows || columns) && view_join_axes(view, 0, rank - 2, &batch);
}

bool view_lies_unrounded(const struct node *node, const struct target *target)
{
    return op_is(node->op, CLASS_CONTRACTION) && target_emulates(target, node->type.element);
}

bool view_contraction_operand(const struct node *contraction, int i)
{
    struct view view;
    if (!view_find(contraction->operands[i], &view))
        return false;
    if (view.base->type.element != contraction->operands[i]->type.element)
        return false;
    return contraction->op == OP_matmul ? matrix_readable(&view) : view_is_alias(&view);
}
