/* Passes: graph -> graph, one pass a file, all in one table (passes.def). */
#ifndef CASTOR_PASSES_PASS_H
#define CASTOR_PASSES_PASS_H

#include "ir/graph.h"
#include "ir/target.h"

struct policy;

/* What the values of a training step may take in memory; both 0: all that they like. */
struct memory_budget {
    int64_t bytes;     /* --memory-budget 2G */
    double share;      /* --memory-budget 60%: of what they take without a budget, 0.6 */
    int64_t whole;     /* what they take without one, where it is known; 0: pass remat takes what it finds */
    int64_t workspace; /* bytes of it for the workspaces of kernels, where they are known; 0: pass remat leaves some */
    struct span span;  /* of the flag's text */
};

/* Whether the budget is there for this graph: one of the training step, where anything can be done about it. */
bool memory_budget_bounds(const struct memory_budget *budget, const struct graph *graph);

/* What passes may know besides the graph. Shared by all graphs of one compilation. */
struct pass_context {
    const struct target *target;
    const struct policy *policy;
    int64_t limit; /* --pass-limit: rewrites still allowed; negative: no limit */
    struct memory_budget budget;
    int64_t granted; /* left by pass remat: the budget in bytes of the largest graph that it kept within it; 0: none */
    bool debug_unfused; /* every node a kernel of its own: the reference for "fused equals unfused" */
};

/* Asks for permission for one rewrite; false once the limit is used up. Passes ask before each rewrite that could be
 * left out, so that bisecting over --pass-limit finds the one that breaks something; what the later pipeline can't do
 * without (gradients, accumulate, loss_scale) is not counted. */
bool pass_may_rewrite(struct pass_context *context);

struct pass {
    const char *name, *help;
    void (*run)(struct graph *graph, struct pass_context *context);
};

#define PASS(name, help) void pass_##name(struct graph *graph, struct pass_context *context);
#include "passes/passes.def"
#undef PASS

/* The table, in the order in which the pipeline first runs them, and its length. */
const struct pass *pass_table(size_t *count);
const struct pass *pass_find(const char *name);

#endif
