/* Pass masks: the mask of a rectified value asks what was rectified.
 *
 * The gradient of y = max(a, 0) is masked by y > 0, because y is what most networks keep. Where a is computed from one
 * value in memory that the backward pass reads anyway (behind batch normalisation: from the convolution's result, by
 * vectors of the channels), a > 0 tells the same, and y is not read again: it costs arithmetic instead of bytes. */
#include "passes/pass.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

enum { REPEATS = 8 }; /* a value repeated so often is small beside what it is used with */

/* By node id. `source`: the one large value in memory that the node is computed from, itself where it lies there; NULL:
 * none, it comes from small ones; `many`: it is no such thing. */
struct knowledge {
    struct node **source;
    bool *many, *stored, *read; /* operands of contractions; sources that the backward pass reads */
};

static bool in_memory(const struct node *node)
{
    return op_is(node->op, CLASS_CONTRACTION) || node->op == OP_read || node->op == OP_input;
}

static bool repeats(const struct node *node)
{
    return node->op == OP_broadcast &&
           shape_elements(&node->type.shape) >= REPEATS * shape_elements(&node->operands[0]->type.shape);
}

static void find_source(struct knowledge *known, struct node *node)
{
    bool follows = op_is(node->op, CLASS_POINTWISE) || node->op == OP_broadcast || node->op == OP_reshape;
    if (in_memory(node)) {
        known->source[node->id] = node;
        return;
    }
    if (repeats(node) || node->op == OP_constant)
        return;
    known->many[node->id] = !follows;
    for (int i = 0; i < node->operand_count && follows; i++) {
        const struct node *operand = node->operands[i];
        struct node **source = &known->source[node->id], *other = known->source[operand->id];
        known->many[node->id] |= known->many[operand->id] || (*source && other && *source != other);
        *source = other ? other : *source;
    }
}

static void note_operands(struct knowledge *known, const struct node *contraction)
{
    for (int i = 0; i < contraction->operand_count; i++) {
        struct view view;
        bool readable = view_contraction_operand(contraction, i) && view_find(contraction->operands[i], &view);
        known->stored[readable ? view.base->id : contraction->operands[i]->id] = true;
    }
}

/* What a backward node needs of the forward pass, and does not find in memory itself, it computes again. */
static void note_reads(struct knowledge *known, const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        if (operand->region == REGION_FORWARD && !known->stored[operand->id] && !known->many[operand->id] &&
            known->source[operand->id])
            known->read[known->source[operand->id]->id] = true;
    }
}

/* Of a mask of the result of max or min with a uniform value, the operand that it may ask in its place; else NULL. The
 * two have one type: a result that was rounded anew may have become equal to the bound. */
static struct node *rectified(const struct node *mask)
{
    enum op by = mask->op == OP_gt ? OP_max : mask->op == OP_lt ? OP_min : OP_COUNT;
    const struct node *result = by == OP_COUNT ? NULL : mask->operands[0];
    if (!result || result->op != by || result->region != REGION_FORWARD || mask->region != REGION_BACKWARD)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (result->operands[1 - i] == mask->operands[1] && result->operands[i]->type.element == result->type.element &&
            result->operands[i] != mask->operands[1])
            return result->operands[i];
    return NULL;
}

static bool gains(const struct knowledge *known, const struct pass_context *context, const struct node *mask,
                  const struct node *asked)
{
    const struct node *result = mask->operands[0], *source = known->source[asked->id];
    return known->stored[result->id] && !known->many[asked->id] && source && known->read[source->id] &&
           element_bytes(context->target->storage[source->type.element]) <=
               element_bytes(context->target->storage[result->type.element]);
}

/* Requires: precisions and casts as they stay. Preserves: every value, and which of them lie in memory. */
void pass_masks(struct graph *graph, struct pass_context *context)
{
    struct arena *arena = arena_new();
    size_t count = arrlenu(graph->nodes);
    graph_number(graph);
    struct knowledge known = {.source = ARENA_ARRAY(arena, struct node *, count),
                              .many = ARENA_ARRAY(arena, bool, count),
                              .stored = ARENA_ARRAY(arena, bool, count),
                              .read = ARENA_ARRAY(arena, bool, count)};
    for (size_t i = 0; i < count; i++) {
        find_source(&known, graph->nodes[i]);
        if (op_is(graph->nodes[i]->op, CLASS_CONTRACTION))
            note_operands(&known, graph->nodes[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (graph->nodes[i]->region == REGION_BACKWARD && !op_is(graph->nodes[i]->op, CLASS_CONTRACTION))
            note_reads(&known, graph->nodes[i]);
    for (size_t i = 0; i < count; i++) {
        struct node *asked = rectified(graph->nodes[i]);
        if (asked && gains(&known, context, graph->nodes[i], asked) && pass_may_rewrite(context))
            graph->nodes[i]->operands[0] = asked;
    }
    graph_number(graph);
    arena_free(arena);
}
