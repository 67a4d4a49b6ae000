/* Rules that the train block names: finding an optimizer or a scale rule, the arguments of its call, and the function
 * graph of the scale's rule. */
#include "frontend/language/elaborate_internal.h"

#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <string.h>

static void report_unknown_rule(struct elaborator *e, enum ast_definition_kind kind, const char *word, const char *name,
                                struct span span)
{
    const char **names = NULL;
    for (int own = 0; own < 2; own++) {
        struct definition_entry *table = own ? e->unit->own : e->unit->prelude;
        for (ptrdiff_t i = 0; i < hmlen(table); i++)
            if (table[i].value->ast->kind == kind)
                arrput(names, table[i].key);
    }
    const char *near = suggest(name, names, (size_t)arrlen(names));
    report(e, E0301, span, NULL, "there is no %s `%s`", word, name);
    if (near)
        diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    arrfree(names);
}

const struct definition *find_rule(struct elaborator *e, const struct ast_expression *expression,
                                   enum ast_definition_kind kind, const char *word)
{
    bool call = expression->kind == AST_CALL;
    if (!call && expression->kind != AST_NAME) {
        report(e, E0503, expression->span, NULL, "this is no %s", word);
        return NULL;
    }
    const char *name = call ? expression->call.callee : expression->name;
    const struct definition *definition = unit_find(e->unit, name, false);
    if (definition && definition->ast->kind == kind)
        return definition;
    report_unknown_rule(e, kind, word, name, call ? expression->call.callee_span : expression->span);
    return NULL;
}

bool rule_arguments(struct elaborator *e, const struct definition *definition, const struct ast_expression *expression,
                    int first, struct argument_value **arguments, int *count)
{
    const struct ast_parameters *parameters = &definition->ast->parameters;
    *count = expression->kind == AST_CALL ? expression->call.arguments.count : 0;
    *arguments = ARENA_ARRAY(e->arena, struct argument_value, *count + 1);
    bool good = true;
    for (int i = 0; i < *count; i++) {
        const struct ast_argument *argument = &expression->call.arguments.items[i];
        const char *name = argument->name;
        if (!name && first + i < parameters->count)
            name = parameters->items[first + i].name;
        (*arguments)[i] = (struct argument_value){name, argument->span, evaluate_expression(e, argument->value)};
        good &= (*arguments)[i].value.kind != VALUE_ERROR;
    }
    return good;
}

/* ---- the scale's rule ---- */

static void rule_result(struct elaborator *e, const struct definition *definition, const struct value *result)
{
    struct span span = e->request->scale->span;
    struct node *node = NULL;
    if (result->kind == VALUE_NUMBER || result->kind == VALUE_TENSOR)
        node = tensor_node(e, result, ELEMENT_F32);
    if (!node || node->type.shape.rank || node->type.element != ELEMENT_F32) {
        if (result->kind != VALUE_ERROR)
            report(e, E0503, span, NULL, "a scale rule returns a floating scalar, not %s", value_describe(e, result));
        return;
    }
    if (!module_find_variable(e->module, "train/scale"))
        report(e, E0503, span, NULL, "scale rule `%s` has no state `scale`", definition->name);
    build_output(&e->builder, "scale", node, OUTPUT_VALUE);
    emit_updates(e);
}

/* Calls the rule in a function graph of its own, with tables of its own. */
static void build_rule(struct elaborator *e, const struct definition *definition,
                       const struct argument_value *arguments, int count)
{
    struct elaborator saved = *e;
    e->reads = NULL;
    e->named = NULL;
    e->updates = NULL;
    e->update_index = NULL;
    struct graph *rule = module_add_function(e->module, definition->name);
    e->builder = (struct builder){.graph = rule, .scope = "", .region = REGION_UPDATE, .span = saved.builder.span};
    struct type type = type_scalar(ELEMENT_BOOL);
    struct value found = value_tensor(e, build(&e->builder, OP_argument, NULL, 0, NULL, &type));
    struct frame frame = {.path = "", .value_path = "train", .prefix = "", .state_prefix = "train/"};
    frame.gate = GATE_NEVER;
    frame.scope = scope_enter(e->arena, "", NULL, definition->name);
    struct value result = call_rule(e, definition, &found, 1, NULL, arguments, count, &frame, e->request->scale->span);
    rule_result(e, definition, &result);
    e->module->scaling.rule = rule;
    graph_number(rule);
    hmfree(e->reads);
    hmfree(e->named);
    hmfree(e->update_index);
    arrfree(e->updates);
    e->reads = saved.reads;
    e->named = saved.named;
    e->updates = saved.updates;
    e->update_index = saved.update_index;
    e->builder = saved.builder;
}

void elaborate_scaler(struct elaborator *e)
{
    const struct ast_expression *scale = e->request->scale;
    struct argument_value *arguments;
    int count;
    if (!scale)
        return;
    e->builder.span = scale->span;
    e->module->scaling.span = scale->span;
    e->module->scaling.explicit = e->request->scale_explicit;
    const struct definition *definition = find_rule(e, scale, AST_SCALER, "scale rule");
    if (!definition || !rule_arguments(e, definition, scale, 1, &arguments, &count))
        return;
    if (definition->prelude && strcmp(definition->name, "none") == 0)
        return;
    e->module->scaling.present = true;
    build_rule(e, definition, arguments, count);
}
