/* What the files of pass join share. */
#ifndef CASTOR_PASSES_JOIN_H
#define CASTOR_PASSES_JOIN_H

#include "passes/pass.h"
#include "passes/rewrite.h"

/* Where a value lies above others: from element `first` on in `whole`, which has been stripped of reshapes. */
struct place {
    struct node *whole; /* NULL: nowhere */
    int64_t first;
};

/* Products of the parts of one tensor with one matrix. */
struct join_family_key {
    const struct node *whole, *matrix;
    int64_t axis, rows, transpose, pin;
};

struct join_family {
    struct join_family_key key;
    struct {
        int64_t length; /* of the parts along the axis, all together */
        struct node *joined;
    } value;
};

struct joiner {
    struct graph *graph;
    struct pass_context *context;
    int *users;                   /* by mark */
    struct node **user;           /* by mark: the last one */
    struct place *part;           /* by mark: the concat that it is a part of */
    bool *wanted;                 /* by mark: something is to be differentiated by it */
    bool differentiates;          /* there are grad nodes */
    struct join_family *families; /* stb_ds hash */
};

/* Replaces a sum by one of fewer products (join_sums.c); does only a sum of the same kind need the sum? */
void join_sum(struct joiner *joiner, struct node *sum);
bool join_is_inner(const struct joiner *joiner, const struct node *add);

/* The value without reshapes. */
struct node *join_strip(struct node *node);
/* The one axis along which a slice takes less, in steps of 1; -1: it is another node, or another slice. */
int join_cut_axis(const struct node *node);
/* The product of the sizes of the axes first … last - 1. */
int64_t join_size(const struct shape *shape, int first, int last);
/* Rows from element `first` on, as many as make `count` elements, of a tensor seen as rows of this width. */
struct node *join_rows(struct builder *builder, struct node *whole, int64_t first, int64_t count, int64_t width);
/* Lets `node` be replaced by `by`, which takes its origin where it is new. */
void join_replace(struct joiner *joiner, struct node *node, struct node *by);

#endif
