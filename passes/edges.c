/* Pass edges: the types at the edges of loops.
 *
 * Precision leaves what goes in and out of a loop in f32 and casts on both sides of it. Here casts move over the edge,
 * so that none stands alone in each turn or over a whole sequence, and less is stored:
 *
 *   - a half that is cast to f32 on its way in comes in as the half, and the body casts it;
 *   - a value that the body only casts to a half is cast before the loop;
 *   - a half that is cast to f32 on its way out goes out as the half, and whoever takes it casts it;
 *   - a result that all who take it cast to a half is cast in the body.
 *
 * What is carried has one type at both ends of a turn and before the loop, so it changes only where all agree. A half
 * is widened exactly and rounded once, wherever that stands, so every value keeps its bits.
 *
 * Requires: casts have run, nothing fused. Preserves: values. What becomes useless is left to dce. */
#include "passes/loops.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

enum { ROUNDS = 3 }; /* what one loop leaves, another one takes */

struct edges {
    struct graph *graph, *body;
    struct node *loop;
    struct pass_context *context;
    bool changed;
};

/* ---- questions ---- */

/* The half that every user of the node casts it to; NONE when some do not, or nobody uses it. */
static enum element cast_by_all(const struct graph *graph, const struct node *node)
{
    enum element found = ELEMENT_NONE;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++) {
            const struct node *user = graph->nodes[i];
            if (user->operands[k] != node)
                continue;
            if (user->op != OP_cast || !element_is_half(user->type.element) || (found && found != user->type.element))
                return ELEMENT_NONE;
            found = user->type.element;
        }
    return found;
}

static bool is_used(const struct graph *graph, const struct node *node)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++)
            if (graph->nodes[i]->operands[k] == node)
                return true;
    return false;
}

/* The half that the node is a cast of; NONE for all else. */
static enum element widened_from(const struct node *node)
{
    enum element from = node->op == OP_cast ? node->operands[0]->type.element : ELEMENT_NONE;
    return element_is_half(from) && node->type.element == ELEMENT_F32 ? from : ELEMENT_NONE;
}

static bool is_zero(const struct node *node)
{
    double value;
    return node_uniform(node, &value) && value == 0;
}

/* Is the value the same when it is rounded to the half? */
static bool holds(const struct node *node, enum element half)
{
    return is_zero(node) || widened_from(node) == half;
}

/* ---- changes ---- */

static ptrdiff_t place_of(const struct graph *graph, const struct node *node)
{
    ptrdiff_t at = 0;
    while (graph->nodes[at] != node)
        at++;
    return at;
}

/* A cast of the value, put into the list at `at`. */
static struct node *insert_cast(struct graph *graph, struct node *value, enum element element, ptrdiff_t at)
{
    struct builder builder = builder_at(graph, value);
    builder.pin = ELEMENT_NONE;
    builder.reason = "the type at the edge of a loop";
    struct node *cast = build_cast(&builder, value, element);
    (void)arrpop(graph->nodes);
    arrins(graph->nodes, at, cast);
    return cast;
}

/* The value in the half: what it was widened from, or a cast before the user. */
static struct node *narrow(struct graph *graph, struct node *value, enum element half, const struct node *before)
{
    return widened_from(value) == half ? value->operands[0] : insert_cast(graph, value, half, place_of(graph, before));
}

/* An input or result becomes a half: users that cast it to that take it as it is, others a cast back. */
static void retype(struct graph *graph, struct node *node, enum element half)
{
    struct node *wide = NULL;
    node->type.element = half;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *user = graph->nodes[i];
        for (int k = 0; k < user->operand_count; k++) {
            if (user->operands[k] != node || user == wide)
                continue;
            if (user->op == OP_cast && user->type.element == half) {
                user->replacement = node;
                continue;
            }
            if (!wide) {
                wide = insert_cast(graph, node, ELEMENT_F32, place_of(graph, node) + 1);
                i++;
            }
            user->operands[k] = wide;
        }
    }
    graph_apply_replacements(graph);
}

static void retype_output(struct edges *edges, struct node *output, enum element half)
{
    output->operands[0] = narrow(edges->body, output->operands[0], half, output);
    output->type.element = half;
    graph_number(edges->body);
}

static void retype_results(struct edges *edges, int number, enum element half)
{
    for (ptrdiff_t i = 0; i < arrlen(edges->graph->nodes); i++) {
        struct node *result = edges->graph->nodes[i];
        if (result->op == OP_result && result->operands[0] == edges->loop && result->attributes->index == number &&
            result->type.element != half) {
            retype(edges->graph, result, half);
            i = -1; /* the list has changed */
        }
    }
}

static void retype_operand(struct edges *edges, int number, enum element half)
{
    struct node *loop = edges->loop;
    loop->operands[number] = narrow(edges->graph, loop->operands[number], half, loop);
    graph_number(edges->graph);
}

/* ---- one edge ---- */

static bool may(struct edges *edges)
{
    bool allowed = pass_may_rewrite(edges->context);
    edges->changed |= allowed;
    return allowed;
}

/* What comes in as it is outside: sequences, captured and previous values. */
static void look_at_input(struct edges *edges, int number)
{
    struct node *loop = edges->loop, *input = loop_input_find(edges->body, number);
    bool previous = loop_role(loop, number) == LOOP_PREVIOUS;
    int last = previous ? number + loop->attributes->loop.previous : number;
    if (!input || input->type.element != ELEMENT_F32)
        return;
    enum element half = cast_by_all(edges->body, input);
    if (!half)
        half = widened_from(loop->operands[last]);
    if (!half || (previous && !cast_by_all(edges->body, input) && !holds(loop->operands[number], half)) || !may(edges))
        return;
    retype_operand(edges, number, half);
    if (previous)
        retype_operand(edges, last, half);
    retype(edges->body, input, half);
}

/* What all results of a number are cast to; NONE where some are not, or there is none. */
static enum element results_cast_by_all(const struct edges *edges, int number, bool *taken)
{
    enum element half = ELEMENT_NONE;
    *taken = false;
    for (ptrdiff_t i = 0; i < arrlen(edges->graph->nodes); i++) {
        const struct node *result = edges->graph->nodes[i];
        if (result->op != OP_result || result->operands[0] != edges->loop || result->attributes->index != number ||
            !is_used(edges->graph, result))
            continue;
        enum element wanted = cast_by_all(edges->graph, result);
        if (!wanted || (*taken && wanted != half)) {
            *taken = true;
            return ELEMENT_NONE;
        }
        *taken = true;
        half = wanted;
    }
    return half;
}

static void look_at_stack(struct edges *edges, int number)
{
    bool taken;
    struct node *output = loop_output(edges->body, number);
    if (output->type.element != ELEMENT_F32)
        return;
    enum element half = results_cast_by_all(edges, number, &taken);
    if (!half)
        half = widened_from(output->operands[0]);
    if (!half || !may(edges))
        return;
    retype_output(edges, output, half);
    retype_results(edges, number, half);
}

/* What is carried becomes a half where each turn leaves one and the first value is one, or where each turn and all
 * behind the loop take it as one. */
static void look_at_carry(struct edges *edges, int number)
{
    bool taken;
    struct node *output = loop_output(edges->body, number), *input = loop_input_find(edges->body, number);
    if (output->type.element != ELEMENT_F32)
        return;
    enum element half = widened_from(output->operands[0]);
    if (!half || !holds(edges->loop->operands[number], half)) {
        half = input ? cast_by_all(edges->body, input) : ELEMENT_NONE;
        enum element wanted = results_cast_by_all(edges, number, &taken);
        if (taken && wanted != half)
            half = ELEMENT_NONE;
    }
    if (!half || !may(edges))
        return;
    retype_operand(edges, number, half);
    retype_output(edges, output, half);
    if (input)
        retype(edges->body, input, half);
    retype_results(edges, number, half);
}

static void look_at_loop(struct edges *edges)
{
    const struct loop_counts *counts = &edges->loop->attributes->loop;
    graph_number(edges->body);
    for (int i = 0; i < counts->carries; i++)
        look_at_carry(edges, i);
    for (int i = counts->carries; i < edges->loop->operand_count; i++)
        if (loop_role(edges->loop, i) != LOOP_STACK)
            look_at_input(edges, i);
    for (int i = counts->carries; i < loop_outputs(edges->body); i++)
        look_at_stack(edges, i);
}

void pass_edges(struct graph *graph, struct pass_context *context)
{
    struct edges edges = {.graph = graph, .context = context};
    struct node **loops = NULL;
    graph_number(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_loop && loop_body(graph->module, graph->nodes[i]))
            arrput(loops, graph->nodes[i]);
    for (int round = 0; round < ROUNDS; round++) {
        edges.changed = false;
        for (ptrdiff_t i = arrlen(loops) - 1; i >= 0; i--) { /* what takes before what leaves */
            edges.loop = loops[i];
            edges.body = loop_body(graph->module, loops[i]);
            look_at_loop(&edges);
        }
        if (!edges.changed)
            break;
    }
    arrfree(loops);
}
