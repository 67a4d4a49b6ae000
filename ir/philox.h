/* The random numbers of Castor: Philox4x32-10, after Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3" (SC 2011), section 3.3. A counter-based generator: a draw is a pure function of (seed, attempt, key of
 * the node, index of the element), so it is equal on every device and in any order of evaluation.
 *
 * Counter words: low and high half of (index / 4), low and high half of the attempt. Key words: low and high half of
 * seed * 0x9E3779B97F4A7C15 + node key. Element index takes word index % 4 of the block. */
#ifndef CASTOR_IR_PHILOX_H
#define CASTOR_IR_PHILOX_H

#include <stdint.h>

/* Ten rounds over `counter`, in place. */
static inline void philox_block(uint32_t counter[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57u * counter[2];
        uint32_t next0 = (uint32_t)(product1 >> 32) ^ counter[1] ^ key0;
        uint32_t next2 = (uint32_t)(product0 >> 32) ^ counter[3] ^ key1;
        counter[1] = (uint32_t)product1;
        counter[3] = (uint32_t)product0;
        counter[0] = next0;
        counter[2] = next2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

/* The 32 random bits of one element. */
static inline uint32_t philox_word(int64_t seed, int64_t attempt, uint64_t node_key, uint64_t index)
{
    uint64_t key = (uint64_t)seed * 0x9E3779B97F4A7C15u + node_key;
    uint64_t block = index / 4;
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)attempt,
                           (uint32_t)((uint64_t)attempt >> 32)};
    philox_block(counter, (uint32_t)key, (uint32_t)(key >> 32));
    return counter[index % 4];
}

/* Uniform in [0, 1), a multiple of 2^-24, so that f32 holds it exactly. */
static inline double philox_uniform(int64_t seed, int64_t attempt, uint64_t node_key, uint64_t index)
{
    return (philox_word(seed, attempt, node_key, index) >> 8) * 0x1p-24;
}

#endif
