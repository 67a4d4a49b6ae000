/* Loops (ir/loop.h): what passes move between a loop and its body. */
#ifndef CASTOR_PASSES_LOOPS_H
#define CASTOR_PASSES_LOOPS_H

#include "ir/loop.h"

/* Variables that a loop captures are read by its body itself, so that precision and casts know what they are. The loop
 * keeps the operand: it says that the variable is read. */
void loops_read_inside(const struct graph *graph);

/* The other way, for one captured operand, a `read`: the body takes it from the loop in place of reading the variable,
 * and so do the bodies of loops in it. The operand may then become another value. */
void loops_take_operand(const struct graph *graph, const struct node *loop, int number);

/* Of the results that take one output of a loop the first stays: a loop stores each of its outputs once. Requires a
 * numbered graph. */
void loops_join_results(struct graph *graph);

/* A name that no graph has yet: this one, or with a number behind it. */
const char *loops_free_name(const struct module *module, const char *name);

/* Appends the node once more, with the copies of its operands (by their ids); a loop gets a body of its own. */
struct node *loops_copy_node(struct graph *to, struct node *const *copies, const struct node *node);
/* Gives a loop that is a copy a body of its own: passes change a body as its only loop wants it. */
void loops_copy_body(struct module *module, struct node *loop);

/* Drops what the body puts out nothing of, inputs too. */
void loops_drop_dead(struct graph *body);

/* Gives a loop and its body new operands and outputs: inputs[i] stands for operands[i] (NULL: nothing does), the kinds
 * of operands follow each other as ir/loop.h says; outputs[i] becomes output i. Lists of stb_ds. The results of the
 * loop are the caller's to correct. */
struct loop_parts {
    struct node **operands, **inputs, **outputs;
    struct loop_counts counts;
};
/* What they are now; the caller frees the lists. */
struct loop_parts loop_parts_of(const struct node *loop, const struct graph *body);
/* The element type that the body takes operand `number` of the loop in; ELEMENT_NONE where it does not take it. A
 * previous operand has its stack's in any case. */
enum element loop_parts_element(const struct loop_parts *parts, const struct node *loop, int number);
void loop_set_parts(struct node *loop, struct graph *body, const struct loop_parts *parts);
void loop_parts_free(struct loop_parts *parts);
/* Adds an operand of a kind behind those of its kind: a sequence or captured, with a new input at the head of the body,
 * which is returned. The body's nodes must not be taken. */
struct node *loop_parts_add(struct loop_parts *parts, struct graph *body, struct node *operand, enum loop_role role);

#endif
