/* Operations on tensors: promotion, broadcasting with its guard, and the messages when shapes differ. */
#include "frontend/language/elaborate_internal.h"

#include <string.h>

/* ---- operands ---- */

struct node *tensor_node(struct elaborator *e, const struct value *value, enum element like)
{
    if (value->kind == VALUE_TENSOR)
        return value->node;
    if (value->kind == VALUE_BOOL)
        return build_constant(&e->builder, value->number, ELEMENT_BOOL);
    enum element element = ELEMENT_F32;
    if (element_is_float(like))
        element = like;
    else if (value->integer && like != ELEMENT_NONE)
        element = like == ELEMENT_I64 ? ELEMENT_I64 : ELEMENT_I32;
    return build_constant(&e->builder, value->number, element);
}

static bool operand_fits(struct elaborator *e, const struct value *value, const char *what, struct span span)
{
    if (value->kind == VALUE_TENSOR || value->kind == VALUE_NUMBER || value->kind == VALUE_BOOL)
        return true;
    if (value->kind != VALUE_ERROR)
        report(e, E0402, span, NULL, "%s needs tensors or numbers, not %s", what, value_describe(e, value));
    return false;
}

/* False after a diagnostic: a whole number beside integers, which i32 cannot hold. */
static bool number_fits(struct elaborator *e, const struct value *value, enum element like, struct span span)
{
    bool whole = value->kind == VALUE_NUMBER && value->integer && like != ELEMENT_NONE && like != ELEMENT_I64;
    if (!whole || element_is_float(like) || (value->number >= INT32_MIN && value->number <= INT32_MAX))
        return true;
    report(e, E0204, span, NULL, "%s beside %s: i32 holds numbers from -2147483648 to 2147483647",
           value_describe(e, value), element_name(like));
    diagnostics_note(e->diagnostics, (struct span){0}, "cast(x, f32) makes a tensor that holds larger ones");
    return false;
}

bool refuse_classes(struct elaborator *e, const struct value *x, const char *what, struct span span)
{
    if (x->kind != VALUE_TENSOR || !x->classes)
        return false;
    report(e, E0205, span, NULL, "%s of %s: an index of a class is no amount", what, value_describe(e, x));
    diagnostics_note(e->diagnostics, (struct span){0}, "compare it, gather with it, or use one_hot");
    return true;
}

static struct node *arithmetic_operand(struct elaborator *e, struct node *node)
{
    bool small = node->type.element == ELEMENT_BOOL || node->type.element == ELEMENT_U8;
    return small ? build_cast(&e->builder, node, ELEMENT_I32) : node;
}

/* ---- broadcasting ---- */

/* What is known of axis i of a result, counted in the result, from operands aligned at the right. */
static struct axis joined_axis(const struct value *const *values, int count, int rank, int i, int64_t size)
{
    struct axis best = {0};
    for (int k = 0; k < count; k++) {
        if (values[k]->kind != VALUE_TENSOR)
            continue;
        int own = i - (rank - values[k]->node->type.shape.rank);
        if (own < 0 || values[k]->node->type.shape.dimension[own] != size)
            continue;
        if (!best.from || (!best.dimension && values[k]->axes[own].dimension))
            best = values[k]->axes[own];
    }
    return best;
}

static bool has_dimension(const struct value *value, const struct dimension *dimension)
{
    for (int i = 0; i < value->node->type.shape.rank; i++)
        if (value->axes[i].dimension == dimension)
            return true;
    return false;
}

/* A named dimension of `a` alone and `b` alone that would come to stand on two axes of the result. */
static const struct dimension *guarded_dimension(const struct value *a, const struct value *b)
{
    int rank_a = a->node->type.shape.rank, rank_b = b->node->type.shape.rank;
    for (int i = 0; i < rank_a; i++) {
        const struct dimension *dimension = a->axes[i].dimension;
        if (!dimension || !has_dimension(b, dimension))
            continue;
        bool aligned = false, repeated = false;
        for (int j = 0; j < rank_b; j++)
            aligned |= b->axes[j].dimension == dimension && rank_a - i == rank_b - j;
        for (int j = 0; j < rank_a; j++)
            repeated |= j != i && a->axes[j].dimension == dimension;
        for (int j = 0, seen = 0; j < rank_b; j++)
            repeated |= b->axes[j].dimension == dimension && seen++;
        if (!aligned && !repeated)
            return dimension;
    }
    return NULL;
}

static void report_broadcast(struct elaborator *e, const struct value *a, const struct value *b, const char *what,
                             struct span span)
{
    const struct shape *sa = &a->node->type.shape, *sb = &b->node->type.shape;
    const char *label = NULL;
    for (int i = 1; i <= sa->rank && i <= sb->rank && !label; i++) {
        int64_t da = sa->dimension[sa->rank - i], db = sb->dimension[sb->rank - i];
        const struct axis *from_a = &a->axes[sa->rank - i], *from_b = &b->axes[sb->rank - i];
        if (da != db && da != 1 && db != 1)
            label = arena_printf(e->arena, "%lld comes from %s at %s:%d:%d, %lld from %s at %s:%d:%d", (long long)da,
                                 from_a->from, from_a->span.file, from_a->span.line, from_a->span.column, (long long)db,
                                 from_b->from, from_b->span.file, from_b->span.line, from_b->span.column);
    }
    report(e, E0201, span, label, "%s: shapes do not broadcast: %s and %s", what, shape_text(e, sa), shape_text(e, sb));
}

static void report_guarded(struct elaborator *e, const struct value *a, const struct value *b,
                           const struct dimension *dimension, const char *what, struct span span)
{
    report(e, E0206, span, NULL, "%s: `%s` would come to stand on two axes: %s and %s", what, dimension->name,
           shape_text(e, &a->node->type.shape), shape_text(e, &b->node->type.shape));
    diagnostics_note(e->diagnostics, (struct span){0},
                     "drop an axis of size 1 with squeeze, or add one with unsqueeze, so that `%s` aligns",
                     dimension->name);
}

/* The common shape of tensors among the values; false after a diagnostic. */
static bool common_shape(struct elaborator *e, const struct value *const *values, int count, const char *what,
                         struct span span, struct shape *shape)
{
    *shape = (struct shape){0};
    const struct value *first = NULL;
    for (int i = 0; i < count; i++) {
        if (values[i]->kind != VALUE_TENSOR)
            continue;
        const struct shape *own = &values[i]->node->type.shape;
        if (!first) {
            *shape = *own;
            first = values[i];
            continue;
        }
        bool same_rank = first->node->type.shape.rank == own->rank;
        const struct dimension *twice = same_rank ? NULL : guarded_dimension(first, values[i]);
        if (twice) {
            report_guarded(e, first, values[i], twice, what, span);
            return false;
        }
        if (!shape_broadcast(shape, own, shape)) {
            report_broadcast(e, first, values[i], what, span);
            return false;
        }
        if (own->rank > first->node->type.shape.rank)
            first = values[i];
    }
    return shape_fits(e, shape, span);
}

struct value tensor_broadcast(struct elaborator *e, const struct value *x, const struct shape *shape, struct span span)
{
    if (!want_tensor(e, x, span, "what is broadcast"))
        return (struct value){0};
    struct shape joined;
    if (!shape_broadcast(&x->node->type.shape, shape, &joined) || !shape_equal(&joined, shape))
        return report(e, E0201, span, NULL, "%s does not broadcast to %s", shape_text(e, &x->node->type.shape),
                      shape_text(e, shape));
    if (!shape_fits(e, shape, span))
        return (struct value){0};
    struct axis axes[RANK_MAX];
    const struct value *values[] = {x};
    for (int i = 0; i < shape->rank; i++)
        axes[i] = joined_axis(values, 1, shape->rank, i, shape->dimension[i]);
    struct value result = value_tensor_axes(e, build_broadcast(&e->builder, x->node, shape), axes);
    result.classes = x->classes;
    return result;
}

/* Operands of a pointwise op, brought to one shape; fills the axes of the result. */
static bool pointwise_operands(struct elaborator *e, const struct value *const *values, struct node **nodes, int count,
                               const char *what, struct span span, struct axis axes[RANK_MAX])
{
    struct shape shape;
    if (!common_shape(e, values, count, what, span, &shape))
        return false;
    for (int i = 0; i < count; i++)
        nodes[i] = build_broadcast(&e->builder, nodes[i], &shape);
    for (int i = 0; i < shape.rank; i++)
        axes[i] = joined_axis(values, count, shape.rank, i, shape.dimension[i]);
    return true;
}

/* ---- pointwise ---- */

static bool is_comparison(enum op op)
{
    return op == OP_eq || op == OP_ne || op == OP_lt || op == OP_le || op == OP_gt || op == OP_ge;
}

static bool binary_classes(struct elaborator *e, enum op op, const struct value *a, const struct value *b,
                           struct span span)
{
    if (!is_comparison(op))
        return !refuse_classes(e, a, op_info(op)->name, span) && !refuse_classes(e, b, op_info(op)->name, span);
    if (a->classes && b->classes && a->classes != b->classes) {
        report(e, E0205, span, NULL, "indices of %lld and of %lld classes are not comparable", (long long)a->classes,
               (long long)b->classes);
        return false;
    }
    return true;
}

static enum element element_of(const struct value *value)
{
    return value->kind == VALUE_TENSOR ? value->node->type.element : ELEMENT_NONE;
}

struct value tensor_binary(struct elaborator *e, enum op op, const struct value *a, const struct value *b,
                           struct span span)
{
    const char *what = op_info(op)->name;
    if (!operand_fits(e, a, what, span) || !operand_fits(e, b, what, span) || !binary_classes(e, op, a, b, span))
        return (struct value){0};
    bool floating = op == OP_div || op == OP_pow;
    enum element like_a = floating && !element_is_float(element_of(b)) ? ELEMENT_F32 : element_of(b),
                 like_b = floating && !element_is_float(element_of(a)) ? ELEMENT_F32 : element_of(a);
    if (!number_fits(e, a, like_a, span) || !number_fits(e, b, like_b, span))
        return (struct value){0};
    struct node *nodes[] = {tensor_node(e, a, like_a), tensor_node(e, b, like_b)};
    bool logical = op == OP_and || op == OP_or;
    for (int i = 0; i < 2; i++) {
        if (logical && nodes[i]->type.element != ELEMENT_BOOL)
            return report(e, E0204, span, NULL, "`%s` needs truth values, not %s", what, value_describe(e, i ? b : a));
        bool integers = !element_is_float(nodes[0]->type.element) && !element_is_float(nodes[1]->type.element);
        if (!logical && !is_comparison(op) && integers && !floating)
            nodes[i] = arithmetic_operand(e, nodes[i]);
    }
    const struct value *values[] = {a, b};
    struct axis axes[RANK_MAX];
    if (!pointwise_operands(e, values, nodes, 2, what, span, axes))
        return (struct value){0};
    return value_tensor_axes(e, build(&e->builder, op, nodes, 2, NULL, NULL), axes);
}

struct value tensor_unary(struct elaborator *e, enum op op, const struct value *x, struct span span)
{
    const char *what = op_info(op)->name;
    if (!operand_fits(e, x, what, span) || refuse_classes(e, x, what, span))
        return (struct value){0};
    struct node *node = tensor_node(e, x, ELEMENT_NONE);
    if (op == OP_not && node->type.element != ELEMENT_BOOL)
        return report(e, E0204, span, NULL, "`not` needs truth values, not %s", value_describe(e, x));
    if (op == OP_neg || op == OP_abs || op == OP_sign)
        node = arithmetic_operand(e, node);
    struct value result = value_tensor_axes(e, build(&e->builder, op, &node, 1, NULL, NULL), x->axes);
    return result;
}

bool number_is_class(const struct value *number, int64_t classes)
{
    return number->kind == VALUE_NUMBER && value_is_integer(number) && number->number >= 0 &&
           number->number < (double)classes;
}

/* A choice of indices is one, if a branch that is a number is one too: -1 for `none` makes it i32. */
static bool branch_classes(struct elaborator *e, const struct value *a, const struct value *b, struct span span,
                           int64_t *classes)
{
    if (a->kind == VALUE_TENSOR && b->kind == VALUE_TENSOR && a->classes != b->classes) {
        report(e, E0205, span, NULL, "a choice of %s and of %s", value_describe(e, a), value_describe(e, b));
        return false;
    }
    const struct value *number = a->kind == VALUE_TENSOR ? b : a;
    *classes = a->kind == VALUE_TENSOR ? a->classes : b->classes;
    if (number->kind != VALUE_TENSOR && !number_is_class(number, *classes))
        *classes = 0;
    return true;
}

struct value tensor_where(struct elaborator *e, const struct value *condition, const struct value *a,
                          const struct value *b, struct span span)
{
    if (!operand_fits(e, condition, "a condition", span) || !operand_fits(e, a, "a branch", span) ||
        !operand_fits(e, b, "a branch", span))
        return (struct value){0};
    if (element_of(condition) != ELEMENT_BOOL)
        return report(e, E0204, span, NULL, "a condition must be made of truth values, not %s",
                      value_describe(e, condition));
    if (!number_fits(e, a, element_of(b), span) || !number_fits(e, b, element_of(a), span))
        return (struct value){0};
    int64_t classes;
    if (!branch_classes(e, a, b, span, &classes))
        return (struct value){0};
    struct node *nodes[] = {condition->node, tensor_node(e, a, element_of(b)), tensor_node(e, b, element_of(a))};
    const struct value *values[] = {condition, a, b};
    struct axis axes[RANK_MAX];
    if (!pointwise_operands(e, values, nodes, 3, "if", span, axes))
        return (struct value){0};
    struct value result = value_tensor_axes(e, build(&e->builder, OP_where, nodes, 3, NULL, NULL), axes);
    result.classes = classes;
    return result;
}

struct value tensor_cast(struct elaborator *e, const struct value *x, enum element element, bool explicit)
{
    struct type type = type_make(element, x->node->type.shape);
    struct node *node = x->node;
    node = build(&e->builder, OP_cast, &node, 1, &(struct attributes){.explicit_cast = explicit}, &type);
    return value_tensor_axes(e, node, x->axes);
}

/* ---- any op, with the op's own rule as the check ---- */

struct value tensor_build(struct elaborator *e, enum op op, struct node *const *operands, int count,
                          const struct attributes *attributes, const struct shape *shape, struct span span,
                          const struct axis *axes)
{
    struct type type = count && shape ? type_make(operands[0]->type.element, *shape) : (struct type){0};
    const char *problem = node_infer(e->arena, op, operands, count, attributes, &type);
    if (problem)
        return report(e, E0202, span, NULL, "%s", problem);
    if (!shape_fits(e, &type.shape, span))
        return (struct value){0};
    return value_tensor_axes(e, build(&e->builder, op, operands, count, attributes, &type), axes);
}

/* What a reduction over no elements gives; the largest of none is an error. */
static struct value reduce_nothing(struct elaborator *e, enum op op, const struct value *x, struct shape shape,
                                   const struct axis *axes, struct span span)
{
    enum element element = x->node->type.element;
    bool logical = element == ELEMENT_BOOL && (op == OP_reduce_max || op == OP_reduce_min);
    bool one = op == OP_prod || op == OP_reduce_min;
    if (op != OP_sum && op != OP_prod && op != OP_m2 && !logical)
        return report(e, E0202, span, NULL, "there is nothing to choose from: %s has no elements",
                      shape_text(e, &x->node->type.shape));
    if (!logical && !element_is_float(element))
        element = op == OP_m2 ? ELEMENT_F32 : ELEMENT_I32;
    return value_tensor_axes(e, build_full(&e->builder, one, element, &shape), axes);
}

struct value tensor_reduce(struct elaborator *e, enum op op, const struct value *x, uint32_t axes, bool all,
                           struct span span)
{
    bool index = op == OP_argmax || op == OP_argmin;
    if (!want_tensor(e, x, span, "what is reduced") || (!index && refuse_classes(e, x, op_info(op)->name, span)))
        return (struct value){0};
    struct axis kept[RANK_MAX] = {0};
    const struct shape *shape = &x->node->type.shape;
    struct shape reduced = *shape;
    bool nothing = false;
    for (int i = 0; i < shape->rank; i++)
        if (axes >> i & 1) {
            nothing |= shape->dimension[i] == 0;
            reduced.dimension[i] = 1;
        } else
            kept[i] = x->axes[i];
    struct node *node = x->node;
    if (axes && !nothing)
        node = build(&e->builder, op, &node, 1, &(struct attributes){.axes = axes}, NULL);
    struct value result = nothing ? reduce_nothing(e, op, x, reduced, kept, span) : value_tensor_axes(e, node, kept);
    if (result.kind == VALUE_ERROR)
        return result;
    return all ? tensor_reshape(e, &result, &(struct shape){0}, NULL, span) : result;
}

struct value tensor_reshape(struct elaborator *e, const struct value *x, const struct shape *shape,
                            const struct axis *axes, struct span span)
{
    if (shape_elements(&x->node->type.shape) != shape_elements(shape))
        return report(e, E0202, span, NULL, "reshape: %s has %lld elements, %s has %lld",
                      shape_text(e, &x->node->type.shape), (long long)shape_elements(&x->node->type.shape),
                      shape_text(e, shape), (long long)shape_elements(shape));
    struct value result = value_tensor_axes(e, build_reshape(&e->builder, x->node, shape), axes);
    result.classes = x->classes;
    return result;
}

struct value tensor_permute(struct elaborator *e, const struct value *x, const unsigned char *permutation)
{
    struct axis axes[RANK_MAX];
    for (int i = 0; i < x->node->type.shape.rank; i++)
        axes[i] = x->axes[permutation[i]];
    struct value result = value_tensor_axes(e, build_permute(&e->builder, x->node, permutation), axes);
    result.classes = x->classes;
    return result;
}

struct value tensor_transpose(struct elaborator *e, const struct value *x, struct span span)
{
    if (!want_tensor(e, x, span, "what is transposed"))
        return (struct value){0};
    int rank = x->node->type.shape.rank;
    if (rank < 2)
        return report(e, E0211, span, NULL, "x' swaps the last two axes, but this has the shape %s",
                      shape_text(e, &x->node->type.shape));
    unsigned char permutation[RANK_MAX];
    for (int i = 0; i < rank; i++)
        permutation[i] = (unsigned char)i;
    permutation[rank - 2] = (unsigned char)(rank - 1);
    permutation[rank - 1] = (unsigned char)(rank - 2);
    return tensor_permute(e, x, permutation);
}
