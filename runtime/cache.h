/* The folder of compiled kernels. */
#ifndef CASTOR_RUNTIME_CACHE_H
#define CASTOR_RUNTIME_CACHE_H

#include "runtime/error.h"

#include <stddef.h>

struct cache {
    char *folder;  /* NULL when nothing is kept */
    bool closed;   /* what is there may be read, but nothing can be written */
    bool told;     /* … which was said */
    char *scratch; /* a folder of this process, removed by cache_close; in `folder` if that can be written */
    int lock;      /* that tells others that this process lives; -1: the file system knows none */
};

/* Opens the wanted folder ("off": none; NULL: $XDG_CACHE_HOME/castor, ~/.cache/castor), and removes the scratch folders
 * of processes that were killed. When it cannot be written, what it has is used all the same; what it lacks is not
 * kept, which is said on stderr once. */
bool cache_open(struct cache *cache, const char *wanted, struct error *error);
void cache_close(struct cache *cache);

/* The path under which an entry of this name is kept, malloced; in the scratch folder when it can't be kept. The suffix
 * says what it holds, "so". */
char *cache_path(struct cache *cache, const char *name, const char *suffix);
/* Whether the file is there and whole. */
bool cache_holds(const char *path);
/* Its bytes without the checksum, malloced, with a zero behind them; NULL when it is not there or not whole. */
char *cache_read(const char *path, size_t *size);
/* Appends the checksum to the scratch file and renames it to `path`. */
bool cache_keep(const char *scratch_path, const char *path, struct error *error);

#endif
