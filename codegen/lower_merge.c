/* Loops that walk memory without a gap become one: [128, 784] read and written in order is one loop of 100352, so that
 * vectors are full and index arithmetic disappears. */
#include "codegen/lower.h"

#include <stb/stb_ds.h>

struct merger {
    struct lowerer *lowerer;
    const struct affine **indices; /* all that the nest uses, stb_ds array */
};

static void collect(struct merger *merger, ptrdiff_t values, ptrdiff_t variables, ptrdiff_t stores)
{
    const struct lowered *out = &merger->lowerer->out;
    for (ptrdiff_t i = values; i < arrlen(out->values); i++)
        if (out->values[i].index)
            arrput(merger->indices, out->values[i].index);
    for (ptrdiff_t i = variables; i < arrlen(out->variables); i++)
        if (out->variables[i].of)
            arrput(merger->indices, out->variables[i].of);
    for (ptrdiff_t i = stores; i < arrlen(out->stores); i++)
        arrput(merger->indices, out->stores[i].index);
}

/* Makes `inner` run over both where every index allows it. */
static bool merge(struct merger *merger, int outer, int inner)
{
    struct index_variable *variables = merger->lowerer->out.variables;
    int64_t extent = variables[inner].high + 1;
    for (ptrdiff_t i = 0; i < arrlen(merger->indices); i++)
        if (affine_factor(merger->indices[i], outer) != affine_factor(merger->indices[i], inner) * extent)
            return false;
    variables[inner].high = (variables[outer].high + 1) * extent - 1;
    variables[outer].kind = INDEX_MERGED;
    return true;
}

/* Merges neighbours of a list of loops, and its last with `vector` (-1: not). */
static void merge_list(struct merger *merger, int *loops, int *count, int vector)
{
    int inner = vector, kept = *count;
    for (int i = *count - 1; i >= 0; i--) {
        if (inner >= 0 && merge(merger, loops[i], inner))
            continue;
        inner = loops[i];
        loops[--kept] = inner;
    }
    int merged = kept;
    for (int i = merged; i < *count; i++)
        loops[i - merged] = loops[i];
    *count -= merged;
}

static bool fixed_lanes(const struct nest *nest)
{
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        if (nest->members[i].reduction == REDUCTION_ROW && reduction_ordered(nest->members[i].node))
            return true;
    return false;
}

void lower_merge_loops(struct lowerer *lowerer, const struct nest *nest, ptrdiff_t values, ptrdiff_t variables,
                       ptrdiff_t stores)
{
    struct merger merger = {.lowerer = lowerer};
    struct loop_nest *loops = &lowerer->loops;
    collect(&merger, values, variables, stores);
    int row_vector = !loops->vector_inner || !nest->outer_fixed ? loops->vector : -1;
    int inner_vector = loops->vector_inner && !fixed_lanes(nest) ? loops->vector : -1;
    merge_list(&merger, loops->inner_loops, &loops->inner_count, inner_vector);
    if (loops->inner_count && loops->vector_inner)
        row_vector = -1;
    merge_list(&merger, loops->row_loops, &loops->row_count, row_vector);
    arrfree(merger.indices);
}
