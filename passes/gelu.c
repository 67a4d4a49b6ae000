/* Pass gelu: a product with bias and gelu in its tanh form (gelu.h) gets its bias in the type of its result, which is
 * what the library of the target takes: bias and operands are rounded alike.
 *
 * Requires: precisions decided. Preserves: all else. Pass casts makes a half copy of the bias. Only for targets that
 * append gelu to products. */
#include "passes/gelu.h"

#include "passes/pass.h"
#include "passes/rewrite.h"
#include "passes/view.h"

#include <math.h>
#include <stb/stb_ds.h>

enum { COLUMNS_MULTIPLE = 8 }; /* cuBLASLt: the leading dimension of what gelu is of */

/* ---- the pattern ---- */

static bool is_about(double value, double wanted)
{
    return fabs(value - wanted) < 1e-6;
}

/* y of value + y. */
static struct node *plus_number(const struct node *node, double wanted)
{
    double value;
    for (int i = 0; i < 2 && node->op == OP_add; i++)
        if (node_uniform(node->operands[i], &value) && value == wanted)
            return node->operands[1 - i];
    return NULL;
}

static bool is_cube(const struct node *node, const struct node *x)
{
    for (int i = 0; i < 2 && node->op == OP_mul; i++) {
        const struct node *square = node->operands[1 - i];
        if (node->operands[i] == x && square->op == OP_mul && square->operands[0] == x && square->operands[1] == x)
            return true;
    }
    return false;
}

/* sqrt(2 / pi) (x + 0.044715 x^3) */
static bool is_inner(const struct node *node, const struct node *x)
{
    double factor;
    const struct node *sum = node_times_number(node, &factor);
    if (!sum || sum->op != OP_add || !is_about(factor, sqrt(2 / acos(-1))))
        return false;
    for (int i = 0; i < 2; i++) {
        const struct node *cube = node_times_number(sum->operands[1 - i], &factor);
        if (sum->operands[i] == x && cube && is_about(factor, 0.044715) && is_cube(cube, x))
            return true;
    }
    return false;
}

struct node *gelu_match(const struct node *result)
{
    for (int i = 0; i < 2 && result->op == OP_mul; i++) {
        double factor;
        struct node *x = node_times_number(result->operands[i], &factor);
        const struct node *tangent = plus_number(result->operands[1 - i], 1);
        if (x && factor == 0.5 && tangent && tangent->op == OP_tanh && is_inner(tangent->operands[0], x))
            return x;
    }
    return NULL;
}

/* ---- behind a product ---- */

static struct node *behind_reshapes(struct node *node)
{
    while (node->op == OP_reshape && !movement_rounds(node))
        node = node->operands[0];
    return node;
}

static bool is_bias(struct node *node)
{
    return view_row_vector(node->op == OP_cast ? node->operands[0] : node);
}

static bool is_product(const struct node *node, const struct node *sum)
{
    enum element element = node->operands[0]->type.element;
    int64_t columns = sum->type.shape.dimension[sum->type.shape.rank - 1];
    return node->op == OP_matmul && node->type.shape.rank == 2 && element == sum->type.element &&
           element == node->operands[1]->type.element &&
           (node->type.element == element || node->type.element == ELEMENT_F32) &&
           node->type.shape.dimension[node->type.shape.rank - 1] == columns && columns % COLUMNS_MULTIPLE == 0 &&
           type_row_major(&node->type);
}

bool gelu_match_product(struct node *result, struct gelu_product *found)
{
    struct node *sum = gelu_match(result);
    if (!sum || sum->op != OP_add || !element_is_half(sum->type.element) || result->type.element != sum->type.element ||
        !type_row_major(&sum->type) || !type_row_major(&result->type) ||
        result->operands[0]->type.element != ELEMENT_F32 || result->operands[1]->type.element != ELEMENT_F32)
        return false;
    for (int i = 0; i < 2; i++) {
        struct node *moved = sum->operands[i], *product = behind_reshapes(moved);
        if (product->op != OP_matmul || !is_product(product, sum) || !is_bias(sum->operands[1 - i]))
            continue;
        *found = (struct gelu_product){product, moved, sum->operands[1 - i], sum, result};
        return true;
    }
    return false;
}

bool gelu_bias_fits(const struct gelu_product *found)
{
    const struct node *vector = view_row_vector(found->bias);
    return vector && vector->type.element == found->sum->type.element;
}

/* Where the library reads the operand: in what it is a view of, or, stored for it, as it is typed. */
static struct view operand_view(const struct node *product, int i)
{
    struct view view;
    struct node *operand = product->operands[i];
    if (view_contraction_operand(product, i) && view_find(operand, &view))
        return view;
    view = (struct view){.base = operand, .type = operand->type};
    type_strides(&operand->type, view.stride);
    return view;
}

bool gelu_operands_fit(const struct gelu_product *found)
{
    for (int i = 0; i < 2; i++) {
        struct view view = operand_view(found->product, i);
        int64_t size = (int64_t)element_bytes(view.type.element);
        if (!view_offset_aligned(&view, TARGET_VECTOR_BYTES))
            return false;
        for (int axis = 0; axis < view.type.shape.rank; axis++)
            if (view.type.shape.dimension[axis] > 1 && view.stride[axis] != 1 &&
                view.stride[axis] * size % TARGET_VECTOR_BYTES)
                return false;
    }
    return true;
}

/* ---- the pass ---- */

static void narrow_bias(struct graph *graph, const struct gelu_product *found)
{
    struct node *sum = found->sum;
    struct builder builder = builder_at(graph, sum);
    builder.reason = "added by the product's library, which takes it in the result's type";
    for (int i = 0; i < 2; i++)
        if (sum->operands[i] == found->bias)
            sum->operands[i] = build_cast(&builder, found->bias, sum->type.element);
}

void pass_gelu(struct graph *graph, struct pass_context *context)
{
    if (!(context->target->epilogues & EPILOGUE_GELU))
        return;
    struct arena *arena = arena_new();
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    struct gelu_product **of = ARENA_ARRAY(arena, struct gelu_product *, arrlenu(nodes));
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct gelu_product found;
        if (gelu_match_product(nodes[i], &found) && gelu_operands_fit(&found) && !gelu_bias_fits(&found) &&
            pass_may_rewrite(context))
            of[found.sum->id] = arena_copy(arena, &found, sizeof found);
    }
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        if (of[i])
            narrow_bias(graph, of[i]);
        graph_append(graph, nodes[i]);
    }
    arrfree(nodes);
    arena_free(arena);
    graph_number(graph);
}
