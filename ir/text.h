/* What the grammar of the text form (text.l, text.y) calls to build a module; private to them and parse.c. */
#ifndef CASTOR_IR_TEXT_H
#define CASTOR_IR_TEXT_H

#include "ir/graph.h"

enum text_value_kind { TEXT_INTEGER, TEXT_REAL, TEXT_STRING, TEXT_WORD, TEXT_LIST };

/* The right-hand side of an attribute. A number has all three readings. */
struct text_value {
    enum text_value_kind kind;
    double real;
    int64_t integer;
    uint64_t bits;
    const char *text; /* TEXT_STRING, TEXT_WORD: interned */
    int64_t *list;    /* TEXT_LIST: stb_ds array */
};

struct text_name {
    const char *key; /* interned, as written behind the "%" */
    struct node *value;
};

enum { TEXT_FIELDS_MAX = 8 };

/* The node whose line is being read. */
struct text_draft {
    struct node node;
    struct attributes attributes;
    struct node **operands; /* stb_ds array, emptied and used again for each node */
    const char *key;
    struct span span;            /* of its name in the IR text */
    unsigned set;                /* bit i: field i of the op's attribute kind was given … */
    int length[TEXT_FIELDS_MAX]; /* … as a list of so many numbers */
    bool has_type;
    bool broken; /* an error was reported: it is not built */
};

struct text_unnumbered {
    struct node *node;
    uint32_t wanted; /* the number that it is called by, 0 for none */
};

struct text_rule {
    const char *name;
    struct span span;
};

struct text_reader {
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct module *module;
    const char *file;
    int line, column; /* of the lexer */
    bool at_end;      /* the lexer has ended the last line */
    struct graph *graph;
    struct text_name *names; /* stb_ds hash: the nodes of the graph so far */
    struct node *unknown;    /* stands for operands that could not be read */
    struct text_draft draft;
    struct text_unnumbered *unnumbered; /* stb_ds array */
    struct text_rule *rules;            /* stb_ds array: the functions that `scaling` names */
};

/* Module items. */
void text_accumulate(struct text_reader *reader, const struct text_value *value, struct span at);
/* Numbers that must be whole, and fit: reported where they do not. */
int64_t text_whole(struct text_reader *reader, const struct text_value *value, struct span at);
int text_int(struct text_reader *reader, const struct text_value *value, struct span at);
uint32_t text_origin(struct text_reader *reader, const struct text_value *value, struct span at);
void text_origins(struct text_reader *reader, const struct text_value *value, struct span at);
void text_variable(struct text_reader *reader, const struct variable *variable, const char *kind, struct span at,
                   struct span kind_at);
void text_minimize(struct text_reader *reader, const struct minimize *minimize, struct span at);
void text_rule(struct text_reader *reader, const char *rule, struct span at);
void text_scaling(struct text_reader *reader, bool explicit, struct span span);
enum text_graph_kind { TEXT_GRAPH, TEXT_BODY, TEXT_FUNCTION };
void text_begin_graph(struct text_reader *reader, const char *name, enum text_graph_kind kind, int64_t batch,
                      struct span at);
void text_end_graph(struct text_reader *reader);

/* One node: its name and op, its arguments, its type and fields, its end. */
void text_begin_node(struct text_reader *reader, const char *key, const char *op, struct span at, struct span op_at);
void text_operand(struct text_reader *reader, const char *key, struct span at);
/* `name` NULL: a value without a name. `value` NULL: a flag. */
void text_attribute(struct text_reader *reader, const char *name, const struct text_value *value, struct span at);
void text_placement(struct text_reader *reader, const char *space, const char *symbol, int64_t offset, struct span at);
void text_end_node(struct text_reader *reader);

/* A type from its parts; `order` may be NULL. */
struct type text_type(struct text_reader *reader, const char *element, const int64_t *dimensions, const int64_t *order,
                      struct span at);
enum element text_element(struct text_reader *reader, const char *name, struct span at);
struct span text_span(struct text_reader *reader, const char *text);
const char *text_unescape(struct arena *arena, const char *text, size_t length);

#endif
