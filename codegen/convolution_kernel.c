/* From the geometry of a convolution to a variant of the template and its integers. What a variant fixes at compile
 * time is what its inner loop must know: kind, types, tile, epilogue, whether operands come in 16-byte chunks. All
 * sizes are arguments, so layers share kernels. */
#include "codegen/convolution_kernel.h"

#include "codegen/text.h"

#include <math.h>

_Static_assert(CONVOLUTION_INTEGERS == 21 + 11 * PROGRAM_SPATIAL, "as struct shape of the template");

/* ---- shapes ---- */

/* The inner product of a convolution kind: rows, columns, and what is summed over (of the largest class of DATA). */
struct product {
    int64_t rows, columns, depth, repeats; /* repeats: such products, one a group and class */
};

struct tile {
    int rows, columns, warps_down, warps_across;
};

/* From large to small; a warp's part is at least 16 x 16. */
static const struct tile tiles[CONVOLUTION_TILES] = {{128, 64, 2, 2}, {64, 64, 2, 2},  {128, 32, 4, 1}, {64, 32, 2, 2},
                                                     {32, 32, 2, 2},  {128, 16, 4, 1}, {32, 16, 2, 1}};

/* Blocks that keep a large GPU of today busy; results depend on it through the splits, so it is no property of the
 * device. */
enum { BUSY_BLOCKS = 132, SPLIT_STEPS = 8, SPLIT_SUMS = 65536, RECORDS_TOGETHER = 64 };

static int64_t ceiling(int64_t value, int64_t by)
{
    return (value + by - 1) / by;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* For `divide` of the template: value / number is value times the low half, shifted right by the high half. */
static int64_t divider(int64_t number)
{
    int64_t bits = 0;
    number = number > 0 ? number : 1;
    while ((INT64_C(1) << bits) < number)
        bits++;
    uint64_t multiplier = (UINT64_C(1) << (31 + bits)) / (uint64_t)number + 1;
    return (int64_t)(multiplier | (uint64_t)(31 + bits) << 32);
}

static void set_axis(struct convolution_axis *axis, const struct program_conv *conv, int i)
{
    bool given = i >= 0, data = conv->kind == PROGRAM_CONV_DATA;
    axis->x = given ? conv->x[i] : 1;
    axis->y = given ? conv->y[i] : 1;
    axis->kernel = given ? conv->kernel[i] : 1;
    axis->stride = given ? conv->stride[i] : 1;
    axis->dilation = given ? conv->dilation[i] : 1;
    axis->pad = given ? conv->pad_low[i] : 0;
    axis->period = axis->stride / common_divisor(axis->stride, axis->dilation);
    for (int more = 0; more < 2; more++) {
        axis->places_divider[more] = divider(data ? axis->x / axis->stride + more : axis->y);
        axis->taps_divider[more] = divider(data ? axis->kernel / axis->period + more : axis->kernel);
    }
}

static void set_strides(struct convolution_shape *shape, const struct program_conv *conv, bool weight_last)
{
    int64_t x_places = 1, taps = 1;
    shape->y_places = 1;
    for (int i = 0; i < conv->spatial; i++) {
        x_places *= conv->x[i];
        shape->y_places *= conv->y[i];
        taps *= conv->kernel[i];
    }
    shape->x_image = x_places * conv->c;
    shape->y_image = shape->y_places * conv->o;
    shape->x_place = conv->channels_last ? conv->c : 1;
    shape->y_place = conv->channels_last ? conv->o : 1;
    shape->x_channel = conv->channels_last ? 1 : x_places;
    shape->y_channel = conv->channels_last ? 1 : shape->y_places;
    shape->weight_output = shape->inputs * taps;
    shape->weight_input = weight_last ? 1 : taps;
    shape->weight_tap = weight_last ? shape->inputs : 1;
    if (x_places == 1)
        shape->x_place = conv->c, shape->x_channel = 1;
    if (shape->y_places == 1)
        shape->y_place = conv->o, shape->y_channel = 1;
    if (taps == 1)
        shape->weight_input = 1, shape->weight_tap = shape->inputs;
}

static struct product product_of(const struct program_conv *conv, const struct convolution_shape *shape)
{
    int64_t taps = 1, class_taps = 1, class_places = conv->n, classes = 1;
    for (int i = 0; i < PROGRAM_SPATIAL; i++) {
        const struct convolution_axis *axis = &shape->axis[i];
        taps *= axis->kernel;
        class_taps *= ceiling(axis->kernel, axis->period);
        class_places *= ceiling(axis->x, axis->stride);
        classes *= axis->stride;
    }
    int64_t y_places = conv->n * shape->y_places;
    switch (conv->kind) {
    case PROGRAM_CONV:
        return (struct product){y_places, shape->outputs, taps * shape->inputs, shape->groups};
    case PROGRAM_CONV_DATA:
        return (struct product){class_places, shape->inputs, class_taps * shape->outputs, shape->groups * classes};
    default:
        return (struct product){shape->outputs, taps * shape->inputs, y_places, shape->groups};
    }
}

static int64_t tile_count(const struct tile *tile, const struct product *product)
{
    return ceiling(product->rows, tile->rows) * ceiling(product->columns, tile->columns) * product->repeats;
}

/* As many as fill the device, as long as each has some steps to do, and the last not too much to add. */
static int64_t split_count(const struct tile *tile, const struct product *product, int step)
{
    int64_t count = tile_count(tile, product), most = ceiling(product->depth, step) / SPLIT_STEPS;
    int64_t wanted = count ? BUSY_BLOCKS * 2 / count : 1;
    int64_t added = SPLIT_SUMS / (tile->rows * tile->columns);
    most = most < added ? most : added;
    wanted = wanted < most ? wanted : most;
    return wanted > 1 ? wanted : 1;
}

/* The tile that computes least: padded products, and what each product costs to load, where few blocks leave a part of
 * the device idle. */
static const struct tile *choose_tile(const struct product *product, int step)
{
    const struct tile *best = NULL;
    double least = INFINITY;
    for (int i = 0; i < CONVOLUTION_TILES; i++) {
        const struct tile *tile = &tiles[i];
        double blocks = (double)(tile_count(tile, product) * split_count(tile, product, step));
        double busy = blocks < BUSY_BLOCKS ? blocks / BUSY_BLOCKS : 1;
        double work = (double)tile_count(tile, product) * tile->rows * tile->columns;
        double cost = work * (1 + 16.0 / tile->rows + 16.0 / tile->columns) / (busy > 0 ? busy : 1);
        if (cost < least) {
            least = cost;
            best = tile;
        }
    }
    return best;
}

static void check_range(const struct product *product, const struct convolution_shape *shape)
{
    int64_t most = INT32_MAX / 2;
    if (product->rows > most || product->columns > most || product->depth > most || shape->blocks > most ||
        shape->x_image > most || shape->y_image > most || shape->weight_output > most)
        castor_bug("a convolution of more than %lld places", (long long)most);
}

/* ---- variants ---- */

static const struct {
    const char *name, *kind;
} kinds[] = {
    [PROGRAM_CONV] = {"conv", "FORWARD"},
    [PROGRAM_CONV_DATA] = {"conv_data", "DATA"},
    [PROGRAM_CONV_WEIGHT] = {"conv_weight", "WEIGHT"},
};

static const char *element_type(enum program_element element)
{
    switch (element) {
    case PROGRAM_F16:
        return "f16";
    case PROGRAM_BF16:
        return "bf16";
    case PROGRAM_F32:
        return "float";
    default:
        castor_bug("a convolution of %s", program_element_name(element));
    }
}

struct variant {
    enum program_element element, result;
    const struct convolution_tail *tail; /* NULL: none */
    const struct tile *tile;
    bool vector[2]; /* operand a and b of the product */
    bool together;  /* not WEIGHT: four neighbouring columns of the product are one aligned pack of the result */
    bool split;
    int axes;
};

static enum program_element result_element(const struct program_conv *conv)
{
    return conv->kind == PROGRAM_CONV        ? conv->y_element
           : conv->kind == PROGRAM_CONV_DATA ? conv->x_element
                                             : conv->weight_element;
}

static enum program_element operand_element(const struct program_conv *conv)
{
    enum program_element first = conv->kind == PROGRAM_CONV_DATA ? conv->weight_element : conv->x_element;
    enum program_element second = conv->kind == PROGRAM_CONV ? conv->weight_element : conv->y_element;
    if (first != second)
        castor_bug("a convolution of %s and %s", program_element_name(first), program_element_name(second));
    return first;
}

/* Operand a of the product is operand 0 of the forward convolution and operand 1 (dy) of both gradients. */
static void set_vectors(struct variant *variant, const struct program_conv *conv, const struct convolution_shape *shape,
                        const struct convolution_request *request)
{
    int64_t chunk = 16 / (int64_t)program_element_bytes(variant->element);
    bool inputs = shape->inputs % chunk == 0, outputs = shape->outputs % chunk == 0;
    bool x = inputs && shape->x_channel == 1, y = outputs && shape->y_channel == 1;
    bool weight = inputs && shape->weight_input == 1;
    bool forward = conv->kind == PROGRAM_CONV;
    variant->vector[0] = (forward ? x : y) && request->aligned[forward ? 0 : 1];
    variant->vector[1] = (conv->kind == PROGRAM_CONV_WEIGHT ? x : weight) && request->aligned[forward ? 1 : 0];
}

static void set_together(struct variant *variant, const struct program_conv *conv,
                         const struct convolution_shape *shape)
{
    bool forward = conv->kind == PROGRAM_CONV;
    variant->together =
        (forward ? shape->y_channel : shape->x_channel) == 1 && ((forward ? shape->outputs : shape->inputs) & 3) == 0;
}

static const char *variant_name(const struct variant *variant, const struct program_conv *conv, struct arena *arena)
{
    struct text text = {0};
    text_add(&text, "%s%s_%s", kinds[conv->kind].name, variant->axes == 3 ? "_3d" : "",
             program_element_name(variant->element));
    if (variant->result != variant->element)
        text_add(&text, "_%s", program_element_name(variant->result));
    text_add(&text, "_%dx%d", variant->tile->rows, variant->tile->columns);
    for (int i = 0; i < 2; i++)
        if (!variant->vector[i])
            text_add(&text, "_gather_%c", "ab"[i]);
    if (!variant->together && conv->kind != PROGRAM_CONV_WEIGHT)
        text_add(&text, "_apart");
    if (variant->split)
        text_add(&text, "_split");
    if (conv->epilogue & PROGRAM_EPILOGUE_SUM)
        text_add(&text, "_sum");
    if (conv->epilogue & PROGRAM_EPILOGUE_M2)
        text_add(&text, "_m2");
    if (variant->tail)
        text_add(&text, "_tail");
    return text_finish(&text, arena);
}

/* A buffer of the step: its place in the template's struct buffers and its C type. */
static void add_slot(struct text *fields, struct text *body, const char *type, const char *name)
{
    text_line(fields, "%s *%s;", type, name);
    text_line(body, "buffers.%s = arguments.%s;", name, name);
}

/* In the order of the step's buffers. */
static void add_slots(struct text *fields, struct text *body, const struct convolution_kernel *kernel,
                      const struct variant *variant, const struct program_conv *conv)
{
    bool forward = conv->kind == PROGRAM_CONV;
    add_slot(fields, body, "const void", forward ? "a" : "b");
    add_slot(fields, body, "const void", forward ? "b" : "a");
    add_slot(fields, body, "void", "result");
    if (conv->epilogue & PROGRAM_EPILOGUE_SUM)
        add_slot(fields, body, "float", "sum");
    if (conv->epilogue & PROGRAM_EPILOGUE_M2)
        add_slot(fields, body, "float", "m2");
    for (int i = 0; variant->tail && i < variant->tail->total_count; i++) {
        text_line(fields, "float *total%d;", i);
        text_line(body, "buffers.total[%d] = arguments.total%d;", i, i);
    }
    if (variant->tail && variant->tail->check)
        add_slot(fields, body, "unsigned char", "check");
    if (variant->tail && variant->tail->finished_count)
        text_line(fields, "char *finished[%d];", variant->tail->finished_count);
    if (variant->tail && variant->tail->load_count)
        text_line(fields, "char *buffer[%d];", variant->tail->load_count);
    if (kernel->workspace_bytes)
        add_slot(fields, body, "float", "workspace");
    if (kernel->counter_bytes)
        add_slot(fields, body, "unsigned", "counters");
}

static void set_text(struct convolution_kernel *kernel, const struct variant *variant, const struct program_conv *conv,
                     struct arena *arena)
{
    const struct tile *tile = variant->tile;
    const struct convolution_tail *tail = variant->tail;
    enum program_element of = tail ? (enum program_element)tail->of : variant->result;
    struct text fields = {.indent = 1}, body = {.indent = 1};
    text_line(&body, "convolution::buffers buffers = {};");
    add_slots(&fields, &body, kernel, variant, conv);
    text_line(&fields, "convolution::shape shape;");
    if (tail && tail->integer_count)
        text_line(&fields, "long long integer[%d];", tail->integer_count);
    if (tail)
        text_add(&body, "%s", tail->text);
    text_line(&body, "using namespace convolution;");
    text_line(
        &body,
        "run<variant<%s, %s, %s, %s, %u, %d, %s, %d, %d, %d, %d, %d, %s, %s, %s, %s>, %s>(buffers, arguments.shape, "
        "arguments);",
        kinds[conv->kind].kind, element_type(variant->element), element_type(of), element_type(variant->result),
        conv->epilogue, tail ? tail->total_count : 0, tail && tail->check ? "true" : "false", variant->axes, tile->rows,
        tile->columns, tile->warps_down, tile->warps_across, variant->vector[0] ? "true" : "false",
        variant->vector[1] ? "true" : "false",
        variant->together && conv->kind != PROGRAM_CONV_WEIGHT ? "true" : "false", variant->split ? "true" : "false",
        tail ? "tail" : "no_tail");
    kernel->fields = text_finish(&fields, arena);
    kernel->body = text_finish(&body, arena);
}

/* Records of statistics, then the tiles of splits; counters likewise. */
static void set_workspace(struct convolution_kernel *kernel, const struct variant *variant,
                          const struct program_conv *conv, const struct product *product)
{
    const struct convolution_shape *shape = &kernel->shape;
    const struct tile *tile = variant->tile;
    uint64_t tile_total = (uint64_t)tile_count(tile, product);
    uint64_t kept = variant->tail ? (uint64_t)variant->tail->total_count : 0; /* as RECORD of the template */
    kept += conv->epilogue & (PROGRAM_EPILOGUE_SUM | PROGRAM_EPILOGUE_M2) ? 2 : 0;
    if (kept || (variant->tail && variant->tail->check)) {
        int64_t channels = conv->kind == PROGRAM_CONV_DATA ? shape->inputs : shape->outputs;
        uint64_t columns = (uint64_t)(channels < tile->columns ? ceiling(channels, 4) * 4 : tile->columns);
        kernel->workspace_bytes += tile_total * (kept * columns + 4) * sizeof(float);
        int64_t column_count = shape->groups * shape->column_tiles;
        int64_t parts = ceiling((int64_t)tile_total / column_count, shape->merged);
        kernel->counter_bytes += (uint64_t)(column_count * (parts + 1) + 1) * sizeof(uint32_t);
    }
    if (variant->split) {
        kernel->workspace_bytes += tile_total * (uint64_t)(shape->splits * tile->rows * tile->columns) * sizeof(float);
        kernel->counter_bytes += tile_total * sizeof(uint32_t);
    }
}

struct convolution_kernel convolution_kernel_make(const struct program_conv *conv,
                                                  const struct convolution_request *request, struct arena *arena)
{
    struct convolution_kernel kernel = {0};
    if (conv->epilogue & ~(unsigned)(PROGRAM_EPILOGUE_SUM | PROGRAM_EPILOGUE_M2))
        castor_bug("a convolution on a GPU appends by its tail");
    struct convolution_shape *shape = &kernel.shape;
    shape->groups = conv->groups;
    shape->images = conv->n;
    shape->inputs = conv->c / conv->groups;
    shape->outputs = conv->o / conv->groups;
    for (int i = 0; i < PROGRAM_SPATIAL; i++)
        set_axis(&shape->axis[i], conv, i - (PROGRAM_SPATIAL - conv->spatial));
    set_strides(shape, conv, request->weight_last);
    shape->y_places_divider = divider(shape->y_places);
    shape->channel_divider = divider(conv->kind == PROGRAM_CONV_DATA ? shape->outputs : shape->inputs);

    struct variant variant = {.element = operand_element(conv), .result = result_element(conv), .tail = request->tail};
    int step = 64 / (int)program_element_bytes(variant.element);
    struct product product = product_of(conv, shape);
    variant.tile = request->tile ? &tiles[request->tile - 1] : choose_tile(&product, step);
    variant.axes = conv->spatial == 3 ? 3 : 2;
    set_vectors(&variant, conv, shape, request);
    set_together(&variant, conv, shape);
    shape->splits = split_count(variant.tile, &product, step);
    variant.split = shape->splits > 1;
    shape->row_tiles = ceiling(product.rows, variant.tile->rows);
    shape->column_tiles = ceiling(product.columns, variant.tile->columns);
    shape->blocks = tile_count(variant.tile, &product) * shape->splits;
    shape->merged = RECORDS_TOGETHER;
    check_range(&product, shape);
    kernel.threads = 32 * variant.tile->warps_down * variant.tile->warps_across;
    set_workspace(&kernel, &variant, conv, &product);
    kernel.name = variant_name(&variant, conv, arena);
    set_text(&kernel, &variant, conv, arena);
    return kernel;
}
