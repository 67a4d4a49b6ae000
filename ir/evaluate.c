/* The evaluator's frame: environments, the walk over the nodes, leaves and pointwise ops. */
#include "ir/evaluate.h"
#include "ir/evaluate_ops.h"
#include "ir/philox.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

/* ---- environments ---- */

enum { ARGUMENTS_MAX = 16 };

struct named_tensor {
    const char *key;
    struct tensor *value;
};

struct environment {
    struct arena *arena;
    struct named_tensor *inputs, *variables; /* stb_ds hashes */
    struct tensor *arguments[ARGUMENTS_MAX];
};

struct environment *environment_within(const struct environment *outer, struct arena *arena)
{
    struct environment *environment = arena_copy(arena, outer, sizeof *outer);
    environment->arena = arena;
    environment->inputs = NULL;
    return environment;
}

void environment_leave(struct environment *environment)
{
    shfree(environment->inputs);
}

struct environment *environment_new(void)
{
    struct arena *arena = arena_new();
    struct environment *environment = ARENA_NEW(arena, struct environment);
    environment->arena = arena;
    return environment;
}

void environment_free(struct environment *environment)
{
    if (!environment)
        return;
    shfree(environment->inputs);
    shfree(environment->variables);
    arena_free(environment->arena);
}

static struct tensor *tensor_new(struct arena *arena, enum element element, const struct shape *shape)
{
    struct tensor *tensor = ARENA_NEW(arena, struct tensor);
    *tensor = (struct tensor){element, *shape, ARENA_ARRAY(arena, double, shape_elements(shape))};
    return tensor;
}

static struct tensor *tensor_from(struct arena *arena, const struct type *type, const double *values)
{
    struct tensor *tensor = tensor_new(arena, type->element, &type->shape);
    for (int64_t i = 0; i < shape_elements(&type->shape); i++)
        tensor->values[i] = element_round(type->element, values[i]);
    return tensor;
}

void environment_set_input(struct environment *environment, const char *name, const struct type *type,
                           const double *values)
{
    struct tensor *tensor = tensor_from(environment->arena, type, values);
    shput(environment->inputs, arena_intern(environment->arena, name), tensor);
}

void environment_set_variable(struct environment *environment, const char *name, const struct type *type,
                              const double *values)
{
    struct tensor *tensor = tensor_from(environment->arena, type, values);
    shput(environment->variables, arena_intern(environment->arena, name), tensor);
}

void environment_set_argument(struct environment *environment, int index, const struct type *type, const double *values)
{
    if (index >= 0 && index < ARGUMENTS_MAX)
        environment->arguments[index] = tensor_from(environment->arena, type, values);
    else
        castor_bug("evaluate: argument %d", index);
}

static struct tensor *find(struct named_tensor *map, const char *name)
{
    if (!map)
        return NULL;
    ptrdiff_t at = shgeti(map, name);
    return at < 0 ? NULL : map[at].value;
}

struct tensor *environment_input(const struct environment *environment, const char *name)
{
    return find(environment->inputs, name);
}

struct tensor *environment_variable(const struct environment *environment, const char *name)
{
    return find(environment->variables, name);
}

/* ---- pointwise ops ---- */

static double maximum(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
}

static double minimum(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
}

/* Neither branch overflows. */
static double logistic(double a)
{
    double e = exp(-fabs(a));
    return (a >= 0 ? 1 : e) / (1 + e);
}

/* A macro, because the C library has a function of this name. */
#define select(condition, a, b) ((condition) != 0 ? (a) : (b))

static double power(double a, double b)
{
    return pow(a, b);
}

#define POINTWISE(name, arity, element, gradient, expression, flops, help)                                             \
    static double pointwise_##name(double a, double b, double c)                                                       \
    {                                                                                                                  \
        (void)b, (void)c;                                                                                              \
        return expression;                                                                                             \
    }
#include "ir/ops.def"

typedef double pointwise_function(double a, double b, double c);

static pointwise_function *const pointwise[OP_COUNT] = {
#define POINTWISE(name, arity, element, gradient, expression, flops, help) [OP_##name] = pointwise_##name,
#include "ir/ops.def"
};

double evaluate_pointwise(enum op op, double a, double b, double c)
{
    return pointwise[op](a, b, c);
}

static void evaluate_pointwise_node(const struct evaluate_call *call)
{
    pointwise_function *function = pointwise[call->node->op];
    if (!function)
        castor_bug("%s is not pointwise", op_info(call->node->op)->name);
    int count = call->node->operand_count;
    const double *a = call->operands[0]->values;
    const double *b = count > 1 ? call->operands[1]->values : a;
    const double *c = count > 2 ? call->operands[2]->values : a;
    for (int64_t i = 0; i < shape_elements(&call->result->shape); i++)
        call->result->values[i] = function(a[i], b[i], c[i]);
}

/* ---- leaves ---- */

static void evaluate_iota(const struct evaluate_call *call)
{
    const struct shape *shape = &call->result->shape;
    int64_t index[RANK_MAX] = {0};
    for (int64_t i = 0; i < shape_elements(shape); i++, evaluate_next(shape, index)) {
        int64_t value = 0;
        for (int axis = 0; axis < shape->rank; axis++)
            if (call->node->attributes->axes >> axis & 1)
                value = value * shape->dimension[axis] + index[axis];
        call->result->values[i] = (double)value;
    }
}

static void evaluate_random(const struct evaluate_call *call)
{
    int64_t seed = (int64_t)call->operands[0]->values[0], attempt = (int64_t)call->operands[1]->values[0];
    for (int64_t i = 0; i < shape_elements(&call->result->shape); i++)
        call->result->values[i] = philox_uniform(seed, attempt, call->node->attributes->key, (uint64_t)i);
}

static void copy_values(struct tensor *to, const struct tensor *from, const char *what, const char *name)
{
    if (!from)
        castor_bug("evaluate: there is no %s \"%s\"", what, name);
    if (shape_elements(&from->shape) != shape_elements(&to->shape))
        castor_bug("evaluate: %s \"%s\" has another size", what, name);
    if (shape_elements(&to->shape))
        memcpy(to->values, from->values, sizeof *to->values * (size_t)shape_elements(&to->shape));
}

static void evaluate_leaf(const struct evaluate_call *call, const struct environment *environment)
{
    const struct attributes *attributes = call->node->attributes;
    switch (call->node->op) {
    case OP_constant:
        for (int64_t i = 0; i < shape_elements(&call->result->shape); i++)
            call->result->values[i] = attributes->value;
        break;
    case OP_iota:
        evaluate_iota(call);
        break;
    case OP_input:
        copy_values(call->result, environment_input(environment, attributes->symbol), "input", attributes->symbol);
        break;
    case OP_read:
        copy_values(call->result, environment_variable(environment, attributes->symbol), "variable",
                    attributes->symbol);
        break;
    case OP_argument:
        copy_values(call->result, attributes->index < ARGUMENTS_MAX ? environment->arguments[attributes->index] : NULL,
                    "argument", "");
        break;
    default:
        evaluate_random(call);
        break;
    }
}

static void evaluate_marker(const struct evaluate_call *call)
{
    if (call->node->op == OP_grad)
        castor_bug("evaluate: grad is to be expanded by pass gradients first");
    if (call->node->op == OP_scale_seed)
        call->result->values[0] = 1;
    else
        copy_values(call->result, call->operands[0], "operand", "");
}

/* ---- the walk ---- */

struct evaluation {
    struct arena *arena;
    const struct graph *graph;
    struct tensor **values; /* by node id */
    struct tensor ***loops; /* by node id, of loops: what they leave, by the number of the output */
};

static void evaluate_node(const struct evaluate_call *call, const struct environment *environment)
{
    switch (op_info(call->node->op)->class) {
    case CLASS_POINTWISE:
        evaluate_pointwise_node(call);
        break;
    case CLASS_LEAF:
        evaluate_leaf(call, environment);
        break;
    case CLASS_REDUCE:
        evaluate_reduce(call);
        break;
    case CLASS_SCAN:
        (call->node->op == OP_cumsum ? evaluate_cumsum : evaluate_suppressed)(call);
        break;
    case CLASS_MOVEMENT:
        evaluate_movement(call);
        break;
    case CLASS_FOLD:
        (call->node->op == OP_fold ? evaluate_fold : evaluate_tap_sums)(call);
        break;
    case CLASS_GATHER:
        (call->node->op == OP_gather ? evaluate_gather : evaluate_scatter_add)(call);
        break;
    case CLASS_CONTRACTION:
        (call->node->op == OP_matmul ? evaluate_matmul : evaluate_convolution)(call);
        break;
    case CLASS_LOOP: /* by evaluate_graph itself */
        break;
    case CLASS_MARKER:
        evaluate_marker(call);
        break;
    case CLASS_EFFECT:
        copy_values(call->result, call->operands[0], "operand", "");
        break;
    }
}

static void round_values(struct tensor *tensor, enum evaluate_mode mode)
{
    if (mode == EVALUATE_EXACT && element_is_float(tensor->element))
        return;
    for (int64_t i = 0; i < shape_elements(&tensor->shape); i++)
        tensor->values[i] = element_round(tensor->element, tensor->values[i]);
}

struct evaluation *evaluate_graph(const struct graph *graph, const struct environment *environment,
                                  enum evaluate_mode mode)
{
    struct arena *arena = arena_new();
    struct evaluation *evaluation = ARENA_NEW(arena, struct evaluation);
    ptrdiff_t count = arrlen(graph->nodes);
    *evaluation = (struct evaluation){arena, graph, ARENA_ARRAY(arena, struct tensor *, count + 1),
                                      ARENA_ARRAY(arena, struct tensor **, count + 1)};
    for (ptrdiff_t i = 0; i < count; i++) {
        const struct node *node = graph->nodes[i];
        const struct tensor **operands = ARENA_ARRAY(arena, const struct tensor *, node->operand_count + 1);
        for (int k = 0; k < node->operand_count; k++)
            operands[k] = evaluation->values[node->operands[k]->id];
        struct tensor *result = tensor_new(arena, node->type.element, &node->type.shape);
        evaluation->values[i] = result;
        if (shape_elements(&node->type.shape) == 0)
            continue;
        if (node->op == OP_loop) {
            evaluation->loops[i] = evaluate_loop(graph->module, node, operands, environment, mode, arena);
            continue;
        }
        if (node->op == OP_result)
            copy_values(result, evaluation->loops[node->operands[0]->id][node->attributes->index], "result", "");
        evaluate_node(&(struct evaluate_call){node, operands, result}, environment);
        round_values(result, mode);
    }
    return evaluation;
}

void evaluation_free(struct evaluation *evaluation)
{
    if (evaluation)
        arena_free(evaluation->arena);
}

const struct tensor *evaluation_value(const struct evaluation *evaluation, const struct node *node)
{
    return evaluation->values[node->id];
}

static const struct tensor *find_effect(const struct evaluation *evaluation, enum op op, const char *symbol)
{
    for (ptrdiff_t i = 0; i < arrlen(evaluation->graph->nodes); i++) {
        const struct node *node = evaluation->graph->nodes[i];
        if (node->op == op && strcmp(node->attributes->symbol, symbol) == 0)
            return evaluation->values[i];
    }
    return NULL;
}

const struct tensor *evaluation_output(const struct evaluation *evaluation, const char *name)
{
    return find_effect(evaluation, OP_output, name);
}

const struct tensor *evaluation_write(const struct evaluation *evaluation, const char *variable)
{
    return find_effect(evaluation, OP_write, variable);
}

void evaluation_commit(const struct evaluation *evaluation, struct environment *environment)
{
    for (ptrdiff_t i = 0; i < arrlen(evaluation->graph->nodes); i++) {
        const struct node *node = evaluation->graph->nodes[i];
        if (node->op != OP_write)
            continue;
        const struct tensor *written = evaluation->values[i];
        struct tensor *variable = environment_variable(environment, node->attributes->symbol);
        if (!variable) {
            variable = tensor_new(environment->arena, written->element, &written->shape);
            shput(environment->variables, arena_intern(environment->arena, node->attributes->symbol), variable);
        }
        copy_values(variable, written, "variable", node->attributes->symbol);
    }
}
