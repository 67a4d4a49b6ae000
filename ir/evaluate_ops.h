/* The evaluator's own parts: the ops by class, each filling the values of one result. Private to ir/evaluate*.c. */
#ifndef CASTOR_IR_EVALUATE_OPS_H
#define CASTOR_IR_EVALUATE_OPS_H

#include "ir/evaluate.h"

/* One node with its operands' values; the result has room for its elements and is zero at first. */
struct evaluate_call {
    const struct node *node;
    const struct tensor *const *operands;
    struct tensor *result;
};

void evaluate_reduce(const struct evaluate_call *call);
void evaluate_cumsum(const struct evaluate_call *call);
void evaluate_suppressed(const struct evaluate_call *call);
void evaluate_movement(const struct evaluate_call *call);
void evaluate_fold(const struct evaluate_call *call);
void evaluate_gather(const struct evaluate_call *call);
void evaluate_scatter_add(const struct evaluate_call *call);
void evaluate_matmul(const struct evaluate_call *call);
void evaluate_convolution(const struct evaluate_call *call);
void evaluate_tap_sums(const struct evaluate_call *call);

/* What a loop leaves, by the number of the body's output, in the arena. */
struct tensor **evaluate_loop(const struct module *module, const struct node *loop,
                              const struct tensor *const *operands, const struct environment *environment,
                              enum evaluate_mode mode, struct arena *arena);
/* What a body sees: the same variables, inputs of its own. Lives in the arena, but for what environment_leave frees. */
struct environment *environment_within(const struct environment *outer, struct arena *arena);
void environment_leave(struct environment *environment);

/* Counts through the places of a shape in row-major order, last axis fastest; start with an index of zeros. */
static inline void evaluate_next(const struct shape *shape, int64_t index[RANK_MAX])
{
    for (int axis = shape->rank - 1; axis >= 0; axis--) {
        if (++index[axis] < shape->dimension[axis])
            return;
        index[axis] = 0;
    }
}

/* Row-major strides in elements. */
static inline void evaluate_strides(const struct shape *shape, int64_t strides[RANK_MAX])
{
    int64_t stride = 1;
    for (int axis = shape->rank - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= shape->dimension[axis];
    }
}

#endif
