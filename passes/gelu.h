/* Gelu in its tanh form behind a product, as matrix libraries append it:
 *
 *     sum    = product + bias                                              half, as what it is differentiated by
 *     result = 0.5 sum (1 + tanh(sqrt(2 / pi) (sum + 0.044715 sum^3)))     half; f32 in between
 *
 * Targets with EPILOGUE_GELU give both in one call. Nothing of it is an op: the nodes stay what they are. */
#ifndef CASTOR_PASSES_GELU_H
#define CASTOR_PASSES_GELU_H

#include "ir/graph.h"

struct gelu_product {
    struct node *product, *moved; /* the contraction, and what of it is summed: itself, or reshapes of it */
    struct node *bias, *sum, *result;
};

/* x where the node is the gelu of it; else NULL. It is finite exactly where x is. */
struct node *gelu_match(const struct node *result);

/* Looks only at operands: who else needs the product is for the caller to see. */
bool gelu_match_product(struct node *result, struct gelu_product *found);

/* True where the bias lies in memory in the type of the sum, as the library wants it. */
bool gelu_bias_fits(const struct gelu_product *found);

/* True where rows and columns of both operands begin at multiples of TARGET_VECTOR_BYTES: the library's products with
 * gelu want that. */
bool gelu_operands_fit(const struct gelu_product *found);

#endif
