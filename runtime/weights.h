/* Weights: the parameters and forward states of a program, to and from safetensors files, by name.
 *
 * Names are those of the `.net` file, which follow PyTorch, so a state_dict loads unchanged. `num_batches_tracked` and
 * names under `train/` are no weights and are passed over. */
#ifndef CASTOR_RUNTIME_WEIGHTS_H
#define CASTOR_RUNTIME_WEIGHTS_H

#include "runtime/executor.h"

/* Loads every parameter and forward state, then runs the entry `refresh`. A name missing or left over, or a shape that
 * differs, is an error that names it (and changes nothing); with `partial` missing and left over names are let be.
 * Floating types are converted. */
bool weights_load(struct executor *executor, const char *path, bool partial, struct error *error);

/* Saves every parameter and forward state in its own type; `averaged`: of parameters their average, if there is one. */
bool weights_save(struct executor *executor, const char *path, bool averaged, struct error *error);

#endif
