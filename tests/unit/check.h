/* Checks for the unit tests: a failing CHECK prints where and what, and check_result() makes the exit status. */
#ifndef CASTOR_TESTS_CHECK_H
#define CASTOR_TESTS_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_count, check_failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        check_count++;                                                                                                 \
        if (!(condition)) {                                                                                            \
            check_failures++;                                                                                          \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition);                              \
        }                                                                                                              \
    } while (0)

#define CHECK_TEXT(got, wanted)                                                                                        \
    do {                                                                                                               \
        const char *check_got = (got), *check_wanted = (wanted);                                                       \
        check_count++;                                                                                                 \
        if (strcmp(check_got, check_wanted) != 0) {                                                                    \
            check_failures++;                                                                                          \
            fprintf(stderr, "%s:%d: got\n%s\nwanted\n%s\n", __FILE__, __LINE__, check_got, check_wanted);              \
        }                                                                                                              \
    } while (0)

/* The exit status of a test program; no check at all is a failure too. */
static inline int check_result(void)
{
    printf("%d checks, %d failed\n", check_count, check_failures);
    return check_failures || !check_count;
}

#endif
