/* Plans of matrix products on the simulated GPU: what the heuristic is told of addresses and splits, and what is done
 * when the library refuses an algorithm after all. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_hand.h"
#include "runtime/cuda/parts.h"
#include "test_driver.h"

#include <stdlib.h>

enum { M = 2, N = 8, K = 4, BYTES = 1024, A = 0, B = 256, D = 512, BIAS = 768 };

/* What the library was asked, and which algorithms it refuses: the test is one thread. */
static struct spy {
    struct cublaslt inner;
    uint32_t schemes;
    int wanted, refused, calls; /* refused: how many of the algorithms found, from the first */
    uint64_t ran;               /* number of the algorithm that ran */
    bool shifts;                /* the workspace, by 128 bytes */
} spy;

static cublasStatus_t spy_preference(struct cublaslt *cublaslt, cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t size)
{
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        memcpy(&spy.schemes, value, sizeof spy.schemes);
    return spy.inner.MatmulPreferenceSetAttribute(cublaslt, preference, attribute, value, size);
}

/* As many algorithms as were wanted, numbered where the simulated library keeps nothing. */
static cublasStatus_t spy_heuristic(struct cublaslt *cublaslt, cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                    cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                    cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int wanted,
                                    cublasLtMatmulHeuristicResult_t *results, int *count)
{
    cublasStatus_t status =
        spy.inner.MatmulAlgoGetHeuristic(cublaslt, handle, operation, a, b, c, d, preference, 1, results, count);
    spy.wanted = wanted;
    for (int i = 0; i < wanted; i++) {
        results[i] = results[0];
        results[i].algo.data[7] = (uint64_t)i;
    }
    *count = wanted;
    return status;
}

static cublasStatus_t spy_matmul(struct cublaslt *cublaslt, cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                 const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                                 cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                                 cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                                 const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,
                                 cudaStream_t stream)
{
    spy.calls++;
    if (algorithm->data[7] < (uint64_t)spy.refused)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    spy.ran = algorithm->data[7];
    if (spy.shifts) {
        workspace = (char *)workspace + 128;
        workspace_bytes -= 128;
    }
    return spy.inner.Matmul(cublaslt, handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d,
                            d_layout, algorithm, workspace, workspace_bytes, stream);
}

static struct device *make_device(void)
{
    const struct cuda_settings settings = {
        .name = "sim", .architecture = "sm_80", .cache = "off", .jobs = 1, .ptx = true};
    struct cuda_tables tables;
    struct error error = {0};
    if (!hand_tables(&tables, &error)) {
        error_print(&error, stderr);
        return NULL;
    }
    spy.inner = *tables.cublaslt;
    tables.cublaslt->MatmulPreferenceSetAttribute = spy_preference;
    tables.cublaslt->MatmulAlgoGetHeuristic = spy_heuristic;
    tables.cublaslt->Matmul = spy_matmul;
    return cuda_device_new(&tables, &settings, &error);
}

/* d = a b + bias, the bias at some byte of the arena. */
static struct program_step product_step(struct program_place *places, uint64_t bias, enum program_element element)
{
    places[0] = (struct program_place){PROGRAM_SCRATCH, 0, A};
    places[1] = (struct program_place){PROGRAM_SCRATCH, 0, B};
    places[2] = (struct program_place){PROGRAM_SCRATCH, 0, D};
    places[3] = (struct program_place){PROGRAM_SCRATCH, 0, bias};
    struct program_step step = {
        .kind = PROGRAM_MATMUL_STEP, .name = "y", .buffers = places, .buffer_count = bias ? 4 : 3};
    step.matmul = (struct program_matmul){.batch = 1,
                                          .m = M,
                                          .n = N,
                                          .k = K,
                                          .a_stride = {0, K, 1},
                                          .b_stride = {0, N, 1},
                                          .d_stride = {0, N, 1},
                                          .a = element,
                                          .b = element,
                                          .d = element,
                                          .bias = element,
                                          .epilogue = bias ? PROGRAM_EPILOGUE_BIAS : 0};
    return step;
}

/* Ones times ones, and a bias of halves. */
static void check_values(struct device *device, struct cuda_product *plan, char *arena, uint64_t bias, bool runs)
{
    float ones[M * K + N * K], halves[N], got[M * N];
    struct error error = {0};
    char *buffers[] = {arena + A, arena + B, arena + D, arena + bias};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        ones[i] = 1;
    for (int i = 0; i < N; i++)
        halves[i] = 0.5f;
    device->fill(device, arena, 0, BYTES);
    device->upload(device, arena + A, ones, M * K * sizeof(float));
    device->upload(device, arena + B, ones, N * K * sizeof(float));
    device->upload(device, arena + bias, halves, sizeof halves);
    bool ran = cuda_product_run(device->own, plan, buffers, &error);
    CHECK(ran == runs);
    if (!ran) {
        CHECK(strstr(error.text, "step y"));
        return;
    }
    device->download(device, got, arena + D, sizeof got);
    for (int i = 0; i < M * N; i++)
        CHECK(got[i] == K + 0.5f);
}

/* The simulated library believes in the alignment that it was told of, as the real one does. */
static void check_alignment(struct device *device, char *arena)
{
    static const uint64_t places[] = {BIAS, BIAS + 128, BIAS + 16, BIAS + 4};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct program_place place[4];
        struct error error = {0};
        struct program_step step = product_step(place, places[i], PROGRAM_F32);
        struct cuda_product *plan = cuda_product_new(device->own, &step, &error);
        CHECK(plan);
        if (!plan)
            continue;
        check_values(device, plan, arena, places[i], true);
        cuda_product_free(device->own, plan);
    }
}

static void check_next(struct device *device, char *arena)
{
    struct program_place place[4];
    struct error error = {0};
    struct program_step step = product_step(place, BIAS, PROGRAM_F32);
    struct cuda_product *plan = cuda_product_new(device->own, &step, &error);
    CHECK(plan && spy.wanted > 1);
    if (!plan)
        return;
    spy.refused = 2;
    spy.calls = 0;
    check_values(device, plan, arena, BIAS, true);
    CHECK(spy.calls == 3 && spy.ran == 2);
    check_values(device, plan, arena, BIAS, true);
    CHECK(spy.calls == 4 && spy.ran == 2); /* what has run stays */
    spy.refused = spy.wanted;
    check_values(device, plan, arena, BIAS, false); /* a recorded run tries no other one */
    CHECK(spy.calls == 5);
    cuda_product_free(device->own, plan);
    plan = cuda_product_new(device->own, &step, &error);
    CHECK(plan);
    if (plan) {
        check_values(device, plan, arena, BIAS, false);
        CHECK(spy.calls == 5 + spy.wanted);
        cuda_product_free(device->own, plan);
    }
    spy.refused = 0;
}

/* The library's workspace begins at a multiple of 256 bytes. */
static void check_workspace(struct device *device, char *arena)
{
    struct program_place place[4];
    struct error error = {0};
    struct program_step step = product_step(place, BIAS, PROGRAM_F32);
    struct cuda_product *plan = cuda_product_new(device->own, &step, &error);
    CHECK(plan);
    if (!plan)
        return;
    spy.shifts = true;
    check_values(device, plan, arena, BIAS, false);
    spy.shifts = false;
    check_values(device, plan, arena, BIAS, true);
    cuda_product_free(device->own, plan);
}

/* More matrices than the library takes in one call: [1, 1] [1, 2] each. */
static void check_slices(struct device *device)
{
    enum { MANY = 70000, MANY_B = 70000 * 4 + 128, MANY_D = 3 * 70000 * 4 + 256, ALL = 5 * 70000 * 4 + 512 };
    float *values = calloc(3 * MANY, sizeof *values);
    char *arena = device->allocate(device, ALL);
    struct program_place places[4];
    struct error error = {0};
    struct program_step step = product_step(places, 0, PROGRAM_F32);
    step.matmul.batch = MANY;
    step.matmul.m = step.matmul.k = 1;
    step.matmul.n = 2;
    memcpy(step.matmul.a_stride, (const int64_t[]){1, 1, 1}, sizeof step.matmul.a_stride);
    memcpy(step.matmul.b_stride, (const int64_t[]){2, 2, 1}, sizeof step.matmul.b_stride);
    memcpy(step.matmul.d_stride, (const int64_t[]){2, 2, 1}, sizeof step.matmul.d_stride);
    places[1].offset = MANY_B;
    places[2].offset = MANY_D;
    for (int i = 0; i < 2 * MANY; i++)
        values[i] = (float)i;
    device->upload(device, arena, values, MANY * sizeof *values);
    device->upload(device, arena + MANY_B, values, 2 * MANY * sizeof *values);
    struct cuda_product *plan = cuda_product_new(device->own, &step, &error);
    char *buffers[] = {arena, arena + MANY_B, arena + MANY_D};
    CHECK(plan);
    for (int run = 0; plan && run < 2; run++) { /* the second finds the counts of the first one's last slice */
        spy.calls = 0;
        device->fill(device, arena + MANY_D, 0, 2 * MANY * sizeof *values);
        CHECK(cuda_product_run(device->own, plan, buffers, &error) && spy.calls == 3);
        device->download(device, values, arena + MANY_D, 2 * MANY * sizeof *values);
        int wrong = 0;
        for (int i = 0; i < 2 * MANY; i++) {
            int matrix = i / 2;
            wrong += values[i] != (float)matrix * (float)i;
        }
        CHECK(!wrong);
    }
    if (error.code)
        error_print(&error, stderr);
    if (plan)
        cuda_product_free(device->own, plan);
    device->release(device, arena);
    free(values);
}

static uint32_t schemes_of(struct device *device, uint64_t bias, enum program_element element)
{
    struct program_place place[4];
    struct error error = {0};
    struct program_step step = product_step(place, bias, element);
    struct cuda_product *plan = cuda_product_new(device->own, &step, &error);
    CHECK(plan);
    if (plan)
        cuda_product_free(device->own, plan);
    return spy.schemes;
}

int main(void)
{
    if (!test_has_nvrtc())
        return 77;
    if (test_on_gpu()) /* the algorithms are made up */
        return 77;
    struct device *device = make_device();
    CHECK(device);
    if (!device)
        return check_result();
    char *arena = device->allocate(device, BYTES);
    check_alignment(device, arena);
    check_next(device, arena);
    check_workspace(device, arena);
    check_slices(device);
    /* Sums of parts are f32; those of halves with a bias would be rounded before it is added. */
    CHECK(schemes_of(device, 0, PROGRAM_F16) == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    CHECK(schemes_of(device, BIAS, PROGRAM_F32) == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    CHECK(schemes_of(device, BIAS, PROGRAM_BF16) == CUBLASLT_REDUCTION_SCHEME_NONE);
    device->release(device, arena);
    device->free(device);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
