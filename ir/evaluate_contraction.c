/* The evaluator: matrix products and convolutions, by their definitions. */
#include "ir/evaluate_ops.h"

/* One [m, k] @ [k, n] product; the strides say whether an operand is stored transposed. */
struct product {
    const double *a, *b;
    double *c;
    int64_t m, n, k;
    int64_t a_row, a_column, b_row, b_column;
};

static void multiply(const struct product *p)
{
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t l = 0; l < p->k; l++) {
            double a = p->a[i * p->a_row + l * p->a_column];
            for (int64_t j = 0; j < p->n; j++)
                p->c[i * p->n + j] += a * p->b[l * p->b_row + j * p->b_column];
        }
}

void evaluate_matmul(const struct evaluate_call *call)
{
    const struct attributes *attributes = call->node->attributes;
    const struct tensor *a = call->operands[0], *b = call->operands[1];
    int rank = a->shape.rank;
    int64_t m = call->result->shape.dimension[rank - 2], n = call->result->shape.dimension[rank - 1];
    int64_t k = a->shape.dimension[attributes->transpose_a ? rank - 2 : rank - 1];
    struct product product = {.a = a->values, .b = b->values, .c = call->result->values, .m = m, .n = n, .k = k};
    product.a_row = attributes->transpose_a ? 1 : k;
    product.a_column = attributes->transpose_a ? m : 1;
    product.b_row = attributes->transpose_b ? 1 : n;
    product.b_column = attributes->transpose_b ? k : 1;
    int64_t batches = shape_elements(&call->result->shape) / (m * n);
    for (int64_t batch = 0; batch < batches; batch++) {
        multiply(&product);
        product.a += m * k;
        product.b += k * n;
        product.c += m * n;
    }
}

/* A convolution in three spatial dimensions, missing ones of size 1 in front. x [n, c, ..], weight [o, c / groups, ..]
 * and y [n, o, ..]; the one that is the result is written, the other two are read. */
struct convolution {
    double *x, *weight, *y;
    int64_t batch, outputs, inputs_each, outputs_each, groups;
    int64_t size[3], kernel[3], places[3], stride[3], dilation[3], pad[3];
    enum op op;
};

static void set_spatial(struct convolution *c, const struct window *window, const struct shape *x,
                        const struct shape *weight, const struct shape *y)
{
    for (int i = 0; i < 3; i++) {
        int axis = i - (3 - window->rank);
        c->size[i] = axis < 0 ? 1 : x->dimension[2 + axis];
        c->kernel[i] = axis < 0 ? 1 : weight->dimension[2 + axis];
        c->places[i] = axis < 0 ? 1 : y->dimension[2 + axis];
        c->stride[i] = axis < 0 ? 1 : window->stride[axis];
        c->dilation[i] = axis < 0 ? 1 : window->dilation[axis];
        c->pad[i] = axis < 0 ? 0 : window->pad_low[axis];
    }
}

/* Where along one spatial axis the kernel's element lies in x; -1 outside. */
static int64_t source(const struct convolution *c, int axis, int64_t output, int64_t kernel)
{
    int64_t at = output * c->stride[axis] - c->pad[axis] + kernel * c->dilation[axis];
    return at < 0 || at >= c->size[axis] ? -1 : at;
}

/* The places [first, end) of the last axis at which the kernel's element lies inside of x. */
struct reach {
    int64_t first, end;
};

static struct reach reach_of(const struct convolution *c, int64_t kernel)
{
    struct reach reach = {0, c->places[2]};
    while (reach.first < reach.end && source(c, 2, reach.first, kernel) < 0)
        reach.first++;
    while (reach.end > reach.first && source(c, 2, reach.end - 1, kernel) < 0)
        reach.end--;
    return reach;
}

/* All products of one element of the kernel along one row of y; x steps by the stride. */
static void accumulate_row(const struct convolution *c, double *x, double *weight, double *y, int64_t count)
{
    int64_t step = c->stride[2];
    double sum = 0;
    switch (c->op) {
    case OP_conv:
        for (int64_t i = 0; i < count; i++)
            y[i] += x[i * step] * *weight;
        break;
    case OP_conv_data:
        for (int64_t i = 0; i < count; i++)
            x[i * step] += *weight * y[i];
        break;
    default: /* conv_weight */
        for (int64_t i = 0; i < count; i++)
            sum += x[i * step] * y[i];
        *weight += sum;
        break;
    }
}

/* All products between one plane of x, one kernel and one plane of y. */
static void convolve_planes(const struct convolution *c, double *x, double *weight, double *y)
{
    struct shape kernel = shape_make(3, c->kernel);
    int64_t k[RANK_MAX] = {0};
    for (int64_t w = 0; w < shape_elements(&kernel); w++, evaluate_next(&kernel, k)) {
        struct reach reach = reach_of(c, k[2]);
        if (reach.first == reach.end)
            continue;
        int64_t column = source(c, 2, reach.first, k[2]);
        for (int64_t row = 0; row < c->places[0] * c->places[1]; row++) {
            int64_t i0 = source(c, 0, row / c->places[1], k[0]), i1 = source(c, 1, row % c->places[1], k[1]);
            if (i0 >= 0 && i1 >= 0)
                accumulate_row(c, x + (i0 * c->size[1] + i1) * c->size[2] + column, weight + w,
                               y + row * c->places[2] + reach.first, reach.end - reach.first);
        }
    }
}

static void convolve(const struct node *node, enum op op, const struct tensor *x, const struct tensor *weight,
                     const struct tensor *y)
{
    struct convolution c = {.x = x->values, .weight = weight->values, .y = y->values, .op = op};
    c.batch = x->shape.dimension[0];
    c.outputs = weight->shape.dimension[0];
    c.groups = node->attributes->groups;
    c.inputs_each = weight->shape.dimension[1];
    c.outputs_each = c.outputs / c.groups;
    set_spatial(&c, &node->attributes->window, &x->shape, &weight->shape, &y->shape);
    int64_t x_plane = c.size[0] * c.size[1] * c.size[2], kernel = c.kernel[0] * c.kernel[1] * c.kernel[2];
    int64_t y_plane = c.places[0] * c.places[1] * c.places[2];
    for (int64_t n = 0; n < c.batch; n++)
        for (int64_t o = 0; o < c.outputs; o++)
            for (int64_t i = 0; i < c.inputs_each; i++) {
                int64_t channel = o / c.outputs_each * c.inputs_each + i;
                convolve_planes(&c, c.x + (n * c.inputs_each * c.groups + channel) * x_plane,
                                c.weight + (o * c.inputs_each + i) * kernel, c.y + (n * c.outputs + o) * y_plane);
            }
}

void evaluate_convolution(const struct evaluate_call *call)
{
    const struct tensor *first = call->operands[0], *second = call->operands[1], *result = call->result;
    if (call->node->op == OP_conv)
        convolve(call->node, OP_conv, first, second, result);
    else if (call->node->op == OP_conv_data)
        convolve(call->node, OP_conv_data, result, first, second);
    else
        convolve(call->node, OP_conv_weight, first, result, second);
}

void evaluate_tap_sums(const struct evaluate_call *call)
{
    convolve(call->node, OP_conv_weight, call->operands[1], call->result, call->operands[0]);
}
