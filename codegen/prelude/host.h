/* What stands before the generated host kernels: vectors of 16 lanes, loads and stores by storage type, rounding to
 * the half types, elementary functions, accumulators of reductions, random bits.
 *
 * GCC's and clang's vector extensions only, so that -march decides what they become. Everything is computed on 16
 * lanes, uniform values too: then a value has the same bits wherever it is computed. Nothing here may be compiled
 * with -ffast-math or contraction. The polynomials are minimax fits (Remez) made for these intervals. */
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

/* a where the mask's lane is -1, b where it is 0. */
INLINE floats choose(ints mask, floats a, floats b)
{
    return (floats)(((ints)a & mask) | ((ints)b & ~mask));
}
INLINE ints choose_int(ints mask, ints a, ints b)
{
    return (a & mask) | (b & ~mask);
}
INLINE longs choose_long(ints mask, longs a, longs b)
{
    longs wide = __builtin_convertvector(mask, longs);
    return (a & wide) | (b & ~wide);
}

INLINE ints int_max(ints a, ints b)
{
    return choose_int(a > b, a, b);
}
INLINE ints int_min(ints a, ints b)
{
    return choose_int(a < b, a, b);
}
/* An index held within bounds. */
INLINE long hold(long index, long low, long high)
{
    return index < low ? low : index > high ? high : index;
}
INLINE ints hold_ints(ints index, int low, int high)
{
    return int_min(int_max(index, splat_int(low)), splat_int(high));
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
    longs below = x<low, above = x> high;
    x = (low & below) | (x & ~below);
    x = (high & above) | (x & ~above);
    return __builtin_convertvector(x, ints);
}
INLINE ints float_to_int(floats x)
{
    x = choose(x == x, x, splat(0));
    ints above = x >= splat(2147483648.0f);
    x = choose((x < splat(-2147483648.0f)), splat(-2147483648.0f), choose(above, splat(0), x));
    return choose_int(above, splat_int(2147483647), __builtin_convertvector(x, ints));
}
INLINE longs float_to_long(floats x)
{
    x = choose(x == x, x, splat(0));
    ints above = x >= splat(0x1p63f), below = x < splat(-0x1p63f);
    longs whole = __builtin_convertvector(choose(above | below, splat(0), x), longs);
    whole = choose_long(above, splat_long(9223372036854775807LL - 1023), whole);
    return choose_long(below, splat_long(-9223372036854775807LL - 1), whole);
}
INLINE ints saturate_byte(ints x)
{
    x &= ~(x < 0);
    return choose_int(x > 255, splat_int(255), x);
}

/* ---- rounding to half types, in registers ---- */

#ifdef __AVX512F__
INLINE floats round_f16(floats x)
{
    typedef short halves __attribute__((vector_size(32)));
    halves half = (halves)__builtin_ia32_vcvtps2ph512_mask(x, 0, (halves){0}, (unsigned short)-1);
    return __builtin_ia32_vcvtph2ps512_mask(half, (floats){0}, (unsigned short)-1, 4);
}
#else
INLINE floats round_f16(floats x)
{
    ints bits = (ints)x, sign = bits & (-2147483647 - 1), size = bits ^ sign;
    ints rounded = (size + 0xfff + ((size >> 13) & 1)) & ~0x1fff;
    rounded = choose_int(rounded >= 0x47800000, splat_int(0x7f800000), rounded);
    ints small = (ints)(((floats)size + 0.5f) - 0.5f);
    rounded = choose_int(size < 0x38800000, small, rounded);
    rounded = choose_int(size > 0x7f800000, size, rounded);
    return (floats)(rounded | sign);
}
#endif
INLINE floats round_bf16(floats x)
{
    ints bits = (ints)x;
    words rounded = ((words)bits + 0x7fffu + (((words)bits >> 16) & 1u)) & 0xffff0000u;
    return choose(x == x, (floats)rounded, x);
}

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
    INLINE void store_##name(char *base, long at, vector x)                                                            \
    {                                                                                                                  \
        *(stored##_memory *)((element *)base + at) = to_memory(x);                                                     \
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
INLINE floats widen_bf16(shorts x)
{
    return (floats)(__builtin_convertvector(x, words) << 16);
}
INLINE shorts narrow_bf16(floats x)
{
    return __builtin_convertvector((words)x >> 16, shorts);
}
INLINE ints widen_byte(bytes x)
{
    return __builtin_convertvector(x, ints);
}
INLINE bytes narrow_byte(ints x)
{
    return __builtin_convertvector(x, bytes);
}
INLINE ints widen_bool(bytes x)
{
    return __builtin_convertvector(x, ints) != 0;
}
INLINE bytes narrow_bool(ints x)
{
    return __builtin_convertvector(x & 1, bytes);
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
INLINE floats float_rsqrt(floats x)
{
    return 1.0f / float_sqrt(x);
}
INLINE floats float_abs(floats x)
{
    return (floats)((ints)x & 0x7fffffff);
}
INLINE floats with_sign(floats size, floats sign)
{
    return (floats)(((ints)size & 0x7fffffff) | ((ints)sign & (-2147483647 - 1)));
}
INLINE floats float_sign(floats x)
{
    return choose(x > 0, splat(1), choose(x < 0, splat(-1), splat(0)));
}
INLINE ints float_isfinite(floats x)
{
    return ((ints)x & 0x7fffffff) < 0x7f800000;
}
INLINE floats float_max(floats a, floats b)
{
    return choose((a > b) | (a != a), a, b);
}
INLINE floats float_min(floats a, floats b)
{
    return choose((a < b) | (a != a), a, b);
}

/* 2 to the power n for n in -126 to 127. */
INLINE floats power_of_two(ints n)
{
    return (floats)((n + 127) << 23);
}
/* Nearest integer for |x| below 2^22, ties to even. */
INLINE floats nearest(floats x)
{
    return (x + 12582912.0f) - 12582912.0f;
}
/* exp(r) - 1 for |r| <= ln(2) / 2. */
INLINE floats expm1_reduced(floats r)
{
    floats p = r * 1.991883405e-04f + 1.394640586e-03f;
    p = p * r + 8.333263551e-03f;
    p = p * r + 4.166626532e-02f;
    p = p * r + 1.666666686e-01f;
    p = p * r + 5.000000079e-01f;
    return p * (r * r) + r;
}
/* x - n * ln(2), n * the first part of ln(2) being exact. */
INLINE floats exp_rest(floats x, floats n)
{
    return (x - n * 0.693359375f) + n * 2.12194440e-4f;
}
INLINE floats float_exp(floats x)
{
    floats y = choose(x > 89.0f, splat(89.0f), choose(x < -105.0f, splat(-105.0f), x));
    floats n = nearest(y * 1.44269504f);
    floats p = expm1_reduced(exp_rest(y, n)) + 1.0f;
    ints whole = __builtin_convertvector(choose(n == n, n, splat(0)), ints), half = whole >> 1;
    return p * power_of_two(half) * power_of_two(whole - half);
}
INLINE floats float_expm1(floats x)
{
    floats y = choose(x > 89.0f, splat(89.0f), choose(x < -40.0f, splat(-40.0f), x));
    floats n = nearest(y * 1.44269504f);
    floats p = expm1_reduced(exp_rest(y, n));
    ints whole = __builtin_convertvector(choose(n == n, n, splat(0)), ints), half = whole >> 1;
    floats a = power_of_two(half), b = power_of_two(whole - half);
    floats large = (p + 1.0f) * a * b;
    floats moderate = p * (a * b) + (a * b - 1.0f);
    floats result = choose(n > 30.0f, large, choose(n == 0, p, moderate));
    return choose(x == 0, x, result);
}
INLINE floats float_log(floats x)
{
    ints tiny = x < 0x1p-126f;
    floats y = choose(tiny, x * 0x1p23f, x);
    ints bits = (ints)y, exponent = (bits - 0x3f3504f3) >> 23; /* mantissa in sqrt(1/2) to sqrt(2) */
    floats f = (floats)(bits - (exponent << 23)) - 1.0f;
    floats e = __builtin_convertvector(exponent - (tiny & 23), floats);
    floats p = f * 6.939926473e-02f - 1.170839731e-01f;
    p = p * f + 1.181515920e-01f;
    p = p * f - 1.239655199e-01f;
    p = p * f + 1.422946232e-01f;
    p = p * f - 1.666877067e-01f;
    p = p * f + 2.000155930e-01f;
    p = p * f - 2.499998975e-01f;
    p = p * f + 3.333332328e-01f;
    floats square = f * f;
    floats small = p * (square * f) - e * 2.12194440e-4f;
    floats result = (f + (small - 0.5f * square)) + e * 0.693359375f;
    result = choose((x > 0) & (x < __builtin_inff()), result, splat(__builtin_nanf("")));
    result = choose(x == __builtin_inff(), x, result);
    return choose(x == 0, splat(-__builtin_inff()), result);
}
INLINE floats float_log1p(floats x)
{
    floats u = 1.0f + x;
    floats corrected = float_log(u) * (x / (u - 1.0f));
    return choose((u == 1.0f) | (x == __builtin_inff()), x, corrected);
}
INLINE floats float_tanh(floats x)
{
    floats size = float_abs(x), square = x * x;
    floats p = square * 2.182254153e-03f - 8.221811243e-03f;
    p = p * square + 2.171957561e-02f;
    p = p * square - 5.395046860e-02f;
    p = p * square + 1.333323880e-01f;
    p = p * square - 3.333333181e-01f;
    floats small = p * square * x + x;
    floats large = 1.0f - 2.0f / (float_exp(size + size) + 1.0f);
    return choose(size < 0.6f, with_sign(small, x), with_sign(large, x));
}
INLINE floats float_erf(floats x)
{
    floats size = float_abs(x), square = x * x;
    floats p = square * 7.889123304e-05f - 8.020842413e-04f;
    p = p * square + 5.189535467e-03f;
    p = p * square - 2.685444466e-02f;
    p = p * square + 1.128360018e-01f;
    p = p * square - 3.761262714e-01f;
    p = p * square + 1.283791671e-01f;
    floats capped = choose(size > 4.0f, splat(4.0f), size);
    floats q = capped * -2.242163424e-07f - 1.850200974e-05f;
    q = q * capped + 4.219614188e-04f;
    q = q * capped - 4.138609814e-03f;
    q = q * capped + 2.507081312e-02f;
    q = q * capped - 1.082389292e-01f;
    q = q * capped - 6.333637899e-01f;
    q = q * capped - 1.129513807e+00f;
    q = q * capped + 1.755772724e-04f;
    floats large = with_sign(1.0f - float_exp(q), x);
    return choose(size < 1.0f, p * x + x, choose(x == x, large, x));
}
/* Sine and cosine of a multiple of pi/2 plus a rest: the reduction is done in double, beyond 2^20 by the library. */
INLINE floats sine(floats x, int quarter)
{
    doubles wide = __builtin_convertvector(choose(float_abs(x) < 0x1p20f, x, splat(0)), doubles);
    doubles n = (wide * 0.63661977236758134308 + 6755399441055744.0) - 6755399441055744.0;
    doubles rest = (wide - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
    floats r = __builtin_convertvector(rest, floats), square = r * r;
    ints turn = __builtin_convertvector(__builtin_convertvector(n, longs), ints) + quarter;
    floats s = square * 2.718237286e-06f - 1.983932714e-04f;
    s = s * square + 8.333329362e-03f;
    s = s * square - 1.666666664e-01f;
    s = s * square * r + r;
    floats c = square * -2.720954591e-07f + 2.479951174e-05f;
    c = c * square - 1.388888372e-03f;
    c = c * square + 4.166666662e-02f;
    c = c * (square * square) - 0.5f * square + 1.0f;
    floats result = choose((turn & 1) != 0, c, s);
    result = (floats)((words)result ^ ((words)(turn & 2) << 30));
    for (int i = 0; i < 16; i++)
        if (!(x[i] < 0x1p20f && x[i] > -0x1p20f))
            result[i] = (float)(quarter ? __builtin_cos((double)x[i]) : __builtin_sin((double)x[i]));
    return result;
}
INLINE floats float_sin(floats x)
{
    return choose(x == 0, x, sine(x, 0));
}
INLINE floats float_cos(floats x)
{
    return sine(x, 1);
}
INLINE floats float_pow(floats a, floats b)
{
    for (int i = 0; i < 16; i++)
        a[i] = (float)__builtin_pow((double)a[i], (double)b[i]);
    return a;
}
/* The same for values that are equal in all lanes. */
INLINE floats float_pow_uniform(floats a, floats b)
{
    return splat((float)__builtin_pow((double)a[0], (double)b[0]));
}

/* ---- accumulators: start, step (one more value in each lane; follow: one of a higher index), keep (the new one where
 * the mask says so), merge (of two blocks), lanes (all lanes merged, equal in every lane) ---- */

#define ROTATE(x, distance)                                                                                            \
    __builtin_shufflevector(x, x, 0 ^ (distance), 1 ^ (distance), 2 ^ (distance), 3 ^ (distance), 4 ^ (distance),      \
                            5 ^ (distance), 6 ^ (distance), 7 ^ (distance), 8 ^ (distance), 9 ^ (distance),            \
                            10 ^ (distance), 11 ^ (distance), 12 ^ (distance), 13 ^ (distance), 14 ^ (distance),       \
                            15 ^ (distance))

INLINE floats add_float(floats a, floats b)
{
    return a + b;
}
INLINE floats multiply_float(floats a, floats b)
{
    return a * b;
}
INLINE longs add_long(longs a, longs b)
{
    return a + b;
}
INLINE longs multiply_long(longs a, longs b)
{
    return a * b;
}
INLINE longs long_max(longs a, longs b)
{
    longs mask = a > b;
    return (a & mask) | (b & ~mask);
}
INLINE longs long_min(longs a, longs b)
{
    longs mask = a < b;
    return (a & mask) | (b & ~mask);
}

#define ACCUMULATOR(name, vector, start, combine, select)                                                              \
    typedef vector name;                                                                                               \
    INLINE name name##_start(void)                                                                                     \
    {                                                                                                                  \
        return start - (vector){0};                                                                                    \
    }                                                                                                                  \
    INLINE name name##_step(name a, vector x)                                                                          \
    {                                                                                                                  \
        return combine(a, x);                                                                                          \
    }                                                                                                                  \
    INLINE name name##_keep(ints mask, name a, name b)                                                                 \
    {                                                                                                                  \
        return select(mask, a, b);                                                                                     \
    }                                                                                                                  \
    INLINE name name##_merge(name a, name b)                                                                           \
    {                                                                                                                  \
        return combine(a, b);                                                                                          \
    }                                                                                                                  \
    INLINE name name##_lanes(name a)                                                                                   \
    {                                                                                                                  \
        a = combine(a, ROTATE(a, 8));                                                                                  \
        a = combine(a, ROTATE(a, 4));                                                                                  \
        a = combine(a, ROTATE(a, 2));                                                                                  \
        return combine(a, ROTATE(a, 1));                                                                               \
    }                                                                                                                  \
    INLINE vector name##_result(name a)                                                                                \
    {                                                                                                                  \
        return a;                                                                                                      \
    }

ACCUMULATOR(sum_float, floats, 0.0f, add_float, choose)
ACCUMULATOR(prod_float, floats, 1.0f, multiply_float, choose)
ACCUMULATOR(max_float, floats, -__builtin_inff(), float_max, choose)
ACCUMULATOR(min_float, floats, __builtin_inff(), float_min, choose)
ACCUMULATOR(max_int, ints, (-2147483647 - 1), int_max, choose_int)
ACCUMULATOR(min_int, ints, 2147483647, int_min, choose_int)
ACCUMULATOR(sum_long, longs, 0LL, add_long, choose_long)
ACCUMULATOR(prod_long, longs, 1LL, multiply_long, choose_long)
ACCUMULATOR(max_long, longs, (-9223372036854775807LL - 1), long_max, choose_long)
ACCUMULATOR(min_long, longs, 9223372036854775807LL, long_min, choose_long)

/* Sum of squared deviations: Welford's update, merged by Chan's formula (Chan, Golub, LeVeque 1979). `inverse` is one
 * over the number of values with this one. */
typedef struct {
    floats count, mean, m2;
} m2_float;

INLINE m2_float m2_float_start(void)
{
    return (m2_float){{0}, {0}, {0}};
}
INLINE m2_float m2_float_step(m2_float a, floats x, floats inverse)
{
    floats delta = x - a.mean, mean = a.mean + delta * inverse;
    return (m2_float){a.count + 1.0f, mean, a.m2 + delta * (x - mean)};
}
INLINE m2_float m2_float_keep(ints mask, m2_float a, m2_float b)
{
    return (m2_float){choose(mask, a.count, b.count), choose(mask, a.mean, b.mean), choose(mask, a.m2, b.m2)};
}
INLINE m2_float m2_float_merge(m2_float a, m2_float b)
{
    floats count = a.count + b.count, delta = b.mean - a.mean;
    floats share = choose(count > 0, b.count / count, splat(0));
    m2_float merged = {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
    return m2_float_keep(b.count == 0, a, merged);
}
INLINE m2_float m2_float_lanes(m2_float a)
{
    a = m2_float_merge(a, (m2_float){ROTATE(a.count, 8), ROTATE(a.mean, 8), ROTATE(a.m2, 8)});
    a = m2_float_merge(a, (m2_float){ROTATE(a.count, 4), ROTATE(a.mean, 4), ROTATE(a.m2, 4)});
    a = m2_float_merge(a, (m2_float){ROTATE(a.count, 2), ROTATE(a.mean, 2), ROTATE(a.m2, 2)});
    a = m2_float_merge(a, (m2_float){ROTATE(a.count, 1), ROTATE(a.mean, 1), ROTATE(a.m2, 1)});
    return (m2_float){splat(a.count[0]), splat(a.mean[0]), splat(a.m2[0])};
}
INLINE floats m2_float_result(m2_float a)
{
    return a.m2;
}

/* Where the best value stands: at a tie the smallest index, and the first NaN wins over all. */
#define BEST(name, vector, start, better, same, select)                                                                \
    typedef struct {                                                                                                   \
        vector value;                                                                                                  \
        ints index;                                                                                                    \
    } name;                                                                                                            \
    INLINE name name##_start(void)                                                                                     \
    {                                                                                                                  \
        return (name){start - (vector){0}, splat_int(0)};                                                              \
    }                                                                                                                  \
    INLINE name name##_keep(ints mask, name a, name b)                                                                 \
    {                                                                                                                  \
        return (name){select(mask, a.value, b.value), choose_int(mask, a.index, b.index)};                             \
    }                                                                                                                  \
    INLINE name name##_merge(name a, name b)                                                                           \
    {                                                                                                                  \
        ints wins = better(b.value, a.value) | (same(b.value, a.value) & (b.index < a.index));                         \
        return name##_keep(wins, b, a);                                                                                \
    }                                                                                                                  \
    INLINE name name##_step(name a, vector x, ints index)                                                              \
    {                                                                                                                  \
        return name##_merge(a, (name){x, index});                                                                      \
    }                                                                                                                  \
    INLINE name name##_follow(name a, vector x, ints index)                                                            \
    {                                                                                                                  \
        return name##_keep(better(x, a.value), (name){x, index}, a);                                                   \
    }                                                                                                                  \
    INLINE name name##_lanes(name a)                                                                                   \
    {                                                                                                                  \
        a = name##_merge(a, (name){ROTATE(a.value, 8), ROTATE(a.index, 8)});                                           \
        a = name##_merge(a, (name){ROTATE(a.value, 4), ROTATE(a.index, 4)});                                           \
        a = name##_merge(a, (name){ROTATE(a.value, 2), ROTATE(a.index, 2)});                                           \
        return name##_merge(a, (name){ROTATE(a.value, 1), ROTATE(a.index, 1)});                                        \
    }                                                                                                                  \
    INLINE ints name##_result(name a)                                                                                  \
    {                                                                                                                  \
        return a.index;                                                                                                \
    }

#define FLOAT_ABOVE(a, b) (((a) > (b)) | (((a) != (a)) & ((b) == (b))))
#define FLOAT_BELOW(a, b) (((a) < (b)) | (((a) != (a)) & ((b) == (b))))
#define FLOAT_SAME(a, b) (((a) == (b)) | (((a) != (a)) & ((b) != (b))))
#define LONG_ABOVE(a, b) __builtin_convertvector((a) > (b), ints)
#define LONG_BELOW(a, b) __builtin_convertvector((a) < (b), ints)
#define LONG_SAME(a, b) __builtin_convertvector((a) == (b), ints)

BEST(argmax_float, floats, -__builtin_inff(), FLOAT_ABOVE, FLOAT_SAME, choose)
BEST(argmin_float, floats, __builtin_inff(), FLOAT_BELOW, FLOAT_SAME, choose)
BEST(argmax_long, longs, (-9223372036854775807LL - 1), LONG_ABOVE, LONG_SAME, choose_long)
BEST(argmin_long, longs, 9223372036854775807LL, LONG_BELOW, LONG_SAME, choose_long)

/* ---- random bits: Philox4x32-10 (Salmon et al., SC 2011) on 16 counters at a time ---- */

INLINE words high_word(words a, unsigned b)
{
    quads product = __builtin_convertvector(a, quads) * b;
    return __builtin_convertvector(product >> 32, words);
}
/* Four words of each of 16 blocks. */
typedef struct {
    words word[4];
} blocks;

INLINE blocks random_blocks(longs seed, longs attempt, long long key, longs block)
{
    quads keys = (quads)seed * 0x9E3779B97F4A7C15ull + (unsigned long long)key; /* wraps */
    words key0 = __builtin_convertvector(keys, words), key1 = __builtin_convertvector(keys >> 32, words);
    words c0 = __builtin_convertvector((quads)block, words), c1 = __builtin_convertvector((quads)block >> 32, words);
    words c2 = __builtin_convertvector((quads)attempt, words);
    words c3 = __builtin_convertvector((quads)attempt >> 32, words);
    for (int round = 0; round < 10; round++) {
        words high0 = high_word(c0, 0xD2511F53u), high1 = high_word(c2, 0xCD9E8D57u);
        words next0 = high1 ^ c1 ^ key0, next2 = high0 ^ c3 ^ key1;
        c1 = c2 * 0xCD9E8D57u;
        c3 = c0 * 0xD2511F53u;
        c0 = next0;
        c2 = next2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return (blocks){{c0, c1, c2, c3}};
}
INLINE floats bits_to_uniform(words bits)
{
    return __builtin_convertvector((ints)(bits >> 8), floats) * 0x1p-24f;
}

/* Elements in order, of which 64 are made at a time: `start` is the first of those that lie here, -1 for none. */
typedef struct {
    long start;
    float values[64];
} uniform_stock;

/* Elements base to base + 15, base being a multiple of 16. */
INLINE floats uniform_from(uniform_stock *stock, longs seed, longs attempt, long long key, long base)
{
    if (base - base % 64 != stock->start) {
        stock->start = base - base % 64;
        blocks made = random_blocks(seed, attempt, key, int_to_long(lane) + (long long)(stock->start / 4));
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < 4; k++)
                stock->values[4 * i + k] = (float)(int)(made.word[k][i] >> 8) * 0x1p-24f;
    }
    return *(const floats_memory *)(stock->values + base % 64);
}
/* Uniform in [0, 1) for the elements base + index: element i takes word i % 4 of block i / 4. */
INLINE floats uniform_bits(longs seed, longs attempt, long long key, long base, ints index)
{
    longs element = __builtin_convertvector(index, longs) + (long long)base;
    blocks made = random_blocks(seed, attempt, key, element >> 2);
    ints word = __builtin_convertvector(element & 3, ints), odd = (word & 1) != 0;
    ints low = choose_int(odd, (ints)made.word[1], (ints)made.word[0]);
    ints high = choose_int(odd, (ints)made.word[3], (ints)made.word[2]);
    return bits_to_uniform((words)choose_int((word & 2) != 0, high, low));
}

#endif
/* NOLINTEND(misc-redundant-expression, bugprone-macro-parentheses) */
