/* What loss scaling must not be combined with, told at compile time. */
#include "passes/loss_scale.h"

#include <stb/stb_ds.h>
#include <string.h>

/* A gradient that still carries the scale may reach nothing but unscale: clipping it would compare with the wrong
 * norm, and a write would keep it. */
static bool check_unscaled(struct graph *graph)
{
    bool correct = true;
    graph_number(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        bool scaled = node->op == OP_scale_seed;
        for (int k = 0; k < node->operand_count; k++)
            scaled |= node->operands[k]->mark != 0;
        bool kept = node->op == OP_write && node->attributes->index == GATE_NEVER; /* accumulated, still scaled */
        node->mark = scaled && node->op != OP_unscale && element_is_float(node->type.element);
        if (!node->mark || kept || (node->region != REGION_UPDATE && node->op != OP_write))
            continue;
        diagnostics_error(graph->module->diagnostics, E0801, node->span, NULL,
                          "%s uses a gradient that still carries the loss scale: unscale it before it is clipped or "
                          "applied",
                          op_info(node->op)->name);
        correct = false;
    }
    graph_number(graph);
    return correct;
}

static bool any_rule_owns(const struct module *module, const char *symbol)
{
    for (ptrdiff_t i = 0; i < arrlen(module->scaling.rules); i++)
        if (scale_rule_owns(module->scaling.rules[i], symbol))
            return true;
    return false;
}

/* The micro-batches of one step are added up, so they must all have the same scale. */
static bool check_constant_scale(struct graph *graph)
{
    for (ptrdiff_t i = 0; strcmp(graph->name, "micro") == 0 && i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_write || !any_rule_owns(graph->module, node->attributes->symbol))
            continue;
        diagnostics_error(graph->module->diagnostics, E0802, node->span, NULL,
                          "%s changes between the micro-batches of one step", node->attributes->symbol);
        return false;
    }
    return true;
}

bool scale_check(struct graph *graph)
{
    return check_unscaled(graph) && check_constant_scale(graph);
}
