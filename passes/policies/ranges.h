/* Recorded ranges: how large the values of a model are, node by node, as exponent histograms.
 *
 * A recording is made before pass precision (after gradients and dce), where a model has the same nodes whatever
 * policy follows: a value is known by its place in the graph and its op, and in other graphs by its name. */
#ifndef CASTOR_PASSES_POLICIES_RANGES_H
#define CASTOR_PASSES_POLICIES_RANGES_H

#include "passes/policies/policy.h"

enum { RANGE_LOW = -160, RANGE_HIGH = 128, RANGE_BINS = RANGE_HIGH - RANGE_LOW + 1 };

struct range {
    double largest;                 /* finite magnitude */
    int64_t count, zeros, infinite; /* elements; of them 0; infinite or NaN */
    int64_t bins[RANGE_BINS];       /* by exponent, RANGE_LOW first */
};

void range_add(struct range *range, const double *values, int64_t count);
/* Shares of the elements, were they multiplied by `scale`: not 0 and below 2^-24 (lost in f16), and from there to
 * 2^-14 (subnormal). */
double range_lost(const struct range *range, double scale);
double range_subnormal(const struct range *range, double scale);

/* A recording in memory, and as a file (JSON). */
struct ranges;

struct ranges *ranges_new(struct arena *arena);
/* Releases what is not in the arena; NULL is allowed. */
void ranges_free(struct ranges *ranges);
/* Gives each node (node->mark) the place by which ranges_of and ranges_find know it: only what is computed counts, so
 * that a graph with other inputs, draws or outputs has the same places. To be called before them. */
void ranges_number(struct graph *graph);
/* The range of a node, made where there is none. */
struct range *ranges_of(struct ranges *ranges, const struct graph *graph, const struct node *node);
/* NULL when nothing was recorded of it. */
const struct range *ranges_find(const struct ranges *ranges, const struct graph *graph, const struct node *node);
/* The largest magnitude of any backward value. */
double ranges_largest_gradient(const struct ranges *ranges);

/* False when the file cannot be written. */
bool ranges_print(const struct ranges *ranges, FILE *out);
/* NULL after a diagnostic (E0613). */
struct ranges *ranges_read(struct arena *arena, struct diagnostics *diagnostics, const char *path, struct span where);

/* Gives a policy what was recorded: for plugins to ask, and for algorithm ranges, whose scale follows from it. */
void policy_take_ranges(struct policy *policy, const struct ranges *ranges);

#endif
