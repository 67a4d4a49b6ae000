/* A trainer that stands alone: the host's kernels for every instruction set, program and train block, linked with the
 * runtime into one executable; shared libraries that cannot be linked in lie beside it in lib/. The same input gives
 * the same bytes. */
#ifndef CASTOR_FRONTEND_EMBED_H
#define CASTOR_FRONTEND_EMBED_H

#include "runtime/program.h"
#include "runtime/standalone/payload.h"

/* Writes the executable `path` and lib/ beside it. `jobs` compilers run side by side. */
bool embed_trainer(const char *path, const struct program *program, const struct payload *payload, int jobs,
                   struct error *error);

#endif
