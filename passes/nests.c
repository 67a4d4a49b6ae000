/* Decides which nodes of a kernel share a loop nest, and with which axes. See nests.h. */
#include "passes/nests.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- reductions ---- */

enum { CHANNEL_AXIS = 1 };

static bool is_fold(const struct node *node)
{
    return node->op == OP_fold;
}

int64_t tap_count(const struct node *node)
{
    return node->op == OP_tap_sums ? shape_elements(&node->type.shape) / node->type.shape.dimension[0] : 1;
}

/* Of dy, the channels innermost however it lies. */
static struct type tap_space(const struct node *node)
{
    struct type space = node->operands[0]->type;
    int rank = space.shape.rank, place = 0;
    for (int i = 0; i < rank; i++)
        if (node->operands[0]->type.order[i] != CHANNEL_AXIS)
            space.order[place++] = node->operands[0]->type.order[i];
    space.order[rank - 1] = CHANNEL_AXIS;
    return space;
}

struct type reduction_space(const struct node *node, uint32_t *reduced)
{
    if (node->op == OP_tap_sums) {
        *reduced = ~(1u << CHANNEL_AXIS) & ((1u << node->operands[0]->type.shape.rank) - 1);
        return tap_space(node);
    }
    if (!is_fold(node)) {
        *reduced = node->attributes->axes;
        return node->operands[0]->type;
    }
    struct type space = node->type;
    const struct window *window = &node->attributes->window;
    *reduced = 0;
    for (int i = 0; i < window->rank; i++) {
        int axis = space.shape.rank++;
        space.shape.dimension[axis] = window->kernel[i];
        space.order[axis] = (unsigned char)axis;
        *reduced |= 1u << axis;
    }
    return space;
}

enum reduction_kind reduction_kind(const struct node *node)
{
    if (is_fold(node))
        return REDUCTION_ROW;
    if (node->op == OP_tap_sums)
        return REDUCTION_COLUMN;
    if (!op_is(node->op, CLASS_REDUCE))
        return REDUCTION_NONE;
    const struct type *type = &node->operands[0]->type;
    int changes = 0, last = -1, first = -1; /* of kept (0) and reduced (1) in the order of memory */
    for (int i = 0; i < type->shape.rank; i++) {
        int axis = type->order[i], reduced = node->attributes->axes >> axis & 1;
        if (type->shape.dimension[axis] == 1)
            continue;
        first = last < 0 ? reduced : first;
        changes += last >= 0 && reduced != last;
        last = reduced;
    }
    if (last < 0 || (changes == 0 && last == 0))
        return REDUCTION_NONE;
    if (changes == 0)
        return REDUCTION_FULL;
    return changes == 1 && first == 1 ? REDUCTION_COLUMN : REDUCTION_ROW;
}

/* So many blocks keep a GPU busy; of a large tensor (the gradient of an embedding, say) it takes more. */
enum { BLOCKS = 256, BLOCK_MIN = 32, BLOCK_MAX = 16384 };

int64_t reduction_block(int64_t count)
{
    int64_t block = ((count + BLOCKS - 1) / BLOCKS + 15) / 16 * 16;
    return block < BLOCK_MIN ? BLOCK_MIN : block > BLOCK_MAX ? BLOCK_MAX : block;
}

int64_t reduction_items(int64_t count)
{
    int64_t items = (count + 63) / 64;
    while (items < count && count % items)
        items++;
    return items > 0 ? items : 1;
}

/* So many sums of a column, each a thread's on a GPU, and at least so many rows in each. */
enum { COLUMN_SUMS = 65536, COLUMN_ROWS = 12 };

/* Rows in a block of a COLUMN reduction: parts of a share of the outermost axis where there are enough shares, so that
 * a kernel that walks the batch slice by slice can take the sums along (strips.h); few enough rows that the blocks keep
 * a GPU busy. */
static int64_t column_block(const struct node *node)
{
    uint32_t reduced;
    struct type type = reduction_space(node, &reduced);
    int64_t outermost = 1, rows = 1;
    for (int i = 0; i < type.shape.rank; i++) {
        int axis = type.order[i];
        if (!(reduced >> axis & 1))
            continue;
        outermost = outermost == 1 ? type.shape.dimension[axis] : outermost;
        rows *= type.shape.dimension[axis];
    }
    if (rows <= 0 || rows == outermost || outermost / reduction_items(outermost) < 8)
        return reduction_block(rows);
    int64_t share = rows / outermost * reduction_items(outermost);
    int64_t block = shape_elements(&type.shape) / COLUMN_SUMS;
    block = block < COLUMN_ROWS ? COLUMN_ROWS : block;
    while (block < share && share % block)
        block++;
    return block < share ? block : share;
}

int64_t merge_neighbours(int64_t blocks, int64_t columns)
{
    int64_t neighbours = columns > 0 && MERGE_WAYS % columns == 0 ? MERGE_WAYS / columns : 1;
    return blocks > MERGE_ORDERED && blocks % neighbours == 0 ? neighbours : 1;
}

bool reduction_ordered(const struct node *node)
{
    bool adds = node->op == OP_sum || node->op == OP_prod || node->op == OP_fold || node->op == OP_tap_sums;
    return node->op == OP_m2 || (adds && element_is_float(node->operands[0]->type.element));
}

/* ---- nests ---- */

bool nest_is_alone(const struct node *node)
{
    return op_is(node->op, CLASS_SCAN) || node->op == OP_scatter_add;
}

uint32_t nest_axes(const struct nest *nest)
{
    uint32_t mask = 0;
    for (int i = 0; i < nest->space.shape.rank; i++)
        if (nest->space.shape.dimension[i] != 1)
            mask |= 1u << i;
    return mask;
}

int nest_vector_axis(const struct nest *nest)
{
    for (int i = nest->space.shape.rank - 1; i >= 0; i--)
        if (nest->space.shape.dimension[nest->space.order[i]] != 1)
            return nest->space.order[i];
    return -1;
}

struct alignment alignment_none(void)
{
    struct alignment none = {.nest = -1, .after = -1};
    memset(none.axis, AXIS_NONE, sizeof none.axis);
    return none;
}

/* Gives each free axis of more than one element a space axis of its size: the one of its own number if possible. */
static bool place_axes(const struct nest *nest, const struct type *value, unsigned char axis[RANK_MAX])
{
    const struct shape *space = &nest->space.shape;
    uint32_t used = 0;
    for (int i = 0; i < value->shape.rank; i++)
        if (axis[i] != AXIS_NONE)
            used |= 1u << axis[i];
    for (int i = 0; i < value->shape.rank; i++) {
        int64_t size = value->shape.dimension[i];
        if (size == 1 || axis[i] != AXIS_NONE)
            continue;
        int place = i < space->rank && space->dimension[i] == size && !(used >> i & 1) ? i : 0;
        while (place < space->rank && (space->dimension[place] != size || used >> place & 1))
            place++;
        if (place == space->rank)
            return false;
        axis[i] = (unsigned char)place;
        used |= 1u << place;
    }
    return true;
}

/* Do the value's axes follow each other in memory as those of the space? */
static bool same_order(const struct nest *nest, const struct type *value, const unsigned char axis[RANK_MAX])
{
    int position[RANK_MAX], last = -1;
    for (int i = 0; i < nest->space.shape.rank; i++)
        position[nest->space.order[i]] = i;
    for (int i = 0; i < value->shape.rank; i++) {
        int place = axis[value->order[i]];
        if (place == AXIS_NONE)
            continue;
        if (position[place] < last)
            return false;
        last = position[place];
    }
    return true;
}

static uint32_t axes_mask(const struct type *value, const unsigned char axis[RANK_MAX], uint32_t select)
{
    uint32_t mask = 0;
    for (int i = 0; i < value->shape.rank; i++)
        if (axis[i] != AXIS_NONE && select >> i & 1)
            mask |= 1u << axis[i];
    return mask;
}

static bool fix_outer(struct nest *nest, uint32_t outer)
{
    if (nest->outer_fixed && nest->outer != outer)
        return false;
    nest->outer_fixed = true;
    nest->outer = outer;
    return true;
}

/* One value for each place of the outer axes, vectors lying along the inner ones. */
static bool is_row_level(const struct nest *nest, uint32_t axes)
{
    int vector = nest_vector_axis(nest);
    return nest->outer_fixed && axes == nest->outer && axes != nest_axes(nest) && vector >= 0 &&
           !(nest->outer >> vector & 1);
}

/* One value for each place of the outer axes, vectors lying along one of these. */
static bool is_vector_level(const struct nest *nest, uint32_t axes)
{
    int vector = nest_vector_axis(nest);
    return nest->outer_fixed && axes == nest->outer && vector >= 0 && nest->outer >> vector & 1;
}

/* All sums over the rows of a nest take blocks of the same rows together. */
static bool fix_block(struct nest *nest, int64_t block)
{
    if (nest->block && nest->block != block)
        return false;
    nest->block = block;
    return true;
}

static bool join_reduction(struct nest *nest, const struct node *node, uint32_t axes, uint32_t reduced)
{
    bool whole = axes == nest_axes(nest);
    switch (reduction_kind(node)) {
    case REDUCTION_ROW:
        return whole && fix_outer(nest, axes & ~reduced);
    case REDUCTION_COLUMN:
        return whole && fix_outer(nest, reduced) && (!reduction_ordered(node) || fix_block(nest, column_block(node)));
    default:
        if (!reduction_ordered(node))
            return whole || is_row_level(nest, axes) || is_vector_level(nest, axes);
        if (is_row_level(nest, axes))
            return fix_block(nest, reduction_block(shape_elements(&node->operands[0]->type.shape)));
        return whole && fix_outer(nest, 0);
    }
}

/* A reduction of everything that may take the elements in any order, and under another shape too. */
static bool any_order(const struct node *node)
{
    bool best = node->op == OP_argmax || node->op == OP_argmin;
    return reduction_kind(node) == REDUCTION_FULL && !reduction_ordered(node) && !best;
}

/* What a member walks: the operand of a reduction, the base of a reshaped store, else the value itself. */
static struct type value_space(const struct node *node, const struct alignment *alignment, uint32_t *reduced)
{
    *reduced = 0;
    if (alignment->base && (!reduction_kind(node) || any_order(node))) {
        *reduced = reduction_kind(node) ? ~0u : 0;
        return alignment->base->type;
    }
    return reduction_kind(node) ? reduction_space(node, reduced) : node->type;
}

/* Many parts side by side are stored part by part (codegen/lower_parts.c), which a reduction's one walk over them all
 * would not let happen. */
enum { PARTS_MANY = 5 };

static bool has_many_parts(const struct nest_member *member)
{
    const struct node *made = member->base ? member->base : member->node;
    return !member->reduction && made->op == OP_concat && made->operand_count >= PARTS_MANY;
}

static bool would_walk_parts(const struct nest *nest, const struct nest_member *member)
{
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        if ((member->reduction && has_many_parts(&nest->members[i])) ||
            (nest->members[i].reduction && has_many_parts(member)))
            return true;
    return false;
}

static bool join(struct nest *nest, struct node *node, const struct alignment *alignment)
{
    struct nest_member member = {.node = node, .reduction = reduction_kind(node)};
    uint32_t reduced = 0;
    member.base = member.reduction && !any_order(node) ? NULL : alignment->base;
    struct type value = value_space(node, alignment, &reduced);
    memcpy(member.axis, alignment->axis, sizeof member.axis);
    if (would_walk_parts(nest, &member) || !place_axes(nest, &value, member.axis))
        return false;
    /* A half copy whose order is the convolution's goes along with its parameter, however that lies. */
    if (node->op != OP_write && !same_order(nest, &value, member.axis))
        return false;
    uint32_t axes = axes_mask(&value, member.axis, ~0u);
    bool fits = member.reduction ? join_reduction(nest, node, axes, axes_mask(&value, member.axis, reduced))
                                 : axes == nest_axes(nest) || (nest->outer_fixed && axes == nest->outer);
    if (fits)
        arrput(nest->members, member);
    return fits;
}

/* What takes its elements in any order may walk them as they are, too, where the nest does not walk the base. */
bool nest_join(struct nest *nest, struct node *node, const struct alignment *alignment)
{
    struct alignment plain = alignment_none();
    plain.after = alignment->after;
    return join(nest, node, alignment) ||
           (alignment->base && alignment->nest < 0 && any_order(node) && join(nest, node, &plain));
}

struct nest nest_make(const struct node *node, const struct alignment *alignment)
{
    uint32_t reduced;
    return (struct nest){.space = value_space(node, alignment, &reduced)};
}

struct type nest_space(const struct node *node, const struct alignment *alignment)
{
    uint32_t reduced;
    return value_space(node, alignment, &reduced);
}

struct nest_key nest_key(const struct node *load, const struct type *space)
{
    struct nest_key key;
    memset(&key, 0, sizeof key);
    key.load = load;
    for (int i = 0; space && i < space->shape.rank; i++) {
        key.dimension[i] = space->shape.dimension[i] + 1;
        key.order[i] = space->order[i];
    }
    return key;
}

/* ---- alignments ---- */

void alignment_leave(struct alignment *alignment)
{
    if (alignment->nest > alignment->after)
        alignment->after = alignment->nest;
    alignment->nest = -1;
    memset(alignment->axis, AXIS_NONE, sizeof alignment->axis);
}

static void lose(struct alignment *alignment)
{
    alignment_leave(alignment);
    alignment->base = NULL;
}

/* A reshape that only adds or drops axes of size 1 keeps the others in order. */
static bool carry_reshape(const struct node *node, const unsigned char from[RANK_MAX], unsigned char to[RANK_MAX])
{
    const struct shape *source = &node->operands[0]->type.shape, *result = &node->type.shape;
    int j = 0;
    for (int i = 0; i < result->rank; i++) {
        to[i] = AXIS_NONE;
        if (result->dimension[i] == 1)
            continue;
        while (j < source->rank && source->dimension[j] == 1)
            j++;
        if (j == source->rank || source->dimension[j] != result->dimension[i])
            return false;
        to[i] = from[j++];
    }
    return true;
}

static int long_axes(const struct shape *shape)
{
    int count = 0;
    for (int i = 0; i < shape->rank; i++)
        count += shape->dimension[i] != 1;
    return count;
}

/* The alignment of a movement's operand carried over to its result; false when it is lost. */
static bool carry_movement(const struct node *node, struct alignment *alignment)
{
    unsigned char from[RANK_MAX];
    memcpy(from, alignment->axis, sizeof from);
    if (alignment->base)
        return false;
    if (node->op == OP_reshape && !carry_reshape(node, from, alignment->axis)) {
        memcpy(alignment->axis, from, sizeof from);
        struct node *base = node->operands[0];
        if (alignment->nest >= 0 || long_axes(&base->type.shape) > long_axes(&node->type.shape))
            alignment->base = base;
    }
    if (node->op == OP_permute)
        for (int i = 0; i < node->type.shape.rank; i++)
            alignment->axis[i] = from[node->attributes->permutation[i]];
    return node->op == OP_permute || node->op == OP_broadcast || node->op == OP_reshape;
}

/* An axis of the value that lies along two of the space, or two that lie along one, as where each element of a value is
 * compared with each. */
static bool disagree(const struct alignment *a, const struct alignment *b)
{
    for (int i = 0; i < RANK_MAX; i++)
        for (int k = 0; k < RANK_MAX; k++)
            if (a->axis[i] != AXIS_NONE && b->axis[k] != AXIS_NONE && (i == k) != (a->axis[i] == b->axis[k]))
                return true;
    return a->base != b->base;
}

/* What two operands of one node say together. */
static void meet(struct alignment *a, const struct alignment *b)
{
    struct alignment other = *b;
    if (a->nest >= 0 && other.nest >= 0 && (a->nest != other.nest || disagree(a, b)))
        lose(a->nest <= other.nest ? a : &other);
    int after = a->after > other.after ? a->after : other.after;
    if (a->nest < 0 && (other.nest >= 0 || !a->base))
        *a = other;
    a->after = after;
    for (int i = 0; i < RANK_MAX && a->base == other.base && other.nest >= 0; i++)
        if (a->axis[i] == AXIS_NONE)
            a->axis[i] = other.axis[i];
}

struct alignment alignment_of(const struct node *node, const struct alignment *const *operands)
{
    struct alignment result = alignment_none();
    enum op_class class = op_info(node->op)->class;
    bool reduces = class == CLASS_REDUCE || node->op == OP_tap_sums;
    bool pointwise = class == CLASS_POINTWISE || class == CLASS_EFFECT || reduces;
    for (int i = 0; i < node->operand_count; i++) {
        struct alignment operand = *operands[i];
        bool carried = class == CLASS_MOVEMENT ? carry_movement(node, &operand) : pointwise && !(reduces && i > 0);
        if (!carried || (reduces && operand.base && !any_order(node)))
            lose(&operand);
        meet(&result, &operand);
    }
    if (result.nest >= 0 && result.nest <= result.after)
        lose(&result);
    return result;
}

void nests_free(struct nest *nests)
{
    for (ptrdiff_t i = 0; i < arrlen(nests); i++)
        arrfree(nests[i].members);
    arrfree(nests);
}
