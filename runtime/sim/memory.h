/* Device memory: allocations, each with a shadow that says which bytes anything wrote.
 *
 * A device address is the process's address of the byte. Above that space lie windows for generic addresses of shared,
 * local and parameter memory. Allocations change only between launches, so kernels look them up without locks. */
#ifndef CASTOR_RUNTIME_SIM_MEMORY_H
#define CASTOR_RUNTIME_SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The highest byte of a generic address tells its window. */
enum { WINDOW_SHIFT = 56, WINDOW_SHARED = 1, WINDOW_LOCAL = 2, WINDOW_PARAM = 3 };
#define WINDOW(which) ((uint64_t)(which) << WINDOW_SHIFT)

struct sim_allocation {
    uint64_t begin, end;
    uint64_t *written; /* the shadow (shadow.h) */
    int number;        /* in the order in which they were made, from 1 */
    const char *name;  /* of a module's variable, else NULL */
    bool read_only;
};

struct sim_memory {
    struct sim_allocation *allocations; /* by address */
    size_t limit, used;
    int made;
};

/* 0 when there is no memory. Aligned to 256 bytes; nothing is written yet. */
uint64_t sim_memory_new(struct sim_memory *memory, size_t bytes, const char *name);
bool sim_memory_delete(struct sim_memory *memory, uint64_t address);
void sim_memory_free(struct sim_memory *memory);

/* The allocation in which the address lies, or NULL. */
const struct sim_allocation *sim_memory_find(const struct sim_memory *memory, uint64_t address);
/* The nearest allocation below the address, for messages. */
const struct sim_allocation *sim_memory_below(const struct sim_memory *memory, uint64_t address);
void sim_memory_protect(struct sim_memory *memory, uint64_t address);

#endif
