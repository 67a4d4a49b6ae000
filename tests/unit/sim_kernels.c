/* Hand-written CUDA kernels of the kinds that Castor generates, on the simulated GPU: their values against sums worked
 * by the host, the same bytes and counters with one and with four threads, for sm_80 and sm_90. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

static char *source; /* tests/kernels.cu */

static void read_source(void)
{
    const char *folder = getenv("CASTOR_SOURCE");
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/kernels.cu", folder ? folder : ".");
    FILE *file = fopen(path, "r");
    source = calloc(1, 1 << 16);
    if (!file || !source || !fread(source, 1, (1 << 16) - 1, file))
        abort();
    fclose(file);
}

static struct cuda_run *start(int arch, int threads)
{
    struct cuda_settings settings = {.arch = arch, .threads = threads, .line_info = true};
    return cuda_run_new(&settings, source);
}

static void launched(struct cuda_run *run, bool good)
{
    CHECK_TEXT(cuda_run_problem(run), "");
    CHECK(good);
}

static void check_sum(struct cuda_run *run, uint32_t *bits)
{
    enum { COUNT = 10000, BLOCKS = 7 };
    static float x[COUNT];
    float parts[BLOCKS] = {0}, y = 0;
    int n = COUNT;
    double exact = 0;
    for (int i = 0; i < n; i++) {
        x[i] = (float)(i % 97) * 0.01F - 0.3F;
        exact += (double)x[i];
    }
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_buffer(run, parts, sizeof parts);
    cuda_run_buffer(run, &y, sizeof y);
    cuda_run_value(run, &n, sizeof n);
    launched(run, cuda_run_launch(run, "sum", BLOCKS, 256, 0));
    CHECK(fabs((double)y - exact) < 1e-5 * exact);
    memcpy(bits, &y, sizeof y);
}

static void check_scan(struct cuda_run *run)
{
    int x[256], y[256] = {0}, wrong = 0, total = 0;
    for (int i = 0; i < 256; i++)
        x[i] = (i * 37) % 101 - 50;
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_buffer(run, y, sizeof y);
    launched(run, cuda_run_launch(run, "scan", 1, 256, 0));
    for (int i = 0; i < 256; i++)
        wrong += y[i] != (total += x[i]);
    CHECK(wrong == 0);
    CHECK(cuda_run_counters(run, "scan")->barriers == 16 * 8);
}

/* A column of 32 words at a stride of 32 takes 32 wavefronts; at 33 it takes one. */
static void check_transpose(struct cuda_run *run)
{
    enum { ROWS = 70, COLUMNS = 45 };
    static float x[ROWS * COLUMNS], y[ROWS * COLUMNS];
    uint64_t conflicts[2], before = 0;
    int rows = ROWS, columns = COLUMNS;
    for (int pad = 0; pad < 2; pad++) {
        int wrong = 0;
        for (int i = 0; i < rows * columns; i++)
            x[i] = (float)i;
        memset(y, 0, sizeof y);
        cuda_run_buffer(run, x, sizeof x);
        cuda_run_buffer(run, y, sizeof y);
        cuda_run_value(run, &pad, sizeof pad);
        cuda_run_value(run, &rows, sizeof rows);
        cuda_run_value(run, &columns, sizeof columns);
        launched(run, cuda_run_launch3(run, "transpose", (unsigned[]){2, 3, 1}, (unsigned[]){32, 8, 1}, 32 * 33 * 4));
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                wrong += y[j * rows + i] != x[i * columns + j];
        CHECK(wrong == 0);
        conflicts[pad] = cuda_run_counters(run, "transpose")->bank_conflicts - before;
        before += conflicts[pad];
    }
    /* 45 columns, read as rows of 32, 32 and 6 lanes in three tiles: 31 + 31 + 5 extra wavefronts each */
    CHECK(conflicts[0] == 45 * (31 + 31 + 5) && conflicts[1] == 0);
    CHECK(cuda_run_counters(run, "transpose")->load_bytes == 2 * sizeof x);
}

static void check_histogram(struct cuda_run *run)
{
    static unsigned char x[5000];
    unsigned bins[256] = {0}, wanted[256] = {0};
    int n = sizeof x;
    for (int i = 0; i < n; i++)
        wanted[x[i] = (unsigned char)(i * i % 251)]++;
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_buffer(run, bins, sizeof bins);
    cuda_run_value(run, &n, sizeof n);
    launched(run, cuda_run_launch(run, "histogram", 5, 256, 0));
    CHECK(memcmp(bins, wanted, sizeof bins) == 0);
}

static uint16_t half_of(int value)
{
    unsigned sign = value < 0 ? 0x8000 : 0, size = (unsigned)abs(value), exponent = 15;
    if (!size)
        return 0;
    while (size >> (exponent - 15 + 1))
        exponent++;
    return (uint16_t)(sign | exponent << 10 | ((size << (25 - exponent)) & 0x3ff));
}

static int small(int i, int j)
{
    return (i * 7 + j * 3) % 13 - 6;
}

/* Whole numbers, so every order of adding gives the same. */
static void check_gemm(struct cuda_run *run)
{
    enum { M = 100, N = 72, K = 96 };
    static uint16_t a[M * K], b[N * K];
    static float c[M * N];
    int m = M, n = N, k = K, wrong = 0;
    for (int i = 0; i < M * K; i++)
        a[i] = half_of(small(i / K, i % K));
    for (int i = 0; i < N * K; i++)
        b[i] = half_of(small(i / K + 5, i % K + 1));
    memset(c, 0, sizeof c);
    cuda_run_buffer(run, a, sizeof a);
    cuda_run_buffer(run, b, sizeof b);
    cuda_run_buffer(run, c, sizeof c);
    cuda_run_value(run, &m, sizeof m);
    cuda_run_value(run, &n, sizeof n);
    cuda_run_value(run, &k, sizeof k);
    launched(run, cuda_run_launch3(run, "gemm", (unsigned[]){2, 2, 1}, (unsigned[]){128, 1, 1}, 0));
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            int sum = 0;
            for (int q = 0; q < K; q++)
                sum += small(i, q) * small(j + 5, q + 1);
            wrong += c[i * N + j] != (float)sum;
        }
    CHECK(wrong == 0);
    /* four blocks of four warps, three tiles of k with two steps, eight products each */
    CHECK(cuda_run_counters(run, "gemm")->matrix_products == 4 * 4 * 3 * 2 * 8);
}

static void check_collatz(struct cuda_run *run)
{
    int x[96], y[96] = {0}, wrong = 0;
    for (int i = 0; i < 96; i++)
        x[i] = i + 1;
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_buffer(run, y, sizeof y);
    launched(run, cuda_run_launch(run, "collatz", 2, 48, 0));
    for (int i = 0; i < 96; i++) {
        int v = i + 1, steps = 0;
        for (; v != 1; steps++) {
            v = v & 1 ? 3 * v + 1 : v / 2;
            if (v == 1)
                break;
        }
        wrong += y[i] != steps;
    }
    CHECK(wrong == 0);
}

static void check_meet(int arch, int threads)
{
    enum { COUNT = 16 * 64 };
    static float x[COUNT], y[COUNT];
    struct cuda_settings settings = {.arch = arch, .threads = threads, .cooperative = true};
    struct cuda_run *run = cuda_run_new(&settings, source);
    int rounds = 5, wrong = 0;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)i;
    memset(y, 0, sizeof y);
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_buffer(run, y, sizeof y);
    cuda_run_value(run, &rounds, sizeof rounds);
    launched(run, cuda_run_launch(run, "meet", 16, 64, 0));
    for (int i = 0; i < COUNT; i++)
        wrong += y[i] != (float)((i + 5) % COUNT + 5);
    CHECK(wrong == 0);
    cuda_run_free(run);
}

static void check_all(int arch)
{
    static const char *const kernels[] = {"sum", "scan", "transpose", "histogram", "gemm", "collatz"};
    uint32_t bits[2];
    struct sim_counters counters[2][6];
    for (int i = 0; i < 2; i++) {
        struct cuda_run *run = start(arch, i ? 4 : 1);
        check_sum(run, &bits[i]);
        check_scan(run);
        check_transpose(run);
        check_histogram(run);
        check_gemm(run);
        check_collatz(run);
        for (int k = 0; k < 6; k++)
            counters[i][k] = *cuda_run_counters(run, kernels[k]);
        cuda_run_free(run);
        check_meet(arch, i ? 4 : 1);
    }
    CHECK(bits[0] == bits[1]);
    CHECK(memcmp(counters[0], counters[1], sizeof counters[0]) == 0);
}

int main(void)
{
    if (!cuda_run_possible())
        return 77;
    read_source();
    check_all(80);
    check_all(90);
    free(source);
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
