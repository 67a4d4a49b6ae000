/* Metrics of totals: what evaluating entries put out as totals, summed over all batches, goes into the entry `metrics`,
 * whose results are metrics of the data set. */
#ifndef CASTOR_RUNTIME_TOTALS_H
#define CASTOR_RUNTIME_TOTALS_H

#include "runtime/executor.h"
#include "runtime/tally.h"

struct totals {
    struct executor *executor;
    int entry; /* -1: the program has no such metrics */
    const struct program_entry *metrics;
    double **sums; /* by input of the entry, row-major */
};

/* False with an error set when memory runs out. */
bool totals_open(struct totals *totals, struct executor *executor, struct error *error);
void totals_close(struct totals *totals);

/* The metric that takes a total of this name; NULL: there is none. */
const char *totals_metric(const struct totals *totals, const char *total);
/* Adds what the last run of entry `number` put out. */
bool totals_add(struct totals *totals, int number, struct error *error);
/* Adds the metrics of what was summed to the tally. */
bool totals_finish(struct totals *totals, struct tally *tally, struct error *error);

#endif
