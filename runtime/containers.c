/* The containers of stb_ds.h, which every folder uses. They have no way to report that memory has ended and would go on
 * with NULL: here the process ends instead, as everywhere else where no caller could go on. */
#include <stdio.h>
#include <stdlib.h>

static void *grow(void *pointer, size_t size)
{
    void *grown = realloc(pointer, size);
    if (grown || !size)
        return grown;
    fputs("castor: out of memory\n", stderr);
    exit(3); /* as for other resources of the machine that are missing */
}

#define STBDS_REALLOC(context, pointer, size) grow(pointer, size)
#define STBDS_FREE(context, pointer) free(pointer)
#define STB_DS_IMPLEMENTATION
#include <stb/stb_ds.h>
