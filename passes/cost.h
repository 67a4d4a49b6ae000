/* The cost model: a roofline over what the target can do (ir/target.h).
 *
 * A kernel or library call takes the launch and then whichever is longest: moving its bytes, its products at the rate
 * of their operands' type, or its pointwise arithmetic. Nothing overlaps with the next kernel. The model is there to
 * compare programs of one network on one device; what a step really takes, `castor compare` and `castor profile`
 * measure. */
#ifndef CASTOR_PASSES_COST_H
#define CASTOR_PASSES_COST_H

#include "ir/target.h"
#include "passes/kernels.h"

struct kernel_cost {
    double bytes;   /* reads of every nest and writes, as values lie in memory */
    double flops;   /* all arithmetic */
    double seconds; /* 0 where the target's figures are unknown */
};

/* Of one kernel of a fused graph. */
struct kernel_cost cost_kernel(const struct kernel_use *use, const struct target *target);

/* All kernels and copies of a graph after pass memory: their sum. With `each` (one element a kernel; may be NULL) the
 * costs by kernel number - 1. */
struct kernel_cost cost_graph(const struct graph *graph, const struct target *target, struct kernel_cost *each);

/* One training step: graph train, or micro as often as is accumulated and update; without them the first graph. */
struct kernel_cost cost_step(const struct module *module, const struct target *target);

/* ---- of single nodes, before any policy ---- */

/* Operands and result in their own types. */
double node_bytes(const struct node *node);
/* Arithmetic operations; a multiplication and an addition in a contraction count two. */
double node_flops(const struct node *node);

#endif
