/* The lane functions, made from opcodes.def. CMake compiles this file once for each instruction set (SIM_ISA), without
 * contraction, so that all sets give the same bits. */
#include "runtime/sim/lanes.h"

#include "runtime/sim/numbers.h"

#include <emmintrin.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

/* The table compares every type with every bound, also where that can't fail. */
#pragma GCC diagnostic ignored "-Wtype-limits"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Wbitwise-instead-of-logical" /* without branches, so that loops vectorise */
#pragma GCC diagnostic ignored "-Wtautological-compare"
#pragma GCC diagnostic ignored "-Wtautological-type-limit-compare"
#pragma GCC diagnostic ignored "-Wtautological-constant-out-of-range-compare"
#endif

/* Registers are the same or apart, so a lane never meets another's result. */
#ifdef __clang__
#define EACH_LANE _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < LANES; l++)
#else
#define EACH_LANE _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++)
#endif

#define CELL_u8 u32
#define CELL_s8 u32
#define CELL_u16 u32
#define CELL_s16 u32
#define CELL_u32 u32
#define CELL_s32 s32
#define CELL_f32 f32
#define CELL_u64 u64
#define CELL_s64 s64
#define CELL_f64 f64
#define CELL_f16 u32
#define CELL_bf16 u32
#define CELL_no_type u32

#define READ_u8(p) (u8)(p)[l]
#define READ_s8(p) (s8)(p)[l]
#define READ_u16(p) (u16)(p)[l]
#define READ_s16(p) (s16)(p)[l]
#define READ_u32(p) (p)[l]
#define READ_s32(p) (p)[l]
#define READ_f32(p) (p)[l]
#define READ_u64(p) (p)[l]
#define READ_s64(p) (p)[l]
#define READ_f64(p) (p)[l]
#define READ_f16(p) (u16)(p)[l]
#define READ_bf16(p) (u16)(p)[l]
#define READ_no_type(p) 0

#define CUT_u8(value) (u8)(value)
#define CUT_s8(value) (u16)(s8)(value)
#define CUT_u16(value) (u16)(value)
#define CUT_s16(value) (u16)(value)
#define CUT_u32(value) (u32)(value)
#define CUT_s32(value) (s32)(value)
#define CUT_f32(value) (value)
#define CUT_u64(value) (u64)(value)
#define CUT_s64(value) (s64)(value)
#define CUT_f64(value) (value)

#define TYPE_no_type int
#define TYPE_u8 u8
#define TYPE_s8 s8
#define TYPE_u16 u16
#define TYPE_s16 s16
#define TYPE_u32 u32
#define TYPE_s32 s32
#define TYPE_f32 f32
#define TYPE_u64 u64
#define TYPE_s64 s64
#define TYPE_f64 f64
#define TYPE_f16 u16
#define TYPE_bf16 u16

/* NaN is made the one of PTX afterwards, where there is any, so that it does not keep others waiting. */
#define ANY_NAN_u8(cells) false
#define ANY_NAN_s8(cells) false
#define ANY_NAN_u16(cells) false
#define ANY_NAN_s16(cells) false
#define ANY_NAN_u32(cells) false
#define ANY_NAN_s32(cells) false
#define ANY_NAN_f32(cells) any_nan(cells)
#define ANY_NAN_u64(cells) false
#define ANY_NAN_s64(cells) false
#define ANY_NAN_f64(cells) false

/* Two cells are unordered where either is NaN. */
static inline bool any_nan(const f32 *cells)
{
#ifdef __AVX2__
    __m256 one = _mm256_cmp_ps(_mm256_load_ps(cells), _mm256_load_ps(cells + 8), _CMP_UNORD_Q);
    __m256 two = _mm256_cmp_ps(_mm256_load_ps(cells + 16), _mm256_load_ps(cells + 24), _CMP_UNORD_Q);
    return _mm256_movemask_ps(_mm256_or_ps(one, two));
#else
    __m128 nan = _mm_setzero_ps();
    for (int i = 0; i < LANES; i += 8)
        nan = _mm_or_ps(nan, _mm_cmpunord_ps(_mm_load_ps(cells + i), _mm_load_ps(cells + i + 4)));
    return _mm_movemask_ps(nan);
#endif
}

#define TO_WHOLE(d, value, low, high, nan_bits, limit)                                                                 \
    ((value) != (value) ? (d)(nan_bits) : (value) >= (limit) ? (d)(high) : (value) <= (low) ? (d)(low) : (d)(value))

static void quiet_all(u32 place, u8 *registers)
{
    f32 *cells = (void *)(registers + place);
    EACH_LANE cells[l] = quiet(cells[l]);
}

/* Registers begin at multiples of 64 bytes. The letters have names, since those of the macros below are types. */
#define PLACE_A places->a
#define PLACE_B places->b
#define PLACE_C places->c
#define PLACE_E places->e
#define CELLS(place) __builtin_assume_aligned(registers + (place), 64)

#define LANE(name, pattern, class, d, a, b, c, e, expression)                                                          \
    static void lane_##name(u8 *registers, const struct places *places, u32 to)                                        \
    {                                                                                                                  \
        CELL_##d *result = CELLS(to);                                                                                  \
        const CELL_##a *cells_a = CELLS(PLACE_A);                                                                      \
        const CELL_##b *cells_b = CELLS(PLACE_B);                                                                      \
        const CELL_##c *cells_c = CELLS(PLACE_C);                                                                      \
        const CELL_##e *cells_e = CELLS(PLACE_E);                                                                      \
        (void)cells_b, (void)cells_c, (void)cells_e;                                                                   \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            TYPE_##a A = READ_##a(cells_a);                                                                            \
            TYPE_##b B = READ_##b(cells_b);                                                                            \
            TYPE_##c C = READ_##c(cells_c);                                                                            \
            TYPE_##e E = READ_##e(cells_e);                                                                            \
            (void)B, (void)C, (void)E;                                                                                 \
            CELL_##d value = CUT_##d(expression);                                                                      \
            result[l] = value;                                                                                         \
        }                                                                                                              \
        if (__builtin_expect(ANY_NAN_##d(result), 0))                                                                  \
            quiet_all(to, registers);                                                                                  \
    }
#define ROUNDED LANE

/* One half, or the two of a pair, through f64. */
#define HALF_LANE(name, read, round, expression)                                                                       \
    static void lane_##name(u8 *registers, const struct places *places, u32 to)                                        \
    {                                                                                                                  \
        u32 *result = CELLS(to);                                                                                       \
        const u32 *cells_a = CELLS(PLACE_A), *cells_b = CELLS(PLACE_B), *cells_c = CELLS(PLACE_C);                     \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            f64 A = read((u16)cells_a[l]), B = read((u16)cells_b[l]), C = read((u16)cells_c[l]);                       \
            (void)B, (void)C;                                                                                          \
            result[l] = round(round_to_odd(expression));                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static void lane_##name##x2(u8 *registers, const struct places *places, u32 to)                                    \
    {                                                                                                                  \
        u32 *result = CELLS(to);                                                                                       \
        const u32 *cells_a = CELLS(PLACE_A), *cells_b = CELLS(PLACE_B), *cells_c = CELLS(PLACE_C);                     \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            u32 halves[2];                                                                                             \
            for (int half = 0; half < 2; half++) {                                                                     \
                f64 A = read((u16)(cells_a[l] >> 16 * half)), B = read((u16)(cells_b[l] >> 16 * half));                \
                f64 C = read((u16)(cells_c[l] >> 16 * half));                                                          \
                (void)B, (void)C;                                                                                      \
                halves[half] = round(round_to_odd(expression));                                                        \
            }                                                                                                          \
            result[l] = halves[1] << 16 | halves[0];                                                                   \
        }                                                                                                              \
    }
#define HALF1(name, pattern, expression)                                                                               \
    HALF_LANE(name##_f16, float_of_half, half_of, expression)                                                          \
    HALF_LANE(name##_bf16, float_of_bfloat, bfloat_of, expression)
#define HALF2 HALF1
#define HALF3 HALF1

/* The lanes whose cell is all ones. */
static uint32_t mask_of(const u32 *cells)
{
    uint32_t mask = 0;
#ifdef __AVX2__
    for (int i = 0; i < 4; i++) {
        __m256 part = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(cells + 8 * i)));
        mask |= (uint32_t)_mm256_movemask_ps(part) << (8 * i);
    }
#else
    for (int i = 0; i < 8; i++) {
        __m128 part = _mm_castsi128_ps(_mm_loadu_si128((const __m128i *)(cells + 4 * i)));
        mask |= (uint32_t)_mm_movemask_ps(part) << (4 * i);
    }
#endif
    return mask;
}

#define COMPARE(name, operator, type, expression)                                                                      \
    static uint32_t compare_##name(const u8 *registers, const struct places *places)                                   \
    {                                                                                                                  \
        const CELL_##type *cells_a = CELLS(PLACE_A);                                                                   \
        const CELL_##type *cells_b = CELLS(PLACE_B);                                                                   \
        u32 cells[LANES];                                                                                              \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            TYPE_##type A = READ_##type(cells_a), B = READ_##type(cells_b);                                            \
            cells[l] = (expression) ? UINT32_MAX : 0;                                                                  \
        }                                                                                                              \
        return mask_of(cells);                                                                                         \
    }
#include "runtime/sim/opcodes.def"

#ifdef __F16C__
/* The CPU's own conversions, of which only NaN is other than PTX's: then the table's function does it again. */

static void fast_cvt_f32_f16(u8 *registers, const struct places *places, u32 to)
{
    const __m128i *halves = CELLS(PLACE_A);
    f32 *result = CELLS(to);
    __m256 values[4], nan = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) {
        values[i] = _mm256_cvtph_ps(_mm_packus_epi32(halves[2 * i], halves[2 * i + 1]));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(values[i], values[i], _CMP_UNORD_Q));
    }
    if (_mm256_movemask_ps(nan)) {
        lane_cvt_f32_f16(registers, places, to);
        return;
    }
    for (int i = 0; i < 4; i++)
        _mm256_store_ps(result + 8 * i, values[i]);
}

static void fast_cvt_rn_f16_f32(u8 *registers, const struct places *places, u32 to)
{
    const f32 *values = CELLS(PLACE_A);
    __m256i *result = CELLS(to), halves[4];
    __m256 nan = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) {
        __m256 part = _mm256_load_ps(values + 8 * i);
        halves[i] = _mm256_cvtepu16_epi32(_mm256_cvtps_ph(part, _MM_FROUND_TO_NEAREST_INT));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(part, part, _CMP_UNORD_Q));
    }
    if (_mm256_movemask_ps(nan)) {
        lane_cvt_rn_f16_f32(registers, places, to);
        return;
    }
    for (int i = 0; i < 4; i++)
        result[i] = halves[i];
}

static void fast_cvt_rn_f16x2(u8 *registers, const struct places *places, u32 to)
{
    const f32 *high = CELLS(PLACE_A), *low = CELLS(PLACE_B);
    __m128i *result = CELLS(to), pairs[8];
    __m256 nan = _mm256_setzero_ps();
    for (int i = 0; i < 4; i++) {
        __m256 upper = _mm256_load_ps(high + 8 * i), lower = _mm256_load_ps(low + 8 * i);
        __m128i above = _mm256_cvtps_ph(upper, _MM_FROUND_TO_NEAREST_INT);
        __m128i below = _mm256_cvtps_ph(lower, _MM_FROUND_TO_NEAREST_INT);
        pairs[2 * i] = _mm_unpacklo_epi16(below, above);
        pairs[2 * i + 1] = _mm_unpackhi_epi16(below, above);
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(upper, lower, _CMP_UNORD_Q));
    }
    if (_mm256_movemask_ps(nan)) {
        lane_cvt_rn_f16x2(registers, places, to);
        return;
    }
    for (int i = 0; i < 8; i++)
        result[i] = pairs[i];
}

#define lane_cvt_f32_f16 fast_cvt_f32_f16
#define lane_cvt_rn_f16_f32 fast_cvt_rn_f16_f32
#define lane_cvt_rn_f16x2 fast_cvt_rn_f16x2
#endif

static lane_function *const lanes[LANE_COUNT] = {
#define LANE(name, ...) lane_##name,
#define ROUNDED LANE
#define HALF1(name, ...) lane_##name##_f16, lane_##name##_f16x2, lane_##name##_bf16, lane_##name##_bf16x2,
#define HALF2 HALF1
#define HALF3 HALF1
#include "runtime/sim/opcodes.def"
};

static compare_function *const compares[COMPARE_COUNT] = {
#define COMPARE(name, ...) compare_##name,
#include "runtime/sim/opcodes.def"
};

/* ---- masks and addresses ---- */

static void select32(void *d, const void *a, const void *b, uint32_t mask)
{
    u32 *to = d;
    const u32 *yes = a, *no = b;
    EACH_LANE to[l] = mask & (1U << l) ? yes[l] : no[l];
}

static void select64(void *d, const void *a, const void *b, uint32_t mask)
{
    u64 *to = d;
    const u64 *yes = a, *no = b;
    EACH_LANE to[l] = mask & (1U << l) ? yes[l] : no[l];
}

static void fill32(void *d, uint32_t value)
{
    u32 *to = d;
    EACH_LANE to[l] = value;
}

static void fill64(void *d, uint64_t value)
{
    u64 *to = d;
    EACH_LANE to[l] = value;
}

static void blend32(void *d, const void *s, uint32_t mask)
{
    select32(d, s, d, mask);
}

static void blend64(void *d, const void *s, uint32_t mask)
{
    select64(d, s, d, mask);
}

static enum pattern pattern64(const void *from, uint64_t step)
{
    const u64 *cells = from;
    u64 not_run = 0, not_same = 0, first = cells[0];
    for (int l = 0; l < LANES; l++) {
        not_run |= cells[l] ^ (first + (u64)l * step);
        not_same |= cells[l] ^ first;
    }
    return !not_run ? PATTERN_RUN : !not_same ? PATTERN_SAME : PATTERN_ANY;
}

static enum pattern pattern32(const void *from, uint32_t step)
{
    const u32 *cells = from;
    u32 not_run = 0, not_same = 0, first = cells[0];
    for (int l = 0; l < LANES; l++) {
        not_run |= cells[l] ^ (first + (u32)l * step);
        not_same |= cells[l] ^ first;
    }
    return !not_run ? PATTERN_RUN : !not_same ? PATTERN_SAME : PATTERN_ANY;
}

static void load_vectors(uint32_t *const *cells, const uint8_t *from, int count)
{
    const u32 *values = (const void *)from;
    if (count == 1) {
        memcpy(cells[0], values, LANES * sizeof *values);
    } else if (count == 2) {
        u32 *first = cells[0], *second = cells[1];
        EACH_LANE
        {
            first[l] = values[2 * l];
            second[l] = values[2 * l + 1];
        }
    } else if (count == 4) {
        u32 *first = cells[0], *second = cells[1], *third = cells[2], *fourth = cells[3];
        EACH_LANE
        {
            first[l] = values[4 * l];
            second[l] = values[4 * l + 1];
            third[l] = values[4 * l + 2];
            fourth[l] = values[4 * l + 3];
        }
    } else {
        for (int i = 0; i < count; i++)
            EACH_LANE cells[i][l] = values[count * l + i];
    }
}

static void store_vectors(const uint32_t *const *cells, uint8_t *to, int count)
{
    u32 *values = (void *)to;
    if (count == 1) {
        memcpy(values, cells[0], LANES * sizeof *values);
    } else if (count == 2) {
        const u32 *first = cells[0], *second = cells[1];
        EACH_LANE
        {
            values[2 * l] = first[l];
            values[2 * l + 1] = second[l];
        }
    } else if (count == 4) {
        const u32 *first = cells[0], *second = cells[1], *third = cells[2], *fourth = cells[3];
        EACH_LANE
        {
            values[4 * l] = first[l];
            values[4 * l + 1] = second[l];
            values[4 * l + 2] = third[l];
            values[4 * l + 3] = fourth[l];
        }
    } else {
        for (int i = 0; i < count; i++)
            EACH_LANE values[count * l + i] = cells[i][l];
    }
}

static void bank_bits(const uint64_t *addresses, int shift, uint32_t mask, uint32_t *bits)
{
    EACH_LANE bits[l] = 1U << ((u32)addresses[l] >> shift & mask);
}

static void range(const uint64_t *addresses, uint32_t active, uint64_t *low, uint64_t *high, uint64_t *bits)
{
    uint64_t some = addresses[__builtin_ctz(active)], least = some, most = some, any = 0;
    for (int l = 0; l < LANES; l++) {
        uint64_t address = active & (1U << l) ? addresses[l] : some;
        least = address < least ? address : least;
        most = address > most ? address : most;
        any |= address;
    }
    *low = least;
    *high = most;
    *bits = any;
}

static void offset64(uint64_t *addresses, const void *base, uint64_t offset)
{
    const u64 *cells = base;
    for (int l = 0; l < LANES; l++)
        addresses[l] = cells[l] + offset;
}

static void offset32(uint64_t *addresses, const void *base, uint64_t offset)
{
    const u32 *cells = base;
    for (int l = 0; l < LANES; l++)
        addresses[l] = (u32)(cells[l] + (u32)offset);
}

/* ---- matrix products ---- */

enum { ROWS = 16, COLUMNS = 8, INNER = 16 };

/* Eight rows of eight halves become columns. */
static void turn_halves(void *to, const void *from)
{
    const __m128i *rows = from;
    __m128i *columns = to, pairs[8], fours[8];
    for (int i = 0; i < 4; i++) {
        __m128i first = _mm_loadu_si128(rows + 2 * i), second = _mm_loadu_si128(rows + 2 * i + 1);
        pairs[i] = _mm_unpacklo_epi16(first, second);
        pairs[4 + i] = _mm_unpackhi_epi16(first, second);
    }
    for (int i = 0; i < 4; i++) {
        fours[2 * i] = _mm_unpacklo_epi32(pairs[2 * i], pairs[2 * i + 1]);
        fours[2 * i + 1] = _mm_unpackhi_epi32(pairs[2 * i], pairs[2 * i + 1]);
    }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 2; i++) {
            __m128i left = fours[4 * half + i], right = fours[4 * half + 2 + i];
            _mm_storeu_si128(columns + 4 * half + 2 * i, _mm_unpacklo_epi64(left, right));
            _mm_storeu_si128(columns + 4 * half + 2 * i + 1, _mm_unpackhi_epi64(left, right));
        }
}

/* PTX, "Matrix fragments for mma": a register of a warp is a block of 8 x 8 halves, or 8 x 4 of tf32, with lane l
 * holding elements 2 (l % 4) and the next of row l / 4, or l % 4 alone. So the cells in order are the rows in order.
 * For B, rows of the block are columns of the matrix. */
static inline void widen(char input, const void *cells, f32 *values)
{
    const u32 *words = cells;
    u16 halves[2 * LANES];
    memcpy(halves, cells, sizeof halves);
    if (input == 't')
        EACH_LANE values[l] = float_of(words[l] & 0xffffe000);
    else if (input == 'b')
        for (int i = 0; i < 2 * LANES; i++)
            values[i] = float_of_bfloat(halves[i]);
    else
#ifdef __F16C__
        for (int i = 0; i < 2 * LANES; i += 8)
            _mm256_storeu_ps(values + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(halves + i))));
#else
        for (int i = 0; i < 2 * LANES; i++)
            values[i] = float_of_half(halves[i]);
#endif
}

static inline void gather_sums(char result, const void *const *registers, f32 sums[ROWS][COLUMNS])
{
    for (int half = 0; half < 2; half++) {
        f32 *rows = sums[8 * half];
        if (result != 'f') {
            widen('h', registers[half], rows);
            continue;
        }
        const f32 *even = registers[2 * half], *odd = registers[2 * half + 1];
        for (int l = 0; l < LANES; l++) {
            rows[2 * l] = even[l];
            rows[2 * l + 1] = odd[l];
        }
    }
}

static inline void scatter_sums(char result, void *const *registers, f32 sums[ROWS][COLUMNS])
{
    for (int half = 0; half < 2; half++) {
        const f32 *rows = sums[8 * half];
        for (int l = 0; l < LANES; l++) {
            f32 low = quiet(rows[2 * l]), high = quiet(rows[2 * l + 1]);
            if (result == 'f') {
                ((f32 *)registers[2 * half])[l] = low;
                ((f32 *)registers[2 * half + 1])[l] = high;
            } else {
                ((u32 *)registers[half])[l] = (u32)half_of(high) << 16 | half_of(low);
            }
        }
    }
}

/* A row of sums as one value of the compiler's. */
typedef f32 row __attribute__((vector_size(COLUMNS * sizeof(f32))));

static inline row row_at(const f32 *from)
{
    row value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Products of two f16 are exact in f32, so that fusing changes nothing; others may be subnormal. */
static inline row add_times(char input, row sums, f32 x, row values)
{
    row factor = {x, x, x, x, x, x, x, x};
#ifdef __FMA__
    if (input == 'h')
        return (row)_mm256_fmadd_ps((__m256)factor, (__m256)values, (__m256)sums);
#endif
    (void)input;
    return sums + factor * values;
}

/* Four rows at a time, named one by one so that their sums stay in the CPU's registers. */
static inline void multiply(char input, int inner, f32 left[ROWS][INNER], f32 right[INNER][COLUMNS],
                            f32 sums[ROWS][COLUMNS])
{
    for (int i = 0; i < ROWS; i += 4) {
        row first = row_at(sums[i]), second = row_at(sums[i + 1]), third = row_at(sums[i + 2]);
        row fourth = row_at(sums[i + 3]);
        for (int k = 0; k < inner; k++) {
            row across = row_at(right[k]);
            first = add_times(input, first, left[i][k], across);
            second = add_times(input, second, left[i + 1][k], across);
            third = add_times(input, third, left[i + 2][k], across);
            fourth = add_times(input, fourth, left[i + 3][k], across);
        }
        memcpy(sums[i], &first, sizeof first);
        memcpy(sums[i + 1], &second, sizeof second);
        memcpy(sums[i + 2], &third, sizeof third);
        memcpy(sums[i + 3], &fourth, sizeof fourth);
    }
}

/* With constant arguments, so that each shape gets a loop of its own. */
__attribute__((always_inline)) static inline void matrix_of(int inner, char input, char result, void *const *d,
                                                            const void *const *a, const void *const *b,
                                                            const void *const *c)
{
    f32 left[ROWS][INNER], right[INNER][COLUMNS], sums[ROWS][COLUMNS], values[2 * LANES];
    int step = input == 't' ? 4 : 8;
    for (int i = 0; i < 2 * inner / step; i++) {
        widen(input, a[i], values);
        for (int g = 0; g < 8; g++)
            memcpy(&left[(i & 1 ? 8 : 0) + g][i / 2 * step], values + g * step, (size_t)step * sizeof *values);
    }
    for (int i = 0; i < inner / step; i++) {
        if (input != 't') {
            u32 turned[LANES];
            turn_halves(turned, b[i]);
            widen(input, turned, right[i * step]);
            continue;
        }
        widen(input, b[i], values);
        for (int k = 0; k < step; k++)
            for (int g = 0; g < COLUMNS; g++)
                right[i * step + k][g] = values[g * step + k];
    }
    gather_sums(result, c, sums);
    multiply(input, inner, left, right, sums);
    scatter_sums(result, d, sums);
}

static void matrix(const struct matrix_shape *shape, void *const *d, const void *const *a, const void *const *b,
                   const void *const *c)
{
    if (shape->input == 't' && shape->k == 4)
        matrix_of(4, 't', 'f', d, a, b, c);
    else if (shape->input == 't')
        matrix_of(8, 't', 'f', d, a, b, c);
    else if (shape->input == 'b' && shape->k == 8)
        matrix_of(8, 'b', 'f', d, a, b, c);
    else if (shape->input == 'b')
        matrix_of(16, 'b', 'f', d, a, b, c);
    else if (shape->result == 'h' && shape->k == 8)
        matrix_of(8, 'h', 'h', d, a, b, c);
    else if (shape->result == 'h')
        matrix_of(16, 'h', 'h', d, a, b, c);
    else if (shape->k == 8)
        matrix_of(8, 'h', 'f', d, a, b, c);
    else
        matrix_of(16, 'h', 'f', d, a, b, c);
}

#define JOIN(a, b) a##b
#define NAME(isa) JOIN(sim_isa_, isa)
#define TEXT(isa) #isa
#define QUOTED(isa) TEXT(isa)
const struct sim_isa NAME(SIM_ISA) = {
    .name = QUOTED(SIM_ISA),
    .lanes = lanes,
    .compares = compares,
    .blend32 = blend32,
    .blend64 = blend64,
    .fill32 = fill32,
    .fill64 = fill64,
    .select32 = select32,
    .select64 = select64,
    .pattern64 = pattern64,
    .pattern32 = pattern32,
    .load_vectors = load_vectors,
    .store_vectors = store_vectors,
    .bank_bits = bank_bits,
    .range = range,
    .offset64 = offset64,
    .offset32 = offset32,
    .turn_halves = turn_halves,
    .matrix = matrix,
};
