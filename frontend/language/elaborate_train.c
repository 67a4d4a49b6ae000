/* The update of a training step: its lines in their phases.
 *
 * The lines of a phase take all their gradients at the same point and then update. A later phase elaborates the model
 * once more, at the parameters just updated: reads of those give gate(new, old, k), which is what line k will write.
 * What does not depend on them is the same text once more, and pass cse makes one of it. States of the model, metrics
 * and named values are those of the first phase. */
#include "frontend/language/elaborate_line.h"

#include <stb/stb_ds.h>
#include <string.h>

const struct ast_statement *train_entry(const struct unit *unit, const char *word)
{
    for (ptrdiff_t i = 0; i < arrlen(unit->entries); i++)
        if (unit->entries[i]->kind == AST_SETTING && strcmp(unit->entries[i]->setting.word.name, word) == 0)
            return unit->entries[i];
    return NULL;
}

static void freeze(struct elaborator *e)
{
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        const struct ast_statement *entry = e->unit->entries[i];
        if (entry->kind != AST_SETTING || strcmp(entry->setting.word.name, "freeze") != 0)
            continue;
        report_unmatched(e, &entry->setting.values, "freeze");
        for (ptrdiff_t k = 0; k < arrlen(e->module->variables); k++) {
            struct variable *variable = e->module->variables[k];
            if (variable->kind == VARIABLE_PARAMETER && override_matches(e, &entry->setting.values, variable))
                variable->frozen = true;
        }
    }
}

/* ---- the lines, before anything of them is elaborated ---- */

static const char *written_loss(const struct ast_statement *statement)
{
    const struct ast_expression *loss = statement->minimize.loss;
    return loss->kind == AST_NAME ? loss->name : NULL;
}

static bool is_declared(const struct elaborator *e, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++)
        if (e->outputs[i].what == AST_DECLARE_LOSS && strcmp(e->outputs[i].name, name) == 0)
            return true;
    return false;
}

/* A declared loss by its name; what else is minimised is an output of its own: its name, `objective`, `objective.2`. */
static const char *loss_name(struct elaborator *e, const struct ast_statement *statement, int number)
{
    const char *name = written_loss(statement);
    if (name)
        return arena_intern(e->arena, name);
    return number == 1 ? "objective" : arena_internf(e->arena, "objective.%d", number);
}

/* A line that does not act in each step has an i32 that counts those between. */
static void take_turns(struct line *line, struct minimize *minimize)
{
    const struct settings *settings = line->e->unit->settings;
    minimize->every = settings && line->number <= settings->line_count ? settings->every[line->number - 1] : 1;
    if (minimize->every <= 1)
        return;
    minimize->turn = arena_internf(line->e->arena, "train/turn.%d", line->number);
    variable_implied(line->e, minimize->turn, ELEMENT_I32, VARIABLE_OPTIMIZER, 0);
}

/* With `per loss` each minimised loss has a rule of its own, numbered as they come. */
static int rule_number(const struct elaborator *e, const char *loss)
{
    int next = 0;
    for (ptrdiff_t i = 0; e->unit->settings && e->unit->settings->scale_per_loss && i < arrlen(e->module->minimizes);
         i++) {
        if (strcmp(e->module->minimizes[i].loss, loss) == 0)
            return e->module->minimizes[i].rule;
        if (e->module->minimizes[i].rule >= next)
            next = e->module->minimizes[i].rule + 1;
    }
    return next;
}

static struct line *collect_lines(struct elaborator *e)
{
    struct line *lines = NULL;
    int phase = 0;
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        const struct ast_statement *statement = e->unit->entries[i];
        if (statement->kind != AST_MINIMIZE)
            continue;
        phase += statement->minimize.then;
        struct line line = {.e = e, .statement = statement, .number = (int)arrlen(lines) + 1, .phase = phase};
        struct minimize minimize = {.loss = loss_name(e, statement, line.number), .span = statement->span};
        minimize.rule = rule_number(e, minimize.loss);
        e->builder.span = statement->span;
        take_turns(&line, &minimize);
        arrput(lines, line);
        arrput(e->module->minimizes, minimize);
    }
    return lines;
}

bool loss_is_later(const struct elaborator *e, const char *name)
{
    bool later = false, behind = false;
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        const struct ast_statement *statement = e->unit->entries[i];
        if (statement->kind != AST_MINIMIZE)
            continue;
        behind |= statement->minimize.then;
        const char *loss = written_loss(statement);
        if (!loss || strcmp(loss, name) != 0)
            continue;
        if (!behind)
            return false;
        later = true;
    }
    return later;
}

/* ---- a line in the present frame ---- */

static void bind_counters(struct line *line)
{
    struct elaborator *e = line->e;
    const char *name = line->number == 1 ? "train/step" : arena_internf(e->arena, "train/step.%d", line->number);
    struct variable *counter = variable_implied(e, name, ELEMENT_I32, VARIABLE_OPTIMIZER, 0);
    line->step = variable_value(e, counter);
    bind(e, arena_intern(e->arena, "step"), line->step, NULL);
    bind(e, arena_intern(e->arena, "steps"), variable_value(e, module_find_variable(e->module, "train/steps")), NULL);
    bind(e, arena_intern(e->arena, "epoch"), variable_value(e, module_find_variable(e->module, "train/epoch")), NULL);
    bind_train_values(e);
}

/* What is minimised is a loss of the log, as it is where it is minimised. */
static void put_out_loss(struct line *line)
{
    struct elaborator *e = line->e;
    const char *name = e->module->minimizes[line->number - 1].loss;
    bool shown = is_declared(e, name) && !(line->phase && loss_is_later(e, name));
    for (int i = 1; i < line->number; i++)
        shown |= strcmp(e->module->minimizes[i - 1].loss, name) == 0;
    e->builder.region = REGION_FORWARD;
    if (!shown)
        build_output(&e->builder, name, line->loss.node, OUTPUT_LOSS);
    e->builder.region = REGION_UPDATE;
}

static bool read_line(struct line *line)
{
    struct elaborator *e = line->e;
    e->builder.region = REGION_UPDATE;
    bind_counters(line);
    if (!line_read(line))
        return false;
    put_out_loss(line);
    return true;
}

/* ---- who trains what ---- */

static bool trains(const struct line *line, const struct variable *parameter)
{
    for (ptrdiff_t i = 0; i < arrlen(line->parameters); i++)
        if (line->parameters[i] == parameter)
            return true;
    return false;
}

static void report_shared(struct line *line, const struct line *other, const struct variable *parameter)
{
    struct elaborator *e = line->e;
    report(e, E0505, line->statement->span, NULL, "`%s` is trained by two lines of one phase", parameter->name);
    diagnostics_note(e->diagnostics, other->statement->span,
                     "this line trains it too; say with `over` what each trains, or put one behind `then`");
}

/* Within lines [first, last) no parameter may stand twice; one report for each pair of lines. */
static bool check_shared(struct line *lines, ptrdiff_t first, ptrdiff_t last)
{
    bool apart = true;
    for (ptrdiff_t i = first; i < last; i++)
        for (ptrdiff_t k = first; k < i; k++)
            for (ptrdiff_t p = 0; p < arrlen(lines[i].parameters); p++)
                if (trains(&lines[k], lines[i].parameters[p])) {
                    report_shared(&lines[i], &lines[k], lines[i].parameters[p]);
                    apart = false;
                    break;
                }
    return apart;
}

static void check_trained(struct elaborator *e, const struct line *lines)
{
    for (ptrdiff_t i = 0; i < arrlen(e->module->variables); i++) {
        const struct variable *variable = e->module->variables[i];
        bool trained = variable->kind != VARIABLE_PARAMETER || variable->frozen;
        for (ptrdiff_t k = 0; k < arrlen(lines) && !trained; k++)
            trained = trains(&lines[k], variable);
        if (trained)
            continue;
        report(e, E0505, variable->span, NULL, "nothing trains parameter `%s`", variable->name);
        diagnostics_note(e->diagnostics, lines[0].statement->span, "`over` leaves it out; freeze it if that is meant");
    }
}

/* ---- phases ---- */

/* Variables as they stood when the lines of a phase began to update. */
static struct read_entry *reads_before(const struct elaborator *e)
{
    struct read_entry *before = NULL;
    for (ptrdiff_t i = 0; i < hmlen(e->reads); i++)
        hmputs(before, e->reads[i]);
    return before;
}

/* What the lines of this phase update becomes a gate of new and old, which the rest of the step reads. */
static void gate_updates(struct elaborator *e, struct read_entry *before, int first, int last)
{
    for (ptrdiff_t i = 0; i < arrlen(e->updates); i++) {
        struct update_entry *update = &e->updates[i];
        if (update->gate < first || update->gate > last)
            continue;
        struct builder builder = e->builder;
        builder.span = update->span;
        ptrdiff_t at = FIND(before, update->variable);
        struct node *old = at >= 0 ? before[at].value.node : build_read(&builder, update->variable);
        struct node *operands[] = {update->node, old};
        struct value now = value_tensor_axes(
            e, build(&builder, OP_gate, operands, 2, &(struct attributes){.index = update->gate}, NULL),
            at >= 0 ? before[at].value.axes : NULL);
        now.node->name = update->variable->name;
        hmput(e->reads, update->variable, now);
        update->node = now.node;
        update->gate = GATE_NEVER;
    }
}

static bool run_phase(struct elaborator *e, struct line *lines, ptrdiff_t first, ptrdiff_t last, bool gated)
{
    bool is_last = last == arrlen(lines);
    int errors = diagnostics_errors(e->diagnostics);
    for (ptrdiff_t i = first; i < last; i++)
        read_line(&lines[i]);
    if (diagnostics_errors(e->diagnostics) > errors || !check_shared(lines, first, last))
        return false;
    for (ptrdiff_t i = first; i < last; i++)
        line_differentiate(&lines[i]);
    if (e->request->no_update && is_last)
        return true;
    struct read_entry *before = gated ? reads_before(e) : NULL;
    for (ptrdiff_t i = first; i < last; i++)
        line_update(&lines[i]);
    for (ptrdiff_t i = first; i < last; i++)
        for (ptrdiff_t k = 0; k < arrlen(lines[i].parameters); k++)
            arrput(e->trained, lines[i].parameters[k]);
    if (gated)
        gate_updates(e, before, lines[first].number, lines[last - 1].number);
    hmfree(before);
    return diagnostics_errors(e->diagnostics) == errors;
}

static bool run_phases(struct elaborator *e, struct line *lines)
{
    ptrdiff_t count = arrlen(lines);
    bool gated = count && lines[count - 1].phase > 0;
    for (ptrdiff_t first = 0, last; first < count; first = last) {
        last = first + 1;
        while (last < count && lines[last].phase == lines[first].phase)
            last++;
        if (lines[first].phase)
            elaborate_again(e);
        if (!run_phase(e, lines, first, last, gated))
            return false;
    }
    return true;
}

/* The micro-batches of a step run before any of its updates. */
static bool check_accumulation(struct elaborator *e, const struct line *lines)
{
    for (ptrdiff_t i = 0; e->module->accumulate > 1 && i < arrlen(lines); i++) {
        if (!lines[i].phase)
            continue;
        report(e, E0510, lines[i].statement->span, NULL,
               "`then` needs the whole batch once more, which `accumulate %d` gives in parts", e->module->accumulate);
        return false;
    }
    return true;
}

void elaborate_update(struct elaborator *e)
{
    bool accumulates = e->unit->settings && !e->request->no_update;
    e->module->accumulate = accumulates ? e->unit->settings->accumulate : 1;
    freeze(e);
    e->builder.region = REGION_UPDATE;
    struct line *lines = collect_lines(e);
    if (check_accumulation(e, lines) && run_phases(e, lines) && lines) {
        check_trained(e, lines);
        elaborate_scaler(e);
    }
    for (ptrdiff_t i = 0; i < arrlen(lines); i++) {
        arrfree(lines[i].parameters);
        arrfree(lines[i].gradients);
    }
    arrfree(lines);
    arrfree(e->trained);
    arrfree(e->wrong_predicates);
}
