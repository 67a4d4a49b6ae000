/* Batches, prepared ahead by threads.
 *
 * A pass over a set has a ring of slots. Batch m lies in slot m mod slots; a thread takes the next batch that nobody
 * has taken and fills it. The reader may still use the two batches given last, so after `given` calls batches below
 * given + slots - 2 may be filled. What is in a batch depends on (seed, pass, number of the example) and on nothing
 * that runs beside it, so the number of threads changes no byte; of the batches that fail, the first one's error is
 * told. */
#include "runtime/cores.h"
#include "runtime/data/dataset.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, THREADS_MOST = 8 };

struct bound {
    const struct data_field *field;
    struct data_field drawn;                /* of synthetic data */
    struct transform transform[PART_COUNT]; /* of the parts that have examples */
    size_t bytes;                           /* of one example in a batch */
};

/* A pass over a set, or none. */
struct stream {
    struct loader *loader;
    enum split split;
    int64_t pass, batch, batches, examples;
    int64_t *order; /* rows of the part, in the order in which they are given; NULL: as the split has them */
    void **buffers; /* slots times one buffer an input */
    pthread_t threads[THREADS_MOST];
    int running; /* threads that were started and not yet joined */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by the mutex: */
    bool cancelled;
    int64_t taken, given; /* batches */
    int64_t *filled;      /* by slot: the batch that lies there whole, -1: none */
    int64_t failed;       /* the first batch that could not be filled; INT64_MAX: none */
    struct error error;   /* … and why */
};

struct loader {
    const struct dataset *dataset;
    struct program_input *inputs;
    const char **names;
    struct bound *bound;
    int count, threads, slots;
    uint64_t seed;
    size_t scratch; /* bytes of one of a thread's buffers */
    struct stream streams[SPLIT_COUNT];
};

/* ---- the threads ---- */

static int64_t row_of(const struct stream *stream, int64_t number)
{
    const struct data_split *split = &stream->loader->dataset->splits[stream->split];
    if (stream->order)
        number = stream->order[number];
    return split->rows ? split->rows[number] : number;
}

static bool read_example(const struct stream *stream, const struct bound *bound, int64_t row, void *scratch,
                         struct example *example, struct error *error)
{
    enum data_part part = stream->loader->dataset->splits[stream->split].part;
    const struct data_array *array = &bound->field->part[part];
    *example = (struct example){data_array_example(array, row, scratch, error), row};
    return example->values &&
           (!array->rows || field_check_example(array, &bound->transform[part].asked, example->values, row, error));
}

static bool fill_example(const struct stream *stream, const struct bound *bound, int64_t row, void *scratch[SCRATCHES],
                         void *out, struct error *error)
{
    const struct data_split *split = &stream->loader->dataset->splits[stream->split];
    bool training = stream->split == SPLIT_TRAIN;
    struct example own, other;
    uint64_t seed = data_hash(stream->loader->seed, STREAM_AUGMENT, (uint64_t)stream->pass, 0);
    const struct transform *transform = &bound->transform[split->part];
    int64_t partner = training ? transform_partner(transform, seed, row, split->count) : -1;
    if (partner >= 0 && split->rows)
        partner = split->rows[partner];
    if (!read_example(stream, bound, row, scratch[SCRATCH_OWN], &own, error) ||
        (partner >= 0 && !read_example(stream, bound, partner, scratch[SCRATCH_OTHER], &other, error)))
        return false;
    transform_apply(transform, &own, partner >= 0 ? &other : NULL, training, seed, scratch, out);
    return true;
}

static bool fill(const struct stream *stream, int64_t batch, void *scratch[SCRATCHES], struct error *error)
{
    const struct loader *loader = stream->loader;
    int64_t first = batch * stream->batch, count = stream->batch;
    if (count > stream->examples - first)
        count = stream->examples - first;
    for (int i = 0; i < loader->count; i++) {
        const struct bound *bound = &loader->bound[i];
        char *out = stream->buffers[(batch % loader->slots) * loader->count + i];
        for (int64_t k = 0; k < count; k++, out += bound->bytes)
            if (!fill_example(stream, bound, row_of(stream, first + k), scratch, out, error))
                return false;
    }
    return true;
}

/* Fills a batch that this thread has taken; the mutex is held before and after. */
static void fill_taken(struct stream *stream, int64_t batch, void *scratch[SCRATCHES])
{
    struct error error = {0};
    pthread_mutex_unlock(&stream->mutex);
    bool ok = scratch[0] ? fill(stream, batch, scratch, &error) : error_set(&error, "out of memory");
    pthread_mutex_lock(&stream->mutex);
    if (ok) {
        stream->filled[batch % stream->loader->slots] = batch;
    } else if (batch < stream->failed) {
        stream->failed = batch;
        stream->error = error;
    }
    pthread_cond_broadcast(&stream->changed);
}

static void *run(void *argument)
{
    struct stream *stream = argument;
    size_t size = stream->loader->scratch;
    char *memory = aligned_alloc(ALIGNMENT, SCRATCHES * size);
    void *scratch[SCRATCHES];
    for (size_t i = 0; i < SCRATCHES; i++)
        scratch[i] = memory ? memory + i * size : NULL;
    pthread_mutex_lock(&stream->mutex);
    while (!stream->cancelled && stream->taken < stream->batches && stream->failed > stream->taken) {
        if (stream->taken >= stream->given + stream->loader->slots - 2)
            pthread_cond_wait(&stream->changed, &stream->mutex);
        else
            fill_taken(stream, stream->taken++, scratch);
    }
    pthread_mutex_unlock(&stream->mutex);
    free(memory);
    return NULL;
}

/* ---- a pass ---- */

static void stop(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    stream->cancelled = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    while (stream->running)
        pthread_join(stream->threads[--stream->running], NULL);
    for (int i = 0; stream->buffers && i < stream->loader->slots * stream->loader->count; i++)
        free(stream->buffers[i]);
    free(stream->buffers);
    free(stream->order);
    free(stream->filled);
    stream->buffers = NULL;
    stream->order = stream->filled = NULL;
}

static bool allocate(struct stream *stream, struct error *error)
{
    struct loader *loader = stream->loader;
    size_t buffers = (size_t)loader->slots * (size_t)loader->count;
    stream->buffers = calloc(buffers + 1, sizeof *stream->buffers);
    stream->filled = malloc(sizeof *stream->filled * (size_t)loader->slots);
    for (size_t i = 0; stream->buffers && i < buffers; i++) {
        size_t bytes = loader->bound[i % (size_t)loader->count].bytes * (size_t)stream->batch;
        stream->buffers[i] = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
        if (!stream->buffers[i])
            return error_set(error, "no memory for batches of %lld examples", (long long)stream->batch);
    }
    if (stream->split == SPLIT_TRAIN)
        stream->order = malloc(sizeof *stream->order * (size_t)(stream->examples + 1));
    if (!stream->buffers || !stream->filled || (stream->split == SPLIT_TRAIN && !stream->order))
        return error_set(error, "out of memory");
    for (int i = 0; i < loader->slots; i++)
        stream->filled[i] = -1;
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
    stream->taken = stream->given = first;
    stream->failed = INT64_MAX;
    stream->cancelled = false;
    if (split == SPLIT_TRAIN && !stream->batches)
        return error_set(error, "the training set has %lld examples, too few for a batch of %lld",
                         (long long)stream->examples, (long long)batch);
    if (!allocate(stream, error))
        return false;
    while (stream->running < loader->threads) {
        if (pthread_create(&stream->threads[stream->running], NULL, run, stream) != 0)
            return error_set(error, "can't start a thread that prepares batches");
        stream->running++;
    }
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
    int64_t batch = stream->given++, slot = batch % loader->slots;
    pthread_cond_broadcast(&stream->changed);
    while (stream->filled[slot] != batch && stream->failed > batch)
        pthread_cond_wait(&stream->changed, &stream->mutex);
    bool ready = stream->filled[slot] == batch;
    pthread_mutex_unlock(&stream->mutex);
    if (!ready) {
        *error = error->code ? *error : stream->error;
        return false;
    }
    int64_t left = stream->examples - batch * stream->batch;
    *count = left < stream->batch ? left : stream->batch;
    for (int i = 0; i < loader->count; i++)
        fields[i] = stream->buffers[slot * loader->count + i];
    return true;
}

/* ---- opening ---- */

/* What an example becomes has the same size in every part: field_check has compared both with the input. */
static bool bind_part(struct loader *loader, struct bound *bound, enum data_part part,
                      const struct program_input *input, struct error *error)
{
    struct transform *transform = &bound->transform[part];
    if (!transform_init(transform, bound->field, part, input, error))
        return false;
    int64_t elements = transform->shares ? transform->shares : transform->elements;
    bound->bytes = (size_t)elements * program_element_bytes(input->tensor.storage);
    size_t scratch = (transform->scratch + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    if (scratch > loader->scratch)
        loader->scratch = scratch;
    return true;
}

static bool bind(struct loader *loader, int index, struct error *error)
{
    const struct dataset *dataset = loader->dataset;
    const struct program_input *input = &loader->inputs[index];
    struct bound *bound = &loader->bound[index];
    const struct source *source = field_find(dataset, input->name, &bound->field, error);
    if (!source)
        return false;
    if (!bound->field) {
        bound->field = &bound->drawn;
        if (!synthetic_draw(source, input, &bound->drawn, error))
            return false;
    }
    bound->drawn.line = source->line;
    struct program_input asked = field_asked(bound->field, input);
    if (!field_check(dataset, bound->field, &asked, error))
        return false;
    for (int part = 0; part < PART_COUNT; part++)
        if (dataset->examples[part] && !bind_part(loader, bound, (enum data_part)part, input, error))
            return false;
    return true;
}

/* Every stage of a line acts on one of the fields that come from it. */
static bool check_stages_act(const struct loader *loader, const struct data_source *line, struct error *error)
{
    enum data_part part = loader->dataset->examples[PART_TRAIN] ? PART_TRAIN : PART_TEST;
    for (int s = 0; line && s < line->stage_count; s++) {
        bool acts = false;
        for (int i = 0; i < loader->count; i++)
            acts |= loader->bound[i].transform[part].line == line &&
                    transform_acts(&loader->bound[i].transform[part], &line->stages[s]);
        if (acts)
            continue;
        const char *name = data_stage_name(line->stages[s].kind);
        error_set(error, "%s changes none of the model's inputs that its data line gives", name);
        error_hint(error, "it acts on fields with %s", line->stages[s].kind == DATA_NORMALIZE ? "an axis" : "two axes");
        return false;
    }
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
    for (int i = 0; i < count; i++)
        if (!check_stages_act(loader, loader->bound[i].field->line, error))
            return false;
    return true;
}

/* Half of the cores that this process may use: the others compute. */
static int usual_threads(void)
{
    int count = cores_available() / 2;
    return count < 1 ? 1 : count < THREADS_MOST ? count : THREADS_MOST;
}

struct loader *loader_open(const struct dataset *dataset, const struct program_input *inputs, int count, uint64_t seed,
                           int threads, struct error *error)
{
    struct loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        error_set(error, "out of memory");
        return NULL;
    }
    loader->dataset = dataset;
    loader->seed = seed;
    loader->threads = threads < 1 ? usual_threads() : threads < THREADS_MOST ? threads : THREADS_MOST;
    loader->slots = 2 * loader->threads + 2;
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
