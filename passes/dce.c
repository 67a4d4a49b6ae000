/* Pass dce: dead code elimination. */
#include "passes/pass.h"

#include <stb/stb_ds.h>

static void keep(struct node *node)
{
    node->mark = 1;
    for (int i = 0; i < node->operand_count; i++)
        node->operands[i]->mark = 1;
}

/* Drops every node that no output and no write needs.
 * Requires: nothing. Preserves: the order of the rest. Linear in nodes. */
void pass_dce(struct graph *graph, struct pass_context *context)
{
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--)
        if (nodes[i]->mark || op_is(nodes[i]->op, CLASS_EFFECT) || !pass_may_rewrite(context))
            keep(nodes[i]);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i]->mark)
            graph_append(graph, nodes[i]);
    arrfree(nodes);
    graph_number(graph);
}
