/* Races for global memory, which the simulated GPU looks for when it is told to: what orders blocks, warps and lanes,
 * and what does not. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

static const char source[] =
    "#define NEXT ((blockIdx.x + 1) % gridDim.x)\n"
    "#define ALL (gridDim.x - 1)\n"
    "template <bool releases, bool acquires> __device__ void wait(unsigned *state)\n{\n"
    "    __syncthreads();\n"
    "    if (threadIdx.x == 0) {\n"
    "        unsigned turn = *(volatile unsigned *)&state[1];\n"
    "        if (releases) __threadfence();\n"
    "        if (atomicInc(state, ALL) == ALL) {\n"
    "            if (releases) __threadfence();\n"
    "            atomicAdd(&state[1], 1);\n"
    "        } else\n"
    "            while (*(volatile unsigned *)&state[1] == turn) __nanosleep(40);\n"
    "        if (acquires) __threadfence();\n"
    "    }\n"
    "    __syncthreads();\n}\n"
    "template <bool releases, bool acquires> __device__ void pass(int *x, unsigned *state)\n{\n"
    "    int own = blockIdx.x * blockDim.x + threadIdx.x, next = NEXT * blockDim.x + threadIdx.x;\n"
    "    x[own] = 1;\n"
    "    wait<releases, acquires>(state);\n"
    "    int got = x[next];\n"
    "    wait<releases, acquires>(state);\n"
    "    x[own] += got;\n}\n"
    "extern \"C\" __global__ void grid(int *x, unsigned *state)\n{\n"
    "    pass<true, true>(x, state);\n"
    "    wait<true, true>(state);\n"
    "    pass<true, true>(x, state);\n}\n"
    "extern \"C\" __global__ void no_release(int *x, unsigned *state) { pass<false, true>(x, state); }\n"
    "extern \"C\" __global__ void no_acquire(int *x, unsigned *state) { pass<true, false>(x, state); }\n"
    "extern \"C\" __global__ void no_grid(int *x, unsigned *state)\n{\n"
    "    x[blockIdx.x * blockDim.x + threadIdx.x] = 1;\n"
    "    __syncthreads();\n"
    "    if (threadIdx.x == 0) state[2 + blockIdx.x] = x[NEXT * blockDim.x];\n}\n"
    "template <bool releases, bool acquires> __device__ void sum_last(int *x, unsigned *state)\n{\n"
    "    __shared__ bool last;\n"
    "    x[blockIdx.x * blockDim.x + threadIdx.x] = 1;\n"
    "    __syncthreads();\n"
    "    if (threadIdx.x == 0) {\n"
    "        if (releases) __threadfence();\n"
    "        last = atomicInc(state, ALL) == ALL;\n"
    "        if (acquires) __threadfence();\n"
    "    }\n"
    "    __syncthreads();\n"
    "    if (last)\n"
    "        for (int i = 0; i < gridDim.x; i++) x[threadIdx.x] += i ? x[i * blockDim.x + threadIdx.x] : 0;\n}\n"
    "extern \"C\" __global__ void last(int *x, unsigned *state) { sum_last<true, true>(x, state); }\n"
    "extern \"C\" __global__ void last_no_release(int *x, unsigned *state) { sum_last<false, true>(x, state); }\n"
    "extern \"C\" __global__ void last_no_acquire(int *x, unsigned *state) { sum_last<true, false>(x, state); }\n"
    "template <int barrier> __device__ void turn(int *x, int by)\n{\n"
    "    if (blockIdx.x) return;\n"
    "    x[threadIdx.x] = threadIdx.x;\n"
    "    if (barrier == 1) __syncwarp();\n"
    "    if (barrier == 2) __syncthreads();\n"
    "    int got = x[threadIdx.x ^ by];\n"
    "    if (barrier == 1) __syncwarp();\n"
    "    if (barrier == 2) __syncthreads();\n"
    "    x[threadIdx.x] = got + 1;\n}\n"
    "extern \"C\" __global__ void warps(int *x) { turn<2>(x, 32); }\n"
    "extern \"C\" __global__ void no_warps(int *x) { turn<1>(x, 32); }\n"
    "extern \"C\" __global__ void lanes(int *x) { turn<1>(x, 1); }\n"
    "extern \"C\" __global__ void no_lanes(int *x) { turn<0>(x, 1); }\n"
    "extern \"C\" __global__ void bytes(signed char *x) { x[blockIdx.x * blockDim.x + threadIdx.x] = 1; }\n"
    "extern \"C\" __global__ void same(int *x) { x[0] = 1; }\n"
    "extern \"C\" __global__ void zero(int *x) { x[0] = 0; }\n"
    "extern \"C\" __global__ void atomics(int *x) { atomicAdd(x, *(volatile int *)x); }\n"
    "extern \"C\" __global__ void mixed(int *x) { if (threadIdx.x == 0) { atomicAdd(x, 1); x[1] = x[0]; } }\n";

enum { BLOCKS = 3, THREADS = 64 };

/* NULL: no race; else what is said of the one that is found. */
static void check_settings(const char *kernel, const struct cuda_settings *settings, const char *words)
{
    static int x[1 << 18]; /* as device memory so much comes from the system, and is zero before anything writes it */
    unsigned state[2 + BLOCKS] = {0};
    memset(x, 0, sizeof x);
    struct cuda_run *run = cuda_run_new(settings, source);
    cuda_run_buffer(run, x, sizeof x);
    if (strstr(kernel, "grid") || strstr(kernel, "last") || strstr(kernel, "release") || strstr(kernel, "acquire"))
        cuda_run_buffer(run, state, sizeof state);
    bool good = cuda_run_launch(run, kernel, BLOCKS, THREADS, 0);
    const char *problem = cuda_run_problem(run);
    if (good != !words || (words && (!strstr(problem, words) || !strstr(problem, "race"))))
        fprintf(stderr, "%s: %s\n", kernel, problem);
    CHECK(good == !words && (!words || (strstr(problem, words) && strstr(problem, "race"))));
    cuda_run_free(run);
}

static void check_kernel(const char *kernel, bool cooperative, bool looks, const char *words)
{
    check_settings(kernel, &(struct cuda_settings){.cooperative = cooperative, .races = looks, .threads = 2}, words);
}

int main(void)
{
    if (!cuda_run_possible())
        return 77;
    check_kernel("grid", true, true, NULL);
    check_kernel("no_release", true, true, "nothing orders blocks");
    check_kernel("no_acquire", true, true, "nothing orders blocks");
    check_kernel("no_grid", false, true, "nothing orders blocks");
    check_kernel("no_grid", false, false, NULL); /* not looked for */
    check_kernel("last", false, true, NULL);
    check_kernel("last_no_release", false, true, "nothing orders blocks");
    check_kernel("last_no_acquire", false, true, "nothing orders blocks");
    check_kernel("warps", false, true, NULL);
    check_kernel("no_warps", false, true, "nothing orders the warps of the block");
    check_kernel("lanes", false, true, NULL);
    check_kernel("no_lanes", false, true, "nothing orders the lanes of the warp");
    check_kernel("bytes", false, true, NULL);
    check_kernel("same", false, true, "nothing orders the lanes of the warp");
    check_kernel("zero", false, true, "nothing orders the warps of the block"); /* lanes store what was there already */
    check_settings("zero", &(struct cuda_settings){.races = true, .unwritten = true, .threads = 2},
                   "nothing orders the lanes of the warp");
    check_kernel("atomics", false, true, NULL);
    check_kernel("mixed", false, true, "nothing orders blocks");
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
