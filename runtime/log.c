/* Log lines, built as text in the order that the command line's contract gives. */
#include "runtime/log.h"
#include "runtime/file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool log_open(struct log *log, const char *path, FILE *copy, struct error *error)
{
    *log = (struct log){.copy = copy};
    if (!path)
        return true;
    log->file = fopen(path, "w");
    if (!log->file)
        return error_set_system(error, path, "cannot write");
    setvbuf(log->file, NULL, _IOLBF, 1 << 12); /* whole lines, so that it can be followed while it grows */
    log->path = file_text("%s", path);
    return true;
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
    if (log->file && fputs(line, log->file) < 0 && !log->failure)
        log->failure = errno ? errno : EIO;
    if (log->copy) {
        fputs(line, log->copy);
        fflush(log->copy);
    }
}

static void put_step(FILE *out, const struct log_step *step)
{
    const struct tally *values = step->values;
    const struct tally_item *lr = tally_find(values, "lr", PROGRAM_LOG);
    const struct tally_item *scale = tally_find(values, "scale", PROGRAM_LOG);
    fprintf(out, "{\"step\":%lld,\"epoch\":%lld", (long long)step->step, (long long)step->epoch);
    put_losses(out, values);
    put_object(out, "metrics", values, PROGRAM_METRIC);
    put_object(out, "watch", values, PROGRAM_WATCH);
    if (lr)
        put_member(out, "lr", tally_value(lr), false);
    put_member(out, "scale", scale ? tally_value(scale) : 1, false);
    fprintf(out, ",\"skipped\":%lld", (long long)step->skipped);
    for (int i = 0; i < values->count; i++) {
        const struct tally_item *item = &values->items[i];
        if (item->kind == PROGRAM_LOG && item != lr && item != scale && strcmp(item->name, "skipped") != 0)
            put_member(out, item->name, tally_value(item), false);
    }
    fprintf(out, ",\"examples_per_s\":%.0f}\n", step->examples_per_second);
}

/* Builds a line in memory and writes it whole, so that a reader never sees half of one. */
static FILE *begin_line(char **text, size_t *size)
{
    *text = NULL;
    return open_memstream(text, size);
}

static void end_line(struct log *log, FILE *line, char **text)
{
    if (fclose(line) == 0)
        write_line(log, *text);
    free(*text);
}

void log_step(struct log *log, const struct log_step *step)
{
    char *text;
    size_t size;
    FILE *line = log->file || log->copy ? begin_line(&text, &size) : NULL;
    if (!line)
        return;
    put_step(line, step);
    end_line(log, line, &text);
}

void log_evaluation(struct log *log, int64_t step, int64_t epoch, const struct evaluation *evaluation, const char *set,
                    const char *best_on)
{
    char *text;
    size_t size;
    FILE *line = log->file || log->copy ? begin_line(&text, &size) : NULL;
    if (!line)
        return;
    fprintf(line, "{\"epoch\":%lld,\"eval\":{", (long long)epoch);
    for (int i = 0; i < evaluation->count; i++)
        put_member(line, evaluation->scores[i].name, evaluation->scores[i].value, i == 0);
    fprintf(line, "},\"step\":%lld,\"set\":\"%s\",\"best_on\":\"%s\"}\n", (long long)step, set, best_on);
    end_line(log, line, &text);
}
