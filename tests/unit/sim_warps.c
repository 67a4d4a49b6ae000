/* What lanes of a warp and warps of a block do together on the simulated GPU, against values worked by the host: groups
 * with masks of their own, lanes and warps that have ended, shuffles in segments, reductions over several warps. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

#include <stdint.h>

enum { COUNT = 64 };

static const char groups[] =
    "#define LANE (threadIdx.x & 31)\n"
    "#define HALF (LANE < 16 ? 0xffffu : 0xffff0000u)\n"
    "extern \"C\" {\n"
    "__global__ void half_ballot(unsigned *x) { x[threadIdx.x] = __ballot_sync(HALF, LANE % 3 == 0); }\n"
    "__global__ void half_any(unsigned *x) { x[threadIdx.x] = __any_sync(HALF, LANE == 20); }\n"
    "__global__ void half_match(unsigned *x) { x[threadIdx.x] = __match_any_sync(HALF, LANE & 1); }\n"
    "__global__ void half_all(unsigned *x) { int p; x[threadIdx.x] = __match_all_sync(HALF, LANE == 20, &p); }\n"
    "__global__ void half_sum(unsigned *x) { x[threadIdx.x] = __reduce_add_sync(HALF, LANE); }\n"
    "__global__ void half_shuffle(unsigned *x) { x[threadIdx.x] = __shfl_sync(HALF, LANE + 100, 3, 16); }\n"
    "__global__ void ended_ballot(unsigned *x) {\n"
    "    if (threadIdx.x >= 20) return;\n"
    "    x[threadIdx.x] = __ballot_sync(~0u, threadIdx.x & 1);\n"
    "}\n"
    "__global__ void ended_shuffle(unsigned *x) {\n"
    "    if (threadIdx.x < 20) { __syncwarp(); x[threadIdx.x] = __shfl_sync(~0u, threadIdx.x, 19 - threadIdx.x); }\n"
    "}\n"
    "__global__ void ended_lanes(unsigned *x) {\n"
    "    __shared__ unsigned s[64];\n"
    "    if (threadIdx.x >= 36) return;\n"
    "    s[threadIdx.x] = threadIdx.x;\n"
    "    __syncthreads();\n"
    "    x[threadIdx.x] = s[35 - threadIdx.x];\n"
    "}\n"
    "__global__ void ended_late(unsigned *x) {\n"
    "    __shared__ unsigned s[64];\n"
    "    if (threadIdx.x >= 36) { atomicAdd(x + threadIdx.x, 7); return; }\n"
    "    s[threadIdx.x] = threadIdx.x;\n"
    "    __syncthreads();\n"
    "    x[threadIdx.x] = s[35 - threadIdx.x];\n"
    "}\n"
    "__global__ void ended_other(unsigned *x) {\n"
    "    __shared__ unsigned s[64];\n"
    "    if (threadIdx.x < 36) {\n"
    "        s[threadIdx.x] = threadIdx.x;\n"
    "        __syncthreads();\n"
    "        atomicAdd(x + threadIdx.x, s[35 - threadIdx.x]);\n"
    "    } else {\n"
    "        x[threadIdx.x] = 7;\n"
    "    }\n"
    "}\n"
    "__global__ void ended_warp(unsigned *x) {\n"
    "    if (threadIdx.x >= 32) return;\n"
    "    x[threadIdx.x] = __syncthreads_count(threadIdx.x < 5);\n"
    "}\n"
    "__global__ void named(volatile unsigned *x) {\n" /* the third warp waits for what comes after the others' barrier
                                                       */
    "    if (threadIdx.x < 64) {\n"
    "        asm volatile(\"bar.sync 1, 64;\" ::: \"memory\");\n"
    "        x[threadIdx.x] = 77;\n"
    "    } else {\n"
    "        while (x[0] != 77) ;\n"
    "    }\n"
    "}\n"
    "__global__ void and_or(unsigned *x) {\n"
    "    int i = threadIdx.x, all = __syncthreads_and(i != 40), some = __syncthreads_or(i == 40);\n"
    "    int none = __syncthreads_or(i > 99), every = __syncthreads_and(i < 99);\n"
    "    x[i] = all | some << 1 | none << 2 | every << 3;\n"
    "}\n"
    "__global__ void counted(unsigned *x) { x[threadIdx.x] = __syncthreads_count(threadIdx.x % 3 == 0); }\n"
    "}\n";

static const char shuffles[] =
    "#define LANE (threadIdx.x & 31)\n"
    "extern \"C\" {\n"
    "__global__ void up(unsigned *x) { x[threadIdx.x] = __shfl_up_sync(~0u, LANE, 3, 8); }\n"
    "__global__ void down(unsigned *x) { x[threadIdx.x] = __shfl_down_sync(~0u, LANE, 3, 8); }\n"
    "__global__ void crossed(unsigned *x) { x[threadIdx.x] = __shfl_xor_sync(~0u, LANE, 5, 8); }\n"
    "__global__ void beyond(unsigned *x) { x[threadIdx.x] = __shfl_xor_sync(~0u, LANE, 12, 8); }\n"
    "__global__ void indexed(unsigned *x) { x[threadIdx.x] = __shfl_sync(~0u, LANE, 11, 8); }\n"
    "#define SHUFFLE(name, mode, c)                                                                    \\\n"
    "    __global__ void name(unsigned *x) {                                                           \\\n"
    "        unsigned value, inside;                                                                   \\\n"
    "        asm volatile(\"{ .reg .pred p; shfl.sync.\" mode \".b32 %0|p, %2, 3, \" c \", -1; selp.u32 %1, 1, 0, p; "
    "}\" \\\n"
    "                     : \"=r\"(value), \"=r\"(inside) : \"r\"(LANE));                              \\\n"
    "        x[threadIdx.x] = value * 2 + inside;                                                      \\\n"
    "    }\n"
    "SHUFFLE(up_inside, \"up\", \"0x1800\")\n"
    "SHUFFLE(down_inside, \"down\", \"0x181f\")\n"
    "SHUFFLE(cross_inside, \"bfly\", \"0x181d\")\n"
    "SHUFFLE(index_inside, \"idx\", \"0x1802\")\n"
    "#define SPECIAL(name, what)                                                                       \\\n"
    "    __global__ void name(unsigned *x) {                                                           \\\n"
    "        unsigned value;                                                                           \\\n"
    "        asm volatile(\"mov.u32 %0, %%\" what \";\" : \"=r\"(value));                              \\\n"
    "        x[threadIdx.z * 8 + threadIdx.y * 2 + threadIdx.x] = value;                               \\\n"
    "    }\n"
    "SPECIAL(lanes_lt, \"lanemask_lt\")\n"
    "SPECIAL(lanes_le, \"lanemask_le\")\n"
    "SPECIAL(lanes_eq, \"lanemask_eq\")\n"
    "SPECIAL(lanes_ge, \"lanemask_ge\")\n"
    "SPECIAL(lanes_gt, \"lanemask_gt\")\n"
    "SPECIAL(tid_y, \"tid.y\")\n"
    "SPECIAL(tid_z, \"tid.z\")\n"
    "}\n";

typedef uint32_t value_function(uint32_t i);

static struct cuda_run *run;

static void start(const char *source)
{
    run = cuda_run_new(&(struct cuda_settings){.arch = 80, .patience = 1 << 22}, source);
    CHECK_TEXT(cuda_run_problem(run), "");
}

static void check3(const char *kernel, const unsigned threads[3], value_function *wanted)
{
    uint32_t x[COUNT] = {0}, wrong = 0;
    cuda_run_buffer(run, x, sizeof x);
    bool good = cuda_run_launch3(run, kernel, (unsigned[]){1, 1, 1}, threads, 0);
    if (!good)
        fprintf(stderr, "%s: %s\n", kernel, cuda_run_problem(run));
    CHECK(good);
    for (uint32_t i = 0; good && i < COUNT; i++) {
        if (x[i] != wanted(i) && !wrong++)
            fprintf(stderr, "%s: thread %u has %x, wanted %x\n", kernel, i, x[i], wanted(i));
    }
    CHECK(wrong == 0);
}

static void check(const char *kernel, unsigned threads, value_function *wanted)
{
    check3(kernel, (const unsigned[]){threads, 1, 1}, wanted);
}

#define VALUE(name, value)                                                                                             \
    static uint32_t name(uint32_t i)                                                                                   \
    {                                                                                                                  \
        const uint32_t l = i % 32;                                                                                     \
        (void)l;                                                                                                       \
        return value;                                                                                                  \
    }

/* groups */
VALUE(half_ballot, 0x49249249 & (l < 16 ? 0xffff : 0xffff0000))
VALUE(half_any, l >= 16)
VALUE(half_match, (l & 1 ? 0xaaaaaaaa : 0x55555555) & (l < 16 ? 0xffff : 0xffff0000))
VALUE(half_all, l < 16 ? 0xffff : 0)
VALUE(half_sum, l < 16 ? 120 : 376)
VALUE(half_shuffle, l < 16 ? 103 : 119)
VALUE(ended_ballot, i < 20 ? 0xaaaaa : 0)
VALUE(ended_shuffle, i < 20 ? 19 - i : 0)
VALUE(ended_lanes, i < 36 ? 35 - i : 0)
VALUE(ended_late, i < 36 ? 35 - i : 7)
VALUE(ended_other, i < 36 ? 35 - i : 7)
VALUE(ended_warp, i < 32 ? 5 : 0)
VALUE(named, 77)
VALUE(and_or, 2 | 8)
VALUE(counted, 22)

/* segments of eight lanes */
VALUE(up, l % 8 < 3 ? l : l - 3)
VALUE(down, l % 8 > 4 ? l : l + 3)
VALUE(crossed, l ^ 5)
VALUE(beyond, l & 8 ? l ^ 12 : l) /* lanes 8 … 15 go back to 0 … 7: a lower segment may be read, a higher one not */
VALUE(indexed, l / 8 * 8 + 3)
VALUE(up_inside, l % 8 < 3 ? 2 * l : 2 * (l - 3) + 1)
VALUE(down_inside, l % 8 > 4 ? 2 * l : 2 * (l + 3) + 1)
VALUE(cross_inside, (l ^ 3) % 8 > 5 ? 2 * l : 2 * (l ^ 3) + 1)
VALUE(index_inside, 2 * l)

VALUE(lanes_lt, (1U << l) - 1)
VALUE(lanes_le, (2U << l) - 1)
VALUE(lanes_eq, 1U << l)
VALUE(lanes_ge, ~((1U << l) - 1))
VALUE(lanes_gt, ~((2U << l) - 1))
VALUE(tid_y, i / 2 % 4)
VALUE(tid_z, i / 8)

int main(void)
{
    if (!cuda_run_possible())
        return 77;
    start(groups);
#define CHECK_VALUE(name, threads) check(#name, threads, name)
    CHECK_VALUE(half_ballot, COUNT);
    CHECK_VALUE(half_any, COUNT);
    CHECK_VALUE(half_match, COUNT);
    CHECK_VALUE(half_all, COUNT);
    CHECK_VALUE(half_sum, COUNT);
    CHECK_VALUE(half_shuffle, COUNT);
    CHECK_VALUE(ended_ballot, 32);
    CHECK_VALUE(ended_shuffle, 32);
    CHECK_VALUE(ended_lanes, COUNT);
    CHECK_VALUE(ended_late, COUNT);
    CHECK_VALUE(ended_other, COUNT);
    CHECK_VALUE(ended_warp, COUNT);
    CHECK_VALUE(named, COUNT + 32);
    CHECK_VALUE(and_or, COUNT);
    CHECK_VALUE(counted, COUNT);
    cuda_run_free(run);
    start(shuffles);
    CHECK_VALUE(up, COUNT);
    CHECK_VALUE(down, COUNT);
    CHECK_VALUE(crossed, COUNT);
    CHECK_VALUE(beyond, COUNT);
    CHECK_VALUE(indexed, COUNT);
    CHECK_VALUE(up_inside, COUNT);
    CHECK_VALUE(down_inside, COUNT);
    CHECK_VALUE(cross_inside, COUNT);
    CHECK_VALUE(index_inside, COUNT);
    static const unsigned box[3] = {2, 4, 8};
#define CHECK_SPECIAL(name) check3(#name, box, name)
    CHECK_SPECIAL(lanes_lt);
    CHECK_SPECIAL(lanes_le);
    CHECK_SPECIAL(lanes_eq);
    CHECK_SPECIAL(lanes_ge);
    CHECK_SPECIAL(lanes_gt);
    CHECK_SPECIAL(tid_y);
    CHECK_SPECIAL(tid_z);
    cuda_run_free(run);
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
