/* The verifier: what every pass may rely on and must keep. It runs after every pass with --verify-each, and on every
 * IR text that `castor opt` reads.
 *
 * Module
 *  1. Variables have distinct names, known element types, and name variables as their sources.
 *  2. Graphs have distinct names; the scale rules are among the functions; each minimize line has
 *     its rule and its counter.
 *  3. Origin numbers are at least 1, below next_origin, and no two nodes of the module share one.
 * Node
 *  4. Its id is its position, and its operands stand before it in the same graph.
 *  5. Number of operands, shapes and attributes satisfy the op's rule (node_infer), whose shape the node has.
 *  6. Its element type is the one of the op's rule; where that is a float it may be any float, for a type is a
 *     rounding. Positions of a maximum and indices may have any integer type.
 *  7. Its layout names each axis once; its scope is there; it does not differentiate itself.
 *  8. Draws take a scalar integer seed and attempt; `argument` stands in functions alone; minimize lines exist.
 *  9. Nothing uses the result of `write` or `output`; a loop fits its body (loop.h).
 * Graph
 * 10. Reads have the type of their variable, writes its shape; a graph writes a variable once.
 * 11. Outputs of one kind have distinct names; losses, metrics and logged values are scalars.
 * From pass fuse on (some node of the graph has a kernel)
 * 12. Contractions have a kernel, each its own, but for those that are computed inside of one that stores what is made
 *     of them (passes/attention.h): it stores contractions, several of which may share it; leaves that are read in
 *     place (input, read, argument) have none.
 * 13. Both operands of a contraction have one element type; a written value has its variable's type, an output its
 *     operand's: all casts are there. An output without a kernel has its operand's layout too.
 * From pass memory on (some node of the graph has a placement)
 * 14. The stored nodes of one kernel follow each other, nodes that are not stored left aside.
 * 15. Each stored node lies somewhere, at an offset that is not negative; a place in the state names a variable. Of a
 *     kernel with one contraction only the last node need be stored: the others are its library call and what is
 *     appended. */
#ifndef CASTOR_IR_VERIFY_H
#define CASTOR_IR_VERIFY_H

#include "ir/graph.h"

/* Reports each breach as E0702, naming graph, node and invariant; true when there is none. */
bool verify_module(const struct module *module, struct diagnostics *diagnostics);

/* A breach here is a bug of Castor: prints the breaches and ends with castor_bug; `when` is like "after pass fuse". */
void verify_or_bug(const struct module *module, const char *when);

#endif
