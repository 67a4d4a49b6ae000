/* Fields by name, in tables that writer and reader share. */
#include "runtime/standalone/payload.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SETTING_TEXTS(X) X(name) X(precision) X(optimizer) X(entries) X(best)
#define SETTING_NUMBERS(X)                                                                                             \
    X(epochs) X(steps) X(evaluate_steps) X(evaluate_epochs) X(checkpoint_steps) X(checkpoint_epochs) X(keep)

#define SOURCE_NUMBERS(X) X(kind) X(examples) X(test) X(window) X(stride) X(characters)

/* All that is read hangs on one list of blocks and on the JSON tree, whose strings are used as they are. */
struct memory {
    json_t *root;
    void **blocks;
    size_t count;
};

/* ---- writing ---- */

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new(object, key, json_string(value));
}

static json_t *write_files(const struct train_settings *settings)
{
    json_t *array = json_array();
    for (int i = 0; i < settings->file_count; i++) {
        const struct run_file *file = &settings->files[i];
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:b}", "name", file->name, "text", file->text, "begins", (int)file->begins));
    }
    return array;
}

static json_t *write_settings(const struct train_settings *settings)
{
    json_t *object = json_object();
#define TEXT(field) set_text(object, #field, settings->field);
#define NUMBER(field) json_object_set_new(object, #field, json_integer(settings->field));
    SETTING_TEXTS(TEXT)
    SETTING_NUMBERS(NUMBER)
#undef TEXT
#undef NUMBER
    json_object_set_new(object, "seed", json_integer((json_int_t)settings->seed));
    json_object_set_new(object, "best_direction", json_integer(settings->best_direction));
    json_object_set_new(object, "files", write_files(settings));
    return object;
}

static json_t *write_reals(const double *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, json_real(values[i]));
    return array;
}

static json_t *write_source(const struct data_source *source)
{
    json_t *fields = json_array(), *renames = json_array(), *stages = json_array();
    for (int i = 0; i < source->synthetic_count; i++) {
        const struct data_synthetic_field *field = &source->synthetic[i];
        json_array_append_new(fields, json_pack("{s:s, s:i, s:f, s:f}", "name", field->name, "distribution",
                                                (int)field->distribution, "a", field->a, "b", field->b));
    }
    for (int i = 0; i < source->rename_count; i++)
        json_array_append_new(
            renames, json_pack("{s:s, s:s}", "name", source->renames[i].name, "field", source->renames[i].field));
    for (int i = 0; i < source->stage_count; i++) {
        const struct data_stage *stage = &source->stages[i];
        json_array_append_new(stages, json_pack("{s:i, s:i, s:i, s:f, s:o, s:o}", "kind", (int)stage->kind, "pad",
                                                stage->pad, "size", stage->size, "alpha", stage->alpha, "mean",
                                                write_reals(stage->mean, stage->channels), "deviation",
                                                write_reals(stage->deviation, stage->channels)));
    }
    json_t *object = json_pack("{s:f, s:o, s:o, s:o}", "test_share", source->test_share, "synthetic", fields, "renames",
                               renames, "stages", stages);
#define NUMBER(field) json_object_set_new(object, #field, json_integer(source->field));
    SOURCE_NUMBERS(NUMBER)
#undef NUMBER
    set_text(object, "path", source->path);
    set_text(object, "label", source->label);
    return object;
}

static json_t *write_data(const struct data_description *data)
{
    json_t *sources = json_array();
    for (int i = 0; i < data->source_count; i++)
        json_array_append_new(sources, write_source(&data->sources[i]));
    return json_pack("{s:f, s:o}", "validate_share", data->validate_share, "sources", sources);
}

char *payload_text(const struct payload *payload)
{
    json_t *options = json_array();
    for (int i = 0; i < payload->option_count; i++)
        json_array_append_new(
            options, json_pack("{s:s, s:s}", "name", payload->options[i].name, "value", payload->options[i].value));
    json_t *root =
        json_pack("{s:s, s:o, s:o, s:o}", "file", payload->file, "settings", write_settings(&payload->settings), "data",
                  write_data(&payload->data), "options", options);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* ---- reading ---- */

static void *allocate(struct memory *memory, size_t count, size_t size)
{
    void **blocks = realloc(memory->blocks, sizeof *blocks * (memory->count + 1));
    void *block = calloc(count + 1, size);
    if (!blocks || !block)
        error_exhausted();
    memory->blocks = blocks;
    return memory->blocks[memory->count++] = block;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void read_settings(struct memory *memory, struct train_settings *settings, const json_t *object)
{
    const json_t *files = json_object_get(object, "files"), *item;
    struct run_file *own = allocate(memory, json_array_size(files), sizeof *own);
    size_t i;
    json_array_foreach(files, i, item) own[i] =
        (struct run_file){text(item, "name"), text(item, "text"), json_is_true(json_object_get(item, "begins"))};
    settings->files = own;
    settings->file_count = (int)json_array_size(files);
#define TEXT(field) settings->field = text(object, #field);
#define NUMBER(field) settings->field = number(object, #field);
    SETTING_TEXTS(TEXT)
    SETTING_NUMBERS(NUMBER)
#undef TEXT
#undef NUMBER
    settings->seed = (uint64_t)number(object, "seed");
    settings->best_direction = (int)number(object, "best_direction");
}

static const double *read_reals(struct memory *memory, const json_t *array)
{
    double *values = allocate(memory, json_array_size(array), sizeof *values);
    for (size_t i = 0; i < json_array_size(array); i++)
        values[i] = json_number_value(json_array_get(array, i));
    return values;
}

static void read_stages(struct memory *memory, struct data_source *source, const json_t *stages)
{
    struct data_stage *own = allocate(memory, json_array_size(stages), sizeof *own);
    const json_t *item;
    size_t i;
    json_array_foreach(stages, i, item)
    {
        const json_t *mean = json_object_get(item, "mean");
        own[i] = (struct data_stage){.kind = (enum data_stage_kind)number(item, "kind"),
                                     .pad = (int)number(item, "pad"),
                                     .size = (int)number(item, "size"),
                                     .alpha = real(item, "alpha"),
                                     .channels = (int)json_array_size(mean),
                                     .mean = read_reals(memory, mean),
                                     .deviation = read_reals(memory, json_object_get(item, "deviation"))};
    }
    source->stages = own;
    source->stage_count = (int)json_array_size(stages);
}

static void read_source(struct memory *memory, struct data_source *source, const json_t *object)
{
    const json_t *fields = json_object_get(object, "synthetic"), *renames = json_object_get(object, "renames"), *item;
    struct data_synthetic_field *own_fields = allocate(memory, json_array_size(fields), sizeof *own_fields);
    struct data_rename *own_renames = allocate(memory, json_array_size(renames), sizeof *own_renames);
    size_t i;
    json_array_foreach(fields, i, item) own_fields[i] = (struct data_synthetic_field){
        text(item, "name"), (enum data_distribution)number(item, "distribution"), real(item, "a"), real(item, "b")};
    json_array_foreach(renames, i, item) own_renames[i] = (struct data_rename){text(item, "name"), text(item, "field")};
    *source = (struct data_source){.path = text(object, "path"),
                                   .label = text(object, "label"),
                                   .test_share = real(object, "test_share"),
                                   .synthetic = own_fields,
                                   .synthetic_count = (int)json_array_size(fields),
                                   .renames = own_renames,
                                   .rename_count = (int)json_array_size(renames)};
#define NUMBER(field) source->field = number(object, #field);
    SOURCE_NUMBERS(NUMBER)
#undef NUMBER
    read_stages(memory, source, json_object_get(object, "stages"));
}

static void read_data(struct memory *memory, struct data_description *data, const json_t *object)
{
    const json_t *sources = json_object_get(object, "sources"), *item;
    struct data_source *own = allocate(memory, json_array_size(sources), sizeof *own);
    size_t i;
    json_array_foreach(sources, i, item)
    {
        read_source(memory, &own[i], item);
    }
    *data = (struct data_description){.validate_share = real(object, "validate_share"),
                                      .sources = own,
                                      .source_count = (int)json_array_size(sources)};
}

bool payload_read(struct payload *payload, const char *text_bytes, size_t size, struct error *error)
{
    json_error_t problem;
    struct memory *memory = calloc(1, sizeof *memory);
    *payload = (struct payload){.memory = memory};
    if (!memory)
        return error_set(error, "out of memory");
    memory->root = json_loadb(text_bytes, size, 0, &problem);
    if (!memory->root)
        return error_set(error, "this trainer is damaged: %s", problem.text);
    const json_t *options = json_object_get(memory->root, "options"), *item;
    payload->file = text(memory->root, "file");
    read_settings(memory, &payload->settings, json_object_get(memory->root, "settings"));
    read_data(memory, &payload->data, json_object_get(memory->root, "data"));
    struct payload_option *own = allocate(memory, json_array_size(options), sizeof *own);
    size_t i;
    json_array_foreach(options, i, item) own[payload->option_count++] =
        (struct payload_option){text(item, "name"), text(item, "value")};
    payload->options = own;
    return true;
}

bool payload_set_path(struct payload *payload, const char *path)
{
    struct data_source *found = NULL;
    for (int i = 0; i < payload->data.source_count; i++) {
        struct data_source *source = (struct data_source *)&payload->data.sources[i]; /* the payload's own memory */
        if (!source->path || source->kind == DATA_COMMAND)
            continue;
        if (found)
            return false;
        found = source;
    }
    if (found)
        found->path = path;
    return found;
}

void payload_set_file(struct payload *payload, const char *name, const char *replacement)
{
    for (int i = 0; i < payload->settings.file_count; i++) {
        struct run_file *file = (struct run_file *)&payload->settings.files[i]; /* the payload's own memory */
        if (strcmp(file->name, name) == 0)
            file->text = replacement;
    }
}

void payload_free(struct payload *payload)
{
    struct memory *memory = payload->memory;
    for (size_t i = 0; memory && i < memory->count; i++)
        free(memory->blocks[i]);
    if (memory) {
        free(memory->blocks);
        json_decref(memory->root);
    }
    free(memory);
    *payload = (struct payload){0};
}
