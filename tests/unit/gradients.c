/* The shape of what pass gradients makes: sharing of sweeps, gradients of gradients, stop_gradient, unused x, where
 * backward nodes say they come from. Values are checked by gradient_ops.c. */
#include "passes/pass.h"

#include "check.h"

#include <stb/stb_ds.h>

static struct graph *graph;
static struct builder builder;

static struct node *input(const char *name, int64_t rows, int64_t columns)
{
    struct type type = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){rows, columns}));
    struct attributes attributes = {.symbol = arena_intern(graph->module->arena, name)};
    return build(&builder, OP_input, NULL, 0, &attributes, &type);
}

static struct node *grad(struct node *y, struct node *x, struct node *seed)
{
    return build(&builder, OP_grad, (struct node *[]){y, x, seed}, seed ? 3 : 2, NULL, NULL);
}

static int count(enum op op)
{
    int found = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        found += graph->nodes[i]->op == op;
    return found;
}

static struct node *find_output(const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_output && strcmp(graph->nodes[i]->attributes->symbol, name) == 0)
            return graph->nodes[i]->operands[0];
    return NULL;
}

static void run(bool clean)
{
    struct pass_context context = {.limit = -1};
    pass_gradients(graph, &context);
    if (clean)
        pass_dce(graph, &context);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++) {
            const struct node *operand = graph->nodes[i]->operands[k];
            CHECK(operand->id < i && graph->nodes[operand->id] == operand);
        }
    CHECK(count(OP_grad) == 0 && count(OP_stop_gradient) == 0);
}

static void start(struct module *module, const char *name)
{
    graph = module_add_graph(module, name);
    builder = (struct builder){.graph = graph, .scope = ""};
}

/* Two layers whose gradients share one sweep; the transposes of the weights become flags. */
static void test_layers(struct module *module)
{
    start(module, "layers");
    unsigned char swap[] = {1, 0};
    struct node *x = input("x", 4, 3), *w1 = input("w1", 5, 3), *w2 = input("w2", 2, 5);
    struct node *h = build_matmul(&builder, x, build_permute(&builder, w1, swap), false, false);
    struct node *a = build_binary(&builder, OP_max, h, build_constant(&builder, 0, ELEMENT_F32));
    a->name = "a";
    struct node *y = build_matmul(&builder, a, build_permute(&builder, w2, swap), false, false);
    struct node *loss = build_reduce(&builder, OP_sum, build_binary(&builder, OP_mul, y, y), 3);
    struct type scalar = type_scalar(ELEMENT_F32);
    struct node *seed[2];
    for (int i = 0; i < 2; i++)
        seed[i] = build(&builder, OP_scale_seed, NULL, 0, &(struct attributes){.index = 1}, &scalar);
    build_output(&builder, "d1", grad(loss, w1, seed[0]), OUTPUT_VALUE);
    build_output(&builder, "d2", grad(loss, w2, seed[1]), OUTPUT_VALUE);
    uint32_t h_origin = h->origin, a_origin = a->origin;
    run(true);
    CHECK(count(OP_matmul) == 5);
    CHECK(count(OP_permute) == 0); /* the weight is read transposed, so its gradient comes as it lies */
    CHECK(count(OP_scale_seed) == 1);
    CHECK(h->attributes->transpose_b && h->operands[1] == w1);
    int from_h = 0, from_a = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        CHECK((node->region == REGION_BACKWARD) == (node->forward != 0));
        from_h += node->forward == h_origin;
        from_a += node->forward == a_origin;
        if (node->name && strcmp(node->name, "d_a") == 0)
            CHECK(node->op == OP_matmul);
    }
    CHECK(from_h == 1 && from_a > 0);
}

static void test_unused_and_stopped(struct module *module)
{
    start(module, "stopped");
    struct node *x = input("x", 2, 2), *unused = input("unused", 2, 2);
    struct node *stopped = build_unary(&builder, OP_stop_gradient, x);
    struct node *y = build_binary(&builder, OP_mul, x, stopped);
    struct node *first = grad(y, x, NULL);
    build_output(&builder, "first", first, OUTPUT_VALUE);
    build_output(&builder, "second", grad(first, x, NULL), OUTPUT_VALUE);
    build_output(&builder, "unused", grad(y, unused, NULL), OUTPUT_VALUE);
    struct node *late = input("late", 2, 2);
    build_output(&builder, "late", grad(y, late, NULL), OUTPUT_VALUE);
    run(true);
    const struct node *d = find_output("first");
    CHECK(d->op == OP_mul && d->operands[1] == x); /* 1 * x: x itself would say that the stop was not seen */
    for (int i = 0; i < 3; i++) {
        const struct node *zero = find_output((const char *[]){"second", "unused", "late"}[i]);
        while (zero->op == OP_broadcast || zero->op == OP_reshape)
            zero = zero->operands[0];
        CHECK(zero->op == OP_constant && zero->attributes->value == 0);
    }
}

/* Three times x^4: the gradient of a gradient of a gradient. Also through an intermediate value: grad(y, h) with
 * h = f(x) does not hinder grad(y, x). */
static void test_nested(struct module *module)
{
    start(module, "nested");
    struct node *x = input("x", 1, 1);
    struct node *h = build_binary(&builder, OP_mul, x, x);
    struct node *y = build_binary(&builder, OP_mul, h, h);
    struct node *first = grad(y, x, NULL), *inner = grad(y, h, NULL);
    build_output(&builder, "inner", inner, OUTPUT_VALUE);
    build_output(&builder, "first", first, OUTPUT_VALUE);
    struct node *second = grad(first, x, NULL);
    build_output(&builder, "third", grad(second, x, NULL), OUTPUT_VALUE);
    run(true);
    CHECK(find_output("inner")->op == OP_add);
    CHECK(find_output("third")->op == OP_add);
}

/* The backward pass of a normalisation with weight and bias reads the large tensors by two sums alone. */
static void test_normalisation(struct module *module)
{
    start(module, "normalisation");
    struct node *x = input("x", 64, 8), *weight = input("weight", 1, 8), *bias = input("bias", 1, 8);
    struct node *sum = build_reduce(&builder, OP_sum, x, 1);
    struct node *count_of = build_constant(&builder, 64, ELEMENT_F32);
    struct node *mean = build_binary(&builder, OP_div, sum, count_of);
    struct node *variance = build_binary(&builder, OP_div, build_reduce(&builder, OP_m2, x, 1), count_of);
    struct node *deviation = build_binary(&builder, OP_sub, x, mean);
    struct node *normal = build_binary(&builder, OP_mul, deviation, build_unary(&builder, OP_rsqrt, variance));
    struct node *y = build_binary(&builder, OP_add, build_binary(&builder, OP_mul, normal, weight), bias);
    struct node *loss = build_reduce(&builder, OP_sum, build_unary(&builder, OP_exp, y), 3);
    build_output(&builder, "dx", grad(loss, x, NULL), OUTPUT_VALUE);
    build_output(&builder, "dweight", grad(loss, weight, NULL), OUTPUT_VALUE);
    build_output(&builder, "dbias", grad(loss, bias, NULL), OUTPUT_VALUE);
    run(false);
    pass_cse(graph, &(struct pass_context){.limit = -1});
    pass_dce(graph, &(struct pass_context){.limit = -1});
    CHECK(count(OP_sum) == 3 && count(OP_m2) == 1); /* one of the three belongs to the forward pass */
}

/* A long tower of products over a broadcast: taking it apart is bounded. */
static void test_tower(struct module *module)
{
    start(module, "tower");
    struct node *x = input("x", 1, 4), *y = input("y", 3, 4);
    for (int i = 0; i < 30000; i++)
        y = build_unary(&builder, OP_neg, build_binary(&builder, OP_mul, y, x));
    build_output(&builder, "dx", grad(y, x, NULL), OUTPUT_VALUE);
    run(true);
}

/* A chain of 25,000 layers of four nodes: one sweep, and time that grows with nodes only. */
static void test_long_chain(struct module *module)
{
    start(module, "long");
    struct node *x = input("x", 4, 4), *y = x;
    for (int i = 0; i < 25000; i++) {
        struct node *half = build_binary(&builder, OP_mul, y, y);
        y = build_binary(&builder, OP_sub, build_unary(&builder, OP_tanh, half), y);
    }
    build_output(&builder, "d", grad(y, x, NULL), OUTPUT_VALUE);
    run(false);
    CHECK(arrlen(graph->nodes) < 25000 * 20);
}

int main(void)
{
    struct arena *arena = arena_new();
    struct module *module = module_new(arena, diagnostics_new(arena), "test");
    test_layers(module);
    test_unused_and_stopped(module);
    test_nested(module);
    test_normalisation(module);
    test_tower(module);
    test_long_chain(module);
    module_free(module);
    arena_free(arena);
    return check_result();
}
