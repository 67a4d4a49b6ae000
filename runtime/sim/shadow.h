/* Which bytes of a piece of memory anything wrote: a bit for each, in words of 64.
 *
 * Threads mark the same words at the same time, so words are read and written atomically, without order: who reads a
 * byte that another thread writes meanwhile has a race of its own. Words that stand already are only read, since others
 * read them too. */
#ifndef CASTOR_RUNTIME_SIM_SHADOW_H
#define CASTOR_RUNTIME_SIM_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHADOW_BYTES = 64 }; /* of memory, told by a word */

/* The words of a shadow of so many bytes. */
static inline size_t shadow_words(size_t bytes)
{
    return (bytes + SHADOW_BYTES - 1) / SHADOW_BYTES;
}

/* Whether all of these bytes were written: 1 to 32, a power of two, at a multiple of it. */
static inline bool shadow_has(const uint64_t *shadow, size_t at, int bytes)
{
    uint64_t word = __atomic_load_n(&shadow[at / SHADOW_BYTES], __ATOMIC_RELAXED) >> at % SHADOW_BYTES;
    return (~word & (((uint64_t)1 << bytes) - 1)) == 0;
}

/* Marks as many bytes. */
static inline void shadow_put(uint64_t *shadow, size_t at, int bytes)
{
    if (!shadow_has(shadow, at, bytes))
        __atomic_fetch_or(&shadow[at / SHADOW_BYTES], (((uint64_t)1 << bytes) - 1) << at % SHADOW_BYTES,
                          __ATOMIC_RELAXED);
}

/* Runs of any length: how many bytes from `at` on were written, up to the first that was not: `bytes` where all were.
 */
size_t shadow_written(const uint64_t *shadow, size_t at, size_t bytes);
void shadow_mark(uint64_t *shadow, size_t at, size_t bytes);

#endif
