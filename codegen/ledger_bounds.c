/* Bytes that a graph must move, and bytes that it would move without fusion.
 *
 * The lower bound. Memory holds batch fields, variables, and operands and results of contractions. A contraction reads
 * its operands and writes its result. All else is done in passes. One pass, in the forward part or the backward part of
 * the graph, reads each value that it needs once; a second one is there only for what waits until a reduction over rows
 * has ended (the statistics of batch norm; a softmax along rows needs none), and reads again what it needs. The update
 * is one pass: each parameter, state and gradient is read once, and its reductions (finiteness checks, norms) ride on
 * passes that touch their operands anyway. Variables and outputs are written once. Whatever a pass
 * needs that does not lie in memory it computes again for nothing, down to results of reductions made by other passes,
 * which it reads. */
#include "codegen/ledger.h"
#include "passes/memory.h"
#include "passes/nests.h"

#include <stb/stb_ds.h>

struct bounds {
    const struct graph *graph;
    const struct target *target;
    int *pass;           /* by node id: region and number of passes that must have ended before */
    bool *resident;      /* by node id: lies in memory in any case */
    int *visited;        /* by node id: the last pass that came here */
    struct node **stack; /* stb_ds array */
    uint64_t bytes;
};

static bool is_source(const struct node *node)
{
    return node->op == OP_read || node->op == OP_input;
}

static bool is_contraction(const struct node *node)
{
    return op_is(node->op, CLASS_CONTRACTION);
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

static bool ends_a_pass(const struct node *node)
{
    enum reduction_kind kind = reduction_kind(node);
    return kind == REDUCTION_COLUMN || kind == REDUCTION_FULL;
}

enum { REGIONS = REGION_UPDATE + 1 };

/* Numbers the passes: what uses contractions, sources or another region's values waits for nothing in its own. */
static void find_passes(struct bounds *bounds)
{
    for (ptrdiff_t i = 0; i < arrlen(bounds->graph->nodes); i++) {
        const struct node *node = bounds->graph->nodes[i];
        int before = 0;
        bool counts = !is_contraction(node) && !is_source(node) && node->region != REGION_UPDATE;
        for (int j = 0; counts && j < node->operand_count; j++) {
            const struct node *operand = node->operands[j];
            int after = bounds->pass[operand->id] / REGIONS + ends_a_pass(operand);
            if (operand->region == node->region && !is_contraction(operand) && after > before)
                before = after;
        }
        bounds->pass[i] = before * REGIONS + (int)node->region;
    }
}

static void count_contractions(struct bounds *bounds)
{
    for (ptrdiff_t i = 0; i < arrlen(bounds->graph->nodes); i++) {
        const struct node *node = bounds->graph->nodes[i];
        if (!is_contraction(node))
            continue;
        bounds->resident[node->id] = true;
        bounds->bytes += bytes_of(bounds, node);
        for (int j = 0; j < node->operand_count; j++) {
            const struct node *operand = behind_views(node->operands[j]);
            bounds->resident[operand->id] = true;
            bounds->bytes += bytes_of(bounds, operand);
        }
    }
}

/* Does the pass find this value in memory, rather than compute it? */
static bool is_read(const struct bounds *bounds, const struct node *node, int pass)
{
    if (is_source(node) || is_contraction(node))
        return true;
    bool own = bounds->pass[node->id] == pass;
    return (bounds->resident[node->id] && !own) || (op_is(node->op, CLASS_REDUCE) && (!own || ends_a_pass(node)));
}

/* Walks from what a pass makes back to what it reads. */
static void count_reads(struct bounds *bounds, const struct node *from, int pass)
{
    for (int j = 0; j < from->operand_count; j++)
        arrput(bounds->stack, from->operands[j]);
    while (arrlen(bounds->stack)) {
        const struct node *node = arrpop(bounds->stack);
        if (bounds->visited[node->id] == pass)
            continue;
        bounds->visited[node->id] = pass;
        if (is_read(bounds, node, pass))
            bounds->bytes += bytes_of(bounds, node);
        else
            for (int j = 0; j < node->operand_count; j++)
                arrput(bounds->stack, node->operands[j]);
    }
}

/* What a pass is there for: roots, statistics that others wait for, operands of contractions. */
static bool is_goal(const struct bounds *bounds, const struct node *node)
{
    if (is_source(node) || is_contraction(node))
        return false;
    bool statistic = ends_a_pass(node) && node->region != REGION_UPDATE;
    return op_is(node->op, CLASS_EFFECT) || statistic || bounds->resident[node->id];
}

static void count_passes(struct bounds *bounds, struct arena *arena)
{
    size_t count = arrlenu(bounds->graph->nodes);
    int last = 0;
    for (size_t i = 0; i < count; i++)
        last = bounds->pass[i] > last ? bounds->pass[i] : last;
    struct node ***goals = ARENA_ARRAY(arena, struct node **, last + 1);
    for (size_t i = 0; i < count; i++)
        if (is_goal(bounds, bounds->graph->nodes[i]))
            arrput(goals[bounds->pass[i]], bounds->graph->nodes[i]);
    for (int pass = 0; pass <= last; pass++) {
        for (ptrdiff_t i = 0; i < arrlen(goals[pass]); i++) {
            count_reads(bounds, goals[pass][i], pass);
            if (op_is(goals[pass][i]->op, CLASS_EFFECT))
                bounds->bytes += bytes_of(bounds, goals[pass][i]);
        }
        arrfree(goals[pass]);
    }
    arrfree(bounds->stack);
}

uint64_t ledger_lower_bound(const struct graph *graph, const struct target *target)
{
    struct arena *arena = arena_new();
    size_t count = arrlenu(graph->nodes);
    struct bounds bounds = {.graph = graph,
                            .target = target,
                            .pass = ARENA_ARRAY(arena, int, count),
                            .resident = ARENA_ARRAY(arena, bool, count),
                            .visited = ARENA_ARRAY(arena, int, count)};
    for (size_t i = 0; i < count; i++)
        bounds.visited[i] = -1;
    find_passes(&bounds);
    count_contractions(&bounds);
    count_passes(&bounds, arena);
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
