/* Contractions by oneDNN against sums in double precision, for many shapes, layouts, strides, groups and epilogues. */
#include "runtime/host/onednn.h"
#include "check.h"
#include "runtime/host/vectors.h"

#include <math.h>
#include <stdlib.h>

enum { SENTINELS = 16 };

static uint64_t random_state = 1;

static float random_value(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 33) / 1073741824.0f - 1.0f;
}

/* `count` random values with sentinels behind them. */
static float *random_buffer(int64_t count)
{
    size_t bytes = ((size_t)count + SENTINELS) * sizeof(float);
    float *buffer = aligned_alloc(64, (bytes + 63) / 64 * 64);
    for (int64_t i = 0; i < count; i++)
        buffer[i] = random_value();
    for (int i = 0; i < SENTINELS; i++)
        buffer[count + i] = 12345;
    return buffer;
}

static bool sentinels_hold(const float *buffer, int64_t count)
{
    for (int i = 0; i < SENTINELS; i++)
        if (buffer[count + i] != 12345)
            return false;
    return true;
}

static double epilogue(double value, unsigned epilogue, const float *bias, int64_t channel, const float *addend,
                       int64_t at)
{
    if (epilogue & PROGRAM_EPILOGUE_BIAS)
        value += bias[channel];
    if (epilogue & PROGRAM_EPILOGUE_RELU)
        value = value < 0 ? 0 : value;
    if (epilogue & PROGRAM_EPILOGUE_ADD)
        value += addend[at];
    return value;
}

struct comparison {
    double error, power;
};

static void compare(struct comparison *comparison, double got, double wanted)
{
    comparison->error += (got - wanted) * (got - wanted);
    comparison->power += wanted * wanted;
}

static bool comparison_good(const struct comparison *comparison)
{
    return comparison->error <= 1e-7 * comparison->power + 1e-30;
}

static bool run_step(struct onednn *onednn, const struct program_step *step, char *const *buffers)
{
    struct error error = {0};
    struct onednn_plan *plan = onednn_prepare(onednn, step, &error);
    if (!plan) {
        error_print(&error, stderr);
        return false;
    }
    bool good = true;
    for (int run = 0; run < 2; run++)
        good = good && onednn_run(plan, buffers, &error);
    if (getenv("ONEDNN_TEST_VERBOSE"))
        printf("%s: %s, %d reorders\n", step->name, onednn_implementation(plan), onednn_reorders(plan));
    onednn_plan_free(plan);
    return good;
}

/* ---- matmul ---- */

static int64_t last_index(int64_t batch, int64_t rows, int64_t columns, const int64_t stride[3])
{
    return batch && rows && columns ? (batch - 1) * stride[0] + (rows - 1) * stride[1] + (columns - 1) * stride[2] + 1
                                    : 1;
}

static double product(const struct program_matmul *p, const float *a, const float *b, int64_t batch, int64_t row,
                      int64_t column)
{
    double sum = 0;
    for (int64_t k = 0; k < p->k; k++)
        sum += (double)a[batch * p->a_stride[0] + row * p->a_stride[1] + k * p->a_stride[2]] *
               b[batch * p->b_stride[0] + k * p->b_stride[1] + column * p->b_stride[2]];
    return sum;
}

static bool check_matmul(struct onednn *onednn, const struct program_matmul *p)
{
    struct program_step step = {.kind = PROGRAM_MATMUL_STEP, .name = "matmul", .matmul = *p};
    float *a = random_buffer(last_index(p->batch, p->m, p->k, p->a_stride));
    float *b = random_buffer(last_index(p->batch, p->k, p->n, p->b_stride));
    int64_t size = last_index(p->batch, p->m, p->n, p->d_stride);
    float *d = random_buffer(size), *bias = random_buffer(p->n), *addend = random_buffer(size);
    char *buffers[5] = {(char *)a, (char *)b, (char *)d};
    int next = 3;
    if (p->epilogue & PROGRAM_EPILOGUE_BIAS)
        buffers[next++] = (char *)bias;
    if (p->epilogue & PROGRAM_EPILOGUE_ADD)
        buffers[next++] = (char *)addend;
    bool good = run_step(onednn, &step, buffers) && sentinels_hold(d, size);
    struct comparison comparison = {0};
    for (int64_t batch = 0; batch < p->batch; batch++)
        for (int64_t row = 0; row < p->m; row++)
            for (int64_t column = 0; column < p->n; column++) {
                int64_t at = batch * p->d_stride[0] + row * p->d_stride[1] + column * p->d_stride[2];
                compare(&comparison, d[at],
                        epilogue(product(p, a, b, batch, row, column), p->epilogue, bias, column, addend, at));
            }
    free(a);
    free(b);
    free(d);
    free(bias);
    free(addend);
    return good && comparison_good(&comparison);
}

static struct program_matmul matmul(int64_t batch, int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b,
                                    unsigned epilogue)
{
    return (struct program_matmul){.batch = batch,
                                   .m = m,
                                   .n = n,
                                   .k = k,
                                   .a_stride = {m * k, transpose_a ? 1 : k, transpose_a ? m : 1},
                                   .b_stride = {k * n, transpose_b ? 1 : n, transpose_b ? k : 1},
                                   .d_stride = {m * n, n, 1},
                                   .a = PROGRAM_F32,
                                   .b = PROGRAM_F32,
                                   .d = PROGRAM_F32,
                                   .bias = PROGRAM_F32,
                                   .epilogue = epilogue};
}

static void check_matmuls(struct onednn *onednn)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 1},   {1, 16, 16, 16}, {1, 17, 33, 5},  {1, 128, 10, 70},
                                       {3, 7, 5, 11},  {4, 16, 1, 32},  {1, 1, 100, 40}, {1, 64, 48, 96},
                                       {2, 1, 1, 100}, {1, 0, 4, 4},    {0, 3, 4, 4},    {1, 5, 7, 0},
                                       {6, 32, 32, 16}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned flags = (unsigned)i % 5; flags < 32; flags += 5) {
            struct program_matmul p =
                matmul(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], flags & 1, flags & 2, flags >> 2);
            bool good = check_matmul(onednn, &p);
            if (!good)
                fprintf(stderr, "matmul %zu, flags %u\n", i, flags);
            CHECK(good);
        }
    struct program_matmul shared = matmul(5, 8, 12, 9, false, true, 0);
    shared.b_stride[0] = 0;
    CHECK(check_matmul(onednn, &shared));
    struct program_matmul part = matmul(2, 6, 10, 8, false, false, PROGRAM_EPILOGUE_ADD);
    part.a_stride[0] = 120; /* rows of a matrix within a larger one */
    part.a_stride[1] = 20;
    CHECK(check_matmul(onednn, &part));
    for (unsigned flags = 0; flags < 32;
         flags++) { /* columns of a matrix whose rows are 512 apart, turned block by block */
        struct program_matmul turned =
            matmul(1, flags & 1 ? 512 : 205, flags & 16 ? 130 : 272, 301, true, flags & 2, flags >> 1 & 6);
        turned.a_stride[2] = 512;
        CHECK(check_matmul(onednn, &turned));
    }
}

/* ---- convolutions ---- */

struct strides {
    int64_t x[2 + PROGRAM_SPATIAL], weight[2 + PROGRAM_SPATIAL], y[2 + PROGRAM_SPATIAL];
};

static void activation_strides(int64_t *stride, int64_t channels, const int64_t *places, int spatial, bool last)
{
    int64_t all = 1;
    for (int i = spatial - 1; i >= 0; i--) {
        stride[2 + i] = last ? all * channels : all;
        all *= places[i];
    }
    stride[1] = last ? 1 : all;
    stride[0] = all * channels;
}

/* Calls for each product that a convolution sums: the result named by the kind gathers it in double precision. */
static void conv_sum(const struct program_conv *p, const struct strides *s, const float *x, const float *weight,
                     const float *y, double *result)
{
    int64_t places = p->y[0] * p->y[1] * p->y[2], taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    int64_t c_group = p->c / p->groups, o_group = p->o / p->groups;
    for (int64_t i = 0; i < p->n * p->o * places * c_group * taps; i++) {
        int64_t tap = i % taps, c = i / taps % c_group, place = i / taps / c_group % places;
        int64_t o = i / taps / c_group / places % p->o, n = i / taps / c_group / places / p->o;
        int64_t channel = o / o_group * c_group + c;
        int64_t at_x = n * s->x[0] + channel * s->x[1], at_y = n * s->y[0] + o * s->y[1];
        int64_t at_weight = o * s->weight[0] + c * s->weight[1];
        bool inside = true;
        for (int d = 2; d >= 0; d--) {
            int64_t out = place % p->y[d], k = tap % p->kernel[d];
            int64_t in = out * p->stride[d] - p->pad_low[d] + k * p->dilation[d];
            place /= p->y[d];
            tap /= p->kernel[d];
            inside = inside && in >= 0 && in < p->x[d];
            at_x += in * s->x[2 + d];
            at_y += out * s->y[2 + d];
            at_weight += k * s->weight[2 + d];
        }
        if (!inside)
            continue;
        if (p->kind == PROGRAM_CONV)
            result[at_y] += (double)x[at_x] * weight[at_weight];
        else if (p->kind == PROGRAM_CONV_DATA)
            result[at_x] += (double)y[at_y] * weight[at_weight];
        else
            result[at_weight] += (double)x[at_x] * y[at_y];
    }
}

/* The same convolution with three spatial axes, which the sum above wants. */
static struct program_conv three_axes(const struct program_conv *p)
{
    struct program_conv full = *p;
    for (int i = p->spatial; i < PROGRAM_SPATIAL; i++)
        full.x[i] = full.y[i] = full.kernel[i] = full.stride[i] = full.dilation[i] = 1;
    full.spatial = PROGRAM_SPATIAL;
    return full;
}

static void conv_strides(const struct program_conv *p, const struct program_conv *full, struct strides *strides)
{
    activation_strides(strides->x, p->c, full->x, PROGRAM_SPATIAL, p->channels_last);
    activation_strides(strides->y, p->o, full->y, PROGRAM_SPATIAL, p->channels_last);
    activation_strides(strides->weight, p->c / p->groups, full->kernel, PROGRAM_SPATIAL, false);
}

static bool check_conv(struct onednn *onednn, const struct program_conv *p)
{
    struct program_conv full = three_axes(p);
    struct strides strides = {0};
    conv_strides(p, &full, &strides);
    int64_t size_x = p->n * strides.x[0], size_y = p->n * strides.y[0], size_weight = p->o * strides.weight[0];
    float *x = random_buffer(size_x), *y = random_buffer(size_y), *weight = random_buffer(size_weight);
    float *bias = random_buffer(p->o), *addend = random_buffer(size_y);
    float *order[3][3] = {{x, weight, y}, {weight, y, x}, {x, y, weight}};
    char *buffers[5] = {(char *)order[p->kind][0], (char *)order[p->kind][1], (char *)order[p->kind][2]};
    int next = 3;
    if (p->epilogue & PROGRAM_EPILOGUE_BIAS)
        buffers[next++] = (char *)bias;
    if (p->epilogue & PROGRAM_EPILOGUE_ADD)
        buffers[next++] = (char *)addend;
    int64_t size = p->kind == PROGRAM_CONV ? size_y : p->kind == PROGRAM_CONV_DATA ? size_x : size_weight;
    double *wanted = calloc((size_t)size + 1, sizeof *wanted);
    conv_sum(&full, &strides, x, weight, y, wanted);
    struct program_step step = {.kind = PROGRAM_CONV_STEP, .name = "conv", .conv = *p};
    bool good = run_step(onednn, &step, buffers) && sentinels_hold(order[p->kind][2], size);
    struct comparison comparison = {0};
    for (int64_t i = 0; i < size; i++)
        compare(&comparison, order[p->kind][2][i],
                epilogue(wanted[i], p->epilogue, bias, i / strides.y[1] % p->o, addend, i));
    free(x);
    free(y);
    free(weight);
    free(bias);
    free(addend);
    free(wanted);
    return good && comparison_good(&comparison);
}

static struct program_conv conv(int spatial, int64_t n, int64_t c, int64_t o, int64_t groups, int64_t size,
                                int64_t kernel, int64_t stride, int64_t dilation, int64_t low, int64_t high)
{
    struct program_conv p = {.spatial = spatial,
                             .n = n,
                             .c = c,
                             .o = o,
                             .groups = groups,
                             .x_element = PROGRAM_F32,
                             .weight_element = PROGRAM_F32,
                             .y_element = PROGRAM_F32,
                             .bias = PROGRAM_F32};
    for (int i = 0; i < spatial; i++) {
        p.x[i] = size + i;
        p.kernel[i] = kernel;
        p.stride[i] = stride;
        p.dilation[i] = dilation;
        p.pad_low[i] = low;
        p.pad_high[i] = high;
        p.y[i] = (size + i + low + high - dilation * (kernel - 1) - 1) / stride + 1;
    }
    return p;
}

static void check_convs(struct onednn *onednn)
{
    const struct program_conv cases[] = {
        conv(2, 2, 1, 32, 1, 9, 3, 1, 1, 1, 1),  conv(2, 2, 3, 16, 1, 8, 3, 1, 1, 1, 1),
        conv(2, 2, 16, 32, 1, 7, 3, 2, 1, 1, 1), conv(2, 1, 20, 30, 1, 6, 3, 1, 1, 0, 0),
        conv(2, 3, 32, 16, 1, 6, 1, 2, 1, 0, 0), conv(2, 2, 16, 16, 16, 6, 3, 1, 1, 1, 1),
        conv(2, 2, 12, 24, 3, 5, 3, 1, 1, 1, 1), conv(2, 2, 16, 16, 1, 9, 3, 1, 2, 2, 2),
        conv(2, 2, 8, 8, 1, 7, 2, 1, 1, 0, 1),   conv(2, 1, 1, 1, 1, 5, 3, 1, 1, 1, 1),
        conv(2, 2, 16, 1, 1, 5, 3, 1, 1, 1, 1),  conv(2, 2, 6, 6, 6, 8, 5, 2, 1, 2, 2),
        conv(1, 2, 16, 8, 1, 12, 3, 1, 1, 1, 1), conv(1, 2, 3, 5, 1, 10, 4, 2, 1, 0, 0),
        conv(3, 1, 4, 16, 1, 5, 3, 1, 1, 1, 1),  conv(2, 0, 4, 8, 1, 5, 3, 1, 1, 1, 1),
        conv(2, 4, 1, 16, 1, 5, 5, 1, 1, 0, 0),  conv(2, 1, 32, 64, 1, 4, 3, 2, 1, 2, 2)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kind = 0; kind < 3; kind++)
            for (int last = 0; last < 2; last++) {
                struct program_conv p = cases[i];
                p.kind = kind;
                p.channels_last = last;
                bool good = check_conv(onednn, &p);
                for (unsigned flags = 1; kind == PROGRAM_CONV && flags < 8; flags++) {
                    p.epilogue = flags;
                    good = good && check_conv(onednn, &p);
                }
                if (!good)
                    fprintf(stderr, "conv %zu, kind %d, channels last %d\n", i, kind, last);
                CHECK(good);
            }
}

/* Relu must not hide a NaN. */
static void check_nan(struct onednn *onednn)
{
    for (int n = 1; n <= 64; n *= 4) {
        struct program_step step = {.kind = PROGRAM_MATMUL_STEP, .name = "matmul"};
        step.matmul = matmul(1, 16, n, 16, false, false, PROGRAM_EPILOGUE_RELU);
        float *a = random_buffer(256), *b = random_buffer(16 * n), *d = random_buffer(16 * n);
        a[7 * 16 + 3] = NAN;
        CHECK(run_step(onednn, &step, (char *[]){(char *)a, (char *)b, (char *)d}));
        for (int i = 0; i < 16 * n; i++)
            CHECK(isnan(d[i]) ? i / n == 7 : i / n != 7);
        free(a);
        free(b);
        free(d);
    }
    for (int last = 0; last < 2; last++) {
        struct program_step step = {.kind = PROGRAM_CONV_STEP, .name = "conv"};
        step.conv = conv(2, 1, 16, 16, 1, 4, 1, 1, 1, 0, 0);
        step.conv.channels_last = last;
        step.conv.epilogue = PROGRAM_EPILOGUE_RELU;
        float *x = random_buffer(16 * 20), *weight = random_buffer(256), *y = random_buffer(16 * 20);
        x[0] = NAN; /* image 0, channel 0, place 0 */
        CHECK(run_step(onednn, &step, (char *[]){(char *)x, (char *)weight, (char *)y}));
        for (int i = 0; i < 16 * 20; i++)
            CHECK(!isnan(y[i]) == ((last ? i / 16 : i % 20) != 0));
        free(x);
        free(weight);
        free(y);
    }
}

/* ---- bf16: oneDNN emulates it on CPUs with AVX-512 but without the instructions ---- */

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* Rounds the values in place, so that both hold the same numbers. */
static uint16_t *half_buffer(float *values, int64_t count)
{
    uint16_t *buffer = aligned_alloc(64, ((size_t)count * sizeof *buffer + 63) / 64 * 64);
    for (int64_t i = 0; i < count; i++) {
        buffer[i] = to_bf16(values[i]);
        values[i] = from_bf16(buffer[i]);
    }
    return buffer;
}

static void check_half_matmul(struct onednn *onednn, enum program_element result, unsigned flags)
{
    struct program_matmul p = matmul(1, 24, 40, 48, false, true, flags);
    p.a = p.b = PROGRAM_BF16;
    p.d = result;
    int64_t size = p.m * p.n;
    float *a = random_buffer(p.m * p.k), *b = random_buffer(p.k * p.n), *bias = random_buffer(p.n);
    float *addend = random_buffer(size);
    uint16_t *half_a = half_buffer(a, p.m * p.k), *half_b = half_buffer(b, p.k * p.n);
    uint16_t *half_addend = half_buffer(addend, size);
    void *d = aligned_alloc(64, (size_t)size * sizeof(float));
    char *buffers[5] = {(char *)half_a, (char *)half_b, d};
    int next = 3;
    if (flags & PROGRAM_EPILOGUE_BIAS)
        buffers[next++] = (char *)bias;
    if (flags & PROGRAM_EPILOGUE_ADD)
        buffers[next++] = result == PROGRAM_BF16 ? (char *)half_addend : (char *)addend;
    struct program_step step = {.kind = PROGRAM_MATMUL_STEP, .name = "half", .matmul = p};
    CHECK(run_step(onednn, &step, buffers));
    struct comparison comparison = {0};
    for (int64_t i = 0; i < size; i++) {
        double wanted = epilogue(product(&p, a, b, 0, i / p.n, i % p.n), flags, bias, i % p.n, addend, i);
        compare(&comparison, result == PROGRAM_BF16 ? from_bf16(((uint16_t *)d)[i]) : ((float *)d)[i], wanted);
    }
    /* one rounding to 8 bits of significand, two where relu or addend come behind the library */
    CHECK(comparison.error <= (result == PROGRAM_BF16 ? 2e-5 : 1e-7) * comparison.power);
    free(a);
    free(b);
    free(bias);
    free(addend);
    free(half_a);
    free(half_b);
    free(half_addend);
    free(d);
}

/* A convolution of bf16 operands; its result is bf16 or f32, as the gradients of half weights are. */
static bool check_half_conv(struct onednn *onednn, const struct program_conv *p, enum program_element result)
{
    struct program_conv full = three_axes(p);
    struct strides strides = {0};
    conv_strides(p, &full, &strides);
    int64_t size[] = {p->n * strides.x[0], p->o * strides.weight[0], p->n * strides.y[0]};
    static const int roles[3][3] = {{0, 1, 2}, {1, 2, 0}, {0, 2, 1}}; /* operands and result of each kind */
    const int *role = roles[p->kind];
    float *exact[3] = {random_buffer(size[0]), random_buffer(size[1]), random_buffer(size[2])};
    uint16_t *half[3];
    for (int i = 0; i < 3; i++)
        half[i] = half_buffer(exact[i], size[i]);
    struct program_step step = {.kind = PROGRAM_CONV_STEP, .name = "half conv", .conv = *p};
    enum program_element *types[] = {&step.conv.x_element, &step.conv.weight_element, &step.conv.y_element};
    for (int i = 0; i < 3; i++)
        *types[i] = i == role[2] ? result : PROGRAM_BF16;
    double *wanted = calloc((size_t)size[role[2]] + 1, sizeof *wanted);
    conv_sum(&full, &strides, exact[0], exact[1], exact[2], wanted);
    char *to = result == PROGRAM_BF16 ? (char *)half[role[2]] : (char *)exact[role[2]];
    bool good = run_step(onednn, &step, (char *[]){(char *)half[role[0]], (char *)half[role[1]], to});
    struct comparison comparison = {0};
    for (int64_t i = 0; i < size[role[2]]; i++)
        compare(&comparison, result == PROGRAM_BF16 ? from_bf16(half[role[2]][i]) : exact[role[2]][i], wanted[i]);
    for (int i = 0; i < 3; i++) {
        free(exact[i]);
        free(half[i]);
    }
    free(wanted);
    return good && comparison.error <= (result == PROGRAM_BF16 ? 2e-5 : 1e-7) * comparison.power;
}

static void check_half_convs(struct onednn *onednn)
{
    const struct program_conv cases[] = {
        conv(2, 2, 1, 32, 1, 9, 3, 1, 1, 1, 1),   conv(2, 2, 3, 16, 1, 8, 3, 1, 1, 1, 1),
        conv(2, 2, 16, 32, 1, 7, 3, 2, 1, 1, 1),  conv(2, 3, 32, 16, 1, 6, 1, 2, 1, 0, 0),
        conv(2, 2, 16, 16, 16, 6, 3, 1, 1, 1, 1), conv(2, 2, 12, 24, 3, 5, 3, 1, 1, 1, 1),
        conv(2, 2, 3, 8, 1, 7, 2, 1, 1, 1, 1),    conv(2, 2, 16, 16, 1, 9, 3, 1, 2, 2, 2),
        conv(1, 2, 16, 8, 1, 12, 3, 1, 1, 1, 1),  conv(3, 1, 4, 16, 1, 5, 3, 1, 1, 1, 1)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int flags = 0; flags < 12; flags++) {
            struct program_conv p = cases[i];
            p.kind = flags / 4;
            p.channels_last = flags & 1;
            bool good = check_half_conv(onednn, &p, flags & 2 ? PROGRAM_BF16 : PROGRAM_F32);
            if (!good)
                fprintf(stderr, "half conv %zu, flags %d\n", i, flags);
            CHECK(good);
        }
}

static void check_half(struct onednn *onednn)
{
    struct program_step step = {.kind = PROGRAM_MATMUL_STEP, .name = "half", .matmul = matmul(1, 2, 2, 2, 0, 0, 0)};
    step.matmul.a = step.matmul.b = PROGRAM_BF16;
    struct error error = {0};
    struct onednn_plan *plan = onednn_prepare(onednn, &step, &error);
    if (!plan) /* this CPU can not even emulate it, and no program asks for it here */
        return;
    onednn_plan_free(plan);
    for (unsigned flags = 0; flags < 8; flags++) {
        check_half_matmul(onednn, PROGRAM_F32, flags);
        check_half_matmul(onednn, PROGRAM_BF16, flags);
    }
    check_half_convs(onednn);
}

/* What the library can't do, or would do only in part: a gradient with a bias. */
static void check_refused(struct onednn *onednn)
{
    struct program_step steps[] = {
        {.kind = PROGRAM_MATMUL_STEP, .name = "wide", .matmul = matmul(1, 2, 2, 2, 0, 0, 0)},
        {.kind = PROGRAM_CONV_STEP, .name = "data", .conv = conv(2, 2, 3, 16, 1, 8, 3, 1, 1, 1, 1)},
        {.kind = PROGRAM_CONV_STEP, .name = "weight", .conv = conv(2, 2, 3, 16, 1, 8, 3, 1, 1, 1, 1)},
    };
    steps[0].matmul.a = PROGRAM_F64;
    steps[1].conv.kind = PROGRAM_CONV_DATA;
    steps[1].conv.epilogue = PROGRAM_EPILOGUE_BIAS;
    steps[2].conv.kind = PROGRAM_CONV_WEIGHT;
    steps[2].conv.epilogue = PROGRAM_EPILOGUE_RELU;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct error error = {0};
        CHECK(!onednn_prepare(onednn, &steps[i], &error) && error.code == ERROR_RUNTIME);
    }
}

int main(void)
{
    struct error error = {0};
    struct onednn *onednn = onednn_new(vector_isa_find("native"), 2, &error);
    CHECK(onednn);
    if (!onednn)
        return check_result();
    check_matmuls(onednn);
    check_convs(onednn);
    check_nan(onednn);
    check_half(onednn);
    check_refused(onednn);
    onednn_free(onednn);
    return check_result();
}
