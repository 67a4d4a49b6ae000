/* Contractions in the types that the target's library multiplies. */
#ifndef CASTOR_PASSES_LIBRARY_TYPES_H
#define CASTOR_PASSES_LIBRARY_TYPES_H

#include "ir/graph.h"
#include "ir/target.h"

/* Gives each contraction operands of one type, and that type or f32 as its result; casts do the rest. Values stay as
 * they are, bit for bit where the order of the sums does: both half types are exact in f32, and a sum in f32 is rounded
 * once either way. */
void fit_library_types(struct graph *graph, const struct target *target);

#endif
