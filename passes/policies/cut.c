/* The minimum cut of policy cost: which values are half so that moving them, multiplying them and casting between
 * them takes the least time.
 *
 * Each value that may be half is a node of a network whose source means f32 and whose sink means half. An arc from the
 * source costs what the value costs in half, one to the sink what it costs in f32: its passes through memory in the
 * fused scratch copy (policy->traffic) and, for products, the arithmetic. Inside a kernel a type costs nothing; f32 is
 * preferred there, since a rounding would gain nothing. Arcs between a value and the product that it is an operand
 * of cost the cast where they differ: nothing when the kernel that makes the value can write it in half, what a copy
 * moves otherwise. What must have one type (movement, a product with its bias and activation) is tied by arcs that no
 * cut can afford; what a rule for f32 names is tied to the source. */
#include "passes/cost.h"
#include "passes/max_flow.h"
#include "passes/precision.h"

#include <stb/stb_ds.h>

struct cutter {
    struct precision *precision;
    const struct target *target;
    struct flow *flow;
    int *number;         /* by node id: the node of the network; 0: the value is f32 in any case */
    const char **denied; /* by node id: the rule for f32, NULL: none */
};

/* Seconds as a capacity: femtoseconds. */
static int64_t capacity(double seconds)
{
    const double femto = 1e15, most = 1e17;
    double value = seconds * femto;
    return value > most ? (int64_t)most : (int64_t)value;
}

static double moving(const struct cutter *cutter, double bytes)
{
    return cutter->target->bandwidth > 0 ? bytes / cutter->target->bandwidth : 0;
}

static double value_bytes(const struct cutter *cutter, const struct node *node, enum element element)
{
    return (double)shape_elements(&node->type.shape) * (double)element_bytes(cutter->target->storage[element]);
}

/* ---- which values may be half ---- */

/* A weight gradient where those are f32, or a value inside an operator: only its products may be half. */
static bool result_is_f32(const struct cutter *cutter, const struct node *node)
{
    const struct precision *precision = cutter->precision;
    enum element strong, weak;
    if (precision->choices[node->id].inner)
        return true;
    if (node->region != REGION_BACKWARD || !precision->policy->gradients_f32)
        return false;
    precision_ask_users(precision, node, &strong, &weak);
    return !strong && weak == ELEMENT_F32;
}

static bool has_choice(const struct cutter *cutter, const struct node *node)
{
    const struct choice *choice = &cutter->precision->choices[node->id];
    if (!precision_is_free(cutter->precision, node) || choice->scalar_result || choice->state_only)
        return false;
    bool in_operator = precision_in_operator(choice);
    if (op_is(node->op, CLASS_CONTRACTION))
        return !in_operator;
    return !result_is_f32(cutter, node);
}

/* ---- the network ---- */

static double times_moved(const struct cutter *cutter, const struct node *node)
{
    const struct policy *policy = cutter->precision->policy;
    return node->origin < policy->traffic_count ? (double)policy->traffic[node->origin] : 0;
}

/* What the value costs in a type. */
static double value_seconds(const struct cutter *cutter, const struct node *node, enum element element)
{
    double seconds = 0;
    if (op_is(node->op, CLASS_CONTRACTION) && cutter->target->flops[element] > 0)
        seconds = node_flops(node) / cutter->target->flops[element];
    if (!result_is_f32(cutter, node))
        seconds += times_moved(cutter, node) * moving(cutter, value_bytes(cutter, node, element));
    return seconds;
}

static void add_value(struct cutter *cutter, const struct node *node)
{
    int number = cutter->number[node->id];
    double half = value_seconds(cutter, node, cutter->precision->policy->half);
    double wide = value_seconds(cutter, node, ELEMENT_F32);
    flow_arc(cutter->flow, FLOW_SOURCE, number, capacity(half) + 1, 0);
    flow_arc(cutter->flow, number, FLOW_SINK, capacity(wide), 0);
    cutter->denied[node->id] = precision_rule_for_f32(cutter->precision, node);
    if (cutter->denied[node->id])
        flow_arc(cutter->flow, FLOW_SOURCE, number, FLOW_INFINITE, 0);
}

static void tie(struct cutter *cutter, const struct node *a, const struct node *b)
{
    int left = cutter->number[a->id], right = cutter->number[b->id];
    if (left && right)
        flow_arc(cutter->flow, left, right, FLOW_INFINITE, FLOW_INFINITE);
}

/* Whether a library call makes the value, so that a cast of it is a kernel of its own. */
static bool is_library_result(const struct node *node)
{
    while (op_is(node->op, CLASS_MOVEMENT) && node->operand_count == 1)
        node = node->operands[0];
    return op_is(node->op, CLASS_CONTRACTION);
}

/* The cast of an operand of a product. A parameter's half copy is written by the optimizer: that is no cast. */
static void add_cast(struct cutter *cutter, const struct node *operand, const struct node *product)
{
    const struct choice *choice = &cutter->precision->choices[operand->id];
    enum element half = cutter->precision->policy->half;
    int from = cutter->number[operand->id], to = cutter->number[product->id];
    if (!to || choice->weak || !element_is_float(operand->type.element))
        return;
    double copy = value_bytes(cutter, operand, half), whole = value_bytes(cutter, operand, ELEMENT_F32);
    bool alone = is_library_result(operand);
    double launch = alone ? cutter->target->launch_seconds : 0;
    double narrow = launch + (alone ? moving(cutter, whole + copy) : 0);
    double widen = launch + moving(cutter, 2 * whole - copy);
    flow_arc(cutter->flow, from ? from : FLOW_SOURCE, to, capacity(narrow) + 1, from ? capacity(widen) + 1 : 0);
}

static void connect(struct cutter *cutter, const struct node *node)
{
    if (precision_moves(node))
        tie(cutter, node->operands[0], node);
    if (!op_is(node->op, CLASS_CONTRACTION))
        return;
    for (int i = 0; i < 2; i++)
        add_cast(cutter, node->operands[i], node);
    const struct node *bias = precision_chain_next(cutter->precision, node);
    const struct node *activation = bias && bias->op == OP_add ? precision_chain_next(cutter->precision, bias) : NULL;
    if (bias)
        tie(cutter, node, bias);
    if (activation)
        tie(cutter, node, activation);
}

/* ---- the verdicts ---- */

static const char *reason_of(const struct cutter *cutter, const struct node *node, bool half)
{
    struct arena *arena = cutter->precision->graph->module->arena;
    const double micro = 1e6;
    if (cutter->denied[node->id])
        return cutter->denied[node->id];
    double saved =
        value_seconds(cutter, node, ELEMENT_F32) - value_seconds(cutter, node, cutter->precision->policy->half);
    if (!half && saved <= 0)
        return "cost: f32, half saves nothing here";
    return arena_internf(arena, "cost: %s by the minimum cut, half saves %.3g us here", half ? "half" : "f32",
                         micro * saved);
}

static void tell(const struct cutter *cutter)
{
    const struct graph *graph = cutter->precision->graph;
    enum element half = cutter->precision->policy->half;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        bool narrow = cutter->number[i] && !flow_at_source(cutter->flow, cutter->number[i]);
        if (cutter->number[i])
            precision_tell(cutter->precision, node, narrow ? half : ELEMENT_F32, reason_of(cutter, node, narrow));
    }
}

void precision_cut(struct precision *precision)
{
    struct graph *graph = precision->graph;
    ptrdiff_t count = arrlen(graph->nodes);
    struct cutter cutter = {.precision = precision, .target = precision->context->target};
    cutter.number = ARENA_ARRAY(graph->module->arena, int, count + 1);
    cutter.denied = ARENA_ARRAY(graph->module->arena, const char *, count + 1);
    int number = FLOW_FIRST;
    for (ptrdiff_t i = 0; i < count; i++)
        if (has_choice(&cutter, graph->nodes[i]))
            cutter.number[i] = number++;
    cutter.flow = flow_new(number);
    for (ptrdiff_t i = 0; i < count; i++)
        if (cutter.number[i])
            add_value(&cutter, graph->nodes[i]);
    for (ptrdiff_t i = 0; i < count; i++)
        connect(&cutter, graph->nodes[i]);
    flow_solve(cutter.flow);
    tell(&cutter);
    flow_free(cutter.flow);
}
