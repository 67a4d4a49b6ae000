/* Pass attention: finds attention that a kernel can do tile by tile (attention.h), and takes the row sums of its
 * gradients over the width of the result instead of over the keys, which such a kernel never has all at hand: the sum
 * over s of d_weight * weight is that of d_dropped * dropped, and so the sum over d of d_result * result.
 *
 * Requires: casts and a tidy graph (simplify, cse). Preserves: values, but for the rounding of those sums; what they
 * were made of becomes useless. Only for targets that have such a kernel. */
#include "passes/attention.h"

#include "passes/pass.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

enum { CHUNK_ELEMENTS = 8 };

/* ---- all of a graph ---- */

struct finder {
    const struct graph *graph;
    struct node **products;               /* stb_ds array */
    struct attention_gradient *joined;    /* stb_ds array: gradients that a concat joins */
    int *users, *within, *inside, *stamp; /* by node id: users in all; in the thing looked at; in all things found */
    bool *depends;                        /* on one of its two products of scores */
    struct node **walked, **stack;        /* stb_ds arrays: what the thing looked at computes */
    int number;                           /* of the thing looked at, from 1 */
};

static bool is_boundary(const struct found_attention *found, const struct node *node)
{
    const struct attention *forward = &found->forward;
    const struct attention_gradient *gradient = &found->gradient;
    return node == forward->query || node == forward->key || node == forward->value || node->op == OP_read ||
           node->op == OP_input || (gradient->d_score && node == gradient->d_result);
}

static bool is_result(const struct found_attention *found, const struct node *node)
{
    const struct attention_gradient *gradient = &found->gradient;
    return node == found->forward.result ||
           (gradient->d_score && (node == gradient->d_query || node == gradient->d_key || node == gradient->d_value));
}

static int compare_ids(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static void walk(struct finder *finder, const struct found_attention *found)
{
    const struct attention_gradient *gradient = &found->gradient;
    arrsetlen(finder->walked, 0);
    arrsetlen(finder->stack, 0);
    arrput(finder->stack, found->forward.result);
    if (gradient->d_score) {
        arrput(finder->stack, gradient->d_query);
        arrput(finder->stack, gradient->d_key);
        arrput(finder->stack, gradient->d_value);
    }
    while (arrlen(finder->stack)) {
        struct node *node = arrpop(finder->stack);
        if (finder->stamp[node->id] == finder->number || is_boundary(found, node))
            continue;
        finder->stamp[node->id] = finder->number;
        finder->within[node->id] = 0;
        arrput(finder->walked, node);
        for (int i = 0; i < node->operand_count; i++)
            arrput(finder->stack, node->operands[i]);
    }
    qsort(finder->walked, arrlenu(finder->walked), sizeof *finder->walked, compare_ids);
}

/* Nothing else needs a matrix of scores, or what is made of one. */
static bool is_closed(struct finder *finder, const struct found_attention *found)
{
    walk(finder, found);
    for (ptrdiff_t i = 0; i < arrlen(finder->walked); i++) {
        const struct node *node = finder->walked[i];
        bool depends = node == found->forward.scores || (found->gradient.d_score && node == found->gradient.d_dropped);
        for (int k = 0; k < node->operand_count; k++) {
            const struct node *operand = node->operands[k];
            if (finder->stamp[operand->id] != finder->number)
                continue;
            finder->within[operand->id]++;
            depends = depends || (finder->depends[operand->id] && !is_result(found, operand));
        }
        finder->depends[node->id] = depends;
    }
    for (ptrdiff_t i = 0; i < arrlen(finder->walked); i++) {
        const struct node *node = finder->walked[i];
        if (finder->depends[node->id] && !is_result(found, node) && finder->within[node->id] != finder->users[node->id])
            return false;
    }
    return true;
}

/* The three gradients come out of one kernel: who needs one of them must stand behind all. */
static bool is_ordered(const struct finder *finder, const struct attention_gradient *gradient)
{
    const struct node *of[] = {gradient->d_query, gradient->d_key, gradient->d_value};
    int last = 0, first = of[0]->id;
    for (int i = 0; i < 3; i++) {
        last = of[i]->id > last ? of[i]->id : last;
        first = of[i]->id < first ? of[i]->id : first;
    }
    for (int id = first + 1; id < last; id++) {
        const struct node *node = finder->graph->nodes[id];
        for (int k = 0; k < node->operand_count; k++)
            for (int i = 0; i < 3; i++)
                if (node->operands[k] == of[i])
                    return false;
    }
    return true;
}

/* Nothing else needs what is between the product and the concat. */
static bool is_only_joined(const struct finder *finder, const struct attention_gradient *joined)
{
    const struct node *of[] = {joined->d_query, joined->d_key, joined->d_value};
    for (int i = 0; i < 3; i++) {
        const struct node *node = joined->joined->operands[i];
        while (finder->users[node->id] == 1 && node != of[0] && node != of[1] && node != of[2])
            node = node->operands[node->op == OP_mul && node->operands[1]->op == OP_matmul];
        if (finder->users[node->id] != 1)
            return false;
    }
    return true;
}

static const struct attention_gradient *find_joined(const struct finder *finder, const struct node *d_query,
                                                    const struct node *d_key, const struct node *d_value)
{
    for (ptrdiff_t i = 0; i < arrlen(finder->joined); i++)
        if (finder->joined[i].d_query == d_query && finder->joined[i].d_key == d_key &&
            finder->joined[i].d_value == d_value)
            return is_only_joined(finder, &finder->joined[i]) ? &finder->joined[i] : NULL;
    return NULL;
}

static void find_gradient(const struct finder *finder, struct found_attention *found)
{
    const struct attention *forward = &found->forward;
    struct node *d_query = NULL, *d_key = NULL, *d_value = NULL;
    for (ptrdiff_t i = 0; i < arrlen(finder->products); i++) {
        struct node *node = finder->products[i];
        if (attention_is_product(node, true, false) && node->operands[0] == forward->weights)
            d_value = node;
        if (attention_is_product(node, false, false) && node->operands[1] == forward->key)
            d_query = node;
        if (attention_is_product(node, true, false) && node->operands[1] == forward->scaled)
            d_key = node;
    }
    struct attention_gradient gradient;
    const struct attention_gradient *joined = find_joined(finder, d_query, d_key, d_value);
    if (d_query && d_key && d_value && attention_match_gradient(d_query, d_key, d_value, &gradient) &&
        gradient.forward.value == forward->value && is_ordered(finder, &gradient))
        found->gradient = joined ? *joined : gradient;
}

/* What is computed inside of what was found. */
static void mark_inside(struct finder *finder, const struct found_attention *found)
{
    for (ptrdiff_t i = 0; i < arrlen(finder->walked); i++)
        if (!is_result(found, finder->walked[i]))
            finder->inside[finder->walked[i]->id] += finder->within[finder->walked[i]->id];
    const struct attention_gradient *gradient = &found->gradient;
    for (int i = 0; gradient->d_score && gradient->joined && i < 3; i++)
        for (const struct node *node = gradient->joined->operands[i];;
             node = node->operands[node->op == OP_mul && node->operands[1]->op == OP_matmul]) {
            finder->inside[node->id] = finder->users[node->id];
            if (node == gradient->d_query || node == gradient->d_key || node == gradient->d_value)
                break;
        }
}

static struct finder finder_open(const struct graph *graph, struct arena *arena)
{
    size_t count = arrlenu(graph->nodes);
    struct finder finder = {.graph = graph,
                            .users = ARENA_ARRAY(arena, int, count),
                            .within = ARENA_ARRAY(arena, int, count),
                            .inside = ARENA_ARRAY(arena, int, count),
                            .stamp = ARENA_ARRAY(arena, int, count),
                            .depends = ARENA_ARRAY(arena, bool, count)};
    for (size_t i = 0; i < count; i++) {
        struct node *node = graph->nodes[i];
        for (int k = 0; k < node->operand_count; k++)
            finder.users[node->operands[k]->id]++;
        struct attention_gradient joined;
        if (node->op == OP_matmul)
            arrput(finder.products, node);
        else if (node->op == OP_concat && attention_match_joined(node, &joined))
            arrput(finder.joined, joined);
    }
    return finder;
}

struct attention_set attention_find(const struct graph *graph, bool rewritten, struct arena *arena)
{
    struct finder finder = finder_open(graph, arena);
    struct found_attention *found = NULL;
    size_t count = arrlenu(graph->nodes);
    for (ptrdiff_t i = 0; i < arrlen(finder.products); i++) {
        struct found_attention each = {0};
        if (!attention_match(finder.products[i], &each.forward))
            continue;
        find_gradient(&finder, &each);
        finder.number++;
        bool ready = !rewritten || !each.gradient.d_score || each.gradient.rewritten;
        if (ready && is_closed(&finder, &each)) {
            mark_inside(&finder, &each);
            arrput(found, each);
        }
    }
    struct attention_set set = {.count = (int)arrlen(found), .inside = ARENA_ARRAY(arena, bool, count)};
    set.found = arena_copy(arena, found, sizeof *found * arrlenu(found));
    for (size_t i = 0; i < count; i++)
        set.inside[i] = finder.inside[i] && finder.inside[i] == finder.users[i];
    arrfree(found);
    arrfree(finder.products);
    arrfree(finder.joined);
    arrfree(finder.walked);
    arrfree(finder.stack);
    return set;
}

/* ---- operands ---- */

bool attention_in_chunks(const struct view *view)
{
    int rank = view->type.shape.rank;
    if (view->offset % CHUNK_ELEMENTS)
        return false;
    for (int i = 0; i < rank; i++)
        if (view->type.shape.dimension[i] > 1 &&
            (i == rank - 1 ? view->stride[i] != 1 : view->stride[i] % CHUNK_ELEMENTS))
            return false;
    return true;
}

/* Does one row of the operand lie in one row of what it is a view of, and a head's everywhere at the same place? */
static bool rows_match(const struct view *view, int64_t columns)
{
    int rank = view->type.shape.rank;
    const int64_t *size = view->type.shape.dimension;
    int64_t heads = rank == 4 ? (size[1] - 1) * view->stride[1] : 0;
    return view->stride[0] % columns == 0 && view->stride[rank - 2] % columns == 0 &&
           view->offset % columns + heads + size[rank - 1] <= columns;
}

/* Looks through a sum with a bias that no kernel stores. */
static void look_through_bias(struct attention_source *source)
{
    const struct node *sum = source->view.base;
    struct view stored;
    if (sum->op != OP_add || sum->kernel || !type_row_major(&sum->type))
        return;
    for (int i = 0; i < 2; i++) {
        struct node *bias = view_row_vector(sum->operands[i]);
        int64_t columns = sum->type.shape.dimension[sum->type.shape.rank - 1];
        if (!bias || bias->type.element != ELEMENT_F32 || !view_find(sum->operands[1 - i], &stored) ||
            !view_is_alias(&stored) || !op_is(stored.base->op, CLASS_CONTRACTION) ||
            stored.base->type.element != sum->type.element || !rows_match(&source->view, columns))
            continue;
        source->view.base = stored.base;
        source->bias = bias;
        source->bias_first = source->view.offset % columns;
        return;
    }
}

bool attention_source(struct node *operand, bool biased, struct attention_source *source)
{
    *source = (struct attention_source){0};
    if (!view_find(operand, &source->view) || source->view.base->type.element != operand->type.element ||
        !attention_in_chunks(&source->view))
        return false;
    if (biased)
        look_through_bias(source);
    return true;
}

/* ---- the pass ---- */

/* -sum(d_result * result) / total, in front of the sum over the keys. */
static struct node *row_over_width(struct graph *graph, const struct attention_gradient *gradient, struct node *result)
{
    struct builder builder = builder_at(graph, gradient->row);
    struct node *d_result = build_cast(&builder, gradient->d_result, ELEMENT_F32);
    struct node *product = build_binary(&builder, OP_mul, d_result, build_cast(&builder, result, ELEMENT_F32));
    struct node *sum = build_reduce(&builder, OP_sum, product, UINT32_C(1) << (product->type.shape.rank - 1));
    return build_binary(&builder, OP_div, build_unary(&builder, OP_neg, sum), gradient->forward.total);
}

void pass_attention(struct graph *graph, struct pass_context *context)
{
    if (!context->target->attention)
        return;
    struct arena *arena = arena_new();
    graph_number(graph);
    struct attention_set set = attention_find(graph, false, arena);
    struct node **nodes = graph_take_nodes(graph);
    struct found_attention **of = ARENA_ARRAY(arena, struct found_attention *, arrlenu(nodes));
    for (int i = 0; i < set.count; i++)
        if (set.found[i].gradient.d_score && !set.found[i].gradient.rewritten && pass_may_rewrite(context))
            of[set.found[i].gradient.row->id] = &set.found[i];
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        graph_map_operands(nodes[i]);
        if (of[i])
            nodes[i]->replacement = row_over_width(graph, &of[i]->gradient, of[i]->forward.result);
        else
            graph_append(graph, nodes[i]);
    }
    arrfree(nodes);
    arena_free(arena);
    graph_number(graph);
    pass_dce(graph, context);
}
