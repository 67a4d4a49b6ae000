/* Data that a process writes to its standard output: safetensors files back to back, each with some examples of every
 * field. The process runs once, when the data are opened; what it writes until it ends, or until as many examples came
 * as the data line asks for, is the data set, which is shuffled, divided and resumed like a file's. What is too large
 * to hold lies in a temporary file without a name. */
#include "runtime/data/dataset.h"
#include "runtime/file.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
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
        gathered->spill = tmpfile();
        if (!gathered->spill)
            return error_set_system(error, "a temporary file", "cannot make it");
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

/* A shell with this command line, in a process group of its own so that it can be ended with all that it started; its
 * standard output is the stream. NULL with an error set. */
static FILE *start(const char *line, pid_t *process, struct error *error)
{
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
    errno = posix_spawnp(process, words[0], &actions, &attributes, words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    FILE *output = errno ? NULL : fdopen(ends[0], "rb");
    if (!output) {
        error_set_system(error, line, "cannot be started");
        close(ends[0]);
    }
    close(ends[1]);
    return output;
}

/* Closes the stream and waits; the status of waitpid. */
static int finish(FILE *output, pid_t process, bool ended)
{
    int status = 0;
    if (!ended)
        kill(-process, SIGTERM);
    fclose(output);
    while (waitpid(process, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
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
    pid_t process;
    FILE *output = start(gathering->source->line->path, &process, error);
    if (!output)
        return false;
    gathering->error = &own;
    bool ok = take_all(gathering, output), ended = !is_done(gathering) && feof(output);
    gathering->error = NULL;
    int status = finish(output, process, ended);
    if (ended && (ok || status) && !check_status(gathering, status, error))
        return false;
    if (!ok)
        *error = own;
    return ok;
}

bool source_command(struct source *source, struct error *error)
{
    struct gathering gathering = {.source = source};
    bool ok = run(&gathering, error);
    for (int i = 0; gathering.fields && i < source->field_count; i++) {
        ok = ok && settle(&gathering.fields[i], &source->fields[i].part[PART_TRAIN], error);
        if (gathering.fields[i].spill)
            fclose(gathering.fields[i].spill);
    }
    free(gathering.fields);
    return ok;
}
