/* Values for the inputs and variables of random graphs: floats around 0 that their type holds exactly, indices in their
 * range. */
#include "random_graph.h"

#include <stb/stb_ds.h>

static double draw_value(uint64_t *state, enum element element, int classes)
{
    uint64_t bits = random_draw(state);
    if (element == ELEMENT_BOOL)
        return (double)(bits & 1);
    if (!element_is_float(element))
        return (double)(bits % (uint64_t)(classes ? classes : 100));
    return (double)((int64_t)(bits % 4097) - 2048) / 1024; /* -2 … 2 in steps that f32 and f16 hold */
}

static void fill(uint64_t seed, const struct type *type, int classes, double *values)
{
    for (int64_t i = 0; i < shape_elements(&type->shape); i++)
        values[i] = element_round(type->element, draw_value(&seed, type->element, classes));
}

void random_fill_inputs(struct environment *environment, const struct graph *graph, uint64_t seed)
{
    struct arena *arena = arena_new();
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_input)
            continue;
        double *values = ARENA_ARRAY(arena, double, shape_elements(&node->type.shape) + 1);
        fill(seed + (uint64_t)i * 7919, &node->type, node->attributes->index, values);
        environment_set_input(environment, node->attributes->symbol, &node->type, values);
    }
    arena_free(arena);
}

void random_fill(struct environment *environment, const struct module *module, uint64_t seed)
{
    struct arena *arena = arena_new();
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        random_fill_inputs(environment, module->graphs[i], seed);
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        const struct variable *variable = module->variables[i];
        double *values = ARENA_ARRAY(arena, double, shape_elements(&variable->type.shape) + 1);
        fill(seed + (uint64_t)i * 104729 + 1, &variable->type, 0, values);
        environment_set_variable(environment, variable->name, &variable->type, values);
    }
    arena_free(arena);
}

void random_fill_copies(struct environment *environment, const struct module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        const struct variable *variable = module->variables[i];
        if (variable->kind == VARIABLE_COPY)
            environment_set_variable(environment, variable->name, &variable->type,
                                     environment_variable(environment, variable->source)->values);
    }
}
