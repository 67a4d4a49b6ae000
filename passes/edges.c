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

/* By node id of a graph: who uses it. Looked up until the graph changes. */
struct uses {
    struct use {
        enum element half; /* that every user so far casts it to */
        bool used, mixed;  /* some user does not, or casts it to another one */
    } * of;                /* stb_ds array */
    bool known;
};

struct edges {
    struct graph *graph, *body;
    struct node *loop;
    struct loop_parts parts; /* inputs and outputs of the body; what is taken in is the loop's */
    struct node ***results;  /* stb_ds array, by number: stb_ds arrays of the loop's results */
    struct uses outside, inside;
    struct pass_context *context;
    bool changed;
};

/* ---- questions ---- */

static void note_use(struct use *use, const struct node *user)
{
    bool casts = user->op == OP_cast && element_is_half(user->type.element);
    use->mixed |= !casts || (use->used && use->half != user->type.element);
    use->half = user->type.element;
    use->used = true;
}

static struct use use_of(const struct graph *graph, struct uses *uses, const struct node *node)
{
    if (!uses->known) {
        arrsetlen(uses->of, arrlenu(graph->nodes));
        for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
            const struct node *user = graph->nodes[i];
            uses->of[i] = (struct use){0};
            for (int k = 0; k < user->operand_count; k++)
                note_use(&uses->of[user->operands[k]->id], user);
        }
        uses->known = true;
    }
    return uses->of[node->id];
}

/* The half that every user of the node casts it to; NONE when some do not, or nobody uses it. */
static enum element cast_by_all(const struct graph *graph, struct uses *uses, const struct node *node)
{
    struct use use = use_of(graph, uses, node);
    return use.used && !use.mixed ? use.half : ELEMENT_NONE;
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

static ptrdiff_t results_of(const struct edges *edges, int number)
{
    return edges->results && number < arrlen(edges->results) ? arrlen(edges->results[number]) : 0;
}

static void retype_results(struct edges *edges, int number, enum element half)
{
    for (ptrdiff_t i = 0; i < results_of(edges, number); i++)
        if (edges->results[number][i]->type.element != half)
            retype(edges->graph, edges->results[number][i], half);
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
    edges->outside.known &= !allowed;
    edges->inside.known &= !allowed;
    return allowed;
}

/* What comes in as it is outside: sequences, captured and previous values. */
static void look_at_input(struct edges *edges, int number)
{
    struct node *loop = edges->loop, *input = edges->parts.inputs[number];
    bool previous = loop_role(loop, number) == LOOP_PREVIOUS;
    int last = previous ? number + loop->attributes->loop.previous : number;
    if (!input || input->type.element != ELEMENT_F32)
        return;
    enum element inside = cast_by_all(edges->body, &edges->inside, input);
    enum element half = inside ? inside : widened_from(loop->operands[last]);
    if (!half || (previous && !inside && !holds(loop->operands[number], half)) || !may(edges))
        return;
    retype_operand(edges, number, half);
    if (previous)
        retype_operand(edges, last, half);
    retype(edges->body, input, half);
}

/* What all results of a number are cast to; NONE where some are not, or there is none. */
static enum element results_cast_by_all(struct edges *edges, int number, bool *taken)
{
    enum element half = ELEMENT_NONE;
    *taken = false;
    for (ptrdiff_t i = 0; i < results_of(edges, number); i++) {
        const struct node *result = edges->results[number][i];
        if (!use_of(edges->graph, &edges->outside, result).used)
            continue;
        enum element wanted = cast_by_all(edges->graph, &edges->outside, result);
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
    struct node *output = edges->parts.outputs[number];
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
    struct node *output = edges->parts.outputs[number], *input = edges->parts.inputs[number];
    if (output->type.element != ELEMENT_F32)
        return;
    enum element half = widened_from(output->operands[0]);
    if (!half || !holds(edges->loop->operands[number], half)) {
        half = input ? cast_by_all(edges->body, &edges->inside, input) : ELEMENT_NONE;
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

static void find_results(struct edges *edges)
{
    arrsetlen(edges->results, arrlenu(edges->parts.outputs));
    for (ptrdiff_t i = 0; i < arrlen(edges->results); i++)
        edges->results[i] = NULL;
    for (ptrdiff_t i = 0; i < arrlen(edges->graph->nodes); i++) {
        struct node *node = edges->graph->nodes[i];
        if (node->op == OP_result && node->operands[0] == edges->loop)
            arrput(edges->results[node->attributes->index], node);
    }
}

static void look_at_edges(struct edges *edges)
{
    const struct loop_counts *counts = &edges->loop->attributes->loop;
    for (int i = 0; i < counts->carries; i++)
        look_at_carry(edges, i);
    for (int i = counts->carries; i < edges->loop->operand_count; i++)
        if (loop_role(edges->loop, i) != LOOP_STACK)
            look_at_input(edges, i);
    for (int i = counts->carries; i < arrlen(edges->parts.outputs); i++)
        look_at_stack(edges, i);
}

static void look_at_loop(struct edges *edges, struct node *loop)
{
    edges->loop = loop;
    edges->body = loop_body(edges->graph->module, loop);
    graph_number(edges->body);
    edges->parts = loop_parts_of(loop, edges->body);
    edges->inside.known = false;
    find_results(edges);
    look_at_edges(edges);
    for (ptrdiff_t i = 0; i < arrlen(edges->results); i++)
        arrfree(edges->results[i]);
    loop_parts_free(&edges->parts);
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
        for (ptrdiff_t i = arrlen(loops) - 1; i >= 0; i--) /* what takes before what leaves */
            look_at_loop(&edges, loops[i]);
        if (!edges.changed)
            break;
    }
    arrfree(loops);
    arrfree(edges.results);
    arrfree(edges.outside.of);
    arrfree(edges.inside.of);
}
