/* What the files of pass remat share.
 *
 * Time is counted in turns: a kernel, or the kernels of a strip, which run together. A value is what a kernel stores
 * and others load. Its recipe is the part of its kernel that makes it, as a kernel of its own: the same nodes on the
 * same loads in the same order, so the same bits. */
#ifndef CASTOR_PASSES_REMAT_H
#define CASTOR_PASSES_REMAT_H

#include "passes/kernels.h"
#include "passes/pass.h"
#include "passes/strips.h"

struct recipe {
    bool possible;             /* a kernel can make the value alone, and it writes nothing */
    struct node *const *nodes; /* the kernel's nodes that it takes, operands first */
    int node_count;
    const int *loads; /* the values that it needs */
    int load_count;
    double seconds; /* that it takes (passes/cost.h) */
};

struct remat_value {
    struct node *node;
    int kernel;            /* index of the one that stores it */
    int64_t bytes;         /* as it lies in memory */
    bool kept;             /* put out: needed at the end */
    int *uses;             /* stb_ds array: turns behind its own whose kernels load it, in order */
    struct recipe *recipe; /* NULL: nobody asked so far */
};

/* A store that may take the memory of a load that dies in its kernel. */
struct remat_reuse {
    int store, load; /* values */
};

struct remat_turn {
    int first, count; /* indices of kernels */
    const int *loads; /* values made before it that it needs, each once */
    int load_count;
    const int *stores; /* values that it makes */
    int store_count;
    const struct remat_reuse *reuses;
    int reuse_count;
};

struct remat_problem {
    struct graph *graph;
    const struct target *target;
    struct arena *arena;
    struct kernel_set set;
    struct remat_value *values;
    int *value_of; /* by node id: index into values, -1 for none */
    struct remat_turn *turns;
    int value_count, turn_count;
};

/* Reads the problem off a scheduled graph whose nodes are numbered; remat_problem_free releases what is not in the
 * arena. */
struct remat_problem *remat_problem_new(struct graph *graph, const struct target *target, struct arena *arena);
void remat_problem_free(struct remat_problem *problem);
const struct recipe *remat_recipe(struct remat_problem *problem, int value);

/* One kernel of the step: an old one in its turn, or a recipe once more. */
struct remat_entry {
    int kernel; /* index; -1: the recipe */
    int value;  /* of the recipe */
};

struct remat_plan {
    bool possible;
    struct remat_entry *entries; /* stb_ds array, in the order of execution */
    int recomputed;              /* how many of them are recipes */
    double seconds;              /* that those take */
    int64_t peak;                /* the largest sum of live bytes, as far as it can be told before pass memory */
};

/* Runs through the step with `budget` bytes; free with remat_plan_free. */
struct remat_plan remat_plan_make(struct remat_problem *problem, int64_t budget);
void remat_plan_free(struct remat_plan *plan);

/* Rewrites the problem's graph by the plan. Each recipe asks pass_may_rewrite; without it its users take the value as
 * it was. */
void remat_apply(struct remat_problem *problem, const struct remat_plan *plan, struct pass_context *context);

#endif
