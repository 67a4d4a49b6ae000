/* Safetensors files back to back, as a process writes them to a pipe: where a file ends is known from its header.
 * Memory grows as bytes come, so that a damaged header asks for nothing large. */
#include "runtime/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_LEAST = 1 << 16, CHUNK_MOST = 1 << 24, LENGTH_BYTES = 8 };

struct growing {
    unsigned char *bytes;
    size_t size;
};

static bool truncated(FILE *stream, const char *name, struct error *error)
{
    return ferror(stream) ? error_set_system(error, name, "cannot read")
                          : error_set(error, "%s: its output ends within a safetensors file", name);
}

/* Reads so many bytes more. */
static bool grow(struct growing *growing, FILE *stream, uint64_t more, const char *name, struct error *error)
{
    while (more) {
        size_t size = growing->size, step = size < CHUNK_LEAST ? CHUNK_LEAST : size < CHUNK_MOST ? size : CHUNK_MOST;
        if (step > more)
            step = (size_t)more;
        unsigned char *bytes = realloc(growing->bytes, size + step);
        if (!bytes)
            return error_set(error, "%s: no memory for %zu bytes", name, size + step);
        growing->bytes = bytes;
        size_t count = fread(bytes + size, 1, step, stream);
        growing->size += count;
        more -= count;
        if (count < step)
            return truncated(stream, name, error);
    }
    return true;
}

/* Where the data end, by the header; what it says else is checked when the file is whole. */
static bool find_end(const struct growing *file, const char *name, uint64_t *end, struct error *error)
{
    json_error_t problem;
    const char *key, *text = (const char *)file->bytes + LENGTH_BYTES;
    json_t *value, *header = json_loadb(text, file->size - LENGTH_BYTES, JSON_REJECT_DUPLICATES, &problem);
    *end = 0;
    if (!json_is_object(header)) {
        error_set(error, "%s: its output is no safetensors file: header: %s", name,
                  header ? "no object" : problem.text);
        json_decref(header);
        return false;
    }
    json_object_foreach(header, key, value)
    {
        json_int_t last = json_integer_value(json_array_get(json_object_get(value, "data_offsets"), 1));
        if (last > 0 && (uint64_t)last > *end)
            *end = (uint64_t)last;
    }
    json_decref(header);
    return true;
}

static bool read_file(struct growing *file, FILE *stream, const char *name, struct error *error)
{
    uint64_t length = 0, end;
    if (!grow(file, stream, LENGTH_BYTES, name, error))
        return false;
    for (int i = 0; file->bytes && i < LENGTH_BYTES; i++)
        length |= (uint64_t)file->bytes[i] << (8 * i);
    if (length < 2 || length > SAFETENSORS_HEADER_MAX) {
        error_set(error, "%s: its output is no safetensors file (a header of %llu bytes)", name,
                  (unsigned long long)length);
        error_hint(error, "it must write safetensors files back to back, and nothing else");
        return false;
    }
    return grow(file, stream, length, name, error) && find_end(file, name, &end, error) &&
           grow(file, stream, end, name, error);
}

struct safetensors *safetensors_read(FILE *stream, const char *name, struct error *error)
{
    struct growing file = {0};
    int first = fgetc(stream);
    if (first == EOF && !ferror(stream))
        return NULL;
    ungetc(first, stream);
    if (read_file(&file, stream, name, error))
        return safetensors_take(name, file.bytes, file.size, error);
    free(file.bytes);
    return NULL;
}
