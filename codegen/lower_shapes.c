/* Nests whose rows are walked in order: running sums, scattered sums, what suppresses what comes behind it. */
#include "codegen/lower_nest.h"

#include <stb/stb_ds.h>
#include <string.h>

/* A running sum: rows over all other axes, one inner loop along the axis; vectors along the rows where they can. */
static void lower_scan(struct walk *walk, const struct nest_member *member)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct node *node = member->node;
    int axis = node->attributes->axis, inner = lowerer->axis_variable[axis];
    const struct affine *indices[RANK_MAX];
    lower_begin_inner(lowerer);
    lower_member_indices(walk, member, node->type.shape.rank, indices);
    if (node->attributes->reverse && inner >= 0)
        indices[axis] =
            affine_add(lowerer->out.arena, affine_constant(lowerer->out.arena, node->type.shape.dimension[axis] - 1),
                       indices[axis], -1);
    struct reduction reduction = {.node = node, .kind = REDUCTION_ROW, .position = -1};
    bool is_float = element_is_float(node->type.element);
    int value = lower_value(lowerer, node->operands[0], indices);
    reduction.value = is_float ? lower_float(lowerer, value) : lower_long(lowerer, value);
    reduction.lane = is_float ? LANE_FLOAT : LANE_LONG;
    arrput(lowerer->out.reductions, reduction);
    int number = (int)arrlen(lowerer->out.reductions) - 1;
    lower_append_item(lowerer, BODY_INNER, ITEM_STEP, number);
    struct value result = {.kind = VALUE_RESULT, .lane = reduction.lane, .reduction = number, .node = node};
    result.depth = BODY_INNER;
    result.vector = lowerer->loops.vector >= 0;
    struct store store = {.buffer = lower_place(lowerer, node)->buffer, .slice = -1};
    store.value = lower_convert(lowerer, lower_append(lowerer, result), node->type.element, node);
    store.element = lowerer->out.target->storage[node->type.element];
    store.index = lower_address(lowerer, &node->type, indices);
    arrput(walk->whole_stores, store);
    lower_append_stores(lowerer, walk->whole_stores, BODY_INNER);
    struct phase phase = {0};
    arrput(phase.reductions, number);
    lower_end_phase(lowerer, phase);
}

/* Adds every update to its slice of the result, one after the other in row-major order of the rows. */
static void lower_scatter(struct walk *walk, const struct nest_member *member, int buffer, enum element storage)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct node *node = member->node, *updates = node->operands[0], *index = node->operands[1];
    const struct affine *indices[RANK_MAX], *at[RANK_MAX];
    int axis = node->attributes->axis, index_rank = index->type.shape.rank, rank = node->type.shape.rank;
    lower_begin_inner(lowerer);
    lower_space_indices(lowerer, walk->nest, -1, indices);
    int update = lower_value(lowerer, updates, indices);
    int slice = lower_convert(lowerer, lower_value(lowerer, index, indices + axis), ELEMENT_I32, index);
    int64_t last = node->type.shape.dimension[axis] - 1; /* what lies outside adds nothing */
    int nothing = lower_convert(lowerer, lower_constant(lowerer, 0, ELEMENT_F32, node), updates->type.element, node);
    update = lower_select(lowerer, lower_within(lowerer, slice, last), update, nothing);
    for (int i = 0; i < rank; i++)
        at[i] = i == axis ? affine_constant(lowerer->out.arena, 0) : indices[i < axis ? i : i - 1 + index_rank];
    int64_t strides[RANK_MAX];
    type_strides(&node->type, strides);
    struct value old = {.kind = VALUE_LOAD, .buffer = buffer, .element = storage, .node = node, .depth = BODY_INNER};
    old.index = lower_address(lowerer, &node->type, at);
    old.lane = lower_lane(storage);
    old.stride = strides[axis];
    old.high = last;
    old.operand_count = 1;
    old.operands[0] = slice;
    struct value sum = {.kind = VALUE_POINTWISE, .op = OP_add, .lane = old.lane, .domain = old.lane, .node = node};
    sum.operand_count = 2;
    sum.operands[0] = lower_append(lowerer, old);
    sum.operands[1] = update;
    if (old.lane != LANE_FLOAT) {
        sum.lane = sum.domain = LANE_LONG;
        sum.operands[0] = lower_long(lowerer, sum.operands[0]);
        sum.operands[1] = lower_long(lowerer, update);
    }
    struct store store = {
        .buffer = buffer, .slice = slice, .stride = strides[axis], .last = old.high, .element = storage};
    store.value = lower_append(lowerer, sum);
    store.value = old.lane == LANE_FLOAT ? store.value : lower_convert(lowerer, store.value, storage, node);
    store.index = old.index;
    arrput(walk->whole_stores, store);
    lower_append_stores(lowerer, walk->whole_stores, BODY_INNER);
    lower_end_phase(lowerer, (struct phase){0});
}

/* Element i, unless it is suppressed itself, suppresses each element j behind it for which the operand holds. */
static void lower_suppress(struct walk *walk, const struct node *node, int buffer)
{
    struct lowerer *lowerer = walk->lowerer;
    struct arena *arena = lowerer->out.arena;
    const struct node *pairs = node->operands[0];
    const struct affine *indices[RANK_MAX], *at[RANK_MAX];
    int last = node->type.shape.rank - 1;
    enum element storage = lowerer->out.target->storage[ELEMENT_BOOL];
    lower_begin_inner(lowerer);
    lower_space_indices(lowerer, walk->nest, -1, indices);
    struct value load = {.kind = VALUE_LOAD, .buffer = buffer, .element = storage, .node = node, .depth = BODY_INNER};
    load.lane = lower_lane(storage);
    memcpy(at, indices, sizeof at);
    load.index = lower_address(lowerer, &node->type, at);
    int before = lower_append(lowerer, load);
    at[last] = indices[last + 1];
    load.index = lower_address(lowerer, &node->type, at);
    int own = lower_append(lowerer, load);
    const struct affine *distance = affine_add(arena, indices[last + 1], indices[last], -1);
    int behind = lower_inside(lowerer, distance, 1, node->type.shape.dimension[last]);
    int hit = lower_value(lowerer, pairs, indices), none = lower_constant(lowerer, 0, ELEMENT_BOOL, node);
    hit = lower_select(lowerer, before, none, lower_select(lowerer, behind, hit, none));
    struct store store = {.buffer = buffer, .slice = -1, .element = storage, .index = load.index};
    store.value = lower_select(lowerer, own, own, hit);
    arrput(walk->whole_stores, store);
    lower_append_stores(lowerer, walk->whole_stores, BODY_INNER);
    lower_end_phase(lowerer, (struct phase){0});
}

void lower_scan_nest(struct lowerer *lowerer, const struct nest *nest)
{
    struct walk walk = {.lowerer = lowerer, .nest = nest, .flat = -1};
    int axis = nest->members[0].node->attributes->axis, vector = nest_vector_axis(nest);
    lower_begin_nest(lowerer, nest, NEST_SCAN);
    lower_add_loops(lowerer, nest, nest_axes(nest) & ~(1u << axis), vector == axis ? -1 : vector);
    lower_scan(&walk, &nest->members[0]);
    arrfree(walk.whole_stores);
    lower_finish_sizes(lowerer, nest);
    lower_keep_nest(lowerer, nest);
}

/* A nest that rounds f32 sums in one buffer to the node's type in another. */
static void lower_rounding(struct lowerer *lowerer, struct node *node, int from, int to)
{
    struct nest_member member = {.node = node};
    struct nest nest = {.space = node->type};
    arrput(nest.members, member);
    struct walk walk = {.lowerer = lowerer, .nest = &nest, .flat = -1};
    const struct affine *indices[RANK_MAX];
    int vector = nest_vector_axis(&nest);
    lower_begin_nest(lowerer, &nest, NEST_LOOPS);
    lower_add_loops(lowerer, &nest, vector < 0 ? 0 : nest_axes(&nest) & ~(1u << vector), vector);
    lower_begin_inner(lowerer);
    lower_space_indices(lowerer, &nest, -1, indices);
    struct value load = {.kind = VALUE_LOAD, .lane = LANE_FLOAT, .element = ELEMENT_F32, .buffer = from, .node = node};
    load.index = lower_address(lowerer, &node->type, indices);
    load.depth = BODY_NEST;
    struct store store = {.buffer = to, .slice = -1, .index = load.index};
    store.value = lower_convert(lowerer, lower_append(lowerer, load), node->type.element, node);
    store.element = lowerer->out.target->storage[node->type.element];
    arrput(walk.whole_stores, store);
    lower_append_stores(lowerer, walk.whole_stores, BODY_INNER);
    lower_end_phase(lowerer, (struct phase){0});
    lower_finish_sizes(lowerer, &nest);
    lower_keep_nest(lowerer, &nest);
    arrfree(walk.whole_stores);
    arrfree(nest.members);
}

/* Sums of half values are kept in f32 in the workspace and rounded by a nest of their own. */
void lower_scatter_nest(struct lowerer *lowerer, const struct nest *nest)
{
    struct node *node = nest->members[0].node;
    struct place *place = lower_place(lowerer, node);
    bool half = element_is_half(node->type.element);
    int target = place->buffer, sums = half ? lower_scratch_buffer(lowerer, node) : target;
    enum element storage = half ? ELEMENT_F32 : lowerer->out.target->storage[node->type.element];
    struct nest updates = {.space = node->operands[0]->type, .members = nest->members};
    struct walk walk = {.lowerer = lowerer, .nest = &updates, .flat = -1};
    int vector = nest_vector_axis(&updates), axis = node->attributes->axis;
    if (vector >= axis && vector < axis + node->operands[1]->type.shape.rank)
        vector = -1;
    lower_begin_nest(lowerer, &updates, NEST_SCATTER);
    lower_add_loops(lowerer, &updates, vector < 0 ? nest_axes(&updates) : nest_axes(&updates) & ~(1u << vector),
                    vector);
    lower_scatter(&walk, &nest->members[0], sums, storage);
    arrfree(walk.whole_stores);
    lower_finish_sizes(lowerer, &updates);
    lowerer->loops.serial = true;
    lowerer->loops.split_vector = false;
    lowerer->loops.block = lowerer->loops.rows > 0 ? lowerer->loops.rows : 1;
    lowerer->loops.clear = sums;
    lowerer->loops.clear_bytes = shape_elements(&node->type.shape) * (int64_t)element_bytes(storage);
    lower_keep_nest(lowerer, nest);
    if (!half)
        return;
    lower_rounding(lowerer, node, sums, target);
}

/* Rows over the leading axes; vectors along what may be suppressed, however it lies. */
void lower_suppress_nest(struct lowerer *lowerer, const struct nest *nest)
{
    const struct node *node = nest->members[0].node;
    int buffer = lower_place(lowerer, node)->buffer, last = node->type.shape.rank - 1;
    struct nest pairs = {.space = node->operands[0]->type, .members = nest->members};
    struct walk walk = {.lowerer = lowerer, .nest = &pairs, .flat = -1};
    lower_begin_nest(lowerer, &pairs, NEST_SUPPRESS);
    lower_add_loops(lowerer, &pairs, (1u << last) - 1, node->type.shape.dimension[last] == 1 ? -1 : last + 1);
    lower_suppress(&walk, node, buffer);
    arrfree(walk.whole_stores);
    lower_finish_sizes(lowerer, &pairs);
    lowerer->loops.clear = buffer;
    lowerer->loops.clear_bytes =
        shape_elements(&node->type.shape) * (int64_t)element_bytes(lowerer->out.target->storage[ELEMENT_BOOL]);
    lower_keep_nest(lowerer, nest);
}
