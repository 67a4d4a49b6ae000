/* Making a text smaller while something stays true of it (delta debugging: Zeller, Hildebrandt 2002). */
#ifndef CASTOR_FRONTEND_REDUCE_H
#define CASTOR_FRONTEND_REDUCE_H

#include <stdbool.h>

/* Whether a candidate still fails as the first text did. */
struct reduce_test {
    bool (*fails)(void *own, const char *text);
    void *own;
    int tried; /* candidates so far */
};

/* Each gives a text that fails, malloced, no longer than the one given (which fails and is freed): without lines that
 * need not be there, with smaller whole numbers, and of IR without graphs, effects and nodes that need not be there. */
char *reduce_lines(char *text, struct reduce_test *test);
char *reduce_numbers(char *text, struct reduce_test *test);
char *reduce_ir(char *text, struct reduce_test *test);

#endif
