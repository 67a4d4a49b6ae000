/* `where` conditions: what a node costs, and comparing it. */
#include "passes/policies/match.h"

static double type_bytes(const struct type *type)
{
    return (double)shape_elements(&type->shape) * (double)element_bytes(type->element);
}

double node_bytes(const struct node *node)
{
    double bytes = type_bytes(&node->type);
    for (int i = 0; i < node->operand_count; i++)
        bytes += type_bytes(&node->operands[i]->type);
    return bytes;
}

/* Multiplications and additions: each element of x meets (conv) o / groups * kernel weights at every output place. */
static double contraction_flops(const struct node *node)
{
    const struct shape *a = &node->operands[0]->type.shape, *b = &node->operands[1]->type.shape;
    const struct shape *weight = node->op == OP_conv ? b : node->op == OP_conv_data ? a : &node->type.shape;
    const struct shape *output = node->op == OP_conv ? &node->type.shape : b;
    double each = 1;
    if (node->op == OP_matmul) {
        each = (double)a->dimension[a->rank - 1 - node->attributes->transpose_a];
        return 2 * each * (double)shape_elements(&node->type.shape);
    }
    for (int i = 1; i < weight->rank; i++)
        each *= (double)weight->dimension[i];
    return 2 * each * (double)shape_elements(output);
}

double node_flops(const struct node *node)
{
    double elements = (double)shape_elements(&node->type.shape);
    switch (op_info(node->op)->class) {
    case CLASS_CONTRACTION:
        return contraction_flops(node);
    case CLASS_POINTWISE:
        return elements * op_info(node->op)->flops;
    case CLASS_REDUCE:
    case CLASS_SCAN:
    case CLASS_FOLD:
        return (double)shape_elements(&node->operands[0]->type.shape);
    default:
        return 0;
    }
}

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
