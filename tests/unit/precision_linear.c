/* A network of 100,000 nodes and more goes through the precision passes in time that grows no faster than its size. */
#include "check.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"

#include <stb/stb_ds.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct variable *parameter(struct module *module, const char *name, int rank)
{
    struct type type = type_make(ELEMENT_F32, shape_make(rank, (int64_t[]){4, 4}));
    return module_add_variable(module, name, type, VARIABLE_PARAMETER, (struct span){0});
}

/* One layer of many: linear with bias, then relu; and its update. */
static struct node *layer(struct builder *builder, int i, struct node *x)
{
    struct module *module = builder->graph->module;
    const char *name = arena_printf(module->arena, "layers.%d", i);
    builder->scope = arena_internf(module->arena, "%s:linear", name);
    struct variable *weight = parameter(module, arena_printf(module->arena, "%s.weight", name), 2);
    struct variable *bias = parameter(module, arena_printf(module->arena, "%s.bias", name), 1);
    struct node *y = build_matmul(builder, x, build_read(builder, weight), false, true);
    y = build_binary(builder, OP_add, y, build_read(builder, bias));
    builder->scope = arena_intern(module->arena, ":relu");
    return build_binary(builder, OP_max, y, build_constant(builder, 0, ELEMENT_F32));
}

static void train(struct builder *builder, struct node *loss)
{
    struct module *module = builder->graph->module;
    struct node *seed = build(builder, OP_scale_seed, NULL, 0, &(struct attributes){.index = 1}, NULL);
    ptrdiff_t count = arrlen(builder->graph->nodes);
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *read = builder->graph->nodes[i];
        if (read->op != OP_read)
            continue;
        builder->region = REGION_UPDATE;
        struct node *g = build(builder, OP_grad, (struct node *[]){loss, read, seed}, 3, NULL, NULL);
        g = build(builder, OP_unscale, &g, 1, &(struct attributes){.index = 1}, NULL);
        struct variable *variable = module_find_variable(module, read->attributes->symbol);
        build_write(builder, variable, build_binary(builder, OP_sub, read, g), 1);
    }
}

static struct module *network(struct arena *arena, int layers)
{
    struct module *module = module_new(arena, diagnostics_new(arena), "deep");
    struct builder builder = {.graph = module_add_graph(module, "train"), .scope = ""};
    struct type type = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){4, 4}));
    struct attributes attributes = {.symbol = arena_intern(arena, "x")};
    struct node *x = build(&builder, OP_input, NULL, 0, &attributes, &type);
    for (int i = 0; i < layers; i++)
        x = layer(&builder, i, x);
    struct node *loss = build_reshape(&builder, build_reduce(&builder, OP_sum, x, 3), &(struct shape){0});
    build_output(&builder, "loss", loss, OUTPUT_LOSS);
    arrput(module->minimizes, ((struct minimize){.loss = "loss"}));
    train(&builder, loss);

    struct variable *scale =
        module_add_variable(module, "train/scale", type_scalar(ELEMENT_F32), VARIABLE_OPTIMIZER, (struct span){0});
    module->scaling.present = true;
    arrput(module->scaling.rules, module_add_function(module, "rule"));
    struct builder rule = {.graph = module->scaling.rules[0], .scope = ""};
    build_output(&rule, "scale", build_read(&rule, scale), OUTPUT_VALUE);
    return module;
}

/* Seconds for the passes of this folder that decide and place precision. */
static double measure(int layers, ptrdiff_t *nodes)
{
    struct arena *arena = arena_new();
    struct module *module = network(arena, layers);
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, module->diagnostics, "autocast", ELEMENT_NONE, (struct span){0});
    pass_gradients(module->graphs[0], &context);
    double start = seconds();
    pass_precision(module->graphs[0], &context);
    pass_accumulate(module->graphs[0], &context);
    pass_loss_scale(module->graphs[0], &context);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        pass_casts(module->graphs[i], &context);
    double took = seconds() - start;
    *nodes = arrlen(module->graphs[0]->nodes);
    CHECK(module_find_variable(module, "layers.0.weight.f16"));
    module_free(module);
    arena_free(arena);
    return took;
}

int main(void)
{
    ptrdiff_t few, many;
    double quick = measure(700, &few), slow = measure(2800, &many);
    CHECK(many > 100000 && many < 5 * few);
    CHECK(slow < 5);                 /* processor time on any machine; it takes a twentieth of that */
    CHECK(slow < 12 * quick + 0.25); /* four times the nodes; caches and neighbours have their share */
    printf("%td nodes in %.3f s, %td in %.3f s\n", few, quick, many, slow);
    return check_result();
}
