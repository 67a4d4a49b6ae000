/* How a lowered kernel is laid out on a GPU: tasks, each the work of one nest or of its end, in stages.
 *
 * Threads come in blocks of CUDA_THREADS, and in teams of LANES, which do what the lanes of a vector do on the host, in
 * the same order. A task takes a number of blocks; tasks of one stage need nothing of each other and share the grid,
 * block after block. Between stages all blocks wait for each other, or, where what is left is little, the block that
 * comes last does it alone. */
#ifndef CASTOR_CODEGEN_CUDA_PLAN_H
#define CASTOR_CODEGEN_CUDA_PLAN_H

#include "codegen/nest.h"

enum { CUDA_THREADS = 256 };

enum cuda_scheme {
    CUDA_ELEMENTS,     /* a thread takes `width` neighbours along the vector of one row */
    CUDA_ROWS,         /* a team takes a row; a block those of one block of passes/nests.h where there are totals */
    CUDA_COLUMNS,      /* a thread takes one column of such a block of rows */
    CUDA_ROWS_COLUMNS, /* a block takes such a block: teams the rows, and then threads the columns */
    CUDA_WHOLE,        /* a team takes such a block of elements */
    CUDA_AGAIN,        /* a thread takes one column of a block of rows, as a task of CUDA_COLUMNS did before */
    CUDA_CLEAR,        /* a thread zeroes a word of what a scatter adds to */
    CUDA_SCATTER,      /* a thread owns every `parts`th slice, and of it one place along the vector */
    CUDA_FINISH,       /* a thread merges the blocks' results of a column */
    CUDA_FINISH_WAYS,  /* a block does, where they are many: a thread is a way of passes/nests.h */
    CUDA_TOTAL         /* a block merges those of the totals */
};

struct cuda_task {
    enum cuda_scheme scheme;
    int nest, stage;
    int width;      /* CUDA_ELEMENTS */
    bool keeps;     /* CUDA_COLUMNS: what a later task loads again */
    int model;      /* CUDA_AGAIN: the nest whose rows and columns it walks alike */
    int64_t parts;  /* CUDA_SCATTER; for others: results of each FULL reduction, to be merged */
    int64_t items;  /* pieces of work, where a thread takes one */
    int64_t blocks; /* 0: nothing to do */
};

struct cuda_saved {
    int value;       /* of BODY_OUTER, which the columns of CUDA_ROWS_COLUMNS need, one a row */
    uint64_t offset; /* in the workspace */
};

/* An element of a buffer that stays in shared memory from one walk to the next (cuda_again.c). */
struct cuda_kept {
    int from_load, from_store; /* the first walk's value that is loaded, or store; the other one is -1 */
    int to;                    /* the value that the second walk loads */
    int64_t bytes;             /* of a block */
};

struct cuda_plan {
    struct cuda_task *tasks;  /* stb_ds array, by nest */
    int stages, joint;        /* the first `joint` stages are done by the whole grid, the others by its last block */
    int64_t blocks;           /* of the largest joint stage; 1 where there is none */
    int *value_stage;         /* stb_ds array, by value: the stage at whose start a value of BODY_KERNEL is computed */
    uint64_t *totals;         /* stb_ds array, by reduction: offset of the blocks' results in the workspace */
    struct cuda_saved *saved; /* stb_ds array */
    uint64_t workspace;       /* bytes, that of the lowering included */
    struct cuda_kept *kept;   /* stb_ds array */
    int residents;            /* blocks that a multiprocessor is to hold; 0: as many as it can */
    uint64_t spared;          /* bytes that are not loaded since they are kept */
};

struct cuda_plan cuda_plan_make(const struct lowered *lowered);
void cuda_plan_free(struct cuda_plan *plan);

/* Lets a task find on the chip what an earlier one has loaded. */
void cuda_plan_again(struct cuda_plan *plan, const struct lowered *lowered);
/* What is kept of a load or a store; NULL. */
const struct cuda_kept *cuda_kept_load(const struct cuda_plan *plan, int value);
const struct cuda_kept *cuda_kept_store(const struct cuda_plan *plan, int store);

/* Columns of a nest: places of the inner loops and the vector. */
int64_t cuda_columns(const struct lowered *lowered, const struct loop_nest *nest);
/* The offset of a value that the columns need, -1 for one that they do not. */
int64_t cuda_saved_offset(const struct cuda_plan *plan, int value);
/* Is the index, in elements, a multiple of `width` wherever the vector variable is? */
bool cuda_is_aligned(const struct lowered *lowered, const struct affine *index, int width);

#endif
