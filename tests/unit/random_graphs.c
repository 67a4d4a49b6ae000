/* Random graphs verify, print and parse back to the same text, evaluate to the same values after that, are finite for
 * the most part, and together hold every op of the table. */
#include "check.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "random_graph.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

enum { GRAPHS = 200 };

struct tally {
    int64_t values, finite;
    int seen[OP_COUNT];
    int halves, writes, outputs;
};

static char *module_text(const struct module *module)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_module(module, out);
    fclose(out);
    return text;
}

static void count(struct tally *tally, const struct node *node, const struct tensor *tensor)
{
    tally->seen[node->op]++;
    tally->halves += element_is_half(node->type.element);
    for (int64_t i = 0; i < shape_elements(&tensor->shape); i++) {
        tally->values++;
        tally->finite += isfinite(tensor->values[i]) != 0;
    }
}

static bool same_values(const struct tensor *a, const struct tensor *b)
{
    int64_t elements = shape_elements(&a->shape);
    return !elements || memcmp(a->values, b->values, sizeof *a->values * (size_t)elements) == 0;
}

static void check_graph(uint64_t seed, struct tally *tally)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct random_options options = {.halves = seed % 2 == 1};
    struct module *module = random_module(arena, seed, &options);
    CHECK(verify_module(module, diagnostics));
    char *text = module_text(module);
    struct module *parsed = parse_module(arena, diagnostics, "random.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(parsed && verify_module(parsed, diagnostics));
    if (parsed) {
        char *again = module_text(parsed);
        CHECK_TEXT(again, text);
        struct environment *environment = environment_new();
        random_fill(environment, module, seed);
        struct evaluation *first = evaluate_graph(module->graphs[0], environment, EVALUATE_ROUNDED);
        struct evaluation *second = evaluate_graph(parsed->graphs[0], environment, EVALUATE_ROUNDED);
        for (ptrdiff_t i = 0; i < arrlen(module->graphs[0]->nodes); i++) {
            const struct node *node = module->graphs[0]->nodes[i];
            count(tally, node, evaluation_value(first, node));
            CHECK(same_values(evaluation_value(first, node), evaluation_value(second, parsed->graphs[0]->nodes[i])));
        }
        evaluation_free(first);
        evaluation_free(second);
        environment_free(environment);
        free(again);
        module_free(parsed);
    }
    free(text);
    module_free(module);
    arena_free(arena);
}

static void same_seed_same_graph(void)
{
    struct arena *arena = arena_new();
    struct module *one = random_module(arena, 7, NULL), *two = random_module(arena, 7, NULL);
    char *first = module_text(one), *second = module_text(two);
    CHECK_TEXT(first, second);
    free(first);
    free(second);
    module_free(one);
    module_free(two);
    arena_free(arena);
}

int main(void)
{
    struct tally tally = {0};
    for (uint64_t seed = 1; seed <= GRAPHS; seed++)
        check_graph(seed, &tally);
    for (int op = 0; op < OP_COUNT; op++) {
        bool marker = op_is((enum op)op, CLASS_MARKER) || op_is((enum op)op, CLASS_LOOP) || op == OP_argument;
        if (!tally.seen[op] && !marker)
            fprintf(stderr, "%s was never drawn\n", op_info((enum op)op)->name);
        CHECK(tally.seen[op] || marker);
    }
    CHECK(tally.finite > tally.values * 95 / 100);
    CHECK(tally.halves > GRAPHS && tally.seen[OP_write] > GRAPHS && tally.seen[OP_output] > GRAPHS);
    printf("%lld of %lld values finite\n", (long long)tally.finite, (long long)tally.values);
    same_seed_same_graph();
    return check_result();
}
