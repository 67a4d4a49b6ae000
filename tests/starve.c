/* Allocations that fail: linked into a castor of its own, whose calls of these functions pass through here (ld's
 * --wrap). CASTOR_STARVE=N makes the Nth of them fail; CASTOR_ALLOCATIONS=FILE gets their number at exit. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **text, const char *format, va_list arguments);
FILE *__real_open_memstream(char **text, size_t *size);

static atomic_long calls, failing = -1;

static void tell(void)
{
    FILE *file = fopen(getenv("CASTOR_ALLOCATIONS"), "w");
    if (!file)
        return;
    fprintf(file, "%ld\n", atomic_load(&calls));
    fclose(file);
}

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("CASTOR_STARVE");
    if (number)
        atomic_store(&failing, strtol(number, NULL, 10));
    if (getenv("CASTOR_ALLOCATIONS"))
        atexit(tell);
}

static bool fails(void)
{
    bool failed = atomic_fetch_add(&calls, 1) + 1 == atomic_load(&failing);
    if (failed)
        errno = ENOMEM;
    return failed;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
    return fails() ? NULL : __real_realloc(pointer, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

int __wrap_vasprintf(char **text, const char *format, va_list arguments)
{
    return fails() ? -1 : __real_vasprintf(text, format, arguments);
}

FILE *__wrap_open_memstream(char **text, size_t *size)
{
    return fails() ? NULL : __real_open_memstream(text, size);
}
