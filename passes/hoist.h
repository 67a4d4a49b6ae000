/* The parts of pass hoist. */
#ifndef CASTOR_PASSES_HOIST_H
#define CASTOR_PASSES_HOIST_H

#include "passes/loops.h"
#include "passes/pass.h"

/* Sums that the loop carries and that can be made behind it leave it: what takes their results, among the `count` nodes
 * that follow the loop, will take the sums made here (node->replacement). The loop is the graph's last node. */
void hoist_sums(struct graph *graph, struct node *loop, struct graph *body, struct node *const *behind, ptrdiff_t count,
                struct pass_context *context);

#endif
