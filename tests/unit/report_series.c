/* Curves of the report: whatever their length, no value is lost from sums, extremes, steps or holes, and there are as
 * many buckets as a page can show. Compared with the values themselves. */
#include "check.h"
#include "frontend/report/series.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

/* Some values, one of eleven not finite. */
static double value_at(int64_t step)
{
    uint32_t bits = (uint32_t)step * 2654435761u;
    return bits % 11 == 0 ? (bits & 64 ? NAN : INFINITY) : (double)(int32_t)bits / 1e6;
}

static void check_bucket(const struct series_bucket *bucket, int64_t first, int64_t points)
{
    double sum = 0, low = INFINITY, high = -INFINITY, latest = 0;
    int64_t holes = 0;
    CHECK(bucket->first == 3 * first && bucket->last == 3 * (first + points - 1));
    for (int64_t i = first; i < first + points; i++) {
        double value = value_at(i);
        if (!isfinite(value)) {
            holes++;
            continue;
        }
        sum += value;
        low = fmin(low, value);
        high = fmax(high, value);
        latest = value;
    }
    CHECK(bucket->holes == holes && bucket->count == points - holes);
    CHECK(!bucket->count || (bucket->low == low && bucket->high == high && bucket->latest == latest));
    CHECK(fabs(bucket->sum - sum) <= 1e-9 * (1 + fabs(sum)) * (double)points);
}

static void check_length(int64_t length)
{
    struct series series = {0};
    for (int64_t i = 0; i < length; i++)
        series_add(&series, 3 * i, value_at(i));
    ptrdiff_t buckets = arrlen(series.buckets);
    CHECK(series.points == length && buckets <= SERIES_BUCKETS);
    CHECK(length <= SERIES_BUCKETS ? buckets == length : buckets >= SERIES_BUCKETS / 2);
    for (ptrdiff_t i = 0; i < buckets; i++) {
        int64_t first = i * series.width, left = length - first;
        check_bucket(&series.buckets[i], first, left < series.width ? left : series.width);
    }
    series_free(&series);
}

int main(void)
{
    const int64_t lengths[] = {0,
                               1,
                               2,
                               SERIES_BUCKETS - 1,
                               SERIES_BUCKETS,
                               SERIES_BUCKETS + 1,
                               2 * SERIES_BUCKETS,
                               2 * SERIES_BUCKETS + 1,
                               4 * SERIES_BUCKETS + 7,
                               100003};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        check_length(lengths[i]);
    return check_result();
}
