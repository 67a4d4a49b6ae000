/* How Winograd's convolutions go through memory; vectors.c does the arithmetic.
 *
 * A forward convolution and the gradient of its input: blocks of tiles, each small enough that its positions stay in a
 * core's cache, each by one thread: tiles to positions, products for some channels of the result, and those back to
 * places. The gradient of a weight: blocks of tiles one after the other, taken to positions by all threads; then each
 * thread adds up products for positions of its own, so that the order of additions is that of the tiles. */
#include "runtime/host/winograd.h"
#include "runtime/host/pages.h"
#include "runtime/host/vectors.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL = VECTOR_PANEL, POSITIONS = WINOGRAD_POSITIONS, TILE = WINOGRAD_TILE };

/* Panels of a result that are made together; how much of a product's depth is done at once, so that a panel of the
 * right matrix stays in the first cache; floats of positions of a block of tiles, and its least and most tiles. */
enum { PANELS = 2, DEPTH = 256, BLOCK_FLOATS = 1 << 19, BLOCK_LEAST = 48, BLOCK_MOST = 512 };

/* Planes, one a position, lie a little more than a power of two apart, or all would meet in the same set of a cache. */
enum { PLANE_SPACE = 16 };

/* What one thread has, or all together. */
struct workspace {
    float *input;   /* [position][tile][channel of the input] of a block */
    float *product; /* [position][tile][PANELS * PANEL]; of a weight's gradient the gradient's own positions */
    float *sum;     /* gradient of the weight by positions, laid out as `weight` */
    bool summed;    /* something has been added to it in this run */
};

struct winograd {
    const struct vector_isa *isa;
    enum program_conv_kind kind;
    unsigned epilogue;
    struct winograd_map from, to; /* what is convolved, and the result or its gradient */
    int64_t shift[2];             /* how far a tile's input begins before it */
    int64_t tiles[2];             /* of an example, down and across */
    int64_t batch, items, block;  /* examples in all and in a slice, tiles in a block */
    int team, workspaces;         /* threads that share one */
    float *weight;                /* [panel of the result][position][channel of the input][PANEL] */
    struct workspace *workspace;
    struct winograd_pool *pool, own; /* where all of that lies; of slices it is the convolution's own */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- what fits ---- */

enum { SLICE_TILES = 16 };

/* In so many examples of the result, or of its gradient. */
static int64_t conv_tiles(const struct program_conv *conv, int64_t items)
{
    const int64_t *size = conv->kind == PROGRAM_CONV_DATA ? conv->x : conv->y;
    return items * ((size[0] + TILE - 1) / TILE) * ((size[1] + TILE - 1) / TILE);
}

bool winograd_fits(const struct program_conv *conv)
{
    unsigned known = PROGRAM_EPILOGUE_BIAS | PROGRAM_EPILOGUE_RELU | PROGRAM_EPILOGUE_ADD;
    bool plain = conv->spatial == 2 && conv->groups == 1 && conv->channels_last && !(conv->epilogue & ~known) &&
                 (conv->kind == PROGRAM_CONV || !conv->epilogue) && conv->x_element == PROGRAM_F32 &&
                 conv->weight_element == PROGRAM_F32 && conv->y_element == PROGRAM_F32 &&
                 (!(conv->epilogue & PROGRAM_EPILOGUE_BIAS) || conv->bias == PROGRAM_F32);
    if (!plain || conv->c % PANEL || conv->o % PANEL)
        return false;
    for (int i = 0; i < 2; i++) {
        if (conv->kernel[i] != 3 || conv->stride[i] != 1 || conv->dilation[i] != 1 || conv->pad_low[i] > 2 ||
            conv->pad_low[i] < 0)
            return false;
    }
    const int64_t *size = conv->kind == PROGRAM_CONV_DATA ? conv->x : conv->y;
    int64_t places = size[0] * size[1] * conv->n;
    /* At least half of what tiles compute is wanted. */
    return places > 0 && 2 * places >= conv_tiles(conv, conv->n) * TILE * TILE;
}

bool winograd_fits_sliced(const struct program_conv *conv, int64_t size)
{
    return conv_tiles(conv, size) >= SLICE_TILES;
}

/* ---- memory ---- */

static size_t weight_plane(const struct winograd *winograd)
{
    return (size_t)winograd->from.channels * PANEL + PLANE_SPACE;
}

static size_t weight_floats(const struct winograd *winograd)
{
    return (size_t)(winograd->to.channels / PANEL) * POSITIONS * weight_plane(winograd);
}

static size_t input_plane(const struct winograd *winograd)
{
    return (size_t)(winograd->block * winograd->from.channels) + PLANE_SPACE;
}

static int64_t product_width(const struct winograd *winograd)
{
    return winograd->kind == PROGRAM_CONV_WEIGHT ? winograd->to.channels : PANELS * PANEL;
}

static size_t product_plane(const struct winograd *winograd)
{
    return (size_t)(winograd->block * product_width(winograd)) + PLANE_SPACE;
}

/* Floats in whole lines of the cache. */
static size_t lines(size_t floats)
{
    enum { LINE = 16 };
    return (floats + LINE - 1) / LINE * LINE;
}

/* Gives each part of what the convolution works with its place in the pool. Returns the floats that takes. */
static size_t place(struct winograd *winograd)
{
    bool gradient = winograd->kind == PROGRAM_CONV_WEIGHT;
    float *memory = winograd->pool->memory;
    size_t weight = lines(weight_floats(winograd)), input = lines(POSITIONS * input_plane(winograd)),
           product = lines(POSITIONS * product_plane(winograd)), each = input + product + (gradient ? weight : 0),
           shared = gradient ? 0 : weight;
    winograd->weight = memory;
    for (int i = 0; i < winograd->workspaces && memory; i++) {
        float *own = memory + shared + (size_t)i * each;
        struct workspace *workspace = &winograd->workspace[i];
        workspace->input = own;
        workspace->product = own + input;
        workspace->sum = own + input + product;
    }
    return shared + (size_t)winograd->workspaces * each;
}

static bool reserve(struct winograd_pool *pool, size_t floats)
{
    if (floats <= pool->floats)
        return true;
    free(pool->memory);
    pool->memory = pages_allocate(floats * sizeof *pool->memory);
    pool->floats = pool->memory ? floats : 0;
    return pool->memory;
}

void winograd_pool_release(struct winograd_pool *pool)
{
    free(pool->memory);
    *pool = (struct winograd_pool){0};
}

void winograd_free(struct winograd *winograd)
{
    if (!winograd)
        return;
    winograd_pool_release(&winograd->own);
    free(winograd->workspace);
    free(winograd);
}

static int64_t tiles_of(const struct winograd *winograd, int64_t items)
{
    return items * winograd->tiles[0] * winograd->tiles[1];
}

static struct winograd *new_for(const struct vector_isa *isa, const struct program_conv *conv, int64_t items, int team,
                                int workspaces, struct winograd_pool *pool, struct error *error)
{
    struct winograd *winograd = calloc(1, sizeof *winograd);
    if (!winograd) {
        error_set(error, "out of memory");
        return NULL;
    }
    *winograd =
        (struct winograd){.isa = isa, .kind = conv->kind, .epilogue = conv->epilogue, .batch = conv->n, .items = items};
    struct winograd_map x = {conv->x[0], conv->x[1], conv->c}, y = {conv->y[0], conv->y[1], conv->o};
    bool data = conv->kind == PROGRAM_CONV_DATA;
    winograd->from = data ? y : x;
    winograd->to = data ? x : y;
    for (int i = 0; i < 2; i++)
        winograd->shift[i] = data ? 2 - conv->pad_low[i] : conv->pad_low[i];
    winograd->tiles[0] = (winograd->to.rows + TILE - 1) / TILE;
    winograd->tiles[1] = (winograd->to.columns + TILE - 1) / TILE;
    int64_t tiles = tiles_of(winograd, items), sharing = conv->kind == PROGRAM_CONV_WEIGHT ? 1 : team;
    int64_t block = BLOCK_FLOATS / (POSITIONS * winograd->from.channels);
    block = block < BLOCK_LEAST ? BLOCK_LEAST : least(block, BLOCK_MOST);
    winograd->block = least(block, (tiles + sharing - 1) / sharing);
    winograd->team = team;
    winograd->workspaces = workspaces;
    winograd->pool = pool ? pool : &winograd->own;
    winograd->workspace = calloc((size_t)workspaces, sizeof *winograd->workspace);
    if (winograd->workspace && reserve(winograd->pool, place(winograd)))
        return winograd;
    winograd_free(winograd);
    error_set(error, "out of memory");
    return NULL;
}

struct winograd *winograd_new(const struct vector_isa *isa, const struct program_conv *conv, int threads,
                              struct winograd_pool *pool, struct error *error)
{
    int workspaces = conv->kind == PROGRAM_CONV_WEIGHT ? 1 : threads;
    return new_for(isa, conv, conv->n, threads, workspaces, pool, error);
}

struct winograd *winograd_new_sliced(const struct vector_isa *isa, const struct program_conv *conv, int64_t size,
                                     int threads, struct error *error)
{
    return new_for(isa, conv, size, 1, threads, NULL, error);
}

/* ---- runs ---- */

/* Where tile number `tile` of a run begins in the result, and in which example. */
struct tile {
    int64_t item, row, column;
};

static struct tile tile_at(const struct winograd *winograd, int64_t tile)
{
    int64_t across = winograd->tiles[1], each = winograd->tiles[0] * across;
    return (struct tile){tile / each, tile % each / across * TILE, tile % across * TILE};
}

static int64_t map_floats(const struct winograd_map *map)
{
    return map->rows * map->columns * map->channels;
}

static float *buffer_at(char *const *buffers, int number, int64_t floats_before)
{
    return (float *)(void *)buffers[number] + floats_before;
}

static void take_input(const struct winograd *winograd, const float *from, int64_t tile, float *to)
{
    struct tile at = tile_at(winograd, tile);
    winograd->isa->input(&winograd->from, from + at.item * map_floats(&winograd->from), at.row - winograd->shift[0],
                         at.column - winograd->shift[1], to, (int64_t)input_plane(winograd));
}

/* The windows as positions, by `team` threads. Window (o, c) of the parameter is one from input c to result o, or
 * turned from o to c. */
static void take_weight(const struct winograd *winograd, const float *weight, int team)
{
    enum { WINDOW = 9 };
    int64_t panels = winograd->to.channels / PANEL, channels = winograd->from.channels;
    bool data = winograd->kind == PROGRAM_CONV_DATA;
    int64_t plane = (int64_t)weight_plane(winograd), step = WINDOW * (data ? 1 : channels),
            next = WINDOW * (data ? winograd->to.channels : 1);
#pragma omp parallel for collapse(2) schedule(static) num_threads(team)
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t channel = 0; channel < channels; channel++)
            winograd->isa->window(weight + panel * PANEL * step + channel * next, step, data,
                                  winograd->weight + panel * POSITIONS * plane + channel * PANEL, plane);
}

/* The products of a block for `panels` panels of the result from `first` on. */
static void multiply_block(const struct winograd *winograd, const struct workspace *workspace, int64_t tiles,
                           int64_t first, int64_t panels)
{
    int64_t input = (int64_t)input_plane(winograd), product = (int64_t)product_plane(winograd),
            plane = (int64_t)weight_plane(winograd), channels = winograd->from.channels, width = PANELS * PANEL;
    const float *weight = winograd->weight + first * POSITIONS * plane;
    for (int64_t position = 0; position < POSITIONS; position++)
        for (int64_t depth = 0; depth < channels; depth += DEPTH)
            winograd->isa->multiply(tiles, panels, least(DEPTH, channels - depth),
                                    workspace->input + position * input + depth, channels, 1,
                                    weight + position * plane + depth * PANEL, PANEL, POSITIONS * plane, depth > 0,
                                    workspace->product + position * product, width, PANEL);
}

/* Tiles first … first + count - 1 of what `x`, `y` and `addend` hold. */
static void run_block(const struct winograd *winograd, const struct workspace *workspace, int64_t first, int64_t count,
                      const float *x, const struct winograd_epilogue *epilogue, float *y)
{
    int64_t panels = winograd->to.channels / PANEL;
    for (int64_t i = 0; i < count; i++)
        take_input(winograd, x, first + i, workspace->input + i * winograd->from.channels);
    for (int64_t panel = 0; panel < panels; panel += PANELS) {
        int64_t some = least(PANELS, panels - panel);
        multiply_block(winograd, workspace, count, panel, some);
        for (int64_t i = 0; i < count; i++) {
            struct tile at = tile_at(winograd, first + i);
            int64_t item = at.item * map_floats(&winograd->to);
            struct winograd_epilogue own = *epilogue;
            own.addend = own.addend ? own.addend + item : NULL;
            winograd->isa->output(&winograd->to, workspace->product + i * PANELS * PANEL,
                                  (int64_t)product_plane(winograd), at.row, at.column, panel * PANEL, some * PANEL,
                                  &own, y + item);
        }
    }
}

/* A result, or the gradient of an input, for the examples from `item` on. */
static void run_result(const struct winograd *winograd, const struct workspace *workspace, int64_t item,
                       char *const *buffers)
{
    bool data = winograd->kind == PROGRAM_CONV_DATA;
    int64_t before = item * map_floats(&winograd->to), tiles = tiles_of(winograd, winograd->items),
            block = winograd->block;
    const float *x = buffer_at(buffers, data ? 1 : 0, item * map_floats(&winograd->from));
    float *y = buffer_at(buffers, 2, before);
    struct winograd_epilogue epilogue = {.relu = winograd->epilogue & PROGRAM_EPILOGUE_RELU};
    bool biased = winograd->epilogue & PROGRAM_EPILOGUE_BIAS;
    epilogue.bias = biased ? buffer_at(buffers, 3, 0) : NULL;
    epilogue.addend = winograd->epilogue & PROGRAM_EPILOGUE_ADD ? buffer_at(buffers, biased ? 4 : 3, before) : NULL;
#pragma omp parallel for schedule(static) num_threads(winograd->team)
    for (int64_t first = 0; first < tiles; first += block)
        run_block(winograd, &workspace[winograd->team > 1 ? omp_get_thread_num() : 0], first,
                  least(block, tiles - first), x, &epilogue, y);
}

/* Adds the block's products to the gradient of the weight; called by all threads of a parallel region. */
static void add_products(const struct winograd *winograd, struct workspace *workspace, int64_t tiles)
{
    int64_t input = (int64_t)input_plane(winograd), product = (int64_t)product_plane(winograd),
            plane = (int64_t)weight_plane(winograd), panels = winograd->to.channels / PANEL,
            channels = winograd->from.channels;
#pragma omp for collapse(2) schedule(static)
    for (int64_t position = 0; position < POSITIONS; position++)
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t depth = 0; depth < tiles; depth += DEPTH)
                winograd->isa->multiply(
                    channels, 1, least(DEPTH, tiles - depth), workspace->input + position * input + depth * channels, 1,
                    channels, workspace->product + position * product + depth * winograd->to.channels + panel * PANEL,
                    winograd->to.channels, 0, workspace->summed || depth > 0,
                    workspace->sum + (panel * POSITIONS + position) * plane, PANEL, 0);
}

static void run_gradient(const struct winograd *winograd, struct workspace *workspace, int64_t item,
                         char *const *buffers)
{
    int64_t tiles = tiles_of(winograd, winograd->items), block = winograd->block;
    const float *x = buffer_at(buffers, 0, item * map_floats(&winograd->from)),
                *dy = buffer_at(buffers, 1, item * map_floats(&winograd->to));
#pragma omp parallel num_threads(winograd->team)
    for (int64_t first = 0; first < tiles; first += block) {
        int64_t count = least(block, tiles - first);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < count; i++) {
            struct tile at = tile_at(winograd, first + i);
            take_input(winograd, x, first + i, workspace->input + i * winograd->from.channels);
            winograd->isa->gradient(&winograd->to, dy + at.item * map_floats(&winograd->to), at.row, at.column,
                                    workspace->product + i * winograd->to.channels, (int64_t)product_plane(winograd));
        }
        add_products(winograd, workspace, count);
#pragma omp single
        workspace->summed = true;
    }
}

/* The sum of what the threads have summed, in their order, as windows. */
static void give_gradient(struct winograd *winograd, float *to, int team)
{
    enum { WINDOW = 9 };
    int64_t panels = winograd->to.channels / PANEL, channels = winograd->from.channels,
            plane = (int64_t)weight_plane(winograd), panel_floats = POSITIONS * plane;
    float *sum = NULL;
    for (int i = 0; i < winograd->workspaces; i++) {
        struct workspace *workspace = &winograd->workspace[i];
        if (!workspace->summed)
            continue;
        workspace->summed = false;
        if (!sum) {
            sum = workspace->sum;
            continue;
        }
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t at = panel * panel_floats; at < (panel + 1) * panel_floats; at++)
                sum[at] += workspace->sum[at];
    }
#pragma omp parallel for collapse(2) schedule(static) num_threads(team)
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t channel = 0; channel < channels; channel++)
            winograd->isa->window_gradient(sum + panel * panel_floats + channel * PANEL, plane,
                                           to + (panel * PANEL * channels + channel) * WINDOW, channels * WINDOW);
}

void winograd_begin(struct winograd *winograd, char *const *buffers)
{
    place(winograd);
    if (winograd->kind != PROGRAM_CONV_WEIGHT)
        take_weight(winograd, buffer_at(buffers, winograd->kind == PROGRAM_CONV_DATA ? 0 : 1, 0),
                    omp_get_max_threads());
}

void winograd_run_slice(struct winograd *winograd, int thread, char *const *buffers, int64_t first)
{
    if (winograd->kind == PROGRAM_CONV_WEIGHT)
        run_gradient(winograd, &winograd->workspace[thread], first, buffers);
    else
        run_result(winograd, &winograd->workspace[thread], first, buffers);
}

void winograd_finish(struct winograd *winograd, char *const *buffers)
{
    if (winograd->kind == PROGRAM_CONV_WEIGHT)
        give_gradient(winograd, buffer_at(buffers, 2, 0), omp_get_max_threads());
}

void winograd_run(struct winograd *winograd, char *const *buffers)
{
    winograd_begin(winograd, buffers);
#pragma omp parallel for schedule(static) num_threads(winograd->workspaces) if (winograd->items < winograd->batch)
    for (int64_t first = 0; first < winograd->batch; first += winograd->items)
        winograd_run_slice(winograd, omp_get_thread_num(), buffers, first);
    winograd_finish(winograd, buffers);
}
