/* What several rewriting passes ask of a node. */
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

bool movement_rounds(const struct node *movement)
{
    return movement->type.element != movement->operands[0]->type.element;
}

bool node_uniform(const struct node *node, double *value)
{
    while (node->op == OP_broadcast || node->op == OP_reshape || node->op == OP_permute || node->op == OP_flip) {
        if (movement_rounds(node))
            return false;
        node = node->operands[0];
    }
    if (node->op != OP_constant)
        return false;
    *value = element_round(node->type.element, node->attributes->value);
    return true;
}

struct node *node_times_number(const struct node *node, double *factor)
{
    for (int i = 0; i < 2 && node->op == OP_mul; i++)
        if (node_uniform(node->operands[i], factor))
            return node->operands[1 - i];
    return NULL;
}

bool iota_is_exact(const struct node *iota)
{
    int64_t count = 1;
    for (int axis = 0; axis < iota->type.shape.rank; axis++)
        if (iota->attributes->axes >> axis & 1)
            count *= iota->type.shape.dimension[axis];
    return iota->type.element != ELEMENT_U8 || count <= 256;
}

bool node_counts(const struct node *node)
{
    while (node->op == OP_reshape && !movement_rounds(node))
        node = node->operands[0];
    if (node->op != OP_iota || !iota_is_exact(node))
        return false;
    for (int axis = 0; axis < node->type.shape.rank; axis++)
        if (node->type.shape.dimension[axis] > 1 && !(node->attributes->axes >> axis & 1))
            return false;
    return true;
}

int64_t reduced_elements(const struct node *reduction)
{
    const struct shape *from = &reduction->operands[0]->type.shape;
    int64_t count = 1;
    for (int axis = 0; axis < from->rank; axis++)
        if (reduction->attributes->axes >> axis & 1)
            count *= from->dimension[axis];
    return count;
}

bool node_is_transpose(const struct node *node)
{
    int rank = node->type.shape.rank;
    if (node->op != OP_permute || rank < 2 || movement_rounds(node))
        return false;
    const unsigned char *permutation = node->attributes->permutation;
    for (int axis = 0; axis < rank - 2; axis++)
        if (permutation[axis] != axis)
            return false;
    return permutation[rank - 2] == rank - 1;
}

bool matmul_fold_transposes(struct arena *arena, struct node *matmul)
{
    bool fold[2] = {node_is_transpose(matmul->operands[0]), node_is_transpose(matmul->operands[1])};
    if (!fold[0] && !fold[1])
        return false;
    struct attributes *attributes = arena_copy(arena, matmul->attributes, sizeof *attributes);
    attributes->transpose_a ^= fold[0];
    attributes->transpose_b ^= fold[1];
    matmul->attributes = attributes;
    for (int i = 0; i < 2; i++)
        if (fold[i])
            matmul->operands[i] = matmul->operands[i]->operands[0];
    return true;
}

void node_replace(struct node *node, struct node *by)
{
    node->replacement = by;
    if (!by->name)
        by->name = node->name;
}

void graph_apply_replacements(struct graph *graph)
{
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        graph_map_operands(nodes[i]);
        if (!nodes[i]->replacement)
            graph_append(graph, nodes[i]);
    }
    arrfree(nodes);
    graph_number(graph);
}

bool node_is_relu(const struct node *node)
{
    double value;
    return node->op == OP_max && ((node_uniform(node->operands[0], &value) && value == 0) ||
                                  (node_uniform(node->operands[1], &value) && value == 0));
}
