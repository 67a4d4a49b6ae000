/* The time in seconds of a clock that only goes forward. */
#ifndef CASTOR_RUNTIME_CLOCK_H
#define CASTOR_RUNTIME_CLOCK_H

#include <time.h>

static inline double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
