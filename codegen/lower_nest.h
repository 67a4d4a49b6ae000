/* What the lowering of nests of all shapes shares. */
#ifndef CASTOR_CODEGEN_LOWER_NEST_H
#define CASTOR_CODEGEN_LOWER_NEST_H

#include "codegen/lower.h"

/* The nest being lowered, with the indices of its space; the index variables that those need are made anew for each
 * body, so they are asked for again. */
struct walk {
    struct lowerer *lowerer;
    const struct nest *nest;
    int flat;                                /* the loop over everything, -1: a loop an axis */
    struct store *row_stores, *whole_stores; /* stb_ds arrays, put behind all values of their body */
};

/* ---- parts (lower.c) ---- */

/* One loop an axis: the outer ones over rows, the others inside; vectors along axis `vector`. */
void lower_add_loops(struct lowerer *lowerer, const struct nest *nest, uint32_t outer, int vector);
/* Index of each space axis: its loop variable, or (flat >= 0) taken from the one loop over everything. */
void lower_space_indices(struct lowerer *lowerer, const struct nest *nest, int flat, const struct affine **space);
/* Of the axes of what a member stores or reduces. */
void lower_member_indices(struct walk *walk, const struct nest_member *member, int rank, const struct affine **indices);
void lower_begin_nest(struct lowerer *lowerer, const struct nest *nest, enum nest_shape shape);
void lower_begin_inner(struct lowerer *lowerer);
void lower_end_phase(struct lowerer *lowerer, struct phase phase);
void lower_append_stores(struct lowerer *lowerer, const struct store *stores, int depth);
/* Room in the workspace for a value that a later nest needs. */
int lower_scratch_buffer(struct lowerer *lowerer, struct node *node);
/* The nest is done. */
void lower_keep_nest(struct lowerer *lowerer, const struct nest *nest);

/* ---- shapes (lower_shapes.c) ---- */

void lower_scan_nest(struct lowerer *lowerer, const struct nest *nest);
void lower_scatter_nest(struct lowerer *lowerer, const struct nest *nest);
void lower_suppress_nest(struct lowerer *lowerer, const struct nest *nest);

#endif
