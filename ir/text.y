/* Grammar of the text form of modules; ir/README.md describes it for readers. */
%define api.pure full
%define api.prefix {ir_}
%define api.location.type {struct span}
%define parse.error custom
%define parse.lac full
%locations
%param {void *scanner}
%parse-param {struct text_reader *reader}

%code requires {
#include "ir/text.h"
}

%code {
#include "ir/text.lexer.h"

#include <stb/stb_ds.h>

#define YYLLOC_DEFAULT(current, rhs, n)                                                                                \
    do {                                                                                                               \
        (current) = YYRHSLOC(rhs, (n) ? 1 : 0);                                                                        \
        if ((n) && YYRHSLOC(rhs, n).line == (current).line)                                                            \
            (current).end_column = YYRHSLOC(rhs, n).end_column;                                                        \
    } while (0)

static void ir_error(struct span *at, void *scanner, struct text_reader *reader, const char *message)
{
    (void)scanner;
    diagnostics_error(reader->diagnostics, E0701, *at, NULL, "%s", message);
}
}

%union {
    const char *text;
    struct text_value value;
    struct span span;
    struct type type;
    struct variable variable;
    struct minimize minimize;
    int64_t *list;
    int64_t integer;
    bool flag;
}
%destructor { arrfree($$); } <list>
%destructor { if ($$.kind == TEXT_LIST) arrfree($$.list); } <value>

%token NEWLINE "end of line"
%token <text> NAME "name of a node" WORD "word" STRING "string"
%token <value> NUMBER "number" ORIGIN "origin number"
%token <span> SPAN "source position"
%token MODULE "module" ACCUMULATE "accumulate" ORIGINS "origins" VARIABLE "variable" MINIMIZE "minimize"
%token RULE "rule" EVERY "every" SCALING "scaling" FUNCTION "function" GRAPH "graph" BODY "body" BATCH "batch" EXPLICIT "explicit" FROZEN "frozen"
%token FORWARD "forward" BACKWARD "backward" UPDATE "update" IN "in" OF "of" AGAIN "again" PIN "pin" KERNEL "kernel" AT "at" WHY "why"

%type <text> word label optional_string
%type <value> value
%type <list> list numbers optional_order
%type <type> type
%type <span> optional_span
%type <variable> variable_fields
%type <minimize> minimize_fields
%type <integer> optional_batch optional_offset
%type <flag> optional_explicit

%%

module: items ;

items: %empty | items item ;

item:
    NEWLINE
  | "module" label NEWLINE              { reader->module->name = arena_intern(reader->arena, $label); }
  | "accumulate" NUMBER NEWLINE         { text_accumulate(reader, &$NUMBER, @NUMBER); }
  | "origins" NUMBER NEWLINE            { text_origins(reader, &$NUMBER, @NUMBER); }
  | "variable" STRING ':' type word variable_fields NEWLINE {
        $variable_fields.name = $STRING;
        $variable_fields.type = $type;
        text_variable(reader, &$variable_fields, $word, @STRING, @word);
    }
  | "minimize" STRING minimize_fields NEWLINE {
        $minimize_fields.loss = $STRING;
        text_minimize(reader, &$minimize_fields, @$);
    }
  | "scaling" rules optional_explicit optional_span NEWLINE {
        text_scaling(reader, $optional_explicit, $optional_span);
    }
  | graph
  | error NEWLINE
  ;

variable_fields:
    %empty                          { $$ = (struct variable){0}; }
  | variable_fields[so_far] "frozen"        { $$ = $so_far; $$.frozen = true; }
  | variable_fields[so_far] "of" STRING     { $$ = $so_far; $$.source = $STRING; }
  | variable_fields[so_far] "in" STRING     { $$ = $so_far; $$.module = $STRING; }
  | variable_fields[so_far] SPAN            { $$ = $so_far; $$.span = $SPAN; }
  ;

minimize_fields:
    %empty                          { $$ = (struct minimize){0}; }
  | minimize_fields[so_far] "rule" NUMBER { $$ = $so_far; $$.rule = text_int(reader, &$NUMBER, @NUMBER); }
  | minimize_fields[so_far] "every" NUMBER "of" STRING {
        $$ = $so_far;
        $$.every = text_int(reader, &$NUMBER, @NUMBER);
        $$.turn = $STRING;
    }
  | minimize_fields[so_far] SPAN          { $$ = $so_far; $$.span = $SPAN; }
  ;

optional_string: %empty { $$ = NULL; } | STRING ;
rules: %empty | rules STRING { text_rule(reader, $STRING, @STRING); } ;
optional_explicit: %empty { $$ = false; } | "explicit" { $$ = true; } ;
optional_span: %empty { $$ = (struct span){0}; } | SPAN ;
optional_batch: %empty { $$ = 0; } | "batch" NUMBER { $$ = text_whole(reader, &$NUMBER, @NUMBER); } ;
optional_offset: %empty { $$ = 0; } | '+' NUMBER { $$ = text_whole(reader, &$NUMBER, @NUMBER); } ;

graph: graph_head '{' NEWLINE lines '}' NEWLINE { text_end_graph(reader); } ;

graph_head:
    "graph" label optional_batch    { text_begin_graph(reader, $label, TEXT_GRAPH, $optional_batch, @label); }
  | "body" label optional_batch     { text_begin_graph(reader, $label, TEXT_BODY, $optional_batch, @label); }
  | "function" label optional_batch { text_begin_graph(reader, $label, TEXT_FUNCTION, $optional_batch, @label); }
  ;

lines: %empty | lines line ;

line:
    NEWLINE
  | node_head '(' arguments ')' optional_type fields NEWLINE { text_end_node(reader); }
  | error NEWLINE
  ;

node_head: NAME '=' word { text_begin_node(reader, $NAME, $word, @NAME, @word); } ;

arguments: %empty | argument_list ;
argument_list: argument | argument_list ',' argument ;

argument:
    NAME                { text_operand(reader, $NAME, @NAME); }
  | word                { text_attribute(reader, $word, NULL, @word); }
  | word '=' value      { text_attribute(reader, $word, &$value, @$); arrfree($value.list); }
  | NUMBER              { text_attribute(reader, NULL, &$NUMBER, @NUMBER); }
  | STRING {
        struct text_value value = {.kind = TEXT_STRING, .text = $STRING};
        text_attribute(reader, NULL, &value, @STRING);
    }
  ;

value:
    NUMBER              { $$ = $NUMBER; $$.list = NULL; }
  | STRING              { $$ = (struct text_value){.kind = TEXT_STRING, .text = $STRING}; }
  | word                { $$ = (struct text_value){.kind = TEXT_WORD, .text = $word}; }
  | list                { $$ = (struct text_value){.kind = TEXT_LIST, .list = $list}; }
  ;

list: '[' ']' { $$ = NULL; } | '[' numbers ']' { $$ = $numbers; } ;

numbers:
    NUMBER                      { $$ = NULL; arrput($$, text_whole(reader, &$NUMBER, @NUMBER)); }
  | numbers[so_far] ',' NUMBER  { $$ = $so_far; arrput($$, text_whole(reader, &$NUMBER, @NUMBER)); }
  ;

optional_type: %empty | ':' type { reader->draft.node.type = $type; reader->draft.has_type = true; } ;

type: word list optional_order {
        $$ = text_type(reader, $word, $list, $optional_order, @$);
        arrfree($list);
        arrfree($optional_order);
    }
  ;

optional_order: %empty { $$ = NULL; } | '{' numbers '}' { $$ = $numbers; } ;

fields: %empty | fields field ;

field:
    "forward"           { reader->draft.node.region = REGION_FORWARD; }
  | "backward"          { reader->draft.node.region = REGION_BACKWARD; }
  | "update"            { reader->draft.node.region = REGION_UPDATE; }
  | SPAN                { reader->draft.node.span = $SPAN; }
  | "in" STRING         { reader->draft.node.scope = $STRING; }
  | ORIGIN              { reader->draft.node.origin = text_origin(reader, &$ORIGIN, @ORIGIN); }
  | "of" ORIGIN         { reader->draft.node.forward = text_origin(reader, &$ORIGIN, @ORIGIN); }
  | "again" ORIGIN      { reader->draft.node.again = text_origin(reader, &$ORIGIN, @ORIGIN); }
  | "pin" word          { reader->draft.node.pin = text_element(reader, $word, @word); }
  | "kernel" NUMBER     { reader->draft.node.kernel = text_int(reader, &$NUMBER, @NUMBER); }
  | "at" word optional_string optional_offset {
        text_placement(reader, $word, $optional_string, $optional_offset, @word);
    }
  | "why" STRING        { reader->draft.node.reason = $STRING; }
  ;

label: word | STRING ;

/* No keyword is reserved where only a word can stand. */
word:
    WORD
  | "module"     { $$ = "module"; }
  | "accumulate" { $$ = "accumulate"; }
  | "origins"    { $$ = "origins"; }
  | "variable"   { $$ = "variable"; }
  | "minimize"   { $$ = "minimize"; }
  | "rule"       { $$ = "rule"; }
  | "every"      { $$ = "every"; }
  | "scaling"    { $$ = "scaling"; }
  | "function"   { $$ = "function"; }
  | "graph"      { $$ = "graph"; }
  | "body"       { $$ = "body"; }
  | "batch"      { $$ = "batch"; }
  | "explicit"   { $$ = "explicit"; }
  | "frozen"     { $$ = "frozen"; }
  | "forward"    { $$ = "forward"; }
  | "backward"   { $$ = "backward"; }
  | "update"     { $$ = "update"; }
  | "in"         { $$ = "in"; }
  | "of"         { $$ = "of"; }
  | "again"      { $$ = "again"; }
  | "pin"        { $$ = "pin"; }
  | "kernel"     { $$ = "kernel"; }
  | "at"         { $$ = "at"; }
  | "why"        { $$ = "why"; }
  ;

%%

/* Any keyword stands for itself where a word is expected, so saying "word" says it all. */
static bool is_keyword(yysymbol_kind_t symbol)
{
    return symbol >= YYSYMBOL_MODULE && symbol <= YYSYMBOL_WHY;
}

static const char *expected_text(struct arena *arena, const yysymbol_kind_t *expected, int count)
{
    bool word = false;
    for (int i = 0; i < count; i++)
        word = word || expected[i] == YYSYMBOL_WORD;
    const char *text = "";
    const char *joint = ", expected ";
    for (int i = 0; i < count; i++) {
        if (word && is_keyword(expected[i]))
            continue;
        text = arena_printf(arena, "%s%s%s", text, joint, yysymbol_name(expected[i]));
        joint = " or ";
    }
    return text;
}

/* What was read and what could stand there instead. */
static int yyreport_syntax_error(const yypcontext_t *context, void *scanner, struct text_reader *reader)
{
    (void)scanner;
    yysymbol_kind_t expected[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, expected, YYNTOKENS);
    yysymbol_kind_t token = yypcontext_token(context);
    const char *read = token == YYSYMBOL_YYEMPTY ? "nothing" : yysymbol_name(token);
    diagnostics_error(reader->diagnostics, E0701, *yypcontext_location(context), NULL, "syntax error: unexpected %s%s",
                      read, expected_text(reader->arena, expected, count));
    return 0;
}
