/* Pictures in files: PNG and JPEG, 8 bits a channel, told apart by their first bytes. */
#ifndef CASTOR_RUNTIME_DATA_IMAGE_H
#define CASTOR_RUNTIME_DATA_IMAGE_H

#include "runtime/error.h"

#include <stddef.h>
#include <stdint.h>

struct image {
    int64_t width, height;
    int channels; /* 1 gray, 3 red, green, blue */
};

/* Reads what the file says of itself, and no value. The sizes are such as so many bytes of file can hold. `path` is for
 * messages. */
bool image_inspect(const char *path, const void *bytes, size_t size, struct image *image, struct error *error);

/* Decodes a file of these sizes into [channels, height, width]; gray values stand in all three channels where they are
 * asked for. */
bool image_decode(const char *path, const void *bytes, size_t size, const struct image *image, unsigned char *out,
                  struct error *error);

/* ---- inside: png.c and jpeg.c ----
 *
 * Both read the header into *image and, where `pixels` is not NULL, all pixels, row by row with channels side by side,
 * as many of them as `image->channels` says on entry. */

bool image_read_png(const char *path, const void *bytes, size_t size, struct image *image, unsigned char *pixels,
                    struct error *error);
bool image_read_jpeg(const char *path, const void *bytes, size_t size, struct image *image, unsigned char *pixels,
                     struct error *error);

#endif
