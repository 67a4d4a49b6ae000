/* One row a shape; every shape is tried as each kind, in each type and each layout, with epilogues in turn. */
#include "tests/conv_cases.h"

static const struct shape_case {
    int spatial, n, c, o, groups, size, kernel, stride, dilation, low, high;
} shapes[] = {
    /* first layers of one and three channels; channels that are no multiples of anything */
    {2, 2, 1, 32, 1, 9, 3, 1, 1, 1, 1},
    {2, 2, 3, 16, 1, 8, 3, 1, 1, 1, 1},
    {2, 4, 1, 16, 1, 5, 5, 1, 1, 0, 0},
    {2, 1, 3, 8, 1, 15, 7, 2, 1, 3, 3},
    {2, 1, 20, 30, 1, 6, 3, 1, 1, 0, 0},
    {2, 2, 16, 1, 1, 5, 3, 1, 1, 1, 1},
    {2, 1, 1, 1, 1, 5, 3, 1, 1, 1, 1},
    {2, 2, 7, 10, 1, 5, 3, 1, 1, 1, 1},
    /* strides, with and without dilation, and longer than the window */
    {2, 2, 16, 32, 1, 7, 3, 2, 1, 1, 1},
    {2, 3, 32, 16, 1, 6, 1, 2, 1, 0, 0},
    {2, 1, 32, 64, 1, 4, 3, 2, 1, 2, 2},
    {2, 2, 16, 16, 1, 9, 3, 1, 2, 2, 2},
    {2, 2, 16, 16, 1, 11, 3, 2, 2, 1, 2},
    {2, 2, 8, 24, 1, 11, 3, 3, 2, 0, 1},
    {2, 2, 8, 16, 1, 11, 4, 4, 2, 3, 1},
    {2, 2, 16, 8, 1, 3, 1, 3, 1, 0, 0},
    {2, 1, 8, 8, 1, 2, 3, 5, 1, 2, 4},
    /* windows of one element with strides, channels that fill no vector */
    {2, 2, 4, 8, 1, 9, 1, 2, 1, 0, 0},
    /* padding on one side */
    {2, 2, 8, 8, 1, 7, 2, 1, 1, 0, 1},
    {2, 2, 16, 8, 1, 6, 4, 1, 1, 3, 0},
    /* groups, down to one channel each */
    {2, 2, 12, 24, 3, 5, 3, 1, 1, 1, 1},
    {2, 16, 8, 8, 2, 9, 3, 1, 1, 1, 1},
    {2, 2, 16, 16, 16, 6, 3, 1, 1, 1, 1},
    {2, 2, 6, 6, 6, 8, 5, 2, 1, 2, 2},
    {2, 2, 64, 32, 2, 5, 3, 1, 1, 1, 1},
    /* one and three spatial axes */
    {1, 2, 16, 8, 1, 12, 3, 1, 1, 1, 1},
    {1, 2, 3, 5, 1, 10, 4, 2, 1, 0, 0},
    {3, 1, 4, 16, 1, 5, 3, 1, 1, 1, 1},
    {3, 2, 8, 16, 1, 5, 2, 2, 1, 1, 0},
    /* many places, many channels, deep sums */
    {2, 8, 32, 64, 1, 14, 3, 1, 1, 1, 1},
    {2, 1, 64, 72, 1, 3, 5, 1, 1, 2, 2},
    {2, 64, 8, 8, 1, 12, 1, 1, 1, 0, 0},
    {2, 2, 256, 128, 1, 4, 1, 1, 1, 0, 0},
    {2, 16, 16, 64, 1, 24, 1, 1, 1, 0, 0},
    /* no examples */
    {2, 0, 4, 8, 1, 5, 3, 1, 1, 1, 1},
};

enum layout { ALL_LAST, WEIGHT_ROW_MAJOR, CHANNELS_FIRST, LAYOUTS };
enum { TYPES = 3, KINDS = 3 };

static struct program_conv make_conv(const struct shape_case *s)
{
    struct program_conv conv = {.spatial = s->spatial, .n = s->n, .c = s->c, .o = s->o, .groups = s->groups};
    for (int i = 0; i < s->spatial; i++) {
        conv.x[i] = s->size + i;
        conv.kernel[i] = s->kernel;
        conv.stride[i] = s->stride;
        conv.dilation[i] = s->dilation;
        conv.pad_low[i] = s->low;
        conv.pad_high[i] = s->high;
        conv.y[i] = (conv.x[i] + s->low + s->high - s->dilation * (s->kernel - 1) - 1) / s->stride + 1;
    }
    return conv;
}

/* Weight gradients of half operands are f32; every third result of the others is f32 too. */
static void set_types(struct program_conv *conv, enum program_element element, size_t i)
{
    conv->x_element = conv->y_element = conv->weight_element = element;
    if (conv->kind == PROGRAM_CONV_WEIGHT)
        conv->weight_element = PROGRAM_F32;
    else if (i % 3 == 0)
        *(conv->kind == PROGRAM_CONV ? &conv->y_element : &conv->x_element) = PROGRAM_F32;
}

bool conv_variant(size_t i, struct program_conv *conv, struct convolution_request *request, unsigned *tail)
{
    static const enum program_element elements[TYPES] = {PROGRAM_F16, PROGRAM_BF16, PROGRAM_F32};
    size_t rest = i, layout = rest % LAYOUTS, type = (rest /= LAYOUTS) % TYPES, kind = (rest /= TYPES) % KINDS;
    rest /= KINDS;
    if (rest >= sizeof shapes / sizeof *shapes)
        return false;
    *conv = make_conv(&shapes[rest]);
    conv->kind = (enum program_conv_kind)kind;
    conv->channels_last = layout != CHANNELS_FIRST;
    set_types(conv, elements[type], i + rest);
    unsigned appended = (unsigned)(rest * 11 + type * 5 + layout * 13 + kind * 3) % 32;
    *tail = kind != PROGRAM_CONV_WEIGHT && conv->channels_last ? appended % 8 : 0;
    if (conv->n == 0) /* there is no block to store a sum, and nothing has no mean */
        *tail &= CONV_TAIL_BIAS;
    if (kind != PROGRAM_CONV_WEIGHT && conv->n > 0)
        conv->epilogue = appended & (PROGRAM_EPILOGUE_SUM | PROGRAM_EPILOGUE_M2);
    *request = (struct convolution_request){.weight_last = layout == ALL_LAST, .aligned = {i % 7 != 6, i % 5 != 4}};
    /* 29 from one shape to the next: each kind, type and layout meets all tiles. */
    request->tile = (int)((i + 2 * rest) % (CONVOLUTION_TILES + 1));
    return true;
}

bool conv_variant_counts(size_t i)
{
    size_t layout = i % LAYOUTS, shape = i / (LAYOUTS * TYPES * KINDS);
    return layout == ALL_LAST && shapes[shape].size > 8 && (shapes[shape].dilation > 1 || shapes[shape].spatial == 1) &&
           shapes[shape].c % 8 == 0 && shapes[shape].kernel == 3;
}

/* ---- tails by hand ---- */

/* Bias and relu; then an addend, whose double is summed for each channel, and one less than the sum finished; a number
 * of places; a check that the addends exceed a bound, which all do or not. */
static const char tail_text[] =
    "    enum { BIASED = %d, ADDS = %d, CHECKS = %d };\n"
    "    struct tail {\n"
    "        decltype(arguments) &given;\n"
    "        const int count;\n"
    "        float bias[4];\n"
    "        __device__ tail(decltype(arguments) &all, int channel, int channels) : given(all), count(channels) {\n"
    "            for (int k = 0; k < 4; k++)\n"
    "                bias[k] = BIASED && k < count ? load_f32(given.buffer[0], channel + k) : 0;\n"
    "        }\n"
    "        struct loads {\n"
    "            float addend[4];\n"
    "        };\n"
    "        enum { ROWS = 3 };\n"
    "        __device__ void load(loads &to, long long at) const {\n"
    "            for (int k = 0; k < 4; k++)\n"
    "                to.addend[k] = k < count ? load_%s(given.buffer[BIASED], at + k) : 0;\n"
    "        }\n"
    "        __device__ bool operator()(float(&result)[4], const loads &from, float(*totals)[4], int &holds) const {\n"
    "            for (int k = 0; k < 4; k++) {\n"
    "                float sum = result[k] + bias[k];\n"
    "                result[k] = BIASED && sum < 0 ? 0 : sum;\n"
    "                if (ADDS) {\n"
    "                    result[k] += from.addend[k];\n"
    "                    totals[0][k] += 2 * from.addend[k];\n"
    "                    totals[1][k] += k < count;\n"
    "                }\n"
    "                holds &= k >= count || !CHECKS || from.addend[k] > -0.01f * (float)given.integer[0];\n"
    "            }\n"
    "            return false;\n"
    "        }\n"
    "        __device__ void tell(const float *, int, long long) const {\n"
    "        }\n"
    "        __device__ static void finish(decltype(arguments) &given, int channel, int count) {\n"
    "%s"
    "        }\n"
    "    };\n";

static const char finish_text[] =
    "            for (int k = 0; k < count; k++)\n"
    "                store_f32(given.finished[0], channel + k, given.total0[channel + k] - 1);\n";

/* A node stands for a buffer, of which only the number counts here. */
const struct convolution_tail *conv_make_tail(unsigned parts, enum program_element result, int64_t n,
                                              struct arena *arena)
{
    static struct node node;
    static const int64_t hundredths[2] = {100, 99};
    struct convolution_tail tail = {.of = (enum element)result};
    bool biased = parts & CONV_TAIL_BIAS, adds = parts & CONV_TAIL_ADDEND, checks = parts & CONV_TAIL_CHECK;
    tail.text =
        arena_printf(arena, tail_text, biased, adds, checks, program_element_name(result), adds ? finish_text : "");
    tail.load_count = biased + 1;
    tail.total_count = 2 * adds;
    tail.finished_count = adds;
    tail.check = checks ? &node : NULL;
    tail.integers = &hundredths[n % 2];
    tail.integer_count = 1;
    return arena_copy(arena, &tail, sizeof tail);
}
