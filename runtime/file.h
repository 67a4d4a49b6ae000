/* Files that appear whole or not at all, and folders. */
#ifndef CASTOR_RUNTIME_FILE_H
#define CASTOR_RUNTIME_FILE_H

#include "runtime/error.h"

#include <stddef.h>

/* A file being written under a temporary name in the folder of its own; a device or a pipe is written in place, and of
 * a symbolic link what it stands for. */
struct file_writer {
    FILE *stream; /* write here; errors are seen at the commit */
    char *path, *temporary;
};

bool file_begin(struct file_writer *writer, const char *path, struct error *error);
/* Flushes, syncs, renames to the wanted name and syncs the folder. On failure the temporary file is removed and what
 * stood under the wanted name is as it was. */
bool file_commit(struct file_writer *writer, struct error *error);
void file_abandon(struct file_writer *writer);
/* Whether file_begin would succeed now, for what is written only after long work. */
bool file_try(const char *path, struct error *error);

/* Of a symbolic link the name of what it stands for, to write that and leave the link; else the name itself; malloced.
 */
char *file_resolve(const char *path);

/* The three together for bytes in memory. */
bool file_write(const char *path, const void *bytes, size_t size, struct error *error);
/* A malloced copy of the whole file with a NUL behind it; NULL with an error set on failure. */
char *file_read(const char *path, size_t *size, struct error *error);

/* A file without a name in the folder TMPDIR, or /tmp; NULL with an error set. */
FILE *file_temporary(struct error *error);

/* First of all in a program: where standard input, output or error is closed, its number goes to something that can
 * neither be read nor written, so that no file which is opened later gets the messages. */
void file_hold_standard(void);

/* Syncs the folder that holds the name. */
void file_sync_name(const char *path);

/* Makes the folder and those above it; true when it is there afterwards, else errno tells why not. */
bool file_make_folders(const char *path);
/* printf into malloced memory; never NULL (out of memory ends the process). */
char *file_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
