/* The arena: chunks of doubling size, a bump pointer, and a string table for interning. */
#include "ir/arena.h"

#include <stb/stb_ds.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CHUNK = 1 << 14, LARGEST_CHUNK = 1 << 22, ALIGNMENT = 16 };

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) char bytes[];
};

struct interned {
    char *key;
    int value;
};

struct arena {
    struct chunk *chunks;
    struct interned *strings;
};

void arena_exhausted(void)
{
    fputs("castor: out of memory\n", stderr);
    exit(3);
}

static struct chunk *chunk_new(size_t size, struct chunk *next)
{
    struct chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        arena_exhausted();
    chunk->next = next;
    chunk->used = 0;
    chunk->size = size;
    return chunk;
}

struct arena *arena_new(void)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        arena_exhausted();
    arena->chunks = chunk_new(FIRST_CHUNK, NULL);
    sh_new_arena(arena->strings);
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct chunk *chunk = arena->chunks; chunk;) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    shfree(arena->strings);
    free(arena);
}

void *arena_allocate(struct arena *arena, size_t bytes)
{
    struct chunk *chunk = arena->chunks;
    size_t rounded = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (chunk->size - chunk->used < rounded) {
        size_t size = chunk->size * 2 < LARGEST_CHUNK ? chunk->size * 2 : LARGEST_CHUNK;
        chunk = arena->chunks = chunk_new(size > rounded ? size : rounded, chunk);
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return memset(result, 0, bytes);
}

void *arena_copy(struct arena *arena, const void *source, size_t bytes)
{
    return bytes ? memcpy(arena_allocate(arena, bytes), source, bytes) : NULL;
}

const char *arena_intern(struct arena *arena, const char *string)
{
    if (!string)
        return NULL;
    ptrdiff_t at = shgeti(arena->strings, string);
    if (at < 0) {
        shput(arena->strings, string, 0);
        at = shgeti(arena->strings, string);
    }
    return arena->strings[at].key;
}

const char *arena_intern_length(struct arena *arena, const char *string, size_t length)
{
    char buffer[256];
    char *copy = length < sizeof buffer ? buffer : arena_allocate(arena, length + 1);
    memcpy(copy, string, length);
    copy[length] = '\0';
    return arena_intern(arena, copy);
}

char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *result = arena_allocate(arena, (size_t)length + 1);
    vsnprintf(result, (size_t)length + 1, format, arguments);
    return result;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *result = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return result;
}

const char *arena_internf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *result = arena_intern(arena, arena_vprintf(arena, format, arguments));
    va_end(arguments);
    return result;
}

FILE *arena_stream(char **text, size_t *size)
{
    *text = NULL;
    FILE *stream = open_memstream(text, size);
    if (!stream)
        arena_exhausted();
    return stream;
}

void arena_stream_close(FILE *stream)
{
    bool whole = !ferror(stream);
    if (fclose(stream) != 0 || !whole)
        arena_exhausted();
}
