/* NPY, numpy's form of one array: magic, version, a header that is a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }, then the values. */
#include "runtime/data/array.h"

#include "runtime/file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC_BYTES = 6 };

/* The types that are read; the last three become wider ones. */
static const struct {
    const char *descr;
    enum program_element element;
} types[] = {
    {"|b1", PROGRAM_BOOL}, {"|u1", PROGRAM_U8},  {"<i4", PROGRAM_I32}, {"<i8", PROGRAM_I64}, {"<f2", PROGRAM_F16},
    {"<f4", PROGRAM_F32},  {"<f8", PROGRAM_F64}, {"|i1", PROGRAM_I32}, {"<i2", PROGRAM_I32}, {"<u2", PROGRAM_I32},
};

struct header {
    const char *where, *text;
    char descr[16];
};

/* The text behind 'key': in the header, NULL when it is not there. */
static const char *find_key(const char *text, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *at = strstr(text, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    while (isspace((unsigned char)*at) || *at == ':')
        at++;
    return at;
}

static bool read_descr(struct header *header, struct error *error)
{
    const char *at = find_key(header->text, "descr");
    size_t length = at && *at == '\'' ? strcspn(at + 1, "'") : 0;
    if (!at || length == 0 || length >= sizeof header->descr)
        return error_set(error, "%s: arrays of records are not read; save each of their fields as an array",
                         header->where);
    memcpy(header->descr, at + 1, length);
    return true;
}

static bool read_shape(const struct header *header, struct data_array *array, struct error *error)
{
    const char *at = find_key(header->text, "shape");
    if (!at || *at++ != '(')
        return error_set(error, "%s: the NPY header has no shape", header->where);
    for (;;) {
        while (*at == ' ' || *at == ',')
            at++;
        if (*at == ')')
            break;
        char *end;
        long long size = strtoll(at, &end, 10);
        if (end == at || size < 0)
            return error_set(error, "%s: the NPY header's shape is damaged", header->where);
        if (array->rank == PROGRAM_RANK)
            return error_set(error, "%s: more than %d axes", header->where, PROGRAM_RANK);
        array->dimension[array->rank++] = size;
        at = *end == 'L' ? end + 1 : end;
    }
    if (!array->rank)
        return error_set(error, "%s: a single number; an array whose first axis counts examples is expected",
                         header->where);
    const char *order = find_key(header->text, "fortran_order");
    if (order && strncmp(order, "True", 4) == 0 && array->rank > 1)
        return error_set(error, "%s: stored column by column; save it with numpy.ascontiguousarray", header->where);
    return true;
}

static int find_type(const char *descr)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].descr, descr) == 0)
            return (int)i;
    return -1;
}

static int32_t widened(const char *descr, const unsigned char *at)
{
    if (descr[2] == '1')
        return (int8_t)*at;
    unsigned bits = at[0] | (unsigned)at[1] << 8;
    return descr[1] == 'u' ? (int32_t)bits : (int16_t)bits;
}

/* Narrow integers become i32, in memory of their own. */
static bool widen(const char *descr, const unsigned char *from, struct data_array *array, struct error *error)
{
    size_t count = (size_t)data_array_elements(array), width = (size_t)(descr[2] - '0');
    int32_t *to = malloc(count * sizeof *to + 1);
    if (!to)
        return error_set(error, "%s: out of memory", array->file);
    for (size_t i = 0; i < count; i++)
        to[i] = widened(descr, from + i * width);
    free(array->memory);
    array->memory = array->bytes = to;
    return true;
}

static bool take_values(const struct header *header, unsigned char *values, size_t left, struct data_array *array,
                        struct error *error)
{
    int type = find_type(header->descr);
    if (type < 0) {
        error_set(error, "%s: element type '%s' is not read", header->where, header->descr);
        error_hint(error, "bool, uint8, int8, int16, int32, int64, float16, float32 and float64 are, little-endian");
        return false;
    }
    array->element = types[type].element;
    int64_t elements = data_array_elements(array);
    size_t width = (size_t)(header->descr[2] - '0');
    char shape[SHAPE_TEXT];
    data_shape_text(array->dimension, array->rank, shape);
    if (elements < 0 || (uint64_t)elements > left / width)
        return error_set(error, "%s: truncated: shape %s of '%s' needs more than the %zu bytes there", header->where,
                         shape, header->descr, left);
    if ((size_t)elements * width < left)
        return error_set(error, "%s: too long: %zu bytes follow after shape %s of '%s'", header->where,
                         left - (size_t)elements * width, shape, header->descr);
    /* Old writers align to less than we read with. */
    array->bytes = (uintptr_t)values % sizeof(double) ? memmove(array->memory, values, left) : values;
    return width == program_element_bytes(array->element) || widen(header->descr, array->bytes, array, error);
}

static bool parse(const char *where, unsigned char *memory, size_t size, struct data_array *array, struct error *error)
{
    if (size < MAGIC_BYTES + 4 || memcmp(memory, "\x93NUMPY", MAGIC_BYTES) != 0)
        return error_set(error, "%s: not an NPY array", where);
    int version = memory[MAGIC_BYTES];
    size_t begin = version == 1 ? 10 : 12;
    if (version < 1 || version > 3 || size < begin)
        return error_set(error, "%s: NPY version %d is not known", where, version);
    size_t length = memory[8] | (size_t)memory[9] << 8;
    if (version > 1)
        length |= (size_t)memory[10] << 16 | (size_t)memory[11] << 24;
    if (length > size - begin)
        return error_set(error, "%s: truncated within the NPY header", where);
    char *text = strndup((char *)memory + begin, length);
    struct header header = {.where = where, .text = text};
    bool good = text ? read_descr(&header, error) && read_shape(&header, array, error) &&
                           take_values(&header, memory + begin + length, size - begin - length, array, error)
                     : error_set(error, "out of memory");
    free(text);
    return good;
}

bool npy_parse(const char *where, void *memory, size_t size, struct data_array *array, struct error *error)
{
    *array = (struct data_array){.memory = memory, .file = strdup(where)};
    if (parse(where, memory, size, array, error))
        return true;
    data_array_free(array);
    return false;
}

bool npy_read(const char *path, struct data_array *array, struct error *error)
{
    size_t size;
    char *memory = file_read(path, &size, error);
    return memory && npy_parse(path, memory, size, array, error);
}
