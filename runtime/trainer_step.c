/* What a step leaves behind: tallies, the log line, progress, the watch for divergence. Results are looked at one
 * launch late, so that a device that works ahead never has to wait for the host. */
#include "runtime/clock.h"
#include "runtime/trainer.h"

/* Seconds since the step before; counted for the mean unless it is the first step, which warms everything up. */
static double measure(struct trainer *trainer, double clock)
{
    double seconds = clock - trainer->clock;
    trainer->clock = clock;
    if (trainer->finished > trainer->begun + 1) {
        trainer->timed_seconds += seconds;
        trainer->timed_steps++;
    }
    return seconds > 1e-9 ? seconds : 1e-9;
}

struct progress_state trainer_state(const struct trainer *trainer)
{
    double mean = trainer->timed_steps ? trainer->timed_seconds / (double)trainer->timed_steps : 0;
    return (struct progress_state){
        .step = trainer->finished,
        .epoch = (trainer->finished - 1) / trainer->steps_per_epoch + 1,
        .skipped = trainer->result->skipped,
        .examples_per_second = mean > 0 ? (double)trainer->step_examples / mean : 0,
        .seconds_left = mean * (double)(trainer->total - trainer->finished),
        .values = &trainer->epoch,
    };
}

/* ---- overflows ---- */

/* Where the overflow of the step began; NULL: nothing overflowed, or what did is not told. */
static const struct program_origin *find_origin(const struct trainer *trainer)
{
    const struct tally_item *item = tally_find(&trainer->step, "overflow", PROGRAM_LOG);
    const struct program *program = trainer->program;
    int low = 0, high = program->origin_count;
    while (item && low < high) {
        int middle = low + (high - low) / 2;
        if ((double)program->origins[middle].number < tally_value(item))
            low = middle + 1;
        else
            high = middle;
    }
    bool found = item && low < program->origin_count && (double)program->origins[low].number == tally_value(item);
    return found ? &program->origins[low] : NULL;
}

static void report_line(const struct trainer *trainer, const struct skip_line *line,
                        const struct program_origin *origin)
{
    fprintf(stderr, "step %lld: overflow%s%s, scale ", (long long)trainer->finished, *line->name ? " of " : "",
            line->name);
    if (line->before > 0)
        fprintf(stderr, "%.9g -> ", line->before);
    fprintf(stderr, "%.9g", line->scale);
    if (origin)
        fprintf(stderr, ", first at %s: %s", origin->text,
                origin->forward ? "the forward pass itself" : "the scale is too large");
    fputc('\n', stderr);
}

static void report_overflow(struct trainer *trainer, const struct program_origin *origin)
{
    const struct divergence *divergence = &trainer->divergence;
    for (int i = 0; !trainer->settings->quiet && i < divergence->line_count; i++) {
        if (!divergence->lines[i].skips)
            continue;
        progress_clear(&trainer->progress);
        report_line(trainer, &divergence->lines[i], origin);
    }
}

/* ---- steps ---- */

/* A skipped step counts for losses and metrics like any other: the forward pass ran, whatever the gradients were. */
static bool finish_step(struct trainer *trainer, double clock, struct error *error)
{
    trainer->finished++;
    const struct program_origin *origin = find_origin(trainer);
    int64_t before = trainer->divergence.skipped;
    bool ok =
        divergence_step(&trainer->divergence, trainer->finished, &trainer->step, origin ? origin->text : NULL, error);
    if (trainer->divergence.skipped == before)
        origin = NULL;
    trainer->result->skipped = trainer->divergence.skipped;
    trainer->result->steps = trainer->finished;
    double seconds = measure(trainer, clock);
    if (!tally_merge(&trainer->epoch, &trainer->step))
        return error_set(error, "out of memory");
    struct progress_state state = trainer_state(trainer);
    log_step(&trainer->log, &(struct log_step){.step = trainer->finished,
                                               .epoch = state.epoch,
                                               .skips = &trainer->divergence,
                                               .origin = origin,
                                               .examples_per_second = (double)trainer->step_examples / seconds,
                                               .values = &trainer->step});
    report_overflow(trainer, origin);
    progress_step(&trainer->progress, &state);
    tally_reset(&trainer->step);
    return ok;
}

bool trainer_drain(struct trainer *trainer, struct error *error)
{
    struct pending pending = trainer->pending;
    trainer->pending = (struct pending){0};
    if (!pending.ticket)
        return true;
    const double *results = executor_results(trainer->executor, pending.ticket, error);
    if (!results)
        return false;
    if (!tally_add(&trainer->step, pending.entry, results, pending.examples))
        return error_set(error, "out of memory");
    return !pending.ends_step || finish_step(trainer, pending.clock, error);
}

bool trainer_launch(struct trainer *trainer, int entry, const void *const *inputs, int64_t examples, bool ends_step,
                    struct error *error)
{
    uint64_t ticket = executor_launch(trainer->executor, entry, inputs, error);
    double clock = clock_seconds();
    if (!ticket || !trainer_drain(trainer, error))
        return false;
    trainer->pending = (struct pending){ticket, &trainer->program->entries[entry], examples, ends_step, clock};
    return true;
}
