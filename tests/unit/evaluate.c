/* The reference evaluator, every op against values worked by hand. */
#include "ir/evaluate.h"
#include "check.h"
#include "ir/parse.h"
#include "ir/philox.h"

#include <math.h>
#include <stb/stb_ds.h>

enum { VALUES_MAX = 64 };

/* Inputs a, b and c of a small graph, and what its output "y" must be. */
struct example {
    const char *body;
    double a[VALUES_MAX], b[VALUES_MAX], c[VALUES_MAX], y[VALUES_MAX];
};

/* What the loops of the examples run: h c + x is carried on, h + p stacked. */
static const char turn[] = "body turn {\n"
                           "%h = input(\"0\") : f64[2]\n%x = input(\"1\") : f64[2]\n"
                           "%p = input(\"2\") : f64[2]\n%c = input(\"4\") : f64[2]\n"
                           "%m = mul(%h, %c)\n%s = add(%m, %x)\n%q = add(%h, %p)\n"
                           "%n = output(%s, \"0\")\n%t = output(%q, \"1\")\n}\n";

static bool covered[OP_COUNT];

static bool same(double got, double wanted)
{
    return isnan(wanted) ? isnan(got) : got == wanted || fabs(got - wanted) <= 1e-12 * fabs(wanted);
}

static void check_values(const char *body, const struct tensor *tensor, const double *wanted, int64_t count)
{
    CHECK(shape_elements(&tensor->shape) == count);
    for (int64_t i = 0; i < count; i++) {
        if (!same(tensor->values[i], wanted[i]))
            fprintf(stderr, "%s\n  element %d is %.17g, not %.17g\n", body, (int)i, tensor->values[i], wanted[i]);
        CHECK(same(tensor->values[i], wanted[i]));
    }
}

static void check_example(const struct example *example)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    char *text = arena_printf(arena, "variable \"v\" : f16[2] state\ngraph g {\n%s\n%%o = output(%%y, \"y\")\n}\n%s",
                              example->body, turn);
    struct module *module = parse_module(arena, diagnostics, example->body, text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct graph *graph = module->graphs[0];
    struct environment *environment = environment_new();
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        covered[node->op] = true;
        const char *symbol = node->attributes->symbol;
        if (node->op == OP_input)
            environment_set_input(environment, symbol, &node->type,
                                  *symbol == 'a'   ? example->a
                                  : *symbol == 'b' ? example->b
                                                   : example->c);
        if (node->op == OP_read)
            environment_set_variable(environment, symbol, &node->type, example->a);
        if (node->op == OP_argument)
            environment_set_argument(environment, node->attributes->index, &node->type, example->a);
    }
    struct evaluation *evaluation = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    const struct tensor *y = evaluation_output(evaluation, "y");
    CHECK(y && shape_elements(&y->shape) <= VALUES_MAX);
    if (y)
        check_values(example->body, y, example->y, shape_elements(&y->shape));
    evaluation_free(evaluation);
    environment_free(environment);
    module_free(module);
    arena_free(arena);
}

#define A(type) "%a = input(\"a\") : " type "\n"
#define B(type) "%b = input(\"b\") : " type "\n"
#define C(type) "%c = input(\"c\") : " type "\n"
#define UNARY(op) A("f64[4]") "%y = " op "(%a)"
#define BINARY(op) A("f64[4]") B("f64[4]") "%y = " op "(%a, %b)"

static const struct example pointwise_examples[] = {
    {A("f32[3]") "%y = cast(%a) : f16[3]", {2049, 0.1, 1e6}, {0}, {0}, {2048, 0.0999755859375, INFINITY}},
    {A("f32[3]") "%y = cast(%a) : i32[3]", {2.9, -2.9, NAN}, {0}, {0}, {2, -2, 0}},
    {UNARY("neg"), {1, -2, 0, INFINITY}, {0}, {0}, {-1, 2, 0, -INFINITY}},
    {UNARY("abs"), {1, -2, 0, -INFINITY}, {0}, {0}, {1, 2, 0, INFINITY}},
    {UNARY("sign"), {3, -2, 0, -INFINITY}, {0}, {0}, {1, -1, 0, -1}},
    {UNARY("floor"), {1.5, -1.5, 2, -0.1}, {0}, {0}, {1, -2, 2, -1}},
    {UNARY("ceil"), {1.5, -1.5, 2, 0.1}, {0}, {0}, {2, -1, 2, 1}},
    {UNARY("round"), {0.5, 1.5, 2.5, -1.2}, {0}, {0}, {0, 2, 2, -1}},
    {UNARY("sqrt"), {4, 0, -1, 2.25}, {0}, {0}, {2, 0, NAN, 1.5}},
    {UNARY("rsqrt"), {4, 0, 1, 0.25}, {0}, {0}, {0.5, INFINITY, 1, 2}},
    {UNARY("exp"), {0, 1, -INFINITY, 2}, {0}, {0}, {1, 2.718281828459045, 0, 7.38905609893065}},
    {UNARY("expm1"), {0, 1, 1e-20, -INFINITY}, {0}, {0}, {0, 1.718281828459045, 1e-20, -1}},
    {UNARY("log"), {1, 0, -1, 10}, {0}, {0}, {0, -INFINITY, NAN, 2.302585092994046}},
    {UNARY("log1p"), {0, 1e-20, -1, 1}, {0}, {0}, {0, 1e-20, -INFINITY, 0.6931471805599453}},
    {UNARY("sin"), {0, 1, -1, INFINITY}, {0}, {0}, {0, 0.8414709848078965, -0.8414709848078965, NAN}},
    {UNARY("cos"), {0, 1, -1, INFINITY}, {0}, {0}, {1, 0.5403023058681398, 0.5403023058681398, NAN}},
    {UNARY("sigmoid"), {0, 1, -INFINITY, -2}, {0}, {0}, {0.5, 0.7310585786300049, 0, 0.11920292202211755}},
    {UNARY("tanh"), {0, 1, -INFINITY, 0.5}, {0}, {0}, {0, 0.7615941559557649, -1, 0.46211715726000973}},
    {UNARY("erf"), {0, 1, -INFINITY, 0.5}, {0}, {0}, {0, 0.8427007929497149, -1, 0.5204998778130465}},
    {UNARY("isfinite"), {0, NAN, -INFINITY, 1e300}, {0}, {0}, {1, 0, 0, 1}},
    {A("bool[2]") "%y = not(%a)", {0, 1}, {0}, {0}, {1, 0}},
    {BINARY("add"), {1, 2, INFINITY, 0}, {3, -5, -INFINITY, 0}, {0}, {4, -3, NAN, 0}},
    {BINARY("sub"), {1, 2, INFINITY, 0}, {3, -5, INFINITY, 0}, {0}, {-2, 7, NAN, 0}},
    {BINARY("mul"), {1, 2, INFINITY, -3}, {3, -5, 0, 7}, {0}, {3, -10, NAN, -21}},
    {BINARY("div"), {1, 3, 0, -1}, {4, 2, 0, 0}, {0}, {0.25, 1.5, NAN, -INFINITY}},
    {A("i32[2]") B("i32[2]") "%y = div(%a, %b)", {1, 7}, {2, 2}, {0}, {0.5, 3.5}},
    {BINARY("pow"), {2, NAN, 1, -8}, {10, 0, NAN, 3}, {0}, {1024, 1, 1, -512}},
    {BINARY("max"), {1, NAN, 1, -8}, {2, 0, NAN, -9}, {0}, {2, NAN, NAN, -8}},
    {BINARY("min"), {1, NAN, 1, -8}, {2, 0, NAN, -9}, {0}, {1, NAN, NAN, -9}},
    {BINARY("eq"), {1, NAN, 1, 0}, {2, NAN, 1, -0.0}, {0}, {0, 0, 1, 1}},
    {BINARY("ne"), {1, NAN, 1, 0}, {2, NAN, 1, -0.0}, {0}, {1, 1, 0, 0}},
    {BINARY("lt"), {1, NAN, 1, 3}, {2, 0, 1, 2}, {0}, {1, 0, 0, 0}},
    {BINARY("le"), {1, NAN, 1, 3}, {2, 0, 1, 2}, {0}, {1, 0, 1, 0}},
    {BINARY("gt"), {1, NAN, 1, 3}, {2, 0, 1, 2}, {0}, {0, 0, 0, 1}},
    {BINARY("ge"), {1, NAN, 1, 3}, {2, 0, 1, 2}, {0}, {0, 0, 1, 1}},
    {BINARY("and"), {0, 0, 1, 3}, {0, 1, 0, 2}, {0}, {0, 0, 0, 1}},
    {BINARY("or"), {0, 0, 1, 3}, {0, 1, 0, 2}, {0}, {0, 1, 1, 1}},
    {A("bool[2]") B("f32[2]") C("f32[2]") "%y = where(%a, %b, %c)", {1, 0}, {5, NAN}, {NAN, 7}, {5, 7}},
    {A("f64[2]") B("f64[2]") C("f64[2]") "%y = fma(%a, %b, %c)",
     {0x1.0000001p0, 2},
     {0x1.0000001p0, 3},
     {-1, 4},
     {0x1.00000008p-27, 10}},
    /* Mixed operands, one rounding to the node's own type. */
    {A("f32[1]") B("bf16[1]") "%y = add(%a, %b) : f16[1]", {2048.5}, {0.75}, {0}, {2050}},
};

static const struct example other_examples[] = {
    {A("f64[3,2]") B("f64[2]")
         C("f64[2]") "%l = loop(%b, %a, %b, %a, %c, \"turn\", turns=3, carries=1, sequences=1, previous=1)\n"
                     "%y = result(%l, 0) : f64[2]",
     {1, 2, 3, 4, 5, 6},
     {1, 10},
     {2, 0.5},
     {23, 9.75}},
    {A("f64[3,2]") B("f64[2]")
         C("f64[2]") "%l = loop(%b, %a, %b, %a, %c, \"turn\", turns=3, carries=1, sequences=1, previous=1, reverse)\n"
                     "%y = result(%l, 1) : f64[3,2]",
     {1, 2, 3, 4, 5, 6},
     {1, 10},
     {2, 0.5},
     {18, 19.5, 8, 13, 4, 14}},
    {"%y = constant(0.1) : f16[]", {0}, {0}, {0}, {0.0999755859375}},
    {"%y = iota(axes=[0,2]) : i32[2,2,3]", {0}, {0}, {0}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}},
    {"%y = read(\"v\")", {1, 2049}, {0}, {0}, {1, 2048}},
    {"%y = argument(2) : f32[2]", {1, 2}, {0}, {0}, {1, 2}},
    {A("f32[2,3]") "%y = sum(%a, axes=[0])", {1, 2, 3, 4, 5, 6}, {0}, {0}, {5, 7, 9}},
    {A("bool[2,2]") "%y = sum(%a, axes=[0,1])", {1, 1, 0, 1}, {0}, {0}, {3}},
    {A("f32[2,3]") "%y = prod(%a, axes=[1])", {1, 2, 3, 4, 5, 6}, {0}, {0}, {6, 120}},
    {A("f32[2,3]") "%y = reduce_max(%a, axes=[1])", {1, 3, 2, 4, NAN, 6}, {0}, {0}, {3, NAN}},
    {A("f32[2,3]") "%y = reduce_min(%a, axes=[1])", {3, 1, 2, NAN, 5, 6}, {0}, {0}, {1, NAN}},
    {A("f32[3,3]") "%y = argmax(%a, axes=[1])",
     {1, 3, 3, 7, NAN, NAN, -INFINITY, -INFINITY, -INFINITY},
     {0},
     {0},
     {1, 1, 0}},
    {A("f32[2,2,2]") "%y = argmax(%a, axes=[0,2])", {1, 2, 3, 4, 9, 8, 7, 6}, {0}, {0}, {2, 2}},
    {A("f32[2,3]") "%y = argmin(%a, axes=[1])", {3, 1, 1, 7, NAN, NAN}, {0}, {0}, {1, 1}},
    {A("f32[2,4]") "%y = m2(%a, axes=[1])", {1, 2, 3, 4, 1e4, 1e4, 1e4, 1e4}, {0}, {0}, {5, 0}},
    {A("f32[2,3]") "%y = cumsum(%a, axis=1)", {1, 2, 3, 4, 5, 6}, {0}, {0}, {1, 3, 6, 4, 9, 15}},
    {A("f32[2,3]") "%y = cumsum(%a, axis=0, reverse)", {1, 2, 3, 4, 5, 6}, {0}, {0}, {5, 7, 9, 4, 5, 6}},
    {A("bool[2,3,3]") "%y = suppressed(%a)",
     {1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1},
     {0},
     {0},
     {0, 1, 1, 0, 1, 0}},
    {A("f32[2,3]") "%y = reshape(%a) : f32[3,2]", {1, 2, 3, 4, 5, 6}, {0}, {0}, {1, 2, 3, 4, 5, 6}},
    {A("f32[2,1]") "%y = broadcast(%a) : f32[2,3]", {1, 2}, {0}, {0}, {1, 1, 1, 2, 2, 2}},
    {A("f32[2,3]") "%y = permute(%a, permutation=[1,0])", {1, 2, 3, 4, 5, 6}, {0}, {0}, {1, 4, 2, 5, 3, 6}},
    {A("f32[1,2,3]") "%y = permute(%a, permutation=[2,0,1])", {1, 2, 3, 4, 5, 6}, {0}, {0}, {1, 4, 2, 5, 3, 6}},
    {A("f32[2,4]") "%y = slice(%a, low=[1,0], high=[2,4], step=[1,3])", {1, 2, 3, 4, 5, 6, 7, 8}, {0}, {0}, {5, 8}},
    {A("f32[1,2]") "%y = pad(%a, low=[1,0], high=[0,1], value=9)", {1, 2}, {0}, {0}, {9, 9, 9, 1, 2, 9}},
    {A("f32[2,3]") "%y = flip(%a, axes=[1])", {1, 2, 3, 4, 5, 6}, {0}, {0}, {3, 2, 1, 6, 5, 4}},
    {A("f32[2,1]") B("f32[2,2]") "%y = concat(%a, %b, %a, axis=1)",
     {1, 2},
     {3, 4, 5, 6},
     {0},
     {1, 3, 4, 1, 2, 5, 6, 2}},
    {A("f32[4]") "%y = window(%a, kernel=[2], stride=[2], pad_low=[1], pad_high=[1], value=-1)",
     {1, 2, 3, 4},
     {0},
     {0},
     {-1, 1, 2, 3, 4, -1}},
    {A("f32[1,5]") "%y = window(%a, kernel=[2], dilation=[3])", {1, 2, 3, 4, 5}, {0}, {0}, {1, 4, 2, 5}},
    {A("f32[2,2]") "%y = window(%a, kernel=[2,2], pad_low=[1,0])", {1, 2, 3, 4}, {0}, {0}, {0, 0, 1, 2, 1, 2, 3, 4}},
    {A("f32[3,2]") "%y = fold(%a, kernel=[2]) : f32[4]", {1, 2, 3, 4, 5, 6}, {0}, {0}, {1, 5, 9, 6}},
    {A("f32[3,2]") B("i32[2]") "%y = gather(%a, %b, axis=0)", {1, 2, 3, 4, 5, 6}, {2, 0}, {0}, {5, 6, 1, 2}},
    {A("f32[2,3]") B("i32[1,2]") "%y = gather(%a, %b, axis=1)", {1, 2, 3, 4, 5, 6}, {2, 3}, {0}, {3, NAN, 6, NAN}},
    {A("f32[3,2]") B("i32[3]") "%y = scatter_add(%a, %b, axis=0) : f32[2,2]",
     {1, 2, 3, 4, 5, 6},
     {1, 1, 7},
     {0},
     {0, 0, 4, 6}},
    {A("f32[2,3]") B("f32[3,2]") "%y = matmul(%a, %b)", {1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6}, {0}, {22, 28, 49, 64}},
    {A("f32[3,2]") B("f32[3,2]") "%y = matmul(%a, %b, transpose_a)",
     {1, 2, 3, 4, 5, 6},
     {1, 2, 3, 4, 5, 6},
     {0},
     {35, 44, 44, 56}},
    {A("f32[2,2,1]") B("f32[2,2,1]") "%y = matmul(%a, %b, transpose_b)",
     {1, 2, 3, 4},
     {5, 6, 7, 8},
     {0},
     {5, 6, 10, 12, 21, 24, 28, 32}},
    {A("f32[1,1,3,3]") B("f32[1,1,2,2]") "%y = conv(%a, %b)",
     {1, 2, 3, 4, 5, 6, 7, 8, 9},
     {1, 0, 0, 10},
     {0},
     {51, 62, 84, 95}},
    {A("f32[1,2,3]") B("f32[2,1,2]") "%y = conv(%a, %b, stride=[2], pad_low=[1], groups=2)",
     {1, 2, 3, 4, 5, 6},
     {1, 10, 2, 20},
     {0},
     {10, 32, 80, 130}},
    {A("f32[1,1,2]") B("f32[1,1,2]") "%y = conv_data(%a, %b) : f32[1,1,3]", {1, 10}, {3, 4}, {0}, {3, 34, 40}},
    {A("f32[1,1,3]") B("f32[1,1,2]") "%y = conv_weight(%a, %b) : f32[1,1,2]", {1, 2, 3}, {10, 100}, {0}, {210, 320}},
    {A("f32[1,2,2]") B("f32[1,1,3]") "%y = tap_sums(%a, %b) : f32[2,1,2]",
     {10, 100, 1, 2},
     {1, 2, 3},
     {0},
     {210, 320, 5, 8}},
    {A("f32[2]") "%y = stop_gradient(%a)", {1, 2}, {0}, {0}, {1, 2}},
    {"%y = scale_seed(1)", {0}, {0}, {0}, {1}},
    {A("f32[2]") "%y = unscale(%a, 1)", {1, 2}, {0}, {0}, {1, 2}},
    {A("f32[2]") B("f32[2]") "%y = gate(%a, %b, 1)", {1, 2}, {3, 4}, {0}, {1, 2}},
    {A("f16[2]") "%y = write(%a, \"v\")", {1, 2049}, {0}, {0}, {1, 2048}},
};

/* The generator's own test vectors (the known answers of its authors' library, philox4x32 with 10 rounds). */
static void known_randoms(void)
{
    uint32_t zeros[4] = {0};
    philox_block(zeros, 0, 0);
    CHECK(zeros[0] == 0x6627e8d5 && zeros[1] == 0xe169c58d && zeros[2] == 0xbc57ac4c && zeros[3] == 0x9b00dbd8);
    uint32_t ones[4] = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
    philox_block(ones, 0xffffffff, 0xffffffff);
    CHECK(ones[0] == 0x408f276d && ones[1] == 0x41c83b0e && ones[2] == 0xa20bc7c6 && ones[3] == 0x6d5451fd);
    CHECK(philox_word(0, 0, 0, 2) == 0xbc57ac4c);
    const double first = (0x6627e8d5u >> 8) * 0x1p-24, second = (0xe169c58du >> 8) * 0x1p-24;
    struct example example = {.body = A("i64[]") B("i64[]") "%y = random(%a, %b, key=0x0) : f32[2]",
                              .y = {first, second}};
    check_example(&example);
    CHECK(philox_word(1, 0, 0, 0) != philox_word(0, 1, 0, 0) && philox_word(1, 0, 0, 0) != philox_word(1, 0, 1, 0));
}

static void exact_and_commit(void)
{
    static const char text[] =
        "variable \"v\" : f16[2] state\ngraph g {\n%v = read(\"v\")\n%a = input(\"a\") : f32[2]\n"
        "%s = add(%v, %a) : f16[2]\n%w = write(%s, \"v\")\n%y = output(%v, \"y\")\n}\n";
    struct arena *arena = arena_new();
    struct module *module = parse_module(arena, diagnostics_new(arena), "commit", text);
    struct environment *environment = environment_new();
    const double start[] = {2048, 1}, step[] = {1, 0.0001};
    struct type f16 = type_make(ELEMENT_F16, shape_make(1, (int64_t[]){2}));
    struct type f64 = type_make(ELEMENT_F64, f16.shape);
    environment_set_variable(environment, "v", &f16, start);
    environment_set_input(environment, "a", &f64, step);
    struct evaluation *exact = evaluate_graph(module->graphs[0], environment, EVALUATE_EXACT);
    check_values("exact", evaluation_write(exact, "v"), (const double[]){2049, 1.0001}, 2);
    evaluation_free(exact);
    struct evaluation *rounded = evaluate_graph(module->graphs[0], environment, EVALUATE_ROUNDED);
    check_values("rounded", evaluation_write(rounded, "v"), (const double[]){2048, 1}, 2);
    check_values("value", evaluation_value(rounded, module->graphs[0]->nodes[1]), (const double[]){1, (float)0.0001},
                 2);
    CHECK(!evaluation_output(rounded, "nothing"));
    environment_variable(environment, "v")->values[0] = 0;
    evaluation_commit(rounded, environment);
    check_values("commit", environment_variable(environment, "v"), start, 2);
    evaluation_free(rounded);
    environment_free(environment);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    for (size_t i = 0; i < sizeof pointwise_examples / sizeof *pointwise_examples; i++)
        check_example(&pointwise_examples[i]);
    for (size_t i = 0; i < sizeof other_examples / sizeof *other_examples; i++)
        check_example(&other_examples[i]);
    known_randoms();
    exact_and_commit();
    for (int op = 0; op < OP_COUNT; op++) {
        if (!covered[op] && op != OP_grad)
            fprintf(stderr, "no example for %s\n", op_info((enum op)op)->name);
        CHECK(covered[op] || op == OP_grad);
    }
    return check_result();
}
