/* Bytes that a graph must move, and bytes that it would move without fusion.
 *
 * The lower bound. Memory holds batch fields, variables, and operands and results of contractions. A contraction reads
 * its operands and writes its result. All else is done in one pass over each region of the graph (forward, backward,
 * update), which reads each value that it needs once and computes the rest again for nothing, down to results of
 * reductions of another region, which it reads; the update's own reductions (finiteness checks, norms) ride on passes
 * that touch their operands anyway. Variables and outputs are written once. Kernels can stay above it: what waits
 * for a statistic over the batch has to read its values twice where they do not stay in the cache. */
#include "codegen/ledger.h"
#include "passes/kernels.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>

struct bounds {
    const struct graph *graph;
    const struct target *target;
    bool *resident;      /* by node id: lies in memory in any case */
    bool *inside;        /* by node id: computed inside of attention */
    int *visited;        /* by node id: the last region whose pass came here, or -1 */
    struct node **stack; /* stb_ds array */
    uint64_t bytes;
    bool fused; /* some node has a kernel */
};

static bool is_source(const struct node *node)
{
    return node->op == OP_read || node->op == OP_input;
}

/* Of a fused graph, those that attention computes inside of a kernel are none that memory must hold, nor are operands
 * that it computes inside. A contraction that is added up where its operand is computed is still one: the bound tells
 * what the step takes before anything is fused. */
static bool is_contraction(const struct bounds *bounds, const struct node *node)
{
    return (op_is(node->op, CLASS_CONTRACTION) && !bounds->inside[node->id]) || node->op == OP_tap_sums;
}

static void find_inside(struct bounds *bounds, struct arena *arena)
{
    struct kernel_set set = kernels_find(bounds->graph, arena);
    for (int k = 0; k < set.count; k++)
        for (int i = 0; i < set.kernels[k].computed_count && set.kernels[k].attention; i++) {
            const struct node *node = set.kernels[k].computed[i];
            bounds->inside[node->id] = bounds->inside[node->id] || node->kernel != set.kernels[k].number;
        }
    bounds->fused = set.count > 0;
}

static bool is_inside(const struct bounds *bounds, const struct node *operand)
{
    while (operand->op == OP_slice || operand->op == OP_reshape || operand->op == OP_permute)
        operand = operand->operands[0];
    return bounds->fused && !operand->kernel && !is_source(operand);
}

/* Movement that reads memory in another shape or order only. */
static const struct node *behind_views(const struct node *node)
{
    while (node->op == OP_reshape || node->op == OP_permute || node->op == OP_broadcast)
        node = node->operands[0];
    return node;
}

static uint64_t bytes_of(const struct bounds *bounds, const struct node *node)
{
    return (uint64_t)memory_bytes(&node->type, bounds->target);
}

static void count_contractions(struct bounds *bounds)
{
    for (ptrdiff_t i = 0; i < arrlen(bounds->graph->nodes); i++) {
        const struct node *node = bounds->graph->nodes[i];
        if (!is_contraction(bounds, node))
            continue;
        bounds->resident[node->id] = true;
        bounds->bytes += bytes_of(bounds, node);
        for (int j = 0; j < node->operand_count; j++) {
            const struct node *operand = behind_views(node->operands[j]);
            if (is_inside(bounds, operand) && node->op != OP_tap_sums)
                continue;
            bounds->resident[operand->id] = true;
            bounds->bytes += bytes_of(bounds, operand);
        }
    }
}

/* Does the pass over a region find this value in memory, rather than compute it? */
static bool is_read(const struct bounds *bounds, const struct node *node, enum region region)
{
    if (is_source(node) || is_contraction(bounds, node))
        return true;
    if (op_is(node->op, CLASS_REDUCE) && region == REGION_UPDATE)
        return true;
    return node->region != region && (bounds->resident[node->id] || op_is(node->op, CLASS_REDUCE));
}

/* Walks from what a pass makes back to what it reads. */
static void count_reads(struct bounds *bounds, const struct node *from)
{
    for (int j = 0; j < from->operand_count; j++)
        arrput(bounds->stack, from->operands[j]);
    while (arrlen(bounds->stack)) {
        const struct node *node = arrpop(bounds->stack);
        if (bounds->visited[node->id] == (int)from->region)
            continue;
        bounds->visited[node->id] = (int)from->region;
        if (is_read(bounds, node, from->region))
            bounds->bytes += bytes_of(bounds, node);
        else
            for (int j = 0; j < node->operand_count; j++)
                arrput(bounds->stack, node->operands[j]);
    }
}

/* What a pass is there for: roots and operands of contractions. */
static bool is_goal(const struct bounds *bounds, const struct node *node)
{
    if (is_source(node) || is_contraction(bounds, node))
        return false;
    return op_is(node->op, CLASS_EFFECT) || bounds->resident[node->id];
}

static void count_region(struct bounds *bounds, enum region region)
{
    for (ptrdiff_t i = 0; i < arrlen(bounds->graph->nodes); i++) {
        const struct node *node = bounds->graph->nodes[i];
        if (node->region != region || !is_goal(bounds, node))
            continue;
        count_reads(bounds, node);
        if (op_is(node->op, CLASS_EFFECT))
            bounds->bytes += bytes_of(bounds, node);
    }
}

uint64_t ledger_lower_bound(const struct graph *graph, const struct target *target)
{
    struct arena *arena = arena_new();
    size_t count = arrlenu(graph->nodes);
    struct bounds bounds = {.graph = graph,
                            .target = target,
                            .resident = ARENA_ARRAY(arena, bool, count),
                            .inside = ARENA_ARRAY(arena, bool, count),
                            .visited = ARENA_ARRAY(arena, int, count)};
    for (size_t i = 0; i < count; i++)
        bounds.visited[i] = -1;
    find_inside(&bounds, arena);
    count_contractions(&bounds);
    for (int region = REGION_FORWARD; region <= REGION_UPDATE; region++)
        count_region(&bounds, (enum region)region);
    arrfree(bounds.stack);
    arena_free(arena);
    return bounds.bytes;
}

uint64_t ledger_unfused(const struct graph *graph, const struct target *target)
{
    struct bounds bounds = {.graph = graph, .target = target};
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (op_is(node->op, CLASS_LEAF) && node->op != OP_random)
            continue;
        if (behind_views(node) != node)
            continue;
        bounds.bytes += bytes_of(&bounds, node);
        for (int j = 0; j < node->operand_count; j++)
            bounds.bytes += bytes_of(&bounds, behind_views(node->operands[j]));
    }
    return bounds.bytes;
}
