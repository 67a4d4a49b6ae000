/* Batches, prepared ahead by a thread a pass.
 *
 * A pass over a set has a ring of slots. Batch m lies in slot m mod SLOTS. The reader may still use the two batches
 * given last, so after `given` calls the thread may fill batches below given + SLOTS - 2. What is in a batch depends on
 * (seed, pass, number of the example) and on nothing that runs beside it. */
#include "runtime/data/dataset.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 4, ALIGNMENT = 64 };

struct bound {
    const struct data_field *field;
    struct data_field drawn; /* of synthetic data */
    struct transform transform;
    size_t bytes; /* of one example in a batch */
};

/* A pass over a set, or none. */
struct stream {
    struct loader *loader;
    enum split split;
    int64_t pass, batch, batches, examples;
    int64_t *order; /* rows of the part, in the order in which they are given; NULL: as the split has them */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool running;          /* a thread was started and not yet joined */
    bool cancelled;        /* guarded by mutex, as the next two */
    int64_t filled, given; /* batches */
    void **slots;          /* SLOTS times one buffer an input */
};

struct loader {
    const struct dataset *dataset;
    struct program_input *inputs;
    const char **names;
    struct bound *bound;
    int count;
    uint64_t seed;
    size_t scratch;
    struct stream streams[SPLIT_COUNT];
};

/* ---- the thread ---- */

static int64_t row_of(const struct stream *stream, int64_t number)
{
    const struct data_split *split = &stream->loader->dataset->splits[stream->split];
    if (stream->order)
        number = stream->order[number];
    return split->rows ? split->rows[number] : number;
}

static void fill(struct stream *stream, int64_t batch, void *scratch[2])
{
    struct loader *loader = stream->loader;
    enum data_part part = loader->dataset->splits[stream->split].part;
    int64_t first = batch * stream->batch, count = stream->batch;
    if (count > stream->examples - first)
        count = stream->examples - first;
    uint64_t seed = data_hash(loader->seed, STREAM_AUGMENT, (uint64_t)stream->pass, 0);
    for (int i = 0; i < loader->count; i++) {
        const struct bound *bound = &loader->bound[i];
        char *out = stream->slots[(batch % SLOTS) * loader->count + i];
        const char *rows = bound->field->part[part].bytes;
        for (int64_t k = 0; k < count; k++, out += bound->bytes) {
            int64_t row = row_of(stream, first + k);
            transform_apply(&bound->transform, rows + (size_t)row * bound->transform.row, stream->split == SPLIT_TRAIN,
                            seed, (uint64_t)row, scratch, out);
        }
    }
}

static void *run(void *argument)
{
    struct stream *stream = argument;
    char *memory = malloc(2 * stream->loader->scratch);
    void *scratch[2] = {memory, memory ? memory + stream->loader->scratch : NULL};
    pthread_mutex_lock(&stream->mutex);
    stream->cancelled = stream->cancelled || !memory;
    while (!stream->cancelled && stream->filled < stream->batches) {
        if (stream->filled >= stream->given + SLOTS - 2) {
            pthread_cond_wait(&stream->changed, &stream->mutex);
            continue;
        }
        pthread_mutex_unlock(&stream->mutex);
        fill(stream, stream->filled, scratch);
        pthread_mutex_lock(&stream->mutex);
        stream->filled++;
        pthread_cond_broadcast(&stream->changed);
    }
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    free(memory);
    return NULL;
}

/* ---- a pass ---- */

static void stop(struct stream *stream)
{
    if (stream->running) {
        pthread_mutex_lock(&stream->mutex);
        stream->cancelled = true;
        pthread_cond_broadcast(&stream->changed);
        pthread_mutex_unlock(&stream->mutex);
        pthread_join(stream->thread, NULL);
    }
    stream->running = false;
    for (int i = 0; stream->slots && i < SLOTS * stream->loader->count; i++)
        free(stream->slots[i]);
    free(stream->slots);
    free(stream->order);
    stream->slots = NULL;
    stream->order = NULL;
}

static bool allocate(struct stream *stream, struct error *error)
{
    struct loader *loader = stream->loader;
    stream->slots = calloc((size_t)(SLOTS * loader->count) + 1, sizeof *stream->slots);
    for (int i = 0; stream->slots && i < SLOTS * loader->count; i++) {
        size_t bytes = loader->bound[i % loader->count].bytes * (size_t)stream->batch;
        stream->slots[i] = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
        if (!stream->slots[i])
            return error_set(error, "no memory for batches of %lld examples", (long long)stream->batch);
    }
    if (stream->split == SPLIT_TRAIN)
        stream->order = malloc(sizeof *stream->order * (size_t)(stream->examples + 1));
    if (!stream->slots || (stream->split == SPLIT_TRAIN && !stream->order))
        return error_set(error, "out of memory");
    if (stream->order)
        data_shuffle(stream->order, stream->examples, stream->loader->seed, (uint64_t)stream->pass);
    return true;
}

static bool start(void *source, enum split split, int64_t pass, int64_t batch, int64_t first, struct error *error)
{
    struct loader *loader = source;
    struct stream *stream = &loader->streams[split];
    stop(stream);
    stream->pass = pass;
    stream->batch = batch;
    stream->examples = loader->dataset->splits[split].count;
    stream->batches = split == SPLIT_TRAIN ? stream->examples / batch : (stream->examples + batch - 1) / batch;
    stream->filled = stream->given = first;
    stream->cancelled = false;
    if (split == SPLIT_TRAIN && !stream->batches)
        return error_set(error, "the training set has %lld examples, too few for a batch of %lld",
                         (long long)stream->examples, (long long)batch);
    if (!allocate(stream, error))
        return false;
    if (pthread_create(&stream->thread, NULL, run, stream) != 0)
        return error_set(error, "can't start the thread that prepares batches");
    stream->running = true;
    return true;
}

static bool next(void *source, enum split split, const void **fields, int64_t *count, struct error *error)
{
    struct loader *loader = source;
    struct stream *stream = &loader->streams[split];
    *count = 0;
    if (stream->given >= stream->batches)
        return true;
    pthread_mutex_lock(&stream->mutex);
    int64_t batch = stream->given++;
    pthread_cond_broadcast(&stream->changed);
    while (stream->filled <= batch && !stream->cancelled)
        pthread_cond_wait(&stream->changed, &stream->mutex);
    bool ready = stream->filled > batch;
    pthread_mutex_unlock(&stream->mutex);
    if (!ready)
        return error_set(error, "out of memory for preparing batches");
    int64_t left = stream->examples - batch * stream->batch;
    *count = left < stream->batch ? left : stream->batch;
    for (int i = 0; i < loader->count; i++)
        fields[i] = stream->slots[(batch % SLOTS) * loader->count + i];
    return true;
}

/* ---- opening ---- */

static bool bind(struct loader *loader, int index, struct error *error)
{
    const struct dataset *dataset = loader->dataset;
    const struct program_input *input = &loader->inputs[index];
    struct bound *bound = &loader->bound[index];
    if (dataset->description->kind == DATA_SYNTHETIC) {
        bound->field = &bound->drawn;
        if (!synthetic_draw(dataset, input, &bound->drawn, error))
            return false;
    } else if (!(bound->field = field_find(dataset, input->name, error))) {
        return false;
    }
    if (!field_check(dataset, bound->field, input, error) ||
        !transform_init(&bound->transform, dataset->description, &bound->field->part[PART_TRAIN], input, error))
        return false;
    bound->bytes = (size_t)bound->transform.elements * program_element_bytes(input->tensor.storage);
    if (bound->transform.scratch > loader->scratch)
        loader->scratch = (bound->transform.scratch + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    return true;
}

static bool bind_all(struct loader *loader, const struct program_input *inputs, int count, struct error *error)
{
    loader->inputs = calloc((size_t)count + 1, sizeof *loader->inputs);
    loader->names = calloc((size_t)count + 1, sizeof *loader->names);
    loader->bound = calloc((size_t)count + 1, sizeof *loader->bound);
    if (!loader->inputs || !loader->names || !loader->bound)
        return error_set(error, "out of memory");
    loader->scratch = ALIGNMENT;
    for (int i = 0; i < count; i++) {
        loader->inputs[i] = inputs[i];
        loader->names[i] = loader->inputs[i].name = strdup(inputs[i].name);
        loader->count++;
        if (!loader->names[i])
            return error_set(error, "out of memory");
        if (!bind(loader, i, error))
            return false;
    }
    return true;
}

struct loader *loader_open(const struct dataset *dataset, const struct program_input *inputs, int count, uint64_t seed,
                           struct error *error)
{
    struct loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        error_set(error, "out of memory");
        return NULL;
    }
    loader->dataset = dataset;
    loader->seed = seed;
    for (int i = 0; i < SPLIT_COUNT; i++) {
        loader->streams[i].loader = loader;
        loader->streams[i].split = (enum split)i;
        pthread_mutex_init(&loader->streams[i].mutex, NULL);
        pthread_cond_init(&loader->streams[i].changed, NULL);
    }
    if (bind_all(loader, inputs, count, error))
        return loader;
    loader_close(loader);
    return NULL;
}

void loader_close(struct loader *loader)
{
    if (!loader)
        return;
    for (int i = 0; i < SPLIT_COUNT; i++) {
        stop(&loader->streams[i]);
        pthread_mutex_destroy(&loader->streams[i].mutex);
        pthread_cond_destroy(&loader->streams[i].changed);
    }
    for (int i = 0; i < loader->count; i++) {
        for (int part = 0; part < PART_COUNT; part++)
            data_array_free(&loader->bound[i].drawn.part[part]);
        free((char *)loader->names[i]);
    }
    free(loader->inputs);
    free(loader->names);
    free(loader->bound);
    free(loader);
}

struct batches loader_batches(struct loader *loader)
{
    struct batches batches = {
        .source = loader, .field_count = loader->count, .fields = loader->names, .start = start, .next = next};
    for (int i = 0; i < SPLIT_COUNT; i++)
        batches.examples[i] = loader->dataset->splits[i].count;
    return batches;
}
