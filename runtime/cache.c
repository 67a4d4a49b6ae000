/* Cache entries are files with the xxhash of their bytes behind them. A shared object may have bytes behind its end,
 * so the loader takes them as they are. */
#include "runtime/cache.h"
#include "runtime/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define SCRATCH_PREFIX "build-"

enum { SCRATCH_NEW = 3600 }; /* seconds */

/* The user's cache folder by the XDG rules; NULL where there is no home. */
static char *default_folder(void)
{
    const char *base = getenv("XDG_CACHE_HOME");
    if (base && base[0] == '/')
        return file_text("%s/castor", base);
    const char *home = getenv("HOME");
    return home && home[0] ? file_text("%s/.cache/castor", home) : NULL;
}

/* ---- scratch folders ---- */

static char *make_scratch(const char *folder)
{
    char *path = file_text("%s/" SCRATCH_PREFIX "XXXXXX", folder);
    if (mkdtemp(path))
        return path;
    free(path);
    return NULL;
}

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    rmdir(path);
}

/* The folder's lock, -1 when another process has it, or there is none on this file system. */
static int take_lock(const char *path)
{
    int lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    close(lock);
    return -1;
}

/* A process takes its folder's lock just after it has made it: of a new one nothing is known. */
static bool is_new(int folder)
{
    struct stat status;
    return fstat(folder, &status) != 0 || time(NULL) - status.st_mtime < SCRATCH_NEW;
}

/* Removes the scratch folders of processes that live no more. */
static void sweep(const char *path)
{
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) != 0)
            continue;
        char *scratch = file_text("%s/%s", path, entry->d_name);
        int lock = take_lock(scratch);
        if (lock >= 0 && !is_new(lock))
            remove_folder(scratch);
        if (lock >= 0)
            close(lock);
        free(scratch);
    }
    if (folder)
        closedir(folder);
}

/* ---- the folder ---- */

/* Says once that nothing is kept. */
static void tell(struct cache *cache, const char *then)
{
    if (!cache->told)
        fprintf(stderr, "castor: warning: the cache folder %s cannot be written; %s\n", cache->folder, then);
    cache->told = true;
}

static void open_folder(struct cache *cache)
{
    if (file_make_folders(cache->folder)) {
        sweep(cache->folder);
        cache->scratch = make_scratch(cache->folder);
    }
    if (cache->scratch)
        return;
    cache->closed = access(cache->folder, R_OK | X_OK) == 0;
    if (cache->closed)
        return;
    tell(cache, "compiling without it");
    free(cache->folder);
    cache->folder = NULL;
}

bool cache_open(struct cache *cache, const char *wanted, struct error *error)
{
    bool off = wanted && strcmp(wanted, "off") == 0;
    const char *temporary = getenv("TMPDIR");
    temporary = temporary && temporary[0] ? temporary : "/tmp";
    *cache = (struct cache){.folder = off ? NULL : wanted ? file_text("%s", wanted) : default_folder(), .lock = -1};
    if (cache->folder)
        open_folder(cache);
    if (!cache->scratch)
        cache->scratch = make_scratch(temporary);
    if (!cache->scratch)
        return error_set_system(error, temporary, "cannot make a temporary folder");
    cache->lock = take_lock(cache->scratch);
    return true;
}

void cache_close(struct cache *cache)
{
    if (cache->scratch) {
        remove_folder(cache->scratch);
        if (cache->lock >= 0)
            close(cache->lock);
    }
    free(cache->scratch);
    free(cache->folder);
    *cache = (struct cache){0};
}

char *cache_path(struct cache *cache, const char *name, const char *suffix)
{
    char *kept = cache->folder ? file_text("%s/%s.%s", cache->folder, name, suffix) : NULL;
    if (kept && (!cache->closed || cache_holds(kept)))
        return kept;
    free(kept);
    if (cache->closed)
        tell(cache, "what it lacks is compiled without it");
    return file_text("%s/%s.%s", cache->scratch, name, suffix);
}

/* ---- entries ---- */

char *cache_read(const char *path, size_t *size)
{
    if (access(path, R_OK) != 0)
        return NULL;
    struct error ignored = {0};
    uint64_t sum = 0;
    char *bytes = file_read(path, size, &ignored);
    bool whole = bytes && *size > sizeof sum;
    if (whole) {
        *size -= sizeof sum;
        memcpy(&sum, bytes + *size, sizeof sum);
        whole = sum == XXH64(bytes, *size, 0);
        bytes[*size] = '\0';
    }
    if (whole)
        return bytes;
    free(bytes);
    return NULL;
}

bool cache_holds(const char *path)
{
    size_t size = 0;
    char *bytes = cache_read(path, &size);
    bool whole = bytes;
    free(bytes);
    return whole;
}

bool cache_keep(const char *scratch_path, const char *path, struct error *error)
{
    size_t size = 0;
    char *bytes = file_read(scratch_path, &size, error);
    if (!bytes)
        return false;
    uint64_t sum = XXH64(bytes, size, 0);
    free(bytes);
    FILE *stream = fopen(scratch_path, "ab");
    bool ok = stream && fwrite(&sum, sizeof sum, 1, stream) == 1;
    if (stream)
        ok = fclose(stream) == 0 && ok;
    return (ok && rename(scratch_path, path) == 0) || error_set_system(error, path, "cannot write");
}
