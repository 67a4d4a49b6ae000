/* Pass layout on a convolution stage, forward and backward, by the orders that it gives to named values. */
#include "check.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

enum { HASHES = 500 }; /* every table of stb_ds hashes in another way: the result must not depend on it */

static const char text[] = "variable \"w\" : f32[8,3,3,3] parameter\n"
                           "variable \"s\" : f32[8] parameter\n"
                           "graph g {\n"
                           " %image = input(\"image\") : u8[2,3,8,8]\n"
                           " %raw = input(\"raw\") : f32[2,3,8,8]\n"
                           " %dense = input(\"dense\") : f32[2,128]\n"
                           " %w = read(\"w\")\n"
                           " %s = read(\"s\")\n"
                           " %s1 = reshape(%s) : f32[1,8,1,1]\n"
                           " %scale = broadcast(%s1) : f32[2,8,8,8]\n"
                           " %x = cast(%image) : f32[2,3,8,8]\n"
                           " %y = conv(%x, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1])\n"
                           " %other = conv(%raw, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1])\n"
                           " %again = conv(%raw, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1])\n"
                           " %z = mul(%y, %scale)\n"
                           " %mean = sum(%y, axes=[0,2,3])\n"
                           " %rows = sum(%y, axes=[3])\n"
                           " %split = reshape(%z) : f32[2,8,4,2,4,2]\n"
                           " %pool = reduce_max(%split, axes=[3,5])\n"
                           " %p = reshape(%pool) : f32[2,8,4,4]\n"
                           " %turned = permute(%p, permutation=[0,2,3,1])\n"
                           " %flat = reshape(%p) : f32[2,128]\n"
                           " %twice = add(%flat, %dense)\n"
                           " %back = reshape(%twice) : f32[2,8,4,4]\n"
                           " %up = add(%back, %p)\n"
                           " %dy = add(%y, %other)\n"
                           " %dw = conv_weight(%x, %dy, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[8,3,3,3]\n"
                           " %dx = conv_data(%w, %dy, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : f32[2,3,8,8]\n"
                           " %o1 = output(%up, \"up\")\n"
                           " %o2 = output(%dx, \"dx\")\n"
                           "}\n";

static const struct {
    const char *name, *type;
} wanted[] = {{"x", "f32[2,3,8,8]{0,2,3,1}"},
              {"image", "u8[2,3,8,8]"},
              {"raw", "f32[2,3,8,8]"},
              {"w", "f32[8,3,3,3]"},
              {"y", "f32[2,8,8,8]{0,2,3,1}"},
              {"z", "f32[2,8,8,8]{0,2,3,1}"},
              {"scale", "f32[2,8,8,8]{0,2,3,1}"},
              {"mean", "f32[1,8,1,1]"},
              {"rows", "f32[2,8,8,1]{0,2,3,1}"},
              {"split", "f32[2,8,4,2,4,2]{0,2,3,4,5,1}"},
              {"p", "f32[2,8,4,4]{0,2,3,1}"},
              {"turned", "f32[2,4,4,8]"},
              {"flat", "f32[2,128]"},
              {"twice", "f32[2,128]"},
              {"up", "f32[2,8,4,4]{0,2,3,1}"},
              {"back", "f32[2,8,4,4]{0,2,3,1}"},
              {"dy", "f32[2,8,8,8]{0,2,3,1}"},
              {"dw", "f32[8,3,3,3]"},
              {"dx", "f32[2,3,8,8]{0,2,3,1}"},
              {"o1", "f32[2,8,4,4]"}};

static struct node *find(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0)
            return graph->nodes[i];
    fprintf(stderr, "no node %s\n", name);
    exit(1);
}

static struct module *laid_out(struct arena *arena, bool channels_last, int64_t limit)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "layout.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!module)
        exit(1);
    struct target target = {.name = "host", .channels_last = channels_last};
    struct pass_context context = {.target = &target, .limit = limit};
    pass_layout(module->graphs[0], &context);
    verify_or_bug(module, "after pass layout");
    return module;
}

/* Half copies of weights, in two graphs: only convolutions read %a; a sum too reads %b; %c is no copy. */
static void check_weights(enum language language, const char *wanted_a)
{
    static const char weights[] = "variable \"w\" : f32[8,4,3,3] parameter\n"
                                  "variable \"x.weight.f16\" : f16[8,4,3,3] copy of \"w\"\n"
                                  "variable \"y.weight.f16\" : f16[8,4,3,3] copy of \"w\"\n"
                                  "variable \"c\" : f16[8,4,3,3] parameter\n"
                                  "graph train {\n"
                                  " %x = input(\"x\") : f16[2,4,8,8]\n"
                                  " %dy = input(\"dy\") : f16[2,8,6,6]\n"
                                  " %w = read(\"w\")\n"
                                  " %a = read(\"x.weight.f16\")\n"
                                  " %b = read(\"y.weight.f16\")\n"
                                  " %c = read(\"c\")\n"
                                  " %yb = conv(%x, %b, kernel=[3,3])\n"
                                  " %ya = conv(%x, %a, kernel=[3,3])\n"
                                  " %yc = conv(%x, %c, kernel=[3,3])\n"
                                  " %dx = conv_data(%a, %dy, kernel=[3,3]) : f16[2,4,8,8]\n"
                                  " %half = cast(%w) : f16[8,4,3,3]\n"
                                  " %write = write(%half, \"x.weight.f16\")\n"
                                  " %o1 = output(%ya, \"ya\")\n"
                                  " %o2 = output(%yb, \"yb\")\n"
                                  " %o3 = output(%yc, \"yc\")\n"
                                  " %o4 = output(%dx, \"dx\")\n"
                                  "}\n"
                                  "graph eval {\n"
                                  " %a = read(\"x.weight.f16\")\n"
                                  " %b = read(\"y.weight.f16\")\n"
                                  " %two = add(%b, %b)\n"
                                  " %x = input(\"x\") : f16[2,4,8,8]\n"
                                  " %ya = conv(%x, %a, kernel=[3,3])\n"
                                  " %o1 = output(%two, \"two\")\n"
                                  " %o2 = output(%ya, \"ya\")\n"
                                  "}\n";
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "weights.ir", weights);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct target target = {.name = "test", .channels_last = true, .language = language};
    for (int64_t i = 0; i < 2; i++)
        pass_layout(module->graphs[i], &(struct pass_context){.target = &target, .limit = -1});
    verify_or_bug(module, "after pass layout");
    char buffer[TYPE_TEXT];
    CHECK_TEXT(type_format(&module_find_variable(module, "x.weight.f16")->type, buffer, sizeof buffer), wanted_a);
    CHECK_TEXT(type_format(&find(module->graphs[0], "a")->type, buffer, sizeof buffer), wanted_a);
    CHECK_TEXT(type_format(&find(module->graphs[0], "write")->type, buffer, sizeof buffer), wanted_a);
    CHECK_TEXT(type_format(&find(module->graphs[1], "a")->type, buffer, sizeof buffer), wanted_a);
    CHECK_TEXT(type_format(&find(module->graphs[1], "b")->type, buffer, sizeof buffer), "f16[8,4,3,3]");
    CHECK_TEXT(type_format(&find(module->graphs[0], "c")->type, buffer, sizeof buffer), "f16[8,4,3,3]");
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    check_weights(LANGUAGE_C, "f16[8,4,3,3]");
    for (int i = 0; i < HASHES && !check_failures; i++)
        check_weights(LANGUAGE_CUDA, "f16[8,4,3,3]{0,2,3,1}");
    struct arena *arena = arena_new();
    struct module *module = laid_out(arena, true, -1);
    const struct graph *graph = module->graphs[0];
    char buffer[TYPE_TEXT];
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        CHECK_TEXT(type_format(&find(graph, wanted[i].name)->type, buffer, sizeof buffer), wanted[i].type);
    /* The batch field is copied into the convolution's order, once for both. */
    const struct node *copy = find(graph, "other")->operands[0];
    CHECK(copy->op == OP_reshape && copy->operands[0] == find(graph, "raw"));
    CHECK_TEXT(type_format(&copy->type, buffer, sizeof buffer), "f32[2,3,8,8]{0,2,3,1}");
    CHECK(find(graph, "again")->operands[0] == copy);
    module_free(module);

    for (int limited = 0; limited < 2; limited++) {
        module = laid_out(arena, limited, limited ? 0 : -1);
        graph = module->graphs[0];
        for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
            CHECK(type_row_major(&graph->nodes[i]->type));
        module_free(module);
    }
    arena_free(arena);
    return check_result();
}
