/* What the files of the CUDA printer share, and its result. */
#ifndef CASTOR_CODEGEN_PRINT_CUDA_H
#define CASTOR_CODEGEN_PRINT_CUDA_H

#include "codegen/cuda_plan.h"
#include "codegen/print.h"

struct cuda_kernel {
    const char *body; /* from the parameter list on; in the arena */
    int threads;
    int64_t blocks;
    bool cooperative;
    uint64_t workspace; /* bytes */
    int residents;      /* blocks that a multiprocessor is to hold */
    uint64_t spared;    /* bytes that are not loaded a second time */
};

struct cuda_kernel print_cuda(const struct lowered *lowered, struct arena *arena);

/* "int", or "long long" for numbers up to `last` that need it. */
const char *cuda_integer(int64_t last);
/* No partial sum of the index leaves 32 bits. */
bool cuda_is_short(const struct lowered *lowered, const struct affine *index);
/* An index as an expression, in 32 bits where all of it fits. */
const char *cuda_index(struct printer *printer, const struct affine *index);
/* Statements (print_cuda_value.c). */
void cuda_print_index(struct printer *printer, int number);
void cuda_print_value(struct printer *printer, int number);
/* A load as an expression. */
const char *cuda_print_load(struct printer *printer, int number);
void cuda_print_store(struct printer *printer, const struct store *store);
/* All of a body for `width` neighbours: what is next to each other in memory in one access of up to 16 bytes. */
void cuda_print_packed(struct printer *printer, const struct item *items, int width);

/* ---- what a team keeps of a row in registers (print_cuda_keep.c); in scope is `step` ---- */

/* The steps that its loop over the row is unrolled to, 0 where it is not. */
int64_t cuda_keep_steps(const struct printer *printer);
/* Prints the registers. */
void cuda_keep_declare(struct printer *printer);
/* The load whose registers have the element that a phase would load again; -1: none. */
int cuda_keep_taken(struct printer *printer, int phase, const struct item *item);
/* Is a load's element kept for later phases? */
bool cuda_keep_gives(struct printer *printer, const struct item *item);

/* ---- what is the same in all rows (print_cuda_fixed.c) ---- */

/* Prints it, before the loop over the rows. */
void cuda_fixed_begin(struct printer *printer);
void cuda_fixed_end(struct printer *printer);
/* Has it been printed, so that it is left out inside the loop? */
bool cuda_is_fixed(const struct printer *printer, const struct item *item);

/* ---- bodies (print_cuda_body.c) ---- */

const struct reduction *cuda_reduction(const struct printer *printer, int number);
void cuda_print_items(struct printer *printer, const struct item *items);
void cuda_print_item(struct printer *printer, const struct item *item);
/* The next value of a reduction. */
void cuda_print_step(struct printer *printer, int number);
void cuda_start_accumulator(struct printer *printer, int number);
/* The only store of a scatter. */
const struct store *cuda_scatter_store(const struct printer *printer);
/* An expression: is the slice of the row one of those of `part`? */
const char *cuda_is_owner(struct printer *printer);
/* Goes on with the next row where it is not. */
void cuda_print_owner(struct printer *printer);

/* ---- one task, for the block number `block` (print_cuda_task.c) ---- */

void cuda_print_task(struct printer *printer, const struct cuda_task *task);
/* A thread has one item, or several where there are totals: a block to be closed. */
void cuda_open_items(struct printer *printer, const char *name);
/* The inner loops and the vector from the number of a column. */
void cuda_print_column_indices(struct printer *printer);

/* ---- sums over rows, and ends of tasks (print_cuda_end.c) ---- */

void cuda_start_totals(struct printer *printer, enum reduction_kind kind);
/* Where in the workspace the results of a reduction, or the rows' values, lie. */
const char *cuda_workspace_place(struct printer *printer, enum cuda_pick_kind kind, int number, uint64_t offset);
/* "t5": where the blocks' results of a reduction lie. */
void cuda_declare_results(struct printer *printer, enum reduction_kind kind);
/* COLUMN reductions: the results of part number `part`. */
void cuda_store_columns(struct printer *printer, const char *part);
/* FULL reductions: one result a block, of one block the end. All threads come here. */
void cuda_end_totals(struct printer *printer);
/* CUDA_FINISH, CUDA_FINISH_WAYS and CUDA_TOTAL. */
void cuda_print_finish(struct printer *printer);
void cuda_print_finish_ways(struct printer *printer);
void cuda_print_total(struct printer *printer);

#endif
