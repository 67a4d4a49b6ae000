/* What the files of the elaborator share: values, frames, the elaborator itself.
 *
 * Evaluation never stops at an error: it reports, yields the value VALUE_ERROR, and everything made from that is
 * VALUE_ERROR too, in silence. So several errors of a file are reported in one run. */
#ifndef CASTOR_FRONTEND_LANGUAGE_ELABORATE_INTERNAL_H
#define CASTOR_FRONTEND_LANGUAGE_ELABORATE_INTERNAL_H

#include "frontend/language/ast.h"
#include "frontend/language/elaborate.h"

/* Limits that turn a mistake into a diagnostic instead of an endless compilation. */
enum { DEPTH_MAX = 1500, TURNS_MAX = 1000000, NODES_MAX = 2000000 };
#define ELEMENTS_MAX ((int64_t)1 << 40)

/* ---- values ---- */

/* A named dimension. Two axes are known to be one dimension when they point to the same one. */
struct dimension {
    const char *name;
    int64_t size;
};

/* What is known of an axis besides its size: its name, and what made it, for messages. */
struct axis {
    const struct dimension *dimension; /* NULL: unnamed */
    const char *from;                  /* "`param head`" */
    struct span span;
};

enum value_kind {
    VALUE_ERROR,
    VALUE_NUMBER,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_TYPE, /* f16, in cast(x, f16) */
    VALUE_LIST,
    VALUE_TUPLE, /* several results of one call */
    VALUE_RATIO, /* ratio(a, b): two tensors */
    VALUE_TENSOR
};

struct value {
    enum value_kind kind;
    bool integer;                      /* number: exact */
    bool derived;                      /* number: made from a dimension, so that division must be exact */
    const struct dimension *dimension; /* number: it is this dimension */
    double number;                     /* number; bool: 0 or 1; type: enum element */
    const char *text;                  /* string */
    const struct value *items;         /* list, tuple, ratio */
    int count;
    struct node *node;       /* tensor */
    const struct axis *axes; /* tensor: one an axis */
    int64_t classes;         /* tensor: class(n); 0: none */
};

/* ---- frames: one a scope (model, module instance, function, optimizer, scaler) ---- */

struct definition; /* unit.h part below */

struct binding {
    const char *key; /* interned */
    struct value value;
    struct variable *variable; /* param, state or the optimizer's p: `<-` may set it */
};

struct instance {
    const char *key; /* label */
    const void *site;
    const struct definition *definition;
    struct value *arguments; /* of the first call, one a parameter: later calls may leave them out */
    struct span span;
};

struct counter {
    const char *key; /* callee */
    int value;
};

struct dimension_entry {
    const char *key;
    struct value value;
};

struct frame {
    struct frame *caller;
    const struct definition *definition; /* NULL: the model or the train block */
    bool prelude;                        /* its text is the prelude's */
    const char *path;                    /* of the instance, "" for the model; parameters live under it */
    const char *value_path;              /* names of bound values live under it: the path, and calls of functions */
    const char *scope;                   /* ir/scope.h */
    const char *prefix;                  /* labels get it in a labelled repeat: "layer1.0." or "" */
    bool single;                         /* in a labelled repeat whose body has one unlabelled module call */
    struct binding *bindings;            /* stb_ds hash by interned pointer */
    struct instance *instances;          /* likewise */
    struct counter *counters;            /* likewise */
    struct dimension_entry *dimensions;  /* likewise */
    struct value result;
    bool returned;
    int draws; /* random draws so far: the ordinal in a draw's key */
    const char *optimizer_prefix; /* optimizers and scalers: variables of `state` are named PREFIX + name */
    const char *parameter;        /* optimizers: the parameter's name */
    int gate;                     /* of the writes made here */
};

/* ---- the unit: definitions and options ---- */

enum definition_kind { DEFINITION_MODULE, DEFINITION_FUNCTION, DEFINITION_OPTIMIZER, DEFINITION_SCALER };

#endif
