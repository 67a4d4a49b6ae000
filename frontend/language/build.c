/* Building the tree: what the grammar's actions call. Depth is checked here, where each node is made. */
#include "frontend/language/parser.h"

#include <string.h>

struct span net_span(const struct net_parser *parser, struct net_location location)
{
    struct span span = {parser->file, location.line, location.column, location.end_column};
    if (location.end_line > location.line) {
        const char *line = parser->lines[location.line - 1];
        size_t length = strcspn(line, "\r\n");
        while (length && (line[length - 1] == ' ' || line[length - 1] == '\t'))
            length--;
        span.end_column = (int)length + 1;
    }
    return span;
}

/* ---- expressions ---- */

static int deeper(int depth, const struct ast_expression *child)
{
    return child && child->depth >= depth ? child->depth + 1 : depth;
}

static struct ast_expression *expression_new(struct net_parser *parser, struct net_location location,
                                             enum ast_expression_kind kind, int depth)
{
    if (depth > AST_DEPTH_MAX) {
        net_report_depth(parser, location);
        depth = 1;
    }
    struct ast_expression *expression = ARENA_NEW(parser->arena, struct ast_expression);
    expression->kind = kind;
    expression->span = net_span(parser, location);
    expression->depth = depth;
    expression->line = location.line;
    expression->end_line = location.end_line;
    return expression;
}

struct ast_expression *net_number(struct net_parser *parser, struct net_location location, struct net_number number)
{
    struct ast_expression *expression = expression_new(parser, location, AST_NUMBER, 1);
    expression->number.value = number.value;
    expression->number.integer = number.integer;
    expression->number.text = number.text;
    return expression;
}

struct ast_expression *net_string(struct net_parser *parser, struct net_location location, const char *string)
{
    struct ast_expression *expression = expression_new(parser, location, AST_STRING, 1);
    expression->string = string;
    return expression;
}

struct ast_expression *net_boolean(struct net_parser *parser, struct net_location location, bool value)
{
    struct ast_expression *expression = expression_new(parser, location, AST_BOOLEAN, 1);
    expression->boolean = value;
    return expression;
}

struct ast_expression *net_name(struct net_parser *parser, struct net_location location, const char *name)
{
    struct ast_expression *expression = expression_new(parser, location, AST_NAME, 1);
    expression->name = name;
    return expression;
}

struct ast_expression *net_rest(struct net_parser *parser, struct net_location location)
{
    return expression_new(parser, location, AST_REST, 1);
}

static int depth_of_items(const struct ast_expressions *items)
{
    int depth = 1;
    for (int i = 0; i < items->count; i++)
        depth = deeper(depth, items->items[i]);
    return depth;
}

struct ast_expression *net_list(struct net_parser *parser, struct net_location location, struct ast_expressions *items)
{
    struct ast_expression *expression = expression_new(parser, location, AST_LIST, depth_of_items(items));
    expression->list = *items;
    return expression;
}

struct ast_expression *net_call(struct net_parser *parser, struct net_location location, struct ast_name callee,
                                struct ast_arguments *arguments)
{
    int depth = 1;
    for (int i = 0; i < arguments->count; i++)
        depth = deeper(depth, arguments->items[i].value);
    struct ast_expression *expression = expression_new(parser, location, AST_CALL, depth);
    expression->call.callee = callee.name;
    expression->call.callee_span = callee.span;
    expression->call.arguments = *arguments;
    expression->call.listed = true;
    return expression;
}

/* A name that stands as a pipe's stage is a call without an argument list. */
static void make_call(struct ast_expression *stage)
{
    if (stage->kind == AST_CALL)
        return;
    const char *callee = stage->name;
    stage->kind = AST_CALL;
    memset(&stage->call, 0, sizeof stage->call);
    stage->call.callee = callee;
    stage->call.callee_span = stage->span;
}

struct ast_expression *net_label(struct net_parser *parser, struct net_location location, struct ast_expression *call,
                                 struct ast_name label)
{
    make_call(call);
    call->call.label = label.name;
    call->call.label_span = label.span;
    call->span = net_span(parser, location);
    call->end_line = location.end_line;
    return call;
}

struct ast_expression *net_pipe(struct net_parser *parser, struct net_location location, struct ast_expression *value,
                                struct net_location operator, struct ast_expression * stage)
{
    make_call(stage);
    struct ast_arguments written = stage->call.arguments, all = {0};
    AST_APPEND(parser->arena, &all, ((struct ast_argument){NULL, value->span, value}));
    for (int i = 0; i < written.count; i++)
        AST_APPEND(parser->arena, &all, written.items[i]);
    int depth = deeper(stage->depth, value);
    if (depth > AST_DEPTH_MAX) {
        net_report_depth(parser, operator);
        depth = 1;
    }
    stage->depth = depth;
    stage->call.arguments = all;
    stage->call.piped = true;
    stage->break_operator = operator.line> value->end_line;
    stage->span = net_span(parser, location);
    stage->line = location.line;
    stage->end_line = location.end_line;
    return stage;
}

struct ast_expression *net_index(struct net_parser *parser, struct net_location location, struct ast_expression *base,
                                 struct ast_expressions *items)
{
    struct ast_expression *expression =
        expression_new(parser, location, AST_INDEX, deeper(depth_of_items(items), base));
    expression->index.base = base;
    expression->index.items = *items;
    return expression;
}

struct ast_expression *net_slice(struct net_parser *parser, struct net_location location, struct ast_expression *low,
                                 struct ast_expression *high, struct ast_expression *step)
{
    struct ast_expression *expression =
        expression_new(parser, location, AST_SLICE, deeper(deeper(deeper(1, low), high), step));
    expression->slice.low = low;
    expression->slice.high = high;
    expression->slice.step = step;
    return expression;
}

struct ast_expression *net_transpose(struct net_parser *parser, struct net_location location,
                                     struct ast_expression *operand)
{
    struct ast_expression *expression = expression_new(parser, location, AST_TRANSPOSE, deeper(1, operand));
    expression->transpose = operand;
    return expression;
}

struct ast_expression *net_unary(struct net_parser *parser, struct net_location location, enum ast_operator operator,
                                 struct ast_expression * operand)
{
    struct ast_expression *expression = expression_new(parser, location, AST_UNARY, deeper(1, operand));
    expression->unary.operator= operator;
    expression->unary.operand = operand;
    return expression;
}

struct ast_expression *net_binary(struct net_parser *parser, struct net_location location, enum ast_operator operator,
                                  struct net_location place, struct ast_expression *left, struct ast_expression *right)
{
    struct ast_expression *expression = expression_new(parser, location, AST_BINARY, deeper(deeper(1, left), right));
    expression->binary.operator= operator;
    expression->binary.operator_span = net_span(parser, place);
    expression->binary.left = left;
    expression->binary.right = right;
    expression->break_operator = right->line > left->end_line;
    return expression;
}

struct ast_expression *net_conditional(struct net_parser *parser, struct net_location location,
                                       struct ast_expression *condition, struct ast_expression *then,
                                       struct ast_expression *otherwise)
{
    struct ast_expression *expression =
        expression_new(parser, location, AST_CONDITIONAL, deeper(deeper(deeper(1, condition), then), otherwise));
    expression->conditional.condition = condition;
    expression->conditional.then = then;
    expression->conditional.otherwise = otherwise;
    return expression;
}

struct ast_expression *net_parenthesised(struct net_parser *parser, struct net_location location,
                                         struct ast_expression *inner)
{
    inner->parenthesised = true;
    inner->span = net_span(parser, location);
    inner->line = location.line;
    inner->end_line = location.end_line;
    return inner;
}

/* ---- lists ---- */

struct ast_expressions *net_append(struct net_parser *parser, struct ast_expressions *list, struct net_location after,
                                   struct ast_expression *item)
{
    if (!list)
        list = ARENA_NEW(parser->arena, struct ast_expressions);
    item->break_before = item->line > after.end_line;
    AST_APPEND(parser->arena, list, item);
    return list;
}

struct ast_arguments *net_append_argument(struct net_parser *parser, struct ast_arguments *list,
                                          struct net_location after, struct ast_argument argument)
{
    if (!list)
        list = ARENA_NEW(parser->arena, struct ast_arguments);
    argument.value->break_before = argument.value->line > after.end_line;
    AST_APPEND(parser->arena, list, argument);
    return list;
}

struct ast_parameters *net_append_parameter(struct net_parser *parser, struct ast_parameters *list,
                                            struct net_location after, struct ast_parameter parameter)
{
    if (!list)
        list = ARENA_NEW(parser->arena, struct ast_parameters);
    parameter.break_before = parameter.span.line > after.end_line;
    AST_APPEND(parser->arena, list, parameter);
    return list;
}

struct ast_type *net_type(struct net_parser *parser, struct net_location location, const char *element,
                          struct ast_expression *classes, struct ast_expressions *dimensions)
{
    struct ast_type *type = ARENA_NEW(parser->arena, struct ast_type);
    *type = (struct ast_type){net_span(parser, location), element, classes, *dimensions};
    return type;
}
