/* Buckets fill one after the other; when there are too many, neighbours are merged and all become twice as wide. */
#include "frontend/report/series.h"

#include <jansson.h>
#include <math.h>
#include <stb/stb_ds.h>

static void add_to(struct series_bucket *bucket, const struct series_bucket *more)
{
    if (more->count) {
        bucket->low = !bucket->count || more->low < bucket->low ? more->low : bucket->low;
        bucket->high = !bucket->count || more->high > bucket->high ? more->high : bucket->high;
        bucket->latest = more->latest;
    }
    bucket->last = more->last;
    bucket->sum += more->sum;
    bucket->count += more->count;
    bucket->holes += more->holes;
}

static void merge_neighbours(struct series *series)
{
    for (int i = 0; i < SERIES_BUCKETS / 2; i++) {
        struct series_bucket bucket = series->buckets[2 * i];
        add_to(&bucket, &series->buckets[2 * i + 1]);
        series->buckets[i] = bucket;
    }
    arrsetlen(series->buckets, SERIES_BUCKETS / 2);
    series->width *= 2;
}

void series_add(struct series *series, int64_t step, double value)
{
    struct series_bucket point = {.first = step, .last = step, .holes = 1};
    if (isfinite(value))
        point = (struct series_bucket){step, step, 1, 0, value, value, value, value};
    if (!series->width)
        series->width = 1;
    if (series->points++ % series->width)
        add_to(&arrlast(series->buckets), &point);
    else {
        if (arrlen(series->buckets) == SERIES_BUCKETS)
            merge_neighbours(series);
        arrput(series->buckets, point);
    }
}

void series_free(struct series *series)
{
    arrfree(series->buckets);
}

static json_t *number(double value)
{
    json_t *real = json_real(value);
    return real ? real : json_null();
}

json_t *series_json(const struct series *series, int latest)
{
    json_t *steps = json_array(), *values = json_array(), *low = json_array(), *high = json_array();
    json_t *holes = json_array();
    for (ptrdiff_t i = 0; i < arrlen(series->buckets); i++) {
        const struct series_bucket *bucket = &series->buckets[i];
        double value = !bucket->count ? NAN : latest ? bucket->latest : bucket->sum / (double)bucket->count;
        json_array_append_new(steps, json_integer(bucket->first + (bucket->last - bucket->first) / 2));
        json_array_append_new(values, number(value));
        json_array_append_new(low, bucket->count ? number(bucket->low) : json_null());
        json_array_append_new(high, bucket->count ? number(bucket->high) : json_null());
        if (bucket->holes)
            json_array_append_new(holes, json_integer(bucket->first));
    }
    json_t *object = json_pack("{s:I, s:o, s:o, s:o}", "count", (json_int_t)series->points, "steps", steps, "values",
                               values, "holes", holes);
    if (series->width > 1) {
        json_object_set(object, "low", low);
        json_object_set(object, "high", high);
    }
    json_decref(low);
    json_decref(high);
    return object;
}
