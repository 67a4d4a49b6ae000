/* Building the tree: statements, blocks and definitions; what a statement's first word allows is looked up here. */
#include "frontend/language/parser.h"

#include <string.h>

struct ast_statement *net_statement(struct net_parser *parser, struct net_location location,
                                    enum ast_statement_kind kind)
{
    struct ast_statement *statement = ARENA_NEW(parser->arena, struct ast_statement);
    statement->kind = kind;
    statement->span = net_span(parser, location);
    statement->line = location.line;
    statement->end_line = location.end_line;
    return statement;
}

/* ---- declarations and settings ---- */

static const char *const declared[] = {
#define DECLARATION(identifier, word) word,
    AST_DECLARATIONS(DECLARATION)
#undef DECLARATION
        "param",
};
enum { DECLARATIONS = sizeof declared / sizeof *declared - 1 };

/* The declaration that a word begins, or -1. */
static int declaration_find(const char *word)
{
    for (int i = 0; i < DECLARATIONS; i++)
        if (strcmp(declared[i], word) == 0)
            return i;
    return -1;
}

static struct ast_statement *bad_param(struct net_parser *parser, struct span span)
{
    diagnostics_error(parser->diagnostics, E0106, span, NULL, "a param needs a shape and an initialiser");
    diagnostics_note(parser->diagnostics, (struct span){0}, "written `param weight: [n, k] ~ normal(0, 0.02)`");
    return NULL;
}

static struct ast_statement *unknown_declaration(struct net_parser *parser, struct ast_name word)
{
    diagnostics_error(parser->diagnostics, E0106, word.span, NULL, "`%s` declares nothing", word.name);
    const char *near = suggest(word.name, declared, DECLARATIONS + 1);
    if (near)
        diagnostics_note(parser->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    else
        diagnostics_note(parser->diagnostics, (struct span){0},
                         "a binding is `name = value`; param, state, loss, metric, watch, output and collect declare");
    return NULL;
}

struct ast_statement *net_declaration(struct net_parser *parser, struct net_location location, struct ast_name word,
                                      struct ast_name name, struct ast_expression *value)
{
    if (strcmp(word.name, "param") == 0)
        return bad_param(parser, net_span(parser, location));
    int what = declaration_find(word.name);
    if (what < 0)
        return unknown_declaration(parser, word);
    struct ast_statement *statement = net_statement(parser, location, AST_DECLARE);
    statement->declare.what = (enum ast_declaration)what;
    statement->declare.name = name;
    statement->declare.value = value;
    return statement;
}

struct ast_statement *net_parameter(struct net_parser *parser, struct net_location location, struct ast_name word,
                                    struct ast_name name, struct ast_type *type, struct ast_expression *initialiser)
{
    if (strcmp(word.name, "param") != 0) {
        if (declaration_find(word.name) < 0)
            return unknown_declaration(parser, word);
        diagnostics_error(parser->diagnostics, E0106, word.span, NULL,
                          "only a param is declared with a shape and `~`, not a %s", word.name);
        diagnostics_note(parser->diagnostics, (struct span){0},
                         "it has the shape of its first value: `%s s = zeros([8])`", word.name);
        return NULL;
    }
    struct ast_statement *statement = net_statement(parser, location, AST_PARAM);
    statement->param.name = name;
    statement->param.type = type;
    statement->param.initialiser = initialiser;
    return statement;
}

/* `output x` is short for `output x = x`; a state or a collected value must say what it is. */
static struct ast_statement *abbreviated(struct net_parser *parser, struct net_location location, int what,
                                         const struct ast_expressions *values)
{
    struct ast_expression *value = values->items[0];
    bool may = what != AST_DECLARE_STATE && what != AST_DECLARE_COLLECT;
    if (!may || values->count > 1 || value->kind != AST_NAME || strchr(value->name, '.')) {
        diagnostics_error(parser->diagnostics, E0106, net_span(parser, location), NULL,
                          "`%s` needs a name: `%s NAME = value`", declared[what], declared[what]);
        return NULL;
    }
    struct ast_name word = {declared[what], value->span}, name = {value->name, value->span};
    struct ast_statement *statement = net_declaration(parser, location, word, name, value);
    statement->declare.abbreviated = true;
    return statement;
}

struct ast_statement *net_setting(struct net_parser *parser, struct net_location location, struct ast_name word,
                                  struct ast_expressions *values, struct ast_name per, struct ast_name loss)
{
    if (per.name && strcmp(per.name, "per") != 0) {
        diagnostics_error(parser->diagnostics, E0101, per.span, NULL,
                          "unexpected name `%s`; the line should end here, or go on with an operator", per.name);
        return NULL;
    }
    if (strcmp(word.name, "param") == 0)
        return bad_param(parser, net_span(parser, location));
    int what = declaration_find(word.name);
    if (what >= 0 && !per.name)
        return abbreviated(parser, location, what, values);
    struct ast_statement *statement = net_statement(parser, location, AST_SETTING);
    statement->setting.word = word;
    statement->setting.values = *values;
    statement->setting.per = loss;
    return statement;
}

static void count_depth(struct ast_statement *statement, const struct ast_block *block)
{
    for (int i = 0; block && i < block->count; i++)
        if (statement->depth <= block->items[i]->depth)
            statement->depth = block->items[i]->depth + 1;
}

struct ast_statement *net_pin(struct net_parser *parser, struct net_location location, struct ast_name word,
                              struct ast_expressions *values, struct ast_block *body)
{
    if (strcmp(word.name, "precision") != 0 || values->count != 1) {
        diagnostics_error(parser->diagnostics, E0106, word.span, NULL, "no block follows `%s`", word.name);
        diagnostics_note(parser->diagnostics, (struct span){0},
                         "blocks follow `if`, `repeat`, `precision TYPE` and the optimizer of a `minimize`");
        return NULL;
    }
    struct ast_statement *statement = net_statement(parser, location, AST_PIN);
    statement->pin.precision = values->items[0];
    statement->pin.body = body;
    count_depth(statement, body);
    return statement;
}

struct ast_statement *net_rolled(struct net_parser *parser, struct net_location location, struct ast_name word)
{
    if (strcmp(word.name, "rolled") != 0) {
        diagnostics_error(parser->diagnostics, E0106, word.span, NULL, "`repeat %s`: only `repeat rolled` is known",
                          word.name);
        return NULL;
    }
    struct ast_statement *statement = net_statement(parser, location, AST_REPEAT);
    statement->repeat.rolled = true;
    return statement;
}

struct ast_statement *net_branch(struct net_parser *parser, struct net_location location,
                                 struct ast_expression *condition, struct ast_block *body, struct ast_block *otherwise,
                                 bool chained)
{
    struct ast_statement *statement = net_statement(parser, location, AST_IF);
    statement->branch.condition = condition;
    statement->branch.body = body;
    statement->branch.otherwise = otherwise;
    statement->branch.chained = chained;
    count_depth(statement, body);
    count_depth(statement, otherwise);
    if (statement->depth > AST_DEPTH_MAX) {
        net_report_depth(parser, location);
        statement->depth = 0;
    }
    return statement;
}

/* ---- blocks ---- */

struct ast_block *net_block(struct net_parser *parser, struct net_location location)
{
    struct ast_block *block = ARENA_NEW(parser->arena, struct ast_block);
    block->span = net_span(parser, location);
    return block;
}

struct ast_block *net_block_append(struct net_parser *parser, struct ast_block *block, struct ast_statement *statement)
{
    if (statement)
        AST_APPEND(parser->arena, block, statement);
    return block;
}

struct ast_block *net_block_join(struct net_parser *parser, struct ast_block *block, const struct ast_block *more)
{
    for (int i = 0; i < more->count; i++)
        AST_APPEND(parser->arena, block, more->items[i]);
    return block;
}

struct ast_block *net_block_close(struct net_parser *parser, struct net_location location, struct ast_block *block)
{
    block->span = net_span(parser, location);
    block->line = location.line;
    block->end_line = location.end_line;
    return block;
}

/* ---- definitions ---- */

void net_define(struct net_parser *parser, struct net_location location, struct net_location head,
                struct ast_definition definition)
{
    struct ast_definition *copy = ARENA_NEW(parser->arena, struct ast_definition);
    *copy = definition;
    copy->span = net_span(parser, head);
    copy->line = location.line;
    copy->end_line = location.end_line;
    AST_APPEND(parser->arena, parser->tree, copy);
}
