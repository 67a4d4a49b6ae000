/* Gradients against central differences, in f64: the evaluator's exact mode on both sides.
 *
 * The function under test is a graph with one output; it is made a scalar by weighting its elements with fixed random
 * numbers, so that every element of every gradient counts. The second order is the same check on the weighted sum of
 * the first gradients. */
#ifndef CASTOR_TESTS_GRADIENT_CHECK_H
#define CASTOR_TESTS_GRADIENT_CHECK_H

#include "ir/evaluate.h"
#include "passes/pass.h"
#include "unit/check.h"

#include <math.h>
#include <stb/stb_ds.h>

struct gradient_check {
    struct graph *graph;
    struct environment *environment;
    struct node **inputs; /* stb_ds array: leaves that are differentiated */
    uint32_t random;
    double low, high; /* inputs are drawn from here */
};

/* A linear congruential generator, good enough to avoid special places. */
static double gradient_draw(struct gradient_check *check)
{
    check->random = check->random * 1664525u + 1013904223u;
    return (double)(check->random >> 8) / (1 << 24);
}

static void gradient_feed(struct gradient_check *check, const struct node *leaf, double low, double high)
{
    int64_t count = shape_elements(&leaf->type.shape);
    double *values = ARENA_ARRAY(check->graph->module->arena, double, count + 1);
    bool real = element_is_float(leaf->type.element);
    for (int64_t i = 0; i < count; i++)
        values[i] = real ? low + (high - low) * gradient_draw(check) : floor(gradient_draw(check) * high);
    struct type type = type_make(ELEMENT_F64, leaf->type.shape);
    if (leaf->op == OP_read)
        environment_set_variable(check->environment, leaf->attributes->symbol, &type, values);
    else
        environment_set_input(check->environment, leaf->attributes->symbol, &type, values);
}

static struct tensor *gradient_leaf(const struct gradient_check *check, const struct node *leaf)
{
    return leaf->op == OP_read ? environment_variable(check->environment, leaf->attributes->symbol)
                               : environment_input(check->environment, leaf->attributes->symbol);
}

/* Draws all inputs; integers stay below their number of classes, or are 0 and 1. */
static void gradient_start(struct gradient_check *check)
{
    for (ptrdiff_t i = 0; i < arrlen(check->graph->nodes); i++) {
        struct node *node = check->graph->nodes[i];
        if (node->op != OP_input && node->op != OP_read)
            continue;
        if (element_is_float(node->type.element)) {
            gradient_feed(check, node, check->low, check->high);
            arrput(check->inputs, node);
        } else {
            gradient_feed(check, node, 0, node->attributes->index ? node->attributes->index : 2);
        }
    }
}

/* sum(value * a fixed random tensor), to be fed under `name`. */
static struct node *gradient_weigh(struct gradient_check *check, struct builder *builder, struct node *value,
                                   const char *name)
{
    struct attributes attributes = {.symbol = arena_intern(check->graph->module->arena, name)};
    struct type type = type_make(value->type.element, value->type.shape);
    struct node *weights = build(builder, OP_input, NULL, 0, &attributes, &type);
    gradient_feed(check, weights, 0.5, 1.5);
    uint32_t axes = (1u << value->type.shape.rank) - 1;
    return build_reduce(builder, OP_sum, build_binary(builder, OP_mul, value, weights), axes);
}

static double gradient_loss(const struct gradient_check *check, const char *name)
{
    struct evaluation *evaluation = evaluate_graph(check->graph, check->environment, EVALUATE_EXACT);
    const struct tensor *value = evaluation_output(evaluation, name);
    double loss = value->values[0];
    evaluation_free(evaluation);
    return loss;
}

/* Compares the outputs "PREFIX<i>" with central differences of the scalar output `loss`. */
static void gradient_compare(struct gradient_check *check, const char *loss, const char *prefix, const char *what)
{
    const double eps = 1e-6, absolute = 1e-5, relative = 1e-3;
    struct evaluation *evaluation = evaluate_graph(check->graph, check->environment, EVALUATE_EXACT);
    for (ptrdiff_t i = 0; i < arrlen(check->inputs); i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", prefix, (int)i);
        const struct tensor *gradient = evaluation_output(evaluation, name);
        struct tensor *x = gradient_leaf(check, check->inputs[i]);
        CHECK(shape_equal(&gradient->shape, &x->shape));
        for (int64_t k = 0; k < shape_elements(&x->shape); k++) {
            double at = x->values[k];
            x->values[k] = at + eps;
            double above = gradient_loss(check, loss);
            x->values[k] = at - eps;
            double below = gradient_loss(check, loss);
            x->values[k] = at;
            double wanted = (above - below) / (2 * eps), got = gradient->values[k];
            bool close = fabs(got - wanted) <= absolute + relative * fabs(wanted);
            CHECK(close);
            if (!close)
                fprintf(stderr, "%s: %s of input %d, element %d: %.9g, central difference %.9g\n", what, loss, (int)i,
                        (int)k, got, wanted);
        }
    }
    evaluation_free(evaluation);
}

/* Adds grad(loss, input) for each input as outputs "PREFIX<i>", and gives their weighted sum. */
static struct node *gradient_of(struct gradient_check *check, struct builder *builder, struct node *loss,
                                const char *prefix)
{
    struct node *total = NULL;
    for (ptrdiff_t i = 0; i < arrlen(check->inputs); i++) {
        char name[32], weights[64];
        snprintf(name, sizeof name, "%s%d", prefix, (int)i);
        snprintf(weights, sizeof weights, "weights of %s", name);
        struct node *operands[] = {loss, check->inputs[i]};
        struct node *gradient = build(builder, OP_grad, operands, 2, NULL, NULL);
        build_output(builder, name, gradient, OUTPUT_VALUE);
        struct node *part = gradient_weigh(check, builder, gradient, weights);
        struct shape scalar = {0};
        part = build_reshape(builder, part, &scalar);
        total = total ? build_binary(builder, OP_add, total, part) : part;
    }
    return total;
}

/* Checks d(sum(y * weights)) to all floating inputs of the graph, and with `second` the derivatives of those. */
static inline void check_gradient(struct graph *graph, struct node *y, double low, double high, bool second,
                                  const char *what)
{
    struct gradient_check check = {graph, environment_new(), NULL, 12345, low, high};
    struct builder builder = {.graph = graph, .scope = ""};
    gradient_start(&check);
    struct node *loss = gradient_weigh(&check, &builder, y, "weights of y");
    build_output(&builder, "first", loss, OUTPUT_VALUE);
    struct node *total = gradient_of(&check, &builder, loss, "d");
    if (second) {
        build_output(&builder, "second", total, OUTPUT_VALUE);
        gradient_of(&check, &builder, total, "dd");
    }
    struct pass_context context = {.limit = -1};
    pass_gradients(graph, &context);
    pass_cse(graph, &context);
    pass_dce(graph, &context);
    gradient_compare(&check, "first", "d", what);
    if (second)
        gradient_compare(&check, "second", "dd", what);
    arrfree(check.inputs);
    environment_free(check.environment);
}

#endif
