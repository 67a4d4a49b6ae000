/* Values: making them, describing them in messages, and checked conversions. */
#include "frontend/language/elaborate_internal.h"

#include <math.h>
#include <string.h>

struct value value_number(double number)
{
    return (struct value){.kind = VALUE_NUMBER, .number = number};
}

struct value value_integer(int64_t number)
{
    return (struct value){.kind = VALUE_NUMBER, .number = (double)number, .integer = true};
}

struct value value_dimension(const struct dimension *dimension)
{
    struct value value = value_integer(dimension->size);
    value.dimension = dimension;
    value.derived = true;
    return value;
}

struct value value_bool(bool truth)
{
    return (struct value){.kind = VALUE_BOOL, .number = truth};
}

struct value value_list(struct elaborator *e, const struct value *items, int count)
{
    return (struct value){
        .kind = VALUE_LIST, .items = arena_copy(e->arena, items, sizeof *items * (size_t)count), .count = count};
}

struct axis axis_here(const struct elaborator *e)
{
    const char *from = e->frame && e->frame->callee ? e->frame->callee : "this";
    return (struct axis){.from = from, .span = e->builder.span};
}

struct value value_tensor_axes(struct elaborator *e, struct node *node, const struct axis *axes)
{
    int rank = node->type.shape.rank;
    struct axis *own = ARENA_ARRAY(e->arena, struct axis, rank);
    for (int i = 0; i < rank; i++)
        own[i] = axes && axes[i].from ? axes[i] : axis_here(e);
    return (struct value){.kind = VALUE_TENSOR, .node = node, .axes = own};
}

struct value value_tensor(struct elaborator *e, struct node *node)
{
    return value_tensor_axes(e, node, NULL);
}

struct value report(struct elaborator *e, enum code code, struct span span, const char *label, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_vprintf(e->arena, format, arguments);
    va_end(arguments);
    /* an argument's place is the user's own, though its parameter is the prelude's */
    bool inside = e->frame && e->frame->prelude && e->builder.span.file && span.file &&
                  strcmp(span.file, e->frame->definition->ast->span.file) == 0;
    diagnostics_error(e->diagnostics, code, inside ? e->builder.span : span, inside ? NULL : label, "%s", text);
    if (inside)
        diagnostics_note(e->diagnostics, span, "in %s of the prelude", e->frame->definition->name);
    return (struct value){.kind = VALUE_ERROR};
}

bool value_is_integer(const struct value *value)
{
    return value->kind == VALUE_NUMBER && value->number == floor(value->number) && fabs(value->number) <= 0x1p53;
}

bool value_is_computed(const struct value *value)
{
    bool computed = value->kind == VALUE_TENSOR;
    for (int i = 0; i < value->count && !computed; i++)
        computed = value_is_computed(&value->items[i]);
    return computed;
}

const char *number_text(struct elaborator *e, double number)
{
    if (number == floor(number) && fabs(number) < 1e15)
        return arena_printf(e->arena, "%.0f", number);
    return arena_printf(e->arena, "%g", number);
}

const char *shape_text(struct elaborator *e, const struct shape *shape)
{
    char buffer[RANK_MAX * 24 + 3] = "[";
    size_t used = 1;
    for (int i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(buffer + used, sizeof buffer - used, "%s%lld", i ? ", " : "",
                                 (long long)shape->dimension[i]);
    snprintf(buffer + used, sizeof buffer - used, "]");
    return arena_intern(e->arena, buffer);
}

const char *value_describe(struct elaborator *e, const struct value *value)
{
    static const char *const names[] = {"an error", "a number",       "a truth value", "a string", "an element type",
                                        "a list",   "several values", "a ratio",       "a tensor"};
    if (value->kind == VALUE_NUMBER)
        return arena_printf(e->arena, "the number %s", number_text(e, value->number));
    if (value->kind == VALUE_TENSOR && value->classes)
        return arena_printf(e->arena, "a class(%lld) tensor of shape %s", (long long)value->classes,
                            shape_text(e, &value->node->type.shape));
    if (value->kind == VALUE_TENSOR)
        return arena_printf(e->arena, "a tensor %s%s", element_name(value->node->type.element),
                            shape_text(e, &value->node->type.shape));
    return names[value->kind];
}

/* ---- checked conversions ---- */

static bool refuse(struct elaborator *e, const struct value *value, struct span span, const char *what,
                   const char *wanted)
{
    if (value->kind != VALUE_ERROR)
        report(e, E0402, span, NULL, "%s must be %s, not %s", what, wanted, value_describe(e, value));
    return false;
}

bool want_number(struct elaborator *e, const struct value *value, struct span span, const char *what, double *number)
{
    if (value->kind == VALUE_TENSOR) {
        report(e, E0401, span, NULL, "%s must be known at compile time, but this is %s", what,
               value_describe(e, value));
        return false;
    }
    if (value->kind != VALUE_NUMBER)
        return refuse(e, value, span, what, "a number");
    *number = value->number;
    return true;
}

bool want_integer(struct elaborator *e, const struct value *value, struct span span, const char *what, int64_t *number)
{
    double exact;
    if (!want_number(e, value, span, what, &exact))
        return false;
    if (!value_is_integer(value)) {
        report(e, E0208, span, NULL, "%s must be a whole number, not %s", what, number_text(e, exact));
        return false;
    }
    *number = (int64_t)exact;
    return true;
}

bool want_size(struct elaborator *e, const struct value *value, struct span span, const char *what, int64_t *size)
{
    if (!want_integer(e, value, span, what, size))
        return false;
    if (*size >= 0 && *size <= ELEMENTS_MAX)
        return true;
    report(e, E0210, span, NULL, "%s is %lld, which is no size of an axis", what, (long long)*size);
    return false;
}

bool want_bool(struct elaborator *e, const struct value *value, struct span span, const char *what, bool *truth)
{
    if (value->kind == VALUE_TENSOR) {
        report(e, E0401, span, NULL, "%s must be known at compile time, but this is %s", what,
               value_describe(e, value));
        diagnostics_note(e->diagnostics, (struct span){0},
                         "to choose element by element, write `if c then a else b` as an expression");
        return false;
    }
    if (value->kind != VALUE_BOOL)
        return refuse(e, value, span, what, "true or false");
    *truth = value->number != 0;
    return true;
}

bool want_tensor(struct elaborator *e, const struct value *value, struct span span, const char *what)
{
    return value->kind == VALUE_TENSOR || refuse(e, value, span, what, "a tensor");
}

bool shape_fits(struct elaborator *e, const struct shape *shape, struct span span)
{
    double elements = 1; /* axes of size 0 apart, so that no product of sizes is larger either */
    for (int i = 0; i < shape->rank; i++)
        elements *= shape->dimension[i] ? (double)shape->dimension[i] : 1;
    if (elements <= (double)ELEMENTS_MAX)
        return true;
    report(e, E0210, span, NULL, "a tensor of shape %s has %.3g elements; the most is 2^40", shape_text(e, shape),
           elements);
    return false;
}

bool want_shape(struct elaborator *e, const struct value *value, struct span span, struct shape *shape,
                struct axis axes[RANK_MAX])
{
    if (value->kind != VALUE_LIST)
        return refuse(e, value, span, "a shape", "a list of sizes such as [2, 3]");
    if (value->count > RANK_MAX) {
        report(e, E0211, span, NULL, "a shape has at most %d axes, not %d", RANK_MAX, value->count);
        return false;
    }
    shape->rank = value->count;
    for (int i = 0; i < value->count; i++) {
        if (!want_size(e, &value->items[i], span, "a size", &shape->dimension[i]))
            return false;
        axes[i] = axis_here(e);
        axes[i].dimension = value->items[i].dimension;
    }
    return shape_fits(e, shape, span);
}
