/* Loop nests: which nodes of a kernel are computed in one walk over which space.
 *
 * A nest walks a space of up to RANK_MAX axes, the `outer` ones first and then the rest, each in the order of memory.
 * The innermost axis of memory is the one that vectors lie along. What a nest makes, its members, are
 *
 * - stores of values of the whole space, or of the outer axes alone (one value a row);
 * - reductions over the inner axes, one result for each place of the outer axes: the row waits for it, so that
 *   softmax is one nest;
 * - reductions over the outer axes or over everything, whose results are known when the nest has ended.
 *
 * The order in which a reduction adds depends on its node alone (operand's layout, axes), never on what shares the
 * nest: so fused equals unfused bit for bit. reduction_kind tells the three schemes:
 *
 * - ROW: for each result, in the order of memory over the reduced axes. When the innermost axis is reduced, element i
 *   of it goes to lane i % 16; the lanes are merged as a tree at the end. Otherwise vectors lie along the results.
 * - COLUMN: the reduced axes lie outside of all others. Blocks of rows (column_block), each summed in order, then up to
 *   MERGE_ORDERED blocks in order. Of more of them, merge_neighbours are merged in order, share i of what that gives
 * goes to way i % MERGE_WAYS, in order; 16 ways side by side are merged as a tree, and the results of that as well.
 * - FULL: everything is reduced: blocks of reduction_block elements in the order of memory, element i to lane i % 16,
 *   the lanes merged as a tree, then the blocks in order. */
#ifndef CASTOR_PASSES_NESTS_H
#define CASTOR_PASSES_NESTS_H

#include "passes/kernels.h"

enum { AXIS_NONE = 255 };

enum { MERGE_ORDERED = 64, MERGE_WAYS = 256 };

enum reduction_kind { REDUCTION_NONE, REDUCTION_ROW, REDUCTION_COLUMN, REDUCTION_FULL };

/* `fold` counts as a ROW reduction over its kernel axes, `tap_sums` as COLUMN reductions over all but the channels of
 * dy, one for each of tap_count; a reduction over axes of size 1 reduces nothing: NONE. */
enum reduction_kind reduction_kind(const struct node *node);
/* Elements (FULL) or rows (COLUMN) in a block, for `count` of them; a multiple of 16. */
int64_t reduction_block(int64_t count);
/* The smallest divisor of `count` that is at least a 64th of it: so many slices of the outermost axis are one share. */
int64_t reduction_items(int64_t count);
/* The space of what is reduced: the (first) operand's, channels innermost for tap_sums, or a fold's result and kernel
 * axes; and the mask of reduced axes. */
struct type reduction_space(const struct node *node, uint32_t *reduced);
/* How many blocks side by side are merged first, of so many blocks of so many columns each: those that MERGE_WAYS
 * threads have, a column each. */
int64_t merge_neighbours(int64_t blocks, int64_t columns);
/* False for reductions whose result does not depend on the order: largest, smallest, where they stand, integers. */
bool reduction_ordered(const struct node *node);
/* How many results a reduction has for each place of what is not reduced: of tap_sums the elements of a filter, else 1.
 */
int64_t tap_count(const struct node *node);

struct nest_member {
    struct node *node;
    enum reduction_kind reduction; /* NONE: a store */
    /* Not NULL: what is stored or reduced is made element by element from a reshape of `base`; the nest walks base's
     * axes. */
    struct node *base;
    /* Space axis of each axis of what is stored (base, if there is one) or reduced; AXIS_NONE for size 1. */
    unsigned char axis[RANK_MAX];
};

struct nest {
    struct type space;           /* its element says nothing */
    uint32_t outer;              /* mask of space axes */
    bool outer_fixed;            /* a reduction asked for it; otherwise nothing but whole-space stores are in it */
    int64_t block;               /* rows that the sums over them take together; 0: no sum asks for a number */
    struct nest_member *members; /* stb_ds array, operands before users */
};

/* Does the node need a nest of its own, which walks an axis in order? */
bool nest_is_alone(const struct node *node);

/* Where a value computed by the kernel stands: in nest number `nest` (-1: in none), and in no nest up to `after`. */
struct alignment {
    int nest, after;
    struct node *base;            /* not NULL: the value comes from a reshape of `base`, and the axes are base's */
    unsigned char axis[RANK_MAX]; /* space axis of each axis of the value, AXIS_NONE where it has size 1 or is free */
};

/* To find a nest again: by a value that it reads, by its space, or by both. Zero where one of them does not count;
 * compared byte by byte. */
struct nest_key {
    const struct node *load;
    int64_t dimension[RANK_MAX];
    unsigned char order[RANK_MAX];
};
struct nest_key nest_key(const struct node *load, const struct type *space);
/* The space that a nest of `node` alone would have. */
struct type nest_space(const struct node *node, const struct alignment *alignment);

/* The mask of the space's axes of more than one element; the innermost of them in memory, -1 when there is none. */
uint32_t nest_axes(const struct nest *nest);
int nest_vector_axis(const struct nest *nest);

/* An empty nest over the space of `node`, and adding `node` to a nest where that is possible. `alignment` tells where
 * its operand (the stored value itself, for stores) stands in the nest already. */
struct nest nest_make(const struct node *node, const struct alignment *alignment);
bool nest_join(struct nest *nest, struct node *node, const struct alignment *alignment);

/* The alignment of a value that was computed before the kernel, and of one computed from operands with these. */
struct alignment alignment_none(void);
/* The value is wanted in another nest, after its own: what it comes from lies in memory then. Its base stays. */
void alignment_leave(struct alignment *alignment);
struct alignment alignment_of(const struct node *node, const struct alignment *const *operands);

/* All nests of a generated kernel, in the order of execution (stb_ds array; free with nests_free). NULL when a value
 * that is not stored would be needed in another nest than its own: then the kernel cannot be generated. */
struct nest *nests_find(const struct kernel_use *kernel);
void nests_free(struct nest *nests);

#endif
