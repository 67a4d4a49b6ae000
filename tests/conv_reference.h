/* A convolution by its definition, in double precision, over values as they lie in memory. */
#ifndef CASTOR_TESTS_CONV_REFERENCE_H
#define CASTOR_TESTS_CONV_REFERENCE_H

#include "runtime/program.h"

struct conv_sizes {
    int64_t x, weight, y; /* elements */
};

struct conv_sizes conv_sizes(const struct program_conv *conv);
/* Of the result of a forward or data convolution; of element `i` of it. */
int64_t conv_channels(const struct program_conv *conv);
int64_t conv_channel(const struct program_conv *conv, int64_t i);

/* Adds to what conv->kind says is the result. weight_last: the weight lies as o, taps, c. */
void conv_reference(const struct program_conv *conv, bool weight_last, double *x, double *weight, double *y);

#endif
