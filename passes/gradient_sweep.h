/* One walk backwards through a graph, as pass gradients makes it: what the walk knows, and how loops take part. */
#ifndef CASTOR_PASSES_GRADIENT_SWEEP_H
#define CASTOR_PASSES_GRADIENT_SWEEP_H

#include "ir/graph.h"

/* Nodes outside low … high have no part in it. */
struct sweep {
    struct graph *graph;
    struct arena *arena; /* of this sweep alone */
    int low, high;       /* ids of the first x and of the last y */
    bool *active;        /* by id - low: depends on an x */
    struct node **sums;  /* by id - low: gradient gathered so far, NULL: none */
    struct node ***pads; /* by id - low: what has come to it as padded parts along one axis; stb_ds arrays */
};

/* A sweep over the nodes low … high, none of them active yet. */
void sweep_open(struct sweep *sweep, struct graph *graph, int low, int high);
void sweep_close(struct sweep *sweep);

/* Marks what depends on an x by a path that gradients can take; the x themselves are marked by the caller. */
void sweep_spread(struct sweep *sweep);
bool sweep_is_active(const struct sweep *sweep, const struct node *node);
/* Sends on what has been contributed, from the last node to the first. */
void sweep_run(struct sweep *sweep);

/* Adds `gradient`, made by `builder`, to what has come to `node`. */
void sweep_contribute(struct sweep *sweep, struct builder *builder, struct node *node, struct node *gradient);
/* The sum of all that has come to the node; NULL: nothing. */
struct node *sweep_gradient(struct sweep *sweep, const struct node *node);

/* A builder for what node `at` contributes to the backward pass. */
struct builder sweep_builder(struct graph *graph, const struct node *at);

/* Sends the gradients of a loop's results on to its operands, by another loop (gradient_loop.c). */
void sweep_loop(struct sweep *sweep, struct node *loop);

#endif
