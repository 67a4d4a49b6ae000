/* Bytes that a graph must move, and bytes that it would move without fusion.
 *
 * The lower bound. Memory holds batch fields, variables, and operands and results of contractions. Each contraction
 * reads its operands and writes its result. The other nodes fall into pieces: connected parts within the forward pass,
 * the backward pass and the update. A piece reads once each value in memory that it needs, writes each operand that it
 * makes for a contraction (counted with the contraction), and writes variables and outputs once. What it needs of
 * another piece it computes again for nothing from what lies in memory, down to results of reductions, which count as
 * values to read: so the bound is strict where values are saved for the backward pass. */
#include "codegen/ledger.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>

struct bounds {
    const struct graph *graph;
    const struct target *target;
    int *piece;     /* by node id: union-find parent; pieces are named by their root */
    bool *resident; /* by node id: lies in memory in any case */
    int *visited;   /* by node id: the last piece that walked here */
    struct node **stack;
    uint64_t bytes;
};

static bool is_root(const struct node *node)
{
    return op_is(node->op, CLASS_EFFECT);
}

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

static int find_piece(struct bounds *bounds, int node)
{
    while (bounds->piece[node] != node)
        node = bounds->piece[node] = bounds->piece[bounds->piece[node]];
    return node;
}

static bool in_piece(const struct node *node)
{
    return !is_contraction(node) && !is_source(node);
}

static void join_pieces(struct bounds *bounds)
{
    for (ptrdiff_t i = 0; i < arrlen(bounds->graph->nodes); i++) {
        const struct node *node = bounds->graph->nodes[i];
        for (int j = 0; in_piece(node) && j < node->operand_count; j++) {
            const struct node *operand = node->operands[j];
            if (in_piece(operand) && operand->region == node->region)
                bounds->piece[find_piece(bounds, node->id)] = find_piece(bounds, operand->id);
        }
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

/* Walks from a node of a piece back to what lies in memory. */
static void count_reads(struct bounds *bounds, struct node *from, int piece)
{
    arrsetlen(bounds->stack, 0);
    for (int j = 0; j < from->operand_count; j++)
        arrput(bounds->stack, from->operands[j]);
    while (arrlen(bounds->stack)) {
        struct node *node = arrpop(bounds->stack);
        bool own = in_piece(node) && find_piece(bounds, node->id) == piece;
        if (own || bounds->visited[node->id] == piece)
            continue;
        bounds->visited[node->id] = piece;
        if (is_source(node) || bounds->resident[node->id] || op_is(node->op, CLASS_REDUCE)) {
            bounds->bytes += bytes_of(bounds, node);
            continue;
        }
        for (int j = 0; j < node->operand_count; j++)
            arrput(bounds->stack, node->operands[j]);
    }
}

uint64_t ledger_lower_bound(const struct graph *graph, const struct target *target)
{
    struct arena *arena = arena_new();
    size_t count = arrlenu(graph->nodes);
    struct bounds bounds = {.graph = graph,
                            .target = target,
                            .piece = ARENA_ARRAY(arena, int, count),
                            .resident = ARENA_ARRAY(arena, bool, count),
                            .visited = ARENA_ARRAY(arena, int, count)};
    for (size_t i = 0; i < count; i++) {
        bounds.piece[i] = (int)i;
        bounds.visited[i] = -1;
    }
    join_pieces(&bounds);
    count_contractions(&bounds);
    /* Nodes of one piece must be walked together, for `visited` remembers one piece only. */
    struct node ***members = ARENA_ARRAY(arena, struct node **, count);
    for (size_t i = 0; i < count; i++)
        if (in_piece(graph->nodes[i]))
            arrput(members[find_piece(&bounds, (int)i)], graph->nodes[i]);
    for (size_t i = 0; i < count; i++) {
        for (ptrdiff_t j = 0; j < arrlen(members[i]); j++) {
            count_reads(&bounds, members[i][j], (int)i);
            if (is_root(members[i][j]))
                bounds.bytes += bytes_of(&bounds, members[i][j]);
        }
        arrfree(members[i]);
    }
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
