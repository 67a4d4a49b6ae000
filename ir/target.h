/* What the compiler must know of a device before code exists. The driver in frontend fills it from the device;
 * passes and codegen see only this. */
#ifndef CASTOR_IR_TARGET_H
#define CASTOR_IR_TARGET_H

#include "ir/type.h"

enum epilogue {
    EPILOGUE_BIAS = 1 << 0, /* add a vector along the result's last (matmul) or channel (conv) axis */
    EPILOGUE_RELU = 1 << 1, /* max(x, 0) that keeps NaN or whose NaN can be told elsewhere */
    EPILOGUE_ADD = 1 << 2,  /* add a tensor of the result's shape */
    /* a convolution's result, as it is stored: its sum and m2 over all axes but the channels' */
    EPILOGUE_STATISTICS = 1 << 3,
    /* a matrix product of halves with its bias: gelu of it in its tanh form, and what that is of (passes/gelu.h) */
    EPILOGUE_GELU = 1 << 4,
    /* a convolution: what is computed element by element from its result, and sums of such over all axes but the
     * channels' (passes/fuse_tail.c); in place of bias, relu and addend */
    EPILOGUE_TAIL = 1 << 5
};

/* What generated kernels are written in. */
enum language { LANGUAGE_C, LANGUAGE_CUDA };

/* Bytes that a GPU moves at once: what libraries for it want vectors and rows to begin at multiples of. */
enum { TARGET_VECTOR_BYTES = 16 };

struct target {
    const char *name; /* "host", "cuda", "sim" */
    enum language language;
    /* How a value of an element type lies in memory. On the host f16 lies as f32 (its values stay those of f16), and
     * so does bf16 where the CPU has no bf16 instructions. */
    enum element storage[ELEMENT_COUNT];
    bool channels_last; /* 4-D activations lie as n, h, w, c */
    unsigned epilogues; /* what the contraction library can append */
    /* matrix products append a bias of the result's own element type that begins at a multiple of TARGET_VECTOR_BYTES,
     * and nothing else */
    bool matmul_bias_only;
    bool conv_data_plain; /* conv_data appends nothing */
    bool one_type;        /* contractions take operands of one type, as it is stored, and give that or f32 */
    bool attention;       /* softmax between two products of halves is one kernel (passes/attention.h) */
    int64_t alignment;    /* of every buffer in the arena, bytes */
    int64_t cache_bytes;  /* last level cache, for tiling */
    bool strips;          /* runs kernels one after the other on a few examples at a time (passes/strips.h) */
    int threads;
    int processors; /* of a GPU, and the shared memory of each; 0 when unknown */
    int64_t shared_bytes;
    /* For the cost model (passes/figures.h fills them); 0 when unknown. */
    double bandwidth;            /* bytes a second */
    double vector_flops;         /* pointwise arithmetic in f32, a second */
    double flops[ELEMENT_COUNT]; /* of contractions by operand element, a second */
    double launch_seconds;       /* of one kernel or library call, whatever it does */
};

/* True where values of a half type are kept in a wider one, so that halving pays nothing. */
static inline bool target_emulates(const struct target *target, enum element element)
{
    return target->storage[element] != element;
}

#endif
