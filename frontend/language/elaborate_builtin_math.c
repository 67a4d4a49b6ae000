/* Built-in functions: arithmetic, reductions, and what asks for shapes at compile time. */
#include "frontend/language/elaborate_internal.h"

#include <math.h>
#include <string.h>

/* What is said of argument `index`, which is neither. */
static struct value numbers_only(struct builtin_call *call, int index)
{
    const struct value *x = &call->values[index];
    if (x->kind == VALUE_ERROR)
        return *x;
    return report(call->e, E0402, call->spans[index], NULL, "`%s` needs a tensor or a number, not %s",
                  call->builtin->name, value_describe(call->e, x));
}

BUILTIN(unary)
{
    const struct value *x = &call->values[0];
    enum op op = (enum op)call->builtin->argument;
    double number;
    if (x->kind == VALUE_TENSOR) {
        struct value result = tensor_unary(call->e, op, x, call->span);
        return result;
    }
    if (x->kind != VALUE_NUMBER)
        return numbers_only(call, 0);
    if (op == OP_isfinite)
        return value_bool(isfinite(x->number));
    if (op == OP_stop_gradient)
        return *x;
    if (!number_unary(op, x->number, &number))
        return numbers_only(call, 0);
    struct value result = value_number(number);
    bool whole = op == OP_floor || op == OP_ceil || op == OP_round || op == OP_abs || op == OP_sign;
    result.integer = whole && value_is_integer(&result);
    return result;
}

static bool is_number(const struct value *value)
{
    return value->kind == VALUE_NUMBER;
}

/* max(a, b) elementwise; max(x, axis = …) over axes. */
BUILTIN(minmax)
{
    const struct value *a = &call->values[0], *b = &call->values[1];
    bool max = call->builtin->argument == OP_max;
    if (!call->given[1]) {
        uint32_t axes;
        bool all;
        if (!want_tensor(call->e, a, call->spans[0], "what is reduced") || !argument_axes(call, 2, a, &axes, &all))
            return (struct value){0};
        return tensor_reduce(call->e, max ? OP_reduce_max : OP_reduce_min, a, axes, all, call->span);
    }
    if (call->given[2])
        return report(call->e, E0307, call->spans[2], NULL, "`%s` of two values is elementwise and has no axis",
                      call->builtin->name);
    if (a->kind == VALUE_TENSOR || b->kind == VALUE_TENSOR)
        return tensor_binary(call->e, max ? OP_max : OP_min, a, b, call->span);
    if (!is_number(a) || !is_number(b))
        return numbers_only(call, is_number(a) ? 1 : 0);
    bool first = max ? a->number >= b->number : a->number <= b->number;
    return isnan(a->number) || (first && !isnan(b->number)) ? *a : *b;
}

static bool reduce_arguments(struct builtin_call *call, uint32_t *axes, bool *all)
{
    return want_tensor(call->e, &call->values[0], call->spans[0], "what is reduced") &&
           argument_axes(call, 1, &call->values[0], axes, all);
}

BUILTIN(reduce)
{
    struct value x = call->values[0];
    enum op op = (enum op)call->builtin->argument;
    uint32_t axes;
    bool all;
    if (!reduce_arguments(call, &axes, &all))
        return (struct value){0};
    bool logical = op == OP_reduce_max || op == OP_reduce_min;
    if (logical && x.node->type.element != ELEMENT_BOOL)
        return report(call->e, E0204, call->spans[0], NULL, "`%s` needs truth values, not %s", call->builtin->name,
                      value_describe(call->e, &x));
    return tensor_reduce(call->e, op, &x, axes, all, call->span);
}

static double elements_over(const struct value *x, uint32_t axes)
{
    double count = 1;
    for (int i = 0; i < x->node->type.shape.rank; i++)
        if (axes >> i & 1)
            count *= (double)x->node->type.shape.dimension[i];
    return count;
}

/* Sums of integers are i32: floats need none, and truth values are counted in it. */
static bool sum_is_exact(const struct value *x, double count)
{
    enum element element = x->node->type.element;
    return element_is_float(element) || (element == ELEMENT_BOOL && count <= INT32_MAX);
}

BUILTIN(mean)
{
    uint32_t axes;
    bool all;
    if (!reduce_arguments(call, &axes, &all))
        return (struct value){0};
    struct value x = call->values[0], count = value_number(elements_over(&x, axes));
    if (refuse_classes(call->e, &x, "mean", call->span))
        return (struct value){0};
    if (!sum_is_exact(&x, count.number))
        x = tensor_cast(call->e, &x, ELEMENT_F32, false);
    struct value total = tensor_reduce(call->e, OP_sum, &x, axes, all, call->span);
    return total.kind == VALUE_ERROR ? total : tensor_binary(call->e, OP_div, &total, &count, call->span);
}

BUILTIN(var)
{
    uint32_t axes;
    bool all;
    double correction = 0;
    if (!reduce_arguments(call, &axes, &all) ||
        (call->given[2] && !want_number(call->e, &call->values[2], call->spans[2], "correction", &correction)))
        return (struct value){0};
    const struct value *x = &call->values[0];
    struct value squares = tensor_reduce(call->e, OP_m2, x, axes, all, call->span);
    struct value count = value_number(elements_over(x, axes) - correction);
    return squares.kind == VALUE_ERROR ? squares : tensor_binary(call->e, OP_div, &squares, &count, call->span);
}

/* Over one axis, the last one when none is given, which is dropped. */
BUILTIN(arg)
{
    const struct value *x = &call->values[0];
    int axis;
    if (!want_tensor(call->e, x, call->spans[0], "what is reduced"))
        return (struct value){0};
    int rank = x->node->type.shape.rank;
    if (rank == 0)
        return report(call->e, E0211, call->span, NULL, "`%s` of a scalar", call->builtin->name);
    if (!argument_axis(call, 1, rank, rank - 1, &axis))
        return (struct value){0};
    struct value kept = tensor_reduce(call->e, (enum op)call->builtin->argument, x, 1u << axis, false, call->span);
    if (kept.kind == VALUE_ERROR)
        return kept;
    struct shape shape = {0};
    struct axis axes[RANK_MAX];
    for (int i = 0; i < rank; i++)
        if (i != axis) {
            axes[shape.rank] = x->axes[i];
            shape.dimension[shape.rank++] = x->node->type.shape.dimension[i];
        }
    return tensor_reshape(call->e, &kept, &shape, axes, call->span);
}

BUILTIN(cumsum)
{
    const struct value *x = &call->values[0];
    int axis;
    if (!want_tensor(call->e, x, call->spans[0], "what is summed") ||
        refuse_classes(call->e, x, "cumsum", call->spans[0]))
        return (struct value){0};
    int rank = x->node->type.shape.rank;
    if (!call->given[1] && rank != 1)
        return report(call->e, E0306, call->span, NULL, "`cumsum` needs `axis`");
    if (!argument_axis(call, 1, rank, 0, &axis))
        return (struct value){0};
    struct value floating = *x;
    if (!element_is_float(x->node->type.element))
        floating = tensor_cast(call->e, x, ELEMENT_I32, false);
    return tensor_build(call->e, OP_cumsum, &floating.node, 1, &(struct attributes){.axis = axis}, NULL, call->span,
                        x->axes);
}

BUILTIN(suppressed)
{
    const struct value *pairs = &call->values[0];
    if (!want_tensor(call->e, pairs, call->spans[0], "what tells the pairs"))
        return (struct value){0};
    const struct shape *shape = &pairs->node->type.shape;
    int last = shape->rank - 1;
    if (pairs->node->type.element != ELEMENT_BOOL || last < 1 || shape->dimension[last] != shape->dimension[last - 1])
        return report(call->e, E0202, call->spans[0], NULL,
                      "suppressed: the pairs must be bool and their last two axes have one size, not %s %s",
                      element_name(pairs->node->type.element), shape_text(call->e, shape));
    return tensor_build(call->e, OP_suppressed, &pairs->node, 1, NULL, NULL, call->span, pairs->axes);
}

/* ---- about shapes, at compile time ---- */

static struct value axis_size(const struct value *x, int axis)
{
    if (x->axes[axis].dimension)
        return value_dimension(x->axes[axis].dimension);
    struct value size = value_integer(x->node->type.shape.dimension[axis]);
    size.derived = true;
    return size;
}

BUILTIN(shape)
{
    const struct value *x = &call->values[0];
    struct value sizes[RANK_MAX];
    if (!want_tensor(call->e, x, call->spans[0], "what is measured"))
        return (struct value){0};
    for (int i = 0; i < x->node->type.shape.rank; i++)
        sizes[i] = axis_size(x, i);
    return value_list(call->e, sizes, x->node->type.shape.rank);
}

BUILTIN(size)
{
    const struct value *x = &call->values[0];
    int axis;
    if (!want_tensor(call->e, x, call->spans[0], "what is measured") ||
        !argument_axis(call, 1, x->node->type.shape.rank, 0, &axis))
        return (struct value){0};
    return axis_size(x, axis);
}

BUILTIN(rank)
{
    const struct value *x = &call->values[0];
    if (!want_tensor(call->e, x, call->spans[0], "what is measured"))
        return (struct value){0};
    return value_integer(x->node->type.shape.rank);
}

BUILTIN(axes)
{
    const struct value *x = &call->values[0];
    int except = -1;
    if (!want_tensor(call->e, x, call->spans[0], "what is measured"))
        return (struct value){0};
    int rank = x->node->type.shape.rank, count = 0;
    if (call->given[1] && !argument_axis(call, 1, rank, 0, &except))
        return (struct value){0};
    struct value axes[RANK_MAX];
    for (int i = 0; i < rank; i++)
        if (i != except)
            axes[count++] = value_integer(i);
    return value_list(call->e, axes, count);
}

BUILTIN(count)
{
    uint32_t axes;
    bool all;
    if (!reduce_arguments(call, &axes, &all))
        return (struct value){0};
    return value_integer((int64_t)elements_over(&call->values[0], axes));
}

BUILTIN(pair)
{
    int64_t sizes[2];
    if (!argument_pair(call, 0, 1, sizes))
        return (struct value){0};
    struct value items[] = {value_integer(sizes[0]), value_integer(sizes[1])};
    struct value result = value_list(call->e, items, 2);
    result.kind = VALUE_TUPLE;
    return result;
}

/* Division of whole numbers, rounded down, and what is left over. */
BUILTIN(whole)
{
    int64_t a, b;
    if (!want_integer(call->e, &call->values[0], call->spans[0], "the dividend", &a) ||
        !want_integer(call->e, &call->values[1], call->spans[1], "the divisor", &b))
        return (struct value){0};
    if (b < 1 || a < 0)
        return report(call->e, E0402, call->span, NULL, "%s(%lld, %lld) is not defined", call->builtin->name,
                      (long long)a, (long long)b);
    return value_integer(call->builtin->argument ? a % b : a / b);
}

/* fan_in is axis 1, fan_out axis 0, each times the sizes of the axes from 2 on. */
BUILTIN(fan)
{
    const struct shape *shape = call->e->implicit;
    if (!shape)
        return report(call->e, E0408, call->span, NULL, "`%s` is known only where a parameter is initialised",
                      call->builtin->name);
    if (shape->rank < 2)
        return report(call->e, E0211, call->span, NULL, "`%s` needs a parameter of at least two axes, not %s",
                      call->builtin->name, shape_text(call->e, shape));
    int64_t fan = shape->dimension[call->builtin->argument];
    for (int i = 2; i < shape->rank; i++)
        fan *= shape->dimension[i];
    return value_integer(fan);
}

/* The value itself, when the condition holds (or is known only at run time). */
BUILTIN(require)
{
    const struct value *condition = &call->values[1], *message = &call->values[2];
    if (condition->kind == VALUE_TENSOR || (condition->kind == VALUE_BOOL && condition->number != 0))
        return call->values[0];
    if (message->kind != VALUE_STRING || condition->kind != VALUE_BOOL)
        return report(call->e, E0402, call->span, NULL,
                      "require(value, condition, message) needs a condition and a "
                      "string");
    if (call->values[0].kind != VALUE_NUMBER)
        return report(call->e, E0410, call->span, NULL, "%s", message->text);
    return report(call->e, E0410, call->span, NULL, "%s, not %s", message->text,
                  number_text(call->e, call->values[0].number));
}

BUILTIN(ratio)
{
    for (int i = 0; i < 2; i++)
        if (call->values[i].kind != VALUE_NUMBER &&
            !want_tensor(call->e, &call->values[i], call->spans[i], "a part of a ratio"))
            return (struct value){0};
    struct value result = value_list(call->e, call->values, 2);
    result.kind = VALUE_RATIO;
    return result;
}
