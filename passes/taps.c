/* Pass taps: gradients of a convolution to a narrow weight are added up where what they are taken of is computed.
 *
 * A library reads both operands of conv_weight from memory. The first convolution of a network has the largest dy, and
 * nothing else needs it; where the convolution has few channels of input (images in grey), its weight has few elements
 * for each channel of dy. Then the kernel that computes dy can keep as many sums as that, dy itself is never stored,
 * and tap_sums stands for the product. Products of halves are exact in f32, and both ways add up in f32. */
#include "passes/pass.h"

#include <stb/stb_ds.h>

enum {
    TAPS_MAX = 9,    /* sums that a thread keeps in registers: a filter of 3 x 3 */
    CHANNELS_MIN = 8 /* of dy: with fewer of them threads side by side read little */
};

/* By node id: does something need the value, or what is computed from it element by element, in memory? Reductions and
 * gradients to weights do not. */
static bool *find_kept(const struct graph *graph, struct arena *arena)
{
    bool *kept = ARENA_ARRAY(arena, bool, arrlenu(graph->nodes));
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--) {
        const struct node *node = graph->nodes[i];
        bool ends = node->op == OP_conv_weight || op_is(node->op, CLASS_REDUCE);
        bool keeps = op_is(node->op, CLASS_POINTWISE) ? kept[i] : !ends;
        for (int k = 0; k < node->operand_count; k++)
            kept[node->operands[k]->id] |= keeps;
    }
    return kept;
}

/* The channels lie innermost in memory. */
static bool channels_last(const struct type *type)
{
    return type->order[type->shape.rank - 1] == 1;
}

static bool is_narrow(const struct node *node, const bool *kept)
{
    if (node->op != OP_conv_weight)
        return false;
    const struct node *dy = node->operands[1];
    if (node->operands[0] == dy || kept[dy->id] || !op_is(dy->op, CLASS_POINTWISE))
        return false;
    int64_t channels = dy->type.shape.dimension[1], elements = shape_elements(&node->type.shape);
    return channels_last(&dy->type) && channels >= CHANNELS_MIN && elements <= TAPS_MAX * channels &&
           shape_elements(&dy->type.shape) > channels;
}

static void make_sums(struct node *node)
{
    struct node *x = node->operands[0];
    node->op = OP_tap_sums;
    node->operands[0] = node->operands[1];
    node->operands[1] = x;
}

/* Requires: orders of memory chosen. Preserves: every value but the last bits of these gradients. The sums go right
 * behind their operands, so that what else is asked of dy (whether it is finite) finds their walk. */
void pass_taps(struct graph *graph, struct pass_context *context)
{
    if (context->target->language != LANGUAGE_CUDA)
        return;
    graph_number(graph);
    struct arena *arena = arena_new();
    const bool *kept = find_kept(graph, arena);
    struct node **nodes = NULL, ***behind = ARENA_ARRAY(arena, struct node **, arrlenu(graph->nodes));
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        node->mark = is_narrow(node, kept) && pass_may_rewrite(context);
        if (!node->mark)
            continue;
        make_sums(node);
        const struct node *x = node->operands[1], *dy = node->operands[0];
        arrput(behind[x->id > dy->id ? x->id : dy->id], node);
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        if (!graph->nodes[i]->mark)
            arrput(nodes, graph->nodes[i]);
        for (ptrdiff_t k = 0; k < arrlen(behind[i]); k++)
            arrput(nodes, behind[i][k]);
        arrfree(behind[i]);
    }
    arrfree(graph->nodes);
    graph->nodes = nodes;
    graph_number(graph);
    arena_free(arena);
}
