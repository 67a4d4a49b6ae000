/* Pass loss_scale: the whole of loss scaling, inside the graph.
 *
 * scale_seed(k) becomes the scale, unscale(k) the multiplication by its reciprocal in f32. From the gradients of line k
 * comes found_inf(k); every write that line k gates keeps the old value where it is set, so a skipped step leaves
 * everything as it was. The scale's rule (a function graph) is inlined once, with found_inf over all lines.
 *
 * A module whose gradients have no range to win is not scaled: then the markers vanish. */
#include "passes/finite.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <string.h>

static const char scale_name[] = "train/scale";

struct scaler {
    struct graph *graph;
    struct node *scale, *reciprocal; /* NULL until needed */
    struct finite_values *lines;     /* stb_ds array, by minimize line: the values that tell found_inf */
    struct node **found_inf;         /* by line, as many; NULL: cannot happen, or no such line */
    struct node *any;                /* found_inf over all lines */
    struct node **effects;           /* stb_ds array: writes and outputs, put off until found_inf is known */
};

/* ---- whether to scale ---- */

static bool has_gradient_of(const struct graph *graph, enum element element)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->region == REGION_BACKWARD && graph->nodes[i]->type.element == element)
            return true;
    return false;
}

static bool has_op(const struct graph *graph, enum op op)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == op)
            return true;
    return false;
}

/* f16 gradients are scaled; those in bf16 have f32's range, so only on request. */
static bool wants_scaling(const struct graph *graph)
{
    const struct scaling *scaling = &graph->module->scaling;
    return scaling->present && scaling->rule &&
           (has_gradient_of(graph, ELEMENT_F16) || (scaling->explicit && has_gradient_of(graph, ELEMENT_BF16)));
}

static bool rule_owns(const struct graph *rule, const char *symbol)
{
    for (ptrdiff_t i = 0; i < arrlen(rule->nodes); i++)
        if ((rule->nodes[i]->op == OP_read || rule->nodes[i]->op == OP_write) &&
            rule->nodes[i]->attributes->symbol == symbol &&
            module_find_variable(rule->module, symbol)->kind == VARIABLE_OPTIMIZER)
            return true;
    return false;
}

static void drop_writes(struct graph *graph, const struct graph *rule)
{
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i]->op != OP_write || !rule_owns(rule, nodes[i]->attributes->symbol))
            graph_append(graph, nodes[i]);
    arrfree(nodes);
}

/* Nothing is scaled: the rule's variables go, and with them their initial values. */
static void drop_rule(struct module *module)
{
    struct graph *rule = module->scaling.rule, *init = module_find_graph(module, "init");
    module->scaling.present = false;
    if (!rule)
        return;
    if (init)
        drop_writes(init, rule);
    struct variable **kept = NULL;
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        if (!rule_owns(rule, module->variables[i]->name))
            arrput(kept, module->variables[i]);
    }
    for (ptrdiff_t i = 0; i < arrlen(rule->nodes); i++)
        if (rule->nodes[i]->op == OP_read || rule->nodes[i]->op == OP_write)
            (void)shdel(module->variable_index, rule->nodes[i]->attributes->symbol);
    for (ptrdiff_t i = 0; i < arrlen(kept); i++)
        shput(module->variable_index, kept[i]->name, kept[i]);
    arrfree(module->variables);
    module->variables = kept;
    for (ptrdiff_t i = 0; i < arrlen(module->functions); i++)
        if (module->functions[i] == rule)
            arrdel(module->functions, i);
    arrfree(rule->nodes);
    module->scaling.rule = NULL;
}

/* ---- compile-time checks ---- */

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

/* The micro-batches of one step are added up, so they must all have the same scale. */
static bool check_constant_scale(struct graph *graph)
{
    const struct graph *rule = graph->module->scaling.rule;
    for (ptrdiff_t i = 0; strcmp(graph->name, "micro") == 0 && i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_write || !rule_owns(rule, node->attributes->symbol))
            continue;
        diagnostics_error(graph->module->diagnostics, E0802, node->span, NULL,
                          "%s changes between the micro-batches of one step", node->attributes->symbol);
        return false;
    }
    return true;
}

/* ---- markers ---- */

static struct builder update_builder(struct graph *graph, const struct node *at)
{
    struct builder builder = {.graph = graph, .region = REGION_UPDATE, .reason = "loss scaling is f32"};
    if (at) {
        builder.span = at->span;
        builder.scope = at->scope;
    }
    return builder;
}

static struct node *current_scale(struct scaler *scaler)
{
    if (!scaler->scale) {
        struct builder builder = update_builder(scaler->graph, NULL);
        builder.span = scaler->graph->module->scaling.span;
        const struct variable *variable = module_find_variable(scaler->graph->module, scale_name);
        if (!variable)
            castor_bug("the scale's rule has no variable %s", scale_name);
        scaler->scale = build_read(&builder, variable);
    }
    return scaler->scale;
}

static struct node *unscaled(struct scaler *scaler, struct node *marker, struct node *gradient)
{
    struct builder builder = update_builder(scaler->graph, marker);
    if (!scaler->reciprocal) {
        struct node *one = build_constant(&builder, 1, ELEMENT_F32);
        scaler->reciprocal = build_binary(&builder, OP_div, one, current_scale(scaler));
    }
    struct node *factor = build_broadcast(&builder, scaler->reciprocal, &gradient->type.shape);
    struct type type = type_make(ELEMENT_F32, gradient->type.shape);
    struct node *result = build_binary(&builder, OP_mul, gradient, factor);
    result->type = type;
    result->name = marker->name;
    result->origin = marker->origin;
    return result;
}

static void add_gradient(struct scaler *scaler, int line, struct node *gradient)
{
    while (arrlen(scaler->lines) <= line)
        arrput(scaler->lines, (struct finite_values){0});
    finite_add(&scaler->lines[line], gradient);
}

static void replace_marker(struct scaler *scaler, struct node *node)
{
    if (node->op == OP_scale_seed) {
        node->replacement = current_scale(scaler);
        return;
    }
    struct node *gradient = node->operands[0];
    node->replacement = unscaled(scaler, node, gradient);
    add_gradient(scaler, node->attributes->index, gradient);
}

/* ---- found_inf and what it gates ---- */

static void find_infs(struct scaler *scaler)
{
    struct builder builder = update_builder(scaler->graph, NULL);
    scaler->found_inf = ARENA_ARRAY(scaler->graph->module->arena, struct node *, arrlen(scaler->lines));
    for (ptrdiff_t line = 0; line < arrlen(scaler->lines); line++) {
        struct node *found = finite_found_inf(&builder, &scaler->lines[line]);
        scaler->found_inf[line] = found;
        if (found)
            scaler->any = scaler->any ? build_binary(&builder, OP_or, scaler->any, found) : found;
    }
    if (!scaler->any)
        scaler->any = build_constant(&builder, 0, ELEMENT_BOOL);
}

/* What stands between the write and its variable; NULL for a write that always goes on. */
static struct node *gate_of(const struct scaler *scaler, int gate)
{
    if (gate == GATE_NEVER)
        return NULL;
    if (gate == GATE_ALL)
        return scaler->any;
    return gate < arrlen(scaler->lines) ? scaler->found_inf[gate] : NULL;
}

static void append_effect(struct scaler *scaler, struct node *node)
{
    struct module *module = scaler->graph->module;
    graph_map_operands(node);
    struct node *found = node->op == OP_write ? gate_of(scaler, node->attributes->index) : NULL;
    if (found) {
        struct builder builder = builder_at(scaler->graph, node);
        builder.region = REGION_UPDATE;
        builder.reason = "a step with inf or NaN is skipped";
        const struct variable *variable = module_find_variable(module, node->attributes->symbol);
        node->operands[0] = build_where(&builder, found, build_read(&builder, variable), node->operands[0]);
        struct attributes *attributes = arena_copy(module->arena, node->attributes, sizeof *node->attributes);
        attributes->index = GATE_NEVER;
        node->attributes = attributes;
    }
    graph_append(scaler->graph, node);
}

/* ---- the rule ---- */

/* A copy of a rule's node; arguments are found_inf. NULL for outputs, whose operand is the result. */
static struct node *copy_rule_node(struct scaler *scaler, const struct node *node)
{
    if (node->op == OP_argument)
        return scaler->any;
    struct builder builder = builder_at(scaler->graph, node);
    builder.region = REGION_UPDATE;
    builder.reason = "loss scaling is f32";
    struct node **operands = ARENA_ARRAY(scaler->graph->module->arena, struct node *, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = node->operands[i]->replacement;
    struct node *copy = build(&builder, node->op, operands, node->operand_count, node->attributes, &node->type);
    copy->type = node->type;
    copy->name = node->name;
    return copy;
}

/* Inlines the rule; gives the next scale. */
static struct node *inline_rule(struct scaler *scaler)
{
    struct graph *rule = scaler->graph->module->scaling.rule;
    struct node *next = NULL;
    graph_number(rule);
    for (ptrdiff_t i = 0; i < arrlen(rule->nodes); i++) {
        struct node *node = rule->nodes[i];
        if (node->op == OP_output)
            next = node->operands[0]->replacement;
        else
            node->replacement = copy_rule_node(scaler, node);
    }
    graph_number(rule);
    if (!next)
        castor_bug("the scale's rule has no output");
    return next;
}

static void log_scale(struct scaler *scaler, struct node *next)
{
    struct builder builder = update_builder(scaler->graph, NULL);
    struct shape scalar = {0};
    build_output(&builder, "scale", build_reshape(&builder, next, &scalar), OUTPUT_LOG);
    build_output(&builder, "skipped", build_cast(&builder, scaler->any, ELEMENT_F32), OUTPUT_LOG);
}

/* ---- the two outcomes ---- */

static void scale_graph(struct graph *graph)
{
    struct scaler scaler = {.graph = graph};
    bool updates = has_op(graph, OP_unscale);
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (node->op == OP_scale_seed || node->op == OP_unscale)
            replace_marker(&scaler, node);
        else if (op_is(node->op, CLASS_EFFECT) && updates)
            arrput(scaler.effects, node);
        else
            graph_append(graph, node);
    }
    if (updates) {
        find_infs(&scaler);
        for (ptrdiff_t i = 0; i < arrlen(scaler.effects); i++)
            append_effect(&scaler, scaler.effects[i]);
        log_scale(&scaler, inline_rule(&scaler));
    }
    arrfree(nodes);
    arrfree(scaler.effects);
    arrfree(scaler.lines);
    graph_number(graph);
}

static void drop_markers(struct graph *graph)
{
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (node->op == OP_scale_seed) {
            struct builder builder = update_builder(graph, node);
            node->replacement = build_constant(&builder, 1, ELEMENT_F32);
        } else if (node->op == OP_unscale) {
            node->replacement = node->operands[0];
        } else {
            graph_append(graph, node);
        }
    }
    arrfree(nodes);
    graph_number(graph);
}

/* Requires: precision decided, a step of several micro-batches split already. Ensures: no scale_seed and no unscale;
 * writes are gated by values, no longer by number. Preserves: a graph without these markers is left alone. */
void pass_loss_scale(struct graph *graph, struct pass_context *context)
{
    (void)context; /* not optional, so --pass-limit does not count it */
    bool seeds = has_op(graph, OP_scale_seed);
    if (!seeds && !has_op(graph, OP_unscale))
        return;
    struct module *module = graph->module;
    if (seeds && !wants_scaling(graph))
        drop_rule(module);
    if (!module->scaling.present)
        drop_markers(graph);
    else if (check_unscaled(graph) && check_constant_scale(graph))
        scale_graph(graph);
}
