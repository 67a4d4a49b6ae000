/* Operands, inputs and outputs of loops. */
#include "ir/loop.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum loop_role loop_role(const struct node *loop, int operand)
{
    const struct loop_counts *counts = &loop->attributes->loop;
    int first = counts->carries + counts->sequences;
    if (operand < counts->carries)
        return LOOP_CARRY;
    if (operand < first)
        return LOOP_SEQUENCE;
    if (operand < first + counts->previous)
        return LOOP_PREVIOUS;
    return operand < first + 2 * counts->previous ? LOOP_STACK : LOOP_CAPTURED;
}

struct graph *loop_body(const struct module *module, const struct node *loop)
{
    struct graph *graph = module_find_graph(module, loop->attributes->symbol);
    return graph && graph->body ? graph : NULL;
}

int loop_number(const struct node *node)
{
    const char *symbol = node->attributes->symbol;
    char *end;
    if (!symbol || *symbol < '0' || *symbol > '9' || (*symbol == '0' && symbol[1]))
        return -1;
    long number = strtol(symbol, &end, 10);
    return *end || number > 1000000 ? -1 : (int)number;
}

const char *loop_symbol(const struct module *module, int number)
{
    return arena_internf(module->arena, "%d", number);
}

struct node *loop_input_find(const struct graph *body, int number)
{
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        if (body->nodes[i]->op == OP_input && loop_number(body->nodes[i]) == number)
            return body->nodes[i];
    return NULL;
}

struct node *loop_output(const struct graph *body, int number)
{
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        if (body->nodes[i]->op == OP_output && loop_number(body->nodes[i]) == number)
            return body->nodes[i];
    return NULL;
}

int loop_outputs(const struct graph *body)
{
    int count = 0;
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        count += body->nodes[i]->op == OP_output;
    return count;
}

struct type loop_type_of_turn(const struct type *sequence)
{
    struct shape shape = {.rank = sequence->shape.rank - 1};
    for (int i = 0; i < shape.rank; i++)
        shape.dimension[i] = sequence->shape.dimension[i + 1];
    return type_make(sequence->element, shape);
}

struct type loop_type_of_sequence(const struct type *turn, int turns)
{
    struct shape shape = {.rank = turn->shape.rank + 1};
    shape.dimension[0] = turns;
    for (int i = 0; i < turn->shape.rank; i++)
        shape.dimension[i + 1] = turn->shape.dimension[i];
    return type_make(turn->element, shape);
}

struct node *loop_input(struct builder *builder, const struct node *operand, enum loop_role role, int number)
{
    struct type type = role == LOOP_SEQUENCE ? loop_type_of_turn(&operand->type)
                                             : type_make(operand->type.element, operand->type.shape);
    struct attributes attributes = {.symbol = loop_symbol(builder->graph->module, number)};
    return build(builder, OP_input, NULL, 0, &attributes, &type);
}

struct node *loop_result_of(struct builder *builder, struct node *loop, const struct node *output)
{
    const struct loop_counts *counts = &loop->attributes->loop;
    const struct type *type = &output->type;
    int number = loop_number(output);
    struct type wanted =
        number < counts->carries ? type_make(type->element, type->shape) : loop_type_of_sequence(type, counts->turns);
    return build(builder, OP_result, &loop, 1, &(struct attributes){.index = number}, &wanted);
}

struct node *loop_result(struct builder *builder, struct node *loop, const struct graph *body, int number)
{
    return loop_result_of(builder, loop, loop_output(body, number));
}

/* ---- checks ---- */

static bool fits(const struct node *loop, int number, const struct type *input)
{
    const struct type *operand = &loop->operands[number]->type;
    enum loop_role role = loop_role(loop, number);
    if (role == LOOP_STACK || operand->element != input->element)
        return false;
    struct type turn = *operand;
    if (role == LOOP_SEQUENCE)
        turn = operand->shape.rank ? loop_type_of_turn(operand) : (struct type){0};
    return shape_equal(&turn.shape, &input->shape);
}

static bool stacked(const struct node *loop, const struct type *type)
{
    return type->shape.rank && type->shape.dimension[0] == loop->attributes->loop.turns;
}

/* Sequences have as many places as there are turns; previous ones are of one type with their stacks. */
static const char *operands_problem(const struct node *loop, struct arena *arena)
{
    const struct loop_counts *counts = &loop->attributes->loop;
    if (counts->carries < 0 || counts->sequences < 0 || counts->previous < 0 ||
        (int64_t)counts->carries + counts->sequences + 2 * (int64_t)counts->previous > loop->operand_count)
        return "it has fewer operands than it says";
    for (int i = 0; i < loop->operand_count; i++) {
        enum loop_role role = loop_role(loop, i);
        const struct type *type = &loop->operands[i]->type;
        bool sequence = role == LOOP_SEQUENCE || role == LOOP_STACK;
        if (!type_row_major(type))
            return arena_printf(arena, "operand %d is not row-major", i);
        if (sequence && !stacked(loop, type))
            return arena_printf(arena, "operand %d has not one place for each turn", i);
        struct type turn = role == LOOP_STACK ? loop_type_of_turn(type) : *type;
        const struct type *first = role == LOOP_STACK ? &loop->operands[i - counts->previous]->type : type;
        if (first->element != turn.element || !shape_equal(&first->shape, &turn.shape))
            return arena_printf(arena, "operands %d and %d are not of one type", i - counts->previous, i);
    }
    return NULL;
}

static const char *body_problem(const struct node *loop, const struct graph *body, struct arena *arena)
{
    int carries = loop->attributes->loop.carries, outputs = loop_outputs(body);
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++) {
        const struct node *node = body->nodes[i];
        int number = loop_number(node);
        if (node->op == OP_write)
            return "its body writes a variable";
        if (node->op == OP_input && (number < 0 || number >= loop->operand_count || !fits(loop, number, &node->type)))
            return arena_printf(arena, "its body's input \"%s\" is no operand of that type", node->attributes->symbol);
        if (node->op == OP_output && (number < 0 || number >= outputs))
            return arena_printf(arena, "its body's outputs are not numbered: \"%s\"", node->attributes->symbol);
        if ((node->op == OP_input || node->op == OP_output) && !type_row_major(&node->type))
            return arena_printf(arena, "its body's %s \"%s\" is not row-major", op_info(node->op)->name,
                                node->attributes->symbol);
    }
    for (int i = 0; i < carries; i++) {
        const struct node *output = loop_output(body, i);
        if (!output || output->type.element != loop->operands[i]->type.element ||
            !shape_equal(&output->type.shape, &loop->operands[i]->type.shape))
            return arena_printf(arena, "what it carries as %d does not keep its type", i);
    }
    return NULL;
}

static const char *result_problem(const struct node *loop, const struct node *result, const struct graph *body)
{
    const struct node *output = loop_output(body, result->attributes->index);
    if (!output)
        return "the loop has no such result";
    struct type turn = result->type;
    if (result->attributes->index >= loop->attributes->loop.carries)
        turn = stacked(loop, &result->type) ? loop_type_of_turn(&result->type) : (struct type){0};
    if (turn.element != output->type.element || !shape_equal(&turn.shape, &output->type.shape))
        return "its type is not what the body puts out";
    if (!type_row_major(&result->type))
        return "it is not row-major";
    return NULL;
}

static ptrdiff_t position(const struct module *module, const struct graph *graph)
{
    ptrdiff_t at = 0;
    while (at < arrlen(module->graphs) && module->graphs[at] != graph)
        at++;
    return at;
}

const char *loop_problem(const struct graph *graph, const struct node *node, struct arena *arena)
{
    const struct module *module = graph->module;
    const struct node *loop = node->op == OP_result ? node->operands[0] : node;
    const struct graph *body = loop->attributes->symbol ? loop_body(module, loop) : NULL;
    if (!body)
        return arena_printf(arena, "there is no body \"%s\"", loop->attributes->symbol ? loop->attributes->symbol : "");
    if (graph->body && position(module, body) <= position(module, graph))
        return "the body of a loop in a body stands behind that";
    if (node->op == OP_result)
        return result_problem(loop, node, body);
    const char *problem = operands_problem(loop, arena);
    return problem ? problem : body_problem(loop, body, arena);
}
