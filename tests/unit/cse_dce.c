/* Passes cse and dce, before and after. */
#include "../rewrite_case.h"

static const struct {
    const char *before, *after;
} merges[] = {
    {" %a = add(%x, %y)\n %b = add(%y, %x)\n %c = mul(%a, %b)\n %o = output(%c, \"o\", kind=value)\n",
     " %a = add(%x, %y)\n %c = mul(%a, %a)\n %o = output(%c, \"o\", kind=value)\n"},
    /* chains: what was equal only after its operands were merged */
    {" %a = exp(%x)\n %b = exp(%x)\n %c = sum(%a, axes=[1])\n %d = sum(%b, axes=[1])\n %e = sum(%b, axes=[0])\n"
     " %f = mul(%c, %d)\n %o = output(%f, \"o\", kind=value)\n %q = output(%e, \"q\", kind=value)\n",
     " %a = exp(%x)\n %c = sum(%a, axes=[1])\n %e = sum(%a, axes=[0])\n %f = mul(%c, %c)\n"
     " %o = output(%f, \"o\", kind=value)\n %q = output(%e, \"q\", kind=value)\n"},
    {" %s = constant(1) : i64[]\n %t = constant(1) : i64[]\n %a = random(%s, %s, key=0x5) : f32[4,6]\n"
     " %b = random(%t, %s, key=0x5) : f32[4,6]\n %c = random(%s, %s, key=0x6) : f32[4,6]\n %d = sub(%a, %b)\n"
     " %e = add(%d, %c)\n %o = output(%e, \"o\", kind=value)\n",
     " %s = constant(1) : i64[]\n %a = random(%s, %s, key=0x5) : f32[4,6]\n"
     " %c = random(%s, %s, key=0x6) : f32[4,6]\n %d = sub(%a, %a)\n %e = add(%d, %c)\n"
     " %o = output(%e, \"o\", kind=value)\n"},
    {" %a = read(\"v\") : f32[4,6]\n %b = read(\"v\") : f32[4,6]\n %c = sub(%a, %b)\n %w = write(%c, \"v\", gate=all)\n"
     " %o = output(%c, \"o\", kind=value)\n",
     " %a = read(\"v\") : f32[4,6]\n %c = sub(%a, %a)\n %w = write(%c, \"v\", gate=all)\n"
     " %o = output(%c, \"o\", kind=value)\n"},
};

/* Nodes that differ in type, pin, an attribute, the sign of a zero or the order of operands; and effects. */
static const char *const different[] = {
    " %a = exp(%x)\n %b = exp(%x) : f16[4,6]\n %c = mul(%a, %b)\n %o = output(%c, \"o\", kind=value)\n",
    " %a = exp(%x)\n %b = exp(%x) pin f32\n %c = mul(%a, %b)\n %o = output(%c, \"o\", kind=value)\n",
    " %a = cast(%x) : f16[4,6]\n %b = cast(%x, explicit) : f16[4,6]\n %c = mul(%a, %b)\n"
    " %o = output(%c, \"o\", kind=value)\n",
    " %a = matmul(%x, %y, transpose_b)\n %b = matmul(%y, %x, transpose_b)\n %c = mul(%a, %b)\n"
    " %o = output(%c, \"o\", kind=value)\n",
    " %a = sub(%x, %y)\n %b = sub(%y, %x)\n %c = mul(%a, %b)\n %o = output(%c, \"o\", kind=value)\n",
    " %a = constant(0) : f32[]\n %b = constant(-0) : f32[]\n %c = mul(%a, %b)\n"
    " %o = output(%c, \"o\", kind=value)\n",
    " %a = slice(%x, low=[0,0], high=[2,6])\n %b = slice(%x, low=[2,0], high=[4,6])\n %c = mul(%a, %b)\n"
    " %o = output(%c, \"o\", kind=value)\n",
    " %o = output(%x, \"o\", kind=value)\n %q = output(%x, \"q\", kind=value)\n %r = output(%x, \"o\", kind=value)\n",
};

static void test_dce(void)
{
    pass_function *const dce[] = {pass_dce, NULL};
    const char *body = " %a = exp(%x)\n %b = sin(%a)\n %w = write(%a, \"v\", gate=all)\n %s = add(%b, %b)\n";
    struct arena *arena = arena_new();
    struct module *module = case_parse(arena, body);
    pass_dce(module->graphs[0], &(struct pass_context){.limit = -1});
    CHECK(arrlen(module->graphs[0]->nodes) == 3);
    module_free(module);
    module = case_parse(arena, body);
    pass_dce(module->graphs[0], &(struct pass_context){.limit = 1});
    CHECK(arrlen(module->graphs[0]->nodes) == 7); /* y, z, p and b may go; s went */
    module_free(module);
    arena_free(arena);
    check_rewrite(body, " %a = exp(%x)\n %w = write(%a, \"v\", gate=all)\n", -1, dce);
}

/* A read built in a copy of the module, in an arena of its own, is the read that the copy came with. */
static void test_copy(void)
{
    struct arena *arena = arena_new(), *other = arena_new();
    struct module *module = case_parse(arena, " %a = read(\"v\") : f32[4,6]\n %o = output(%a, \"o\", kind=value)\n");
    struct module *copy = module_copy(module, other);
    struct graph *graph = copy->graphs[0];
    struct builder builder = {.graph = graph, .scope = ""};
    const struct variable *variable = module_find_variable(copy, "v");
    ptrdiff_t before = arrlen(graph->nodes);
    build_output(&builder, "q", build_read(&builder, variable), OUTPUT_VALUE);
    struct attributes *attributes = arena_copy(other, graph->nodes[before]->attributes, sizeof *attributes);
    attributes->symbol = arena_intern(other, "v");
    graph->nodes[before]->attributes = attributes;
    pass_cse(graph, &(struct pass_context){.limit = -1});
    CHECK(arrlen(graph->nodes) == before + 1);
    module_free(copy);
    module_free(module);
    arena_free(other);
    arena_free(arena);
}

/* 100,000 nodes, half of them equal to others, in time that a quadratic pass would not keep. */
static void test_linear(void)
{
    struct arena *arena = arena_new();
    struct module *module = module_new(arena, diagnostics_new(arena), "long");
    struct graph *graph = module_add_graph(module, "g");
    struct builder builder = {.graph = graph};
    struct type scalar = type_scalar(ELEMENT_F32);
    struct attributes input = {.symbol = "x"};
    struct node *y = build(&builder, OP_input, NULL, 0, &input, &scalar);
    struct node *first = build_unary(&builder, OP_exp, y);
    y = first;
    for (int i = 0; i < 50000; i++)
        y = build_binary(&builder, OP_add, build_unary(&builder, OP_exp, first), y);
    build_output(&builder, "o", y, OUTPUT_VALUE);
    struct pass_context context = {.limit = -1};
    pass_simplify(graph, &context);
    pass_cse(graph, &context);
    pass_dce(graph, &context);
    CHECK(arrlen(graph->nodes) == 50004);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    pass_function *const cse[] = {pass_cse, NULL};
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        check_rewrite(merges[i].before, merges[i].after, -1, cse);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++)
        check_rewrite(different[i], different[i], -1, cse);
    check_rewrite(merges[0].before, merges[0].before, 0, cse);
    test_dce();
    test_copy();
    test_linear();
    return check_result();
}
