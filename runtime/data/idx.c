/* IDX, the form of the MNIST files: two zero bytes, element type, rank, big-endian sizes, then the values. Read through
 * zlib, which passes plain files on as they are; large plain ones stay on disk. */
#include "runtime/data/array.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { IDX_U8 = 8, CHUNK_LEAST = 1 << 16, CHUNK_MOST = 1 << 24 };

/* Reads `size` bytes into memory that grows as they come, so that a damaged header allocates nothing large. */
static unsigned char *read_growing(gzFile file, size_t size, size_t *got)
{
    unsigned char *bytes = NULL;
    *got = 0;
    while (*got < size) {
        size_t step = *got < CHUNK_LEAST ? CHUNK_LEAST : *got < CHUNK_MOST ? *got : CHUNK_MOST;
        if (step > size - *got)
            step = size - *got;
        unsigned char *more = realloc(bytes, *got + step);
        if (!more)
            break;
        bytes = more;
        int count = gzread(file, bytes + *got, (unsigned)step);
        if (count <= 0)
            break;
        *got += (size_t)count;
    }
    return bytes;
}

static bool damaged(gzFile file, const char *path, struct error *error)
{
    int status;
    const char *message = gzerror(file, &status);
    if (status == Z_ERRNO)
        return error_set_system(error, path, "can't read");
    size_t length = strlen(path);
    if (strncmp(message, path, length) == 0 && message[length] == ':') /* zlib puts the path first */
        message += length + strspn(message + length, ": ");
    return error_set(error, "%s: damaged gzip file%s%s", path, *message ? ": " : "", message);
}

/* Did zlib meet an error other than the end of the file? */
static bool is_damaged(gzFile file)
{
    int status;
    gzerror(file, &status);
    return status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR;
}

static bool read_header(gzFile file, const char *path, int rank, struct data_array *array, struct error *error)
{
    unsigned char head[4 + 4 * PROGRAM_RANK];
    int wanted = 4 + 4 * rank, count = gzread(file, head, (unsigned)wanted);
    if (count < 0 || is_damaged(file))
        return damaged(file, path, error);
    if (count < 4 || head[0] || head[1])
        return error_set(error, "%s: not an IDX file: it should begin with 0 0 8 %d", path, rank);
    if (head[2] != IDX_U8)
        return error_set(error, "%s: element type 0x%02x; bytes (0x08) are expected", path, head[2]);
    if (head[3] != rank)
        return error_set(error, "%s: %d %s; %s are expected", path, head[3], head[3] == 1 ? "axis" : "axes",
                         rank == 1 ? "labels with 1 axis" : "images with 3 axes");
    if (count < wanted)
        return error_set(error, "%s: truncated within the header", path);
    array->element = PROGRAM_U8;
    array->rank = rank;
    for (int i = 0; i < rank; i++) {
        const unsigned char *size = head + 4 + 4 * i;
        array->dimension[i] = (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | size[3];
    }
    if (data_array_elements(array) < 0)
        return error_set(error, "%s: the header's sizes are impossibly large", path);
    return true;
}

static bool truncated(const char *path, const struct data_array *array, size_t got, struct error *error)
{
    char shape[SHAPE_TEXT];
    return error_set(error, "%s: truncated: the header says %s, so %lld bytes, but only %zu follow", path,
                     data_shape_text(array->dimension, array->rank, shape), (long long)data_array_elements(array), got);
}

static bool too_long(const char *path, const struct data_array *array, struct error *error)
{
    char shape[SHAPE_TEXT];
    return error_set(error, "%s: too long: bytes follow after the %lld that the header's %s asks for", path,
                     (long long)data_array_elements(array), data_shape_text(array->dimension, array->rank, shape));
}

static bool read_values(gzFile file, const char *path, struct data_array *array, struct error *error)
{
    size_t size = (size_t)data_array_elements(array), got;
    array->memory = array->bytes = read_growing(file, size, &got);
    if (is_damaged(file))
        return damaged(file, path, error);
    if (got < size)
        return truncated(path, array, got, error);
    unsigned char more;
    int rest = gzread(file, &more, 1);
    if (rest > 0)
        return too_long(path, array, error);
    int status;
    gzerror(file, &status);
    return rest == 0 && status != Z_BUF_ERROR ? true : damaged(file, path, error);
}

static bool leave_on_disk(const char *path, struct data_array *array, struct error *error)
{
    struct stat status;
    uint64_t begin = 4 + 4 * (uint64_t)array->rank, size = (uint64_t)data_array_elements(array);
    if (stat(path, &status) != 0)
        return error_set_system(error, path, "can't read");
    uint64_t left = (uint64_t)status.st_size - begin;
    if (left < size)
        return truncated(path, array, (size_t)left, error);
    struct disk_place place = {.path = path, .begin = begin, .stride = data_array_row(array)};
    return left > size ? too_long(path, array, error) : data_array_on_disk(array, &place, error);
}

bool idx_read(const char *path, int rank, struct data_array *array, struct error *error)
{
    *array = (struct data_array){0};
    gzFile file = gzopen(path, "rb");
    if (!file)
        return error_set_system(error, path, "can't open");
    gzbuffer(file, 1 << 17);
    array->file = strdup(path);
    bool good = read_header(file, path, rank, array, error);
    if (good && gzdirect(file) && data_array_elements(array) > ARRAY_MEMORY)
        good = leave_on_disk(path, array, error);
    else
        good = good && read_values(file, path, array, error);
    gzclose_r(file);
    if (!good)
        data_array_free(array);
    return good;
}
