/* What a device can do, for the cost model: published figures of GPUs (figures.def), a host's from its facts, or what
 * `castor calibrate` measured. */
#ifndef CASTOR_PASSES_FIGURES_H
#define CASTOR_PASSES_FIGURES_H

#include "ir/target.h"

struct figures {
    const char *name;            /* "A100-40GB", "host" */
    double bandwidth;            /* bytes a second */
    double vector_flops;         /* pointwise arithmetic in f32, a second */
    double flops[ELEMENT_COUNT]; /* of contractions by operand element, a second; 0: no such operands */
    double launch_seconds;       /* of one kernel or library call, whatever it does */
    int processors;              /* of a GPU in the table: multiprocessors, the shared memory of each, their cache */
    int64_t shared_bytes, cache_bytes;
};

/* A GPU's by its name, or by its architecture: that of the latest one before it where the table has no such. False when
 * there is none. `tf32`: f32 products may be rounded to tf32. */
bool figures_find(const char *name, bool tf32, struct figures *figures);

/* A host's from what is known of it: `instructions` as in device facts ("avx512 bf16", "avx2"). A rough guess, good
 * for comparing two programs on one machine. */
struct figures figures_of_host(int threads, const char *instructions);

/* Fills the target's fields. Half types that the target emulates cost what f32 costs. */
void figures_apply(const struct figures *figures, struct target *target);

#endif
