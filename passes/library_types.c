/* Operands of two types meet in f32. A result in another half type than its operands' comes out in f32, and the cast
 * behind it is fused with its users like any other. What counts is how values lie in memory: an emulated half is f32
 * to the library. */
#include "passes/library_types.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

static const char reason[] = "the library takes operands of one type, and gives that or f32";

static bool stored_alike(const struct target *target, const struct node *a, const struct node *b)
{
    return target->storage[a->type.element] == target->storage[b->type.element];
}

static void join_operands(struct graph *graph, const struct target *target, struct node *node)
{
    struct builder builder = builder_at(graph, node);
    builder.reason = reason;
    if (stored_alike(target, node->operands[0], node->operands[1]))
        return;
    for (int i = 0; i < 2; i++)
        if (node->operands[i]->type.element != ELEMENT_F32)
            node->operands[i] = build_cast(&builder, node->operands[i], ELEMENT_F32);
}

/* The same contraction in f32, cast to the type asked for; NULL where the library gives that itself. */
static struct node *widened(struct graph *graph, const struct target *target, const struct node *node)
{
    struct builder builder = builder_at(graph, node);
    struct type type = node->type;
    if (stored_alike(target, node, node->operands[0]) || target->storage[type.element] == ELEMENT_F32)
        return NULL;
    builder.reason = reason;
    type.element = ELEMENT_F32;
    struct node *wide = build(&builder, node->op, node->operands, node->operand_count, node->attributes, &type);
    return build_cast(&builder, wide, node->type.element);
}

void fit_library_types(struct graph *graph, const struct target *target)
{
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (op_is(node->op, CLASS_CONTRACTION)) {
            join_operands(graph, target, node);
            struct node *wide = widened(graph, target, node);
            if (wide)
                node_replace(node, wide);
        }
        if (!node->replacement)
            graph_append(graph, node);
    }
    arrfree(nodes);
    graph_number(graph);
}
