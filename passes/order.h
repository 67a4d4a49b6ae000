/* The node list of a graph whose kernels are numbered in their order of execution. */
#ifndef CASTOR_PASSES_ORDER_H
#define CASTOR_PASSES_ORDER_H

#include "ir/graph.h"

/* Lists the stored nodes kernel by kernel, from 1 to `kernels`, those of one kernel in the order in which they stood
 * and next to each other; what they are computed from just before its first user, what has no kernel last. Numbers the
 * nodes. */
void order_by_kernel(struct graph *graph, int kernels);

#endif
