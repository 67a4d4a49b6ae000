/* Convolutions as steps; see contraction.h. */
#ifndef CASTOR_CODEGEN_CONVOLUTION_H
#define CASTOR_CODEGEN_CONVOLUTION_H

#include "codegen/contraction.h"

/* Fills the step's geometry for conv, conv_data or conv_weight; `result` is the node that is stored. */
void convolution_make(struct contraction *contraction, const struct node *node, const struct node *result,
                      const struct target *target);

#endif
