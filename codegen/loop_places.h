/* Where the values of a loop's body lie in each turn.
 *
 * The steps of a body are made once; what they take from or give to the loop stands in them as a place in the spaces
 * PLACE_OPERAND or PLACE_OUTPUT, by number, and becomes a place in memory turn by turn. What is carried alternates
 * between two slots in the loop's own scratch memory, from the operand to the result; places of sequences and stacks
 * lie in their tensors, `bytes` apart. Where that distance would leave accesses of 16 bytes unaligned and the target
 * asks for alignment, a place is copied from and to a slot of its own. */
#ifndef CASTOR_CODEGEN_LOOP_PLACES_H
#define CASTOR_CODEGEN_LOOP_PLACES_H

#include "ir/loop.h"
#include "ir/target.h"
#include "runtime/program.h"

enum { PLACE_OPERAND = 100, PLACE_OUTPUT };

struct loop_value {
    struct program_place place; /* of the operand or the result */
    uint64_t bytes;             /* in one turn */
    uint64_t slot;              /* offset in scratch; of what is carried two, one behind the other */
    uint64_t slot_bytes;        /* of one slot; 0: it has none */
    bool there;                 /* the body has the input; somebody takes the result */
    bool copied;                /* goes through its slot */
};

struct loop_places {
    const struct node *loop;
    int operand_count, output_count;
    struct loop_value *operands, *outputs; /* places are the caller's to fill in */
};

/* All memory in the arena. Slots begin at `scratch` and end at *end. Fill in places before the rest is asked. */
struct loop_places loop_places_make(const struct node *loop, const struct graph *body, const bool *taken,
                                    const struct target *target, uint64_t scratch, uint64_t *end, struct arena *arena);

/* The place in run `run` of the body (0: the first that runs) of one of a step of the body. */
struct program_place loop_place(const struct loop_places *places, struct program_place place, int run);

/* A copy that run `run` needs for operand or output number `number`, before or behind its steps; false: none. */
bool loop_copy_in(const struct loop_places *places, int number, int run, struct program_place *from,
                  struct program_place *to);
bool loop_copy_out(const struct loop_places *places, int number, int run, struct program_place *from,
                   struct program_place *to);

#endif
