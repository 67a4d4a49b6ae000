/* Pass layout: how each value lies in memory.
 *
 * Where the target wants it, the activations of convolutions lie with their channels innermost ({0,2,3,1} for four
 * axes); all else is row-major. One fact is carried through the graph: the axis that lies innermost. It starts at the
 * convolutions, whose activations must have it, and flows through what works element by element or moves whole axes:
 * first towards the users, then, to nodes that have none yet, towards the operands. A reshape that joins the channels
 * with other axes (flatten) ends it: such a value is row-major, and whoever computes it reads in one order and stores
 * in the other, so that no kernel only copies. Batch fields, variables, outputs, what crosses the edges of loops and
 * matrix products stay row-major. A reshape to the same shape says that a copy in the other order is needed. It is
 * inserted where a convolution takes one of those as it is, or takes for its weight what is computed with channels
 * innermost, where a loop takes that, and where a product takes what lies in an order that its library can't read. So
 * it is where a product or a loop takes the result of a product in a half type that the target emulates, which lies
 * unrounded.
 *
 * Convolutions that are kernels of our own (LANGUAGE_CUDA) read a weight best with its inputs innermost. The half
 * copies of parameters lie so, where convolutions read them as weights and nothing else does: the optimizer's kernel
 * stores them in that order.
 *
 * The result of attention that is one kernel (attention.h) lies as the permute behind it wants it.
 *
 * Before that, contractions get the types that the library of the target multiplies (library_types.h).
 *
 * Requires: no markers. Preserves: values; only layouts change, and such reshapes and casts appear. Reductions add in
 * the order of memory, so the last bits of sums may change. */
#include "passes/attention.h"
#include "passes/library_types.h"
#include "passes/pass.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

enum { NO_CHANNELS = -1 };

/* node->mark holds the innermost axis plus one, 0 for row-major. */
static int channels_of(const struct node *node)
{
    return (int)node->mark + NO_CHANNELS;
}

static void set_channels(struct node *node, int axis)
{
    node->mark = axis - NO_CHANNELS;
}

/* Only these can be computed into any order; conv and conv_data by their library. */
static bool is_flexible(const struct node *node)
{
    switch (op_info(node->op)->class) {
    case CLASS_POINTWISE:
    case CLASS_REDUCE:
    case CLASS_MOVEMENT:
        return true;
    case CLASS_SCAN:
        return node->op == OP_cumsum;
    default:
        return node->op == OP_conv || node->op == OP_conv_data || node->op == OP_fold;
    }
}

/* ---- how an axis goes through an op ---- */

/* The axis of `to` that is axis `axis` of `from`: same size, and as many elements before it. */
static int reshaped_axis(const struct shape *from, const struct shape *to, int axis)
{
    int64_t before = 1, passed = 1;
    for (int i = 0; i < axis; i++)
        before *= from->dimension[i];
    for (int i = 0; i < to->rank; i++) {
        if (passed == before && to->dimension[i] == from->dimension[axis])
            return i;
        passed *= to->dimension[i];
    }
    return NO_CHANNELS;
}

static int axis_to_result(const struct node *node, const struct node *operand, int axis)
{
    const struct shape *shape = &node->type.shape;
    if (node->op == OP_reshape)
        return reshaped_axis(&operand->type.shape, shape, axis);
    if (node->op == OP_permute)
        for (int i = 0; i < shape->rank; i++)
            if (node->attributes->permutation[i] == axis)
                return i;
    if (node->op == OP_fold && axis >= shape->rank - node->attributes->window.rank)
        return NO_CHANNELS;
    return axis < shape->rank ? axis : NO_CHANNELS;
}

static int axis_to_operand(const struct node *node, const struct node *operand, int axis)
{
    const struct shape *shape = &operand->type.shape;
    if (node->op == OP_reshape)
        return reshaped_axis(&node->type.shape, shape, axis);
    if (node->op == OP_permute)
        return node->attributes->permutation[axis];
    if (node->op == OP_window && axis >= shape->rank - node->attributes->window.rank)
        return NO_CHANNELS;
    return axis < shape->rank ? axis : NO_CHANNELS;
}

/* ---- the two walks ---- */

static bool is_conv(const struct node *node)
{
    return node->op == OP_conv || node->op == OP_conv_data || node->op == OP_conv_weight;
}

/* conv: x; conv_data: weight, dy; conv_weight: x, dy. */
static bool is_activation(const struct node *conv, int operand)
{
    return conv->op == OP_conv_weight || operand == (conv->op == OP_conv ? 0 : 1);
}

static void seed(struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (!is_conv(node))
            continue;
        if (node->op != OP_conv_weight)
            set_channels(node, 1);
        for (int j = 0; j < 2; j++)
            if (is_activation(node, j) && is_flexible(node->operands[j]))
                set_channels(node->operands[j], 1);
    }
}

static void flow_forward(struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        bool follows = is_flexible(node) && !op_is(node->op, CLASS_CONTRACTION);
        for (int j = 0; follows && j < node->operand_count && channels_of(node) == NO_CHANNELS; j++) {
            int axis = channels_of(node->operands[j]);
            if (axis != NO_CHANNELS)
                set_channels(node, axis_to_result(node, node->operands[j], axis));
        }
    }
}

static void flow_backward(struct graph *graph)
{
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--) {
        struct node *node = graph->nodes[i];
        if (channels_of(node) == NO_CHANNELS || op_is(node->op, CLASS_CONTRACTION))
            continue;
        for (int j = 0; j < node->operand_count; j++) {
            struct node *operand = node->operands[j];
            if (is_flexible(operand) && channels_of(operand) == NO_CHANNELS)
                set_channels(operand, axis_to_operand(node, operand, channels_of(node)));
        }
    }
}

/* ---- half copies of weights ---- */

/* By name of a variable: some convolution reads it as its weight, something else reads it. */
struct weight_use {
    char *key;
    struct {
        bool weight, other;
    } value;
};

static bool is_copy(const struct module *module, const struct node *node)
{
    const struct variable *variable =
        node->op == OP_read || node->op == OP_write ? module_find_variable(module, node->attributes->symbol) : NULL;
    return variable && variable->kind == VARIABLE_COPY;
}

static void note_uses(const struct module *module, const struct node *node, struct weight_use **uses)
{
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        if (operand->op != OP_read || !is_copy(module, operand))
            continue;
        struct weight_use use = {.key = (char *)operand->attributes->symbol};
        ptrdiff_t at = shgeti(*uses, use.key);
        if (at < 0) { /* shputs may spoil the key of an entry that is there */
            shputs(*uses, use);
            at = shgeti(*uses, use.key);
        }
        if (is_conv(node) && !is_activation(node, i))
            (*uses)[at].value.weight = true;
        else
            (*uses)[at].value.other = true;
    }
}

/* All graphs of a module come to the same answer, since none changes who reads a variable. */
static struct weight_use *find_uses(const struct module *module)
{
    struct weight_use *uses = NULL;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        for (ptrdiff_t j = 0; j < arrlen(module->graphs[i]->nodes); j++)
            note_uses(module, module->graphs[i]->nodes[j], &uses);
    return uses;
}

/* ---- the result ---- */

/* Axes in their order, with `channels` moved to the end. It is row-major already when only axes of size 1 follow. */
static void set_order(struct type *type, int channels)
{
    bool moves = false;
    for (int i = channels + 1; channels >= 0 && i < type->shape.rank; i++)
        moves = moves || type->shape.dimension[i] != 1;
    moves = moves && type->shape.dimension[channels] != 1;
    int place = 0;
    for (int i = 0; i < type->shape.rank; i++)
        if (!moves || i != channels)
            type->order[place++] = (unsigned char)i;
    if (moves)
        type->order[place] = (unsigned char)channels;
}

static void order_weights(struct graph *graph)
{
    struct weight_use *uses = find_uses(graph->module);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (!is_copy(graph->module, node))
            continue;
        ptrdiff_t at = shgeti(uses, node->attributes->symbol);
        if (at < 0 || !uses[at].value.weight || uses[at].value.other)
            continue;
        set_order(&node->type, 1);
        set_order(&module_find_variable(graph->module, node->attributes->symbol)->type, 1);
    }
    shfree(uses);
}

/* Copies of operands, by their marks: one serves all. */
struct copies {
    struct graph *graph;
    const struct target *target;
    int innermost; /* axis of the activations of convolutions; NO_CHANNELS: row-major */
    struct node **channels, **rows, **rounded;
};

static struct node *copy_of(struct graph *graph, struct node *user, struct node *operand, const struct type *type,
                            struct node **copies)
{
    if (copies[operand->mark])
        return copies[operand->mark];
    struct builder builder = builder_at(graph, user);
    struct node *copy = build(&builder, OP_reshape, &operand, 1, NULL, &operand->type);
    copy->type = *type;
    return copies[operand->mark] = copy;
}

/* A copy of the operand with axis `channels` innermost, NO_CHANNELS: row-major; the operand itself where that is its
 * order. */
static struct node *reordered(const struct copies *copies, struct node *user, struct node *operand, int channels)
{
    struct type wanted = operand->type;
    set_order(&wanted, channels);
    if (type_equal(&wanted, &operand->type))
        return operand;
    return copy_of(copies->graph, user, operand, &wanted, channels == NO_CHANNELS ? copies->rows : copies->channels);
}

/* A loop's body takes its operands as they lie. */
static bool wants_rows(struct node *node, int operand)
{
    if (node->op == OP_loop || is_conv(node))
        return node->operands[operand]->op != OP_read;
    return !view_contraction_operand(node, operand);
}

/* What the node takes in place of its operand: that in the order that it reads, and rounded. */
static struct node *readable_operand(const struct copies *copies, struct node *node, int number)
{
    struct node *operand = node->operands[number];
    if (is_conv(node) && is_activation(node, number))
        operand = reordered(copies, node, operand, copies->innermost);
    else if (wants_rows(node, number))
        operand = reordered(copies, node, operand, NO_CHANNELS);
    if (view_lies_unrounded(operand, copies->target))
        operand = copy_of(copies->graph, node, operand, &operand->type, copies->rounded);
    return operand;
}

static void insert_copies(struct graph *graph, const struct target *target, int innermost)
{
    struct arena *arena = arena_new();
    struct node **nodes = graph_take_nodes(graph);
    struct copies copies = {graph,
                            target,
                            innermost,
                            ARENA_ARRAY(arena, struct node *, arrlen(nodes)),
                            ARENA_ARRAY(arena, struct node *, arrlen(nodes)),
                            ARENA_ARRAY(arena, struct node *, arrlen(nodes))};
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        nodes[i]->mark = i;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        for (int j = 0; (op_is(node->op, CLASS_CONTRACTION) || node->op == OP_loop) && j < node->operand_count; j++)
            node->operands[j] = readable_operand(&copies, node, j);
        graph_append(graph, node);
    }
    arena_free(arena);
    arrfree(nodes);
}

/* Where a permute takes the heads of attention back between rows and width, the result lies as the permute wants it. */
static void order_attention(struct graph *graph)
{
    struct arena *arena = arena_new();
    struct attention_set set = attention_find(graph, true, arena);
    for (int i = 0; i < set.count; i++)
        set.found[i].forward.result->mark = 1;
    for (ptrdiff_t i = 0; set.count && i < arrlen(graph->nodes); i++) {
        const struct node *user = graph->nodes[i];
        int rank = user->type.shape.rank;
        if (user->op != OP_permute || !user->operands[0]->mark || user->attributes->permutation[rank - 1] != rank - 1)
            continue;
        for (int axis = 0; axis < rank; axis++)
            user->operands[0]->type.order[axis] = user->attributes->permutation[axis];
    }
    arena_free(arena);
}

static bool emulates(const struct target *target)
{
    return target_emulates(target, ELEMENT_F16) || target_emulates(target, ELEMENT_BF16);
}

/* ---- what kernels of our own can count ---- */

/* The most places of an activation, or elements of an example or of an output's weights: kernels count them in 32 bits,
 * with room for a tile beyond. */
static const int64_t places_most = INT32_MAX / 2;

static int64_t places(const struct node *node)
{
    const int64_t *dimension = node->type.shape.dimension, elements = shape_elements(&node->type.shape);
    int64_t fewer = dimension[0] < dimension[1] ? dimension[0] : dimension[1];
    return elements ? elements / fewer : 0;
}

/* False after a diagnostic. */
static bool is_countable(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i], *largest = node;
        if (node->op != OP_conv && node->op != OP_conv_data && node->op != OP_conv_weight)
            continue;
        for (int k = 0; k < node->operand_count; k++)
            if (places(node->operands[k]) > places(largest))
                largest = node->operands[k];
        if (places(largest) <= places_most)
            continue;
        diagnostics_error(graph->module->diagnostics, E0807, node->span,
                          "give it fewer examples at a time, or smaller images",
                          "graph %s: this convolution has %lld places; a GPU's kernels count up to %lld", graph->name,
                          (long long)places(largest), (long long)places_most);
        return false;
    }
    return true;
}

void pass_layout(struct graph *graph, struct pass_context *context)
{
    if (context->target->language == LANGUAGE_CUDA && !is_countable(graph))
        return;
    bool channels_last = context->target->channels_last && pass_may_rewrite(context);
    graph_number(graph);
    if (context->target->one_type)
        fit_library_types(graph, context->target);
    if (channels_last) {
        seed(graph);
        flow_forward(graph);
        flow_backward(graph);
        flow_forward(graph);
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        set_order(&graph->nodes[i]->type, channels_of(graph->nodes[i]));
    if (context->target->channels_last && context->target->language == LANGUAGE_CUDA)
        order_weights(graph);
    graph_number(graph);
    bool attention = context->target->attention && pass_may_rewrite(context);
    if (attention)
        order_attention(graph);
    if (channels_last || attention || emulates(context->target))
        insert_copies(graph, context->target, channels_last ? 1 : NO_CHANNELS);
    graph_number(graph);
}
