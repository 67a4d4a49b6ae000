/* The table of gradient rules, and the rules of the pointwise ops.
 *
 * Where a derivative can be written with the result or with an operand, the result is taken when it is likely to be
 * kept anyway (it is the input of the next layer): exp, tanh, sqrt, relu and their like save no second tensor then. */
#include "passes/gradient_rules.h"

#include "passes/rewrite.h"

#include <math.h>

gradient_rule *gradient_rule_of(enum op op)
{
    static gradient_rule *const rules[OP_COUNT] = {
#define POINTWISE(name, arity, element, gradient, expression, flops, help) gradient_##gradient,
#define OTHER(name, arity, class, attributes, gradient, help) gradient_##gradient,
#include "ir/ops.def"
    };
    return rules[op];
}

struct node *gradient_none(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)builder, (void)y, (void)dy, (void)i;
    return NULL;
}

struct node *gradient_full(struct builder *builder, double value, const struct node *like)
{
    return build_full(builder, value, like->type.element, &like->type.shape);
}

struct node *gradient_scale(struct builder *builder, struct node *a, double value)
{
    return build_binary(builder, OP_mul, a, gradient_full(builder, value, a));
}

static struct node *mul(struct builder *builder, struct node *a, struct node *b)
{
    return build_binary(builder, OP_mul, a, b);
}

static struct node *divide(struct builder *builder, struct node *a, struct node *b)
{
    return build_binary(builder, OP_div, a, b);
}

/* Multiplication by a number that the loss does not depend on. */
struct node *gradient_unscale(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return build(builder, OP_unscale, &dy, 1, y->attributes, NULL);
}

/* a + value */
static struct node *plus(struct builder *builder, struct node *a, double value)
{
    return build_binary(builder, OP_add, a, gradient_full(builder, value, a));
}

/* dy where the condition holds, else 0; or the other way round. */
static struct node *keep_where(struct builder *builder, struct node *condition, struct node *dy, bool holds)
{
    struct node *zero = gradient_full(builder, 0, dy);
    return holds ? build_where(builder, condition, dy, zero) : build_where(builder, condition, zero, dy);
}

/* The caller's conversion to the operand's element type is all that there is to do. */
struct node *gradient_cast(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)builder, (void)y, (void)i;
    return dy;
}

struct node *gradient_neg(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)y, (void)i;
    return build_unary(builder, OP_neg, dy);
}

struct node *gradient_abs(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return mul(builder, dy, build_unary(builder, OP_sign, y->operands[i]));
}

/* dy / (2 y) */
struct node *gradient_sqrt(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return divide(builder, gradient_scale(builder, dy, 0.5), y);
}

/* -dy y^3 / 2 */
struct node *gradient_rsqrt(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    struct node *cube = mul(builder, mul(builder, y, y), y);
    return mul(builder, gradient_scale(builder, dy, -0.5), cube);
}

struct node *gradient_exp(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return mul(builder, dy, y);
}

struct node *gradient_expm1(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    return mul(builder, dy, plus(builder, y, 1));
}

struct node *gradient_log(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return divide(builder, dy, y->operands[i]);
}

struct node *gradient_log1p(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return divide(builder, dy, plus(builder, y->operands[i], 1));
}

struct node *gradient_sin(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return mul(builder, dy, build_unary(builder, OP_cos, y->operands[i]));
}

struct node *gradient_cos(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return mul(builder, dy, build_unary(builder, OP_neg, build_unary(builder, OP_sin, y->operands[i])));
}

/* dy (1 - y^2) */
struct node *gradient_tanh(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    struct node *slope = build_binary(builder, OP_sub, gradient_full(builder, 1, y), mul(builder, y, y));
    return mul(builder, dy, slope);
}

/* dy y (1 - y) */
struct node *gradient_sigmoid(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)i;
    struct node *other = build_binary(builder, OP_sub, gradient_full(builder, 1, y), y);
    return mul(builder, dy, mul(builder, y, other));
}

/* dy exp(-x^2) 2 / sqrt(pi) */
struct node *gradient_erf(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *x = y->operands[i];
    struct node *bell = build_unary(builder, OP_exp, build_unary(builder, OP_neg, mul(builder, x, x)));
    return mul(builder, gradient_scale(builder, dy, M_2_SQRTPI), bell);
}

struct node *gradient_add(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)builder, (void)y, (void)i;
    return dy;
}

struct node *gradient_sub(struct builder *builder, struct node *y, struct node *dy, int i)
{
    (void)y;
    return i == 0 ? dy : build_unary(builder, OP_neg, dy);
}

struct node *gradient_mul(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return mul(builder, dy, y->operands[1 - i]);
}

/* dy / b and -dy y / b */
struct node *gradient_div(struct builder *builder, struct node *y, struct node *dy, int i)
{
    struct node *part = divide(builder, dy, y->operands[1]);
    return i == 0 ? part : build_unary(builder, OP_neg, mul(builder, part, y));
}

/* To the base: dy b a^(b - 1), and 0 where b = 0 even if a = 0. */
static struct node *gradient_pow_base(struct builder *builder, struct node *y, struct node *dy)
{
    struct node *a = y->operands[0], *b = y->operands[1];
    double exponent;
    if (node_uniform(b, &exponent)) {
        if (exponent == 0)
            return gradient_full(builder, 0, dy);
        if (exponent == 1)
            return dy;
        if (exponent == 2)
            return mul(builder, dy, gradient_scale(builder, a, 2));
        struct node *power = build_binary(builder, OP_pow, a, gradient_full(builder, exponent - 1, b));
        return mul(builder, dy, gradient_scale(builder, power, exponent));
    }
    struct node *power = build_binary(builder, OP_pow, a, plus(builder, b, -1));
    struct node *slope = mul(builder, dy, mul(builder, b, power));
    return keep_where(builder, build_binary(builder, OP_eq, b, gradient_full(builder, 0, b)), slope, false);
}

/* To the exponent: dy y log(a), and 0 where a = 0 and b >= 0, as the limit is. */
static struct node *gradient_pow_exponent(struct builder *builder, struct node *y, struct node *dy)
{
    struct node *a = y->operands[0], *b = y->operands[1];
    struct node *slope = mul(builder, dy, mul(builder, y, build_unary(builder, OP_log, a)));
    struct node *at_zero = build_binary(builder, OP_eq, a, gradient_full(builder, 0, a));
    struct node *bounded = build_binary(builder, OP_ge, b, gradient_full(builder, 0, b));
    return keep_where(builder, build_binary(builder, OP_and, at_zero, bounded), slope, false);
}

struct node *gradient_pow(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return i == 0 ? gradient_pow_base(builder, y, dy) : gradient_pow_exponent(builder, y, dy);
}

/* What max or min compares with its second operand. The result lies beyond zero exactly where the first operand does,
 * so relu needs its result alone. But a result in half is rounded, may come to lie beyond another bound or on it, and
 * what was clipped would get a gradient. */
static struct node *compared(struct node *y)
{
    double bound;
    return node_uniform(y->operands[1], &bound) && bound == 0 ? y : y->operands[0];
}

struct node *gradient_max(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return keep_where(builder, build_binary(builder, OP_gt, compared(y), y->operands[1]), dy, i == 0);
}

struct node *gradient_min(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return keep_where(builder, build_binary(builder, OP_lt, compared(y), y->operands[1]), dy, i == 0);
}

/* The condition is bool, so i is 1 or 2. */
struct node *gradient_where(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return i == 0 ? NULL : keep_where(builder, y->operands[0], dy, i == 1);
}

struct node *gradient_fma(struct builder *builder, struct node *y, struct node *dy, int i)
{
    return i == 2 ? dy : mul(builder, dy, y->operands[1 - i]);
}
