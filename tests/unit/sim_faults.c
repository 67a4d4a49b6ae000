/* Faults planted in kernels: the simulated GPU finds each and says kernel, place, block, thread and what was wrong. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

#include "runtime/sim/sim.h"

static const char source[] =
    "extern \"C\" {\n"                                                                            /* 1 */
    "__global__ void past(float *x, int n) { x[threadIdx.x + n] = 1; }\n"                         /* 2 */
    "__global__ void before(float *x, int n) { x[0] = x[(int)threadIdx.x - n]; }\n"               /* 3 */
    "__global__ void null(float *x, int n) { ((float *)(long long)n)[threadIdx.x] = *x; }\n"      /* 4 */
    "__global__ void crooked(float *x, int n) { *(float *)((char *)x + threadIdx.x * 2) = n; }\n" /* 5 */
    "__global__ void unwritten(float *x, int n) { x[threadIdx.x] = x[threadIdx.x + n]; }\n"       /* 6 */
    "__constant__ float table[4];\n"                                                              /* 7 */
    "__global__ void constant(float *x, int n) { asm volatile(\"st.f32 [%0], %1;\" :: \"l\"(table), \"f\"(n + *x)); }\n"
    "__global__ void race(float *x, int n) {\n"                                   /* 9 */
    "    __shared__ float s[64];\n"                                               /* 10 */
    "    s[threadIdx.x] = 0; __syncthreads(); s[threadIdx.x] = x[threadIdx.x];\n" /* 11 */
    "    if (n) __syncthreads();\n"                                               /* 12 */
    "    x[threadIdx.x] = s[threadIdx.x & 31];\n"                                 /* 13 */
    "}\n"                                                                         /* 14 */
    "__global__ void war(float *x, int n) {\n"                                    /* 15 */
    "    __shared__ float s[64];\n"                                               /* 16 */
    "    s[threadIdx.x] = x[threadIdx.x];\n"                                      /* 17 */
    "    __syncthreads();\n"                                                      /* 18 */
    "    if (threadIdx.x < 32) x[threadIdx.x] = s[63 - threadIdx.x];\n"           /* 19 */
    "    if (n) __syncthreads();\n"                                               /* 20 */
    "    if (threadIdx.x >= 32) s[threadIdx.x] = n;\n"                            /* 21 */
    "    __syncthreads();\n"                                                      /* 22 */
    "    x[threadIdx.x] = s[threadIdx.x];\n"                                      /* 23 */
    "}\n"                                                                         /* 24 */
    "__global__ void empty(float *x, int n) {\n"                                  /* 25 */
    "    __shared__ float s[64];\n"                                               /* 26 */
    "    if (threadIdx.x < 60) s[threadIdx.x] = n;\n"                             /* 27 */
    "    __syncthreads();\n"                                                      /* 28 */
    "    x[threadIdx.x] = s[63 - threadIdx.x];\n"                                 /* 29 */
    "}\n"                                                                         /* 30 */
    "__global__ void outside(float *x, int n) {\n"                                /* 31 */
    "    extern __shared__ float d[];\n"                                          /* 32 */
    "    d[threadIdx.x + n] = *x;\n"                                              /* 33 */
    "}\n"                                                                         /* 34 */
    "__global__ void lonely(float *x, int n) {\n"                                 /* 35 */
    "    if (threadIdx.x % 2 < n) __syncthreads();\n"                             /* 36 */
    "    *x = 1;\n"                                                               /* 37 */
    "}\n"                                                                         /* 38 */
    "__global__ void early(float *x, int n) {\n"                                  /* 39 */
    "    if (threadIdx.x >= 32 * n) return;\n"                                    /* 40 */
    "    __syncthreads();\n"                                                      /* 41 */
    "    *x = 1;\n"                                                               /* 42 */
    "}\n"                                                                         /* 43 */
    "__global__ void hasty(float *x, int n) {\n"                                  /* 44 */
    "    __shared__ float s[64];\n"                                               /* 45 */
    "    unsigned at = (unsigned)__cvta_generic_to_shared(s + threadIdx.x);\n"    /* 46 */
    "    asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4;\" :: \"r\"(at), \"l\"(x + threadIdx.x));\n"
    "    if (n) asm volatile(\"cp.async.wait_all;\");\n"                                          /* 48 */
    "    x[threadIdx.x] = s[threadIdx.x];\n"                                                      /* 49 */
    "}\n"                                                                                         /* 50 */
    "__global__ void spill(float *x, int n) {\n"                                                  /* 51 */
    "    float y[8];\n"                                                                           /* 52 */
    "    for (int i = 0; i < 4; i++) y[(i * n) & 7] = x[i];\n"                                    /* 53 */
    "    x[threadIdx.x] = y[(threadIdx.x + n) & 7];\n"                                            /* 54 */
    "}\n"                                                                                         /* 55 */
    "__global__ void trapped(float *x, int n) { if (threadIdx.x == n) __trap(); *x = 1; }\n"      /* 56 */
    "__global__ void waits(volatile float *x, int n) { while (x[0] != n) __nanosleep(100); }\n"   /* 57 */
    "__global__ void shuffled(float *x, int n) {\n"                                               /* 58 */
    "    if (threadIdx.x < n) x[threadIdx.x] = __shfl_sync(~0u, x[threadIdx.x], 1); x[32] = 1;\n" /* 59 */
    "}\n"                                                                                         /* 60 */
    "__global__ void bytes(float *x, int n) {\n"                                                  /* 61 */
    "    __shared__ unsigned char s[64];\n"                                                       /* 62 */
    "    s[(threadIdx.x & 31) * 2 + (threadIdx.x >> 5)] = threadIdx.x;\n"                         /* 63 */
    "    if (threadIdx.x == 32 && !n) s[0] = 1;\n"                                                /* 64 */
    "    __syncthreads();\n"                                                                      /* 65 */
    "    x[threadIdx.x] = s[threadIdx.x];\n"                                                      /* 66 */
    "}\n"                                                                                         /* 67 */
    "__global__ void epochs(float *x, int n) {\n"                                                 /* 68 */
    "    __shared__ float s[64]; __shared__ unsigned char b[128];\n"                              /* 69 */
    "    s[threadIdx.x] = n; b[2 * threadIdx.x] = n;\n"                                           /* 70 */
    "    for (int i = 0; i < 1100; i++) __syncthreads();\n"                                       /* 71 */
    "    x[threadIdx.x] = s[63 - threadIdx.x] + b[127 - 2 * threadIdx.x - (n != 2)];\n"           /* 72 */
    "    if (!n) s[threadIdx.x] = 1;\n"                                                           /* 73 */
    "}\n"                                                                                         /* 74 */
    "__global__ void across(float *x, int n) {\n"                                                 /* 75 */
    "    unsigned half = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;\n"                             /* 76 */
    "    x[threadIdx.x] = __shfl_sync(half, x[threadIdx.x], n);\n"                                /* 77 */
    "}\n"                                                                                         /* 78 */
    "__global__ void endless(volatile float *x, int n) { while (x[0] == n) ; }\n"                 /* 79 */
    "__global__ void apart(float *x, int n) {\n"                                                  /* 80 */
    "    if (threadIdx.x >= 32) asm volatile(\"bar.sync 1, 64;\");\n"                             /* 81 */
    "    else asm volatile(\"bar.sync 2, 64;\");\n"                                               /* 82 */
    "    x[threadIdx.x] = n;\n"                                                                   /* 83 */
    "}\n"                                                                                         /* 84 */
    "}\n";

static void check_fault(const char *kernel, int n, unsigned threads, bool unwritten, const char *const *words)
{
    float x[64] = {0};
    struct cuda_settings settings = {.arch = 80, .line_info = true, .unwritten = unwritten};
    if (strcmp(kernel, "endless") == 0)
        settings.patience = 1 << 22;
    struct cuda_run *run = cuda_run_new(&settings, source);
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_value(run, &n, sizeof n);
    bool good = cuda_run_launch(run, kernel, 2, threads, 0);
    const char *problem = cuda_run_problem(run);
    if (!words) {
        CHECK_TEXT(problem, "");
        CHECK(good);
        cuda_run_free(run);
        return;
    }
    CHECK(!good);
    CHECK(strstr(problem, "kernel ") == problem && strstr(problem, kernel) == problem + 7);
    for (; *words; words++) {
        if (!strstr(problem, *words))
            fprintf(stderr, "%s: no '%s' in: %s\n", kernel, *words, problem);
        CHECK(strstr(problem, *words) != NULL);
    }
    /* It stays. */
    struct driver *driver = cuda_run_driver(run);
    CHECK(driver->StreamSynchronize(driver, NULL) == CUDA_ERROR_LAUNCH_FAILED);
    CHECK_TEXT(driver->problem(driver), problem);
    cuda_run_free(run);
}

#define FAULT(kernel, n, threads, unwritten, ...)                                                                      \
    check_fault(kernel, n, threads, unwritten, (const char *const[]){__VA_ARGS__, NULL})
#define FINE(kernel, n, threads) check_fault(kernel, n, threads, false, NULL)

static void check_memory(void)
{
    FINE("past", 0, 64);
    FAULT("past", 4, 64, false, "test.cu:2", "block (0,0,0), thread (60,0,0)", "writes 4 bytes",
          "byte 256 of allocation", "which has 256 bytes");
    FAULT("before", 1, 64, false, "test.cu:3", "thread (0,0,0)", "reads 4 bytes");
    FAULT("null", 16, 64, false, "test.cu:4", "writes 4 bytes at 0x10, where no allocation is");
    FAULT("crooked", 1, 64, false, "test.cu:5", "thread (1,0,0)", "misaligned");
    FAULT("unwritten", 0, 64, true, "test.cu:6", "thread (0,0,0)", "reads what nothing wrote: 4 bytes", "byte 0 of");
    FAULT("constant", 1, 64, false, "test.cu:8", "writes constant memory");
    FAULT("spill", 0, 32, false, "test.cu:54", "thread (1,0,0)", "reads what nothing wrote", "local memory");
}

static void check_shared(void)
{
    FINE("race", 1, 64);
    FAULT("race", 0, 64, false, "test.cu:13", "race: reads byte", "which warp 0 wrote since the last barrier",
          "thread (32,0,0)");
    FINE("war", 1, 64);
    FAULT("war", 0, 64, false, "test.cu:21", "race: writes byte", "read since the last barrier");
    FAULT("empty", 1, 64, false, "test.cu:29", "thread (0,0,0)", "reads what nothing wrote: byte 252 of shared memory");
    FAULT("outside", 0, 32, false, "test.cu:33", "writes 4 bytes at 0 of 0 bytes of shared memory");
    /* Bytes of one word are told apart. */
    FINE("bytes", 1, 64);
    FAULT("bytes", 0, 64, false, "test.cu:64", "race: writes byte 0 of shared memory, which warp 0 wrote");
    /* More barriers than tags tell apart. */
    FINE("epochs", 1, 64);
    FAULT("epochs", 0, 64, false, "test.cu:72", "race: reads byte", "which warp 0 wrote since the last barrier");
    FAULT("epochs", 2, 64, false, "test.cu:72", "reads what nothing wrote: byte");
    FINE("hasty", 1, 64);
    FAULT("hasty", 0, 64, false, "test.cu:49", "while cp.async copies to it");
}

static void check_together(void)
{
    FINE("lonely", 2, 64);
    FAULT("lonely", 1, 64, false, "test.cu:36", "divergent barrier: lanes 55555555 of the warp wait");
    FINE("early", 2, 64);
    FINE("early", 1, 64); /* warps that have ended are not waited for */
    FAULT("apart", 1, 64, false, "divergent barrier: warp 0 waits, warp 1 waits for another barrier");
    FAULT("apart", 1, 32, false, "a barrier's threads must be whole warps of the block");
    FAULT("endless", 0, 32, false, "test.cu:79", "and does not end");
    FAULT("trapped", 5, 32, false, "test.cu:56", "thread (5,0,0)", "trap");
    FAULT("waits", 1, 32, false, "test.cu:57", "sleeps for ever");
    FAULT("shuffled", 4, 32, false, "test.cu:59", "lanes ffffffff are to act together, lanes 0000000f are here");
    FINE("shuffled", 32, 32);
    FAULT("across", 20, 32, false, "test.cu:77", "thread (0,0,0)",
          "shuffles from lane 20, which is not one of lanes 0000ffff");
}

/* Faults of the host's side are told too, and do not stay. */
static void check_driver(void)
{
    struct error error = {0};
    struct driver *driver = sim_driver_new(&(struct sim_settings){.memory = 1 << 20}, &error);
    CUdeviceptr address;
    char bytes[128] = {0};
    CHECK(driver->MemAlloc(driver, &address, 2 << 20) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(driver->MemAlloc(driver, &address, 64) == CUDA_SUCCESS && driver->problem(driver) == NULL);
    CHECK(driver->MemcpyHtoD(driver, address, bytes, 65) == CUDA_ERROR_INVALID_VALUE);
    CHECK(strstr(driver->problem(driver), "65 bytes at byte 0 of allocation 1, which has 64"));
    CHECK(driver->MemcpyDtoH(driver, bytes, address, 64) == CUDA_ERROR_INVALID_VALUE);
    CHECK(strstr(driver->problem(driver), "reads what nothing wrote: byte 0"));
    CHECK(driver->MemsetD8Async(driver, address, 7, 64, NULL) == CUDA_SUCCESS);
    CHECK(driver->MemcpyDtoH(driver, bytes, address, 64) == CUDA_SUCCESS && bytes[63] == 7);
    CHECK(driver->MemFree(driver, address + 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(driver->MemFree(driver, address) == CUDA_SUCCESS);
    driver->free(driver);
    CHECK(!sim_driver_new(&(struct sim_settings){.architecture = "sm_70"}, &error) && strstr(error.text, "sm_70"));
}

int main(void)
{
    check_driver();
    if (!cuda_run_possible())
        return 77;
    check_memory();
    check_shared();
    check_together();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
