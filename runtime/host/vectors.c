/* The arithmetic of our own matrix products and convolutions, in vectors of the instruction set VECTOR_ISA,
 * VECTOR_WIDTH floats each.
 *
 * Of Winograd's convolutions it is F(4 × 4, 3 × 3) of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks
 * (2016), but over the points 0, ±5/8, ±3/2 and infinity: measured on random values its errors are half of those over
 * 0, ±1, ±2 (7.5e-7 and 1.6e-6 of a result's size, where plain sums have 2.6e-7). */
#include "runtime/host/vectors.h"

#include <string.h>

enum { WIDTH = VECTOR_WIDTH, VECTORS = VECTOR_PANEL / WIDTH, REACH = WINOGRAD_REACH };
enum { ROWS = WIDTH * 3 / 4, PANELS = WIDTH < 16 ? 1 : 2 }; /* whose sums fit into the registers */

typedef float vector __attribute__((vector_size(4 * VECTOR_WIDTH), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * VECTOR_WIDTH)));

static inline vector load(const float *from)
{
    return *(const vector *)from;
}

static inline void store(float *to, vector value)
{
    *(vector *)to = value;
}

/* ---- one dimension; elements of `to` and `from` are so many apart ---- */

/* Points 0, NEAR, -NEAR, FAR, -FAR and infinity; powers of points, and one over the products of their differences. */
#define NEAR 0.625f
#define FAR 1.5f
#define NEAR2 (NEAR * NEAR)
#define FAR2 (FAR * FAR)
#define ZERO_SHARE (1 / (NEAR2 * FAR2))
#define NEAR_SHARE (1 / (2 * NEAR2 * (NEAR2 - FAR2)))
#define FAR_SHARE (1 / (2 * FAR2 * (FAR2 - NEAR2)))

/* The six positions from what is even and odd in the points that have both signs. */
static inline void spread(vector zero, vector near_even, vector near_odd, vector far_even, vector far_odd, vector last,
                          vector *to, int step)
{
    to[0] = zero;
    to[step] = near_even + near_odd;
    to[2 * step] = near_even - near_odd;
    to[3 * step] = far_even + far_odd;
    to[4 * step] = far_even - far_odd;
    to[5 * step] = last;
}

/* B' d */
static inline void input_line(const vector *from, int step, vector *to, int to_step)
{
    vector d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step], d4 = from[4 * step],
           d5 = from[5 * step];
    vector near_even = d4 - FAR2 * d2, near_odd = NEAR * (d3 - FAR2 * d1);
    vector far_even = d4 - NEAR2 * d2, far_odd = FAR * (d3 - NEAR2 * d1);
    spread(NEAR2 * FAR2 * d0 - (NEAR2 + FAR2) * d2 + d4, near_even, near_odd, far_even, far_odd,
           NEAR2 * FAR2 * d1 - (NEAR2 + FAR2) * d3 + d5, to, to_step);
}

/* A d */
static inline void gradient_line(const vector *from, int step, vector *to, int to_step)
{
    vector d0 = from[0], d1 = from[step], d2 = from[2 * step], d3 = from[3 * step];
    vector near_even = d0 + NEAR2 * d2, near_odd = NEAR * (d1 + NEAR2 * d3);
    vector far_even = d0 + FAR2 * d2, far_odd = FAR * (d1 + FAR2 * d3);
    spread(d0, near_even, near_odd, far_even, far_odd, d3, to, to_step);
}

/* A' m */
static inline void output_line(const vector *from, int step, vector *to, int to_step)
{
    vector m0 = from[0], m1 = from[step], m2 = from[2 * step], m3 = from[3 * step], m4 = from[4 * step],
           m5 = from[5 * step];
    vector near_even = m1 + m2, near_odd = NEAR * (m1 - m2), far_even = m3 + m4, far_odd = FAR * (m3 - m4);
    to[0] = m0 + near_even + far_even;
    to[to_step] = near_odd + far_odd;
    to[2 * to_step] = NEAR2 * near_even + FAR2 * far_even;
    to[3 * to_step] = NEAR2 * near_odd + FAR2 * far_odd + m5;
}

/* G w */
static inline void window_line(const vector *from, int step, vector *to, int to_step)
{
    vector w0 = from[0], w1 = from[step], w2 = from[2 * step];
    vector near_even = NEAR_SHARE * w0 + NEAR_SHARE * NEAR2 * w2, near_odd = NEAR_SHARE * NEAR * w1;
    vector far_even = FAR_SHARE * w0 + FAR_SHARE * FAR2 * w2, far_odd = FAR_SHARE * FAR * w1;
    spread(ZERO_SHARE * w0, near_even, near_odd, far_even, far_odd, w2, to, to_step);
}

/* G' u */
static inline void window_gradient_line(const vector *from, int step, vector *to, int to_step)
{
    vector u0 = from[0], u1 = from[step], u2 = from[2 * step], u3 = from[3 * step], u4 = from[4 * step],
           u5 = from[5 * step];
    vector near_even = NEAR_SHARE * (u1 + u2), near_odd = NEAR_SHARE * NEAR * (u1 - u2);
    vector far_even = FAR_SHARE * (u3 + u4), far_odd = FAR_SHARE * FAR * (u3 - u4);
    to[0] = ZERO_SHARE * u0 + near_even + far_even;
    to[to_step] = near_odd + far_odd;
    to[2 * to_step] = NEAR2 * near_even + FAR2 * far_even + u5;
}

/* ---- both dimensions ---- */

/* What of `size` places from `first` on lies in 0 … end - 1. */
static inline void clip(int64_t first, int size, int64_t end, int *low, int *high)
{
    *low = first < 0 ? (int)-first : 0;
    *high = first + size > end ? (int)(end - first) : size;
}

/* size × size places of one vector of channels; what lies outside is zero. */
static inline void load_places(const struct winograd_map *map, const float *from, int64_t row, int64_t column, int size,
                               vector *to)
{
    int row_low, row_high, low, high;
    clip(row, size, map->rows, &row_low, &row_high);
    clip(column, size, map->columns, &low, &high);
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++)
            to[i * size + j] = i >= row_low && i < row_high && j >= low && j < high
                                   ? load(from + ((row + i) * map->columns + column + j) * map->channels)
                                   : (vector){0};
}

static void input(const struct winograd_map *map, const float *from, int64_t row, int64_t column, float *to,
                  int64_t plane)
{
    for (int64_t channel = 0; channel < map->channels; channel += WIDTH) {
        vector place[REACH * REACH], half[REACH * REACH], position[REACH];
        load_places(map, from + channel, row, column, REACH, place);
        for (int j = 0; j < REACH; j++)
            input_line(place + j, REACH, half + j, REACH);
        for (int i = 0; i < REACH; i++) {
            input_line(half + i * REACH, 1, position, 1);
            for (int j = 0; j < REACH; j++)
                store(to + (i * REACH + j) * plane + channel, position[j]);
        }
    }
}

static void gradient(const struct winograd_map *map, const float *from, int64_t row, int64_t column, float *to,
                     int64_t plane)
{
    enum { SIZE = WINOGRAD_TILE };
    for (int64_t channel = 0; channel < map->channels; channel += WIDTH) {
        vector place[SIZE * SIZE], half[REACH * SIZE], position[REACH];
        load_places(map, from + channel, row, column, SIZE, place);
        for (int j = 0; j < SIZE; j++)
            gradient_line(place + j, SIZE, half + j, SIZE);
        for (int i = 0; i < REACH; i++) {
            gradient_line(half + i * SIZE, 1, position, 1);
            for (int j = 0; j < REACH; j++)
                store(to + (i * REACH + j) * plane + channel, position[j]);
        }
    }
}

static inline vector finish(const struct winograd_epilogue *epilogue, vector value, int64_t channel, int64_t at)
{
    if (epilogue->bias)
        value += load(epilogue->bias + channel);
    if (epilogue->relu)
        value = (vector)((mask)value & ~(mask)(value < 0));
    if (epilogue->addend)
        value += load(epilogue->addend + at);
    return value;
}

static void output(const struct winograd_map *map, const float *from, int64_t plane, int64_t row, int64_t column,
                   int64_t first, int64_t count, const struct winograd_epilogue *epilogue, float *to)
{
    enum { SIZE = WINOGRAD_TILE };
    int unused, row_end, end;
    clip(row, SIZE, map->rows, &unused, &row_end);
    clip(column, SIZE, map->columns, &unused, &end);
    for (int64_t channel = 0; channel < count; channel += WIDTH) {
        vector position[REACH], half[SIZE * REACH], place[SIZE];
        for (int j = 0; j < REACH; j++) {
            for (int i = 0; i < REACH; i++)
                position[i] = load(from + (i * REACH + j) * plane + channel);
            output_line(position, 1, half + j, REACH);
        }
        for (int i = 0; i < row_end; i++) {
            output_line(half + i * REACH, 1, place, 1);
            for (int j = 0; j < end; j++) {
                int64_t at = ((row + i) * map->columns + column + j) * map->channels + first + channel;
                store(to + at, finish(epilogue, place[j], first + channel, at));
            }
        }
    }
}

static void window(const float *from, int64_t step, bool turned, float *to, int64_t plane)
{
    enum { SIZE = 3 };
    for (int column = 0; column < VECTOR_PANEL; column += WIDTH) {
        vector place[SIZE * SIZE], half[REACH * SIZE], position[REACH];
        for (int i = 0; i < SIZE * SIZE; i++)
            for (int lane = 0; lane < WIDTH; lane++)
                place[i][lane] = from[(column + lane) * step + (turned ? SIZE * SIZE - 1 - i : i)];
        for (int j = 0; j < SIZE; j++)
            window_line(place + j, SIZE, half + j, SIZE);
        for (int i = 0; i < REACH; i++) {
            window_line(half + i * SIZE, 1, position, 1);
            for (int j = 0; j < REACH; j++)
                store(to + (i * REACH + j) * plane + column, position[j]);
        }
    }
}

static void window_gradient(const float *from, int64_t plane, float *to, int64_t step)
{
    enum { SIZE = 3 };
    for (int column = 0; column < VECTOR_PANEL; column += WIDTH) {
        vector position[REACH], half[SIZE * REACH], place[SIZE];
        for (int j = 0; j < REACH; j++) {
            for (int i = 0; i < REACH; i++)
                position[i] = load(from + (i * REACH + j) * plane + column);
            window_gradient_line(position, 1, half + j, REACH);
        }
        for (int i = 0; i < SIZE; i++) {
            window_gradient_line(half + i * REACH, 1, place, 1);
            for (int j = 0; j < SIZE; j++)
                for (int lane = 0; lane < WIDTH; lane++)
                    to[(column + lane) * step + i * SIZE + j] = place[j][lane];
        }
    }
}

/* ---- products ---- */

/* `panels` panels of `rows` rows: the sums stay in registers, so many as hide an addition's latency and the loads of
 * elements of a, one for each row and k. */
static inline __attribute__((always_inline)) void multiply_rows(const int rows, const int panels, int64_t depth,
                                                                const float *restrict a, int64_t a_row, int64_t a_depth,
                                                                const float *restrict b, int64_t b_depth,
                                                                int64_t b_panel, bool add, float *restrict d,
                                                                int64_t d_row, int64_t d_panel)
{
    vector sum[ROWS][PANELS * VECTORS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < panels; j++)
            __builtin_prefetch(d + i * d_row + j * d_panel, 1);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < panels * VECTORS; j++)
            sum[i][j] = (vector){0};
    for (int64_t k = 0; k < depth; k++) {
        vector column[PANELS * VECTORS] = {{0}};
        for (int j = 0; j < panels * VECTORS; j++)
            column[j] = load(b + j / VECTORS * b_panel + k * b_depth + j % VECTORS * WIDTH);
        for (int i = 0; i < rows; i++) {
            float element = a[i * a_row + k * a_depth];
            for (int j = 0; j < panels * VECTORS; j++)
                sum[i][j] += element * column[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < panels * VECTORS; j++) {
            float *at = d + i * d_row + j / VECTORS * d_panel + j % VECTORS * WIDTH;
            if (add)
                sum[i][j] += load(at);
            store(at, sum[i][j]);
        }
}

static void pack(int64_t rows, int64_t depth, const float *a, int64_t a_depth, float *to)
{
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS, to += depth * ROWS)
        for (int64_t k = 0; k < depth; k++)
            memcpy(to + k * ROWS, a + k * a_depth + row, ROWS * sizeof *to);
    for (int64_t k = 0; k < depth; k++)
        memcpy(to + k * (rows - row), a + k * a_depth + row, (size_t)(rows - row) * sizeof *to);
}

static void multiply(int64_t rows, int64_t panels, int64_t depth, const float *a, int64_t a_row, int64_t a_depth,
                     const float *b, int64_t b_depth, int64_t b_panel, bool add, float *d, int64_t d_row,
                     int64_t d_panel)
{
    int64_t panel = 0;
#define ROWS_OF(count, some)                                                                                           \
    for (; row + (count) <= rows; row += (count))                                                                      \
        multiply_rows(count, some, depth, a + row * a_row, a_row, a_depth, b + panel * b_panel, b_depth, b_panel, add, \
                      d + row * d_row + panel * d_panel, d_row, d_panel);
#define PANELS_OF(some)                                                                                                \
    for (; panel + (some) <= panels; panel += (some)) {                                                                \
        int64_t row = 0;                                                                                               \
        ROWS_OF(ROWS, some)                                                                                            \
        ROWS_OF((ROWS + 1) / 2, some)                                                                                  \
        ROWS_OF(1, some)                                                                                               \
    }
    PANELS_OF(PANELS)
    PANELS_OF(1)
#undef PANELS_OF
#undef ROWS_OF
}

#define NAMED(isa) vector_isa_##isa
#define TABLE(isa) NAMED(isa)
#define TEXT(isa) #isa
#define NAME(isa) TEXT(isa)

const struct vector_isa TABLE(VECTOR_ISA) = {.name = NAME(VECTOR_ISA),
                                             .rows = ROWS,
                                             .turns = WIDTH < 16,
                                             .pack = pack,
                                             .multiply = multiply,
                                             .input = input,
                                             .gradient = gradient,
                                             .output = output,
                                             .window = window,
                                             .window_gradient = window_gradient};
