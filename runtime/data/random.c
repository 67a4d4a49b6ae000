/* Draws that depend on their counters alone: the mixing function is SplitMix64's finalizer (Steele, Lea, Flood: Fast
 * splittable pseudorandom number generators, 2014), applied after each number. */
#include "runtime/data/dataset.h"

#include <math.h>

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

/* ---- Beta ---- */

/* A stream of draws. */
struct draws {
    uint64_t seed, stream, key, count;
};

/* In (0, 1). */
static double unit(struct draws *draws)
{
    uint64_t bits = data_hash(draws->seed, draws->stream, draws->key, ++draws->count);
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

/* Box and Muller's transform (1958). */
static double normal(struct draws *draws)
{
    double radius = sqrt(-2 * log(unit(draws)));
    return radius * cos(6.283185307179586 * unit(draws));
}

/* Logarithm of a draw from Gamma(alpha, 1): Marsaglia and Tsang, A simple method for generating gamma variables (2000);
 * below 1 by Gamma(alpha + 1) times u^(1 / alpha), whose logarithm does not underflow. */
static double log_gamma_draw(struct draws *draws, double alpha)
{
    double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / sqrt(9 * d), x, v;
    do {
        x = normal(draws);
        v = 1 + c * x;
        v = v * v * v;
    } while (v <= 0 || log(unit(draws)) >= 0.5 * x * x + d - d * v + d * log(v));
    return log(d * v) + (alpha < 1 ? log(unit(draws)) / alpha : 0);
}

double data_beta(double alpha, uint64_t seed, uint64_t stream, uint64_t key)
{
    struct draws draws = {seed, stream, key, 0};
    double a = log_gamma_draw(&draws, alpha), b = log_gamma_draw(&draws, alpha);
    return 1 / (1 + exp(b - a));
}
