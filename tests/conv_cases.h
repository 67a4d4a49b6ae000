/* Shapes of convolutions that are hard to get right, and the kernels' variants over them. */
#ifndef CASTOR_TESTS_CONV_CASES_H
#define CASTOR_TESTS_CONV_CASES_H

#include "codegen/convolution_kernel.h"

enum { CONV_VARIANTS_MAX = 4096 };

/* Number `i` of all kinds, types and layouts of all shapes; false behind the last. */
bool conv_variant(size_t i, struct program_conv *conv, struct convolution_request *request);

#endif
