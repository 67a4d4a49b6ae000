/* Pass hoist: what a loop need not do turn by turn leaves it.
 *
 * A product of what comes in as places of a sequence with what is the same in all turns (x[:, t] @ w) does not wait for
 * other turns: it becomes one product of the whole sequence before the loop, whose places it takes as a sequence. So do
 * lookups in a table, and with both of them the elementwise work that makes their operands. A product of what is the
 * same in all turns is made once. Elementwise work alone stays: it costs nothing beside what the turn does, and its
 * results would have to be stored.
 *
 * A sum over the turns that a loop carries, of products A' B or of sums over axes (the gradient of a weight, say),
 * becomes one product or sum behind the loop, of what A and B were in all turns: the loop stacks them
 * (hoist_sums.c). */
#include "passes/hoist.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    KIND_TURN,  /* has to be known in its turn */
    KIND_SAME,  /* the same in all turns */
    KIND_PLACES /* the places of a tensor that can be there before the loop */
};

struct hoist {
    struct graph *graph;
    struct node *loop;
    struct graph *body;
    struct arena *arena;
    enum kind *kinds;      /* by id in the body */
    struct node **outside; /* likewise: the value before the loop */
    bool *cut, *wanted;    /* likewise: leaves the loop; has to be computed outside */
};

/* ---- what can leave ---- */

static enum kind kind_of_input(const struct hoist *hoist, const struct node *input)
{
    enum loop_role role = loop_role(hoist->loop, loop_number(input));
    return role == LOOP_CAPTURED ? KIND_SAME : role == LOOP_SEQUENCE ? KIND_PLACES : KIND_TURN;
}

/* Can the op work on all places at once, when its operands are of these kinds? */
static bool takes_places(const struct hoist *hoist, const struct node *node)
{
    const enum kind *kinds = hoist->kinds;
    if (node->type.shape.rank >= RANK_MAX || node->operands[0]->type.shape.rank >= RANK_MAX)
        return false;
    switch (node->op) {
    case OP_matmul:
        return node->type.shape.rank == 2 && kinds[node->operands[0]->id] == KIND_PLACES &&
               kinds[node->operands[1]->id] == KIND_SAME && !node->attributes->transpose_a;
    case OP_gather:
        return node->attributes->axis == 0 && kinds[node->operands[0]->id] == KIND_SAME &&
               kinds[node->operands[1]->id] == KIND_PLACES;
    case OP_reshape:
    case OP_broadcast:
    case OP_permute:
        return true;
    default:
        return op_is(node->op, CLASS_POINTWISE);
    }
}

static enum kind kind_of(const struct hoist *hoist, const struct node *node)
{
    bool places = false;
    if (node->op == OP_input)
        return kind_of_input(hoist, node);
    if (op_is(node->op, CLASS_EFFECT) || op_is(node->op, CLASS_LOOP) || op_is(node->op, CLASS_MARKER) ||
        node->op == OP_random)
        return KIND_TURN;
    for (int i = 0; i < node->operand_count; i++) {
        enum kind kind = hoist->kinds[node->operands[i]->id];
        if (kind == KIND_TURN)
            return KIND_TURN;
        places |= kind == KIND_PLACES;
    }
    return !places ? KIND_SAME : takes_places(hoist, node) ? KIND_PLACES : KIND_TURN;
}

static bool is_worth(const struct hoist *hoist, const struct node *node)
{
    enum kind kind = hoist->kinds[node->id];
    return kind != KIND_TURN && (op_is(node->op, CLASS_CONTRACTION) || (node->op == OP_gather && kind == KIND_PLACES));
}

/* Goes back from what the body puts out, and cuts it at what can leave; then what that needs. False: nothing. */
static bool find_cuts(struct hoist *hoist, struct pass_context *context)
{
    struct node *const *nodes = hoist->body->nodes;
    bool *needed = ARENA_ARRAY(hoist->arena, bool, arrlen(nodes)), any = false;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        hoist->kinds[i] = kind_of(hoist, nodes[i]);
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--) {
        needed[i] |= op_is(nodes[i]->op, CLASS_EFFECT);
        hoist->cut[i] = needed[i] && is_worth(hoist, nodes[i]) && pass_may_rewrite(context);
        any |= hoist->cut[i];
        for (int k = 0; k < nodes[i]->operand_count; k++)
            needed[nodes[i]->operands[k]->id] |= needed[i] && !hoist->cut[i];
    }
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--) {
        hoist->wanted[i] |= hoist->cut[i];
        for (int k = 0; k < nodes[i]->operand_count; k++)
            hoist->wanted[nodes[i]->operands[k]->id] |= hoist->wanted[i];
    }
    return any;
}

/* ---- outside ---- */

static struct shape with_turns(const struct hoist *hoist, const struct shape *shape)
{
    struct type type = type_make(ELEMENT_F32, *shape);
    return loop_type_of_sequence(&type, hoist->loop->attributes->loop.turns).shape;
}

/* The rows of all places below each other are multiplied at once. */
static struct node *product_of_places(struct builder *builder, struct node *const *operands, const struct node *node,
                                      const struct type *type)
{
    struct shape rows = {.rank = 2, .dimension = {type->shape.dimension[0] * type->shape.dimension[1]}};
    rows.dimension[1] = operands[0]->type.shape.dimension[2];
    struct node *product = build_matmul(builder, build_reshape(builder, operands[0], &rows), operands[1], false,
                                        node->attributes->transpose_b);
    product->type.element = node->type.element;
    return build_reshape(builder, product, &type->shape);
}

static struct node *permuted_places(struct builder *builder, struct node *operand, const struct node *node)
{
    unsigned char permutation[RANK_MAX] = {0};
    for (int i = 0; i < node->type.shape.rank; i++)
        permutation[i + 1] = (unsigned char)(node->attributes->permutation[i] + 1);
    return build_permute(builder, operand, permutation);
}

static struct node *places_outside(const struct hoist *hoist, struct builder *builder, struct node **operands,
                                   const struct node *node)
{
    struct type type = type_make(node->type.element, with_turns(hoist, &node->type.shape));
    if (node->op == OP_matmul)
        return product_of_places(builder, operands, node, &type);
    if (node->op == OP_permute)
        return permuted_places(builder, operands[0], node);
    for (int i = 0; op_is(node->op, CLASS_POINTWISE) && i < node->operand_count; i++)
        operands[i] = build_broadcast(builder, operands[i], &type.shape);
    return build(builder, node->op, operands, node->operand_count, node->attributes, &type);
}

/* The node's value before the loop, its operands' being there. */
static struct node *make_outside(const struct hoist *hoist, const struct node *node)
{
    struct builder builder = builder_at(hoist->graph, node);
    struct node **operands = ARENA_ARRAY(hoist->arena, struct node *, node->operand_count + 1);
    if (node->op == OP_input)
        return hoist->loop->operands[loop_number(node)];
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = hoist->outside[node->operands[i]->id];
    struct node *made = hoist->kinds[node->id] == KIND_PLACES
                            ? places_outside(hoist, &builder, operands, node)
                            : build(&builder, node->op, operands, node->operand_count, node->attributes, &node->type);
    made->name = made->name ? made->name : node->name;
    return made;
}

/* ---- the loop ---- */

/* Users of what has left take it from its input. */
static void take_from_inputs(struct graph *body, struct node *const *left, struct node *const *inputs)
{
    for (ptrdiff_t i = 0; i < arrlen(left); i++)
        left[i]->replacement = inputs[i];
    graph_apply_replacements(body);
}

static bool reads(const struct graph *body, const char *symbol)
{
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        if (body->nodes[i]->op == OP_read && strcmp(body->nodes[i]->attributes->symbol, symbol) == 0)
            return true;
    return false;
}

static enum loop_role role_in(const struct loop_parts *parts, ptrdiff_t operand)
{
    const struct attributes attributes = {.loop = parts->counts};
    const struct node loop = {.attributes = &attributes};
    return loop_role(&loop, (int)operand);
}

static void drop_operand(struct loop_parts *parts, ptrdiff_t i, enum loop_role role)
{
    ptrdiff_t stack = i + parts->counts.previous;
    if (role == LOOP_PREVIOUS) {
        arrdel(parts->operands, stack);
        arrdel(parts->inputs, stack);
    }
    arrdel(parts->operands, i);
    arrdel(parts->inputs, i);
    parts->counts.sequences -= role == LOOP_SEQUENCE;
    parts->counts.previous -= role == LOOP_PREVIOUS;
}

/* Sequences, previous and captured values that the body takes no more go, but for variables that it reads. Some operand
 * stays. */
static void drop_operands(const struct graph *body, struct loop_parts *parts)
{
    for (ptrdiff_t i = arrlen(parts->operands) - 1; i >= parts->counts.carries; i--) {
        enum loop_role role = role_in(parts, i);
        const struct node *input = parts->inputs[i], *operand = parts->operands[i];
        bool taken = input && input->id < arrlen(body->nodes) && body->nodes[input->id] == input;
        bool read = role == LOOP_CAPTURED && operand->op == OP_read && reads(body, operand->attributes->symbol);
        if (!taken)
            parts->inputs[i] = NULL;
        if (!taken && !read && role != LOOP_STACK && arrlen(parts->operands) > (role == LOOP_PREVIOUS ? 2 : 1))
            drop_operand(parts, i, role);
    }
}

static void cut(struct hoist *hoist)
{
    struct graph *body = hoist->body;
    struct node **left = NULL, **inputs = NULL;
    ptrdiff_t count = arrlen(body->nodes);
    struct node **nodes = arena_copy(hoist->arena, body->nodes, sizeof *nodes * (size_t)count);
    for (ptrdiff_t i = 0; i < count; i++)
        if (hoist->wanted[i])
            hoist->outside[i] = make_outside(hoist, nodes[i]);
    struct loop_parts parts = loop_parts_of(hoist->loop, body);
    for (ptrdiff_t i = 0; i < count; i++) {
        if (!hoist->cut[i])
            continue;
        enum loop_role role = hoist->kinds[i] == KIND_PLACES ? LOOP_SEQUENCE : LOOP_CAPTURED;
        arrput(left, nodes[i]);
        arrput(inputs, loop_parts_add(&parts, body, hoist->outside[i], role));
        hoist->outside[i]->origin = nodes[i]->origin;
    }
    take_from_inputs(body, left, inputs);
    loops_drop_dead(body);
    drop_operands(body, &parts);
    loop_set_parts(hoist->loop, body, &parts);
    loop_parts_free(&parts);
    arrfree(left);
    arrfree(inputs);
}

/* Does anything behind the loop take a result of this number? */
static bool is_taken(const struct node *loop, int number, struct node *const *nodes, const bool *used)
{
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i]->op == OP_result && nodes[i]->operands[0] == loop && nodes[i]->attributes->index == number &&
            used[i])
            return true;
    return false;
}

/* Stacks that nobody takes go, then what the body needed for them alone. */
static void drop_unused(struct node *loop, struct graph *body, struct node *const *nodes, const bool *used)
{
    struct loop_parts parts = loop_parts_of(loop, body);
    struct node *dead = NULL;
    for (int i = (int)arrlen(parts.outputs) - 1; i >= parts.counts.carries; i--) {
        if (is_taken(loop, i, nodes, used))
            continue;
        dead = parts.outputs[i];
        arrdel(parts.outputs, i);
        for (ptrdiff_t k = 0; k < arrlen(body->nodes); k++)
            if (body->nodes[k] == dead) {
                arrdel(body->nodes, k);
                break;
            }
        for (ptrdiff_t k = 0; k < arrlen(nodes); k++) {
            if (nodes[k]->op != OP_result || nodes[k]->operands[0] != loop || nodes[k]->attributes->index <= i)
                continue;
            struct attributes *attributes = arena_copy(body->module->arena, nodes[k]->attributes, sizeof *attributes);
            attributes->index--;
            nodes[k]->attributes = attributes;
        }
    }
    loops_drop_dead(body);
    drop_operands(body, &parts);
    loop_set_parts(loop, body, &parts);
    loop_parts_free(&parts);
}

/* From the last loop to the first, since one may take what only it needed of another. */
static void drop_all_unused(struct graph *graph)
{
    ptrdiff_t count = arrlen(graph->nodes);
    bool *used = calloc((size_t)count + 1, sizeof *used), *gone = calloc((size_t)count + 1, sizeof *gone);
    if (!used || !gone)
        arena_exhausted();
    graph_number(graph);
    for (ptrdiff_t i = count - 1; i >= 0; i--) {
        struct node *node = graph->nodes[i];
        struct graph *body = node->op == OP_loop && used[i] ? loop_body(graph->module, node) : NULL;
        if (body)
            drop_unused(node, body, graph->nodes, used);
        used[i] |= op_is(node->op, CLASS_EFFECT) || op_is(node->op, CLASS_MARKER);
        gone[i] = node->op == OP_result && !used[i];
        for (int k = 0; used[i] && k < node->operand_count; k++)
            used[node->operands[k]->id] = true;
    }
    for (ptrdiff_t i = 0; i < count; i++) /* dead nodes go along with what they are made of */
        for (int k = 0; k < graph->nodes[i]->operand_count; k++)
            gone[i] |= gone[graph->nodes[i]->operands[k]->id];
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < count; i++)
        if (!gone[i])
            graph_append(graph, nodes[i]);
    arrfree(nodes);
    free(used);
    free(gone);
    graph_number(graph);
}

static void hoist_loop(struct graph *graph, struct node *loop, struct graph *body, struct pass_context *context)
{
    struct hoist hoist = {.graph = graph, .loop = loop, .body = body, .arena = arena_new()};
    size_t count = arrlenu(body->nodes) + 1;
    graph_number(body);
    hoist.kinds = ARENA_ARRAY(hoist.arena, enum kind, count);
    hoist.outside = ARENA_ARRAY(hoist.arena, struct node *, count);
    hoist.cut = ARENA_ARRAY(hoist.arena, bool, count);
    hoist.wanted = ARENA_ARRAY(hoist.arena, bool, count);
    if (find_cuts(&hoist, context))
        cut(&hoist);
    arena_free(hoist.arena);
}

/* Requires: no precisions decided. Preserves: values, but for the order of sums. What became useless stays for dce. */
void pass_hoist(struct graph *graph, struct pass_context *context)
{
    struct node **nodes = graph_take_nodes(graph);
    int loops = 0;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        struct graph *body = node->op == OP_loop ? loop_body(graph->module, node) : NULL;
        graph_map_operands(node);
        if (body)
            hoist_loop(graph, node, body, context);
        if (!node->replacement)
            graph_append(graph, node);
        if (body)
            hoist_sums(graph, node, body, nodes + i + 1, arrlen(nodes) - i - 1, context);
        loops += body != NULL;
    }
    arrfree(nodes);
    graph_number(graph);
    if (loops)
        drop_all_unused(graph);
}
