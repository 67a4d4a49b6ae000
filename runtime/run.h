/* The command `run`: one execution (or n training steps) on inputs and weights from a safetensors file, results into
 * another one. */
#ifndef CASTOR_RUNTIME_RUN_H
#define CASTOR_RUNTIME_RUN_H

#include "runtime/executor.h"

struct run_settings {
    const char *entry;         /* "train" or "eval" */
    const char *feed;          /* inputs, and variables by name; what is not fed is initialised; NULL: no file */
    const char *weights;       /* safetensors file to start from; NULL: initial values */
    bool partial;              /* names may be missing or left over in it */
    const char *fetch;         /* where results go; NULL: only to stdout */
    const char *const *inputs; /* names of the model's inputs: what is fed for one that the entry does not need is
                                  passed over */
    int input_count;
    int64_t steps; /* 0: one execution, outputs are fetched; else so many on the same feed, then variables */
    uint64_t seed;
    bool check;
};

/* Feeds, runs and fetches. With accumulation a step's feed holds its micro-batches one behind the other, and the
 * outputs are those of the last. Outputs of kinds value, loss and metric are fetched under their names in their own
 * types (ratio metrics divided); with steps also every parameter, state and optimizer state. */
bool run_program(struct device *device, const struct program *program, const struct run_settings *settings,
                 struct error *error);

#endif
