/* Pass fuse: which values are stored, and by which kernel.
 *
 * Stored are: results of contractions and what these read (through views, see view.h); what is written or put out;
 * reductions, scans, scattered sums; tables that are gathered from. Everything else is computed where it is used, once
 * more in each kernel that uses it.
 *
 * Requires: layouts chosen, no markers. Preserves: everything but node->kernel. */

#include "passes/nests.h"
#include "passes/pass.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

static bool is_leaf_in_memory(const struct node *node)
{
    return node->op == OP_read || node->op == OP_input;
}

/* Values that no kernel can compute inside on the way to something else. */
static bool must_store(const struct node *node)
{
    enum op_class class = op_info(node->op)->class;
    return class == CLASS_CONTRACTION || class == CLASS_SCAN || node->op == OP_scatter_add || class == CLASS_EFFECT;
}

static void require(struct node *node)
{
    if (!is_leaf_in_memory(node))
        node->mark = 1;
}

static void require_operands(struct node *node)
{
    if (node->op == OP_gather)
        require(node->operands[0]);
    if (!op_is(node->op, CLASS_CONTRACTION))
        return;
    for (int i = 0; i < node->operand_count; i++) {
        struct view view;
        if (view_contraction_operand(node, i) && view_find(node->operands[i], &view))
            require(view.base);
        else
            require(node->operands[i]);
    }
}

void pass_fuse(struct graph *graph, struct pass_context *context)
{
    graph_number(graph);
    int kernels = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        require_operands(graph->nodes[i]);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        bool apart = context->debug_unfused && !is_leaf_in_memory(node);
        bool stored = apart || node->mark || must_store(node) || reduction_kind(node);
        node->kernel = stored ? ++kernels : 0;
    }
    graph_number(graph);
}
