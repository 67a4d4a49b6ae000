/* Pass hoist, sums over turns: see hoist.c. */
#include "passes/hoist.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>

struct sums {
    struct graph *graph, *body;
    struct node *loop;
    struct arena *arena;
    int *users;              /* by id in the body */
    struct loop_parts parts; /* of the loop as it is to be */
    struct node **stacked;   /* stb_ds array: values of the body that are stacked; */
    int *stacked_as;         /* stb_ds array: by which output */
    struct node **terms;     /* stb_ds array: what one carry adds up in a turn */
};

/* ---- what a turn adds ---- */

/* Takes the chain of additions apart that begins at `from`: true when the carry's input is one of its ends. */
static bool find_terms(struct sums *sums, struct node *from, const struct node *input)
{
    struct node **stack = NULL;
    int found = 0;
    arrsetlen(sums->terms, 0);
    arrput(stack, from);
    while (arrlen(stack)) {
        struct node *node = arrpop(stack);
        if (node == input) {
            found++;
        } else if (node->op == OP_add && sums->users[node->id] == 1) {
            arrput(stack, node->operands[1]);
            arrput(stack, node->operands[0]);
        } else {
            arrput(sums->terms, node);
        }
    }
    arrfree(stack);
    return found == 1 && sums->users[input->id] == 1;
}

static struct node *strip(struct node *node)
{
    while (node->op == OP_reshape && !movement_rounds(node))
        node = node->operands[0];
    return node;
}

/* Can the values of all turns be had behind the loop, there in the shape that they have here? */
static bool can_stack(const struct sums *sums, struct node *value)
{
    if (value->type.shape.rank >= RANK_MAX)
        return false;
    value = strip(value);
    if (value->type.shape.rank >= RANK_MAX)
        return false;
    return value->op != OP_constant && value->op != OP_read &&
           (value->op != OP_input || loop_role(sums->loop, loop_number(value)) != LOOP_CAPTURED);
}

static bool is_sum_of_rows(const struct node *product)
{
    return product->op == OP_matmul && product->type.shape.rank == 2 && product->attributes->transpose_a &&
           !product->attributes->transpose_b;
}

static bool can_leave(const struct sums *sums, struct node *term)
{
    term = strip(term);
    if (term->op == OP_sum)
        return can_stack(sums, term->operands[0]);
    return is_sum_of_rows(term) && can_stack(sums, term->operands[0]) && can_stack(sums, term->operands[1]);
}

/* ---- behind the loop ---- */

static struct shape with_turns(const struct sums *sums, const struct shape *shape)
{
    struct type type = type_make(ELEMENT_F32, *shape);
    return loop_type_of_sequence(&type, sums->loop->attributes->loop.turns).shape;
}

/* Of a `previous` input: what the first turn took, then what all turns but the last one left. */
static struct node *previous_places(const struct sums *sums, struct builder *builder, int number)
{
    struct node *first = sums->loop->operands[number];
    struct node *stack = sums->loop->operands[number + sums->loop->attributes->loop.previous];
    struct shape one = with_turns(sums, &first->type.shape);
    struct attributes slice = {0};
    one.dimension[0] = 1;
    struct node *parts[] = {build_reshape(builder, first, &one), NULL};
    for (int i = 0; i < stack->type.shape.rank; i++) {
        slice.high[i] = stack->type.shape.dimension[i] - (i == 0);
        slice.step[i] = 1;
    }
    if (!slice.high[0])
        return parts[0];
    parts[1] = build(builder, OP_slice, &stack, 1, &slice, NULL);
    return build(builder, OP_concat, parts, 2, &(struct attributes){.axis = 0}, NULL);
}

/* The body's output that stacks the value. */
static int stacking_output(struct sums *sums, struct node *value)
{
    for (ptrdiff_t i = 0; i < arrlen(sums->stacked); i++)
        if (sums->stacked[i] == value)
            return sums->stacked_as[i];
    struct builder builder = builder_at(sums->body, value);
    int number = (int)arrlen(sums->parts.outputs);
    struct node *output = build_output(&builder, loop_symbol(sums->body->module, number), value, OUTPUT_VALUE);
    arrput(sums->parts.outputs, output);
    arrput(sums->stacked, value);
    arrput(sums->stacked_as, number);
    return number;
}

/* The value in all turns, [turns, ..]. */
static struct node *all_turns(struct sums *sums, struct builder *builder, struct node *value)
{
    struct shape shape = with_turns(sums, &value->type.shape);
    struct node *made = strip(value);
    enum loop_role role = made->op == OP_input ? loop_role(sums->loop, loop_number(made)) : LOOP_CAPTURED;
    if (role == LOOP_SEQUENCE)
        return build_reshape(builder, sums->loop->operands[loop_number(made)], &shape);
    if (role == LOOP_PREVIOUS)
        return build_reshape(builder, previous_places(sums, builder, loop_number(made)), &shape);
    struct node *stack = loop_result(builder, sums->loop, sums->body, stacking_output(sums, made));
    return build_reshape(builder, stack, &shape);
}

/* Rows of all turns below each other. */
static struct node *all_rows(struct sums *sums, struct builder *builder, struct node *matrix)
{
    struct node *all = all_turns(sums, builder, matrix);
    struct shape rows = {.rank = 2, .dimension = {all->type.shape.dimension[0] * all->type.shape.dimension[1]}};
    rows.dimension[1] = all->type.shape.dimension[2];
    return build_reshape(builder, all, &rows);
}

static struct node *sum_of_term(struct sums *sums, struct node *term)
{
    struct node *made = strip(term), *sum;
    struct builder builder = builder_at(sums->graph, made);
    builder.forward = sums->loop->forward;
    if (made->op == OP_matmul) {
        struct node *rows = all_rows(sums, &builder, made->operands[0]);
        sum = build_matmul(&builder, rows, all_rows(sums, &builder, made->operands[1]), true, false);
    } else {
        sum = all_turns(sums, &builder, made->operands[0]);
        sum = build_reduce(&builder, OP_sum, sum, made->attributes->axes << 1 | 1u);
    }
    sum->type.element = made->type.element;
    return build_reshape(&builder, sum, &term->type.shape);
}

/* ---- one carry ---- */

static bool is_zero(const struct node *node)
{
    double value;
    return node_uniform(node, &value) && value == 0;
}

static struct node *sum_behind(struct sums *sums, int carry)
{
    struct node *first = sums->loop->operands[carry], *sum = is_zero(first) ? NULL : first;
    struct builder builder = builder_at(sums->graph, sums->loop);
    for (ptrdiff_t i = 0; i < arrlen(sums->terms); i++) {
        struct node *term = sum_of_term(sums, sums->terms[i]);
        sum = sum ? build_binary(&builder, OP_add, sum, term) : term;
    }
    return sum;
}

static bool leaves(struct sums *sums, int carry, struct pass_context *context)
{
    struct node *input = loop_input_find(sums->body, carry), *output = loop_output(sums->body, carry);
    if (!input || !element_is_float(input->type.element) || output->operands[0] == input ||
        !find_terms(sums, output->operands[0], input))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(sums->terms); i++)
        if (!can_leave(sums, sums->terms[i]))
            return false;
    return pass_may_rewrite(context);
}

static void replace_results(struct node *const *behind, ptrdiff_t count, const struct node *loop, int carry,
                            struct node *sum)
{
    for (ptrdiff_t i = 0; i < count; i++)
        if (behind[i]->op == OP_result && behind[i]->operands[0] == loop && behind[i]->attributes->index == carry)
            node_replace(behind[i], sum);
}

static void lower_results(struct arena *arena, struct node *const *nodes, ptrdiff_t count, const struct node *loop,
                          int from)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *node = nodes[i];
        if (node->op != OP_result || node->operands[0] != loop || node->attributes->index <= from)
            continue;
        struct attributes *attributes = arena_copy(arena, node->attributes, sizeof *attributes);
        attributes->index--;
        node->attributes = attributes;
    }
}

/* Takes the carry out of the loop; numbers of outputs change from `carry` on. */
static void drop_carry(struct sums *sums, int carry, struct node *const *behind, ptrdiff_t count)
{
    struct graph *body = sums->body;
    struct loop_parts parts = loop_parts_of(sums->loop, body);
    struct node *output = parts.outputs[carry], **nodes = graph_take_nodes(body);
    arrdel(parts.operands, carry);
    arrdel(parts.inputs, carry);
    arrdel(parts.outputs, carry);
    parts.counts.carries--;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i] != output)
            graph_append(body, nodes[i]);
    arrfree(nodes);
    loops_drop_dead(body);
    loop_set_parts(sums->loop, body, &parts);
    loop_parts_free(&parts);
    lower_results(body->module->arena, sums->graph->nodes, arrlen(sums->graph->nodes), sums->loop, carry);
    lower_results(body->module->arena, behind, count, sums->loop, carry);
}

void hoist_sums(struct graph *graph, struct node *loop, struct graph *body, struct node *const *behind, ptrdiff_t count,
                struct pass_context *context)
{
    struct sums sums = {.graph = graph, .body = body, .loop = loop, .arena = arena_new()};
    graph_number(body);
    sums.users = ARENA_ARRAY(sums.arena, int, arrlen(body->nodes) + 1);
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        for (int k = 0; k < body->nodes[i]->operand_count; k++)
            sums.users[body->nodes[i]->operands[k]->id]++;
    sums.parts = loop_parts_of(loop, body);
    for (int i = loop->attributes->loop.carries; i < arrlen(sums.parts.outputs); i++) {
        arrput(sums.stacked, sums.parts.outputs[i]->operands[0]);
        arrput(sums.stacked_as, i);
    }
    bool *gone = ARENA_ARRAY(sums.arena, bool, loop->attributes->loop.carries + 1);
    for (int carry = 0; carry < loop->attributes->loop.carries; carry++)
        if (leaves(&sums, carry, context)) {
            gone[carry] = true;
            replace_results(behind, count, loop, carry, sum_behind(&sums, carry));
        }
    for (int carry = loop->attributes->loop.carries - 1; carry >= 0; carry--)
        if (gone[carry])
            drop_carry(&sums, carry, behind, count);
    loop_parts_free(&sums.parts);
    arrfree(sums.stacked);
    arrfree(sums.stacked_as);
    arrfree(sums.terms);
    arena_free(sums.arena);
}
