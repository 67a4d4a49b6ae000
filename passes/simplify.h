/* Between the files of pass simplify: each group of rules is one function that is offered a node whose operands are
 * simplified, and answers with what the node may become, or NULL. */
#ifndef CASTOR_PASSES_SIMPLIFY_H
#define CASTOR_PASSES_SIMPLIFY_H

#include "passes/pass.h"

struct simplifier {
    struct builder builder; /* at the node being simplified */
    struct pass_context *context;
};

struct node *simplify_pointwise(struct simplifier *simplifier, struct node *node);
struct node *simplify_movement(struct simplifier *simplifier, struct node *node);
struct node *simplify_gather(struct simplifier *simplifier, struct node *node);
struct node *simplify_reduction(struct simplifier *simplifier, struct node *node);
struct node *simplify_matmul(struct simplifier *simplifier, struct node *node);

/* `by` when it has the node's very type and the rewrite is allowed, else NULL. */
struct node *simplify_become(struct simplifier *simplifier, const struct node *node, struct node *by);
/* A tensor of one value in the node's type, when the rewrite is allowed, else NULL. */
struct node *simplify_full(struct simplifier *simplifier, const struct node *node, double value);

#endif
