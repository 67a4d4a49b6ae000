/* Checking that gradients are finite, on the values where it costs least.
 *
 * Lemma: a product of f16 matrices summed in f32 is finite exactly when their elements are (65504² times any number of
 * terms that fits a memory is far below the largest f32). So a weight gradient needs no look at itself: its two
 * operands are looked at, which are smaller, and which the kernels that make them hold in registers. bf16 has the
 * range of f32, so there the operands must lie within 2^50, far above any gradient of use and far enough below the
 * root of the largest f32 that no sum of 2^28 products leaves it. The same holds for a plain sum of half values (a
 * bias's gradient), which needs no look when its operand has one anyway. Values that are bounded (a batch's bytes,
 * tanh, sigmoid) are not looked at either where their NaN would make a value NaN that is. All else is looked at
 * itself. */
#ifndef CASTOR_PASSES_FINITE_H
#define CASTOR_PASSES_FINITE_H

#include "ir/graph.h"

/* Values to look at, each once. Zero-initialise; node->mark of the graph must be 0 at the start and is used. */
struct finite_values {
    struct node **values;  /* stb_ds array */
    struct node **sums;    /* stb_ds array: sums of half values, decided at the end */
    struct node **bounded; /* stb_ds array: never infinite; whether NaN would be seen is decided at the end, too */
};

void finite_add(struct finite_values *set, struct node *gradient);

/* A bool scalar: some element of some value is inf or NaN. NULL when all are known to be finite. Frees the set. */
struct node *finite_found_inf(struct builder *builder, struct finite_values *set);

#endif
