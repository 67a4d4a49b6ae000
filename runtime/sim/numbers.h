/* Arithmetic of one lane as PTX has it, written so that loops over lanes vectorise: no calls, no branches.
 *
 * f32 results that are NaN are the NaN 0x7fffffff, f16 and bf16 ones 0x7fff; f64 keeps the host's. The approximate
 * functions are evaluated in double precision and rounded once, so they are within the bounds that PTX gives. */
#ifndef CASTOR_RUNTIME_SIM_NUMBERS_H
#define CASTOR_RUNTIME_SIM_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;

static inline u32 bits_of(f32 value)
{
    u32 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline f32 float_of(u32 bits)
{
    f32 value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline u64 bits_of64(f64 value)
{
    u64 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline f64 double_of(u64 bits)
{
    f64 value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- f32 ---- */

static inline f32 quiet(f32 value)
{
    return value == value ? value : float_of(0x7fffffff);
}

static inline f32 flush(f32 value)
{
    u32 bits = bits_of(value);
    return float_of(bits & 0x7f800000 ? bits : bits & 0x80000000);
}

static inline f32 saturate(f32 value)
{
    return value > 0 ? (value < 1 ? value : 1) : 0;
}

static inline f64 saturate64(f64 value)
{
    return value > 0 ? (value < 1 ? value : 1) : 0;
}

static inline f32 relu(f32 value)
{
    return value > 0 ? value : value == value ? 0 : value;
}

static inline f64 keep_nan_or_positive(f64 value)
{
    return value > 0 ? value : value == value ? 0 : value;
}

static inline bool either_nan(f32 a, f32 b)
{
    return (a != a) | (b != b);
}

/* Masks and choices by bits: written with ?:, the functions below do not become vectors. */
static inline u32 mask32(bool condition)
{
    return 0U - (u32)condition;
}

static inline u64 mask64(bool condition)
{
    return 0U - (u64)condition;
}

static inline u32 choose32(bool condition, u32 a, u32 b)
{
    return b ^ ((a ^ b) & mask32(condition));
}

static inline u64 choose64(bool condition, u64 a, u64 b)
{
    return b ^ ((a ^ b) & mask64(condition));
}

/* A NaN gives way to a number; -0 is less than +0. */
static inline f32 minimum(f32 a, f32 b)
{
    u32 x = bits_of(a), y = bits_of(b), less = choose32(a < b, x, choose32(a == b, x | y, y));
    return float_of(choose32(a != a, y, choose32(b != b, x, less)));
}

static inline f32 maximum(f32 a, f32 b)
{
    u32 x = bits_of(a), y = bits_of(b), greater = choose32(a > b, x, choose32(a == b, x & y, y));
    return float_of(choose32(a != a, y, choose32(b != b, x, greater)));
}

static inline f64 minimum64(f64 a, f64 b)
{
    u64 x = bits_of64(a), y = bits_of64(b), less = choose64(a < b, x, choose64(a == b, x | y, y));
    return double_of(choose64(a != a, y, choose64(b != b, x, less)));
}

static inline f64 maximum64(f64 a, f64 b)
{
    u64 x = bits_of64(a), y = bits_of64(b), greater = choose64(a > b, x, choose64(a == b, x & y, y));
    return double_of(choose64(a != a, y, choose64(b != b, x, greater)));
}

/* tf32: 10 bits of fraction, rounded to nearest, ties away from zero. */
static inline u32 tensor_float(f32 value)
{
    u32 bits = bits_of(value), magnitude = bits & 0x7fffffff;
    u32 rounded = (bits + 0x1000) & 0xffffe000;
    return magnitude > 0x7f800000 ? 0x7fffffff : magnitude == 0x7f800000 ? bits : rounded;
}

/* ---- halves ---- */

static inline f32 float_of_half(u16 half)
{
    u32 magnitude = (u32)(half & 0x7fff) << 13, sign = (u32)(half & 0x8000) << 16;
    u32 number = bits_of(float_of(magnitude) * 0x1p112F);
    u32 special = magnitude | 0x7f800000;
    return float_of(sign | (magnitude >= 0x0f800000 ? special : number));
}

static inline f32 float_of_bfloat(u16 half)
{
    return float_of((u32)half << 16);
}

/* To nearest, ties to even. Adding 1/2 puts a subnormal result's last bit where f32's is. */
static inline u16 half_of(f32 value)
{
    u32 bits = bits_of(value), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
    u32 subnormal = bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F);
    u32 normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    u32 result = magnitude < 0x38800000 ? subnormal : normal;
    result = magnitude >= 0x47800000 ? 0x7c00 : result;
    return (u16)(magnitude > 0x7f800000 ? 0x7fff : result | sign);
}

static inline u16 half_toward_zero(f32 value)
{
    u32 bits = bits_of(value), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
    u32 subnormal = (u32)(float_of(magnitude < 0x38800000 ? magnitude : 0) * 0x1p24F);
    u32 result = magnitude < 0x38800000 ? subnormal : (magnitude - 0x38000000) >> 13;
    result = magnitude >= 0x47800000 ? 0x7bff : result;
    result = magnitude == 0x7f800000 ? 0x7c00 : result;
    return (u16)(magnitude > 0x7f800000 ? 0x7fff : result | sign);
}

static inline u16 bfloat_of(f32 value)
{
    u32 bits = bits_of(value), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (u16)(value == value ? rounded : 0x7fff);
}

static inline u16 bfloat_toward_zero(f32 value)
{
    return (u16)(value == value ? bits_of(value) >> 16 : 0x7fff);
}

/* To f32 so that a further rounding to fewer bits is the right one: inexact results get an odd last bit (Boldo and
 * Melquiond, Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd, 2008). */
static inline f32 round_to_odd(f64 value)
{
    f32 near = (f32)value;
    u32 bits = bits_of(near);
    f64 back = (f64)near;
    bool inexact = back != value && value == value && !(bits & 1);
    u32 step = __builtin_fabs(back) < __builtin_fabs(value) ? 1 : UINT32_MAX;
    return float_of(inexact ? bits + step : bits);
}

static inline f32 whole_to_odd(u64 magnitude, bool negative)
{
    int excess = magnitude >> 24 ? 64 - __builtin_clzll(magnitude) - 24 : 0;
    u64 kept = magnitude >> excess | ((magnitude & (((u64)1 << excess) - 1)) != 0);
    f32 value = (f32)(u32)kept * (f32)((u64)1 << excess);
    return negative ? -value : value;
}

/* a × b + c of halves, whose products are exact in f64, rounded to odd. */
static inline f64 fused(f64 a, f64 b, f64 c)
{
    f64 product = a * b, sum = product + c, part = sum - product;
    f64 rest = (product - (sum - part)) + (c - part);
    u64 bits = bits_of64(sum);
    bool inexact = rest != 0 && rest == rest && !(bits & 1);
    u64 step = (rest > 0) == (sum > 0) ? 1 : UINT64_MAX;
    return double_of(inexact ? bits + step : bits);
}

/* ---- approximations ---- */

/* 2^x = 2^n 2^f, |f| <= 1/2, by the series of e^(f ln 2) to the eighth power. */
static inline f64 exp2_f64(f64 x)
{
    f64 bounded = x > 300 ? 300 : x < -300 ? -300 : x;
    f64 shifted = bounded + 0x1.8p52, whole = shifted - 0x1.8p52, t = (bounded - whole) * 0x1.62e42fefa39efp-1;
    f64 series = 1.0 / 40320;
    series = series * t + 1.0 / 5040;
    series = series * t + 1.0 / 720;
    series = series * t + 1.0 / 120;
    series = series * t + 1.0 / 24;
    series = series * t + 1.0 / 6;
    series = series * t + 0.5;
    series = series * t + 1;
    series = series * t + 1;
    f64 power = double_of((bits_of64(shifted) + 1023) << 52);
    return x == x ? series * power : x;
}

static inline f32 approximate_exp2(f32 x)
{
    return (f32)exp2_f64((f64)x);
}

/* Subnormal results of bf16, which has the range of f32, are flushed. */
static inline u16 bfloat_exp2(u16 x)
{
    return bfloat_of(flush(approximate_exp2(float_of_bfloat(x))));
}

/* PTX, div.approx: by the reciprocal, which is zero for divisors beyond 2^126. */
static inline f32 approximate_quotient(f32 a, f32 b)
{
    return __builtin_fabsf(b) > 0x1p126F ? a * __builtin_copysignf(0, b) : a / b;
}

/* log2 of m 2^e, 1/sqrt 2 <= m < sqrt 2, by the series of atanh((m - 1) / (m + 1)). */
static inline f32 approximate_log2(f32 x)
{
    u64 bits = bits_of64((f64)x);
    u64 shifted = bits - 0x3fe6a09e667f3bcdULL; /* 1/sqrt 2 */
    s32 exponent = (s32)((u32)(shifted >> 52) << 20) >> 20;
    f64 m = double_of(bits - ((u64)(shifted >> 52) << 52));
    f64 t = (m - 1) / (m + 1), square = t * t, series = 1.0 / 15;
    series = series * square + 1.0 / 13;
    series = series * square + 1.0 / 11;
    series = series * square + 1.0 / 9;
    series = series * square + 1.0 / 7;
    series = series * square + 1.0 / 5;
    series = series * square + 1.0 / 3;
    series = series * square + 1;
    f64 result = series * t * 0x1.71547652b82fep+1 + exponent;
    f32 special = x == 0 ? -__builtin_inff() : x > 0 ? x : float_of(0x7fffffff);
    return x > 0 && x < __builtin_inff() ? (f32)result : special;
}

/* The sine of x + quarters × pi/2, by Taylor series after taking whole quarter turns away. */
static inline f32 approximate_sine(f32 x, int quarters)
{
    f64 turns = (f64)x * 0x1.45f306dc9c883p-1; /* 2 / pi */
    f64 whole = (turns + 0x1.8p52) - 0x1.8p52;
    f64 r = ((f64)x - whole * 0x1.921fb544p+0) - whole * 0x1.0b4611a626331p-34, q = r * r;
    f64 sine = r * (1 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 - q / 39916800)))));
    f64 cosine = 1 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 - q / 3628800))));
    u64 quarter = bits_of64(whole + 0x1.8p52) + (u64)quarters;
    f64 value = quarter & 1 ? cosine : sine;
    value = quarter & 2 ? -value : value;
    return __builtin_fabsf(x) < 0x1p50F ? (f32)value : __builtin_fabsf(x) < __builtin_inff() ? 0 : float_of(0x7fffffff);
}

static inline f32 approximate_tanh(f32 x)
{
    f64 size = __builtin_fabs((f64)x), power = exp2_f64(size > 40 ? 120 : size * 0x1.71547652b82fep+1);
    f64 value = size < 1e-4 ? size : (power - 1) / (power + 1);
    return x == x ? __builtin_copysignf((f32)value, x) : x;
}

/* ---- whole numbers ---- */

static inline s32 saturate_s32(s64 value)
{
    return (s32)(value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value);
}

static inline s64 clamp_whole(u64 bits, bool positive, s64 low, s64 high)
{
    if (positive)
        return bits > (u64)high ? high : (s64)bits;
    return (s64)bits < low ? low : (s64)bits;
}

static inline u64 multiply_high_u64(u64 a, u64 b)
{
    return (u64)(((__extension__(unsigned __int128) a) * b) >> 64);
}

static inline s64 multiply_high_s64(s64 a, s64 b)
{
    return (s64)(((__extension__(__int128) a) * b) >> 64);
}

static inline u32 population(u32 x)
{
    x -= x >> 1 & 0x55555555;
    x = (x & 0x33333333) + (x >> 2 & 0x33333333);
    return ((x + (x >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
}

static inline u32 find_bit(u64 x)
{
    return x ? 63 - (u32)__builtin_clzll(x) : UINT32_MAX;
}

static inline u32 reverse_bits(u32 x)
{
    x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
    x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
    x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(x);
}

/* bfe: bits from `start` on; what lies beyond the highest bit is 0, or the sign where there is one. */
static inline u64 extract_bits(u64 value, u32 start, u32 length, u32 width, bool is_signed)
{
    u32 from = start & 255, count = length & 255, top = width - 1;
    if (count == 0)
        return 0;
    u32 last = from + count - 1 < top ? from + count - 1 : top;
    u64 sign = is_signed ? value >> last & 1 : 0;
    u64 kept = from > top ? 0 : value >> from;
    u32 have = from > top ? 0 : top - from + 1 < count ? top - from + 1 : count;
    u64 mask = have >= 64 ? UINT64_MAX : ((u64)1 << have) - 1;
    return (kept & mask) | (sign ? ~mask : 0);
}

/* bfi: b with `length` bits from `start` on replaced by a's lowest. */
static inline u64 insert_bits(u64 a, u64 b, u32 start, u32 length, u32 width)
{
    u32 from = start & 255, count = length & 255;
    if (from >= width || count == 0)
        return b;
    u64 mask = (count >= 64 ? UINT64_MAX : ((u64)1 << count) - 1) << from;
    return (b & ~mask) | (a << from & mask);
}

static inline s32 pair_add(s32 a, s32 b)
{
    return a + b;
}

static inline s32 pair_min(s32 a, s32 b)
{
    return a < b ? a : b;
}

static inline s32 pair_max(s32 a, s32 b)
{
    return a > b ? a : b;
}

static inline u32 logic3(u32 a, u32 b, u32 c, u32 table)
{
    u32 result = 0;
    for (int i = 0; i < 8; i++) {
        u32 term = (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
        result |= (0 - (table >> i & 1)) & term;
    }
    return result;
}

static inline u32 permute_bytes(u32 a, u32 b, u32 selector)
{
    u64 both = (u64)b << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; i++) {
        u32 which = selector >> (4 * i), byte = (u32)(both >> (8 * (which & 7))) & 255;
        u32 sign = byte & 128 ? 255 : 0;
        result |= (which & 8 ? sign : byte) << (8 * i);
    }
    return result;
}

static inline u32 dot_bytes(u32 a, u32 b, u32 c, bool a_signed, bool b_signed)
{
    for (int i = 0; i < 32; i += 8) {
        s32 x = a_signed ? (s8)(a >> i) : (u8)(a >> i), y = b_signed ? (s8)(b >> i) : (u8)(b >> i);
        c += (u32)(x * y);
    }
    return c;
}

/* The two 16-bit numbers of a with two bytes of b: the low ones, or (high) the other two. */
static inline u32 dot_halves(u32 a, u32 b, u32 c, bool a_signed, bool b_signed, bool high)
{
    for (int i = 0; i < 2; i++) {
        u32 half = a >> 16 * i, byte = b >> 8 * (i + 2 * high);
        s32 x = a_signed ? (s16)half : (u16)half, y = b_signed ? (s8)byte : (u8)byte;
        c += (u32)(x * y);
    }
    return c;
}

#endif
