/* How the toolkit's libraries are found: $CUDA_HOME first, names with versions first, none newer than the driver.
 * Copies of a library that is here anyway play them. */
#include "check.h"

#if CASTOR_CUDA

#include "runtime/cuda/library.h"
#include "runtime/file.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static char home[] = "/tmp/castor-test-XXXXXX";

static void run(char *command)
{
    CHECK(system(command) == 0);
    free(command);
}

static void put(const char *name)
{
    Dl_info info;
    const char *(*symbol)(void) = zlibVersion;
    void *address;
    memcpy(&address, &symbol, sizeof address);
    CHECK(dladdr(address, &info));
    run(file_text("cp -L '%s' %s/lib/%s", info.dli_fname, home, name));
}

/* The file that was opened, without its folder; "" where none was. */
static const char *opened(int driver, const char *beside, struct error *error)
{
    static char name[256];
    const struct library_wish wish = {.stem = "castorprobe", .what = "the probe", .beside = beside, .driver = driver};
    struct link_map *map = NULL;
    *error = (struct error){0};
    void *library = library_open_toolkit(&wish, error);
    name[0] = '\0';
    if (library && dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && strstr(map->l_name, home))
        snprintf(name, sizeof name, "%s", strrchr(map->l_name, '/') + 1);
    library_close(library);
    return name;
}

static bool is_loaded(const char *name)
{
    char *path = file_text("%s/lib/%s", home, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (library)
        dlclose(library);
    free(path);
    return library;
}

int main(void)
{
    struct error error;
    CHECK(mkdtemp(home));
    setenv("CUDA_HOME", home, 1);
    run(file_text("mkdir %s/lib", home));
    CHECK_TEXT(opened(0, NULL, &error), "");
    CHECK(strstr(error.text, "the probe is not on this machine") && strstr(error.hint, "setup --cuda"));
    put("libcastorprobe.so.13");
    CHECK_TEXT(opened(0, NULL, &error), "libcastorprobe.so.13");
    CHECK_TEXT(opened(13010, NULL, &error), "libcastorprobe.so.13");
    CHECK_TEXT(opened(14000, NULL, &error), "libcastorprobe.so.13");
    CHECK_TEXT(opened(12040, NULL, &error), "");
    CHECK(strstr(error.text, "CUDA 13") && strstr(error.text, "CUDA 12.4"));
    /* A name without a version tells by the file behind it what it is. */
    run(file_text("ln -s libcastorprobe.so.13 %s/lib/libcastorprobe.so", home));
    CHECK_TEXT(opened(12040, NULL, &error), "");
    put("libcastorprobe.so.12");
    CHECK_TEXT(opened(12040, NULL, &error), "libcastorprobe.so.12");
    CHECK_TEXT(opened(13000, NULL, &error), "libcastorprobe.so.13");
    CHECK_TEXT(opened(0, NULL, &error), "libcastorprobe.so.13");
    /* What it opens by a bare name is there already. */
    put("libcastorprobe-inner.so.13.0");
    CHECK(!is_loaded("libcastorprobe-inner.so.13.0"));
    CHECK_TEXT(opened(0, "libcastorprobe-inner.so*", &error), "libcastorprobe.so.13");
    CHECK(is_loaded("libcastorprobe-inner.so.13.0"));
    run(file_text("rm -r %s", home));
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
