/* Built-in functions that make tensors: constants, ranges, random draws; and those that look up: gather, one_hot. */
#include "frontend/language/elaborate_internal.h"
#include "ir/loop.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>
#include <xxhash.h>

/* The shape of argument `index`, or the parameter's that is being initialised. */
static bool wanted_shape(struct builtin_call *call, int index, struct shape *shape, struct axis axes[RANK_MAX])
{
    struct elaborator *e = call->e;
    if (!e->builder.graph) {
        report(e, E0401, call->span, NULL, "`%s` makes a tensor; here a value known at compile time is needed",
               call->builtin->name);
        return false;
    }
    if (call->given[index])
        return want_shape(e, &call->values[index], call->spans[index], shape, axes);
    if (!e->implicit) {
        report(e, E0306, call->span, NULL, "`%s` needs a shape", call->builtin->name);
        return false;
    }
    *shape = *e->implicit;
    memset(axes, 0, sizeof *axes * RANK_MAX);
    return true;
}

/* Draws in a rolled repeat are made for all turns at once: false after a diagnostic where that is too much. */
static bool draws_fit(struct builtin_call *call, const struct shape *shape)
{
    struct elaborator *e = call->e;
    struct shape all = *shape;
    for (const struct rolled *rolled = e->draw_path ? NULL : e->rolled; rolled; rolled = rolled->outer) {
        if (all.rank == RANK_MAX) {
            report(e, E0211, call->span, NULL,
                   "a tensor has at most %d axes, and draws in a rolled repeat have one more", RANK_MAX);
            return false;
        }
        all.dimension[all.rank++] = rolled->turns;
    }
    return shape_fits(e, &all, call->span);
}

BUILTIN(full)
{
    struct shape shape;
    struct axis axes[RANK_MAX];
    struct value number = value_number(call->builtin->argument == 1);
    if (!wanted_shape(call, 0, &shape, axes))
        return (struct value){0};
    if (call->builtin->argument == 2)
        number = call->values[1];
    if (number.kind == VALUE_TENSOR)
        return tensor_broadcast(call->e, &number, &shape, call->span);
    if (!want_number(call->e, &number, call->span, "the value", &number.number))
        return (struct value){0};
    return value_tensor_axes(call->e, build_full(&call->e->builder, number.number, ELEMENT_F32, &shape), axes);
}

BUILTIN(full_like)
{
    const struct value *x = &call->values[0];
    if (!want_tensor(call->e, x, call->spans[0], "the operand"))
        return (struct value){0};
    enum element element = x->node->type.element;
    struct node *node = build_full(&call->e->builder, call->builtin->argument, element, &x->node->type.shape);
    return value_tensor_axes(call->e, node, x->axes);
}

static struct node *iota(struct elaborator *e, const struct shape *shape, uint32_t axes)
{
    struct type type = type_make(ELEMENT_I32, *shape);
    return build(&e->builder, OP_iota, NULL, 0, &(struct attributes){.axes = axes}, &type);
}

BUILTIN(range)
{
    struct shape shape = {.rank = 1};
    if (!call->e->builder.graph)
        return report(call->e, E0401, call->span, NULL, "`range` makes a tensor");
    if (!want_size(call->e, &call->values[0], call->spans[0], "the end", &shape.dimension[0]))
        return (struct value){0};
    if (shape.dimension[0] - 1 > INT32_MAX)
        return report(call->e, E0210, call->spans[0], NULL, "range: i32 holds numbers up to %d", INT32_MAX);
    struct axis axis = axis_here(call->e);
    axis.dimension = call->values[0].dimension;
    return value_tensor_axes(call->e, iota(call->e, &shape, 1), &axis);
}

BUILTIN(tri)
{
    struct shape shape = {.rank = 2};
    if (!call->e->builder.graph)
        return report(call->e, E0401, call->span, NULL, "`tri` makes a tensor");
    if (!want_size(call->e, &call->values[0], call->spans[0], "the size", &shape.dimension[0]))
        return (struct value){0};
    shape.dimension[1] = shape.dimension[0];
    if (!shape_fits(call->e, &shape, call->span))
        return (struct value){0};
    struct axis axes[] = {axis_here(call->e), axis_here(call->e)};
    axes[0].dimension = axes[1].dimension = call->values[0].dimension;
    struct node *row = iota(call->e, &shape, 1), *column = iota(call->e, &shape, 2);
    return value_tensor_axes(call->e, build_binary(&call->e->builder, OP_ge, row, column), axes);
}

/* ---- selection ---- */

static bool want_index(struct builtin_call *call, int index)
{
    const struct value *value = &call->values[index];
    if (!want_tensor(call->e, value, call->spans[index], "an index"))
        return false;
    enum element element = value->node->type.element;
    if (!element_is_float(element) && element != ELEMENT_BOOL)
        return true;
    report(call->e, E0204, call->spans[index], NULL, "an index must be made of integers, not %s",
           value_describe(call->e, value));
    return false;
}

static bool classes_fit(struct builtin_call *call, const struct value *index, int64_t size)
{
    if (!index->classes || index->classes <= size)
        return true;
    report(call->e, E0205, call->span, NULL, "`%s`: an index of %lld classes into %lld places", call->builtin->name,
           (long long)index->classes, (long long)size);
    return false;
}

static bool gather_arguments(struct builtin_call *call, int axis_index, int *axis)
{
    const struct value *table = &call->values[0], *index = &call->values[1];
    return want_tensor(call->e, table, call->spans[0], "the table") && want_index(call, 1) &&
           argument_axis(call, axis_index, table->node->type.shape.rank, 0, axis) &&
           classes_fit(call, index, table->node->type.shape.dimension[*axis]);
}

BUILTIN(gather)
{
    const struct value *table = &call->values[0], *index = &call->values[1];
    int axis;
    if (!gather_arguments(call, 2, &axis))
        return (struct value){0};
    struct axis axes[2 * RANK_MAX];
    int rank = 0;
    for (int i = 0; i < table->node->type.shape.rank; i++)
        if (i != axis)
            axes[rank++] = table->axes[i];
        else
            for (int k = 0; k < index->node->type.shape.rank; k++)
                axes[rank++] = index->axes[k];
    struct node *operands[] = {table->node, index->node};
    struct value result =
        tensor_build(call->e, OP_gather, operands, 2, &(struct attributes){.axis = axis}, NULL, call->span, axes);
    result.classes = table->classes;
    return result;
}

/* The table plus the updates, each at its index. */
BUILTIN(scatter_add)
{
    const struct value *table = &call->values[0], *updates = &call->values[2];
    int axis;
    if (!gather_arguments(call, 3, &axis) || !want_tensor(call->e, updates, call->spans[2], "the updates") ||
        refuse_classes(call->e, table, "scatter_add", call->span))
        return (struct value){0};
    struct node *operands[] = {updates->node, call->values[1].node};
    struct value sums = tensor_build(call->e, OP_scatter_add, operands, 2, &(struct attributes){.axis = axis},
                                     &table->node->type.shape, call->span, table->axes);
    return sums.kind == VALUE_ERROR ? sums : tensor_binary(call->e, OP_add, table, &sums, call->span);
}

/* True where the index along a new axis is the index. */
BUILTIN(one_hot)
{
    const struct value *index = &call->values[0];
    int64_t n = index->classes;
    int axis;
    if (!want_index(call, 0) ||
        (call->given[1] && !want_size(call->e, &call->values[1], call->spans[1], "the number of classes", &n)))
        return (struct value){0};
    int rank = index->node->type.shape.rank + 1;
    if (!n)
        return report(call->e, E0306, call->span, NULL, "`one_hot` needs the number of classes for %s",
                      value_describe(call->e, index));
    if (rank > RANK_MAX)
        return report(call->e, E0211, call->span, NULL, "a tensor has at most %d axes", RANK_MAX);
    if (!classes_fit(call, index, n) || !argument_axis(call, 2, rank, rank - 1, &axis))
        return (struct value){0};
    struct shape one = {.rank = rank}, full;
    struct axis axes[RANK_MAX] = {{0}};
    for (int i = 0, k = 0; i < rank; i++) {
        one.dimension[i] = i == axis ? 1 : index->node->type.shape.dimension[k];
        if (i != axis)
            axes[i] = index->axes[k++];
    }
    full = one;
    full.dimension[axis] = n;
    if (!shape_fits(call->e, &full, call->span))
        return (struct value){0};
    struct builder *builder = &call->e->builder;
    struct node *labels = build_broadcast(builder, build_reshape(builder, index->node, &one), &full);
    return value_tensor_axes(call->e, build_binary(builder, OP_eq, iota(call->e, &full, 1u << axis), labels), axes);
}

BUILTIN(where)
{
    const struct value *condition = &call->values[0];
    if (condition->kind == VALUE_BOOL)
        return call->values[condition->number != 0 ? 1 : 2];
    return tensor_where(call->e, condition, &call->values[1], &call->values[2], call->span);
}

/* ---- explicit types, gradients ---- */

BUILTIN(cast)
{
    const struct value *x = &call->values[0], *type = &call->values[1];
    if (!want_tensor(call->e, x, call->spans[0], "what is cast"))
        return (struct value){0};
    if (type->kind != VALUE_TYPE || type->number == ELEMENT_F64)
        return report(call->e, E0402, call->spans[1], NULL, "cast(x, type) needs an element type such as f16");
    return tensor_cast(call->e, x, (enum element)type->number, true);
}

BUILTIN(grad)
{
    const struct value *y = &call->values[0], *x = &call->values[1];
    if (call->e->rolled)
        return report(call->e, E0414, call->span, NULL, "`grad` has no place in a rolled repeat");
    for (int i = 0; i < 2; i++) {
        if (!want_tensor(call->e, &call->values[i], call->spans[i], i ? "x of grad(y, x)" : "y of grad(y, x)"))
            return (struct value){0};
        if (!element_is_float(call->values[i].node->type.element))
            return report(call->e, E0204, call->spans[i], NULL, "grad needs floating values, not %s",
                          value_describe(call->e, &call->values[i]));
    }
    if (!call->e->training) {
        struct node *operands[] = {y->node, x->node};
        return tensor_build(call->e, OP_grad, operands, 2, NULL, NULL, call->span, x->axes);
    }
    /* In training it may be half, so it is scaled on its way like the gradients of the minimised loss. */
    struct node *seed = build(&call->e->builder, OP_scale_seed, NULL, 0, NULL, NULL);
    struct node *operands[] = {y->node, x->node, seed};
    struct value scaled = tensor_build(call->e, OP_grad, operands, 3, NULL, NULL, call->span, x->axes);
    return tensor_build(call->e, OP_unscale, &scaled.node, 1, NULL, NULL, call->span, x->axes);
}

/* ---- random draws ---- */

/* The key of the next draw: a hash of where it stands and of how many stood there before it in this graph. */
static uint64_t draw_key(struct elaborator *e)
{
    const char *path = e->draw_path ? e->draw_path : e->frame ? e->frame->value_path : "";
    ptrdiff_t at = FIND(e->draws, path);
    if (at < 0) {
        hmput(e->draws, path, 0);
        at = FIND(e->draws, path);
    }
    const char *text = arena_printf(e->arena, "%s#%d", path, e->draws[at].value++);
    return XXH64(text, strlen(text), 0);
}

static struct node *draw_here(struct elaborator *e, const struct shape *shape, uint64_t key)
{
    struct variable *seed = variable_implied(e, "train/seed", ELEMENT_I64, VARIABLE_HOST, 0);
    struct node *operands[2] = {variable_value(e, seed).node, NULL};
    if (e->draw_path)
        operands[1] = build_constant(&e->builder, 0, ELEMENT_I64);
    else
        operands[1] = variable_value(e, variable_implied(e, "train/attempt", ELEMENT_I64, VARIABLE_OPTIMIZER, 0)).node;
    struct type type = type_make(ELEMENT_F32, *shape);
    return build(&e->builder, OP_random, operands, 2, &(struct attributes){.key = key}, &type);
}

/* In a rolled repeat all turns draw at once, before it: a node draws one set of numbers. */
static struct node *draw_before(struct elaborator *e, struct rolled *rolled, const struct shape *shape, uint64_t key)
{
    struct graph *graph = e->builder.graph;
    struct node *node;
    if (rolled) {
        struct type turn = type_make(ELEMENT_F32, *shape), all = loop_type_of_sequence(&turn, (int)rolled->turns);
        node = rolled_sequence(e, rolled, draw_before(e, rolled->outer, &all.shape, key));
    } else {
        e->builder.graph = rolled_root(e);
        node = draw_here(e, shape, key);
    }
    e->builder.graph = graph;
    return node;
}

static struct node *draw(struct elaborator *e, const struct shape *shape)
{
    uint64_t key = draw_key(e);
    return e->draw_path ? draw_here(e, shape, key) : draw_before(e, e->rolled, shape, key);
}

static bool draw_number(struct builtin_call *call, int index, const char *name, double *number)
{
    const struct value *value = &call->values[index];
    if (want_number(call->e, value, call->spans[index], name, number))
        return true;
    if (value->kind == VALUE_LIST)
        diagnostics_note(call->e->diagnostics, (struct span){0}, "the shape comes last, or as `shape = [...]`");
    return false;
}

/* Of numbers from bounds[0] to bounds[1], or of this mean and deviation: the second at least `least`. */
static bool draw_bounds(struct builtin_call *call, const char *const names[2], double bounds[2], const double *least)
{
    for (int i = 0; i < 2; i++) {
        if (call->given[i] && !draw_number(call, i, names[i], &bounds[i]))
            return false;
        if (isfinite(bounds[i]) && (i == 0 || bounds[1] >= *least))
            continue;
        struct span span = call->given[i] ? call->spans[i] : call->span;
        if (isfinite(bounds[i]))
            report(call->e, E0402, span, NULL, "%s must be at least %.9g, not %.9g", names[i], *least, bounds[i]);
        else
            report(call->e, E0402, span, NULL, "%s must be finite, not %.9g", names[i], bounds[i]);
        return false;
    }
    return true;
}

/* x * scale + shift, as few nodes as needed. */
static struct node *affine(struct builder *builder, struct node *x, double scale, double shift)
{
    if (scale != 1)
        x = build_binary(builder, OP_mul, x, build_constant(builder, scale, ELEMENT_F32));
    if (shift != 0)
        x = build_binary(builder, OP_add, x, build_constant(builder, shift, ELEMENT_F32));
    return x;
}

BUILTIN(uniform)
{
    double bounds[2] = {0, 1};
    struct shape shape;
    struct axis axes[RANK_MAX];
    if (!draw_bounds(call, (const char *const[]){"the lower bound", "the upper bound"}, bounds, &bounds[0]) ||
        !wanted_shape(call, 2, &shape, axes) || !draws_fit(call, &shape))
        return (struct value){0};
    struct node *node = affine(&call->e->builder, draw(call->e, &shape), bounds[1] - bounds[0], bounds[0]);
    return value_tensor_axes(call->e, node, axes);
}

/* Box and Muller: sqrt(-2 log(1 - u)) cos(2 pi v) for uniform u, v in [0, 1). Radius and angle are f32 whatever the
 * policy says: in half 1 - u is 0 for one u in some hundreds or thousands, and the radius infinite. */
BUILTIN(normal)
{
    double bounds[2] = {0, 1};
    struct shape shape;
    struct axis axes[RANK_MAX];
    if (!draw_bounds(call, (const char *const[]){"the mean", "the deviation"}, bounds, &(const double){0}) ||
        !wanted_shape(call, 2, &shape, axes) || !draws_fit(call, &shape))
        return (struct value){0};
    struct builder *builder = &call->e->builder, wide = *builder;
    wide.pin = ELEMENT_F32;
    struct node *u = affine(&wide, draw(call->e, &shape), -1, 1), *v = draw(call->e, &shape);
    struct node *radius = build_unary(&wide, OP_sqrt, affine(&wide, build_unary(&wide, OP_log, u), -2, 0));
    struct node *angle = build_unary(&wide, OP_cos, affine(&wide, v, 2 * 3.14159265358979323846, 0));
    struct node *node = build_binary(builder, OP_mul, radius, angle);
    return value_tensor_axes(call->e, affine(builder, node, bounds[1], bounds[0]), axes);
}

BUILTIN(bernoulli)
{
    double p;
    struct shape shape;
    struct axis axes[RANK_MAX];
    if (!draw_number(call, 0, "the probability", &p) || !wanted_shape(call, 1, &shape, axes) ||
        !draws_fit(call, &shape))
        return (struct value){0};
    if (!(p >= 0 && p <= 1))
        return report(call->e, E0402, call->spans[0], NULL, "the probability must lie from 0 to 1, not %.9g", p);
    struct builder *builder = &call->e->builder;
    struct node *node = build_binary(builder, OP_lt, draw(call->e, &shape), build_constant(builder, p, ELEMENT_F32));
    return value_tensor_axes(call->e, node, axes);
}
