/* What passes move between a loop and its body. */
#include "passes/loops.h"
#include "ir/loop.h"

#include <stb/stb_ds.h>

static void read_inside(const struct node *loop, struct graph *body)
{
    for (int i = 0; i < loop->operand_count; i++) {
        struct node *input =
            loop_role(loop, i) == LOOP_CAPTURED && loop->operands[i]->op == OP_read ? loop_input_find(body, i) : NULL;
        if (!input)
            continue;
        input->op = OP_read;
        input->attributes = loop->operands[i]->attributes;
    }
}

void loops_read_inside(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct graph *body = graph->nodes[i]->op == OP_loop ? loop_body(graph->module, graph->nodes[i]) : NULL;
        if (!body)
            continue;
        read_inside(graph->nodes[i], body);
        loops_read_inside(body);
    }
}
