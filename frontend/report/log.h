/* What a run's log.jsonl tells, for the page: curves, skipped steps, and where overflows began. */
#ifndef CASTOR_FRONTEND_REPORT_LOG_H
#define CASTOR_FRONTEND_REPORT_LOG_H

#include "frontend/report/series.h"
#include "runtime/error.h"

/* What a curve is of: a loss, a metric, the loss scale, or anything else that is logged (rates, norms, watches). */
enum curve_kind { CURVE_LOSS, CURVE_METRIC, CURVE_SCALE, CURVE_OTHER };

struct curve {
    char *name;
    const char *set; /* "train", "test", "validate"; "average" of the averaged weights */
    enum curve_kind kind;
    struct series series;
};

/* A place at which overflows began. */
struct overflow {
    char *where; /* node and line, as the log has it; "" where it does not say */
    char *cause; /* "forward" or "scale", "" */
    int64_t count, first, last;
};

struct report_log {
    struct curve *curves;       /* stb_ds arrays */
    struct overflow *overflows; /* of skipped steps, in the order of the first */
    char **warnings;            /* lines that could not be used, by file and line */
    struct series skips;        /* a point for each skipped step: which of the overflows it was */
    int64_t steps, epoch, skipped;
    int64_t unused; /* lines; the first of them have warnings */
};

/* False with an error set when there is no log. A line that cannot be read is left out with a warning. */
bool report_log_read(struct report_log *log, const char *path, struct error *error);
void report_log_free(struct report_log *log);

/* {"steps", "epoch", "skipped", "curves", "skips", "overflows", "warnings"}; the caller's. */
struct json_t *report_log_json(const struct report_log *log);

#endif
