/* Lists nodes in the order of execution. */
#include "passes/order.h"

#include <stb/stb_ds.h>

/* Appends a node behind what it needs; an own stack, since chains may be as long as the graph. */
static void append_with_operands(struct graph *graph, struct node *root, struct node ***stack)
{
    arrput(*stack, root);
    while (arrlen(*stack)) {
        struct node *node = arrlast(*stack);
        if (node->mark == 2) {
            arrpop(*stack);
            continue;
        }
        if (node->mark == 1) {
            node->mark = 2;
            arrpop(*stack);
            graph_append(graph, node);
            continue;
        }
        node->mark = 1;
        for (int i = node->operand_count - 1; i >= 0; i--)
            if (node->operands[i]->mark == 0)
                arrput(*stack, node->operands[i]);
    }
}

void order_by_kernel(struct graph *graph, int kernels)
{
    struct node **nodes = graph_take_nodes(graph), **stack = NULL;
    ptrdiff_t count = arrlen(nodes);
    struct node ***members = NULL; /* by kernel */
    arrsetlen(members, (size_t)kernels + 1);
    for (int k = 0; k <= kernels; k++)
        members[k] = NULL;
    for (ptrdiff_t i = 0; i < count; i++) {
        nodes[i]->mark = 0;
        arrput(members[nodes[i]->kernel], nodes[i]);
    }
    for (int k = 1; k <= kernels; k++)
        for (ptrdiff_t i = 0; i < arrlen(members[k]); i++)
            append_with_operands(graph, members[k][i], &stack);
    for (ptrdiff_t i = 0; i < arrlen(members[0]); i++)
        append_with_operands(graph, members[0][i], &stack);
    for (int k = 0; k <= kernels; k++)
        arrfree(members[k]);
    arrfree(members);
    arrfree(stack);
    arrfree(nodes);
    graph_number(graph);
}
