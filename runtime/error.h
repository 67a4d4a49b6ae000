/* Failures that are no fault of a text: device, disk, data, weights, compiler; and training that diverged.
 *
 * A function that can fail takes a `struct error *`, fills it once and returns false or NULL; the command prints it and
 * exits with its code. The first error set stays: what fails later because of it does not hide it. */
#ifndef CASTOR_RUNTIME_ERROR_H
#define CASTOR_RUNTIME_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit codes of the command line that the runtime decides. */
enum error_code { ERROR_NONE = 0, ERROR_RUNTIME = 3, ERROR_DIVERGED = 4, ERROR_INTERRUPTED = 130 };

enum { ERROR_TEXT = 1024, ERROR_HINT = 512 };

struct error {
    int code; /* 0: none, else the exit code */
    char text[ERROR_TEXT];
    char hint[ERROR_HINT]; /* what to do about it, "" when there is nothing to say */
};

/* Sets code 3 and the text unless an error is set already. Returns false, so that callers can `return error_set(…)`. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool error_set_code(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a failed system call on a file: "PATH: WHAT: No space left on device". Uses errno. */
bool error_set_system(struct error *error, const char *path, const char *what);
/* Says what to do about the error just set; without effect when a hint stands there. */
void error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "castor: TEXT" and below it "  hint: HINT". */
void error_print(const struct error *error, FILE *out);

/* Where no error could be carried on: says that memory has ended and exits with 3. */
__attribute__((noreturn)) void error_exhausted(void);

#endif
