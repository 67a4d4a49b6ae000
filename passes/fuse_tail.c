/* Tails of convolutions (EPILOGUE_TAIL): what a kernel computes from a convolution's result while it has that in
 * registers, element by element, and sums of such over all axes but the channels'.
 *
 * The result flows through pointwise nodes with one user each to a neck, from which it branches. The neck is stored in
 * the result's place. What it needs besides lies in memory like the result, or is a vector along the channels, or one
 * number. So batch normalisation without statistics of the batch, relu and a residual sum ride on the convolution
 * before them; and the gradient that conv_data gives is added to its like, masked by relu, stored once, and summed
 * twice for the batch normalisation before it.
 *
 * What such sums, or statistics of the result, come to (mean and deviation; the factors of a normalisation's gradient)
 * is one value a channel: the block that is the last to add to a channel's sums computes that too. */
#include "passes/fuse.h"
#include "passes/kernels.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>

enum { TAIL_NODES = 64 }; /* that one node of a tail is computed from */

/* ---- what a tail can be made of ---- */

/* The walk from a node of the tail down to what lies in memory. */
struct descent {
    const struct fuser *fuser;
    const struct node *from;   /* where it begins */
    const struct node *result; /* of the convolution, or the neck: taken from registers */
    const struct type *type;   /* of both, but for the element */
    const struct node *nodes[TAIL_NODES];
    int count, done;
    int loads, wide; /* what lies in memory, and of that, like the result */
    bool crosses;    /* of that some is made by a convolution that goes on, on the same way, beyond where this begins */
};

static bool push(struct descent *descent, const struct node *node)
{
    for (int i = 0; i < descent->count; i++)
        if (descent->nodes[i] == node)
            return true;
    if (descent->count == TAIL_NODES)
        return false;
    descent->nodes[descent->count++] = node;
    return true;
}

static bool push_operands(struct descent *descent, const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (!push(descent, node->operands[i]))
            return false;
    return true;
}

static bool lies_alike(const struct descent *descent, const struct node *node)
{
    struct type a = node->type, b = *descent->type;
    a.element = b.element = ELEMENT_NONE;
    return type_equal(&a, &b);
}

/* One number, or one a channel. */
static bool is_narrow(const struct descent *descent, const struct node *node)
{
    const struct shape *shape = &node->type.shape;
    int64_t elements = shape_elements(shape), channels = descent->type->shape.dimension[1];
    if (elements != 1 && (elements != channels || !type_row_major(&node->type)))
        return false;
    int axis = shape->rank == descent->type->shape.rank ? 1 : 0;
    return elements == 1 || (axis < shape->rank && shape->dimension[axis] == channels);
}

/* Lies in memory, so that the walk ends there. */
static bool is_loaded(struct descent *descent, const struct node *node)
{
    const struct fact *fact = &descent->fuser->facts[node->id];
    bool loaded = fuse_is_leaf(node) || fact->required || fact->own_group != GROUP_NONE || fact->pattern ||
                  op_is(node->op, CLASS_CONTRACTION) || op_is(node->op, CLASS_REDUCE);
    descent->crosses |= fact->neck && fact->neck != descent->from;
    descent->loads += loaded;
    descent->wide += loaded && lies_alike(descent, node);
    return loaded;
}

static bool accept_narrow(struct descent *descent, const struct node *node)
{
    if (is_loaded(descent, node) || node->op == OP_constant)
        return true;
    bool follows = op_is(node->op, CLASS_POINTWISE) || node->op == OP_reshape || node->op == OP_broadcast;
    return follows && push_operands(descent, node);
}

static bool accept(struct descent *descent, const struct node *node)
{
    if (node == descent->result)
        return true;
    if (is_narrow(descent, node) && !lies_alike(descent, node))
        return accept_narrow(descent, node);
    if (node->op == OP_broadcast)
        return node->operands[0]->type.shape.rank == node->type.shape.rank && is_narrow(descent, node->operands[0]) &&
               push_operands(descent, node);
    if (!lies_alike(descent, node))
        return false;
    return is_loaded(descent, node) || (op_is(node->op, CLASS_POINTWISE) && push_operands(descent, node));
}

/* Whether everything that `node` is computed from is at hand at one element of the result: at the same place, of its
 * channel, or a single number. *descent: the walk, which tells how much is loaded. */
static bool can_follow(const struct fuser *fuser, const struct node *node, const struct node *result,
                       struct descent *descent)
{
    *descent = (struct descent){.fuser = fuser, .from = node, .result = result, .type = &result->type};
    bool follows = push_operands(descent, node);
    while (follows && descent->done < descent->count)
        follows = accept(descent, descent->nodes[descent->done++]) && descent->loads <= TAIL_LOADS_EACH;
    return follows;
}

/* ---- the neck ---- */

/* Channels lie innermost. */
static bool may_have_tail(const struct fuser *fuser, const struct node *contraction)
{
    const struct type *type = &contraction->type;
    int last = -1;
    for (int i = 0; i < type->shape.rank; i++)
        if (type->shape.dimension[type->order[i]] != 1)
            last = type->order[i];
    return (fuser->context->target->epilogues & EPILOGUE_TAIL) &&
           (contraction->op == OP_conv || contraction->op == OP_conv_data) && last == 1 &&
           !fuser->facts[contraction->id].required;
}

static size_t bytes_of(const struct fuser *fuser, const struct node *node)
{
    return element_bytes(fuser->context->target->storage[node->type.element]);
}

/* Backwards: a node's users have been seen when it is met. */
void fuse_note_uses(struct fuser *fuser)
{
    for (ptrdiff_t i = arrlen(fuser->graph->nodes) - 1; i >= 0; i--) {
        const struct node *node = fuser->graph->nodes[i];
        const struct fact *own = &fuser->facts[i];
        bool pointwise = op_is(node->op, CLASS_POINTWISE);
        bool sums = op_is(node->op, CLASS_REDUCE) || (pointwise && own->summed && !own->used_wide && !own->required);
        for (int k = 0; k < node->operand_count; k++) {
            struct fact *fact = &fuser->facts[node->operands[k]->id];
            fact->summed |= sums;
            fact->used_wide |= pointwise && !sums;
        }
    }
}

/* Where going on with a gradient takes its sums, as in batch normalisation, one kernel that takes the sums and goes on
 * still has the values on the chip, as far as they fit; a tail takes the sums first, and then both the gradient and its
 * companion are loaded again, by one more launch. In multiples of the neck's bytes that is
 *
 *   without a tail   result written and read, its companion read, the neck written if it is stored anyway; then the
 *                    neck and its companion, but for the share of them that was kept: 5 or 6 - 2 kept
 *   with one         its companion read, the neck written; then the neck and its companion read: 4
 *
 * beside what both load. */
static bool gains(const struct fuser *fuser, const struct node *neck, const struct node *contraction, int wide)
{
    const struct fact *fact = &fuser->facts[neck->id];
    const struct target *target = fuser->context->target;
    if (contraction->region != REGION_BACKWARD || !fact->summed || !fact->used_wide)
        return true;
    double bytes = (double)memory_bytes(&neck->type, target);
    double room = (double)target->processors * (double)target->shared_bytes / 2; /* what kernels come to keep */
    double kept = room < 2 * bytes ? room / (2 * bytes) : 1;
    bool stored = fact->required || wide >= 2; /* as pass fuse does otherwise */
    return ((stored ? 2 : 1) - 2 * kept) * bytes > target->launch_seconds * target->bandwidth;
}

/* The last node on the way that takes no more memory than the result would. Where two convolutions are added, both may
 * go on to one neck, which one of them then stores; with necks of their own each would wait for the other. */
void fuse_find_neck(struct fuser *fuser, struct node *const *user, struct node *contraction)
{
    if (!may_have_tail(fuser, contraction))
        return;
    struct node *neck = NULL, *last = contraction;
    struct descent descent;
    int neck_wide = 0;
    struct type plain = contraction->type;
    while (fuser->facts[last->id].users == 1 && !fuser->facts[last->id].required) {
        struct node *next = user[last->id];
        struct type type = next->type;
        type.element = plain.element;
        if (!op_is(next->op, CLASS_POINTWISE) || !element_is_float(next->type.element) || !type_equal(&type, &plain) ||
            fuser->facts[next->id].pattern || fuser->facts[next->id].inside ||
            !can_follow(fuser, next, contraction, &descent))
            break;
        last = next;
        if (descent.crosses || bytes_of(fuser, last) > bytes_of(fuser, contraction))
            continue;
        neck = last;
        neck_wide = descent.wide;
    }
    if (!neck || !gains(fuser, neck, contraction, neck_wide) || !pass_may_rewrite(fuser->context))
        return;
    fuser->facts[contraction->id].neck = neck;
    fuser->facts[neck->id].required = true;
}

/* ---- joining ---- */

static bool is_total(const struct node *node, const struct node *neck)
{
    if (node->op != OP_sum || node->type.element != ELEMENT_F32 || reduction_kind(node) != REDUCTION_COLUMN ||
        node->operands[0]->type.shape.rank != neck->type.shape.rank)
        return false;
    for (int i = 0; i < neck->type.shape.rank; i++)
        if (node->operands[0]->type.shape.dimension[i] != neck->type.shape.dimension[i] ||
            (neck->type.shape.dimension[i] != 1 && (node->attributes->axes >> i & 1) == (i == 1)))
            return false;
    return true;
}

/* Whether something holds for all elements. */
static bool is_check(const struct node *node)
{
    return node->op == OP_reduce_min && node->type.element == ELEMENT_BOOL && reduction_kind(node) == REDUCTION_FULL &&
           node->operands[0]->type.element == ELEMENT_BOOL;
}

bool fuse_joins_tail(const struct fuser *fuser, const struct node *node)
{
    int number = fuser->facts[node->id].group;
    const struct group *group = number >= 0 ? &fuser->groups[number] : NULL;
    const struct node *neck = group && group->places >= 0 ? fuser->facts[group->convolution->id].neck : NULL;
    if (!neck)
        return false;
    bool fits = is_check(node) ? !group->checked : group->totals < TAIL_TOTALS_MAX && is_total(node, neck);
    struct descent descent;
    return fits && can_follow(fuser, node, neck, &descent);
}

bool fuse_joins_finish(const struct fuser *fuser, const struct node *node)
{
    int number = fuser->facts[node->id].group;
    const struct group *group = number >= 0 ? &fuser->groups[number] : NULL;
    const struct node *convolution = group ? group->convolution : NULL;
    if (!convolution || group->finished >= TAIL_FINISHED_MAX || !op_is(node->op, CLASS_POINTWISE) ||
        !element_is_float(node->type.element) || node->type.shape.rank != convolution->type.shape.rank)
        return false;
    struct descent descent = {.fuser = fuser, .result = convolution, .type = &convolution->type};
    bool follows = is_narrow(&descent, node) && shape_elements(&node->type.shape) > 1 && push_operands(&descent, node);
    while (follows && descent.done < descent.count) {
        const struct node *each = descent.nodes[descent.done++];
        follows = is_narrow(&descent, each) && !lies_alike(&descent, each) && accept_narrow(&descent, each) &&
                  descent.loads <= TAIL_LOADS_EACH;
    }
    return follows;
}

/* Nothing needs the convolution but its neck, so it may run as late as what that needs besides. */
int fuse_tail_group(struct fuser *fuser, const struct node *neck)
{
    const struct fact *fact = &fuser->facts[neck->id];
    int number = fuser->facts[fact->tail_of->id].own_group;
    struct group *group = &fuser->groups[number];
    if (fact->group != number && group->level <= fact->level)
        group->level = fact->level + 1;
    return number;
}

/* A convolution whose neck joined it carries the neck's number; else its result is stored by itself. */
void fuse_number_tails(struct fuser *fuser)
{
    for (ptrdiff_t i = 0; i < arrlen(fuser->groups); i++) {
        struct node *contraction = fuser->groups[i].convolution;
        if (contraction && fuser->groups[i].places >= 0)
            contraction->kernel = fuser->facts[contraction->id].neck->kernel;
    }
}
