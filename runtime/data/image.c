/* From a file's bytes to planes of values, whatever the format. */
#include "runtime/data/image.h"

#include <stdlib.h>
#include <string.h>

/* Deflate can't do better than 1032 to 1, and a progressive JPEG about as much; larger sizes are lies. */
enum { RATIO_MAX = 2048 };

typedef bool reader(const char *path, const void *bytes, size_t size, struct image *image, unsigned char *pixels,
                    struct error *error);

static reader *find_reader(const char *path, const void *bytes, size_t size, struct error *error)
{
    static const struct {
        const char *begin;
        size_t length;
        reader *read;
    } formats[] = {{"\x89PNG\r\n\x1a\n", 8, image_read_png}, {"\xff\xd8\xff", 3, image_read_jpeg}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (size >= formats[i].length && memcmp(bytes, formats[i].begin, formats[i].length) == 0)
            return formats[i].read;
    error_set(error, "%s: neither a PNG nor a JPEG file", path);
    return NULL;
}

bool image_inspect(const char *path, const void *bytes, size_t size, struct image *image, struct error *error)
{
    reader *read = find_reader(path, bytes, size, error);
    *image = (struct image){0};
    if (!read || !read(path, bytes, size, image, NULL, error))
        return false;
    uint64_t values;
    if (__builtin_mul_overflow((uint64_t)image->width * (uint64_t)image->channels, (uint64_t)image->height, &values) ||
        values / RATIO_MAX > size)
        return error_set(error, "%s: damaged: %zu bytes can't hold an image of %lld by %lld", path, size,
                         (long long)image->width, (long long)image->height);
    return true;
}

static void split_channels(const unsigned char *pixels, const struct image *image, unsigned char *out)
{
    size_t plane = (size_t)(image->width * image->height), channels = (size_t)image->channels;
    for (size_t channel = 0; channel < channels; channel++)
        for (size_t i = 0; i < plane; i++)
            *out++ = pixels[i * channels + channel];
}

bool image_decode(const char *path, const void *bytes, size_t size, const struct image *image, unsigned char *out,
                  struct error *error)
{
    struct image own;
    if (!image_inspect(path, bytes, size, &own, error))
        return false;
    if (own.width != image->width || own.height != image->height || own.channels > image->channels)
        return error_set(error, "%s: is not the image that was there when the folder was opened", path);
    own.channels = image->channels;
    if (own.channels == 1)
        return find_reader(path, bytes, size, error)(path, bytes, size, &own, out, error);
    unsigned char *pixels = malloc((size_t)(own.width * own.height) * (size_t)own.channels + 1);
    if (!pixels)
        return error_set(error, "%s: no memory for its pixels", path);
    bool ok = find_reader(path, bytes, size, error)(path, bytes, size, &own, pixels, error);
    if (ok)
        split_channels(pixels, &own, out);
    free(pixels);
    return ok;
}
