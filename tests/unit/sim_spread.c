/* The order in which the simulated GPU runs arithmetic (runtime/sim/spread.c): results are those of the order that is
 * written, whatever is overwritten, guarded or compared in between; and chains are run side by side. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"
#include "runtime/sim/module.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

/* x = lane: two chains, a register and a predicate that are used anew, a guarded result that is read and written. */
static const char source[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                             ".visible .entry k(.param .u64 out)\n{\n"
                             ".reg .b64 %rd<5>; .reg .b32 %r<4>; .reg .f32 %f<12>; .reg .pred %p<3>;\n"
                             "ld.param.u64 %rd1, [out];\n"
                             "cvta.to.global.u64 %rd2, %rd1;\n"
                             "mov.u32 %r1, %tid.x;\n"
                             "mul.wide.u32 %rd3, %r1, 4;\n"
                             "add.s64 %rd4, %rd2, %rd3;\n"
                             "cvt.rn.f32.u32 %f1, %r1;\n"
                             "add.f32 %f2, %f1, 0f3F800000;\n"     /* x + 1 */
                             "mul.f32 %f3, %f2, %f2;\n"            /* (x + 1)^2 */
                             "add.f32 %f4, %f3, %f2;\n"            /* (x + 1)(x + 2) */
                             "mul.f32 %f4, %f4, 0f40000000;\n"     /* twice that */
                             "add.f32 %f5, %f1, 0f40400000;\n"     /* x + 3 */
                             "mul.f32 %f6, %f5, %f1;\n"            /* x (x + 3) */
                             "mov.f32 %f1, 0f41200000;\n"          /* 10 from here on */
                             "mul.f32 %f7, %f1, %f5;\n"            /* 10 (x + 3) */
                             "setp.gt.f32 %p1, %f5, 0f41800000;\n" /* x > 13 */
                             "@%p1 add.f32 %f7, %f7, 0f3F800000;\n"
                             "setp.lt.f32 %p1, %f5, 0f40A00000;\n" /* x < 2 */
                             "@%p1 add.f32 %f7, %f7, 0f42C80000;\n"
                             "@!%p1 mov.f32 %f6, 0f00000000;\n"
                             "add.f32 %f8, %f7, %f6;\n"
                             "add.f32 %f8, %f8, %f4;\n"
                             "st.global.f32 [%rd4], %f8;\n"
                             "ret;\n}\n";

static float expected(float x)
{
    float sum = 10 * (x + 3) + (x > 13) + (x < 2 ? 100 : 0);
    return sum + (x < 2 ? x * (x + 3) : 0) + 2 * (x + 1) * (x + 2);
}

/* Ops that need what the op before them made. */
static int hurried(const struct sim_kernel *kernel)
{
    int count = 0;
    for (ptrdiff_t i = 1; i < arrlen(kernel->ops); i++) {
        const struct op *made = &kernel->ops[i - 1], *op = &kernel->ops[i];
        count += made->kind == OP_LANE && op->kind == OP_LANE && (op->a == made->d || op->b == made->d);
    }
    return count;
}

static void check_order(void)
{
    struct sim_memory memory = {0};
    struct error error = {0};
    struct sim_module *module = sim_module_load(source, &memory, sim_isa_at(0), &error);
    CHECK_TEXT(error.text, "");
    if (module) {
        const struct sim_kernel *kernel = sim_module_kernel(module, "k");
        CHECK(hurried(kernel) <= 3); /* as written 9: addresses, x + 1 and its square, … */
        sim_module_unload(module);
    }
    sim_memory_free(&memory);
}

int main(void)
{
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.ptx = true}, source);
    float values[32] = {0};
    cuda_run_buffer(run, values, sizeof values);
    CHECK(cuda_run_launch(run, "k", 1, 32, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    int wrong = 0;
    for (int i = 0; i < 32; i++)
        wrong += values[i] != expected((float)i);
    CHECK(wrong == 0);
    cuda_run_free(run);
    check_order();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
