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

/* Shared memory's finer points: bytes that atomics, copies and matrices use. x has what the host wrote, 0 … 63. */
static const char shared_source[] =
    "#define AT(p) ((unsigned)__cvta_generic_to_shared(p))\n"
    "#define COPY(to, from) asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4;\" :: \"r\"(AT(to)), \"l\"(from))\n"
    "#define COMMIT asm volatile(\"cp.async.commit_group;\" ::: \"memory\")\n"
    "#define WAIT(n) asm volatile(\"cp.async.wait_group \" #n \";\" ::: \"memory\")\n"
    "extern \"C\" {\n"
    "__global__ void atomic_read(float *x, int n) {\n"
    "    __shared__ int s; if (threadIdx.x == 0) s = 0; __syncthreads();\n"
    "    atomicAdd(&s, 1);\n"
    "    if (n) __syncthreads();\n"
    "    if (threadIdx.x == 63) x[0] = s;\n"
    "}\n"
    "__global__ void atomic_write(float *x, int n) {\n"
    "    __shared__ int s; if (threadIdx.x == 0) s = 0; __syncthreads();\n"
    "    atomicAdd(&s, 1);\n"
    "    if (n) __syncthreads();\n"
    "    if (threadIdx.x == 63) s = 7;\n"
    "    __syncthreads(); x[threadIdx.x] = s;\n"
    "}\n"
    "__global__ void write_atomic(float *x, int n) {\n"
    "    __shared__ int s; if (threadIdx.x == 0) { s = 0; atomicAdd(&s, 1); }\n"
    "    if (n) __syncthreads();\n"
    "    if (threadIdx.x == 40) atomicAdd(&s, 1);\n"
    "    __syncthreads(); x[threadIdx.x] = s;\n"
    "}\n"
    "__global__ void own_atomic(float *x, int n) {\n" /* one warp's word is its own */
    "    __shared__ int s[2]; int w = threadIdx.x / 32; s[w] = n; __syncwarp(); atomicAdd(&s[w], 1);\n"
    "    __syncwarp(); x[threadIdx.x] = s[w];\n"
    "}\n"
    "__global__ void some_wait(float *x, int n) {\n"
    "    __shared__ float s[64]; COPY(s + threadIdx.x, x + threadIdx.x);\n"
    "    if (threadIdx.x < n) asm volatile(\"cp.async.wait_all;\" ::: \"memory\");\n"
    "    __syncthreads(); x[threadIdx.x] = s[63 - threadIdx.x];\n"
    "}\n"
    "__global__ void some_commit(float *x, int n) {\n"
    "    __shared__ float s[64]; COPY(s + threadIdx.x, x + threadIdx.x); COMMIT;\n"
    "    if (threadIdx.x < n) COMMIT;\n"
    "    WAIT(1); __syncthreads(); x[threadIdx.x] = s[63 - threadIdx.x];\n"
    "}\n"
    "__global__ void stages(float *x, int n) {\n" /* n: the oldest stages that are read */
    "    __shared__ float s[3][64];\n"
    "    for (int i = 0; i < 3; i++) { COPY(&s[i][threadIdx.x], x + threadIdx.x); COMMIT; }\n"
    "    WAIT(1); __syncthreads();\n"
    "    for (int i = 0; i < n; i++) x[threadIdx.x] += s[i][63 - threadIdx.x];\n"
    "}\n"
    "__global__ void ring(float *x, int n) {\n" /* more commits than are kept, always one stage ahead */
    "    __shared__ float s[2][64];\n"
    "    float sum = 0;\n"
    "    COPY(&s[0][threadIdx.x], x + threadIdx.x); COMMIT;\n"
    "    for (int i = 1; i < 400; i++) {\n"
    "        COPY(&s[i & 1][threadIdx.x], x + threadIdx.x); COMMIT;\n"
    "        if (n) { WAIT(1); } else { WAIT(2); }\n"
    "        __syncthreads(); sum += s[~i & 1][63 - threadIdx.x]; __syncthreads();\n"
    "    }\n"
    "    x[threadIdx.x] = sum;\n"
    "}\n"
    "__global__ void copy_at(float *x, int n) {\n"
    "    __shared__ float s[66]; COPY((char *)(s + threadIdx.x) + n, x + threadIdx.x);\n"
    "}\n"
    "__global__ void copy_from(float *x, int n) {\n"
    "    __shared__ float s[64]; COPY(s + threadIdx.x, (char *)(x + threadIdx.x) + n);\n"
    "}\n"
    "__global__ void crooked(float *x, int n) {\n"
    "    __shared__ float s[80]; *(volatile float *)((volatile char *)(s + threadIdx.x) + n) = *x;\n"
    "}\n"
    "__global__ void matrix(float *x, int n) {\n"
    "    __shared__ __align__(16) unsigned s[64 + 4]; unsigned r, l = threadIdx.x % 32;\n"
    "    s[threadIdx.x % 32] = l; __syncthreads();\n"
    "    unsigned at = AT(s) + (l < 8 ? l * 16 + n * (l == 7) : 4);\n"
    "    asm volatile(\"ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];\" : \"=r\"(r) : \"r\"(at));\n"
    "    x[threadIdx.x] = r;\n"
    "}\n"
    "__global__ void depot(float *x, int n) {\n"
    "    float y[4];\n"
    "    for (int i = 0; i < 4; i++) y[i] = x[i];\n"
    "    unsigned long long at; asm volatile(\"cvta.to.local.u64 %0, %1;\" : \"=l\"(at) : \"l\"(y));\n"
    "    float z; asm volatile(\"ld.local.f32 %0, [%1];\" : \"=f\"(z) : \"l\"(at + n));\n"
    "    x[threadIdx.x] = z + y[threadIdx.x & 3];\n"
    "}\n"
    "}\n";

static const char *at_hand = source;

static void check_fault(const char *kernel, int n, unsigned threads, bool unwritten, const char *const *words)
{
    float x[64] = {0};
    struct cuda_settings settings = {.arch = 80, .line_info = true, .unwritten = unwritten};
    if (strcmp(kernel, "endless") == 0)
        settings.patience = 1 << 22;
    struct cuda_run *run = cuda_run_new(&settings, at_hand);
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

static void check_atomics(void)
{
    FINE("atomic_read", 1, 64);
    FAULT("atomic_read", 0, 64, false, "race: reads byte 0 of shared memory, which other warps wrote");
    FINE("atomic_write", 1, 64);
    FAULT("atomic_write", 0, 64, false, "race: writes byte 0 of shared memory, which other warps wrote");
    FINE("write_atomic", 1, 64);
    FAULT("write_atomic", 0, 64, false, "race: updates byte 0 of shared memory, which warp 0 wrote");
    FINE("own_atomic", 1, 64);
}

static void check_copies(void)
{
    FINE("some_wait", 64, 64);
    FAULT("some_wait", 48, 64, false, "byte 252 of shared memory while cp.async copies to it");
    FINE("some_commit", 64, 64);
    FAULT("some_commit", 16, 64, false, "byte 252 of shared memory while cp.async copies to it");
    FINE("stages", 2, 64);
    FAULT("stages", 3, 64, false, "byte 764 of shared memory while cp.async copies to it");
    FINE("ring", 1, 64);
    FAULT("ring", 0, 64, false, "while cp.async copies to it");
    FINE("copy_at", 4, 64);
    FAULT("copy_at", 2, 64, false, "thread (0,0,0)", "copies to 4 bytes at 2 of shared memory, which is misaligned");
    FAULT("copy_at", 12, 64, false, "thread (63,0,0)", "copies to 4 bytes at 264 of 264 bytes of shared memory");
    FINE("copy_from", 0, 64);
    FAULT("copy_from", 2, 64, false, "thread (0,0,0)", "copies 4 bytes from", "which is misaligned");
    FAULT("copy_from", 4, 64, false, "thread (63,0,0)", "copies from");
    FAULT("copy_from", 0, 64, true, "thread (0,0,0)", "copies what nothing wrote: 4 bytes");
}

static void check_places(void)
{
    FINE("crooked", 4, 64);
    FAULT("crooked", 2, 64, false, "thread (0,0,0)", "writes 4 bytes at 2 of shared memory, which is misaligned");
    FINE("matrix", 0, 32); /* the addresses of lanes 8 and up are not used */
    FAULT("matrix", 4, 32, false, "thread (7,0,0)", "reads 16 bytes at 116 of shared memory, which is misaligned");
    FAULT("matrix", 16, 32, false, "thread (7,0,0)", "reads what nothing wrote: byte 128 of shared memory");
    FAULT("matrix", 160, 32, false, "thread (7,0,0)", "reads 16 bytes at 272 of 272 bytes of shared memory");
    FINE("depot", 0, 32);
    FAULT("depot", 16, 32, false, "thread (0,0,0)", "reads 4 bytes at 16 of 16 bytes of local memory");
    FAULT("depot", -4, 32, false, "thread (0,0,0)", "reads 4 bytes at -4 of 16 bytes of local memory");
    FAULT("depot", 2, 32, false, "thread (0,0,0)", "reads 4 bytes at 2 of local memory, which is misaligned");
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
    at_hand = shared_source;
    check_atomics();
    check_copies();
    check_places();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
