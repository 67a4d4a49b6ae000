/* What the files of the lowering share: the state while one kernel is lowered. */
#ifndef CASTOR_CODEGEN_LOWER_H
#define CASTOR_CODEGEN_LOWER_H

#include "codegen/nest.h"

/* Equal computations are done once: a node at equal indices, or an index variable of equal definition. The key is a
 * hash of 128 bits; the table is only looked up in, so no output depends on it. */
struct memo_key {
    uint64_t low, high;
};
struct memo_entry {
    struct memo_key key;
    int value;
};

enum { NEST_INLINE = 1 << 30 };

/* What the lowering knows of a node of the kernel. */
struct place {
    int buffer;    /* where it lies in memory, -1: nowhere (yet) */
    int nest;      /* that makes it, -1: another kernel; NEST_INLINE: computed where it is needed */
    int reduction; /* of the current nest, -1: none */
    int depth;     /* ROW reductions on the longest way to it, itself included: its phase */
};
struct place_entry {
    const struct node *key;
    struct place value;
};

/* The part of the nest's space that is walked: so many places of one axis; axis -1: the whole space. */
struct chunk {
    int axis;
    int64_t start, size;
};

struct lowerer {
    struct lowered out;
    const struct kernel_use *use;
    struct nest *nests;         /* stb_ds array */
    struct place_entry *places; /* stb_ds hash */
    struct memo_entry *memo[BODY_COUNT];
    int current;            /* nest now lowered */
    struct loop_nest loops; /* its result */
    struct item *inner;     /* items of the inner body now being filled, stb_ds */
    int axis_variable[RANK_MAX];
    struct chunk chunk;
};

/* The value of `node` at these indices, one for each of its axes; appends what has to be computed. */
int lower_value(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices);
/* Of a movement node: its operand's value there (lower_movement.c). */
int lower_movement(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices);
/* The operand of a fold at the given kernel indices, 0 where the window does not touch the place. */
int lower_fold_operand(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices);
/* What tap_sums adds up for element `tap` of its filters (in row-major order): dy at the indices, times the x that the
 * element meets there. */
int lower_tap(struct lowerer *lowerer, const struct node *node, const struct affine *const *indices, int64_t tap);

/* Building blocks (lower_value.c). */
int lower_append(struct lowerer *lowerer, struct value value);
void lower_append_item(struct lowerer *lowerer, int depth, enum item_kind kind, int number);
int lower_convert(struct lowerer *lowerer, int value, enum element element, const struct node *node);
int lower_constant(struct lowerer *lowerer, double constant, enum element element, const struct node *node);
int lower_inside(struct lowerer *lowerer, const struct affine *index, int64_t low, int64_t high);
int lower_select(struct lowerer *lowerer, int mask, int a, int b);
/* Mask: 0 <= index <= last, for an index that is itself a value. */
int lower_within(struct lowerer *lowerer, int index, int64_t last);
int lower_float(struct lowerer *lowerer, int value);
int lower_long(struct lowerer *lowerer, int value);
enum lane_kind lower_lane(enum element element);
struct place *lower_place(struct lowerer *lowerer, const struct node *node);

/* The value of reduction number `reduction` of the nest now lowered, rounded to its node's type. */
int lower_result(struct lowerer *lowerer, const struct node *node, int reduction);

/* Puts watches into the bodies of the finished nests (lower_watch.c). */
void lower_watch(struct lowerer *lowerer);

/* Of the concats that the nest's stores are made of, the one with the most parts: the nest is walked part by part, so
 * that nothing is loaded or computed to be left out. NULL where there is none (lower_parts.c). `axis`: of the space. */
const struct node *lower_find_parts(struct lowerer *lowerer, const struct nest *nest, int *axis);

/* Fills in what the finished nest's loops come to: rows, blocks, accumulators (lower_sizes.c). */
void lower_finish_sizes(struct lowerer *lowerer, const struct nest *nest);

/* Takes loops together that walk memory without a gap (lower_merge.c): `values`, `variables` and `stores` are the
 * lengths of these tables when the nest began. */
void lower_merge_loops(struct lowerer *lowerer, const struct nest *nest, ptrdiff_t values, ptrdiff_t variables,
                       ptrdiff_t stores);

/* Derived indices (lower_index.c): quotient and remainder by a positive divisor, and the index held within bounds. */
const struct affine *lower_quotient(struct lowerer *lowerer, const struct affine *index, int64_t by);
const struct affine *lower_remainder(struct lowerer *lowerer, const struct affine *index, int64_t by);
const struct affine *lower_clamp(struct lowerer *lowerer, const struct affine *index, int64_t low, int64_t high);
/* The place that a slice of one place takes along an axis: an integer of the step, so that the turns of a loop over the
 * axis share a kernel. */
const struct affine *lower_place_of(struct lowerer *lowerer, const struct node *slice, int axis);
/* The row-major number of an element of `shape`, the other way round, and the place in memory of a value's element. */
const struct affine *lower_linear(struct lowerer *lowerer, const struct shape *shape,
                                  const struct affine *const *indices);
void lower_split(struct lowerer *lowerer, const struct shape *shape, const struct affine *linear,
                 const struct affine **indices);
const struct affine *lower_address(struct lowerer *lowerer, const struct type *type,
                                   const struct affine *const *indices);

struct memo_key lower_key(const void *what, const struct affine *const *indices, int count, int64_t extra);
/* The memoized number, -1 when there is none. */
int lower_recall(struct lowerer *lowerer, struct memo_key key);
void lower_remember(struct lowerer *lowerer, struct memo_key key, int depth, int number);

#endif
