/* What a step leaves behind: tallies, the log line, progress, the watch for divergence. Results are looked at one
 * launch late, so that a device that works ahead never has to wait for the host. */
#include "runtime/clock.h"
#include "runtime/trainer.h"

/* Seconds since the step before; counted for the mean unless it is the first step, which warms everything up. */
static double measure(struct trainer *trainer, double clock)
{
    double seconds = clock - trainer->clock;
    trainer->clock = clock;
    if (trainer->finished > 1) {
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

/* A skipped step counts for losses and metrics like any other: the forward pass ran, whatever the gradients were. */
static bool finish_step(struct trainer *trainer, double clock, struct error *error)
{
    trainer->finished++;
    bool ok = divergence_step(&trainer->divergence, trainer->finished, &trainer->step, error);
    trainer->result->skipped = trainer->divergence.skipped;
    trainer->result->steps = trainer->finished;
    double seconds = measure(trainer, clock);
    if (!tally_merge(&trainer->epoch, &trainer->step))
        return error_set(error, "out of memory");
    struct progress_state state = trainer_state(trainer);
    log_step(&trainer->log, &(struct log_step){.step = trainer->finished,
                                               .epoch = state.epoch,
                                               .skips = &trainer->divergence,
                                               .examples_per_second = (double)trainer->step_examples / seconds,
                                               .values = &trainer->step});
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
