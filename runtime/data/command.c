/* Data that a process writes to its standard output: safetensors files back to back, each with some examples of every
 * field. The process runs once, when the data are opened; what it writes until it ends, or until as many examples came
 * as the data line asks for, is the data set, which is shuffled, divided and resumed like a file's. What is too large
 * to hold lies in a temporary file without a name. */
#include "runtime/data/dataset.h"
#include "runtime/file.h"
#include "runtime/interrupt.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A field while it grows: its array has the examples so far, in memory until `spill` is there. */
struct gathered {
    size_t room;
    FILE *spill;
};

struct gathering {
    struct source *source;
    struct gathered *fields; /* as many as the source has */
    int64_t examples;
    struct error *error;
};

/* ---- chunks ---- */

static bool begin_fields(struct gathering *gathering, const struct safetensors *chunk)
{
    const char *name = gathering->source->line->path;
    gathering->fields = calloc((size_t)chunk->count + 1, sizeof *gathering->fields);
    if (!gathering->fields || !chunk->count) {
        error_set(gathering->error,
                  gathering->fields ? "%s: wrote a safetensors file without a tensor" : "%s: out of memory", name);
        return false;
    }
    for (int i = 0; i < chunk->count; i++) {
        const struct safetensors_tensor *tensor = &chunk->tensors[i];
        struct data_field *field = source_add(gathering->source, tensor->name, gathering->error);
        if (!field)
            return false;
        struct data_array *array = &field->part[PART_TRAIN];
        *array = (struct data_array){
            .element = tensor->element, .rank = tensor->rank, .file = file_text("%s: %s", name, tensor->name)};
        memcpy(array->dimension, tensor->dimension, sizeof array->dimension);
        array->dimension[0] = 0;
    }
    return true;
}

/* The chunk's tensor for a field, which must have its type and shape and as many examples as the chunk's others. */
static const struct safetensors_tensor *find_tensor(const struct gathering *gathering, const struct safetensors *chunk,
                                                    const struct data_array *array, int64_t examples)
{
    const char *wanted = array->file + strlen(gathering->source->line->path) + 2;
    const struct safetensors_tensor *tensor = safetensors_find(chunk, wanted);
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!tensor) {
        error_set(gathering->error, "%s: a safetensors file has no tensor %s, which the first one had", chunk->path,
                  wanted);
        return NULL;
    }
    bool alike =
        tensor->element == array->element && tensor->rank == array->rank &&
        memcmp(tensor->dimension + 1, array->dimension + 1, sizeof *array->dimension * (size_t)(array->rank - 1)) == 0;
    if (!alike)
        error_set(gathering->error, "%s: examples are %s%s, but those before were %s%s", array->file,
                  program_element_name(tensor->element),
                  data_shape_text(tensor->dimension + 1, tensor->rank ? tensor->rank - 1 : 0, a),
                  program_element_name(array->element), data_shape_text(array->dimension + 1, array->rank - 1, b));
    else if (tensor->dimension[0] != examples)
        error_set(gathering->error, "%s: a safetensors file has %lld examples of %s, but %lld of another field",
                  chunk->path, (long long)tensor->dimension[0], wanted, (long long)examples);
    else
        return tensor;
    return NULL;
}

/* ---- what came so far ---- */

static bool spill(struct gathered *gathered, const void *bytes, size_t size, struct error *error)
{
    return fwrite(bytes, 1, size, gathered->spill) == size ||
           error_set_system(error, "a temporary file", "cannot write");
}

static bool append(struct gathered *gathered, struct data_array *array, const void *bytes, size_t size,
                   struct error *error)
{
    size_t used = (size_t)array->dimension[0] * data_array_row(array);
    if (!size)
        return true;
    if (!gathered->spill && used + size > ARRAY_MEMORY) {
        gathered->spill = file_temporary(error);
        if (!gathered->spill)
            return false;
        if (!spill(gathered, array->memory, used, error))
            return false;
        free(array->memory);
        array->memory = array->bytes = NULL;
    }
    if (gathered->spill)
        return spill(gathered, bytes, size, error);
    if (!array->bytes || used + size > gathered->room) {
        size_t room = 2 * (used + size) + 1;
        void *memory = realloc(array->memory, room);
        if (!memory)
            return error_set(error, "%s: no memory for its %zu bytes", array->file, used + size);
        array->memory = array->bytes = memory;
        gathered->room = room;
    }
    memcpy((char *)array->bytes + used, bytes, size);
    return true;
}

static bool take_chunk(struct gathering *gathering, const struct safetensors *chunk)
{
    int64_t most = gathering->source->line->examples;
    for (int i = 0; i < chunk->count; i++)
        if (!chunk->tensors[i].rank)
            return error_set(gathering->error,
                             "%s: %s is a single number; a first axis that counts examples is expected", chunk->path,
                             chunk->tensors[i].name);
    if (!gathering->fields && !begin_fields(gathering, chunk))
        return false;
    int64_t there = chunk->count ? chunk->tensors[0].dimension[0] : 0, count = there;
    if (most && count > most - gathering->examples)
        count = most - gathering->examples;
    for (int i = 0; i < gathering->source->field_count; i++) {
        struct data_array *array = &gathering->source->fields[i].part[PART_TRAIN];
        const struct safetensors_tensor *tensor = find_tensor(gathering, chunk, array, there);
        if (!tensor || !append(&gathering->fields[i], array, tensor->data, (size_t)count * data_array_row(array),
                               gathering->error))
            return false;
        array->dimension[0] += count;
    }
    gathering->examples += count;
    return chunk->count == gathering->source->field_count ||
           error_set(gathering->error, "%s: a safetensors file has %d tensors, the first one had %d", chunk->path,
                     chunk->count, gathering->source->field_count);
}

/* Spilled fields are read where they lie. */
static bool settle(struct gathered *gathered, struct data_array *array, struct error *error)
{
    char path[64];
    if (!gathered->spill)
        return true;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(gathered->spill));
    struct disk_place place = {.path = path, .stride = data_array_row(array)};
    return fflush(gathered->spill) == 0 ? data_array_on_disk(array, &place, error)
                                        : error_set_system(error, "a temporary file", "cannot write");
}

/* ---- the process ---- */

extern char **environ;

/* The process, and the end of the pipe from which its output is read. */
struct producer {
    pid_t process;
    int descriptor;
    bool ended; /* and its status is here: */
    int status;
};

enum { MILLISECOND = 1000000, DOZE = 10, GRACE = 1000, PIPE_BYTES = 1 << 16 };

/* Waits for output no longer than until an interruption is asked for. */
static ssize_t read_output(void *cookie, char *bytes, size_t size)
{
    const struct producer *producer = cookie;
    struct pollfd from = {.fd = producer->descriptor, .events = POLLIN};
    while (!interrupt_requested()) {
        int ready = poll(&from, 1, 10 * DOZE);
        if (ready > 0)
            return read(producer->descriptor, bytes, size);
        if (ready < 0 && errno != EINTR)
            return -1;
    }
    errno = EINTR;
    return -1;
}

/* A shell with this command line, in a process group of its own so that it can be ended with all that it started; its
 * standard output is the stream. NULL with an error set. */
static FILE *start(const char *line, struct producer *producer, struct error *error)
{
    static const cookie_io_functions_t functions = {.read = read_output};
    char *const words[] = {"sh", "-c", (char *)line, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        error_set_system(error, line, "cannot be started");
        return NULL;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    errno = posix_spawnp(&producer->process, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    producer->descriptor = ends[0];
    FILE *output = errno ? NULL : fopencookie(producer, "rb", functions);
    if (!output) {
        error_set_system(error, line, "cannot be started");
        close(ends[0]);
        return NULL;
    }
    setvbuf(output, NULL, _IOFBF, PIPE_BYTES);
    return output;
}

static void doze(void)
{
    nanosleep(&(struct timespec){.tv_nsec = MILLISECOND * DOZE}, NULL);
}

/* Waits for the process to end by itself, or for an interruption. */
static void await(struct producer *producer)
{
    while (!producer->ended && !interrupt_requested()) {
        producer->ended = waitpid(producer->process, &producer->status, WNOHANG) == producer->process;
        if (!producer->ended)
            doze();
    }
}

/* Ends what is left of the process and all that it started: politely, after a second by force. */
static void end(struct producer *producer)
{
    pid_t process = producer->process;
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, &before); /* a second Ctrl-C leaves at once, but not this behind */
    kill(-process, SIGTERM);
    for (int i = 0; i < GRACE / DOZE && (!producer->ended || kill(-process, 0) == 0); i++) {
        if (!producer->ended)
            producer->ended = waitpid(process, &producer->status, WNOHANG) == process;
        doze();
    }
    kill(-process, SIGKILL);
    while (!producer->ended)
        producer->ended = waitpid(process, &producer->status, 0) == process || errno != EINTR;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Closes the stream, and waits for the process where its end is to be seen; the status of waitpid. */
static int finish(FILE *output, struct producer *producer, bool ended)
{
    fclose(output);
    close(producer->descriptor);
    if (ended)
        await(producer);
    end(producer);
    return producer->status;
}

static bool is_done(const struct gathering *gathering)
{
    int64_t most = gathering->source->line->examples;
    return most && gathering->examples >= most;
}

static bool take_all(struct gathering *gathering, FILE *output)
{
    struct safetensors *chunk;
    bool ok = true;
    while (ok && !is_done(gathering) &&
           (chunk = safetensors_read(output, gathering->source->line->path, gathering->error))) {
        ok = take_chunk(gathering, chunk);
        safetensors_close(chunk);
    }
    return ok && !gathering->error->code;
}

/* That it ended well, when it was let end. */
static bool check_status(const struct gathering *gathering, int status, struct error *error)
{
    const char *name = gathering->source->line->path;
    long long examples = gathering->examples, most = gathering->source->line->examples;
    if (WIFSIGNALED(status))
        return error_set(error, "%s: was ended by signal %d after %lld examples", name, WTERMSIG(status), examples);
    if (WEXITSTATUS(status))
        return error_set(error, "%s: failed with exit code %d after %lld examples", name, WEXITSTATUS(status),
                         examples);
    return examples >= most || error_set(error, "%s: ended after %lld of %lld examples", name, examples, most);
}

static bool run(struct gathering *gathering, struct error *error)
{
    struct error own = {0};
    struct producer producer = {0};
    const char *name = gathering->source->line->path;
    FILE *output = start(name, &producer, error);
    if (!output)
        return false;
    gathering->error = &own;
    bool ok = take_all(gathering, output), ended = !is_done(gathering) && feof(output);
    gathering->error = NULL;
    int status = finish(output, &producer, ended);
    if (interrupt_requested())
        return error_set_code(error, ERROR_INTERRUPTED, "%s: interrupted after %lld examples", name,
                              (long long)gathering->examples);
    if (ended && (ok || status) && !check_status(gathering, status, error))
        return false;
    if (!ok)
        *error = own;
    return ok;
}

bool source_command(struct source *source, struct error *error)
{
    struct gathering gathering = {.source = source};
    interrupt_begin();
    bool ok = run(&gathering, error);
    interrupt_end();
    for (int i = 0; gathering.fields && i < source->field_count; i++) {
        ok = ok && settle(&gathering.fields[i], &source->fields[i].part[PART_TRAIN], error);
        if (gathering.fields[i].spill)
            fclose(gathering.fields[i].spill);
    }
    free(gathering.fields);
    return ok;
}
