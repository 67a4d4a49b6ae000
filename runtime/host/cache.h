/* The folder of compiled kernels. */
#ifndef CASTOR_RUNTIME_HOST_CACHE_H
#define CASTOR_RUNTIME_HOST_CACHE_H

#include "runtime/error.h"

#include <stddef.h>

struct cache {
    char *folder;  /* NULL when nothing is kept */
    char *scratch; /* a folder of this process, removed by cache_close; in `folder` if that is there */
};

/* Opens the wanted folder (see struct host_settings); when it cannot be written, says so on stderr once and goes on
 * without keeping anything. */
bool cache_open(struct cache *cache, const char *wanted, struct error *error);
void cache_close(struct cache *cache);

/* The path under which an entry of this name is kept, malloced; in the scratch folder when nothing is kept. */
char *cache_path(const struct cache *cache, const char *name);
/* Whether the file is there and whole. */
bool cache_holds(const char *path);
/* Appends the checksum to the scratch file and renames it to `path`. */
bool cache_keep(const char *scratch_path, const char *path, struct error *error);

#endif
