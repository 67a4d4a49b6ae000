/* `where` conditions: arithmetic over what a node costs. */
#include "passes/cost.h"
#include "passes/policies/match.h"

static double quantity(enum policy_quantity quantity, const struct node *node)
{
    switch (quantity) {
    case QUANTITY_BYTES:
        return node_bytes(node);
    case QUANTITY_FLOPS:
        return node_flops(node);
    case QUANTITY_ELEMENTS:
        return (double)shape_elements(&node->type.shape);
    default:
        return node->type.shape.rank;
    }
}

static double dimension(double axis, const struct shape *shape)
{
    if (axis < 0)
        axis += shape->rank;
    return axis >= 0 && axis < shape->rank ? (double)shape->dimension[(int)axis] : 0;
}

static double arithmetic(enum policy_operator operator, double a, double b)
{
    switch (operator) {
    case POLICY_ADD:
        return a + b;
    case POLICY_SUBTRACT:
        return a - b;
    case POLICY_MULTIPLY:
        return a * b;
    case POLICY_DIVIDE:
        return a / b;
    case POLICY_LESS:
        return a < b;
    case POLICY_LESS_EQUAL:
        return a <= b;
    case POLICY_EQUAL:
        return a == b;
    case POLICY_NOT_EQUAL:
        return a != b;
    case POLICY_AND:
        return a != 0 && b != 0;
    default: /* POLICY_OR */
        return a != 0 || b != 0;
    }
}

double policy_evaluate(const struct policy_condition *condition, const struct node *node)
{
    switch (condition->operator) {
    case POLICY_NUMBER:
        return condition->value;
    case POLICY_QUANTITY:
        return quantity(condition->quantity, node);
    case POLICY_DIMENSION:
        return dimension(condition->value, &node->type.shape);
    case POLICY_NOT:
        return policy_evaluate(condition->left, node) == 0;
    default:
        return arithmetic(condition->operator, policy_evaluate(condition->left, node),
                          policy_evaluate(condition->right, node));
    }
}
