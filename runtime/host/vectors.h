/* What matrix products and Winograd's convolutions of our own do on vectors, compiled once for each instruction set of
 * the CPU (vectors.c).
 *
 * A tile is 4 × 4 places of a convolution's result, or of its gradient; 6 × 6 places of its input lie under it. Each is
 * taken to 36 numbers a channel, its positions, at which tile and window are multiplied (winograd.h has the formula).
 * Maps have their channels last. All counts of channels are multiples of VECTOR_PANEL. */
#ifndef CASTOR_RUNTIME_HOST_VECTORS_H
#define CASTOR_RUNTIME_HOST_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

enum { WINOGRAD_TILE = 4, WINOGRAD_REACH = 6, WINOGRAD_POSITIONS = 36, VECTOR_PANEL = 16 };

/* One example: rows × columns × channels. */
struct winograd_map {
    int64_t rows, columns, channels;
};

/* What is done to a result before it is stored, in this order; NULL, false: not. */
struct winograd_epilogue {
    const float *bias;
    bool relu;           /* keeps NaN */
    const float *addend; /* the example, as the result lies */
};

struct vector_isa {
    const char *name; /* as isa.h has it */
    int rows;         /* that a product does at a time */
    bool turns;       /* its products of large turned matrices are faster than the library's (onednn_gemm.c) */
    /* Copies a[rows, depth], stored turned with its columns a_depth apart, so that `rows` of its rows stand next to
     * each other, depth by depth, and behind them the next. */
    void (*pack)(int64_t rows, int64_t depth, const float *a, int64_t a_depth, float *to);
    /* d[rows, panels * VECTOR_PANEL] = a[rows, depth] b, or added to d; panel j of b lies at b + j * b_panel, of d at
     * d + j * d_panel. */
    void (*multiply)(int64_t rows, int64_t panels, int64_t depth, const float *a, int64_t a_row, int64_t a_depth,
                     const float *b, int64_t b_depth, int64_t b_panel, bool add, float *d, int64_t d_row,
                     int64_t d_panel);
    /* The tile whose first place is (row, column), either may be outside, as positions: channel i of position p goes to
     * to[p * plane + i]. What lies outside of the map is zero. */
    void (*input)(const struct winograd_map *map, const float *from, int64_t row, int64_t column, float *to,
                  int64_t plane);
    void (*gradient)(const struct winograd_map *map, const float *from, int64_t row, int64_t column, float *to,
                     int64_t plane);
    /* Channels first … first + count - 1 of the tile's result from their positions. */
    void (*output)(const struct winograd_map *map, const float *from, int64_t plane, int64_t row, int64_t column,
                   int64_t first, int64_t count, const struct winograd_epilogue *epilogue, float *to);
    /* Windows (3 × 3 numbers, `step` apart from one column to the next, backwards where `turned`) of VECTOR_PANEL
     * columns as positions: column j of position p goes to to[p * plane + j]; their gradient from sums of products. */
    void (*window)(const float *from, int64_t step, bool turned, float *to, int64_t plane);
    void (*window_gradient)(const float *from, int64_t plane, float *to, int64_t step);
};

/* The one of this name, or the widest that the CPU has for "native"; NULL when it has not got it. */
const struct vector_isa *vector_isa_find(const char *name);

extern const struct vector_isa vector_isa_baseline, vector_isa_avx2, vector_isa_avx512;

#endif
