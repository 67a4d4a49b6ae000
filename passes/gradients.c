/* Pass gradients: reverse-mode differentiation on the graph.
 *
 * The nodes are walked in order, so when a grad node is met, everything before it is free of grad nodes already, and
 * the gradient of a gradient is nothing special. All grad nodes of one y and one seed share a single backward sweep
 * from y: the gradients of all parameters cost one walk together. A sweep goes through the nodes in reverse order;
 * when it reaches one, all uses of its value have left their contributions, and their sum is its gradient. What slices
 * along one axis have left, as padded parts, is put side by side instead of added up: a loop over the places of a
 * sequence leaves as many as there are places. */
#include "ir/loop.h"
#include "passes/gradient_rules.h"
#include "passes/gradient_sweep.h"
#include "passes/loops.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

/* grad nodes that one sweep answers. */
struct group {
    struct node **grads; /* stb_ds array, in graph order */
};

/* By y's id, and what the sweep starts from: 0 for ones, -k - 1 for the scale_seed of minimize line k (all of which are
 * the same number), else the id of the seed + 1. */
struct group_key {
    int64_t y, seed;
};

struct group_entry {
    struct group_key key;
    int64_t value; /* index in groups, from 1 */
};

static bool in_graph(const struct graph *graph, const struct node *node)
{
    return node->id < arrlen(graph->nodes) && graph->nodes[node->id] == node;
}

struct builder sweep_builder(struct graph *graph, const struct node *at)
{
    struct builder builder = builder_at(graph, at);
    builder.region = REGION_BACKWARD;
    builder.reason = NULL;
    builder.forward = at->origin;
    return builder;
}

static void name_gradient(struct graph *graph, struct node *gradient, const struct node *of)
{
    if (of->name && !gradient->name && gradient->region == REGION_BACKWARD)
        gradient->name = arena_internf(graph->module->arena, "d_%s", of->name);
}

/* ---- parts ---- */

/* The one axis along which zeros were added; -1: it is no such pad. */
static int padded_axis(const struct node *node)
{
    int found = -1;
    if (node->op != OP_pad || node->attributes->value != 0)
        return -1;
    for (int axis = 0; axis < node->type.shape.rank; axis++) {
        if (!node->attributes->low[axis] && !node->attributes->high[axis])
            continue;
        if (found >= 0)
            return -1;
        found = axis;
    }
    return found;
}

static int64_t part_size(const struct node *pad, int axis)
{
    return pad->operands[0]->type.shape.dimension[axis];
}

/* The first pad of the list whose part begins before `low`. The list begins with the part that lies last: so a sweep
 * meets the parts of a loop over places. */
static ptrdiff_t first_before(struct node *const *pads, int axis, int64_t low)
{
    ptrdiff_t first = 0, last = arrlen(pads);
    while (first < last) {
        ptrdiff_t middle = (first + last) / 2;
        if (pads[middle]->attributes->low[axis] < low)
            last = middle;
        else
            first = middle + 1;
    }
    return first;
}

/* Puts the pad into its place in the list; false if the parts would not lie side by side. */
static bool keep_part(struct node ***pads, struct node *pad)
{
    int axis = padded_axis(pad);
    if (axis < 0 || (arrlen(*pads) && padded_axis((*pads)[0]) != axis))
        return false;
    int64_t low = pad->attributes->low[axis], high = low + part_size(pad, axis);
    ptrdiff_t at = first_before(*pads, axis, low);
    const struct node *before = at < arrlen(*pads) ? (*pads)[at] : NULL, *after = at > 0 ? (*pads)[at - 1] : NULL;
    if ((before && before->attributes->low[axis] + part_size(before, axis) > low) ||
        (after && after->attributes->low[axis] < high) || low == high)
        return false;
    arrins(*pads, at, pad);
    return true;
}

/* The parts side by side, zeros where there are none. */
static struct node *join_parts(struct builder *builder, struct node *const *pads, const struct node *like)
{
    int axis = padded_axis(pads[0]);
    struct node **parts = NULL;
    int64_t end = 0;
    for (ptrdiff_t i = arrlen(pads) - 1; i >= -1; i--) {
        struct shape gap = like->type.shape;
        gap.dimension[axis] = (i >= 0 ? pads[i]->attributes->low[axis] : gap.dimension[axis]) - end;
        if (gap.dimension[axis])
            arrput(parts, build_broadcast(builder, build_constant(builder, 0, like->type.element), &gap));
        if (i < 0)
            break;
        arrput(parts, pads[i]->operands[0]);
        end = pads[i]->attributes->low[axis] + part_size(pads[i], axis);
    }
    struct node *joined =
        build(builder, OP_concat, parts, (int)arrlen(parts), &(struct attributes){.axis = axis}, NULL);
    arrfree(parts);
    return joined;
}

/* ---- the sweep ---- */

void sweep_contribute(struct sweep *sweep, struct builder *builder, struct node *node, struct node *gradient)
{
    if (!shape_equal(&gradient->type.shape, &node->type.shape))
        castor_bug("the gradient to %s has the wrong shape", op_info(node->op)->name);
    if (gradient->type.element != node->type.element)
        gradient = build_cast(builder, gradient, node->type.element);
    struct node **sum = &sweep->sums[node->id - sweep->low];
    if (keep_part(&sweep->pads[node->id - sweep->low], gradient))
        return;
    struct builder at_value = sweep_builder(sweep->graph, node);
    *sum = *sum ? build_binary(&at_value, OP_add, *sum, gradient) : gradient;
}

struct node *sweep_gradient(struct sweep *sweep, const struct node *node)
{
    struct node **sum = &sweep->sums[node->id - sweep->low], ***pads = &sweep->pads[node->id - sweep->low];
    struct builder builder = sweep_builder(sweep->graph, node);
    struct node *parts = arrlen(*pads) == 1 ? (*pads)[0] : arrlen(*pads) ? join_parts(&builder, *pads, node) : NULL;
    arrfree(*pads);
    if (parts)
        *sum = *sum ? build_binary(&builder, OP_add, *sum, parts) : parts;
    return *sum;
}

bool sweep_is_active(const struct sweep *sweep, const struct node *node)
{
    return node->id >= sweep->low && sweep->active[node->id - sweep->low];
}

/* Sends the gradient of `node` on to its operands. */
static void propagate(struct sweep *sweep, struct node *node)
{
    if (node->op == OP_loop) {
        if (sweep_is_active(sweep, node))
            sweep_loop(sweep, node);
        return;
    }
    struct node *gradient = sweep_gradient(sweep, node);
    if (!gradient)
        return;
    name_gradient(sweep->graph, gradient, node);
    gradient_rule *rule = gradient_rule_of(node->op);
    if (rule == gradient_none)
        return;
    struct builder builder = sweep_builder(sweep->graph, node);
    for (int i = 0; i < node->operand_count; i++) {
        if (!sweep_is_active(sweep, node->operands[i]))
            continue;
        struct node *part = rule(&builder, node, gradient, i);
        if (part)
            sweep_contribute(sweep, &builder, node->operands[i], part);
    }
}

void sweep_spread(struct sweep *sweep)
{
    for (int id = sweep->low; id <= sweep->high; id++) {
        const struct node *node = sweep->graph->nodes[id];
        bool *active = &sweep->active[id - sweep->low];
        bool flows = element_is_float(node->type.element) &&
                     (gradient_rule_of(node->op) != gradient_none || node->op == OP_result);
        if (*active || !(flows || node->op == OP_loop))
            continue;
        for (int i = 0; i < node->operand_count && !*active; i++)
            *active = sweep_is_active(sweep, node->operands[i]);
    }
}

void sweep_open(struct sweep *sweep, struct graph *graph, int low, int high)
{
    *sweep = (struct sweep){.graph = graph, .arena = arena_new(), .low = low, .high = high};
    int count = high - low + 1;
    sweep->active = ARENA_ARRAY(sweep->arena, bool, count);
    sweep->sums = ARENA_ARRAY(sweep->arena, struct node *, count);
    sweep->pads = ARENA_ARRAY(sweep->arena, struct node **, count);
}

void sweep_run(struct sweep *sweep)
{
    for (int id = sweep->high; id >= sweep->low; id--)
        propagate(sweep, sweep->graph->nodes[id]);
}

void sweep_close(struct sweep *sweep)
{
    if (sweep->arena)
        arena_free(sweep->arena);
}

/* What the sweep starts from: the seed, or ones, in the shape and element type of y. */
static struct node *first_gradient(struct graph *graph, const struct node *y, struct node *seed)
{
    struct builder builder = sweep_builder(graph, y);
    if (!seed)
        return gradient_full(&builder, 1, y);
    if (seed->type.element != y->type.element)
        seed = build_cast(&builder, seed, y->type.element);
    return build_broadcast(&builder, seed, &y->type.shape);
}

/* The part of the graph between the first x and y; false when no x lies before y, so that all gradients are zero. */
static bool open_for(struct sweep *sweep, struct graph *graph, struct node *const *grads, const struct node *y)
{
    *sweep = (struct sweep){.low = y->id + 1, .high = y->id};
    for (ptrdiff_t i = 0; i < arrlen(grads); i++) {
        const struct node *x = node_resolve(grads[i]->operands[1]);
        if (in_graph(graph, x) && x->id < sweep->low)
            sweep->low = x->id;
    }
    if (sweep->low > sweep->high)
        return false;
    sweep_open(sweep, graph, sweep->low, sweep->high);
    for (ptrdiff_t i = 0; i < arrlen(grads); i++) {
        const struct node *x = node_resolve(grads[i]->operands[1]);
        if (in_graph(graph, x) && x->id <= sweep->high && element_is_float(x->type.element))
            sweep->active[x->id - sweep->low] = true;
    }
    sweep_spread(sweep);
    return true;
}

static struct node *zeros(struct graph *graph, const struct node *grad)
{
    struct builder builder = builder_at(graph, grad);
    builder.region = REGION_BACKWARD;
    return gradient_full(&builder, 0, grad);
}

/* Gives every grad node of the group its value. */
static void differentiate(struct graph *graph, const struct group *group)
{
    const struct node *first = group->grads[0];
    struct node *y = node_resolve(first->operands[0]);
    struct node *seed = first->operand_count > 2 ? node_resolve(first->operands[2]) : NULL;
    struct sweep sweep;
    bool reached = open_for(&sweep, graph, group->grads, y) && sweep_is_active(&sweep, y);
    if (reached) {
        sweep.sums[y->id - sweep.low] = first_gradient(graph, y, seed);
        sweep_run(&sweep);
    }
    for (ptrdiff_t i = 0; i < arrlen(group->grads); i++) {
        struct node *grad = group->grads[i];
        const struct node *x = node_resolve(grad->operands[1]);
        bool covered = reached && in_graph(graph, x) && x->id >= sweep.low && x->id <= sweep.high;
        struct node *gradient = covered ? sweep.sums[x->id - sweep.low] : NULL;
        node_replace(grad, gradient ? gradient : zeros(graph, grad));
    }
    sweep_close(&sweep);
}

static struct group_key key_of(const struct node *grad)
{
    struct group_key key = {grad->operands[0]->id, 0};
    if (grad->operand_count > 2) {
        const struct node *seed = grad->operands[2];
        key.seed = seed->op == OP_scale_seed ? -(int64_t)seed->attributes->index - 1 : (int64_t)seed->id + 1;
    }
    return key;
}

/* Groups the grad nodes by (y, seed) into `groups`, which has room for one each; a grad node's mark is its group's
 * number, from 1. Gives the number of groups. */
static ptrdiff_t collect_groups(struct node *const *nodes, struct group *groups)
{
    struct group_entry *index = NULL;
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        if (nodes[i]->op != OP_grad)
            continue;
        struct group_key key = key_of(nodes[i]);
        int64_t number = hmget(index, key);
        if (!number) {
            number = ++count;
            hmput(index, key, number);
        }
        arrput(groups[number - 1].grads, nodes[i]);
        nodes[i]->mark = number;
    }
    hmfree(index);
    return count;
}

/* Marks what something uses, going backwards, but for backward nodes that nothing uses: rules ask for more than is
 * needed in the end, and passes that look at users shall not see those. */
static void mark_used(const struct graph *graph)
{
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--) {
        struct node *node = graph->nodes[i];
        node->mark |= node->region != REGION_BACKWARD || op_is(node->op, CLASS_EFFECT);
        for (int k = 0; node->mark && k < node->operand_count; k++)
            node->operands[k]->mark = 1;
    }
}

/* Drops unused backward nodes, and stop_gradient nodes: only now, since a gradient of a gradient had to see them. */
static void clean_up(struct graph *graph)
{
    graph_number(graph);
    mark_used(graph);
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        graph_map_operands(nodes[i]);
        if (nodes[i]->op == OP_stop_gradient)
            node_replace(nodes[i], nodes[i]->operands[0]);
        else if (nodes[i]->mark)
            graph_append(graph, nodes[i]);
    }
    arrfree(nodes);
    graph_number(graph);
}

/* The bodies of the graph's loops are done with, too. */
static void clean_up_bodies(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct graph *body = graph->nodes[i]->op == OP_loop ? loop_body(graph->module, graph->nodes[i]) : NULL;
        if (!body)
            continue;
        clean_up(body);
        clean_up_bodies(body);
    }
}

/* Expands every grad(y, x[, seed]) into backward nodes: region backward, span and scope of the node that they
 * differentiate, its origin in `forward` (the sum of several gradients of a value carries the value's origin).
 * Requires: types inferred; nothing about precision, fusion or memory decided yet.
 * Preserves: all other nodes in their order, except that matmuls read transposed operands by their flags. Afterwards
 * there are no grad and no stop_gradient nodes. Linear in nodes for each (y, seed). */
void pass_gradients(struct graph *graph, struct pass_context *context)
{
    (void)context;   /* not optional, so --pass-limit does not count it */
    if (graph->body) /* the graph that runs it still has to see what stops gradients */
        return;
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    struct arena *arena = arena_new();
    struct group *groups = ARENA_ARRAY(arena, struct group, arrlen(nodes));
    ptrdiff_t group_count = collect_groups(nodes, groups);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        if (node->op == OP_grad) {
            if (!node->replacement)
                differentiate(graph, &groups[node->mark - 1]);
            continue;
        }
        graph_map_operands(node);
        if (node->op == OP_matmul)
            matmul_fold_transposes(graph->module->arena, node);
        graph_append(graph, node);
    }
    for (ptrdiff_t i = 0; i < group_count; i++)
        arrfree(groups[i].grads);
    arena_free(arena);
    arrfree(nodes);
    clean_up(graph);
    clean_up_bodies(graph);
    loops_read_inside(graph);
}
