/* Pass simplify: rules of the pointwise ops. Each holds in IEEE arithmetic with the rounding of the node. */
#include "ir/evaluate.h"
#include "passes/rewrite.h"
#include "passes/simplify.h"

#include <math.h>
#include <stdlib.h>

/* A node of the same type, so with the same rounding. */
static struct node *make(struct simplifier *simplifier, const struct node *node, enum op op, struct node *a,
                         struct node *b)
{
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build(&simplifier->builder, op, (struct node *[]){a, b}, b ? 2 : 1, NULL, &node->type);
}

/* True when every value of `narrow` is one of `wide`. */
static bool element_holds(enum element wide, enum element narrow)
{
    if (wide == narrow || narrow == ELEMENT_BOOL)
        return true;
    switch (wide) {
    case ELEMENT_F64:
        return narrow != ELEMENT_I64;
    case ELEMENT_F32:
        return element_is_half(narrow) || narrow == ELEMENT_U8;
    case ELEMENT_F16:
    case ELEMENT_BF16:
    case ELEMENT_I32:
        return narrow == ELEMENT_U8;
    case ELEMENT_I64:
        return narrow == ELEMENT_I32 || narrow == ELEMENT_U8;
    default:
        return false;
    }
}

/* The operand of a negation that rounds nothing; NULL for anything else. */
static struct node *negated(const struct node *node)
{
    if (node->op != OP_neg || node->type.element != node->operands[0]->type.element)
        return NULL;
    return element_is_float(node->type.element) ? node->operands[0] : NULL;
}

static struct node *simplify_cast(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    if (x->type.element == node->type.element)
        return simplify_become(simplifier, node, x);
    if (x->op != OP_cast || !element_holds(x->type.element, x->operands[0]->type.element))
        return NULL;
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    return build(&simplifier->builder, OP_cast, x->operands, 1, node->attributes, &node->type);
}

static struct node *simplify_add(struct simplifier *simplifier, struct node *node)
{
    for (int i = 0; i < 2; i++) {
        struct node *x = node->operands[1 - i];
        double value;
        /* -0 is the neutral element of addition; 0 only where there is no -0. */
        if (node_uniform(node->operands[i], &value) && value == 0 &&
            (signbit(value) || !element_is_float(x->type.element)) && type_equal(&x->type, &node->type))
            return simplify_become(simplifier, node, x);
        if (negated(node->operands[i]))
            return make(simplifier, node, OP_sub, x, negated(node->operands[i]));
    }
    return NULL;
}

static struct node *simplify_sub(struct simplifier *simplifier, struct node *node)
{
    struct node *a = node->operands[0], *b = node->operands[1];
    double value;
    if (node_uniform(b, &value) && value == 0 && !signbit(value) && type_equal(&a->type, &node->type))
        return simplify_become(simplifier, node, a);
    return negated(b) ? make(simplifier, node, OP_add, a, negated(b)) : NULL;
}

/* x times (or divided by) the constant operand. */
static struct node *scale_by(struct simplifier *simplifier, struct node *node, struct node *x, struct node *constant,
                             double value)
{
    if (value == 1 && type_equal(&x->type, &node->type))
        return simplify_become(simplifier, node, x);
    if (value == -1 && element_is_float(x->type.element))
        return make(simplifier, node, OP_neg, x, NULL);
    if (!negated(x) || !element_is_float(constant->type.element) || !pass_may_rewrite(simplifier->context))
        return NULL;
    struct node *opposite = build_full(&simplifier->builder, -value, constant->type.element, &constant->type.shape);
    return build(&simplifier->builder, node->op, (struct node *[]){negated(x), opposite}, 2, NULL, &node->type);
}

static struct node *simplify_mul(struct simplifier *simplifier, struct node *node)
{
    double value;
    for (int i = 0; i < 2; i++)
        if (node_uniform(node->operands[i], &value))
            return scale_by(simplifier, node, node->operands[1 - i], node->operands[i], value);
    return NULL;
}

/* Dividing by a power of two is multiplying by its inverse, as long as that is a normal number of the same type. */
static struct node *simplify_div(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0], *constant = node->operands[1];
    enum element element = constant->type.element;
    double value;
    int exponent;
    if (!node_uniform(constant, &value) || !element_is_float(element))
        return NULL;
    if (fabs(value) == 1 || negated(x))
        return scale_by(simplifier, node, x, constant, value);
    if (value == 0 || !isfinite(value) || fabs(frexp(value, &exponent)) != 0.5 || abs(exponent) > 14)
        return NULL;
    if (!pass_may_rewrite(simplifier->context))
        return NULL;
    struct node *inverse = build_full(&simplifier->builder, 1 / value, element, &constant->type.shape);
    return build(&simplifier->builder, OP_mul, (struct node *[]){x, inverse}, 2, NULL, &node->type);
}

/* x^1 and x^0; x^2 where the square of a value has no more bits than f64. */
static struct node *simplify_pow(struct simplifier *simplifier, struct node *node)
{
    struct node *x = node->operands[0];
    double value;
    if (!node_uniform(node->operands[1], &value))
        return NULL;
    if (value == 0)
        return simplify_full(simplifier, node, 1);
    if (value == 1)
        return simplify_become(simplifier, node, x);
    bool exact = element_is_half(x->type.element) || x->type.element == ELEMENT_F32;
    return value == 2 && exact ? make(simplifier, node, OP_mul, x, x) : NULL;
}

static struct node *simplify_where(struct simplifier *simplifier, struct node *node)
{
    double value;
    if (node_uniform(node->operands[0], &value))
        return simplify_become(simplifier, node, node->operands[value != 0 ? 1 : 2]);
    return node->operands[1] == node->operands[2] ? simplify_become(simplifier, node, node->operands[1]) : NULL;
}

static struct node *simplify_logic(struct simplifier *simplifier, struct node *node)
{
    double value;
    for (int i = 0; i < 2; i++)
        if (node_uniform(node->operands[i], &value)) {
            bool neutral = (value != 0) == (node->op == OP_and);
            return neutral ? simplify_become(simplifier, node, node->operands[1 - i])
                           : simplify_full(simplifier, node, value != 0);
        }
    return node->operands[0] == node->operands[1] ? simplify_become(simplifier, node, node->operands[0]) : NULL;
}

/* The one value of a node whose operands are all constant; false for any other node. */
static bool constant_result(const struct node *node, double *result)
{
    double operands[3] = {0};
    for (int i = 0; i < node->operand_count; i++) {
        if (!node_uniform(node->operands[i], &operands[i]))
            return false;
        if (node->operands[i]->type.element == ELEMENT_I64 && fabs(operands[i]) > 0x1p53)
            return false; /* not exact in f64 */
    }
    double value = evaluate_pointwise(node->op, operands[0], operands[1], operands[2]);
    value = element_round(node->type.element, value);
    *result = isnan(value) ? NAN : value; /* without its sign, which computing it leaves open */
    return true;
}

struct node *simplify_pointwise(struct simplifier *simplifier, struct node *node)
{
    struct node *a = node->operands[0];
    double value;
    if (constant_result(node, &value))
        return simplify_full(simplifier, node, value);
    switch (node->op) {
    case OP_cast:
        return simplify_cast(simplifier, node);
    case OP_neg:
        return negated(a) ? simplify_become(simplifier, node, negated(a)) : NULL;
    case OP_not:
        return a->op == OP_not ? simplify_become(simplifier, node, a->operands[0]) : NULL;
    case OP_add:
        return simplify_add(simplifier, node);
    case OP_sub:
        return simplify_sub(simplifier, node);
    case OP_mul:
        return simplify_mul(simplifier, node);
    case OP_div:
        return simplify_div(simplifier, node);
    case OP_pow:
        return simplify_pow(simplifier, node);
    case OP_max:
    case OP_min:
        return a == node->operands[1] ? simplify_become(simplifier, node, a) : NULL;
    case OP_and:
    case OP_or:
        return simplify_logic(simplifier, node);
    case OP_where:
        return simplify_where(simplifier, node);
    default:
        return NULL;
    }
}
