/* Strips: which kernels run together on a few examples at a time, that they compute the same bits as when each runs on
 * the whole batch, and what the runtime makes of a convolution by slices. */
#include "passes/strips.h"
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "runtime/host/onednn.h"
#include "runtime/host/vectors.h"
#include "tests/kernel_run.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

#define INPUT(name, type) " %" name " = input(\"" name "\") : " type "\n"
#define SUMS(of, s) " %" s " = sum(%" of ", axes=[0,2,3])\n"
#define ALONG(of, name) " %" name " = broadcast(%" of ") : f32[64,5,8,8]{0,2,3,1}\n"

/* A normalisation and its users; x is 64 examples. `strips`: how many there must be, `kernels`: of the first one. An
 * example is 1280 bytes, so a strip is as long as two threads allow that want eight strips each: 4 examples. */
static const struct {
    const char *what, *body;
    int strips, kernels;
} cases[] = {
    {"the sums ride with what makes the value",
     INPUT("x", "f32[64,5,8,8]{0,2,3,1}")
         INPUT("w", "f32[5,5,3,3]") " %y = conv(%x, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : "
                                    "f32[64,5,8,8]{0,2,3,1}\n" SUMS("y", "s")
                                        ALONG("s", "t") " %z = sub(%y, %t)\n %o = output(%z, \"z\")\n",
     1, 2},
    {"what needs the sums waits",
     INPUT("x", "f32[64,5,8,8]{0,2,3,1}") INPUT("w", "f32[5,5,3,3]") SUMS("x", "s")
         ALONG("s", "t") " %z = sub(%x, %t)\n"
                         " %y = conv(%z, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[64,5,8,8]{0,2,3,1}\n"
                         " %v = conv_weight(%x, %y, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[5,5,3,3]\n"
                         " %p = output(%v, \"v\")\n %o = output(%y, \"y\")\n",
     1, 4},
    {"an example of another's", /* flipped along the batch: no strip */
     INPUT("x", "f32[64,5,8,8]{0,2,3,1}") INPUT(
         "w",
         "f32[5,5,3,3]") " %y = conv(%x, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[64,5,8,8]{0,2,3,1}\n"
                         " %f = flip(%y, axes=[0])\n %z = mul(%f, %y)\n %o = output(%z, \"z\")\n",
     0, 0},
    {"the batch is not outermost",
     INPUT("x", "f32[64,5,8,8]{1,0,2,3}") " %z = mul(%x, %x)\n" SUMS("z", "s") " %o = output(%z, \"z\")\n"
                                                                               " %p = output(%s, \"s\")\n",
     0, 0},
    {"a weight made before", /* its 64 channels look like 64 examples */
     INPUT("x", "f32[64,5,8,8]{0,2,3,1}") INPUT(
         "w",
         "f32[64,5,3,3]") " %u = mul(%w, %w)\n"
                          " %y = conv(%x, %u, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[64,64,8,8]{0,2,3,1}\n"
                          " %o = output(%y, \"y\")\n %p = output(%u, \"u\")\n",
     1, 2},
    {"windows that reach other examples",
     INPUT("x", "f32[64,5,8]")
         INPUT("w", "f32[5,5,3]") " %y = conv(%x, %w, kernel=[3], pad_low=[1], pad_high=[1]) : f32[64,5,8]\n"
                                  " %v = window(%y, kernel=[3,1,1], pad_low=[1,0,0], pad_high=[1,0,0])\n"
                                  " %s = sum(%v, axes=[3,4,5])\n %r = reshape(%s) : f32[64,5,8]\n"
                                  " %z = mul(%r, %y)\n %o = output(%z, \"z\")\n",
     0, 0},
    {"folded over other examples",
     INPUT("x", "f32[64,5,8]") INPUT("u", "f32[64,5,8,3,1,1]")
         INPUT("w", "f32[5,5,3]") " %y = conv(%x, %w, kernel=[3], pad_low=[1], pad_high=[1]) : f32[64,5,8]\n"
                                  " %v = reshape(%y) : f32[64,5,8,1,1,1]\n %e = broadcast(%v) : f32[64,5,8,3,1,1]\n"
                                  " %m = mul(%u, %e)\n"
                                  " %z = fold(%m, kernel=[3,1,1], pad_low=[1,0,0], pad_high=[1,0,0]) : f32[64,5,8]\n"
                                  " %o = output(%z, \"z\")\n",
     0, 0},
};

static void check_found(size_t number)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph g {\n%s}\n", cases[number].body);
    struct module *module = parse_module(arena, diagnostics, "strips.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct target target = kernel_run_target();
    struct pass_context context = {.target = &target, .limit = -1};
    struct graph *graph = module->graphs[0];
    pass_fuse(graph, &context);
    pass_schedule(graph, &context);
    struct kernel_set set = kernels_find(graph, arena);
    struct strip_set strips = strips_find(&set, &target, arena);
    bool good =
        strips.count == cases[number].strips && (!strips.count || strips.strips[0].count == cases[number].kernels);
    if (!good)
        fprintf(stderr, "  %s: %d strips of %d\n", cases[number].what, strips.count,
                strips.count ? strips.strips[0].count : 0);
    CHECK(good);
    for (int i = 0; i < set.count; i++) {
        const struct node *conv = set.kernels[i].contraction;
        int weight = conv && conv->op == OP_conv ? conv->operands[1]->kernel : 0;
        CHECK(!weight || strips.of[i] < 0 || strips.of[weight - 1] != strips.of[i]);
    }
    target.threads = 2;
    strips = strips_find(&set, &target, arena);
    CHECK(!strips.count || strips.strips[0].size == 4);
    target.threads = 64; /* one strip each, of one example */
    strips = strips_find(&set, &target, arena);
    CHECK(!strips.count || strips.strips[0].size == 1);
    target.strips = false;
    CHECK(strips_find(&set, &target, arena).count == 0);
    module_free(module);
    arena_free(arena);
}

/* ---- convolutions by slices ---- */

static float *fill(size_t count)
{
    static uint64_t state = 7;
    float *values = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)((double)(int32_t)(state >> 33) / 1073741824.0 - 1.0);
    }
    return values;
}

static double difference(const float *a, const float *b, size_t count)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < count; i++) {
        error += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
        power += (double)b[i] * (double)b[i];
    }
    return error / power;
}

/* Slices of 4 examples out of 12, by three threads in turn, against the whole batch at once; twice, the weight changing
 * between. */
static void check_slices(struct onednn *onednn, enum program_conv_kind kind, int64_t c, int64_t o, bool bias)
{
    struct program_step step = {.kind = PROGRAM_CONV_STEP, .name = "conv", .buffer_count = bias ? 4 : 3};
    step.conv = (struct program_conv){.kind = kind, .spatial = 2, .n = 12, .c = c, .o = o, .groups = 1};
    struct program_conv *conv = &step.conv;
    for (int i = 0; i < 2; i++) {
        conv->x[i] = conv->y[i] = 6 + i;
        conv->kernel[i] = 3;
        conv->stride[i] = conv->dilation[i] = conv->pad_low[i] = conv->pad_high[i] = 1;
    }
    conv->channels_last = true;
    conv->x_element = conv->weight_element = conv->y_element = conv->bias = PROGRAM_F32;
    conv->epilogue = bias ? PROGRAM_EPILOGUE_BIAS | PROGRAM_EPILOGUE_RELU : 0;
    size_t x = (size_t)(12 * c * 42), y = (size_t)(12 * o * 42), weight = (size_t)(o * c * 9);
    size_t sizes[] = {kind == PROGRAM_CONV_DATA ? weight : x, kind == PROGRAM_CONV ? weight : y,
                      kind == PROGRAM_CONV        ? y
                      : kind == PROGRAM_CONV_DATA ? x
                                                  : weight};
    float *a = fill(sizes[0]), *b = fill(sizes[1]), *whole = fill(sizes[2]), *sliced = fill(sizes[2]);
    float *vector = fill((size_t)o);
    struct error error = {0};
    struct onednn_plan *plan = onednn_prepare(onednn, &step, &error);
    struct onednn_slices *slices = onednn_slices_new(onednn, &step, 4, 3, &error);
    CHECK(plan && slices);
    for (int round = 0; plan && slices && round < 2; round++) {
        char *one[] = {(char *)a, (char *)b, (char *)whole, (char *)vector};
        char *other[] = {(char *)a, (char *)b, (char *)sliced, (char *)vector};
        CHECK(onednn_run(plan, one, &error));
        for (int slice = 2; slice >= 0; slice--) /* thread 0 none, thread 1 the last two, thread 2 the first */
            CHECK(onednn_slices_run(slices, slice ? 1 : 2, other, 4 * slice, slice == 1));
        CHECK(onednn_slices_finish(slices, other));
        CHECK(difference(sliced, whole, sizes[2]) < 1e-12);
        for (size_t i = 0; i < sizes[0]; i++)
            a[i] *= 0.5f;
        for (size_t i = 0; i < sizes[1]; i++)
            b[i] += 0.25f;
    }
    onednn_slices_free(slices);
    onednn_plan_free(plan);
    free(a);
    free(b);
    free(whole);
    free(sliced);
    free(vector);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_found(i);
    struct error error = {0};
    struct onednn *onednn = onednn_new(vector_isa_find("native"), 2, &error);
    CHECK(onednn);
    for (int kind = PROGRAM_CONV; onednn && kind <= PROGRAM_CONV_WEIGHT; kind++) {
        check_slices(onednn, (enum program_conv_kind)kind, 16, 32, false);
        check_slices(onednn, (enum program_conv_kind)kind, 1, 16, false);
        check_slices(onednn, (enum program_conv_kind)kind, 3, 5, false);
    }
    if (onednn)
        check_slices(onednn, PROGRAM_CONV, 8, 16, true);
    onednn_free(onednn);
    return check_result();
}
