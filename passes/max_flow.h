/* Maximum flow and minimum cut (Dinic, 1970): linear memory, and fast on the shallow networks that graphs of
 * operations make. Capacities are whole numbers, so that equal networks give equal cuts. */
#ifndef CASTOR_PASSES_MAX_FLOW_H
#define CASTOR_PASSES_MAX_FLOW_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { FLOW_SOURCE, FLOW_SINK, FLOW_FIRST }; /* nodes are numbered from FLOW_FIRST */

/* More than any cut can cost. */
#define FLOW_INFINITE (INT64_MAX / 4)

struct flow;

struct flow *flow_new(int node_count);
void flow_free(struct flow *flow);

/* Adds an arc; `back` is the capacity of its reverse. Capacities of several arcs add up. */
void flow_arc(struct flow *flow, int from, int to, int64_t capacity, int64_t back);

/* The value of a maximum flow; the network is spent afterwards. */
int64_t flow_solve(struct flow *flow);

/* After flow_solve: whether the node lies on the source's side of the minimum cut that is nearest to the source. */
bool flow_at_source(const struct flow *flow, int node);

#endif
