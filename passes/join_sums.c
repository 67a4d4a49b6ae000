/* Pass join: sums of products that become one. */
#include "passes/join.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

/* A product in a sum: the places of its operands. */
struct product {
    struct node *node;
    struct place place[2];
    int order; /* in the sum */
};

static bool in_graph(const struct graph *graph, const struct node *node)
{
    return node->id < arrlen(graph->nodes) && graph->nodes[node->id] == node;
}

/* ---- places ---- */

/* Where the rows of a matrix lie in a tensor of as wide rows. */
static struct place place_of(const struct joiner *joiner, struct node *matrix)
{
    struct node *base = join_strip(matrix);
    int64_t width = matrix->type.shape.dimension[1];
    struct place place = {0};
    if (join_cut_axis(base) >= 0) {
        int axis = join_cut_axis(base);
        const struct shape *from = &base->operands[0]->type.shape;
        if (join_size(from, 0, axis) == 1)
            place = (struct place){join_strip(base->operands[0]),
                                   base->attributes->low[axis] * join_size(from, axis + 1, from->rank)};
    } else if (base->mark) {
        place = joiner->part[base->mark];
    }
    place.whole = place.whole ? node_resolve(place.whole) : NULL;
    bool fits = place.whole && place.whole->mark && width && place.first % width == 0 &&
                shape_elements(&place.whole->type.shape) % width == 0 &&
                place.whole->type.element == matrix->type.element;
    return fits ? place : (struct place){0};
}

/* The concat, made already here where its parts are there and it is not; NULL where that can't be. */
static struct node *made(struct joiner *joiner, struct node *whole)
{
    whole = node_resolve(whole);
    if (in_graph(joiner->graph, whole))
        return whole;
    if (whole->op != OP_concat)
        return NULL;
    struct node **parts = NULL;
    struct builder builder = builder_at(joiner->graph, whole);
    for (int i = 0; i < whole->operand_count; i++) {
        struct node *base = node_resolve(join_strip(whole->operands[i]));
        if (!in_graph(joiner->graph, base))
            break;
        arrput(parts, base);
    }
    struct node *concat = NULL;
    if (arrlen(parts) == whole->operand_count) {
        for (int i = 0; i < whole->operand_count; i++)
            parts[i] = build_reshape(&builder, parts[i], &whole->operands[i]->type.shape);
        concat = build(&builder, OP_concat, parts, whole->operand_count, whole->attributes, &whole->type);
        join_replace(joiner, whole, concat);
    }
    arrfree(parts);
    return concat;
}

/* ---- sums ---- */

bool join_is_inner(const struct joiner *joiner, const struct node *add)
{
    const struct node *user = joiner->user[add->mark];
    return joiner->users[add->mark] == 1 && user->op == OP_add && type_equal(&user->type, &add->type) &&
           user->pin == add->pin && user->region == add->region;
}

/* What the sum adds up, in order; an stb_ds array. */
static struct node **terms_of(const struct joiner *joiner, struct node *sum)
{
    struct node **terms = NULL, **stack = NULL;
    arrput(stack, sum);
    while (arrlen(stack)) {
        struct node *node = arrpop(stack);
        bool opens = node == sum || (node->op == OP_add && node->mark && join_is_inner(joiner, node));
        for (int i = opens ? 1 : -1; i >= 0; i--)
            arrput(stack, node->operands[i]);
        if (!opens)
            arrput(terms, node);
    }
    arrfree(stack);
    return terms;
}

static bool is_zero_product(const struct node *node)
{
    double value;
    return node->op == OP_matmul && ((node_uniform(node->operands[0], &value) && value == 0) ||
                                     (node_uniform(node->operands[1], &value) && value == 0));
}

/* A' B of matrices, for this sum alone. */
static bool is_joinable(const struct joiner *joiner, const struct node *sum, const struct node *node)
{
    return node->op == OP_matmul && node->type.shape.rank == 2 && node->mark && joiner->users[node->mark] == 1 &&
           node->attributes->transpose_a && !node->attributes->transpose_b && node->pin == sum->pin &&
           node->type.element == sum->type.element && node->operands[0]->type.element == sum->type.element &&
           node->operands[1]->type.element == sum->type.element;
}

static int64_t elements_of(const struct product *product, int i)
{
    return shape_elements(&product->node->operands[i]->type.shape);
}

/* Products of which both operands have places first, by them. */
static int compare_products(const void *a, const void *b)
{
    const struct product *x = a, *y = b;
    for (int i = 0; i < 2; i++) {
        const struct node *v = x->place[i].whole, *w = y->place[i].whole;
        if (v != w)
            return !v || !w ? (v ? -1 : 1) : v->mark != w->mark ? (v->mark > w->mark) - (v->mark < w->mark) : 0;
    }
    if (x->place[0].first != y->place[0].first)
        return (x->place[0].first > y->place[0].first) - (x->place[0].first < y->place[0].first);
    return (x->order > y->order) - (x->order < y->order);
}

static bool follows(const struct product *before, const struct product *after)
{
    for (int i = 0; i < 2; i++)
        if (!before->place[i].whole || before->place[i].whole != after->place[i].whole ||
            before->place[i].first + elements_of(before, i) != after->place[i].first)
            return false;
    return true;
}

/* One product of `count` that lie one after the other; NULL where their tensors aren't there yet. */
static struct node *join_run(struct joiner *joiner, const struct product *products, ptrdiff_t count)
{
    struct node *operands[2];
    struct builder builder = builder_at(joiner->graph, products[0].node);
    for (int i = 0; i < 2; i++) {
        int64_t elements = 0;
        for (ptrdiff_t k = 0; k < count; k++)
            elements += elements_of(&products[k], i);
        struct node *whole = made(joiner, products[0].place[i].whole);
        if (!whole)
            return NULL;
        operands[i] = join_rows(&builder, whole, products[0].place[i].first, elements,
                                products[0].node->operands[i]->type.shape.dimension[1]);
    }
    return build_matmul(&builder, operands[0], operands[1], true, false);
}

/* One product of `count` whose operands are put together. */
static struct node *join_copies(struct joiner *joiner, const struct product *products, ptrdiff_t count)
{
    struct node *operands[2], **parts = NULL;
    struct builder builder = builder_at(joiner->graph, products[0].node);
    for (int i = 0; i < 2; i++) {
        arrsetlen(parts, 0);
        for (ptrdiff_t k = 0; k < count; k++)
            arrput(parts, products[k].node->operands[i]);
        operands[i] = build(&builder, OP_concat, parts, (int)count, &(struct attributes){.axis = 0}, NULL);
    }
    arrfree(parts);
    return build_matmul(&builder, operands[0], operands[1], true, false);
}

static bool is_worth_copies(const struct product *products, ptrdiff_t count)
{
    int64_t copied = 0;
    enum { COPIES_LEAST = 4 }; /* products: they are two launches, one for each side */
    for (ptrdiff_t k = 0; k < count; k++)
        copied += elements_of(&products[k], 0) + elements_of(&products[k], 1);
    return count >= COPIES_LEAST && copied <= (count - 1) * shape_elements(&products[0].node->type.shape);
}

/* Joins what can be; the products that the sum then has, in an stb_ds array. Takes `products`. */
static struct node **join_products(struct joiner *joiner, struct product *products)
{
    struct node **joined = NULL;
    struct product *single = NULL;
    if (arrlen(products))
        qsort(products, arrlenu(products), sizeof *products, compare_products);
    for (ptrdiff_t i = 0, end; i < arrlen(products); i = end) {
        for (end = i + 1; end < arrlen(products) && follows(&products[end - 1], &products[end]);)
            end++;
        struct node *run =
            end - i > 1 && pass_may_rewrite(joiner->context) ? join_run(joiner, products + i, end - i) : NULL;
        if (run)
            arrput(joined, run);
        for (ptrdiff_t k = i; k < end && !run; k++)
            arrput(single, products[k]);
    }
    bool copies = is_worth_copies(single, arrlen(single)) && pass_may_rewrite(joiner->context);
    if (copies)
        arrput(joined, join_copies(joiner, single, arrlen(single)));
    for (ptrdiff_t i = 0; i < arrlen(single) && !copies; i++)
        arrput(joined, single[i].node);
    arrfree(single);
    arrfree(products);
    return joined;
}

static struct node *add_up(struct joiner *joiner, const struct node *sum, struct node *const *terms)
{
    struct builder builder = builder_at(joiner->graph, sum);
    struct node *total = arrlen(terms) ? terms[0] : build_full(&builder, 0, sum->type.element, &sum->type.shape);
    for (ptrdiff_t i = 1; i < arrlen(terms); i++)
        total = build_binary(&builder, OP_add, total, terms[i]);
    return total;
}

void join_sum(struct joiner *joiner, struct node *sum)
{
    struct node **terms = terms_of(joiner, sum), **rest = NULL;
    struct product *products = NULL;
    ptrdiff_t count = arrlen(terms);
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *term = terms[i];
        if (is_zero_product(term) && pass_may_rewrite(joiner->context))
            continue;
        struct product product = {term, .order = (int)i};
        if (!is_joinable(joiner, sum, term)) {
            arrput(rest, term);
            continue;
        }
        for (int k = 0; k < 2; k++)
            product.place[k] = place_of(joiner, term->operands[k]);
        arrput(products, product);
    }
    struct node **joined = join_products(joiner, products);
    if (arrlen(rest) + arrlen(joined) < count) {
        for (ptrdiff_t i = 0; i < arrlen(joined); i++)
            arrput(rest, joined[i]);
        join_replace(joiner, sum, add_up(joiner, sum, rest));
    }
    arrfree(joined);
    arrfree(terms);
    arrfree(rest);
}
