/* The pattern of attention, and of its gradients, read off a graph's operands: see attention.h. */
#include "passes/attention.h"

#include "passes/rewrite.h"
#include "passes/view.h"

#include <math.h>

enum { WIDTH_MIN = 16, WIDTH_MAX = 128 };

/* ---- pieces of the pattern ---- */

static bool is_half(const struct node *node)
{
    return node->type.element == ELEMENT_F16 || node->type.element == ELEMENT_BF16;
}

static bool is_f32(const struct node *node)
{
    return node->type.element == ELEMENT_F32;
}

/* Whether both have one value: a kernel may have nodes of its own that do again what another's do (pass remat). */
static bool same_value(const struct node *a, const struct node *b)
{
    return a == b || (a->again ? a->again : a->origin) == (b->again ? b->again : b->origin);
}

/* [.., 1] repeated along the last axis. */
static struct node *repeated(const struct node *node)
{
    int rank = node->type.shape.rank;
    if (node->op != OP_broadcast || !is_f32(node))
        return NULL;
    const struct shape *from = &node->operands[0]->type.shape;
    for (int i = 0; i < rank; i++)
        if (from->dimension[i] != (i < rank - 1 ? node->type.shape.dimension[i] : 1))
            return NULL;
    return node->operands[0];
}

static bool reduces_last(const struct node *node, enum op op)
{
    return node->op == op && is_f32(node) && node->attributes->axes == UINT32_C(1) << (node->type.shape.rank - 1);
}

bool attention_is_product(const struct node *node, bool transpose_a, bool transpose_b)
{
    return node->op == OP_matmul && node->attributes->transpose_a == transpose_a &&
           node->attributes->transpose_b == transpose_b;
}

/* True on and below the diagonal of the last two axes. */
static bool is_triangle(struct node *mask)
{
    struct view view;
    if (!view_find(mask, &view) || view.base->op != OP_ge || view.base->type.shape.rank != 2 || view.offset)
        return false;
    const struct node *row = view.base->operands[0], *column = view.base->operands[1];
    const int64_t *size = view.base->type.shape.dimension;
    int rank = mask->type.shape.rank;
    for (int i = 0; i < rank; i++) {
        int64_t stride = i == rank - 1 ? 1 : i == rank - 2 ? size[1] : 0;
        if (mask->type.shape.dimension[i] > 1 && view.stride[i] != stride)
            return false;
    }
    return row->op == OP_iota && row->attributes->axes == 1 && column->op == OP_iota && column->attributes->axes == 2 &&
           iota_is_exact(row) && iota_is_exact(column) && size[0] == size[1] &&
           mask->type.shape.dimension[rank - 2] == size[0] && mask->type.shape.dimension[rank - 1] == size[1];
}

/* where(triangle, x, outside); NULL for all else. */
static struct node *below_diagonal(const struct node *node, double outside)
{
    double value;
    bool masked = node->op == OP_where && is_triangle(node->operands[0]) && node_uniform(node->operands[2], &value) &&
                  value == outside;
    return masked ? node->operands[1] : NULL;
}

/* where(uniform < keep, x, 0) */
static struct node *kept_of(const struct node *node, struct node **random, double *keep)
{
    double zero;
    if (node->op != OP_where || !node_uniform(node->operands[2], &zero) || zero != 0)
        return NULL;
    const struct node *below = node->operands[0];
    if (below->op != OP_lt || below->operands[0]->op != OP_random || !node_uniform(below->operands[1], keep))
        return NULL;
    *random = below->operands[0];
    return node->operands[1];
}

/* ---- forward ---- */

static bool match_scores(struct attention *attention)
{
    struct node *masked = below_diagonal(attention->score, -INFINITY);
    attention->causal = masked != NULL;
    attention->scores = masked ? masked : attention->score;
    if (attention->scores->op == OP_cast)
        attention->scores = attention->scores->operands[0];
    if (!attention_is_product(attention->scores, false, true) || !element_is_float(attention->score->type.element))
        return false;
    attention->scaled = attention->scores->operands[0];
    attention->key = attention->scores->operands[1];
    attention->query = node_times_number(attention->scaled, &attention->query_scale);
    if (!attention->query || attention->query->type.element != attention->scaled->type.element) {
        attention->query = attention->scaled;
        attention->query_scale = 1;
    }
    return true;
}

static bool match_softmax(struct attention *attention)
{
    struct node *weight = attention->weight;
    attention->total = weight->op == OP_div && is_f32(weight) ? repeated(weight->operands[1]) : NULL;
    if (!attention->total || !reduces_last(attention->total, OP_sum))
        return false;
    struct node *exponential = attention->exponential = weight->operands[0];
    if (!same_value(attention->total->operands[0], exponential) || exponential->op != OP_exp || !is_f32(exponential))
        return false;
    struct node *shifted = exponential->operands[0];
    attention->maximum = shifted->op == OP_sub && is_f32(shifted) ? repeated(shifted->operands[1]) : NULL;
    if (!attention->maximum || !reduces_last(attention->maximum, OP_reduce_max))
        return false;
    attention->score = shifted->operands[0];
    return same_value(attention->score, attention->maximum->operands[0]) && match_scores(attention);
}

static bool match_dropout(struct attention *attention)
{
    attention->weight = attention->dropped;
    attention->keep = attention->scale = 1;
    struct node *kept = kept_of(attention->dropped, &attention->random, &attention->keep);
    if (!kept)
        return true;
    attention->weight = node_times_number(kept, &attention->scale);
    return attention->weight && attention->scale > 0;
}

/* All but the second product, from its first operand. */
static bool match_weights(struct node *weights, struct attention *attention)
{
    *attention = (struct attention){.weights = weights};
    if (!is_half(weights) || weights->op != OP_cast || !is_f32(weights->operands[0]))
        return false;
    attention->dropped = weights->operands[0];
    return match_dropout(attention) && match_softmax(attention);
}

static bool same_type(const struct node *a, const struct node *b)
{
    return a->type.element == b->type.element;
}

/* Results are halves or f32. */
static bool is_stored_type(const struct node *result, const struct attention *attention)
{
    return is_f32(result) || same_type(result, attention->query);
}

bool attention_match(struct node *result, struct attention *attention)
{
    if (!attention_is_product(result, false, false) || !match_weights(result->operands[0], attention))
        return false;
    attention->result = result;
    attention->value = result->operands[1];
    int rank = result->type.shape.rank;
    int64_t width = result->type.shape.dimension[rank - 1];
    const struct shape *query = &attention->query->type.shape;
    return rank >= 3 && rank <= 4 && width == query->dimension[rank - 1] && width >= WIDTH_MIN && width <= WIDTH_MAX &&
           (width & (width - 1)) == 0 && same_type(attention->query, attention->value) &&
           same_type(result, attention->value) && same_type(attention->weights, attention->value) &&
           (is_f32(attention->score) || same_type(attention->score, attention->value));
}

/* ---- gradients ---- */

/* x / total */
static struct node *over_total(const struct node *node, const struct attention *forward)
{
    return node->op == OP_div && is_f32(node) && repeated(node->operands[1]) == forward->total ? node->operands[0]
                                                                                               : NULL;
}

static struct node *widened(struct node *node)
{
    return node->op == OP_cast ? node->operands[0] : node;
}

/* The row's sum as the chain rule gives it, or as the pass has rewritten it. */
static bool match_row(struct attention_gradient *gradient, const struct node *share)
{
    const struct attention *forward = &gradient->forward;
    struct node *row = gradient->row;
    if (reduces_last(row, OP_sum) && row->operands[0]->op == OP_neg) {
        const struct node *term = row->operands[0]->operands[0];
        return term->op == OP_mul && ((term->operands[0] == share && term->operands[1] == forward->weight) ||
                                      (term->operands[1] == share && term->operands[0] == forward->weight));
    }
    if (row->op != OP_div || row->operands[1] != forward->total || row->operands[0]->op != OP_neg)
        return false;
    const struct node *sum = row->operands[0]->operands[0];
    if (!reduces_last(sum, OP_sum) || sum->operands[0]->op != OP_mul)
        return false;
    gradient->rewritten = true;
    const struct node *product = sum->operands[0];
    struct node *result = widened(product->operands[1]);
    struct attention known;
    if (widened(product->operands[0]) != gradient->d_result || !attention_match(result, &known) ||
        !same_value(known.weights, forward->weights))
        return false;
    gradient->forward.result = result;
    return true;
}

static bool match_d_weight(struct attention_gradient *gradient, const struct node *d_weight)
{
    struct attention *forward = &gradient->forward;
    struct node *random = NULL;
    double keep = 1, scale = 1;
    gradient->d_dropped = (struct node *)d_weight;
    if (forward->random) {
        struct node *kept = node_times_number(d_weight, &scale);
        gradient->d_dropped = kept ? kept_of(kept, &random, &keep) : NULL;
    }
    if (random != forward->random || keep != forward->keep || scale != forward->scale || !gradient->d_dropped ||
        !is_f32(gradient->d_dropped) || !attention_is_product(gradient->d_dropped, false, true))
        return false;
    forward->value = gradient->d_dropped->operands[1];
    return gradient->d_dropped->operands[0] == gradient->d_result && same_type(forward->value, forward->query);
}

static bool match_d_score(struct attention_gradient *gradient)
{
    const struct attention *forward = &gradient->forward;
    const struct node *inner = gradient->d_score;
    if (forward->causal && !(inner = below_diagonal(inner, 0)))
        return false;
    for (int i = 0; i < 2 && inner->op == OP_cast; i++)
        inner = inner->operands[0];
    if (inner->op != OP_mul || !same_type(gradient->d_score, forward->query))
        return false;
    bool second = inner->operands[1] == forward->exponential;
    const struct node *sum = inner->operands[second ? 0 : 1];
    if ((!second && inner->operands[0] != forward->exponential) || sum->op != OP_add || !is_f32(sum))
        return false;
    for (int i = 0; i < 2; i++) {
        const struct node *share = sum->operands[i];
        const struct node *d_weight = over_total(share, forward);
        gradient->row = repeated(sum->operands[1 - i]);
        if (d_weight && gradient->row && match_d_weight(gradient, d_weight))
            return match_row(gradient, share);
    }
    return false;
}

bool attention_match_gradient(struct node *d_query, struct node *d_key, struct node *d_value,
                              struct attention_gradient *gradient)
{
    *gradient = (struct attention_gradient){.d_query = d_query, .d_key = d_key, .d_value = d_value};
    struct attention *forward = &gradient->forward;
    if (!attention_is_product(d_value, true, false) || !match_weights(d_value->operands[0], forward) ||
        !attention_is_product(d_query, false, false) || !attention_is_product(d_key, true, false))
        return false;
    gradient->d_result = d_value->operands[1];
    gradient->d_score = d_query->operands[0];
    return d_key->operands[0] == gradient->d_score && d_query->operands[1] == forward->key &&
           d_key->operands[1] == forward->scaled && is_stored_type(d_query, forward) &&
           is_stored_type(d_key, forward) && is_stored_type(d_value, forward) && match_d_score(gradient);
}

/* ---- gradients side by side ---- */

static bool lies_well(const struct view *view)
{
    int rank = view->type.shape.rank;
    return rank >= 3 && rank <= 4 && attention_in_chunks(view);
}

/* x of x * scale; the part itself, with scale 1, where it is no such product. */
static struct node *unscaled(struct node *part, double *scale)
{
    struct node *of = node_times_number(part, scale);
    if (of && of->type.element == part->type.element)
        return of;
    *scale = 1;
    return part;
}

bool attention_match_joined(struct node *joined, struct attention_gradient *gradient)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct view place[3];
    struct node *part[3], *product[3];
    double scale[3];
    if (joined->op != OP_concat || joined->operand_count != 3 || !is_half(joined) || !type_row_major(&joined->type))
        return false;
    for (int i = 0; i < 3; i++) {
        if (!same_type(joined->operands[i], joined) || !view_part(joined, i, &place[i]) || !lies_well(&place[i]))
            return false;
        part[i] = place[i].base;
        product[i] = unscaled(part[i], &scale[i]);
        if (!same_type(part[i], joined) || product[i]->op != OP_matmul)
            return false;
    }
    for (int i = 0; i < 6; i++) {
        const int *order = orders[i];
        if (!attention_match_gradient(product[order[0]], part[order[1]], part[order[2]], gradient))
            continue;
        gradient->joined = joined;
        gradient->joined_scale = scale[order[0]];
        for (int k = 0; k < 3; k++)
            gradient->place[k] = place[order[k]];
        return true;
    }
    return false;
}
