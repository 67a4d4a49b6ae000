/* Views: a value that lies within another one, told by strides, so that a library can read it where it is. */
#ifndef CASTOR_PASSES_VIEW_H
#define CASTOR_PASSES_VIEW_H

#include "ir/graph.h"
#include "ir/target.h"

/* Element i of the value is element offset + Σ i[axis] · stride[axis] of the memory of `base`. */
struct view {
    struct node *base;
    struct type type; /* the value's */
    int64_t offset;
    int64_t stride[RANK_MAX]; /* 0 along repeated axes */
};

/* How `node` lies in what it moves: follows reshape, permute, broadcast and slice down to the first node that is
 * stored (has a kernel) or is no such movement. False where strides can not tell it (flip, pad, a reshape that would
 * have to copy): then view->base is the node at which the walk stopped. */
bool view_find(struct node *node, struct view *view);

/* The variable that the node repeats along all axes but its last, along which it lies; NULL for all else. */
struct node *view_row_vector(struct node *node);

/* The other way: the value that part number `part` of a concat moves, and where it lies in the concat's memory. Follows
 * reshape and permute down to the first node that is no such movement or rounds, which becomes view->base; its element
 * i is element offset + Σ i[axis] · stride[axis] of the concat. False where strides can not tell it. */
bool view_part(const struct node *concat, int part, struct view *view);

/* True when the view is the whole of its base's memory in the base's order: the same bytes under another shape. */
bool view_is_alias(const struct view *view);

/* True for a vector along axis `axis` that all other axes repeat. */
bool view_is_vector(const struct view *view, int axis);

/* True when the value begins at a multiple of so many bytes in its base's memory. */
bool view_offset_aligned(const struct view *view, int64_t bytes);

/* Joins the axes first … last - 1 into one; false when no single stride tells them. Axes of size 1 join with all. */
bool view_join_axes(const struct view *view, int first, int last, int64_t *stride);

/* True for the result of a contraction in a half type that the target emulates: it lies in f32, as its library added it
 * up. Generated code rounds what it loads of it; libraries and loops can't. */
bool view_lies_unrounded(const struct node *node, const struct target *target);

/* True when operand number `i` of a contraction can be read by the library through view_find from where its base lies:
 * otherwise the operand itself must be stored. */
bool view_contraction_operand(const struct node *contraction, int i);

#endif
