/* Pass remat: hand-made kernels; random graphs with their gradients, whose values the evaluator compares; chains. */
#include "passes/remat.h"
#include "check.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/cost.h"
#include "passes/memory.h"
#include "random_graph.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { GRAPHS = 200 };

static struct target plain_target(void)
{
    struct target target = {.name = "host", .alignment = 64, .threads = 1, .bandwidth = 1e11, .vector_flops = 1e12};
    for (int i = 0; i < ELEMENT_COUNT; i++) {
        target.storage[i] = (enum element)i;
        target.flops[i] = 1e13;
    }
    return target;
}

static struct module *read_module(struct arena *arena, const char *text)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "remat.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!module)
        exit(1);
    return module;
}

static const struct node *find(const struct graph *graph, const char *name, int number)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0 && number-- == 0)
            return graph->nodes[i];
    return NULL;
}

static int64_t arena_bytes(struct graph *graph, const struct target *target)
{
    pass_memory(graph, &(struct pass_context){.target = target, .limit = -1});
    verify_or_bug(graph->module, "after pass memory");
    return memory_measure(graph, target).peak;
}

/* a is cheap and big, and lives across the product of the two middle kernels; s is small. Each of a, h, g, d and q
 * takes 64 KiB; the statistic s that a's kernel stores too takes nothing worth while. */
static const char two_ways[] = "variable \"w\" : f32[128,128] parameter\n"
                               "variable \"mean\" : f32[1,1] state\n"
                               "graph train {\n"
                               " %x = input(\"x\") : f32[128,128]\n"
                               " %w = read(\"w\")\n"
                               " %e = exp(%x)\n"
                               " %a = neg(%e) kernel 1\n"
                               " %s = sum(%a, axes=[0,1])\n"
                               " %sw = write(%s, \"mean\", gate=all) kernel 1\n"
                               " %b = abs(%a)\n"
                               " %h = matmul(%a, %w) kernel 2\n"
                               " %g = matmul(%h, %w) : f32[128,128] kernel 3 backward\n"
                               " %d = matmul(%g, %w) : f32[128,128] kernel 4 backward\n"
                               " %q = mul(%d, %b) kernel 5 backward\n"
                               " %o = output(%q, \"q\") backward kernel 6\n"
                               " %r = sum(%b, axes=[0,1]) kernel 7 backward\n"
                               " %p = output(%r, \"r\") backward kernel 8\n"
                               "}\n";

static struct graph *run_two_ways(struct arena *arena, struct target *target, struct pass_context *context)
{
    struct module *module = read_module(arena, two_ways);
    context->target = target;
    pass_remat(module->graphs[0], context);
    diagnostics_print(module->diagnostics, stderr);
    verify_or_bug(module, "after pass remat");
    return module->graphs[0];
}

static void check_by_hand(void)
{
    const int64_t value = 128 * 128 * 4;
    struct arena *arena = arena_new();
    struct target target = plain_target();
    struct pass_context none = {.limit = -1}, enough = {.limit = -1, .budget.bytes = 4 * value};
    struct pass_context tight = {.limit = -1, .budget.bytes = 2 * value + value / 2};
    struct pass_context denied = {.budget.bytes = 2 * value + value / 2};
    struct graph *graph = run_two_ways(arena, &target, &none);
    ptrdiff_t nodes = arrlen(graph->nodes);
    int64_t without = arena_bytes(graph, &target);
    CHECK(without >= 3 * value && without < 4 * value); /* a, g, d */
    CHECK(none.granted == 0);
    module_free(graph->module);
    graph = run_two_ways(arena, &target, &enough);
    CHECK(arrlen(graph->nodes) == nodes && enough.granted == 4 * value);
    module_free(graph->module);
    graph = run_two_ways(arena, &target, &denied);
    CHECK(arrlen(graph->nodes) == nodes); /* --pass-limit 0 */
    module_free(graph->module);

    graph = run_two_ways(arena, &target, &tight);
    CHECK(arena_bytes(graph, &target) <= tight.budget.bytes);
    const struct node *first = find(graph, "a", 0), *second = find(graph, "a", 1);
    CHECK(first && second && !find(graph, "a", 2));
    if (!first || !second)
        return;
    CHECK(second->again == first->origin && !first->again && second->attributes == first->attributes);
    CHECK(first->kernel == 1 && find(graph, "h", 0)->kernel == 2 && find(graph, "g", 0)->kernel == 3);
    CHECK(find(graph, "d", 0)->kernel == 4 && second->kernel == 5 && find(graph, "q", 0)->kernel == 6);
    /* What is written was written with the first one; the later readers share a copy of what they compute from it. */
    CHECK(find(graph, "sw", 0) && !find(graph, "sw", 1));
    CHECK(find(graph, "q", 0)->operands[1]->operands[0] == second && !find(graph, "q", 0)->operands[1]->again);
    CHECK(find(graph, "r", 0)->operands[0]->operands[0] == second);
    module_free(graph->module);
    arena_free(arena);
}

/* Too little for any kernel: an error tells what can be reached, and the graph stays as it was. */
static void check_refusal(void)
{
    struct arena *arena = arena_new();
    struct target target = plain_target();
    struct module *module = read_module(arena, two_ways);
    ptrdiff_t nodes = arrlen(module->graphs[0]->nodes);
    struct pass_context context = {.target = &target, .limit = -1, .budget.share = 0.2};
    pass_remat(module->graphs[0], &context);
    CHECK(diagnostics_errors(module->diagnostics) == 1 && arrlen(module->graphs[0]->nodes) == nodes);
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    diagnostics_print(module->diagnostics, out);
    arena_stream_close(out);
    CHECK(strstr(text, "E0805") && strstr(text, "0.04 MB") && strstr(text, "to 0.14 MB at the least"));
    free(text);
    module_free(module);
    arena_free(arena);
}

/* What a kernel cannot compute inside, the table of a gather or a running sum, must have been stored: what was made
 * along with it cannot be made again alone. */
static void check_alone(void)
{
    static const struct {
        const char *name;
        bool possible;
    } wanted[] = {{"plain", true}, {"picked", false}, {"run", true}, {"behind", false}, {"sums", true}};
    struct arena *arena = arena_new();
    struct target target = plain_target();
    struct module *module = read_module(arena, "graph train {\n"
                                               " %x = input(\"x\") : f32[8,8]\n"
                                               " %i = input(\"i\", classes=8) : i32[4]\n"
                                               " %table = exp(%x) kernel 1\n"
                                               " %plain = neg(%table) kernel 1\n"
                                               " %rows = gather(%table, %i, axis=0) : f32[4,8]\n"
                                               " %picked = neg(%rows) kernel 1\n"
                                               " %run = cumsum(%x, axis=1) kernel 2\n"
                                               " %behind = neg(%run) kernel 2\n"
                                               " %dy = input(\"dy\") : f32[2,4,8]\n"
                                               " %in = input(\"in\") : f32[2,1,10]\n"
                                               " %met = exp(%in) kernel 3\n"
                                               " %sums = tap_sums(%dy, %met) : f32[4,1,3] kernel 3\n"
                                               " %o1 = output(%plain, \"o1\") kernel 4\n"
                                               " %o2 = output(%picked, \"o2\") kernel 5\n"
                                               " %o3 = output(%behind, \"o3\") kernel 6\n"
                                               " %o4 = output(%run, \"o4\") kernel 7\n"
                                               " %o5 = output(%sums, \"o5\") kernel 8\n"
                                               " %o6 = output(%met, \"o6\") kernel 9\n"
                                               "}\n");
    graph_number(module->graphs[0]);
    struct remat_problem *problem = remat_problem_new(module->graphs[0], &target, arena);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int value = problem->value_of[find(module->graphs[0], wanted[i].name, 0)->id];
        CHECK(value >= 0 && remat_recipe(problem, value)->possible == wanted[i].possible);
    }
    remat_problem_free(problem);
    module_free(module);
    arena_free(arena);
}

/* ---- random graphs ---- */

static const struct node *by_origin(const struct graph *graph, uint32_t origin)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->origin == origin)
            return graph->nodes[i];
    return NULL;
}

static double flops(const struct graph *graph, const struct target *target, bool again)
{
    struct arena *arena = arena_new();
    struct kernel_set set = kernels_find(graph, arena);
    double sum = 0;
    for (int i = 0; i < set.count; i++)
        if (!again || (set.kernels[i].store_count && set.kernels[i].stores[0]->again))
            sum += cost_kernel(&set.kernels[i], target).flops;
    arena_free(arena);
    return sum;
}

/* The bits of NaNs apart. */
static bool same_values(const struct tensor *a, const struct tensor *b)
{
    for (int64_t i = 0; i < shape_elements(&a->shape); i++)
        if (a->values[i] != b->values[i] && (a->values[i] == a->values[i] || b->values[i] == b->values[i]))
            return false;
    return a->element == b->element && shape_equal(&a->shape, &b->shape);
}

static bool same_effects(const struct graph *before, const struct graph *after, const struct environment *environment)
{
    struct evaluation *wanted = evaluate_graph(before, environment, EVALUATE_ROUNDED);
    struct evaluation *got = evaluate_graph(after, environment, EVALUATE_ROUNDED);
    bool same = true;
    for (ptrdiff_t i = 0; i < arrlen(before->nodes); i++)
        if (op_is(before->nodes[i]->op, CLASS_EFFECT)) {
            const struct node *mine = by_origin(after, before->nodes[i]->origin);
            same = same && mine && same_values(evaluation_value(wanted, before->nodes[i]), evaluation_value(got, mine));
        }
    evaluation_free(wanted);
    evaluation_free(got);
    return same;
}

struct totals {
    int plans, recomputed;
};

static char *text_of(const struct module *module)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    print_module(module, out);
    arena_stream_close(out);
    return text;
}

static bool keeps_text(const struct module *module, struct arena *arena)
{
    char *text = text_of(module);
    struct module *read = read_module(arena, text);
    char *again = text_of(read);
    bool same = strcmp(text, again) == 0;
    module_free(read);
    free(text);
    free(again);
    return same;
}

/* Behind each kernel some of the values that there are by then are made again, whether or not that saves anything. */
static struct remat_plan draw_plan(struct remat_problem *problem, uint64_t seed)
{
    struct remat_plan plan = {.possible = true};
    uint64_t state = seed * 2654435761u + 1;
    for (int k = 0; k < problem->set.count; k++) {
        arrput(plan.entries, ((struct remat_entry){k, -1}));
        for (int i = 0; i < problem->value_count; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            if (problem->values[i].kernel > k || state >> 60 > 2 || !remat_recipe(problem, i)->possible)
                continue;
            arrput(plan.entries, ((struct remat_entry){-1, i}));
            plan.recomputed++;
        }
    }
    return plan;
}

/* Values that nobody reads before they are made again go, and with them a part of their kernels. */
static bool keeps_stores(const struct graph *before, const struct graph *after)
{
    for (ptrdiff_t i = 0; i < arrlen(before->nodes); i++)
        if (before->nodes[i]->kernel && !by_origin(after, before->nodes[i]->origin))
            return false;
    return true;
}

/* Any values made again at any place give the same results, a graph that verifies and reads back, and the flops that
 * the marks tell. */
static void check_plan(const struct module *module, const struct environment *environment, uint64_t seed,
                       struct totals *totals)
{
    struct target target = plain_target();
    struct arena *arena = arena_new();
    struct module *copy = module_copy(module, arena);
    struct graph *graph = copy->graphs[0];
    double before = flops(graph, &target, false);
    graph_number(graph);
    struct remat_problem *problem = remat_problem_new(graph, &target, arena);
    struct remat_plan plan = draw_plan(problem, seed);
    remat_apply(problem, &plan, &(struct pass_context){.limit = -1});
    verify_or_bug(copy, "after remat_apply");
    arena_bytes(graph, &target);
    CHECK(same_effects(module->graphs[0], graph, environment));
    if (keeps_stores(module->graphs[0], graph))
        CHECK(flops(graph, &target, false) <= before + flops(graph, &target, true) + 0.5);
    CHECK(keeps_text(copy, arena));
    totals->plans++;
    totals->recomputed += plan.recomputed;
    remat_plan_free(&plan);
    remat_problem_free(problem);
    module_free(copy);
    arena_free(arena);
}

static void check_random(uint64_t seed, struct totals *totals)
{
    struct arena *arena = arena_new();
    struct target target = plain_target();
    /* Operands of contractions need one type, which pass precision would see to. */
    struct random_options options = {.halves = seed % 2, .elements = 200};
    options.without = options.halves ? 1u << CLASS_CONTRACTION : 0;
    struct module *module = random_module(arena, seed, &options);
    struct environment *environment = environment_new();
    random_fill(environment, module, seed);
    struct pass_context context = {.target = &target, .limit = -1, .debug_unfused = seed % 5 == 0};
    if (seed % 3 && random_gradients(module->graphs[0], 1))
        pass_gradients(module->graphs[0], &context);
    static void (*const passes[])(struct graph *, struct pass_context *) = {pass_cse, pass_dce, pass_fuse,
                                                                            pass_schedule};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        passes[i](module->graphs[0], &context);
    check_plan(module, environment, seed, totals);
    environment_free(environment);
    module_free(module);
    arena_free(arena);
}

/* ---- chains ---- */

/* A chain of products, and back: each gradient needs the value of its place and the one that came before. */
static struct module *chain(struct arena *arena, int length)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    fputs("variable \"w\" : f32[32,32] parameter\ngraph train {\n %x = input(\"x\") : f32[32,32]\n"
          " %w = read(\"w\")\n %y0 = neg(%x) kernel 1\n",
          out);
    for (int i = 1; i <= length; i++)
        fprintf(out, " %%y%d = matmul(%%y%d, %%w) kernel %d\n", i, i - 1, i + 1);
    fprintf(out, " %%d%d = neg(%%y%d) kernel %d backward\n", length, length, length + 2);
    for (int i = length - 1; i >= 0; i--)
        fprintf(out, " %%d%d = mul(%%d%d, %%y%d) kernel %d backward\n", i, i + 1, i, 2 * length + 2 - i);
    fprintf(out, " %%o = output(%%d0, \"o\") kernel %d\n}\n", 2 * length + 3);
    arena_stream_close(out);
    struct module *module = read_module(arena, text);
    free(text);
    return module;
}

/* Where all is made again from the values that stay, a chain of n in memory for a few square roots of n repeats no
 * product more than a few times. */
static void check_chain(int length, int values, int most)
{
    const int64_t value = 32 * 32 * 4;
    struct arena *arena = arena_new();
    struct target target = plain_target();
    struct module *module = chain(arena, length);
    struct module *before = module_copy(module, arena);
    struct graph *graph = module->graphs[0];
    struct environment *environment = environment_new();
    random_fill(environment, module, 3);
    CHECK(arena_bytes(graph, &target) >= length * value);
    struct pass_context context = {.target = &target, .limit = -1, .budget.bytes = values * value};
    pass_remat(graph, &context);
    diagnostics_print(module->diagnostics, stderr);
    CHECK(!diagnostics_errors(module->diagnostics) && arena_bytes(graph, &target) <= values * value);
    CHECK(same_effects(before->graphs[0], graph, environment));
    int again = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        again += graph->nodes[i]->again > 0;
    printf("chain of %d in %d values: %d made again\n", length, values, again);
    CHECK(again >= length - values && again <= most);
    environment_free(environment);
    module_free(module);
    module_free(before);
    arena_free(arena);
}

int main(void)
{
    struct totals totals = {0};
    check_by_hand();
    check_refusal();
    check_alone();
    for (uint64_t seed = 1; seed <= GRAPHS; seed++)
        check_random(seed, &totals);
    printf("%d plans, %d values made again\n", totals.plans, totals.recomputed);
    CHECK(totals.recomputed > 10 * totals.plans);
    check_chain(16, 12, 16);
    check_chain(100, 30, 200);
    check_chain(100, 15, 300);
    return check_result();
}
