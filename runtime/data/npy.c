/* NPY, numpy's form of one array: magic, version, a header that is a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }, then the values. What is too large to hold
 * stays on disk. */
#include "runtime/data/array.h"

#include "runtime/file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAGIC_BYTES = 6, HEAD_MOST = 1 << 20 };

/* The types that are read; the last three become wider ones. */
static const struct type {
    const char *descr;
    enum program_element element;
    enum data_narrow narrow;
} types[] = {
    {"|b1", PROGRAM_BOOL, NARROW_NONE}, {"|u1", PROGRAM_U8, NARROW_NONE},  {"<i4", PROGRAM_I32, NARROW_NONE},
    {"<i8", PROGRAM_I64, NARROW_NONE},  {"<f2", PROGRAM_F16, NARROW_NONE}, {"<f4", PROGRAM_F32, NARROW_NONE},
    {"<f8", PROGRAM_F64, NARROW_NONE},  {"|i1", PROGRAM_I32, NARROW_I8},   {"<i2", PROGRAM_I32, NARROW_I16},
    {"<u2", PROGRAM_I32, NARROW_U16},
};

struct header {
    const char *where, *text;
    char descr[16];
    size_t type;  /* in `types` */
    size_t bytes; /* from the file's begin to the values */
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

static bool find_type(struct header *header, struct error *error)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].descr, header->descr) == 0) {
            header->type = i;
            return true;
        }
    error_set(error, "%s: element type '%s' is not read", header->where, header->descr);
    error_hint(error, "bool, uint8, int8, int16, int32, int64, float16, float32 and float64 are, little-endian");
    return false;
}

static size_t type_bytes(size_t number)
{
    const struct type *type = &types[number];
    return type->narrow ? narrow_bytes(type->narrow) : program_element_bytes(type->element);
}

/* Whether the values are all there, and nothing else: `left` bytes follow after the header. */
static bool check_size(const struct header *header, uint64_t left, const struct data_array *array, struct error *error)
{
    int64_t elements = data_array_elements(array);
    uint64_t width = type_bytes(header->type);
    char shape[SHAPE_TEXT];
    data_shape_text(array->dimension, array->rank, shape);
    if (elements < 0 || (uint64_t)elements > left / width)
        return error_set(error, "%s: truncated: shape %s of '%s' needs more than the %llu bytes there", header->where,
                         shape, header->descr, (unsigned long long)left);
    return (uint64_t)elements * width == left ||
           error_set(error, "%s: too long: %llu bytes follow after shape %s of '%s'", header->where,
                     (unsigned long long)(left - (uint64_t)elements * width), shape, header->descr);
}

/* Reads the header of a file of `size` bytes, `there` of which are in memory, into element, dimensions and place. */
static bool read_head(struct header *header, const unsigned char *memory, size_t there, uint64_t size,
                      struct data_array *array, struct error *error)
{
    if (there < MAGIC_BYTES + 4 || memcmp(memory, "\x93NUMPY", MAGIC_BYTES) != 0)
        return error_set(error, "%s: not an NPY array", header->where);
    int version = memory[MAGIC_BYTES];
    size_t begin = version == 1 ? 10 : 12;
    if (version < 1 || version > 3 || there < begin)
        return error_set(error, "%s: NPY version %d is not known", header->where, version);
    size_t length = memory[8] | (size_t)memory[9] << 8;
    if (version > 1)
        length |= (size_t)memory[10] << 16 | (size_t)memory[11] << 24;
    if (length > there - begin)
        return error_set(error, "%s: truncated within the NPY header", header->where);
    char *text = strndup((const char *)memory + begin, length);
    header->text = text;
    header->bytes = begin + length;
    bool good = text ? read_descr(header, error) && read_shape(header, array, error) && find_type(header, error)
                     : error_set(error, "out of memory");
    free(text);
    header->text = NULL;
    if (good)
        array->element = types[header->type].element;
    return good && check_size(header, size - header->bytes, array, error);
}

/* ---- values in memory ---- */

/* Narrow integers become i32, in memory of their own. */
static bool widen(const struct header *header, struct data_array *array, struct error *error)
{
    size_t count = (size_t)data_array_elements(array);
    struct data_array wide = *array;
    if (!data_array_allocate(&wide, count * sizeof(int32_t), error))
        return false;
    narrow_widen(types[header->type].narrow, array->bytes, wide.bytes, count);
    free(array->memory);
    *array = wide;
    return true;
}

bool npy_parse(const char *where, void *memory, size_t size, struct data_array *array, struct error *error)
{
    *array = (struct data_array){.memory = memory, .file = strdup(where)};
    struct header header = {.where = where};
    bool good = read_head(&header, memory, size, size, array, error);
    if (good) {
        unsigned char *values = (unsigned char *)memory + header.bytes;
        /* Old writers align to less than we read with. */
        array->bytes = (uintptr_t)values % sizeof(double) ? memmove(memory, values, size - header.bytes) : values;
        good = !types[header.type].narrow || widen(&header, array, error);
    }
    if (!good)
        data_array_free(array);
    return good;
}

/* ---- on disk ---- */

static bool read_large(FILE *file, const char *path, uint64_t size, struct data_array *array, struct error *error)
{
    struct header header = {.where = path};
    unsigned char *head = malloc(HEAD_MOST);
    *array = (struct data_array){.file = strdup(path)};
    size_t there = head ? fread(head, 1, HEAD_MOST, file) : 0;
    bool good = head ? read_head(&header, head, there, size, array, error) : error_set(error, "out of memory");
    free(head);
    if (good) {
        struct disk_place place = {
            .path = path, .begin = header.bytes, .stride = data_array_row(array), .narrow = types[header.type].narrow};
        if (place.narrow)
            place.stride = place.stride / sizeof(int32_t) * narrow_bytes(place.narrow);
        good = data_array_on_disk(array, &place, error);
    }
    if (!good)
        data_array_free(array);
    return good;
}

bool npy_read(const char *path, struct data_array *array, struct error *error)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set_system(error, path, "cannot read");
    bool large = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode) && status.st_size > ARRAY_MEMORY;
    bool good = large && read_large(file, path, (uint64_t)status.st_size, array, error);
    fclose(file);
    if (large)
        return good;
    size_t size;
    char *memory = file_read(path, &size, error);
    return memory && npy_parse(path, memory, size, array, error);
}
