/* Shared libraries found when the program runs, so that the same binary starts where they are not. */
#ifndef CASTOR_RUNTIME_CUDA_LIBRARY_H
#define CASTOR_RUNTIME_CUDA_LIBRARY_H

#include "runtime/error.h"

#include <stddef.h>

struct library_symbol {
    const char *name;
    void *function; /* address of the function pointer to fill */
};

/* The first of these libraries that loads, looked for where the loader looks. NULL with an error set, which says what
 * the library is (`what`) and why it did not load. */
void *library_open(const char *const *names, size_t count, const char *what, struct error *error);

/* A library of the CUDA Toolkit. */
struct library_wish {
    const char *stem;   /* "nvrtc" of libnvrtc.so.13 */
    const char *what;   /* for messages */
    const char *beside; /* pattern of what it opens by bare names and has in its own folder; NULL: nothing */
    int driver;         /* which CUDA the driver is for, 12040 for 12.4: later majors will not do; 0: all do */
};

/* The newest that will do in the first place that has one: $CUDA_HOME, where the loader looks, /usr/local/cuda, the
 * toolkit that the build found. NULL with an error set, which names both versions where the library is too new. */
void *library_open_toolkit(const struct library_wish *wish, struct error *error);
void library_close(void *library);

/* Fills all pointers; false with an error that names the first symbol that is missing. */
bool library_symbols(void *library, const char *what, const struct library_symbol *symbols, size_t count,
                     struct error *error);

/* The toolkit's folder of headers that holds this one, malloced; NULL where there is none. */
char *library_include_folder(const char *header);

#endif
