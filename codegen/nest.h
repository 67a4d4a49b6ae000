/* A lowered kernel: loop nests with index expressions, values, reductions and stores, ready to be printed.
 *
 * All nests of a kernel share one table of index variables and one of values. A nest has loops over rows (the outer
 * axes of passes/nests.h, flattened by the printer) and inner loops; vectors of LANES lie along one loop variable.
 * What is computed stands in bodies, by depth:
 *
 *   kernel                       uniform values that need no loop and nothing that this kernel stores
 *   BODY_NEST                    the same, once for a nest
 *   rows {                       BODY_OUTER
 *     vector along the rows {    BODY_VECTOR, only where vectors lie along an outer axis
 *       inner loops { }          BODY_INNER: one body for each phase, an item of the body around it
 *     }
 *   }
 *   inner loops { }              BODY_FINISH: results of the COLUMN reductions
 *   BODY_TOTAL                   results of the FULL reductions */
#ifndef CASTOR_CODEGEN_NEST_H
#define CASTOR_CODEGEN_NEST_H

#include "ir/target.h"
#include "passes/nests.h"

enum { LANES = 16, LOOPS_MAX = 2 * RANK_MAX };

/* ---- index expressions ---- */

struct term {
    int variable;
    int64_t factor;
};

/* constant + the sum of factor * variable; terms sorted by variable, no factor 0. In the arena, immutable. */
struct affine {
    int64_t constant;
    int count;
    struct term terms[];
};

enum index_kind {
    INDEX_LOOP,
    INDEX_MERGED /* a loop that its inner neighbour took in */,
    INDEX_QUOTIENT,
    INDEX_REMAINDER,
    INDEX_CLAMP,
    INDEX_GIVEN /* integers[integer]: low, and high, in this step of the kernel; another one in others */
};

struct index_variable {
    enum index_kind kind;
    const struct affine *of; /* of the derived kinds */
    int64_t by;              /* divisor */
    int64_t low, high;       /* smallest and largest value, both included; a clamp's bounds */
    int integer;
    int depth;   /* enum body_depth */
    bool vector; /* differs from lane to lane */
};

/* ---- values: what stands in registers, LANES at a time ---- */

enum lane_kind { LANE_FLOAT, LANE_INT, LANE_LONG, LANE_MASK };

enum { FITS_F16 = 1, FITS_BF16 = 2, FITS_ALL = 3 };

enum value_kind {
    VALUE_CONSTANT,
    VALUE_LOAD,      /* of `buffer` at `index`, plus operands[0] * `stride` where operand_count is 1 */
    VALUE_INDEX,     /* `index` itself as integers */
    VALUE_INSIDE,    /* mask: low <= index <= high */
    VALUE_POINTWISE, /* node->op in the arithmetic of `domain` */
    VALUE_CONVERT,   /* operands[0] to `lane`, integers saturating to `element` */
    VALUE_ROUND,     /* floats rounded to `element` */
    VALUE_SELECT,    /* operands[0] ? operands[1] : operands[2] */
    VALUE_RANDOM,    /* operands: seed, attempt; element number `index`; key: integers[integer] */
    VALUE_RESULT     /* of reduction number `reduction` */
};

struct value {
    enum value_kind kind;
    enum lane_kind lane, domain;
    const struct node *node; /* whose value this is, or leads to; for names */
    enum op op;
    enum element element; /* VALUE_LOAD: how it lies in memory */
    int operand_count, operands[3];
    const struct affine *index;
    int64_t low, high, stride;
    int buffer, integer, reduction;
    double constant;
    int depth;
    bool vector;   /* false: equal in all lanes */
    unsigned fits; /* bit FITS_F16, FITS_BF16: rounding to that type changes nothing */
};

/* ---- bodies ---- */

enum body_depth { BODY_KERNEL, BODY_NEST, BODY_OUTER, BODY_VECTOR, BODY_INNER, BODY_FINISH, BODY_TOTAL, BODY_COUNT };

enum item_kind { ITEM_INDEX, ITEM_VALUE, ITEM_STORE, ITEM_STEP, ITEM_PHASE, ITEM_WATCH };

struct item {
    enum item_kind kind;
    int number; /* of the index variable, value, store, reduction, phase or watch */
};

struct store {
    int buffer, value;
    enum element element; /* in memory */
    const struct affine *index;
    int slice; /* NEST_SCATTER: value that chooses the slice, `stride` elements each, up to `last`; else -1 */
    int64_t stride, last;
};

struct reduction {
    const struct node *node;
    enum reduction_kind kind;
    enum lane_kind lane; /* what it accumulates: floats, ints (largest, smallest) or longs */
    int value, position; /* of the operand; for argmax and argmin of the index, else -1 */
    bool lanes;          /* results differ by lane only until the lanes are merged */
    bool follows;        /* argmax, argmin: positions only grow */
    bool row_level;      /* FULL: one value a row, which goes to lane row % LANES */
    int64_t slots;       /* accumulators of a block, in vectors */
    uint64_t workspace;  /* COLUMN, FULL: offset of the blocks' accumulators */
    int phase;           /* ROW: whose loops compute it */
};

struct phase {
    struct item *items; /* stb_ds array */
    int *reductions;    /* stb_ds array: ROW reductions that this phase computes */
};

/* A look at where an overflow began (lower_watch.c). It is taken where a lane of a trigger is not finite (of a float)
 * or does not hold (of an isfinite). Then each value that is not finite in a lane in which all its float operands are
 * tells integers[slot] to the buffer `overflow`: an i32 that keeps the smallest it is told. */
struct watched_value {
    int value, slot;
};
struct watch {
    int *triggers; /* stb_ds arrays; values */
    struct watched_value *values;
};

/* NEST_SUPPRESS: a row is walked inner loop by inner loop, each of which reads what those before it stored. */
enum nest_shape { NEST_LOOPS, NEST_SCAN, NEST_SCATTER, NEST_SUPPRESS };

struct loop_nest {
    enum nest_shape shape;
    const struct node *main;
    int row_loops[LOOPS_MAX], row_count;     /* variables, outermost first, the vector's excluded */
    int inner_loops[LOOPS_MAX], inner_count; /* the vector's excluded */
    int vector;                              /* variable, -1: no vectors */
    bool vector_inner;
    int64_t rows, vector_extent, block; /* block: rows, or elements along the vector where split_vector */
    int64_t neighbours;                 /* merge_neighbours of its COLUMN reductions, in whichever part it walks */
    bool split_vector;                  /* threads share the vector loop, not the rows */
    bool serial;
    int64_t work; /* rough number of element operations */
    int part_of;  /* 0, or a number that it shares with other nests that walk other parts of the same space */
    int clear;    /* NEST_SCATTER, NEST_SUPPRESS: buffer that starts as zeros; else -1 */
    int64_t clear_bytes;
    struct item *bodies[BODY_COUNT]; /* stb_ds arrays; [BODY_INNER] is unused */
    struct phase *phases;            /* stb_ds array */
    int *totals;                     /* stb_ds array: reductions over the rows, COLUMN and FULL */
};

/* What threads share among them: rows, or elements along the vector. */
static inline int64_t loop_nest_length(const struct loop_nest *nest)
{
    return nest->split_vector ? nest->vector_extent : nest->rows;
}

static inline int64_t loop_nest_blocks(const struct loop_nest *nest)
{
    return (loop_nest_length(nest) + nest->block - 1) / nest->block;
}

/* What a kernel's function takes: the value of a node, or (scratch) a result that this kernel keeps in its workspace
 * because a later nest needs it. */
struct kernel_buffer {
    struct node *node;
    bool written, scratch;
    uint64_t offset; /* scratch: in the workspace */
};

struct lowered {
    struct arena *arena;
    const struct target *target;
    struct index_variable *variables; /* these are stb_ds arrays */
    struct value *values;
    struct store *stores;
    struct reduction *reductions;
    struct loop_nest *nests;
    struct item *items; /* BODY_KERNEL */
    struct kernel_buffer *buffers;
    int64_t *integers;
    struct watch *watches;
    const struct node **watched;     /* nodes whose numbers stand among the integers */
    int overflow;                    /* buffer that watches tell, -1: there are none */
    uint64_t workspace;              /* bytes */
    int64_t strip_items, strip_size; /* as in struct kernel_use; 0: no strips */
    int strip_nests;
};

/* ---- index arithmetic (index.c) ---- */

const struct affine *affine_constant(struct arena *arena, int64_t constant);
const struct affine *affine_variable(struct arena *arena, int variable);
/* a + factor * b */
const struct affine *affine_add(struct arena *arena, const struct affine *a, const struct affine *b, int64_t factor);
bool affine_equal(const struct affine *a, const struct affine *b);
int64_t affine_factor(const struct affine *a, int variable);
void affine_range(const struct lowered *lowered, const struct affine *a, int64_t *low, int64_t *high);
int affine_depth(const struct lowered *lowered, const struct affine *a);
bool affine_vector(const struct lowered *lowered, const struct affine *a);

/* ---- lowering (lower.c) ---- */

/* The lowered kernel; its stb_ds arrays are released by lowered_free. */
struct lowered lower_kernel(const struct kernel_use *use, const struct target *target, struct arena *arena);
void lowered_free(struct lowered *lowered);

/* Columns of a nest: places of the inner loops and the vector (lower_sizes.c). */
int64_t loop_nest_columns(const struct lowered *lowered, const struct loop_nest *nest);

/* ---- printing (print_host.c) ---- */

/* The function from its parameter list on; in the arena. */
const char *print_host(const struct lowered *lowered, struct arena *arena);

#endif
