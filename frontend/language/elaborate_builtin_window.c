/* Built-in functions on images: windows and convolutions, which pools and layers are made of. */
#include "frontend/language/elaborate_internal.h"

/* Of arguments 2 to 4: stride, pad, dilation. */
static bool window_geometry(struct builtin_call *call, const int64_t kernel[2], struct window *window)
{
    int64_t strides[2], pads[2], dilations[2];
    if (!argument_pair(call, 2, 1, strides) || !argument_pair(call, 3, 0, pads) ||
        !argument_pair(call, 4, 1, dilations))
        return false;
    window->rank = 2;
    for (int i = 0; i < 2; i++) {
        window->kernel[i] = kernel[i];
        window->stride[i] = strides[i];
        window->dilation[i] = dilations[i];
        window->pad_low[i] = window->pad_high[i] = pads[i];
        if (kernel[i] < 1 || strides[i] < 1 || dilations[i] < 1) {
            report(call->e, E0402, call->span, NULL, "kernel, stride and dilation must be at least 1");
            return false;
        }
    }
    return true;
}

BUILTIN(window)
{
    const struct value *x = &call->values[0];
    struct attributes attributes = {0};
    int64_t kernel[2];
    if (!want_tensor(call->e, x, call->spans[0], "the operand") || !argument_pair(call, 1, 1, kernel) ||
        !window_geometry(call, kernel, &attributes.window) ||
        (call->given[5] && !want_number(call->e, &call->values[5], call->spans[5], "the value", &attributes.value)))
        return (struct value){0};
    struct axis axes[RANK_MAX] = {{0}};
    for (int i = 0; i < x->node->type.shape.rank - 2; i++)
        axes[i] = x->axes[i];
    return tensor_build(call->e, OP_window, &x->node, 1, &attributes, NULL, call->span, axes);
}

static struct value as_float(struct elaborator *e, const struct value *x)
{
    return element_is_float(x->node->type.element) ? *x : tensor_cast(e, x, ELEMENT_F32, false);
}

/* An image and a weight, as floats, and the geometry. */
static bool convolution_operands(struct builtin_call *call, struct attributes *attributes)
{
    struct value *x = &call->values[0], *weight = &call->values[1];
    if (!want_tensor(call->e, x, call->spans[0], "the operand") ||
        !want_tensor(call->e, weight, call->spans[1], "the weight") ||
        refuse_classes(call->e, x, call->builtin->name, call->spans[0]))
        return false;
    const struct shape *image = &x->node->type.shape, *kernel = &weight->node->type.shape;
    if (image->rank != 4 || kernel->rank != 4) {
        report(call->e, E0211, call->span, NULL, "`%s` needs an image and a weight of four axes, not %s and %s",
               call->builtin->name, shape_text(call->e, image), shape_text(call->e, kernel));
        return false;
    }
    if (!window_geometry(call, &kernel->dimension[2], &attributes->window) ||
        (call->given[5] && !want_size(call->e, &call->values[5], call->spans[5], "groups", &attributes->groups)))
        return false;
    *x = as_float(call->e, x);
    *weight = as_float(call->e, weight);
    return true;
}

BUILTIN(convolve)
{
    const struct value *x = &call->values[0], *weight = &call->values[1];
    struct attributes attributes = {.groups = 1};
    if (!convolution_operands(call, &attributes))
        return (struct value){0};
    struct axis axes[RANK_MAX] = {x->axes[0], weight->axes[0]};
    struct node *operands[] = {x->node, weight->node};
    return tensor_build(call->e, OP_conv, operands, 2, &attributes, NULL, call->span, axes);
}

/* What the convolution of this geometry takes to give x: the only size for a stride of 1, else `more` beyond the
 * smallest. */
static bool transposed_size(struct builtin_call *call, const struct window *window, int i, int64_t more, int64_t *size)
{
    double places = (double)call->values[0].node->type.shape.dimension[2 + i];
    double wanted = (places - 1) * (double)window->stride[i] - 2.0 * (double)window->pad_low[i] +
                    ((double)window->kernel[i] - 1) * (double)window->dilation[i] + (double)more + 1;
    if (more >= window->stride[i]) {
        report(call->e, E0402, call->spans[6], NULL, "output_pad must be below the stride, which is %lld, not %lld",
               (long long)window->stride[i], (long long)more);
        return false;
    }
    if (wanted < 1 || wanted > (double)ELEMENTS_MAX) {
        report(call->e, E0210, call->span, NULL, "`%s` gives a side of %.0f, which is no size of an axis",
               call->builtin->name, wanted);
        return false;
    }
    *size = (int64_t)wanted;
    return true;
}

/* The transpose of convolve, as a linear map: x [n, c, h, w] with weight [c, o / groups, kh, kw]. */
BUILTIN(convolve_transposed)
{
    const struct value *x = &call->values[0], *weight = &call->values[1];
    struct attributes attributes = {.groups = 1};
    int64_t more[2];
    if (!convolution_operands(call, &attributes) || !argument_pair(call, 6, 0, more))
        return (struct value){0};
    struct shape shape = x->node->type.shape;
    shape.dimension[1] = weight->node->type.shape.dimension[1] * attributes.groups;
    for (int i = 0; i < 2; i++)
        if (!transposed_size(call, &attributes.window, i, more[i], &shape.dimension[2 + i]))
            return (struct value){0};
    struct axis axes[RANK_MAX] = {x->axes[0]};
    struct node *operands[] = {weight->node, x->node};
    return tensor_build(call->e, OP_conv_data, operands, 2, &attributes, &shape, call->span, axes);
}
