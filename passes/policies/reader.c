/* The actions of the `.policy` grammar: each adds what one statement says to the policy being read. */
#include "passes/policies/reader.h"
#include "passes/policies/load.h"

#include <stdlib.h>
#include <string.h>

enum { CONDITION_DEPTH_MAX = 200 };

static const char *const quantity_names[QUANTITY_COUNT] = {
    [QUANTITY_BYTES] = "bytes",
    [QUANTITY_FLOPS] = "flops",
    [QUANTITY_ELEMENTS] = "elements",
    [QUANTITY_RANK] = "rank",
};

struct span policy_span(const struct policy_reader *reader, const struct policy_location *location)
{
    bool one_line = location->end_line == location->line;
    return (struct span){.file = reader->policy->file,
                         .line = location->line,
                         .column = location->column,
                         .end_column = one_line ? location->end_column : location->column + 1};
}

const char *policy_slice(const struct policy_reader *reader, const struct policy_location *location)
{
    const char *text = reader->policy->text + location->begin;
    size_t length = location->end - location->begin;
    if (length >= 2 && text[0] == '"')
        text++, length -= 2;
    return arena_intern_length(reader->policy->arena, text, length);
}

/* A statement's text on one line, without comments. */
static const char *statement_text(const struct policy_reader *reader, const struct policy_location *location)
{
    const char *text = reader->policy->text;
    char *line = arena_allocate(reader->policy->arena, location->end - location->begin + 1);
    size_t used = 0;
    for (size_t i = location->begin; i < location->end; i++) {
        if (text[i] == '#')
            while (i < location->end && text[i] != '\n')
                i++;
        bool space = i >= location->end || strchr(" \t\r\n", text[i]);
        if (!space)
            line[used++] = text[i];
        else if (used && line[used - 1] != ' ')
            line[used++] = ' ';
    }
    return line;
}

struct policy_names policy_name_append(struct policy_reader *reader, struct policy_names names,
                                       const struct policy_location *location)
{
    struct policy_name *name = ARENA_NEW(reader->policy->arena, struct policy_name);
    name->text = policy_slice(reader, location);
    name->span = policy_span(reader, location);
    if (names.last)
        names.last->next = name;
    else
        names.first = name;
    names.last = name;
    return names;
}

/* ---- rules ---- */

static struct policy_rule *new_rule(struct policy_reader *reader, enum precision_class class,
                                    const struct policy_location *location)
{
    struct policy_rule *rule = ARENA_NEW(reader->policy->arena, struct policy_rule);
    rule->class = class;
    rule->span = policy_span(reader, location);
    rule->text = statement_text(reader, location);
    rule->built_in = reader->built_in;
    return rule;
}

static void append_rule(struct policy *policy, struct policy_rule *rule)
{
    rule->order = policy->last_rule ? policy->last_rule->order + 1 : 0;
    if (policy->last_rule)
        policy->last_rule->next = rule;
    else
        policy->rules = rule;
    policy->last_rule = rule;
}

static void check_ops(struct policy_reader *reader, const struct policy_name *name)
{
    const char *names[OP_COUNT];
    for (int i = 0; i < OP_COUNT; i++)
        names[i] = op_info((enum op)i)->name;
    for (; name; name = name->next) {
        if (op_find(name->text) != OP_COUNT)
            continue;
        diagnostics_error(reader->policy->diagnostics, E0604, name->span, NULL, "there is no op `%s`", name->text);
        const char *near = suggest(name->text, names, OP_COUNT);
        if (near)
            diagnostics_note(reader->policy->diagnostics, (struct span){0}, "did you mean `%s`?", near);
        else
            diagnostics_note(reader->policy->diagnostics, (struct span){0},
                             "`castor ops` lists them; modules and functions are named by `scope`");
    }
}

/* "there is no KIND `WORD`", with the nearest candidate or all of them. */
static void report_unknown(struct policy_reader *reader, struct span span, const char *kind, const char *word,
                           const char *const *candidates, size_t count)
{
    struct diagnostics *diagnostics = reader->policy->diagnostics;
    diagnostics_error(diagnostics, E0608, span, NULL, "there is no %s `%s`", kind, word);
    const char *near = suggest(word, candidates, count);
    if (near) {
        diagnostics_note(diagnostics, (struct span){0}, "did you mean `%s`?", near);
        return;
    }
    char list[256] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof list - 64; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", candidates[i]);
    diagnostics_note(diagnostics, (struct span){0}, "there are: %s", list);
}

static unsigned read_regions(struct policy_reader *reader, const struct policy_name *name)
{
    static const char *const names[] = {"forward", "backward", "update"};
    unsigned regions = 0;
    for (; name; name = name->next) {
        unsigned bit = 0;
        for (unsigned i = 0; i < 3; i++)
            if (strcmp(name->text, names[i]) == 0)
                bit = 1u << i;
        if (!bit)
            report_unknown(reader, name->span, "region", name->text, names, 3);
        regions |= bit;
    }
    return regions;
}

void policy_add_rule(struct policy_reader *reader, enum precision_class class, const struct policy_parts *parts,
                     const struct policy_location *location)
{
    struct policy_rule *rule = new_rule(reader, class, location);
    check_ops(reader, parts->ops.first);
    rule->ops = parts->ops.first;
    rule->scopes = parts->scopes.first;
    rule->regions = read_regions(reader, parts->regions.first);
    rule->where = parts->where;
    if (!rule->ops && !rule->scopes && !parts->regions.first && !parts->has_where)
        diagnostics_error(reader->policy->diagnostics, E0101, rule->span, NULL,
                          "a rule says what it is for: `op`, `scope`, `region` or `where`");
    append_rule(reader->policy, rule);
}

void policy_add_keep(struct policy_reader *reader, const struct policy_names *names, enum precision_class class,
                     const struct policy_location *location)
{
    struct policy_rule *rule = new_rule(reader, class, location);
    rule->scopes = names->first;
    rule->keep = true;
    append_rule(reader->policy, rule);
}

void policy_set_default(struct policy_reader *reader, enum precision_class class,
                        const struct policy_location *location)
{
    struct policy_rule *rule = new_rule(reader, class, location);
    rule->text = arena_printf(reader->policy->arena, "default %s", precision_class_name(class));
    reader->policy->otherwise = rule;
}

/* ---- settings ---- */

void policy_unknown_class(struct policy_reader *reader, const struct policy_location *location)
{
    static const char *const names[] = {"half", "f32", "promote", "follow"};
    report_unknown(reader, policy_span(reader, location), "class", policy_slice(reader, location), names, 4);
}

/* `f32`, or `half` for what follows the values' own type. */
static bool read_f32(struct policy_reader *reader, const struct policy_location *location)
{
    static const char *const names[] = {"f32", "half"};
    const char *value = policy_slice(reader, location);
    if (strcmp(value, "f32") != 0 && strcmp(value, "half") != 0)
        report_unknown(reader, policy_span(reader, location), "type for this setting", value, names, 2);
    return strcmp(value, "half") != 0;
}

static enum policy_algorithm read_algorithm(struct policy_reader *reader, const struct policy_location *location)
{
    const char *names[ALGORITHM_NAMED], *value = policy_slice(reader, location);
    enum policy_algorithm algorithm = 0;
    while (algorithm < ALGORITHM_NAMED && strcmp(value, policy_algorithm_name(algorithm)) != 0)
        algorithm++;
    for (int i = 0; i < ALGORITHM_NAMED; i++)
        names[i] = policy_algorithm_name((enum policy_algorithm)i);
    if (algorithm == ALGORITHM_NAMED)
        report_unknown(reader, policy_span(reader, location), "algorithm", value, names, ALGORITHM_NAMED);
    return algorithm;
}

void policy_set(struct policy_reader *reader, const struct policy_location *name, const struct policy_location *value)
{
    static const char *const names[] = {"gradients", "masters", "scale", "algorithm", "keep", "default"};
    struct policy *policy = reader->policy;
    const char *setting = policy_slice(reader, name), *text = policy_slice(reader, value);
    const char *reason = arena_internf(policy->arena, "%s:%d: %s %s", policy->file, name->line, setting, text);
    if (strcmp(setting, "gradients") == 0) {
        policy->gradients_f32 = read_f32(reader, value);
        policy->gradients_reason = reason;
    } else if (strcmp(setting, "masters") == 0) {
        policy->masters_f32 = read_f32(reader, value);
        policy->masters_reason = reason;
    } else if (strcmp(setting, "scale") == 0) {
        policy->scale = text;
    } else if (strcmp(setting, "algorithm") == 0) {
        policy->algorithm = read_algorithm(reader, value);
    } else {
        report_unknown(reader, policy_span(reader, name), "setting", setting, names, 6);
    }
}

/* ---- the head ---- */

static void inherit(struct policy *policy, const struct policy *base)
{
    policy->base = base;
    policy->rules = base->rules;
    policy->last_rule = base->last_rule;
    policy->otherwise = base->otherwise;
    policy->gradients_f32 = base->gradients_f32;
    policy->gradients_reason = base->gradients_reason;
    policy->masters_f32 = base->masters_f32;
    policy->masters_reason = base->masters_reason;
    policy->scale = base->scale;
    policy->half = base->half;
    policy->algorithm = base->algorithm;
}

void policy_begin(struct policy_reader *reader, const struct policy_location *name, const struct policy_location *base,
                  const struct policy_location *half)
{
    struct policy *policy = reader->policy;
    policy->name = policy_slice(reader, name);
    enum element asked = reader->asked;
    if (half->line) {
        enum element written = policy_half(reader, policy_slice(reader, half), policy_span(reader, half));
        asked = asked ? asked : written;
    }
    if (base->line) {
        bool quoted = policy->text[base->begin] == '"';
        const struct policy *extended =
            policy_load_base(reader, policy_slice(reader, base), quoted, asked, policy_span(reader, base));
        if (extended)
            inherit(policy, extended);
    }
    if (asked)
        policy->half = asked;
}

enum element policy_half(struct policy_reader *reader, const char *word, struct span span)
{
    static const char *const names[] = {"f16", "bf16"};
    enum element element = element_find(word);
    if (element_is_half(element))
        return element;
    report_unknown(reader, span, "half type", word, names, 2);
    return ELEMENT_NONE;
}

/* ---- conditions ---- */

static struct policy_condition *new_condition(struct policy_reader *reader, enum policy_operator operator)
{
    struct policy_condition *condition = ARENA_NEW(reader->policy->arena, struct policy_condition);
    condition->operator= operator;
    condition->depth = 1;
    return condition;
}

const struct policy_condition *policy_number(struct policy_reader *reader, const struct policy_location *location)
{
    struct policy_condition *condition = new_condition(reader, POLICY_NUMBER);
    condition->value = strtod(policy_slice(reader, location), NULL);
    return condition;
}

const struct policy_condition *policy_quantity(struct policy_reader *reader, const struct policy_location *location)
{
    const char *name = policy_slice(reader, location);
    for (int i = 0; i < QUANTITY_COUNT; i++) {
        if (strcmp(name, quantity_names[i]) != 0)
            continue;
        struct policy_condition *condition = new_condition(reader, POLICY_QUANTITY);
        condition->quantity = (enum policy_quantity)i;
        return condition;
    }
    report_unknown(reader, policy_span(reader, location), "quantity", name, quantity_names, QUANTITY_COUNT);
    return NULL;
}

const struct policy_condition *policy_dimension(struct policy_reader *reader, const struct policy_location *name,
                                                const struct policy_location *axis)
{
    static const char *const names[] = {"dimension"};
    const char *word = policy_slice(reader, name);
    if (strcmp(word, "dimension") != 0) {
        report_unknown(reader, policy_span(reader, name), "quantity", word, names, 1);
        return NULL;
    }
    struct policy_condition *condition = new_condition(reader, POLICY_DIMENSION);
    const char *text = policy_slice(reader, axis);
    condition->value = *text == '-' ? -strtod(text + 1, NULL) : strtod(text, NULL);
    return condition;
}

static bool is_truth(const struct policy_condition *condition)
{
    return condition->operator>= POLICY_LESS;
}

const struct policy_condition *policy_operation(struct policy_reader *reader, enum policy_operator operator,
                                                const struct policy_condition * left,
                                                const struct policy_condition *right,
                                                const struct policy_location *location)
{
    if (!left || !right)
        return NULL;
    bool wants_truth = operator>= POLICY_AND;
    const char *problem = NULL;
    if (is_truth(left) != wants_truth || is_truth(right) != wants_truth)
        problem =
            wants_truth ? "`and`, `or` and `not` join comparisons" : "only numbers can be compared and computed with";
    else if (left->depth >= CONDITION_DEPTH_MAX || right->depth >= CONDITION_DEPTH_MAX)
        problem = "the condition is nested too deeply";
    if (problem) {
        diagnostics_error(reader->policy->diagnostics, E0609, policy_span(reader, location), NULL, "%s", problem);
        return NULL;
    }
    struct policy_condition *condition = new_condition(reader, operator);
    condition->left = left;
    condition->right = right;
    condition->depth = 1 + (left->depth > right->depth ? left->depth : right->depth);
    return condition;
}

const struct policy_condition *policy_truth(struct policy_reader *reader, const struct policy_condition *condition,
                                            const struct policy_location *location)
{
    if (!condition || is_truth(condition))
        return condition;
    diagnostics_error(reader->policy->diagnostics, E0609, policy_span(reader, location), NULL,
                      "`where` needs a comparison, such as `bytes > 1e6`");
    return NULL;
}
