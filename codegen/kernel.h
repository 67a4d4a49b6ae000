/* What the code generator makes of one generated kernel of a fused graph: C text and the facts about it.
 *
 * The text depends on nothing but the structure of the kernel: no arena offsets, no random keys. So structurally
 * equal kernels have equal text, and the assembler compiles each text once. */
#ifndef CASTOR_CODEGEN_KERNEL_H
#define CASTOR_CODEGEN_KERNEL_H

#include "ir/target.h"
#include "passes/kernels.h"

struct kernel {
    const char *name;    /* readable C identifier made from the main stored node; not unique */
    const char *comment; /* a C comment: the nodes of the group with their source lines */
    const char *body;    /* from the parameter list on: "(char *const *buffers, …)\n{…}\n" */

    /* One parameter each, in order: `buffers[i]` points to this node's value. A `write` node stands for its variable
     * (or wherever pass memory placed it), a `read` for the variable, an `input` for the field. */
    struct node **buffers;
    bool *written; /* the kernel stores buffers[i] */
    bool *carried; /* its nests load buffers[i] strip by strip (passes/strips.h) */
    int buffer_count;

    int64_t *integers; /* the values that keep equal texts apart: keys of random nodes */
    int integer_count;

    const struct node **watched; /* nodes whose overflow the kernel tells, by id + 1, in train/overflow */
    int watched_count;

    int threads;      /* CUDA: of a block; 0 on the host, as the next three */
    int64_t blocks;   /* that have work */
    bool cooperative; /* its blocks wait for each other */
    int residents;    /* of them a multiprocessor is to hold at a time */

    uint64_t workspace_bytes; /* when not 0 the function takes one more buffer, the last: scratch of this size */

    /* As stored: reads of each nest, caches not counted, but of nothing that is carried or kept on the chip; every
     * write once. */
    uint64_t bytes_read, bytes_written;
    uint64_t flops;
    int casts;               /* cast nodes computed inside */
    bool only_casts;         /* a standalone cast: nothing else is computed */
    const struct node *main; /* the stored node that stands for the kernel: name and source line */
};

/* Lowers and prints one generated kernel; everything in the arena. Uses no marks of the graph. */
struct kernel kernel_generate(const struct kernel_use *use, const struct target *target, struct arena *arena);

/* What stands before the target's kernels in a compilation unit: types, loads and stores, rounding, elementary
 * functions, random bits. */
const char *kernel_prelude(const struct target *target, struct arena *arena);

/* A whole function: comment, `void NAME` with what CUDA wants before it, body. */
const char *kernel_function(const struct kernel *kernel, const char *name, struct arena *arena);

#endif
