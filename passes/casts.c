/* Pass casts: half copies of parameters, and the last casts.
 *
 * A cast of a parameter in front of a contraction becomes a variable of its own, NAME.f16: the optimizer's kernel
 * writes it beside the parameter, and no weight is cast in the forward pass. Graph init writes it too, and graph
 * refresh, which runs after weights were loaded, makes all copies anew.
 * Outputs are f32, and what is written to a variable has the variable's type. */
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <string.h>

static const char reason_copy[] = "half copy of a parameter";

struct copy_entry {
    const char *key;           /* the parameter's name */
    struct variable *value[2]; /* its copies in f16 and bf16; NULL: none */
};

/* ---- which casts can be copies ---- */

/* The parameter that the node reads through movement of one operand; NULL for anything else. */
static struct variable *moved_parameter(const struct module *module, const struct node *node)
{
    while (op_is(node->op, CLASS_MOVEMENT) && node->operand_count == 1)
        node = node->operands[0];
    struct variable *variable = node->op == OP_read ? module_find_variable(module, node->attributes->symbol) : NULL;
    return variable && variable->kind == VARIABLE_PARAMETER ? variable : NULL;
}

static struct variable *copy_of(struct module *module, const struct variable *parameter, enum element element,
                                struct copy_entry **added)
{
    const char *name = arena_internf(module->arena, "%s.%s", parameter->name, element_name(element));
    struct variable *copy = module_find_variable(module, name);
    if (copy)
        return copy->kind == VARIABLE_COPY ? copy : NULL;
    struct type type = type_make(element, parameter->type.shape);
    copy = module_add_variable(module, name, type, VARIABLE_COPY, parameter->span);
    copy->source = parameter->name;
    copy->module = parameter->module;
    struct copy_entry entry = {.key = parameter->name};
    ptrdiff_t at = shgeti(*added, parameter->name);
    if (at < 0) { /* shputs may spoil the key of an entry that is there */
        shputs(*added, entry);
        at = shgeti(*added, parameter->name);
    }
    (*added)[at].value[element == ELEMENT_BF16] = copy;
    return copy;
}

/* The same movement over a read of the copy. */
static struct node *read_copy(struct builder *builder, const struct node *node, const struct variable *copy)
{
    if (node->op == OP_read)
        return build_read(builder, copy);
    struct node *operand = read_copy(builder, node->operands[0], copy);
    struct type type = node->type;
    type.element = copy->type.element;
    return build(builder, node->op, &operand, 1, node->attributes, &type);
}

static struct node *replace_by_copy(struct graph *graph, const struct node *cast, struct copy_entry **added,
                                    struct pass_context *context)
{
    struct module *module = graph->module;
    const struct variable *parameter = moved_parameter(module, cast->operands[0]);
    if (!parameter || !element_is_half(cast->type.element) || element_is_half(parameter->type.element) ||
        !pass_may_rewrite(context))
        return NULL;
    const struct variable *copy = copy_of(module, parameter, cast->type.element, added);
    struct builder builder = builder_at(graph, cast);
    builder.reason = reason_copy;
    return copy ? read_copy(&builder, cast->operands[0], copy) : NULL;
}

/* ---- keeping the copies equal to their parameters ---- */

static void write_copy(struct graph *graph, const struct node *at, struct node *value, const struct variable *copy)
{
    struct builder builder = {.graph = graph, .region = REGION_UPDATE, .reason = reason_copy};
    if (at) {
        builder.span = at->span;
        builder.scope = at->scope;
    }
    build_write(&builder, copy, build_cast(&builder, value, copy->type.element), GATE_NEVER);
}

/* Adds writes of the new copies to a graph that writes their parameters. */
static void follow_writes(struct graph *graph, struct copy_entry *added)
{
    ptrdiff_t count = arrlen(graph->nodes);
    for (ptrdiff_t i = 0; i < count; i++) {
        const struct node *node = graph->nodes[i];
        ptrdiff_t at = node->op == OP_write ? shgeti(added, node->attributes->symbol) : -1;
        for (int half = 0; at >= 0 && half < 2; half++)
            if (added[at].value[half])
                write_copy(graph, node, node->operands[0], added[at].value[half]);
    }
}

static void refresh_copies(struct module *module, const struct copy_entry *added)
{
    struct graph *refresh = module_find_graph(module, "refresh");
    if (!refresh)
        refresh = module_add_graph(module, "refresh");
    for (ptrdiff_t i = 0; i < shlen(added); i++) {
        struct builder builder = {.graph = refresh, .region = REGION_UPDATE, .reason = reason_copy};
        struct node *value = build_read(&builder, module_find_variable(module, added[i].key));
        for (int half = 0; half < 2; half++)
            if (added[i].value[half])
                write_copy(refresh, NULL, value, added[i].value[half]);
    }
}

/* ---- outputs and writes ---- */

static enum element wanted_element(const struct graph *graph, const struct node *effect)
{
    enum element element = effect->operands[0]->type.element;
    if (graph->body) /* what a loop carries keeps its type */
        return effect->type.element;
    if (effect->op == OP_output)
        return element_is_half(element) ? ELEMENT_F32 : element;
    return module_find_variable(graph->module, effect->attributes->symbol)->type.element;
}

static void cast_effect(struct graph *graph, struct node *node)
{
    enum element element = wanted_element(graph, node);
    if (node->operands[0]->type.element != element) {
        struct builder builder = builder_at(graph, node);
        builder.pin = ELEMENT_NONE;
        builder.reason = node->op == OP_output ? "outputs are f32" : "the variable's type";
        node->operands[0] = build_cast(&builder, node->operands[0], element);
    }
    node->type.element = element;
}

/* ---- the pass ---- */

static void update_graphs(struct module *module, struct copy_entry *added)
{
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        if (strcmp(module->graphs[i]->name, "refresh") != 0)
            follow_writes(module->graphs[i], added);
    refresh_copies(module, added);
}

/* Requires: precision and loss_scale have run. Ensures: writes and outputs have their types; casts of parameters to
 * half are reads of copies, which every graph that writes the parameter writes too. Preserves all values. */
void pass_casts(struct graph *graph, struct pass_context *context)
{
    struct copy_entry *added = NULL;
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (node->op == OP_write || node->op == OP_output)
            cast_effect(graph, node);
        if (node->op == OP_cast && node->region != REGION_UPDATE)
            node->replacement = replace_by_copy(graph, node, &added, context);
        if (!node->replacement)
            graph_append(graph, node);
    }
    arrfree(nodes);
    if (shlen(added))
        update_graphs(graph->module, added);
    shfree(added);
    graph_number(graph);
}
