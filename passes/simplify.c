/* Pass simplify: the walk, and the rules that need no arithmetic.
 *
 * The one law: the simplified graph has the same values bit for bit, as the reference evaluator computes them, each
 * node with its own rounding. (NaN counts as one value, and a sum over a single element as that element, whatever the
 * sign of its zero.) So x + 0 stays, because it turns -0 into 0; x * 0 stays, because of NaN and infinity; sums are
 * never regrouped; and a * b + c never becomes fma, which would drop a rounding. */
#include "passes/simplify.h"

#include "passes/rewrite.h"

#include <stb/stb_ds.h>

struct node *simplify_become(struct simplifier *simplifier, const struct node *node, struct node *by)
{
    return type_equal(&node->type, &by->type) && pass_may_rewrite(simplifier->context) ? by : NULL;
}

struct node *simplify_full(struct simplifier *simplifier, const struct node *node, double value)
{
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build_full(&simplifier->builder, value, node->type.element, &node->type.shape);
}

/* ---- reductions ---- */

struct node *simplify_reduction(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    int64_t count = reduced_elements(node);
    bool index = node->op == OP_argmax || node->op == OP_argmin;
    double value;
    if (count == 1 && index)
        return simplify_full(simplifier, node, 0);
    if (count == 1 && node->op != OP_m2)
        return simplify_become(simplifier, node, x);
    if (count == 0 && node->op == OP_sum)
        return simplify_full(simplifier, node, 0);
    if (count < 1 || !node_uniform(x, &value))
        return NULL;
    if (index)
        return simplify_full(simplifier, node, 0);
    if (node->op == OP_reduce_max || node->op == OP_reduce_min)
        return simplify_full(simplifier, node, value);
    /* In f64 a sum of up to 2^29 equal numbers of at most 24 bits is exact, so it is the product. */
    if (node->op == OP_sum && x->type.element != ELEMENT_F64 && value != 0 && count < INT64_C(1) << 29)
        return simplify_full(simplifier, node, element_round(node->type.element, value * (double)count));
    return NULL;
}

/* ---- matmul ---- */

struct node *simplify_matmul(struct simplifier *simplifier, struct node *node)
{
    if (!node_is_transpose(node->operands[0]) && !node_is_transpose(node->operands[1]))
        return NULL;
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    struct module *module = simplifier->builder.graph->module;
    struct node *read_in_place =
        build(&simplifier->builder, OP_matmul, node->operands, 2, node->attributes, &node->type);
    matmul_fold_transposes(module->arena, read_in_place);
    return read_in_place;
}

/* ---- the walk ---- */

/* What has no elements is as good as any other of its type, so nothing needs to compute it. */
static bool is_empty(const struct node *node)
{
    enum op_class class = op_info(node->op)->class;
    bool computed = class != CLASS_LEAF && class != CLASS_LOOP && class != CLASS_MARKER && class != CLASS_EFFECT;
    return computed && node->op != OP_broadcast && node->op != OP_reshape && shape_elements(&node->type.shape) == 0;
}

static struct node *apply(struct simplifier *simplifier, struct node *node)
{
    if (is_empty(node))
        return simplify_full(simplifier, node, 0);
    switch (op_info(node->op)->class) {
    case CLASS_POINTWISE:
        return simplify_pointwise(simplifier, node);
    case CLASS_REDUCE:
        return simplify_reduction(simplifier, node);
    case CLASS_SCAN:
        return node->op == OP_cumsum && node->type.shape.dimension[node->attributes->axis] == 1
                   ? simplify_become(simplifier, node, node->operands[0])
                   : NULL;
    case CLASS_MOVEMENT:
        return simplify_movement(simplifier, node);
    case CLASS_GATHER:
        return node->op == OP_gather ? simplify_gather(simplifier, node) : NULL;
    case CLASS_CONTRACTION:
        return node->op == OP_matmul ? simplify_matmul(simplifier, node) : NULL;
    default:
        return NULL;
    }
}

static bool row_major(const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (!type_row_major(&node->operands[i]->type))
            return false;
    return type_row_major(&node->type);
}

/* Applies rules until none fits. What a rule built is offered to the rules again; what stood there before was. */
static struct node *settle(struct graph *graph, struct pass_context *context, struct node *node)
{
    ptrdiff_t before = arrlen(graph->nodes);
    struct simplifier simplifier = {builder_at(graph, node), context};
    struct node *now = node, *next;
    while (row_major(now) && (next = apply(&simplifier, now))) {
        now = next;
        if (now->id < before)
            break;
    }
    if (now != node && now->id >= before)
        now->origin = node->origin; /* it is the same value, so what refers to the origin still finds it */
    return now;
}

static void count_uses(struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++)
            graph->nodes[i]->operands[k]->mark++;
}

static bool is_operand(const struct node *operand, const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (node->operands[i] == operand)
            return true;
    return false;
}

/* Folds constants and removes operations that do nothing, by rules that keep every bit.
 * Requires: nothing; nodes with a memory order of their own are left alone.
 * Preserves: values; origins of replaced nodes move to what replaces them. Linear in nodes. */
void pass_simplify(struct graph *graph, struct pass_context *context)
{
    graph_number(graph);
    count_uses(graph); /* node->mark from here on */
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        node->id = (int)arrlen(graph->nodes); /* so that it does not pass for a node that stands before */
        struct node *by = settle(graph, context, node);
        if (by == node) {
            graph_append(graph, node);
            continue;
        }
        by->mark += node->mark - is_operand(by, node);
        node_replace(node, by);
    }
    arrfree(nodes);
    graph_number(graph);
}
