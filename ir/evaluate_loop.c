/* Loops in the evaluator: the body's graph is run once a turn, in an environment of its own. */
#include "ir/evaluate_ops.h"
#include "ir/loop.h"

#include <stb/stb_ds.h>
#include <string.h>

struct run {
    const struct node *loop;
    const struct graph *body;
    const struct tensor *const *operands;
    struct tensor **results; /* by output */
    enum evaluate_mode mode;
    int outputs;
};

/* Where operand `i` lies in this turn; the first `first` turns of a carry take the operand, others what was left. */
static const double *values_in_turn(const struct run *run, int i, int turn, bool first)
{
    const struct tensor *operand = run->operands[i];
    int previous = run->loop->attributes->loop.previous;
    int64_t size = shape_elements(&operand->shape);
    switch (loop_role(run->loop, i)) {
    case LOOP_CARRY:
        return first ? operand->values : run->results[i]->values;
    case LOOP_SEQUENCE:
        return operand->values + size / operand->shape.dimension[0] * turn;
    case LOOP_PREVIOUS:
        return turn ? run->operands[i + previous]->values + size * (turn - 1) : operand->values;
    default:
        return operand->values;
    }
}

/* Exact, as f64: what comes in is rounded already, or is not to be. */
static void set_inputs(const struct run *run, struct environment *environment, int turn, bool first)
{
    for (ptrdiff_t i = 0; i < arrlen(run->body->nodes); i++) {
        const struct node *input = run->body->nodes[i];
        int number = loop_number(input);
        if (input->op != OP_input)
            continue;
        bool stays = loop_role(run->loop, number) == LOOP_CAPTURED;
        struct type type = type_make(ELEMENT_F64, input->type.shape);
        if (first || !stays)
            environment_set_input(environment, input->attributes->symbol, &type,
                                  values_in_turn(run, number, turn, first));
    }
}

static void keep_outputs(const struct run *run, const struct evaluation *evaluation, int turn)
{
    for (ptrdiff_t i = 0; i < arrlen(run->body->nodes); i++) {
        const struct node *output = run->body->nodes[i];
        if (output->op != OP_output)
            continue;
        int number = loop_number(output);
        size_t size = (size_t)shape_elements(&output->type.shape);
        size_t place = number < run->loop->attributes->loop.carries ? 0 : (size_t)turn;
        if (size)
            memcpy(run->results[number]->values + place * size, evaluation_value(evaluation, output)->values,
                   size * sizeof(double));
    }
}

static void make_results(struct run *run, struct arena *arena)
{
    run->outputs = loop_outputs(run->body);
    run->results = ARENA_ARRAY(arena, struct tensor *, run->outputs + 1);
    for (int i = 0; i < run->outputs; i++) {
        const struct loop_counts *counts = &run->loop->attributes->loop;
        const struct type *type = &loop_output(run->body, i)->type;
        struct type whole = i < counts->carries ? *type : loop_type_of_sequence(type, counts->turns);
        run->results[i] = ARENA_NEW(arena, struct tensor);
        *run->results[i] =
            (struct tensor){whole.element, whole.shape, ARENA_ARRAY(arena, double, shape_elements(&whole.shape))};
    }
}

struct tensor **evaluate_loop(const struct module *module, const struct node *loop,
                              const struct tensor *const *operands, const struct environment *environment,
                              enum evaluate_mode mode, struct arena *arena)
{
    struct run run = {.loop = loop, .body = loop_body(module, loop), .operands = operands, .mode = mode};
    int turns = loop->attributes->loop.turns;
    if (!run.body)
        castor_bug("evaluate: there is no body \"%s\"", loop->attributes->symbol);
    make_results(&run, arena);
    struct environment *inside = environment_within(environment, arena);
    for (int i = 0; i < turns; i++) {
        int turn = loop->attributes->reverse ? turns - 1 - i : i;
        set_inputs(&run, inside, turn, i == 0);
        struct evaluation *evaluation = evaluate_graph(run.body, inside, mode);
        keep_outputs(&run, evaluation, turn);
        evaluation_free(evaluation);
    }
    environment_leave(inside);
    return run.results;
}
