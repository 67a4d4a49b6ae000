/* From a kernel of the graph to loop nests.
 *
 * passes/nests.h says which nodes share a nest and with which axes. Here every nest gets its loops, and each of its
 * members the values that it needs: first the reductions over rows, phase by phase (those of one phase need none of
 * each other), then everything of the whole space in a last phase. All values of a body stand before its stores, so
 * that a store may overwrite what was read. */
#include "codegen/lower_nest.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- what the kernel touches ---- */

static void add_place(struct lowerer *lowerer, const struct node *node, struct place place)
{
    hmput(lowerer->places, node, place);
}

static int add_buffer(struct lowerer *lowerer, struct node *node, bool written)
{
    struct kernel_buffer buffer = {.node = node, .written = written};
    arrput(lowerer->out.buffers, buffer);
    return (int)arrlen(lowerer->out.buffers) - 1;
}

/* Row reductions on the longest way from memory to the node. */
static int phase_depth(struct lowerer *lowerer, const struct node *node)
{
    int depth = 0;
    for (int i = 0; i < node->operand_count; i++) {
        int other = lower_place(lowerer, node->operands[i])->depth;
        depth = other > depth ? other : depth;
    }
    return depth + (reduction_kind(node) == REDUCTION_ROW);
}

static void place_all(struct lowerer *lowerer)
{
    const struct kernel_use *use = lowerer->use;
    for (int i = 0; i < use->load_count; i++) {
        int buffer = add_buffer(lowerer, use->loads[i], false);
        add_place(lowerer, use->loads[i], (struct place){.buffer = buffer, .nest = -1, .reduction = -1});
    }
    for (int i = 0; i < use->computed_count; i++) {
        struct place place = {.buffer = -1, .nest = NEST_INLINE, .reduction = -1};
        place.depth = phase_depth(lowerer, use->computed[i]);
        add_place(lowerer, use->computed[i], place);
    }
    for (int i = 0; i < use->store_count; i++)
        lower_place(lowerer, use->stores[i])->buffer = add_buffer(lowerer, use->stores[i], true);
}

/* ---- loops ---- */

static int add_loop(struct lowerer *lowerer, int64_t extent, int depth, bool vector)
{
    struct index_variable loop = {.kind = INDEX_LOOP, .high = extent > 0 ? extent - 1 : 0, .depth = depth};
    loop.low = 0;
    loop.vector = vector;
    arrput(lowerer->out.variables, loop);
    return (int)arrlen(lowerer->out.variables) - 1;
}

static int64_t axis_extent(const struct lowerer *lowerer, const struct nest *nest, int axis)
{
    return axis == lowerer->chunk.axis ? lowerer->chunk.size : nest->space.shape.dimension[axis];
}

static void add_axis_loop(struct lowerer *lowerer, const struct nest *nest, int axis, bool outer)
{
    struct loop_nest *loops = &lowerer->loops;
    int64_t extent = axis_extent(lowerer, nest, axis);
    bool vector = loops->vector == axis;
    int depth = !outer ? BODY_INNER : vector ? BODY_VECTOR : BODY_OUTER;
    int variable = add_loop(lowerer, extent, depth, vector);
    lowerer->axis_variable[axis] = variable;
    if (vector)
        return;
    if (outer)
        loops->row_loops[loops->row_count++] = variable;
    else
        loops->inner_loops[loops->inner_count++] = variable;
}

/* One loop an axis: the outer ones over rows, the others inside. */
void lower_add_loops(struct lowerer *lowerer, const struct nest *nest, uint32_t outer, int vector)
{
    struct loop_nest *loops = &lowerer->loops;
    loops->vector = vector;
    loops->vector_inner = vector >= 0 && !(outer >> vector & 1);
    for (int i = 0; i < RANK_MAX; i++)
        lowerer->axis_variable[i] = -1;
    for (int i = 0; i < nest->space.shape.rank; i++) {
        int axis = nest->space.order[i];
        if (axis_extent(lowerer, nest, axis) != 1)
            add_axis_loop(lowerer, nest, axis, outer >> axis & 1);
    }
    if (vector >= 0)
        loops->vector = lowerer->axis_variable[vector];
}

static const struct affine *axis_index(struct lowerer *lowerer, const struct affine *const *space, int axis)
{
    return axis == AXIS_NONE ? affine_constant(lowerer->out.arena, 0) : space[axis];
}

/* Index of each space axis: its loop variable, or taken from the one loop over everything. */
void lower_space_indices(struct lowerer *lowerer, const struct nest *nest, int flat, const struct affine **space)
{
    struct arena *arena = lowerer->out.arena;
    const struct shape *shape = &nest->space.shape;
    if (flat >= 0) {
        struct shape ordered = {.rank = shape->rank};
        const struct affine *indices[RANK_MAX];
        for (int i = 0; i < shape->rank; i++)
            ordered.dimension[i] = shape->dimension[nest->space.order[i]];
        lower_split(lowerer, &ordered, affine_variable(arena, flat), indices);
        for (int i = 0; i < shape->rank; i++)
            space[nest->space.order[i]] = indices[i];
        return;
    }
    for (int i = 0; i < shape->rank; i++) {
        space[i] = affine_constant(arena, i == lowerer->chunk.axis ? lowerer->chunk.start : 0);
        if (lowerer->axis_variable[i] >= 0)
            space[i] = affine_add(arena, space[i], affine_variable(arena, lowerer->axis_variable[i]), 1);
    }
}

/* ---- one nest ---- */

static int row_depth(const struct lowerer *lowerer)
{
    return lowerer->loops.vector >= 0 && !lowerer->loops.vector_inner ? BODY_VECTOR : BODY_OUTER;
}

void lower_member_indices(struct walk *walk, const struct nest_member *member, int rank, const struct affine **indices)
{
    const struct affine *space[RANK_MAX];
    lower_space_indices(walk->lowerer, walk->nest, walk->flat, space);
    for (int i = 0; i < rank; i++)
        indices[i] = axis_index(walk->lowerer, space, member->axis[i]);
}

static uint32_t member_axes(const struct nest_member *member, int rank)
{
    uint32_t mask = 0;
    for (int i = 0; i < rank; i++)
        if (member->axis[i] != AXIS_NONE)
            mask |= 1u << member->axis[i];
    return mask;
}

/* Row-major number of an element among the reduced axes, for argmax and argmin. */
static int position_value(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices)
{
    struct arena *arena = lowerer->out.arena;
    const struct shape *shape = &node->operands[0]->type.shape;
    const struct affine *sum = affine_constant(arena, 0);
    int64_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--)
        if (node->attributes->axes >> i & 1) {
            sum = affine_add(arena, sum, indices[i], stride);
            stride *= shape->dimension[i];
        }
    return lower_append(lowerer, (struct value){.kind = VALUE_INDEX, .lane = LANE_INT, .index = sum, .node = node});
}

/* Do the reduced axes lie in memory in their own order? Then the row-major numbers of what is reduced only grow. */
static bool indices_follow(const struct node *node)
{
    const struct type *type = &node->operands[0]->type;
    int last = -1;
    for (int i = 0; i < type->shape.rank; i++) {
        int axis = type->order[i];
        if (!(node->attributes->axes >> axis & 1) || type->shape.dimension[axis] == 1)
            continue;
        if (axis < last)
            return false;
        last = axis;
    }
    return true;
}

/* Does a FULL reduction take one value for each place of the outer axes, rather than of the whole space? */
static bool is_outer_level(const struct walk *walk, const struct nest_member *member)
{
    uint32_t reduced;
    struct type space = member->base ? member->base->type : reduction_space(member->node, &reduced);
    uint32_t axes = member_axes(member, space.shape.rank);
    return member->reduction == REDUCTION_FULL && walk->flat < 0 && walk->nest->outer_fixed &&
           axes == walk->nest->outer && axes != nest_axes(walk->nest);
}

/* Evaluates what is reduced and makes the reduction, of several (tap_sums) number `tap`; its number. */
static int add_reduction(struct walk *walk, const struct nest_member *member, int64_t tap)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct node *node = member->node;
    const struct affine *indices[RANK_MAX];
    uint32_t reduced;
    struct type space = member->base ? member->base->type : reduction_space(node, &reduced);
    lower_member_indices(walk, member, space.shape.rank, indices);
    if (member->base)
        lower_split(lowerer, &node->operands[0]->type.shape, lower_linear(lowerer, &space.shape, indices), indices);
    struct reduction reduction = {.node = node, .kind = member->reduction, .position = -1};
    int value = node->op == OP_fold       ? lower_fold_operand(lowerer, node, indices)
                : node->op == OP_tap_sums ? lower_tap(lowerer, node, indices, tap)
                                          : lower_value(lowerer, node->operands[0], indices);
    bool is_float = element_is_float(node->operands[0]->type.element) || node->op == OP_m2;
    bool narrow =
        lowerer->out.values[value].lane != LANE_LONG && (node->op == OP_reduce_max || node->op == OP_reduce_min);
    reduction.lane = is_float ? LANE_FLOAT : narrow ? LANE_INT : LANE_LONG;
    reduction.value = is_float ? lower_float(lowerer, value)
                      : narrow ? lower_convert(lowerer, value, ELEMENT_I32, node)
                               : lower_long(lowerer, value);
    reduction.follows = indices_follow(node);
    if (node->op == OP_argmax || node->op == OP_argmin)
        reduction.position = position_value(lowerer, node, indices);
    reduction.lanes = member->reduction != REDUCTION_COLUMN && lowerer->loops.vector_inner;
    reduction.row_level = is_outer_level(walk, member) && lowerer->loops.vector_inner;
    arrput(lowerer->out.reductions, reduction);
    return (int)arrlen(lowerer->out.reductions) - 1;
}

void lower_begin_inner(struct lowerer *lowerer)
{
    lowerer->inner = NULL;
    hmfree(lowerer->memo[BODY_INNER]);
}

void lower_end_phase(struct lowerer *lowerer, struct phase phase)
{
    phase.items = lowerer->inner;
    lowerer->inner = NULL;
    arrput(lowerer->loops.phases, phase);
    lower_append_item(lowerer, row_depth(lowerer), ITEM_PHASE, (int)arrlen(lowerer->loops.phases) - 1);
}

/* The reductions over rows whose phase depth is the smallest above `done`; that depth, 0 when there are none left. */
static int lower_row_phase(struct walk *walk, int done)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct nest *nest = walk->nest;
    int depth = 0;
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        int own = lower_place(lowerer, nest->members[i].node)->depth;
        if (nest->members[i].reduction == REDUCTION_ROW && own > done && (!depth || own < depth))
            depth = own;
    }
    if (!depth)
        return 0;
    struct phase phase = {0};
    lower_begin_inner(lowerer);
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        if (nest->members[i].reduction == REDUCTION_ROW &&
            lower_place(lowerer, nest->members[i].node)->depth == depth) {
            int number = add_reduction(walk, &nest->members[i], 0);
            lower_append_item(lowerer, BODY_INNER, ITEM_STEP, number);
            arrput(phase.reductions, number);
        }
    lower_end_phase(lowerer, phase);
    for (ptrdiff_t i = 0; i < arrlen(phase.reductions); i++) {
        const struct reduction *reduction = &lowerer->out.reductions[phase.reductions[i]];
        lower_place(lowerer, reduction->node)->reduction = phase.reductions[i];
    }
    return depth;
}

static void lower_store(struct walk *walk, const struct nest_member *member)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct node *node = member->node;
    const struct affine *indices[RANK_MAX], *own[RANK_MAX];
    int rank = member->base ? member->base->type.shape.rank : node->type.shape.rank;
    lower_member_indices(walk, member, rank, indices);
    memcpy(own, indices, sizeof own);
    if (member->base)
        lower_split(lowerer, &node->type.shape, lower_linear(lowerer, &member->base->type.shape, indices), own);
    struct store store = {.buffer = lower_place(lowerer, node)->buffer, .slice = -1};
    store.value = lower_value(lowerer, node, own);
    store.element = lowerer->out.target->storage[node->type.element];
    store.index = lower_address(lowerer, &node->type, own);
    bool row = walk->nest->outer_fixed && member_axes(member, rank) == walk->nest->outer && walk->flat < 0;
    if (row && walk->nest->outer != nest_axes(walk->nest))
        arrput(walk->row_stores, store);
    else
        arrput(walk->whole_stores, store);
}

/* The result of a reduction over the row, which is stored besides being used. */
static void lower_row_result(struct walk *walk, const struct nest_member *member)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct node *node = member->node;
    const struct affine *indices[RANK_MAX];
    int rank = node->type.shape.rank;
    lower_member_indices(walk, member, rank, indices);
    for (int i = 0; i < rank && node->op != OP_fold; i++)
        if (node->attributes->axes >> i & 1)
            indices[i] = affine_constant(lowerer->out.arena, 0);
    struct store store = {.buffer = lower_place(lowerer, node)->buffer, .slice = -1};
    store.value = lower_value(lowerer, node, indices);
    store.element = lowerer->out.target->storage[node->type.element];
    store.index = lower_address(lowerer, &node->type, indices);
    arrput(walk->row_stores, store);
}

void lower_append_stores(struct lowerer *lowerer, const struct store *stores, int depth)
{
    for (ptrdiff_t i = 0; i < arrlen(stores); i++) {
        arrput(lowerer->out.stores, stores[i]);
        lower_append_item(lowerer, depth, ITEM_STORE, (int)arrlen(lowerer->out.stores) - 1);
    }
}

static void lower_total(struct walk *walk, const struct nest_member *member)
{
    struct lowerer *lowerer = walk->lowerer;
    int depth = is_outer_level(walk, member) ? row_depth(lowerer) : BODY_INNER;
    for (int64_t tap = 0; tap < tap_count(member->node); tap++) {
        int number = add_reduction(walk, member, tap);
        lower_append_item(lowerer, depth, ITEM_STEP, number);
        arrput(lowerer->loops.totals, number);
    }
}

/* Everything but the reductions over rows, which are done: stores, and reductions over the rows. */
static void lower_last_phase(struct walk *walk)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct nest *nest = walk->nest;
    lower_begin_inner(lowerer);
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        const struct nest_member *member = &nest->members[i];
        bool stored = lower_place(lowerer, member->node)->buffer >= 0;
        if (member->reduction == REDUCTION_COLUMN || member->reduction == REDUCTION_FULL)
            lower_total(walk, member);
        else if (member->reduction == REDUCTION_NONE)
            lower_store(walk, member);
        else if (stored)
            lower_row_result(walk, member);
    }
    lower_append_stores(lowerer, walk->whole_stores, BODY_INNER);
    if (arrlen(lowerer->inner))
        lower_end_phase(lowerer, (struct phase){0});
    lower_append_stores(lowerer, walk->row_stores, row_depth(lowerer));
}

/* ---- results of the reductions over the rows ---- */

int lower_scratch_buffer(struct lowerer *lowerer, struct node *node)
{
    int64_t elements = shape_elements(&node->type.shape);
    struct kernel_buffer buffer = {.node = node, .scratch = true, .offset = lowerer->out.workspace};
    lowerer->out.workspace += ((uint64_t)elements * 8 + 63) / 64 * 64;
    arrput(lowerer->out.buffers, buffer);
    return (int)arrlen(lowerer->out.buffers) - 1;
}

/* Where in the result the number `tap` of a filter of tap_sums is. */
static void tap_indices(struct walk *walk, const struct nest_member *member, int64_t tap, const struct affine **indices)
{
    const struct shape *shape = &member->node->type.shape;
    const struct affine *space[RANK_MAX];
    lower_member_indices(walk, member, shape->rank, space);
    indices[0] = space[1];
    for (int i = shape->rank - 1; i > 0; tap /= shape->dimension[i--])
        indices[i] = affine_constant(walk->lowerer->out.arena, tap % shape->dimension[i]);
}

static void total_indices(struct walk *walk, const struct nest_member *member, const struct affine **indices)
{
    int rank = member->node->type.shape.rank;
    if (member->reduction == REDUCTION_COLUMN)
        lower_member_indices(walk, member, rank, indices);
    for (int i = 0; i < rank; i++)
        if (member->reduction == REDUCTION_FULL || member->node->attributes->axes >> i & 1)
            indices[i] = affine_constant(walk->lowerer->out.arena, 0);
}

static void store_total(struct walk *walk, const struct nest_member *member, int reduction, int64_t tap)
{
    struct lowerer *lowerer = walk->lowerer;
    const struct affine *indices[RANK_MAX];
    struct place *place = lower_place(lowerer, member->node);
    if (place->buffer < 0)
        place->buffer = lower_scratch_buffer(lowerer, member->node);
    if (member->node->op == OP_tap_sums)
        tap_indices(walk, member, tap, indices);
    else
        total_indices(walk, member, indices);
    struct store store = {.buffer = place->buffer, .slice = -1};
    store.value = lower_result(lowerer, member->node, reduction);
    store.element = lowerer->out.target->storage[member->node->type.element];
    store.index = lower_address(lowerer, &member->node->type, indices);
    arrput(lowerer->out.stores, store);
    lower_append_item(lowerer, BODY_INNER, ITEM_STORE, (int)arrlen(lowerer->out.stores) - 1);
}

static void lower_totals(struct walk *walk, enum reduction_kind kind, int body)
{
    struct lowerer *lowerer = walk->lowerer;
    lower_begin_inner(lowerer);
    int next = 0;
    for (ptrdiff_t i = 0; i < arrlen(walk->nest->members); i++) {
        const struct nest_member *member = &walk->nest->members[i];
        if (member->reduction != REDUCTION_COLUMN && member->reduction != REDUCTION_FULL)
            continue;
        for (int64_t tap = 0; tap < tap_count(member->node); tap++) {
            int number = lowerer->loops.totals[next++];
            if (member->reduction == kind)
                store_total(walk, member, number, tap);
        }
    }
    lowerer->loops.bodies[body] = lowerer->inner;
    lowerer->inner = NULL;
}

/* ---- putting it together ---- */

static void forget(struct lowerer *lowerer)
{
    for (int i = BODY_NEST; i < BODY_COUNT; i++)
        hmfree(lowerer->memo[i]);
}

void lower_begin_nest(struct lowerer *lowerer, const struct nest *nest, enum nest_shape shape)
{
    forget(lowerer);
    lowerer->loops = (struct loop_nest){.shape = shape, .vector = -1, .clear = -1};
    lowerer->loops.main = nest->members[0].node;
}

static void free_loops(struct loop_nest *loops)
{
    for (int i = 0; i < BODY_COUNT; i++)
        arrfree(loops->bodies[i]);
    for (ptrdiff_t i = 0; i < arrlen(loops->phases); i++) {
        arrfree(loops->phases[i].items);
        arrfree(loops->phases[i].reductions);
    }
    arrfree(loops->phases);
    arrfree(loops->totals);
}

/* Lowers a nest of NEST_LOOPS; false when a sum over everything found no single loop: then `flat` is needed. */
static bool lower_loops(struct lowerer *lowerer, const struct nest *nest, bool flat)
{
    struct walk walk = {.lowerer = lowerer, .nest = nest, .flat = -1};
    ptrdiff_t values = arrlen(lowerer->out.values), variables = arrlen(lowerer->out.variables);
    ptrdiff_t stores = arrlen(lowerer->out.stores);
    lower_begin_nest(lowerer, nest, NEST_LOOPS);
    int vector = nest_vector_axis(nest);
    if (flat) {
        walk.flat = add_loop(lowerer, shape_elements(&nest->space.shape), BODY_INNER, true);
        lowerer->loops.vector = walk.flat;
        lowerer->loops.vector_inner = true;
    } else {
        uint32_t all = nest_axes(nest);
        uint32_t outer = nest->outer_fixed || vector < 0 ? nest->outer : all & ~(1u << vector);
        lower_add_loops(lowerer, nest, outer, vector);
    }
    for (int depth = lower_row_phase(&walk, 0); depth;)
        depth = lower_row_phase(&walk, depth);
    lower_last_phase(&walk);
    lower_totals(&walk, REDUCTION_COLUMN, BODY_FINISH);
    lower_totals(&walk, REDUCTION_FULL, BODY_TOTAL);
    lower_merge_loops(lowerer, nest, values, variables, stores);
    arrfree(walk.row_stores);
    arrfree(walk.whole_stores);
    bool everything = nest->outer_fixed && nest->outer == 0;
    if (everything && !flat && (lowerer->loops.row_count || lowerer->loops.inner_count))
        return false;
    lower_finish_sizes(lowerer, nest);
    return true;
}

void lower_keep_nest(struct lowerer *lowerer, const struct nest *nest)
{
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        lower_place(lowerer, nest->members[i].node)->reduction = -1;
    arrput(lowerer->out.nests, lowerer->loops);
}

/* What lowering a nest appends to. */
struct mark {
    ptrdiff_t reductions, stores, buffers;
    uint64_t workspace;
};

static struct mark mark_here(const struct lowered *out)
{
    return (struct mark){arrlen(out->reductions), arrlen(out->stores), arrlen(out->buffers), out->workspace};
}

/* Takes back all that lowering the nest appended since. */
static void go_back(struct lowerer *lowerer, const struct nest *nest, const struct mark *mark)
{
    struct lowered *out = &lowerer->out;
    free_loops(&lowerer->loops);
    arrsetlen(out->reductions, (size_t)mark->reductions);
    arrsetlen(out->stores, (size_t)mark->stores);
    arrsetlen(out->buffers, (size_t)mark->buffers);
    out->workspace = mark->workspace;
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        struct place *place = lower_place(lowerer, nest->members[i].node);
        place->reduction = -1;
        if (place->buffer >= mark->buffers)
            place->buffer = -1;
    }
}

static void lower_parts(struct lowerer *lowerer, const struct nest *nest, const struct node *concat, int axis)
{
    struct chunk *chunk = &lowerer->chunk;
    ptrdiff_t before = arrlen(lowerer->out.nests);
    *chunk = (struct chunk){.axis = axis};
    for (int i = 0; i < concat->operand_count; i++, chunk->start += chunk->size) {
        chunk->size = concat->operands[i]->type.shape.dimension[concat->attributes->axis];
        if (chunk->size == 0)
            continue;
        lower_loops(lowerer, nest, false);
        lowerer->loops.part_of = lowerer->current + 1;
        lower_keep_nest(lowerer, nest);
    }
    chunk->axis = -1;
    if (lowerer->current < lowerer->use->strip_nests)
        lowerer->out.strip_nests += (int)(arrlen(lowerer->out.nests) - before) - 1;
}

static void lower_nest(struct lowerer *lowerer, const struct nest *nest)
{
    enum op op = nest->members[0].node->op;
    if (op == OP_cumsum) {
        lower_scan_nest(lowerer, nest);
        return;
    }
    if (op == OP_scatter_add) {
        lower_scatter_nest(lowerer, nest);
        return;
    }
    if (op == OP_suppressed) {
        lower_suppress_nest(lowerer, nest);
        return;
    }
    struct mark mark = mark_here(&lowerer->out);
    int axis = AXIS_NONE;
    const struct node *concat = lower_find_parts(lowerer, nest, &axis);
    if (concat) {
        lower_parts(lowerer, nest, concat, axis);
        return;
    }
    if (!lower_loops(lowerer, nest, false)) {
        go_back(lowerer, nest, &mark);
        lower_loops(lowerer, nest, true);
    }
    lower_keep_nest(lowerer, nest);
}

struct lowered lower_kernel(const struct kernel_use *use, const struct target *target, struct arena *arena)
{
    struct lowerer lowerer = {.use = use, .chunk = {.axis = -1}, .out = {.arena = arena, .target = target}};
    lowerer.out.strip_items = use->strip_items;
    lowerer.out.strip_size = use->strip_size;
    lowerer.out.strip_nests = use->strip_nests;
    lowerer.nests = nests_find(use);
    if (!lowerer.nests)
        castor_bug("kernel %d cannot be lowered: a value that is not stored is needed in two nests", use->number);
    place_all(&lowerer);
    for (ptrdiff_t i = 0; i < arrlen(lowerer.nests); i++)
        for (ptrdiff_t k = 0; k < arrlen(lowerer.nests[i].members); k++)
            lower_place(&lowerer, lowerer.nests[i].members[k].node)->nest = (int)i;
    for (ptrdiff_t i = 0; i < arrlen(lowerer.nests); i++) {
        lowerer.current = (int)i;
        lower_nest(&lowerer, &lowerer.nests[i]);
    }
    lower_watch(&lowerer);
    for (int i = 0; i < BODY_COUNT; i++)
        hmfree(lowerer.memo[i]);
    hmfree(lowerer.places);
    nests_free(lowerer.nests);
    return lowerer.out;
}

void lowered_free(struct lowered *lowered)
{
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++)
        free_loops(&lowered->nests[i]);
    for (ptrdiff_t i = 0; i < arrlen(lowered->watches); i++) {
        arrfree(lowered->watches[i].triggers);
        arrfree(lowered->watches[i].values);
    }
    arrfree(lowered->watches);
    arrfree(lowered->watched);
    arrfree(lowered->variables);
    arrfree(lowered->values);
    arrfree(lowered->stores);
    arrfree(lowered->reductions);
    arrfree(lowered->nests);
    arrfree(lowered->items);
    arrfree(lowered->buffers);
    arrfree(lowered->integers);
}
