/* What training shows on stderr: on a terminal one line that updates in place, elsewhere a plain line an epoch. */
#ifndef CASTOR_RUNTIME_PROGRESS_H
#define CASTOR_RUNTIME_PROGRESS_H

#include "runtime/tally.h"

struct progress {
    FILE *out;     /* NULL: quiet */
    bool terminal; /* updates in place */
    bool color;
    int width;
    int64_t steps, steps_per_epoch, epochs;
    double shown; /* when the line was last drawn */
    bool drawn;   /* a line stands there that the next one replaces */
};

/* What is known after a step. */
struct progress_state {
    int64_t step, epoch; /* attempted steps so far; epoch from 1 */
    int64_t skipped;
    double examples_per_second, seconds_left;
    const struct tally *values; /* averages of the epoch so far, log values as last */
};

struct progress progress_begin(FILE *out, int64_t steps, int64_t steps_per_epoch);
/* Redraws the line, at most ten times a second; nothing off a terminal. */
void progress_step(struct progress *progress, const struct progress_state *state);
/* A line that stays: the epoch's means and, if there are any, the evaluations of the weights and of their averages. */
void progress_epoch(struct progress *progress, const struct progress_state *state, const struct evaluation *evaluation,
                    const struct evaluation *average);
/* Removes the line that updates in place, for a message to follow. */
void progress_clear(struct progress *progress);

/* The text of the line, cut to `size`; the terminal's has a bar, and leaves out what matters least before it is cut. */
void progress_text(const struct progress *progress, const struct progress_state *state, char *text, size_t size);

#endif
