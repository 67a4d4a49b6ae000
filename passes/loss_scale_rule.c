/* The rules of the scales: function graphs that the frontend elaborated, each put into the step once. */
#include "passes/loss_scale.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- no scaling ---- */

bool scale_rule_owns(const struct graph *rule, const char *symbol)
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
        if (nodes[i]->op != OP_write || !scale_rule_owns(rule, nodes[i]->attributes->symbol))
            graph_append(graph, nodes[i]);
    arrfree(nodes);
}

static void drop_rule(struct module *module, struct graph *rule)
{
    struct graph *init = module_find_graph(module, "init");
    if (init)
        drop_writes(init, rule);
    struct variable **kept = NULL;
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        if (!scale_rule_owns(rule, module->variables[i]->name))
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
}

void scale_rules_drop(struct module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->scaling.rules); i++)
        drop_rule(module, module->scaling.rules[i]);
    arrfree(module->scaling.rules);
    module->scaling.rules = NULL;
    module->scaling.present = false;
}

/* ---- what a rule is told ---- */

/* One rule going into the graph. */
struct rule {
    struct scaler *scaler;
    int number;
    struct node *found_inf; /* in one of its lines */
    struct node *acts;      /* one of its lines acts; NULL: always */
    struct node *largest;   /* made when it is asked for */
};

static bool is_of_rule(const struct rule *rule, int line)
{
    return rule->scaler->graph->module->minimizes[line - 1].rule == rule->number;
}

static struct node *join(struct builder *builder, enum op op, struct node *a, struct node *b)
{
    return !a ? b : !b ? a : build_binary(builder, op, a, b);
}

static void look_at_lines(struct rule *rule)
{
    const struct scaler *scaler = rule->scaler;
    struct builder builder = scaler_builder(scaler->graph, NULL);
    bool always = false;
    for (int i = 1; i < scaler->line_count; i++) {
        const struct scaled_line *line = &scaler->lines[i];
        if (!is_of_rule(rule, i))
            continue;
        rule->found_inf = join(&builder, OP_or, rule->found_inf, line->found_inf);
        rule->acts = join(&builder, OP_or, rule->acts, line->acts);
        always |= !line->acts;
    }
    if (!rule->found_inf)
        rule->found_inf = build_constant(&builder, 0, ELEMENT_BOOL);
    if (always)
        rule->acts = NULL;
}

static struct node *largest_of_line(struct builder *builder, const struct scaled_line *line)
{
    struct node *largest = NULL;
    for (ptrdiff_t i = 0; i < arrlen(line->unscaled); i++) {
        struct node *magnitude = build_unary(builder, OP_abs, line->unscaled[i]);
        int rank = magnitude->type.shape.rank;
        if (rank)
            magnitude = build_reduce(builder, OP_reduce_max, magnitude, (1u << rank) - 1);
        largest = join(builder, OP_max, largest, build_reshape(builder, magnitude, &(struct shape){0}));
    }
    if (line->acts && largest)
        largest = build_where(builder, line->acts, largest, build_constant(builder, 0, ELEMENT_F32));
    return largest;
}

/* The largest magnitude of the unscaled gradients; 0 when none of the lines acts. */
static struct node *largest_gradient(struct rule *rule)
{
    const struct scaler *scaler = rule->scaler;
    struct builder builder = scaler_builder(scaler->graph, NULL);
    struct node *largest = rule->largest;
    for (int i = 1; i < scaler->line_count && !rule->largest; i++)
        if (is_of_rule(rule, i))
            largest = join(&builder, OP_max, largest, largest_of_line(&builder, &scaler->lines[i]));
    rule->largest = largest ? largest : build_constant(&builder, 0, ELEMENT_F32);
    return rule->largest;
}

/* ---- the rule's nodes ---- */

/* A copy of a rule's node; arguments are what it is told. */
static struct node *copy_node(struct rule *rule, const struct node *node)
{
    struct graph *graph = rule->scaler->graph;
    if (node->op == OP_argument)
        return node->attributes->index ? largest_gradient(rule) : rule->found_inf;
    struct builder builder = builder_at(graph, node);
    builder.region = REGION_UPDATE;
    builder.reason = "loss scaling is f32";
    struct node **operands = ARENA_ARRAY(graph->module->arena, struct node *, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = node->operands[i]->replacement;
    if (node->op == OP_write && rule->acts) {
        const struct variable *variable = module_find_variable(graph->module, node->attributes->symbol);
        operands[0] = build_where(&builder, rule->acts, operands[0], build_read(&builder, variable));
    }
    struct node *copy = build(&builder, node->op, operands, node->operand_count, node->attributes, &node->type);
    copy->type = node->type;
    copy->name = node->name;
    return copy;
}

/* Inlines the rule; gives the next scale. */
static struct node *inline_rule(struct rule *rule)
{
    struct graph *function = rule->scaler->scales[rule->number].rule;
    struct node *next = NULL;
    graph_number(function);
    for (ptrdiff_t i = 0; i < arrlen(function->nodes); i++) {
        struct node *node = function->nodes[i];
        if (node->op == OP_output)
            next = node->operands[0]->replacement;
        else
            node->replacement = copy_node(rule, node);
    }
    graph_number(function);
    if (!next)
        castor_bug("the scale's rule has no output");
    return next;
}

/* ---- the log ---- */

/* "scale", or "scale/LOSS" where each loss has its own. */
static const char *scale_label(const struct scaler *scaler, int rule)
{
    const struct module *module = scaler->graph->module;
    for (int i = 1; scaler->scale_count > 1 && i < scaler->line_count; i++)
        if (module->minimizes[i - 1].rule == rule)
            return arena_internf(module->arena, "scale/%s", module->minimizes[i - 1].loss);
    return "scale";
}

static void log_scale(const struct rule *rule, struct node *next)
{
    struct builder builder = scaler_builder(rule->scaler->graph, NULL);
    if (rule->acts)
        next = build_where(&builder, rule->acts, next, scaler_scale(rule->scaler, rule->number)->scale);
    struct shape scalar = {0};
    build_output(&builder, scale_label(rule->scaler, rule->number), build_reshape(&builder, next, &scalar), OUTPUT_LOG);
}

/* 1 where the line's step was skipped, 0 where it was taken, -1 where the line did not act. */
static void log_skipped(const struct scaler *scaler, int number)
{
    const struct scaled_line *line = &scaler->lines[number];
    struct builder builder = scaler_builder(scaler->graph, NULL);
    struct node *found = line->found_inf ? line->found_inf : build_constant(&builder, 0, ELEMENT_BOOL);
    struct node *skipped = build_cast(&builder, found, ELEMENT_F32);
    if (line->acts)
        skipped = build_where(&builder, line->acts, skipped, build_constant(&builder, -1, ELEMENT_F32));
    build_output(&builder, module_line_label(scaler->graph->module, number, "skipped"), skipped, OUTPUT_LOG);
}

void scale_rules_inline(struct scaler *scaler)
{
    for (int i = 0; i < scaler->scale_count; i++) {
        struct rule rule = {.scaler = scaler, .number = i};
        look_at_lines(&rule);
        log_scale(&rule, inline_rule(&rule));
    }
    for (int i = 1; i < scaler->line_count; i++)
        log_skipped(scaler, i);
}
