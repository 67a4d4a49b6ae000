/* Compile-time arithmetic: numbers, truth values and strings. Dimensions are exact: a division that leaves a rest is an
 * error where a dimension is divided by a whole number. */
#include "frontend/language/elaborate_internal.h"
#include "ir/evaluate.h"

#include <math.h>
#include <string.h>

bool number_unary(enum op op, double x, double *result)
{
    static const enum op known[] = {OP_abs,   OP_sign, OP_floor, OP_ceil, OP_round, OP_sqrt, OP_rsqrt,   OP_exp,
                                    OP_expm1, OP_log,  OP_log1p, OP_sin,  OP_cos,   OP_tanh, OP_sigmoid, OP_erf};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] == op) {
            *result = evaluate_pointwise(op, x, x, x);
            return true;
        }
    return false;
}

static struct value divide(struct elaborator *e, const struct value *a, const struct value *b, struct span span)
{
    double quotient = a->number / b->number;
    struct value result = value_number(quotient);
    if (!value_is_integer(a) || !value_is_integer(b) || b->number == 0)
        return result;
    bool exact = fmod(a->number, b->number) == 0;
    if (!exact && a->derived && b->integer)
        return report(e, E0208, span, NULL, "%s / %s leaves a rest of %s", number_text(e, a->number),
                      number_text(e, b->number), number_text(e, fmod(a->number, b->number)));
    result.integer = exact && a->integer && b->integer;
    result.derived = result.integer && a->derived;
    return result;
}

static struct value compare(enum ast_operator operator, const struct value * a, const struct value *b)
{
    double x = a->number, y = b->number;
    switch (operator) {
    case AST_EQUAL:
        return value_bool(x == y);
    case AST_NOT_EQUAL:
        return value_bool(x != y);
    case AST_LESS:
        return value_bool(x < y);
    case AST_LESS_EQUAL:
        return value_bool(x <= y);
    case AST_GREATER:
        return value_bool(x > y);
    default:
        return value_bool(x >= y);
    }
}

static struct value arithmetic(struct elaborator *e, enum ast_operator operator, const struct value * a,
                               const struct value *b, struct span span)
{
    double number;
    switch (operator) {
    case AST_ADD:
        number = a->number + b->number;
        break;
    case AST_SUBTRACT:
        number = a->number - b->number;
        break;
    case AST_MULTIPLY:
        number = a->number * b->number;
        break;
    case AST_POWER:
        number = pow(a->number, b->number);
        break;
    case AST_DIVIDE:
        return divide(e, a, b, span);
    default:
        return compare(operator, a, b);
    }
    struct value result = value_number(number);
    result.integer = a->integer && b->integer && value_is_integer(&result);
    result.derived = result.integer && (a->derived || b->derived);
    return result;
}

bool value_same(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind == VALUE_STRING)
        return strcmp(a->text, b->text) == 0;
    if (a->kind == VALUE_TENSOR)
        return a->node == b->node;
    for (int i = 0; i < a->count; i++)
        if (!value_same(&a->items[i], &b->items[i]))
            return false;
    return a->number == b->number;
}

struct value number_binary(struct elaborator *e, enum ast_operator operator, const struct value * a,
                           const struct value *b, struct span span)
{
    if (a->kind == VALUE_ERROR || b->kind == VALUE_ERROR)
        return (struct value){0};
    if (a->kind == VALUE_NUMBER && b->kind == VALUE_NUMBER && operator!= AST_AND && operator!= AST_OR)
        return arithmetic(e, operator, a, b, span);
    /* tensors among the items ask for a comparison element by element, which lists have none of */
    bool comparable = a->kind == b->kind && !value_is_computed(a) && !value_is_computed(b);
    if (comparable && operator== AST_EQUAL)
        return value_bool(value_same(a, b));
    if (comparable && operator== AST_NOT_EQUAL)
        return value_bool(!value_same(a, b));
    if (a->kind == VALUE_BOOL && b->kind == VALUE_BOOL && operator== AST_AND)
        return value_bool(a->number != 0 && b->number != 0);
    if (a->kind == VALUE_BOOL && b->kind == VALUE_BOOL && operator== AST_OR)
        return value_bool(a->number != 0 || b->number != 0);
    return report(e, E0402, span, NULL, "`%s` is not defined for %s and %s", ast_operator_text(operator),
                  value_describe(e, a), value_describe(e, b));
}
