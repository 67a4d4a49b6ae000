/* Opening: the source's files become fields, and the examples are divided into sets. */
#include "runtime/data/dataset.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static bool add_field(struct dataset *dataset, const char *name, struct error *error)
{
    struct data_field *fields = realloc(dataset->fields, sizeof *fields * (size_t)(dataset->field_count + 1));
    if (!fields)
        return error_set(error, "out of memory");
    dataset->fields = fields;
    fields[dataset->field_count] = (struct data_field){.name = strdup(name)};
    return fields[dataset->field_count++].name != NULL || error_set(error, "out of memory");
}

/* The name under which the model sees a field. */
static const char *renamed(const struct data_description *description, const char *field)
{
    for (int i = 0; i < description->rename_count; i++)
        if (strcmp(description->renames[i].field, field) == 0)
            return description->renames[i].name;
    return field;
}

static bool is_wanted(const struct data_description *description, const char *name)
{
    for (int i = 0; i < description->wanted_count; i++)
        if (strcmp(description->wanted[i], name) == 0)
            return true;
    return !description->wanted_count;
}

/* ---- idx ---- */

static const struct {
    const char *field, *stem, *kind;
    enum data_part part;
    int rank;
} idx_files[] = {
    {"image", "train-images", "idx3-ubyte", PART_TRAIN, 3},
    {"label", "train-labels", "idx1-ubyte", PART_TRAIN, 1},
    {"image", "t10k-images", "idx3-ubyte", PART_TEST, 3},
    {"label", "t10k-labels", "idx1-ubyte", PART_TEST, 1},
};
enum { IDX_FILES = sizeof idx_files / sizeof *idx_files };

/* The names in use differ in a dash or dot and in being gzipped. */
static bool find_idx(const char *folder, int which, char path[PATH_BYTES])
{
    static const char *const joints[] = {"-", "."}, *const ends[] = {".gz", ""};
    for (int i = 0; i < 4; i++) {
        snprintf(path, PATH_BYTES, "%s/%s%s%s%s", folder, idx_files[which].stem, joints[i / 2], idx_files[which].kind,
                 ends[i % 2]);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool missing_idx(const char *folder, int which, struct error *error)
{
    if (access(folder, F_OK) != 0)
        error_set_system(error, folder, "no IDX files there");
    else
        error_set(error, "%s/%s-%s: no such file, gzipped or not", folder, idx_files[which].stem,
                  idx_files[which].kind);
    error_hint(error, "idx(folder) reads train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
                      "t10k-labels-idx1-ubyte; Debian's package dataset-fashion-mnist puts them into "
                      "/usr/share/datasets/fashion-mnist");
    return false;
}

static bool open_idx(struct dataset *dataset, struct error *error)
{
    const struct data_description *description = dataset->description;
    if (!add_field(dataset, renamed(description, "image"), error) ||
        !add_field(dataset, renamed(description, "label"), error))
        return false;
    for (int i = 0; i < IDX_FILES; i++) {
        char path[PATH_BYTES];
        struct data_field *field = &dataset->fields[i % 2];
        if (!find_idx(description->path, i, path))
            return missing_idx(description->path, i, error);
        if (!idx_read(path, idx_files[i].rank, &field->part[idx_files[i].part], error))
            return false;
    }
    return true;
}

/* ---- numpy ---- */

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* A file's or entry's name without folders and `.npy`; the buffer bounds it. */
static const char *stem(const char *path, char buffer[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    snprintf(buffer, PATH_BYTES, "%s", slash ? slash + 1 : path);
    if (ends_in(buffer, ".npy"))
        buffer[strlen(buffer) - 4] = 0;
    return buffer;
}

static bool open_entry(struct dataset *dataset, const struct zip *zip, const struct zip_entry *entry,
                       struct error *error)
{
    char buffer[PATH_BYTES], where[PATH_BYTES];
    const char *name = renamed(dataset->description, stem(entry->name, buffer));
    if (!is_wanted(dataset->description, name))
        return true;
    void *bytes = zip_read(zip, entry, error);
    if (!bytes || !add_field(dataset, name, error)) {
        free(bytes);
        return false;
    }
    snprintf(where, sizeof where, "%s: %s", zip->path, entry->name);
    struct data_field *field = &dataset->fields[dataset->field_count - 1];
    return npy_parse(where, bytes, entry->size, &field->part[PART_TRAIN], error);
}

static bool open_npz(struct dataset *dataset, struct error *error)
{
    struct zip zip;
    if (!zip_open(&zip, dataset->description->path, error))
        return false;
    bool good = true;
    for (int i = 0; good && i < zip.count; i++)
        if (ends_in(zip.entries[i].name, ".npy"))
            good = open_entry(dataset, &zip, &zip.entries[i], error);
    if (good && !dataset->field_count) {
        good = error_set(error, "%s: holds none of the arrays that the model takes", dataset->description->path);
        for (int i = 0; i < zip.count && i < 8; i++)
            snprintf(error->hint + strlen(error->hint), sizeof error->hint - strlen(error->hint), "%s%s",
                     i ? ", " : "it has ", zip.entries[i].name);
    }
    zip_close(&zip);
    return good;
}

static bool open_numpy(struct dataset *dataset, struct error *error)
{
    const char *path = dataset->description->path;
    if (!ends_in(path, ".npy"))
        return open_npz(dataset, error);
    char buffer[PATH_BYTES];
    return add_field(dataset, renamed(dataset->description, stem(path, buffer)), error) &&
           npy_read(path, &dataset->fields[0].part[PART_TRAIN], error);
}

/* ---- csv ---- */

/* A field with an array that was read; takes the array over. */
static bool add_array(struct dataset *dataset, const char *name, struct data_array *array, struct error *error)
{
    for (int i = 0; i < dataset->field_count; i++)
        if (strcmp(dataset->fields[i].name, renamed(dataset->description, name)) == 0)
            return error_set(error, "%s: two fields are called `%s`", array->file, dataset->fields[i].name);
    if (!add_field(dataset, renamed(dataset->description, name), error) || !dataset->fields)
        return false;
    dataset->fields[dataset->field_count - 1].part[PART_TRAIN] = *array;
    *array = (struct data_array){0};
    return true;
}

static bool copy_array(const struct data_array *from, struct data_array *to)
{
    size_t bytes = (size_t)data_array_examples(from) * data_array_row(from);
    *to = *from;
    to->memory = to->bytes = malloc(bytes + 1);
    to->file = strdup(from->file);
    if (to->memory)
        memcpy(to->memory, from->bytes, bytes);
    return to->memory && to->file;
}

static struct csv_column *find_column(const struct csv *csv, const char *name)
{
    for (int i = 0; i < csv->count; i++)
        if (strcmp(csv->columns[i].name, name) == 0)
            return &csv->columns[i];
    return NULL;
}

static bool add_features(struct dataset *dataset, const struct csv *csv, const char *label, struct error *error)
{
    struct data_array features = {0};
    struct error reason = {0};
    if (!csv_features(csv, label, &features, &reason)) {
        dataset->no_features = strdup(reason.text);
        return dataset->no_features || error_set(error, "out of memory");
    }
    bool ok = find_column(csv, "features") || add_array(dataset, "features", &features, error);
    data_array_free(&features);
    return ok;
}

/* Every column is a field, the label's under the name `label`. */
static bool add_columns(struct dataset *dataset, struct csv *csv, struct error *error)
{
    const char *wanted = dataset->description->label, *label = wanted ? wanted : "label";
    struct csv_column *column = find_column(csv, label);
    if (wanted && !column) {
        error_set(error, "%s: has no column `%s`", csv->path, wanted);
        for (int i = 0; i < csv->count && i < 8; i++)
            snprintf(error->hint + strlen(error->hint), sizeof error->hint - strlen(error->hint), "%s%s",
                     i ? ", " : "it has ", csv->columns[i].name);
        return false;
    }
    if (!add_features(dataset, csv, column ? label : NULL, error))
        return false;
    bool other_name = column && strcmp(label, "label") != 0; /* the label has its own name, too */
    struct data_array copy = {0};
    bool ok = !other_name || (copy_array(&column->array, &copy) ? add_array(dataset, label, &copy, error)
                                                                : error_set(error, "out of memory"));
    data_array_free(&copy);
    for (int i = 0; i < csv->count && ok; i++)
        if (!add_array(dataset, &csv->columns[i] == column ? "label" : csv->columns[i].name, &csv->columns[i].array,
                       error))
            return false;
    return ok;
}

static bool open_csv(struct dataset *dataset, struct error *error)
{
    struct csv csv;
    bool ok = csv_read(&csv, dataset->description->path, error) && add_columns(dataset, &csv, error);
    csv_free(&csv);
    return ok;
}

/* ---- safetensors ---- */

static bool add_tensor(struct dataset *dataset, const struct safetensors *file, const struct safetensors_tensor *tensor,
                       struct error *error)
{
    if (!is_wanted(dataset->description, renamed(dataset->description, tensor->name)))
        return true;
    if (!tensor->rank)
        return error_set(error, "%s: %s is a single number; an array whose first axis counts examples is expected",
                         file->path, tensor->name);
    struct data_array array = {.element = tensor->element, .rank = tensor->rank, .memory = malloc(tensor->bytes + 1)};
    size_t room = strlen(file->path) + strlen(tensor->name) + 3;
    array.file = malloc(room);
    bool ok = false;
    if (!array.memory || !array.file) {
        error_set(error, "out of memory");
    } else {
        memcpy(array.dimension, tensor->dimension, sizeof array.dimension);
        memcpy(array.memory, tensor->data, tensor->bytes);
        array.bytes = array.memory;
        snprintf(array.file, room, "%s: %s", file->path, tensor->name);
        ok = add_array(dataset, tensor->name, &array, error);
    }
    data_array_free(&array);
    return ok;
}

static bool open_tensors(struct dataset *dataset, struct error *error)
{
    struct safetensors *file = safetensors_open(dataset->description->path, error);
    bool ok = file;
    for (int i = 0; ok && i < file->count; i++)
        ok = add_tensor(dataset, file, &file->tensors[i], error);
    if (ok && !dataset->field_count)
        ok = error_set(error, "%s: holds none of the arrays that the model takes", file->path);
    safetensors_close(file);
    return ok;
}

/* ---- the numbers of examples ---- */

static bool count_part(struct dataset *dataset, enum data_part part, struct error *error)
{
    for (int i = 0; i < dataset->field_count; i++) {
        const struct data_array *array = &dataset->fields[i].part[part], *first = &dataset->fields[0].part[part];
        int64_t examples = data_array_examples(array);
        if (i == 0)
            dataset->examples[part] = examples;
        else if (examples != dataset->examples[part])
            return error_set(error, "%s has %lld examples, but %s has %lld", array->file, (long long)examples,
                             first->file, (long long)dataset->examples[part]);
    }
    return true;
}

static bool count_examples(struct dataset *dataset, struct error *error)
{
    const struct data_description *description = dataset->description;
    if (description->kind == DATA_SYNTHETIC) {
        dataset->examples[PART_TRAIN] = description->examples;
        dataset->examples[PART_TEST] = description->test;
        return true;
    }
    if (!count_part(dataset, PART_TRAIN, error) || !count_part(dataset, PART_TEST, error))
        return false;
    return dataset->examples[PART_TRAIN] > 0 || error_set(error, "%s: no examples", description->path);
}

/* ---- sets ---- */

/* The training part gives its shares from the end of a shuffled order, which is always the same. */
static bool divide(struct dataset *dataset, struct error *error)
{
    const struct data_description *description = dataset->description;
    int64_t all = dataset->examples[PART_TRAIN];
    bool shares = description->kind != DATA_IDX && description->kind != DATA_SYNTHETIC;
    int64_t test = shares ? (int64_t)((double)all * description->test_share) : 0;
    int64_t validate = (int64_t)((double)(all - test) * description->validate_share), train = all - test - validate;
    struct data_split *splits = dataset->splits;
    splits[SPLIT_TRAIN] = (struct data_split){PART_TRAIN, train, NULL};
    splits[SPLIT_TEST] = (struct data_split){PART_TEST, dataset->examples[PART_TEST], NULL};
    splits[SPLIT_VALIDATE] = (struct data_split){PART_TRAIN, validate, NULL};
    if (!test && !validate && !(description->validate_share > 0))
        return true;
    if (description->validate_share > 0 && !validate)
        return error_set(error, "a share of %g of %lld examples leaves none for validation",
                         description->validate_share, (long long)(all - test));
    if (train <= 0)
        return error_set(error, "of %lld examples none is left for training", (long long)all);
    dataset->rows = malloc(sizeof *dataset->rows * ((size_t)all + 1));
    if (!dataset->rows)
        return error_set(error, "out of memory");
    data_shuffle(dataset->rows, all, 0, STREAM_SPLIT);
    splits[SPLIT_TRAIN].rows = dataset->rows;
    splits[SPLIT_VALIDATE].rows = dataset->rows + train;
    if (test)
        splits[SPLIT_TEST] = (struct data_split){PART_TRAIN, test, dataset->rows + train + validate};
    return true;
}

struct dataset *data_open(const struct data_description *description, struct error *error)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset) {
        error_set(error, "out of memory");
        return NULL;
    }
    dataset->description = description;
    bool good = description->kind == DATA_IDX       ? open_idx(dataset, error)
                : description->kind == DATA_CSV     ? open_csv(dataset, error)
                : description->kind == DATA_TENSORS ? open_tensors(dataset, error)
                : description->kind == DATA_NUMPY   ? open_numpy(dataset, error)
                                                    : true;
    if (good && count_examples(dataset, error) && divide(dataset, error))
        return dataset;
    data_close(dataset);
    return NULL;
}

void data_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    for (int i = 0; i < dataset->field_count; i++) {
        for (int part = 0; part < PART_COUNT; part++)
            data_array_free(&dataset->fields[i].part[part]);
        free(dataset->fields[i].name);
    }
    free(dataset->fields);
    free(dataset->no_features);
    free(dataset->rows);
    free(dataset);
}

int64_t data_examples(const struct dataset *dataset, enum split split)
{
    return dataset->splits[split].count;
}
