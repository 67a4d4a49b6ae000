/* The evaluator: movement ops and fold.
 *
 * Each of them but reshape and concat says where the elements of the larger or rearranged side come from: axis j of
 * that side steps `step[j]` places along axis `source[j]` of the other one, starting at `start`. Places outside are
 * the fill value (pad, window) or are passed over (fold). */
#include "ir/evaluate_ops.h"

#include <string.h>

struct map {
    struct shape from;
    int source[RANK_MAX];
    int64_t step[RANK_MAX], start[RANK_MAX];
};

static struct map map_identity(const struct shape *from)
{
    struct map map = {.from = *from};
    for (int axis = 0; axis < from->rank; axis++) {
        map.source[axis] = axis;
        map.step[axis] = 1;
    }
    return map;
}

/* Axes [.., places, kernel] of the windows onto the axes [.., size] that they slide over. */
static struct map map_window(const struct shape *from, const struct window *window)
{
    struct map map = map_identity(from);
    for (int i = 0; i < window->rank; i++) {
        int axis = from->rank - window->rank + i;
        map.start[axis] = -window->pad_low[i];
        map.step[axis] = window->stride[i];
        map.source[from->rank + i] = axis;
        map.step[from->rank + i] = window->dilation[i];
    }
    return map;
}

/* Where element `index` comes from; -1: from outside. */
static int64_t map_offset(const struct map *map, int rank, const int64_t index[RANK_MAX])
{
    int64_t place[RANK_MAX];
    memcpy(place, map->start, sizeof place);
    for (int axis = 0; axis < rank; axis++)
        place[map->source[axis]] += index[axis] * map->step[axis];
    int64_t offset = 0;
    for (int axis = 0; axis < map->from.rank; axis++) {
        if (place[axis] < 0 || place[axis] >= map->from.dimension[axis])
            return -1;
        offset = offset * map->from.dimension[axis] + place[axis];
    }
    return offset;
}

static struct map map_of(const struct evaluate_call *call)
{
    const struct attributes *attributes = call->node->attributes;
    const struct shape *from = &call->operands[0]->shape;
    struct map map = map_identity(from);
    if (call->node->op == OP_window)
        return map_window(from, &attributes->window);
    for (int axis = 0; axis < from->rank; axis++) {
        switch (call->node->op) {
        case OP_broadcast:
            map.step[axis] = from->dimension[axis] == call->result->shape.dimension[axis];
            break;
        case OP_permute:
            map.source[axis] = attributes->permutation[axis];
            break;
        case OP_slice:
            map.start[axis] = attributes->low[axis];
            map.step[axis] = attributes->step[axis];
            break;
        case OP_pad:
            map.start[axis] = -attributes->low[axis];
            break;
        default: /* flip */
            if (attributes->axes >> axis & 1) {
                map.start[axis] = from->dimension[axis] - 1;
                map.step[axis] = -1;
            }
            break;
        }
    }
    return map;
}

static void evaluate_concat(const struct evaluate_call *call)
{
    const struct shape *shape = &call->result->shape;
    int axis = call->node->attributes->axis;
    int64_t inner = 1, before = 0;
    for (int i = axis + 1; i < shape->rank; i++)
        inner *= shape->dimension[i];
    int64_t row = shape->dimension[axis] * inner;
    for (int k = 0; k < call->node->operand_count; k++) {
        const struct tensor *part = call->operands[k];
        int64_t width = part->shape.dimension[axis] * inner;
        for (int64_t at = 0; at < shape_elements(&part->shape); at++)
            call->result->values[at / width * row + before + at % width] = part->values[at];
        before += width;
    }
}

void evaluate_movement(const struct evaluate_call *call)
{
    const struct shape *shape = &call->result->shape;
    const double *from = call->operands[0]->values;
    if (call->node->op == OP_concat) {
        evaluate_concat(call);
        return;
    }
    if (call->node->op == OP_reshape) {
        memcpy(call->result->values, from, sizeof *from * (size_t)shape_elements(shape));
        return;
    }
    struct map map = map_of(call);
    int64_t index[RANK_MAX] = {0};
    for (int64_t i = 0; i < shape_elements(shape); i++, evaluate_next(shape, index)) {
        int64_t offset = map_offset(&map, shape->rank, index);
        call->result->values[i] = offset < 0 ? call->node->attributes->value : from[offset];
    }
}

void evaluate_fold(const struct evaluate_call *call)
{
    const struct shape *windows = &call->operands[0]->shape;
    struct map map = map_window(&call->result->shape, &call->node->attributes->window);
    int64_t index[RANK_MAX] = {0};
    for (int64_t i = 0; i < shape_elements(windows); i++, evaluate_next(windows, index)) {
        int64_t offset = map_offset(&map, windows->rank, index);
        if (offset >= 0)
            call->result->values[offset] += call->operands[0]->values[i];
    }
}
