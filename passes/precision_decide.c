/* Pass precision, deciding one node: what is fixed, what the policy says of forward and update nodes. */
#include "passes/precision.h"

/* ---- small questions ---- */

bool precision_in_operator(const struct choice *choice)
{
    return choice->scope->class != PRECISION_NONE && choice->scope->class != PRECISION_HALF;
}

bool precision_same_group(const struct precision *precision, const struct node *a, const struct node *b)
{
    const struct choice *left = &precision->choices[a->id], *right = &precision->choices[b->id];
    if (precision_in_operator(left) || precision_in_operator(right))
        return left->scope->operator== right->scope->operator;
    return a->region == REGION_BACKWARD && b->region == REGION_BACKWARD && a->forward && a->forward == b->forward;
}

bool precision_moves(const struct node *node)
{
    return (op_is(node->op, CLASS_MOVEMENT) && node->op != OP_concat) || node->op == OP_stop_gradient;
}

enum element precision_join(enum element a, enum element b)
{
    return !a ? b : !b ? a : element_promote(a, b);
}

enum element precision_join_operands(const struct precision *precision, const struct node *node,
                                     const struct node **widest)
{
    enum element joined = ELEMENT_NONE;
    int first = node->op == OP_where || node->op == OP_gather ? node->op == OP_where : 0;
    int end = node->op == OP_gather ? 1 : node->operand_count;
    for (int i = first; i < end; i++) {
        const struct choice *choice = &precision->choices[node->operands[i]->id];
        if (choice->weak || !element_is_float(choice->nominal))
            continue;
        enum element next = precision_join(joined, choice->nominal);
        if (widest && next != joined)
            *widest = node->operands[i];
        joined = next;
    }
    return joined;
}

const char *precision_node_text(const struct precision *precision, const struct node *node)
{
    struct arena *arena = precision->graph->module->arena;
    const char *op = op_info(node->op)->name;
    if (node->name)
        return node->name;
    if (node->span.file)
        return arena_internf(arena, "%s at %s:%d:%d", op, node->span.file, node->span.line, node->span.column);
    return op;
}

void precision_set(struct precision *precision, struct node *node, enum element element, const char *reason)
{
    struct choice *choice = &precision->choices[node->id];
    if (element_is_half(element) && !pass_may_rewrite(precision->context)) {
        element = ELEMENT_F32;
        reason = "left in f32 by the limit on rewrites";
    }
    choice->nominal = element;
    choice->reason = reason;
}

enum element precision_operator_result(const struct choice *choice)
{
    return choice->scope->class == PRECISION_F32 || !choice->carried ? ELEMENT_F32 : choice->carried;
}

/* ---- deciding ---- */

static const char *with_origin(const struct precision *precision, const char *reason, const struct node *from)
{
    if (!from)
        return reason;
    return arena_internf(precision->graph->module->arena, "%s: as %s", reason, precision_node_text(precision, from));
}

void precision_by_class(struct precision *precision, struct node *node, enum precision_class class, const char *reason)
{
    const struct node *from = NULL;
    enum element element = ELEMENT_F32;
    if (class == PRECISION_HALF) {
        element = precision->policy->half;
    } else if (class != PRECISION_F32) {
        enum element joined = precision_join_operands(precision, node, &from);
        element = joined ? joined : ELEMENT_F32;
        reason = with_origin(precision, reason, from);
    }
    precision_set(precision, node, element, reason);
    if (op_is(node->op, CLASS_CONTRACTION))
        precision->choices[node->id].operand = precision->choices[node->id].nominal;
}

/* A forward node in a scope that a list names. */
static void decide_in_scope(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    const char *reason = choice->scope->reason;
    if (choice->scope->class == PRECISION_HALF) {
        bool contraction = op_is(node->op, CLASS_CONTRACTION);
        precision_by_class(precision, node, contraction ? PRECISION_HALF : PRECISION_FOLLOW, reason);
        return;
    }
    enum element element = choice->inner ? ELEMENT_F32 : precision_operator_result(choice);
    if (choice->inner)
        reason = arena_internf(precision->graph->module->arena, "%s (inside)", reason);
    precision_set(precision, node, element, reason);
    choice->operand = op_is(node->op, CLASS_CONTRACTION) ? ELEMENT_F32 : ELEMENT_NONE;
}

/* What comes into the node's operator by its operands. */
static enum element carried_by_operands(const struct precision *precision, const struct node *node)
{
    enum element joined = ELEMENT_NONE;
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        const struct choice *choice = &precision->choices[operand->id];
        enum element element = precision_same_group(precision, operand, node)       ? choice->carried
                               : choice->weak || !element_is_float(choice->nominal) ? ELEMENT_NONE
                                                                                    : choice->nominal;
        joined = precision_join(joined, element);
    }
    return joined;
}

/* Why a leaf has its type. */
static const char *leaf_reason(const struct precision *precision, const struct node *node)
{
    const struct policy *policy = precision->policy;
    switch (node->op) {
    case OP_constant:
        return "constants are exact and widen nothing";
    case OP_input:
        return "as it is fed";
    case OP_read:
        return policy->masters_reason ? policy->masters_reason : "variables are f32";
    default:
        return "as it is drawn or given";
    }
}

/* Types that no policy decides. True when the node has one. */
static bool decide_fixed(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    enum element element = node->type.element;
    const char *reason = NULL;
    if (precision->graph->body && node->op == OP_output)
        reason = "as the loop carries it";
    else if (op_is(node->op, CLASS_EFFECT) || (precision_moves(node) && element_is_float(element))) {
        const struct choice *operand = &precision->choices[node->operands[0]->id];
        element = operand->nominal;
        reason = operand->reason;
    } else if (!element_is_float(element) || element == ELEMENT_F64)
        reason = "policies choose among f16, bf16 and f32 only";
    else if (op_is(node->op, CLASS_LOOP))
        reason = "as the loop carries it";
    else if (op_is(node->op, CLASS_LEAF))
        reason = leaf_reason(precision, node);
    else if (node->op == OP_cast && node->attributes->explicit_cast)
        reason = "cast written in the source";
    else if (node->pin) {
        element = node->pin;
        reason = "precision block";
    } else
        return false;
    choice->nominal = element;
    choice->reason = reason;
    choice->operand = op_is(node->op, CLASS_CONTRACTION) ? element : ELEMENT_NONE;
    return true;
}

/* What the policy's algorithm decided; an operator stays f32 inside. */
static void decide_as_told(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    const char *reason = choice->decided_reason;
    bool in_operator = precision_in_operator(choice);
    if (in_operator && choice->inner)
        reason = arena_internf(precision->graph->module->arena, "%s (inside)", reason);
    precision_set(precision, node, in_operator && choice->inner ? ELEMENT_F32 : choice->decided, reason);
    if (op_is(node->op, CLASS_CONTRACTION))
        choice->operand = in_operator ? ELEMENT_F32 : choice->nominal;
}

static void decide_forward(struct precision *precision, struct node *node)
{
    struct choice *choice = &precision->choices[node->id];
    if (choice->decided) {
        decide_as_told(precision, node);
    } else if (choice->scope->class) {
        decide_in_scope(precision, node);
    } else {
        struct rule_verdict rule = matcher_rule(precision->matcher, node);
        precision_by_class(precision, node, rule.class, rule.reason);
    }
}

static void decide_update(struct precision *precision, struct node *node)
{
    struct rule_verdict rule = matcher_rule(precision->matcher, node);
    if (rule.class)
        precision_by_class(precision, node, rule.class, rule.reason);
    else
        precision_by_class(precision, node, PRECISION_F32, "updates are f32");
}

bool precision_is_free(const struct precision *precision, const struct node *node)
{
    const struct choice *choice = &precision->choices[node->id];
    enum element element = node->type.element;
    if (!element_is_float(element) || element == ELEMENT_F64 || node->region == REGION_UPDATE || node->pin ||
        (node->op == OP_cast && node->attributes->explicit_cast))
        return false;
    return !op_is(node->op, CLASS_LEAF) && !op_is(node->op, CLASS_EFFECT) && !op_is(node->op, CLASS_LOOP) &&
           !choice->weak && !choice->scope->keep && (!op_is(node->op, CLASS_MARKER) || node->op == OP_stop_gradient);
}

void precision_tell(struct precision *precision, const struct node *node, enum element element, const char *reason)
{
    precision->choices[node->id].decided = element;
    precision->choices[node->id].decided_reason = reason;
}

void precision_decide(struct precision *precision, struct node *node, bool initial)
{
    struct choice *choice = &precision->choices[node->id];
    choice->carried = precision_in_operator(choice) ? carried_by_operands(precision, node) : ELEMENT_NONE;
    if (decide_fixed(precision, node))
        return;
    if (initial)
        precision_by_class(precision, node, PRECISION_F32, "initial values are f32");
    else if (node->op == OP_unscale && !precision->policy->gradients_f32)
        precision_by_class(precision, node, PRECISION_FOLLOW, "gradient");
    else if (choice->scalar_result)
        precision_by_class(precision, node, PRECISION_F32, "losses, metrics and logged values are f32");
    else if (choice->state_only)
        precision_by_class(precision, node, PRECISION_F32, "what only becomes state is f32");
    else if (op_is(node->op, CLASS_MARKER))
        precision_by_class(precision, node, PRECISION_F32, "loss scaling is f32");
    else if (node->region == REGION_UPDATE)
        decide_update(precision, node);
    else if (node->region == REGION_BACKWARD)
        precision_backward(precision, node);
    else
        decide_forward(precision, node);
}

const char *precision_rule_for_f32(const struct precision *precision, const struct node *node)
{
    const struct scope_verdict *scope = precision->choices[node->id].scope;
    if (node->region != REGION_FORWARD)
        return NULL;
    if (scope->class)
        return scope->class == PRECISION_F32 ? scope->reason : NULL;
    struct rule_verdict rule = matcher_rule(precision->matcher, node);
    return rule.class == PRECISION_F32 ? rule.reason : NULL;
}
