/* Statements. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

/* The model itself, where losses, metrics and outputs are declared. */
static bool is_model(const struct frame *frame)
{
    return frame->owns && !frame->definition;
}

/* ---- binding ---- */

static bool is_fed(const struct elaborator *e, const char *path)
{
    for (int i = 0; e->request && i < e->request->feed_count; i++)
        if (strcmp(e->request->feed[i], path) == 0)
            return true;
    return false;
}

/* Whether a feed of this name is an input, a param or a state: then a value that takes over its name, `x = x / 255`, is
 * made of what is fed, not replaced by it. */
static bool is_fed_before(const struct elaborator *e, const char *path)
{
    return is_model_input(e, path) || module_find_variable(e->module, path);
}

static struct value fed_value(struct elaborator *e, const char *path, const struct value *value)
{
    struct node *node = build(&e->builder, OP_input, NULL, 0, &(struct attributes){.symbol = path}, &value->node->type);
    return value_tensor_axes(e, node, value->axes);
}

/* The user's name for a value goes before the one that the prelude gave it; `mark` tells the two apart. */
static void name_node(struct node *node, const char *path, bool prelude)
{
    if (node->name && (prelude || !node->mark))
        return;
    node->name = path;
    node->mark = prelude;
}

void bind(struct elaborator *e, const char *name, struct value value, struct variable *variable)
{
    if (value.kind == VALUE_TENSOR && e->builder.graph && e->builder.graph != e->init) {
        const char *path = arena_internf(e->arena, "%s%s%s%s", e->frame->value_path, *e->frame->value_path ? "." : "",
                                         e->frame->prefix, name);
        if (!variable && value.node->op != OP_input && is_fed(e, path) && !is_fed_before(e, path) && !e->rolled)
            value = fed_value(e, path, &value);
        if (!e->rolled)
            hmput(e->named, path, value);
        name_node(value.node, path, e->frame->prelude);
    }
    hmputs(e->frame->bindings, ((struct binding){name, value, variable}));
}

/* A loss is logged as it was declared: minimised by its name it may not have become something else. */
static void refuse_declared_loss(struct elaborator *e, const struct ast_name *name)
{
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++) {
        const struct declared_output *output = &e->outputs[i];
        if (output->what != AST_DECLARE_LOSS || strcmp(output->name, name->name) != 0)
            continue;
        report(e, E0302, name->span, NULL, "the loss `%s` is declared already", name->name);
        diagnostics_note(e->diagnostics, output->span, "here; another name for this value would keep the two apart");
    }
}

static void bind_statement(struct elaborator *e, const struct ast_statement *statement)
{
    const struct ast_names *names = &statement->bind.names;
    struct value value = evaluate_expression(e, statement->bind.value);
    bool several = value.kind == VALUE_TUPLE;
    if (value.kind != VALUE_ERROR && (several ? value.count : 1) != names->count) {
        report(e, E0413, statement->span, NULL, "%d name%s for %d value%s", names->count, names->count == 1 ? "" : "s",
               several ? value.count : 1, several ? "s" : "");
        value = (struct value){0};
        several = false;
    }
    for (int i = 0; i < names->count && is_model(e->frame); i++) {
        refuse_declared_loss(e, &names->items[i]);
        if (strcmp(names->items[i].name, "loss") == 0)
            e->loss_span = names->items[i].span;
    }
    for (int i = 0; i < names->count; i++)
        bind(e, names->items[i].name, several ? value.items[i] : value, NULL);
}

/* ---- declarations of the model ---- */

static void declare_output(struct elaborator *e, const struct ast_statement *statement)
{
    enum ast_declaration what = statement->declare.what;
    const struct ast_name *name = &statement->declare.name;
    struct value value = evaluate_expression(e, statement->declare.value);
    if (!is_model(e->frame)) {
        report(e, E0408, statement->span, NULL, "`%s` stands in the model", ast_declaration_text(what));
        return;
    }
    if (what != AST_DECLARE_LOSS && strcmp(name->name, "loss") == 0) {
        report(e, E0302, name->span, NULL, "`loss` is what is minimised: the %s needs another name",
               ast_declaration_text(what));
        return;
    }
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++)
        if (strcmp(e->outputs[i].name, name->name) == 0) {
            report(e, E0302, name->span, NULL, "`%s` is declared already", name->name);
            diagnostics_note(e->diagnostics, e->outputs[i].span, "here");
            return;
        }
    bool ratio = value.kind == VALUE_RATIO;
    if (value.kind == VALUE_TUPLE || value.kind == VALUE_LIST || (ratio && what != AST_DECLARE_METRIC)) {
        report(e, E0413, statement->span, NULL, "`%s %s` needs one tensor, not %s", ast_declaration_text(what),
               name->name, value_describe(e, &value));
        value = (struct value){0};
    }
    struct declared_output output = {name->name, what, value, name->span};
    arrput(e->outputs, output);
    if (!statement->declare.abbreviated)
        bind(e, name->name, value, NULL);
}

static void declare(struct elaborator *e, const struct ast_statement *statement)
{
    if (statement->declare.what == AST_DECLARE_STATE)
        declare_state(e, statement);
    else if (statement->declare.what == AST_DECLARE_COLLECT)
        collect(e, statement);
    else
        declare_output(e, statement);
}

/* ---- control ---- */

static void branch(struct elaborator *e, const struct ast_statement *statement)
{
    struct value condition = evaluate_expression(e, statement->branch.condition);
    bool truth;
    if (!want_bool(e, &condition, statement->branch.condition->span, "the condition of an `if` statement", &truth)) {
        e->frame->returned = true;
        return;
    }
    if (truth)
        execute(e, statement->branch.body);
    else if (statement->branch.otherwise)
        execute(e, statement->branch.otherwise);
}

static void pin(struct elaborator *e, const struct ast_statement *statement)
{
    struct value type = evaluate_expression(e, statement->pin.precision);
    if (type.kind == VALUE_ERROR)
        return;
    if (type.kind != VALUE_TYPE || !element_is_float((enum element)type.number) || type.number == ELEMENT_F64) {
        report(e, E0402, statement->pin.precision->span, NULL, "a precision block needs f16, bf16 or f32");
        return;
    }
    enum element outer = e->builder.pin;
    e->builder.pin = (enum element)type.number;
    execute(e, statement->pin.body);
    e->builder.pin = outer;
}

static void give_back(struct elaborator *e, const struct ast_statement *statement)
{
    const struct ast_expressions *returned = &statement->returned;
    if (is_model(e->frame)) {
        report(e, E0408, statement->span, NULL, "the model returns nothing; declare an output: `output NAME = e`");
        return;
    }
    struct value *items = ARENA_ARRAY(e->arena, struct value, returned->count);
    for (int i = 0; i < returned->count; i++)
        items[i] = evaluate_expression(e, returned->items[i]);
    e->frame->returned = true;
    e->frame->result = items[0];
    if (returned->count == 1)
        return;
    e->frame->result = value_list(e, items, returned->count);
    e->frame->result.kind = VALUE_TUPLE;
    for (int i = 0; i < returned->count; i++)
        if (items[i].kind == VALUE_ERROR)
            e->frame->result = items[i];
}

static bool too_large(struct elaborator *e, const struct ast_statement *statement)
{
    if (!e->builder.graph || arrlen(e->builder.graph->nodes) <= NODES_MAX)
        return false;
    report(e, E0406, statement->span, NULL, "the graph has more than %d nodes", NODES_MAX);
    e->frame->returned = true;
    return true;
}

static void execute_statement(struct elaborator *e, const struct ast_statement *statement)
{
    switch (statement->kind) {
    case AST_BIND:
        bind_statement(e, statement);
        break;
    case AST_UPDATE:
        update_variable(e, statement);
        break;
    case AST_PARAM:
        declare_param(e, statement);
        break;
    case AST_DECLARE:
        declare(e, statement);
        break;
    case AST_PIN:
        pin(e, statement);
        break;
    case AST_IF:
        branch(e, statement);
        break;
    case AST_REPEAT:
        execute_repeat(e, statement);
        break;
    case AST_RETURN:
        give_back(e, statement);
        break;
    case AST_SETTING:
        report(e, E0408, statement->span, NULL, "`%s` is an entry of the train block", statement->setting.word.name);
        break;
    default:
        report(e, E0408, statement->span, NULL, "this stands in the train block");
        break;
    }
}

void execute(struct elaborator *e, const struct ast_block *block)
{
    if (e->depth >= DEPTH_MAX) {
        report(e, E0407, block->span, NULL, "blocks are nested too deeply");
        return;
    }
    e->depth++;
    for (int i = 0; i < block->count && !e->frame->returned; i++) {
        const struct ast_statement *statement = block->items[i];
        struct span user = e->builder.span, here = e->here;
        e->here = statement->span;
        if (!e->frame->prelude)
            e->builder.span = statement->span;
        if (!too_large(e, statement))
            execute_statement(e, statement);
        e->builder.span = user;
        e->here = here;
    }
    e->depth--;
}
