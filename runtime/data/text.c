/* A text as windows of tokens: its bytes, or its characters (UTF-8), numbered in the order of their code points as far
 * as they occur. Bytes stay on disk. The end of the text is the test set when a share of it is to be one, so that no
 * window of the one set reaches into the other. */
#include "runtime/data/dataset.h"
#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CODE_POINTS = 0x110000 };

struct text {
    const struct data_source *line;
    int64_t tokens;
    struct error *error;
};

/* ---- windows ---- */

static int64_t count_windows(const struct data_source *line, int64_t tokens)
{
    return tokens < line->window ? 0 : (tokens - line->window) / line->stride + 1;
}

/* Where the test part begins. */
static int64_t boundary(const struct text *text)
{
    return text->tokens - (int64_t)((double)text->tokens * text->line->test_share);
}

static void shape(const struct text *text, enum data_part part, enum program_element element, struct data_array *array)
{
    int64_t train = boundary(text), tokens = part == PART_TRAIN ? train : text->tokens - train;
    *array = (struct data_array){.element = element,
                                 .rank = 2,
                                 .dimension = {count_windows(text->line, tokens), text->line->window},
                                 .file = file_text("%s", text->line->path)};
}

static bool check_length(const struct text *text)
{
    const struct data_source *line = text->line;
    int64_t train = boundary(text), test = text->tokens - train;
    const char *unit = line->characters ? "characters" : "bytes";
    if (train < line->window)
        return error_set(text->error, "%s: %lld %s for training are fewer than a window of %lld", line->path,
                         (long long)train, unit, (long long)line->window);
    return !(line->test_share > 0) || test >= line->window ||
           error_set(text->error, "%s: a share of %g leaves %lld %s for testing, fewer than a window of %lld",
                     line->path, line->test_share, (long long)test, unit, (long long)line->window);
}

/* ---- bytes ---- */

static bool open_bytes(struct text *text, struct data_field *field)
{
    struct stat status;
    if (stat(text->line->path, &status) != 0)
        return error_set_system(text->error, text->line->path, "cannot read");
    if (!S_ISREG(status.st_mode))
        return error_set(text->error, "%s: is no regular file", text->line->path);
    text->tokens = status.st_size;
    if (!check_length(text))
        return false;
    for (int part = 0; part < PART_COUNT; part++) {
        struct data_array *array = &field->part[part];
        struct disk_place place = {.path = text->line->path,
                                   .begin = part == PART_TEST ? (uint64_t)boundary(text) : 0,
                                   .stride = (uint64_t)text->line->stride};
        shape(text, (enum data_part)part, PROGRAM_U8, array);
        if (data_array_examples(array) && !data_array_on_disk(array, &place, text->error))
            return false;
    }
    return true;
}

/* ---- characters ---- */

/* The character at `at`, and its length; -1: no UTF-8 (RFC 3629: shortest form, no surrogates, below 0x110000). */
static int32_t decode(const unsigned char *at, size_t left, size_t *length)
{
    static const struct {
        unsigned char mask, lead;
        int32_t least;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if ((*at & forms[i].mask) != forms[i].lead)
            continue;
        int32_t code = *at & ~forms[i].mask;
        for (size_t k = 1; k <= i; k++) {
            if (k >= left || (at[k] & 0xc0) != 0x80)
                return -1;
            code = code << 6 | (at[k] & 0x3f);
        }
        *length = i + 1;
        bool surrogate = code >= 0xd800 && code < 0xe000;
        return code < forms[i].least || code >= CODE_POINTS || surrogate ? -1 : code;
    }
    return -1;
}

/* Turns the text into code points; how many is the number of tokens. */
static int32_t *decode_all(struct text *text, const unsigned char *bytes, size_t size)
{
    int32_t *codes = malloc(size * sizeof *codes + 1);
    size_t length = 0;
    if (!codes)
        error_set(text->error, "%s: no memory for its characters", text->line->path);
    for (size_t at = 0; codes && at < size; at += length) {
        int32_t code = decode(bytes + at, size - at, &length);
        if (code >= 0) {
            codes[text->tokens++] = code;
            continue;
        }
        error_set(text->error, "%s: byte %zu is no UTF-8", text->line->path, at);
        error_hint(text->error, "without `characters` the tokens are the bytes as they are");
        free(codes);
        codes = NULL;
    }
    return codes;
}

/* Replaces code points by their numbers among those that occur; how many do, or 0 when out of memory. */
static int64_t number(int32_t *codes, int64_t count)
{
    int32_t *numbers = calloc(CODE_POINTS, sizeof *numbers), next = 0;
    if (!numbers)
        return 0;
    for (int64_t i = 0; i < count; i++)
        numbers[codes[i]] = 1;
    for (int32_t code = 0; code < CODE_POINTS; code++)
        if (numbers[code])
            numbers[code] = next++;
    for (int64_t i = 0; i < count; i++)
        codes[i] = numbers[codes[i]];
    free(numbers);
    return next;
}

static bool open_characters(struct text *text, struct data_field *field)
{
    size_t size;
    char *bytes = file_read(text->line->path, &size, text->error);
    int32_t *codes = bytes ? decode_all(text, (unsigned char *)bytes, size) : NULL;
    free(bytes);
    if (!codes)
        return false;
    field->part[PART_TRAIN].memory = codes;
    if (!check_length(text))
        return false;
    int64_t alphabet = number(codes, text->tokens);
    for (int part = 0; part < PART_COUNT; part++) {
        struct data_array *array = &field->part[part];
        shape(text, (enum data_part)part, PROGRAM_I32, array);
        array->memory = part == PART_TRAIN ? codes : NULL; /* which holds both parts */
        array->bytes = codes + (part == PART_TEST ? boundary(text) : 0);
        array->stride = (size_t)text->line->stride * sizeof *codes;
        array->below = alphabet;
    }
    return alphabet || error_set(text->error, "out of memory");
}

bool source_text(struct source *source, struct error *error)
{
    struct text text = {.line = source->line, .error = error};
    struct data_field *field = source_add(source, "tokens", error);
    return field && (source->line->characters ? open_characters(&text, field) : open_bytes(&text, field));
}
