/* PNG by its specification and zlib, without libpng; JPEG by libjpeg's encoder. */
#include "tests/image_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <jpeglib.h>

struct out {
    unsigned char *bytes;
    size_t size;
};

static void put(struct out *out, const void *bytes, size_t size)
{
    out->bytes = realloc(out->bytes, out->size + size + 1);
    if (!out->bytes)
        abort();
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

static void put_u32(struct out *out, unsigned long value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};
    put(out, bytes, 4);
}

static void put_chunk(struct out *out, const char *name, const unsigned char *data, size_t size)
{
    put_u32(out, size);
    size_t begin = out->size;
    put(out, name, 4);
    put(out, data, size);
    put_u32(out, crc32(0, out->bytes + begin, (uInt)(size + 4)));
}

static void put_values(struct out *out, const struct png_case *png)
{
    size_t size = (png->row_bytes + 1) * png->height;
    uLongf packed_size = compressBound(size);
    unsigned char *rows = malloc(size), *packed = malloc(packed_size);
    if (!rows || !packed)
        abort();
    for (size_t i = 0; i < png->height; i++) {
        rows[i * (png->row_bytes + 1)] = 0; /* no filter */
        memcpy(rows + i * (png->row_bytes + 1) + 1, png->rows + i * png->row_bytes, png->row_bytes);
    }
    compress(packed, &packed_size, rows, size);
    put_chunk(out, "IDAT", packed, packed_size);
    free(rows);
    free(packed);
}

unsigned char *png_file(const struct png_case *png, size_t *size)
{
    struct out out = {0}, head = {0};
    put(&out, "\x89PNG\r\n\x1a\n", 8);
    put_u32(&head, png->width);
    put_u32(&head, png->height);
    put(&head, (unsigned char[]){(unsigned char)png->depth, (unsigned char)png->type, 0, 0, 0}, 5);
    put_chunk(&out, "IHDR", head.bytes, head.size);
    if (png->chunk)
        put_chunk(&out, png->chunk, png->chunk_data, png->chunk_bytes);
    put_values(&out, png);
    put_chunk(&out, "IEND", (const unsigned char *)"", 0);
    free(head.bytes);
    *size = out.size;
    return out.bytes;
}

unsigned char *jpeg_file(unsigned width, unsigned height, int channels, const unsigned char *colour, size_t *size)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr manager;
    unsigned char *bytes = NULL, *row = malloc((size_t)width * 4);
    unsigned long length = 0;
    if (!row)
        abort();
    for (size_t i = 0; i < (size_t)width * (size_t)channels; i++)
        row[i] = colour[i % (size_t)channels];
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &length);
    jpeg.image_width = width;
    jpeg.image_height = height;
    jpeg.input_components = channels;
    jpeg.in_color_space = channels == 4 ? JCS_CMYK : channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < height)
        jpeg_write_scanlines(&jpeg, &row, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    *size = length;
    return bytes;
}
