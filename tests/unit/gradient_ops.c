/* Every differentiable op of the table against central differences, first and second order. An op of the table that
 * no case below uses is a failure. */
#include "../gradient_check.h"
#include "ir/parse.h"

enum order { FIRST, SECOND };

/* The body of a graph that ends in %y. Inputs are drawn from low … high. */
static const struct {
    const char *body;
    double low, high;
    enum order order;
} cases[] = {
    {"%a = input(\"a\") : f32[3,4]\n %b = cast(%a) : f64[3,4]\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[]\n %b = neg(%a)\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[5]\n %b = abs(%a)\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,1]\n %y = sqrt(%a)\n", 0.2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,1]\n %y = rsqrt(%a)\n", 0.2, 2, SECOND},
    {"%a = input(\"a\") : f32[1,7]\n %y = exp(%a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = expm1(%a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = log(%a)\n", 0.2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = log1p(%a)\n", -0.8, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = sin(%a)\n", -4, 4, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = cos(%a)\n", -4, 4, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = tanh(%a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = sigmoid(%a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %y = erf(%a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[7]\n %b = input(\"b\") : f32[7]\n %c = add(%a, %b)\n %d = sub(%a, %c)\n"
     " %e = sub(%c, %b)\n %f = mul(%d, %e)\n %y = mul(%f, %a)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3]\n %b = input(\"b\") : f32[2,3]\n %y = div(%a, %b)\n", 0.5, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3]\n %b = input(\"b\") : f32[2,3]\n %y = pow(%a, %b)\n", 0.5, 2, SECOND},
    {"%a = input(\"a\") : f32[3]\n %k = constant(3) : f32[]\n %r = reshape(%k) : f32[1]\n"
     " %b = broadcast(%r) : f32[3]\n %y = pow(%a, %b)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[]\n %b = constant(2) : f32[]\n %y = pow(%a, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[]\n %b = constant(1) : f32[]\n %y = pow(%a, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[]\n %b = constant(0) : f32[]\n %y = pow(%a, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[]\n %b = constant(-0.5) : f32[]\n %y = pow(%a, %b)\n", 0.5, 2, SECOND},
    {"%a = input(\"a\") : f32[9]\n %b = input(\"b\") : f32[9]\n %c = max(%a, %b)\n %d = min(%a, %b)\n"
     " %e = mul(%c, %d)\n %y = mul(%e, %c)\n",
     -2, 2, SECOND},
    {"%p = input(\"p\") : bool[9]\n %a = input(\"a\") : f32[9]\n %b = input(\"b\") : f32[9]\n"
     " %c = where(%p, %a, %b)\n %y = mul(%c, %a)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[4]\n %b = input(\"b\") : f32[4]\n %c = input(\"c\") : f32[4]\n %y = fma(%a, %b, %c)\n",
     -2, 2, SECOND},
    /* reductions */
    {"%a = input(\"a\") : f32[3,4,2]\n %b = mul(%a, %a)\n %y = sum(%b, axes=[0,2])\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,4]\n %y = prod(%a, axes=[1])\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[5,3]\n %k = input(\"k\", classes=2) : i32[5,3]\n %b = mul(%a, %k)\n"
     " %y = prod(%b, axes=[0])\n",
     -2, 2, FIRST},
    {"%a = input(\"a\") : f32[3,4,2]\n %b = reduce_max(%a, axes=[0,2])\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,300]\n %b = reduce_min(%a, axes=[1])\n %y = mul(%b, %b)\n", -2, 2, FIRST},
    {"%a = input(\"a\") : f32[2,5]\n %b = reduce_min(%a, axes=[1])\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,4]\n %b = m2(%a, axes=[0])\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,1,2]\n %y = m2(%a, axes=[0,1,2])\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,4]\n %b = cumsum(%a, axis=1)\n %c = cumsum(%b, axis=0, reverse)\n"
     " %y = mul(%c, %b)\n",
     -2, 2, SECOND},
    /* movement */
    {"%a = input(\"a\") : f32[3,4]\n %b = reshape(%a) : f32[2,6]\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,1,2,1]\n %b = broadcast(%a) : f32[3,2,2,4]\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3,4]\n %b = permute(%a, permutation=[2,0,1])\n %c = mul(%b, %b)\n"
     " %y = permute(%c, permutation=[1,0,2])\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[6,7,2]\n %b = slice(%a, low=[1,0,1], high=[6,7,2], step=[2,3,1])\n %y = mul(%b, %b)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[5]\n %b = slice(%a, low=[3], high=[4], step=[9])\n %y = mul(%b, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3]\n %b = slice(%a, low=[2], high=[2])\n %y = mul(%b, %b)\n", -2, 2, FIRST},
    {"%a = input(\"a\") : f32[2,3]\n %b = pad(%a, low=[0,2], high=[1,0], value=1.5)\n %y = mul(%b, %b)\n", -2, 2,
     SECOND},
    {"%a = input(\"a\") : f32[2,3]\n %b = flip(%a, axes=[1])\n %y = mul(%b, %a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3]\n %b = input(\"b\") : f32[2,1]\n %c = concat(%a, %b, %a, axis=1)\n"
     " %y = mul(%c, %c)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,5,6]\n %b = window(%a, kernel=[3,2], stride=[2,1], pad_low=[1,0], pad_high=[1,2],"
     " value=0.5)\n %y = mul(%b, %b)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[9]\n %b = window(%a, kernel=[2], stride=[3], dilation=[2])\n %y = mul(%b, %b)\n", -2, 2,
     SECOND},
    {"%a = input(\"a\") : f32[3,3,2,2]\n %b = fold(%a, kernel=[2,2], stride=[1,1], pad_low=[1,0], pad_high=[0,1])"
     " : f32[3,3]\n %y = mul(%b, %b)\n",
     -2, 2, SECOND},
    /* gather: repeated indices add up */
    {"%t = input(\"t\") : f32[4,3]\n %i = input(\"i\", classes=4) : i32[2,3]\n %g = gather(%t, %i, axis=0)\n"
     " %y = mul(%g, %g)\n",
     -2, 2, SECOND},
    {"%t = input(\"t\") : f32[2,3,2]\n %i = input(\"i\", classes=3) : i32[5]\n %g = gather(%t, %i, axis=1)\n"
     " %y = mul(%g, %g)\n",
     -2, 2, SECOND},
    {"%t = input(\"t\") : f32[2,3,2]\n %i = iota(axes=[0]) : i32[2]\n %g = gather(%t, %i, axis=1)\n"
     " %y = mul(%g, %g)\n",
     -2, 2, FIRST},
    {"%u = input(\"u\") : f32[6,2]\n %i = input(\"i\", classes=3) : i32[6]\n"
     " %s = scatter_add(%u, %i, axis=0) : f32[3,2]\n %y = mul(%s, %s)\n",
     -2, 2, SECOND},
    /* contractions */
    {"%a = input(\"a\") : f32[2,3]\n %b = input(\"b\") : f32[3,4]\n %y = matmul(%a, %b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,2]\n %b = input(\"b\") : f32[3,4]\n %y = matmul(%a, %b, transpose_a)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3]\n %b = input(\"b\") : f32[1,3]\n %y = matmul(%a, %b, transpose_b)\n", -2, 2, SECOND},
    {"%a = input(\"a\") : f32[2,3,2]\n %b = input(\"b\") : f32[2,4,3]\n"
     " %y = matmul(%a, %b, transpose_a, transpose_b)\n",
     -2, 2, SECOND},
    {"%a = input(\"a\") : f32[3,3]\n %t = permute(%a, permutation=[1,0])\n %y = matmul(%a, %t)\n", -2, 2, SECOND},
    {"%x = input(\"x\") : f32[2,2,5,4]\n %w = input(\"w\") : f32[3,2,3,2]\n"
     " %y = conv(%x, %w, stride=[2,1], pad_low=[1,0], pad_high=[1,1])\n",
     -2, 2, SECOND},
    {"%x = input(\"x\") : f32[1,4,6]\n %w = input(\"w\") : f32[4,2,2]\n"
     " %y = conv(%x, %w, stride=[2], dilation=[2], groups=2)\n",
     -2, 2, SECOND},
    {"%w = input(\"w\") : f32[2,1,2,2]\n %z = input(\"z\") : f32[1,2,2,2]\n"
     " %y = conv_data(%w, %z, stride=[2,2], pad_low=[1,1], pad_high=[0,0], groups=2) : f32[1,2,4,3]\n",
     -2, 2, SECOND},
    {"%x = input(\"x\") : f32[2,1,4,3]\n %z = input(\"z\") : f32[2,2,3,2]\n"
     " %y = conv_weight(%x, %z) : f32[2,1,2,2]\n",
     -2, 2, SECOND},
    /* sums of products whose factors do not all change along the axes, as normalisation has them */
    {"%x = input(\"x\") : f32[3,2,4]\n %g = input(\"g\") : f32[1,2,1]\n %h = input(\"h\") : f32[1,2,1]\n"
     " %s = sum(%x, axes=[0,2])\n %n = constant(0.083) : f32[]\n %m = reshape(%n) : f32[1,1,1]\n"
     " %k = broadcast(%m) : f32[1,2,1]\n %u = mul(%s, %k)\n %ub = broadcast(%u) : f32[3,2,4]\n"
     " %z = sub(%x, %ub)\n %v = m2(%x, axes=[0,2])\n %r = rsqrt(%v)\n %rb = broadcast(%r) : f32[3,2,4]\n"
     " %q = mul(%z, %rb)\n %gb = broadcast(%g) : f32[3,2,4]\n %hb = broadcast(%h) : f32[3,2,4]\n"
     " %w = mul(%q, %gb)\n %e = add(%w, %hb)\n %y = tanh(%e)\n",
     0.5, 2, SECOND},
    {"%x = input(\"x\") : f32[4,3]\n %a = input(\"a\") : f32[1,3]\n %b = input(\"b\") : f32[1,1]\n"
     " %ab = broadcast(%a) : f32[4,3]\n %bb = broadcast(%b) : f32[4,3]\n %p = mul(%ab, %bb)\n %n = neg(%p)\n"
     " %q = mul(%x, %n)\n %y = mul(%q, %bb)\n",
     -2, 2, SECOND},
    /* a gradient inside the loss, unscaled: the evaluator's scale is 1 */
    {"%a = input(\"a\") : f32[3]\n %b = mul(%a, %a)\n %c = unscale(%b, 0)\n %y = mul(%c, %a)\n", -2, 2, SECOND},
    /* several uses of one value, and paths of different length */
    {"%a = input(\"a\") : f32[2,3]\n %e = exp(%a)\n %s = sum(%e, axes=[1])\n %b = broadcast(%s) : f32[2,3]\n"
     " %q = div(%e, %b)\n %l = log(%q)\n %y = mul(%l, %e)\n",
     -2, 2, SECOND},
};

static void run_case(const char *body, double low, double high, bool second, bool *covered)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "case.ir", arena_printf(arena, "graph g {\n %s}\n", body));
    CHECK(module);
    if (!module) {
        diagnostics_print(diagnostics, stderr);
        return;
    }
    struct graph *graph = module->graphs[0];
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        covered[graph->nodes[i]->op] = true;
    check_gradient(graph, arrlast(graph->nodes), low, high, second, body);
    module_free(module);
    arena_free(arena);
}

/* What the derivative is by definition where it is not unique, and where the plain formula gives NaN. */
static void check_value(const char *body, const double *x, int count, const double *wanted)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph g {\n %%x = input(\"x\") : f32[%d]\n %s}\n", count, body);
    struct module *module = parse_module(arena, diagnostics, "case.ir", text);
    CHECK(module);
    struct graph *graph = module->graphs[0];
    struct builder builder = {.graph = graph, .scope = ""};
    struct node *operands[] = {arrlast(graph->nodes), graph->nodes[0]};
    build_output(&builder, "d", build(&builder, OP_grad, operands, 2, NULL, NULL), OUTPUT_VALUE);
    pass_gradients(graph, &(struct pass_context){.limit = -1});
    struct environment *environment = environment_new();
    environment_set_input(environment, "x", &graph->nodes[0]->type, x);
    struct evaluation *evaluation = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    const struct tensor *d = evaluation_output(evaluation, "d");
    for (int i = 0; i < count; i++)
        CHECK(d->values[i] == wanted[i]);
    evaluation_free(evaluation);
    environment_free(environment);
    module_free(module);
    arena_free(arena);
}

static void special_places(void)
{
    const char *relu = " %z = constant(0) : f32[]\n %r = reshape(%z) : f32[1]\n %b = broadcast(%r) : f32[3]\n"
                       " %y = max(%x, %b)\n";
    check_value(relu, (double[]){-1, 0, 1}, 3, (double[]){0, 0, 1});
    /* a result in half lies beyond the bound that it is rounded from, or on one that it does not reach */
    const char *bound = " %z = constant(0.3) : f32[]\n %r = reshape(%z) : f32[1]\n %b = broadcast(%r) : f32[3]\n";
    char clipped[256];
    snprintf(clipped, sizeof clipped, "%s %%y = max(%%x, %%b) : f16[3]\n", bound);
    check_value(clipped, (double[]){0.2, 0.30001, 0.4}, 3, (double[]){0, 1, 1});
    snprintf(clipped, sizeof clipped, "%s %%y = min(%%x, %%b) : bf16[3]\n", bound);
    check_value(clipped, (double[]){0.2, 0.29999, 0.4}, 3, (double[]){1, 1, 0});
    check_value(" %y = reduce_max(%x, axes=[0])\n", (double[]){2, 3, 3}, 3, (double[]){0, 1, 0});
    check_value(" %y = reduce_min(%x, axes=[0])\n", (double[]){2, 2, 3}, 3, (double[]){1, 0, 0});
    check_value(" %y = prod(%x, axes=[0])\n", (double[]){2, 0, 3}, 3, (double[]){0, 6, 0});
    check_value(" %y = prod(%x, axes=[0])\n", (double[]){0, 0, 3}, 3, (double[]){0, 0, 0});
    check_value(" %y = abs(%x)\n", (double[]){-2, 0, 3}, 3, (double[]){-1, 0, 1});
    const char *square = " %z = constant(2) : f32[]\n %r = reshape(%z) : f32[1]\n %b = broadcast(%r) : f32[2]\n"
                         " %y = pow(%x, %b)\n";
    check_value(square, (double[]){0, -3}, 2, (double[]){0, -6});
    /* x^0 and 0^x */
    const char *nothing = " %b = sub(%x, %x)\n %y = pow(%x, %b)\n";
    check_value(nothing, (double[]){0}, 1, (double[]){0});
}

int main(void)
{
    bool covered[OP_COUNT] = {false};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(cases[i].body, cases[i].low, cases[i].high, cases[i].order == SECOND, covered);
    for (int op = 0; op < OP_COUNT; op++) {
        bool differentiable = strcmp(op_info((enum op)op)->gradient, "none") != 0;
        CHECK(!differentiable || covered[op]);
        if (differentiable && !covered[op])
            fprintf(stderr, "no gradient check for %s\n", op_info((enum op)op)->name);
    }
    special_places();
    return check_result();
}
