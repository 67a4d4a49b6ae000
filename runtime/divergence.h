/* What the skipped steps tell: how many there were, for each line of the train block that trains, and when training has
 * diverged. It stops then, rather than burning time on numbers that can't recover. */
#ifndef CASTOR_RUNTIME_DIVERGENCE_H
#define CASTOR_RUNTIME_DIVERGENCE_H

#include "runtime/error.h"
#include "runtime/tally.h"

#include <stdint.h>

enum { DIVERGENCE_STEPS = 50 };

/* One line, known by its log value `skipped`, or `skipped/LOSS` where there are several. */
struct skip_line {
    const char *name; /* the program's: the loss, "" where there is one line */
    int64_t skipped;  /* so far */
    int64_t stuck;    /* steps on end that it skipped at one scale */
    double before;    /* the scale of its last step, 0: not known … */
    double scale;     /* … and after it */
    bool skips;       /* it skipped its last step, which was the last of all */
};

struct divergence {
    struct skip_line *lines;
    int line_count;
    int64_t skipped;   /* over all lines */
    int64_t nonfinite; /* steps on end that were taken with a loss that is not finite */
    int64_t patience;  /* overflows on end that a rule lets pass at one scale before it falls (`hysteresis`); 0: none */
};

/* Takes note of a step by its log values and losses; `origin` says where its overflow began, NULL: not known. False
 * with code 4 when a line overflowed DIVERGENCE_STEPS times on end although the scale could fall no further (each
 * overflow beyond the rule's patience lowers it, unless it is at its minimum), or as many steps on end were taken with
 * a loss that is NaN or infinite. Steps that a line takes no part in do not count for it. */
bool divergence_step(struct divergence *divergence, int64_t step, const struct tally *values, const char *origin,
                     struct error *error);

/* When training ends: false with code 4 when the last steps were taken with such a loss, however few they were. */
bool divergence_end(const struct divergence *divergence, int64_t step, struct error *error);

/* Puts a line back as it was, for a resumed run. False when out of memory. */
bool divergence_restore(struct divergence *divergence, const struct skip_line *line);

void divergence_free(struct divergence *divergence);

#endif
