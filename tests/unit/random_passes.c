/* simplify, cse and dce keep every bit of every output and write, alone and together, on random graphs; and the
 * gradients of random graphs are valid graphs that these passes keep as well. */
#include "check.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/rewrite.h"
#include "random_graph.h"

#include <math.h>
#include <stb/stb_ds.h>

enum { GRAPHS = 300, PASSES_MAX = 4 };

typedef void pass_function(struct graph *graph, struct pass_context *context);

static pass_function *const sequences[][PASSES_MAX] = {
    {pass_simplify}, {pass_cse}, {pass_dce}, {pass_simplify, pass_cse, pass_simplify, pass_dce}};

/* True for graphs in which simplify may keep a -0 that the evaluator makes 0 by adding it to nothing. */
static bool sums_single_elements(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op == OP_sum && reduced_elements(node) == 1)
            return true;
        if (node->op == OP_cumsum && node->type.shape.dimension[node->attributes->axis] == 1)
            return true;
    }
    return false;
}

/* Equal bits; any NaN equals any other. */
static bool same_values(const struct tensor *a, const struct tensor *b, bool signed_zeros)
{
    if (a->element != b->element || !shape_equal(&a->shape, &b->shape))
        return false;
    for (int64_t i = 0; i < shape_elements(&a->shape); i++) {
        double x = a->values[i], y = b->values[i];
        if (isnan(x) ? !isnan(y) : x != y || (signed_zeros && signbit(x) != signbit(y)))
            return false;
    }
    return true;
}

static const struct tensor *effect(const struct evaluation *evaluation, const struct node *node)
{
    return node->op == OP_output ? evaluation_output(evaluation, node->attributes->symbol)
                                 : evaluation_write(evaluation, node->attributes->symbol);
}

static void check_same(const struct graph *before, const struct graph *after, const struct environment *environment,
                       uint64_t seed)
{
    bool signed_zeros = !sums_single_elements(before);
    struct evaluation *wanted = evaluate_graph(before, environment, EVALUATE_ROUNDED);
    struct evaluation *got = evaluate_graph(after, environment, EVALUATE_ROUNDED);
    for (ptrdiff_t i = 0; i < arrlen(before->nodes); i++) {
        const struct node *node = before->nodes[i];
        if (!op_is(node->op, CLASS_EFFECT))
            continue;
        const struct tensor *value = effect(got, node);
        bool same = value && same_values(evaluation_value(wanted, node), value, signed_zeros);
        CHECK(same);
        if (!same)
            fprintf(stderr, "seed %llu: %s differs\n", (unsigned long long)seed, node->attributes->symbol);
    }
    evaluation_free(wanted);
    evaluation_free(got);
}

/* Runs each sequence on a copy. Gives the number of nodes that the last one left. */
static ptrdiff_t check_sequences(const struct module *module, struct environment *environment, uint64_t seed)
{
    ptrdiff_t left = 0;
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        struct module *copy = module_copy(module, module->arena);
        struct pass_context context = {.limit = -1};
        for (int k = 0; k < PASSES_MAX && sequences[i][k]; k++) {
            sequences[i][k](copy->graphs[0], &context);
            verify_or_bug(copy, "a pass");
        }
        check_same(module->graphs[0], copy->graphs[0], environment, seed);
        left = arrlen(copy->graphs[0]->nodes);
        module_free(copy);
    }
    return left;
}

static void check_gradients(struct module *module, struct environment *environment, uint64_t seed)
{
    if (!random_gradients(module->graphs[0], seed % 4 == 0 ? 2 : 1))
        return;
    pass_gradients(module->graphs[0], &(struct pass_context){.limit = -1});
    verify_or_bug(module, "pass gradients");
    check_sequences(module, environment, seed);
}

int main(void)
{
    ptrdiff_t before = 0, after = 0;
    for (uint64_t seed = 1; seed <= GRAPHS; seed++) {
        struct arena *arena = arena_new();
        struct random_options options = {.halves = seed % 2 == 1, .elements = 200};
        struct module *module = random_module(arena, seed, &options);
        struct environment *environment = environment_new();
        random_fill(environment, module, seed);
        before += arrlen(module->graphs[0]->nodes);
        after += check_sequences(module, environment, seed);
        check_gradients(module, environment, seed);
        environment_free(environment);
        module_free(module);
        arena_free(arena);
    }
    printf("%td nodes, %td after simplify, cse and dce\n", before, after);
    CHECK(after < before * 95 / 100);
    return check_result();
}
