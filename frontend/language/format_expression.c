/* Formatting expressions: blanks are ours, line breaks are the user's.
 *
 * A broken pipe goes on below its first `|>`; other operators below the beginning of their expression. Items in
 * brackets stand below the first one, or, when that one is on a line of its own, one step in with the closing bracket
 * on its own line. */
#include "frontend/language/format_internal.h"

#include <string.h>

static void put(struct formatter *formatter, const char *text)
{
    layout_put(&formatter->layout, text);
}

void format_string(struct formatter *formatter, const char *string)
{
    put(formatter, "\"");
    for (; *string; string++) {
        char plain[2] = {*string, 0};
        put(formatter, *string == '"'    ? "\\\""
                       : *string == '\\' ? "\\\\"
                       : *string == '\n' ? "\\n"
                       : *string == '\t' ? "\\t"
                                         : plain);
    }
    put(formatter, "\"");
}

/* ---- items in brackets ---- */

struct items {
    int column;     /* where broken items stand */
    int outer;      /* where the line with the opening bracket begins */
    bool own_lines; /* the first item is on a line of its own */
};

static struct items items_begin(struct formatter *formatter, const char *opener, bool own_lines)
{
    put(formatter, opener);
    int outer = layout_line(&formatter->layout)->column;
    return (struct items){own_lines ? outer + INDENT : layout_column(&formatter->layout), outer, own_lines};
}

static void item_begin(struct formatter *formatter, const struct items *items, int index, bool broken, int source_line)
{
    if (index > 0)
        put(formatter, ",");
    if (broken)
        format_break(formatter, items->column, source_line);
    else if (index > 0)
        put(formatter, " ");
}

static void items_end(struct formatter *formatter, const struct items *items, const char *closer)
{
    if (items->own_lines)
        format_break(formatter, items->outer, 0);
    put(formatter, closer);
}

static void format_items(struct formatter *formatter, const char *opener, const struct ast_expressions *list,
                         const char *closer)
{
    struct items items = items_begin(formatter, opener, list->count && list->items[0]->break_before);
    for (int i = 0; i < list->count; i++) {
        item_begin(formatter, &items, i, list->items[i]->break_before, list->items[i]->line);
        format_expression(formatter, list->items[i]);
    }
    items_end(formatter, &items, closer);
}

void format_values(struct formatter *formatter, const struct ast_expressions *values)
{
    format_items(formatter, "", values, "");
}

static void format_arguments(struct formatter *formatter, const struct ast_call *call)
{
    int first = call->piped;
    const struct ast_argument *arguments = call->arguments.items + first;
    int count = call->arguments.count - first;
    struct items items = items_begin(formatter, "(", count && arguments[0].value->break_before);
    for (int i = 0; i < count; i++) {
        item_begin(formatter, &items, i, arguments[i].value->break_before, arguments[i].value->line);
        if (arguments[i].name) {
            put(formatter, arguments[i].name);
            put(formatter, " = ");
        }
        format_expression(formatter, arguments[i].value);
    }
    items_end(formatter, &items, ")");
}

/* ---- calls and pipes ---- */

static void format_call(struct formatter *formatter, const struct ast_call *call)
{
    put(formatter, call->callee);
    if (call->listed)
        format_arguments(formatter, call);
    if (call->label) {
        put(formatter, " as ");
        put(formatter, call->label);
    }
}

static bool is_pipe(const struct ast_expression *expression)
{
    return expression->kind == AST_CALL && expression->call.piped;
}

/* The stages of a pipe lean to the left in the tree; they are written from the value on. */
static void format_pipe(struct formatter *formatter, const struct ast_expression *last)
{
    const struct ast_expression *stages[AST_DEPTH_MAX + 1];
    int count = 0, column = 0;
    const struct ast_expression *value = last;
    do {
        stages[count++] = value;
        value = value->call.arguments.items[0].value;
    } while (is_pipe(value) && !value->parenthesised && count <= AST_DEPTH_MAX);
    int outer = layout_line(&formatter->layout)->column;
    format_expression(formatter, value);
    for (int i = count; i-- > 0;) {
        if (stages[i]->break_operator)
            format_break(formatter, column ? column : outer + INDENT, stages[i]->call.callee_span.line);
        else
            put(formatter, " ");
        if (!column)
            column = layout_column(&formatter->layout);
        put(formatter, "|> ");
        format_call(formatter, &stages[i]->call);
    }
}

static void format_any_call(struct formatter *formatter, const struct ast_expression *expression)
{
    if (expression->call.piped)
        format_pipe(formatter, expression);
    else
        format_call(formatter, &expression->call);
}

/* ---- the rest ---- */

static void format_unary(struct formatter *formatter, const struct ast_expression *expression)
{
    put(formatter, ast_operator_text(expression->unary.operator));
    if (expression->unary.operator== AST_NOT)
        put(formatter, " ");
    format_expression(formatter, expression->unary.operand);
}

static void format_binary(struct formatter *formatter, const struct ast_expression *expression)
{
    int column = layout_column(&formatter->layout);
    format_expression(formatter, expression->binary.left);
    if (expression->break_operator)
        format_break(formatter, column, expression->binary.right->line);
    else
        put(formatter, " ");
    put(formatter, ast_operator_text(expression->binary.operator));
    put(formatter, " ");
    format_expression(formatter, expression->binary.right);
}

static void format_conditional(struct formatter *formatter, const struct ast_expression *expression)
{
    int column = layout_column(&formatter->layout) + INDENT;
    const struct {
        const char *word;
        bool broken;
        const struct ast_expression *part;
    } parts[] = {{"if", false, expression->conditional.condition},
                 {"then", expression->conditional.break_then, expression->conditional.then},
                 {"else", expression->conditional.break_else, expression->conditional.otherwise}};
    for (int i = 0; i < 3; i++) {
        if (parts[i].broken)
            format_break(formatter, column, parts[i].part->line);
        else if (i)
            put(formatter, " ");
        put(formatter, parts[i].word);
        put(formatter, " ");
        format_expression(formatter, parts[i].part);
    }
}

static void format_slice(struct formatter *formatter, const struct ast_expression *expression)
{
    if (expression->slice.low)
        format_expression(formatter, expression->slice.low);
    put(formatter, ":");
    if (expression->slice.high)
        format_expression(formatter, expression->slice.high);
    if (expression->slice.step) {
        put(formatter, ":");
        format_expression(formatter, expression->slice.step);
    }
}

static void format_bare(struct formatter *formatter, const struct ast_expression *expression)
{
    switch (expression->kind) {
    case AST_NUMBER:
        put(formatter, expression->number.text);
        break;
    case AST_STRING:
        format_string(formatter, expression->string);
        break;
    case AST_BOOLEAN:
        put(formatter, expression->boolean ? "true" : "false");
        break;
    case AST_NAME:
        put(formatter, expression->name);
        break;
    case AST_REST:
        put(formatter, "..");
        break;
    case AST_LIST:
        format_items(formatter, "[", &expression->list, "]");
        break;
    case AST_CALL:
        format_any_call(formatter, expression);
        break;
    case AST_INDEX:
        format_expression(formatter, expression->index.base);
        format_items(formatter, "[", &expression->index.items, "]");
        break;
    case AST_SLICE:
        format_slice(formatter, expression);
        break;
    case AST_TRANSPOSE:
        format_expression(formatter, expression->transpose);
        put(formatter, "'");
        break;
    case AST_UNARY:
        format_unary(formatter, expression);
        break;
    case AST_BINARY:
        format_binary(formatter, expression);
        break;
    case AST_CONDITIONAL:
        format_conditional(formatter, expression);
        break;
    }
}

void format_expression(struct formatter *formatter, const struct ast_expression *expression)
{
    if (expression->parenthesised)
        put(formatter, "(");
    format_bare(formatter, expression);
    if (expression->parenthesised)
        put(formatter, ")");
}

void format_type(struct formatter *formatter, const struct ast_type *type)
{
    if (type->element)
        put(formatter, type->element);
    if (type->classes) {
        put(formatter, "(");
        format_expression(formatter, type->classes);
        put(formatter, ")");
    }
    format_items(formatter, "[", &type->dimensions, "]");
}

void format_parameters(struct formatter *formatter, const struct ast_parameters *parameters)
{
    struct items items = items_begin(formatter, "(", parameters->count && parameters->items[0].break_before);
    for (int i = 0; i < parameters->count; i++) {
        const struct ast_parameter *parameter = &parameters->items[i];
        item_begin(formatter, &items, i, parameter->break_before, parameter->span.line);
        put(formatter, parameter->name);
        if (parameter->type) {
            put(formatter, ": ");
            format_type(formatter, parameter->type);
        }
        if (parameter->value) {
            put(formatter, " = ");
            format_expression(formatter, parameter->value);
        }
    }
    items_end(formatter, &items, ")");
}
