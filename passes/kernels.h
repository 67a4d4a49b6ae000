/* The kernels of a fused graph: who stores, who loads, what is computed in between.
 *
 * Pass fuse numbers kernels from 1 in node->kernel. A kernel is one of three kinds:
 *
 * - generated: it stores every node that carries its number (values that other kernels need, and the `write` and
 *   `output` nodes themselves: the operand of a write is computed where it is written). Nodes without a number that
 *   the stored ones need are computed inside, again in each kernel that needs them. A stored node that another one of
 *   the same kernel needs is taken from a register, not from memory.
 * - library: it holds one contraction. The nodes with its number are the contraction and what is appended to it (bias,
 *   relu, addend), in order; only the last of them reaches memory, and with it the statistics that a convolution takes
 *   of it: `sum` and `m2` over all axes but the channels'. A convolution on a GPU appends whatever is computed from its
 *   result element by element, its tail: only the contraction and what is stored carry the number; what is stored may
 *   be sums of other values of the tail too, whether all of them are finite, and what is computed of sums and
 *   statistics for each channel. Or it is attention, one way (attention.h): it stores what carries its number,
 *   contractions and sums over rows or a concat of contractions, and computes other contractions inside. Or it is a
 *   contraction with its gelu (gelu.h): the gelu and the sum that it is taken of carry its number.
 * - a loop (ir/loop.h): it stores the results that are taken; its body has kernels of its own.
 *
 * A generated kernel that stores one concat alone has nothing to do where each part is a stored value that lies in one
 * piece in it: the kernels that make the parts put them there (pass memory), and no program has a step for it. */
#ifndef CASTOR_PASSES_KERNELS_H
#define CASTOR_PASSES_KERNELS_H

#include "ir/graph.h"

struct kernel_use {
    int number;               /* from 1 */
    struct node *contraction; /* NULL for generated kernels; of attention some of it; a loop */
    bool attention;           /* computes contractions inside (passes/attention.h) */
    bool gelu;                /* stores a sum of its contraction, and the gelu of that (passes/gelu.h) */
    struct node **stores; /* in graph order; of a contraction the result, its sum and m2, and what else its tail has */
    struct node **loads;  /* stored nodes of other kernels, `read`s and `input`s, in order of first need */
    struct node **computed; /* all that is computed inside, stored or not, operands first */
    int store_count, load_count, computed_count;
    bool joins; /* one concat of parts that are stored within it: no code runs */
    /* The graph's read of train/overflow, which kernels tell where overflows begin; NULL: none. */
    struct node *overflow;
    const bool *libraries; /* of the graph's kernels, by number - 1: of the library kind */
    /* Of kernels in strips (strips.h): examples in the batch, in a strip, and the nests that run strip by strip. */
    int64_t strip_items, strip_size;
    int strip_nests;
};

struct kernel_set {
    int count; /* kernels[i] has number i + 1 */
    struct kernel_use *kernels;
};

/* The value that part `i` of a concat is a reshape of (the part itself, if it is none). NULL when it is not row-major,
 * is an input or a variable, or is rounded on the way. The walk through reshapes ends at the first for which `stop` is
 * true, that is, which is stored itself; NULL: the first that has a kernel. */
struct node *kernel_part(const struct node *concat, int i, bool (*stop)(const void *, const struct node *),
                         const void *data);

/* True where the parts of the concat follow each other in memory, each at an offset that suits any device. */
bool kernel_parts_follow(const struct node *concat);

/* What the tail of a convolution's kernel may have: sums over all axes but the channels' (the template's buffers have
 * as many), values of channels that it finishes, what it loads for each of these, for the result and for a check. */
enum {
    TAIL_TOTALS_MAX = 4,
    TAIL_FINISHED_MAX = 8,
    TAIL_LOADS_EACH = 12,
    TAIL_LOADS_MAX = (TAIL_TOTALS_MAX + TAIL_FINISHED_MAX + 2) * TAIL_LOADS_EACH
};

/* Does the kernel compute something behind a convolution? */
bool kernel_has_tail(const struct kernel_use *use);

/* Is the value, which the kernel of a convolution stores, a statistic of the first that it stores, the only one of its
 * kind? Another sum of the same is a sum of the tail. */
bool kernel_is_statistic(const struct kernel_use *use, const struct node *store);

/* What the kernel of a convolution computes behind it, as a generated kernel that loads the convolution's result and
 * statistics, and stores what else the kernel stores. Uses node->mark. */
struct kernel_use kernel_tail(const struct kernel_use *use, struct arena *arena);

/* Looks at node->kernel; all memory in the arena. Uses node->mark. */
struct kernel_set kernels_find(const struct graph *graph, struct arena *arena);

#endif
