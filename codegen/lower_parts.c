/* Values side by side: the concat, if any, for which a nest is walked part by part. */
#include "codegen/lower.h"

#include <stb/stb_ds.h>

enum { INLINE_MOST = 4 };

static bool is_loaded(struct lowerer *lowerer, const struct node *value)
{
    const struct place *place = lower_place(lowerer, value);
    return place->buffer >= 0 && place->nest != lowerer->current;
}

/* The concat that the value is made of element by element, and the axis of the value along which its parts lie; NULL:
 * it is no such value, or lies in memory already. */
static const struct node *find_concat(struct lowerer *lowerer, const struct node *value, int *axis)
{
    const struct node *way[INLINE_MOST];
    int steps = 0;
    for (; value->op != OP_concat && steps < INLINE_MOST && !is_loaded(lowerer, value); steps++) {
        const struct node *next = NULL;
        bool keeps = op_is(value->op, CLASS_POINTWISE) || value->op == OP_permute;
        for (int i = 0; keeps && i < value->operand_count && !next; i++)
            if (shape_elements(&value->operands[i]->type.shape) == shape_elements(&value->type.shape))
                next = value->operands[i];
        if (!next)
            return NULL;
        way[steps] = value;
        value = next;
    }
    if (value->op != OP_concat || value->operand_count < 2 || is_loaded(lowerer, value))
        return NULL;
    *axis = value->attributes->axis;
    while (steps--) {
        const unsigned char *permutation = way[steps]->attributes->permutation;
        for (int k = 0; way[steps]->op == OP_permute && k < way[steps]->type.shape.rank; k++)
            if (permutation[k] == *axis) {
                *axis = k;
                break;
            }
    }
    return value;
}

/* Can the nest walk the parts of this concat, which lie along `axis` of its space, one after the other? Where it walks
 * strip by strip, each part has to be cut into the same strips, of whole vectors. */
static bool may_cut(const struct nest *nest, const struct node *concat, int axis, int64_t strip_items)
{
    bool vector = axis == nest_vector_axis(nest);
    if (axis == AXIS_NONE || (strip_items && nest->space.shape.dimension[axis] == strip_items))
        return false;
    int64_t length = nest->space.shape.dimension[axis], elements = shape_elements(&nest->space.shape);
    for (int i = 0; i < concat->operand_count; i++) {
        int64_t part = concat->operands[i]->type.shape.dimension[concat->attributes->axis];
        if ((vector && part < LANES) || (strip_items && elements / strip_items / length * part % LANES))
            return false;
    }
    return true;
}

/* Sums over the rows are taken part by part if each is complete in its part: nothing is added along the parts' axis. */
static bool may_reduce(const struct nest *nest, int axis)
{
    if (nest->outer_fixed && nest->outer >> axis & 1)
        return false;
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        const struct nest_member *member = &nest->members[i];
        if (member->reduction != REDUCTION_NONE &&
            (member->reduction != REDUCTION_COLUMN || member->node->op == OP_fold))
            return false;
        for (int k = 0; member->reduction && k < RANK_MAX; k++)
            if (member->axis[k] == axis && member->node->attributes->axes >> k & 1)
                return false;
    }
    return true;
}

const struct node *lower_find_parts(struct lowerer *lowerer, const struct nest *nest, int *axis)
{
    const struct node *best = NULL;
    int64_t strip_items = lowerer->current < lowerer->use->strip_nests ? lowerer->use->strip_items : 0;
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        const struct nest_member *member = &nest->members[i];
        int along = 0;
        const struct node *concat = find_concat(lowerer, member->base ? member->base : member->node, &along);
        if (concat && member->reduction == REDUCTION_NONE && (!best || concat->operand_count > best->operand_count) &&
            may_cut(nest, concat, member->axis[along], strip_items)) {
            best = concat;
            *axis = member->axis[along];
        }
    }
    return best && may_reduce(nest, *axis) ? best : NULL;
}
