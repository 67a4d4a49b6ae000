/* conv, conv_data and conv_weight as one step: the same geometry, three different results. */
#include "codegen/convolution.h"

static bool lies_channels_last(const struct type *type)
{
    int rank = type->shape.rank;
    if (type->order[0] != 0 || type->order[rank - 1] != 1)
        return false;
    for (int i = 1; i < rank - 1; i++)
        if (type->order[i] != i + 1)
            return false;
    return true;
}

/* With one channel or one place both orders are the same bytes. */
static bool order_matters(const struct type *type)
{
    int64_t places = 1;
    for (int i = 2; i < type->shape.rank; i++)
        places *= type->shape.dimension[i];
    return type->shape.dimension[1] > 1 && places > 1;
}

/* Both activations must lie in one order. */
static bool common_order(const struct type *x, const struct type *y)
{
    bool last = order_matters(x) ? lies_channels_last(x) : lies_channels_last(y);
    if ((order_matters(x) && !last && !type_row_major(x)) ||
        (order_matters(y) && lies_channels_last(y) != last && type_row_major(y) == last))
        castor_bug("convolution over values in different orders");
    return last;
}

/* Libraries read row-major weights, kernels of our own also those with their inputs innermost. */
static bool weight_order(const struct type *weight, const struct target *target)
{
    bool last = lies_channels_last(weight) && order_matters(weight);
    if (!type_row_major(weight) && !(last && target->language == LANGUAGE_CUDA))
        castor_bug("the weight of a convolution lies in an order of its own");
    return last;
}

static void set_geometry(struct program_conv *conv, const struct window *window, const struct type *x,
                         const struct type *weight, const struct type *y)
{
    conv->spatial = x->shape.rank - 2;
    conv->n = x->shape.dimension[0];
    conv->c = x->shape.dimension[1];
    conv->o = y->shape.dimension[1];
    for (int i = 0; i < conv->spatial; i++) {
        conv->x[i] = x->shape.dimension[i + 2];
        conv->y[i] = y->shape.dimension[i + 2];
        conv->kernel[i] = weight->shape.dimension[i + 2];
        conv->stride[i] = window->stride[i];
        conv->dilation[i] = window->dilation[i];
        conv->pad_low[i] = window->pad_low[i];
        conv->pad_high[i] = window->pad_high[i];
    }
}

static uint64_t conv_flops(const struct program_conv *conv)
{
    uint64_t flops = 2 * (uint64_t)(conv->n * conv->o * (conv->c / conv->groups));
    for (int i = 0; i < conv->spatial; i++)
        flops *= (uint64_t)(conv->y[i] * conv->kernel[i]);
    return flops;
}

void convolution_make(struct contraction *contraction, const struct node *node, const struct node *result,
                      const struct target *target)
{
    const struct type *first = &node->operands[0]->type, *second = &node->operands[1]->type;
    const struct type *x = first, *weight = second, *y = &result->type;
    struct program_step *step = &contraction->step;
    struct program_conv *conv = &step->conv;
    step->kind = PROGRAM_CONV_STEP;
    conv->kind = PROGRAM_CONV;
    if (node->op == OP_conv_data) {
        conv->kind = PROGRAM_CONV_DATA;
        weight = first;
        y = second;
        x = &result->type;
    } else if (node->op == OP_conv_weight) {
        conv->kind = PROGRAM_CONV_WEIGHT;
        y = second;
        weight = &result->type;
    }
    conv->groups = node->attributes->groups;
    set_geometry(conv, &node->attributes->window, x, weight, y);
    conv->channels_last = common_order(x, y);
    contraction->weight_last = weight_order(weight, target);
    conv->x_element = (enum program_element)target->storage[x->element];
    conv->weight_element = (enum program_element)target->storage[weight->element];
    conv->y_element = (enum program_element)target->storage[y->element];
    step->flops = conv_flops(conv);
}
