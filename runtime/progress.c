/* Composing and drawing the progress line. */
#include "runtime/progress.h"
#include "runtime/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 20, LINE = 512, VALUE_TEXT = 32, DEFAULT_WIDTH = 80 };

static const double redraw_seconds = 0.1;

struct progress progress_begin(FILE *out, int64_t steps, int64_t steps_per_epoch)
{
    struct progress progress = {.out = out, .width = DEFAULT_WIDTH, .steps = steps, .steps_per_epoch = steps_per_epoch};
    struct winsize window;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    progress.epochs = steps_per_epoch ? (steps + steps_per_epoch - 1) / steps_per_epoch : 1;
    progress.terminal = out && isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
    progress.color = progress.terminal && !(no_color && no_color[0]);
    if (progress.terminal && ioctl(fileno(out), TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        progress.width = window.ws_col;
    return progress;
}

/* What a narrow terminal does without, one after the other, until the line fits. What tells whether training goes well
 * (loss, scale, skipped steps) and the time left stay longest. */
enum detail { SHORT_BAR, NO_BAR, SHORT_RATE, NO_RATE, NO_WORD, NO_LR, NO_METRICS, NO_SCALE, NO_TIME, DETAIL_COUNT };

/* A text of limited size that grows at its end. */
struct line {
    char *text;
    size_t size, used;
};

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->used, line->size - line->used, format, arguments);
    va_end(arguments);
    size_t room = line->size - line->used - 1;
    line->used += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room;
}

static void put_bar(struct line *line, const struct progress *progress, const struct progress_state *state, int bar)
{
    int64_t in_epoch = progress->steps_per_epoch ? (state->step - 1) % progress->steps_per_epoch + 1 : 0;
    int64_t length = progress->steps_per_epoch < progress->steps ? progress->steps_per_epoch : progress->steps;
    int full = length > 0 ? (int)(bar * in_epoch / length) : 0;
    put(line, bar ? " [" : "");
    for (int i = 0; i < bar; i++)
        put(line, "%c", i < full ? '=' : i == full ? '>' : ' ');
    put(line, bar ? "] %lld/%lld" : " %lld/%lld", (long long)in_epoch, (long long)length);
}

/* The log values called NAME, or NAME/LOSS where lines have their own. */
static void put_logs(struct line *line, const struct tally *values, const char *name, const char *format)
{
    size_t length = strlen(name);
    for (int i = 0; i < values->count; i++) {
        const struct tally_item *item = &values->items[i];
        if (item->kind == PROGRAM_LOG && strncmp(item->name, name, length) == 0 && strchr("/", item->name[length]))
            put(line, format, item->name, tally_value(item));
    }
}

static void put_kind(struct line *line, const struct tally *values, enum program_output_kind kind)
{
    for (int i = 0; i < values->count; i++) {
        double value = tally_value(&values->items[i]);
        if (values->items[i].kind == kind)
            put(line, "  %s %.4g", values->items[i].name, isnan(value) ? NAN : value); /* no "-nan" */
    }
}

/* `left_out`: that many details of the list. */
static void put_values(struct line *line, const struct tally *values, int left_out)
{
    put_kind(line, values, PROGRAM_LOSS);
    if (left_out <= NO_METRICS)
        put_kind(line, values, PROGRAM_METRIC);
    if (left_out <= NO_LR)
        put_logs(line, values, "lr", "  %s %.3g");
    if (left_out <= NO_SCALE)
        put_logs(line, values, "scale", "  %s %.6g");
}

static void put_duration(struct line *line, double seconds)
{
    long long whole = isfinite(seconds) && seconds > 0 ? llround(seconds) : 0;
    if (whole >= 3600)
        put(line, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        put(line, "%lld:%02lld", whole / 60, whole % 60);
}

static void put_rate(struct line *line, double examples_per_second, int left_out)
{
    if (examples_per_second > 0 && left_out <= NO_RATE) /* unknown before the second step */
        put(line, left_out <= SHORT_RATE ? "  %.0f examples/s" : "  %.0f/s", examples_per_second);
}

static void put_all(struct line *line, const struct progress *progress, const struct progress_state *state,
                    int left_out)
{
    put(line, left_out <= NO_WORD ? "epoch %lld/%lld" : "%lld/%lld", (long long)state->epoch,
        (long long)progress->epochs);
    if (progress->terminal)
        put_bar(line, progress, state, left_out <= SHORT_BAR ? BAR : left_out <= NO_BAR ? BAR / 2 : 0);
    else
        put(line, "  step %lld", (long long)state->step);
    put_values(line, state->values, left_out);
    if (state->skipped)
        put(line, "  skipped %lld", (long long)state->skipped);
    put_rate(line, state->examples_per_second, left_out);
    if (progress->terminal && left_out <= NO_TIME) {
        put(line, "  ");
        put_duration(line, state->seconds_left);
        put(line, " left");
    }
}

void progress_text(const struct progress *progress, const struct progress_state *state, char *text, size_t size)
{
    if (!progress->terminal) {
        put_all(&(struct line){text, size, 0}, progress, state, 0);
        return;
    }
    for (int left_out = 0; left_out <= DETAIL_COUNT; left_out++) {
        char whole[LINE] = "";
        struct line line = {whole, sizeof whole, 0};
        put_all(&line, progress, state, left_out);
        snprintf(text, size, "%s", whole);
        if (line.used < size)
            return;
    }
}

void progress_clear(struct progress *progress)
{
    if (progress->out && progress->drawn)
        fputs("\r\033[K", progress->out);
    progress->drawn = false;
}

void progress_step(struct progress *progress, const struct progress_state *state)
{
    if (!progress->out || !progress->terminal)
        return;
    double now = clock_seconds();
    if (now - progress->shown < redraw_seconds)
        return;
    char text[LINE];
    size_t width = (size_t)progress->width < sizeof text ? (size_t)progress->width : sizeof text;
    progress_text(progress, state, text, width);
    fprintf(progress->out, progress->color ? "\r\033[36m%s\033[0m\033[K" : "\r%s\033[K", text);
    fflush(progress->out);
    progress->shown = now;
    progress->drawn = true;
}

static void put_evaluation(FILE *out, const char *what, const struct evaluation *evaluation)
{
    fprintf(out, "  |  %s", what);
    for (int i = 0; i < evaluation->scores.count; i++)
        fprintf(out, "  %s %.4g", evaluation->scores.list[i].name, evaluation->scores.list[i].value);
}

/* More than enough for a line that is not cut. */
static size_t whole_size(const struct tally *values)
{
    size_t size = LINE;
    for (int i = 0; i < values->count; i++)
        size += strlen(values->items[i].name) + VALUE_TEXT;
    return size;
}

void progress_epoch(struct progress *progress, const struct progress_state *state, const struct evaluation *evaluation,
                    const struct evaluation *average)
{
    if (!progress->out)
        return;
    struct progress plain = *progress;
    size_t size = whole_size(state->values);
    char *text = malloc(size);
    plain.terminal = false;
    if (!text)
        return;
    progress_text(&plain, state, text, size);
    progress_clear(progress);
    fputs(text, progress->out);
    free(text);
    if (evaluation)
        put_evaluation(progress->out, "eval", evaluation);
    if (average)
        put_evaluation(progress->out, "average", average);
    fputc('\n', progress->out);
    fflush(progress->out);
}
