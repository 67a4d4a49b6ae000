/* What host and GPU compute by the same formulas, so that a value has the same bits on both: elementary functions,
 * accumulators of reductions, random bits. This text is spliced into the prelude of each device.
 *
 * The device's prelude says before this what the types are: vectors of 16 lanes on the host, scalars on the GPU
 * (floats, ints, words, longs, quads, doubles; masks, which comparisons give), how to select, convert and look at bits
 * (choose, bits_of_float and so on), to compare (float_lt, int_eq and so on), ROTATE and FIRST_LANE, which reach the
 * other lanes, PARTS of a vector, which an accumulator keeps (SPLIT, and the WHOLE again), and TEAMS, what else it
 * needs there. Nothing here may be contracted or compiled with -ffast-math. The polynomials are minimax fits (Remez)
 * made for these intervals, or Taylor series where doubles leave room. */
/* NOLINTBEGIN(misc-redundant-expression, bugprone-macro-parentheses): x == x tells NaN, and macros name types. */
#ifndef CASTOR_FORMULAS
#define CASTOR_FORMULAS

INLINE ints int_max(ints a, ints b)
{
    return choose_int(int_gt(a, b), a, b);
}
INLINE ints int_min(ints a, ints b)
{
    return choose_int(int_lt(a, b), a, b);
}
INLINE ints saturate_byte(ints x)
{
    return int_min(int_max(x, splat_int(0)), splat_int(255));
}

/* ---- elementary functions ---- */

#ifndef IN_PARTS /* parts.h has its own */
INLINE floats float_within(floats x, float low, float high)
{
    x = choose(float_gt(x, splat(high)), splat(high), x);
    return choose(float_lt(x, splat(low)), splat(low), x);
}
INLINE floats float_max(floats a, floats b)
{
    return choose(float_gt(a, b) | float_ne(a, a), a, b);
}
INLINE floats float_min(floats a, floats b)
{
    return choose(float_lt(a, b) | float_ne(a, a), a, b);
}
#endif
INLINE floats float_rsqrt(floats x)
{
    return 1.0f / float_sqrt(x);
}
INLINE floats float_abs(floats x)
{
    return float_of_bits(bits_of_float(x) & 0x7fffffff);
}
INLINE floats with_sign(floats size, floats sign)
{
    return float_of_bits((bits_of_float(size) & 0x7fffffff) | (bits_of_float(sign) & (-2147483647 - 1)));
}
INLINE floats float_sign(floats x)
{
    return choose(float_gt(x, splat(0)), splat(1), choose(float_lt(x, splat(0)), splat(-1), splat(0)));
}
INLINE masks float_isfinite(floats x)
{
    return int_lt(bits_of_float(x) & 0x7fffffff, splat_int(0x7f800000));
}

/* 2 to the power n for n in -126 to 127. */
INLINE floats power_of_two(ints n)
{
    return float_of_bits((n + 127) << 23);
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
/* The lower bound is one at which power_of_two(half) is 0, which is all that causal attention masks: a result that is
 * denormal on its way to 0 takes some CPUs a hundred cycles. */
INLINE floats float_exp(floats x)
{
    floats y = float_within(x, -176.0f, 89.0f);
    floats n = nearest(y * 1.44269504f);
    floats p = expm1_reduced(exp_rest(y, n)) + 1.0f;
    ints whole = truncate_to_int(choose(float_eq(n, n), n, splat(0))), half = whole >> 1;
    return p * power_of_two(half) * power_of_two(whole - half);
}
INLINE floats float_expm1(floats x)
{
    floats y = float_within(x, -40.0f, 89.0f);
    floats n = nearest(y * 1.44269504f);
    floats p = expm1_reduced(exp_rest(y, n));
    ints whole = truncate_to_int(choose(float_eq(n, n), n, splat(0))), half = whole >> 1;
    floats a = power_of_two(half), b = power_of_two(whole - half);
    floats large = (p + 1.0f) * a * b;
    floats moderate = p * (a * b) + (a * b - 1.0f);
    floats result = choose(float_gt(n, splat(30.0f)), large, choose(float_eq(n, splat(0)), p, moderate));
    return choose(float_eq(x, splat(0)), x, result);
}
INLINE floats float_log(floats x)
{
    masks tiny = float_lt(x, splat(0x1p-126f));
    floats y = choose(tiny, x * 0x1p23f, x);
    words bits = (words)bits_of_float(y);
    ints exponent = (ints)(bits - 0x3f3504f3u) >> 23; /* mantissa in sqrt(1/2) to sqrt(2) */
    floats f = float_of_bits((ints)(bits - ((words)exponent << 23))) - 1.0f;
    floats e = int_to_float(exponent - choose_int(tiny, splat_int(23), splat_int(0)));
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
    result = choose(float_gt(x, splat(0)) & float_lt(x, splat(INFINITE)), result, splat(NOT_A_NUMBER));
    result = choose(float_eq(x, splat(INFINITE)), x, result);
    return choose(float_eq(x, splat(0)), splat(-INFINITE), result);
}
INLINE floats float_log1p(floats x)
{
    floats u = 1.0f + x;
    floats corrected = float_log(u) * (x / (u - 1.0f));
    return choose(float_eq(u, splat(1)) | float_eq(x, splat(INFINITE)), x, corrected);
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
    return choose(float_lt(size, splat(0.6f)), with_sign(small, x), with_sign(large, x));
}
/* Relatively exact where x is far below 0, too: there it is e^x. */
INLINE floats float_sigmoid(floats x)
{
    floats e = float_exp(-float_abs(x));
    return choose(float_ge(x, splat(0)), splat(1), e) / (1.0f + e);
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
    floats capped = choose(float_gt(size, splat(4)), splat(4), size);
    floats q = capped * -2.242163424e-07f - 1.850200974e-05f;
    q = q * capped + 4.219614188e-04f;
    q = q * capped - 4.138609814e-03f;
    q = q * capped + 2.507081312e-02f;
    q = q * capped - 1.082389292e-01f;
    q = q * capped - 6.333637899e-01f;
    q = q * capped - 1.129513807e+00f;
    q = q * capped + 1.755772724e-04f;
    floats large = with_sign(1.0f - float_exp(q), x);
    return choose(float_lt(size, splat(1)), p * x + x, choose(float_eq(x, x), large, x));
}

/* A finite x of 2^20 and more less a multiple of pi/2, whose number modulo 4 goes to *turn. Of x * 2 / pi only what
 * counts modulo 4 is multiplied out, to 94 binary places (Payne and Hanek, 1983). */
INLINE double large_rest(float x, int *turn)
{
    /* 2 / pi, the binary point behind the first word */
    static const unsigned two_over_pi[] = {0,           0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u,
                                           0xF534DDC0u, 0xDB629599u, 0x3C439041u, 0xFE5163ABu};
    unsigned bits = scalar_bits(x), mantissa = (bits & 0x7fffffu) | 0x800000u;
    int start = (int)(bits >> 23 & 255u) - 120, word = start >> 5, shift = start & 31; /* first bit that counts */
    unsigned window[3];
    for (int i = 0; i < 3; i++) {
        unsigned long long both = (unsigned long long)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
        window[i] = (unsigned)(both << shift >> 32);
    }
    unsigned long long high = (unsigned long long)(window[0] * mantissa) << 32;
    high += (unsigned long long)window[1] * mantissa + ((unsigned long long)window[2] * mantissa >> 32);
    int quarter = (int)((high + (1ull << 61)) >> 62);
    double rest = (double)(long long)(high - ((unsigned long long)quarter << 62)) * (1.57079632679489661923 * 0x1p-62);
    *turn = x < 0 ? -quarter : quarter;
    return x < 0 ? -rest : rest;
}
/* Sine and cosine of a multiple of pi/2 plus a rest: the reduction is done in double, beyond 2^20 in integers. */
INLINE floats sine(floats x, int quarter)
{
    doubles wide = float_to_double(choose(float_lt(float_abs(x), splat(0x1p20f)), x, splat(0)));
    doubles n = (wide * 0.63661977236758134308 + 6755399441055744.0) - 6755399441055744.0;
    doubles rest = (wide - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
    floats r = double_to_float(rest);
    ints turn = double_to_int(n);
    LARGE_REST(x, r, turn)
    turn = turn + quarter;
    floats square = r * r;
    floats s = square * 2.718237286e-06f - 1.983932714e-04f;
    s = s * square + 8.333329362e-03f;
    s = s * square - 1.666666664e-01f;
    s = s * square * r + r;
    floats c = square * -2.720954591e-07f + 2.479951174e-05f;
    c = c * square - 1.388888372e-03f;
    c = c * square + 4.166666662e-02f;
    c = c * (square * square) - 0.5f * square + 1.0f;
    floats result = choose(int_ne(turn & 1, splat_int(0)), c, s);
    result = float_of_bits(bits_of_float(result) ^ (ints)((words)(turn & 2) << 30));
    return choose(float_isfinite(x), result, splat(NOT_A_NUMBER));
}
INLINE floats float_sin(floats x)
{
    return choose(float_eq(x, splat(0)), x, sine(x, 0));
}
INLINE floats float_cos(floats x)
{
    return sine(x, 1);
}

/* Logarithm to base 2 of a positive, finite x: 2 atanh((m - 1) / (m + 1)) / ln(2), m in sqrt(1/2) to sqrt(2). */
INLINE doubles double_log2(doubles x)
{
    longs bits = bits_of_double(x), exponent = (bits - 0x3fe6a09e667f3bcdll) >> 52;
    doubles m = double_of_bits(bits - exponent * (1ll << 52)), s = (m - 1.0) / (m + 1.0), square = s * s;
    doubles p = square * (1.0 / 21) + 1.0 / 19;
    p = p * square + 1.0 / 17;
    p = p * square + 1.0 / 15;
    p = p * square + 1.0 / 13;
    p = p * square + 1.0 / 11;
    p = p * square + 1.0 / 9;
    p = p * square + 1.0 / 7;
    p = p * square + 1.0 / 5;
    p = p * square + 1.0 / 3;
    return long_to_double(exponent) + (p * square * s + s) * 2.88539008177792681472;
}
/* 2 to the power x for |x| <= 1000: a power of two times exp(r), |r| <= ln(2) / 2. */
INLINE doubles double_exp2(doubles x)
{
    doubles n = (x + 6755399441055744.0) - 6755399441055744.0, r = (x - n) * 0.69314718055994530942;
    doubles p = r * (1.0 / 6227020800) + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    return p * double_of_bits((double_to_long(n) + 1023) * (1ll << 52));
}
/* C's pow. Doubles carry 2^-45 through logarithm and power, so results are rounded once but for those that lie next to
 * the middle of two floats. */
INLINE floats float_pow(floats a, floats b)
{
    floats size = float_abs(a);
    masks zero = float_eq(size, splat(0)), finite = float_lt(size, splat(INFINITE));
    masks ordinary = float_gt(size, splat(0)) & finite & float_ne(size, splat(1));
    doubles log = double_log2(float_to_double(choose(ordinary, size, splat(1))));
    doubles y = hold_double(float_to_double(choose(ordinary, b, splat(0))) * log, -200.0, 200.0);
    floats r = double_to_float(double_exp2(y));
    masks endless = float_eq(size, splat(INFINITE)), negative = float_lt(b, splat(0));
    masks grows = (float_gt(b, splat(0)) & endless) | (negative & zero);
    r = choose(zero | endless, choose(grows, splat(INFINITE), splat(0)), r);
    masks whole = float_eq(float_floor(b), b), small = float_lt(float_abs(b), splat(0x1p24f));
    masks odd = whole & small & int_ne(truncate_to_int(choose(whole & small, b, splat(0))) & 1, splat_int(0));
    r = choose(odd & int_lt(bits_of_float(a), splat_int(0)), -r, r);
    r = choose(float_lt(a, splat(0)) & finite & float_eq(b, b) & mask_not(whole), splat(NOT_A_NUMBER), r);
    r = choose(float_eq(a, a) & float_eq(b, b), r, splat(NOT_A_NUMBER));
    return choose(float_eq(a, splat(1)) | float_eq(b, splat(0)), splat(1), r);
}

/* ---- accumulators: start, step (one more value in each lane; follow: one of a higher index), keep (the new one where
 * the mask says so), merge (of two blocks), lanes (all 16 lanes merged, equal in every lane) ---- */

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
    return choose_long(long_gt(a, b), a, b);
}
INLINE longs long_min(longs a, longs b)
{
    return choose_long(long_lt(a, b), a, b);
}
INLINE longs long_abs(longs a)
{
    return long_max(a, -a);
}
INLINE longs long_sign(longs a)
{
    return long_max(long_min(a, splat_long(1)), splat_long(-1));
}

#define ACCUMULATOR(name, vector, start, combine, select)                                                              \
    typedef PARTS(vector) name;                                                                                        \
    INLINE name name##_start(void)                                                                                     \
    {                                                                                                                  \
        return SPLIT(vector, start);                                                                                   \
    }                                                                                                                  \
    INLINE name name##_step(name a, vector x)                                                                          \
    {                                                                                                                  \
        return SPLIT(vector, combine(WHOLE(vector, a), x));                                                            \
    }                                                                                                                  \
    INLINE name name##_keep(masks mask, name a, name b)                                                                \
    {                                                                                                                  \
        return SPLIT(vector, select(mask, WHOLE(vector, a), WHOLE(vector, b)));                                        \
    }                                                                                                                  \
    INLINE name name##_merge(name a, name b)                                                                           \
    {                                                                                                                  \
        return SPLIT(vector, combine(WHOLE(vector, a), WHOLE(vector, b)));                                             \
    }                                                                                                                  \
    INLINE name name##_lanes(name all)                                                                                 \
    {                                                                                                                  \
        vector a = WHOLE(vector, all);                                                                                 \
        a = combine(a, ROTATE(a, 8));                                                                                  \
        a = combine(a, ROTATE(a, 4));                                                                                  \
        a = combine(a, ROTATE(a, 2));                                                                                  \
        return SPLIT(vector, combine(a, ROTATE(a, 1)));                                                                \
    }                                                                                                                  \
    INLINE vector name##_result(name a)                                                                                \
    {                                                                                                                  \
        return WHOLE(vector, a);                                                                                       \
    }                                                                                                                  \
    TEAMS(name)

ACCUMULATOR(sum_float, floats, splat(0), add_float, choose)
ACCUMULATOR(prod_float, floats, splat(1), multiply_float, choose)
ACCUMULATOR(max_float, floats, splat(-INFINITE), float_max, choose)
ACCUMULATOR(min_float, floats, splat(INFINITE), float_min, choose)
ACCUMULATOR(max_int, ints, splat_int(-2147483647 - 1), int_max, choose_int)
ACCUMULATOR(min_int, ints, splat_int(2147483647), int_min, choose_int)
ACCUMULATOR(sum_long, longs, splat_long(0), add_long, choose_long)
ACCUMULATOR(prod_long, longs, splat_long(1), multiply_long, choose_long)
ACCUMULATOR(max_long, longs, splat_long(-9223372036854775807ll - 1), long_max, choose_long)
ACCUMULATOR(min_long, longs, splat_long(9223372036854775807ll), long_min, choose_long)

/* Sum of squared deviations: Welford's update, merged by Chan's formula (Chan, Golub, LeVeque 1979). `inverse` is one
 * over the number of values with this one. */
typedef struct {
    PARTS(floats) count, mean, m2;
} m2_float;

INLINE m2_float m2_float_of(floats count, floats mean, floats m2)
{
    m2_float made = {SPLIT(floats, count), SPLIT(floats, mean), SPLIT(floats, m2)};
    return made;
}
INLINE m2_float m2_float_start(void)
{
    return m2_float_of(splat(0), splat(0), splat(0));
}
INLINE m2_float m2_float_step(m2_float a, floats x, floats inverse)
{
    floats old = WHOLE(floats, a.mean), delta = x - old, mean = old + delta * inverse;
    return m2_float_of(WHOLE(floats, a.count) + 1.0f, mean, WHOLE(floats, a.m2) + delta * (x - mean));
}
/* What a lane's next value is told where the lane counts itself. */
INLINE floats m2_float_next(m2_float a)
{
    return 1.0f / (WHOLE(floats, a.count) + 1.0f);
}
INLINE m2_float m2_float_keep(masks mask, m2_float a, m2_float b)
{
    return m2_float_of(choose(mask, WHOLE(floats, a.count), WHOLE(floats, b.count)),
                       choose(mask, WHOLE(floats, a.mean), WHOLE(floats, b.mean)),
                       choose(mask, WHOLE(floats, a.m2), WHOLE(floats, b.m2)));
}
INLINE m2_float m2_float_merge(m2_float a, m2_float b)
{
    floats of_a = WHOLE(floats, a.count), of_b = WHOLE(floats, b.count), mean = WHOLE(floats, a.mean);
    floats count = of_a + of_b, delta = WHOLE(floats, b.mean) - mean;
    floats share = choose(float_gt(count, splat(0)), of_b / count, splat(0));
    floats m2 = WHOLE(floats, a.m2) + WHOLE(floats, b.m2) + delta * delta * of_a * share;
    return m2_float_keep(float_eq(of_b, splat(0)), a, m2_float_of(count, mean + delta * share, m2));
}
#define MERGE_M2(a, distance)                                                                                          \
    m2_float_merge(a, m2_float_of(ROTATE(WHOLE(floats, a.count), distance), ROTATE(WHOLE(floats, a.mean), distance),   \
                                  ROTATE(WHOLE(floats, a.m2), distance)))
INLINE m2_float m2_float_lanes(m2_float a)
{
    a = MERGE_M2(a, 8);
    a = MERGE_M2(a, 4);
    a = MERGE_M2(a, 2);
    a = MERGE_M2(a, 1);
    floats count = WHOLE(floats, a.count), mean = WHOLE(floats, a.mean), m2 = WHOLE(floats, a.m2);
    return m2_float_of(FIRST_LANE(count), FIRST_LANE(mean), FIRST_LANE(m2));
}
INLINE floats m2_float_result(m2_float a)
{
    return WHOLE(floats, a.m2);
}
TEAMS(m2_float)

/* Where the best value stands: at a tie the smallest index, and the first NaN wins over all. */
#define MERGE_BEST(name, vector, a, distance)                                                                          \
    name##_merge(a, name##_of(ROTATE(WHOLE(vector, a.value), distance), ROTATE(WHOLE(ints, a.index), distance)))
#define BEST(name, vector, start, better, same, select)                                                                \
    typedef struct {                                                                                                   \
        PARTS(vector) value;                                                                                           \
        PARTS(ints) index;                                                                                             \
    } name;                                                                                                            \
    INLINE name name##_of(vector value, ints index)                                                                    \
    {                                                                                                                  \
        name made = {SPLIT(vector, value), SPLIT(ints, index)};                                                        \
        return made;                                                                                                   \
    }                                                                                                                  \
    INLINE name name##_start(void)                                                                                     \
    {                                                                                                                  \
        return name##_of(start, splat_int(0));                                                                         \
    }                                                                                                                  \
    INLINE name name##_keep(masks mask, name a, name b)                                                                \
    {                                                                                                                  \
        return name##_of(select(mask, WHOLE(vector, a.value), WHOLE(vector, b.value)),                                 \
                         choose_int(mask, WHOLE(ints, a.index), WHOLE(ints, b.index)));                                \
    }                                                                                                                  \
    INLINE name name##_merge(name a, name b)                                                                           \
    {                                                                                                                  \
        vector of_a = WHOLE(vector, a.value), of_b = WHOLE(vector, b.value);                                           \
        masks first = int_lt(WHOLE(ints, b.index), WHOLE(ints, a.index));                                              \
        return name##_keep(better(of_b, of_a) | (same(of_b, of_a) & first), b, a);                                     \
    }                                                                                                                  \
    INLINE name name##_step(name a, vector x, ints index)                                                              \
    {                                                                                                                  \
        return name##_merge(a, name##_of(x, index));                                                                   \
    }                                                                                                                  \
    INLINE name name##_follow(name a, vector x, ints index)                                                            \
    {                                                                                                                  \
        vector best = WHOLE(vector, a.value);                                                                          \
        return name##_keep(better(x, best), name##_of(x, index), a);                                                   \
    }                                                                                                                  \
    INLINE name name##_lanes(name a)                                                                                   \
    {                                                                                                                  \
        a = MERGE_BEST(name, vector, a, 8);                                                                            \
        a = MERGE_BEST(name, vector, a, 4);                                                                            \
        a = MERGE_BEST(name, vector, a, 2);                                                                            \
        return MERGE_BEST(name, vector, a, 1);                                                                         \
    }                                                                                                                  \
    INLINE ints name##_result(name a)                                                                                  \
    {                                                                                                                  \
        return WHOLE(ints, a.index);                                                                                   \
    }                                                                                                                  \
    TEAMS(name)

#define FLOAT_ABOVE(a, b) (float_gt(a, b) | (float_ne(a, a) & float_eq(b, b)))
#define FLOAT_BELOW(a, b) (float_lt(a, b) | (float_ne(a, a) & float_eq(b, b)))
#define FLOAT_SAME(a, b) (float_eq(a, b) | (float_ne(a, a) & float_ne(b, b)))

BEST(argmax_float, floats, splat(-INFINITE), FLOAT_ABOVE, FLOAT_SAME, choose)
BEST(argmin_float, floats, splat(INFINITE), FLOAT_BELOW, FLOAT_SAME, choose)
BEST(argmax_long, longs, splat_long(-9223372036854775807ll - 1), long_gt, long_eq, choose_long)
BEST(argmin_long, longs, splat_long(9223372036854775807ll), long_lt, long_eq, choose_long)

/* ---- random bits: Philox4x32-10 (Salmon et al., SC 2011) ---- */

/* Four words of each block. */
typedef struct {
    words word[4];
} blocks;

INLINE blocks random_blocks(longs seed, longs attempt, long long key, longs block)
{
    quads keys = (quads)seed * 0x9E3779B97F4A7C15ull + (unsigned long long)key; /* wraps */
    words key0 = low_words(keys), key1 = low_words(keys >> 32);
    words c0 = low_words((quads)block), c1 = low_words((quads)block >> 32);
    words c2 = low_words((quads)attempt), c3 = low_words((quads)attempt >> 32);
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
    blocks made = {{c0, c1, c2, c3}};
    return made;
}
INLINE floats bits_to_uniform(words bits)
{
    return int_to_float((ints)(bits >> 8)) * 0x1p-24f;
}
/* Uniform in [0, 1) for an element: number i takes word i % 4 of block i / 4. */
INLINE floats uniform_far(longs seed, longs attempt, long long key, longs element)
{
    blocks made = random_blocks(seed, attempt, key, element >> 2);
    ints word = low_ints(element & 3);
    masks odd = int_ne(word & 1, splat_int(0));
    ints low = choose_int(odd, (ints)made.word[1], (ints)made.word[0]);
    ints high = choose_int(odd, (ints)made.word[3], (ints)made.word[2]);
    return bits_to_uniform((words)choose_int(int_ne(word & 2, splat_int(0)), high, low));
}
/* … for the elements base + index. */
INLINE floats uniform_bits(longs seed, longs attempt, long long key, long long base, ints index)
{
    return uniform_far(seed, attempt, key, int_to_long(index) + base);
}

#endif
/* NOLINTEND(misc-redundant-expression, bugprone-macro-parentheses) */
