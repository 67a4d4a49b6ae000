/* Pass gradients, loops: the gradient of a loop is another one that runs its turns from the last to the first.
 *
 * Its body does the turn again, from what the turn began with, and then goes backwards through it. What a turn began
 * with is what the turn before left, so the loop stacks whatever it carries, and the results of products and
 * elementary functions, which cost too much to be done again. The new loop carries
 *
 *   the gradients of what the loop carries, from those of what it left in the end to those of what it began with;
 *   the sums of the gradients of what it captures;
 *
 * and its further results are the gradients of the places of sequences. Values that are no floats are only computed. */
#include "passes/gradient_rules.h"
#include "passes/gradient_sweep.h"
#include "passes/loops.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

struct reversal {
    struct sweep *sweep; /* of the graph around */
    struct node *loop;
    struct graph *body, *back; /* what it runs; what its gradient runs */
    const struct loop_counts *counts;
    struct builder outside, inside;
    struct node **gradients; /* by output: what has come to the result, NULL: nothing */
    struct node **seeds;     /* by output: its input in `back` */
    struct node **copies;    /* by id in the body: what does it again */
    struct node **kept;      /* by id in the body: the input that has its value from the forward turn; NULL: none */
    ptrdiff_t body_count;    /* nodes of the body, without what is put out for the gradient alone */
    struct node **outputs;   /* stb_ds array: of the body, by number */
    struct node **stacks;    /* by id in the body: the output that stacks the value; NULL: none */
    struct node **operands;  /* stb_ds array, of the new loop */
    int *sums;               /* by operand of the loop: the output of the new one that is its gradient; -1: none */
    int carries, sequences;  /* of the new loop */
};

static bool is_float(const struct node *node)
{
    return element_is_float(node->type.element);
}

/* Gathers what has come to the results; false when nothing has. */
static bool gather_gradients(struct reversal *reversal)
{
    struct sweep *sweep = reversal->sweep;
    bool any = false;
    for (int id = reversal->loop->id + 1; id <= sweep->high; id++) {
        struct node *node = sweep->graph->nodes[id];
        if (node->op != OP_result || node->operands[0] != reversal->loop || !is_float(node))
            continue;
        struct node *gradient = sweep_gradient(sweep, node), **sum = &reversal->gradients[node->attributes->index];
        *sum = !gradient ? *sum : *sum ? build_binary(&reversal->outside, OP_add, *sum, gradient) : gradient;
        any |= gradient != NULL;
    }
    return any;
}

/* ---- operands ---- */

static struct node *add_operand(struct reversal *reversal, struct node *operand, enum loop_role role)
{
    int number = (int)arrlen(reversal->operands);
    arrput(reversal->operands, operand);
    if (role == LOOP_STACK)
        return NULL;
    struct node *input = loop_input(&reversal->inside, operand, role, number);
    input->name = operand->name;
    return input;
}

/* The stack of a value of the body, which is put out as such if it is not yet. */
static struct node *stack_of(struct reversal *reversal, struct node *value)
{
    struct graph *body = reversal->body;
    struct node **stack = &reversal->stacks[value->id];
    if (!*stack) {
        struct builder inside = builder_at(body, value);
        const char *number = loop_symbol(body->module, (int)arrlen(reversal->outputs));
        *stack = build_output(&inside, number, value, OUTPUT_VALUE);
        arrput(reversal->outputs, *stack);
    }
    struct builder builder = builder_at(reversal->sweep->graph, reversal->loop);
    return loop_result_of(&builder, reversal->loop, *stack);
}

enum { KEPT_FLOPS = 8 }; /* of an elementary function, an element */

/* Products and elementary functions are kept from the forward turns; all else is done again. */
static bool is_kept(const struct node *node)
{
    bool costly = op_is(node->op, CLASS_CONTRACTION) ||
                  (op_is(node->op, CLASS_POINTWISE) && op_info(node->op)->flops >= KEPT_FLOPS &&
                   element_is_float(node->type.element));
    return costly && node->type.shape.rank < RANK_MAX && shape_elements(&node->type.shape) > 1;
}

static void add_carries(struct reversal *reversal)
{
    for (int i = 0; i < reversal->counts->carries; i++) {
        struct node *operand = reversal->loop->operands[i], *gradient = reversal->gradients[i];
        if (!is_float(operand))
            continue;
        reversal->sums[i] = (int)arrlen(reversal->operands);
        if (!gradient)
            gradient = gradient_full(&reversal->outside, 0, operand);
        reversal->seeds[i] = add_operand(reversal, gradient, LOOP_CARRY);
    }
    for (int i = 0; i < reversal->loop->operand_count; i++) {
        struct node *operand = reversal->loop->operands[i];
        if (loop_role(reversal->loop, i) != LOOP_CAPTURED || !is_float(operand) ||
            !sweep_is_active(reversal->sweep, operand))
            continue;
        reversal->sums[i] = (int)arrlen(reversal->operands);
        add_operand(reversal, gradient_full(&reversal->outside, 0, operand), LOOP_CARRY);
    }
    reversal->carries = (int)arrlen(reversal->operands);
}

/* All that the body takes in, as the new loop has it: its own inputs by number. */
static struct node **add_inputs(struct reversal *reversal)
{
    const struct node *loop = reversal->loop;
    const struct loop_counts *counts = reversal->counts;
    struct node **inputs = ARENA_ARRAY(reversal->sweep->arena, struct node *, loop->operand_count);
    for (int i = counts->carries; i < counts->carries + counts->sequences; i++)
        inputs[i] = add_operand(reversal, loop->operands[i], LOOP_SEQUENCE);
    for (int i = counts->carries; i < arrlen(reversal->outputs); i++)
        if (reversal->gradients[i])
            reversal->seeds[i] = add_operand(reversal, reversal->gradients[i], LOOP_SEQUENCE);
    for (ptrdiff_t i = 0; i < reversal->body_count; i++)
        if (is_kept(reversal->body->nodes[i]))
            reversal->kept[i] = add_operand(reversal, stack_of(reversal, reversal->body->nodes[i]), LOOP_SEQUENCE);
    reversal->sequences = (int)arrlen(reversal->operands) - reversal->carries;
    for (int i = 0; i < counts->carries; i++)
        inputs[i] = add_operand(reversal, loop->operands[i], LOOP_PREVIOUS);
    for (int i = 0; i < counts->carries; i++)
        add_operand(reversal, stack_of(reversal, reversal->outputs[i]->operands[0]), LOOP_STACK);
    for (int i = counts->carries + counts->sequences; i < loop->operand_count; i++)
        inputs[i] = add_operand(reversal, loop->operands[i], LOOP_CAPTURED);
    return inputs;
}

/* ---- the body ---- */

/* The turn once more. Outputs stand for their operands. */
static void do_again(struct reversal *reversal, struct node *const *inputs)
{
    const struct graph *body = reversal->body;
    for (ptrdiff_t i = 0; i < reversal->body_count; i++) {
        const struct node *node = body->nodes[i];
        if (node->op == OP_input)
            reversal->copies[i] = inputs[loop_number(node)];
        else if (node->op == OP_output)
            reversal->copies[i] = reversal->copies[node->operands[0]->id];
        else
            reversal->copies[i] = loops_copy_node(reversal->back, reversal->copies, node);
    }
}

/* Marks the inputs by which is differentiated, and starts the sweep from the gradients of the outputs. */
static void open_turn(struct reversal *reversal, struct sweep *turn, struct node *const *inputs)
{
    const struct graph *body = reversal->body;
    sweep_open(turn, reversal->back, 0, (int)arrlen(reversal->back->nodes) - 1);
    for (int i = 0; i < reversal->loop->operand_count; i++) {
        bool carried = loop_role(reversal->loop, i) == LOOP_CARRY;
        if (is_float(reversal->loop->operands[i]) &&
            (carried || sweep_is_active(reversal->sweep, reversal->loop->operands[i])))
            turn->active[inputs[i]->id] = true;
    }
    sweep_spread(turn);
    for (ptrdiff_t i = 0; i < reversal->body_count; i++) {
        const struct node *output = body->nodes[i];
        struct node *seed = output->op == OP_output ? reversal->seeds[loop_number(output)] : NULL;
        if (!seed || !sweep_is_active(turn, reversal->copies[i]))
            continue;
        struct builder builder = sweep_builder(reversal->back, reversal->copies[i]);
        sweep_contribute(turn, &builder, reversal->copies[i], seed);
    }
}

static void put_out(struct reversal *reversal, int number, struct node *value)
{
    build_output(&reversal->inside, loop_symbol(reversal->back->module, number), value, OUTPUT_VALUE);
}

/* What is carried on, then what is stacked: an output each. */
static void close_turn(struct reversal *reversal, struct sweep *turn, struct node *const *inputs)
{
    int next = reversal->carries;
    for (int i = 0; i < reversal->loop->operand_count; i++) {
        enum loop_role role = loop_role(reversal->loop, i);
        struct node *gradient = turn->active[inputs[i]->id] ? sweep_gradient(turn, inputs[i]) : NULL;
        if (role == LOOP_SEQUENCE && gradient) {
            reversal->sums[i] = next;
            put_out(reversal, next++, gradient);
        }
        if (role == LOOP_SEQUENCE || reversal->sums[i] < 0)
            continue;
        struct builder builder = sweep_builder(reversal->back, inputs[i]);
        if (role == LOOP_CAPTURED) {
            struct node *sum = reversal->back->nodes[reversal->sums[i]]; /* carries are its first inputs */
            gradient = gradient ? build_binary(&builder, OP_add, sum, gradient) : sum;
        } else if (!gradient) {
            gradient = gradient_full(&builder, 0, inputs[i]);
        }
        put_out(reversal, reversal->sums[i], gradient);
    }
}

/* What was kept takes the place of what does it again, and its origin: gradients tell by that what they are of. */
static void take_kept(struct reversal *reversal)
{
    graph_number(reversal->back);
    struct node **nodes = graph_take_nodes(reversal->back);
    for (ptrdiff_t i = 0; i < reversal->body_count; i++)
        if (reversal->kept[i]) {
            uint32_t origin = reversal->kept[i]->origin;
            reversal->kept[i]->origin = reversal->copies[i]->origin;
            reversal->copies[i]->origin = origin;
            node_replace(reversal->copies[i], reversal->kept[i]);
        }
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        graph_map_operands(nodes[i]);
        if (!nodes[i]->replacement)
            graph_append(reversal->back, nodes[i]);
    }
    arrfree(nodes);
}

static void make_body(struct reversal *reversal)
{
    struct sweep turn;
    add_carries(reversal);
    struct node **inputs = add_inputs(reversal);
    do_again(reversal, inputs);
    open_turn(reversal, &turn, inputs);
    sweep_run(&turn);
    close_turn(reversal, &turn, inputs);
    sweep_close(&turn);
    take_kept(reversal);
    graph_number(reversal->back);
}

/* ---- the loop ---- */

static void build_reversed(struct reversal *reversal)
{
    struct sweep *sweep = reversal->sweep;
    struct attributes attributes = {.symbol = reversal->back->name, .reverse = true};
    attributes.loop = (struct loop_counts){reversal->counts->turns, reversal->carries, reversal->sequences,
                                           reversal->counts->carries};
    struct node *back =
        build(&reversal->outside, OP_loop, reversal->operands, (int)arrlen(reversal->operands), &attributes, NULL);
    struct loop_parts parts = loop_parts_of(back, reversal->back);
    for (int i = 0; i < reversal->loop->operand_count; i++) {
        struct node *operand = reversal->loop->operands[i];
        if (reversal->sums[i] < 0 || !sweep_is_active(sweep, operand))
            continue;
        struct node *gradient = loop_result_of(&reversal->outside, back, parts.outputs[reversal->sums[i]]);
        struct builder builder = sweep_builder(sweep->graph, operand);
        sweep_contribute(sweep, &builder, operand, gradient);
    }
    loop_parts_free(&parts);
}

/* What forbids a gradient; NULL: nothing. */
static const char *obstacle(const struct node *loop)
{
    const struct loop_counts *counts = &loop->attributes->loop;
    if (loop->attributes->reverse || counts->previous)
        return "the gradient of a rolled repeat is to be differentiated once more";
    for (int i = 0; i < counts->carries; i++)
        if (loop->operands[i]->type.shape.rank == RANK_MAX) /* it is stacked */
            return "a rolled repeat that carries a tensor of 8 axes has no gradient";
    return NULL;
}

static void reverse(struct reversal *reversal)
{
    struct module *module = reversal->sweep->graph->module;
    const char *name = arena_internf(module->arena, "%s.backward", reversal->body->name);
    reversal->back = module_add_body(module, loops_free_name(module, name));
    reversal->back->batch = reversal->body->batch;
    reversal->inside = reversal->outside;
    reversal->inside.graph = reversal->back;
    make_body(reversal);
    build_reversed(reversal);
}

static void find_outputs(struct reversal *reversal)
{
    struct loop_parts parts = loop_parts_of(reversal->loop, reversal->body);
    reversal->stacks = ARENA_ARRAY(reversal->sweep->arena, struct node *, reversal->body_count);
    for (int i = 0; i < arrlen(parts.outputs); i++) {
        struct node **stack = &reversal->stacks[parts.outputs[i]->operands[0]->id];
        arrput(reversal->outputs, parts.outputs[i]);
        if (i >= reversal->counts->carries && !*stack)
            *stack = parts.outputs[i];
    }
    loop_parts_free(&parts);
}

void sweep_loop(struct sweep *sweep, struct node *loop)
{
    struct module *module = sweep->graph->module;
    struct reversal reversal = {.sweep = sweep, .loop = loop, .counts = &loop->attributes->loop};
    reversal.body = loop_body(module, loop);
    if (!reversal.body)
        castor_bug("there is no body \"%s\"", loop->attributes->symbol);
    graph_number(reversal.body);
    reversal.body_count = arrlen(reversal.body->nodes);
    find_outputs(&reversal);
    ptrdiff_t outputs = arrlen(reversal.outputs);
    reversal.copies = ARENA_ARRAY(sweep->arena, struct node *, reversal.body_count);
    reversal.kept = ARENA_ARRAY(sweep->arena, struct node *, reversal.body_count);
    reversal.outside = sweep_builder(sweep->graph, loop);
    reversal.gradients = ARENA_ARRAY(sweep->arena, struct node *, outputs);
    reversal.seeds = ARENA_ARRAY(sweep->arena, struct node *, outputs);
    reversal.sums = ARENA_ARRAY(sweep->arena, int, loop->operand_count);
    for (int i = 0; i < loop->operand_count; i++)
        reversal.sums[i] = -1;
    if (gather_gradients(&reversal)) {
        const char *problem = obstacle(loop);
        if (problem)
            diagnostics_error(module->diagnostics, E0806, loop->span, NULL, "%s", problem);
        else
            reverse(&reversal);
    }
    arrfree(reversal.outputs);
    arrfree(reversal.operands);
}
