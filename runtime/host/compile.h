/* Kernels from C source to functions: the system's C compiler, a disk cache, dlopen.
 *
 * Source is cut into units (runtime/units.h) that are compiled side by side. A unit's name in the cache is the hash of
 * its text, the compiler (path, version), the flags and, for `native`, the processor, so an entry can never be wrong,
 * only unused; a checksum at its end tells a damaged one, which is compiled anew. Entries appear by rename. */
#ifndef CASTOR_RUNTIME_HOST_COMPILE_H
#define CASTOR_RUNTIME_HOST_COMPILE_H

#include "runtime/host/host.h"

struct compile_settings {
    const char *isa;               /* a name that isa_find knows */
    const char *cache;             /* folder, "off", or NULL for the user's own */
    int jobs;                      /* compilers side by side */
    size_t unit_bytes;             /* as units_split takes it */
    const struct host_unit *built; /* where nothing is to be compiled; NULL */
};

struct kernel_library {
    host_kernel *functions; /* by kernel number */
    int unit_count;
    void **handles;
    int compiled; /* units that were not in the cache */
};

struct kernel_library *compile_kernels(const struct compile_settings *settings, const struct program *program,
                                       struct error *error);
/* The compiler ($CC: one with flags of its own, perhaps behind a launcher) and what it needs to know of all kernels. */
struct compile_command {
    char *text;   /* that of $CC, which the first words are parts of */
    char **words; /* ended by NULL, with room for more */
    int compiler, count;
};

/* `isa` gives the last words; `room`: words that the caller adds. False with an error set. */
bool compile_command_make(struct compile_command *command, const char *isa, int room, struct error *error);
void compile_command_free(struct compile_command *command);

void kernel_library_free(struct kernel_library *library);

#endif
