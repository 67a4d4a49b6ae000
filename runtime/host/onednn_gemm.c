/* Products of f32 matrices by the library's sgemm, one slice of the result a thread.
 *
 * Left to itself the library packs both operands for all threads at once; a slice a thread, each with a product of its
 * own, was measured half as fast again on 128 x 784 x 1024 with two threads. The epilogue is done slice by slice, while
 * the slice is in its core's cache. Slices depend on shape and number of threads alone. */
#include "runtime/host/onednn_plan.h"
#include "runtime/host/vectors.h"

#include <omp.h>
#include <string.h>

/* What of a turned matrix (rows stored as columns) and of the right matrix is copied at a time, to lie in the second
 * cache. */
enum { TURN_ROWS = 384, TURN_DEPTH = 256, TURN_COLUMNS = 64, ALIASED = 128, TURNED_COLUMNS = 256 };

/* A slice is worth a thread from here on, in multiplications. */
enum { SLICE_WORK = 1 << 18, SLICE_COLUMNS = 16, SLICE_ROWS = 8 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows lie one behind the other. */
static bool rows_lie(const int64_t stride[3], int64_t columns)
{
    return stride[2] == 1 && stride[1] >= columns;
}

/* Rows or columns lie one behind the other. */
static bool plain_matrix(const int64_t stride[3], int64_t rows, int64_t columns)
{
    return rows_lie(stride, columns) || (stride[1] == 1 && stride[2] >= rows);
}

bool onednn_gemm_fits(const struct program_matmul *matmul)
{
    return matmul->batch == 1 && matmul->a == PROGRAM_F32 && matmul->b == PROGRAM_F32 && matmul->d == PROGRAM_F32 &&
           (!(matmul->epilogue & PROGRAM_EPILOGUE_BIAS) || matmul->bias == PROGRAM_F32) &&
           plain_matrix(matmul->a_stride, matmul->m, matmul->k) &&
           plain_matrix(matmul->b_stride, matmul->k, matmul->n) && matmul->d_stride[2] == 1 &&
           matmul->d_stride[1] >= matmul->n;
}

/* bias, relu that keeps NaN, addend: on rows × columns of the result at `d`. */
static void finish_slice(const struct program_matmul *matmul, float *restrict d, const float *restrict bias,
                         const float *restrict addend, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i++, d += matmul->d_stride[1]) {
        if (matmul->epilogue & PROGRAM_EPILOGUE_BIAS)
            for (int64_t j = 0; j < columns; j++)
                d[j] += bias[j];
        if (matmul->epilogue & PROGRAM_EPILOGUE_RELU)
            for (int64_t j = 0; j < columns; j++)
                d[j] = d[j] < 0 ? 0 : d[j];
        if (matmul->epilogue & PROGRAM_EPILOGUE_ADD)
            for (int64_t j = 0; j < columns; j++)
                d[j] += addend[i * matmul->d_stride[1] + j];
    }
}

/* Where the rows of a turned matrix are so many floats apart that they meet in few sets of the caches, the library,
 * which for most sizes reads it as it lies, is slow. Two cores with AVX2, GFLOP/s, the library's and block by block:
 * 1536 x 2048 x 384: 128, 170; 384 x 2048 x 1152: 151, 174; but 768 x 4096 x 192, too few columns to make up for the
 * copy: 164, 157. (With AVX-512 the library is not: 1536 x 2048 x 384: 239, 147.) The shape alone decides, not the
 * slice: then results do not depend on the number of threads. */
static bool is_turned(const struct vector_isa *isa, const struct program_matmul *matmul)
{
    return isa->turns && !rows_lie(matmul->a_stride, matmul->k) && rows_lie(matmul->b_stride, matmul->n) &&
           matmul->k > 1 && matmul->a_stride[2] % ALIASED == 0 && matmul->n >= TURNED_COLUMNS &&
           matmul->n % VECTOR_PANEL == 0;
}

/* `panels` panels of columns of `from`, whose rows are `leading` apart, one behind the other, each row by row. */
static void copy_panels(const float *restrict from, int64_t leading, float *restrict to, int64_t rows, int64_t panels)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t panel = 0; panel < panels; panel++)
            memcpy(to + (panel * rows + row) * VECTOR_PANEL, from + row * leading + panel * VECTOR_PANEL,
                   VECTOR_PANEL * sizeof *to);
}

/* a' b, block by block. */
static void multiply_turned(const struct vector_isa *isa, const struct program_matmul *matmul, const float *a,
                            const float *b, float *d, int64_t rows, int64_t columns)
{
    float block[TURN_DEPTH * TURN_ROWS], panels[TURN_DEPTH * TURN_COLUMNS];
    int64_t a_leading = matmul->a_stride[2], b_leading = matmul->b_stride[1], d_leading = matmul->d_stride[1];
    for (int64_t k = 0; k < matmul->k; k += TURN_DEPTH)
        for (int64_t row = 0; row < rows; row += TURN_ROWS) {
            int64_t depth = least(matmul->k - k, TURN_DEPTH), count = least(rows - row, TURN_ROWS);
            isa->pack(count, depth, a + row + k * a_leading, a_leading, block);
            for (int64_t column = 0; column < columns; column += TURN_COLUMNS) {
                int64_t panel_count = least(columns - column, TURN_COLUMNS) / VECTOR_PANEL;
                copy_panels(b + column + k * b_leading, b_leading, panels, depth, panel_count);
                for (int64_t i = 0; i < count; i += isa->rows) {
                    int64_t some = least(count - i, isa->rows);
                    isa->multiply(some, panel_count, depth, block + i * depth, 1, some, panels, VECTOR_PANEL,
                                  depth * VECTOR_PANEL, k > 0, d + (row + i) * d_leading + column, d_leading,
                                  VECTOR_PANEL);
                }
            }
        }
}

static dnnl_status_t run_slice(const struct vector_isa *isa, const struct program_matmul *matmul, char *const *buffers,
                               int64_t row, int64_t column, int64_t rows, int64_t columns)
{
    bool biased = matmul->epilogue & PROGRAM_EPILOGUE_BIAS;
    bool turn_a = !rows_lie(matmul->a_stride, matmul->k), turn_b = !rows_lie(matmul->b_stride, matmul->n);
    const float *a = (const float *)buffers[0] + row * matmul->a_stride[1];
    const float *b = (const float *)buffers[1] + column * matmul->b_stride[2];
    int64_t at = row * matmul->d_stride[1] + column;
    float *d = (float *)buffers[2] + at;
    dnnl_status_t status = dnnl_success;
    if (is_turned(isa, matmul))
        multiply_turned(isa, matmul, a, b, d, rows, columns);
    else
        status = dnnl_sgemm(turn_a ? 'T' : 'N', turn_b ? 'T' : 'N', rows, columns, matmul->k, 1, a,
                            matmul->a_stride[turn_a ? 2 : 1], b, matmul->b_stride[turn_b ? 2 : 1], 0, d,
                            matmul->d_stride[1]);
    if (matmul->epilogue)
        finish_slice(matmul, d, biased ? (const float *)buffers[3] + column : NULL,
                     matmul->epilogue & PROGRAM_EPILOGUE_ADD ? (const float *)buffers[biased ? 4 : 3] + at : NULL, rows,
                     columns);
    return status;
}

/* One product on one thread: the library must not split a small one among threads in a way of its own. */
static dnnl_status_t run_whole(const struct vector_isa *isa, const struct program_matmul *matmul, int threads,
                               char *const *buffers)
{
    omp_set_num_threads(1);
    dnnl_status_t status = run_slice(isa, matmul, buffers, 0, 0, matmul->m, matmul->n);
    omp_set_num_threads(threads);
    return status;
}

bool onednn_run_gemm(const struct vector_isa *isa, const struct program_matmul *matmul, int threads,
                     char *const *buffers)
{
    bool by_column = matmul->n >= matmul->m;
    int64_t size = by_column ? matmul->n : matmul->m, unit = by_column ? SLICE_COLUMNS : SLICE_ROWS;
    int64_t work = matmul->m * matmul->n * matmul->k / SLICE_WORK;
    int64_t slices = work < threads ? work : threads;
    if (slices <= 1)
        return run_whole(isa, matmul, threads, buffers) == dnnl_success;
    int64_t width = (size + slices * unit - 1) / (slices * unit) * unit;
    bool good = true;
#pragma omp parallel for schedule(static, 1) num_threads((int)slices) reduction(&& : good)
    for (int64_t slice = 0; slice < slices; slice++) {
        int64_t low = slice * width, count = size - low < width ? size - low : width;
        if (count > 0)
            good = run_slice(isa, matmul, buffers, by_column ? 0 : low, by_column ? low : 0,
                             by_column ? matmul->m : count, by_column ? count : matmul->n) == dnnl_success &&
                   good;
    }
    return good;
}

bool onednn_sgemm(bool turn_a, bool turn_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_leading,
                  const float *b, int64_t b_leading, bool add, float *d, int64_t d_leading)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t status =
        dnnl_sgemm(turn_a ? 'T' : 'N', turn_b ? 'T' : 'N', m, n, k, 1, a, a_leading, b, b_leading, add, d, d_leading);
    omp_set_num_threads(threads);
    return status == dnnl_success;
}
