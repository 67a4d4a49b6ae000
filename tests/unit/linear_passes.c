/* gradients, simplify, cse and dce grow linearly: four times the layers take no more than about four times as long. */
#include "check.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <time.h>

enum { LAYERS = 1000, FACTOR = 4 };

typedef void pass_function(struct graph *graph, struct pass_context *context);

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

/* Processor seconds that each pass takes, the smaller of two runs. */
static void measure(int layers, pass_function *const *passes, int count, double *seconds)
{
    for (int run = 0; run < 2; run++) {
        struct arena *arena = arena_new();
        struct module *module = module_new(arena, diagnostics_new(arena), "deep");
        struct graph *graph = deep_network(module, layers);
        struct pass_context context = {.limit = -1};
        for (int i = 0; i < count; i++) {
            clock_t start = clock();
            passes[i](graph, &context);
            double took = (double)(clock() - start) / CLOCKS_PER_SEC;
            seconds[i] = run == 0 || took < seconds[i] ? took : seconds[i];
        }
        CHECK(arrlen(graph->nodes) > 10 * layers);
        module_free(module);
        arena_free(arena);
    }
}

int main(void)
{
    pass_function *const passes[] = {pass_gradients, pass_simplify, pass_cse, pass_dce};
    enum { COUNT = sizeof passes / sizeof *passes };
    double small[COUNT], large[COUNT];
    measure(LAYERS, passes, COUNT, small);
    measure(FACTOR * LAYERS, passes, COUNT, large);
    for (int i = 0; i < COUNT; i++) {
        printf("pass %d: %.4f s, %.4f s\n", i, small[i], large[i]);
        CHECK(large[i] < 2.5 * FACTOR * small[i] + 0.02); /* caches and a busy machine have their share */
    }
    return check_result();
}
