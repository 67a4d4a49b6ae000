/* Settings: the entries of the train block, with the flags of the same names laid over them.
 *
 * One table lists the entries. Expressions that the training step needs (clip, minimize) stay in the tree and are
 * elaborated with the step; all else is known here. */
#include "frontend/language/elaborate_internal.h"
#include "frontend/language/format.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct elaborator e;
    struct settings *settings;
    struct data_setting *data; /* of the settings; NULL: no line so far */
    const struct ast_statement *statement;
    int errors; /* that there were before it */
};

struct entry {
    const char *name;
    bool repeats; /* may be given more than once */
    bool (*read)(struct reading *reading);
};

static bool refuse(struct reading *reading, const char *message)
{
    report(&reading->e, E0503, reading->statement->span, NULL, "%s", message);
    return false;
}

/* What only the step knows is in error here, silently (bind_unknown); so is what was reported already. */
static bool known_now(struct reading *reading, const struct value *value, const struct ast_expression *expression,
                      const char *word)
{
    bool unknown = value->kind == VALUE_ERROR && diagnostics_errors(reading->e.diagnostics) == reading->errors;
    if (unknown)
        report(&reading->e, E0401, expression->span, NULL, "`%s` must be known at compile time", word);
    return value->kind != VALUE_ERROR;
}

/* The one value of the entry, which must be known at compile time. */
static bool entry_value(struct reading *reading, struct value *value)
{
    const struct ast_expressions *values = &reading->statement->setting.values;
    if (values->count != 1)
        return refuse(reading, "this entry has one value");
    *value = evaluate_expression(&reading->e, values->items[0]);
    return known_now(reading, value, values->items[0], reading->statement->setting.word.name);
}

static bool entry_integer(struct reading *reading, int64_t low, int64_t high, int64_t *number)
{
    struct value value;
    const char *name = reading->statement->setting.word.name;
    if (!entry_value(reading, &value) || !want_integer(&reading->e, &value, reading->statement->span, name, number))
        return false;
    if (*number >= low && *number <= high)
        return true;
    report(&reading->e, E0503, reading->statement->span, NULL, "`%s` must be from %lld to %lld, not %lld", name,
           (long long)low, (long long)high, (long long)*number);
    return false;
}

/* ---- the entries ---- */

enum { COUNT_MAX = 1000000000 }; /* of epochs; times the steps of one it is still far from overflow */

static bool read_batch(struct reading *reading)
{
    return entry_integer(reading, 1, 1 << 24, &reading->settings->batch);
}

static bool read_steps(struct reading *reading)
{
    return entry_integer(reading, 1, INT32_MAX, &reading->settings->steps);
}

static bool read_seed(struct reading *reading)
{
    return entry_integer(reading, 0, (int64_t)1 << 53, &reading->settings->seed);
}

static bool read_accumulate(struct reading *reading)
{
    int64_t number;
    if (!entry_integer(reading, 1, 1 << 16, &number))
        return false;
    reading->settings->accumulate = (int)number;
    return true;
}

static bool read_epochs(struct reading *reading)
{
    return entry_integer(reading, 1, COUNT_MAX, &reading->settings->epochs);
}

static bool read_precision(struct reading *reading)
{
    struct settings *settings = reading->settings;
    const struct ast_expressions *values = &reading->statement->setting.values;
    const struct ast_expression *policy = values->items[0];
    settings->policy_span = policy->span;
    bool call = policy->kind == AST_CALL && policy->call.arguments.count == 1 && !policy->call.piped;
    settings->policy = policy->kind == AST_STRING ? policy->string
                       : policy->kind == AST_NAME ? policy->name
                       : call                     ? policy->call.callee
                                                  : NULL;
    if (!settings->policy || values->count != 1)
        return refuse(reading, "precision needs a policy such as autocast(f16), or a file \"mine.policy\"");
    if (!call)
        return true;
    const struct ast_expression *half = policy->call.arguments.items[0].value;
    settings->half = half->kind == AST_NAME ? element_find(half->name) : ELEMENT_NONE;
    return element_is_half(settings->half) || refuse(reading, "a policy's half type is f16 or bf16");
}

static bool read_scale(struct reading *reading)
{
    const struct ast_statement *statement = reading->statement;
    const struct ast_expression *scale = statement->setting.values.items[0];
    if (statement->setting.values.count != 1 || (scale->kind != AST_NAME && scale->kind != AST_CALL))
        return refuse(reading, "scale needs a rule: dynamic, static(1024) or none");
    reading->settings->scale = scale;
    reading->settings->scale_per_loss = statement->setting.per.name != NULL;
    return true;
}

static bool read_clip(struct reading *reading)
{
    const struct ast_expressions *values = &reading->statement->setting.values;
    const struct ast_expression *clip = values->items[0];
    bool good = values->count == 1 && clip->kind == AST_CALL && clip->call.arguments.count == 1 &&
                (strcmp(clip->call.callee, "norm") == 0 || strcmp(clip->call.callee, "value") == 0);
    return good || refuse(reading, "clip needs norm(x) or value(x)");
}

static bool read_freeze(struct reading *reading)
{
    return reading->statement->setting.values.count > 0;
}

static bool read_data(struct reading *reading)
{
    if (reading->statement->setting.values.count != 1)
        return refuse(reading, "data needs one source");
    if (!reading->data) {
        reading->data = ARENA_NEW(reading->e.arena, struct data_setting);
        reading->data->lines = ARENA_ARRAY(reading->e.arena, struct data_line, arrlen(reading->e.unit->entries));
    }
    reading->settings->data = reading->data;
    return settings_data(&reading->e, reading->statement->setting.values.items[0],
                         &reading->data->lines[reading->data->count++]);
}

static bool read_average(struct reading *reading)
{
    const struct ast_expressions *values = &reading->statement->setting.values;
    const struct ast_expression *average = values->items[0];
    bool good = values->count == 1 && average->kind == AST_CALL && average->call.arguments.count == 1 &&
                strcmp(average->call.callee, "ema") == 0;
    reading->settings->average = good;
    return good || refuse(reading, "average needs ema(decay), with a decay such as 0.999");
}

static bool read_minimize(struct reading *reading)
{
    struct settings *settings = reading->settings;
    const struct ast_expression *every = reading->statement->minimize.every;
    const struct ast_expression *optimizer = reading->statement->minimize.optimizer;
    int64_t count = 1;
    settings->trains = true;
    settings->optimizer = arena_printf(reading->e.arena, "%s%s%s", settings->optimizer ? settings->optimizer : "",
                                       settings->optimizer ? ", " : "",
                                       optimizer->kind == AST_CALL ? optimizer->call.callee : optimizer->name);
    if (every) {
        struct value value = evaluate_expression(&reading->e, every);
        if (!known_now(reading, &value, every, "every") ||
            !want_integer(&reading->e, &value, every->span, "`every`", &count))
            return false;
        if (count < 1 || count > INT32_MAX) {
            report(&reading->e, E0503, every->span, NULL, "`every` must be at least 1, not %lld", (long long)count);
            return false;
        }
    }
    settings->every[settings->line_count++] = (int)count;
    return true;
}

/* ---- evaluate and checkpoint ---- */

static const struct ast_statement *find_declaration(const struct ast_block *block, const char *name);

/* Of the statement itself, or in the blocks that it holds. */
static const struct ast_statement *declaration_in(const struct ast_statement *statement, const char *name)
{
    const struct ast_statement *found;
    switch (statement->kind) {
    case AST_DECLARE:
        return strcmp(statement->declare.name.name, name) == 0 ? statement : NULL;
    case AST_BIND:
        for (int i = 0; i < statement->bind.names.count; i++)
            if (strcmp(name, "loss") == 0 && strcmp(statement->bind.names.items[i].name, name) == 0)
                return statement;
        return NULL;
    case AST_IF:
        found = find_declaration(statement->branch.body, name);
        return found ? found : find_declaration(statement->branch.otherwise, name);
    case AST_PIN:
        return find_declaration(statement->pin.body, name);
    case AST_REPEAT:
        return find_declaration(statement->repeat.body, name);
    default:
        return NULL;
    }
}

static const struct ast_statement *find_declaration(const struct ast_block *block, const char *name)
{
    const struct ast_statement *found = NULL;
    for (int i = 0; block && i < block->count && !found; i++)
        found = declaration_in(block->items[i], name);
    return found;
}

static bool read_keep(struct reading *reading)
{
    const struct ast_statement *statement = reading->statement;
    const char *how = statement->every.keep.name, *name = statement->every.measure.name;
    const struct ast_definition *model = reading->e.unit->model;
    if (!how)
        return true;
    const struct ast_statement *declaration = model ? find_declaration(model->body, name) : NULL;
    bool loss = declaration && (declaration->kind == AST_BIND || declaration->declare.what == AST_DECLARE_LOSS);
    bool metric = declaration && declaration->kind == AST_DECLARE && declaration->declare.what == AST_DECLARE_METRIC;
    if (!loss && !metric) {
        report(&reading->e, E0301, statement->every.measure.span, NULL, "the model has no loss or metric `%s`", name);
        return false;
    }
    bool best = strcmp(how, "best") == 0, highest = strcmp(how, "highest") == 0;
    if (!best && !highest && strcmp(how, "lowest") != 0)
        return refuse(reading, "keep best, keep highest or keep lowest");
    reading->settings->keep = (struct keep_setting){name, best ? metric : highest, statement->every.measure.span};
    return true;
}

/* `keep 3` */
static bool read_kept(struct reading *reading)
{
    const struct ast_expression *kept = reading->statement->every.kept;
    if (!kept)
        return true;
    struct value value = evaluate_expression(&reading->e, kept);
    return want_integer(&reading->e, &value, kept->span, "`keep`", &reading->settings->kept) &&
           (reading->settings->kept > 0 || refuse(reading, "`keep` needs at least 1 checkpoint"));
}

static bool read_interval(struct reading *reading, struct interval *interval)
{
    const struct ast_statement *statement = reading->statement;
    if (statement->kind != AST_EVERY)
        return refuse(reading, "needs `every`: evaluate every 1 epoch");
    struct value count = evaluate_expression(&reading->e, statement->every.count);
    const char *unit = statement->every.unit.name ? statement->every.unit.name : "";
    if (!known_now(reading, &count, statement->every.count, "every") ||
        !want_integer(&reading->e, &count, statement->every.count->span, "the interval", &interval->count))
        return false;
    if (interval->count <= 0 || interval->count > COUNT_MAX)
        return refuse(reading, "the interval must be from 1 to 1000000000");
    if (strcmp(unit, "epoch") == 0 || strcmp(unit, "epochs") == 0)
        interval->unit = INTERVAL_EPOCHS;
    else if (strcmp(unit, "step") == 0 || strcmp(unit, "steps") == 0)
        interval->unit = INTERVAL_STEPS;
    else
        return refuse(reading, "the unit of an interval is epochs or steps");
    return true;
}

static bool read_evaluate(struct reading *reading)
{
    if (reading->statement->kind == AST_EVERY && reading->statement->every.keep.name)
        return refuse(reading, "`keep` belongs to checkpoint");
    return read_interval(reading, &reading->settings->evaluate);
}

static bool read_checkpoint(struct reading *reading)
{
    return read_interval(reading, &reading->settings->checkpoint) && read_keep(reading) && read_kept(reading);
}

static const struct entry entries[] = {{"data", true, read_data},
                                       {"batch", false, read_batch},
                                       {"epochs", false, read_epochs},
                                       {"steps", false, read_steps},
                                       {"accumulate", false, read_accumulate},
                                       {"minimize", true, read_minimize},
                                       {"precision", false, read_precision},
                                       {"scale", false, read_scale},
                                       {"clip", false, read_clip},
                                       {"seed", false, read_seed},
                                       {"evaluate", false, read_evaluate},
                                       {"checkpoint", false, read_checkpoint},
                                       {"freeze", true, read_freeze},
                                       {"average", false, read_average}};

enum { ENTRY_COUNT = sizeof entries / sizeof *entries };

const char *settings_entry(int index)
{
    return index < ENTRY_COUNT ? entries[index].name : NULL;
}

static const struct entry *find_entry(const char *name)
{
    for (int i = 0; i < ENTRY_COUNT; i++)
        if (strcmp(entries[i].name, name) == 0)
            return &entries[i];
    return NULL;
}

/* ---- the block ---- */

static const char *entry_word(const struct ast_statement *statement)
{
    return statement->kind == AST_MINIMIZE  ? "minimize"
           : statement->kind == AST_EVERY   ? statement->every.word.name
           : statement->kind == AST_SETTING ? statement->setting.word.name
                                            : NULL;
}

/* True for a flag's text that is a path and no source expression. */
static bool is_path(const char *text)
{
    size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return text[word] != '(';
}

static const struct name_text *find_override(const struct name_text *overrides, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(overrides[i].name, name) == 0 && !(strcmp(name, "data") == 0 && is_path(overrides[i].text)))
            return &overrides[i];
    return NULL;
}

static void add_block(struct unit *unit, const struct name_text *overrides, int count)
{
    bool replaces_length = find_override(overrides, count, "epochs") || find_override(overrides, count, "steps");
    for (int i = 0; unit->train && i < unit->train->body->count; i++) {
        const struct ast_statement *statement = unit->train->body->items[i];
        const char *word = entry_word(statement);
        bool length = word && (strcmp(word, "epochs") == 0 || strcmp(word, "steps") == 0);
        if (word && (find_override(overrides, count, word) || (length && replaces_length)))
            continue;
        arrput(unit->entries, statement);
    }
}

static void add_overrides(struct unit *unit, const struct name_text *overrides, int count)
{
    for (int i = 0; i < count; i++) {
        const struct name_text *given = &overrides[i];
        const char *file = arena_internf(unit->arena, "--%s", given->name);
        if (strcmp(given->name, "lr") == 0)
            unit->rate = parse_net_expression(unit->arena, unit->diagnostics, file, given->text);
        else if (find_override(given, 1, given->name)) {
            const struct ast_block *block =
                parse_net_entry(unit->arena, unit->diagnostics, file, given->name, given->text);
            for (int k = 0; block && k < block->count; k++)
                arrput(unit->entries, block->items[k]);
        }
    }
}

/* What the optimizer of a `minimize` line takes, sought as an entry of its own. */
static bool is_of_optimizer(const char *word)
{
    static const char *const words[] = {"lr", "learning_rate", "momentum", "weight_decay", "scheduler", "schedule"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

static void report_entry(struct reading *reading, const char *word)
{
    const char *names[ENTRY_COUNT];
    for (int i = 0; i < ENTRY_COUNT; i++)
        names[i] = entries[i].name;
    const char *near = suggest(word, names, ENTRY_COUNT);
    struct span span =
        reading->statement->kind == AST_SETTING ? reading->statement->setting.word.span : reading->statement->span;
    report(&reading->e, E0501, span, NULL, "the train block has no entry `%s`", word);
    if (is_of_optimizer(word))
        diagnostics_note(reading->e.diagnostics, (struct span){0},
                         "the optimizer takes it: `minimize loss with adam(lr = 1e-3 * cosine(step, steps))`");
    else if (near)
        diagnostics_note(reading->e.diagnostics, (struct span){0}, "did you mean `%s`?", near);
}

/* Bindings are executed with names for what only the step knows; those are in error here, silently. */
static void read_binding(struct reading *reading)
{
    const struct ast_name *name = &reading->statement->bind.names.items[0];
    if (find_entry(name->name)) {
        report(&reading->e, E0503, name->span, NULL, "`%s` is an entry: it is written without `=`", name->name);
        return;
    }
    struct ast_statement *statement = (struct ast_statement *)reading->statement;
    struct ast_block block = {.items = &statement, .count = 1, .span = statement->span};
    execute(&reading->e, &block);
}

static void read_entry(struct reading *reading, bool *seen)
{
    const char *word = entry_word(reading->statement);
    if (reading->statement->kind == AST_BIND) {
        read_binding(reading);
        return;
    }
    const struct entry *entry = word ? find_entry(word) : NULL;
    const struct ast_name *per = reading->statement->kind == AST_SETTING ? &reading->statement->setting.per : NULL;
    if (word && per && per->name && (strcmp(word, "scale") != 0 || strcmp(per->name, "loss") != 0))
        report(&reading->e, E0503, per->span, NULL, "only `scale … per loss` takes `per`");
    else if (!word)
        report(&reading->e, E0501, reading->statement->span, NULL, "the train block has entries and bindings only");
    else if (!entry)
        report_entry(reading, word);
    else if (seen[entry - entries] && !entry->repeats)
        report(&reading->e, E0502, reading->statement->span, NULL, "`%s` is given twice", word);
    else
        entry->read(reading);
    if (entry)
        seen[entry - entries] = true;
}

/* What is missing is only said when nothing else is wrong: it may be there, misspelt. */
static void check_whole(struct reading *reading, int errors)
{
    struct settings *settings = reading->settings;
    if (settings->epochs > 0 && settings->steps > 0)
        report(&reading->e, E0503, settings->span, NULL, "give `epochs` or `steps`, not both");
    if (!settings->trains || diagnostics_errors(reading->e.diagnostics) > errors)
        return;
    if (!settings->batch)
        report(&reading->e, E0509, settings->span, NULL, "the train block needs `batch`");
    if (!settings->epochs && !settings->steps)
        report(&reading->e, E0509, settings->span, NULL, "the train block needs `epochs` or `steps`");
}

static void bind_unknown(struct elaborator *e)
{
    static const char *const names[] = {"step", "steps", "epoch"};
    for (int i = 0; i < 3; i++)
        bind(e, arena_intern(e->arena, names[i]), (struct value){0}, NULL);
}

static struct setting_argument *find_path(const struct data_line *line)
{
    struct setting_argument *arguments = (struct setting_argument *)line->source.arguments;
    for (int i = 0; i < line->source.argument_count; i++)
        if (strcmp(arguments[i].name, "path") == 0)
            return &arguments[i];
    return NULL;
}

/* --data PATH replaces the source's own path. */
static void replace_path(struct reading *reading, const struct name_text *overrides, int count)
{
    const struct data_setting *data = reading->settings->data;
    for (int i = 0; i < count; i++) {
        struct setting_argument *path = NULL;
        int paths = 0;
        if (strcmp(overrides[i].name, "data") != 0 || !is_path(overrides[i].text))
            continue;
        for (int k = 0; data && k < data->count; k++) {
            struct setting_argument *own = find_path(&data->lines[k]);
            path = own ? own : path;
            paths += own != NULL;
        }
        if (paths == 1)
            path->text = arena_intern(reading->e.arena, overrides[i].text);
        else
            diagnostics_error(reading->e.diagnostics, E0503, reading->settings->span, NULL,
                              "--data %s: the file names %s", overrides[i].text,
                              paths ? "more than one source that has a path; give sources as the file does"
                                    : "no source that has a path");
    }
}

/* ---- as text ---- */

/* What a resumed run must keep, or tells of in other words. */
static bool is_told_apart(const char *word)
{
    static const char *const words[] = {"batch", "epochs", "steps", "accumulate", "seed", "precision"};
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

/* A statement on one line. */
static char *entry_text(struct arena *arena, const struct ast_statement *statement)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    format_one(statement, out);
    arena_stream_close(out);
    char *line = arena_printf(arena, "%s", text), *end = line;
    free(text);
    for (const char *at = line; *at; at++) {
        *end++ = *at == '\n' ? ' ' : *at;
        while (*at == '\n' && at[1] == ' ')
            at++;
    }
    while (end > line && end[-1] == ' ')
        end--;
    *end = '\0';
    return line;
}

static const char *settings_text(const struct unit *unit, const struct name_text *overrides, int count)
{
    const char *name, *text = "";
    for (int i = 0; (name = unit_option(unit, i)); i++)
        text = arena_printf(unit->arena, "%soption %s = %s\n", text, name, unit_option_text(unit, i));
    for (ptrdiff_t i = 0; i < arrlen(unit->entries); i++)
        if (!is_told_apart(entry_word(unit->entries[i])))
            text = arena_printf(unit->arena, "%s%s\n", text, entry_text(unit->arena, unit->entries[i]));
    for (int i = 0; i < count; i++)
        if (strcmp(overrides[i].name, "lr") == 0 ||
            (strcmp(overrides[i].name, "data") == 0 && is_path(overrides[i].text)))
            text = arena_printf(unit->arena, "%s--%s %s\n", text, overrides[i].name, overrides[i].text);
    return text;
}

const struct settings *settings_read(struct unit *unit, const struct name_text *overrides, int count)
{
    struct frame frame = {.path = "", .value_path = "", .scope = "", .prefix = ""};
    struct reading reading = {
        .e = {.arena = unit->arena, .diagnostics = unit->diagnostics, .unit = unit, .frame = &frame}};
    bool seen[ENTRY_COUNT] = {false};
    int errors = diagnostics_errors(unit->diagnostics);
    reading.settings = ARENA_NEW(unit->arena, struct settings);
    *reading.settings = (struct settings){.accumulate = 1};
    if (unit->train)
        reading.settings->span = unit->train->span;
    arrfree(unit->entries);
    add_block(unit, overrides, count);
    add_overrides(unit, overrides, count);
    reading.settings->every = ARENA_ARRAY(unit->arena, int, arrlen(unit->entries) + 1);
    bind_unknown(&reading.e);
    for (ptrdiff_t i = 0; i < arrlen(unit->entries); i++) {
        reading.statement = unit->entries[i];
        reading.errors = diagnostics_errors(unit->diagnostics);
        read_entry(&reading, seen);
    }
    check_whole(&reading, errors);
    replace_path(&reading, overrides, count);
    reading.settings->text = settings_text(unit, overrides, count);
    frame_free(&frame);
    unit->settings = reading.settings;
    return diagnostics_errors(unit->diagnostics) == errors ? reading.settings : NULL;
}

void bind_train_values(struct elaborator *e)
{
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        struct ast_statement *statement = (struct ast_statement *)e->unit->entries[i];
        struct ast_block block = {.items = &statement, .count = 1, .span = statement->span};
        if (statement->kind == AST_BIND)
            execute(e, &block);
    }
}
