/* Functions of the language in a data line: `idx("f") |> random_flip |> jitter(amount = 0.1)`. The loader knows nothing
 * of them: each is called at the beginning of the network, with the model's inputs that its parameters are named after,
 * and what it returns takes their places. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

/* One call on its way. */
struct stage_call {
    const struct ast_expression *ast;
    const struct ast_parameter **fields; /* parameters that are fields */
    int field_count;
};

static bool is_given(const struct ast_call *call, const char *name)
{
    for (int i = 1; i < call->arguments.count; i++)
        if (call->arguments.items[i].name && strcmp(call->arguments.items[i].name, name) == 0)
            return true;
    return false;
}

static bool is_input(const struct elaborator *e, const char *name)
{
    const struct ast_parameters *inputs = &e->unit->model->parameters;
    for (int i = 0; i < inputs->count; i++)
        if (strcmp(inputs->items[i].name, name) == 0)
            return true;
    return false;
}

static bool are_named(struct elaborator *e, const struct ast_call *call)
{
    for (int i = 1; i < call->arguments.count; i++)
        if (!call->arguments.items[i].name) {
            report(e, E0307, call->arguments.items[i].span, NULL,
                   "name this argument of `%s`: parameters without a name are fields", call->callee);
            return false;
        }
    return true;
}

/* False after a diagnostic. */
static bool find_fields(struct elaborator *e, const struct definition *definition, struct stage_call *stage)
{
    const struct ast_parameters *parameters = &definition->ast->parameters;
    stage->fields = ARENA_ARRAY(e->arena, const struct ast_parameter *, parameters->count);
    for (int i = 0; i < parameters->count; i++) {
        const struct ast_parameter *parameter = &parameters->items[i];
        if (is_given(&stage->ast->call, parameter->name))
            continue;
        if (is_input(e, parameter->name)) {
            stage->fields[stage->field_count++] = parameter;
        } else if (!parameter->value) {
            report(e, E0306, stage->ast->call.callee_span, NULL, "`%s` needs `%s`, which is no input of the model",
                   definition->name, parameter->name);
            diagnostics_note(e->diagnostics, (struct span){0},
                             "parameters of a function in a data line are fields, by the names of the model's inputs");
            return false;
        }
    }
    if (stage->field_count)
        return true;
    report(e, E0306, stage->ast->call.callee_span, NULL, "`%s` takes none of the model's inputs", definition->name);
    return false;
}

/* Arguments that are written stand behind the fields, all by name. */
static void make_call(struct elaborator *e, const struct stage_call *stage, struct ast_expression *expression)
{
    const struct ast_call *written = &stage->ast->call;
    int count = stage->field_count + written->arguments.count - 1;
    struct ast_argument *arguments = ARENA_ARRAY(e->arena, struct ast_argument, count + 1);
    struct ast_expression *names = ARENA_ARRAY(e->arena, struct ast_expression, stage->field_count);
    for (int i = 0; i < stage->field_count; i++) {
        names[i] = (struct ast_expression){.kind = AST_NAME, .span = written->callee_span, .depth = 1};
        names[i].name = stage->fields[i]->name;
        arguments[i] = (struct ast_argument){stage->fields[i]->name, written->callee_span, &names[i]};
    }
    for (int i = 1; i < written->arguments.count; i++)
        arguments[stage->field_count + i - 1] = written->arguments.items[i];
    *expression = *stage->ast;
    expression->call.arguments = (struct ast_arguments){.items = arguments, .count = count};
    expression->call.piped = false;
}

/* The result has to be what the model was promised. */
static bool bind_field(struct elaborator *e, const struct stage_call *stage, const char *name,
                       const struct value *result)
{
    ptrdiff_t at = FIND(e->frame->bindings, name);
    struct value *field = at < 0 ? NULL : &e->frame->bindings[at].value;
    if (!field || field->kind != VALUE_TENSOR || !want_tensor(e, result, stage->ast->span, "a field"))
        return false;
    const struct type *had = &field->node->type, *got = &result->node->type;
    if (had->element != got->element || !shape_equal(&had->shape, &got->shape) || field->classes != result->classes) {
        report(e, E0204, stage->ast->call.callee_span, NULL, "`%s` makes %s%s of `%s`, which the model takes as %s%s",
               stage->ast->call.callee, element_name(got->element), shape_text(e, &got->shape), name,
               element_name(had->element), shape_text(e, &had->shape));
        return false;
    }
    field->node = result->node; /* not by bind: what is fed by this name is what the loader gives */
    return true;
}

static void apply(struct elaborator *e, const struct ast_expression *ast)
{
    const struct definition *definition = unit_find(e->unit, ast->call.callee, false);
    struct stage_call stage = {.ast = ast};
    struct ast_expression call;
    e->builder.span = ast->span;
    if (!are_named(e, &ast->call) || !find_fields(e, definition, &stage))
        return;
    make_call(e, &stage, &call);
    struct value result = evaluate_expression(e, &call);
    bool several = result.kind == VALUE_TUPLE;
    if (result.kind == VALUE_ERROR)
        return;
    if ((several ? result.count : 1) != stage.field_count) {
        report(e, E0413, ast->span, NULL, "`%s` takes %d field%s and returns %d value%s", ast->call.callee,
               stage.field_count, stage.field_count == 1 ? "" : "s", several ? result.count : 1,
               several && result.count != 1 ? "s" : "");
        return;
    }
    for (int i = 0; i < stage.field_count; i++)
        if (!bind_field(e, &stage, stage.fields[i]->name, several ? &result.items[i] : &result))
            return;
}

void elaborate_data(struct elaborator *e)
{
    const struct data_setting *data = e->unit->settings ? e->unit->settings->data : NULL;
    for (int i = 0; data && i < data->count; i++)
        for (int k = 0; k < data->lines[i].function_count; k++)
            apply(e, data->lines[i].functions[k]);
}
