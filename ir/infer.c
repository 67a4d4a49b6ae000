/* The shape and element rules of every op: what the result's type is, or what is wrong with the operands.
 *
 * The frontend asks before it builds (to word its own diagnostics), the builder asks while it builds, and the
 * verifier asks again after every pass. */
#include "ir/graph.h"

#include <string.h>

struct request {
    struct arena *arena;
    enum op op;
    struct node *const *operands;
    int count;
    const struct attributes *attributes;
    struct type *type;
};

static const struct shape *operand_shape(const struct request *request, int i)
{
    return &request->operands[i]->type.shape;
}

static enum element operand_element(const struct request *request, int i)
{
    return request->operands[i]->type.element;
}

static char *shape_text(const struct request *request, const struct shape *shape)
{
    return shape_format(shape, arena_allocate(request->arena, TYPE_TEXT), TYPE_TEXT);
}

static const char *infer_pointwise(const struct request *request)
{
    const struct op_info *info = op_info(request->op);
    for (int i = 1; i < request->count; i++)
        if (!shape_equal(operand_shape(request, 0), operand_shape(request, i)))
            return arena_printf(request->arena, "shapes differ: %s and %s",
                                shape_text(request, operand_shape(request, 0)),
                                shape_text(request, operand_shape(request, i)));
    enum element element = request->type->element;
    int first = info->element == RULE_SELECT ? 1 : 0;
    if (info->element != RULE_GIVEN) {
        element = operand_element(request, first);
        for (int i = first + 1; i < request->count; i++)
            element = element_promote(element, operand_element(request, i));
    }
    if (info->element == RULE_FLOAT && !element_is_float(element))
        element = ELEMENT_F32;
    if (info->element == RULE_BOOL)
        element = ELEMENT_BOOL;
    *request->type = type_make(element, *operand_shape(request, 0));
    return NULL;
}

static const char *infer_reduce(const struct request *request)
{
    struct shape shape = *operand_shape(request, 0);
    if (request->attributes->axes >> shape.rank)
        return "an axis to reduce does not exist";
    for (int i = 0; i < shape.rank; i++)
        if (request->attributes->axes >> i & 1)
            shape.dimension[i] = 1;
    enum element element = operand_element(request, 0);
    if (request->op == OP_argmax || request->op == OP_argmin)
        element = ELEMENT_I32;
    else if (request->op == OP_m2 && !element_is_float(element))
        element = ELEMENT_F32;
    else if ((request->op == OP_sum || request->op == OP_prod) && !element_is_float(element) && element != ELEMENT_I64)
        element = ELEMENT_I32;
    *request->type = type_make(element, shape);
    return NULL;
}

static const char *infer_matmul(const struct request *request)
{
    const struct shape *a = operand_shape(request, 0), *b = operand_shape(request, 1);
    if (a->rank < 2 || a->rank != b->rank)
        return "matmul needs two operands of the same rank, at least 2";
    int rank = a->rank;
    for (int i = 0; i < rank - 2; i++)
        if (a->dimension[i] != b->dimension[i])
            return "matmul: leading dimensions differ";
    const struct attributes *attributes = request->attributes;
    int64_t m = a->dimension[rank - 2 + attributes->transpose_a], k = a->dimension[rank - 1 - attributes->transpose_a];
    int64_t other = b->dimension[rank - 2 + attributes->transpose_b];
    int64_t n = b->dimension[rank - 1 - attributes->transpose_b];
    if (k != other)
        return arena_printf(request->arena, "matmul: inner dimensions differ: %s @ %s", shape_text(request, a),
                            shape_text(request, b));
    struct shape shape = *a;
    shape.dimension[rank - 2] = m;
    shape.dimension[rank - 1] = n;
    *request->type = type_make(element_promote(operand_element(request, 0), operand_element(request, 1)), shape);
    return NULL;
}

/* Size of the output along one spatial axis, -1 when the window does not fit. */
static int64_t window_places(const struct window *window, int axis, int64_t size, int64_t kernel)
{
    int64_t reach = (kernel - 1) * window->dilation[axis] + 1;
    int64_t room = size + window->pad_low[axis] + window->pad_high[axis] - reach;
    return room < 0 || window->stride[axis] < 1 || window->dilation[axis] < 1 ? -1 : room / window->stride[axis] + 1;
}

static const char *infer_window(const struct request *request)
{
    const struct window *window = &request->attributes->window;
    struct shape shape = *operand_shape(request, 0);
    int lead = shape.rank - window->rank;
    if (window->rank < 1 || lead < 0 || shape.rank + window->rank > RANK_MAX)
        return "window: too many or too few axes";
    for (int i = 0; i < window->rank; i++) {
        int64_t places = window_places(window, i, shape.dimension[lead + i], window->kernel[i]);
        if (places < 1)
            return arena_printf(request->arena, "the window does not fit into %s", shape_text(request, &shape));
        shape.dimension[lead + i] = places;
        shape.dimension[shape.rank + i] = window->kernel[i];
    }
    shape.rank += window->rank;
    *request->type = type_make(operand_element(request, 0), shape);
    return NULL;
}

static const char *infer_fold(const struct request *request)
{
    const struct window *window = &request->attributes->window;
    const struct shape *from = operand_shape(request, 0);
    const struct shape *to = &request->type->shape;
    int lead = to->rank - window->rank;
    if (lead < 0 || from->rank != to->rank + window->rank)
        return "fold: the ranks do not fit";
    for (int i = 0; i < window->rank; i++)
        if (from->dimension[lead + i] != window_places(window, i, to->dimension[lead + i], window->kernel[i]) ||
            from->dimension[to->rank + i] != window->kernel[i])
            return "fold: the windows do not fit the result";
    *request->type = type_make(operand_element(request, 0), *to);
    return NULL;
}

static const char *infer_conv(const struct request *request)
{
    const struct shape *x = operand_shape(request, 0), *weight = operand_shape(request, 1);
    const struct attributes *attributes = request->attributes;
    const struct window *window = &attributes->window;
    if (x->rank != window->rank + 2 || weight->rank != x->rank || window->rank < 1)
        return arena_printf(request->arena, "conv: %s with weight %s has the wrong rank", shape_text(request, x),
                            shape_text(request, weight));
    if (attributes->groups < 1 || x->dimension[1] != weight->dimension[1] * attributes->groups ||
        weight->dimension[0] % attributes->groups)
        return arena_printf(request->arena, "conv: channels of %s and weight %s do not fit in %lld groups",
                            shape_text(request, x), shape_text(request, weight), (long long)attributes->groups);
    struct shape shape = *x;
    shape.dimension[1] = weight->dimension[0];
    for (int i = 0; i < window->rank; i++) {
        shape.dimension[2 + i] = window_places(window, i, x->dimension[2 + i], weight->dimension[2 + i]);
        if (shape.dimension[2 + i] < 1)
            return arena_printf(request->arena, "conv: the kernel of %s does not fit into %s",
                                shape_text(request, weight), shape_text(request, x));
    }
    *request->type = type_make(element_promote(operand_element(request, 0), operand_element(request, 1)), shape);
    return NULL;
}

/* conv_data (weight, dy) and conv_weight (x, dy): check by the forward rule against the wanted shape. */
static const char *infer_conv_gradient(const struct request *request)
{
    struct node wanted = {.type = *request->type};
    struct node *x = request->op == OP_conv_data ? &wanted : request->operands[0];
    struct node *weight = request->op == OP_conv_data ? request->operands[0] : &wanted;
    struct node *operands[] = {x, weight};
    struct type forward;
    struct request check = {request->arena, OP_conv, operands, 2, request->attributes, &forward};
    const char *problem = infer_conv(&check);
    if (problem)
        return problem;
    if (!shape_equal(&forward.shape, operand_shape(request, 1)))
        return "the gradient's shape is not that of the convolution's result";
    *request->type =
        type_make(element_promote(operand_element(request, 0), operand_element(request, 1)), request->type->shape);
    return NULL;
}

/* tap_sums (dy, x): what conv_weight (x, dy) would be. */
static const char *infer_tap_sums(const struct request *request)
{
    struct node *operands[] = {request->operands[1], request->operands[0]};
    struct request product = {request->arena, OP_conv_weight, operands, 2, request->attributes, request->type};
    const char *problem = infer_conv_gradient(&product);
    if (problem)
        return problem;
    const struct shape *dy = operand_shape(request, 0);
    bool several = dy->dimension[1] > 1 && shape_elements(dy) > dy->dimension[1];
    return several ? NULL : "tap_sums wants several channels, and several places of each";
}

static const char *infer_broadcast(const struct request *request)
{
    const struct shape *from = operand_shape(request, 0), *to = &request->type->shape;
    if (from->rank != to->rank)
        return "broadcast keeps the rank";
    for (int i = 0; i < from->rank; i++)
        if (from->dimension[i] != to->dimension[i] && from->dimension[i] != 1)
            return arena_printf(request->arena, "%s does not broadcast to %s", shape_text(request, from),
                                shape_text(request, to));
    *request->type = type_make(operand_element(request, 0), *to);
    return NULL;
}

static const char *infer_reshape(const struct request *request)
{
    const struct shape *from = operand_shape(request, 0), *to = &request->type->shape;
    if (shape_elements(from) != shape_elements(to))
        return arena_printf(request->arena, "%s and %s differ in elements", shape_text(request, from),
                            shape_text(request, to));
    *request->type = type_make(operand_element(request, 0), *to);
    return NULL;
}

static const char *infer_slice(const struct request *request)
{
    const struct attributes *attributes = request->attributes;
    struct shape shape = *operand_shape(request, 0);
    for (int i = 0; i < shape.rank; i++) {
        int64_t low = attributes->low[i], high = attributes->high[i], step = attributes->step[i];
        if (low < 0 || high > shape.dimension[i] || low > high || step < 1)
            return arena_printf(request->arena, "slice %lld..%lld step %lld is outside of %s on axis %d",
                                (long long)low, (long long)high, (long long)step, shape_text(request, &shape), i);
        shape.dimension[i] = (high - low + step - 1) / step;
    }
    *request->type = type_make(operand_element(request, 0), shape);
    return NULL;
}

static const char *infer_concat(const struct request *request)
{
    struct shape shape = *operand_shape(request, 0);
    int axis = request->attributes->axis;
    enum element element = operand_element(request, 0);
    if (axis < 0 || axis >= shape.rank)
        return "concat: no such axis";
    for (int i = 1; i < request->count; i++) {
        struct shape other = *operand_shape(request, i);
        int64_t size = other.rank == shape.rank ? other.dimension[axis] : 0;
        other.dimension[axis] = shape.dimension[axis];
        if (!shape_equal(&shape, &other))
            return arena_printf(request->arena, "concat: %s and %s differ outside of axis %d",
                                shape_text(request, &shape), shape_text(request, operand_shape(request, i)), axis);
        shape.dimension[axis] += size;
        element = element_promote(element, operand_element(request, i));
    }
    *request->type = type_make(element, shape);
    return NULL;
}

static const char *infer_movement(const struct request *request)
{
    const struct attributes *attributes = request->attributes;
    struct shape shape = *operand_shape(request, 0);
    switch (request->op) {
    case OP_reshape:
        return infer_reshape(request);
    case OP_broadcast:
        return infer_broadcast(request);
    case OP_slice:
        return infer_slice(request);
    case OP_concat:
        return infer_concat(request);
    case OP_window:
        return infer_window(request);
    case OP_permute: {
        uint32_t seen = 0;
        for (int i = 0; i < shape.rank; i++) {
            seen |= 1u << attributes->permutation[i];
            shape.dimension[i] = operand_shape(request, 0)->dimension[attributes->permutation[i] % RANK_MAX];
        }
        if (seen != (1u << shape.rank) - 1)
            return "permute needs each axis once";
        break;
    }
    case OP_pad:
        for (int i = 0; i < shape.rank; i++) {
            if (attributes->low[i] < 0 || attributes->high[i] < 0)
                return "pad: amounts may not be negative";
            shape.dimension[i] += attributes->low[i] + attributes->high[i];
        }
        break;
    default: /* flip */
        if (attributes->axes >> shape.rank)
            return "flip: no such axis";
        break;
    }
    *request->type = type_make(operand_element(request, 0), shape);
    return NULL;
}

static const char *infer_gather(const struct request *request)
{
    const struct shape *index = operand_shape(request, 1);
    int axis = request->attributes->axis;
    if (element_is_float(operand_element(request, 1)))
        return "an index must be an integer";
    const struct shape *table = request->op == OP_gather ? operand_shape(request, 0) : &request->type->shape;
    if (axis < 0 || axis >= table->rank || table->rank - 1 + index->rank > RANK_MAX)
        return "gather: no such axis, or too many axes";
    struct shape shape = {.rank = table->rank - 1 + index->rank};
    for (int i = 0; i < shape.rank; i++)
        shape.dimension[i] = i < axis                 ? table->dimension[i]
                             : i < axis + index->rank ? index->dimension[i - axis]
                                                      : table->dimension[i - index->rank + 1];
    if (request->op == OP_gather) {
        *request->type = type_make(operand_element(request, 0), shape);
        return NULL;
    }
    if (!shape_equal(&shape, operand_shape(request, 0)))
        return "scatter_add: the updates do not have the shape that gather would give";
    *request->type = type_make(operand_element(request, 0), *table);
    return NULL;
}

static const char *infer_contraction(const struct request *request)
{
    if (!element_is_float(operand_element(request, 0)) || !element_is_float(operand_element(request, 1)))
        return arena_printf(request->arena, "%s needs floating operands", op_info(request->op)->name);
    return request->op == OP_matmul ? infer_matmul(request)
           : request->op == OP_conv ? infer_conv(request)
                                    : infer_conv_gradient(request);
}

static const char *infer_suppressed(const struct request *request)
{
    struct shape shape = *operand_shape(request, 0);
    if (operand_element(request, 0) != ELEMENT_BOOL || shape.rank < 2 ||
        shape.dimension[shape.rank - 1] != shape.dimension[shape.rank - 2])
        return "suppressed needs a bool operand whose last two axes have one size";
    shape.rank--;
    *request->type = type_make(ELEMENT_BOOL, shape);
    return NULL;
}

static const char *infer_other(const struct request *request)
{
    struct type *type = request->type;
    switch (request->op) {
    case OP_cumsum:
        if (request->attributes->axis < 0 || request->attributes->axis >= operand_shape(request, 0)->rank)
            return "cumsum: no such axis";
        break;
    case OP_suppressed:
        return infer_suppressed(request);
    case OP_fold:
        return infer_fold(request);
    case OP_tap_sums:
        return infer_tap_sums(request);
    case OP_grad:
        if (request->count < 2)
            return "grad needs y and x";
        *type = type_make(operand_element(request, 1), *operand_shape(request, 1));
        return NULL;
    case OP_loop:
        *type = type_scalar(ELEMENT_BOOL);
        return request->attributes->loop.turns > 0 ? NULL : "a loop has at least one turn";
    case OP_result:
        if (request->operands[0]->op != OP_loop)
            return "result takes what a loop leaves";
        return type->element == ELEMENT_NONE ? "the type must be given" : NULL;
    case OP_scale_seed:
        *type = type_scalar(ELEMENT_F32);
        return NULL;
    case OP_gate:
        if (!shape_equal(operand_shape(request, 0), operand_shape(request, 1)))
            return "gate: new and old have different shapes";
        break;
    case OP_iota:
    case OP_random:
        *type = type_make(request->op == OP_iota ? ELEMENT_I32 : ELEMENT_F32, type->shape);
        return NULL;
    default:
        break;
    }
    if (request->count == 0)
        return type->element == ELEMENT_NONE ? "the type must be given" : NULL;
    *type = type_make(operand_element(request, 0), *operand_shape(request, 0));
    return NULL;
}

const char *node_infer(struct arena *arena, enum op op, struct node *const *operands, int count,
                       const struct attributes *attributes, struct type *type)
{
    static const struct attributes none;
    const struct op_info *info = op_info(op);
    struct request request = {arena, op, operands, count, attributes ? attributes : &none, type};
    if (info->arity >= 0 ? count != info->arity : count < 1)
        return arena_printf(arena, "%s takes %d operands, not %d", info->name, info->arity, count);
    switch (info->class) {
    case CLASS_POINTWISE:
        return infer_pointwise(&request);
    case CLASS_REDUCE:
        return infer_reduce(&request);
    case CLASS_MOVEMENT:
        return infer_movement(&request);
    case CLASS_GATHER:
        return infer_gather(&request);
    case CLASS_CONTRACTION:
        return infer_contraction(&request);
    default:
        return infer_other(&request);
    }
}
