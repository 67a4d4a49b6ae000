/* Printing, parsing and verifying are linear: a graph of 100,000 nodes takes a fraction of a second, and ten times the
 * nodes take about ten times as long. */
#include "check.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"

#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static struct module *deep_module(struct arena *arena, int nodes)
{
    struct module *module = module_new(arena, diagnostics_new(arena), "deep");
    struct builder builder = {.graph = module_add_graph(module, "train"), .scope = ""};
    struct node *x = build_full(&builder, 1, ELEMENT_F32, &(struct shape){2, {4, 4}});
    for (int i = 0; i < nodes; i++) {
        builder.scope = arena_internf(arena, "layer.%d:block/:relu", i / 5);
        builder.span = (struct span){"deep.net", 1 + i / 5, 1, 9};
        x = i % 2 ? build_unary(&builder, OP_neg, x) : build_binary(&builder, OP_add, x, x);
        x->name = arena_intern(arena, i % 3 ? "hidden" : "y");
    }
    build_output(&builder, "y", x, OUTPUT_VALUE);
    return module;
}

/* Seconds for print, parse and verify, and whether nothing was lost. */
static double round_trip(int nodes)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = deep_module(arena, nodes);
    double start = now();
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_module(module, out);
    fclose(out);
    double printed = now();
    struct module *parsed = parse_module(arena, diagnostics, "deep.ir", text);
    double read = now();
    CHECK(parsed && verify_module(parsed, diagnostics));
    double end = now();
    printf("%d nodes: print %.3f s, parse %.3f s, verify %.3f s\n", nodes, printed - start, read - printed, end - read);
    free(text);
    module_free(parsed);
    module_free(module);
    arena_free(arena);
    return end - start;
}

int main(void)
{
    double tenth = round_trip(10000);
    double whole = round_trip(100000);
    CHECK(whole < 5);
    CHECK(whole < 30 * tenth + 0.05);
    return check_result();
}
