/* The folder of compiled kernels: what a killed process left is removed, and one that can't be written is read. */
#include "runtime/cache.h"
#include "check.h"
#include "runtime/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static char folder[] = "/tmp/castor-cache-XXXXXX";

static void keep(struct cache *cache, const char *name)
{
    struct error error = {0};
    char *from = file_text("%s/made", cache->scratch), *path = cache_path(cache, name, "so");
    CHECK(file_write(from, "0123456789", 10, &error) && cache_keep(from, path, &error) && cache_holds(path));
    chmod(path, 0644);
    free(from);
    free(path);
}

static bool is_there(const char *name)
{
    char *path = file_text("%s/%s", folder, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void make_old(const char *name, int age)
{
    char *path = file_text("%s/%s", folder, name), *file = file_text("%s/x.c", path);
    struct error error = {0};
    const struct timespec then[] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    CHECK(mkdir(path, 0700) == 0 && file_write(file, "int x;", 6, &error));
    CHECK(utimensat(AT_FDCWD, path, then, 0) == 0);
    free(path);
    free(file);
}

static void check_sweep(void)
{
    struct cache first, second;
    struct error error = {0};
    make_old("build-killed", 10000);
    make_old("build-new", 1);
    make_old("building", 10000);
    CHECK(cache_open(&first, folder, &error) && !is_there("build-killed") && is_there("build-new"));
    CHECK(is_there("building/x.c"));
    keep(&first, "one");
    const struct timespec then[] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    CHECK(utimensat(AT_FDCWD, first.scratch, then, 0) == 0);
    CHECK(cache_open(&second, folder, &error) && access(first.scratch, F_OK) == 0); /* it lives */
    cache_close(&second);
    char *scratch = file_text("%s", first.scratch);
    cache_close(&first);
    CHECK(access(scratch, F_OK) != 0 && is_there("one.so"));
    free(scratch);
}

/* A folder that others filled: what it has is used, what it lacks goes elsewhere. */
static int read_only(void)
{
    struct cache cache;
    struct error error = {0};
    CHECK(getuid() || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
    CHECK(cache_open(&cache, folder, &error) && cache.closed);
    char *kept = cache_path(&cache, "one", "so"), *path = file_text("%s/one.so", folder);
    CHECK_TEXT(kept, path);
    CHECK(cache_holds(kept));
    keep(&cache, "two");
    cache_close(&cache);
    CHECK(!is_there("two.so"));
    free(kept);
    free(path);
    return check_result();
}

int main(void)
{
    int status = 1;
    CHECK(mkdtemp(folder));
    check_sweep();
    chmod(folder, 0555);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(read_only());
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    chmod(folder, 0755);
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
