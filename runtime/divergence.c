/* Counters of steps on end. */
#include "runtime/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char skipped_word[] = "skipped";

/* "" of "skipped", "d_loss" of "skipped/d_loss", NULL of other values. */
static const char *line_name(const struct tally_item *item)
{
    size_t length = sizeof skipped_word - 1;
    if (item->kind != PROGRAM_LOG || strncmp(item->name, skipped_word, length) != 0)
        return NULL;
    return item->name[length] == '/' ? item->name + length + 1 : item->name[length] ? NULL : item->name + length;
}

static struct skip_line *find_line(struct divergence *divergence, const char *name)
{
    for (int i = 0; i < divergence->line_count; i++)
        if (strcmp(divergence->lines[i].name, name) == 0)
            return &divergence->lines[i];
    size_t count = (size_t)divergence->line_count + 1;
    struct skip_line *grown = realloc(divergence->lines, sizeof *grown * count);
    if (!grown)
        return NULL;
    divergence->lines = grown;
    grown[count - 1] = (struct skip_line){.name = name};
    divergence->line_count = (int)count;
    return &grown[count - 1];
}

bool divergence_restore(struct divergence *divergence, const struct skip_line *line)
{
    struct skip_line *own = find_line(divergence, line->name);
    if (own)
        *own = *line;
    return own;
}

/* The scale of a line: its loss's own, `scale/LOSS` (the line may be called LOSS.2), or the one of all; 1: none. */
static double scale_of(const struct tally *values, const char *line)
{
    for (int i = 0; i < values->count; i++) {
        const struct tally_item *item = &values->items[i];
        size_t length = strlen(item->name);
        if (item->kind != PROGRAM_LOG || strncmp(item->name, "scale", 5) != 0)
            continue;
        if (length == 5)
            return tally_value(item);
        const char *loss = item->name + 6;
        if (item->name[5] == '/' && strncmp(line, loss, length - 6) == 0 && strchr(".", line[length - 6]))
            return tally_value(item);
    }
    return 1;
}

/* False when the line is stuck. */
static bool take_step(struct divergence *divergence, const struct tally *values, const struct tally_item *item,
                      int64_t step, const char *origin, struct error *error)
{
    double skipped = tally_value(item), scale = scale_of(values, line_name(item));
    struct skip_line *line = find_line(divergence, line_name(item));
    if (!line)
        return error_set(error, "out of memory");
    line->skips = skipped > 0;
    if (skipped < 0) /* not one of its steps */
        return true;
    line->stuck = skipped == 0 ? 0 : scale == line->scale ? line->stuck + 1 : 1;
    line->skipped += skipped != 0;
    divergence->skipped += skipped != 0;
    line->before = line->scale;
    line->scale = scale;
    if (line->stuck < DIVERGENCE_STEPS + divergence->patience)
        return true;
    error_set_code(
        error, ERROR_DIVERGED,
        "training diverged: %lld steps on end overflowed at scale %g, which falls no further (step %lld%s%s)%s%s",
        (long long)line->stuck, scale, (long long)step, *line->name ? ", minimize " : "", line->name,
        origin ? ", first at " : "", origin ? origin : "");
    error_hint(
        error,
        "lower the learning rate, clip the gradients, or keep more of the network in f32 (see `castor policies`)");
    return false;
}

static bool losses_finite(const struct tally *tally)
{
    for (int i = 0; i < tally->count; i++)
        if (tally->items[i].kind == PROGRAM_LOSS && !isfinite(tally_value(&tally->items[i])))
            return false;
    return true;
}

bool divergence_step(struct divergence *divergence, int64_t step, const struct tally *values, const char *origin,
                     struct error *error)
{
    int64_t before = divergence->skipped;
    for (int i = 0; i < values->count; i++)
        if (line_name(&values->items[i]) && !take_step(divergence, values, &values->items[i], step, origin, error))
            return false;
    if (divergence->skipped == before)
        divergence->nonfinite = losses_finite(values) ? 0 : divergence->nonfinite + 1;
    return divergence->nonfinite < DIVERGENCE_STEPS || divergence_end(divergence, step, error);
}

bool divergence_end(const struct divergence *divergence, int64_t step, struct error *error)
{
    if (!divergence->nonfinite)
        return true;
    error_set_code(error, ERROR_DIVERGED,
                   "training diverged: the loss was NaN or infinite for %lld step%s on end (step %lld)",
                   (long long)divergence->nonfinite, divergence->nonfinite == 1 ? "" : "s", (long long)step);
    error_hint(error,
               "lower the learning rate, or use a loss scale (`scale dynamic`) where values are in half precision");
    return false;
}

void divergence_free(struct divergence *divergence)
{
    free(divergence->lines);
    *divergence = (struct divergence){0};
}
