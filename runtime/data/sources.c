/* The forms of data that lie in files of arrays: their arrays become the fields of a data line. Images, texts and
 * processes have files of their own. */
#include "runtime/data/dataset.h"
#include "runtime/file.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* ---- fields ---- */

/* The name under which the model sees a field of the source. */
static const char *renamed(const struct source *source, const char *field)
{
    for (int i = 0; i < source->line->rename_count; i++)
        if (strcmp(source->line->renames[i].field, field) == 0) {
            source->renamed[i] = true;
            return source->line->renames[i].name;
        }
    return field;
}

bool source_check_renames(const struct source *source, struct error *error)
{
    for (int i = 0; i < source->line->rename_count; i++) {
        const struct data_rename *rename = &source->line->renames[i];
        if (source->renamed[i])
            continue;
        error_set(error, "%s: rename(%s = %s): there is no field %s", source->line->path, rename->name, rename->field,
                  rename->field);
        if (source->no_features && strcmp(rename->field, "features") == 0)
            error_hint(error, "%s", source->no_features);
        else
            error_hint(error, "rename(new = old) gives the field old the name new");
        return false;
    }
    return true;
}

struct data_field *source_add(struct source *source, const char *name, struct error *error)
{
    const char *seen = renamed(source, name);
    for (int i = 0; i < source->field_count; i++)
        if (strcmp(source->fields[i].name, seen) == 0) {
            error_set(error, "%s: two fields are called `%s`", source->line->path, seen);
            return NULL;
        }
    struct data_field *fields = realloc(source->fields, sizeof *fields * (size_t)(source->field_count + 1));
    if (!fields) {
        error_set(error, "out of memory");
        return NULL;
    }
    source->fields = fields;
    fields[source->field_count] = (struct data_field){.name = file_text("%s", seen), .line = source->line};
    return &fields[source->field_count++];
}

/* A new field with an array that was read for it; takes the array over when it succeeds. */
static bool add_array(struct source *source, const char *name, enum data_part part, struct data_array *array,
                      struct error *error)
{
    struct data_field *field = source_add(source, name, error);
    if (!field)
        return false;
    field->part[part] = *array;
    *array = (struct data_array){0};
    return true;
}

static bool is_wanted(const struct source *source, const char *name)
{
    const struct data_description *description = source->description;
    for (int i = 0; i < description->wanted_count; i++)
        if (strcmp(description->wanted[i], renamed(source, name)) == 0)
            return true;
    return !description->wanted_count;
}

/* A field that the model does not take: its name alone, for messages. */
static bool pass_over(struct source *source, const char *name, struct error *error)
{
    for (int i = 0; i < source->field_count; i++)
        if (strcmp(source->fields[i].name, renamed(source, name)) == 0)
            return true;
    return source_add(source, name, error);
}

static bool is_read(const struct data_field *field)
{
    return field->part[PART_TRAIN].file || field->part[PART_TEST].file;
}

static bool check_taken(const struct source *source, struct error *error)
{
    enum { LISTED = 8 };
    for (int i = 0; i < source->field_count; i++)
        if (is_read(&source->fields[i]))
            return true;
    error_set(error, "%s: holds none of the arrays that the model takes", source->line->path);
    for (int i = 0; i < source->field_count && i < LISTED; i++)
        snprintf(error->hint + strlen(error->hint), sizeof error->hint - strlen(error->hint), "%s%s",
                 i ? ", " : "it has ", source->fields[i].name);
    return false;
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

bool source_idx(struct source *source, struct error *error)
{
    const char *folder = source->line->path;
    if (!source_add(source, "image", error) || !source_add(source, "label", error))
        return false;
    for (int i = 0; i < IDX_FILES; i++) {
        char path[PATH_BYTES];
        struct data_field *field = &source->fields[i % 2];
        if (!find_idx(folder, i, path))
            return missing_idx(folder, i, error);
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

/* The field of this name, new if there is none; NULL with an error set where it has an array of that part already. */
static struct data_field *entry_field(struct source *source, const char *name, enum data_part part, struct error *error)
{
    for (int i = 0; i < source->field_count; i++)
        if (strcmp(source->fields[i].name, renamed(source, name)) == 0 && !source->fields[i].part[part].file)
            return &source->fields[i];
    return source_add(source, name, error);
}

/* What lies in the folder `test` of the archive is of the test set. */
static bool open_entry(struct source *source, const struct zip *zip, const struct zip_entry *entry, struct error *error)
{
    char buffer[PATH_BYTES], where[PATH_BYTES];
    const char *name = stem(entry->name, buffer);
    enum data_part part = strncmp(entry->name, "test/", 5) == 0 ? PART_TEST : PART_TRAIN;
    if (!is_wanted(source, name))
        return pass_over(source, name, error);
    void *bytes = zip_read(zip, entry, error);
    struct data_field *field = bytes ? entry_field(source, name, part, error) : NULL;
    if (!field) {
        free(bytes);
        return false;
    }
    snprintf(where, sizeof where, "%s: %s", zip->path, entry->name);
    return npy_parse(where, bytes, entry->size, &field->part[part], error);
}

/* Every field has an array for training, and one for testing where any has one. */
static bool check_parts(const struct source *source, struct error *error)
{
    bool tested = false;
    for (int i = 0; i < source->field_count; i++)
        tested |= source->fields[i].part[PART_TEST].file != NULL;
    for (int i = 0; i < source->field_count; i++) {
        const struct data_field *field = &source->fields[i];
        bool trained = field->part[PART_TRAIN].file != NULL;
        if (!is_read(field) || (trained && (!tested || field->part[PART_TEST].file)))
            continue;
        error_set(error, "%s: field %s has no array for %s", source->line->path, field->name,
                  trained ? "testing" : "training");
        error_hint(error, "an archive with a test set of its own has NAME.npy and test/NAME.npy for each field");
        return false;
    }
    return true;
}

static bool npz_open(struct source *source, struct error *error)
{
    struct zip zip;
    if (!zip_open(&zip, source->line->path, error))
        return false;
    bool good = true;
    for (int i = 0; good && i < zip.count; i++)
        if (ends_in(zip.entries[i].name, ".npy"))
            good = open_entry(source, &zip, &zip.entries[i], error);
    zip_close(&zip);
    return good && check_taken(source, error) && check_parts(source, error);
}

bool source_numpy(struct source *source, struct error *error)
{
    const char *path = source->line->path;
    struct stat status;
    errno = EISDIR;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return error_set_system(error, path, "cannot read");
    if (!ends_in(path, ".npy"))
        return npz_open(source, error);
    char buffer[PATH_BYTES];
    struct data_field *field = source_add(source, stem(path, buffer), error);
    return field && npy_read(path, &field->part[PART_TRAIN], error);
}

/* ---- csv ---- */

static bool copy_array(const struct data_array *from, struct data_array *to)
{
    size_t bytes = (size_t)data_array_examples(from) * data_array_row(from);
    *to = *from;
    to->memory = to->bytes = malloc(bytes + 1);
    to->file = strdup(from->file);
    to->words = from->words ? strdup(from->words) : NULL;
    if (to->memory)
        memcpy(to->memory, from->bytes, bytes);
    return to->memory && to->file && (to->words || !from->words);
}

static struct csv_column *find_column(const struct csv *csv, const char *name)
{
    for (int i = 0; i < csv->count; i++)
        if (strcmp(csv->columns[i].name, name) == 0)
            return &csv->columns[i];
    return NULL;
}

static bool add_features(struct source *source, const struct csv *csv, const char *label, struct error *error)
{
    struct data_array features = {0};
    struct error reason = {0};
    if (!csv_features(csv, label, &features, &reason)) {
        source->no_features = file_text("%s", reason.text);
        return true;
    }
    bool ok = find_column(csv, "features") || add_array(source, "features", PART_TRAIN, &features, error);
    data_array_free(&features);
    return ok;
}

/* Every column is a field, the label's under the name `label`. */
static bool add_columns(struct source *source, struct csv *csv, struct error *error)
{
    const char *wanted = source->line->label, *label = wanted ? wanted : "label";
    struct csv_column *column = find_column(csv, label);
    if (wanted && !column) {
        error_set(error, "%s: has no column `%s`", csv->path, wanted);
        for (int i = 0; i < csv->count && i < 8; i++)
            snprintf(error->hint + strlen(error->hint), sizeof error->hint - strlen(error->hint), "%s%s",
                     i ? ", " : "it has ", csv->columns[i].name);
        return false;
    }
    if (!add_features(source, csv, column ? label : NULL, error))
        return false;
    bool other_name = column && strcmp(label, "label") != 0; /* the label has its own name, too */
    struct data_array copy = {0};
    bool ok = !other_name || (copy_array(&column->array, &copy) ? add_array(source, label, PART_TRAIN, &copy, error)
                                                                : error_set(error, "out of memory"));
    data_array_free(&copy);
    for (int i = 0; i < csv->count && ok; i++)
        ok = add_array(source, column && &csv->columns[i] == column ? "label" : csv->columns[i].name, PART_TRAIN,
                       &csv->columns[i].array, error);
    return ok;
}

bool source_csv(struct source *source, struct error *error)
{
    struct csv csv;
    bool ok = csv_read(&csv, source->line->path, error) && add_columns(source, &csv, error);
    csv_free(&csv);
    return ok;
}

/* ---- safetensors ---- */

/* Its values in memory, or where they lie on disk. */
static bool take_values(const struct safetensors *file, const struct safetensors_tensor *tensor,
                        struct data_array *array, struct error *error)
{
    if (tensor->bytes > ARRAY_MEMORY) {
        struct disk_place place = {.path = file->path,
                                   .begin = (uint64_t)((const char *)tensor->data - (const char *)file->mapping),
                                   .stride = data_array_row(array)};
        return data_array_on_disk(array, &place, error);
    }
    if (!data_array_allocate(array, tensor->bytes, error))
        return false;
    memcpy(array->memory, tensor->data, tensor->bytes);
    return true;
}

static bool add_tensor(struct source *source, const struct safetensors *file, const struct safetensors_tensor *tensor,
                       struct error *error)
{
    if (!is_wanted(source, tensor->name))
        return pass_over(source, tensor->name, error);
    if (!tensor->rank)
        return error_set(error, "%s: %s is a single number; an array whose first axis counts examples is expected",
                         file->path, tensor->name);
    struct data_array array = {.element = tensor->element, .rank = tensor->rank};
    memcpy(array.dimension, tensor->dimension, sizeof array.dimension);
    array.file = file_text("%s: %s", file->path, tensor->name);
    bool ok = take_values(file, tensor, &array, error) && add_array(source, tensor->name, PART_TRAIN, &array, error);
    data_array_free(&array);
    return ok;
}

bool source_tensors(struct source *source, struct error *error)
{
    struct safetensors *file = safetensors_open(source->line->path, error);
    bool ok = file;
    for (int i = 0; ok && i < file->count; i++)
        ok = add_tensor(source, file, &file->tensors[i], error);
    safetensors_close(file);
    return ok && check_taken(source, error);
}
