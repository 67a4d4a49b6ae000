/* Expressions: names, operators, indexing, conditionals. */
#include "frontend/language/elaborate_internal.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

/* ---- names ---- */

static bool lookup_constant(struct elaborator *e, const char *name, struct value *value)
{
    enum element element = element_find(name);
    if (strcmp(name, "pi") == 0)
        *value = value_number(3.14159265358979323846);
    else if (strcmp(name, "inf") == 0)
        *value = value_number(INFINITY);
    else if (strcmp(name, "training") == 0 && e->builder.graph)
        *value = value_bool(e->training);
    else if (element != ELEMENT_NONE)
        *value = (struct value){.kind = VALUE_TYPE, .number = element};
    else
        return false;
    return true;
}

bool lookup(struct elaborator *e, const char *name, struct value *value)
{
    ptrdiff_t at = e->frame ? FIND(e->frame->bindings, name) : -1;
    if (at >= 0) {
        const struct binding *binding = &e->frame->bindings[at];
        *value = binding->value;
        if (e->implicit && binding->variable) {
            ptrdiff_t first = FIND(e->initial, binding->variable);
            if (first >= 0)
                *value = e->initial[first].value;
        }
        return true;
    }
    const struct option *option = e->unit && !(e->frame && e->frame->prelude) ? unit_find_option(e->unit, name) : NULL;
    if (option) {
        *value = option->value;
        return true;
    }
    return lookup_constant(e, name, value);
}

/* Names that a value could have been meant to be. */
static const char *nearest_value(struct elaborator *e, const char *name)
{
    const char **candidates = NULL;
    for (ptrdiff_t i = 0; e->frame && i < hmlen(e->frame->bindings); i++)
        arrput(candidates, e->frame->bindings[i].key);
    for (ptrdiff_t i = 0; i < arrlen(e->unit->options); i++)
        arrput(candidates, e->unit->options[i].name);
    arrput(candidates, "training");
    const char *found = suggest(name, candidates, (size_t)arrlen(candidates));
    arrfree(candidates);
    return found;
}

/* Words of Python, and what is written here. */
static const char *python_hint(const char *name)
{
    static const struct {
        const char *word, *hint;
    } hints[] = {{"None", "`unsqueeze(x, axis)` inserts an axis of size 1"},
                 {"newaxis", "`unsqueeze(x, axis)` inserts an axis of size 1"},
                 {"True", "write `true`"},
                 {"False", "write `false`"}};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strcmp(hints[i].word, name) == 0)
            return hints[i].hint;
    return NULL;
}

/* `x.shape` of a value x. */
static bool is_member(struct elaborator *e, const char *name)
{
    const char *dot = strchr(name, '.');
    struct value value;
    return dot && lookup(e, arena_intern_length(e->arena, name, (size_t)(dot - name)), &value);
}

static void note_name(struct elaborator *e, const char *name)
{
    const char *near = nearest_value(e, name);
    if (python_hint(name))
        diagnostics_note(e->diagnostics, (struct span){0}, "%s", python_hint(name));
    else if (is_member(e, name))
        diagnostics_note(e->diagnostics, (struct span){0}, "a value has no members; functions take it: `shape(x)`");
    else if (near)
        diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
}

static struct value evaluate_name(struct elaborator *e, const struct ast_expression *expression)
{
    struct value value;
    if (lookup(e, expression->name, &value))
        return value;
    bool callable = unit_find(e->unit, expression->name, e->frame && e->frame->prelude) ||
                    builtin_find(expression->name) || (e->frame && FIND(e->frame->instances, expression->name) >= 0);
    value = report(e, E0301, expression->span, NULL, "there is no value `%s`%s", expression->name,
                   callable ? ", only something of this name to be called" : "");
    if (!callable)
        note_name(e, expression->name);
    if (e->frame)
        bind(e, expression->name, value, NULL);
    return value;
}

/* ---- operators ---- */

static enum op operator_op(enum ast_operator operator)
{
    static const enum op ops[] = {
        [AST_ADD] = OP_add,       [AST_SUBTRACT] = OP_sub, [AST_MULTIPLY] = OP_mul,     [AST_DIVIDE] = OP_div,
        [AST_POWER] = OP_pow,     [AST_EQUAL] = OP_eq,     [AST_NOT_EQUAL] = OP_ne,     [AST_LESS] = OP_lt,
        [AST_LESS_EQUAL] = OP_le, [AST_GREATER] = OP_gt,   [AST_GREATER_EQUAL] = OP_ge, [AST_AND] = OP_and,
        [AST_OR] = OP_or};
    return ops[operator];
}

static struct value evaluate_matmul(struct elaborator *e, const struct ast_expression *expression)
{
    const struct ast_expression *left = expression->binary.left, *right = expression->binary.right;
    bool transpose_a = left->kind == AST_TRANSPOSE, transpose_b = right->kind == AST_TRANSPOSE;
    struct value a = evaluate_expression(e, transpose_a ? left->transpose : left);
    struct value b = evaluate_expression(e, transpose_b ? right->transpose : right);
    if (a.kind == VALUE_TENSOR && a.node->type.shape.rank < 2 && transpose_a)
        return tensor_transpose(e, &a, left->span);
    if (b.kind == VALUE_TENSOR && b.node->type.shape.rank < 2 && transpose_b)
        return tensor_transpose(e, &b, right->span);
    return tensor_matmul(e, &a, &b, transpose_a, transpose_b, expression->span);
}

/* x ^ 2 is x * x: exact, and cheaper than the general power. */
static struct value evaluate_power(struct elaborator *e, const struct value *a, const struct value *b, struct span span)
{
    if (a->kind == VALUE_TENSOR && b->kind == VALUE_NUMBER && b->number == 2)
        return tensor_binary(e, OP_mul, a, a, span);
    return tensor_binary(e, OP_pow, a, b, span);
}

/* `rank(x) > 2 and size(x, 2) > 3`: the right side is not looked at where the left one says false. */
static bool decides(enum ast_operator operator, const struct value * left)
{
    return left->kind == VALUE_BOOL &&
           ((operator== AST_AND && left->number == 0) || (operator== AST_OR && left->number != 0));
}

static struct value evaluate_binary(struct elaborator *e, const struct ast_expression *expression)
{
    enum ast_operator operator= expression->binary.operator;
    if (operator== AST_MATMUL)
        return evaluate_matmul(e, expression);
    struct value a = evaluate_expression(e, expression->binary.left);
    if (decides(operator, & a))
        return a;
    struct value b = evaluate_expression(e, expression->binary.right);
    if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR)
        return (struct value){0};
    if (a.kind != VALUE_TENSOR && b.kind != VALUE_TENSOR)
        return number_binary(e, operator, & a, &b, expression->span);
    if (operator== AST_POWER)
        return evaluate_power(e, &a, &b, expression->span);
    return tensor_binary(e, operator_op(operator), &a, &b, expression->span);
}

static struct value evaluate_unary(struct elaborator *e, const struct ast_expression *expression)
{
    struct value x = evaluate_expression(e, expression->unary.operand);
    bool negate = expression->unary.operator== AST_NEGATE;
    if (x.kind == VALUE_NUMBER && negate) {
        x.number = -x.number;
        x.dimension = NULL;
        return x;
    }
    if (x.kind == VALUE_BOOL && !negate)
        return value_bool(x.number == 0);
    if (x.kind == VALUE_TENSOR)
        return tensor_unary(e, negate ? OP_neg : OP_not, &x, expression->span);
    if (x.kind == VALUE_ERROR)
        return x;
    return report(e, E0402, expression->span, NULL, "`%s` is not defined for %s", negate ? "-" : "not",
                  value_describe(e, &x));
}

static struct value evaluate_conditional(struct elaborator *e, const struct ast_expression *expression)
{
    struct value condition = evaluate_expression(e, expression->conditional.condition);
    if (condition.kind == VALUE_ERROR)
        return condition;
    if (condition.kind == VALUE_TENSOR) {
        struct value a = evaluate_expression(e, expression->conditional.then),
                     b = evaluate_expression(e, expression->conditional.otherwise);
        return tensor_where(e, &condition, &a, &b, expression->span);
    }
    bool truth;
    if (!want_bool(e, &condition, expression->conditional.condition->span, "a condition", &truth))
        return (struct value){0};
    return evaluate_expression(e, truth ? expression->conditional.then : expression->conditional.otherwise);
}

static struct value evaluate_list(struct elaborator *e, const struct ast_expression *expression)
{
    int count = expression->list.count;
    struct value *items = ARENA_ARRAY(e->arena, struct value, count + 1);
    for (int i = 0; i < count; i++) {
        if (expression->list.items[i]->kind == AST_REST)
            return report(e, E0402, expression->list.items[i]->span, NULL, "`..` stands only in types and indices");
        items[i] = evaluate_expression(e, expression->list.items[i]);
        if (items[i].kind == VALUE_ERROR)
            return items[i];
    }
    return value_list(e, items, count);
}

/* ---- indexing ---- */

struct indexing {
    struct elaborator *e;
    const struct value *base;
    struct attributes slice;
    struct shape shape; /* of the result, dropped axes left out */
    struct axis axes[RANK_MAX];
    int axis; /* next one of the base */
    struct {
        int axis; /* of the result */
        struct node *index;
    } run_time[RANK_MAX]; /* indices that are known when it runs */
    int run_time_count;
};

static void index_keep(struct indexing *indexing, int64_t low, int64_t high, int64_t step)
{
    int axis = indexing->axis++;
    int64_t size = indexing->base->node->type.shape.dimension[axis];
    indexing->slice.low[axis] = low;
    indexing->slice.high[axis] = high;
    indexing->slice.step[axis] = step;
    bool whole = low == 0 && high == size && step == 1;
    indexing->axes[indexing->shape.rank] = whole ? indexing->base->axes[axis] : axis_here(indexing->e);
    indexing->shape.dimension[indexing->shape.rank++] = (high - low + step - 1) / step;
}

static bool index_bound(struct elaborator *e, const struct ast_expression *expression, int64_t size, int64_t fallback,
                        int64_t *bound)
{
    *bound = fallback;
    if (!expression)
        return true;
    struct value value = evaluate_expression(e, expression);
    if (!want_integer(e, &value, expression->span, "a slice's bound", bound))
        return false;
    *bound += *bound < 0 ? size : 0;
    *bound = *bound < 0 ? 0 : *bound > size ? size : *bound;
    return true;
}

static bool index_slice(struct indexing *indexing, const struct ast_expression *item)
{
    struct elaborator *e = indexing->e;
    int64_t size = indexing->base->node->type.shape.dimension[indexing->axis], low, high, step = 1;
    if (!index_bound(e, item->slice.low, size, 0, &low) || !index_bound(e, item->slice.high, size, size, &high))
        return false;
    if (item->slice.step) {
        struct value value = evaluate_expression(e, item->slice.step);
        if (!want_integer(e, &value, item->slice.step->span, "a slice's step", &step))
            return false;
    }
    if (step < 1) {
        report(e, E0209, item->span, NULL, "a slice's step must be at least 1; flip(x, axis) reverses");
        return false;
    }
    index_keep(indexing, low, high < low ? low : high, step);
    return true;
}

static bool index_position(struct indexing *indexing, const struct ast_expression *item)
{
    struct elaborator *e = indexing->e;
    int64_t size = indexing->base->node->type.shape.dimension[indexing->axis], position;
    struct value value = evaluate_expression(e, item);
    if (value.kind == VALUE_TENSOR && e->rolled && value.node->type.shape.rank == 0 &&
        value.node->type.element == ELEMENT_I32) {
        indexing->run_time[indexing->run_time_count].axis = indexing->shape.rank;
        indexing->run_time[indexing->run_time_count++].index = value.node;
        index_keep(indexing, 0, size, 1);
        return true;
    }
    if (value.kind == VALUE_TENSOR) {
        report(e, E0402, item->span, NULL, "an index must be known at compile time; use gather to index by a tensor");
        return false;
    }
    if (!want_integer(e, &value, item->span, "an index", &position))
        return false;
    if (position < -size || position >= size) {
        report(e, E0209, item->span, NULL, "index %lld is outside of axis %d, which has %lld places",
               (long long)position, indexing->axis, (long long)size);
        return false;
    }
    position += position < 0 ? size : 0;
    int axis = indexing->axis++;
    indexing->slice.low[axis] = position;
    indexing->slice.high[axis] = position + 1;
    indexing->slice.step[axis] = 1;
    return true;
}

static struct value index_tensor(struct elaborator *e, const struct ast_expression *expression,
                                 const struct value *base)
{
    struct indexing indexing = {.e = e, .base = base};
    const struct shape *shape = &base->node->type.shape;
    int count = expression->index.items.count, rests = 0;
    for (int i = 0; i < count; i++)
        rests += expression->index.items.items[i]->kind == AST_REST;
    if (rests > 1 || count - rests > shape->rank)
        return report(e, E0211, expression->span, NULL, "%s for a tensor of shape %s",
                      rests > 1 ? "more than one `..`" : "too many indices", shape_text(e, shape));
    for (int i = 0; i < count; i++) {
        const struct ast_expression *item = expression->index.items.items[i];
        if (item->kind == AST_REST)
            for (int k = count - rests; k < shape->rank; k++)
                index_keep(&indexing, 0, shape->dimension[indexing.axis], 1);
        else if (!(item->kind == AST_SLICE ? index_slice(&indexing, item) : index_position(&indexing, item)))
            return (struct value){0};
    }
    while (indexing.axis < shape->rank)
        index_keep(&indexing, 0, shape->dimension[indexing.axis], 1);
    struct graph *graph = e->builder.graph;
    if (indexing.run_time_count) /* what is the same in all turns is done before them */
        e->builder.graph = rolled_home(e, base->node);
    struct value part = tensor_build(e, OP_slice, &base->node, 1, &indexing.slice, NULL, expression->span, base->axes);
    part.classes = base->classes;
    if (part.kind == VALUE_TENSOR)
        part = tensor_reshape(e, &part, &indexing.shape, indexing.axes, expression->span);
    e->builder.graph = graph;
    for (int i = indexing.run_time_count - 1; i >= 0 && part.kind == VALUE_TENSOR; i--)
        part = rolled_index(e, &part, indexing.run_time[i].axis, indexing.run_time[i].index, expression->span);
    return part;
}

static struct value evaluate_index(struct elaborator *e, const struct ast_expression *expression)
{
    struct value base = evaluate_expression(e, expression->index.base);
    if (base.kind == VALUE_TENSOR)
        return index_tensor(e, expression, &base);
    if (base.kind != VALUE_LIST || expression->index.items.count != 1)
        return base.kind == VALUE_ERROR ? base
                                        : report(e, E0402, expression->span, NULL, "%s cannot be indexed like this",
                                                 value_describe(e, &base));
    if (expression->index.items.items[0]->kind == AST_SLICE)
        return report(e, E0402, expression->span, NULL, "a list is indexed by a number; only tensors have slices");
    struct value item = evaluate_expression(e, expression->index.items.items[0]);
    int64_t position;
    if (!want_integer(e, &item, expression->span, "an index", &position))
        return (struct value){0};
    position += position < 0 ? base.count : 0;
    if (position < 0 || position >= base.count)
        return report(e, E0209, expression->span, NULL, "the list has %d items", base.count);
    return base.items[position];
}

/* ---- all together ---- */

static struct value evaluate_kind(struct elaborator *e, const struct ast_expression *expression)
{
    switch (expression->kind) {
    case AST_NUMBER: {
        struct value value = value_number(expression->number.value);
        value.integer = expression->number.integer;
        return value;
    }
    case AST_STRING:
        return (struct value){.kind = VALUE_STRING, .text = expression->string};
    case AST_BOOLEAN:
        return value_bool(expression->boolean);
    case AST_NAME:
        return evaluate_name(e, expression);
    case AST_LIST:
        return evaluate_list(e, expression);
    case AST_CALL:
        return evaluate_call(e, expression);
    case AST_INDEX:
        return evaluate_index(e, expression);
    case AST_TRANSPOSE: {
        struct value x = evaluate_expression(e, expression->transpose);
        return tensor_transpose(e, &x, expression->span);
    }
    case AST_UNARY:
        return evaluate_unary(e, expression);
    case AST_BINARY:
        return evaluate_binary(e, expression);
    case AST_CONDITIONAL:
        return evaluate_conditional(e, expression);
    default:
        return report(e, E0402, expression->span, NULL, "this stands only in an index");
    }
}

struct value evaluate_expression(struct elaborator *e, const struct ast_expression *expression)
{
    if (e->depth >= DEPTH_MAX)
        return report(e, E0407, expression->span, NULL, "calls and expressions are nested too deeply");
    struct span here = e->here, user = e->builder.span;
    const char *callee = e->frame ? e->frame->callee : NULL;
    e->here = expression->span;
    if (!e->frame || !e->frame->prelude) {
        e->builder.span = expression->span;
        if (e->frame && expression->kind == AST_BINARY)
            e->frame->callee = arena_internf(e->arena, "`%s`", ast_operator_text(expression->binary.operator));
    }
    e->depth++;
    struct value value = evaluate_kind(e, expression);
    e->depth--;
    e->here = here;
    e->builder.span = user;
    if (e->frame)
        e->frame->callee = callee;
    return value;
}

struct value evaluate_initialiser(struct elaborator *e, const struct ast_expression *expression)
{
    struct value value;
    if (expression->kind != AST_NAME || lookup(e, expression->name, &value))
        return evaluate_expression(e, expression);
    struct ast_expression call = *expression;
    call.kind = AST_CALL;
    call.call = (struct ast_call){.callee = expression->name, .callee_span = expression->span};
    return evaluate_expression(e, &call);
}
