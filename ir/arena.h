/* Memory by lifetime: everything that belongs to one compilation lives in one arena and dies with it.
 *
 * There is no per-object free. Strings that are compared often (names, scopes, file names) are interned,
 * so equal strings are equal pointers. */
#ifndef CASTOR_IR_ARENA_H
#define CASTOR_IR_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct arena;

/* Says that memory has ended and exits with 3: what the compiler has made so far is of no use to anybody. */
__attribute__((noreturn)) void arena_exhausted(void);

/* A new, empty arena; the caller ends it with arena_free. */
struct arena *arena_new(void);
void arena_free(struct arena *arena);

/* `bytes` of zeroed memory, aligned to 16, valid until arena_free. */
void *arena_allocate(struct arena *arena, size_t bytes);

/* A copy of `bytes` at `source` in the arena; NULL when `bytes` is 0. */
void *arena_copy(struct arena *arena, const void *source, size_t bytes);

/* The one copy of this string in the arena: equal strings give equal pointers. NULL gives NULL. */
const char *arena_intern(struct arena *arena, const char *string);
const char *arena_intern_length(struct arena *arena, const char *string, size_t length);

/* A formatted string; the `_intern` form interns it. */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *arena_internf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list arguments);

/* A stream into *text, which is malloced and complete once arena_stream_close has returned. */
FILE *arena_stream(char **text, size_t *size);
void arena_stream_close(FILE *stream);

#define ARENA_NEW(arena, type) ((type *)arena_allocate((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_allocate((arena), sizeof(type) * (size_t)(count)))

#endif
