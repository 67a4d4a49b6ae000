/* Matching nodes with the rules of a policy. */
#include "passes/policies/match.h"
#include "ir/scope.h"
#include "ir/wildcard.h"

#include <stb/stb_ds.h>
#include <string.h>

/* A scope name of a rule; patterns are tried one by one, plain names are found in a hash. */
struct scope_name {
    const struct policy_rule *rule;
    const struct policy_name *name;
};

struct name_entry {
    const char *key;
    struct scope_name value;
};

struct verdict_entry {
    const char *key; /* a scope */
    struct scope_verdict *value;
};

struct scope_table {
    struct name_entry *names;    /* stb_ds hash: the last rule that has the name */
    struct scope_name *patterns; /* stb_ds array */
};

struct matcher {
    const struct policy *policy;
    struct arena *arena;
    struct scope_table keeps, scopes;
    const struct policy_rule **rules[OP_COUNT]; /* stb_ds arrays: what could match, the strongest first */
    struct verdict_entry *verdicts;             /* stb_ds hash */
    char *path;                                 /* stb_ds array: the instance path now looked at */
};

static void add_scopes(struct scope_table *table, const struct policy_rule *rule)
{
    for (const struct policy_name *name = rule->scopes; name; name = name->next) {
        struct scope_name entry = {rule, name};
        if (strchr(name->text, '*'))
            arrput(table->patterns, entry);
        else
            shput(table->names, name->text, entry);
    }
}

static bool rule_names_op(const struct policy_rule *rule, enum op op)
{
    const struct policy_name *name = rule->ops;
    while (name && op_find(name->text) != op)
        name = name->next;
    return !rule->ops || name;
}

struct matcher *matcher_new(const struct policy *policy, struct arena *arena)
{
    struct matcher *matcher = ARENA_NEW(arena, struct matcher);
    matcher->policy = policy;
    matcher->arena = arena;
    const struct policy_rule **plain = NULL;
    for (const struct policy_rule *rule = policy->rules; rule; rule = rule->next) {
        if (rule->scopes)
            add_scopes(rule->keep ? &matcher->keeps : &matcher->scopes, rule);
        else
            arrput(plain, rule);
    }
    for (ptrdiff_t i = arrlen(plain) - 1; i >= 0; i--)
        for (int op = 0; op < OP_COUNT; op++)
            if (rule_names_op(plain[i], (enum op)op))
                arrput(matcher->rules[op], plain[i]);
    arrfree(plain);
    return matcher;
}

static void table_free(struct scope_table *table)
{
    shfree(table->names);
    arrfree(table->patterns);
}

void matcher_free(struct matcher *matcher)
{
    table_free(&matcher->keeps);
    table_free(&matcher->scopes);
    for (int op = 0; op < OP_COUNT; op++)
        arrfree(matcher->rules[op]);
    shfree(matcher->verdicts);
    arrfree(matcher->path);
}

/* ---- scopes ---- */

/* Extends the path by a segment's label; it stays terminated. */
static void extend_path(char **path, const struct scope_segment *segment)
{
    if (arrlen(*path))
        (*path)[arrlen(*path) - 1] = '.';
    for (size_t i = 0; i < segment->label_length; i++)
        arrput(*path, segment->label[i]);
    arrput(*path, 0);
}

static void take_later(struct scope_name *best, const struct scope_name *found)
{
    if (!best->rule || found->rule->order > best->rule->order)
        *best = *found;
}

/* The last rule for a call by its callee or, when it has a label, by its instance path. The built-in rules name what
 * the prelude defines: an instance that a model happens to call `norm` is none of theirs. */
static struct scope_name find_in_table(struct scope_table *table, const char *callee, const char *path)
{
    struct scope_name best = {0};
    ptrdiff_t at = shgeti(table->names, callee);
    if (at >= 0)
        take_later(&best, &table->names[at].value);
    at = path ? shgeti(table->names, path) : -1;
    if (at >= 0 && !table->names[at].value.rule->built_in)
        take_later(&best, &table->names[at].value);
    for (ptrdiff_t i = 0; path && i < arrlen(table->patterns); i++)
        if (wildcard_matches(table->patterns[i].name->text, path))
            take_later(&best, &table->patterns[i]);
    return best;
}

static void fill_verdict(const struct matcher *matcher, struct scope_verdict *verdict, const struct scope_name *found,
                         const char *scope, size_t length)
{
    const struct policy_rule *rule = found->rule;
    const char *class = precision_class_name(rule->class), *name = found->name->text;
    verdict->class = rule->class;
    verdict->keep = rule->keep;
    verdict->operator= arena_intern_length(matcher->arena, scope, length);
    verdict->reason =
        arena_internf(matcher->arena, rule->keep ? "%s:%d: keep %s %s" : "%s:%d: %s scope %s", found->name->span.file,
                      found->name->span.line, rule->keep ? name : class, rule->keep ? class : name);
}

static void decide_scope(struct matcher *matcher, const char *scope, struct scope_verdict *verdict)
{
    const char *rest = scope;
    struct scope_segment segment;
    bool kept = false;
    arrsetlen(matcher->path, 0);
    while (!kept && scope_next(&rest, &segment)) {
        const char *callee = arena_intern_length(matcher->arena, segment.callee, segment.callee_length);
        size_t length = (size_t)(segment.callee + segment.callee_length - scope);
        if (segment.label_length)
            extend_path(&matcher->path, &segment);
        const char *path = segment.label_length ? matcher->path : NULL;
        struct scope_name keep = find_in_table(&matcher->keeps, callee, path);
        struct scope_name named = find_in_table(&matcher->scopes, callee, path);
        if (keep.rule)
            fill_verdict(matcher, verdict, &keep, scope, length);
        else if (named.rule && !verdict->class)
            fill_verdict(matcher, verdict, &named, scope, length);
        kept = keep.rule;
    }
}

const struct scope_verdict *matcher_scope(struct matcher *matcher, const char *scope)
{
    ptrdiff_t at = shgeti(matcher->verdicts, scope);
    if (at >= 0)
        return matcher->verdicts[at].value;
    struct scope_verdict *verdict = ARENA_NEW(matcher->arena, struct scope_verdict);
    decide_scope(matcher, scope, verdict);
    shput(matcher->verdicts, scope, verdict);
    return verdict;
}

/* ---- rules by op, region and cost ---- */

static bool rule_matches(const struct policy_rule *rule, const struct node *node)
{
    unsigned regions = rule->regions ? rule->regions : 1u << REGION_FORWARD;
    return (regions >> node->region & 1) && (!rule->where || policy_evaluate(rule->where, node) != 0);
}

struct rule_verdict matcher_rule(struct matcher *matcher, const struct node *node)
{
    const struct policy_rule **rules = matcher->rules[node->op], *found = NULL;
    for (ptrdiff_t i = 0; i < arrlen(rules) && !found; i++)
        if (rule_matches(rules[i], node))
            found = rules[i];
    if (!found && node->region != REGION_FORWARD)
        return (struct rule_verdict){0};
    if (!found)
        found = matcher->policy->otherwise;
    bool by_op_alone = found->ops && !found->regions && !found->where;
    const char *reason =
        by_op_alone ? arena_internf(matcher->arena, "%s:%d: %s op %s", found->span.file, found->span.line,
                                    precision_class_name(found->class), op_info(node->op)->name)
                    : arena_internf(matcher->arena, "%s:%d: %s", found->span.file, found->span.line, found->text);
    return (struct rule_verdict){found->class, reason};
}
