/* Which rule of a policy matches a node. A matcher remembers what it found for each scope, so asking is cheap. */
#ifndef CASTOR_PASSES_POLICIES_MATCH_H
#define CASTOR_PASSES_POLICIES_MATCH_H

#include "passes/policies/policy.h"

/* What a policy says of a scope: the class that its outermost named part has, and that part. */
struct scope_verdict {
    enum precision_class class; /* PRECISION_NONE: no list names the scope */
    const char *operator;       /* interned: the scope up to the part named; equal for all nodes of that call */
    bool keep;                  /* by a `keep`: no algorithm may decide otherwise */
    const char *reason;         /* "autocast.policy:23: f32 scope softmax" */
};

struct rule_verdict {
    enum precision_class class; /* PRECISION_NONE: no rule (backward and update nodes only) */
    const char *reason;
};

struct matcher;

struct matcher *matcher_new(const struct policy *policy, struct arena *arena);
void matcher_free(struct matcher *matcher);

/* A `keep` for any part of the scope, else the last scope rule for the outermost part that any names. The verdict
 * lives as long as the arena. */
const struct scope_verdict *matcher_scope(struct matcher *matcher, const char *scope);

/* The last rule by op, region or cost that matches. Forward nodes fall back on the policy's default; for others only
 * rules that name their region count. */
struct rule_verdict matcher_rule(struct matcher *matcher, const struct node *node);

/* Value of a `where` condition (truth is 1 or 0). */
double policy_evaluate(const struct policy_condition *condition, const struct node *node);

#endif
