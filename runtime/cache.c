/* Cache entries are files with the xxhash of their bytes behind them. A shared object may have bytes behind its end,
 * so the loader takes them as they are. */
#include "runtime/cache.h"
#include "runtime/file.h"

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* The user's cache folder by the XDG rules; NULL where there is no home. */
static char *default_folder(void)
{
    const char *base = getenv("XDG_CACHE_HOME");
    if (base && base[0] == '/')
        return file_text("%s/castor", base);
    const char *home = getenv("HOME");
    return home && home[0] ? file_text("%s/.cache/castor", home) : NULL;
}

static char *make_scratch(const char *folder)
{
    char *path = file_text("%s/build-XXXXXX", folder);
    if (mkdtemp(path))
        return path;
    free(path);
    return NULL;
}

bool cache_open(struct cache *cache, const char *wanted, struct error *error)
{
    bool off = wanted && strcmp(wanted, "off") == 0;
    *cache = (struct cache){.folder = off ? NULL : wanted ? file_text("%s", wanted) : default_folder()};
    if (cache->folder) {
        if (file_make_folders(cache->folder))
            cache->scratch = make_scratch(cache->folder);
        if (cache->scratch)
            return true;
        fprintf(stderr, "castor: warning: the cache folder %s cannot be written; compiling without it\n",
                cache->folder);
        free(cache->folder);
        cache->folder = NULL;
    }
    const char *temporary = getenv("TMPDIR");
    cache->scratch = make_scratch(temporary && temporary[0] ? temporary : "/tmp");
    return cache->scratch ||
           error_set_system(error, temporary && temporary[0] ? temporary : "/tmp", "cannot make a temporary folder");
}

void cache_close(struct cache *cache)
{
    DIR *folder = cache->scratch ? opendir(cache->scratch) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    if (cache->scratch)
        rmdir(cache->scratch);
    free(cache->scratch);
    free(cache->folder);
    *cache = (struct cache){0};
}

char *cache_path(const struct cache *cache, const char *name, const char *suffix)
{
    return file_text("%s/%s.%s", cache->folder ? cache->folder : cache->scratch, name, suffix);
}

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
