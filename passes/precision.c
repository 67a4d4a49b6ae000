/* Pass precision: gives each node its type by the policy, and says why.
 *
 * A node's type is its rounding, so deciding the type is all that mixed precision is; what must then be converted
 * (operands of contractions) gets its casts here too, one for each (value, type), because the graph has no meaning
 * without them. Pass casts later makes copies of parameters out of some.
 *
 * How a type is decided: an explicit cast, then a `precision` block, then the policy: a scope that acts as one operator
 * (f32 inside, its results by class), else the last rule for the op (precision_decide.c); backward nodes follow
 * what they differentiate (precision_backward.c). Nodes that end in losses, metrics or state are f32. */
#include "passes/precision.h"
#include "passes/loops.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- what is known before types are decided ---- */

static void list_users(struct precision *precision)
{
    struct graph *graph = precision->graph;
    size_t count = arrlenu(graph->nodes), total = 0;
    precision->use_start = ARENA_ARRAY(graph->module->arena, int, count + 2);
    int *start = precision->use_start;
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++, total++)
            start[graph->nodes[i]->operands[k]->id + 2]++;
    for (size_t i = 2; i < count + 2; i++)
        start[i] += start[i - 1];
    precision->uses = ARENA_ARRAY(graph->module->arena, struct node *, total);
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++)
            precision->uses[start[graph->nodes[i]->operands[k]->id + 1]++] = graph->nodes[i];
}

static bool is_scalar(const struct node *node)
{
    return shape_elements(&node->type.shape) == 1;
}

/* Whether the user wants its operand in f32 for the sake of what it ends in. */
static bool wants_scalar(const struct precision *precision, const struct node *user, const struct node *node)
{
    if (user->op == OP_output)
        return user->attributes->output != OUTPUT_VALUE;
    return is_scalar(node) && user->region == REGION_FORWARD && precision->choices[user->id].scalar_result;
}

/* Whether the user's result, not the node's, is what leaves the group that both are in. */
static bool is_inside(const struct precision *precision, const struct node *node, const struct node *user)
{
    const struct choice *choice = &precision->choices[node->id], *other = &precision->choices[user->id];
    if (other->sum && other->sums && other->sums == precision_leaves(choice))
        return true;
    return !choice->sum && precision_same_group(precision, node, user) && (!precision_moves(user) || other->inner);
}

/* Fills inner, scalar_result and state_only from the users, which are done already: the sweep goes backwards. */
static void look_at_users(struct precision *precision, const struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    bool outside = false, inside = false;
    bool state_only = true, writes = false;
    for (int i = precision->use_start[node->id]; i < precision->use_start[node->id + 1]; i++) {
        const struct node *user = precision->uses[i];
        const struct choice *other = &precision->choices[user->id];
        choice->scalar_result |= wants_scalar(precision, user, node);
        writes |= user->op == OP_write || other->state_only;
        state_only &= user->op == OP_write || other->state_only;
        if (user->op == OP_write || user->op == OP_output)
            continue;
        bool same = is_inside(precision, node, user);
        inside |= same;
        outside |= !same;
    }
    choice->inner = inside && !outside;
    choice->state_only = state_only && writes && node->region == REGION_FORWARD && !op_is(node->op, CLASS_CONTRACTION);
}

static bool all_operands_weak(const struct precision *precision, const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (!precision->choices[node->operands[i]->id].weak)
            return false;
    return node->operand_count > 0 || node->op == OP_constant || node->op == OP_read || node->op == OP_iota;
}

static void prepare(struct precision *precision)
{
    struct graph *graph = precision->graph;
    struct arena *arena = graph->module->arena;
    ptrdiff_t count = arrlen(graph->nodes);
    graph_number(graph);
    precision->choices = ARENA_ARRAY(arena, struct choice, count);
    precision->by_origin = ARENA_ARRAY(arena, struct node *, graph->module->next_origin);
    list_users(precision);
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *node = graph->nodes[i];
        precision->choices[i].scope = matcher_scope(precision->matcher, node->scope);
        precision->choices[i].weak = all_operands_weak(precision, node);
        precision->by_origin[node->origin] = node;
        precision_find_sum(precision, node);
    }
    for (ptrdiff_t i = count - 1; i >= 0; i--)
        look_at_users(precision, graph->nodes[i]);
}

/* ---- contraction, bias, activation ---- */

/* The node's only user but for fetched values; NULL when there are none or several. */
static struct node *only_user(const struct precision *precision, const struct node *node)
{
    struct node *only = NULL;
    for (int i = precision->use_start[node->id]; i < precision->use_start[node->id + 1]; i++) {
        struct node *user = precision->uses[i];
        if (user->op == OP_output && user->attributes->output == OUTPUT_VALUE)
            continue;
        if (only)
            return NULL;
        only = user;
    }
    return only;
}

struct node *precision_chain_next(const struct precision *precision, const struct node *node)
{
    struct node *next = only_user(precision, node);
    if (!next || !op_is(next->op, CLASS_POINTWISE) || next->region != node->region || next->pin ||
        next->attributes->explicit_cast)
        return NULL;
    for (int i = 0; i < next->operand_count; i++)
        if (next->operands[i] != node && !precision->choices[next->operands[i]->id].weak)
            return NULL;
    return next;
}

/* The next node of a chain, when it is of the same half type. */
static struct node *chain_next(const struct precision *precision, const struct node *node)
{
    struct node *next = precision_chain_next(precision, node);
    enum element half = precision->choices[node->id].nominal;
    return next && precision->choices[next->id].nominal == half ? next : NULL;
}

static void keep_wide(const struct precision *precision, struct node *node, const struct node *last)
{
    node->type.element = ELEMENT_F32;
    node->reason = arena_internf(precision->graph->module->arena, "%s; f32 in the chain that ends in %s", node->reason,
                                 precision_node_text(precision, last));
}

/* A contraction with its bias and one activation is rounded once, at its end. */
static void widen_chain(const struct precision *precision, struct node *node)
{
    const struct choice *choice = &precision->choices[node->id];
    if (!op_is(node->op, CLASS_CONTRACTION) || node->region != REGION_FORWARD || !element_is_half(choice->nominal) ||
        node->pin)
        return;
    struct node *bias = chain_next(precision, node);
    struct node *activation = bias && bias->op == OP_add ? chain_next(precision, bias) : NULL;
    if (activation)
        keep_wide(precision, bias, activation);
    if (bias)
        keep_wide(precision, node, activation ? activation : bias);
}

/* ---- applying ---- */

/* Parameters and optimizer state lose their master copies where the policy says so. */
static void narrow_variables(const struct precision *precision)
{
    const struct module *module = precision->graph->module;
    for (ptrdiff_t i = 0; !precision->policy->masters_f32 && i < arrlen(module->variables); i++) {
        struct variable *variable = module->variables[i];
        bool trained =
            variable->kind == VARIABLE_PARAMETER || (variable->kind == VARIABLE_OPTIMIZER && variable->source);
        if (trained && variable->type.element == ELEMENT_F32)
            variable->type.element = precision->policy->half;
    }
}

static void retype_reads(struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op == OP_read)
            node->type.element = module_find_variable(graph->module, node->attributes->symbol)->type.element;
    }
}

/* The cast of a value to a type, made once. Values have at most one cast to f16, one to bf16 and one to f32. */
static struct node *cast_operand(struct graph *graph, struct node **casts, struct node *value, enum element element,
                                 const struct node *contraction)
{
    if (value->type.element == element)
        return value;
    if (!casts[element]) {
        struct builder builder = builder_at(graph, value);
        builder.pin = ELEMENT_NONE;
        builder.forward = 0;
        builder.reason = arena_internf(graph->module->arena, "operand of %s",
                                       contraction->name ? contraction->name : op_info(contraction->op)->name);
        casts[element] = build_cast(&builder, value, element);
    }
    return casts[element];
}

enum { KINDS = ELEMENT_F32 + 1 };

/* Loops take their operands in the types that their bodies tell. */
static void cast_operands_of_loop(struct graph *graph, struct node *(*casts)[KINDS], struct node *loop)
{
    const struct graph *body = loop_body(graph->module, loop);
    if (!body)
        return;
    struct loop_parts parts = loop_parts_of(loop, body);
    for (int k = 0; k < loop->operand_count; k++) {
        enum element element = loop_parts_element(&parts, loop, k);
        if (element != ELEMENT_NONE && element <= ELEMENT_F32)
            loop->operands[k] = cast_operand(graph, casts[loop->operands[k]->mark], loop->operands[k], element, loop);
    }
    loop_parts_free(&parts);
}

static void insert_casts(struct precision *precision)
{
    struct graph *graph = precision->graph;
    struct node **nodes = graph_take_nodes(graph);
    ptrdiff_t count = arrlen(nodes);
    struct node *(*casts)[KINDS] = arena_allocate(graph->module->arena, sizeof *casts * (size_t)count);
    for (ptrdiff_t i = 0; i < count; i++)
        nodes[i]->mark = i;
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *node = nodes[i];
        enum element element = precision->choices[i].operand;
        for (int k = 0; op_is(node->op, CLASS_CONTRACTION) && element != ELEMENT_F64 && k < 2; k++)
            node->operands[k] = cast_operand(graph, casts[node->operands[k]->mark], node->operands[k], element, node);
        if (node->op == OP_loop)
            cast_operands_of_loop(graph, casts, node);
        graph_append(graph, node);
    }
    arrfree(nodes);
    graph_number(graph);
}

static void apply(struct precision *precision)
{
    struct graph *graph = precision->graph;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        graph->nodes[i]->type.element = precision->choices[i].nominal;
        graph->nodes[i]->reason = precision->choices[i].reason;
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        widen_chain(precision, graph->nodes[i]);
    insert_casts(precision);
}

static void (*const algorithms[ALGORITHM_COUNT])(struct precision *precision) = {
    [ALGORITHM_PAINT] = precision_paint,
    [ALGORITHM_CUT] = precision_cut,
    [ALGORITHM_RANGES] = precision_ranges,
    [ALGORITHM_PLUGIN] = precision_plugin,
};

/* Requires: gradients expanded. Ensures: every node has its type and a reason; operands of contractions have one type.
 * Preserves everything else. */
void pass_precision(struct graph *graph, struct pass_context *context)
{
    if (!context->policy)
        return;
    struct precision precision = {.graph = graph, .policy = context->policy, .context = context};
    bool initial = strcmp(graph->name, "init") == 0;
    narrow_variables(&precision);
    retype_reads(graph);
    precision.matcher = matcher_new(context->policy, graph->module->arena);
    prepare(&precision);
    if (algorithms[context->policy->algorithm] && !initial)
        algorithms[context->policy->algorithm](&precision);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        precision_decide(&precision, graph->nodes[i], initial);
    apply(&precision);
    matcher_free(precision.matcher);
}
