/* A trainer that stands alone: for the host, kernels for every instruction set; for GPUs, PTX and cubins; programs and
 * train block, linked with the runtime into one executable. Shared libraries that cannot be linked in lie beside it in
 * lib/. The same input gives the same bytes. */
#ifndef CASTOR_FRONTEND_EMBED_H
#define CASTOR_FRONTEND_EMBED_H

#include "runtime/program.h"
#include "runtime/standalone/payload.h"

/* What goes into a struct trainer_edition. */
struct embed_edition {
    const char *device, *architecture; /* NULL but for a GPU */
    bool tf32;
    const char *record;
    const struct program *program;
    const void *code; /* of a GPU */
    size_t code_size;
};

enum { EMBED_EDITIONS = 8 };

/* Writes the executable `path` and lib/ beside it, with up to EMBED_EDITIONS editions, at most one of them the host's.
 * `jobs` compilers run side by side. */
bool embed_trainer(const char *path, const struct embed_edition *editions, int count, const struct payload *payload,
                   int jobs, struct error *error);

#endif
