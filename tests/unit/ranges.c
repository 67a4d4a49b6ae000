/* Recorded ranges: histograms worked by hand, the file there and back, and what policy ranges makes of them. */
#include "passes/policies/ranges.h"
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <unistd.h>

static struct arena *arena;

static void histogram(void)
{
    /* 2^-30 is lost in f16, 2^-20 a subnormal, 3 and -5 are neither. */
    const double values[] = {0, ldexp(1, -30), ldexp(1.5, -20), 3, -5, 0, INFINITY, 1};
    struct range range = {0};
    range_add(&range, values, 8);
    CHECK(range.count == 8 && range.zeros == 2 && range.infinite == 1 && range.largest == 5);
    CHECK(range_lost(&range, 1) == 1.0 / 8 && range_subnormal(&range, 1) == 1.0 / 8);
    CHECK(range_lost(&range, 1024) == 0 && range_subnormal(&range, 1024) == 1.0 / 8); /* 2^-20 and 2^-10 */
    CHECK(range_lost(&range, 65536) == 0 && range_subnormal(&range, 65536) == 0);
}

static const char network[] = "variable \"w\" : f32[4,4] parameter\n"
                              "graph train {\n  %x = input(\"x\") : f32[4,4]\n  %w = read(\"w\") : f32[4,4]\n"
                              "  %a = sqrt(%x) : f32[4,4]\n  %b = neg(%a) : f32[4,4]\n  %c = abs(%b) : f32[4,4]\n"
                              "  %e = exp(%a) : f32[4,4]\n  %m = matmul(%b, %w) : f32[4,4]\n"
                              "  %n = matmul(%a, %w) : f32[4,4]\n"
                              "  %p = output(%c, \"c\") : f32[4,4]\n  %q = output(%e, \"e\") : f32[4,4]\n"
                              "  %r = output(%m, \"m\") : f32[4,4]\n  %s = output(%n, \"n\") : f32[4,4]\n}\n";

static struct node *find(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0)
            return graph->nodes[i];
    CHECK(!name);
    return graph->nodes[0];
}

static void record(struct ranges *ranges, const struct graph *graph, const char *name, double value, double small)
{
    double values[100];
    for (int i = 0; i < 100; i++)
        values[i] = i % 10 ? value : small;
    range_add(ranges_of(ranges, graph, find(graph, name)), values, 100);
}

/* a fits f16; b is too large by a factor of two; c loses a tenth; m has an operand that does not fit. */
static struct ranges *made_up(struct graph *graph)
{
    struct ranges *ranges = ranges_new(arena);
    ranges_number(graph);
    record(ranges, graph, "a", 100, 1);
    record(ranges, graph, "b", 2 * 65504 / 8.0, 1);
    record(ranges, graph, "c", 1, ldexp(1, -25));
    record(ranges, graph, "e", 1, 1);
    record(ranges, graph, "m", 1, 1);
    record(ranges, graph, "n", 65504 / 8.0, 1);
    record(ranges, graph, "w", 1, 1);
    return ranges;
}

/* Through a file and back. */
static struct ranges *reread(const struct ranges *ranges, struct diagnostics *diagnostics)
{
    char path[] = "/tmp/rangesXXXXXX";
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    CHECK(file && ranges_print(ranges, file));
    fclose(file);
    struct ranges *again = ranges_read(arena, diagnostics, path, (struct span){0});
    CHECK(again);
    unlink(path);
    return again;
}

static void check_types(const char *policy_name, const char *wanted)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", network);
    struct graph *graph = module->graphs[0];
    graph_number(graph);
    struct ranges *first = made_up(graph), *ranges = reread(first, diagnostics);
    CHECK(ranges_find(ranges, graph, find(graph, "b"))->largest == 2 * 65504 / 8.0);
    struct policy *policy = policy_load(arena, diagnostics, policy_name, ELEMENT_NONE, (struct span){0});
    policy_take_ranges(policy, ranges);
    struct pass_context context = {.limit = -1, .policy = policy};
    pass_precision(graph, &context);
    char got[128] = "";
    for (const char *name = "abcemn"; *name; name++) {
        size_t used = strlen(got);
        const struct node *node = find(graph, arena_printf(arena, "%c", *name));
        snprintf(got + used, sizeof got - used, "%c %s ", *name, element_name(node->type.element));
    }
    CHECK_TEXT(got, wanted);
    CHECK(diagnostics_errors(diagnostics) == 0);
    diagnostics_print(diagnostics, stderr);
    ranges_free(first);
    ranges_free(ranges);
    module_free(module);
}

/* 8 times the largest gradient times the scale stays below 65504: 0.01 gives 2^19 (0.01 * 8 * 2^19 = 41943). */
static void scale(void)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", network);
    struct graph *graph = module->graphs[0];
    graph_number(graph);
    find(graph, "c")->region = REGION_BACKWARD;
    struct ranges *ranges = ranges_new(arena);
    ranges_number(graph);
    record(ranges, graph, "c", 0.01, 1e-4);
    struct policy *policy = policy_load(arena, diagnostics, "ranges", ELEMENT_NONE, (struct span){0});
    policy_take_ranges(policy, ranges);
    CHECK_TEXT(policy_scale(policy), "static(524288)");
    /* Of another policy they change nothing; with bf16 there is no scale. */
    policy = policy_load(arena, diagnostics, "autocast", ELEMENT_NONE, (struct span){0});
    policy_take_ranges(policy, ranges);
    CHECK_TEXT(policy_scale(policy), "dynamic");
    ranges_free(ranges);
    module_free(module);
}

static void missing(void)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", network);
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, "ranges", ELEMENT_NONE, (struct span){0});
    pass_precision(module->graphs[0], &context);
    CHECK(diagnostics_errors(diagnostics) == 1);
    struct policy *policy = policy_load(arena, diagnostics, "ranges", ELEMENT_NONE, (struct span){0});
    struct ranges *ranges = ranges_new(arena);
    policy_take_ranges(policy, ranges);
    context.policy = policy;
    pass_precision(module->graphs[0], &context);
    CHECK(diagnostics_errors(diagnostics) == 2); /* of another model */
    CHECK(!ranges_read(arena, diagnostics, "/nowhere", (struct span){0}));
    ranges_free(ranges);
    module_free(module);
}

int main(void)
{
    arena = arena_new();
    histogram();
    check_types("ranges", "a f16 b bf16 c bf16 e f32 m bf16 n f16 ");
    check_types("ranges(bf16)", "a bf16 b bf16 c bf16 e f32 m bf16 n bf16 ");
    scale();
    missing();
    arena_free(arena);
    return check_result();
}
