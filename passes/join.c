/* Pass join: products that belong together become one, as those of the places of a sequence do.
 *
 * A sum of products A_t' B_t of equal shapes is one product of all A_t above each other with all B_t above each other:
 * the gradient of a weight that is used at every place. Where the A_t and the B_t lie above each other already, as
 * parts of a tensor that is cut into them or is put together from them, that tensor is read and nothing moves. Else
 * they are put together, if that moves less than it saves: with k rows in a part, k (m + n) elements are copied for
 * each product of m n elements that is not stored and added. A product with zeros, as a sequence's begin is, adds
 * nothing and goes.
 *
 * Products P_t W of all parts P_t of one tensor with one matrix are one product, cut into parts: no part waits for
 * another. The tensor is turned so that the parts lie in one piece, if its rows are no wider than the results'.
 *
 * Runs before gradients, so that products that became one are differentiated as one, and behind it. Sums are
 * regrouped, so before precision, whose roundings then belong to what is computed. */
#include "passes/join.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

/* ---- parts ---- */

struct node *join_strip(struct node *node)
{
    while (node->op == OP_reshape && !movement_rounds(node))
        node = node->operands[0];
    return node;
}

void join_replace(struct joiner *joiner, struct node *node, struct node *by)
{
    if (by->mark) {
        joiner->users[by->mark] += joiner->users[node->mark];
    } else {
        by->mark = node->mark;
        by->origin = node->origin;
    }
    node_replace(node, by);
}

int join_cut_axis(const struct node *node)
{
    int axis = -1;
    if (node->op != OP_slice || movement_rounds(node))
        return -1;
    const struct shape *from = &node->operands[0]->type.shape, *to = &node->type.shape;
    for (int i = 0; i < to->rank; i++) {
        if (from->dimension[i] == to->dimension[i])
            continue;
        if (axis >= 0 || node->attributes->step[i] != 1)
            return -1;
        axis = i;
    }
    return axis;
}

int64_t join_size(const struct shape *shape, int first, int last)
{
    int64_t size = 1;
    for (int i = first; i < last; i++)
        size *= shape->dimension[i];
    return size;
}

struct node *join_rows(struct builder *builder, struct node *whole, int64_t first, int64_t count, int64_t width)
{
    int64_t rows = shape_elements(&whole->type.shape) / width;
    struct shape matrix = {.rank = 2, .dimension = {rows, width}};
    struct node *all = build_reshape(builder, whole, &matrix);
    if (count / width == rows)
        return all;
    struct attributes cut = {.low = {first / width, 0}, .high = {(first + count) / width, width}, .step = {1, 1}};
    return build(builder, OP_slice, &all, 1, &cut, NULL);
}

static void note_parts(struct joiner *joiner, struct node *concat)
{
    int64_t first = 0;
    if (join_size(&concat->type.shape, 0, concat->attributes->axis) != 1 || movement_rounds(concat))
        return;
    for (int i = 0; i < concat->operand_count; i++) {
        const struct node *base = join_strip(concat->operands[i]);
        if (!joiner->part[base->mark].whole)
            joiner->part[base->mark] = (struct place){concat, first};
        first += shape_elements(&base->type.shape);
    }
}

/* ---- the products of all parts ---- */

/* Is there something between the product and the tensor by which is differentiated? It would lose its users. */
static bool is_wanted(const struct joiner *joiner, const struct node *operand)
{
    while (operand->op == OP_reshape && !joiner->wanted[operand->mark])
        operand = operand->operands[0];
    return joiner->wanted[operand->mark];
}

/* The family of a product of a part, of parts that lie in one piece or can be turned so; matrix NULL: there is none. */
static struct join_family_key family_of(const struct joiner *joiner, const struct node *product)
{
    struct join_family_key key = {0};
    const struct node *part = join_strip(product->operands[0]);
    const struct shape *rows = &product->operands[0]->type.shape, *from;
    if (product->type.shape.rank != 2 || product->attributes->transpose_a || join_cut_axis(part) < 0 ||
        !rows->dimension[1] || is_wanted(joiner, product->operands[0]))
        return key;
    int axis = join_cut_axis(part);
    from = &part->operands[0]->type.shape;
    bool leads = join_size(from, 0, axis) == 1;
    int64_t first = part->attributes->low[axis] * join_size(from, axis + 1, from->rank);
    if (leads && (first % rows->dimension[1] || shape_elements(from) % rows->dimension[1]))
        return key;
    if (leads || (part->type.shape.dimension[axis] == 1 && rows->dimension[1] <= product->type.shape.dimension[1]))
        key = (struct join_family_key){part->operands[0],
                                       product->operands[1],
                                       axis,
                                       leads ? 0 : rows->dimension[0],
                                       product->attributes->transpose_b,
                                       product->pin};
    return key;
}

static void note_family(struct joiner *joiner, const struct node *product)
{
    struct join_family_key key = family_of(joiner, product);
    if (!key.matrix)
        return;
    struct join_family none = {.key = key};
    if (hmgeti(joiner->families, key) < 0)
        hmputs(joiner->families, none);
    hmgetp(joiner->families, key)->value.length += join_strip(product->operands[0])->type.shape.dimension[key.axis];
}

/* All parts one after the other along the first axis. */
static struct node *turned(struct builder *builder, struct node *whole, int axis)
{
    unsigned char order[RANK_MAX];
    if (join_size(&whole->type.shape, 0, axis) == 1)
        return whole;
    for (int i = 0; i < whole->type.shape.rank; i++)
        order[i] = (unsigned char)(i == 0 ? axis : i <= axis ? i - 1 : i);
    return build_permute(builder, whole, order);
}

/* Replaces the product by its rows of the product of all. */
static void join_family(struct joiner *joiner, struct node *product, struct join_family_key key)
{
    const struct node *part = join_strip(product->operands[0]);
    int64_t parts = part->operands[0]->type.shape.dimension[key.axis];
    struct join_family *family = hmgetp_null(joiner->families, key);
    if (!family || family->value.length < parts || part->type.shape.dimension[key.axis] == parts ||
        !pass_may_rewrite(joiner->context))
        return;
    struct builder builder = builder_at(joiner->graph, product);
    int64_t width = product->operands[0]->type.shape.dimension[1], columns = product->type.shape.dimension[1];
    if (!family->value.joined) {
        struct node *all = turned(&builder, part->operands[0], (int)key.axis);
        int64_t elements = shape_elements(&all->type.shape);
        family->value.joined = build_matmul(&builder, join_rows(&builder, all, 0, elements, width),
                                            product->operands[1], false, key.transpose);
    }
    int64_t first = part->attributes->low[key.axis] * (shape_elements(&part->operands[0]->type.shape) / parts) / width;
    join_replace(
        joiner, product,
        join_rows(&builder, family->value.joined, first * columns, shape_elements(&product->type.shape), columns));
}

/* ---- the pass ---- */

static void look_around(struct joiner *joiner, struct node *const *nodes)
{
    size_t count = arrlenu(nodes) + 1;
    joiner->users = calloc(count, sizeof *joiner->users);
    joiner->user = calloc(count, sizeof *joiner->user);
    joiner->part = calloc(count, sizeof *joiner->part);
    joiner->wanted = calloc(count, sizeof *joiner->wanted);
    if (!joiner->users || !joiner->user || !joiner->part || !joiner->wanted)
        arena_exhausted();
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        nodes[i]->mark = i + 1;
        if (nodes[i]->op == OP_grad)
            joiner->wanted[nodes[i]->operands[1]->mark] = joiner->differentiates = true;
    }
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        for (int k = 0; k < nodes[i]->operand_count; k++) {
            joiner->users[nodes[i]->operands[k]->mark]++;
            joiner->user[nodes[i]->operands[k]->mark] = nodes[i];
        }
        if (nodes[i]->op == OP_concat)
            note_parts(joiner, nodes[i]);
        if (nodes[i]->op == OP_matmul)
            note_family(joiner, nodes[i]);
    }
}

/* Requires: no precisions decided. Preserves: values, but for the order of sums, and but for inf and NaN that zeros are
 * multiplied with. What became useless stays for dce. Linear in nodes but for sorting. */
void pass_join(struct graph *graph, struct pass_context *context)
{
    graph_number(graph);
    struct joiner joiner = {.graph = graph, .context = context};
    struct node **nodes = graph_take_nodes(graph);
    look_around(&joiner, nodes);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        struct join_family_key family = node->op == OP_matmul ? family_of(&joiner, node) : (struct join_family_key){0};
        graph_map_operands(node);
        if (family.matrix)
            join_family(&joiner, node, family);
        if (node->op == OP_add && !joiner.differentiates && !join_is_inner(&joiner, node))
            join_sum(&joiner, node);
        if (!node->replacement)
            graph_append(graph, node);
    }
    hmfree(joiner.families);
    free(joiner.users);
    free(joiner.user);
    free(joiner.part);
    free(joiner.wanted);
    arrfree(nodes);
    graph_number(graph);
}
