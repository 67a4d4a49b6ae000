/* When training has diverged: it stops then, rather than burning time on numbers that can't recover. */
#ifndef CASTOR_RUNTIME_DIVERGENCE_H
#define CASTOR_RUNTIME_DIVERGENCE_H

#include "runtime/error.h"

#include <stdint.h>

enum { DIVERGENCE_STEPS = 50 };

struct divergence {
    int64_t overflows; /* skipped steps on end at one scale */
    int64_t nonfinite; /* steps on end that were taken with a loss that is not finite */
    double scale;      /* of the last step */
};

/* Takes note of a step. False with code 4 when DIVERGENCE_STEPS steps on end overflowed although the scale could fall
 * no further (each overflow lowers it, unless it is at its minimum), or were taken with a loss that is NaN or infinite.
 */
bool divergence_step(struct divergence *divergence, int64_t step, bool skipped, double scale, bool finite_loss,
                     struct error *error);

/* When training ends: false with code 4 when the last steps were taken with such a loss, however few they were. */
bool divergence_end(const struct divergence *divergence, int64_t step, struct error *error);

#endif
