/* The functions that generated host kernels are made of, against libm and against the element types' own rounding. */
#include "codegen/prelude/host.h"

#include "ir/philox.h"
#include "ir/type.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdint.h>

/* Distance to the exact result in units of the last place of its f32. */
static double ulps(float got, double wanted)
{
    float nearest = (float)wanted;
    if (isnan(wanted) || isinf(nearest))
        return isnan(wanted) ? (isnan(got) ? 0 : 1e9) : (got == nearest ? 0 : 1e9);
    double unit = (double)nextafterf(fabsf(nearest), INFINITY) - fabs((double)nearest);
    return fabs((double)got - wanted) / unit;
}

struct function {
    const char *name;
    floats (*vector)(floats);
    double (*exact)(double);
    double low, high, limit;
};

static floats call_exp(floats x)
{
    return float_exp(x);
}
static floats call_expm1(floats x)
{
    return float_expm1(x);
}
static floats call_log(floats x)
{
    return float_log(x);
}
static floats call_log1p(floats x)
{
    return float_log1p(x);
}
static floats call_tanh(floats x)
{
    return float_tanh(x);
}
static floats call_sigmoid(floats x)
{
    return float_sigmoid(x);
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static floats call_erf(floats x)
{
    return float_erf(x);
}
static floats call_sin(floats x)
{
    return float_sin(x);
}
static floats call_cos(floats x)
{
    return float_cos(x);
}

static const struct function functions[] = {
    {"exp", call_exp, exp, -87, 88.7, 2},         {"exp", call_exp, exp, -1, 1, 2},
    {"expm1", call_expm1, expm1, -20, 80, 2},     {"expm1", call_expm1, expm1, -1, 1, 2},
    {"log", call_log, log, 1e-3, 5, 2},           {"log", call_log, log, 0.9, 1.1, 2},
    {"log", call_log, log, 1, 3e38, 2},           {"log1p", call_log1p, log1p, -0.99, 3, 3},
    {"log1p", call_log1p, log1p, -1e-3, 1e-3, 3}, {"tanh", call_tanh, tanh, -10, 10, 2},
    {"tanh", call_tanh, tanh, -0.7, 0.7, 2},      {"sigmoid", call_sigmoid, sigmoid, -87, 20, 3},
    {"sigmoid", call_sigmoid, sigmoid, -1, 1, 3}, {"erf", call_erf, erf, -5, 5, 2.5},
    {"erf", call_erf, erf, -1.1, 1.1, 2.5},       {"sin", call_sin, sin, -100, 100, 2},
    {"cos", call_cos, cos, -100, 100, 2},         {"cos", call_cos, cos, -3e9, 3e9, 2},
};

static void test_function(const struct function *function)
{
    enum { SAMPLES = 1 << 16 };
    double worst = 0;
    for (int i = 0; i < SAMPLES; i += 16) {
        floats x;
        for (int k = 0; k < 16; k++)
            x[k] = (float)(function->low + (function->high - function->low) * (i + k + 0.37) / SAMPLES);
        floats y = function->vector(x);
        for (int k = 0; k < 16; k++) {
            double off = ulps(y[k], function->exact((double)x[k]));
            worst = off > worst ? off : worst;
        }
    }
    if (worst > function->limit)
        fprintf(stderr, "%s in %g … %g is off by %.2f ulp\n", function->name, function->low, function->high, worst);
    CHECK(worst <= function->limit);
}

static void test_special(const struct function *function)
{
    const float special[16] = {0,       -0.0f, INFINITY, -INFINITY, NAN,     1,   -1,   1e-40f,
                               -1e-40f, 1e30f, -1e30f,   1e-10f,    -1e-10f, 128, -128, 3};
    floats x;
    memcpy(&x, special, sizeof special);
    floats y = function->vector(x);
    for (int k = 0; k < 16; k++) {
        double wanted = function->exact((double)special[k]);
        bool good = ulps(y[k], wanted) <= 3 && (wanted != 0 || (signbit(y[k]) != 0) == (signbit(wanted) != 0));
        if (!good)
            fprintf(stderr, "%s(%g) is %g, not %g\n", function->name, (double)special[k], (double)y[k], wanted);
        CHECK(good);
    }
}

static bool equals(float a, double b)
{
    return isnan(b) ? isnan(a) : (double)a == b;
}

/* A NaN stays one in memory, whichever of its bits are set. */
static void test_narrow_nan(void)
{
    static const uint32_t nans[] = {0x7f800001, 0xff800001, 0x7f80ffff, 0x7f810000, 0x7fc00000, 0xffffffff};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        float x;
        memcpy(&x, &nans[i], sizeof x);
        CHECK(isnan(widen_bf16(narrow_bf16(round_bf16(splat(x))))[i]));
    }
}

/* Where the results are subnormal, and behind. */
static void test_exp_vanishing(void)
{
    for (int i = 0; i < 100 * 64; i++) {
        float x = -187 + (float)i / 64;
        double wanted = exp(x), tolerance = wanted * 0x1p-22 + 0x1p-149 * 0.75;
        CHECK(fabs(float_exp(splat(x))[i % 16] - wanted) <= tolerance);
    }
    CHECK(float_exp(splat(-INFINITY))[0] == 0 && isnan(float_exp(splat(NAN))[0]));
    CHECK(isinf(float_exp(splat(INFINITY))[0]) && float_exp(splat(-105))[0] == 0);
}

/* Halfway cases, subnormals, overflow, NaN: bit patterns spread over all exponents with telling low bits. */
static void test_rounding(void)
{
    int wrong = 0;
    for (uint32_t high = 0; high < 0x10000; high += 7)
        for (uint32_t k = 0; k < 16; k++) {
            static const uint32_t low[16] = {0,      1,      0xfff,  0x1000, 0x1001, 0x1fff, 0x2000, 0x3000,
                                             0x7fff, 0x8000, 0x8001, 0xffff, 0x0800, 0x5000, 0x7000, 0xf000};
            uint32_t bits = high << 16 | low[k];
            float x;
            memcpy(&x, &bits, sizeof x);
            floats f16 = round_f16(splat(x)), bf16 = round_bf16(splat(x));
            wrong += !equals(f16[5], element_round(ELEMENT_F16, (double)x));
            wrong += !equals(bf16[5], element_round(ELEMENT_BF16, (double)x));
        }
    CHECK(wrong == 0);
}

static void test_integers(void)
{
    const float values[16] = {0,        1.9f, -1.9f,     2147483520.0f, 2147483648.0f, -2147483648.0f, -3e9f, NAN,
                              INFINITY, 255,  -INFINITY, 256.5f,        0.5f,          -0.5f,          1e20f, 7};
    floats x;
    memcpy(&x, values, sizeof values);
    ints y = float_to_int(x);
    longs wide = float_to_long(x);
    for (int k = 0; k < 16; k++) {
        CHECK((double)y[k] == element_round(ELEMENT_I32, (double)values[k]));
        bool huge = fabs((double)values[k]) > 1e18;
        CHECK(huge ? (wide[k] > 0) == (values[k] > 0)
                   : (double)wide[k] == element_round(ELEMENT_I64, (double)values[k]));
    }
}

static bool same_bits(floats x, const float *wanted)
{
    uint32_t bits[16], wanted_bits[16];
    memcpy(bits, &x, sizeof bits);
    memcpy(wanted_bits, wanted, sizeof wanted_bits);
    return memcmp(bits, wanted_bits, sizeof bits) == 0;
}

/* Every pair of telling numbers, against the formula lane by lane: which zero, whose NaN. */
static void test_selection(void)
{
    const float special[16] = {0,   -0.0f, INFINITY, -INFINITY, NAN,    -NAN,    1,   -1,
                               2.5, -2.5f, 1e-40f,   -1e-40f,   3e-38f, -3e-38f, 1e9, -1e9f};
    floats x, y;
    memcpy(&x, special, sizeof special);
    for (int shift = 0; shift < 16; shift++) {
        float least[16], most[16], within[16], chosen[16];
        for (int k = 0; k < 16; k++) {
            float a = special[k], b = special[(k + shift) % 16];
            y[k] = b;
            least[k] = a < b || a != a ? a : b;
            most[k] = a > b || a != a ? a : b;
            within[k] = b > 2.0f ? 2.0f : b < -1.5f ? -1.5f : b;
            chosen[k] = (k + shift) % 3 ? b : a;
        }
        CHECK(same_bits(float_min(x, y), least));
        CHECK(same_bits(float_max(x, y), most));
        CHECK(same_bits(float_within(y, -1.5f, 2.0f), within));
        CHECK(same_bits(choose(int_eq((lane + shift) % 3, splat_int(0)), x, y), chosen));
        CHECK(same_bits((floats)choose_int(int_eq((lane + shift) % 3, splat_int(0)), (ints)x, (ints)y), chosen));
    }
}

#define CHECK_ROTATED(x, distance)                                                                                     \
    for (int k = 0; k < 16; k++)                                                                                       \
    CHECK(ROTATE(x, distance)[k] == (x)[k ^ (distance)])

/* What reaches the other lanes, and in which order lanes are merged. */
static void test_lanes(void)
{
    floats x, largest = splat(0);
    ints i = 3 * lane - 20;
    longs wide = int_to_long(i) * 0x123456789LL;
    for (int k = 0; k < 16; k++)
        x[k] = ldexpf(1.0f + (float)k / 7.0f, 5 * (k % 5) - 9) * (k % 3 ? 1.0f : -1.0f);
    CHECK_ROTATED(x, 8);
    CHECK_ROTATED(x, 4);
    CHECK_ROTATED(x, 2);
    CHECK_ROTATED(x, 1);
    CHECK_ROTATED(i, 8);
    CHECK_ROTATED(i, 4);
    CHECK_ROTATED(i, 2);
    CHECK_ROTATED(i, 1);
    CHECK_ROTATED(wide, 8);
    CHECK_ROTATED(wide, 4);
    CHECK_ROTATED(wide, 2);
    CHECK_ROTATED(wide, 1);
    float sums[16];
    memcpy(sums, &x, sizeof sums);
    for (int distance = 8; distance; distance /= 2) {
        float before[16];
        memcpy(before, sums, sizeof before);
        for (int k = 0; k < 16; k++)
            sums[k] = before[k] + before[k ^ distance];
    }
    CHECK(same_bits(sum_float_result(sum_float_lanes(sum_float_step(sum_float_start(), x))), sums));
    for (int k = 0; k < 16; k++)
        largest = x[k] > largest[0] ? splat(x[k]) : largest;
    CHECK(max_float_result(max_float_lanes(max_float_step(max_float_start(), x)))[5] == largest[0]);
    CHECK(isnan(
        max_float_result(max_float_lanes(max_float_step(max_float_start(), choose(lane == 9, splat(NAN), x))))[0]));
    CHECK(min_int_result(min_int_lanes(min_int_step(min_int_start(), i)))[7] == -20);
}

static void test_accumulators(void)
{
    floats x = __builtin_convertvector(lane, floats) - 7.0f;
    m2_float a = m2_float_start(), b = m2_float_start();
    for (int i = 0; i < 8; i++)
        a = m2_float_step(a, x + (float)i, splat(1.0f / (float)(i + 1)));
    for (int i = 8; i < 11; i++)
        b = m2_float_step(b, x + (float)i, splat(1.0f / (float)(i - 7)));
    double mean = 0, wanted = 0;
    for (int row = 0; row < 11; row++)
        for (int column = 0; column < 16; column++)
            mean += (row + column - 7) / (11.0 * 16);
    for (int row = 0; row < 11; row++)
        for (int column = 0; column < 16; column++)
            wanted += (row + column - 7 - mean) * (row + column - 7 - mean);
    floats m2 = m2_float_result(m2_float_lanes(m2_float_merge(a, b)));
    CHECK(fabs((double)m2[3] - wanted) < 1e-5 * wanted);
    CHECK(m2_float_result(m2_float_lanes(m2_float_merge(m2_float_start(), m2_float_start())))[0] == 0);

    argmax_float best = argmax_float_start();
    best = argmax_float_step(best, choose(lane == 3, splat(NAN), x), lane);
    best = argmax_float_step(best, choose(lane == 2, splat(NAN), x), lane + 16);
    CHECK(argmax_float_result(argmax_float_lanes(best))[0] == 3);
    best = argmax_float_step(argmax_float_start(), splat(-INFINITY), lane);
    CHECK(argmax_float_result(argmax_float_lanes(best))[9] == 0);
    CHECK(sum_long_lanes(int_to_long(lane))[1] == 120);
}

static void test_random_bits(void)
{
    uniform_stock stock = {.start = -1};
    long long key = 0x123456789abcdef;
    for (long base = 0; base < 256; base += 16) {
        floats stocked = uniform_from(&stock, splat_long(42), splat_long(7), key, base);
        floats direct = uniform_bits(splat_long(42), splat_long(7), key, base, lane);
        for (int k = 0; k < 16; k++) {
            double wanted = philox_uniform(42, 7, (uint64_t)key, (uint64_t)(base + k));
            CHECK((double)stocked[k] == wanted);
            CHECK((double)direct[k] == wanted);
        }
    }
    floats far = uniform_bits(splat_long(-3), splat_long(1LL << 40), key, 5000000000L, 3 * lane);
    CHECK((double)far[11] == philox_uniform(-3, 1LL << 40, (uint64_t)key, 5000000033u));
}

/* Offsets that no int holds: relative to a place as far away, they lead into memory that is there. */
static void test_far(void)
{
    float memory[32];
    const long away = 3L << 30;
    longs index = 2 * int_to_long(lane) + away;
    for (int k = 0; k < 32; k++)
        memory[k] = (float)k;
    floats x = load_far_f32((const char *)memory, -away, index, 16);
    for (int k = 0; k < 16; k++)
        CHECK(x[k] == (float)(2 * k));
    store_far_f32((char *)memory, -away, index, x + 0.5f, 15);
    for (int k = 0; k < 32; k++)
        CHECK(memory[k] == (float)k + (k % 2 || k == 30 ? 0 : 0.5f));
    longs held = hold_longs(index, away + 4, away + 8);
    CHECK(held[0] == away + 4 && held[3] == away + 6 && held[15] == away + 8);
}

int main(void)
{
#ifdef __AVX512F__
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512dq")))
        return 77;
#elif defined __AVX2__
    if (!__builtin_cpu_supports("avx2"))
        return 77;
#endif
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        test_function(&functions[i]);
        test_special(&functions[i]);
    }
    test_exp_vanishing();
    test_rounding();
    test_narrow_nan();
    test_integers();
    test_selection();
    test_lanes();
    test_far();
    test_accumulators();
    test_random_bits();
    return check_result();
}
