/* Reading (mapped, strictly checked) and writing safetensors files. The header is JSON, parsed by jansson. */
#include "runtime/safetensors.h"
#include "runtime/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { LENGTH_BYTES = 8, CHECKSUM_TEXT = 17 };

static const char checksum_key[] = "checksum";

static const struct {
    const char *name;
    enum program_element element;
} types[] = {{"F16", PROGRAM_F16}, {"BF16", PROGRAM_BF16}, {"F32", PROGRAM_F32}, {"F64", PROGRAM_F64},
             {"I32", PROGRAM_I32}, {"I64", PROGRAM_I64},   {"U8", PROGRAM_U8},   {"BOOL", PROGRAM_BOOL}};

enum { TYPE_COUNT = sizeof types / sizeof *types };

static const char *type_name(enum program_element element)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (types[i].element == element)
            return types[i].name;
    return "?";
}

const char *safetensors_shape(int rank, const int64_t *dimension, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)dimension[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

/* ---- the checksum ---- */

static uint64_t hash_tensor(const struct safetensors_tensor *tensor)
{
    uint64_t hash = XXH3_64bits_withSeed(tensor->name, strlen(tensor->name), 1);
    hash = XXH3_64bits_withSeed(tensor->dimension, sizeof *tensor->dimension * (size_t)tensor->rank, hash);
    hash = XXH3_64bits_withSeed(type_name(tensor->element), strlen(type_name(tensor->element)), hash);
    return XXH3_64bits_withSeed(tensor->data, tensor->bytes, hash);
}

/* Of all tensors and notes but the checksum itself, whatever their order. */
static void make_checksum(const struct safetensors_tensor *tensors, int count, const struct safetensors_note *notes,
                          int note_count, char text[CHECKSUM_TEXT])
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += hash_tensor(&tensors[i]);
    for (int i = 0; i < note_count; i++) {
        uint64_t hash = XXH3_64bits_withSeed(notes[i].key, strlen(notes[i].key), 2);
        if (strcmp(notes[i].key, checksum_key) != 0)
            sum += XXH3_64bits_withSeed(notes[i].value, strlen(notes[i].value), hash);
    }
    snprintf(text, CHECKSUM_TEXT, "%016llx", (unsigned long long)sum);
}

/* ---- reading ---- */

struct reader {
    struct safetensors *file;
    const unsigned char *data; /* behind the header */
    uint64_t data_bytes;
    struct error *error;
};

static bool map_file(struct safetensors *file, struct error *error)
{
    struct stat status;
    int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        error_set_system(error, file->path, "cannot read");
    } else if (!S_ISREG(status.st_mode)) {
        error_set(error, "%s: is no regular file", file->path);
    } else if (status.st_size < LENGTH_BYTES + 2) {
        error_set(error, "%s: %lld bytes are too few for a safetensors file", file->path, (long long)status.st_size);
    } else {
        file->mapping_bytes = (size_t)status.st_size;
        file->mapping = mmap(NULL, file->mapping_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (file->mapping == MAP_FAILED) {
            file->mapping = NULL;
            error_set_system(error, file->path, "cannot read");
        }
    }
    if (descriptor >= 0)
        close(descriptor);
    return file->mapping;
}

static bool read_shape(struct reader *reader, struct safetensors_tensor *tensor, const json_t *shape)
{
    const char *path = reader->file->path;
    if (!json_is_array(shape))
        return error_set(reader->error, "%s: tensor %s has no shape", path, tensor->name);
    if (json_array_size(shape) > PROGRAM_RANK)
        return error_set(reader->error, "%s: tensor %s has rank %zu, at most %d is supported", path, tensor->name,
                         json_array_size(shape), PROGRAM_RANK);
    uint64_t bytes = program_element_bytes(tensor->element);
    tensor->rank = (int)json_array_size(shape);
    for (int i = 0; i < tensor->rank; i++) {
        const json_t *dimension = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
            return error_set(reader->error, "%s: a dimension of tensor %s is no natural number", path, tensor->name);
        tensor->dimension[i] = json_integer_value(dimension);
        if (__builtin_mul_overflow(bytes, (uint64_t)tensor->dimension[i], &bytes))
            return error_set(reader->error, "%s: the shape of tensor %s overflows", path, tensor->name);
    }
    tensor->bytes = bytes;
    return true;
}

static bool read_type(struct reader *reader, struct safetensors_tensor *tensor, const json_t *type)
{
    const char *name = json_is_string(type) ? json_string_value(type) : "";
    for (int i = 0; i < TYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0)
            tensor->element = types[i].element;
    return tensor->element ||
           error_set(reader->error, "%s: tensor %s has type `%s`; F16, BF16, F32, F64, I32, I64, U8 and BOOL are known",
                     reader->file->path, tensor->name, name);
}

static bool read_offsets(struct reader *reader, struct safetensors_tensor *tensor, const json_t *offsets)
{
    const char *path = reader->file->path;
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return error_set(reader->error, "%s: tensor %s has no data_offsets", path, tensor->name);
    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > reader->data_bytes)
        return error_set(reader->error,
                         "%s: the offsets %lld to %lld of tensor %s are out of range (%llu bytes of data)", path,
                         (long long)begin, (long long)end, tensor->name, (unsigned long long)reader->data_bytes);
    if ((uint64_t)(end - begin) != tensor->bytes)
        return error_set(reader->error, "%s: tensor %s takes %lld bytes, its shape and type %zu", path, tensor->name,
                         (long long)(end - begin), tensor->bytes);
    tensor->data = reader->data + begin;
    return true;
}

static bool read_tensor(struct reader *reader, const char *name, const json_t *value)
{
    struct safetensors *file = reader->file;
    struct safetensors_tensor *tensor = &file->tensors[file->count];
    if (!json_is_object(value) || json_object_size(value) != 3)
        return error_set(reader->error, "%s: tensor %s needs exactly dtype, shape and data_offsets", file->path, name);
    tensor->name = strdup(name);
    if (!tensor->name)
        return error_set(reader->error, "out of memory");
    file->count++;
    return read_type(reader, tensor, json_object_get(value, "dtype")) &&
           read_shape(reader, tensor, json_object_get(value, "shape")) &&
           read_offsets(reader, tensor, json_object_get(value, "data_offsets"));
}

static int by_address(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors must lie side by side from the first byte of data to the last. */
static bool check_covering(struct reader *reader)
{
    struct safetensors *file = reader->file;
    struct safetensors_tensor *sorted = calloc((size_t)file->count + 1, sizeof *sorted);
    if (!sorted)
        return error_set(reader->error, "out of memory");
    memcpy(sorted, file->tensors, (size_t)file->count * sizeof *sorted);
    qsort(sorted, (size_t)file->count, sizeof *sorted, by_address);
    uint64_t at = 0;
    bool ok = true;
    for (int i = 0; i < file->count && ok; i++) {
        uint64_t begin = (uint64_t)((const unsigned char *)sorted[i].data - reader->data);
        if (begin < at)
            ok = error_set(reader->error, "%s: tensor %s overlaps another one", file->path, sorted[i].name);
        else if (begin > at)
            ok = error_set(reader->error, "%s: %llu bytes before tensor %s belong to no tensor", file->path,
                           (unsigned long long)(begin - at), sorted[i].name);
        at = begin + sorted[i].bytes;
    }
    free(sorted);
    if (ok && at != reader->data_bytes)
        ok = error_set(reader->error, "%s: %llu bytes at the end belong to no tensor", file->path,
                       (unsigned long long)(reader->data_bytes - at));
    return ok;
}

static bool read_notes(struct reader *reader, json_t *notes)
{
    struct safetensors *file = reader->file;
    const char *key;
    json_t *value;
    file->notes = calloc(json_object_size(notes) + 1, sizeof *file->notes);
    if (!json_is_object(notes) || !file->notes)
        return error_set(reader->error, file->notes ? "%s: __metadata__ is no object" : "%s: out of memory",
                         file->path);
    json_object_foreach(notes, key, value)
    {
        struct safetensors_note *note = &file->notes[file->note_count++];
        *note = (struct safetensors_note){strdup(key), strdup(json_is_string(value) ? json_string_value(value) : "")};
        if (!note->key || !note->value)
            return error_set(reader->error, "out of memory");
    }
    return true;
}

static bool check_sum(struct reader *reader)
{
    const struct safetensors *file = reader->file;
    const char *told = safetensors_note(file, checksum_key);
    char sum[CHECKSUM_TEXT];
    if (!told)
        return true;
    make_checksum(file->tensors, file->count, file->notes, file->note_count, sum);
    return strcmp(told, sum) == 0 ||
           error_set(reader->error, "%s: damaged: its checksum is %s, not the %.16s that it tells", file->path, sum,
                     told);
}

static bool read_tensors(struct reader *reader, json_t *header)
{
    reader->file->tensors = calloc(json_object_size(header) + 1, sizeof *reader->file->tensors);
    if (!reader->file->tensors)
        return error_set(reader->error, "out of memory");
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (!(strcmp(name, "__metadata__") == 0 ? read_notes(reader, value) : read_tensor(reader, name, value)))
            return false;
    }
    return check_covering(reader) && check_sum(reader);
}

static bool read_header(struct safetensors *file, struct error *error)
{
    const unsigned char *bytes = file->mapping;
    uint64_t length = 0, room = file->mapping_bytes - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > SAFETENSORS_HEADER_MAX)
        return error_set(error,
                         "%s: is no safetensors file, or damaged: a header of %llu bytes is too large (at most %d)",
                         file->path, (unsigned long long)length, SAFETENSORS_HEADER_MAX);
    if (length > room)
        return error_set(error, "%s: truncated: the header has %llu bytes, the file %zu", file->path,
                         (unsigned long long)length, file->mapping_bytes);
    if (length < 2 || bytes[LENGTH_BYTES] != '{')
        return error_set(error, "%s: is no safetensors file (its header does not begin with `{`)", file->path);
    json_error_t problem;
    json_t *header = json_loadb((const char *)bytes + LENGTH_BYTES, length, JSON_REJECT_DUPLICATES, &problem);
    if (!header)
        return error_set(error, "%s: header: %s", file->path, problem.text);
    struct reader reader = {file, bytes + LENGTH_BYTES + length, room - length, error};
    bool ok = read_tensors(&reader, header);
    json_decref(header);
    return ok;
}

struct safetensors *safetensors_open(const char *path, struct error *error)
{
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        error_set(error, "out of memory");
        return NULL;
    }
    file->path = file_text("%s", path);
    if (map_file(file, error) && read_header(file, error))
        return file;
    safetensors_close(file);
    return NULL;
}

struct safetensors *safetensors_take(const char *name, void *memory, size_t size, struct error *error)
{
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        free(memory);
        error_set(error, "out of memory");
        return NULL;
    }
    *file =
        (struct safetensors){.path = file_text("%s", name), .mapping = memory, .mapping_bytes = size, .owned = true};
    bool whole = size >= LENGTH_BYTES + 2 ||
                 error_set(error, "%s: %zu bytes are too few for a safetensors file", file->path, size);
    if (whole && read_header(file, error))
        return file;
    safetensors_close(file);
    return NULL;
}

void safetensors_close(struct safetensors *file)
{
    if (!file)
        return;
    for (int i = 0; i < file->count; i++)
        free((char *)file->tensors[i].name);
    for (int i = 0; i < file->note_count; i++) {
        free((char *)file->notes[i].key);
        free((char *)file->notes[i].value);
    }
    if (file->owned)
        free(file->mapping);
    else if (file->mapping)
        munmap(file->mapping, file->mapping_bytes);
    free(file->tensors);
    free(file->notes);
    free(file->path);
    free(file);
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_note(const struct safetensors *file, const char *key)
{
    for (int i = 0; i < file->note_count; i++)
        if (strcmp(file->notes[i].key, key) == 0)
            return file->notes[i].value;
    return NULL;
}

/* ---- writing ---- */

static json_t *make_notes(const struct safetensors_tensor *tensors, int count, const struct safetensors_note *notes,
                          int note_count)
{
    char sum[CHECKSUM_TEXT];
    json_t *object = json_object();
    make_checksum(tensors, count, notes, note_count, sum);
    bool ok = json_object_set_new(object, checksum_key, json_string(sum)) == 0;
    for (int i = 0; i < note_count && ok; i++)
        ok = json_object_set_new(object, notes[i].key, json_string(notes[i].value)) == 0;
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

/* The header as JSON text, padded with spaces so that the data begins at a multiple of 8. NULL when out of memory or a
 * name is no UTF-8. */
static char *make_header(const struct safetensors_tensor *tensors, int count, const struct safetensors_note *notes,
                         int note_count)
{
    json_t *header = json_object();
    json_int_t begin = 0;
    bool ok = header;
    if (note_count)
        ok = json_object_set_new(header, "__metadata__", make_notes(tensors, count, notes, note_count)) == 0;
    for (int i = 0; i < count && ok; i++) {
        json_t *shape = json_array();
        json_int_t end = begin + (json_int_t)tensors[i].bytes;
        for (int j = 0; j < tensors[i].rank; j++)
            json_array_append_new(shape, json_integer(tensors[i].dimension[j]));
        json_t *tensor = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(tensors[i].element), "shape", shape,
                                   "data_offsets", begin, end);
        ok = json_object_set_new(header, tensors[i].name, tensor) == 0;
        begin = end;
    }
    char *text = ok ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text)
        return NULL;
    char *padded = file_text("%s%*s", text, (int)(-strlen(text) % 8), "");
    free(text);
    return padded;
}

bool safetensors_write(const char *path, const struct safetensors_tensor *tensors, int count,
                       const struct safetensors_note *notes, int note_count, struct error *error)
{
    struct file_writer writer;
    char *header = make_header(tensors, count, notes, note_count);
    if (!header)
        return error_set(error, "%s: a tensor's name cannot be written", path);
    if (!file_begin(&writer, path, error)) {
        free(header);
        return false;
    }
    uint64_t length = strlen(header);
    unsigned char bytes[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    fwrite(bytes, 1, sizeof bytes, writer.stream);
    fwrite(header, 1, length, writer.stream);
    for (int i = 0; i < count; i++)
        if (tensors[i].bytes)
            fwrite(tensors[i].data, 1, tensors[i].bytes, writer.stream);
    free(header);
    return file_commit(&writer, error);
}
