/* Checkpoints under faults, with castor's own `train` in this process and every call that reaches the disk in our hands
 * (the linker's --wrap): interruptions at every point where they are asked for, the Nth call failing for every N, and a
 * disk that loses power after any call. Whatever happened, a resumed run ends in the bytes of one that nothing befell.
 *
 * The disk: a file's bytes are safe once it was synced, a name once its folder was; what is not safe may be there, or
 * not, or half. `test_resume all` takes every N and every call, without it a part of them. */
#include "check.h"
#include "frontend/cli/command.h"
#include "runtime/error.h"
#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char model[] = "model (x: f32[batch, 4], y: class(3)[batch]) {\n"
                            "    h = x |> linear(8) as fc1 |> batch_norm as bn |> dropout(0.1) |> relu\n"
                            "    logits = h |> linear(3) as fc2\n"
                            "    loss = cross_entropy(logits, y)\n"
                            "    metric accuracy = mean(argmax(logits) == y)\n"
                            "}\n"
                            "train {\n"
                            "    data synthetic(examples = 26, test = 9, x = normal(0, 1), y = classes)\n"
                            "    batch 4\n"
                            "    epochs 2\n"
                            "    accumulate 2\n"
                            "    checkpoint every 1 step\n"
                            "    minimize loss with adam(lr = 1e-2)\n"
                            "    precision autocast(f16)\n"
                            "    scale dynamic(init = 65536)\n"
                            "}\n";

/* ---- what the program does to the disk ---- */

enum operation_kind { CREATE, WRITE, SYNC, RENAME, LINK, UNLINK, SYNC_FOLDER };

struct operation {
    enum operation_kind kind;
    int file;
    char *from, *to;
    char *bytes;
    size_t size;
};

enum { OPERATIONS = 4096, STREAMS = 8, FILES = 512, NAMES = 64 };

static struct {
    bool watching;
    int calls, failing, error; /* call number `failing` (from 1) fails with this error */
    int asked, interrupt_at;   /* the same for questions whether to stop */
    int operation_count, file_count;
    struct operation operations[OPERATIONS];
    struct {
        FILE *stream;
        int descriptor, file;
    } streams[STREAMS];
    int folder; /* descriptor of the folder opened to be synced, -1 */
} disk;

FILE *__real_fopen(const char *path, const char *mode);
int __real_open(const char *path, int flags, ...);
int __real_fileno(FILE *stream);
int __real_fsync(int descriptor);
int __real_rename(const char *from, const char *to);
int __real_link(const char *from, const char *to);
int __real_unlink(const char *path);
bool __real_interrupt_requested(void);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fileno(FILE *stream);
int __wrap_fsync(int descriptor);
int __wrap_rename(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __wrap_unlink(const char *path);
bool __wrap_interrupt_requested(void);

static bool fails(void)
{
    if (++disk.calls != disk.failing)
        return false;
    errno = disk.error;
    return true;
}

static struct operation *note(enum operation_kind kind, const char *from, const char *to, int file)
{
    CHECK(disk.operation_count < OPERATIONS);
    struct operation *operation = &disk.operations[disk.operation_count++ % OPERATIONS];
    *operation = (struct operation){kind, file, from ? strdup(from) : NULL, to ? strdup(to) : NULL, NULL, 0};
    return operation;
}

static bool is_watched(const char *path)
{
    return disk.watching && strncmp(path, "run/", 4) == 0;
}

static int stream_of(const FILE *stream)
{
    for (int i = 0; i < STREAMS; i++)
        if (disk.streams[i].stream == stream)
            return i;
    return -1;
}

static ssize_t write_stream(void *cookie, const char *bytes, size_t size)
{
    int number = (int)(intptr_t)cookie;
    if (fails()) {
        if (write(disk.streams[number].descriptor, bytes, size / 2) < 0) /* half of it may be there */
            return 0;
        errno = disk.error;
        return 0;
    }
    struct operation *operation = note(WRITE, NULL, NULL, disk.streams[number].file);
    operation->bytes = malloc(size + 1);
    memcpy(operation->bytes, bytes, size);
    operation->size = size;
    return write(disk.streams[number].descriptor, bytes, size);
}

static int close_stream(void *cookie)
{
    int number = (int)(intptr_t)cookie;
    bool failed = fails();
    disk.streams[number].stream = NULL;
    int result = close(disk.streams[number].descriptor);
    if (failed)
        errno = disk.error;
    return failed ? -1 : result;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    int number = stream_of(NULL);
    if (!is_watched(path) || mode[0] == 'r' || number < 0)
        return __real_fopen(path, mode);
    if (fails())
        return NULL;
    int flags = O_WRONLY | O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC);
    int descriptor = __real_open(path, flags, 0666);
    if (descriptor < 0)
        return NULL;
    disk.streams[number].descriptor = descriptor;
    disk.streams[number].file = disk.file_count++;
    note(CREATE, NULL, path, disk.streams[number].file);
    const cookie_io_functions_t functions = {.write = write_stream, .close = close_stream};
    return disk.streams[number].stream = fopencookie((void *)(intptr_t)number, "w", functions);
}

int __wrap_fileno(FILE *stream)
{
    int number = stream_of(stream);
    return number < 0 ? __real_fileno(stream) : disk.streams[number].descriptor;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    int descriptor = __real_open(path, flags, mode);
    if (disk.watching && (flags & O_DIRECTORY) && strcmp(path, "run") == 0)
        disk.folder = descriptor;
    return descriptor;
}

int __wrap_fsync(int descriptor)
{
    for (int i = 0; disk.watching && i < STREAMS; i++)
        if (disk.streams[i].stream && disk.streams[i].descriptor == descriptor) {
            if (fails())
                return -1;
            note(SYNC, NULL, NULL, disk.streams[i].file);
            return 0;
        }
    if (disk.watching && descriptor == disk.folder) {
        disk.folder = -1;
        if (fails())
            return -1;
        note(SYNC_FOLDER, NULL, NULL, 0);
    }
    return 0; /* no power is lost here */
}

#define NAME_CALL(name, kind)                                                                                          \
    int __wrap_##name(const char *from, const char *to)                                                                \
    {                                                                                                                  \
        if (is_watched(from) && fails())                                                                               \
            return -1;                                                                                                 \
        int result = __real_##name(from, to);                                                                          \
        if (is_watched(from) && result == 0)                                                                           \
            note(kind, from, to, 0);                                                                                   \
        return result;                                                                                                 \
    }
NAME_CALL(rename, RENAME)
NAME_CALL(link, LINK)

int __wrap_unlink(const char *path)
{
    if (is_watched(path) && fails())
        return -1;
    int result = __real_unlink(path);
    if (is_watched(path) && result == 0)
        note(UNLINK, path, NULL, 0);
    return result;
}

bool __wrap_interrupt_requested(void)
{
    return __real_interrupt_requested() || (++disk.asked >= disk.interrupt_at && disk.interrupt_at);
}

static void watch(int failing, int error, int interrupt_at)
{
    for (int i = 0; i < disk.operation_count; i++) {
        free(disk.operations[i].from);
        free(disk.operations[i].to);
        free(disk.operations[i].bytes);
    }
    memset(&disk, 0, sizeof disk);
    disk.watching = true;
    disk.failing = failing;
    disk.error = error;
    disk.interrupt_at = interrupt_at;
    disk.folder = -1;
}

/* ---- running castor ---- */

static char cache[] = "/tmp/castor-test-XXXXXX";

/* `castor train m.net …`; its exit code. Messages go to `messages`. */
static int train_with(const char *flag, const char *value)
{
    static const struct command command = {.name = "train",
                                           .least = 1,
                                           .most = 1,
                                           .groups = GROUP_LANGUAGE | GROUP_COMPILE | GROUP_BLOCK | GROUP_WEIGHTS |
                                                     GROUP_TRAIN | GROUP_JSON,
                                           .run = command_train};
    char folder[64];
    snprintf(folder, sizeof folder, "%s", cache);
    char *words[] = {"train", "m.net",   "--quiet", "--device",   "host",        "--threads",
                     "1",     "--cache", folder,    (char *)flag, (char *)value, NULL};
    struct invocation invocation;
    fflush(stderr);
    int kept = dup(2), messages = __real_open("messages", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(messages, 2);
    int code = invocation_parse(&invocation, &command, 11, words);
    if (code < 0)
        code = command_train(&invocation);
    invocation_free(&invocation);
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    close(messages);
    return code;
}

static void clear(void)
{
    CHECK(system("rm -rf run") == 0);
}

static char *read_file(const char *path, size_t *size)
{
    struct error error = {0};
    *size = 0;
    return file_read(path, size, &error);
}

static bool equal_files(const char *a, const char *b)
{
    size_t sizes[2];
    char *bytes[2] = {read_file(a, &sizes[0]), read_file(b, &sizes[1])};
    bool equal = bytes[0] && bytes[1] && sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return equal;
}

/* The log without what the clock says. */
static char *log_text(const char *path)
{
    size_t size;
    char *text = read_file(path, &size);
    for (char *at = text; at && (at = strstr(at, "\"examples_per_s\":")); at++)
        memset(at, ' ', strcspn(at, "}"));
    char *out = text;
    for (char *at = text; at && *at; at++)
        if (*at != ' ')
            *out++ = *at;
    if (out)
        *out = 0;
    return text;
}

/* Goes on with the run, which must end as the one that nothing befell. */
static void resume(const char *what, int number)
{
    watch(0, 0, 0);
    int code = train_with("--resume", "run");
    char *logs[2] = {log_text("whole/log.jsonl"), log_text("run/log.jsonl")};
    bool ends = code == 0 && equal_files("whole/last.safetensors", "run/last.safetensors") &&
                equal_files("whole/best.safetensors", "run/best.safetensors") && logs[0] && logs[1] &&
                strcmp(logs[0], logs[1]) == 0;
    CHECK(ends);
    if (!ends) {
        size_t size;
        char *messages = read_file("messages", &size);
        printf("%s %d: exit %d, weights %d, best %d\n%s%s---\n%s---\n", what, number, code,
               equal_files("whole/last.safetensors", "run/last.safetensors"),
               equal_files("whole/best.safetensors", "run/best.safetensors"), messages, logs[0], logs[1]);
        free(messages);
    }
    free(logs[0]);
    free(logs[1]);
}

/* ---- tests ---- */

/* Stops at every point where the loop asks, between the batches of one step, too, and stops once more on the way. */
static void check_interruptions(void)
{
    int stopped = 0;
    for (int at = 1;; at++) {
        clear();
        watch(0, 0, at);
        int code = train_with("--out", "run");
        if (code == 0)
            break;
        CHECK(code == ERROR_INTERRUPTED);
        stopped++;
        watch(0, 0, 3);
        code = train_with("--resume", "run");
        CHECK(code == ERROR_INTERRUPTED || code == 0);
        resume("interrupted", at);
    }
    CHECK(stopped >= 8); /* 6 steps of two batches */
}

static bool has_checkpoint(void)
{
    return access("run/last.safetensors", F_OK) == 0 || system("ls run/step-* >ls 2>&1") == 0;
}

static void check_failing_calls(int error, int stride)
{
    for (int n = 1;; n += n % stride ? 1 : stride) {
        clear();
        watch(n, error, 0);
        int code = train_with("--out", "run");
        if (disk.calls < n)
            break;
        CHECK(code == 0 || code == ERROR_RUNTIME);
        if (has_checkpoint())
            resume(strerror(error), n);
        else
            CHECK(code == ERROR_RUNTIME);
        CHECK(system("ls run/*.tmp >ls 2>&1") != 0);
    }
}

/* ---- power lost ---- */

struct name {
    char *path;
    int file;
};

static void set_name(struct name *names, const char *path, int file)
{
    int slot = -1;
    for (int i = 0; i < NAMES; i++)
        if (names[i].path && strcmp(names[i].path, path) == 0)
            slot = i;
    for (int i = 0; i < NAMES && slot < 0; i++)
        if (!names[i].path)
            slot = i;
    CHECK(slot >= 0);
    if (slot >= 0)
        names[slot] = (struct name){file < 0 ? NULL : (char *)path, file};
}

static int file_of(const struct name *names, const char *path)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i].path && strcmp(names[i].path, path) == 0)
            return names[i].file;
    return -1;
}

static void apply(struct name *names, const struct operation *operation)
{
    int file = operation->from ? file_of(names, operation->from) : operation->file;
    if (operation->kind == CREATE)
        set_name(names, operation->to, file);
    if ((operation->kind == RENAME || operation->kind == LINK) && file >= 0)
        set_name(names, operation->to, file);
    if (operation->kind == UNLINK || (operation->kind == RENAME && file >= 0))
        set_name(names, operation->from, -1);
}

enum loss { LOST, HALF, KEPT, LOSSES };

/* What the disk holds of a file after the first `count` operations. */
static void write_remains(const struct name *name, int count, enum loss loss)
{
    size_t safe = 0, size = 0;
    FILE *out = __real_fopen(name->path, "wb");
    CHECK(out);
    for (int i = 0; i < count; i++) {
        const struct operation *operation = &disk.operations[i];
        if (operation->file == name->file && operation->kind == WRITE)
            size += operation->size;
        if (operation->file == name->file && operation->kind == SYNC)
            safe = size;
    }
    size_t kept = loss == LOST ? safe : loss == HALF ? safe + (size - safe) / 2 : size, at = 0;
    for (int i = 0; i < count && out; i++) {
        const struct operation *operation = &disk.operations[i];
        if (operation->file != name->file || operation->kind != WRITE)
            continue;
        for (size_t k = 0; k < operation->size && at < size; k++, at++)
            if (at < kept || loss == HALF) /* the other half has its length, not its bytes */
                fputc(at < kept ? operation->bytes[k] : 0, out);
    }
    if (out)
        fclose(out);
}

/* The folder as it may be when power is lost after `count` operations. */
static void lose_power(int count, enum loss loss, unsigned seed)
{
    struct name names[NAMES] = {{0}};
    int safe = 0;
    for (int i = 0; i < count; i++)
        if (disk.operations[i].kind == SYNC_FOLDER)
            safe = i + 1;
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        if (i < safe || loss == KEPT || (loss == HALF && seed >> 31))
            apply(names, &disk.operations[i]);
    }
    CHECK(mkdir("run", 0777) == 0);
    disk.watching = false;
    for (int i = 0; i < NAMES; i++)
        if (names[i].path)
            write_remains(&names[i], count, loss);
}

/* Whether a checkpoint was safe: a folder was synced after last.safetensors got its name. */
static bool was_safe(int count)
{
    bool named = false, safe = false;
    for (int i = 0; i < count; i++) {
        const struct operation *operation = &disk.operations[i];
        named |= operation->kind == RENAME && strcmp(operation->to, "run/last.safetensors") == 0;
        safe |= named && operation->kind == SYNC_FOLDER;
    }
    return safe;
}

static void check_power(int stride)
{
    static struct operation kept[OPERATIONS];
    clear();
    watch(0, 0, 0);
    CHECK(train_with("--out", "run") == 0);
    int total = disk.operation_count;
    memcpy(kept, disk.operations, sizeof kept);
    disk.operation_count = 0; /* they are `kept`'s now */
    for (int count = 1; count <= total; count += stride)
        for (int loss = 0; loss < LOSSES; loss++) {
            clear();
            watch(0, 0, 0);
            memcpy(disk.operations, kept, sizeof kept);
            disk.operation_count = total;
            lose_power(count, (enum loss)loss, (unsigned)count);
            bool safe = was_safe(count);
            memset(disk.operations, 0, sizeof disk.operations);
            disk.operation_count = 0;
            if (safe) {
                resume("power lost after call", count);
                continue;
            }
            int code = train_with("--resume", "run");
            CHECK(code == 0 || code == ERROR_RUNTIME);
        }
    for (int i = 0; i < total; i++) {
        free(kept[i].from);
        free(kept[i].to);
        free(kept[i].bytes);
    }
}

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "all") == 0;
    char folder[] = "/tmp/castor-test-XXXXXX";
    struct error error = {0};
    CHECK(mkdtemp(cache) && mkdtemp(folder) && chdir(folder) == 0);
    CHECK(file_write("m.net", model, sizeof model - 1, &error));
    watch(0, 0, 0);
    CHECK(train_with("--out", "whole") == 0);
    check_interruptions();
    check_failing_calls(ENOSPC, all ? 1 : 7);
    check_failing_calls(EIO, all ? 1 : 11);
    check_power(all ? 1 : 9);
    char *command = file_text("rm -r %s %s", folder, cache);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
