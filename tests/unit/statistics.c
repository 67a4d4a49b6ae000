/* The sum and m2 of a convolution's result, which a target's convolutions can take along (EPILOGUE_STATISTICS): which
 * reductions pass fuse attaches, and the step that comes of it. */
#include "check.h"
#include "codegen/contraction.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>

static const struct target plain = {.name = "test",
                                    .storage = {[ELEMENT_F16] = ELEMENT_F16,
                                                [ELEMENT_BF16] = ELEMENT_F32,
                                                [ELEMENT_F32] = ELEMENT_F32,
                                                [ELEMENT_I32] = ELEMENT_I32},
                                    .channels_last = true,
                                    .epilogues = EPILOGUE_BIAS | EPILOGUE_STATISTICS,
                                    .alignment = 64,
                                    .threads = 1};

#define CONV(element)                                                                                                  \
    "graph g {\n %x = input(\"x\") : " element "[4,8,6,6]{0,2,3,1}\n %w = input(\"w\") : " element "[16,8,3,3]\n"      \
    " %y = conv(%x, %w, kernel=[3,3], stride=[1,1], dilation=[1,1], pad_low=[1,1], pad_high=[1,1]) : " element         \
    "[4,16,6,6]{0,2,3,1}\n"
#define END " %a = output(%s, \"a\")\n %b = output(%m, \"b\")\n %c = output(%y, \"c\")\n}\n"

static const struct {
    const char *what, *text;
    unsigned storage; /* of f16, when not 0 */
    bool sum, m2;
} cases[] = {
    {"both", CONV("f32") " %s = sum(%y, axes=[0,2,3])\n %m = m2(%y, axes=[0,2,3])\n" END, 0, true, true},
    {"behind a cast",
     CONV("f16") " %z = cast(%y) : f32[4,16,6,6]{0,2,3,1}\n %s = sum(%z, axes=[0,2,3])\n %m = m2(%z, "
                 "axes=[0,2,3])\n" END,
     0, true, true},
    {"of an emulated half",
     CONV("f16") " %z = cast(%y) : f32[4,16,6,6]{0,2,3,1}\n %s = sum(%z, axes=[0,2,3])\n"
                 " %m = m2(%z, axes=[0,2,3])\n" END,
     ELEMENT_F32, false, false},
    {"over other axes", CONV("f32") " %s = sum(%y, axes=[0,2])\n %m = m2(%y, axes=[1,2,3])\n" END, 0, false, false},
    {"of something else",
     CONV("f32") " %z = mul(%y, %y)\n %s = sum(%z, axes=[0,2,3])\n"
                 " %m = m2(%y, axes=[0,2,3])\n" END,
     0, false, true},
    {"a half sum",
     CONV("f16") " %s = sum(%y, axes=[0,2,3])\n %z = cast(%y) : f32[4,16,6,6]{0,2,3,1}\n %m = m2(%z, "
                 "axes=[0,2,3])\n" END,
     0, false, true},
};

static void check_case(size_t number)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "statistics.ir", cases[number].text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct target target = plain;
    if (cases[number].storage)
        target.storage[ELEMENT_F16] = (enum element)cases[number].storage;
    struct pass_context context = {.target = &target, .limit = -1};
    struct graph *graph = module->graphs[0];
    pass_find("fuse")->run(graph, &context);
    pass_find("schedule")->run(graph, &context);
    CHECK(verify_module(module, diagnostics));
    struct kernel_set set = kernels_find(graph, arena);
    int contractions = 0;
    for (int i = 0; i < set.count; i++) {
        if (!set.kernels[i].contraction)
            continue;
        struct contraction contraction = contraction_make(&set.kernels[i], &target, arena);
        const struct program_conv *conv = &contraction.step.conv;
        bool sum = conv->epilogue & PROGRAM_EPILOGUE_SUM, m2 = conv->epilogue & PROGRAM_EPILOGUE_M2;
        bool good = sum == cases[number].sum && m2 == cases[number].m2 && contraction.buffer_count == 3 + sum + m2 &&
                    contraction.buffers[2]->op == OP_conv && (!sum || contraction.buffers[3]->op == OP_sum) &&
                    (!m2 || contraction.buffers[3 + sum]->op == OP_m2);
        if (!good)
            fprintf(stderr, "  statistics %s: epilogue %u\n", cases[number].what, conv->epilogue);
        CHECK(good);
        contractions++;
    }
    CHECK(contractions == 1);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
    return check_result();
}
