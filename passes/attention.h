/* Attention found in a graph: two products with a softmax between them, and what gives its gradients.
 *
 * Targets that can (target->attention) compute either in one kernel that never stores a matrix of scores, but goes
 * through it tile by tile (Dao et al. 2022). Nothing of it is an op: the nodes stay what they are, and so does the
 * meaning of the graph. What is found here says which of them a kernel computes inside.
 *
 *     scores  = half(query * query_scale) @ key'          f32 or half, [.., t, s]
 *     score   = scores, or -inf above the diagonal        f32 or half
 *     weight  = exp(score - maximum) / total              f32; maximum and total over the last axis, [.., t, 1]
 *     dropped = where(uniform < keep, weight * scale, 0)  f32; or the weight itself
 *     result  = half(dropped) @ value                     [.., t, d] */
#ifndef CASTOR_PASSES_ATTENTION_H
#define CASTOR_PASSES_ATTENTION_H

#include "ir/graph.h"
#include "passes/view.h"

struct attention {
    struct node *query, *key, *value; /* half */
    struct node *scaled;              /* the query as its product takes it */
    struct node *scores, *score, *maximum, *exponential, *total, *weight, *dropped, *weights, *result;
    struct node *random; /* dropout's uniform numbers; NULL: none are dropped */
    double keep, scale;  /* what is below `keep` stays, multiplied by `scale` */
    double query_scale;
    bool causal;
};

/* The gradients to the three operands, from the result's:
 *
 *     d_dropped = d_result @ value'
 *     d_weight  = where(uniform < keep, d_dropped, 0) * scale
 *     d_score   = (d_weight / total + row) * exponential             half, 0 above the diagonal
 *     row       = -sum(d_weight / total * weight)                    [.., t, 1]
 *     d_query   = d_score @ key,  d_key = d_score' @ query,  d_value = half(dropped)' @ d_result
 *
 * A kernel that has only a tile of each row at hand takes the row's sum another way: it is -sum(d_result * result) /
 * total over the width (pass attention rewrites it to that). */
struct attention_gradient {
    struct attention forward;
    struct node *d_result, *d_dropped, *d_score, *row;
    struct node *d_query, *d_key, *d_value; /* d_query: of the scaled one */
    bool rewritten;                         /* the row's sum is taken over the width */
    /* Where the three, d_query times a number, are all that a concat of halves joins, that one is stored in their
     * place: */
    struct node *joined;  /* NULL: each is stored by itself */
    double joined_scale;  /* of d_query */
    struct view place[3]; /* of d_query, d_key, d_value in it */
};

/* Whether `result` is the second product of such a thing, and whether these are the gradients of one; both only look at
 * operands. `forward.result` is known where the gradient is rewritten. */
bool attention_match(struct node *result, struct attention *attention);
bool attention_match_gradient(struct node *d_query, struct node *d_key, struct node *d_value,
                              struct attention_gradient *gradient);

/* Whether `joined` is such a concat of the gradients of one; who else needs them is not looked at. */
bool attention_match_joined(struct node *joined, struct attention_gradient *gradient);

/* A matmul that reads its operands so. */
bool attention_is_product(const struct node *node, bool transpose_a, bool transpose_b);

/* All of a numbered graph that a kernel can do: nothing outside of it needs what it computes inside. With `rewritten`,
 * only what pass attention has been at. */
struct attention_set {
    int count;
    struct found_attention {
        struct attention forward;
        struct attention_gradient gradient; /* d_score is NULL where there is none */
    } * found;
    bool *inside; /* by node id: computed inside of one of them, and needed by nothing else */
};
struct attention_set attention_find(const struct graph *graph, bool rewritten, struct arena *arena);

/* Elements side by side along the last axis, rows that begin at 16 bytes: what such a kernel loads and stores. */
bool attention_in_chunks(const struct view *view);

/* Where a kernel finds an operand: halves side by side along the last axis, rows on 16 bytes. If the stored value still
 * lacks its bias, `bias` is that f32 vector along the last axis: head h takes it from element
 * bias_first + h * view.stride[heads] on. */
struct attention_source {
    struct view view;
    struct node *bias; /* NULL: none */
    int64_t bias_first;
};
/* False where the operand must be stored itself. `biased`: the kernel may add the bias (of query, key and value). */
bool attention_source(struct node *operand, bool biased, struct attention_source *source);

#endif
