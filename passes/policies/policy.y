/* The grammar of `.policy` files. Words like `half` or `where` have meaning by their place only: as the name of an op,
 * module or setting they are names like all others. The actions (reader.c) fill the reader's policy. */
%require "3.7"
%define api.pure full
%define api.prefix {policy_yy}
%define api.location.type {struct policy_location}
%define parse.error custom
%define parse.lac full
%locations
%param {yyscan_t scanner}
%parse-param {struct policy_reader *reader}

%code requires {
#include "passes/policies/reader.h"

#ifndef YY_TYPEDEF_YY_SCANNER_T
#define YY_TYPEDEF_YY_SCANNER_T
typedef void *yyscan_t;
#endif
}

%code provides {
/* The names by which the lexer knows them. */
#define YYSTYPE POLICY_YYSTYPE
#define YYLTYPE POLICY_YYLTYPE
}

%code {
#include "passes/policies/policy.lexer.h"

#define YYLLOC_DEFAULT(current, right, count)                                                                          \
    do {                                                                                                               \
        if (count) {                                                                                                   \
            (current) = YYRHSLOC(right, 1);                                                                            \
            (current).end = YYRHSLOC(right, count).end;                                                                \
            (current).end_line = YYRHSLOC(right, count).end_line;                                                      \
            (current).end_column = YYRHSLOC(right, count).end_column;                                                  \
        } else {                                                                                                       \
            (current) = YYRHSLOC(right, 0);                                                                            \
            (current).line = 0;                                                                                        \
        }                                                                                                              \
    } while (0)

static void policy_yyerror(const struct policy_location *location, yyscan_t scanner, struct policy_reader *reader,
                           const char *message)
{
    (void)scanner;
    diagnostics_error(reader->policy->diagnostics, E0101, policy_span(reader, location), NULL, "%s", message);
}
}

%union {
    enum precision_class class;
    struct policy_names names;
    struct policy_parts parts;
    const struct policy_condition *condition;
}

%token END 0 "the end of the file"
%token END_OF_STATEMENT "the end of the line"
%token POLICY "policy" EXTENDS "extends" HALF "half" F32 "f32" PROMOTE "promote" FOLLOW "follow"
%token OP "op" SCOPE "scope" REGION "region" WHERE "where" KEEP "keep" DEFAULT "default"
%token NAME "a name" NUMBER "a number" STRING "a string" STRAY "a character that means nothing here"
%token '{' "`{`" '}' "`}`" '(' "`(`" ')' "`)`" ',' "`,`" '=' "`=`" '^' "`^`"

%left OR "or"
%left AND "and"
%right NOT "not"
%nonassoc '<' "`<`" '>' "`>`" LESS_EQUAL "`<=`" GREATER_EQUAL "`>=`" EQUAL "`==`" NOT_EQUAL "`!=`"
%left '+' "`+`" '-' "`-`"
%left '*' "`*`" '/' "`/`"

%type <class> class
%type <names> list ops regions
%type <parts> parts
%type <condition> where condition

%start file

%%

file: ends head ends_opt_brace statements '}' ends;

head:
    POLICY name                                 { policy_begin(reader, &@2, &(struct policy_location){0}, &(struct policy_location){0}); }
  | POLICY name EXTENDS base                    { policy_begin(reader, &@2, &@4, &(struct policy_location){0}); }
  | POLICY name EXTENDS base '(' name ')'       { policy_begin(reader, &@2, &@4, &@6); }
  ;

base: name | STRING;

ends_opt_brace: ends '{';

ends: %empty | ends END_OF_STATEMENT;

statements: line | statements separator line;

line: %empty | statement | error;

/* What was wrong before it is over: the next error is a new one. */
separator: END_OF_STATEMENT { yyerrok; };

statement:
    class parts                                 { policy_add_rule(reader, $1, &$2, &@$); }
  | KEEP list class                             { policy_add_keep(reader, &$2, $3, &@$); }
  | DEFAULT class                               { policy_set_default(reader, $2, &@2); }
  | NAME value                                  { policy_set(reader, &@1, &@2); }
  | NAME OP list                                { policy_unknown_class(reader, &@1); }
  | NAME SCOPE list                             { policy_unknown_class(reader, &@1); }
  | NAME REGION list                            { policy_unknown_class(reader, &@1); }
  ;

class:
    HALF                                        { $$ = PRECISION_HALF; }
  | F32                                         { $$ = PRECISION_F32; }
  | PROMOTE                                     { $$ = PRECISION_PROMOTE; }
  | FOLLOW                                      { $$ = PRECISION_FOLLOW; }
  ;

parts:
    SCOPE list                                  { $$ = (struct policy_parts){.scopes = $2}; }
  | ops regions where                           { $$ = (struct policy_parts){.ops = $1, .regions = $2, .where = $3, .has_where = @3.line}; }
  ;

ops: %empty                                     { $$ = (struct policy_names){0}; }
  | OP list                                     { $$ = $2; }
  ;
regions: %empty                                 { $$ = (struct policy_names){0}; }
  | REGION list                                 { $$ = $2; }
  ;
where: %empty                                   { $$ = NULL; }
  | WHERE condition                             { $$ = policy_truth(reader, $2, &@2); }
  ;

list:
    item                                        { $$ = policy_name_append(reader, (struct policy_names){0}, &@1); }
  | list ',' item                               { $$ = policy_name_append(reader, $1, &@3); }
  ;

item: name | STRING;

condition:
    NUMBER                                      { $$ = policy_number(reader, &@1); }
  | NAME                                        { $$ = policy_quantity(reader, &@1); }
  | NAME '(' axis ')'                           { $$ = policy_dimension(reader, &@1, &@3); }
  | '(' condition ')'                           { $$ = $2; }
  | NOT condition                               { $$ = policy_operation(reader, POLICY_NOT, $2, $2, &@$); }
  | condition OR condition                      { $$ = policy_operation(reader, POLICY_OR, $1, $3, &@$); }
  | condition AND condition                     { $$ = policy_operation(reader, POLICY_AND, $1, $3, &@$); }
  | condition '<' condition                     { $$ = policy_operation(reader, POLICY_LESS, $1, $3, &@$); }
  | condition '>' condition                     { $$ = policy_operation(reader, POLICY_LESS, $3, $1, &@$); }
  | condition LESS_EQUAL condition              { $$ = policy_operation(reader, POLICY_LESS_EQUAL, $1, $3, &@$); }
  | condition GREATER_EQUAL condition           { $$ = policy_operation(reader, POLICY_LESS_EQUAL, $3, $1, &@$); }
  | condition EQUAL condition                   { $$ = policy_operation(reader, POLICY_EQUAL, $1, $3, &@$); }
  | condition NOT_EQUAL condition               { $$ = policy_operation(reader, POLICY_NOT_EQUAL, $1, $3, &@$); }
  | condition '+' condition                     { $$ = policy_operation(reader, POLICY_ADD, $1, $3, &@$); }
  | condition '-' condition                     { $$ = policy_operation(reader, POLICY_SUBTRACT, $1, $3, &@$); }
  | condition '*' condition                     { $$ = policy_operation(reader, POLICY_MULTIPLY, $1, $3, &@$); }
  | condition '/' condition                     { $$ = policy_operation(reader, POLICY_DIVIDE, $1, $3, &@$); }
  ;

axis: NUMBER | '-' NUMBER;

value: name | name '(' anything ')';

anything: %empty | anything token | anything '(' anything ')';

token: name | NUMBER | STRING | ',' | '=' | '^' | '+' | '-' | '*' | '/' | '<' | '>'
  | LESS_EQUAL | GREATER_EQUAL | EQUAL | NOT_EQUAL;

name: NAME | POLICY | EXTENDS | HALF | F32 | PROMOTE | FOLLOW | OP | SCOPE | REGION | WHERE | KEEP | DEFAULT
  | AND | OR | NOT;

%%

/* "`}` cannot stand here; expected a name or a string": at most five kinds are listed. */
static int yyreport_syntax_error(const yypcontext_t *context, yyscan_t scanner, struct policy_reader *reader)
{
    (void)scanner;
    enum { MOST = 5 };
    yysymbol_kind_t expected[MOST];
    int count = yypcontext_expected_tokens(context, expected, MOST);
    const struct policy_location *location = yypcontext_location(context);
    const char *read = location->end > location->begin ? policy_slice(reader, location) : NULL;
    char text[256] = "";
    for (int i = 0, used = 0; i < count; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s",
                         i == 0 ? "; expected " : i + 1 < count ? ", " : " or ", yysymbol_name(expected[i]));
    diagnostics_error(reader->policy->diagnostics, E0101, policy_span(reader, location), NULL,
                      read ? "`%s` cannot stand here%s" : "%s cannot stand here%s",
                      read ? read : yysymbol_name(yypcontext_token(context)), text);
    return 0;
}
