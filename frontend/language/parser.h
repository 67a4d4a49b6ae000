/* Inside the parser: the state that lexer (net.l, lexer.c), grammar (net.y), tree building (build.c) and messages
 * (syntax_error.c) share. Users of the tree include ast.h alone. */
#ifndef CASTOR_FRONTEND_LANGUAGE_PARSER_H
#define CASTOR_FRONTEND_LANGUAGE_PARSER_H

#include "frontend/language/ast.h"

/* From the first character to just past the last one; lines and columns from 1, columns in bytes. */
struct net_location {
    int line, column, end_line, end_column;
};

struct net_number {
    double value;
    bool integer;
    const char *text;
};

/* What the raw lexer gives besides the grammar's tokens. */
enum { RAW_NEWLINE = -2, RAW_COMMENT = -3 };

struct net_bracket {
    int opener; /* '(', '[' or '{' */
    struct net_location location;
};

struct net_parser {
    struct arena *arena;
    struct diagnostics *diagnostics;
    const char *file, *text;
    size_t length;
    const char **lines; /* stb array: where each line begins */
    int errors_before;

    /* The raw lexer's place. */
    void *scanner;
    int line, column;

    /* The token delay of lexer.c. */
    int start;    /* given before the first token: what is to be parsed; 0 once given */
    bool holding; /* a token waits behind a statement's end */
    int held_token;
    struct net_location held_location;
    void *held_value;     /* a copy of the semantic value, NULL without */
    int previous, before; /* the last token given, and the one before it */
    struct net_location previous_location, before_location;
    struct net_bracket brackets[AST_DEPTH_MAX];
    int bracket_count;
    int statement_column; /* of the first token of the statement being read */
    bool statement_begins, recovering, stopped;
    bool ends_after_operator; /* what stands before the statement's end given last is an operator */

    bool too_deep; /* reported already */

    struct ast_file *tree;
    struct ast_expression *expression;
    struct ast_block *entry;
};

struct span net_span(const struct net_parser *parser, struct net_location location);

/* ---- syntax_error.c ---- */

/* Says what was read and what could stand there. Names are the grammar's aliases of tokens. */
void net_syntax_error(struct net_parser *parser, struct net_location location, const char *unexpected,
                      const char *const *expected, int count);
void net_report_depth(struct net_parser *parser, struct net_location location);

/* ---- build.c ---- */

struct ast_expression *net_number(struct net_parser *parser, struct net_location location, struct net_number number);
struct ast_expression *net_string(struct net_parser *parser, struct net_location location, const char *string);
struct ast_expression *net_boolean(struct net_parser *parser, struct net_location location, bool value);
struct ast_expression *net_name(struct net_parser *parser, struct net_location location, const char *name);
struct ast_expression *net_rest(struct net_parser *parser, struct net_location location);
struct ast_expression *net_list(struct net_parser *parser, struct net_location location, struct ast_expressions *items);
struct ast_expression *net_call(struct net_parser *parser, struct net_location location, struct ast_name callee,
                                struct ast_arguments *arguments);
struct ast_expression *net_label(struct net_parser *parser, struct net_location location, struct ast_expression *call,
                                 struct ast_name label);
struct ast_expression *net_pipe(struct net_parser *parser, struct net_location location, struct ast_expression *value,
                                struct net_location operator, struct ast_expression * stage);
struct ast_expression *net_index(struct net_parser *parser, struct net_location location, struct ast_expression *base,
                                 struct ast_expressions *items);
struct ast_expression *net_slice(struct net_parser *parser, struct net_location location, struct ast_expression *low,
                                 struct ast_expression *high, struct ast_expression *step);
struct ast_expression *net_transpose(struct net_parser *parser, struct net_location location,
                                     struct ast_expression *operand);
struct ast_expression *net_unary(struct net_parser *parser, struct net_location location, enum ast_operator operator,
                                 struct ast_expression * operand);
struct ast_expression *net_binary(struct net_parser *parser, struct net_location location, enum ast_operator operator,
                                  struct net_location place, struct ast_expression *left, struct ast_expression *right);
struct ast_expression *net_conditional(struct net_parser *parser, struct net_location location,
                                       struct ast_expression *condition, struct ast_expression *then,
                                       struct ast_expression *otherwise);
struct ast_expression *net_parenthesised(struct net_parser *parser, struct net_location location,
                                         struct ast_expression *inner);

/* Appends an item; `after` is the place of what stands before it, so that the layout of lists is kept. */
struct ast_expressions *net_append(struct net_parser *parser, struct ast_expressions *list, struct net_location after,
                                   struct ast_expression *item);
struct ast_arguments *net_append_argument(struct net_parser *parser, struct ast_arguments *list,
                                          struct net_location after, struct ast_argument argument);
struct ast_parameters *net_append_parameter(struct net_parser *parser, struct ast_parameters *list,
                                            struct net_location after, struct ast_parameter parameter);
struct ast_type *net_type(struct net_parser *parser, struct net_location location, const char *element,
                          struct ast_expression *classes, struct ast_expressions *dimensions);

struct ast_statement *net_statement(struct net_parser *parser, struct net_location location,
                                    enum ast_statement_kind kind);
/* WORD NAME = e, WORD NAME: type ~ e, WORD e, e … [per NAME]. NULL after a diagnostic. */
struct ast_statement *net_declaration(struct net_parser *parser, struct net_location location, struct ast_name word,
                                      struct ast_name name, struct ast_expression *value);
struct ast_statement *net_parameter(struct net_parser *parser, struct net_location location, struct ast_name word,
                                    struct ast_name name, struct ast_type *type, struct ast_expression *initialiser);
struct ast_statement *net_setting(struct net_parser *parser, struct net_location location, struct ast_name word,
                                  struct ast_expressions *values, struct ast_name per, struct ast_name loss);
struct ast_statement *net_pin(struct net_parser *parser, struct net_location location, struct ast_name word,
                              struct ast_expressions *values, struct ast_block *body);
/* A `repeat WORD`, which is to be `repeat rolled`. NULL after a diagnostic. */
struct ast_statement *net_rolled(struct net_parser *parser, struct net_location location, struct ast_name word);
struct ast_statement *net_branch(struct net_parser *parser, struct net_location location,
                                 struct ast_expression *condition, struct ast_block *body, struct ast_block *otherwise,
                                 bool chained);

struct ast_block *net_block(struct net_parser *parser, struct net_location location);
/* Appends a statement (NULL: none) and returns the block. */
struct ast_block *net_block_append(struct net_parser *parser, struct ast_block *block, struct ast_statement *statement);
struct ast_block *net_block_join(struct net_parser *parser, struct ast_block *block, const struct ast_block *more);
/* Checks the depth of a block that is complete and gives it its place. */
struct ast_block *net_block_close(struct net_parser *parser, struct net_location location, struct ast_block *block);

void net_define(struct net_parser *parser, struct net_location location, struct net_location head,
                struct ast_definition definition);

#endif
