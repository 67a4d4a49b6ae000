/* Device memory: allocations, each with a byte of shadow for every byte that says whether anything wrote it.
 *
 * A device address is the process's address of the byte. Above that space lie windows for generic addresses of shared,
 * local and parameter memory. Allocations change only between launches, so kernels look them up without locks. */
#ifndef CASTOR_RUNTIME_SIM_MEMORY_H
#define CASTOR_RUNTIME_SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The highest byte of a generic address tells its window. */
enum { WINDOW_SHIFT = 56, WINDOW_SHARED = 1, WINDOW_LOCAL = 2, WINDOW_PARAM = 3 };
#define WINDOW(which) ((uint64_t)(which) << WINDOW_SHIFT)

struct sim_allocation {
    uint64_t begin, end;
    uint8_t *written; /* the shadow: 1 where something was written */
    int number;       /* in the order in which they were made, from 1 */
    const char *name; /* of a module's variable, else NULL */
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

/* Where the first byte stands that nothing wrote, or `bytes`. */
size_t sim_written(const uint8_t *shadow, size_t bytes);
/* Whether all of 1, 2, 4, 8 or 16 bytes were written. */
static inline bool sim_all_written(const uint8_t *shadow, int bytes)
{
    static const uint64_t ones = 0x0101010101010101;
    uint64_t words[2] = {ones, ones};
    switch (bytes) {
    case 1:
        return *shadow == 1;
    case 2:
        memcpy(words, shadow, 2);
        break;
    case 4:
        memcpy(words, shadow, 4);
        break;
    case 8:
        memcpy(words, shadow, 8);
        break;
    default:
        memcpy(words, shadow, 16);
        break;
    }
    return words[0] == ones && words[1] == ones;
}

/* Marks bytes as written. Shadows that stand already are only read, since others may read them too. */
void sim_mark(uint8_t *shadow, size_t bytes);

#endif
