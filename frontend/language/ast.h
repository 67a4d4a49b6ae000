/* The syntax tree of a .net file: what was written, with the place of everything, and nothing resolved.
 *
 * `x |> f(a)` is already the call f(x, a), and `output x` already `output x = x`; both remember how they were written.
 * All of it lives in the arena; names are interned. Fields under "layout" are for the formatter alone: whether a line
 * ended there, whether parentheses stood around it. */
#ifndef CASTOR_FRONTEND_LANGUAGE_AST_H
#define CASTOR_FRONTEND_LANGUAGE_AST_H

#include "ir/arena.h"
#include "ir/diagnostic.h"

#include <stdbool.h>
#include <stdint.h>

/* No expression, and no nest of statements, is deeper than this: walks over the tree may recurse. */
enum { AST_DEPTH_MAX = 256 };

/* ---- expressions ---- */

enum ast_expression_kind {
    AST_NUMBER,
    AST_STRING,
    AST_BOOLEAN,
    AST_NAME,       /* a name or a dotted path */
    AST_LIST,       /* [a, b] */
    AST_CALL,       /* f(a, n = b), x |> f(a), each with `as label` */
    AST_INDEX,      /* x[a, b:c, .., d] */
    AST_SLICE,      /* low:high:step, only as an item of AST_INDEX */
    AST_REST,       /* `..`, only as an item of AST_INDEX, of AST_LIST or of a type's dimensions */
    AST_TRANSPOSE,  /* x' */
    AST_UNARY,      /* - not */
    AST_BINARY,     /* + - * / ^ @ == != < <= > >= and or */
    AST_CONDITIONAL /* if c then a else b */
};

/* OPERATOR(identifier, spelling) */
#define AST_OPERATORS(OPERATOR)                                                                                        \
    OPERATOR(ADD, "+")                                                                                                 \
    OPERATOR(SUBTRACT, "-")                                                                                            \
    OPERATOR(MULTIPLY, "*")                                                                                            \
    OPERATOR(DIVIDE, "/")                                                                                              \
    OPERATOR(POWER, "^")                                                                                               \
    OPERATOR(MATMUL, "@")                                                                                              \
    OPERATOR(EQUAL, "==")                                                                                              \
    OPERATOR(NOT_EQUAL, "!=")                                                                                          \
    OPERATOR(LESS, "<")                                                                                                \
    OPERATOR(LESS_EQUAL, "<=")                                                                                         \
    OPERATOR(GREATER, ">")                                                                                             \
    OPERATOR(GREATER_EQUAL, ">=")                                                                                      \
    OPERATOR(AND, "and")                                                                                               \
    OPERATOR(OR, "or")                                                                                                 \
    OPERATOR(NEGATE, "-")                                                                                              \
    OPERATOR(NOT, "not")

enum ast_operator {
#define OPERATOR(identifier, spelling) AST_##identifier,
    AST_OPERATORS(OPERATOR)
#undef OPERATOR
};

struct ast_expression;

struct ast_expressions {
    struct ast_expression **items;
    int count, capacity;
};

struct ast_argument {
    const char *name; /* NULL: positional */
    struct span span; /* of name and value */
    struct ast_expression *value;
};

struct ast_arguments {
    struct ast_argument *items;
    int count, capacity;
};

struct ast_call {
    const char *callee; /* a name or a dotted path */
    struct span callee_span;
    struct ast_arguments arguments; /* the piped value is argument 0 */
    const char *label;              /* after `as`: a name or a dotted path; else NULL */
    struct span label_span;
    bool piped;  /* written x |> f(…) */
    bool listed; /* layout: has ( ), as a pipe's stage may not */
};

struct ast_expression {
    enum ast_expression_kind kind;
    struct span span;
    int depth;           /* of this tree, a leaf is 1 */
    int line, end_line;  /* layout: where it begins and ends */
    bool parenthesised;  /* layout: in parentheses */
    bool break_before;   /* layout: an item that begins a line of its own */
    bool break_operator; /* layout: its operator or `|>` begins a line */
    union {
        struct {
            double value;
            bool integer;     /* written without `.` and exponent; then |value| < 2^53 */
            const char *text; /* as written */
        } number;
        const char *string; /* its value, escapes resolved */
        bool boolean;
        const char *name;
        struct ast_expressions list;
        struct ast_call call;
        struct {
            struct ast_expression *base;
            struct ast_expressions items;
        } index;
        struct {
            struct ast_expression *low, *high, *step; /* each may be NULL */
        } slice;
        struct ast_expression *transpose;
        struct {
            enum ast_operator operator;
            struct ast_expression *operand;
        } unary;
        struct {
            enum ast_operator operator;
            struct span operator_span;
            struct ast_expression *left, *right;
        } binary;
        struct {
            struct ast_expression *condition, *then, *otherwise;
            bool break_then, break_else; /* layout */
        } conditional;
    };
};

/* ---- types and parameters ---- */

/* [n, k], u8[batch, 28, 28], class(10)[batch] */
struct ast_type {
    struct span span;
    const char *element;               /* NULL: not written; else "u8", "f32", "class", … */
    struct ast_expression *classes;    /* of class(n), else NULL */
    struct ast_expressions dimensions; /* numbers, names, arithmetic on them, calls, AST_REST */
};

/* name, name: type, name = default, name: type = default */
struct ast_parameter {
    const char *name;
    struct span span; /* of the name */
    struct ast_type *type;
    struct ast_expression *value;
    bool break_before; /* layout */
};

struct ast_parameters {
    struct ast_parameter *items;
    int count, capacity;
};

/* ---- statements ---- */

enum ast_statement_kind {
    AST_BIND,     /* a = e; a, b = e */
    AST_UPDATE,   /* a <- e */
    AST_PARAM,    /* param a: type ~ e */
    AST_DECLARE,  /* WORD a = e, where WORD is one of enum ast_declaration */
    AST_SETTING,  /* WORD e, e …: entries of the train block; `per loss` may follow */
    AST_PIN,      /* precision e { … } */
    AST_IF,       /* if e { … } else { … } */
    AST_REPEAT,   /* repeat [rolled] i in a..b as label { … } */
    AST_RETURN,   /* return e, e */
    AST_MINIMIZE, /* minimize e over patterns with optimizer { overrides } every n */
    AST_EVERY     /* evaluate every n unit; checkpoint every n unit keep 3 keep best name */
};

/* DECLARATION(identifier, word) */
#define AST_DECLARATIONS(DECLARATION)                                                                                  \
    DECLARATION(STATE, "state")                                                                                        \
    DECLARATION(LOSS, "loss")                                                                                          \
    DECLARATION(METRIC, "metric")                                                                                      \
    DECLARATION(WATCH, "watch")                                                                                        \
    DECLARATION(OUTPUT, "output")                                                                                      \
    DECLARATION(COLLECT, "collect")

enum ast_declaration {
#define DECLARATION(identifier, word) AST_DECLARE_##identifier,
    AST_DECLARATIONS(DECLARATION)
#undef DECLARATION
};

struct ast_name {
    const char *name;
    struct span span;
};

struct ast_names {
    struct ast_name *items;
    int count, capacity;
};

struct ast_statement;

/* { … } */
struct ast_block {
    struct ast_statement **items;
    int count, capacity;
    struct span span;
    int line, end_line; /* layout: of `{` and `}` */
};

/* name = value for predicates (patterns as strings, `rank < 2`, `not`; any of them suffices) */
struct ast_override {
    struct ast_name name;
    struct ast_expression *value;
    struct ast_expressions predicates;
    int line, end_line; /* layout */
};

struct ast_overrides {
    struct ast_override *items;
    int count, capacity;
    int line, end_line; /* layout: of `{` and `}`; 0 when there are none */
};

struct ast_statement {
    enum ast_statement_kind kind;
    struct span span;
    int depth;          /* of blocks in it */
    int line, end_line; /* layout */
    union {
        struct {
            struct ast_names names;
            struct ast_expression *value;
        } bind;
        struct {
            struct ast_name name;
            struct ast_expression *value;
        } update;
        struct {
            struct ast_name name;
            struct ast_type *type;
            struct ast_expression *initialiser;
        } param;
        struct {
            enum ast_declaration what;
            struct ast_name name;
            struct ast_expression *value;
            bool abbreviated; /* written `output x` */
        } declare;
        struct {
            struct ast_name word;
            struct ast_expressions values;
            struct ast_name per; /* of `scale … per loss`: loss; else its name is NULL */
        } setting;
        struct {
            struct ast_expression *precision;
            struct ast_block *body;
        } pin;
        struct {
            struct ast_expression *condition;
            struct ast_block *body;
            struct ast_block *otherwise; /* NULL: no else */
            bool chained;                /* layout: written `else if`, so `otherwise` holds that one `if` */
        } branch;
        struct {
            struct ast_name variable;
            struct ast_expression *low, *high; /* high excluded */
            struct ast_name label;             /* its name is NULL: unlabelled */
            struct ast_block *body;
            bool rolled;
        } repeat;
        struct ast_expressions returned; /* one or more */
        struct {
            bool then; /* begins a phase of its own */
            struct ast_expression *loss;
            struct ast_expressions over;      /* none: all parameters */
            struct ast_expression *optimizer; /* AST_NAME or AST_CALL */
            struct ast_overrides overrides;
            struct ast_expression *every; /* NULL: every step */
        } minimize;
        struct {
            struct ast_name word; /* evaluate or checkpoint */
            struct ast_expression *count;
            struct ast_name unit;        /* step, steps, epoch or epochs, not yet checked */
            struct ast_name keep;        /* best, lowest, highest, not yet checked; its name is NULL without `keep` */
            struct ast_name measure;     /* what `keep` looks at */
            struct ast_expression *kept; /* `keep 3`: that many checkpoints; NULL: not said */
        } every;
    };
};

/* ---- files ---- */

enum ast_definition_kind {
    AST_IMPORT,    /* import "file.net" */
    AST_OPTION,    /* option name = e */
    AST_MODEL,     /* model (…) { … } */
    AST_MODULE,    /* module name(…) { … }, likewise the next three */
    AST_FUNCTION,  /* */
    AST_OPTIMIZER, /* */
    AST_SCALER,    /* */
    AST_TRAIN      /* train { … } */
};

struct ast_definition {
    enum ast_definition_kind kind;
    struct span span;             /* of its first line */
    struct ast_name name;         /* of option, module, function, optimizer, scaler; of an import the path */
    struct ast_expression *value; /* of option */
    struct ast_parameters parameters;
    struct ast_block *body;
    int line, end_line; /* layout */
};

/* A comment from `#` on, without trailing blanks. */
struct ast_comment {
    const char *text;
    int line;
    bool alone; /* nothing stands before it on its line */
};

struct ast_file {
    const char *name; /* as in spans */
    const char *text; /* what it was parsed from, a byte order mark apart */
    struct ast_definition **items;
    int count, capacity;
    struct ast_comment *comments; /* by line */
    int comment_count, comment_capacity;
};

const char *ast_operator_text(enum ast_operator operator);
const char *ast_declaration_text(enum ast_declaration what);
/* The model's inputs; NULL where the file has no model. */
const struct ast_parameters *ast_model_inputs(const struct ast_file *file);

/* Appends to one of the lists above (any struct with items, count and capacity); memory comes from the arena. */
#define AST_APPEND(arena, list, item)                                                                                  \
    ((list)->items = ast_grow((arena), (list)->items, (list)->count, &(list)->capacity, sizeof *(list)->items),        \
     (void)((list)->items[(list)->count++] = (item)))
void *ast_grow(struct arena *arena, void *items, int count, int *capacity, size_t size);

/* ---- parsing (parse.c) ---- */

/* Parses a whole file. NULL when there is any syntax error; all of them are in `diagnostics` then. `text` must live as
 * long as the arena. The _bytes form takes texts that may hold NUL bytes (refused with a diagnostic), as read from a
 * disk. */
struct ast_file *parse_net(struct arena *arena, struct diagnostics *diagnostics, const char *file, const char *text);
struct ast_file *parse_net_bytes(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                 const char *text, size_t length);

/* One expression, such as a flag's value; `file` is what messages call it (`--lr`). NULL after a syntax error. */
struct ast_expression *parse_net_expression(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                            const char *text);

/* An entry of the train block, as a flag gives it: word "scale" and text "dynamic(init = 1024)", or word "evaluate"
 * and text "every 1 epoch". Several lines of that entry stand behind `;` or, with minimize, `then`, each with its word.
 * NULL after a syntax error. */
struct ast_block *parse_net_entry(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                  const char *word, const char *text);

#endif
