/* Gradient rules: what flows back from a node's result to one of its operands. One function a row of the gradient
 * column of ir/ops.def. */
#ifndef CASTOR_PASSES_GRADIENT_RULES_H
#define CASTOR_PASSES_GRADIENT_RULES_H

#include "ir/graph.h"

/* Builds the gradient of operand i of node y, given dy, the gradient of y (of y's shape and element type). The result
 * has the operand's shape; the caller converts its element type. It is only called for floating operands that the
 * gradient is wanted of. NULL: nothing flows to this operand. */
typedef struct node *gradient_rule(struct builder *builder, struct node *y, struct node *dy, int i);

/* gradient_none, gradient_add, … */
#define POINTWISE(name, arity, element, gradient, expression, flops, help) gradient_rule gradient_##gradient;
#define OTHER(name, arity, class, attributes, gradient, help) gradient_rule gradient_##gradient;
#include "ir/ops.def"

/* The rule of an op, gradient_none where no gradient flows. */
gradient_rule *gradient_rule_of(enum op op);

/* a * value, in a's element type. */
struct node *gradient_scale(struct builder *builder, struct node *a, double value);
/* A tensor of one value in the element type and shape of `like`. */
struct node *gradient_full(struct builder *builder, double value, const struct node *like);

#endif
