/* What a compiled training step takes and how far off it is: runs on made-up inputs, beside the reference evaluator. */
#ifndef CASTOR_FRONTEND_MEASURE_H
#define CASTOR_FRONTEND_MEASURE_H

#include "ir/graph.h"
#include "runtime/device.h"

/* The least seconds of a run of the entry `train` (or `micro`) on made-up inputs: images as bytes, numbers between -1
 * and 1, indices below their number of classes. */
bool measure_seconds(struct device *device, const struct program *program, uint64_t seed, double *seconds,
                     struct error *error);

/* What a program's variables hold when it is initialised with this seed, and then with the weights of a file where one
 * is named, for the evaluator. NULL with an error set. */
struct environment;
struct environment *measure_environment(struct device *device, const struct program *program, uint64_t seed,
                                        const char *weights, struct error *error);

/* How many examples of a batch the reference evaluator, which is slow, does in seconds, where the whole batch takes so
 * many operations. At least two of them, if there are. */
int64_t measure_few_examples(double flops, int64_t batch);

/* Root mean square errors over several batches, since one loss alone is off by much or little as it happens: against
 * the evaluator in f64 on the same inputs and parameters. */
enum { MEASURE_BATCHES = 16 };

struct accuracy {
    double loss;                               /* over all losses of all batches */
    double gradient;                           /* over all elements of all gradients */
    double loss_magnitude, gradient_magnitude; /* root mean squares of the exact values */
    double rounded_loss, rounded_gradient;     /* the same errors of the evaluator that rounds at each node, op by op */
};

/* The module is one compiled with `fetch_gradients` and `no_update`, after the whole pipeline; the program was made of
 * it. Where gradients overflow, the loss scale is lowered first, as its rule would do. False with an error set. */
bool measure_accuracy(struct device *device, const struct program *program, const struct module *module, uint64_t seed,
                      struct accuracy *accuracy, struct error *error);

#endif
