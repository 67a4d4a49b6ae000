/* Durable writing: temporary name in the same folder, fsync, rename, fsync of the folder. */
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *file_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        error_exhausted();
    return text;
}

/* Devices and pipes are written as they are, for a rename would put a file in their place; so are a link in /dev such
 * as stdout, which stands for what is open, and one that stands for nothing yet. */
static bool is_in_place(const char *path)
{
    struct stat status;
    bool link = lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
    if (link && (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0))
        return true;
    if (stat(path, &status) != 0)
        return link;
    return !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

char *file_resolve(const char *path)
{
    struct stat status;
    char *target = lstat(path, &status) == 0 && S_ISLNK(status.st_mode) ? realpath(path, NULL) : NULL;
    return target ? target : file_text("%s", path);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool file_begin(struct file_writer *writer, const char *path, struct error *error)
{
    bool in_place = is_in_place(path);
    *writer = (struct file_writer){.path = in_place ? file_text("%s", path) : file_resolve(path)};
    writer->temporary = in_place ? file_text("%s", path) : file_text("%s.%d.tmp", writer->path, getpid());
    errno = EISDIR;
    writer->stream = is_folder(path) ? NULL : fopen(writer->temporary, "wb");
    if (writer->stream)
        return true;
    error_set_system(error, path, "cannot write");
    free(writer->path);
    free(writer->temporary);
    return false;
}

bool file_try(const char *path, struct error *error)
{
    struct file_writer writer;
    if (is_in_place(path))
        return access(path, W_OK) == 0 || errno == ENOENT || error_set_system(error, path, "cannot write");
    if (!file_begin(&writer, path, error))
        return false;
    file_abandon(&writer);
    return true;
}

void file_abandon(struct file_writer *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    if (strcmp(writer->temporary, writer->path) != 0)
        unlink(writer->temporary);
    free(writer->path);
    free(writer->temporary);
    *writer = (struct file_writer){0};
}

/* The rename is durable only once the folder that holds the name is. Not every file system can sync a folder, and the
 * file is complete by then, so a failure here is no error. */
void file_sync_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? file_text("%.*s", (int)(slash == path ? 1 : slash - path), path) : file_text(".");
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

static bool flush_and_close(struct file_writer *writer)
{
    bool failed = ferror(writer->stream) || fflush(writer->stream) != 0;
    if (!failed && fsync(fileno(writer->stream)) != 0)
        failed = errno != EINVAL; /* what cannot be synced (a pipe, /dev/full) has no sync to fail */
    int kept = errno;
    if (fclose(writer->stream) != 0 && !failed) {
        failed = true;
        kept = errno;
    }
    writer->stream = NULL;
    errno = kept ? kept : EIO;
    return !failed;
}

bool file_commit(struct file_writer *writer, struct error *error)
{
    bool in_place = strcmp(writer->temporary, writer->path) == 0;
    bool ok = flush_and_close(writer) && (in_place || rename(writer->temporary, writer->path) == 0);
    if (!ok) {
        error_set_system(error, writer->path, "cannot write");
        error_hint(error, "what stood there before is unchanged");
        file_abandon(writer);
        return false;
    }
    file_sync_name(writer->path);
    free(writer->path);
    free(writer->temporary);
    *writer = (struct file_writer){0};
    return true;
}

bool file_write(const char *path, const void *bytes, size_t size, struct error *error)
{
    struct file_writer writer;
    if (!file_begin(&writer, path, error))
        return false;
    fwrite(bytes, 1, size, writer.stream);
    return file_commit(&writer, error);
}

char *file_read(const char *path, size_t *size, struct error *error)
{
    FILE *stream = fopen(path, "rb");
    size_t room = 1 << 12, used = 0;
    char *bytes = stream ? malloc(room) : NULL;
    while (bytes) {
        used += fread(bytes + used, 1, room - used - 1, stream);
        if (used < room - 1)
            break;
        char *grown = realloc(bytes, room *= 2);
        if (!grown)
            free(bytes);
        bytes = grown;
    }
    if (!bytes || ferror(stream)) {
        error_set_system(error, path, "cannot read");
        free(bytes);
        bytes = NULL;
    } else {
        bytes[used] = '\0';
        *size = used;
    }
    if (stream)
        fclose(stream);
    return bytes;
}

bool file_make_folders(const char *path)
{
    char *copy = file_text("%s", path);
    int problem = 0; /* of the first that could not be made: those below it fail for want of it */
    for (char *slash = copy + 1; *copy && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST && !problem)
            problem = errno;
        *slash = '/';
    }
    if (mkdir(copy, 0777) != 0 && errno != EEXIST && !problem)
        problem = errno;
    free(copy);
    if (is_folder(path))
        return true;
    errno = problem ? problem : ENOTDIR;
    return false;
}

FILE *file_temporary(struct error *error)
{
    const char *folder = getenv("TMPDIR");
    char *path = file_text("%s/castor-XXXXXX", folder && *folder ? folder : "/tmp");
    int descriptor = mkostemp(path, O_CLOEXEC);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w+b");
    if (!file)
        error_set_system(error, path, "cannot make a temporary file");
    if (descriptor >= 0)
        unlink(path);
    if (descriptor >= 0 && !file)
        close(descriptor);
    free(path);
    return file;
}

void file_hold_standard(void)
{
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
        while (fcntl(i, F_GETFD) < 0)
            if (open("/dev/null", i == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
                return;
}
