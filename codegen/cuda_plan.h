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
    CUDA_SHORT_ROWS,   /* a thread takes a row of a few elements: those of a team's lanes, one after the other */
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
    bool apart;     /* CUDA_ROWS: rows are taken one by one, not by blocks */
    bool keeps;     /* CUDA_COLUMNS: what a later task loads again */
    bool again;     /* CUDA_AGAIN or CUDA_COLUMNS: takes what an earlier task kept … */
    int model;      /* … whose nest, which is walked alike, this is */
    int64_t merges; /* CUDA_COLUMNS and its end: above 1, so many parts of a column are merged by the block */
    int64_t parts;  /* CUDA_SCATTER; for others: results of each FULL reduction, to be merged */
    bool ends;      /* there is one block, which needs no CUDA_TOTAL: it has the results */
    int64_t items;  /* pieces of work, where a thread takes one */
    int64_t blocks; /* 0: nothing to do */
    int group;      /* of tasks that are alike; -1: none */
};

/* What is not the same for the tasks of a group (cuda_alike.c), by member. */
enum cuda_pick_kind {
    PICK_BUFFER,   /* of a buffer: its parameter's number, or its offset in the workspace */
    PICK_INTEGER,  /* of an integer: its number */
    PICK_TOTAL,    /* of a reduction: where in the workspace its parts are */
    PICK_SAVED,    /* of a value: where in the workspace the rows' values are */
    PICK_CONSTANT, /* of a value: the bits of a float */
    PICK_ITEMS,    /* of the task: its pieces of work */
    PICK_FIRST     /* of the task: the group's block that is its first */
};
struct cuda_pick {
    enum cuda_pick_kind kind;
    int number;      /* the first member's buffer, integer, reduction or value; 0 of the task */
    int64_t *places; /* stb_ds array */
};

/* Tasks of one stage that differ in their picks alone. The first is printed for all. */
struct cuda_group {
    int leader, members;
    int64_t blocks;          /* of all members */
    struct cuda_pick *picks; /* stb_ds array */
};

struct cuda_saved {
    int value;       /* of BODY_OUTER, which the columns of CUDA_ROWS_COLUMNS need, one a row */
    uint64_t offset; /* in the workspace */
};

/* An element of a buffer that stays in shared memory from one walk to the next (cuda_again.c). */
struct cuda_kept {
    int from_load, from_store; /* the first walk's value that is loaded, or store; the other one is -1 */
    int to;                    /* the value that the second walk loads */
    int slot;                  /* names where it lies: `to` of the first walk that takes it */
    int64_t bytes;             /* of a block */
};

struct cuda_plan {
    struct cuda_task *tasks;   /* stb_ds array, by nest */
    int stages, joint;         /* the first `joint` stages are done by the whole grid, the others by its last block */
    int64_t blocks;            /* of the largest joint stage; 1 where there is none */
    struct cuda_group *groups; /* stb_ds array */
    int *value_stage;          /* stb_ds array, by value: the stage at whose start a value of BODY_KERNEL is computed */
    uint64_t *totals;          /* stb_ds array, by reduction: offset of the blocks' results in the workspace */
    struct cuda_saved *saved;  /* stb_ds array */
    bool *named;               /* stb_ds array, by buffer: has a name in all of the kernel */
    uint64_t workspace;        /* bytes, that of the lowering included */
    struct cuda_kept *kept;    /* stb_ds array */
    int residents;             /* blocks that a multiprocessor is to hold; 0: as many as it can */
    uint64_t spared;           /* bytes that are not loaded since they are kept */
};

struct cuda_plan cuda_plan_make(const struct lowered *lowered);
void cuda_plan_free(struct cuda_plan *plan);

/* Lets a task find on the chip what an earlier one has loaded. */
void cuda_plan_again(struct cuda_plan *plan, const struct lowered *lowered);
/* What is kept of a load or a store; NULL. */
const struct cuda_kept *cuda_kept_load(const struct cuda_plan *plan, int value);
const struct cuda_kept *cuda_kept_store(const struct cuda_plan *plan, int store);

/* Finds the tasks that are alike. */
void cuda_plan_alike(struct cuda_plan *plan, const struct lowered *lowered);
/* The group that a task shares with others; NULL. */
const struct cuda_group *cuda_group_of(const struct cuda_plan *plan, const struct cuda_task *task);
void cuda_plan_free_groups(struct cuda_plan *plan);
/* The number of a pick, -1: there is none of this kind and number. */
int cuda_find_pick(const struct cuda_pick *picks, enum cuda_pick_kind kind, int number);
/* The number of a buffer that is none of the workspace's among the kernel's parameters: how many stand before it. */
int cuda_parameter(const struct lowered *lowered, int buffer);

/* Is the task what is left when all blocks of its nest are done? */
bool cuda_is_end(const struct cuda_task *task);
/* Of a reduction's accumulator on a GPU. */
int64_t cuda_accumulator_bytes(const struct reduction *reduction);
/* The offset of a value that the columns need, -1 for one that they do not. */
int64_t cuda_saved_offset(const struct cuda_plan *plan, int value);
/* The neighbours that a lane takes at once in the last walk of a team over a row, where nothing there hangs on which
 * lane has which element; else 1. */
int cuda_row_width(const struct lowered *lowered, const struct loop_nest *nest);
/* Is the index, in elements, a multiple of `width` wherever the vector variable is? */
bool cuda_is_aligned(const struct lowered *lowered, const struct affine *index, int width);

#endif
