/* Grammar of the PTX that NVRTC emits; the actions build the tree of ptx.h by the functions of ptx_reader.h. */
%define api.pure full
%define api.prefix {ptx_yy}
%define parse.error custom
%define parse.lac full
%param {void *scanner}
%parse-param {struct ptx_reader *reader}

%code requires {
#include "runtime/sim/ptx_reader.h"
}

%code {
#define YYSTYPE PTX_YYSTYPE
#include "ptx.lexer.h"

#include <string.h>

static void ptx_yyerror(void *scanner, struct ptx_reader *reader, const char *message)
{
    (void)scanner;
    ptx_fail(reader, "%s", message);
}

/* Failed actions end the parse; the message stands in the reader. */
#define DO(action)                                                                                                     \
    do {                                                                                                               \
        if (!(action))                                                                                                 \
            YYABORT;                                                                                                   \
    } while (0)
}

%union {
    const char *text;
    enum ptx_space space;
    struct ptx_type type;
    struct ptx_value number;
    struct ptx_operand operand;
    int64_t size;
    bool flag;
}

%token VERSION ".version" TARGET ".target" ADDRESS_SIZE ".address_size" ENTRY ".entry" FUNC ".func" REG ".reg"
%token ALIGN ".align" PTR ".ptr" EXTERN ".extern" LINKING "a linking directive"
%token TUNING "a tuning directive" MARK "a mark" LOC ".loc" FILE_ ".file" PRAGMA ".pragma"
%token <space> SPACE "a state space"
%token <type> TYPE "a type"
%token <number> NUMBER "a number"
%token <flag> NTID "the threads of a block"
%token <text> WORD "a name" STRING "a string" DIRECTIVE "a directive"

%type <operand> operand scalar vector address address_sum
%type <number> value constant
%type <size> align dimensions dimension integer
%type <flag> linking

%%

module
    : %empty
    | module item
    ;

item
    : VERSION NUMBER                    { ptx_version(reader, &$2); }
    | TARGET targets
    | ADDRESS_SIZE integer              { if ($2 != 64) DO(ptx_fail(reader, "addresses have 64 bits here, not %d", (int)$2)); }
    | file
    | linking variable                  { reader->external = false; }
    | linking ENTRY WORD                { DO(ptx_kernel_begin(reader, $3)); }
      parameters marks '{' body '}'     { DO(ptx_kernel_end(reader)); }
    | linking FUNC WORD                 { DO(ptx_function_begin(reader, $3)); }
      parameters marks function_end
    | linking FUNC '(' parameter_type WORD dimensions ')' WORD { DO(ptx_function_begin(reader, $8)); }
      parameters marks function_end
    | PRAGMA STRING ';'
    | DIRECTIVE                         { DO(ptx_unknown(reader, $1)); }
    ;

targets
    : WORD                              { ptx_target(reader, $1); }
    | targets ',' WORD
    ;

file
    : FILE_ integer STRING file_times   { ptx_file_add(reader, (int)$2, $3); }
    ;

file_times
    : %empty
    | ',' integer ',' integer
    ;

linking
    : %empty                            { $$ = reader->external = false; }
    | LINKING                           { $$ = reader->external = false; }
    | EXTERN                            { $$ = reader->external = true; }
    ;

function_end
    : ';'                               { DO(ptx_function_end(reader)); }
    | '{' body '}'                      { DO(ptx_function_end(reader)); }
    ;

marks
    : %empty
    | marks MARK
    | marks NTID integer                { DO(ptx_threads(reader, $2, $3, 1, 1)); }
    | marks NTID integer ',' integer    { DO(ptx_threads(reader, $2, $3, $5, 1)); }
    | marks NTID integer ',' integer ',' integer { DO(ptx_threads(reader, $2, $3, $5, $7)); }
    | marks TUNING integers
    | marks PRAGMA STRING ';'
    ;

integers
    : integer
    | integers ',' integer
    ;

parameters
    : %empty
    | '(' ')'
    | '(' parameter_list ')'
    ;

parameter_list
    : parameter
    | parameter_list ',' parameter
    ;

parameter
    : parameter_type WORD dimensions    { DO(ptx_parameter(reader, $2, $3)); }
    ;

parameter_type
    : SPACE align TYPE pointer          { ptx_declare(reader, $1, $2, $3); }
    | REG TYPE                          { ptx_declare(reader, PTX_PARAM, 0, $2); }
    ;

pointer
    : %empty
    | PTR align
    | PTR SPACE align
    ;

align
    : %empty                            { $$ = 0; }
    | ALIGN integer                     { $$ = $2; }
    ;

variable
    : SPACE align TYPE                  { ptx_declare(reader, $1, $2, $3); }
      WORD dimensions                   { DO(ptx_variable_begin(reader, $5, $6)); }
      initial ';'                       { DO(ptx_variable_end(reader)); }
    ;

/* The product of the sizes, -1 for x[], 0 for no brackets at all. */
dimensions
    : %empty                            { $$ = 0; }
    | dimensions dimension              { DO(ptx_dimension(reader, $1, $2, &$$)); }
    ;

dimension
    : '[' ']'                           { $$ = -1; }
    | '[' integer ']'                   { $$ = $2; }
    ;

initial
    : %empty
    | '=' initial_item
    ;

initial_item
    : constant                          { DO(ptx_initial(reader, &$1)); }
    | WORD                              { DO(ptx_initial_address(reader, $1, 0)); }
    | WORD '+' integer                  { DO(ptx_initial_address(reader, $1, $3)); }
    | WORD '(' WORD ')'                 { DO(ptx_initial_address(reader, $3, 0)); }
    | WORD '(' WORD ')' '+' integer     { DO(ptx_initial_address(reader, $3, $6)); }
    | '{' '}'
    | '{' initial_items '}'
    ;

initial_items
    : initial_item
    | initial_items ',' initial_item
    ;

body
    : %empty
    | body statement
    ;

statement
    : REG TYPE                          { ptx_declare(reader, PTX_GENERIC, 0, $2); }
      registers ';'
    | variable
    | LOC integer integer integer       { ptx_place(reader, $2, $3); }
    | LOC integer integer integer ',' WORD WORD ',' WORD integer integer integer { ptx_place(reader, $10, $11); }
    | LOC integer integer integer ',' WORD WORD '+' integer ',' WORD integer integer integer
                                        { ptx_place(reader, $12, $13); }
    | PRAGMA STRING ';'
    | '{'                               { DO(ptx_scope_open(reader)); }
      body '}'                          { DO(ptx_scope_close(reader)); }
    | WORD ':'                          { DO(ptx_label(reader, $1)); }
    | DIRECTIVE                         { DO(ptx_unknown(reader, $1)); }
    | instruction ';'                   { DO(ptx_instruction_end(reader)); }
    | ';'
    ;

registers
    : register
    | registers ',' register
    ;

register
    : WORD                              { DO(ptx_registers(reader, $1, -1)); }
    | WORD '<' integer '>'              { DO(ptx_registers(reader, $1, $3)); }
    ;

instruction
    : WORD                              { DO(ptx_instruction_begin(reader, $1)); }
      operands
    | guard WORD                        { DO(ptx_instruction_begin(reader, $2)); }
      operands
    ;

guard
    : '@' WORD                          { DO(ptx_guard(reader, $2, false)); }
    | '@' '!' WORD                      { DO(ptx_guard(reader, $3, true)); }
    ;

operands
    : %empty
    | operand_list
    ;

operand_list
    : operand                           { DO(ptx_operand(reader, &$1)); }
    | operand_list ',' operand          { DO(ptx_operand(reader, &$3)); }
    ;

operand
    : scalar
    | value '+' integer                 { $$ = (struct ptx_operand){.count = 1}; DO(ptx_sum(reader, &$1, $3, &$$.values[0])); }
    | scalar '|' value                  { $$ = $1; $$.pair = true; $$.values[$$.count++] = $3; }
    | '{' vector '}'                    { $$ = $2; }
    | '[' address ']'                   { $$ = $2; }
    | '(' vector ')'                    { $$ = $2; }
    | '(' ')'                           { $$ = (struct ptx_operand){.vector = true}; }
    ;

scalar
    : value                             { $$ = (struct ptx_operand){.count = 1}; $$.values[0] = $1; }
    ;

vector
    : value                             { $$ = (struct ptx_operand){.count = 1, .vector = true}; $$.values[0] = $1; }
    | vector ',' value                  { $$ = $1; DO(ptx_vector(reader, &$$, &$3)); }
    ;

address
    : address_sum                       { $$ = $1; $$.address = true; }
    ;

address_sum
    : scalar
    | scalar '+' integer                { $$ = $1; $$.offset = $3; }
    ;

value
    : WORD                              { DO(ptx_name(reader, $1, &$$)); }
    | '!' WORD                          { DO(ptx_name(reader, $2, &$$)); $$.negated = true; }
    | constant
    ;

constant
    : NUMBER
    | '-' NUMBER                        { $$ = ptx_negate(&$2); }
    ;

integer
    : constant                          { if ($1.real) DO(ptx_fail(reader, "a whole number must stand here")); $$ = (int64_t)$1.bits; }
    ;

%%

/* "line 4: expected a name, not ';'" */
static int yyreport_syntax_error(const yypcontext_t *context, void *scanner, struct ptx_reader *reader)
{
    (void)scanner;
    yysymbol_kind_t expected[4], got = yypcontext_token(context);
    int count = yypcontext_expected_tokens(context, expected, 4);
    char text[256] = "";
    for (int i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? " or " : " expected ", yysymbol_name(expected[i]));
    }
    ptx_fail(reader, "syntax:%s%s %s", text, count ? ", not" : " unexpected",
             got == YYSYMBOL_YYEMPTY ? "this" : yysymbol_name(got));
    return 0;
}
