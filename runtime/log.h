/* log.jsonl: one JSON object a step or evaluation, a line each. Numbers are as short as reads back to the same f32;
 * what is not finite is null. Values called NAME/LOSS, one a line of the train block, make an object NAME by loss. */
#ifndef CASTOR_RUNTIME_LOG_H
#define CASTOR_RUNTIME_LOG_H

#include "runtime/divergence.h"

struct log {
    FILE *file; /* NULL: no file */
    FILE *copy; /* NULL: no copy */
    char *path;
    int64_t lines; /* written, those of a log that was gone on with among them */
    int failure;   /* errno of the first write that failed, 0: none */
};

/* path NULL: no file. With `copy` the lines go to that stream too. */
bool log_open(struct log *log, const char *path, FILE *copy, struct error *error);
/* Goes on with a log: what it holds beyond so many lines belongs to steps that a resumed run takes again, and goes. */
bool log_reopen(struct log *log, const char *path, int64_t lines, FILE *copy, struct error *error);
/* Brings the lines so far to the disk; false when one of them is not there. */
bool log_sync(struct log *log, struct error *error);
/* False when a line could not be written. */
bool log_close(struct log *log, struct error *error);

struct log_step {
    int64_t step, epoch; /* attempted step, epoch, both from 1 */
    double examples_per_second;
    const struct tally *values;          /* of this step */
    const struct divergence *skips;      /* what was skipped so far */
    const struct program_origin *origin; /* where the step's overflow began; NULL: there was none, or nobody knows */
};

void log_step(struct log *log, const struct log_step *step);
/* `average`: of the averaged weights, NULL where there are none; `set`: on which examples ("test", "validate");
 * `best_on`: on which ones the best weights are chosen. */
void log_evaluation(struct log *log, int64_t step, int64_t epoch, const struct evaluation *evaluation,
                    const struct evaluation *average, const char *set, const char *best_on);

#endif
