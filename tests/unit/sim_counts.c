/* How often the simulated GPU counts a warp's instructions, by class: worked by hand for loops, branches that split the
 * warp, guards that leave nobody, opcodes that take more than one step, and barriers that are come to more than once.
 */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

#define HEAD(name) ".visible .entry " name "(.param .u64 x)\n{\n.reg .pred %p<4>;\n.reg .b32 %r<9>;\n"
static const char source[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
    /* Lanes go round as often as their number says, and once more at least: the warp goes 31 times. */
    HEAD("loop") "mov.u32 %r0, %laneid;\n" /* 1 move */
                 "max.u32 %r0, %r0, 1;\n"  /* 1 integer */
                 "AGAIN:\n"
                 "sub.u32 %r0, %r0, 1;\n"     /* 31 integer */
                 "setp.ne.u32 %p0, %r0, 0;\n" /* 31 comparisons */
                 "@%p0 bra AGAIN;\n"          /* 31 branches */
                 "ret;\n}\n"                  /* 1 branch */
    /* Half of the lanes go each way. */
    HEAD("ways") "mov.u32 %r0, %tid.x;\n"      /* 1 move */
                 "setp.lt.u32 %p0, %r0, 16;\n" /* 1 comparison */
                 "@%p0 bra FEW;\n"             /* 1 branch */
                 "add.u32 %r1, %r0, 3;\n"      /* 1 integer */
                 "add.u32 %r1, %r1, 3;\n"      /* 1 integer */
                 "bra MEET;\n"                 /* 1 branch */
                 "FEW:\n"
                 "add.u32 %r1, %r0, 5;\n" /* 1 integer */
                 "MEET:\n"
                 "add.u32 %r1, %r1, 1;\n"      /* 1 integer */
                 "setp.gt.u32 %p1, %r0, 99;\n" /* 1 comparison, true of nobody */
                 "@%p1 add.u32 %r1, %r1, 1;\n" /* 1 integer all the same */
                 "@%p1 bra NOWHERE;\n"         /* 1 branch */
                 "cvt.s16.s8 %r2, %r1;\n"      /* 1 conversion, of two steps */
                 "NOWHERE:\n"
                 "ret;\n}\n" /* 1 branch */
    /* Half of the lanes come to the barriers first, and wait until the others have ended: all of them end together. */
    HEAD("barrier") "mov.u32 %r0, %laneid;\n"     /* 1 move */
                    "setp.ge.u32 %p0, %r0, 16;\n" /* 1 comparison */
                    "@%p0 bra WAIT;\n"            /* 1 branch */
                    "add.u32 %r1, %r0, 3;\n"      /* 1 integer */
                    "bra OUT;\n"                  /* 1 branch */
                    "WAIT:\n"
                    "bar.sync 0;\n" /* 1 barrier */
                    "bar.sync 0;\n" /* 1 barrier */
                    "OUT:\n"
                    "ret;\n}\n"; /* 1 branch */

struct count {
    enum sim_class class;
    uint64_t value;
};

/* What every warp counts; classes that are not told count nothing. */
static void check_kernel(const char *kernel, unsigned blocks, unsigned threads, const struct count *counts,
                         size_t count)
{
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.ptx = true}, source);
    float values[32] = {0};
    cuda_run_buffer(run, values, sizeof values);
    if (!cuda_run_launch(run, kernel, blocks, threads, 0))
        fprintf(stderr, "%s\n", cuda_run_problem(run));
    const struct sim_counters *counters = cuda_run_counters(run, kernel);
    uint64_t expected[CLASS_COUNT] = {0}, warps = blocks * threads / 32;
    for (size_t i = 0; i < count; i++)
        expected[counts[i].class] = counts[i].value * warps;
    for (int class = 0; class < CLASS_COUNT; class ++) {
        if (counters->instructions[class] != expected[class])
            fprintf(stderr, "%s: class %d counts %llu\n", kernel, class,
                    (unsigned long long)counters->instructions[class]);
        CHECK(counters->instructions[class] == expected[class]);
    }
    cuda_run_free(run);
}

#define KERNEL(name, blocks, threads, ...)                                                                             \
    check_kernel(name, blocks, threads, (const struct count[]){__VA_ARGS__},                                           \
                 sizeof((const struct count[]){__VA_ARGS__}) / sizeof(struct count))

int main(void)
{
    KERNEL("loop", 3, 64, {CLASS_MOVE, 1}, {CLASS_INTEGER, 32}, {CLASS_COMPARE, 31}, {CLASS_BRANCH, 32});
    KERNEL("ways", 1, 32, {CLASS_MOVE, 1}, {CLASS_INTEGER, 5}, {CLASS_COMPARE, 2}, {CLASS_BRANCH, 4},
           {CLASS_CONVERT, 1});
    KERNEL("barrier", 2, 96, {CLASS_MOVE, 1}, {CLASS_COMPARE, 1}, {CLASS_BRANCH, 3}, {CLASS_INTEGER, 1},
           {CLASS_BARRIER, 2});
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
