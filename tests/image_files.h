/* Image files made by hand, for tests of what reads them. */
#ifndef CASTOR_TESTS_IMAGE_FILES_H
#define CASTOR_TESTS_IMAGE_FILES_H

#include <stddef.h>

/* Colour types of PNG. */
enum { PNG_GRAY = 0, PNG_RGB = 2, PNG_PALETTE = 3, PNG_GRAY_ALPHA = 4, PNG_RGB_ALPHA = 6 };

struct png_case {
    unsigned width, height;
    int depth, type;
    const unsigned char *rows; /* packed as the depth says, without filter bytes */
    size_t row_bytes;
    const char *chunk; /* between header and values: PLTE or tRNS; NULL: none */
    const unsigned char *chunk_data;
    size_t chunk_bytes;
};

/* The file's bytes, malloced. */
unsigned char *png_file(const struct png_case *png, size_t *size);
/* A JPEG file of one colour (gray when channels is 1), malloced. */
unsigned char *jpeg_file(unsigned width, unsigned height, int channels, const unsigned char *colour, size_t *size);

#endif
