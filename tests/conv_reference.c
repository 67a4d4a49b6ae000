/* The sums of a convolution, one product after the other. */
#include "tests/conv_reference.h"

static int64_t places(const struct program_conv *conv, const int64_t size[PROGRAM_SPATIAL])
{
    int64_t count = 1;
    for (int i = 0; i < conv->spatial; i++)
        count *= size[i];
    return count;
}

struct conv_sizes conv_sizes(const struct program_conv *conv)
{
    return (struct conv_sizes){conv->n * conv->c * places(conv, conv->x),
                               conv->o * (conv->c / conv->groups) * places(conv, conv->kernel),
                               conv->n * conv->o * places(conv, conv->y)};
}

int64_t conv_channels(const struct program_conv *conv)
{
    return conv->kind == PROGRAM_CONV_DATA ? conv->c : conv->o;
}

int64_t conv_channel(const struct program_conv *conv, int64_t i)
{
    int64_t inside = places(conv, conv->kind == PROGRAM_CONV_DATA ? conv->x : conv->y);
    return (conv->channels_last ? i : i / inside) % conv_channels(conv);
}

static int64_t activation(const struct program_conv *conv, int64_t n, int64_t channel, int64_t channels, int64_t place,
                          int64_t inside)
{
    return conv->channels_last ? (n * inside + place) * channels + channel : (n * channels + channel) * inside + place;
}

/* The place in x that place `q` of y meets at tap `t`; -1 outside. */
static int64_t meet(const struct program_conv *conv, int64_t q, int64_t t)
{
    int64_t place = 0, size = 1;
    for (int i = conv->spatial - 1; i >= 0; i--) {
        int64_t at = q % conv->y[i] * conv->stride[i] - conv->pad_low[i] + t % conv->kernel[i] * conv->dilation[i];
        if (at < 0 || at >= conv->x[i])
            return -1;
        place += at * size;
        size *= conv->x[i];
        q /= conv->y[i];
        t /= conv->kernel[i];
    }
    return place;
}

/* All products between one place of y, in all its channels, and one place of x. */
static void add_products(const struct program_conv *conv, bool weight_last, double *x, double *weight, double *y,
                         int64_t n, int64_t q, int64_t t)
{
    int64_t place = meet(conv, q, t), taps = places(conv, conv->kernel), inputs = conv->c / conv->groups;
    int64_t x_places = places(conv, conv->x), y_places = places(conv, conv->y);
    for (int64_t o = 0; place >= 0 && o < conv->o; o++)
        for (int64_t i = 0; i < inputs; i++) {
            int64_t c = o / (conv->o / conv->groups) * inputs + i;
            double *own_x = &x[activation(conv, n, c, conv->c, place, x_places)];
            double *own_y = &y[activation(conv, n, o, conv->o, q, y_places)];
            double *own_weight = &weight[weight_last ? (o * taps + t) * inputs + i : (o * inputs + i) * taps + t];
            if (conv->kind == PROGRAM_CONV)
                *own_y += *own_x * *own_weight;
            else if (conv->kind == PROGRAM_CONV_DATA)
                *own_x += *own_y * *own_weight;
            else
                *own_weight += *own_x * *own_y;
        }
}

void conv_reference(const struct program_conv *conv, bool weight_last, double *x, double *weight, double *y)
{
    int64_t y_places = places(conv, conv->y), taps = places(conv, conv->kernel);
    for (int64_t n = 0; n < conv->n; n++)
        for (int64_t q = 0; q < y_places; q++)
            for (int64_t t = 0; t < taps; t++)
                add_products(conv, weight_last, x, weight, y, n, q, t);
}
