/* What the parts of pass precision share: what is known of each node while its type is being decided. */
#ifndef CASTOR_PASSES_PRECISION_H
#define CASTOR_PASSES_PRECISION_H

#include "passes/pass.h"
#include "passes/policies/match.h"

/* Indexed by node->id during the pass. */
struct choice {
    enum element nominal; /* the type by rule; the node's own may be f32 inside of a chain */
    enum element carried; /* in an operator: the join of what came into it; NONE: nothing that counts */
    enum element operand; /* contractions: the type of both operands */
    bool weak;            /* made from variables and constants alone: never widens a result */
    bool inner;           /* used only inside its operator, or inside the backward nodes of one node */
    bool sum;             /* adds up gradients that arrive at one value */
    const char *sums;     /* a sum of gradients that all leave one operator: that operator */
    bool scalar_result;   /* feeds a loss or metric through scalars */
    bool state_only;      /* ends in writes alone */
    enum element decided; /* what the policy's algorithm says; NONE: nothing, its rules stand */
    const char *decided_reason;
    const struct scope_verdict *scope;
    const char *reason;
};

struct precision {
    struct graph *graph;
    const struct policy *policy;
    struct pass_context *context;
    struct matcher *matcher;
    struct choice *choices;
    int *use_start; /* users of node i: uses[use_start[i]] up to uses[use_start[i + 1]] */
    struct node **uses;
    struct node **by_origin; /* node of each origin; NULL where it is in no or another graph */
};

/* True when the node lies in a scope that acts as one operator: f32 inside, its results as the class says. */
bool precision_in_operator(const struct choice *choice);

/* Both nodes lie in the same operator; or, for backward nodes outside of operators, differentiate the same node. */
bool precision_same_group(const struct precision *precision, const struct node *a, const struct node *b);

/* True for movement of one operand, which keeps its operand's type. */
bool precision_moves(const struct node *node);

/* The widest of the operands that count (floating, not weak), ELEMENT_NONE when there are none; *widest is the operand
 * that decided. */
enum element precision_join_operands(const struct precision *precision, const struct node *node,
                                     const struct node **widest);
/* Join of two types, either of which may be ELEMENT_NONE; f16 with bf16 gives f32. */
enum element precision_join(enum element a, enum element b);

/* Sets nominal type, and operand type of contractions, by a class outside of operators. */
void precision_by_class(struct precision *precision, struct node *node, enum precision_class class, const char *reason);
void precision_set(struct precision *precision, struct node *node, enum element element, const char *reason);

/* The type of a result of the node's operator. */
enum element precision_operator_result(const struct choice *choice);

/* Whether an algorithm may decide the node: a floating value that neither the source nor the graph's ends fix. */
bool precision_is_free(const struct precision *precision, const struct node *node);
/* The reason of the policy's list or rule that wants a forward node in f32; NULL: none does. */
const char *precision_rule_for_f32(const struct precision *precision, const struct node *node);
void precision_tell(struct precision *precision, const struct node *node, enum element element, const char *reason);

/* The algorithms, one a file in policies/: each fills `decided` of the nodes that it has something to say of. */
void precision_paint(struct precision *precision);
void precision_cut(struct precision *precision);
void precision_ranges(struct precision *precision);
void precision_plugin(struct precision *precision);

/* Contraction, bias, activation: the node's next one when it is its only use, pointwise with all other operands weak;
 * else NULL. Whether the types let them be a chain is another question. */
struct node *precision_chain_next(const struct precision *precision, const struct node *node);

/* Decides a node whose operands are decided; `initial` in graph init, whose values are all f32. */
void precision_decide(struct precision *precision, struct node *node, bool initial);
/* Decides a backward node that no pin, cast or movement decides. */
void precision_backward(struct precision *precision, struct node *node);
/* Whether the node adds gradients that arrive at the value which it stands for, and whether all of them leave one
 * operator: fills `sum` and `sums`. Operands come first. */
void precision_find_sum(const struct precision *precision, const struct node *node);
/* The type of the gradient that leaves the backward nodes of one node or operator here, told by its users: *strong by
 * values, *weak by parameters and variables. */
void precision_ask_users(const struct precision *precision, const struct node *node, enum element *strong,
                         enum element *weak);
/* The operator whose result a node is or adds to others of it; NULL for none. */
const char *precision_leaves(const struct choice *choice);

/* "matmul fc1.y" or "matmul at m.net:12:5": how reasons speak of another node. */
const char *precision_node_text(const struct precision *precision, const struct node *node);

#endif
