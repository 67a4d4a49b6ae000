/* Line by line, so that a log of any length takes little memory. */
#include "frontend/report/log.h"
#include "runtime/file.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { WARNINGS = 20 };

static const int64_t COUNT_MOST = (int64_t)1 << 53; /* as far as scripts count exactly */

static const char *const kind_names[] = {"loss", "metric", "scale", "other"};

/* ---- curves ---- */

static struct curve *find_curve(struct report_log *log, const char *name, const char *set)
{
    for (ptrdiff_t i = 0; i < arrlen(log->curves); i++)
        if (strcmp(log->curves[i].name, name) == 0 && strcmp(log->curves[i].set, set) == 0)
            return &log->curves[i];
    return NULL;
}

/* An evaluation does not say what is a loss: what training calls one is. */
static enum curve_kind kind_of_score(struct report_log *log, const char *name)
{
    const struct curve *train = find_curve(log, name, "train");
    return train ? train->kind : strcmp(name, "loss") == 0 ? CURVE_LOSS : CURVE_METRIC;
}

static void add_point(struct report_log *log, enum curve_kind kind, const char *name, const char *set, int64_t step,
                      const json_t *value)
{
    struct curve *curve = find_curve(log, name, set);
    if (!curve) {
        struct curve new = {.name = file_text("%s", name), .set = set, .kind = kind};
        arrput(log->curves, new);
        curve = &arrlast(log->curves);
    }
    series_add(&curve->series, step, json_is_number(value) ? json_number_value(value) : NAN);
}

static bool is_value(const json_t *value)
{
    return json_is_number(value) || json_is_null(value);
}

/* A value, or an object of values by loss: curves NAME/LOSS. */
static void add_values(struct report_log *log, enum curve_kind kind, const char *name, int64_t step, json_t *value)
{
    const char *of;
    json_t *part;
    if (is_value(value))
        add_point(log, kind, name, "train", step, value);
    json_object_foreach(value, of, part)
    {
        char *both = file_text("%s/%s", name, of);
        if (is_value(part))
            add_point(log, kind, both, "train", step, part);
        free(both);
    }
}

/* An object whose members are curves by their own names. */
static void add_members(struct report_log *log, enum curve_kind kind, int64_t step, json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (is_value(value))
            add_point(log, kind, name, "train", step, value);
    }
}

/* ---- skipped steps ---- */

static bool is_count(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= COUNT_MOST;
}

/* A number, or an object of numbers by loss. */
static int64_t total_of(json_t *skipped)
{
    const char *name;
    json_t *part;
    int64_t total = is_count(skipped) ? json_integer_value(skipped) : 0;
    json_object_foreach(skipped, name, part)
    {
        if (is_count(part) && total <= COUNT_MOST)
            total += json_integer_value(part);
    }
    return total;
}

/* Gives its place in the list. */
static ptrdiff_t add_overflow(struct report_log *log, int64_t step, const char *where, const char *cause)
{
    for (ptrdiff_t i = 0; i < arrlen(log->overflows); i++) {
        struct overflow *overflow = &log->overflows[i];
        if (strcmp(overflow->where, where) != 0 || strcmp(overflow->cause, cause) != 0)
            continue;
        overflow->count++;
        overflow->last = step;
        return i;
    }
    struct overflow overflow = {file_text("%s", where), file_text("%s", cause), 1, step, step};
    arrput(log->overflows, overflow);
    return arrlen(log->overflows) - 1;
}

static void add_skips(struct report_log *log, int64_t step, const json_t *line)
{
    int64_t skipped = total_of(json_object_get(line, "skipped"));
    const char *where = json_string_value(json_object_get(line, "overflow"));
    const char *cause = json_string_value(json_object_get(line, "cause"));
    if (skipped > log->skipped)
        series_add(&log->skips, step, (double)add_overflow(log, step, where ? where : "", cause ? cause : ""));
    log->skipped = skipped;
}

/* ---- lines ---- */

static void read_step(struct report_log *log, int64_t step, json_t *line)
{
    static const char *const told[] = {"step", "epoch", "skipped", "overflow", "cause"};
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof told / sizeof *told; i++)
            known |= strcmp(name, told[i]) == 0;
        if (known)
            continue;
        if (strcmp(name, "loss") == 0 && json_is_object(value))
            add_members(log, CURVE_LOSS, step, value);
        else if (strcmp(name, "metrics") == 0)
            add_members(log, CURVE_METRIC, step, value);
        else if (strcmp(name, "watch") == 0)
            add_members(log, CURVE_OTHER, step, value);
        else
            add_values(log,
                       strcmp(name, "loss") == 0    ? CURVE_LOSS
                       : strcmp(name, "scale") == 0 ? CURVE_SCALE
                                                    : CURVE_OTHER,
                       name, step, value);
    }
    add_skips(log, step, line);
    log->steps = step > log->steps ? step : log->steps;
}

static void read_scores(struct report_log *log, const char *set, int64_t step, json_t *scores)
{
    const char *name;
    json_t *value;
    json_object_foreach(scores, name, value)
    {
        if (is_value(value))
            add_point(log, kind_of_score(log, name), name, set, step, value);
    }
}

/* What is wrong with a line; NULL: nothing. */
static const char *read_object(struct report_log *log, json_t *line)
{
    json_t *step = json_object_get(line, "step"), *epoch = json_object_get(line, "epoch");
    json_t *eval = json_object_get(line, "eval");
    const char *set = json_string_value(json_object_get(line, "set"));
    if (!json_is_object(line))
        return "not an object";
    if (!is_count(step))
        return "it has no `step`";
    if (is_count(epoch))
        log->epoch = json_integer_value(epoch);
    if (!eval) {
        read_step(log, json_integer_value(step), line);
        return NULL;
    }
    read_scores(log, set && strcmp(set, "validate") == 0 ? "validate" : "test", json_integer_value(step), eval);
    read_scores(log, "average", json_integer_value(step), json_object_get(line, "average"));
    return NULL;
}

static void warn(struct report_log *log, const char *path, int64_t number, const char *what)
{
    if (log->unused++ < WARNINGS) {
        char *warning = file_text("%s:%lld: %s; the line is left out", path, (long long)number, what);
        arrput(log->warnings, warning);
    }
}

static void read_line(struct report_log *log, const char *path, int64_t number, const char *text, size_t length)
{
    json_error_t problem;
    json_t *line = json_loadb(text, length, 0, &problem);
    bool torn = !line && text[length - 1] != '\n';
    const char *what = line   ? read_object(log, line)
                       : torn ? "cut off: the run ended while it was written"
                              : problem.text;
    if (what)
        warn(log, path, number, what);
    json_decref(line);
}

bool report_log_read(struct report_log *log, const char *path, struct error *error)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    *log = (struct report_log){0};
    FILE *file = fopen(path, "r");
    if (!file)
        return error_set_system(error, path, "cannot read");
    errno = 0;
    for (int64_t number = 1; (length = getline(&text, &room, file)) > 0; number++)
        read_line(log, path, number, text, (size_t)length);
    bool whole = !ferror(file);
    if (!whole)
        error_set_system(error, path, "cannot read");
    free(text);
    fclose(file);
    return whole;
}

void report_log_free(struct report_log *log)
{
    for (ptrdiff_t i = 0; i < arrlen(log->curves); i++) {
        free(log->curves[i].name);
        series_free(&log->curves[i].series);
    }
    for (ptrdiff_t i = 0; i < arrlen(log->overflows); i++) {
        free(log->overflows[i].where);
        free(log->overflows[i].cause);
    }
    for (ptrdiff_t i = 0; i < arrlen(log->warnings); i++)
        free(log->warnings[i]);
    arrfree(log->curves);
    arrfree(log->overflows);
    arrfree(log->warnings);
    series_free(&log->skips);
}

/* ---- as JSON ---- */

static json_t *curves_json(const struct report_log *log)
{
    json_t *curves = json_array();
    for (ptrdiff_t i = 0; i < arrlen(log->curves); i++) {
        const struct curve *curve = &log->curves[i];
        json_t *object =
            json_pack("{s:s, s:s, s:s}", "name", curve->name, "set", curve->set, "kind", kind_names[curve->kind]);
        json_object_update_new(object, series_json(&curve->series, curve->kind == CURVE_SCALE));
        json_array_append_new(curves, object);
    }
    return curves;
}

static json_t *overflows_json(const struct report_log *log)
{
    json_t *overflows = json_array();
    for (ptrdiff_t i = 0; i < arrlen(log->overflows); i++) {
        const struct overflow *overflow = &log->overflows[i];
        json_array_append_new(overflows, json_pack("{s:s, s:s, s:I, s:I, s:I}", "where", overflow->where, "cause",
                                                   overflow->cause, "count", (json_int_t)overflow->count, "first",
                                                   (json_int_t)overflow->first, "last", (json_int_t)overflow->last));
    }
    return overflows;
}

json_t *report_log_json(const struct report_log *log)
{
    json_t *warnings = json_array();
    for (ptrdiff_t i = 0; i < arrlen(log->warnings); i++)
        json_array_append_new(warnings, json_string(log->warnings[i]));
    if (log->unused > WARNINGS) {
        char *more = file_text("%lld more lines are left out", (long long)log->unused - WARNINGS);
        json_array_append_new(warnings, json_string(more));
        free(more);
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "steps", (json_int_t)log->steps, "epoch",
                     (json_int_t)log->epoch, "skipped", (json_int_t)log->skipped, "curves", curves_json(log), "skips",
                     series_json(&log->skips, 1), "overflows", overflows_json(log), "warnings", warnings);
}
