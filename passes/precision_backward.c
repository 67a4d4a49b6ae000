/* Pass precision, backward nodes: they follow the node that they differentiate.
 *
 * The backward nodes of one node (of one operator, where a list names its scope) form a group: f32 inside, one rounding
 * of what leaves it, after its parts are added up where several belong to one value. What leaves is the gradient of
 * some value, and takes that value's type. Its users tell which value: they differentiate the node that made it. */
#include "passes/precision.h"

enum { MOVEMENT_DEPTH = 16 };

static const struct node *differentiated(const struct precision *precision, const struct node *node)
{
    return node->forward ? precision->by_origin[node->forward] : NULL;
}

static bool is_sum(const struct precision *precision, const struct node *node)
{
    if (node->op != OP_add || node->region != REGION_BACKWARD || !node->forward)
        return false;
    for (int i = 0; i < 2; i++) {
        const struct node *operand = node->operands[i];
        if (operand->region != REGION_BACKWARD ||
            (precision_same_group(precision, operand, node) && !precision->choices[operand->id].sum))
            return false;
    }
    return true;
}

const char *precision_leaves(const struct choice *choice)
{
    return choice->sum ? choice->sums : precision_in_operator(choice) ? choice->scope->operator: NULL;
}

void precision_find_sum(const struct precision *precision, const struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    choice->sum = is_sum(precision, node);
    if (!choice->sum)
        return;
    const char *left = precision_leaves(&precision->choices[node->operands[0]->id]);
    const char *right = precision_leaves(&precision->choices[node->operands[1]->id]);
    choice->sums = left == right ? left : NULL;
}

/* The type of the gradient of a forward node's value. */
static enum element gradient_type(const struct precision *precision, const struct node *value)
{
    const struct choice *choice = &precision->choices[value->id];
    if (choice->scalar_result || choice->state_only || !precision_in_operator(choice) || value->pin)
        return choice->nominal;
    return precision_operator_result(choice);
}

/* Joins what one user says of the node's type: that of the value whose gradient the node is. */
static void ask_user(const struct precision *precision, const struct node *user, enum element *strong,
                     enum element *weak)
{
    const struct policy *policy = precision->policy;
    const struct node *value = user->region == REGION_BACKWARD ? differentiated(precision, user) : NULL;
    if (user->region == REGION_UPDATE || user->op == OP_unscale)
        *weak = policy->gradients_f32 ? ELEMENT_F32 : *weak;
    else if (value && element_is_float(precision->choices[value->id].nominal)) {
        bool is_weak = precision->choices[value->id].weak;
        enum element *joined = is_weak ? weak : strong;
        if (!is_weak || policy->gradients_f32)
            *joined = precision_join(*joined, gradient_type(precision, value));
    }
}

/* Asks all users outside of the node's group, through movement that only carries the node out of it. */
static void ask_users(const struct precision *precision, const struct node *node, int depth, enum element *strong,
                      enum element *weak)
{
    for (int i = precision->use_start[node->id]; i < precision->use_start[node->id + 1]; i++) {
        const struct node *user = precision->uses[i];
        bool same = precision_same_group(precision, user, node);
        if (!same || precision->choices[user->id].sum)
            ask_user(precision, user, strong, weak);
        else if (precision_moves(user) && depth < MOVEMENT_DEPTH)
            ask_users(precision, user, depth + 1, strong, weak);
    }
}

void precision_ask_users(const struct precision *precision, const struct node *node, enum element *strong,
                         enum element *weak)
{
    *strong = *weak = ELEMENT_NONE;
    ask_users(precision, node, 0, strong, weak);
}

static const char *gradients_reason(const struct precision *precision)
{
    const char *reason = precision->policy->gradients_reason;
    return reason ? reason : "weight gradients are f32";
}

/* What the policy's algorithm decided, but for weight gradients where a setting decides those. */
static void backward_as_told(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    enum element strong, weak;
    precision_ask_users(precision, node, &strong, &weak);
    if (op_is(node->op, CLASS_CONTRACTION))
        choice->operand = precision_in_operator(choice) ? ELEMENT_F32 : choice->decided;
    if (choice->inner)
        precision_set(precision, node, ELEMENT_F32, "inside the backward of one operator");
    else if (!strong && weak == ELEMENT_F32 && precision->policy->gradients_f32)
        precision_set(precision, node, ELEMENT_F32, gradients_reason(precision));
    else
        precision_set(precision, node, choice->decided, choice->decided_reason);
}

static void leaves_group(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    enum element strong, weak;
    precision_ask_users(precision, node, &strong, &weak);
    const char *reason = "the gradient of a value has the value's type";
    enum element element = strong ? strong : weak;
    if (!strong && weak == ELEMENT_F32 && precision->policy->gradients_f32)
        reason = gradients_reason(precision);
    if (!element) {
        element = choice->operand ? choice->operand : precision_join_operands(precision, node, NULL);
        reason = "as its operands";
    }
    precision_set(precision, node, element ? element : ELEMENT_F32, reason);
}

/* A product whose forward product stands in the body of a loop: it sums over turns behind the loop, or belongs to the
 * gradient's body, which has the forward product's result as an input. */
static bool differentiates_in_loop(const struct precision *precision, const struct node *forward)
{
    return forward && (forward->op == OP_loop || (precision->graph->body && forward->op == OP_input));
}

/* Would the policy multiply halves if the node stood in the forward pass? */
static bool is_half_forward(const struct precision *precision, struct node *node)
{
    const struct choice *choice = &precision->choices[node->id];
    if (choice->scope->class)
        return choice->scope->class == PRECISION_HALF;
    node->region = REGION_FORWARD;
    struct rule_verdict rule = matcher_rule(precision->matcher, node);
    node->region = REGION_BACKWARD;
    return rule.class == PRECISION_HALF;
}

/* The operands of a backward contraction are those of the contraction that it differentiates. */
static void choose_operands(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    const struct node *forward = differentiated(precision, node);
    if (forward && op_is(forward->op, CLASS_CONTRACTION))
        choice->operand = precision->choices[forward->id].operand;
    else if (differentiates_in_loop(precision, forward) && is_half_forward(precision, node))
        choice->operand = precision->policy->half;
    else if (precision_in_operator(choice))
        choice->operand = ELEMENT_F32;
    else
        choice->operand = precision_join_operands(precision, node, NULL);
    if (!choice->operand)
        choice->operand = ELEMENT_F32;
}

void precision_backward(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    struct rule_verdict rule = matcher_rule(precision->matcher, node);
    if (rule.class) {
        precision_by_class(precision, node, rule.class, rule.reason);
        return;
    }
    if (choice->decided) {
        backward_as_told(precision, node);
        return;
    }
    if (op_is(node->op, CLASS_CONTRACTION))
        choose_operands(precision, node);
    const struct node *forward = differentiated(precision, node);
    if (choice->inner)
        precision_set(precision, node, ELEMENT_F32, "inside the backward of one operator");
    else if (choice->sum && forward)
        precision_set(precision, node, gradient_type(precision, forward),
                      "a sum of gradients has the type of the value that they belong to");
    else
        leaves_group(precision, node);
}
