/* gradients, simplify, cse and dce grow linearly: four times the layers take no more than about four times as long. */
#include "check.h"
#include "ir/loop.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <time.h>

enum { LAYERS = 1000, FACTOR = 4, SLICES = 8 };

typedef void pass_function(struct graph *graph, struct pass_context *context);
typedef struct graph *network_function(struct module *module, int layers);

/* relu(x w') + x, again and again, each weight updated by its gradient: 16 nodes a layer before the gradients. */
static struct graph *deep_network(struct module *module, int layers)
{
    struct graph *graph = module_add_graph(module, "train");
    struct builder builder = {.graph = graph, .scope = ""};
    struct type batch = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){128, 64}));
    struct type square = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){64, 64})), scalar = type_scalar(ELEMENT_F32);
    struct node *x = build(&builder, OP_input, NULL, 0, &(struct attributes){.symbol = "x"}, &batch), **weights = NULL;
    for (int i = 0; i < layers; i++) {
        const char *name = arena_internf(module->arena, "w%d", i);
        module_add_variable(module, name, square, VARIABLE_PARAMETER, (struct span){0});
        arrput(weights, build_read(&builder, module->variables[i]));
        struct node *transposed = build_permute(&builder, weights[i], (unsigned char[]){1, 0});
        struct node *y = build_matmul(&builder, x, transposed, false, false);
        y = build_binary(&builder, OP_max, y, build_constant(&builder, 0, ELEMENT_F32));
        x = build_binary(&builder, OP_add, x, y);
    }
    struct node *loss = build_reduce(&builder, OP_sum, build_binary(&builder, OP_mul, x, x), 3);
    for (int i = 0; i < layers; i++) {
        struct node *seed = build(&builder, OP_scale_seed, NULL, 0, &(struct attributes){.index = 1}, &scalar);
        struct node *gradient = build(&builder, OP_grad, (struct node *[]){loss, weights[i], seed}, 3, NULL, NULL);
        struct node *step = build_binary(&builder, OP_mul, gradient, build_constant(&builder, 0.125, ELEMENT_F32));
        build_write(&builder, module->variables[i], build_binary(&builder, OP_sub, weights[i], step), 1);
    }
    arrfree(weights);
    return graph;
}

/* A loop whose turns are tanh(h x), again and again: results that the gradient keeps, each stacked. */
static struct graph *long_turn(struct module *module, int layers)
{
    struct graph *graph = module_add_graph(module, "train"), *body = module_add_body(module, "train.loop1");
    struct builder builder = {.graph = graph, .scope = ""}, inside = {.graph = body, .scope = ""};
    struct type row = type_make(ELEMENT_F32, shape_make(1, (int64_t[]){64}));
    struct node *x = build(&builder, OP_input, NULL, 0, &(struct attributes){.symbol = "x"}, &row);
    struct node *h = build(&inside, OP_input, NULL, 0, &(struct attributes){.symbol = "0"}, &row), *first = h;
    for (int i = 0; i < layers; i++)
        h = build_unary(&inside, OP_tanh, build_binary(&inside, OP_mul, h, first));
    build_output(&inside, "0", h, OUTPUT_VALUE);
    struct attributes attributes = {.symbol = "train.loop1", .loop = {.turns = 3, .carries = 1}};
    struct node *loop = build(&builder, OP_loop, &x, 1, &attributes, NULL);
    struct node *loss = build_reduce(&builder, OP_sum, loop_result(&builder, loop, body, 0), 1);
    struct node *gradient = build(&builder, OP_grad, (struct node *[]){loss, x}, 2, NULL, NULL);
    build_output(&builder, "d", gradient, OUTPUT_VALUE);
    return graph;
}

/* Sums of all places of a sequence, whose gradients lie side by side. */
static struct graph *many_slices(struct module *module, int layers)
{
    struct graph *graph = module_add_graph(module, "train");
    struct builder builder = {.graph = graph, .scope = ""};
    struct type all = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){SLICES * layers, 4}));
    struct node *x = build(&builder, OP_input, NULL, 0, &(struct attributes){.symbol = "x"}, &all), *sum = NULL;
    for (int i = 0; i < SLICES * layers; i++) {
        struct attributes attributes = {.low = {i, 0}, .high = {i + 1, 4}, .step = {1, 1}};
        struct node *place = build_unary(&builder, OP_sin, build(&builder, OP_slice, &x, 1, &attributes, NULL));
        sum = sum ? build_binary(&builder, OP_add, sum, place) : place;
    }
    struct node *gradient = build(&builder, OP_grad, (struct node *[]){sum, x}, 2, NULL, NULL);
    build_output(&builder, "d", gradient, OUTPUT_VALUE);
    return graph;
}

/* Processor seconds that each pass takes, the smaller of two runs. */
static void measure(network_function *network, int layers, pass_function *const *passes, int count, double *seconds)
{
    for (int run = 0; run < 2; run++) {
        struct arena *arena = arena_new();
        struct module *module = module_new(arena, diagnostics_new(arena), "deep");
        struct graph *graph = network(module, layers);
        struct pass_context context = {.limit = -1};
        for (int i = 0; i < count; i++) {
            clock_t start = clock();
            passes[i](graph, &context);
            double took = (double)(clock() - start) / CLOCKS_PER_SEC;
            seconds[i] = run == 0 || took < seconds[i] ? took : seconds[i];
        }
        CHECK(arrlen(graph->nodes) > layers);
        module_free(module);
        arena_free(arena);
    }
}

static void check(network_function *network, pass_function *const *passes, int count)
{
    double small[8], large[8];
    measure(network, LAYERS, passes, count, small);
    measure(network, FACTOR * LAYERS, passes, count, large);
    for (int i = 0; i < count; i++) {
        printf("pass %d: %.4f s, %.4f s\n", i, small[i], large[i]);
        CHECK(large[i] < 2.5 * FACTOR * small[i] + 0.02); /* caches and a busy machine have their share */
    }
}

int main(void)
{
    pass_function *const passes[] = {pass_gradients, pass_simplify, pass_cse, pass_dce};
    check(deep_network, passes, sizeof passes / sizeof *passes);
    check(long_turn, passes, 1);
    check(many_slices, passes, 1);
    return check_result();
}
