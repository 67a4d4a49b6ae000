/* A curve of which only so much is kept as a page can show: points are gathered into buckets of equal counts, and each
 * bucket knows its smallest and its largest value, so that no spike is lost however long the log is. */
#ifndef CASTOR_FRONTEND_REPORT_SERIES_H
#define CASTOR_FRONTEND_REPORT_SERIES_H

#include <stdint.h>

/* Between half as many and as many buckets as this, where there are as many points; else a bucket for each point. */
enum { SERIES_BUCKETS = 1600 };

struct series_bucket {
    int64_t first, last; /* steps */
    int64_t count;       /* finite values */
    int64_t holes;       /* values that are not */
    double sum, low, high, latest;
};

struct series {
    int64_t points;                /* added */
    int64_t width;                 /* points of a bucket */
    struct series_bucket *buckets; /* stb_ds array */
};

/* A value that is not finite leaves a hole. */
void series_add(struct series *series, int64_t step, double value);
void series_free(struct series *series);

/* {"count", "steps", "values", "low", "high", "holes"}: `values` are the buckets' averages, or with `latest` their last
 * values (null: a hole and nothing else); low and high are there where a bucket has several points; `holes` are steps.
 * The caller's. */
struct json_t *series_json(const struct series *series, int latest);

#endif
