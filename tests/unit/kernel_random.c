/* Generated kernels on random graphs: fused equals unfused bit for bit, and both agree with the evaluator. On the
 * simulated GPU the unfused ones stay on the host: so its kernels have the host's bits.
 * usage: test_kernel_random [first seed [graphs [steps [cuda]]]] */
#include "tests/kernel_cuda.h"
#include "tests/kernel_run.h"
#include "tests/random_graph.h"
#include "tests/unit/check.h"

#include "ir/print.h"
#include "passes/pass.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static struct graph *fused(const struct module *module, bool unfused)
{
    struct target target = kernel_run_target();
    struct pass_context context = {.target = &target, .limit = -1, .debug_unfused = unfused};
    struct graph *graph = module_copy(module, module->arena)->graphs[0];
    pass_dce(graph, &context);
    pass_fuse(graph, &context);
    return graph;
}

static const struct node *effect(const struct graph *graph, const struct node *like)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->origin == like->origin)
            return graph->nodes[i];
    return NULL;
}

static bool close_enough(double got, double wanted, double tolerance)
{
    if (isnan(wanted))
        return isnan(got);
    return got == wanted || fabs(got - wanted) <= tolerance * (1e-3 + fabs(wanted));
}

/* How many elements are not near the evaluator's. */
static int64_t far_off(const double *got, const struct tensor *wanted)
{
    int64_t count = 0;
    for (int64_t i = 0; i < shape_elements(&wanted->shape); i++)
        count += !close_enough(got[i], wanted->values[i], 2e-2);
    return count;
}

/* Of a graph's elements: where an operand lies at a step of its function, kernels may land on the other side. Of 500
 * graphs measured one had any, 2 of 5229. */
static const double off_at_most = 0.001;

static int64_t total_elements, total_off, total_graphs_off;

static void compare(struct kernel_batch *batch, int number, const struct graph *graph, struct kernel_batch *plain,
                    const struct graph *unfused, const struct evaluation *evaluation, const struct graph *original,
                    int seed)
{
    int64_t elements = 0, far = 0;
    (void)number;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (!op_is(node->op, CLASS_EFFECT))
            continue;
        double *a = kernel_batch_value(batch, node);
        int64_t count = shape_elements(&node->type.shape);
        int64_t different = kernel_batch_different(batch, node, plain, effect(unfused, node));
        if (different)
            fprintf(stderr, "seed %d: %s %s differs fused and unfused in %lld of %lld\n", seed, op_info(node->op)->name,
                    node->attributes->symbol, (long long)different, (long long)count);
        if (different && getenv("CASTOR_VERBOSE"))
            print_graph(original, stderr);
        CHECK(!different);
        int64_t off = far_off(a, evaluation_value(evaluation, effect(original, node)));
        if (off && getenv("CASTOR_VERBOSE"))
            fprintf(stderr, "seed %d: %s %s is off in %lld of %lld\n", seed, op_info(node->op)->name,
                    node->attributes->symbol, (long long)off, (long long)count);
        elements += count;
        far += off;
        free(a);
    }
    if ((double)far > off_at_most * (double)elements)
        fprintf(stderr, "seed %d: %lld of %lld elements are far from the evaluator's\n", seed, (long long)far,
                (long long)elements);
    CHECK((double)far <= off_at_most * (double)elements);
    total_elements += elements;
    total_off += far;
    total_graphs_off += far > 0;
}

int main(int argc, char **argv)
{
    int first = argc > 1 ? atoi(argv[1]) : 1, count = argc > 2 ? atoi(argv[2]) : 12;
    bool cuda = argc > 4 && strcmp(argv[4], "cuda") == 0;
    if (cuda && !kernel_cuda_possible())
        return 77;
    struct target host = kernel_run_target(), target = cuda ? kernel_cuda_target() : host;
    struct arena *arena = arena_new();
    struct kernel_batch *batch = kernel_batch_new(&target), *plain = kernel_batch_new(&host);
    struct module **modules = ARENA_ARRAY(arena, struct module *, count);
    struct graph **a = ARENA_ARRAY(arena, struct graph *, count), **b = ARENA_ARRAY(arena, struct graph *, count);
    for (int i = 0; i < count; i++) {
        struct random_options options = {.halves = i % 2, .without = 1u << CLASS_CONTRACTION};
        options.steps = argc > 3 ? atoi(argv[3]) : 0;
        modules[i] = random_module(arena, (uint64_t)first + (uint64_t)i, &options);
        kernel_batch_add(batch, a[i] = fused(modules[i], false));
        kernel_batch_add(plain, b[i] = fused(modules[i], true));
    }
    CHECK(kernel_batch_compile(batch, "-O0 '-DINLINE=static inline'") &&
          kernel_batch_compile(plain, "-O0 '-DINLINE=static inline'"));
    for (int i = 0; i < count && !check_failures; i++) {
        struct environment *environment = environment_new();
        random_fill(environment, modules[i], (uint64_t)first + (uint64_t)i);
        graph_number(modules[i]->graphs[0]);
        struct evaluation *evaluation = evaluate_graph(modules[i]->graphs[0], environment, EVALUATE_ROUNDED);
        CHECK(kernel_batch_run(batch, i, environment));
        CHECK(kernel_batch_run(plain, i, environment));
        compare(batch, i, a[i], plain, b[i], evaluation, modules[i]->graphs[0], first + i);
        evaluation_free(evaluation);
        environment_free(environment);
    }
    fprintf(stderr, "%lld of %lld elements far from the evaluator's, in %lld graphs\n", (long long)total_off,
            (long long)total_elements, (long long)total_graphs_off);
    kernel_batch_free(batch);
    kernel_batch_free(plain);
    for (int i = 0; i < count; i++) {
        module_free(a[i]->module);
        module_free(b[i]->module);
        module_free(modules[i]);
    }
    arena_free(arena);
    return check_result();
}
