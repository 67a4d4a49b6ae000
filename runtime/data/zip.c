/* Zip archives as numpy writes them: stored or deflated entries, found through the directory at the end. Every number
 * read is checked against the file's size before it is used. */
#include "runtime/data/array.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,
    END_SEARCH = 65535 + END_BYTES,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    STORED = 0,
    DEFLATED = 8,
    RATIO_MAX = 1100 /* deflate can't do better than 1032 to 1 */
};

static uint32_t u16(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t u32(const unsigned char *at)
{
    return u16(at) | u16(at + 2) << 16;
}

static bool read_at(const struct zip *zip, uint64_t offset, void *bytes, size_t size)
{
    return offset <= zip->bytes && size <= zip->bytes - offset && fseeko(zip->file, (off_t)offset, SEEK_SET) == 0 &&
           fread(bytes, 1, size, zip->file) == size;
}

static bool damaged(const struct zip *zip, const char *what, struct error *error)
{
    return error_set(error, "%s: damaged zip archive: %s", zip->path, what);
}

static bool read_entry(const struct zip *zip, const unsigned char *at, size_t left, struct zip_entry *entry,
                       size_t *used, struct error *error)
{
    if (left < ENTRY_BYTES || u32(at) != 0x02014b50)
        return damaged(zip, "its directory is cut short", error);
    size_t name = u16(at + 28);
    *used = ENTRY_BYTES + name + u16(at + 30) + u16(at + 32);
    if (*used > left)
        return damaged(zip, "its directory is cut short", error);
    entry->method = u16(at + 10);
    entry->crc = u32(at + 16);
    entry->compressed = u32(at + 20);
    entry->size = u32(at + 24);
    entry->offset = u32(at + 42);
    entry->name = strndup((const char *)at + ENTRY_BYTES, name);
    if (!entry->name)
        return error_set(error, "out of memory");
    if (u16(at + 8) & 1)
        return error_set(error, "%s: entry %s is encrypted", zip->path, entry->name);
    if (entry->compressed == UINT32_MAX || entry->size == UINT32_MAX || entry->offset == UINT32_MAX)
        return error_set(error, "%s: entry %s is over 4 GB; keep such an array in an .npy file", zip->path,
                         entry->name);
    return true;
}

static bool read_directory(struct zip *zip, const unsigned char *end, struct error *error)
{
    size_t size = u32(end + 12), used = 0;
    int count = (int)u16(end + 10);
    if ((size_t)count * ENTRY_BYTES > size)
        return damaged(zip, "its directory is too short for its entries", error);
    unsigned char *directory = calloc(size + 1, 1);
    zip->entries = calloc((size_t)count + 1, sizeof *zip->entries);
    if (!directory || !zip->entries) {
        free(directory);
        return error_set(error, "out of memory");
    }
    bool good =
        read_at(zip, u32(end + 16), directory, size) || damaged(zip, "its directory is not where its end says", error);
    for (size_t at = 0; good && zip->count < count; at += used)
        good = read_entry(zip, directory + at, size - at, &zip->entries[zip->count++], &used, error);
    free(directory);
    return good;
}

/* The directory's end record stands at the end of the file, before a comment of up to 65535 bytes. */
static bool find_directory(struct zip *zip, struct error *error)
{
    size_t size = zip->bytes < END_SEARCH ? (size_t)zip->bytes : END_SEARCH;
    unsigned char *tail = calloc(size + 1, 1);
    if (!tail)
        return error_set(error, "out of memory");
    bool found = false, good = read_at(zip, zip->bytes - size, tail, size);
    for (size_t at = size; good && !found && at >= END_BYTES; at--) {
        const unsigned char *end = tail + at - END_BYTES;
        if (u32(end) != 0x06054b50)
            continue;
        found = true;
        size_t directory = u32(end + 12);
        good = directory <= zip->bytes ? read_directory(zip, end, error)
                                       : damaged(zip, "its directory is larger than the file", error);
    }
    free(tail);
    if (!found)
        return error_set(error, "%s: not a zip archive, or truncated: its directory is missing", zip->path);
    return good || damaged(zip, "can't read it", error);
}

bool zip_open(struct zip *zip, const char *path, struct error *error)
{
    *zip = (struct zip){.path = strdup(path), .file = fopen(path, "rb")};
    if (!zip->file || !zip->path) {
        error_set_system(error, path, "can't open");
        zip_close(zip);
        return false;
    }
    off_t end = fseeko(zip->file, 0, SEEK_END) == 0 ? ftello(zip->file) : -1;
    zip->bytes = end > 0 ? (uint64_t)end : 0;
    if (find_directory(zip, error))
        return true;
    zip_close(zip);
    return false;
}

void zip_close(struct zip *zip)
{
    for (int i = 0; i < zip->count; i++)
        free(zip->entries[i].name);
    free(zip->entries);
    free(zip->path);
    if (zip->file)
        fclose(zip->file);
    *zip = (struct zip){0};
}

/* ---- entries ---- */

static bool inflate_raw(const void *from, size_t compressed, void *to, size_t size)
{
    z_stream stream = {.next_in = (Bytef *)from, .avail_in = (uInt)compressed, .next_out = to, .avail_out = (uInt)size};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return false;
    int status = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return status == Z_STREAM_END && stream.avail_out == 0;
}

static bool fill(const struct zip *zip, const struct zip_entry *entry, void *bytes, struct error *error)
{
    unsigned char local[LOCAL_BYTES] = {0};
    if (!read_at(zip, entry->offset, local, sizeof local) || u32(local) != 0x04034b50)
        return damaged(zip, "an entry is not where its directory says", error);
    uint64_t begin = entry->offset + LOCAL_BYTES + u16(local + 26) + u16(local + 28);
    void *packed = entry->method == STORED ? bytes : malloc(entry->compressed + 1);
    bool good = packed && read_at(zip, begin, packed, entry->compressed);
    if (!good)
        error_set(error, "%s: entry %s is truncated", zip->path, entry->name);
    if (good && entry->method == DEFLATED && !inflate_raw(packed, entry->compressed, bytes, entry->size))
        good = error_set(error, "%s: entry %s does not inflate to its %llu bytes", zip->path, entry->name,
                         (unsigned long long)entry->size);
    if (packed != bytes)
        free(packed);
    if (good && crc32_z(0, bytes, entry->size) != entry->crc)
        good = error_set(error, "%s: entry %s is damaged: its check sum differs", zip->path, entry->name);
    return good;
}

void *zip_read(const struct zip *zip, const struct zip_entry *entry, struct error *error)
{
    bool known = entry->method == STORED || entry->method == DEFLATED;
    if (!known) {
        error_set(error, "%s: entry %s is compressed by method %u; stored and deflated entries are read", zip->path,
                  entry->name, entry->method);
        return NULL;
    }
    bool plausible =
        entry->compressed <= zip->bytes &&
        (entry->method == STORED ? entry->size == entry->compressed : entry->size / RATIO_MAX <= entry->compressed);
    void *bytes = plausible ? malloc(entry->size + 1) : NULL;
    if (!plausible)
        error_set(error, "%s: entry %s has impossible sizes", zip->path, entry->name);
    else if (!bytes)
        error_set(error, "%s: no memory for the %llu bytes of entry %s", zip->path, (unsigned long long)entry->size,
                  entry->name);
    if (bytes && fill(zip, entry, bytes, error))
        return bytes;
    free(bytes);
    return NULL;
}
