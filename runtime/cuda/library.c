/* Finding and opening the CUDA libraries. */
#include "runtime/cuda/library.h"
#include "runtime/file.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* They stay loaded when they are closed: what they keep in memory would be lost otherwise. */
enum { OPEN_FLAGS = RTLD_NOW | RTLD_NODELETE };

/* The major versions of CUDA that are asked for by name where no driver bounds them. */
enum { MAJOR_OLDEST = 12, MAJOR_NEWEST = 15 };

/* The folders of toolkits besides the one that $CUDA_HOME names. */
static const char *const toolkits[] = {"/usr/local/cuda", CASTOR_CUDA_HOME};

enum { TOOLKITS = sizeof toolkits / sizeof *toolkits };

void *library_open(const char *const *names, size_t count, const char *what, struct error *error)
{
    char reason[256] = "";
    for (size_t i = 0; i < count; i++) {
        void *library = dlopen(names[i], OPEN_FLAGS | RTLD_LOCAL);
        if (library)
            return library;
        if (!reason[0])
            snprintf(reason, sizeof reason, "%s", dlerror());
    }
    error_set(error, "%s is not on this machine (%s)", what, reason);
    return NULL;
}

/* ---- a toolkit's libraries ---- */

struct search {
    const char *stem;
    int newest;       /* major version; 0: any */
    char reason[256]; /* why the first that is there did not load, or what the loader missed */
};

/* Where the library's file is; NULL when that is not known. */
static const char *path_of(void *library)
{
    struct link_map *map = NULL;
    return dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map->l_name[0] ? map->l_name : NULL;
}

/* By the name of the file that links lead to: 12 for libnvrtc.so.12.4.127; 0 where the name tells none. */
static int major_of(void *library)
{
    const char *path = path_of(library);
    char *file = path ? realpath(path, NULL) : NULL;
    const char *name = file ? strrchr(file, '/') : NULL, *version = name ? strstr(name, ".so.") : NULL;
    int major = version ? atoi(version + strlen(".so.")) : 0;
    free(file);
    return major;
}

/* NULL with the reason kept where it does not load or is too new. */
static void *open_one(struct search *search, const char *path)
{
    void *library = dlopen(path, OPEN_FLAGS | RTLD_LOCAL);
    if (!library && !search->reason[0])
        snprintf(search->reason, sizeof search->reason, "%s", dlerror());
    if (!library || !search->newest || major_of(library) <= search->newest)
        return library;
    dlclose(library);
    return NULL;
}

/* In a folder, or where the loader looks (NULL): the newest that will do. The name without a version comes last, for it
 * may be of any. */
static void *open_in(struct search *search, const char *folder)
{
    void *library = NULL;
    int newest = search->newest ? search->newest : MAJOR_NEWEST;
    for (int major = newest; !library && major >= MAJOR_OLDEST - 1; major--) {
        char *name =
            major >= MAJOR_OLDEST ? file_text("lib%s.so.%d", search->stem, major) : file_text("lib%s.so", search->stem);
        char *path = folder ? file_text("%s/%s", folder, name) : NULL;
        if (!folder || access(path, F_OK) == 0)
            library = open_one(search, folder ? path : name);
        free(path);
        free(name);
    }
    return library;
}

static void *open_in_toolkit(struct search *search, const char *home)
{
    static const char *const places[] = {"lib64", "lib"};
    void *library = NULL;
    for (size_t i = 0; home && home[0] && !library && i < sizeof places / sizeof *places; i++) {
        char *folder = file_text("%s/%s", home, places[i]);
        library = open_in(search, folder);
        free(folder);
    }
    return library;
}

static void *open_anywhere(struct search *search)
{
    void *library = open_in_toolkit(search, getenv("CUDA_HOME"));
    if (!library)
        library = open_in(search, NULL);
    for (size_t i = 0; i < TOOLKITS && !library; i++)
        library = open_in_toolkit(search, toolkits[i]);
    return library;
}

static void report_missing(const struct library_wish *wish, const char *reason, struct error *error)
{
    struct search search = {.stem = wish->stem};
    void *other = wish->driver ? open_anywhere(&search) : NULL;
    if (!other) {
        error_set(error, "%s is not on this machine (%s)", wish->what, reason);
        error_hint(error, "it comes with the CUDA Toolkit; `./dev setup --cuda` puts it into the build folder");
        return;
    }
    int major = major_of(other), minor = wish->driver % 1000 / 10;
    error_set(error, "%s is here for CUDA %d, but the driver is for CUDA %d.%d", wish->what, major, wish->driver / 1000,
              minor);
    error_hint(error, "a newer driver runs it, or install the libraries of CUDA %d (`./dev setup --cuda` does)",
               wish->driver / 1000);
    library_close(other);
}

/* Opens what lies beside the library under such names, so that the loader has it when the library asks by a bare name.
 */
static void open_beside(void *library, const char *names)
{
    const char *path = path_of(library), *end = path ? strrchr(path, '/') : NULL;
    glob_t found;
    if (!end)
        return;
    char *pattern = file_text("%.*s/%s", (int)(end - path), path, names);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            library_close(dlopen(found.gl_pathv[i], OPEN_FLAGS | RTLD_GLOBAL));
        globfree(&found);
    }
    free(pattern);
}

void *library_open_toolkit(const struct library_wish *wish, struct error *error)
{
    struct search search = {.stem = wish->stem, .newest = wish->driver / 1000};
    void *library = open_anywhere(&search);
    if (!library)
        report_missing(wish, search.reason, error);
    else if (wish->beside)
        open_beside(library, wish->beside);
    return library;
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

/* FOLDER/include where that holds the header; malloced. */
static char *include_of(const char *home, const char *header)
{
    if (!home || !home[0])
        return NULL;
    char *include = file_text("%s/include", home), *path = file_text("%s/%s", include, header);
    bool there = access(path, R_OK) == 0;
    free(path);
    if (there)
        return include;
    free(include);
    return NULL;
}

char *library_include_folder(const char *header)
{
    char *include = include_of(getenv("CUDA_HOME"), header);
    for (size_t i = 0; i < TOOLKITS && !include; i++)
        include = include_of(toolkits[i], header);
    return include;
}
