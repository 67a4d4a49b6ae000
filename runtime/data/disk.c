/* Arrays that stay on disk: an example is read where it lies, by any number of threads at once, so that a set may be
 * larger than memory. */
#include "runtime/data/array.h"
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct disk_rows {
    struct data_rows rows;
    char *path;
    int descriptor;
    struct disk_place place;
    size_t bytes, count; /* of an example: bytes in memory, elements */
};

size_t narrow_bytes(enum data_narrow narrow)
{
    static const size_t bytes[] = {0, 1, 2, 2};
    return bytes[narrow];
}

void narrow_widen(enum data_narrow narrow, const void *from, int32_t *to, size_t count)
{
    const unsigned char *at = from;
    for (size_t i = 0; i < count; i++, at += narrow_bytes(narrow)) {
        unsigned low = at[0], bits = low | (narrow == NARROW_I8 ? 0u : (unsigned)at[1] << 8);
        to[i] = narrow == NARROW_I8 ? (int8_t)low : narrow == NARROW_I16 ? (int16_t)bits : (int32_t)bits;
    }
}

static bool read_whole(const struct disk_rows *disk, uint64_t at, char *out, size_t size, struct error *error)
{
    while (size) {
        ssize_t count = pread(disk->descriptor, out, size, (off_t)at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_system(error, disk->path, "cannot read");
        if (count == 0)
            return error_set(error, "%s: has become shorter since it was opened", disk->path);
        out += count;
        at += (uint64_t)count;
        size -= (size_t)count;
    }
    return true;
}

static bool read_row(const struct data_rows *rows, int64_t row, void *out, struct error *error)
{
    const struct disk_rows *disk = (const struct disk_rows *)rows;
    enum data_narrow narrow = disk->place.narrow;
    size_t size = narrow ? disk->count * narrow_bytes(narrow) : disk->bytes;
    char *end = (char *)out + disk->bytes - size;
    if (!read_whole(disk, disk->place.begin + (uint64_t)row * disk->place.stride, end, size, error))
        return false;
    if (narrow)
        narrow_widen(narrow, end, out, disk->count);
    return true;
}

static void free_rows(struct data_rows *rows)
{
    struct disk_rows *disk = (struct disk_rows *)rows;
    if (disk->descriptor >= 0)
        close(disk->descriptor);
    free(disk->path);
    free(disk);
}

bool data_array_on_disk(struct data_array *array, const struct disk_place *place, struct error *error)
{
    struct disk_rows *disk = malloc(sizeof *disk);
    if (!disk)
        return error_set(error, "out of memory");
    *disk = (struct disk_rows){.rows = {read_row, free_rows},
                               .path = file_text("%s", place->path),
                               .descriptor = open(place->path, O_RDONLY | O_CLOEXEC),
                               .place = *place,
                               .bytes = data_array_row(array)};
    disk->place.path = disk->path;
    disk->count = disk->bytes / program_element_bytes(array->element);
    array->rows = &disk->rows;
    return disk->descriptor >= 0 || error_set_system(error, place->path, "can't open");
}
