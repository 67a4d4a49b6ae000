/* Which bytes were written (runtime/sim/shadow.h), against an array with a byte for each; and from two threads that
 * mark bytes of the same words. */
#include "check.h"

#if CASTOR_CUDA
#include "runtime/sim/shadow.h"

#include <pthread.h>

enum { BYTES = 5 * SHADOW_BYTES - 3, MARKS = 40, ROUNDS = 300 };

static unsigned drawn(unsigned *state, unsigned below)
{
    *state = *state * 1664525 + 1013904223;
    return (*state >> 8) % below;
}

static size_t plain_written(const uint8_t *plain, size_t at, size_t bytes)
{
    size_t count = 0;
    while (count < bytes && plain[at + count])
        count++;
    return count;
}

static void check_same(const uint64_t *shadow, const uint8_t *plain)
{
    int wrong = 0;
    for (size_t at = 0; at < BYTES; at++)
        for (size_t bytes = 0; bytes <= BYTES - at; bytes += 1 + at % 7)
            wrong += shadow_written(shadow, at, bytes) != plain_written(plain, at, bytes);
    for (int bytes = 1; bytes <= 32; bytes *= 2)
        for (size_t at = 0; at + (size_t)bytes <= BYTES; at += (size_t)bytes)
            wrong += shadow_has(shadow, at, bytes) != (plain_written(plain, at, (size_t)bytes) == (size_t)bytes);
    CHECK(wrong == 0);
}

/* Runs of any length at any place, and a power of two of bytes at its multiple. */
static void check_drawn(void)
{
    unsigned state = 1;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t shadow[6] = {0};
        uint8_t plain[BYTES] = {0};
        CHECK(shadow_words(BYTES) == 5);
        for (unsigned mark = drawn(&state, MARKS); mark-- > 0;) {
            size_t bytes = drawn(&state, 2) ? drawn(&state, 2 * SHADOW_BYTES + 9) : (size_t)1 << drawn(&state, 6);
            size_t at = drawn(&state, BYTES);
            bytes = bytes <= BYTES - at ? bytes : BYTES - at;
            bool few = bytes && bytes <= 32 && !(bytes & (bytes - 1)) && at % bytes == 0;
            if (few)
                shadow_put(shadow, at, (int)bytes);
            else
                shadow_mark(shadow, at, bytes);
            memset(plain + at, 1, bytes);
        }
        check_same(shadow, plain);
        CHECK(shadow[5] == 0 && shadow[4] >> (SHADOW_BYTES - 3) == 0);
    }
}

struct marker {
    uint64_t *shadow;
    pthread_barrier_t *start;
    size_t first;
};

enum { SHARED_WORDS = 4096 };

static void *mark(void *argument)
{
    const struct marker *marker = argument;
    pthread_barrier_wait(marker->start);
    for (size_t at = marker->first; at < SHARED_WORDS * SHADOW_BYTES; at += 2)
        if (at % 4 < 2)
            shadow_put(marker->shadow, at, 1);
        else
            shadow_mark(marker->shadow, at, 1);
    return NULL;
}

/* One thread marks the even bytes, one the odd ones: nothing is lost, however often. */
static void check_threads(void)
{
    static uint64_t shadow[SHARED_WORDS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 2);
    struct marker markers[2] = {{shadow, &start, 0}, {shadow, &start, 1}};
    for (int round = 0; round < 60; round++) {
        pthread_t threads[2];
        memset(shadow, 0, sizeof shadow);
        for (int i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, mark, &markers[i]) == 0);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        CHECK(shadow_written(shadow, 0, sizeof shadow * 8) == sizeof shadow * 8);
    }
    pthread_barrier_destroy(&start);
}

int main(void)
{
    check_drawn();
    check_threads();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
