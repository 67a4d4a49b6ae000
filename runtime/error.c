/* Filling and printing a struct error. */
#include "runtime/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool error_set_arguments(struct error *error, int code, const char *format, va_list arguments)
{
    if (error->code)
        return false;
    error->code = code;
    vsnprintf(error->text, sizeof error->text, format, arguments);
    error->hint[0] = '\0';
    return false;
}

bool error_set(struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error_set_arguments(error, ERROR_RUNTIME, format, arguments);
    va_end(arguments);
    return false;
}

bool error_set_code(struct error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error_set_arguments(error, code, format, arguments);
    va_end(arguments);
    return false;
}

bool error_set_system(struct error *error, const char *path, const char *what)
{
    return error_set(error, "%s: %s: %s", path, what, strerror(errno));
}

void error_hint(struct error *error, const char *format, ...)
{
    if (error->hint[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
}

void error_print(const struct error *error, FILE *out)
{
    fprintf(out, "castor: %s\n", error->text);
    if (error->hint[0])
        fprintf(out, "  hint: %s\n", error->hint);
}

void error_exhausted(void)
{
    fputs("castor: out of memory\n", stderr);
    exit(ERROR_RUNTIME);
}
