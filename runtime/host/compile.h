/* Kernels from C source to functions: the system's C compiler, a disk cache, dlopen.
 *
 * Source is split into units of whole kernels that are compiled side by side. A unit's name in the cache is the hash of
 * its text, the compiler (path, version), the flags and, for `native`, the processor, so an entry can never be wrong,
 * only unused; a checksum at its end tells a damaged one, which is compiled anew. Entries appear by rename. */
#ifndef CASTOR_RUNTIME_HOST_COMPILE_H
#define CASTOR_RUNTIME_HOST_COMPILE_H

#include "runtime/error.h"
#include "runtime/program.h"

typedef void (*kernel_function)(char *const *buffers, const long long *integers, const long *strip);

struct compile_settings {
    const char *isa;   /* a name that isa_find knows */
    const char *cache; /* folder, "off", or NULL for the user's own */
    int jobs;          /* compilers side by side */
};

struct kernel_library {
    kernel_function *functions; /* by kernel number */
    int unit_count;
    void **handles;
    int compiled; /* units that were not in the cache */
};

struct kernel_library *compile_kernels(const struct compile_settings *settings, const struct program *program,
                                       struct error *error);
void kernel_library_free(struct kernel_library *library);

#endif
