/* Attention as a kernel of our own (templates/attention*.cu): from a kernel of the fused graph that computes it
 * (passes/attention.h) to a variant of the template and what it is given. */
#ifndef CASTOR_CODEGEN_ATTENTION_KERNEL_H
#define CASTOR_CODEGEN_ATTENTION_KERNEL_H

#include "ir/target.h"
#include "passes/kernels.h"

/* Integer by integer as struct shape of the template; strides are of batch, head and row, in elements. */
struct attention_shape {
    int64_t blocks, pairs, tiles, key_tiles, heads, queries, keys;
    int64_t query[3], key[3], value[3], result[3], d_result[3], d_query[3], d_key[3], d_value[3];
    int64_t random_key, query_scale, keep, scale, joined_scale;
};

enum {
    ATTENTION_INTEGERS = sizeof(struct attention_shape) / sizeof(int64_t),
    ATTENTION_BUFFERS = 15,
    ATTENTION_THREADS = 128
};

/* Equal variants have equal names and texts; sizes are arguments. */
struct attention_kernel {
    const char *name;
    const char *fields, *body; /* of the parameter's struct and of the function */
    struct node *buffers[ATTENTION_BUFFERS];
    int64_t offset[ATTENTION_BUFFERS]; /* bytes into each */
    int buffer_count;
    union {
        struct attention_shape shape;
        int64_t integers[ATTENTION_INTEGERS];
    };
    uint64_t bytes, flops; /* flops: of its products, above the diagonal too */
};

struct attention_kernel attention_kernel_make(const struct kernel_use *use, const struct target *target,
                                              struct arena *arena);

#endif
