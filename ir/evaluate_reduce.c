/* The evaluator: reductions, running sums, gather and scatter. */
#include "ir/evaluate_ops.h"

#include <math.h>

/* For each element of the operand in row-major order: the element of the result that it goes into, and its row-major
 * index over the reduced axes. */
struct reduction {
    const struct shape *shape;
    int64_t index[RANK_MAX], result_strides[RANK_MAX], axis_strides[RANK_MAX];
};

static struct reduction reduction_begin(const struct evaluate_call *call)
{
    struct reduction reduction = {.shape = &call->operands[0]->shape};
    evaluate_strides(&call->result->shape, reduction.result_strides);
    int64_t stride = 1;
    for (int axis = reduction.shape->rank - 1; axis >= 0; axis--) {
        if (!(call->node->attributes->axes >> axis & 1))
            continue;
        reduction.result_strides[axis] = 0;
        reduction.axis_strides[axis] = stride;
        stride *= reduction.shape->dimension[axis];
    }
    return reduction;
}

static int64_t place(const struct reduction *reduction, const int64_t strides[RANK_MAX])
{
    int64_t offset = 0;
    for (int axis = 0; axis < reduction->shape->rank; axis++)
        offset += reduction->index[axis] * strides[axis];
    return offset;
}

static double reduce_start(enum op op)
{
    switch (op) {
    case OP_prod:
        return 1;
    case OP_reduce_max:
    case OP_argmax:
        return -INFINITY;
    case OP_reduce_min:
    case OP_argmin:
        return INFINITY;
    default:
        return 0;
    }
}

static double reduce_step(enum op op, double so_far, double value)
{
    switch (op) {
    case OP_prod:
        return so_far * value;
    case OP_reduce_max:
        return evaluate_pointwise(OP_max, so_far, value, 0);
    case OP_reduce_min:
        return evaluate_pointwise(OP_min, so_far, value, 0);
    default:
        return so_far + value;
    }
}

static void reduce_plain(const struct evaluate_call *call, enum op op, double *values)
{
    struct reduction reduction = reduction_begin(call);
    for (int64_t i = 0; i < shape_elements(&call->result->shape); i++)
        values[i] = reduce_start(op);
    for (int64_t i = 0; i < shape_elements(reduction.shape); i++) {
        double *value = &values[place(&reduction, reduction.result_strides)];
        *value = reduce_step(op, *value, call->operands[0]->values[i]);
        evaluate_next(reduction.shape, reduction.index);
    }
}

/* The first element that beats all before it; the first NaN beats all. */
static void reduce_argument(const struct evaluate_call *call)
{
    struct reduction reduction = reduction_begin(call);
    int64_t results = shape_elements(&call->result->shape);
    struct arena *arena = arena_new();
    double *best = ARENA_ARRAY(arena, double, results);
    double sign = call->node->op == OP_argmax ? 1 : -1;
    for (int64_t i = 0; i < results; i++)
        best[i] = -INFINITY;
    for (int64_t i = 0; i < shape_elements(reduction.shape); i++) {
        int64_t to = place(&reduction, reduction.result_strides);
        double value = sign * call->operands[0]->values[i];
        if (!isnan(best[to]) && (isnan(value) || value > best[to])) {
            best[to] = value;
            call->result->values[to] = (double)place(&reduction, reduction.axis_strides);
        }
        evaluate_next(reduction.shape, reduction.index);
    }
    arena_free(arena);
}

/* Two passes: the mean first, then the squared deviations from it. */
static void reduce_m2(const struct evaluate_call *call)
{
    int64_t results = shape_elements(&call->result->shape);
    int64_t elements = shape_elements(&call->operands[0]->shape);
    struct arena *arena = arena_new();
    double *mean = ARENA_ARRAY(arena, double, results);
    reduce_plain(call, OP_sum, mean);
    int64_t each = elements / results;
    for (int64_t i = 0; i < results; i++)
        mean[i] /= (double)each;
    struct reduction reduction = reduction_begin(call);
    for (int64_t i = 0; i < elements; i++) {
        int64_t to = place(&reduction, reduction.result_strides);
        double deviation = call->operands[0]->values[i] - mean[to];
        call->result->values[to] += deviation * deviation;
        evaluate_next(reduction.shape, reduction.index);
    }
    arena_free(arena);
}

void evaluate_reduce(const struct evaluate_call *call)
{
    switch (call->node->op) {
    case OP_argmax:
    case OP_argmin:
        reduce_argument(call);
        break;
    case OP_m2:
        reduce_m2(call);
        break;
    default:
        reduce_plain(call, call->node->op, call->result->values);
        break;
    }
}

/* The shape seen as [outer, size, inner] around one axis. */
struct around_axis {
    int64_t outer, size, inner;
};

static struct around_axis split_shape(const struct shape *shape, int axis)
{
    struct around_axis split = {1, shape->dimension[axis], 1};
    for (int i = 0; i < shape->rank; i++) {
        if (i < axis)
            split.outer *= shape->dimension[i];
        if (i > axis)
            split.inner *= shape->dimension[i];
    }
    return split;
}

void evaluate_cumsum(const struct evaluate_call *call)
{
    struct around_axis split = split_shape(&call->result->shape, call->node->attributes->axis);
    bool reverse = call->node->attributes->reverse;
    for (int64_t outer = 0; outer < split.outer; outer++)
        for (int64_t inner = 0; inner < split.inner; inner++) {
            double sum = 0;
            for (int64_t i = 0; i < split.size; i++) {
                int64_t along = reverse ? split.size - 1 - i : i;
                int64_t at = (outer * split.size + along) * split.inner + inner;
                sum += call->operands[0]->values[at];
                call->result->values[at] = sum;
            }
        }
}

void evaluate_suppressed(const struct evaluate_call *call)
{
    const struct shape *shape = &call->result->shape;
    int64_t n = shape->dimension[shape->rank - 1], count = shape_elements(shape);
    for (int64_t at = 0; at < count; at++) {
        const double *row = call->result->values + at / n * n, *pairs = call->operands[0]->values + at / n * n * n;
        bool suppressed = false;
        for (int64_t i = 0; i < at % n; i++)
            suppressed |= pairs[i * n + at % n] != 0 && row[i] == 0;
        call->result->values[at] = suppressed;
    }
}

void evaluate_gather(const struct evaluate_call *call)
{
    const struct tensor *table = call->operands[0], *index = call->operands[1];
    struct around_axis split = split_shape(&table->shape, call->node->attributes->axis);
    int64_t picks = shape_elements(&index->shape);
    double *to = call->result->values;
    for (int64_t outer = 0; outer < split.outer; outer++)
        for (int64_t pick = 0; pick < picks; pick++) {
            int64_t row = (int64_t)index->values[pick];
            bool inside = row >= 0 && row < split.size;
            const double *from = table->values + (outer * split.size + (inside ? row : 0)) * split.inner;
            for (int64_t inner = 0; inner < split.inner; inner++)
                *to++ = inside ? from[inner] : NAN;
        }
}

void evaluate_scatter_add(const struct evaluate_call *call)
{
    const struct tensor *updates = call->operands[0], *index = call->operands[1];
    struct around_axis split = split_shape(&call->result->shape, call->node->attributes->axis);
    int64_t picks = shape_elements(&index->shape);
    for (int64_t outer = 0; outer < split.outer; outer++)
        for (int64_t pick = 0; pick < picks; pick++) {
            int64_t row = (int64_t)index->values[pick];
            if (row < 0 || row >= split.size)
                continue;
            double *to = call->result->values + (outer * split.size + row) * split.inner;
            const double *from = updates->values + (outer * picks + pick) * split.inner;
            for (int64_t inner = 0; inner < split.inner; inner++)
                to[inner] += from[inner];
        }
}
