/* Loops (ir/loop.h): what passes move between a loop and its body. */
#ifndef CASTOR_PASSES_LOOPS_H
#define CASTOR_PASSES_LOOPS_H

#include "ir/graph.h"

/* Variables that a loop captures are read by its body itself, so that precision and casts know what they are. The loop
 * keeps the operand: it says that the variable is read. */
void loops_read_inside(const struct graph *graph);

#endif
