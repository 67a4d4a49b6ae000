/* JPEG by libjpeg, strictly: what the library only warns of (a truncated or damaged scan) is an error. */
#include "runtime/data/image.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

/* What libjpeg's callbacks see; the library's own part comes first. */
struct trouble {
    struct jpeg_error_mgr manager;
    jmp_buf leave;
    const char *path;
    struct error *error;
};

static void fail(j_common_ptr common)
{
    struct trouble *trouble = (struct trouble *)common->err;
    char message[JMSG_LENGTH_MAX];
    common->err->format_message(common, message);
    error_set(trouble->error, "%s: damaged JPEG file: %s", trouble->path, message);
    longjmp(trouble->leave, 1);
}

static void note(j_common_ptr common, int level)
{
    if (level < 0)
        fail(common);
}

static bool read_header(struct jpeg_decompress_struct *jpeg, const struct trouble *trouble, struct image *image)
{
    jpeg_read_header(jpeg, TRUE);
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK)
        return error_set(trouble->error, "%s: has four colours for print; gray and RGB images are read", trouble->path);
    image->width = jpeg->image_width;
    image->height = jpeg->image_height;
    image->channels = jpeg->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    return true;
}

static void read_pixels(struct jpeg_decompress_struct *jpeg, int channels, unsigned char *pixels)
{
    jpeg->out_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_start_decompress(jpeg);
    size_t row = (size_t)jpeg->output_width * (size_t)channels;
    while (jpeg->output_scanline < jpeg->output_height) {
        unsigned char *at = pixels + jpeg->output_scanline * row;
        jpeg_read_scanlines(jpeg, &at, 1);
    }
    jpeg_finish_decompress(jpeg);
}

/* longjmp comes back here. */
static bool decode(struct jpeg_decompress_struct *jpeg, struct trouble *trouble, const void *bytes, size_t size,
                   struct image *image, unsigned char *pixels)
{
    const int channels = image->channels;
    if (setjmp(trouble->leave))
        return false;
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, bytes, size);
    if (!read_header(jpeg, trouble, image))
        return false;
    if (!pixels)
        return true;
    image->channels = channels;
    read_pixels(jpeg, channels, pixels);
    return true;
}

bool image_read_jpeg(const char *path, const void *bytes, size_t size, struct image *image, unsigned char *pixels,
                     struct error *error)
{
    struct trouble trouble = {.path = path, .error = error};
    struct jpeg_decompress_struct jpeg = {.err = jpeg_std_error(&trouble.manager)};
    trouble.manager.error_exit = fail;
    trouble.manager.emit_message = note;
    bool ok = decode(&jpeg, &trouble, bytes, size, image, pixels);
    jpeg_destroy_decompress(&jpeg);
    return ok;
}
