/* Reading and marking runs of bytes: a word's part, whole words, a word's part. */
#include "runtime/sim/shadow.h"

/* The bits of a run's bytes in the word that has byte `at`. */
static uint64_t part(size_t at, size_t bytes)
{
    size_t first = at % SHADOW_BYTES, room = SHADOW_BYTES - first;
    uint64_t bits = bytes < SHADOW_BYTES ? ((uint64_t)1 << bytes) - 1 : UINT64_MAX;
    return bytes < room ? bits << first : UINT64_MAX << first;
}

static size_t part_bytes(size_t at, size_t bytes)
{
    size_t room = SHADOW_BYTES - at % SHADOW_BYTES;
    return bytes < room ? bytes : room;
}

size_t shadow_written(const uint64_t *shadow, size_t at, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t here = at + done;
        uint64_t word = __atomic_load_n(&shadow[here / SHADOW_BYTES], __ATOMIC_RELAXED);
        uint64_t missing = ~word & part(here, bytes - done);
        if (missing)
            return done + (size_t)__builtin_ctzll(missing) - here % SHADOW_BYTES;
        done += part_bytes(here, bytes - done);
    }
    return bytes;
}

void shadow_mark(uint64_t *shadow, size_t at, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t here = at + done;
        uint64_t *word = &shadow[here / SHADOW_BYTES], bits = part(here, bytes - done);
        if (~__atomic_load_n(word, __ATOMIC_RELAXED) & bits)
            __atomic_fetch_or(word, bits, __ATOMIC_RELAXED);
        done += part_bytes(here, bytes - done);
    }
}
