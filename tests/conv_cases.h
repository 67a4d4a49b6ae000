/* Shapes of convolutions that are hard to get right, and the kernels' variants over them. */
#ifndef CASTOR_TESTS_CONV_CASES_H
#define CASTOR_TESTS_CONV_CASES_H

#include "codegen/convolution_kernel.h"

enum { CONV_VARIANTS_MAX = 4096 };

/* What a case's tail does, of which it may have several; only where channels lie innermost. */
enum conv_tail { CONV_TAIL_BIAS = 1, CONV_TAIL_ADDEND = 2, CONV_TAIL_CHECK = 4 };

/* Number `i` of all kinds, types and layouts of all shapes; false behind the last. `tail`: a sum of enum conv_tail. */
bool conv_variant(size_t i, struct program_conv *conv, struct convolution_request *request, unsigned *tail);

#endif
