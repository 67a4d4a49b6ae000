/* What pass memory found: sizes of the scratch arena. */
#ifndef CASTOR_PASSES_MEMORY_H
#define CASTOR_PASSES_MEMORY_H

#include "passes/kernels.h"
#include "passes/pass.h"

struct memory_use {
    int64_t peak;  /* bytes of the arena */
    int64_t bound; /* the largest sum of bytes of values that live at one time: no arena can be smaller */
};

/* Of a graph after pass memory. */
struct memory_use memory_measure(const struct graph *graph, const struct target *target);

/* Bytes of a value as it lies in memory. */
int64_t memory_bytes(const struct type *type, const struct target *target);

#endif
