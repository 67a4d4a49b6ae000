/* What several rewriting passes ask of a node. */
#ifndef CASTOR_PASSES_REWRITE_H
#define CASTOR_PASSES_REWRITE_H

#include "ir/graph.h"

/* True when a movement op also rounds to another element type than its operand's. */
bool movement_rounds(const struct node *movement);

/* True when all elements are one number known at compile time, a constant seen through movement; sets *value. */
bool node_uniform(const struct node *node, double *value);
/* The larger one of a value and zero. */
bool node_is_relu(const struct node *node);

/* x of x * factor, where that is a number; NULL for all else. */
struct node *node_times_number(const struct node *node, double *factor);

/* False for an iota in bytes that counts further than they do: there it stays at 255. */
bool iota_is_exact(const struct node *iota);

/* True for 0, 1, 2, … along the one axis that is longer than 1. */
bool node_counts(const struct node *node);

/* How many elements of the operand meet in one element of a reduction's result. */
int64_t reduced_elements(const struct node *reduction);

/* True for a permute that exchanges the last two axes, leaves the others and rounds nothing. */
bool node_is_transpose(const struct node *node);

/* Reads a matmul's operands through transposes, by its flags. True when something changed. */
bool matmul_fold_transposes(struct arena *arena, struct node *matmul);

/* Users take what their operands were replaced by; nodes that have been replaced go. Numbers the graph. */
void graph_apply_replacements(struct graph *graph);

/* Lets `node` be replaced by `by` from now on; a name that only the former has moves to the latter. */
void node_replace(struct node *node, struct node *by);

#endif
