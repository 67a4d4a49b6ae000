/* What a variant of attention fixes at compile time is what its tiles must know: direction, types, width of a head,
 * whether it is causal, drops weights, scales queries. */
#include "codegen/attention_kernel.h"

#include "codegen/text.h"
#include "passes/attention.h"
#include "passes/memory.h"

#include <string.h>

_Static_assert(ATTENTION_INTEGERS == 36, "as struct shape of the template");

enum { TILE = 64 };

struct maker {
    struct attention_kernel kernel;
    const struct target *target;
    struct arena *arena;
    struct text fields, body;
    const char *biased; /* letters of the operands that get their bias when they are loaded */
};

/* ---- buffers ---- */

static void add_buffer(struct maker *maker, struct node *node, int64_t offset, const char *type, const char *name)
{
    struct attention_kernel *kernel = &maker->kernel;
    text_line(&maker->fields, "%s *%s;", type, name);
    text_line(&maker->body, "buffers.%s = arguments.%s;", name, name);
    kernel->offset[kernel->buffer_count] = offset;
    kernel->buffers[kernel->buffer_count++] = node;
    kernel->bytes += (uint64_t)memory_bytes(&node->type, maker->target);
}

/* Batch, head and row stride of [.., heads, rows, width]; one head where there are three axes. */
static void set_strides(const struct view *view, int64_t stride[3])
{
    int rank = view->type.shape.rank;
    stride[0] = view->stride[0];
    stride[1] = rank == 4 ? view->stride[1] : 0;
    stride[2] = view->stride[rank - 2];
}

static void add_operand(struct maker *maker, struct node *node, bool biased, const char *name, int64_t stride[3])
{
    struct attention_source source;
    if (!attention_source(node, biased, &source))
        castor_bug("attention can not read its %s where it lies", name);
    int64_t bytes = (int64_t)element_bytes(maker->target->storage[node->type.element]);
    add_buffer(maker, source.view.base, source.view.offset * bytes, "const void", name);
    set_strides(&source.view, stride);
    if (!source.bias)
        return;
    maker->biased = arena_printf(maker->arena, "%s%c", maker->biased, name[0]);
    add_buffer(maker, source.bias, source.bias_first * (int64_t)sizeof(float), "const float",
               arena_printf(maker->arena, "%s_bias", name));
}

static void add_result(struct maker *maker, struct node *node, const char *name, int64_t stride[3])
{
    struct view view = {.type = node->type};
    type_strides(&node->type, view.stride);
    add_buffer(maker, node, 0, "void", name);
    set_strides(&view, stride);
}

/* A gradient as a part of what is stored. */
static void add_part(struct maker *maker, const struct attention_gradient *gradient, int part, const char *name,
                     int64_t stride[3])
{
    const struct view *place = &gradient->place[part];
    struct node *joined = gradient->joined;
    int64_t bytes = (int64_t)element_bytes(maker->target->storage[joined->type.element]);
    add_buffer(maker, joined, place->offset * bytes, "void", name);
    maker->kernel.bytes -=
        (uint64_t)(memory_bytes(&joined->type, maker->target) - memory_bytes(&place->type, maker->target));
    set_strides(place, stride);
}

/* ---- the variant ---- */

static int64_t float_bits(double value)
{
    float narrow = (float)value;
    int32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

static const char *cuda_type(enum element element)
{
    return element == ELEMENT_F16 ? "f16" : element == ELEMENT_BF16 ? "bf16" : "float";
}

static enum element score_element(const struct attention *forward)
{
    return forward->scores->type.element == ELEMENT_F32 ? forward->score->type.element : forward->scores->type.element;
}

static int64_t product_of(const struct shape *shape, int count)
{
    int64_t product = 1;
    for (int i = 0; i < count; i++)
        product *= shape->dimension[i];
    return product;
}

static void set_shape(struct maker *maker, const struct attention *forward, bool gradient)
{
    struct attention_shape *shape = &maker->kernel.shape;
    const struct shape *query = &forward->query->type.shape;
    int rank = query->rank;
    shape->heads = rank == 4 ? query->dimension[1] : 1;
    shape->queries = query->dimension[rank - 2];
    shape->keys = forward->key->type.shape.dimension[rank - 2];
    shape->tiles = (shape->queries + TILE - 1) / TILE;
    shape->key_tiles = (shape->keys + TILE - 1) / TILE;
    shape->pairs = product_of(query, rank - 2);
    shape->blocks = shape->pairs * (gradient ? shape->tiles + shape->key_tiles : shape->tiles);
    shape->random_key = forward->random ? (int64_t)forward->random->attributes->key : 0;
    shape->query_scale = float_bits(forward->query_scale);
    shape->keep = float_bits(forward->keep);
    shape->scale = float_bits(forward->scale);
    int64_t width = query->dimension[rank - 1];
    maker->kernel.flops = (uint64_t)(2 * shape->pairs * shape->queries * shape->keys * width) * (gradient ? 5 : 2);
}

static void add_seeds(struct maker *maker, const struct attention *forward)
{
    if (!forward->random)
        return;
    add_buffer(maker, forward->random->operands[0], 0, "const long long", "seed");
    add_buffer(maker, forward->random->operands[1], 0, "const long long", "attempt");
}

/* The types that are stored, results first, and what they add to the name: nothing where all are the operands'. */
static const char *stored_types(const struct attention *forward, const struct attention_gradient *gradient,
                                struct arena *arena, const char **suffix)
{
    const struct node *of[] = {forward->result, gradient ? gradient->d_query : NULL, gradient ? gradient->d_key : NULL,
                               gradient ? gradient->d_value : NULL};
    const char *types = "", *letters = "";
    for (int i = 0; i < 4 && of[i]; i++) {
        enum element element = of[i]->type.element;
        types = arena_printf(arena, "%s%s%s", types, i ? ", " : "", cuda_type(element));
        if (element == ELEMENT_F32)
            letters = arena_printf(arena, "%s%c", letters, "yqkv"[i]);
    }
    *suffix = *letters ? arena_printf(arena, "_f32_%s", letters) : "";
    return types;
}

static void finish(struct maker *maker, const struct attention *forward, const struct attention_gradient *gradient)
{
    struct arena *arena = maker->arena;
    const char *way = gradient ? "gradient" : "forward", *suffix;
    const char *types = stored_types(forward, gradient, arena, &suffix);
    const struct shape *query = &forward->query->type.shape;
    enum element element = forward->query->type.element, score = score_element(forward);
    bool scales = forward->query_scale != 1;
    int width = (int)query->dimension[query->rank - 1];
    text_line(&maker->fields, "attention::shape shape;");
    text_line(&maker->body, "%s<variant<%s, %s, stored<%s>, %d, %s, %s, %s, %s>>(buffers, arguments.shape);", way,
              cuda_type(element), cuda_type(score), types, width, forward->causal ? "true" : "false",
              forward->random ? "true" : "false", scales ? "true" : "false", *maker->biased ? "true" : "false");
    maker->kernel.name = arena_printf(arena, "attention_%s_%s%s%s%s_%d%s%s%s%s%s", way, element_name(element),
                                      score == element ? "" : "_", score == element ? "" : element_name(score), suffix,
                                      width, forward->causal ? "_causal" : "", forward->random ? "_drop" : "",
                                      scales ? "_scale" : "", *maker->biased ? "_bias_" : "", maker->biased);
    maker->kernel.fields = text_finish(&maker->fields, arena);
    maker->kernel.body = text_finish(&maker->body, arena);
}

/* ---- both ways ---- */

/* Query, key, value, and the result, which the gradients read. */
static void add_forward(struct maker *maker, const struct attention *forward)
{
    struct attention_shape *shape = &maker->kernel.shape;
    add_operand(maker, forward->query, true, "query", shape->query);
    add_operand(maker, forward->key, true, "key", shape->key);
    add_operand(maker, forward->value, true, "value", shape->value);
    add_result(maker, forward->result, "result", shape->result);
}

static void make_forward(struct maker *maker, const struct attention *forward)
{
    add_forward(maker, forward);
    add_buffer(maker, forward->maximum, 0, "float", "maximum");
    add_buffer(maker, forward->total, 0, "float", "total");
    add_seeds(maker, forward);
    set_shape(maker, forward, false);
}

static void make_gradient(struct maker *maker, const struct attention_gradient *gradient)
{
    const struct attention *forward = &gradient->forward;
    struct attention_shape *shape = &maker->kernel.shape;
    add_forward(maker, forward);
    add_operand(maker, gradient->d_result, false, "d_result", shape->d_result);
    add_buffer(maker, forward->maximum, 0, "float", "maximum");
    add_buffer(maker, forward->total, 0, "float", "total");
    struct node *results[] = {gradient->d_query, gradient->d_key, gradient->d_value};
    static const char *const names[] = {"d_query", "d_key", "d_value"};
    int64_t *strides[] = {shape->d_query, shape->d_key, shape->d_value};
    for (int i = 0; i < 3; i++)
        if (gradient->joined)
            add_part(maker, gradient, i, names[i], strides[i]);
        else
            add_result(maker, results[i], names[i], strides[i]);
    add_seeds(maker, forward);
    set_shape(maker, forward, true);
    shape->joined_scale = float_bits(gradient->joined ? gradient->joined_scale : 1);
}

/* Which of the three stored products, or of the parts of what is stored, is which. */
static bool match_stores(const struct kernel_use *use, struct attention_gradient *gradient)
{
    struct node *const *stores = use->stores;
    if (use->store_count == 1)
        return attention_match_joined(stores[0], gradient) && gradient->rewritten;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (i != k && attention_match_gradient(stores[i], stores[k], stores[3 - i - k], gradient))
                return gradient->rewritten;
    return false;
}

struct attention_kernel attention_kernel_make(const struct kernel_use *use, const struct target *target,
                                              struct arena *arena)
{
    struct maker maker = {
        .target = target, .arena = arena, .biased = "", .fields = {.indent = 1}, .body = {.indent = 1}};
    struct attention forward;
    struct attention_gradient gradient;
    text_line(&maker.body, "using namespace attention;");
    text_line(&maker.body, "buffers buffers = {};");
    if (attention_match(use->contraction, &forward)) {
        make_forward(&maker, &forward);
        finish(&maker, &forward, NULL);
    } else if ((use->store_count == 3 || use->store_count == 1) && match_stores(use, &gradient)) {
        make_gradient(&maker, &gradient);
        finish(&maker, &gradient.forward, &gradient);
    } else {
        castor_bug("a kernel of several contractions that is no attention");
    }
    return maker.kernel;
}
