/* `castor explain`: rule, where a type came from, casts, bytes; and a name that is none. */
#include "passes/explain.h"
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static const char network[] = "variable \"w\" : f32[6,6] parameter\n"
                              "graph train {\n"
                              "  %x = input(\"x\") : f32[4,6]\n"
                              "  %w = read(\"w\") : f32[6,6] in \"fc1:linear\"\n"
                              "  %fc1.y = matmul(%x, %w) : f32[4,6] @\"m.net\":3:7-9 in \"fc1:linear\" #77\n"
                              "  %s = mul(%fc1.y, %fc1.y) : f32[4,6]\n"
                              "  %t = abs(%s) : f32[4,6]\n"
                              "  %n = write(%w, \"w\") : f32[6,6]\n"
                              "  %o = output(%t, \"t\") : f32[4,6]\n"
                              "}\n";

static char *explain(struct arena *arena, struct diagnostics *diagnostics, const char *name)
{
    struct module *module = parse_module(arena, diagnostics, "test.ir", network);
    struct pass_context context = {.limit = -1};
    struct target target = {.bandwidth = 1e9};
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        target.storage[element] = element;
    target.flops[ELEMENT_F16] = 1e9;
    target.flops[ELEMENT_F32] = 1e8;
    struct policy *policy = policy_load(arena, diagnostics, "autocast", ELEMENT_NONE, (struct span){0});
    context.policy = policy;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        pass_precision(module->graphs[i], &context);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        pass_casts(module->graphs[i], &context);
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool found = explain_node(module, policy, &target, name, out);
    fclose(out);
    CHECK(found == (diagnostics_errors(diagnostics) == 0));
    module_free(module);
    return text;
}

static void check_story(const char *name, const char *const *parts)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    char *text = explain(arena, diagnostics, name);
    for (; *parts; parts++) {
        check_count++;
        if (!strstr(text, *parts))
            CHECK_TEXT(text, *parts);
    }
    free(text);
    arena_free(arena);
}

int main(void)
{
    check_story("fc1.y",
                (const char *[]){"fc1.y = matmul : f16[4,6], forward, graph train\n", "written at   m.net:3:7\n",
                                 "in           fc1:linear\n", "half op matmul\n",
                                 "cast before  x f32 -> f16 (operand of fc1.y)\n",
                                 "cast before  w is read as its f16 copy w.f16", "bytes        48, in f32 96\n",
                                 "predicted    0.336 us in f16, 2.98 us in f32 (multiplied and moved once)\n", NULL});
    check_story("#77", (const char *[]){"fc1.y = matmul", NULL});
    check_story("t", (const char *[]){"default follow: as s\n", "as           s = mul : f16, ",
                                      "as           fc1.y = matmul : f16, ", "half op matmul\n",
                                      "cast after   f16 -> f32 (outputs are f32)\n", NULL});
    check_story("s", (const char *[]){"casts        none around it\n", NULL});

    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    free(explain(arena, diagnostics, "fc1.z"));
    CHECK(diagnostics_errors(diagnostics) == 1);
    arena_free(arena);
    return check_result();
}
