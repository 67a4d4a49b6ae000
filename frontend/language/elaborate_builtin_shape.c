/* Built-in functions that move, join and select. */
#include "frontend/language/elaborate_internal.h"

#include <math.h>
#include <string.h>

static bool want_x(struct builtin_call *call)
{
    return want_tensor(call->e, &call->values[0], call->spans[0], "the operand");
}

static const struct shape *shape_of(const struct value *x)
{
    return &x->node->type.shape;
}

/* One size may be -1: what is left. */
static bool resolve_rest(struct builtin_call *call, struct value *sizes, const struct value *x)
{
    double known = 1;
    int open = -1;
    struct value *items = ARENA_ARRAY(call->e->arena, struct value, sizes->count + 1);
    for (int i = 0; i < sizes->count; i++) {
        items[i] = sizes->items[i];
        bool rest = items[i].kind == VALUE_NUMBER && items[i].number == -1;
        if (rest && open >= 0) {
            report(call->e, E0208, call->spans[1], NULL, "reshape: one size alone may be -1, which is what is left");
            return false;
        }
        if (rest)
            open = i;
        else if (items[i].kind == VALUE_NUMBER)
            known *= items[i].number;
    }
    if (open >= 0) {
        int64_t elements = shape_elements(shape_of(x));
        if (!(known >= 1) || fmod((double)elements, known) != 0) {
            report(call->e, E0208, call->spans[1], NULL, "reshape: %lld elements do not divide by %s",
                   (long long)elements, number_text(call->e, known));
            return false;
        }
        items[open] = value_integer((int64_t)((double)elements / known));
    }
    sizes->items = items;
    return true;
}

BUILTIN(reshape)
{
    struct value x = call->values[0], sizes = call->values[1];
    struct shape shape;
    struct axis axes[RANK_MAX];
    if (!want_x(call) || (sizes.kind == VALUE_LIST && !resolve_rest(call, &sizes, &x)) ||
        !want_shape(call->e, &sizes, call->spans[1], &shape, axes))
        return (struct value){0};
    return tensor_reshape(call->e, &x, &shape, axes, call->span);
}

/* Axes from `from` on become one. */
BUILTIN(flatten)
{
    const struct value *x = &call->values[0];
    int from;
    if (!want_x(call) || !argument_axis(call, 1, shape_of(x)->rank, 1, &from))
        return (struct value){0};
    struct shape shape = {.rank = from + 1};
    struct axis axes[RANK_MAX] = {{0}};
    shape.dimension[from] = 1;
    for (int i = 0; i < shape_of(x)->rank; i++)
        if (i < from) {
            shape.dimension[i] = shape_of(x)->dimension[i];
            axes[i] = x->axes[i];
        } else
            shape.dimension[from] *= shape_of(x)->dimension[i];
    return tensor_reshape(call->e, x, &shape, axes, call->span);
}

BUILTIN(permute)
{
    const struct value *x = &call->values[0], *order = &call->values[1];
    unsigned char permutation[RANK_MAX];
    uint32_t seen = 0;
    if (!want_x(call))
        return (struct value){0};
    int rank = shape_of(x)->rank;
    if (order->kind != VALUE_LIST || order->count != rank)
        return report(call->e, E0211, call->spans[1], NULL, "permute needs a list of all %d axes", rank);
    for (int i = 0; i < rank; i++) {
        int64_t axis;
        if (!want_integer(call->e, &order->items[i], call->spans[1], "an axis", &axis))
            return (struct value){0};
        axis += axis < 0 ? rank : 0;
        if (axis < 0 || axis >= rank || seen >> axis & 1)
            return report(call->e, E0209, call->spans[1], NULL, "permute needs each axis from 0 to %d once", rank - 1);
        seen |= 1u << axis;
        permutation[i] = (unsigned char)axis;
    }
    return tensor_permute(call->e, x, permutation);
}

/* Drops axes of size 1: those given, or all of them. */
BUILTIN(squeeze)
{
    const struct value *x = &call->values[0];
    uint32_t mask;
    bool all;
    if (!want_x(call) || !argument_axes(call, 1, x, &mask, &all))
        return (struct value){0};
    struct shape shape = {0};
    struct axis axes[RANK_MAX];
    for (int i = 0; i < shape_of(x)->rank; i++) {
        bool one = shape_of(x)->dimension[i] == 1;
        if (mask >> i & 1 && !one && !all)
            return report(call->e, E0202, call->span, NULL, "squeeze: axis %d of %s has not size 1", i,
                          shape_text(call->e, shape_of(x)));
        if (mask >> i & 1 && one)
            continue;
        axes[shape.rank] = x->axes[i];
        shape.dimension[shape.rank++] = shape_of(x)->dimension[i];
    }
    return tensor_reshape(call->e, x, &shape, axes, call->span);
}

static struct value insert_axis(struct builtin_call *call, const struct value *x, int at)
{
    struct shape shape = {.rank = shape_of(x)->rank + 1};
    struct axis axes[RANK_MAX + 1] = {{0}};
    if (shape.rank > RANK_MAX)
        return report(call->e, E0211, call->span, NULL, "a tensor has at most %d axes", RANK_MAX);
    for (int i = 0, k = 0; i < shape.rank; i++) {
        shape.dimension[i] = i == at ? 1 : shape_of(x)->dimension[k];
        if (i != at)
            axes[i] = x->axes[k++];
    }
    return tensor_reshape(call->e, x, &shape, axes, call->span);
}

BUILTIN(unsqueeze)
{
    const struct value *x = &call->values[0];
    int at;
    if (!want_x(call) || !argument_axis(call, 1, shape_of(x)->rank + 1, 0, &at))
        return (struct value){0};
    return insert_axis(call, x, at);
}

/* A vector along one axis of `like`: [c] becomes [1, c, 1, 1]. */
BUILTIN(along)
{
    const struct value *x = &call->values[0], *like = &call->values[1];
    int axis;
    if (!want_x(call) || !want_tensor(call->e, like, call->spans[1], "`like`") ||
        !argument_axis(call, 2, shape_of(like)->rank, 1, &axis))
        return (struct value){0};
    if (shape_of(x)->rank != 1 || shape_of(x)->dimension[0] != shape_of(like)->dimension[axis])
        return report(call->e, E0202, call->span, NULL, "along: %s does not lie along axis %d of %s",
                      shape_text(call->e, shape_of(x)), axis, shape_text(call->e, shape_of(like)));
    struct shape shape = {.rank = shape_of(like)->rank};
    struct axis axes[RANK_MAX] = {{0}};
    for (int i = 0; i < shape.rank; i++)
        shape.dimension[i] = i == axis ? shape_of(x)->dimension[0] : 1;
    axes[axis] = x->axes[0];
    return tensor_reshape(call->e, x, &shape, axes, call->span);
}

/* ---- joining and splitting ---- */

static struct value join(struct builtin_call *call, struct value *parts, int count, int axis)
{
    struct node **nodes = ARENA_ARRAY(call->e->arena, struct node *, count);
    struct axis axes[RANK_MAX] = {{0}};
    int64_t classes = parts[0].classes;
    for (int i = 0; i < count; i++) {
        nodes[i] = parts[i].node;
        if (parts[i].classes != classes)
            return report(call->e, E0205, call->span, NULL, "%s: indices of different classes", call->builtin->name);
    }
    for (int i = 0; i < shape_of(&parts[0])->rank; i++)
        if (i != axis)
            axes[i] = parts[0].axes[i];
    struct value result =
        tensor_build(call->e, OP_concat, nodes, count, &(struct attributes){.axis = axis}, NULL, call->span, axes);
    result.classes = classes;
    return result;
}

/* concat(a, b, 1) */
static bool axis_among_parts(struct builtin_call *call)
{
    const struct value *last = call->rest_count > 1 ? &call->rest[call->rest_count - 1] : NULL;
    bool number = last && last->kind == VALUE_NUMBER;
    if (number)
        report(call->e, E0402, call->span, NULL, "`%s` takes its axis by name: `axis = %s`", call->builtin->name,
               number_text(call->e, last->number));
    return number;
}

static bool want_parts(struct builtin_call *call, struct value **parts, int *count)
{
    bool list = call->rest_count == 1 && call->rest[0].kind == VALUE_LIST;
    const struct value *items = list ? call->rest[0].items : call->rest;
    *count = list ? call->rest[0].count : call->rest_count;
    if (*count == 0) {
        report(call->e, E0306, call->span, NULL, "`%s` needs tensors to join", call->builtin->name);
        return false;
    }
    if (axis_among_parts(call))
        return false;
    *parts = arena_copy(call->e->arena, items, sizeof *items * (size_t)*count);
    for (int i = 0; i < *count; i++)
        if (!want_tensor(call->e, &items[i], call->span, "what is joined"))
            return false;
    return true;
}

BUILTIN(concat)
{
    struct value *parts;
    int count, axis;
    if (!want_parts(call, &parts, &count) || !argument_axis(call, 1, shape_of(&parts[0])->rank, 0, &axis))
        return (struct value){0};
    return join(call, parts, count, axis);
}

BUILTIN(stack)
{
    struct value *parts;
    int count, axis;
    if (!want_parts(call, &parts, &count) || !argument_axis(call, 1, shape_of(&parts[0])->rank + 1, 0, &axis))
        return (struct value){0};
    for (int i = 0; i < count; i++) {
        parts[i] = insert_axis(call, &parts[i], axis);
        if (parts[i].kind == VALUE_ERROR)
            return parts[i];
    }
    return join(call, parts, count, axis);
}

static struct value cut(struct builtin_call *call, const struct value *x, int axis, int64_t low, int64_t high)
{
    struct attributes attributes = {0};
    for (int i = 0; i < shape_of(x)->rank; i++) {
        attributes.low[i] = i == axis ? low : 0;
        attributes.high[i] = i == axis ? high : shape_of(x)->dimension[i];
        attributes.step[i] = 1;
    }
    struct axis axes[RANK_MAX];
    memcpy(axes, x->axes, sizeof *axes * (size_t)shape_of(x)->rank);
    axes[axis] = axis_here(call->e);
    struct value part = tensor_build(call->e, OP_slice, &x->node, 1, &attributes, NULL, call->span, axes);
    part.classes = x->classes;
    return part;
}

BUILTIN(split)
{
    const struct value *x = &call->values[0];
    int axis;
    int64_t n;
    if (!want_x(call) || !want_integer(call->e, &call->values[1], call->spans[1], "the number of parts", &n) ||
        !argument_axis(call, 2, shape_of(x)->rank, shape_of(x)->rank - 1, &axis))
        return (struct value){0};
    int64_t size = shape_of(x)->dimension[axis];
    if (n < 1 || n > size || size % n)
        return report(call->e, E0208, call->span, NULL, "split: %lld does not divide into %lld equal parts",
                      (long long)size, (long long)n);
    struct value *parts = ARENA_ARRAY(call->e->arena, struct value, n);
    for (int64_t i = 0; i < n; i++)
        parts[i] = cut(call, x, axis, i * (size / n), (i + 1) * (size / n));
    struct value result = value_list(call->e, parts, (int)n);
    result.kind = VALUE_TUPLE;
    return result;
}

/* ---- padding, flipping, repeating ---- */

static bool pad_amount(struct builtin_call *call, const struct value *amount, struct attributes *attributes, int axis)
{
    const struct value *low = amount, *high = amount;
    if (amount->kind == VALUE_LIST && amount->count == 2) {
        low = &amount->items[0];
        high = &amount->items[1];
    }
    return want_size(call->e, low, call->spans[1], "an amount", &attributes->low[axis]) &&
           want_size(call->e, high, call->spans[1], "an amount", &attributes->high[axis]);
}

/* pad(x, n, axis = …), n a number or [before, after]; or pad(x, [[before, after], …]) with a pair for each axis. */
BUILTIN(pad)
{
    const struct value *x = &call->values[0], *amount = &call->values[1];
    struct attributes attributes = {0};
    uint32_t mask;
    bool all;
    if (!want_x(call) || !argument_axes(call, 2, x, &mask, &all) ||
        (call->given[3] && !want_number(call->e, &call->values[3], call->spans[3], "the value", &attributes.value)))
        return (struct value){0};
    int rank = shape_of(x)->rank;
    bool pairs = amount->kind == VALUE_LIST && amount->count && amount->items[0].kind == VALUE_LIST;
    if ((pairs && (amount->count != rank || !all)) || (!pairs && all))
        return report(call->e, E0306, call->span, NULL,
                      "`pad` needs `axis`, or a list with a pair [before, after] for each of the %d axes", rank);
    for (int i = 0; i < rank; i++)
        if (mask >> i & 1 && !pad_amount(call, pairs ? &amount->items[i] : amount, &attributes, i))
            return (struct value){0};
    struct axis axes[RANK_MAX] = {{0}};
    for (int i = 0; i < rank; i++)
        if (!attributes.low[i] && !attributes.high[i])
            axes[i] = x->axes[i];
    struct value result = tensor_build(call->e, OP_pad, &x->node, 1, &attributes, NULL, call->span, axes);
    struct value padded = value_number(attributes.value);
    result.classes = number_is_class(&padded, x->classes) ? x->classes : 0;
    return result;
}

BUILTIN(flip)
{
    const struct value *x = &call->values[0];
    uint32_t mask;
    bool all;
    if (!want_x(call) || !argument_axes(call, 1, x, &mask, &all))
        return (struct value){0};
    struct value result =
        tensor_build(call->e, OP_flip, &x->node, 1, &(struct attributes){.axes = mask}, NULL, call->span, x->axes);
    result.classes = x->classes;
    return result;
}

/* Each axis repeated as a whole: [a, b] twice is [a, b, a, b]. */
BUILTIN(tile)
{
    const struct value *x = &call->values[0], *counts = &call->values[1];
    struct shape apart = {0}, repeated, joined = {0};
    if (!want_x(call))
        return (struct value){0};
    int rank = shape_of(x)->rank;
    if (counts->kind != VALUE_LIST || counts->count != rank)
        return report(call->e, E0211, call->spans[1], NULL, "tile needs a list of %d counts", rank);
    int64_t copies[RANK_MAX];
    for (int i = 0; i < rank; i++) {
        if (!want_size(call->e, &counts->items[i], call->spans[1], "a count", &copies[i]))
            return (struct value){0};
        bool both = copies[i] != 1 && shape_of(x)->dimension[i] != 1;
        if (apart.rank + both >= RANK_MAX)
            return report(call->e, E0211, call->span, NULL, "tile: too many axes are repeated at once");
        if (both)
            apart.dimension[apart.rank++] = 1;
        apart.dimension[apart.rank++] = shape_of(x)->dimension[i];
        joined.dimension[joined.rank++] = shape_of(x)->dimension[i];
    }
    repeated = apart;
    for (int i = 0, k = 0; i < rank; i++) {
        bool both = copies[i] != 1 && shape_of(x)->dimension[i] != 1;
        if (copies[i] != 1)
            repeated.dimension[k] = copies[i];
        k += both ? 2 : 1;
    }
    if (!shape_fits(call->e, &repeated, call->span))
        return (struct value){0};
    for (int i = 0; i < rank; i++)
        joined.dimension[i] *= copies[i];
    struct builder *builder = &call->e->builder;
    struct node *node = build_broadcast(builder, build_reshape(builder, x->node, &apart), &repeated);
    struct value result = value_tensor(call->e, build_reshape(builder, node, &joined));
    result.classes = x->classes;
    return result;
}
