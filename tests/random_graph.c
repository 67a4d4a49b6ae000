/* Drawing random graphs. Operands are picked from the nodes so far and made to fit; where an op has poles or grows
 * fast, its operand is bounded first, so that most values stay finite. */
#include "random_graph.h"

#include <stb/stb_ds.h>
#include <string.h>

struct generator {
    struct module *module;
    struct builder builder;
    struct random_options options;
    uint64_t state;
    struct node **pool; /* stb_ds array: what may be an operand */
    struct node *last;  /* what was made last, where it may be one; else NULL */
    const char *prefix; /* of variables */
    ptrdiff_t first;    /* variable of its own */
    int names;
};

static int below(struct generator *g, int64_t limit)
{
    return (int)(random_draw(&g->state) % (uint64_t)limit);
}

static bool chance(struct generator *g, int percent)
{
    return below(g, 100) < percent;
}

/* ---- leaves ---- */

static int64_t draw_size(struct generator *g)
{
    static const int64_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33};
    static const int64_t large[] = {1, 2, 3, 4, 8, 17, 64, 96, 128, 255, 256, 300, 512, 1025};
    if (g->options.elements >= RANDOM_LARGE)
        return large[below(g, sizeof large / sizeof *large)];
    return sizes[below(g, sizeof sizes / sizeof *sizes)];
}

static struct shape draw_shape(struct generator *g, int rank)
{
    struct shape shape = {.rank = rank};
    int64_t elements = 1;
    for (int i = 0; i < rank; i++) {
        bool batch = i == 0 && g->options.batch && chance(g, 70);
        int64_t size = batch ? g->options.batch : draw_size(g);
        shape.dimension[i] = elements * size <= g->options.elements ? size : 1;
        elements *= shape.dimension[i];
    }
    return shape;
}

static struct node *add_input(struct generator *g, enum element element, struct shape shape, int classes)
{
    struct type type = type_make(element, shape);
    struct attributes attributes = {.symbol = arena_internf(g->module->arena, "x%d", g->names++), .index = classes};
    return build(&g->builder, OP_input, NULL, 0, &attributes, &type);
}

static struct node *add_read(struct generator *g, struct shape shape)
{
    const char *name = arena_printf(g->module->arena, "%sv%d", g->prefix, g->names++);
    return build_read(&g->builder, module_add_variable(g->module, name, type_make(ELEMENT_F32, shape),
                                                       VARIABLE_PARAMETER, (struct span){0}));
}

static struct node *add_random(struct generator *g)
{
    struct node *operands[2];
    static const char *const names[] = {"train/seed", "train/attempt"};
    for (int i = 0; i < 2; i++) {
        struct variable *variable = module_find_variable(g->module, names[i]);
        if (!variable)
            variable = module_add_variable(g->module, names[i], type_scalar(ELEMENT_I64),
                                           i ? VARIABLE_OPTIMIZER : VARIABLE_HOST, (struct span){0});
        operands[i] = build_read(&g->builder, variable);
    }
    struct type type = type_make(ELEMENT_F32, draw_shape(g, below(g, 4)));
    return build(&g->builder, OP_random, operands, 2, &(struct attributes){.key = random_draw(&g->state)}, &type);
}

static struct node *add_leaf(struct generator *g)
{
    static const enum element elements[] = {ELEMENT_F32, ELEMENT_F32, ELEMENT_F32,
                                            ELEMENT_U8,  ELEMENT_I32, ELEMENT_BOOL};
    struct shape shape = draw_shape(g, below(g, 5));
    struct type type = type_make(ELEMENT_I32, shape);
    switch (below(g, 6)) {
    case 0:
        return build_constant(&g->builder, (double)below(g, 9) / 4 - 1, ELEMENT_F32);
    case 1:
        return build(&g->builder, OP_iota, NULL, 0, &(struct attributes){.axes = (uint32_t)below(g, 1 << shape.rank)},
                     &type);
    case 2:
        return add_random(g);
    case 3:
        return add_read(g, shape);
    default:
        return add_input(g, elements[below(g, 6)], shape, 0);
    }
}

/* ---- operands ---- */

static bool accept_any(const struct node *node)
{
    return node->type.shape.rank <= RANK_MAX;
}

static bool accept_float(const struct node *node)
{
    return element_is_float(node->type.element);
}

static bool accept_number(const struct node *node)
{
    return node->type.element != ELEMENT_BOOL;
}

static bool accept_bool(const struct node *node)
{
    return node->type.element == ELEMENT_BOOL;
}

static bool accept_axes(const struct node *node)
{
    return accept_float(node) && node->type.shape.rank > 0;
}

/* A node of the pool that is accepted; a new input where chance finds none. */
static struct node *pick(struct generator *g, bool accept(const struct node *))
{
    if (g->options.chains && g->last && accept(g->last) && chance(g, 60))
        return g->last;
    for (int i = 0; i < 20 && arrlen(g->pool); i++) {
        struct node *node = g->pool[below(g, arrlen(g->pool))];
        if (accept(node))
            return node;
    }
    struct shape shape = draw_shape(g, 1 + below(g, 3));
    return add_input(g, accept == accept_bool ? ELEMENT_BOOL : ELEMENT_F32, shape, 0);
}

/* The node with `shape`: broadcast where that is possible, else a new one. */
static struct node *fit(struct generator *g, struct node *node, const struct shape *shape)
{
    struct shape common;
    if (shape_broadcast(&node->type.shape, shape, &common) && shape_equal(&common, shape))
        return build_broadcast(&g->builder, node, shape);
    if (shape_elements(&node->type.shape) == shape_elements(shape))
        return build_reshape(&g->builder, node, shape);
    return add_input(g, node->type.element, *shape, 0);
}

/* |a| + 1/4: away from 0, where quotients, logarithms and roots have their poles. */
static struct node *positive(struct generator *g, struct node *a)
{
    return build_binary(&g->builder, OP_add, build_unary(&g->builder, OP_abs, a),
                        build_constant(&g->builder, 0.25, ELEMENT_F32));
}

static struct node *cast_to(struct generator *g, struct node *a, enum element element)
{
    return a->type.element == element ? a : build_cast(&g->builder, a, element);
}

/* ---- one op of each class ---- */

static bool needs_bool(enum op op)
{
    return op == OP_not || op == OP_and || op == OP_or;
}

static bool needs_positive(enum op op)
{
    return op == OP_sqrt || op == OP_rsqrt || op == OP_log || op == OP_log1p || op == OP_pow;
}

static bool needs_bounded(enum op op)
{
    return op == OP_exp || op == OP_expm1;
}

static struct node *add_cast(struct generator *g)
{
    static const enum element elements[] = {ELEMENT_F32, ELEMENT_I32, ELEMENT_BOOL,
                                            ELEMENT_U8,  ELEMENT_F16, ELEMENT_BF16};
    return build_cast(&g->builder, pick(g, accept_any), elements[below(g, g->options.halves ? 6 : 4)]);
}

/* Integers that would leave their type's range mean nothing that a program relies on: bytes are not computed with, and
 * products are taken of floats. */
static bool may_overflow(enum op op, struct node *const *operands, int arity)
{
    enum element element = ELEMENT_BOOL;
    for (int i = op == OP_where; i < arity; i++)
        element = element_promote(element, operands[i]->type.element);
    bool product = op == OP_mul || op == OP_fma;
    return element == ELEMENT_U8 || (product && !element_is_float(element));
}

static struct node *add_pointwise(struct generator *g, enum op op)
{
    if (op == OP_cast)
        return add_cast(g);
    struct node *operands[3] = {0};
    int arity = op_info(op)->arity;
    for (int i = 0; i < arity; i++)
        operands[i] = pick(g, needs_bool(op) || (op == OP_where && i == 0) ? accept_bool : accept_number);
    int widest = below(g, arity);
    struct shape shape = operands[widest]->type.shape;
    for (int i = 0; i < arity; i++)
        operands[i] = fit(g, operands[i], &shape);
    if (op_info(op)->element != RULE_BOOL && may_overflow(op, operands, arity))
        operands[arity - 1] = build_cast(&g->builder, operands[arity - 1], ELEMENT_F32);
    if ((op == OP_add || op == OP_sub) && g->options.chains && chance(g, 30)) {
        int which = below(g, 2);
        operands[which] = build_unary(&g->builder, OP_neg, cast_to(g, operands[which], ELEMENT_F32));
    }
    if (needs_positive(op))
        operands[0] = positive(g, operands[0]);
    if (needs_bounded(op) || op == OP_pow)
        operands[arity - 1] = build_unary(&g->builder, OP_tanh, operands[arity - 1]);
    if (op == OP_div)
        operands[1] = positive(g, operands[1]);
    return build(&g->builder, op, operands, arity, NULL, NULL);
}

static struct node *add_reduce(struct generator *g, enum op op)
{
    struct node *a = pick(g, op == OP_prod || chance(g, 80) ? accept_float : accept_any);
    struct attributes attributes = {.axes = (uint32_t)below(g, 1 << a->type.shape.rank)};
    return build(&g->builder, op, &a, 1, &attributes, NULL);
}

static struct node *add_scan(struct generator *g)
{
    struct node *a = pick(g, accept_axes);
    struct attributes attributes = {.axis = below(g, a->type.shape.rank), .reverse = chance(g, 50)};
    return build(&g->builder, OP_cumsum, &a, 1, &attributes, NULL);
}

/* Pairs of elements along the last axis, told apart by their order, or by a difference. */
static struct node *add_suppressed(struct generator *g)
{
    struct node *a = pick(g, accept_axes);
    struct shape column = a->type.shape, row = a->type.shape, square = a->type.shape;
    int rank = a->type.shape.rank;
    int64_t n = column.dimension[rank - 1];
    if (rank == RANK_MAX || shape_elements(&a->type.shape) * n > 4 * g->options.elements)
        return a;
    column.rank = row.rank = square.rank = rank + 1;
    column.dimension[rank] = row.dimension[rank - 1] = 1;
    row.dimension[rank] = square.dimension[rank] = n;
    enum op ops[] = {OP_lt, OP_gt, OP_ne, OP_eq};
    struct node *pairs[] = {build_broadcast(&g->builder, build_reshape(&g->builder, a, &column), &square),
                            build_broadcast(&g->builder, build_reshape(&g->builder, a, &row), &square)};
    pairs[0] = build(&g->builder, ops[below(g, 4)], pairs, 2, NULL, NULL);
    return build_unary(&g->builder, OP_suppressed, pairs[0]);
}

static struct node *add_reshape(struct generator *g, struct node *a)
{
    int64_t elements = shape_elements(&a->type.shape);
    struct shape shape = {.rank = 1 + below(g, 3)};
    for (int i = 0; i < shape.rank - 1; i++) {
        int64_t size = draw_size(g);
        shape.dimension[i] = elements % size == 0 ? size : 1;
        elements /= shape.dimension[i];
    }
    shape.dimension[shape.rank - 1] = elements;
    return build_reshape(&g->builder, a, &shape);
}

static struct node *add_broadcast(struct generator *g, struct node *a)
{
    struct shape shape = a->type.shape;
    int64_t elements = shape_elements(&shape);
    for (int i = 0; i < shape.rank; i++) {
        int64_t size = draw_size(g);
        if (shape.dimension[i] == 1 && elements * size <= g->options.elements) {
            shape.dimension[i] = size;
            elements *= size;
        }
    }
    return build_broadcast(&g->builder, a, &shape);
}

static void draw_permutation(struct generator *g, int rank, unsigned char *permutation)
{
    for (int i = 0; i < rank; i++) {
        int k = below(g, i + 1);
        permutation[i] = permutation[k];
        permutation[k] = (unsigned char)i;
    }
}

static struct node *add_concat(struct generator *g, struct node *a)
{
    struct node *parts[3] = {a, a, a};
    struct attributes attributes = {.axis = below(g, a->type.shape.rank)};
    struct shape shape = a->type.shape;
    shape.dimension[attributes.axis] = 1 + below(g, 3);
    parts[1] = add_input(g, ELEMENT_F32, shape, 0);
    return build(&g->builder, OP_concat, parts, 1 + below(g, 3), &attributes, NULL);
}

static void draw_slice(struct generator *g, const struct shape *shape, struct attributes *attributes)
{
    for (int i = 0; i < shape->rank; i++) {
        attributes->low[i] = below(g, shape->dimension[i]);
        attributes->high[i] = attributes->low[i] + 1 + below(g, shape->dimension[i] - attributes->low[i]);
        if (g->options.chains && chance(g, 60))
            attributes->high[i] = shape->dimension[i];
        attributes->step[i] = 1 + below(g, 2);
    }
}

/* A window over the last axes that fits. */
static bool draw_window(struct generator *g, const struct shape *shape, int rank, struct window *window)
{
    *window = (struct window){.rank = rank};
    for (int i = 0; i < rank; i++) {
        int64_t size = shape->dimension[shape->rank - rank + i];
        window->kernel[i] = 1 + below(g, 3);
        window->stride[i] = 1 + below(g, 2);
        window->dilation[i] = 1 + below(g, 2);
        window->pad_low[i] = below(g, 2);
        window->pad_high[i] = below(g, 2);
        if (g->options.chains && chance(g, 40)) { /* as many places as elements */
            window->stride[i] = window->dilation[i] = 1;
            window->pad_low[i] = window->kernel[i] > 1;
            window->pad_high[i] = window->kernel[i] > 2;
        }
        if (size + window->pad_low[i] + window->pad_high[i] <= (window->kernel[i] - 1) * window->dilation[i])
            return false;
    }
    return true;
}

static struct node *add_window(struct generator *g, struct node *a)
{
    struct attributes attributes = {.value = chance(g, 50) ? 0 : -1};
    bool over_batch = g->options.batch && chance(g, 60);
    if (over_batch) { /* computed, and of such a size that kernels run example by example */
        a = fit(g, a, &(struct shape){.rank = 2, .dimension = {g->options.batch, 16}});
        a = build_unary(&g->builder, OP_neg, cast_to(g, a, ELEMENT_F32));
    }
    int rank = over_batch ? 2 : 1 + below(g, a->type.shape.rank < 2 ? 1 : 2);
    if (!draw_window(g, &a->type.shape, rank, &attributes.window) || a->type.shape.rank > 5)
        return a;
    return build(&g->builder, OP_window, &a, 1, &attributes, NULL);
}

static struct node *add_movement(struct generator *g, enum op op)
{
    struct node *a = pick(g, accept_axes);
    const struct shape *shape = &a->type.shape;
    struct attributes attributes = {0};
    switch (op) {
    case OP_reshape:
        return add_reshape(g, a);
    case OP_broadcast:
        return add_broadcast(g, a);
    case OP_concat:
        return add_concat(g, a);
    case OP_window:
        return add_window(g, a);
    case OP_permute:
        draw_permutation(g, shape->rank, attributes.permutation);
        break;
    case OP_slice:
        draw_slice(g, shape, &attributes);
        break;
    case OP_pad:
        for (int i = 0; i < shape->rank; i++) {
            attributes.low[i] = below(g, 3);
            attributes.high[i] = below(g, 3);
        }
        attributes.value = (double)below(g, 3) - 1;
        break;
    default: /* flip */
        attributes.axes = (uint32_t)below(g, 1 << shape->rank);
        break;
    }
    return build(&g->builder, op, &a, 1, &attributes, NULL);
}

/* The adjoint of a window drawn for a shape of its own. */
static struct node *add_fold(struct generator *g)
{
    struct node *windows = add_window(g, pick(g, accept_axes));
    if (windows->op != OP_window)
        return windows;
    struct attributes attributes = {.window = windows->attributes->window};
    struct type type = type_make(windows->type.element, windows->operands[0]->type.shape);
    return build(&g->builder, OP_fold, &windows, 1, &attributes, &type);
}

static struct node *add_gather(struct generator *g, enum op op)
{
    struct node *table = pick(g, accept_axes);
    struct attributes attributes = {.axis = below(g, table->type.shape.rank)};
    int64_t rows = table->type.shape.dimension[attributes.axis];
    if (rows == 0 || table->type.shape.rank > 4)
        return table;
    struct node *index = add_input(g, chance(g, 70) ? ELEMENT_I32 : ELEMENT_U8, draw_shape(g, 1), (int)rows);
    struct node *operands[] = {table, index};
    struct node *gathered = build(&g->builder, OP_gather, operands, 2, &attributes, NULL);
    if (op == OP_gather)
        return gathered;
    struct type type = type_make(gathered->type.element, table->type.shape);
    operands[0] = gathered;
    return build(&g->builder, OP_scatter_add, operands, 2, &attributes, &type);
}

static enum element draw_half(struct generator *g, int percent)
{
    if (!g->options.halves || !chance(g, percent))
        return ELEMENT_F32;
    return chance(g, 50) ? ELEMENT_F16 : ELEMENT_BF16;
}

static struct node *add_matmul(struct generator *g)
{
    struct node *a = pick(g, accept_axes);
    enum element element = draw_half(g, 40);
    int rank = a->type.shape.rank;
    if (rank < 2)
        return a;
    bool transpose_a = chance(g, 30), transpose_b = chance(g, 30);
    struct shape shape = a->type.shape;
    int64_t k = shape.dimension[transpose_a ? rank - 2 : rank - 1], n = draw_size(g);
    shape.dimension[rank - 2] = transpose_b ? n : k;
    shape.dimension[rank - 1] = transpose_b ? k : n;
    struct node *b = cast_to(g, add_input(g, ELEMENT_F32, shape, 0), element);
    return build_matmul(&g->builder, cast_to(g, a, element), b, transpose_a, transpose_b);
}

/* Another convolution like this one. */
static struct node *add_like(struct generator *g, const struct node *y)
{
    int weight = y->op == OP_conv ? 1 : 0;
    const struct type *type = &y->operands[weight]->type;
    struct node *operands[] = {y->operands[0], y->operands[1]};
    operands[weight] = cast_to(g, add_input(g, ELEMENT_F32, type->shape, 0), type->element);
    struct node *like = build(&g->builder, y->op, operands, 2, y->attributes, &y->type);
    like->type.element = y->type.element;
    return like;
}

static struct node *round_new(struct generator *g, struct node *node)
{
    if (node == arrlast(g->builder.graph->nodes))
        node->type.element = draw_half(g, 40);
    return node;
}

/* Goes on with a convolution's result as networks do: by vectors of the channels, with another's result, by relu and
 * masks, with sums over all but the channels and a check that all is finite. */
static struct node *go_on(struct generator *g, struct node *y)
{
    const struct shape shape = y->type.shape, vector = {.rank = 1, .dimension = {shape.dimension[1]}};
    uint32_t others = ((1u << shape.rank) - 1) & ~2u;
    struct shape channels = shape;
    for (int i = 0; i < shape.rank; i++)
        channels.dimension[i] = i == 1 ? shape.dimension[1] : 1;
    struct node *like = chance(g, 60) ? add_like(g, y) : y;
    struct node *zero = build_full(&g->builder, 0, ELEMENT_F32, &shape), *now = y;
    for (int left = 1 + below(g, 4); left > 0; left--) {
        struct node *each = build_reshape(&g->builder, add_input(g, ELEMENT_F32, vector, 0), &channels);
        switch (below(g, 5)) {
        case 0:
            now = build_binary(&g->builder, OP_add, now, like);
            break;
        case 1:
            now = build_binary(&g->builder, OP_max, now, zero);
            break;
        case 2:
            now = build_where(&g->builder, build_binary(&g->builder, OP_gt, like, zero), now, zero);
            break;
        default:
            now = build_binary(&g->builder, chance(g, 50) ? OP_add : OP_mul, now,
                               build_broadcast(&g->builder, each, &shape));
        }
        now = round_new(g, now);
    }
    if (chance(g, 60))
        arrput(g->pool, build_reduce(&g->builder, OP_sum, cast_to(g, now, ELEMENT_F32), others));
    if (chance(g, 40))
        arrput(g->pool, build_reduce(&g->builder, OP_sum,
                                     cast_to(g, build_binary(&g->builder, OP_mul, now, like), ELEMENT_F32), others));
    if (chance(g, 30))
        arrput(g->pool, build_reduce(&g->builder, OP_reduce_min, build_unary(&g->builder, OP_isfinite, now),
                                     (1u << shape.rank) - 1));
    return now;
}

/* A convolution of one to three spatial axes, and from it, where wanted, one of its gradients. */
/* What a convolution might look like, but for the sizes of its kernel; false where there is no room for a window. */
static bool draw_convolution(struct generator *g, struct shape *x, struct shape *weight, struct attributes *attributes)
{
    int spatial = 1 + below(g, 3), groups = 1 + below(g, 2);
    *x = (struct shape){.rank = spatial + 2};
    *weight = (struct shape){.rank = spatial + 2};
    x->dimension[0] = 1 + below(g, 2);
    weight->dimension[1] = 1 + below(g, 3);
    weight->dimension[0] = groups * (1 + below(g, 3));
    x->dimension[1] = groups * weight->dimension[1];
    for (int i = 0; i < spatial; i++)
        x->dimension[2 + i] = 3 + below(g, spatial == 3 ? 2 : 5);
    *attributes = (struct attributes){.groups = groups};
    if (!draw_window(g, x, spatial, &attributes->window))
        return false;
    for (int i = 0; i < spatial; i++)
        weight->dimension[2 + i] = attributes->window.kernel[i];
    return true;
}

static struct node *add_tap_sums(struct generator *g)
{
    struct shape x, weight;
    struct attributes attributes;
    if (!draw_convolution(g, &x, &weight, &attributes))
        return pick(g, accept_float);
    struct shape dy = x;
    dy.dimension[1] = weight.dimension[0];
    for (int i = 0; i < attributes.window.rank; i++) {
        const struct window *window = &attributes.window;
        int64_t room = x.dimension[2 + i] + window->pad_low[i] + window->pad_high[i];
        dy.dimension[2 + i] = (room - (window->kernel[i] - 1) * window->dilation[i] - 1) / window->stride[i] + 1;
    }
    memset(attributes.window.kernel, 0, sizeof attributes.window.kernel);
    if (dy.dimension[1] < 2 || shape_elements(&dy) == dy.dimension[1])
        return pick(g, accept_float);
    struct node *operands[] = {fit(g, pick(g, accept_float), &dy), fit(g, pick(g, accept_float), &x)};
    struct type type = type_make(operands[0]->type.element, weight);
    return build(&g->builder, OP_tap_sums, operands, 2, &attributes, &type);
}

static struct node *add_convolution(struct generator *g, enum op op)
{
    struct shape x, weight;
    struct attributes attributes;
    if (!draw_convolution(g, &x, &weight, &attributes))
        return pick(g, accept_float);
    memset(attributes.window.kernel, 0, sizeof attributes.window.kernel);
    enum element element = draw_half(g, 40);
    struct node *operands[] = {cast_to(g, fit(g, pick(g, accept_float), &x), element),
                               cast_to(g, add_input(g, ELEMENT_F32, weight, 0), element)};
    struct node *y = build(&g->builder, OP_conv, operands, 2, &attributes, NULL);
    if (op == OP_conv)
        return chance(g, 40) ? go_on(g, round_new(g, y)) : y;
    struct type type = operands[op == OP_conv_data ? 0 : 1]->type;
    struct node *others[] = {operands[op == OP_conv_data ? 1 : 0], cast_to(g, y, element)};
    struct node *gradient = build(&g->builder, op, others, 2, &attributes, &type);
    return op == OP_conv_data && chance(g, 40) ? go_on(g, round_new(g, gradient)) : gradient;
}

/* Another node when its operands change places? */
static bool turns(const struct node *node)
{
    return node->op == OP_sub || node->op == OP_lt || node->op == OP_le || node->op == OP_gt || node->op == OP_ge;
}

/* A node that is nearly one of the pool: its operands change places, or it takes another slice from the same place on.
 * What finds equal nodes must not take it for the other. NULL where chance finds none. */
static struct node *add_twin(struct generator *g)
{
    if (!arrlen(g->pool))
        return NULL;
    struct node *old = g->pool[below(g, arrlen(g->pool))];
    for (int i = 0; i < 9 && !turns(old) && old->op != OP_slice; i++)
        old = g->pool[below(g, arrlen(g->pool))];
    if (turns(old))
        return build(&g->builder, old->op, (struct node *[]){old->operands[1], old->operands[0]}, 2, NULL, NULL);
    if (old->op != OP_slice)
        return NULL;
    struct attributes attributes = *old->attributes;
    for (int i = 0; i < old->type.shape.rank; i++)
        attributes.high[i] =
            attributes.low[i] + 1 + below(g, old->operands[0]->type.shape.dimension[i] - attributes.low[i]);
    return build(&g->builder, OP_slice, old->operands, 1, &attributes, NULL);
}

static struct node *add_op(struct generator *g, enum op op)
{
    switch (op_info(op)->class) {
    case CLASS_POINTWISE:
        return add_pointwise(g, op);
    case CLASS_REDUCE:
        return add_reduce(g, op);
    case CLASS_SCAN:
        return op == OP_cumsum ? add_scan(g) : add_suppressed(g);
    case CLASS_MOVEMENT:
        return add_movement(g, op);
    case CLASS_FOLD:
        return op == OP_fold ? add_fold(g) : add_tap_sums(g);
    case CLASS_GATHER:
        return add_gather(g, op);
    case CLASS_CONTRACTION:
        return op == OP_matmul ? add_matmul(g) : add_convolution(g, op);
    default:
        return add_leaf(g);
    }
}

/* An op of a class that is drawn first, so that the many pointwise ops do not crowd out the others. One fold of eight
 * is tap_sums instead, which takes no draw of its own: graphs that tests know by their seeds stay what they were. */
static enum op draw_op(struct generator *g)
{
    static const enum op_class classes[] = {CLASS_POINTWISE, CLASS_POINTWISE,  CLASS_POINTWISE, CLASS_POINTWISE,
                                            CLASS_POINTWISE, CLASS_REDUCE,     CLASS_REDUCE,    CLASS_MOVEMENT,
                                            CLASS_MOVEMENT,  CLASS_SCAN,       CLASS_FOLD,      CLASS_GATHER,
                                            CLASS_LEAF,      CLASS_CONTRACTION};
    enum op_class class;
    if (g->options.chains && g->last && !op_is(g->last->op, CLASS_LEAF) &&
        chance(g, op_is(g->last->op, CLASS_MOVEMENT) ? 45 : 20))
        return g->last->op;
    if (!(g->options.without >> CLASS_CONTRACTION & 1) && chance(g, 4))
        return chance(g, 50) ? OP_conv : OP_conv_data;
    do
        class = classes[below(g, sizeof classes / sizeof *classes)];
    while (g->options.without >> class & 1);
    if (class == CLASS_MOVEMENT && g->options.batch && chance(g, 25))
        return OP_window; /* often over the batch */
    enum op op;
    do {
        op = (enum op)below(g, OP_COUNT - 1);
        op = op < OP_tap_sums ? op : (enum op)(op + 1);
    } while (op_info(op)->class != class);
    return op == OP_fold && g->state >> 61 == 0 ? OP_tap_sums : op;
}

/* Rounds some new results to a half, as a policy would: what is used already keeps its type, movement its operand's. */
static void round_some(struct generator *g, struct node *node)
{
    bool rounds =
        op_is(node->op, CLASS_POINTWISE) || op_is(node->op, CLASS_REDUCE) || op_is(node->op, CLASS_CONTRACTION);
    bool newest = node == arrlast(g->builder.graph->nodes);
    if (rounds && newest && node->op != OP_cast && element_is_float(node->type.element))
        node->type.element = draw_half(g, 40);
}

/* ---- effects ---- */

/* A variable of this shape that is read to compute the value, no more than some nodes away; NULL: none. */
static const struct variable *read_for(struct generator *g, const struct node *value, const struct shape *shape,
                                       int depth)
{
    const struct variable *found = NULL;
    if (value->op == OP_read) {
        const struct variable *variable = module_find_variable(g->module, value->attributes->symbol);
        bool free = variable->kind == VARIABLE_PARAMETER && !variable->frozen;
        return free && shape_equal(&variable->type.shape, shape) ? variable : NULL;
    }
    for (int i = 0; i < value->operand_count && depth && !found; i++)
        found = read_for(g, value->operands[i], shape, depth - 1);
    return found;
}

static void add_write(struct generator *g, struct node *value)
{
    const struct variable *variable = NULL;
    if (g->options.chains && chance(g, 80))
        variable = read_for(g, value, &value->type.shape, 6);
    for (ptrdiff_t i = g->first; i < arrlen(g->module->variables) && !variable; i++) {
        const struct variable *old = g->module->variables[i];
        bool free = old->kind == VARIABLE_PARAMETER && !old->frozen;
        if (free && shape_equal(&old->type.shape, &value->type.shape) && chance(g, 50))
            variable = old;
    }
    if (!variable)
        variable = module_add_variable(g->module, arena_printf(g->module->arena, "%sv%d", g->prefix, g->names++),
                                       type_make(ELEMENT_F32, value->type.shape), VARIABLE_PARAMETER, (struct span){0});
    module_find_variable(g->module, variable->name)->frozen = true; /* written: not again */
    build_write(&g->builder, variable, cast_to(g, value, ELEMENT_F32), GATE_NEVER);
}

/* Every value that nothing uses becomes an output or is written. */
static void add_effects(struct generator *g)
{
    graph_number(g->builder.graph);
    for (ptrdiff_t i = 0; i < arrlen(g->builder.graph->nodes); i++)
        for (int k = 0; k < g->builder.graph->nodes[i]->operand_count; k++)
            g->builder.graph->nodes[i]->operands[k]->mark = 1;
    for (ptrdiff_t i = 0; i < arrlen(g->pool); i++) {
        struct node *node = g->pool[i];
        if (node->mark)
            continue;
        node->mark = 1;
        bool reads = g->options.chains && read_for(g, node, &node->type.shape, 6);
        if (element_is_float(node->type.element) && chance(g, reads ? 70 : 30))
            add_write(g, node);
        else
            build_output(&g->builder, arena_printf(g->module->arena, "y%d", g->names++), node, OUTPUT_VALUE);
    }
    for (ptrdiff_t i = 0; i < arrlen(g->module->variables); i++)
        g->module->variables[i]->frozen = false;
    graph_number(g->builder.graph);
}

static struct graph *generate(struct module *module, const char *name, const char *prefix, uint64_t seed,
                              const struct random_options *options)
{
    struct generator g = {.module = module,
                          .options = options ? *options : (struct random_options){0},
                          .prefix = prefix,
                          .first = arrlen(module->variables),
                          .state = seed};
    if (!g.options.steps)
        g.options.steps = 24;
    if (!g.options.elements)
        g.options.elements = 600;
    g.builder = (struct builder){.graph = module_add_graph(module, name), .scope = ""};
    for (int i = 0; i < 3; i++)
        arrput(g.pool, add_leaf(&g));
    for (int i = 0; i < g.options.steps; i++) {
        struct node *node = g.options.chains && chance(&g, 15) ? add_twin(&g) : NULL;
        if (!node) {
            node = add_op(&g, draw_op(&g));
            round_some(&g, node);
        }
        g.last = shape_elements(&node->type.shape) <= 8 * g.options.elements ? node : NULL;
        if (g.last)
            arrput(g.pool, node);
    }
    add_effects(&g);
    arrfree(g.pool);
    return g.builder.graph;
}

struct graph *random_graph(struct module *module, const char *name, uint64_t seed, const struct random_options *options)
{
    return generate(module, name, arena_printf(module->arena, "%s.", name), seed, options);
}

struct module *random_module(struct arena *arena, uint64_t seed, const struct random_options *options)
{
    struct module *module = module_new(arena, diagnostics_new(arena), "random");
    generate(module, "train", "", seed, options);
    return module;
}

bool random_gradients(struct graph *graph, int order)
{
    struct node *y = NULL, **inputs = NULL;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op == OP_output && element_is_float(node->type.element))
            y = node->operands[0];
        if (node->op == OP_input && element_is_float(node->type.element))
            arrput(inputs, node);
    }
    struct builder builder = {.graph = graph, .scope = ""};
    for (ptrdiff_t i = 0; y && i < arrlen(inputs); i++) {
        struct node *gradient = y;
        for (int k = 0; k < order; k++)
            gradient = build(&builder, OP_grad, (struct node *[]){gradient, inputs[i]}, 2, NULL, NULL);
        build_output(&builder, arena_internf(graph->module->arena, "d%d", (int)i), gradient, OUTPUT_VALUE);
    }
    arrfree(inputs);
    graph_number(graph);
    return y != NULL;
}
