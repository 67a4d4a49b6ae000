/* `repeat`: turns, the names of instances in it, and `collect`. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- how many unlabelled module calls stand in a body (two is as good as many) ---- */

struct census {
    const struct unit *unit;
    bool prelude;
};

static int count_expression(const struct census *census, const struct ast_expression *expression);

static int count_expressions(const struct census *census, const struct ast_expressions *list)
{
    int count = 0;
    for (int i = 0; i < list->count; i++)
        count += count_expression(census, list->items[i]);
    return count;
}

static int count_call(const struct census *census, const struct ast_call *call)
{
    const struct definition *definition = unit_find(census->unit, call->callee, census->prelude);
    int count = definition && definition->ast->kind == AST_MODULE && !call->label;
    for (int i = 0; i < call->arguments.count; i++)
        count += count_expression(census, call->arguments.items[i].value);
    return count;
}

static int count_expression(const struct census *census, const struct ast_expression *expression)
{
    if (!expression)
        return 0;
    switch (expression->kind) {
    case AST_LIST:
        return count_expressions(census, &expression->list);
    case AST_CALL:
        return count_call(census, &expression->call);
    case AST_INDEX:
        return count_expression(census, expression->index.base) + count_expressions(census, &expression->index.items);
    case AST_TRANSPOSE:
        return count_expression(census, expression->transpose);
    case AST_UNARY:
        return count_expression(census, expression->unary.operand);
    case AST_BINARY:
        return count_expression(census, expression->binary.left) + count_expression(census, expression->binary.right);
    case AST_CONDITIONAL:
        return count_expression(census, expression->conditional.then) +
               count_expression(census, expression->conditional.otherwise);
    default:
        return 0;
    }
}

static int count_block(const struct census *census, const struct ast_block *block);

static int count_statement(const struct census *census, const struct ast_statement *statement)
{
    switch (statement->kind) {
    case AST_BIND:
        return count_expression(census, statement->bind.value);
    case AST_UPDATE:
        return count_expression(census, statement->update.value);
    case AST_DECLARE:
        return count_expression(census, statement->declare.value);
    case AST_PIN:
        return count_block(census, statement->pin.body);
    case AST_IF:
        return count_block(census, statement->branch.body) +
               (statement->branch.otherwise ? count_block(census, statement->branch.otherwise) : 0);
    case AST_REPEAT: /* a labelled one names its own instances, an unlabelled one makes many */
        return statement->repeat.label.name ? 0 : 2 * count_block(census, statement->repeat.body);
    default:
        return 0;
    }
}

static int count_block(const struct census *census, const struct ast_block *block)
{
    int count = 0;
    for (int i = 0; i < block->count; i++)
        count += count_statement(census, block->items[i]);
    return count;
}

int repeat_calls(const struct elaborator *e, const struct ast_block *block)
{
    struct census census = {e->unit, e->frame->prelude};
    return count_block(&census, block);
}

/* ---- collect ---- */

void collect(struct elaborator *e, const struct ast_statement *statement)
{
    const struct ast_name *name = &statement->declare.name;
    struct value value = evaluate_expression(e, statement->declare.value);
    if (!e->frame->collected) {
        report(e, E0408, statement->span, NULL, "`collect` stands in a repeat");
        return;
    }
    if (!want_tensor(e, &value, statement->declare.value->span, "what is collected")) {
        bind(e, name->name, (struct value){0}, NULL); /* so that its uses are no further errors */
        return;
    }
    struct collected *list = *e->frame->collected;
    for (ptrdiff_t i = 0; i < arrlen(list); i++)
        if (list[i].name == name->name) {
            arrput(list[i].items, value);
            return;
        }
    struct collected fresh = {.name = name->name, .span = statement->span};
    arrput(fresh.items, value);
    arrput(list, fresh);
    *e->frame->collected = list;
}

static void bind_collected(struct elaborator *e, struct collected *list)
{
    for (ptrdiff_t i = 0; i < arrlen(list); i++) {
        struct argument_value argument = {.span = list[i].span};
        argument.value = value_list(e, list[i].items, (int)arrlen(list[i].items));
        bind(e, list[i].name, builtin_invoke(e, builtin_find("stack"), &argument, 1, list[i].span), NULL);
        arrfree(list[i].items);
    }
    arrfree(list);
}

/* ---- turns ---- */

static bool repeat_bounds(struct elaborator *e, const struct ast_statement *statement, int64_t *low, int64_t *high)
{
    struct value first = evaluate_expression(e, statement->repeat.low),
                 last = evaluate_expression(e, statement->repeat.high);
    if (!want_integer(e, &first, statement->repeat.low->span, "the first turn", low) ||
        !want_integer(e, &last, statement->repeat.high->span, "the end of the turns", high))
        return false;
    if (*high <= *low || (*high - *low) + e->turns <= TURNS_MAX)
        return true;
    report(e, E0406, statement->span, NULL, "a repeat of %lld turns: the most is %d in all", (long long)(*high - *low),
           TURNS_MAX);
    return false;
}

static void run_turns(struct elaborator *e, const struct ast_statement *statement, int64_t low, int64_t high)
{
    const char *outer = e->frame->prefix, *label = statement->repeat.label.name;
    int errors = diagnostics_errors(e->diagnostics);
    for (int64_t i = low; i < high && !e->frame->returned; i++) {
        e->turns++;
        bind(e, statement->repeat.variable.name, value_integer(i), NULL);
        if (label)
            e->frame->prefix = arena_internf(e->arena, "%s%s.%lld.", outer, label, (long long)i);
        execute(e, statement->repeat.body);
        e->frame->prefix = outer;
        if (diagnostics_errors(e->diagnostics) > errors)
            break;
    }
}

void execute_repeat(struct elaborator *e, const struct ast_statement *statement)
{
    int64_t low, high;
    if (!repeat_bounds(e, statement, &low, &high))
        return;
    if (statement->repeat.rolled) {
        execute_rolled(e, statement, low, high);
        return;
    }
    struct frame *frame = e->frame;
    struct collected *list = NULL, **outer = frame->collected;
    bool single = frame->single;
    frame->collected = &list;
    if (statement->repeat.label.name)
        frame->single = repeat_calls(e, statement->repeat.body) == 1;
    run_turns(e, statement, low, high);
    frame->single = single;
    frame->collected = outer;
    bind_collected(e, list);
}
