/* Winograd's convolutions against the definition in double precision: on each instruction set, for maps that do and do
 * not divide into tiles, for all kinds, epilogues, numbers of threads and slices. */
#include "runtime/host/winograd.h"
#include "check.h"
#include "conv_reference.h"
#include "runtime/host/vectors.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { SENTINELS = 16, SENTINEL = 12345 };

/* The formula's matrices have entries from 0.12 to 3.4: it is less exact than plain sums, whose error is some 3e-7. */
static const double tolerance = 2e-6;

static uint64_t random_state = 1;

static float random_value(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 32) / 2147483648.0f;
}

/* `count` random values with sentinels behind them. */
static float *random_buffer(int64_t count)
{
    float *buffer = malloc(((size_t)count + SENTINELS) * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        buffer[i] = random_value();
    for (int i = 0; i < SENTINELS; i++)
        buffer[count + i] = SENTINEL;
    return buffer;
}

static bool sentinels_hold(const float *buffer, int64_t count)
{
    for (int i = 0; i < SENTINELS; i++)
        if (buffer[count + i] != SENTINEL)
            return false;
    return true;
}

/* A convolution, its buffers, and what it should give. */
struct conv_case {
    struct program_conv conv;
    char *buffers[5];
    float *operands[5];
    int64_t size;
    double *wanted;
};

static double *doubles(const float *from, int64_t count)
{
    double *to = calloc((size_t)count + 1, sizeof *to);
    for (int64_t i = 0; from && i < count; i++)
        to[i] = from[i];
    return to;
}

static struct conv_case case_of(const struct program_conv *conv)
{
    struct conv_sizes sizes = conv_sizes(conv);
    int64_t count[] = {sizes.x, sizes.weight, sizes.y};
    static const int order[][3] = {
        [PROGRAM_CONV] = {0, 1, 2}, [PROGRAM_CONV_DATA] = {1, 2, 0}, [PROGRAM_CONV_WEIGHT] = {0, 2, 1}};
    struct conv_case c = {.conv = *conv};
    double *value[3];
    for (int i = 0; i < 3; i++) {
        int which = order[conv->kind][i];
        c.operands[i] = random_buffer(count[which]);
        value[which] = doubles(i < 2 ? c.operands[i] : NULL, count[which]);
        c.size = count[which];
    }
    conv_reference(conv, false, value[0], value[1], value[2]);
    c.wanted = value[order[conv->kind][2]];
    free(value[order[conv->kind][0]]);
    free(value[order[conv->kind][1]]);
    int next = 3;
    const float *bias = NULL, *addend = NULL;
    if (conv->epilogue & PROGRAM_EPILOGUE_BIAS)
        bias = c.operands[next++] = random_buffer(conv->o);
    if (conv->epilogue & PROGRAM_EPILOGUE_ADD)
        addend = c.operands[next++] = random_buffer(c.size);
    for (int64_t i = 0; i < c.size; i++) {
        double result = c.wanted[i] + (bias ? bias[i % conv->o] : 0);
        if (conv->epilogue & PROGRAM_EPILOGUE_RELU && result < 0)
            result = 0;
        c.wanted[i] = result + (addend ? addend[i] : 0);
    }
    for (int i = 0; i < 5; i++)
        c.buffers[i] = (char *)c.operands[i];
    return c;
}

static void case_free(struct conv_case *c)
{
    for (int i = 0; i < 5; i++)
        free(c->operands[i]);
    free(c->wanted);
}

/* Root of the mean squared error by the root of the mean square. */
static double distance(const struct conv_case *c)
{
    double error = 0, power = 0;
    for (int64_t i = 0; i < c->size; i++) {
        double by = c->operands[2][i] - c->wanted[i];
        error += by * by;
        power += c->wanted[i] * c->wanted[i];
    }
    return sqrt(error / power);
}

static void run_whole(const struct vector_isa *isa, struct conv_case *c, int threads)
{
    struct error error = {0};
    struct winograd_pool pool = {0};
    struct winograd *winograd = winograd_new(isa, &c->conv, threads, &pool, &error);
    CHECK(winograd);
    if (!winograd)
        return;
    for (int run = 0; run < 2; run++) { /* a run begins anew */
        memset(c->operands[2], 0xff, (size_t)c->size * sizeof(float));
        winograd_run(winograd, c->buffers);
    }
    winograd_free(winograd);
    winograd_pool_release(&pool);
    CHECK(sentinels_hold(c->operands[2], c->size));
}

static void run_sliced(const struct vector_isa *isa, struct conv_case *c, int threads)
{
    enum { SIZE = 2 };
    struct error error = {0};
    struct winograd *winograd = winograd_new_sliced(isa, &c->conv, SIZE, threads, &error);
    CHECK(winograd);
    if (!winograd)
        return;
    for (int run = 0; run < 2; run++) {
        memset(c->operands[2], 0xff, (size_t)c->size * sizeof(float));
        winograd_begin(winograd, c->buffers);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t first = 0; first < c->conv.n; first += SIZE)
            winograd_run_slice(winograd, omp_get_thread_num(), c->buffers, first);
        winograd_finish(winograd, c->buffers);
    }
    size_t bytes = (size_t)c->size * sizeof(float);
    float *slices = malloc(bytes);
    memcpy(slices, c->operands[2], bytes);
    memset(c->operands[2], 0xff, bytes);
    winograd_run(winograd, c->buffers); /* as when steps are run one by one */
    CHECK(memcmp(slices, c->operands[2], bytes) == 0);
    free(slices);
    winograd_free(winograd);
    CHECK(sentinels_hold(c->operands[2], c->size));
}

static void check_case(const struct vector_isa *isa, const struct program_conv *conv)
{
    struct conv_case c = case_of(conv);
    size_t bytes = (size_t)c.size * sizeof(float);
    float *first = malloc(bytes);
    run_whole(isa, &c, 1);
    double whole = distance(&c);
    memcpy(first, c.operands[2], bytes);
    bool same = true;
    for (int threads = 2; threads < 4; threads++) {
        run_whole(isa, &c, threads);
        same = same && memcmp(first, c.operands[2], bytes) == 0;
    }
    run_sliced(isa, &c, 3);
    double sliced = distance(&c);
    bool good = whole < tolerance && sliced < tolerance && same &&
                (conv->kind == PROGRAM_CONV_WEIGHT || memcmp(first, c.operands[2], bytes) == 0);
    if (!good)
        fprintf(stderr, "kind %d, %d x %d channels, %d x %d places, epilogue %u: %.2g, in slices %.2g, %s\n",
                (int)conv->kind, (int)conv->c, (int)conv->o, (int)conv->x[0], (int)conv->x[1], conv->epilogue, whole,
                sliced, same ? "the same with other threads" : "other threads give other bits");
    CHECK(good);
    free(first);
    case_free(&c);
}

static struct program_conv conv_of(int64_t n, int64_t c, int64_t o, int64_t rows, int64_t columns, int64_t low,
                                   int64_t high)
{
    return (struct program_conv){.spatial = 2,
                                 .n = n,
                                 .c = c,
                                 .o = o,
                                 .groups = 1,
                                 .x = {rows, columns},
                                 .kernel = {3, 3},
                                 .y = {rows + low + high - 2, columns + low + high - 2},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .pad_low = {low, low},
                                 .pad_high = {high, high},
                                 .channels_last = true,
                                 .x_element = PROGRAM_F32,
                                 .weight_element = PROGRAM_F32,
                                 .y_element = PROGRAM_F32,
                                 .bias = PROGRAM_F32};
}

static void check_isa(const struct vector_isa *isa)
{
    const struct program_conv cases[] = {
        conv_of(4, 16, 16, 9, 8, 1, 1),   /* the fewest channels */
        conv_of(4, 32, 32, 8, 8, 1, 1),   /* whole tiles */
        conv_of(4, 48, 32, 7, 9, 1, 1),   /* parts of tiles at both ends */
        conv_of(2, 32, 48, 6, 6, 0, 0),   /* no padding: the gradient of the input has two rows more */
        conv_of(2, 32, 32, 5, 8, 2, 2),   /* more than keeps the size */
        conv_of(2, 32, 32, 6, 7, 0, 2),   /* on one side alone */
        conv_of(2, 320, 64, 4, 4, 1, 1),  /* deeper than one product */
        conv_of(34, 32, 32, 13, 16, 1, 1) /* more tiles than a block */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kind = 0; kind < 3; kind++) {
            struct program_conv conv = cases[i];
            conv.kind = kind;
            CHECK(winograd_fits(&conv));
            for (unsigned epilogue = 0; epilogue < (kind == PROGRAM_CONV && i < 3 ? 8 : 1); epilogue++) {
                conv.epilogue = epilogue;
                check_case(isa, &conv);
            }
        }
}

/* What it can not do, or what is not worth it. */
static void check_refusals(void)
{
    struct program_conv good = conv_of(4, 32, 32, 8, 8, 1, 1), conv = good;
    conv.stride[1] = 2;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.dilation[0] = 2;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.kernel[0] = 1;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.groups = 2;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.channels_last = false;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.c = 40;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.pad_low[1] = 3;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.y_element = PROGRAM_BF16;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.kind = PROGRAM_CONV_DATA;
    conv.epilogue = PROGRAM_EPILOGUE_RELU;
    CHECK(!winograd_fits(&conv));
    conv = good;
    conv.n = 0;
    CHECK(!winograd_fits(&conv));
    conv = conv_of(4, 32, 32, 3, 3, 0, 0); /* one place of the sixteen of a tile */
    CHECK(!winograd_fits(&conv));
}

/* Relu keeps a NaN, and a NaN stays within the tiles that see it. */
static void check_nan(void)
{
    struct program_conv conv = conv_of(1, 32, 32, 16, 16, 1, 1);
    conv.epilogue = PROGRAM_EPILOGUE_RELU;
    struct conv_case c = case_of(&conv);
    c.operands[0][0] = NAN;
    run_whole(vector_isa_find("native"), &c, 1);
    CHECK(isnan(c.operands[2][0]));
    for (int64_t at = 0; at < c.size; at++) {
        int64_t row = at / 32 / 16, column = at / 32 % 16;
        CHECK((row < 4 && column < 4) || !isnan(c.operands[2][at]));
    }
    case_free(&c);
}

int main(void)
{
    static const char *const isas[] = {"baseline", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (vector_isa_find(isas[i]))
            check_isa(vector_isa_find(isas[i]));
    check_refusals();
    check_nan();
    return check_result();
}
