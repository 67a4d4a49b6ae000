/* Draws that depend on their counters alone: the mixing function is SplitMix64's finalizer (Steele, Lea, Flood: Fast
 * splittable pseudorandom number generators, 2014), applied after each number. */
#include "runtime/data/dataset.h"

static uint64_t mix(uint64_t bits)
{
    bits ^= bits >> 30;
    bits *= 0xbf58476d1ce4e5b9u;
    bits ^= bits >> 27;
    bits *= 0x94d049bb133111ebu;
    return bits ^ bits >> 31;
}

uint64_t data_hash(uint64_t seed, uint64_t stream, uint64_t a, uint64_t b)
{
    const uint64_t numbers[] = {seed, stream, a, b};
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits = mix(bits + numbers[i] + 0x9e3779b97f4a7c15u);
    return bits;
}

/* The high word of a product (Lemire: Fast random integer generation in an interval, 2019), its bias below 2^-32 for
 * the sizes that occur. */
int64_t data_below(uint64_t bits, int64_t below)
{
    uint64_t high = (bits >> 32) * (uint64_t)below, low = (bits & UINT32_MAX) * (uint64_t)below;
    return (int64_t)((high + (low >> 32)) >> 32);
}

void data_shuffle(int64_t *rows, int64_t count, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < count; i++)
        rows[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t other = data_below(data_hash(seed, STREAM_ORDER, stream, (uint64_t)i), i + 1);
        int64_t row = rows[i];
        rows[i] = rows[other];
        rows[other] = row;
    }
}
