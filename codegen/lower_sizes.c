/* How large the loops of a finished nest are: rows, blocks for threads, what its sums need of the workspace. */
#include "codegen/lower.h"

#include <stb/stb_ds.h>

static int64_t extent_of(const struct lowerer *lowerer, int variable)
{
    return lowerer->out.variables[variable].high + 1;
}

int64_t loop_nest_columns(const struct lowered *lowered, const struct loop_nest *nest)
{
    int64_t columns = nest->vector_extent;
    for (int i = 0; i < nest->inner_count; i++)
        columns *= lowered->variables[nest->inner_loops[i]].high + 1;
    return columns;
}

static size_t accumulator_bytes(const struct reduction *reduction)
{
    size_t vector = reduction->lane == LANE_LONG ? 128 : 64;
    if (reduction->node->op == OP_m2)
        return 3 * vector;
    return reduction->position >= 0 ? vector + (reduction->lane == LANE_FLOAT ? 64 : 128) : vector;
}

static void size_totals(struct lowerer *lowerer)
{
    struct loop_nest *loops = &lowerer->loops;
    int64_t columns = (loops->vector_extent + LANES - 1) / LANES;
    for (int i = 0; i < loops->inner_count; i++)
        columns *= extent_of(lowerer, loops->inner_loops[i]);
    int64_t blocks = loop_nest_blocks(loops);
    if (lowerer->out.target->language == LANGUAGE_CUDA) /* its printer lays them out itself */
        return;
    for (ptrdiff_t i = 0; i < arrlen(loops->totals); i++) {
        struct reduction *reduction = &lowerer->out.reductions[loops->totals[i]];
        reduction->slots = reduction->kind == REDUCTION_COLUMN ? columns : 1;
        reduction->workspace = lowerer->out.workspace;
        lowerer->out.workspace += (uint64_t)(blocks * reduction->slots) * accumulator_bytes(reduction);
    }
}

/* How the threads share the work. Blocks that reductions depend on are those of passes/nests.h; strips are made of
 * whole blocks. */
static void choose_blocks(struct lowerer *lowerer, const struct nest *nest)
{
    struct loop_nest *loops = &lowerer->loops;
    bool whole = false, ordered = false;
    bool joined = loops->shape != NEST_LOOPS; /* a row needs all of its own elements */
    for (ptrdiff_t i = 0; i < arrlen(loops->totals); i++) {
        const struct reduction *reduction = &lowerer->out.reductions[loops->totals[i]];
        bool columns = reduction->kind == REDUCTION_COLUMN || reduction->row_level;
        whole |= !columns && reduction_ordered(reduction->node);
        ordered |= columns;
    }
    for (ptrdiff_t i = 0; i < arrlen(loops->phases); i++)
        for (ptrdiff_t k = 0; k < arrlen(loops->phases[i].reductions); k++)
            joined |= lowerer->out.reductions[loops->phases[i].reductions[k]].lanes;
    bool strips = lowerer->current < lowerer->use->strip_nests;
    bool one_loop = strips && loops->rows % lowerer->out.strip_items; /* the batch's was taken in by the vector's */
    bool few = loops->rows < 4 && loops->vector_extent >= 4096 && !strips; /* a strip has whole rows */
    loops->split_vector = whole || one_loop || (few && !ordered && !joined);
    if (whole && (loops->row_count || loops->inner_count))
        castor_bug("a sum over everything needs one loop");
    int64_t length = loop_nest_length(loops);
    loops->block = reduction_block(length);
    if (!whole && !ordered && !loops->split_vector)
        loops->block = (length + 63) / 64;
    if (strips) /* whole strips of any size: so the text does not depend on the number of threads */
        loops->block = length / lowerer->out.strip_items * reduction_items(lowerer->out.strip_items);
    if (nest->block)
        loops->block = nest->block;
    if (strips && (length % lowerer->out.strip_items || loops->block < 1 ||
                   (length / lowerer->out.strip_items * lowerer->out.strip_size) % loops->block))
        castor_bug("a strip is not made of blocks");
    if (loops->block < 1)
        loops->block = 1;
    int64_t columns = loops->rows ? shape_elements(&nest->space.shape) / loops->rows : 0; /* of all parts */
    loops->neighbours = merge_neighbours(loop_nest_blocks(loops), columns);
    loops->serial = loops->work < 32768;
}

void lower_finish_sizes(struct lowerer *lowerer, const struct nest *nest)
{
    struct loop_nest *loops = &lowerer->loops;
    int64_t elements = shape_elements(&nest->space.shape), steps = 0;
    if (lowerer->chunk.axis >= 0)
        elements = elements / nest->space.shape.dimension[lowerer->chunk.axis] * lowerer->chunk.size;
    loops->rows = elements ? 1 : 0;
    for (int i = 0; i < loops->row_count; i++)
        loops->rows *= extent_of(lowerer, loops->row_loops[i]);
    loops->vector_extent = loops->vector < 0 ? 1 : extent_of(lowerer, loops->vector);
    for (ptrdiff_t i = 0; i < arrlen(loops->phases); i++)
        steps += arrlen(loops->phases[i].items);
    loops->work = elements * (steps + 1);
    choose_blocks(lowerer, nest);
    size_totals(lowerer);
}
