/* Golden cases of rewriting passes: the body of a graph before, and what must be left of it. Names, origins and
 * places in the source don't count, the nodes and their order do. */
#ifndef CASTOR_TESTS_REWRITE_CASE_H
#define CASTOR_TESTS_REWRITE_CASE_H

#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "unit/check.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

typedef void pass_function(struct graph *graph, struct pass_context *context);

/* A graph of one module from its body, in which x, y, z are f32[4,6] inputs and p is a bool[4,6] one. */
static struct module *case_parse(struct arena *arena, const char *body)
{
    const char *text = arena_printf(arena,
                                    "variable \"v\" : f32[4,6] parameter\n"
                                    "graph g {\n"
                                    "  %%x = input(\"x\") : f32[4,6]\n"
                                    "  %%y = input(\"y\") : f32[4,6]\n"
                                    "  %%z = input(\"z\") : f32[4,6]\n"
                                    "  %%p = input(\"p\") : bool[4,6]\n"
                                    "%s}\n",
                                    body);
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "case.ir", text);
    if (!module)
        diagnostics_print(diagnostics, stderr);
    return module;
}

/* The text of the live nodes without names, origins, spans and scopes. */
static char *case_text(struct module *module)
{
    struct graph *graph = module->graphs[0];
    struct pass_context all = {.limit = -1};
    pass_dce(graph, &all);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        node->name = NULL;
        node->origin = (uint32_t)i + 1;
        node->forward = 0;
        node->scope = "";
        node->span = (struct span){0};
    }
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_graph(graph, out);
    fclose(out);
    return text;
}

/* Checks that the passes (up to NULL) make `after` of `before`, with `limit` rewrites allowed (-1: all). */
static void check_rewrite(const char *before, const char *after, int64_t limit, pass_function *const *passes)
{
    struct arena *arena = arena_new();
    struct module *module = case_parse(arena, before), *wanted = case_parse(arena, after);
    CHECK(module && wanted);
    if (!module || !wanted)
        return;
    struct pass_context context = {.limit = limit};
    for (; *passes; passes++)
        (*passes)(module->graphs[0], &context);
    char *got_text = case_text(module), *wanted_text = case_text(wanted);
    CHECK_TEXT(got_text, wanted_text);
    free(got_text);
    free(wanted_text);
    module_free(module);
    module_free(wanted);
    arena_free(arena);
}

#endif
