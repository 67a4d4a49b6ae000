/* Loops: a graph that another one runs in turns.
 *
 * `loop` names a body, a graph of the module with inputs and outputs by number, and runs it `turns` times; `result`
 * takes one of the things that it leaves. The body's input "N" stands for operand N of the loop, of which there are,
 * in this order,
 *
 *   carries     [..]         what the turn before left (in the first turn the operand): the body's output of the same
 *                            number, of the same type
 *   sequences   [turns, ..]  the place of this turn along the first axis
 *   previous    [..]         as many operands again behind them, of [turns, ..]: the place of the turn before this one,
 *                            in turn 0 the operand itself. So a gradient sees what a turn began with, without a copy
 *   captured    [..]         the same in every turn
 *
 * Turns count from 0; `reverse` runs them from the last to the first. The outputs "0" … carries - 1 are what is
 * carried on, the result is what the last turn left; all further ones are stacked by turn: [turns, ..]. An operand
 * that the body has no input for is no mistake, nor an output whose result nobody takes. All that crosses the edge, on
 * either side of it, is row-major, so that a turn's place is one piece. A body may run others, which stand behind it in
 * the module, so that none runs itself; it writes no variables. */
#ifndef CASTOR_IR_LOOP_H
#define CASTOR_IR_LOOP_H

#include "ir/graph.h"

enum loop_role { LOOP_CARRY, LOOP_SEQUENCE, LOOP_PREVIOUS, LOOP_STACK, LOOP_CAPTURED };

/* What operand number `operand` of the loop is; LOOP_STACK: of the second half of previous. */
enum loop_role loop_role(const struct node *loop, int operand);

/* The body; NULL when there is no graph of its name. */
struct graph *loop_body(const struct module *module, const struct node *loop);

/* The number of an input or output of a body; -1 where its name is none. */
int loop_number(const struct node *node);
/* The name of that number, interned. */
const char *loop_symbol(const struct module *module, int number);

/* The body's input of that number; NULL for none. */
struct node *loop_input_find(const struct graph *body, int number);
/* The body's output of that number; NULL for none. */
struct node *loop_output(const struct graph *body, int number);
/* How many outputs the body has: they are numbered from 0 without a gap. */
int loop_outputs(const struct graph *body);

/* An input of a body that stands for operand `number`, of the type that it has in one turn. */
struct node *loop_input(struct builder *builder, const struct node *operand, enum loop_role role, int number);
/* Appends the result of an output of the body, which tells its type; and by the output's number. */
struct node *loop_result_of(struct builder *builder, struct node *loop, const struct node *output);
struct node *loop_result(struct builder *builder, struct node *loop, const struct graph *body, int number);

/* The type without its first axis, and with one of `turns` places before its axes; row-major. */
struct type loop_type_of_turn(const struct type *sequence);
struct type loop_type_of_sequence(const struct type *turn, int turns);

/* What is wrong with a loop or a result in this graph (in the arena); NULL when all is well. */
const char *loop_problem(const struct graph *graph, const struct node *node, struct arena *arena);

#endif
