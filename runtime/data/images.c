/* A folder of images: a folder a class, numbered in the alphabetical order of their names; or two such folders, `train`
 * and `test`. All images have one size; channels come first, three of them when any image has colour. What decoded is
 * too large to hold is decoded example by example. */
#include "runtime/data/dataset.h"
#include "runtime/data/image.h"
#include "runtime/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PREFIX_BYTES = 1 << 16 };

/* Names in a folder, sorted. */
struct names {
    struct dirent **entries;
    int count;
};

/* The files of a part. */
struct pictures {
    char **paths;
    int32_t *labels;
    int64_t count, room;
};

/* A field's examples, decoded when they are asked for. Frees the paths. */
struct picture_rows {
    struct data_rows rows;
    struct pictures pictures;
    struct image image;
};

struct scan {
    const char *root;
    struct names classes;              /* of the training part */
    struct pictures parts[PART_COUNT]; /* by data_part */
    struct image image;
    struct error *error;
};

/* ---- folders ---- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool list_names(const char *folder, struct names *names, struct error *error)
{
    names->count = scandir(folder, &names->entries, is_visible, by_name);
    if (names->count >= 0)
        return true;
    *names = (struct names){0};
    return error_set_system(error, folder, "cannot read the folder");
}

static void free_names(struct names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->entries[i]);
    free(names->entries);
    *names = (struct names){0};
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* ---- files ---- */

/* Takes the path over. */
static bool add_picture(struct pictures *pictures, char *path, int32_t label, struct error *error)
{
    if (pictures->count == pictures->room) {
        int64_t room = pictures->room ? 2 * pictures->room : 256;
        char **paths = realloc(pictures->paths, sizeof *paths * (size_t)room);
        if (paths)
            pictures->paths = paths;
        int32_t *labels = realloc(pictures->labels, sizeof *labels * (size_t)room);
        if (labels)
            pictures->labels = labels;
        if (!paths || !labels) {
            free(path);
            return error_set(error, "out of memory");
        }
        pictures->room = room;
    }
    pictures->paths[pictures->count] = path;
    pictures->labels[pictures->count++] = label;
    return true;
}

static void free_pictures(struct pictures *pictures)
{
    for (int64_t i = 0; i < pictures->count; i++)
        free(pictures->paths[i]);
    free(pictures->paths);
    free(pictures->labels);
    *pictures = (struct pictures){0};
}

static bool add_class(struct pictures *pictures, const char *folder, int32_t label, struct error *error)
{
    struct names files;
    if (!list_names(folder, &files, error))
        return false;
    bool ok = files.count > 0 || error_set(error, "%s: a class without an image", folder);
    for (int i = 0; i < files.count && ok; i++) {
        char *path = file_text("%s/%s", folder, files.entries[i]->d_name);
        if (is_folder(path)) {
            ok = error_set(error, "%s: a folder within a class; a class holds images only", path);
            error_hint(error, "images(folder) reads folder/CLASS/FILE, or folder/train/CLASS/FILE and "
                              "folder/test/CLASS/FILE");
            free(path);
        } else {
            ok = add_picture(pictures, path, label, error);
        }
    }
    free_names(&files);
    return ok;
}

/* A part has the classes that the training part has. */
static bool check_classes(const struct scan *scan, const char *folder, const struct names *classes)
{
    for (int i = 0; i < classes->count || i < scan->classes.count; i++) {
        const char *own = i < classes->count ? classes->entries[i]->d_name : NULL;
        const char *known = i < scan->classes.count ? scan->classes.entries[i]->d_name : NULL;
        if (own && known && strcmp(own, known) == 0)
            continue;
        bool missing = known && (!own || strcmp(known, own) < 0);
        return missing ? error_set(scan->error, "%s: has no class `%s`, which is trained", folder, known)
                       : error_set(scan->error, "%s: class `%s` is not trained", folder, own);
    }
    return true;
}

static bool scan_part(struct scan *scan, enum data_part part, const char *folder)
{
    struct names classes = {0};
    bool ok = list_names(folder, &classes, scan->error);
    if (ok && !classes.count)
        ok = error_set(scan->error, "%s: no folder there; images(folder) reads a folder a class", folder);
    for (int i = 0; i < classes.count && ok; i++) {
        char *path = file_text("%s/%s", folder, classes.entries[i]->d_name);
        ok = is_folder(path) ? add_class(&scan->parts[part], path, i, scan->error)
                             : error_set(scan->error, "%s: is no folder; images(folder) reads a folder a class", path);
        free(path);
    }
    if (part == PART_TRAIN) {
        scan->classes = classes;
    } else {
        ok = ok && check_classes(scan, folder, &classes);
        free_names(&classes);
    }
    return ok;
}

static bool scan_folders(struct scan *scan)
{
    char *train = file_text("%s/train", scan->root), *test = file_text("%s/test", scan->root);
    bool two = is_folder(train) && is_folder(test);
    bool ok = scan_part(scan, PART_TRAIN, two ? train : scan->root) && (!two || scan_part(scan, PART_TEST, test));
    free(train);
    free(test);
    return ok;
}

/* ---- sizes ---- */

/* The header mostly lies in the first bytes of a file. */
static bool inspect(const char *path, struct image *image, struct error *error)
{
    struct error ignored = {0};
    size_t size = 0;
    char *prefix = malloc(PREFIX_BYTES), *whole = NULL;
    FILE *file = fopen(path, "rb");
    if (file && prefix)
        size = fread(prefix, 1, PREFIX_BYTES, file);
    if (file)
        fclose(file);
    bool ok = size && image_inspect(path, prefix, size, image, &ignored);
    if (!ok && (whole = file_read(path, &size, error)))
        ok = image_inspect(path, whole, size, image, error);
    free(prefix);
    free(whole);
    return ok;
}

static bool inspect_part(struct scan *scan, const struct pictures *pictures)
{
    for (int64_t i = 0; i < pictures->count; i++) {
        struct image image, *all = &scan->image;
        if (!inspect(pictures->paths[i], &image, scan->error))
            return false;
        if (!all->width)
            *all = image;
        if (image.width != all->width || image.height != all->height) {
            error_set(scan->error, "%s is %lld by %lld, but %s is %lld by %lld", pictures->paths[i],
                      (long long)image.width, (long long)image.height, scan->parts[PART_TRAIN].paths[0],
                      (long long)all->width, (long long)all->height);
            error_hint(scan->error, "the images of a set have one size (width by height): crop or scale them first");
            return false;
        }
        if (image.channels > all->channels)
            all->channels = image.channels;
    }
    return true;
}

/* ---- fields ---- */

static bool read_picture(const struct data_rows *rows, int64_t row, void *out, struct error *error)
{
    const struct picture_rows *own = (const struct picture_rows *)rows;
    size_t size;
    char *bytes = file_read(own->pictures.paths[row], &size, error);
    bool ok = bytes && image_decode(own->pictures.paths[row], bytes, size, &own->image, out, error);
    free(bytes);
    return ok;
}

static void free_rows(struct data_rows *rows)
{
    free_pictures(&((struct picture_rows *)rows)->pictures);
    free(rows);
}

/* Decodes all examples now. */
static bool load(struct data_array *array, struct error *error)
{
    size_t row = data_array_row(array);
    int64_t count = data_array_examples(array);
    struct data_rows *rows = array->rows;
    bool ok = data_array_allocate(array, row * (size_t)count, error);
    for (int64_t i = 0; i < count && ok; i++)
        ok = rows->read(rows, i, (char *)array->bytes + row * (size_t)i, error);
    array->rows = NULL;
    rows->free(rows);
    return ok;
}

/* Takes the pictures over. */
static bool make_images(const struct scan *scan, struct pictures *pictures, struct data_array *array)
{
    const struct image *image = &scan->image;
    struct picture_rows *rows = malloc(sizeof *rows);
    if (!rows)
        return error_set(scan->error, "out of memory");
    *rows = (struct picture_rows){{read_picture, free_rows}, *pictures, *image};
    *array = (struct data_array){.element = PROGRAM_U8,
                                 .rank = 4,
                                 .dimension = {pictures->count, image->channels, image->height, image->width},
                                 .rows = &rows->rows,
                                 .file = file_text("%s", scan->root)};
    *pictures = (struct pictures){0};
    int64_t values = data_array_elements(array);
    return values < 0 || values > ARRAY_MEMORY || load(array, scan->error);
}

static bool make_labels(const struct scan *scan, const struct pictures *pictures, struct data_array *array)
{
    size_t bytes = (size_t)pictures->count * sizeof(int32_t);
    *array = (struct data_array){.element = PROGRAM_I32,
                                 .rank = 1,
                                 .dimension = {pictures->count},
                                 .below = scan->classes.count,
                                 .file = file_text("%s", scan->root)};
    if (!data_array_allocate(array, bytes, scan->error))
        return false;
    memcpy(array->bytes, pictures->labels, bytes);
    return true;
}

static bool make_fields(struct scan *scan, struct source *source)
{
    if (!source_add(source, "image", scan->error) || !source_add(source, "label", scan->error))
        return false;
    for (int part = 0; part < PART_COUNT; part++)
        if (scan->parts[part].count && (!make_labels(scan, &scan->parts[part], &source->fields[1].part[part]) ||
                                        !make_images(scan, &scan->parts[part], &source->fields[0].part[part])))
            return false;
    return true;
}

bool source_images(struct source *source, struct error *error)
{
    struct scan scan = {.root = source->line->path, .error = error};
    bool ok = scan_folders(&scan) && inspect_part(&scan, &scan.parts[PART_TRAIN]) &&
              inspect_part(&scan, &scan.parts[PART_TEST]) && make_fields(&scan, source);
    free_names(&scan.classes);
    for (int part = 0; part < PART_COUNT; part++)
        free_pictures(&scan.parts[part]);
    return ok;
}
