/* Shared libraries found when the program runs, so that the same binary starts where they are not. */
#ifndef CASTOR_RUNTIME_CUDA_LIBRARY_H
#define CASTOR_RUNTIME_CUDA_LIBRARY_H

#include "runtime/error.h"

#include <stddef.h>

struct library_symbol {
    const char *name;
    void *function; /* address of the function pointer to fill */
};

/* The first of these libraries that loads, looked for where the loader looks and then in the toolkit's folders
 * ($CUDA_HOME, /usr/local/cuda, and those that the build found). NULL with an error set, which says what the library is
 * (`what`) and why it did not load. */
void *library_open(const char *const *names, size_t count, const char *what, struct error *error);
void library_close(void *library);

/* Fills all pointers; false with an error that names the first symbol that is missing. */
bool library_symbols(void *library, const char *what, const struct library_symbol *symbols, size_t count,
                     struct error *error);

/* The toolkit's folder of headers that holds this one, malloced; NULL where there is none. */
char *library_include_folder(const char *header);

#endif
