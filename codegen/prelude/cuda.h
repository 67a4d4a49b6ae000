/* What stands before the generated CUDA kernels: scalars where the host has vectors, loads and stores by storage type,
 * rounding to the half types, what formulas.h is made of here, and how threads, blocks and the whole grid meet.
 *
 * A team is 16 threads next to each other, half a warp: they do what the 16 lanes of a vector do on the host, in the
 * same order, so that reductions have the host's bits. Needs no header: NVRTC finds none on some machines. */
#ifndef CASTOR_CUDA_PRELUDE_H
#define CASTOR_CUDA_PRELUDE_H

#pragma nv_diag_suppress 177 /* functions that nothing calls */
#pragma nv_diag_suppress 550 /* variables set but not used */

#define INLINE static __device__ __forceinline__

typedef float floats;
typedef int ints;
typedef unsigned words;
typedef long long longs;
typedef unsigned long long quads;
typedef double doubles;
typedef bool masks;

enum { LANES = 16 };

/* All that a kernel takes: buffers, then integers, 8 bytes each. */
template <int buffer_count, int integer_count> struct arguments {
    char *buffer[buffer_count];
    long long integer[integer_count];
};
template <int buffer_count> struct arguments<buffer_count, 0> {
    char *buffer[buffer_count];
};

/* ---- where overflows begin ---- */

INLINE int nonfinite(float x)
{
    return (__float_as_int(x) & 0x7f800000) == 0x7f800000;
}
enum { NO_ORIGIN = 0x7fffffff };
INLINE int any_lane(int mask, int)
{
    return mask;
}
/* The smaller of two numbers of where an overflow began, the second one where the mask holds. */
INLINE int smaller_origin(int origin, int mask, int, long long number)
{
    return mask & 1 ? min(origin, (int)number) : origin;
}
/* The smallest number told is kept. */
INLINE void tell_origin(char *place, int origin)
{
    if (origin < *(volatile int *)place) /* else an overflow of a whole tensor meets here */
        atomicMin((int *)place, origin);
}

/* ---- tasks that are alike ---- */

/* The last row of the table whose number in `column` is no larger than `place`. */
template <class number, int rows, int columns>
INLINE int turn_of(const number (&table)[rows][columns], int column, unsigned place)
{
    int low = 0, high = rows;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (table[middle][column] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- lanes of a team ---- */

INLINE unsigned team_mask()
{
    return 0xffffu << (threadIdx.x & 16u);
}
INLINE float ROTATE(float x, int distance)
{
    return __shfl_xor_sync(team_mask(), x, distance, LANES);
}
INLINE int ROTATE(int x, int distance)
{
    return __shfl_xor_sync(team_mask(), x, distance, LANES);
}
INLINE long long ROTATE(long long x, int distance)
{
    return __shfl_xor_sync(team_mask(), x, distance, LANES);
}
INLINE float FIRST_LANE(float x)
{
    return __shfl_sync(team_mask(), x, 0, LANES);
}

/* ---- comparison and selection ---- */

#define COMPARISON(name, type, symbol)                                                                                 \
    INLINE bool name(type a, type b)                                                                                   \
    {                                                                                                                  \
        return a symbol b;                                                                                             \
    }
#define COMPARISONS(kind, type)                                                                                        \
    COMPARISON(kind##_eq, type, ==)                                                                                    \
    COMPARISON(kind##_ne, type, !=)                                                                                    \
    COMPARISON(kind##_lt, type, <)                                                                                     \
    COMPARISON(kind##_le, type, <=)                                                                                    \
    COMPARISON(kind##_gt, type, >)                                                                                     \
    COMPARISON(kind##_ge, type, >=)

COMPARISONS(float, float)
COMPARISONS(int, int)
COMPARISONS(long, long long)

INLINE float splat(float x)
{
    return x;
}
INLINE int splat_int(int x)
{
    return x;
}
INLINE long long splat_long(long long x)
{
    return x;
}
INLINE float choose(bool mask, float a, float b)
{
    return mask ? a : b;
}
INLINE int choose_int(bool mask, int a, int b)
{
    return mask ? a : b;
}
INLINE long long choose_long(bool mask, long long a, long long b)
{
    return mask ? a : b;
}
INLINE bool mask_not(bool x)
{
    return !x;
}
/* An index held within bounds. */
INLINE int hold(int index, int low, int high)
{
    return index < low ? low : index > high ? high : index;
}
INLINE long long hold(long long index, long long low, long long high)
{
    return index < low ? low : index > high ? high : index;
}

/* ---- conversions ---- */

#define INFINITE __int_as_float(0x7f800000)
#define NOT_A_NUMBER __int_as_float(0x7fffffff)

INLINE int bits_of_float(float x)
{
    return __float_as_int(x);
}
INLINE float float_of_bits(int x)
{
    return __int_as_float(x);
}
INLINE long long bits_of_double(double x)
{
    return __double_as_longlong(x);
}
INLINE double double_of_bits(long long x)
{
    return __longlong_as_double(x);
}
INLINE unsigned scalar_bits(float x)
{
    return __float_as_uint(x);
}
INLINE int truncate_to_int(float x)
{
    return (int)x;
}
INLINE long long double_to_long(double x)
{
    return (long long)x;
}
INLINE int double_to_int(double x)
{
    return (int)(long long)x;
}
INLINE double long_to_double(long long x)
{
    return (double)x;
}
INLINE double float_to_double(float x)
{
    return (double)x;
}
INLINE float double_to_float(double x)
{
    return (float)x;
}
INLINE double hold_double(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}
INLINE unsigned low_words(unsigned long long x)
{
    return (unsigned)x;
}
INLINE int low_ints(long long x)
{
    return (int)x;
}
INLINE unsigned high_word(unsigned a, unsigned b)
{
    return __umulhi(a, b);
}
INLINE float int_to_float(int x)
{
    return (float)x;
}
INLINE float long_to_float(long long x)
{
    return (float)x;
}
INLINE long long int_to_long(int x)
{
    return x;
}
/* Integers saturate; NaN becomes 0. */
INLINE int long_to_int(long long x)
{
    return (int)hold(x, -2147483647ll - 1, 2147483647ll);
}
INLINE int float_to_int(float x)
{
    return x == x ? __float2int_rz(x) : 0;
}
INLINE long long float_to_long(float x)
{
    if (x >= 0x1p63f)
        return 9223372036854775807ll - 1023;
    if (x < -0x1p63f)
        return -9223372036854775807ll - 1;
    return x == x ? (long long)x : 0;
}

INLINE float float_floor(float x)
{
    return floorf(x);
}
INLINE float float_ceil(float x)
{
    return ceilf(x);
}
INLINE float float_round(float x)
{
    return rintf(x);
}
INLINE float float_sqrt(float x)
{
    return __fsqrt_rn(x);
}
INLINE float float_fma(float a, float b, float c)
{
    return __fmaf_rn(a, b, c);
}

/* Puts an argument of sine or cosine right that is finite and 2^20 or more. */
#define LARGE_REST(x, rest, turn)                                                                                      \
    if (fabsf(x) >= 0x1p20f && fabsf(x) < INFINITE)                                                                    \
        rest = (float)large_rest(x, &turn);

/* ---- half types; in memory as their 16 bits ---- */

INLINE unsigned short narrow_f16(float x)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
INLINE float widen_f16(unsigned short bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
INLINE unsigned short narrow_bf16(float x)
{
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
INLINE float widen_bf16(unsigned short bits)
{
    return __uint_as_float((unsigned)bits << 16);
}
INLINE float round_f16(float x)
{
    return widen_f16(narrow_f16(x));
}
INLINE float round_bf16(float x)
{
    return widen_bf16(narrow_bf16(x));
}

/* ---- memory: one element, or as many next to each other as go into aligned accesses of up to 16 bytes ---- */

template <int bytes> struct packet;
template <> struct packet<1> {
    typedef unsigned char type;
};
template <> struct packet<2> {
    typedef unsigned short type;
};
template <> struct packet<4> {
    typedef unsigned type;
};
template <> struct packet<8> {
    typedef uint2 type;
};
template <> struct packet<16> {
    typedef uint4 type;
};

template <typename element, int count> INLINE void load_packets(element *to, const element *from)
{
    enum { BYTES = count * sizeof(element) < 16 ? count * sizeof(element) : 16, EACH = BYTES / sizeof(element) };
    typedef typename packet<BYTES>::type one;
    union both {
        one whole;
        element parts[EACH];
    };
    for (int i = 0; i < count / EACH; i++) {
        both packet;
        packet.whole = ((const one *)from)[i];
        for (int k = 0; k < EACH; k++)
            to[i * EACH + k] = packet.parts[k];
    }
}
template <typename element, int count> INLINE void store_packets(element *to, const element *from)
{
    enum { BYTES = count * sizeof(element) < 16 ? count * sizeof(element) : 16, EACH = BYTES / sizeof(element) };
    typedef typename packet<BYTES>::type one;
    union both {
        one whole;
        element parts[EACH];
    };
    for (int i = 0; i < count / EACH; i++) {
        both packet;
        for (int k = 0; k < EACH; k++)
            packet.parts[k] = from[i * EACH + k];
        ((one *)to)[i] = packet.whole;
    }
}

#define MEMORY(name, element, value, from_memory, to_memory)                                                           \
    INLINE value load_##name(const char *base, long long at)                                                           \
    {                                                                                                                  \
        return from_memory(((const element *)base)[at]);                                                               \
    }                                                                                                                  \
    INLINE void store_##name(char *base, long long at, value x)                                                        \
    {                                                                                                                  \
        ((element *)base)[at] = to_memory(x);                                                                          \
    }                                                                                                                  \
    template <int count> INLINE void load_##name(value(&to)[count], const char *base, long long at)                    \
    {                                                                                                                  \
        element raw[count];                                                                                            \
        load_packets<element, count>(raw, (const element *)base + at);                                                 \
        for (int i = 0; i < count; i++)                                                                                \
            to[i] = from_memory(raw[i]);                                                                               \
    }                                                                                                                  \
    template <int count> INLINE void store_##name(char *base, long long at, const value(&from)[count])                 \
    {                                                                                                                  \
        element raw[count];                                                                                            \
        for (int i = 0; i < count; i++)                                                                                \
            raw[i] = to_memory(from[i]);                                                                               \
        store_packets<element, count>((element *)base + at, raw);                                                      \
    }

#define SAME(x) (x)
#define TRUTH(x) ((x) != 0)

MEMORY(f16, unsigned short, float, widen_f16, narrow_f16)
MEMORY(bf16, unsigned short, float, widen_bf16, narrow_bf16)
MEMORY(f32, float, float, SAME, SAME)
MEMORY(i32, int, int, SAME, SAME)
MEMORY(i64, long long, long long, SAME, SAME)
MEMORY(u8, unsigned char, int, SAME, (unsigned char))
MEMORY(bool, unsigned char, bool, TRUTH, (unsigned char))

/* ---- what threads of a block and of the grid do together ---- */

#define PARTS(scalar) scalar
#define SPLIT(scalar, x) (x)
#define WHOLE(scalar, a) (a)

/* One accumulator a team, given by its first lane, goes to the lane of that number in the first team, which merges
 * them. All threads of the block come here; what the first team gets is the result. And what `_lanes` comes to where
 * one thread has the accumulators of the first `count` lanes, and the others have nothing. */
#define TEAMS(name)                                                                                                    \
    INLINE name name##_teams(name a)                                                                                   \
    {                                                                                                                  \
        __shared__ name of_team[LANES];                                                                                \
        __syncthreads();                                                                                               \
        if (threadIdx.x % LANES == 0)                                                                                  \
            of_team[threadIdx.x / LANES] = a;                                                                          \
        __syncthreads();                                                                                               \
        return threadIdx.x < LANES ? name##_lanes(of_team[threadIdx.x]) : a;                                           \
    }                                                                                                                  \
    template <int count> INLINE name name##_short(const name(&lanes)[count])                                           \
    {                                                                                                                  \
        name all[LANES];                                                                                               \
        for (int i = 0; i < LANES; i++)                                                                                \
            all[i] = i < count ? lanes[i < count ? i : 0] : name##_start();                                            \
        for (int distance = LANES / 2; distance > 0; distance /= 2)                                                    \
            for (int i = 0; i < distance; i++)                                                                         \
                all[i] = name##_merge(all[i], all[i + distance]);                                                      \
        return all[0];                                                                                                 \
    }

/* All blocks wait for each other; what each wrote is seen by all. `state` is a kernel's own: blocks that have come, and
 * how often all had, so it needs no reset. */
INLINE void grid_wait(unsigned *state)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned turn = *(volatile unsigned *)&state[1];
        __threadfence();
        if (atomicInc(&state[0], gridDim.x - 1) == gridDim.x - 1) {
            __threadfence(); /* what all others wrote before what lets them go on */
            atomicAdd(&state[1], 1);
        } else
            while (*(volatile unsigned *)&state[1] == turn)
                __nanosleep(40);
        __threadfence();
    }
    __syncthreads();
}
/* True in the block that comes last, which sees what all blocks wrote. */
INLINE bool grid_last(unsigned *state)
{
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicInc(&state[0], gridDim.x - 1) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

#include "codegen/prelude/formulas.h"

/* Uniform numbers for the elements from `base` on, a multiple of 4, as count is. */
template <int count>
INLINE void uniform_fill(float (&to)[count], long long seed, long long attempt, long long key, long long base)
{
    for (int i = 0; i < count; i += 4) {
        blocks made = random_blocks(seed, attempt, key, (base + i) >> 2);
        for (int k = 0; k < 4; k++)
            to[i + k] = bits_to_uniform(made.word[k]);
    }
}

#endif
