/* Shapes of convolutions that are hard to get right, and the kernels' variants over them. */
#ifndef CASTOR_TESTS_CONV_CASES_H
#define CASTOR_TESTS_CONV_CASES_H

#include "codegen/convolution_kernel.h"

enum { CONV_VARIANTS_MAX = 4096 };

/* What a case's tail does, of which it may have several; only where channels lie innermost. */
enum conv_tail { CONV_TAIL_BIAS = 1, CONV_TAIL_ADDEND = 2, CONV_TAIL_CHECK = 4 };

/* Number `i` of all kinds, types and layouts of all shapes; false behind the last. `tail`: a sum of enum conv_tail. */
bool conv_variant(size_t i, struct program_conv *conv, struct convolution_request *request, unsigned *tail);

/* Is it one of those whose places and channels no step of k divides, though channels fill chunks? The lines of a tile
 * are counted there, digit by digit. */
bool conv_variant_counts(size_t i);

/* Such a tail in CUDA: it loads the bias (f32), where it has one, and an addend like the result (`result`), has two
 * totals and one finished vector where it adds that, and one integer: the addend's bound that it checks, in hundredths
 * below 0. In the arena. */
const struct convolution_tail *conv_make_tail(unsigned parts, enum program_element result, int64_t n,
                                              struct arena *arena);

#endif
