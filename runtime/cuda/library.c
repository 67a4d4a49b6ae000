/* Finding and opening the CUDA libraries. */
#include "runtime/cuda/library.h"
#include "runtime/file.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* They stay loaded when they are closed: what they keep in memory would be lost otherwise. */
enum { OPEN_FLAGS = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

/* The folders of toolkits, the likeliest first; NULL for what is not there. */
enum { TOOLKITS = 3 };

struct toolkits {
    const char *folders[TOOLKITS];
};

static struct toolkits toolkits(void)
{
    return (struct toolkits){{getenv("CUDA_HOME"), "/usr/local/cuda", CASTOR_CUDA_HOME}};
}

/* Opens FOLDER/lib64/NAME or FOLDER/lib/NAME. */
static void *open_in_toolkit(const char *folder, const char *name)
{
    static const char *const places[] = {"lib64", "lib"};
    void *library = NULL;
    for (size_t i = 0; folder && folder[0] && !library && i < sizeof places / sizeof *places; i++) {
        char *path = file_text("%s/%s/%s", folder, places[i], name);
        library = dlopen(path, OPEN_FLAGS);
        free(path);
    }
    return library;
}

void *library_open(const char *const *names, size_t count, const char *what, struct error *error)
{
    char reason[256] = "";
    struct toolkits places = toolkits();
    for (size_t i = 0; i < count; i++) {
        void *library = dlopen(names[i], OPEN_FLAGS);
        if (!library && !reason[0])
            snprintf(reason, sizeof reason, "%s", dlerror());
        for (size_t j = 0; !library && j < TOOLKITS; j++)
            library = open_in_toolkit(places.folders[j], names[i]);
        if (library)
            return library;
    }
    error_set(error, "%s is not on this machine (%s)", what, reason);
    return NULL;
}

void library_close(void *library)
{
    if (library)
        dlclose(library);
}

bool library_symbols(void *library, const char *what, const struct library_symbol *symbols, size_t count,
                     struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (!function)
            return error_set(error, "%s is too old: it has no %s", what, symbols[i].name);
        /* POSIX gives functions as object pointers; copying the bytes is the way that ISO C has for it. */
        memcpy(symbols[i].function, &function, sizeof function);
    }
    return true;
}

char *library_include_folder(const char *header)
{
    struct toolkits places = toolkits();
    for (size_t i = 0; i < TOOLKITS; i++) {
        const char *folder = places.folders[i];
        if (!folder || !folder[0])
            continue;
        char *include = file_text("%s/include", folder), *path = file_text("%s/%s", include, header);
        bool there = access(path, R_OK) == 0;
        free(path);
        if (there)
            return include;
        free(include);
    }
    return NULL;
}
