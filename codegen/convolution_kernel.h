/* Convolutions as kernels of our own (templates/convolution*.cu): which variant of the template serves a shape, and
 * what it is given. */
#ifndef CASTOR_CODEGEN_CONVOLUTION_KERNEL_H
#define CASTOR_CODEGEN_CONVOLUTION_KERNEL_H

#include "codegen/convolution_tail.h"
#include "ir/arena.h"
#include "runtime/program.h"

/* The tail of the kernel's parameter, integer by integer as struct shape of the template. */
struct convolution_axis {
    int64_t x, y, kernel, stride, dilation, pad, period, places_divider[2], taps_divider[2];
};
struct convolution_shape {
    int64_t blocks, row_tiles, column_tiles, groups, splits, merged;
    int64_t images, inputs, outputs;
    int64_t x_image, x_place, x_channel, y_image, y_place, y_channel;
    int64_t weight_output, weight_input, weight_tap;
    int64_t y_places, y_places_divider, channel_divider;
    struct convolution_axis axis[PROGRAM_SPATIAL];
};
enum { CONVOLUTION_INTEGERS = sizeof(struct convolution_shape) / sizeof(int64_t) };

enum { CONVOLUTION_TILES = 7 }; /* sizes of tiles to choose from */

/* How the operands lie, beyond what struct program_conv says, and what is wanted. */
struct convolution_request {
    bool weight_last; /* the weight's inputs are innermost, [o, taps, c]; else it is row-major, [o, c, taps] */
    bool aligned[2];  /* operand 0 and 1 begin at a multiple of 16 bytes */
    int tile;         /* from 1; 0: the best */
    const struct convolution_tail *tail; /* what is computed behind it; NULL: nothing */
};

/* Equal variants without a tail have equal names and texts. Buffers are those of a conv step (runtime/program.h), then
 * the tail's totals, its check, what it finishes and what it loads, then workspace and counters where there are any.
 * Integers are the shape, then those of the tail. Counters are zero before and after each launch, and kernels that run
 * one after the other can share them. */
struct convolution_kernel {
    const char *name;
    const char *fields, *body; /* of the parameter's struct and of the function */
    int threads;
    union {
        struct convolution_shape shape;
        int64_t integers[CONVOLUTION_INTEGERS];
    };
    uint64_t workspace_bytes, counter_bytes;
};

struct convolution_kernel convolution_kernel_make(const struct program_conv *conv,
                                                  const struct convolution_request *request, struct arena *arena);

#endif
