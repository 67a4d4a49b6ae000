/* mkdir decides who gets a number, so that runs begun at the same time never share a folder. */
#include "runtime/run_folder.h"
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUNS_MAX = 1000000 };

static char *make_named(const char *out, struct error *error)
{
    char *path = file_text("%s", out);
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/';)
        path[--length] = '\0';
    char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        *slash = '\0';
        if (!file_make_folders(path)) {
            error_set_system(error, path, "cannot make the folder");
            free(path);
            return NULL;
        }
        *slash = '/';
    }
    if (mkdir(path, 0777) == 0) {
        file_sync_name(path);
        return path;
    }
    if (errno == EEXIST) {
        error_set(error, "%s: exists already, and a run is never overwritten", out);
        error_hint(error, "give --out another name, or leave it out");
    } else {
        error_set_system(error, out, "cannot make the run folder");
    }
    free(path);
    return NULL;
}

char *run_folder_make(const char *name, const char *out, struct error *error)
{
    if (out)
        return make_named(out, error);
    if (!file_make_folders("runs")) {
        error_set_system(error, "runs", "cannot make the folder");
        return NULL;
    }
    for (int i = 1; i < RUNS_MAX; i++) {
        char *path = file_text("runs/%s.%d", name, i);
        if (mkdir(path, 0777) == 0) {
            file_sync_name(path);
            return path;
        }
        if (errno != EEXIST) {
            error_set_system(error, path, "cannot make the run folder");
            free(path);
            return NULL;
        }
        free(path);
    }
    error_set(error, "runs/%s.*: too many runs", name);
    return NULL;
}

bool run_folder_lock(const char *run, int *lock, struct error *error)
{
    char *path = file_text("%s/log.jsonl", run);
    *lock = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    if (*lock < 0 || flock(*lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    bool taken = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    if (!taken)
        return true;
    error_set(error, "%s: another process trains in this run", run);
    error_hint(error, "wait until it has ended, or interrupt it");
    return false;
}
