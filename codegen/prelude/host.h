/* What stands before the generated host kernels: vectors of 16 lanes, loads and stores by storage type, rounding to
 * the half types, and what formulas.h is made of here.
 *
 * GCC's and clang's vector extensions only, so that -march decides what they become. Everything is computed on 16
 * lanes, uniform values too: then a value has the same bits wherever it is computed. Nothing here may be compiled
 * with -ffast-math or contraction. */
/* NOLINTBEGIN(misc-redundant-expression, bugprone-macro-parentheses): x == x tells NaN, and macros name types. */
#ifndef CASTOR_HOST_PRELUDE_H
#define CASTOR_HOST_PRELUDE_H

#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

typedef float floats __attribute__((vector_size(64)));
typedef int ints __attribute__((vector_size(64)));
typedef unsigned words __attribute__((vector_size(64)));
typedef long long longs __attribute__((vector_size(128)));
typedef unsigned long long quads __attribute__((vector_size(128)));
typedef double doubles __attribute__((vector_size(128)));
typedef unsigned short shorts __attribute__((vector_size(32)));
typedef unsigned char bytes __attribute__((vector_size(16)));

/* The same as they lie in memory: aligned as their elements only. */
typedef floats floats_memory __attribute__((aligned(4), may_alias));
typedef ints ints_memory __attribute__((aligned(4), may_alias));
typedef longs longs_memory __attribute__((aligned(8), may_alias));
typedef shorts shorts_memory __attribute__((aligned(2), may_alias));
typedef bytes bytes_memory __attribute__((aligned(1), may_alias));

#ifndef INLINE /* tests that compile much and run little do without */
#define INLINE static inline __attribute__((always_inline))
#endif

static const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

INLINE floats splat(float x)
{
    return x - (floats){0};
}
INLINE ints splat_int(int x)
{
    return x - (ints){0};
}
INLINE longs splat_long(long long x)
{
    return x - (longs){0};
}

/* ---- comparison: -1 where it holds, else 0 ---- */

/* GCC compares vectors that are wider than a register lane by lane, in scalar code; it compares parts of them well. */
#if defined __AVX512F__ || defined __clang__
enum { PART = 64 };
#elif defined __AVX2__
enum { PART = 32 };
#else
enum { PART = 16 };
#endif

#define COMPARISON(name, vector, element, symbol, mask)                                                                \
    INLINE ints name(vector a, vector b)                                                                               \
    {                                                                                                                  \
        typedef element part __attribute__((vector_size(PART)));                                                       \
        const union {                                                                                                  \
            vector all;                                                                                                \
            part parts[sizeof(vector) / PART];                                                                         \
        } x = {a}, y = {b};                                                                                            \
        union {                                                                                                        \
            mask all;                                                                                                  \
            __typeof__(x.parts[0] == x.parts[0]) parts[sizeof(vector) / PART];                                         \
        } result;                                                                                                      \
        for (unsigned long i = 0; i < sizeof(vector) / PART; i++)                                                      \
            result.parts[i] = x.parts[i] symbol y.parts[i];                                                            \
        return __builtin_convertvector(result.all, ints);                                                              \
    }
#define COMPARISONS(kind, vector, element, mask)                                                                       \
    COMPARISON(kind##_eq, vector, element, ==, mask)                                                                   \
    COMPARISON(kind##_ne, vector, element, !=, mask)                                                                   \
    COMPARISON(kind##_lt, vector, element, <, mask)                                                                    \
    COMPARISON(kind##_le, vector, element, <=, mask)                                                                   \
    COMPARISON(kind##_gt, vector, element, >, mask)                                                                    \
    COMPARISON(kind##_ge, vector, element, >=, mask)

COMPARISONS(float, floats, float, ints)
COMPARISONS(int, ints, int, ints)
COMPARISONS(long, longs, long long, longs)
COMPARISONS(double, doubles, double, longs)

#include "codegen/prelude/parts.h"

INLINE longs choose_long(ints mask, longs a, longs b)
{
    longs wide = __builtin_convertvector(mask, longs);
    return (a & wide) | (b & ~wide);
}

/* An index held within bounds. */
INLINE long hold(long index, long low, long high)
{
    return index < low ? low : index > high ? high : index;
}
INLINE ints hold_ints(ints index, int low, int high)
{
    index = choose_int(int_lt(index, splat_int(low)), splat_int(low), index);
    return choose_int(int_gt(index, splat_int(high)), splat_int(high), index);
}
INLINE longs hold_longs(longs index, long low, long high)
{
    index = choose_long(long_lt(index, splat_long(low)), splat_long(low), index);
    return choose_long(long_gt(index, splat_long(high)), splat_long(high), index);
}

/* ---- conversions; masks are -1 or 0, truth values in memory 1 or 0 ---- */

INLINE floats int_to_float(ints x)
{
    return __builtin_convertvector(x, floats);
}
INLINE floats long_to_float(longs x)
{
    return __builtin_convertvector(x, floats);
}
INLINE longs int_to_long(ints x)
{
    return __builtin_convertvector(x, longs);
}
/* Integers saturate; NaN becomes 0. */
INLINE ints long_to_int(longs x)
{
    longs low = splat_long(-2147483647 - 1), high = splat_long(2147483647);
    x = choose_long(long_lt(x, low), low, x);
    return __builtin_convertvector(choose_long(long_gt(x, high), high, x), ints);
}
INLINE ints float_to_int(floats x)
{
    x = choose(float_eq(x, x), x, splat(0));
    ints above = float_ge(x, splat(2147483648.0f)), below = float_lt(x, splat(-2147483648.0f));
    x = choose(below, splat(-2147483648.0f), choose(above, splat(0), x));
    return choose_int(above, splat_int(2147483647), __builtin_convertvector(x, ints));
}
INLINE longs float_to_long(floats x)
{
    x = choose(float_eq(x, x), x, splat(0));
    ints above = float_ge(x, splat(0x1p63f)), below = float_lt(x, splat(-0x1p63f));
    longs whole = __builtin_convertvector(choose(above | below, splat(0), x), longs);
    whole = choose_long(above, splat_long(9223372036854775807LL - 1023), whole);
    return choose_long(below, splat_long(-9223372036854775807LL - 1), whole);
}
INLINE ints mask_not(ints mask)
{
    return ~mask;
}

/* ---- where overflows begin ---- */

INLINE ints nonfinite(floats x)
{
    return int_eq((ints)x & splat_int(0x7f800000), splat_int(0x7f800000));
}
/* Whether one of the first n lanes holds. */
INLINE int any_lane(ints mask, int n)
{
    if (n < 16)
        mask &= int_lt(lane, splat_int(n));
#ifdef __AVX__
    typedef int half __attribute__((vector_size(32)));
    typedef long long four __attribute__((vector_size(32)));
    const union {
        ints all;
        half part[2];
    } a = {mask};
    const four any = (four)(a.part[0] | a.part[1]);
    return __builtin_expect(!__builtin_ia32_ptestz256(any, any), 0);
#else
    int any = 0;
    for (int i = 0; i < 16; i++)
        any |= mask[i];
    return __builtin_expect(any != 0, 0);
#endif
}
/* The compiler does not know any more what stands in memory. */
INLINE void load_again(void)
{
    __asm__ volatile("" ::: "memory");
}
enum { NO_ORIGIN = 0x7fffffff };
/* The smaller of two numbers of where an overflow began, the second one where one of the first n lanes holds. */
static __attribute__((noinline, cold, unused)) int smaller_origin(int origin, ints mask, int n, long long number)
{
    return any_lane(mask, n) && (int)number < origin ? (int)number : origin;
}
/* The smallest number told is kept; threads tell side by side. */
static __attribute__((noinline, cold, unused)) void tell_origin(char *place, int origin)
{
    int *const kept = (int *)place;
    int seen = __atomic_load_n(kept, __ATOMIC_RELAXED);
    while (origin < seen && !__atomic_compare_exchange_n(kept, &seen, origin, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* ---- rounding to half types, in registers ---- */

#ifdef __AVX512F__
INLINE floats round_f16(floats x)
{
    typedef short halves __attribute__((vector_size(32)));
    halves half = (halves)__builtin_ia32_vcvtps2ph512_mask(x, 0, (halves){0}, (unsigned short)-1);
    return __builtin_ia32_vcvtph2ps512_mask(half, (floats){0}, (unsigned short)-1, 4);
}
#elif defined __F16C__
INLINE floats round_f16(floats x)
{
    typedef float part __attribute__((vector_size(32), may_alias));
    part *parts = (part *)&x;
    for (int i = 0; i < 2; i++)
        parts[i] = __builtin_ia32_vcvtph2ps256(__builtin_ia32_vcvtps2ph256(parts[i], 0));
    return x;
}
#else
INLINE floats round_f16(floats x)
{
    ints bits = (ints)x, sign = bits & (-2147483647 - 1), size = bits ^ sign;
    ints rounded = (ints)(((words)size + 0xfffu + (((words)size >> 13) & 1u)) & ~0x1fffu);
    rounded = choose_int(int_ge(rounded, splat_int(0x47800000)), splat_int(0x7f800000), rounded);
    ints small = (ints)(((floats)size + 0.5f) - 0.5f);
    rounded = choose_int(int_lt(size, splat_int(0x38800000)), small, rounded);
    rounded = choose_int(int_gt(size, splat_int(0x7f800000)), size, rounded);
    return (floats)(rounded | sign);
}
#endif
#if defined __AVX512F__ && !defined __clang__ /* a NaN's lanes alone are changed */
INLINE floats round_bf16(floats x)
{
    words bits = (words)x, rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    unsigned short nan = __builtin_ia32_cmpps512_mask(x, x, 3, (unsigned short)-1, 4);
    return (floats)__builtin_ia32_pord512_mask((ints)bits, splat_int(0x400000), (ints)rounded, nan);
}
#else
INLINE floats round_bf16(floats x)
{
    ints bits = (ints)x;
    words rounded = ((words)bits + 0x7fffu + (((words)bits >> 16) & 1u)) & 0xffff0000u;
    ints quiet = bits | 0x400000; /* a NaN that has only low bits would be cut to inf */
    return choose(float_eq(x, x), (floats)rounded, (floats)quiet);
}
#endif

/* ---- memory: whole vectors, the first n lanes, one element for all lanes, single lanes by index ---- */

#define MEMORY(name, element, vector, stored, from_memory, to_memory)                                                  \
    INLINE vector load_##name(const char *base, long at)                                                               \
    {                                                                                                                  \
        stored##_memory raw = *(const stored##_memory *)((const element *)base + at);                                  \
        return from_memory(raw);                                                                                       \
    }                                                                                                                  \
    INLINE vector load_part_##name(const char *base, long at, int n)                                                   \
    {                                                                                                                  \
        stored raw = {0};                                                                                              \
        __builtin_memcpy(&raw, (const element *)base + at, (unsigned long)n * sizeof(element));                        \
        return from_memory(raw);                                                                                       \
    }                                                                                                                  \
    INLINE vector load_all_##name(const char *base, long at)                                                           \
    {                                                                                                                  \
        stored raw = ((const element *)base)[at] - (stored){0};                                                        \
        return from_memory(raw);                                                                                       \
    }                                                                                                                  \
    INLINE vector load_at_##name(const char *base, long at, ints index, int n)                                         \
    {                                                                                                                  \
        stored raw = {0};                                                                                              \
        for (int i = 0; i < n; i++)                                                                                    \
            raw[i] = ((const element *)base)[at + index[i]];                                                           \
        return from_memory(raw);                                                                                       \
    }                                                                                                                  \
    INLINE vector load_far_##name(const char *base, long at, longs index, int n)                                       \
    {                                                                                                                  \
        stored raw = {0};                                                                                              \
        for (int i = 0; i < n; i++)                                                                                    \
            raw[i] = ((const element *)base)[at + index[i]];                                                           \
        return from_memory(raw);                                                                                       \
    }                                                                                                                  \
    INLINE void store_##name(char *base, long at, vector x)                                                            \
    {                                                                                                                  \
        enum { BYTES = sizeof(stored) < PART ? sizeof(stored) : PART };                                                \
        typedef element part __attribute__((vector_size(BYTES), aligned(sizeof(element)), may_alias));                 \
        stored raw = to_memory(x);                                                                                     \
        const part *parts = (const part *)&raw; /* GCC would take the whole through the stack */                       \
        for (unsigned long i = 0; i < sizeof(stored) / BYTES; i++)                                                     \
            ((part *)((element *)base + at))[i] = parts[i];                                                            \
    }                                                                                                                  \
    INLINE void store_part_##name(char *base, long at, vector x, int n)                                                \
    {                                                                                                                  \
        stored raw = to_memory(x);                                                                                     \
        __builtin_memcpy((element *)base + at, &raw, (unsigned long)n * sizeof(element));                              \
    }                                                                                                                  \
    INLINE void store_one_##name(char *base, long at, vector x)                                                        \
    {                                                                                                                  \
        stored raw = to_memory(x);                                                                                     \
        ((element *)base)[at] = raw[0];                                                                                \
    }                                                                                                                  \
    INLINE void store_at_##name(char *base, long at, ints index, vector x, int n)                                      \
    {                                                                                                                  \
        stored raw = to_memory(x);                                                                                     \
        for (int i = 0; i < n; i++)                                                                                    \
            ((element *)base)[at + index[i]] = raw[i];                                                                 \
    }                                                                                                                  \
    INLINE void store_far_##name(char *base, long at, longs index, vector x, int n)                                    \
    {                                                                                                                  \
        stored raw = to_memory(x);                                                                                     \
        for (int i = 0; i < n; i++)                                                                                    \
            ((element *)base)[at + index[i]] = raw[i];                                                                 \
    }

INLINE floats same_float(floats x)
{
    return x;
}
INLINE ints same_int(ints x)
{
    return x;
}
INLINE longs same_long(longs x)
{
    return x;
}
#if defined __AVX512F__ && !defined __clang__ /* GCC would go by halves */
INLINE floats widen_bf16(shorts x)
{
    typedef short halves __attribute__((vector_size(32)));
    return (floats)((words)__builtin_ia32_pmovzxwd512_mask((halves)x, (ints){0}, (unsigned short)-1) << 16);
}
INLINE shorts narrow_bf16(floats x)
{
    typedef short halves __attribute__((vector_size(32)));
    return (shorts)__builtin_ia32_pmovdw512_mask((ints)((words)x >> 16), (halves){0}, (unsigned short)-1);
}
#else
INLINE floats widen_bf16(shorts x)
{
    return (floats)(__builtin_convertvector(x, words) << 16);
}
INLINE shorts narrow_bf16(floats x)
{
    return __builtin_convertvector((words)x >> 16, shorts);
}
#endif
#if defined __AVX2__ && !defined __AVX512F__ && !defined __clang__ /* GCC would go byte by byte */
INLINE ints widen_byte(bytes x)
{
    typedef char sixteen __attribute__((vector_size(16)));
    typedef int part __attribute__((vector_size(32), may_alias));
    const bytes high = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    ints wide;
    part *parts = (part *)&wide;
    parts[0] = __builtin_ia32_pmovzxbd256((sixteen)x);
    parts[1] = __builtin_ia32_pmovzxbd256((sixteen)high);
    return wide;
}
INLINE bytes narrow_byte(ints x)
{
    typedef int part __attribute__((vector_size(32), may_alias));
    typedef long long pairs __attribute__((vector_size(32)));
    typedef short half __attribute__((vector_size(16), may_alias));
    x &= 255; /* so that the instructions, which saturate, do not */
    const part *parts = (const part *)&x;
    pairs words = (pairs)__builtin_ia32_packusdw256(parts[0], parts[1]);
    words = __builtin_shufflevector(words, words, 0, 2, 1, 3);
    const half *halves = (const half *)&words;
    return (bytes)__builtin_ia32_packuswb128(halves[0], halves[1]);
}
#else
INLINE ints widen_byte(bytes x)
{
    return __builtin_convertvector(x, ints);
}
INLINE bytes narrow_byte(ints x)
{
    return __builtin_convertvector(x, bytes);
}
#endif
INLINE ints widen_bool(bytes x)
{
    return int_ne(widen_byte(x), splat_int(0));
}
INLINE bytes narrow_bool(ints x)
{
    return narrow_byte(x & 1);
}

MEMORY(f32, float, floats, floats, same_float, same_float)
MEMORY(bf16, unsigned short, floats, shorts, widen_bf16, narrow_bf16)
MEMORY(i32, int, ints, ints, same_int, same_int)
MEMORY(i64, long long, longs, longs, same_long, same_long)
MEMORY(u8, unsigned char, ints, bytes, widen_byte, narrow_byte)
MEMORY(bool, unsigned char, ints, bytes, widen_bool, narrow_bool)

#ifdef __AVX512F__ /* one instruction for all lanes */
INLINE floats gather_f32(const char *base, long at, ints index)
{
    return __builtin_ia32_gathersiv16sf((floats){0}, (const float *)base + at, index, (unsigned short)-1, 4);
}
#else
INLINE floats gather_f32(const char *base, long at, ints index)
{
    return load_at_f32(base, at, index, 16);
}
#endif

/* ---- elementary functions ---- */

#define BY_LANE(name, function)                                                                                        \
    INLINE floats name(floats x)                                                                                       \
    {                                                                                                                  \
        for (int i = 0; i < 16; i++)                                                                                   \
            x[i] = function(x[i]);                                                                                     \
        return x;                                                                                                      \
    }

BY_LANE(float_floor, __builtin_floorf)
BY_LANE(float_ceil, __builtin_ceilf)
BY_LANE(float_round, __builtin_rintf)
BY_LANE(float_sqrt, __builtin_sqrtf)

INLINE floats float_fma(floats a, floats b, floats c)
{
    for (int i = 0; i < 16; i++)
        a[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return a;
}

/* ---- what formulas.h is made of ---- */

typedef ints masks; /* -1 or 0 */

#define INFINITE __builtin_inff()
#define NOT_A_NUMBER __builtin_nanf("")

INLINE ints bits_of_float(floats x)
{
    return (ints)x;
}
INLINE floats float_of_bits(ints x)
{
    return (floats)x;
}
INLINE longs bits_of_double(doubles x)
{
    return (longs)x;
}
INLINE doubles double_of_bits(longs x)
{
    return (doubles)x;
}
INLINE unsigned scalar_bits(float x)
{
    unsigned bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}
/* Of whole numbers that fit. */
INLINE ints truncate_to_int(floats x)
{
    return __builtin_convertvector(x, ints);
}
INLINE longs double_to_long(doubles x)
{
    return __builtin_convertvector(x, longs);
}
INLINE ints double_to_int(doubles x)
{
    return __builtin_convertvector(__builtin_convertvector(x, longs), ints);
}
INLINE doubles long_to_double(longs x)
{
    return __builtin_convertvector(x, doubles);
}
INLINE doubles float_to_double(floats x)
{
    return __builtin_convertvector(x, doubles);
}
INLINE floats double_to_float(doubles x)
{
    return __builtin_convertvector(x, floats);
}
INLINE doubles hold_double(doubles x, double low, double high)
{
    const doubles least = low - (doubles){0}, most = high - (doubles){0};
    x = (doubles)choose_long(double_lt(x, least), (longs)least, (longs)x);
    return (doubles)choose_long(double_gt(x, most), (longs)most, (longs)x);
}
INLINE words low_words(quads x)
{
    return __builtin_convertvector(x, words);
}
INLINE ints low_ints(longs x)
{
    return __builtin_convertvector(x, ints);
}
#if defined __AVX2__ && !defined __AVX512F__ &&                                                                        \
    !defined __clang__ /* GCC would multiply by 64 bits, three products each */
INLINE words high_word(words a, unsigned b)
{
    typedef int part __attribute__((vector_size(32)));
    typedef unsigned long long wide __attribute__((vector_size(32), may_alias));
    const part by = (int)b - (part){0};
    wide *parts = (wide *)&a;
    for (int i = 0; i < 2; i++) {
        const wide even = (wide)__builtin_ia32_pmuludq256((part)parts[i], by);
        const wide odd = (wide)__builtin_ia32_pmuludq256((part)(parts[i] >> 32), by);
        parts[i] = even >> 32 | (odd & 0xffffffff00000000ull);
    }
    return a;
}
#else
INLINE words high_word(words a, unsigned b)
{
    quads product = __builtin_convertvector(a, quads) * b;
    return __builtin_convertvector(product >> 32, words);
}
#endif

#define FIRST_LANE(x) splat((x)[0])
#define TEAMS(name) /* lanes are all there is */

/* Puts the lanes right whose argument of sine or cosine is finite and 2^20 or more. */
#define LARGE_REST(x, rest, turn)                                                                                      \
    for (int i = 0; i < 16; i++)                                                                                       \
        if (__builtin_fabsf((x)[i]) >= 0x1p20f && __builtin_fabsf((x)[i]) < INFINITE) {                                \
            int quarters;                                                                                              \
            (rest)[i] = (float)large_rest((x)[i], &quarters);                                                          \
            (turn)[i] = quarters;                                                                                      \
        }

#include "codegen/prelude/formulas.h"

/* ---- random numbers in order ---- */

/* Elements in order, of which 64 are made at a time: `start` is the first of those that lie here, -1 for none. */
typedef struct {
    long start;
    float values[64];
} uniform_stock;

/* Lanes i of four vectors next to each other, for all lanes: 64 numbers. */
INLINE void interleave(const floats from[4], float *to)
{
    typedef float four __attribute__((vector_size(16), may_alias));
    typedef four four_memory __attribute__((aligned(4)));
    const four *parts = (const four *)from;
    for (int i = 0; i < 4; i++) {
        const four a = parts[i], b = parts[i + 4], c = parts[i + 8], d = parts[i + 12];
        const four low[] = {__builtin_shufflevector(a, b, 0, 4, 1, 5), __builtin_shufflevector(c, d, 0, 4, 1, 5)};
        const four high[] = {__builtin_shufflevector(a, b, 2, 6, 3, 7), __builtin_shufflevector(c, d, 2, 6, 3, 7)};
        four_memory *place = (four_memory *)to + 4 * i;
        place[0] = __builtin_shufflevector(low[0], low[1], 0, 1, 4, 5);
        place[1] = __builtin_shufflevector(low[0], low[1], 2, 3, 6, 7);
        place[2] = __builtin_shufflevector(high[0], high[1], 0, 1, 4, 5);
        place[3] = __builtin_shufflevector(high[0], high[1], 2, 3, 6, 7);
    }
}

/* Elements base to base + 15, base being a multiple of 16. */
INLINE floats uniform_from(uniform_stock *stock, longs seed, longs attempt, long long key, long base)
{
    if (base - base % 64 != stock->start) {
        stock->start = base - base % 64;
        const blocks made = random_blocks(seed, attempt, key, int_to_long(lane) + (long long)(stock->start / 4));
        floats numbers[4];
        for (int i = 0; i < 4; i++)
            numbers[i] = bits_to_uniform(made.word[i]);
        interleave(numbers, stock->values);
    }
    return *(const floats_memory *)(stock->values + base % 64);
}

#endif
/* NOLINTEND(misc-redundant-expression, bugprone-macro-parentheses) */
