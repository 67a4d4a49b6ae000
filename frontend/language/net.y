/* The grammar of .net files (LALR(1), no conflicts). Where statements end, which line ends count and what a word of a
 * context is are the lexer's work (lexer.c, net.l); here the tree is built through build.c.
 *
 * Recovery stands at statements and definitions: an error skips to the statement's end, or to the block of a broken
 * header, whose statements are then read as usual. */
%code requires {
#include "frontend/language/parser.h"
}

%define api.pure full
%define api.prefix {net_}
%define api.token.prefix {TOKEN_}
%define api.location.type {struct net_location}
%define parse.error custom
%define parse.lac full
%locations
%param {struct net_parser *parser}

%union {
    const char *text;
    struct net_number number;
    struct ast_name name;
    struct ast_names *names;
    struct ast_expression *expression;
    struct ast_expressions *expressions;
    struct ast_argument argument;
    struct ast_arguments *arguments;
    struct ast_type *type;
    struct ast_parameter parameter;
    struct ast_parameters *parameters;
    struct ast_override override;
    struct ast_overrides *overrides;
    struct ast_statement *statement;
    struct ast_block *block;
    enum ast_operator operator;
    enum ast_definition_kind definition;
}

%code {
#include "frontend/language/lexer.h"

#define YYLLOC_DEFAULT(result, parts, count) ((result) = join((parts), (count)))

static struct net_location join(const struct net_location *parts, int count);
static void net_error(const struct net_location *location, struct net_parser *parser, const char *message);

static struct ast_name name_of(struct net_parser *parser, struct net_location location, const char *text)
{
    return (struct ast_name){text, net_span(parser, location)};
}

static const struct ast_name none;
}

%token START_FILE "the file" START_EXPRESSION "the expression" START_ENTRY "the entry"
%token YYEOF 0 "the end of the text" END "the end of the line"
%token <text> NAME "a name" PATH "a path" STRING "a string"
%token <number> NUMBER "a number"
%token AND "and" OR "or" NOT "not" IF "if" THEN "then" ELSE "else" AS "as" RETURN "return" REPEAT "repeat"
%token TRUE "true" FALSE "false"
%token <text> IMPORT "import" OPTION "option" MODEL "model" MODULE "module" FUNCTION "function"
%token <text> OPTIMIZER "optimizer" SCALER "scaler" TRAIN "train" IN "in" MINIMIZE "minimize" OVER "over"
%token <text> WITH "with" EVERY "every" FOR "for" EVALUATE "evaluate" CHECKPOINT "checkpoint" KEEP "keep"
%token ARROW "<-" PIPE "|>" REST ".." EQUAL "==" NOT_EQUAL "!=" LESS_EQUAL "<=" GREATER_EQUAL ">="

%type <text> word
%type <name> name path opt_label
%type <names> names
%type <expression> expression pipe stage target disjunction conjunction negation comparison sum product unary power
%type <expression> exponent labelled call postfix primary item opt_expression dimension dimension_product
%type <expression> dimension_unary dimension_power dimension_exponent dimension_atom dimension_item opt_every
%type <expressions> values items item_list patterns opt_over dimensions dimension_list
%type <argument> argument
%type <arguments> arguments argument_list
%type <type> type
%type <parameter> parameter
%type <parameters> parameters parameter_list
%type <override> override
%type <overrides> overrides override_items
%type <statement> statement branch minimize keeps
%type <block> block body body_items line entry_lines minimize_lines
%type <operator> comparator
%type <definition> definition_word

%%

start:
  START_FILE definitions
| START_EXPRESSION expression opt_end   { parser->expression = $2; }
| START_ENTRY entry_lines opt_end       { parser->entry = $2; }
;
entry_lines: line | entry_lines END line  { $$ = net_block_join(parser, $1, $3); };
opt_end: %empty | END;

/* ---- definitions ---- */

definitions:
  definition_items
| definition_items definition
| definition_items error
;
definition_items:
  %empty
| definition_items END                  { parser->recovering = false; }
| definition_items definition END
| definition_items error END            { parser->recovering = false; yyerrok; }
| definition_items error block END      { parser->recovering = false; yyerrok; }
;
definition:
  IMPORT STRING
    { net_define(parser, @$, @$, (struct ast_definition){.kind = AST_IMPORT, .name = name_of(parser, @2, $2)}); }
| OPTION name '=' expression
    { net_define(parser, @$, @$, (struct ast_definition){.kind = AST_OPTION, .name = $2, .value = $4}); }
| MODEL '(' parameters ')' block
    { @1.end_column = @1.column + 5;
      net_define(parser, @$, @1, (struct ast_definition){.kind = AST_MODEL, .parameters = *$3, .body = $5}); }
| definition_word name '(' parameters ')' block
    { net_define(parser, @$, @2, (struct ast_definition){.kind = $1, .name = $2, .parameters = *$4, .body = $6}); }
| TRAIN block
    { net_define(parser, @$, @1, (struct ast_definition){.kind = AST_TRAIN, .body = $2}); }
;
definition_word:
  MODULE     { $$ = AST_MODULE; }
| FUNCTION   { $$ = AST_FUNCTION; }
| OPTIMIZER  { $$ = AST_OPTIMIZER; }
| SCALER     { $$ = AST_SCALER; }
;
parameters:
  %empty                        { $$ = ARENA_NEW(parser->arena, struct ast_parameters); }
| parameter_list opt_comma
;
parameter_list:
  parameter                     { $$ = net_append_parameter(parser, NULL, @0, $1); }
| parameter_list ',' parameter  { $$ = net_append_parameter(parser, $1, @2, $3); }
;
parameter:
  name                          { $$ = (struct ast_parameter){.name = $1.name, .span = $1.span}; }
| name ':' type                 { $$ = (struct ast_parameter){.name = $1.name, .span = $1.span, .type = $3}; }
| name '=' expression           { $$ = (struct ast_parameter){.name = $1.name, .span = $1.span, .value = $3}; }
| name ':' type '=' expression
    { $$ = (struct ast_parameter){.name = $1.name, .span = $1.span, .type = $3, .value = $5}; }
;
opt_comma: %empty | ',';

/* ---- types and dimensions ---- */

type:
  '[' dimensions ']'                          { $$ = net_type(parser, @$, NULL, NULL, $2); }
| name '[' dimensions ']'                     { $$ = net_type(parser, @$, $1.name, NULL, $3); }
| name '(' dimension ')' '[' dimensions ']'   { $$ = net_type(parser, @$, $1.name, $3, $6); }
;
dimensions:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_expressions); }
| dimension_list opt_comma
;
dimension_list:
  dimension_item                              { $$ = net_append(parser, NULL, @0, $1); }
| dimension_list ',' dimension_item           { $$ = net_append(parser, $1, @2, $3); }
;
dimension_item: dimension | REST              { $$ = net_rest(parser, @$); };
dimension:
  dimension_product
| dimension '+' dimension_product             { $$ = net_binary(parser, @$, AST_ADD, @2, $1, $3); }
| dimension '-' dimension_product             { $$ = net_binary(parser, @$, AST_SUBTRACT, @2, $1, $3); }
;
dimension_product:
  dimension_unary
| dimension_product '*' dimension_unary       { $$ = net_binary(parser, @$, AST_MULTIPLY, @2, $1, $3); }
| dimension_product '/' dimension_unary       { $$ = net_binary(parser, @$, AST_DIVIDE, @2, $1, $3); }
;
dimension_unary:
  dimension_power
| '-' dimension_unary                         { $$ = net_unary(parser, @$, AST_NEGATE, $2); }
;
dimension_power:
  dimension_atom
| dimension_atom '^' dimension_exponent       { $$ = net_binary(parser, @$, AST_POWER, @2, $1, $3); }
;
dimension_exponent:
  dimension_power
| '-' dimension_exponent                      { $$ = net_unary(parser, @$, AST_NEGATE, $2); }
;
dimension_atom:
  NUMBER                                      { $$ = net_number(parser, @$, $1); }
| path                                        { $$ = net_name(parser, @$, $1.name); }
| call
| '(' dimension ')'                           { $$ = net_parenthesised(parser, @$, $2); }
;

/* ---- statements ---- */

block: '{' body '}'                           { $$ = net_block_close(parser, @$, $2); };
body:
  body_items
| body_items line                             { $$ = net_block_join(parser, $1, $2); }
| body_items error                            { parser->recovering = false; }
;
body_items:
  %empty                                      { $$ = net_block(parser, @0); }
| body_items END                              { parser->recovering = false; }
| body_items line END                         { $$ = net_block_join(parser, $1, $2); }
| body_items error END                        { parser->recovering = false; yyerrok; }
| body_items error block END                  { parser->recovering = false; yyerrok; }
;
line:
  statement                                   { $$ = net_block_append(parser, net_block(parser, @$), $1); }
| minimize_lines
;
minimize_lines:
  minimize                                    { $$ = net_block_append(parser, net_block(parser, @$), $1); }
| minimize_lines THEN minimize                { $3->minimize.then = true; $$ = net_block_append(parser, $1, $3); }
;
statement:
  names '=' expression
    { $$ = net_statement(parser, @$, AST_BIND); $$->bind.names = *$1; $$->bind.value = $3; }
| name ARROW expression
    { $$ = net_statement(parser, @$, AST_UPDATE); $$->update.name = $1; $$->update.value = $3; }
| NAME name ':' type '~' expression           { $$ = net_parameter(parser, @$, name_of(parser, @1, $1), $2, $4, $6); }
| NAME name '=' expression                    { $$ = net_declaration(parser, @$, name_of(parser, @1, $1), $2, $4); }
| NAME values                                 { $$ = net_setting(parser, @$, name_of(parser, @1, $1), $2, none, none); }
| NAME values NAME name
    { $$ = net_setting(parser, @$, name_of(parser, @1, $1), $2, name_of(parser, @3, $3), $4); }
| NAME values block                           { $$ = net_pin(parser, @$, name_of(parser, @1, $1), $2, $3); }
| branch
| REPEAT name IN dimension REST dimension opt_label block
    { $$ = net_statement(parser, @$, AST_REPEAT); $$->repeat.variable = $2; $$->repeat.low = $4;
      $$->repeat.high = $6; $$->repeat.label = $7; $$->repeat.body = $8; }
| REPEAT NAME NAME IN dimension REST dimension opt_label block
    { $$ = net_rolled(parser, @$, name_of(parser, @2, $2)); if ($$) { $$->repeat.variable = name_of(parser, @3, $3); $$->repeat.low = $5;
      $$->repeat.high = $7; $$->repeat.label = $8; $$->repeat.body = $9; } }
| RETURN values
    { $$ = net_statement(parser, @$, AST_RETURN); $$->returned = *$2; }
| EVALUATE EVERY dimension NAME
    { $$ = net_statement(parser, @$, AST_EVERY); $$->every.word = name_of(parser, @1, $1); $$->every.count = $3;
      $$->every.unit = name_of(parser, @4, $4); }
| CHECKPOINT EVERY dimension NAME keeps
    { $$ = $5; $$->span = net_span(parser, @$); $$->end_line = @$.end_line;
      $$->line = @1.line; $$->every.word = name_of(parser, @1, $1); $$->every.count = $3;
      $$->every.unit = name_of(parser, @4, $4); }
;
branch:
  IF pipe block                               { $$ = net_branch(parser, @$, $2, $3, NULL, false); }
| IF pipe block ELSE block                    { $$ = net_branch(parser, @$, $2, $3, $5, false); }
| IF pipe block ELSE branch
    { $$ = net_branch(parser, @$, $2, $3, net_block_append(parser, net_block(parser, @5), $5), true); }
;
names:
  name                  { $$ = ARENA_NEW(parser->arena, struct ast_names); AST_APPEND(parser->arena, $$, $1); }
| names ',' name        { AST_APPEND(parser->arena, $1, $3); }
;
values:
  expression                                  { $$ = net_append(parser, NULL, @1, $1); }
| values ',' expression                       { $$ = net_append(parser, $1, @2, $3); }
;
opt_label: %empty { $$ = none; } | AS path    { $$ = $2; };

minimize: MINIMIZE pipe opt_over WITH target overrides opt_every
    { $$ = net_statement(parser, @$, AST_MINIMIZE); $$->minimize.loss = $2; $$->minimize.over = *$3;
      $$->minimize.optimizer = $5; $$->minimize.overrides = *$6; $$->minimize.every = $7; }
;
opt_over:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_expressions); }
| OVER patterns                               { $$ = $2; }
;
patterns:
  pipe                                        { $$ = net_append(parser, NULL, @1, $1); }
| patterns ',' pipe                           { $$ = net_append(parser, $1, @2, $3); }
;
overrides:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_overrides); }
| '{' override_items '}'                      { $$ = $2; $$->line = @1.line; $$->end_line = @3.line; }
| '{' override_items override '}'
    { $$ = $2; AST_APPEND(parser->arena, $$, $3); $$->line = @1.line; $$->end_line = @4.line; }
;
override_items:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_overrides); }
| override_items END
| override_items override END                 { AST_APPEND(parser->arena, $1, $2); }
| override_items error END                    { parser->recovering = false; yyerrok; }
;
override: name '=' expression FOR patterns
    { $$ = (struct ast_override){$1, $3, *$5, @$.line, @$.end_line}; }
;
opt_every: %empty { $$ = NULL; } | EVERY dimension { $$ = $2; };
keeps:
  %empty                                      { $$ = net_statement(parser, @$, AST_EVERY); }
| keeps KEEP NAME path
    { $$ = $1; $$->every.keep = name_of(parser, @3, $3); $$->every.measure = $4; }
| keeps KEEP NUMBER                           { $$ = $1; $$->every.kept = net_number(parser, @3, $3); }
;

/* ---- expressions, loosest first ---- */

expression:
  pipe
| IF pipe THEN expression ELSE expression
    { $$ = net_conditional(parser, @$, $2, $4, $6);
      $$->conditional.break_then = @3.line > @2.end_line; $$->conditional.break_else = @5.line > @4.end_line; }
;
pipe:
  disjunction
| pipe PIPE stage                             { $$ = net_pipe(parser, @$, $1, @2, $3); }
;
stage:
  target
| target AS path                              { $$ = net_label(parser, @$, $1, $3); }
;
target:
  path                                        { $$ = net_name(parser, @$, $1.name); }
| call
;
disjunction:
  conjunction
| disjunction OR conjunction                  { $$ = net_binary(parser, @$, AST_OR, @2, $1, $3); }
;
conjunction:
  negation
| conjunction AND negation                    { $$ = net_binary(parser, @$, AST_AND, @2, $1, $3); }
;
negation:
  comparison
| NOT negation                                { $$ = net_unary(parser, @$, AST_NOT, $2); }
;
comparison:
  sum
| sum comparator sum                          { $$ = net_binary(parser, @$, $2, @2, $1, $3); }
;
comparator:
  EQUAL          { $$ = AST_EQUAL; }
| NOT_EQUAL      { $$ = AST_NOT_EQUAL; }
| '<'            { $$ = AST_LESS; }
| LESS_EQUAL     { $$ = AST_LESS_EQUAL; }
| '>'            { $$ = AST_GREATER; }
| GREATER_EQUAL  { $$ = AST_GREATER_EQUAL; }
;
sum:
  product
| sum '+' product                             { $$ = net_binary(parser, @$, AST_ADD, @2, $1, $3); }
| sum '-' product                             { $$ = net_binary(parser, @$, AST_SUBTRACT, @2, $1, $3); }
;
product:
  unary
| product '*' unary                           { $$ = net_binary(parser, @$, AST_MULTIPLY, @2, $1, $3); }
| product '/' unary                           { $$ = net_binary(parser, @$, AST_DIVIDE, @2, $1, $3); }
| product '@' unary                           { $$ = net_binary(parser, @$, AST_MATMUL, @2, $1, $3); }
;
unary:
  power
| '-' unary                                   { $$ = net_unary(parser, @$, AST_NEGATE, $2); }
;
power:
  labelled
| labelled '^' exponent                       { $$ = net_binary(parser, @$, AST_POWER, @2, $1, $3); }
;
exponent:
  power
| '-' exponent                                { $$ = net_unary(parser, @$, AST_NEGATE, $2); }
;
labelled:
  postfix
| call AS path                                { $$ = net_label(parser, @$, $1, $3); }
;
postfix:
  primary
| postfix '[' items ']'                       { $$ = net_index(parser, @$, $1, $3); }
| postfix '\''                                { $$ = net_transpose(parser, @$, $1); }
;
primary:
  NUMBER                                      { $$ = net_number(parser, @$, $1); }
| STRING                                      { $$ = net_string(parser, @$, $1); }
| TRUE                                        { $$ = net_boolean(parser, @$, true); }
| FALSE                                       { $$ = net_boolean(parser, @$, false); }
| path                                        { $$ = net_name(parser, @$, $1.name); }
| call
| '(' expression ')'                          { $$ = net_parenthesised(parser, @$, $2); }
| '[' items ']'                               { $$ = net_list(parser, @$, $2); }
;
call: path '(' arguments ')'                  { $$ = net_call(parser, @$, $1, $3); };
arguments:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_arguments); }
| argument_list opt_comma
;
argument_list:
  argument                                    { $$ = net_append_argument(parser, NULL, @0, $1); }
| argument_list ',' argument                  { $$ = net_append_argument(parser, $1, @2, $3); }
;
argument:
  expression                                  { $$ = (struct ast_argument){NULL, net_span(parser, @$), $1}; }
| name '=' expression
    { $3->line = @1.line; $$ = (struct ast_argument){$1.name, net_span(parser, @$), $3}; }
;
items:
  %empty                                      { $$ = ARENA_NEW(parser->arena, struct ast_expressions); }
| item_list opt_comma
;
item_list:
  item                                        { $$ = net_append(parser, NULL, @0, $1); }
| item_list ',' item                          { $$ = net_append(parser, $1, @2, $3); }
;
item:
  expression
| REST                                        { $$ = net_rest(parser, @$); }
| opt_expression ':' opt_expression           { $$ = net_slice(parser, @$, $1, $3, NULL); }
| opt_expression ':' opt_expression ':' opt_expression
    { $$ = net_slice(parser, @$, $1, $3, $5); }
;
opt_expression: %empty { $$ = NULL; } | expression;

/* ---- names ---- */

path: name | PATH                             { $$ = name_of(parser, @$, $1); };
name: word                                    { $$ = name_of(parser, @$, $1); };
word:
  NAME | IMPORT | OPTION | MODEL | MODULE | FUNCTION | OPTIMIZER | SCALER | TRAIN | IN | MINIMIZE | OVER | WITH
| EVERY | FOR | EVALUATE | CHECKPOINT | KEEP
;

%%

static struct net_location join(const struct net_location *parts, int count)
{
    if (!count)
        return (struct net_location){parts[0].end_line, parts[0].end_column, parts[0].end_line, parts[0].end_column};
    return (struct net_location){parts[1].line, parts[1].column, parts[count].end_line, parts[count].end_column};
}

/* All that reaches this is the parser's stack running full. */
static void net_error(const struct net_location *location, struct net_parser *parser, const char *message)
{
    (void)message;
    net_report_depth(parser, *location);
}

static int yyreport_syntax_error(const yypcontext_t *context, struct net_parser *parser)
{
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *names[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    for (int i = 0; i < count; i++)
        names[i] = yysymbol_name(kinds[i]);
    yysymbol_kind_t unexpected = yypcontext_token(context);
    net_syntax_error(parser, *yypcontext_location(context), unexpected == YYSYMBOL_YYEMPTY ? "" : yysymbol_name(unexpected),
                     names, count);
    return 0;
}
