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

#define TO_WHOLE(d, value, low, high, nan_bits, limit)                                                                 \
    ((value) != (value) ? (d)(nan_bits) : (value) >= (limit) ? (d)(high) : (value) <= (low) ? (d)(low) : (d)(value))

#define LANE(name, pattern, class, d, a, b, c, e, expression)                                                          \
    static void lane_##name(void *to, const void *from_a, const void *from_b, const void *from_c, const void *from_e)  \
    {                                                                                                                  \
        CELL_##d *result = to;                                                                                         \
        const CELL_##a *cells_a = from_a;                                                                              \
        const CELL_##b *cells_b = from_b;                                                                              \
        const CELL_##c *cells_c = from_c;                                                                              \
        const CELL_##e *cells_e = from_e;                                                                              \
        (void)cells_b, (void)cells_c, (void)cells_e;                                                                   \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            TYPE_##a A = READ_##a(cells_a);                                                                            \
            TYPE_##b B = READ_##b(cells_b);                                                                            \
            TYPE_##c C = READ_##c(cells_c);                                                                            \
            TYPE_##e E = READ_##e(cells_e);                                                                            \
            (void)B, (void)C, (void)E;                                                                                 \
            result[l] = CUT_##d(expression);                                                                           \
        }                                                                                                              \
    }
#define ROUNDED LANE

/* One half, or the two of a pair, through f64. */
#define HALF_LANE(name, read, round, expression)                                                                       \
    static void lane_##name(void *to, const void *from_a, const void *from_b, const void *from_c, const void *from_e)  \
    {                                                                                                                  \
        u32 *result = to;                                                                                              \
        const u32 *cells_a = from_a, *cells_b = from_b, *cells_c = from_c;                                             \
        (void)from_e;                                                                                                  \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            f64 A = read((u16)cells_a[l]), B = read((u16)cells_b[l]), C = read((u16)cells_c[l]);                       \
            (void)B, (void)C;                                                                                          \
            result[l] = round(round_to_odd(expression));                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static void lane_##name##x2(void *to, const void *from_a, const void *from_b, const void *from_c,                  \
                                const void *from_e)                                                                    \
    {                                                                                                                  \
        u32 *result = to;                                                                                              \
        const u32 *cells_a = from_a, *cells_b = from_b, *cells_c = from_c;                                             \
        (void)from_e;                                                                                                  \
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
    static uint32_t compare_##name(const void *from_a, const void *from_b)                                             \
    {                                                                                                                  \
        const CELL_##type *cells_a = from_a;                                                                           \
        const CELL_##type *cells_b = from_b;                                                                           \
        u32 cells[LANES];                                                                                              \
        EACH_LANE                                                                                                      \
        {                                                                                                              \
            TYPE_##type A = READ_##type(cells_a), B = READ_##type(cells_b);                                            \
            cells[l] = (expression) ? UINT32_MAX : 0;                                                                  \
        }                                                                                                              \
        return mask_of(cells);                                                                                         \
    }
#include "runtime/sim/opcodes.def"

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

static void blend32(void *d, const void *s, uint32_t mask)
{
    select32(d, s, d, mask);
}

static void blend64(void *d, const void *s, uint32_t mask)
{
    select64(d, s, d, mask);
}

static bool consecutive(const uint64_t *addresses, uint64_t step)
{
    uint64_t differs = 0, first = addresses[0];
    for (int l = 0; l < LANES; l++)
        differs |= addresses[l] ^ (first + (uint64_t)l * step);
    return differs == 0;
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
    else if (input == 'h')
        for (int i = 0; i < 2 * LANES; i++)
            values[i] = float_of_half(halves[i]);
    else
        for (int i = 0; i < 2 * LANES; i++)
            values[i] = float_of_bfloat(halves[i]);
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

static inline row times(f32 x, row values)
{
    return (row){x, x, x, x, x, x, x, x} * values;
}

/* Four rows at a time, named one by one so that their sums stay in the CPU's registers. */
static inline void multiply(int inner, f32 left[ROWS][INNER], f32 right[INNER][COLUMNS], f32 sums[ROWS][COLUMNS])
{
    for (int i = 0; i < ROWS; i += 4) {
        row first = row_at(sums[i]), second = row_at(sums[i + 1]), third = row_at(sums[i + 2]);
        row fourth = row_at(sums[i + 3]);
        for (int k = 0; k < inner; k++) {
            row across = row_at(right[k]);
            first += times(left[i][k], across);
            second += times(left[i + 1][k], across);
            third += times(left[i + 2][k], across);
            fourth += times(left[i + 3][k], across);
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
        widen(input, b[i], values);
        for (int k = 0; k < step; k++)
            for (int g = 0; g < COLUMNS; g++)
                right[i * step + k][g] = values[g * step + k];
    }
    gather_sums(result, c, sums);
    multiply(inner, left, right, sums);
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
    .select32 = select32,
    .select64 = select64,
    .consecutive = consecutive,
    .range = range,
    .offset64 = offset64,
    .offset32 = offset32,
    .matrix = matrix,
};
