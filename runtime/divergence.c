/* Two counters of steps on end. */
#include "runtime/divergence.h"

static bool overflowed(struct divergence *divergence, int64_t step, double scale, struct error *error)
{
    divergence->overflows = scale == divergence->scale ? divergence->overflows + 1 : 1;
    divergence->scale = scale;
    if (divergence->overflows < DIVERGENCE_STEPS)
        return true;
    error_set_code(error, ERROR_DIVERGED,
                   "training diverged: %d steps on end overflowed at scale %g, which falls no further (step %lld)",
                   DIVERGENCE_STEPS, scale, (long long)step);
    error_hint(
        error,
        "lower the learning rate, clip the gradients, or keep more of the network in f32 (see `castor policies`)");
    return false;
}

bool divergence_step(struct divergence *divergence, int64_t step, bool skipped, double scale, bool finite_loss,
                     struct error *error)
{
    if (skipped)
        return overflowed(divergence, step, scale, error);
    divergence->overflows = 0;
    divergence->scale = scale;
    divergence->nonfinite = finite_loss ? 0 : divergence->nonfinite + 1;
    return divergence->nonfinite < DIVERGENCE_STEPS || divergence_end(divergence, step, error);
}

bool divergence_end(const struct divergence *divergence, int64_t step, struct error *error)
{
    if (!divergence->nonfinite)
        return true;
    error_set_code(error, ERROR_DIVERGED,
                   "training diverged: the loss was NaN or infinite for %lld steps on end (step %lld)",
                   (long long)divergence->nonfinite, (long long)step);
    error_hint(error,
               "lower the learning rate, or use a loss scale (`scale dynamic`) where values are in half precision");
    return false;
}
