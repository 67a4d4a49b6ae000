/* Comparing a policy with the model that it is to be used on: what its rules name must exist. */
#include "ir/scope.h"
#include "ir/wildcard.h"
#include "passes/policies/match.h"

#include <stb/stb_ds.h>
#include <string.h>

struct known_entry {
    const char *key;
    bool value; /* true: an instance path, false: the name of a module or function */
};

/* All names that rules can mean, and the model's scopes. */
struct known {
    struct arena *arena;
    struct known_entry *names;  /* stb_ds hash */
    struct known_entry *scopes; /* stb_ds hash: distinct scope texts */
};

/* ---- what there is ---- */

static void know_scope(struct known *known, const char *scope)
{
    const char *rest = scope;
    struct scope_segment segment;
    while (scope_next(&rest, &segment)) {
        const char *callee = arena_intern_length(known->arena, segment.callee, segment.callee_length);
        if (shgeti(known->names, callee) < 0)
            shput(known->names, callee, false);
        if (!segment.label_length)
            continue;
        size_t length = (size_t)(segment.callee + segment.callee_length - scope);
        const char *path = scope_path(known->arena, arena_intern_length(known->arena, scope, length));
        if (shgeti(known->names, path) < 0)
            shput(known->names, path, true);
    }
}

static void know_graph(struct known *known, const struct graph *graph)
{
    const char *last = NULL; /* neighbours mostly share their scope */
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const char *scope = graph->nodes[i]->scope;
        if (scope == last || shgeti(known->scopes, scope) >= 0)
            continue;
        last = scope;
        shput(known->scopes, scope, true);
        know_scope(known, scope);
    }
}

/* ---- what rules name ---- */

static bool matches_instance(const struct known *known, const char *pattern)
{
    for (ptrdiff_t i = 0; i < shlen(known->names); i++)
        if (known->names[i].value && wildcard_matches(pattern, known->names[i].key))
            return true;
    return false;
}

static bool exists(struct known *known, const char *name, const char *const *definitions, size_t count)
{
    if (strchr(name, '*'))
        return matches_instance(known, name);
    for (size_t i = 0; i < count; i++)
        if (strcmp(definitions[i], name) == 0)
            return true;
    return shgeti(known->names, name) >= 0;
}

static void suggest_name(const struct policy *policy, const struct known *known, const char *name,
                         const char *const *definitions, size_t count)
{
    const char **candidates = NULL;
    for (ptrdiff_t i = 0; i < shlen(known->names); i++)
        arrput(candidates, known->names[i].key);
    for (size_t i = 0; i < count; i++)
        arrput(candidates, definitions[i]);
    const char *near = suggest(name, candidates, arrlenu(candidates));
    if (op_find(name) != OP_COUNT)
        diagnostics_note(policy->diagnostics, (struct span){0}, "`%s` is an op: `op %s` names it", name, name);
    else if (near)
        diagnostics_note(policy->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    arrfree(candidates);
}

static void check_names(const struct policy *policy, struct known *known, const struct policy_rule *rule,
                        const char *const *definitions, size_t count)
{
    if (rule->built_in || (!rule->keep && !count))
        return;
    for (const struct policy_name *name = rule->scopes; name; name = name->next) {
        /* A rule may be for other models too, a keep is for this one. */
        if (exists(known, name->text, rule->keep ? NULL : definitions, rule->keep ? 0 : count))
            continue;
        if (rule->keep)
            diagnostics_error(policy->diagnostics, E0606, name->span, NULL, "`%s` matches nothing in this model",
                              name->text);
        else
            diagnostics_error(policy->diagnostics, E0605, name->span, NULL,
                              "there is no module, function or instance `%s` in this model", name->text);
        suggest_name(policy, known, name->text, definitions, count);
    }
}

/* ---- keeps ---- */

static bool covers(const struct policy_rule *rule, const char *name)
{
    for (const struct policy_name *scope = rule->scopes; scope; scope = scope->next)
        if (wildcard_matches(scope->text, name))
            return true;
    return false;
}

/* The first keep for any part of the scope whose class differs from an earlier one's; *other is that one. */
static const struct policy_rule *contradiction(const struct policy *policy, struct arena *arena, const char *scope,
                                               const struct policy_rule **other)
{
    const struct policy_rule *found = NULL;
    const char *rest = scope;
    struct scope_segment segment;
    while (scope_next(&rest, &segment)) {
        size_t length = (size_t)(segment.callee + segment.callee_length - scope);
        const char *path = scope_path(arena, arena_intern_length(arena, scope, length));
        const char *callee = arena_intern_length(arena, segment.callee, segment.callee_length);
        for (const struct policy_rule *rule = policy->rules; rule; rule = rule->next) {
            if (!rule->keep || !(covers(rule, callee) || (segment.label_length && covers(rule, path))))
                continue;
            if (found && found->class != rule->class) {
                *other = found;
                return rule;
            }
            found = rule;
        }
    }
    return NULL;
}

static void check_keeps(const struct policy *policy, const struct known *known)
{
    bool any = false;
    for (const struct policy_rule *rule = policy->rules; rule; rule = rule->next)
        any |= rule->keep;
    for (ptrdiff_t i = 0; any && i < shlen(known->scopes); i++) {
        const struct policy_rule *other = NULL;
        const struct policy_rule *rule = contradiction(policy, known->arena, known->scopes[i].key, &other);
        if (!rule)
            continue;
        diagnostics_error(policy->diagnostics, E0607, rule->span, NULL, "`%s` contradicts an earlier keep for %s",
                          rule->text, scope_path(known->arena, known->scopes[i].key));
        diagnostics_note(policy->diagnostics, other->span, "`%s`", other->text);
        return;
    }
}

bool policy_check(const struct policy *policy, const struct module *module, const char *const *definitions,
                  size_t definition_count)
{
    int errors = diagnostics_errors(policy->diagnostics);
    struct known known = {.arena = policy->arena};
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        know_graph(&known, module->graphs[i]);
    for (const struct policy_rule *rule = policy->rules; rule; rule = rule->next)
        check_names(policy, &known, rule, definitions, definition_count);
    check_keeps(policy, &known);
    shfree(known.names);
    shfree(known.scopes);
    return diagnostics_errors(policy->diagnostics) == errors;
}
