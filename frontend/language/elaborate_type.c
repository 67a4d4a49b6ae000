/* Types as written: `x: [b, c, h, w]` of a parameter, which binds names, and `[n, k]` of a param, which uses them. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

static const char *type_text(struct elaborator *e, const struct ast_type *type)
{
    const char *text = "[";
    for (int i = 0; i < type->dimensions.count; i++) {
        const struct ast_expression *item = type->dimensions.items[i];
        const char *word = item->kind == AST_NAME     ? item->name
                           : item->kind == AST_REST   ? ".."
                           : item->kind == AST_NUMBER ? item->number.text
                                                      : "(…)";
        text = arena_printf(e->arena, "%s%s%s", text, i ? ", " : "", word);
    }
    return arena_printf(e->arena, "%s]", text);
}

static bool element_matches(struct elaborator *e, const struct ast_type *type, const char *what,
                            const struct value *value)
{
    if (!type->element)
        return true;
    bool classes = strcmp(type->element, "class") == 0;
    enum element element = classes ? ELEMENT_I32 : element_find(type->element);
    if (element == ELEMENT_NONE) {
        report(e, E0204, type->span, NULL, "there is no element type `%s`", type->element);
        return false;
    }
    int64_t count = 0;
    if (classes) {
        struct value given = evaluate_expression(e, type->classes);
        if (!want_size(e, &given, type->classes->span, "the number of classes", &count))
            return false;
    }
    if (value->node->type.element == element && value->classes == count)
        return true;
    report(e, E0204, e->here, NULL, "`%s` is %s, but %s is wanted", what, value_describe(e, value), type->element);
    return false;
}

/* A dimension's name that has no value yet is bound here, to the axis's own dimension where it has one. */
static void bind_dimension(struct elaborator *e, const char *name, struct axis *axis, int64_t size)
{
    if (!axis->dimension) {
        struct dimension *dimension = ARENA_NEW(e->arena, struct dimension);
        *dimension = (struct dimension){name, size};
        axis->dimension = dimension;
    }
    hmputs(e->frame->bindings, ((struct binding){name, value_dimension(axis->dimension), NULL}));
}

static bool dimension_matches(struct elaborator *e, const struct ast_expression *item, const char *what,
                              struct axis *axis, int64_t size)
{
    struct value bound;
    if (item->kind == AST_NAME && !lookup(e, item->name, &bound)) {
        bind_dimension(e, item->name, axis, size);
        return true;
    }
    int64_t wanted;
    struct value given = evaluate_expression(e, item);
    if (!want_size(e, &given, item->span, "a dimension", &wanted))
        return false;
    if (wanted == size)
        return true;
    const char *label = arena_printf(e->arena, "%lld comes from %s at %s:%d:%d", (long long)size, axis->from,
                                     axis->span.file, axis->span.line, axis->span.column);
    report(e, E0207, e->here, label, "`%s` has %lld where %s%s%lld is wanted", what, (long long)size,
           item->kind == AST_NAME ? item->name : "", item->kind == AST_NAME ? " = " : "", (long long)wanted);
    return false;
}

bool match_type(struct elaborator *e, const struct ast_type *type, const char *what, struct value *value)
{
    if (!want_tensor(e, value, e->here, arena_printf(e->arena, "`%s`", what)) || !element_matches(e, type, what, value))
        return false;
    const struct shape *shape = &value->node->type.shape;
    int count = type->dimensions.count;
    bool rest = count && type->dimensions.items[0]->kind == AST_REST;
    int skipped = rest ? shape->rank - (count - 1) : 0;
    if (rest ? skipped < 0 : count != shape->rank) {
        report(e, E0211, e->here, NULL, "`%s` has the shape %s, but %s is wanted", what, shape_text(e, shape),
               type_text(e, type));
        return false;
    }
    struct axis *axes = ARENA_ARRAY(e->arena, struct axis, shape->rank);
    if (shape->rank)
        memcpy(axes, value->axes, sizeof *axes * (size_t)shape->rank);
    for (int i = rest; i < count; i++)
        if (!dimension_matches(e, type->dimensions.items[i], what, &axes[skipped + i - rest],
                               shape->dimension[skipped + i - rest]))
            return false;
    value->axes = axes;
    return true;
}

bool type_shape(struct elaborator *e, const struct ast_type *type, struct shape *shape, struct axis axes[RANK_MAX])
{
    if (type->element && strcmp(type->element, "f32") != 0) {
        report(e, E0204, type->span, NULL, "a parameter is f32, not %s; the precision policy makes its half copies",
               type->element);
        return false;
    }
    int count = type->dimensions.count;
    struct value *sizes = ARENA_ARRAY(e->arena, struct value, count + 1);
    for (int i = 0; i < count; i++) {
        if (type->dimensions.items[i]->kind == AST_REST) {
            report(e, E0402, type->dimensions.items[i]->span, NULL, "a parameter's shape has no `..`");
            return false;
        }
        sizes[i] = evaluate_expression(e, type->dimensions.items[i]);
        if (sizes[i].kind == VALUE_ERROR)
            return false;
    }
    struct value list = value_list(e, sizes, count);
    if (!want_shape(e, &list, type->span, shape, axes))
        return false;
    if (shape_elements(shape) == 0)
        report(e, E0210, type->span, NULL, "a parameter of shape %s has no elements", shape_text(e, shape));
    return shape_elements(shape) > 0;
}
