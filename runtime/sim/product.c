/* Matrix products of the simulated GPU.
 *
 * The result is cut into tiles whose size depends on nothing. A tile is summed in f32 over pieces of k in their order,
 * each piece by the host library's sgemm on the calling thread; half operands are widened before, piece by piece. */
#include "runtime/host/onednn.h"
#include "runtime/sim/cublaslt.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_M = 256, TILE_N = 128, TILE_K = 2048, THREADS_MAX = 64, WORK_PER_THREAD = 1 << 18 };

struct job {
    const struct sim_product *product;
    int64_t tiles_m, tiles_n, tiles; /* in all batches */
    _Atomic int64_t next;
    atomic_bool failed;
};

/* What a thread works in. */
struct scratch {
    float *a, *b, *d;
};

/* ---- numbers ---- */

static float widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    /* As an f32 of the same bits, its exponent's bias is 112 too small; one product puts that right, subnormals too. */
    union {
        uint32_t bits;
        float value;
    } wide = {magnitude << 13};
    wide.value *= 0x1p112f;
    wide.bits = magnitude >= 0x7c00 ? 0x7f800000 | magnitude << 13 : wide.bits;
    wide.bits |= sign;
    return wide.value;
}

static float widen_bf16(uint16_t half)
{
    union {
        uint32_t bits;
        float value;
    } wide = {(uint32_t)half << 16};
    return wide.value;
}

static uint16_t narrow_bf16(float value)
{
    union {
        float value;
        uint32_t bits;
    } wide = {value};
    return value != value ? 0x7fff : (uint16_t)((wide.bits + 0x7fff + (wide.bits >> 16 & 1)) >> 16);
}

static uint16_t narrow_f16(float value)
{
    union {
        float value;
        uint32_t bits;
    } wide = {value}, small;
    uint32_t sign = wide.bits >> 16 & 0x8000, magnitude = wide.bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return 0x7fff;
    if (magnitude >= 0x477ff000) /* 65520, from where on infinity is nearest */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: the sum's last bit is worth 2^-24, so adding rounds */
        small.bits = magnitude;
        small.value += 0.5f;
        return (uint16_t)(sign | (small.bits - 0x3f000000));
    }
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

/* To the 10 bits of mantissa that tf32 keeps, ties away from zero. */
static float round_tf32(float value)
{
    union {
        float value;
        uint32_t bits;
    } wide = {value};
    if ((wide.bits & 0x7f800000) != 0x7f800000)
        wide.bits = (wide.bits + 0x1000) & 0xffffe000;
    return wide.value;
}

static void widen_row(cudaDataType_t type, bool tf32, const void *from, float *to, int64_t count)
{
    const uint16_t *halves = from;
    if (type == CUDA_R_16F)
        for (int64_t i = 0; i < count; i++)
            to[i] = widen_f16(halves[i]);
    else if (type == CUDA_R_16BF)
        for (int64_t i = 0; i < count; i++)
            to[i] = widen_bf16(halves[i]);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = tf32 ? round_tf32(((const float *)from)[i]) : ((const float *)from)[i];
}

static size_t size_of(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static void round_row(cudaDataType_t type, const float *from, void *to, int64_t count)
{
    uint16_t *halves = to;
    if (type == CUDA_R_16F)
        for (int64_t i = 0; i < count; i++)
            halves[i] = narrow_f16(from[i]);
    else if (type == CUDA_R_16BF)
        for (int64_t i = 0; i < count; i++)
            halves[i] = narrow_bf16(from[i]);
    else
        memcpy(to, from, sizeof *from * (size_t)count);
}

/* ---- tiles ---- */

/* Rows `outer` … of an operand that lies by columns of `leading` elements: `count` columns of `length` elements each,
 * widened one behind the other. */
static void widen_block(cudaDataType_t type, bool tf32, const char *from, int64_t leading, int64_t length,
                        int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++)
        widen_row(type, tf32, from + (size_t)(i * leading) * size_of(type), to + i * length, length);
}

/* A block of an operand as sgemm reads it. */
struct block {
    const float *values;
    int64_t leading;
};

/* The part of op(x) that has `outer` rows from `first` and k from `k_first`; by columns, `turned` says that k runs
 * along the columns' length. */
static struct block operand_block(cudaDataType_t type, bool tf32, CUdeviceptr base, int64_t leading, bool k_inside,
                                  int64_t first, int64_t outer, int64_t k_first, int64_t k_count, float *scratch)
{
    int64_t at = k_inside ? first * leading + k_first : k_first * leading + first;
    const char *from = (const char *)(uintptr_t)base + (size_t)at * size_of(type);
    if (type == CUDA_R_32F && !tf32)
        return (struct block){(const float *)(const void *)from, leading};
    int64_t length = k_inside ? k_count : outer, count = k_inside ? outer : k_count;
    widen_block(type, tf32, from, leading, length, count, scratch);
    return (struct block){scratch, length};
}

/* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
static void gelu_row(float *row, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float x = row[i];
        row[i] = 0.5F * x * (1 + tanhf(0.7978845608F * (x + 0.044715F * (x * x * x))));
    }
}

static void finish_tile(const struct sim_product *product, int64_t batch, int64_t m_first, int64_t m, int64_t n_first,
                        int64_t n, float *sums)
{
    size_t size = size_of(product->d_type);
    float row[TILE_M], bias[TILE_M] = {0};
    if (product->bias)
        widen_row(product->d_type, false, (const char *)(uintptr_t)product->bias + (size_t)m_first * size, bias, m);
    for (int64_t j = 0; j < n; j++) {
        float *sum = sums + j * TILE_M;
        int64_t c_at = batch * product->c_offset + (n_first + j) * product->c_leading + m_first;
        int64_t d_at = batch * product->d_offset + (n_first + j) * product->d_leading + m_first;
        if (product->alpha != 1)
            for (int64_t i = 0; i < m; i++)
                sum[i] *= product->alpha;
        if (product->beta != 0) {
            widen_row(product->d_type, false, (const char *)(uintptr_t)product->c + (size_t)c_at * size, row, m);
            for (int64_t i = 0; i < m; i++)
                sum[i] += product->beta * row[i];
        }
        if (product->bias)
            for (int64_t i = 0; i < m; i++)
                sum[i] += bias[i];
        if (product->aux) {
            int64_t at = (n_first + j) * product->aux_leading + m_first;
            round_row(product->d_type, sum, (char *)(uintptr_t)product->aux + (size_t)at * size, m);
            gelu_row(sum, m);
        }
        round_row(product->d_type, sum, (char *)(uintptr_t)product->d + (size_t)d_at * size, m);
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool run_tile(const struct job *job, int64_t tile, const struct scratch *scratch)
{
    const struct sim_product *product = job->product;
    int64_t batch = tile / (job->tiles_m * job->tiles_n), m_first = tile % job->tiles_m * TILE_M,
            n_first = tile / job->tiles_m % job->tiles_n * TILE_N;
    int64_t m = smaller(product->m - m_first, TILE_M), n = smaller(product->n - n_first, TILE_N);
    CUdeviceptr a = product->a + (CUdeviceptr)(batch * product->a_offset) * size_of(product->a_type);
    CUdeviceptr b = product->b + (CUdeviceptr)(batch * product->b_offset) * size_of(product->b_type);
    int64_t at = 0;
    bool good;
    do { /* k is at least 1: layouts have rows and columns */
        int64_t k = smaller(product->k - at, TILE_K);
        struct block left = operand_block(product->b_type, product->tf32, b, product->b_leading, !product->turn_b,
                                          n_first, n, at, k, scratch->b);
        struct block right = operand_block(product->a_type, product->tf32, a, product->a_leading, product->turn_a,
                                           m_first, m, at, k, scratch->a);
        /* By rows, the tile is its transpose: n x m = op(b)' op(a)'. */
        good = onednn_sgemm(product->turn_b, product->turn_a, n, m, k, left.values, left.leading, right.values,
                            right.leading, at > 0, scratch->d, TILE_M);
        at += TILE_K;
    } while (at < product->k && good);
    if (good)
        finish_tile(product, batch, m_first, m, n_first, n, scratch->d);
    return good;
}

static void *run_tiles(void *argument)
{
    struct job *job = argument;
    struct scratch scratch = {malloc(sizeof(float) * TILE_M * TILE_K), malloc(sizeof(float) * TILE_N * TILE_K),
                              malloc(sizeof(float) * TILE_M * TILE_N)};
    bool good = scratch.a && scratch.b && scratch.d;
    for (int64_t tile; good && (tile = atomic_fetch_add(&job->next, 1)) < job->tiles;)
        good = run_tile(job, tile, &scratch);
    if (!good)
        atomic_store(&job->failed, true);
    free(scratch.a);
    free(scratch.b);
    free(scratch.d);
    return NULL;
}

bool sim_product_run(const struct sim_product *product, int threads)
{
    pthread_t others[THREADS_MAX];
    struct job job = {.product = product,
                      .tiles_m = (product->m + TILE_M - 1) / TILE_M,
                      .tiles_n = (product->n + TILE_N - 1) / TILE_N};
    job.tiles = job.tiles_m * job.tiles_n * product->batch;
    int64_t worth = product->batch * product->m * product->n * product->k / WORK_PER_THREAD;
    int wanted = (int)smaller(smaller(threads, job.tiles), smaller(worth, THREADS_MAX)), started = 0;
    while (started + 1 < wanted && pthread_create(&others[started], NULL, run_tiles, &job) == 0)
        started++;
    run_tiles(&job);
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    return !atomic_load(&job.failed);
}
