/* Patterns of `over`, `freeze` and overrides: strings with `*`, comparisons of `rank`, `not`. */
#include "frontend/language/elaborate_internal.h"
#include "ir/wildcard.h"

#include <stb/stb_ds.h>
#include <string.h>

static bool refuse(struct elaborator *e, const struct ast_expression *predicate)
{
    report(e, E0503, predicate->span, NULL,
           "a predicate is a pattern such as \"layers.*\" or a comparison such as "
           "rank < 2");
    return false;
}

static bool matches(struct elaborator *e, const struct ast_expression *predicate, const struct variable *variable)
{
    if (predicate->kind == AST_STRING)
        return wildcard_matches(predicate->string, variable->name);
    if (predicate->kind == AST_UNARY && predicate->unary.operator== AST_NOT)
        return !matches(e, predicate->unary.operand, variable);
    if (predicate->kind != AST_BINARY)
        return refuse(e, predicate);
    enum ast_operator operator= predicate->binary.operator;
    const struct ast_expression *left = predicate->binary.left;
    if (operator== AST_AND || operator== AST_OR) {
        bool a = matches(e, left, variable), b = matches(e, predicate->binary.right, variable);
        return operator== AST_AND ? a && b : a || b;
    }
    if (left->kind != AST_NAME || strcmp(left->name, "rank") != 0 || operator<AST_EQUAL || operator> AST_GREATER_EQUAL)
        return refuse(e, predicate);
    struct value rank = value_integer(variable->type.shape.rank),
                 limit = evaluate_expression(e, predicate->binary.right);
    double number;
    if (!want_number(e, &limit, predicate->binary.right->span, "a rank", &number))
        return false;
    return number_binary(e, operator, & rank, &limit, predicate->span).number != 0;
}

/* Said for one parameter already: it would be the same error for each. */
static bool was_wrong(const struct elaborator *e, const struct ast_expression *predicate)
{
    for (ptrdiff_t i = 0; i < arrlen(e->wrong_predicates); i++)
        if (e->wrong_predicates[i] == predicate)
            return true;
    return false;
}

bool override_matches(struct elaborator *e, const struct ast_expressions *predicates, const struct variable *variable)
{
    for (int i = 0; i < predicates->count; i++) {
        int errors = diagnostics_errors(e->diagnostics);
        if (was_wrong(e, predicates->items[i]))
            continue;
        if (matches(e, predicates->items[i], variable))
            return true;
        if (diagnostics_errors(e->diagnostics) > errors)
            arrput(e->wrong_predicates, predicates->items[i]);
    }
    return false;
}

static bool matches_any(struct elaborator *e, struct ast_expression **predicate)
{
    struct ast_expressions one = {.items = predicate, .count = 1};
    for (ptrdiff_t i = 0; i < arrlen(e->module->variables); i++)
        if (e->module->variables[i]->kind == VARIABLE_PARAMETER && override_matches(e, &one, e->module->variables[i]))
            return true;
    return false;
}

static bool note_comma(struct elaborator *e, const struct ast_expression *predicate)
{
    bool comma = predicate->kind == AST_STRING && strchr(predicate->string, ',');
    if (comma)
        diagnostics_note(e->diagnostics, (struct span){0}, "each pattern is a string of its own: \"a.*\", \"b.*\"");
    return comma;
}

void note_commas(struct elaborator *e, const struct ast_expressions *predicates)
{
    for (int i = 0; i < predicates->count && !note_comma(e, predicates->items[i]); i++)
        continue;
}

void report_unmatched(struct elaborator *e, const struct ast_expressions *predicates, const char *word)
{
    for (int i = 0; i < predicates->count; i++) {
        int errors = diagnostics_errors(e->diagnostics);
        if (matches_any(e, &predicates->items[i]) || diagnostics_errors(e->diagnostics) > errors)
            continue;
        report(e, E0506, predicates->items[i]->span, NULL, "this pattern of `%s` matches no parameter", word);
        note_comma(e, predicates->items[i]);
    }
}
