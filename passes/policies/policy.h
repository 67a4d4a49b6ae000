/* Casting policies: which nodes are computed in half precision, as text files and as data.
 *
 * A policy is a list of rules. policy_load reads one (a built-in or a file) with everything that it extends;
 * policy_check compares it with the model that it is to be used on; passes/precision.c asks the matcher (match.h) for
 * each node. The language and its meaning are described in passes/policies/README.md. */
#ifndef CASTOR_PASSES_POLICIES_POLICY_H
#define CASTOR_PASSES_POLICIES_POLICY_H

#include "ir/graph.h"

#include <stdio.h>

/* How a policy goes from its rules to types. */
enum policy_algorithm {
    ALGORITHM_LISTS,  /* a rule decides the nodes that it matches */
    ALGORITHM_PAINT,  /* rules are grappler's lists, flooded over the graph (paint.c) */
    ALGORITHM_COST,   /* the cheapest of several policies, chosen before any pass runs (passes/choose.h) */
    ALGORITHM_RANGES, /* by recorded ranges (ranges.c) */
    ALGORITHM_NAMED,  /* those above can stand in a text */
    ALGORITHM_CUT = ALGORITHM_NAMED, /* a minimum cut by what values cost to move; rules for f32 deny (cut.c) */
    ALGORITHM_PLUGIN,                /* a function of a shared object (plugin.c) */
    ALGORITHM_COUNT
};

/* What a rule makes of the nodes that it matches. */
enum precision_class {
    PRECISION_NONE,    /* no rule */
    PRECISION_HALF,    /* the policy's half type */
    PRECISION_F32,     /* f32 */
    PRECISION_PROMOTE, /* the widest operand */
    PRECISION_FOLLOW   /* as the operands are: also the widest, since that is what an op does that no list names */
};

/* A name in a rule, where it stands, and the next one of the list. */
struct policy_name {
    const char *text; /* interned */
    struct span span;
    struct policy_name *next;
};

/* What a rule matches: all parts that it has must hold. A rule without regions matches forward nodes only; one that
 * names scopes has no other part. */
struct policy_rule {
    enum precision_class class;
    const char *text; /* as written, on one line: "half op matmul, conv" */
    struct span span;
    int order;     /* of two rules that match, the later one decides */
    bool built_in; /* from a file of Castor: may name what a model does not have */
    bool keep;     /* a `keep`: a scope rule that wins over all others */
    const struct policy_name *ops;
    const struct policy_name *scopes; /* callees, instance paths, or patterns of paths with `*` */
    unsigned regions;                 /* bit i: enum region i */
    const struct policy_condition *where;
    struct policy_rule *next;
};

/* `where` conditions and the arithmetic in them. */
enum policy_operator {
    POLICY_NUMBER,
    POLICY_QUANTITY,  /* value of the node: see policy_quantity */
    POLICY_DIMENSION, /* dimension(value) of the result; negative counts from the end; 0 where there is none */
    POLICY_ADD,
    POLICY_SUBTRACT,
    POLICY_MULTIPLY,
    POLICY_DIVIDE,
    POLICY_LESS,
    POLICY_LESS_EQUAL,
    POLICY_EQUAL,
    POLICY_NOT_EQUAL,
    POLICY_AND,
    POLICY_OR,
    POLICY_NOT
};

enum policy_quantity {
    QUANTITY_BYTES,    /* operands and result, before any policy */
    QUANTITY_FLOPS,    /* arithmetic operations; a multiplication and an addition in a contraction count two */
    QUANTITY_ELEMENTS, /* of the result */
    QUANTITY_RANK,     /* of the result */
    QUANTITY_COUNT
};

struct policy_condition {
    enum policy_operator operator;
    double value; /* POLICY_NUMBER, POLICY_DIMENSION */
    enum policy_quantity quantity;
    const struct policy_condition *left, *right;
    int depth;
};

struct policy {
    struct arena *arena;
    struct diagnostics *diagnostics;
    const char *name; /* "autocast" */
    const char *file; /* "autocast.policy", or the path of a user's file */
    const char *text; /* of the file */
    const struct policy *base;
    enum element half;
    enum policy_algorithm algorithm;
    struct policy_rule *rules, *last_rule; /* those of the extended policy first */
    const struct policy_rule *otherwise;   /* `default`: for nodes that no rule matches */
    bool gradients_f32;                    /* weight gradients */
    bool masters_f32;                      /* parameters and optimizer state */
    const char *gradients_reason, *masters_reason;
    const float *traffic; /* ALGORITHM_CUT: by origin, how often the value is written to and read from memory */
    uint32_t traffic_count;
    const struct castor_policy *plugin; /* ALGORITHM_PLUGIN */
    const struct ranges *ranges;        /* what was recorded of the model's values; NULL: nothing */
    const char *verdict; /* of a policy that was chosen among several: what each would have cost; else NULL */
    const char *scale;   /* text of a scale rule in the .net language: "dynamic", "none", "static(128)" */
};

/* A row of `castor policies`. */
struct policy_info {
    const char *name, *alias, *help;
};

/* Loads a built-in policy ("autocast", "o1"), one with its half type ("autocast(bf16)"), or a file ("mine.policy").
 * `half` overrides what the text says; ELEMENT_NONE asks for none, and without any it is f16. `where` is where the
 * user wrote the name (where.file NULL: on the command line). NULL after diagnostics (E06xx). The policy lives as
 * long as the arena. */
struct policy *policy_load(struct arena *arena, struct diagnostics *diagnostics, const char *text, enum element half,
                           struct span where);

/* Reports rules that name what does not exist: `definitions` are the names of all modules and functions that the
 * model could call (prelude and files); instances are those of the module's scopes. With definition_count 0 only
 * instances and keeps are checked. Also keeps that match nothing or contradict each other. False after diagnostics. */
bool policy_check(const struct policy *policy, const struct module *module, const char *const *definitions,
                  size_t definition_count);

/* How the loss is to be scaled when neither a flag nor the train block says so: an expression of the .net language
 * over the scale rules of the prelude; "none" for bf16. */
const char *policy_scale(const struct policy *policy);

/* The built-in policies, for `castor policies`. */
const struct policy_info *policy_table(size_t *count);

/* Prints the policy's text and, before it, that of the policies which it extends. */
void policy_explain(const struct policy *policy, FILE *out);

const char *precision_class_name(enum precision_class class);
const char *policy_algorithm_name(enum policy_algorithm algorithm);

#endif
