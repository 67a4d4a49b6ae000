/* Log lines, built as text in the order that the command line's contract gives. */
#include "runtime/log.h"
#include "runtime/file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool open_file(struct log *log, const char *path, const char *mode, struct error *error)
{
    log->file = fopen(path, mode);
    if (!log->file)
        return error_set_system(error, path, "cannot write");
    setvbuf(log->file, NULL, _IOLBF, 1 << 12); /* whole lines, so that it can be followed while it grows */
    log->path = file_text("%s", path);
    return true;
}

bool log_open(struct log *log, const char *path, FILE *copy, struct error *error)
{
    *log = (struct log){.copy = copy};
    return !path || open_file(log, path, "w", error);
}

bool log_reopen(struct log *log, const char *path, int64_t lines, FILE *copy, struct error *error)
{
    size_t size = 0, kept = 0;
    *log = (struct log){.copy = copy};
    char *text = access(path, F_OK) == 0 ? file_read(path, &size, error) : file_text("%s", "");
    if (!text)
        return false;
    for (const char *end; log->lines < lines && (end = memchr(text + kept, '\n', size - kept)); log->lines++)
        kept = (size_t)(end + 1 - text);
    free(text);
    if (!open_file(log, path, "a", error))
        return false;
    return ftruncate(fileno(log->file), (off_t)kept) == 0 || error_set_system(error, path, "cannot write");
}

bool log_sync(struct log *log, struct error *error)
{
    if (log->file && (fflush(log->file) != 0 || (fsync(fileno(log->file)) != 0 && errno != EINVAL)) && !log->failure)
        log->failure = errno;
    errno = log->failure;
    return !log->failure || error_set_system(error, log->path, "cannot write");
}

bool log_close(struct log *log, struct error *error)
{
    bool ok = true;
    if (log->file) {
        if (fclose(log->file) != 0 && !log->failure)
            log->failure = errno;
        errno = log->failure;
        ok = !log->failure || error_set_system(error, log->path, "cannot write");
    }
    free(log->path);
    *log = (struct log){0};
    return ok;
}

static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            fprintf(out, "\\u%04x", (unsigned char)*at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

/* Values are f32 (or averages of them): the fewest digits that give the same f32 again. */
static void put_number(FILE *out, double value)
{
    char text[32] = "null";
    for (int digits = 6; isfinite(value) && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtof(text, NULL) == (float)value)
            break;
    }
    fputs(text, out);
}

static void put_member(FILE *out, const char *name, double value, bool first)
{
    if (!first)
        fputc(',', out);
    put_string(out, name);
    fputc(':', out);
    put_number(out, value);
}

static int count_kind(const struct tally *tally, enum program_output_kind kind)
{
    int count = 0;
    for (int i = 0; i < tally->count; i++)
        count += tally->items[i].kind == kind;
    return count;
}

/* ,"KEY":{"name":value,…}; nothing when there is no item of this kind. */
static void put_object(FILE *out, const char *key, const struct tally *tally, enum program_output_kind kind)
{
    if (!count_kind(tally, kind))
        return;
    fprintf(out, ",\"%s\":{", key);
    bool first = true;
    for (int i = 0; i < tally->count; i++)
        if (tally->items[i].kind == kind) {
            put_member(out, tally->items[i].name, tally_value(&tally->items[i]), first);
            first = false;
        }
    fputc('}', out);
}

static void put_losses(FILE *out, const struct tally *tally)
{
    if (count_kind(tally, PROGRAM_LOSS) > 1) {
        put_object(out, "loss", tally, PROGRAM_LOSS);
        return;
    }
    for (int i = 0; i < tally->count; i++)
        if (tally->items[i].kind == PROGRAM_LOSS)
            put_member(out, "loss", tally_value(&tally->items[i]), false);
}

static void write_line(struct log *log, const char *line)
{
    log->lines++;
    if (log->file && fputs(line, log->file) < 0 && !log->failure)
        log->failure = errno ? errno : EIO;
    if (log->copy) {
        fputs(line, log->copy);
        fflush(log->copy);
    }
}

/* The length of NAME in a value called NAME or NAME/LOSS. */
static size_t stem(const char *name)
{
    return strcspn(name, "/");
}

static bool is_log_of(const struct tally_item *item, const char *name, size_t length)
{
    return item->kind == PROGRAM_LOG && stem(item->name) == length && strncmp(item->name, name, length) == 0;
}

/* ,"NAME":value or ,"NAME":{"LOSS":value,…} of the log values called so; false when there are none. */
static bool put_log(FILE *out, const struct tally *values, const char *name, size_t length)
{
    int count = 0;
    for (int i = 0; i < values->count; i++) {
        const struct tally_item *item = &values->items[i];
        if (!is_log_of(item, name, length))
            continue;
        bool of_line = item->name[length] == '/';
        fprintf(out, count ? "," : of_line ? ",\"%.*s\":{" : ",", (int)length, name);
        put_member(out, of_line ? item->name + length + 1 : item->name, tally_value(item), true);
        count += of_line;
        if (!of_line)
            return true;
    }
    if (count)
        fputc('}', out);
    return count > 0;
}

static void put_skipped(FILE *out, const struct divergence *skips)
{
    if (!skips->line_count || !*skips->lines[0].name) {
        fprintf(out, ",\"skipped\":%lld", (long long)skips->skipped);
        return;
    }
    for (int i = 0; i < skips->line_count; i++) {
        fputs(i ? "," : ",\"skipped\":{", out);
        put_string(out, skips->lines[i].name);
        fprintf(out, ":%lld", (long long)skips->lines[i].skipped);
    }
    fputc('}', out);
}

/* The other log values, each name where it comes first. */
static void put_other_logs(FILE *out, const struct tally *values)
{
    static const char *const told[] = {"lr", "scale", "skipped", "overflow"};
    for (int i = 0; i < values->count; i++) {
        const struct tally_item *item = &values->items[i];
        size_t length = stem(item->name);
        bool before = item->kind != PROGRAM_LOG;
        for (size_t k = 0; k < sizeof told / sizeof *told; k++)
            before |= is_log_of(item, told[k], strlen(told[k]));
        for (int k = 0; k < i; k++)
            before |= is_log_of(&values->items[k], item->name, length);
        if (!before)
            put_log(out, values, item->name, length);
    }
}

static void put_step(FILE *out, const struct log_step *step)
{
    const struct tally *values = step->values;
    fprintf(out, "{\"step\":%lld,\"epoch\":%lld", (long long)step->step, (long long)step->epoch);
    put_losses(out, values);
    put_object(out, "metrics", values, PROGRAM_METRIC);
    put_object(out, "watch", values, PROGRAM_WATCH);
    put_log(out, values, "lr", 2);
    if (!put_log(out, values, "scale", 5))
        put_member(out, "scale", 1, false);
    put_skipped(out, step->skips);
    if (step->origin) {
        fputs(",\"overflow\":", out);
        put_string(out, step->origin->text);
        fprintf(out, ",\"cause\":\"%s\"", step->origin->forward ? "forward" : "scale");
    }
    put_other_logs(out, values);
    fprintf(out, ",\"examples_per_s\":%.0f}\n", step->examples_per_second);
}

/* Builds a line in memory and writes it whole, so that a reader never sees half of one. */
static FILE *begin_line(struct log *log, char **text, size_t *size)
{
    *text = NULL;
    FILE *line = open_memstream(text, size);
    if (!line && !log->failure)
        log->failure = ENOMEM;
    return line;
}

static void end_line(struct log *log, FILE *line, char **text)
{
    bool whole = !ferror(line);
    if (fclose(line) == 0 && whole)
        write_line(log, *text);
    else if (!log->failure)
        log->failure = ENOMEM;
    free(*text);
}

void log_step(struct log *log, const struct log_step *step)
{
    char *text;
    size_t size;
    FILE *line = log->file || log->copy ? begin_line(log, &text, &size) : NULL;
    if (!line)
        return;
    put_step(line, step);
    end_line(log, line, &text);
}

static void put_scores(FILE *out, const char *key, const struct evaluation *evaluation)
{
    fprintf(out, ",\"%s\":{", key);
    for (int i = 0; i < evaluation->scores.count; i++)
        put_member(out, evaluation->scores.list[i].name, evaluation->scores.list[i].value, i == 0);
    fputc('}', out);
}

void log_evaluation(struct log *log, int64_t step, int64_t epoch, const struct evaluation *evaluation,
                    const struct evaluation *average, const char *set, const char *best_on)
{
    char *text;
    size_t size;
    FILE *line = log->file || log->copy ? begin_line(log, &text, &size) : NULL;
    if (!line)
        return;
    fprintf(line, "{\"epoch\":%lld", (long long)epoch);
    put_scores(line, "eval", evaluation);
    if (average)
        put_scores(line, "average", average);
    fprintf(line, ",\"step\":%lld,\"set\":\"%s\",\"best_on\":\"%s\"}\n", (long long)step, set, best_on);
    end_line(log, line, &text);
}
