/* DOT output: colours by precision, marked casts, clusters, tooltips with the reason; SVG where graphviz is. */
#include "ir/dot.h"
#include "check.h"
#include "ir/parse.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static const char text[] = "graph train {\n"
                           " %x = input(\"x\") : f32[2,3] in \"fc1:linear\"\n"
                           " %h = cast(%x) : f16[2,3] in \"fc1:linear/:relu\" why \"a.policy:1: half \\\"op\\\"\"\n"
                           " %b = cast(%x) : bf16[2,3] backward in \"fc1:linear\"\n"
                           " %c = constant(0.5) : f32[]\n"
                           " %d = reshape(%c) : f32[1,1]\n"
                           " %e = broadcast(%d) : f32[2,3]\n"
                           " %m = mul(%h, %e) : f16[2,3]\n"
                           " %o = output(%m, \"y\")\n"
                           " %p = output(%b, \"z\")\n"
                           "}\n";

static void contains(const char *picture, const char *part)
{
    if (!strstr(picture, part))
        CHECK_TEXT(picture, part);
    CHECK(strstr(picture, part));
}

static void check_dot(const struct graph *graph)
{
    char *picture;
    size_t size;
    FILE *out = open_memstream(&picture, &size);
    dot_graph(graph, out);
    fclose(out);
    contains(picture, "n1 [shape=hexagon, fillcolor=\"#ffd8a8\", color=\"#e03131\"");
    contains(picture, "n2 [shape=hexagon, fillcolor=\"#d8f5a2\"");
    contains(picture, "why \\\"a.policy:1: half \\\\\\\"op");
    contains(picture, "label=\"fc1: linear\"");
    contains(picture, "label=\"relu\"");
    contains(picture, "label=\"backward\"");
    contains(picture, "label=\"mul 0.5\\nm\\nf16[2,3]\"");
    contains(picture, "n0 -> n1 ");
    contains(picture, "n1 -> n6 ");
    CHECK(!strstr(picture, "n3 "));
    free(picture);
}

/* Under a forward pass with a contraction, the update is one box; the scale and half copies stay out of it. */
static const char step[] = "graph train {\n"
                           " %x = input(\"x\") : f16[2,3]\n"
                           " %w = input(\"w\") : f16[3,4]\n"
                           " %m = matmul(%x, %w) : f32[2,4] in \"fc1:linear\"\n"
                           " %a_name_too_long.inner = neg(%m) : f32[2,4] in \"fc1:linear\"\n"
                           " %o = output(%a_name_too_long.inner, \"y\")\n"
                           " %s = reshape(%m) : f32[8] update in \":sgd\"\n"
                           " %t = neg(%s) : f32[8] update in \":sgd\"\n"
                           " %u = neg(%t) : f32[8] update in \":sgd\"\n"
                           " %h = cast(%u) : f16[8] update\n"
                           " %v = write(%u, \"v\") : f32[8] update\n"
                           " %c = write(%h, \"c\") : f16[8] update\n"
                           "}\n";

static void check_step(const struct graph *graph)
{
    char *picture;
    size_t size;
    FILE *out = open_memstream(&picture, &size);
    dot_graph(graph, out);
    fclose(out);
    contains(picture, "n2 [shape=box3d, fillcolor=\"#ffd8a8:#d0ebff\"");
    contains(picture, "label=\"matmul\\nm\\nf16 products, f32[2,4]\"");
    contains(picture, "label=\"neg\\ninner\\n");
    contains(picture, "n9 [shape=folder");
    contains(picture, "label=\"update: sgd\\n");
    contains(picture, "n2 -> n9 ");
    contains(picture, "n9 -> n8 ");
    contains(picture, "n8 -> n10 ");
    CHECK(!strstr(picture, "\nn5 ") && !strstr(picture, "\nn6 ") && !strstr(picture, "\nn7 "));
    free(picture);
}

static void check_svg(const struct graph *graph)
{
    char *picture;
    size_t size;
    FILE *out = open_memstream(&picture, &size);
    const char *problem = dot_svg(graph, out);
    fclose(out);
    if (problem)
        CHECK(strstr(problem, "graphviz"));
    else
        contains(picture, "</svg>");
    free(picture);
    const char *path_now = getenv("PATH");
    char *path = strdup(path_now ? path_now : "");
    setenv("PATH", "/nonexistent", 1);
    out = fopen("/dev/null", "w");
    problem = dot_svg(graph, out);
    fclose(out);
    CHECK(problem && strstr(problem, "graphviz"));
    setenv("PATH", path, 1);
    free(path);
}

int main(void)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "dot.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (module) {
        check_dot(module->graphs[0]);
        check_svg(module->graphs[0]);
    }
    module_free(module);
    module = parse_module(arena, diagnostics, "step.ir", step);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (module)
        check_step(module->graphs[0]);
    module_free(module);
    arena_free(arena);
    return check_result();
}
