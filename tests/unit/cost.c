/* The cost model on graphs whose bytes and times are worked by hand, and the table of published figures. */
#include "passes/cost.h"
#include "check.h"
#include "ir/parse.h"
#include "passes/figures.h"
#include "passes/pipeline.h"

#include <math.h>
#include <stb/stb_ds.h>

static struct arena *arena;

/* A device of round numbers: 1 GB/s, 10 GFLOP/s pointwise, 100 in f32 products and 1000 in f16, 1 us a launch. */
static struct target round_target(void)
{
    struct target target = {.name = "round",
                            .epilogues = EPILOGUE_BIAS | EPILOGUE_RELU | EPILOGUE_ADD,
                            .alignment = 64,
                            .cache_bytes = 1 << 20,
                            .threads = 1};
    struct figures figures = {.name = "round", .bandwidth = 1e9, .vector_flops = 1e10, .launch_seconds = 1e-6};
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        target.storage[element] = element;
    figures.flops[ELEMENT_F32] = 1e11;
    figures.flops[ELEMENT_F16] = 1e12;
    figures_apply(&figures, &target);
    return target;
}

static struct module *plan(const char *text, const struct target *target)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct pass_context context = {.target = target, .limit = -1};
    struct pipeline_options options = {.passes = "layout,fuse,schedule,memory", .messages = stderr};
    CHECK(module && pipeline_run(module, &context, &options).done);
    diagnostics_print(diagnostics, stderr);
    return module;
}

static void check_near(double got, double wanted)
{
    CHECK(fabs(got - wanted) <= 1e-9 * wanted);
    if (fabs(got - wanted) > 1e-9 * wanted)
        fprintf(stderr, "got %.9g, wanted %.9g\n", got, wanted);
}

static void check_cost(const char *text, double bytes, double flops, double seconds)
{
    struct target target = round_target();
    struct module *module = plan(text, &target);
    struct kernel_cost cost = cost_step(module, &target);
    check_near(cost.bytes, bytes);
    check_near(cost.flops, flops);
    check_near(cost.seconds, seconds);
    module_free(module);
}

static void roofline(void)
{
    /* 1000 elements read and written: 8 us beside 0.2 us of arithmetic. */
    check_cost(
        "graph train {\n  %x = input(\"x\") : f32[1000]\n  %n = neg(%x) : f32[1000]\n  %m = abs(%n) : f32[1000]\n"
        "  %o = output(%m, \"o\") : f32[1000]\n}\n",
        8000, 2000, 1e-6 + 8e-6);
    /* 20 flops an element, 16 elements: 32 ns of 128 bytes. */
    check_cost("graph train {\n  %x = input(\"x\") : f32[16]\n  %n = pow(%x, %x) : f32[16]\n"
               "  %o = output(%n, \"o\") : f32[16]\n}\n",
               128, 320, 1e-6 + 128e-9);
    /* 2 * 256^3 flops: 335.5 us at the rate of f32 against 786 us of bytes; with f16 operands half the bytes but the
     * result's. A second kernel writes the negative: neg is no epilogue. */
    double flops = 2.0 * 256 * 256 * 256, matrix = 256 * 256, negative = 1e-6 + 8 * matrix / 1e9;
    check_cost("graph train {\n  %x = input(\"x\") : f32[256,256]\n  %y = input(\"y\") : f32[256,256]\n"
               "  %m = matmul(%x, %y) : f32[256,256]\n  %n = neg(%m) : f32[256,256]\n"
               "  %o = output(%n, \"o\") : f32[256,256]\n}\n",
               20 * matrix, flops + matrix, 1e-6 + 12 * matrix / 1e9 + negative);
    check_cost("graph train {\n  %x = input(\"x\") : f16[256,256]\n  %y = input(\"y\") : f16[256,256]\n"
               "  %m = matmul(%x, %y) : f32[256,256]\n  %n = neg(%m) : f32[256,256]\n"
               "  %o = output(%n, \"o\") : f32[256,256]\n}\n",
               16 * matrix, flops + matrix, 1e-6 + 8 * matrix / 1e9 + negative);
    /* With little to move, products decide, by the type of the operands. */
    struct target target = round_target();
    target.bandwidth = 1e12;
    double rest = 1e-6 + 65536 / 1e10; /* the second kernel: its arithmetic */
    const char *text = "graph train {\n  %%x = input(\"x\") : %s[256,256]\n  %%y = input(\"y\") : %s[256,256]\n"
                       "  %%m = matmul(%%x, %%y) : f32[256,256]\n  %%n = neg(%%m) : f32[256,256]\n"
                       "  %%o = output(%%n, \"o\") : f32[256,256]\n}\n";
    struct module *f32 = plan(arena_printf(arena, text, "f32", "f32"), &target);
    check_near(cost_step(f32, &target).seconds, 1e-6 + flops / 1e11 + rest);
    struct module *f16 = plan(arena_printf(arena, text, "f16", "f16"), &target);
    check_near(cost_step(f16, &target).seconds, 1e-6 + flops / 1e12 + rest);
    module_free(f32);
    module_free(f16);
}

/* A softmax reads its row once; what picks from a table reads what it picks; a value stored in another kernel counts
 * when it is written and when it is read. */
static void reads(void)
{
    check_cost("graph train {\n  %x = input(\"x\") : f32[100,50]\n  %m = reduce_max(%x, axes=[1]) : f32[100,1]\n"
               "  %b = broadcast(%m) : f32[100,50]\n  %d = sub(%x, %b) : f32[100,50]\n"
               "  %o = output(%d, \"o\") : f32[100,50]\n}\n",
               2 * 4 * 5000, 5000 + 5000, 1e-6 + 8 * 5000 / 1e9);
    check_cost("graph train {\n  %t = input(\"t\") : f32[1000,10]\n  %i = input(\"i\") : i32[7]\n"
               "  %g = gather(%t, %i, axis=0) : f32[7,10]\n  %o = output(%g, \"o\") : f32[7,10]\n}\n",
               4 * 70 + 4 * 7 + 4 * 70, 0, 1e-6 + 588 / 1e9);
}

static void accumulated(void)
{
    struct target target = round_target();
    const char *text = "graph micro {\n  %x = input(\"x\") : f32[1000]\n  %n = neg(%x) : f32[1000]\n"
                       "  %o = output(%n, \"o\") : f32[1000]\n}\n"
                       "graph update {\n  %x = input(\"x\") : f32[500]\n  %n = neg(%x) : f32[500]\n"
                       "  %o = output(%n, \"o\") : f32[500]\n}\n";
    struct module *module = plan(text, &target);
    module->accumulate = 3;
    check_near(cost_step(module, &target).seconds, 3 * (1e-6 + 8e-6) + 1e-6 + 4e-6);
    module_free(module);
}

static void published(void)
{
    struct figures figures;
    CHECK(figures_find("sm_80", false, &figures));
    CHECK_TEXT(figures.name, "A100-40GB");
    check_near(figures.bandwidth, 1555e9);
    check_near(figures.flops[ELEMENT_F16], 312e12);
    check_near(figures.flops[ELEMENT_F32], 19.5e12);
    CHECK(figures_find("A100-80GB", true, &figures) && figures.flops[ELEMENT_F32] == 156e12);
    const char *const all[] = {"sm_86", "sm_89", "sm_90", "sm_100", "H100", "B200", "L4", "RTX 4090", "RTX 3090"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK(figures_find(all[i], false, &figures) && figures.flops[ELEMENT_BF16] > figures.flops[ELEMENT_F32]);
    CHECK(!figures_find("sm_10", false, &figures));
    /* One without a row is taken for the latest before it. */
    CHECK(figures_find("sm_103", false, &figures) && strcmp(figures.name, "B200") == 0);
    CHECK(figures_find("sm_87", false, &figures) && strcmp(figures.name, "A10") == 0);
    CHECK(figures_find("sm_300", false, &figures) && strcmp(figures.name, "RTX 5090") == 0);
    CHECK(figures_find("NVIDIA A100-SXM4-80GB", false, &figures));
    CHECK_TEXT(figures.name, "A100-80GB");
    CHECK(figures_find("NVIDIA GeForce RTX 3090", false, &figures) && figures.bandwidth == 936e9);
    CHECK(figures_find("NVIDIA A10", false, &figures) && figures.bandwidth == 600e9);
    CHECK(!figures_find("NVIDIA A1000", false, &figures));
    /* What a host emulates costs what f32 costs. */
    struct target target = round_target();
    target.storage[ELEMENT_F16] = ELEMENT_F32;
    struct figures host = figures_of_host(2, "avx512 bf16");
    figures_apply(&host, &target);
    CHECK(target.flops[ELEMENT_F16] == target.flops[ELEMENT_F32]);
    CHECK(target.flops[ELEMENT_BF16] == 2 * target.flops[ELEMENT_F32]);
}

int main(void)
{
    arena = arena_new();
    roofline();
    reads();
    accumulated();
    published();
    arena_free(arena);
    return check_result();
}
