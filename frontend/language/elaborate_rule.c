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
    build_output(&e->builder, "scale", node, OUTPUT_VALUE);
    emit_updates(e);
    if (!module_scale_of(e->module, e->builder.graph))
        report(e, E0503, span, NULL, "scale rule `%s` has no state `scale`", definition->name);
}

/* A rule whose second parameter is called `largest` is told the largest magnitude of the gradients too. */
static int told_by_step(const struct definition *definition)
{
    const struct ast_parameters *parameters = &definition->ast->parameters;
    return parameters->count > 1 && strcmp(parameters->items[1].name, "largest") == 0 ? 2 : 1;
}

static struct value rule_argument(struct elaborator *e, int index, enum element element)
{
    struct type type = type_scalar(element);
    return value_tensor(e, build(&e->builder, OP_argument, NULL, 0, &(struct attributes){.index = index}, &type));
}

/* Calls the rule in a function graph of its own, with tables of its own. `loss` NULL: for all of them. */
static void build_rule(struct elaborator *e, const struct definition *definition, const char *loss,
                       const struct argument_value *arguments, int count)
{
    struct elaborator saved = *e;
    e->reads = NULL;
    e->named = NULL;
    e->updates = NULL;
    e->update_index = NULL;
    const char *name = loss ? arena_internf(e->arena, "%s.%s", definition->name, loss) : definition->name;
    struct graph *rule = module_add_function(e->module, name);
    e->builder = (struct builder){.graph = rule, .scope = "", .region = REGION_UPDATE, .span = saved.builder.span};
    struct value told[] = {rule_argument(e, 0, ELEMENT_BOOL), {0}};
    int known = told_by_step(definition);
    if (known > 1)
        told[1] = rule_argument(e, 1, ELEMENT_F32);
    struct frame frame = {.path = "", .value_path = "train", .prefix = "", .gate = GATE_NEVER};
    frame.owner = arena_internf(e->arena, "train/scale/%s", loss ? loss : "");
    frame.state_prefix = loss ? arena_internf(e->arena, "train/%s.", loss) : "train/";
    frame.scope = scope_enter(e->arena, "", NULL, definition->name);
    struct value result =
        call_rule(e, definition, told, known, NULL, arguments, count, &frame, e->request->scale->span);
    rule_result(e, definition, &result);
    arrput(e->module->scaling.rules, rule);
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

static void build_rules(struct elaborator *e, const struct definition *definition,
                        const struct argument_value *arguments, int count)
{
    bool each = e->unit->settings && e->unit->settings->scale_per_loss;
    reserve_paths(e);
    int errors = diagnostics_errors(e->diagnostics);
    for (ptrdiff_t i = 0; i < arrlen(e->module->minimizes) && diagnostics_errors(e->diagnostics) == errors; i++)
        if (e->module->minimizes[i].rule == arrlen(e->module->scaling.rules))
            build_rule(e, definition, each ? e->module->minimizes[i].loss : NULL, arguments, count);
}

/* The rule's graph is one of its own: it has nothing of the step. */
static bool known_before(struct elaborator *e, const struct argument_value *arguments, int count)
{
    for (int i = 0; i < count; i++)
        if (value_is_computed(&arguments[i].value)) {
            report(e, E0401, arguments[i].span, NULL,
                   "what a scale rule is told must be known at compile time, but this is %s",
                   value_describe(e, &arguments[i].value));
            return false;
        }
    return true;
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
    if (!definition || !rule_arguments(e, definition, scale, told_by_step(definition), &arguments, &count) ||
        !known_before(e, arguments, count))
        return;
    if (definition->prelude && strcmp(definition->name, "none") == 0)
        return;
    e->module->scaling.present = true;
    build_rules(e, definition, arguments, count);
}
