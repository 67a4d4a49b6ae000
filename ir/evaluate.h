/* The meaning of a graph: every op in double precision, the result rounded to the node's own element type.
 *
 * Simple, slow, and the oracle for every backend, for gradient checks and for constant folding. It shares no code with
 * codegen. Memory layouts and kernels do not matter to it: all arrays are row-major. The markers mean what they mean
 * without loss scaling (scale_seed is 1, unscale and stop_gradient are their operand); `grad` must be expanded first.
 * An index of gather that is out of range gives NaN (0 for integers), one of scatter_add is passed over. */
#ifndef CASTOR_IR_EVALUATE_H
#define CASTOR_IR_EVALUATE_H

#include "ir/graph.h"

/* Values in row-major order. Integers above 2^53 are not exact. */
struct tensor {
    enum element element;
    struct shape shape;
    double *values;
};

/* What a graph sees: inputs, variables and, for functions, arguments. */
struct environment;

struct environment *environment_new(void);
void environment_free(struct environment *environment);

/* Each copies shape_elements(type->shape) values, rounded to the type's element (exact: pass f64); an older tensor of
 * the same name is replaced. */
void environment_set_input(struct environment *environment, const char *name, const struct type *type,
                           const double *values);
void environment_set_variable(struct environment *environment, const char *name, const struct type *type,
                              const double *values);
void environment_set_argument(struct environment *environment, int index, const struct type *type,
                              const double *values);

/* NULL when there is none. The values may be changed in place. */
struct tensor *environment_input(const struct environment *environment, const char *name);
struct tensor *environment_variable(const struct environment *environment, const char *name);

enum evaluate_mode {
    EVALUATE_ROUNDED, /* floats are rounded to each node's element type */
    EVALUATE_EXACT    /* floats stay in f64; integers and bool are what they are */
};

struct evaluation;

/* Runs the graph once; the environment is not changed. Node ids must be positions (graph_number). What the graph reads
 * must be in the environment with the right number of elements (castor_bug otherwise). */
struct evaluation *evaluate_graph(const struct graph *graph, const struct environment *environment,
                                  enum evaluate_mode mode);
void evaluation_free(struct evaluation *evaluation);

/* Any node's value, an output's, the value written to a variable; NULL when there is none of that name. */
const struct tensor *evaluation_value(const struct evaluation *evaluation, const struct node *node);
const struct tensor *evaluation_output(const struct evaluation *evaluation, const char *name);
const struct tensor *evaluation_write(const struct evaluation *evaluation, const char *variable);

/* Carries the writes over into the environment, as the end of a step does. */
void evaluation_commit(const struct evaluation *evaluation, struct environment *environment);

/* One pointwise op on one element, in f64 and not rounded; operands beyond the op's arity are not looked at. */
double evaluate_pointwise(enum op op, double a, double b, double c);

#endif
