/* PNG by libpng, strictly: a damaged chunk or anything that libpng warns of while it decodes is an error. */
#include "runtime/data/image.h"

#include <png.h>
#include <string.h>

/* What libpng's callbacks see. Errors leave by png_longjmp, so nothing here owns memory. */
struct decoding {
    const char *path;
    const unsigned char *bytes;
    size_t size, at;
    struct error *error;
};

static void fail(png_structp png, const char *message)
{
    struct decoding *decoding = png_get_error_ptr(png);
    error_set(decoding->error, "%s: damaged PNG file: %s", decoding->path, message);
    png_longjmp(png, 1);
}

static void warn(png_structp png, const char *message)
{
    (void)png;
    (void)message;
}

static void take(png_structp png, png_bytep out, size_t size)
{
    struct decoding *decoding = png_get_io_ptr(png);
    if (size > decoding->size - decoding->at)
        png_error(png, "truncated");
    memcpy(out, decoding->bytes + decoding->at, size);
    decoding->at += size;
}

static bool read_header(png_structp png, png_infop info, const struct decoding *decoding, struct image *image)
{
    png_read_info(png, info);
    int type = png_get_color_type(png, info);
    if (png_get_bit_depth(png, info) > 8)
        return error_set(decoding->error, "%s: has 16 bits a channel; images of 8 are read", decoding->path);
    if (type & PNG_COLOR_MASK_ALPHA || png_get_valid(png, info, PNG_INFO_tRNS)) {
        error_set(decoding->error, "%s: is transparent in places, which gray and RGB values can't say", decoding->path);
        error_hint(decoding->error, "save the images without an alpha channel");
        return false;
    }
    image->width = png_get_image_width(png, info);
    image->height = png_get_image_height(png, info);
    image->channels = type & PNG_COLOR_MASK_COLOR ? 3 : 1;
    return true;
}

static void read_pixels(png_structp png, png_infop info, int channels, unsigned char *pixels)
{
    png_set_expand(png);
    if (channels == 3)
        png_set_gray_to_rgb(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t row = png_get_rowbytes(png, info), rows = png_get_image_height(png, info);
    for (int pass = 0; pass < passes; pass++)
        for (size_t i = 0; i < rows; i++)
            png_read_row(png, pixels + i * row, NULL);
    png_read_end(png, NULL);
}

/* Whether all of the file was read; longjmp comes back here. */
static bool decode(png_structp png, png_infop info, struct decoding *decoding, struct image *image,
                   unsigned char *pixels)
{
    const int channels = image->channels;
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_read_fn(png, decoding, take);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(png, INT32_MAX, INT32_MAX);
    if (!read_header(png, info, decoding, image))
        return false;
    if (!pixels)
        return true;
    image->channels = channels;
    read_pixels(png, info, channels, pixels);
    return true;
}

bool image_read_png(const char *path, const void *bytes, size_t size, struct image *image, unsigned char *pixels,
                    struct error *error)
{
    struct decoding decoding = {path, bytes, size, 0, error};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoding, fail, warn);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool ok = info ? decode(png, info, &decoding, image, pixels) : error_set(error, "out of memory");
    png_destroy_read_struct(&png, &info, NULL);
    return ok;
}
