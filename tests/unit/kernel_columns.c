/* Sums of columns on a GPU: what a thread keeps on the chip from one walk to the next (codegen/cuda_again.c), that the
 * later walk finds what the first one had, and how the parts of a column are merged (passes/nests.h). A grid of few
 * blocks has shares in both ways. */
#include "tests/kernel_run.h"
#include "tests/random_graph.h"
#include "tests/unit/check.h"

#include "ir/parse.h"
#include "passes/pass.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* The gradient behind a pooled normalisation: %g from the gradient %d of what was pooled and the place %at of the
 * largest in each window of four, its sums over all but the channels, and what is computed of these and it again. */
#define FIRST_WALK                                                                                                     \
    "graph train {\n"                                                                                                  \
    " %y = input(\"y\") : f16[24,32,12,12]{0,2,3,1}\n"                                                                 \
    " %d = input(\"d\") : f16[24,32,6,1,6,1]{0,2,3,4,5,1}\n"                                                           \
    " %at = input(\"at\", classes=4) : u8[24,32,6,1,6,1]{0,2,3,4,5,1}\n"                                               \
    " %x = input(\"x\") : f16[24,1,12,12]\n"                                                                           \
    " %zero = constant(0) : f32[]\n"                                                                                   \
    " %zero1 = reshape(%zero) : f32[1,1,1,1,1,1]\n"                                                                    \
    " %zeros = broadcast(%zero1) : f32[24,32,6,2,6,2]\n"                                                               \
    " %place = iota(axes=[3,5]) : i32[24,32,6,2,6,2]\n"                                                                \
    " %each = broadcast(%at) : u8[24,32,6,2,6,2]{0,2,3,4,5,1}\n"                                                       \
    " %here = eq(%place, %each) : bool[24,32,6,2,6,2]{0,2,3,4,5,1}\n"                                                  \
    " %wide = broadcast(%d) : f16[24,32,6,2,6,2]{0,2,3,4,5,1}\n"                                                       \
    " %spread = where(%here, %wide, %zeros) : f16[24,32,6,2,6,2]{0,2,3,4,5,1}\n"                                       \
    " %g = reshape(%spread) : f16[24,32,12,12]{0,2,3,1}\n"                                                             \
    " %gy = mul(%g, %y) : f32[24,32,12,12]{0,2,3,1}\n"                                                                 \
    " %s = sum(%gy, axes=[0,2,3]) : f32[1,32,1,1]\n"                                                                   \
    " %all = broadcast(%s) : f32[24,32,12,12]{0,2,3,1}\n"                                                              \
    " %ys = mul(%y, %all) : f32[24,32,12,12]{0,2,3,1}\n"                                                               \
    " %dy = add(%g, %ys) : f16[24,32,12,12]{0,2,3,1}\n"
#define CHECK_IT                                                                                                       \
    " %finite = isfinite(%dy) : bool[24,32,12,12]{0,2,3,1}\n"                                                          \
    " %ok = reduce_min(%finite, axes=[0,1,2,3])\n"                                                                     \
    " %o1 = output(%ok, \"ok\")\n"
/* Behind %dy, as pass taps puts them: what finds no such walk takes one of its own. */
#define SUMS "tap_sums(%dy, %x, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[32,1,3,3]\n"

#define THREE_WALKS                                                                                                    \
    "graph train {\n"                                                                                                  \
    " %y = input(\"y\") : f16[24,32,12,12]{0,2,3,1}\n"                                                                 \
    " %z = input(\"z\") : f16[24,32,12,12]{0,2,3,1}\n"                                                                 \
    " %s1 = sum(%y, axes=[0,2,3]) : f32[1,32,1,1]\n"                                                                   \
    " %all1 = broadcast(%s1) : f32[24,32,12,12]{0,2,3,1}\n"                                                            \
    " %ys = mul(%y, %all1) : f32[24,32,12,12]{0,2,3,1}\n"                                                              \
    " %ysz = mul(%ys, %z) : f32[24,32,12,12]{0,2,3,1}\n"                                                               \
    " %s2 = sum(%ysz, axes=[0,2,3]) : f32[1,32,1,1]\n"                                                                 \
    " %all2 = broadcast(%s2) : f32[24,32,12,12]{0,2,3,1}\n"
#define THE_LAST " %o = output(%last, \"last\") : f16[24,32,12,12]{0,2,3,1} kernel 1\n}\n"

enum {
    ELEMENTS = 24 * 32 * 12 * 12,
    FIRST_READS = 2 * ELEMENTS + 2 * ELEMENTS / 4 + ELEMENTS / 4, /* y, d and at */
    X_BYTES = 2 * 24 * 12 * 12
};

/* `bytes` of memory, of which the second walk reads none but what is told. */
static const struct {
    const char *text;
    int bytes;
} cases[] = {
    {FIRST_WALK CHECK_IT " %o2 = output(%dy, \"dy\")\n}\n", FIRST_READS + 2 * ELEMENTS + 1},
    {FIRST_WALK " %dw = " SUMS " %o2 = output(%dw, \"dw\")\n" CHECK_IT "}\n", FIRST_READS + X_BYTES + 4 * 32 * 9 + 1},
    /* y at other places besides: it is not kept, since the second walk loads all of it in any case. */
    {FIRST_WALK " %f = flip(%y, axes=[2]) : f16[24,32,12,12]{0,2,3,1}\n"
                " %more = add(%f, %dy) : f16[24,32,12,12]{0,2,3,1}\n"
                " %o2 = output(%more, \"more\") : f16[24,32,12,12]{0,2,3,1}\n" CHECK_IT "}\n",
     FIRST_READS + 2 * ELEMENTS + 2 * ELEMENTS + 1},
    /* y at other places alone, of which there are as many in a row. */
    {FIRST_WALK " %t = permute(%y, permutation=[0,1,3,2]) : f16[24,32,12,12]{0,2,3,1}\n"
                " %more = mul(%all, %t) : f16[24,32,12,12]{0,2,3,1}\n"
                " %o2 = output(%more, \"more\") : f16[24,32,12,12]{0,2,3,1}\n}\n",
     FIRST_READS + 2 * ELEMENTS + 2 * ELEMENTS},
    /* Three walks, which keep y for the second and z for the third; and what is kept for two of them lies there once.
     */
    {THREE_WALKS " %last = mul(%z, %all2) : f16[24,32,12,12]{0,2,3,1}\n" THE_LAST, 4 * ELEMENTS + 2 * ELEMENTS},
    {THREE_WALKS " %yz = mul(%y, %z) : f32[24,32,12,12]{0,2,3,1}\n"
                 " %last = add(%yz, %all2) : f16[24,32,12,12]{0,2,3,1}\n" THE_LAST,
     4 * ELEMENTS + 2 * ELEMENTS},
    /* Two pairs of walks side by side: a block that does its own share of each has it in both. */
    {"graph train {\n"
     " %y = input(\"y\") : f16[24,32,12,12]{0,2,3,1}\n"
     " %z = input(\"z\") : f16[24,64,6,6]{0,2,3,1}\n"
     " %s = sum(%y, axes=[0,2,3]) : f32[1,32,1,1]\n"
     " %t = sum(%z, axes=[0,2,3]) : f32[1,64,1,1]\n"
     " %all = broadcast(%s) : f32[24,32,12,12]{0,2,3,1}\n"
     " %every = broadcast(%t) : f32[24,64,6,6]{0,2,3,1}\n"
     " %ys = sub(%y, %all) : f16[24,32,12,12]{0,2,3,1}\n"
     " %zt = sub(%z, %every) : f16[24,64,6,6]{0,2,3,1}\n"
     " %o1 = output(%ys, \"ys\") : f16[24,32,12,12]{0,2,3,1} kernel 1\n"
     " %o2 = output(%zt, \"zt\") : f16[24,64,6,6]{0,2,3,1} kernel 1\n}\n",
     4 * ELEMENTS + 4 * ELEMENTS / 2},
    /* A block that has rows and then columns: parts of a column that other blocks have are merged later. */
    {"graph train {\n"
     " %x = input(\"x\") : f32[8192,64]\n"
     " %r = reduce_max(%x, axes=[1])\n"
     " %e = broadcast(%r) : f32[8192,64]\n"
     " %d = sub(%x, %e)\n"
     " %s = sum(%d, axes=[0])\n"
     " %o1 = output(%d, \"d\")\n"
     " %o2 = output(%s, \"s\")\n}\n",
     2 * 4 * 8192 * 64 + 4 * 64},
    /* So few elements that one block ends their largest: it does not walk as the several blocks of the
     * columns, and loads x again. */
    {"graph train {\n"
     " %x = input(\"x\") : f32[2,512]\n"
     " %s = sum(%x, axes=[0])\n"
     " %all = broadcast(%s) : f32[2,512]\n"
     " %d = sub(%x, %all)\n"
     " %m = reduce_max(%d, axes=[0,1])\n"
     " %o1 = output(%d, \"d\") : f32[2,512] kernel 1\n"
     " %o2 = output(%m, \"m\") : f32[1,1] kernel 1\n}\n",
     3 * 4 * 2 * 512 + 4},
    /* 70 parts of a column, which blocks of four would not have all. */
    {"graph train {\n"
     " %x = input(\"x\") : f32[2240,64]\n"
     " %s = sum(%x, axes=[0])\n"
     " %o = output(%s, \"s\")\n}\n",
     4 * 2240 * 64 + 4 * 64},
    /* A walk that waits for nothing behind one that waits: it takes what that one keeps when that has been kept. */
    {"graph train {\n"
     " %a = input(\"a\") : f32[1024,64]\n"
     " %x = input(\"x\") : f32[1024,64]\n"
     " %m = input(\"m\") : f32[1,1,1,64]\n"
     " %s = sum(%a, axes=[0])\n"
     " %all = broadcast(%s) : f32[1024,64]\n"
     " %d = sub(%x, %all)\n"
     " %t = sum(%d, axes=[0])\n"
     " %r = reshape(%x) : f32[16,8,8,64]\n"
     " %every = broadcast(%m) : f32[16,8,8,64]\n"
     " %y = mul(%r, %every)\n"
     " %o1 = output(%t, \"t\") kernel 1\n"
     " %o2 = output(%y, \"y\") kernel 1\n}\n",
     3 * 4 * 1024 * 64 + 2 * 4 * 64},
    /* More columns than rows: what there is one of for each column is loaded by both walks. */
    {"graph train {\n"
     " %x = input(\"x\") : f16[128,512]\n"
     " %m = input(\"m\") : f16[1,512]\n"
     " %each = broadcast(%m) : f16[128,512]\n"
     " %d = mul(%x, %each) : f32[128,512]\n"
     " %s = sum(%d, axes=[0])\n"
     " %all = broadcast(%s) : f32[128,512]\n"
     " %e = sub(%x, %all) : f32[128,512]\n"
     " %y = mul(%e, %each) : f32[128,512]\n"
     " %o = output(%y, \"y\")\n}\n",
     2 * 128 * 512 + 2 * 2 * 512 + 4 * 128 * 512},
    /* Walked part by part: parts of a column are merged as where all columns are walked at once. */
    {"graph train {\n"
     " %a = input(\"a\") : f32[4096,32]\n"
     " %b = input(\"b\") : f32[4096,32]\n"
     " %sin = sin(%a)\n"
     " %exp = exp(%b)\n"
     " %c = concat(%sin, %exp, axis=1) : f32[4096,64] kernel 1\n"
     " %s = sum(%c, axes=[0])\n"
     " %f = neg(%c)\n"
     " %o1 = output(%s, \"s\") kernel 1\n"
     " %o2 = output(%f, \"f\") kernel 2\n}\n",
     4 * 4 * 4096 * 64 + 4 * 64},
    /* Windows that overlap: no more of a value is spared than there is. */
    {"graph train {\n"
     " %x = input(\"x\") : f32[8,64,10,10]{0,2,3,1}\n"
     " %w = window(%x, kernel=[3,3]) : f32[8,64,8,8,3,3]{0,2,3,4,5,1}\n"
     " %s = sum(%w, axes=[0,2,3,4,5])\n"
     " %all = broadcast(%s) : f32[8,64,8,8,3,3]{0,2,3,4,5,1}\n"
     " %d = sub(%w, %all) : f32[8,64,8,8,3,3]{0,2,3,4,5,1}\n"
     " %t = sum(%d, axes=[0,2,3,4,5])\n"
     " %o = output(%t, \"t\")\n}\n",
     4 * 8 * 64 * 10 * 10 + 4 * 64},
    /* What the kernel has made for itself is not counted, so nothing of it is spared. */
    {"graph train {\n"
     " %a = input(\"a\") : f32[64,16,64]\n"
     " %b = input(\"b\") : f16[8,16,64]\n"
     " %s = sum(%a, axes=[0])\n"
     " %each = broadcast(%s) : f32[8,16,64]\n"
     " %d = mul(%b, %each) : f32[8,16,64]\n"
     " %t = sum(%d, axes=[0,1])\n"
     " %all = broadcast(%t) : f32[8,16,64]\n"
     " %e = sub(%d, %all) : f32[8,16,64]\n"
     " %o = output(%e, \"e\") kernel 1\n}\n",
     4 * 64 * 16 * 64 + (2 + 4) * 8 * 16 * 64},
};

static struct module *read_module(struct arena *arena, const char *text)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "again.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!module)
        exit(1);
    return module;
}

static struct graph *fused(const struct module *module, const struct target *target, bool unfused)
{
    struct pass_context context = {.target = target, .limit = -1, .debug_unfused = unfused};
    struct graph *graph = module_copy(module, module->arena)->graphs[0];
    graph_number(graph);
    if (unfused || !arrlast(graph->nodes)->kernel)
        pass_fuse(graph, &context);
    return graph;
}

static const struct node *output(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_output && strcmp(graph->nodes[i]->attributes->symbol, name) == 0)
            return graph->nodes[i];
    return NULL;
}

/* Every output has the bits of the host's unfused kernels, and is near the evaluator's. */
static void compare(struct kernel_batch *on_gpu, const struct graph *graph, struct kernel_batch *on_host,
                    const struct graph *unfused, const struct evaluation *evaluation, const struct graph *original)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_output)
            continue;
        const char *name = node->attributes->symbol;
        CHECK(kernel_batch_different(on_gpu, node, on_host, output(unfused, name)) == 0);
        const struct tensor *wanted = evaluation_value(evaluation, output(original, name));
        double *got = kernel_batch_value(on_gpu, node), worst = 0, largest = 0;
        for (int64_t k = 0; k < shape_elements(&wanted->shape); k++) {
            worst = fmax(worst, fabs(got[k] - wanted->values[k]));
            largest = fmax(largest, fabs(wanted->values[k]));
        }
        CHECK(largest > 0 && worst < 1e-3 * largest);
        free(got);
    }
}

static void check_case(int number)
{
    struct arena *arena = arena_new();
    struct target host = kernel_run_target(), gpu = kernel_cuda_target();
    struct module *module = read_module(arena, cases[number].text);
    struct graph *a = fused(module, &gpu, false), *b = fused(module, &host, true);
    struct kernel_batch *on_gpu = kernel_batch_new(&gpu), *on_host = kernel_batch_new(&host);
    kernel_batch_add(on_gpu, a);
    kernel_batch_add(on_host, b);
    CHECK(kernel_batch_compile(on_gpu, "") && kernel_batch_compile(on_host, "-O0 '-DINLINE=static inline'"));
    CHECK(kernel_batch_bytes(on_gpu, 0) == (uint64_t)cases[number].bytes);
    struct environment *environment = environment_new();
    random_fill(environment, module, 5);
    graph_number(module->graphs[0]);
    struct evaluation *evaluation = evaluate_graph(module->graphs[0], environment, EVALUATE_ROUNDED);
    CHECK(kernel_batch_run(on_gpu, 0, environment) && kernel_batch_run(on_host, 0, environment));
    compare(on_gpu, a, on_host, b, evaluation, module->graphs[0]);
    evaluation_free(evaluation);
    environment_free(environment);
    kernel_batch_free(on_gpu);
    kernel_batch_free(on_host);
    module_free(a->module);
    module_free(b->module);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    if (!kernel_cuda_possible() || !kernel_run_possible())
        return 77;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case((int)i);
    return check_result();
}
