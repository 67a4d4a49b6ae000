/* Instruction sets that kernels may be built for (the flag --isa). */
#ifndef CASTOR_RUNTIME_HOST_ISA_H
#define CASTOR_RUNTIME_HOST_ISA_H

#include <stddef.h>

struct isa {
    const char *name;
    const char *needs; /* CPU flag that must be there; NULL: none */
    const char *flags; /* for the compiler; NULL: none */
};

/* NULL when there is none of this name. */
const struct isa *isa_find(const char *name);
/* The CPU's own list of what it can do; part of the cache key of kernels built for "native". */
void isa_processor(char *flags, size_t size);

#endif
