/* Data: files made here, right and damaged in each way that matters, against what must come out of them. */
#include "runtime/data/data.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum { PATH = 512, TRAIN = 10, TEST = 7, SIDE = 3 };

static char folder[] = "/tmp/castor-data-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
}

/* ---- IDX ---- */

/* Pixel p of example e is 16 * e + p, its label is e. */
static size_t idx_bytes(unsigned char *bytes, int rank, int count, int first)
{
    const unsigned char head[] = {0, 0, 8,   (unsigned char)rank, 0, 0, 0, (unsigned char)count, 0, 0, 0, SIDE, 0,
                                  0, 0, SIDE};
    size_t at = 4 + 4 * (size_t)rank;
    memcpy(bytes, head, at);
    for (int example = 0; example < count; example++)
        for (int pixel = 0; pixel < (rank == 3 ? SIDE * SIDE : 1); pixel++)
            bytes[at++] = (unsigned char)(rank == 3 ? 16 * (example + first) + pixel : (example + first) % 10);
    return at;
}

static void write_idx(void)
{
    unsigned char bytes[1024];
    gzFile file = gzopen(path_of("train-images-idx3-ubyte.gz"), "wb");
    gzwrite(file, bytes, (unsigned)idx_bytes(bytes, 3, TRAIN, 0));
    gzclose(file);
    write_file("train-labels.idx1-ubyte", bytes, idx_bytes(bytes, 1, TRAIN, 0));
    write_file("t10k-images-idx3-ubyte", bytes, idx_bytes(bytes, 3, TEST, 3));
    file = gzopen(path_of("t10k-labels-idx1-ubyte.gz"), "wb");
    gzwrite(file, bytes, (unsigned)idx_bytes(bytes, 1, TEST, 3));
    gzclose(file);
}

static struct program_input input(const char *name, enum program_element element, int rank, int64_t a, int64_t b,
                                  int64_t classes)
{
    struct program_input result = {.name = name, .classes = classes};
    result.tensor = (struct program_tensor){
        .element = element, .storage = element, .rank = rank, .dimension = {4, a, b}, .order = {0, 1, 2}};
    return result;
}

static struct data_description one_line(const struct data_source *source)
{
    return (struct data_description){.source_count = 1, .sources = source};
}

static void check_whole_pass(struct batches *batches, int64_t pass, int seen[TRAIN])
{
    struct error error = {0};
    const void *fields[2];
    int64_t count;
    memset(seen, 0, sizeof(int) * TRAIN);
    CHECK(batches->start(batches->source, SPLIT_TRAIN, pass, 4, 0, &error));
    for (int batch = 0; batch < 2; batch++) {
        CHECK(batches->next(batches->source, SPLIT_TRAIN, fields, &count, &error) && count == 4);
        for (int i = 0; i < 4; i++) {
            const unsigned char *image = (const unsigned char *)fields[0] + (size_t)i * SIDE * SIDE;
            int label = ((const int *)fields[1])[i];
            CHECK(label >= 0 && label < TRAIN && image[0] == 16 * label && image[8] == 16 * label + 8);
            seen[label] += 1 + (batch * 4 + i) * 10;
        }
    }
    CHECK(batches->next(batches->source, SPLIT_TRAIN, fields, &count, &error) && count == 0);
    CHECK(batches->next(batches->source, SPLIT_TRAIN, fields, &count, &error) && count == 0);
}

static void check_training(struct batches *batches)
{
    int first[TRAIN], second[TRAIN], again[TRAIN], used = 0;
    check_whole_pass(batches, 1, first);
    check_whole_pass(batches, 2, second);
    check_whole_pass(batches, 1, again);
    CHECK(memcmp(first, again, sizeof first) == 0);
    CHECK(memcmp(first, second, sizeof first) != 0);
    for (int i = 0; i < TRAIN; i++) {
        CHECK(first[i] % 10 <= 1);
        used += first[i] % 10;
    }
    CHECK(used == 8);
}

/* In order, each once, the last batch small; and the batch before stays as it is. */
static void check_evaluation(struct batches *batches)
{
    struct error error = {0};
    const void *fields[2], *before[2] = {NULL, NULL};
    int64_t count, total = 0;
    CHECK(batches->start(batches->source, SPLIT_TEST, 0, 4, 0, &error));
    while (batches->next(batches->source, SPLIT_TEST, fields, &count, &error) && count) {
        CHECK(count == (total ? 3 : 4));
        for (int i = 0; i < count; i++)
            CHECK(((const int *)fields[1])[i] == (total + i + 3) % 10);
        if (before[1])
            CHECK(((const int *)before[1])[0] == (total - 4 + 3) % 10);
        memcpy(before, fields, sizeof before);
        total += count;
    }
    CHECK(total == TEST);
}

static void check_idx(void)
{
    struct data_source source = {.kind = DATA_IDX, .path = folder};
    struct data_description description = one_line(&source);
    struct error error = {0};
    write_idx();
    struct dataset *dataset = data_open(&description, &error);
    CHECK(dataset && data_examples(dataset, SPLIT_TRAIN) == TRAIN && data_examples(dataset, SPLIT_TEST) == TEST);
    CHECK(dataset && data_examples(dataset, SPLIT_VALIDATE) == 0);
    struct program_input inputs[] = {input("image", PROGRAM_U8, 3, SIDE, SIDE, 0),
                                     input("label", PROGRAM_I32, 1, 0, 0, 10)};
    struct loader *loader = loader_open(dataset, inputs, 2, 7, 0, &error);
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    CHECK(batches.field_count == 2 && strcmp(batches.fields[1], "label") == 0 && batches.examples[0] == TRAIN);
    check_training(&batches);
    check_evaluation(&batches);
    CHECK(batches.start(batches.source, SPLIT_TRAIN, 1, 4, 0, &error)); /* left in the middle */
    CHECK(!batches.start(batches.source, SPLIT_TRAIN, 1, 11, 0, &error) && strstr(error.text, "too few"));
    loader_close(loader);
    data_close(dataset);
}

static void check_shares(void)
{
    struct data_source source = {.kind = DATA_IDX, .path = folder};
    struct data_description description = {.source_count = 1, .sources = &source, .validate_share = 0.3};
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    CHECK(data_examples(dataset, SPLIT_TRAIN) == 7 && data_examples(dataset, SPLIT_VALIDATE) == 3);
    struct program_input labels = input("label", PROGRAM_I32, 1, 0, 0, 10);
    struct loader *loader = loader_open(dataset, &labels, 1, 1, 0, &error);
    struct batches batches = loader_batches(loader);
    int seen[TRAIN] = {0};
    for (int split = 0; split < SPLIT_COUNT; split += 2) {
        const void *fields[1];
        int64_t count;
        CHECK(batches.start(batches.source, (enum split)split, 0, 1, 0, &error));
        while (batches.next(batches.source, (enum split)split, fields, &count, &error) && count)
            seen[*(const int *)fields[0]]++;
    }
    for (int i = 0; i < TRAIN; i++)
        CHECK(seen[i] == 1);
    loader_close(loader);
    data_close(dataset);
}

/* ---- augmentation ---- */

/* Every training image is some shift of its original with zeros around, flipped or not; the test set stays. */
static bool is_variant(const float *image, int label, int down, int right, bool flip)
{
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int row = y + down, column = (flip ? SIDE - 1 - x : x) + right;
            bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
            float wanted = inside ? (float)(16 * label + row * SIDE + column) : 0;
            if (fabsf(image[y * SIDE + x] - (wanted - 8) / 4) > 1e-5f)
                return false;
        }
    }
    return true;
}

/* Counts how many different variants a pass shows; -1 when an image is none. */
static int variants(struct batches *batches, enum split split, int64_t pass, int *flipped)
{
    struct error error = {0};
    const void *fields[2];
    int64_t count;
    int shifted = 0;
    batches->start(batches->source, split, pass, 2, 0, &error);
    while (batches->next(batches->source, split, fields, &count, &error) && count) {
        for (int i = 0; i < count; i++) {
            bool found = false;
            for (int which = 0; which < 18 && !found; which++) {
                int down = which % 3 - 1, right = which / 3 % 3 - 1;
                found = is_variant((const float *)fields[0] + (size_t)i * SIDE * SIDE, ((const int *)fields[1])[i],
                                   down, right, which >= 9);
                shifted += found && (down || right);
                *flipped += found && which >= 9;
            }
            if (!found)
                return -1;
        }
    }
    return shifted;
}

static void check_augmentation(void)
{
    double mean = 8, deviation = 4;
    struct data_stage stages[] = {{.kind = DATA_RANDOM_CROP, .pad = 1},
                                  {.kind = DATA_RANDOM_FLIP},
                                  {.kind = DATA_NORMALIZE, .channels = 1, .mean = &mean, .deviation = &deviation}};
    struct data_rename rename = {"x", "image"};
    struct data_source source = {
        .kind = DATA_IDX, .path = folder, .rename_count = 1, .renames = &rename, .stage_count = 3, .stages = stages};
    struct data_description description = one_line(&source);
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    struct program_input inputs[] = {input("x", PROGRAM_F32, 3, SIDE, SIDE, 0),
                                     input("label", PROGRAM_I32, 1, 0, 0, 10)};
    struct loader *loader = loader_open(dataset, inputs, 2, 7, 0, &error);
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    int shifted = 0, flipped = 0, still = 0;
    for (int pass = 0; pass < 10; pass++)
        shifted += variants(&batches, SPLIT_TRAIN, pass, &flipped);
    CHECK(shifted > 70 && shifted < 100); /* of 100, 8 of 9 expected */
    CHECK(flipped > 30 && flipped < 70);
    CHECK(variants(&batches, SPLIT_TEST, 0, &still) == 0 && still == 0);
    loader_close(loader);
    inputs[0] = input("x", PROGRAM_U8, 3, SIDE, SIDE, 0);
    CHECK(!loader_open(dataset, inputs, 2, 7, 0, &error) && strstr(error.text, "normalize gives floating values"));
    data_close(dataset);
}

/* ---- damaged IDX ---- */

static void expect_open_error(const struct data_description *description, const char *part)
{
    struct error error = {0};
    struct dataset *dataset = data_open(description, &error);
    CHECK(!dataset && error.code == ERROR_RUNTIME);
    if (!strstr(error.text, part))
        fprintf(stderr, "wanted \"%s\" in \"%s\"\n", part, error.text);
    CHECK(strstr(error.text, part));
    data_close(dataset);
}

static void check_damaged_idx(void)
{
    struct data_source source = {.kind = DATA_IDX, .path = folder};
    struct data_description description = one_line(&source);
    unsigned char bytes[1024] = {0}, packed[1024];
    size_t size = idx_bytes(bytes, 3, TRAIN, 0);
    unlink(path_of("train-images-idx3-ubyte.gz"));
    expect_open_error(&description, "train-images-idx3-ubyte: no such file, gzipped or not");
    write_file("train-images-idx3-ubyte", bytes, size - 1);
    expect_open_error(&description, "truncated: the header says [10, 3, 3], so 90 bytes, but only 89 follow");
    write_file("train-images-idx3-ubyte", bytes, size + 1);
    expect_open_error(&description, "too long: bytes follow");
    write_file("train-images-idx3-ubyte", bytes, 9);
    expect_open_error(&description, "truncated within the header");
    write_file("train-images-idx3-ubyte", "hello", 5);
    expect_open_error(&description, "not an IDX file");
    write_file("train-images-idx3-ubyte", bytes, 0);
    expect_open_error(&description, "not an IDX file");
    write_file("train-images-idx3-ubyte", bytes, idx_bytes(bytes, 1, TRAIN, 0));
    expect_open_error(&description, "images with 3 axes");
    idx_bytes(bytes, 3, TRAIN, 0);
    bytes[4] = bytes[8] = bytes[12] = 0xff;
    write_file("train-images-idx3-ubyte", bytes, size);
    expect_open_error(&description, "impossibly large");
    write_file("train-images-idx3-ubyte", bytes, idx_bytes(bytes, 3, TRAIN - 1, 0));
    expect_open_error(&description, "train-labels.idx1-ubyte has 10 examples, but");
    unlink(path_of("train-images-idx3-ubyte"));

    write_idx();
    FILE *file = fopen(path_of("train-images-idx3-ubyte.gz"), "rb");
    size_t length = fread(packed, 1, sizeof packed, file);
    fclose(file);
    write_file("train-images-idx3-ubyte.gz", packed, length - 9);
    expect_open_error(&description, "train-images-idx3-ubyte.gz: ");
    packed[length - 8] ^= 1;
    write_file("train-images-idx3-ubyte.gz", packed, length);
    expect_open_error(&description, "damaged gzip file");
    source.path = "/nonexistent/folder";
    expect_open_error(&description, "/nonexistent/folder");
    write_idx();
}

/* ---- NPY and NPZ ---- */

static size_t npy_bytes(unsigned char *bytes, const char *descr, const char *shape, const void *values, size_t size)
{
    char header[118];
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    memset(header + length, ' ', sizeof header - (size_t)length);
    header[117] = '\n';
    static const unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + 10, header, 118);
    memcpy(bytes + 128, values, size);
    return 128 + size;
}

struct archive {
    unsigned char bytes[8192], directory[1024];
    size_t size, directory_size;
    int count;
};

static void put(unsigned char *at, unsigned long value, int width)
{
    for (int i = 0; i < width; i++)
        at[i] = (unsigned char)(value >> 8 * i);
}

static void put_text(unsigned char *at, const char *text)
{
    for (; *text; text++)
        *at++ = (unsigned char)*text;
}

static void archive_add(struct archive *archive, const char *name, const unsigned char *bytes, size_t size,
                        bool deflate_it)
{
    unsigned char packed[4096];
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)size, .next_out = packed, .avail_out = 4096};
    size_t length = size, name_length = strlen(name);
    memcpy(packed, bytes, size);
    if (deflate_it) {
        deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
        deflate(&stream, Z_FINISH);
        length = stream.total_out;
        deflateEnd(&stream);
    }
    unsigned char *local = archive->bytes + archive->size, *entry = archive->directory + archive->directory_size;
    memset(local, 0, 30);
    memset(entry, 0, 46);
    put(local, 0x04034b50, 4);
    put(local + 26, name_length, 2);
    put(local + 28, 4, 2); /* an extra field of four bytes, as numpy's own are there too */
    put(entry, 0x02014b50, 4);
    put(entry + 10, deflate_it ? 8 : 0, 2);
    put(entry + 16, crc32(0, bytes, (uInt)size), 4);
    put(entry + 20, length, 4);
    put(entry + 24, size, 4);
    put(entry + 28, name_length, 2);
    put(entry + 42, archive->size, 4);
    put_text(local + 30, name);
    put_text(entry + 46, name);
    memcpy(local + 34 + name_length, packed, length);
    archive->size += 34 + name_length + length;
    archive->directory_size += 46 + name_length;
    archive->count++;
}

static void archive_write(struct archive *archive, const char *name)
{
    unsigned char *end = archive->bytes + archive->size + archive->directory_size;
    memcpy(archive->bytes + archive->size, archive->directory, archive->directory_size);
    memset(end, 0, 22);
    put(end, 0x06054b50, 4);
    put(end + 8, (unsigned)archive->count, 2);
    put(end + 10, (unsigned)archive->count, 2);
    put(end + 12, archive->directory_size, 4);
    put(end + 16, archive->size, 4);
    archive->size += archive->directory_size + 22;
    write_file(name, archive->bytes, archive->size);
}

/* x[6, 2] f64 with x[e, k] = e + k / 2, deflated; y[6] i64 = 0 … 5, stored; z[3] of other length, u8. */
static void make_archive(struct archive *archive, double spoiled, int64_t label)
{
    unsigned char bytes[1024];
    double x[12];
    int64_t y[6];
    for (int i = 0; i < 12; i++)
        x[i] = (int)(i / 2) + 0.5 * (i % 2);
    for (int i = 0; i < 6; i++)
        y[i] = i;
    x[7] = spoiled;
    y[4] = label;
    *archive = (struct archive){0};
    archive_add(archive, "x.npy", bytes, npy_bytes(bytes, "<f8", "(6, 2)", x, sizeof x), true);
    archive_add(archive, "y.npy", bytes, npy_bytes(bytes, "<i8", "(6,)", y, sizeof y), false);
    archive_add(archive, "z.npy", bytes, npy_bytes(bytes, "|u1", "(3,)", "abc", 3), false);
    archive_write(archive, "a.npz");
}

static const char *const wanted_fields[] = {"x", "label"};
static const struct data_rename rename_y = {"label", "y"};

static struct data_description numpy(const char *path)
{
    static struct data_source source;
    source = (struct data_source){.kind = DATA_NUMPY, .path = path, .rename_count = 1, .renames = &rename_y};
    return (struct data_description){.source_count = 1, .sources = &source, .wanted_count = 2, .wanted = wanted_fields};
}

static void expect_bind_error(const struct data_description *description, struct program_input x,
                              struct program_input label, const char *part)
{
    struct error error = {0};
    struct dataset *dataset = data_open(description, &error);
    struct program_input inputs[] = {x, label};
    CHECK(dataset);
    struct loader *loader = dataset ? loader_open(dataset, inputs, 2, 0, 0, &error) : NULL;
    CHECK(!loader && error.code == ERROR_RUNTIME);
    if (!strstr(error.text, part))
        fprintf(stderr, "wanted \"%s\" in \"%s\"\n", part, error.text);
    CHECK(strstr(error.text, part));
    loader_close(loader);
    data_close(dataset);
}

static void check_npz(void)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s", path_of("a.npz"));
    struct archive archive;
    make_archive(&archive, 3.5, 4);
    struct data_description description = numpy(path);
    struct error error = {0};
    struct program_input x = input("x", PROGRAM_F32, 2, 2, 0, 0), label = input("label", PROGRAM_I32, 1, 0, 0, 6);
    struct program_input inputs[] = {x, label};
    struct dataset *dataset = data_open(&description, &error);
    CHECK(dataset && data_examples(dataset, SPLIT_TRAIN) == 6 && data_examples(dataset, SPLIT_TEST) == 0);
    struct loader *loader = loader_open(dataset, inputs, 2, 3, 0, &error);
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    const void *fields[2];
    int64_t count;
    CHECK(batches.start(batches.source, SPLIT_TRAIN, 0, 6, 0, &error));
    CHECK(batches.next(batches.source, SPLIT_TRAIN, fields, &count, &error) && count == 6);
    for (int i = 0; i < 6; i++) {
        const float *row = (const float *)fields[0] + 2 * i;
        int which = ((const int *)fields[1])[i];
        CHECK(row[0] == (float)which && row[1] == (float)which + 0.5f);
    }
    loader_close(loader);

    struct program_input widened[] = {input("x", PROGRAM_F32, 3, 1, 2, 0), label};
    loader = loader_open(dataset, widened, 2, 3, 0, &error); /* an axis of size 1 moves no value */
    CHECK(loader);
    loader_close(loader);
    data_close(dataset);

    expect_bind_error(&description, input("x", PROGRAM_F32, 3, 2, 2, 0), label, "asks for [2, 2]");
    expect_bind_error(&description, x, input("label", PROGRAM_I32, 1, 0, 0, 5), "example 5: label 5 is out of range");
    expect_bind_error(&description, input("x", PROGRAM_F32, 2, 3, 0, 0), label,
                      "an example has shape [2], but the "
                      "model's input x asks for [3]");
    expect_bind_error(&description, input("x", PROGRAM_U8, 2, 2, 0, 0), label,
                      "holds f64, but the model's input x is u8");
    expect_bind_error(&description, input("w", PROGRAM_F32, 2, 2, 0, 0), label, "no field w");
    make_archive(&archive, NAN, 4);
    expect_bind_error(&description, x, label, "a.npz: x.npy: example 3: element 1 is NaN");
    make_archive(&archive, INFINITY, 4);
    expect_bind_error(&description, x, label, "element 1 is infinite");
    make_archive(&archive, 1e300, 4);
    expect_bind_error(&description, x, label, "too large for the model's input");
    make_archive(&archive, 0, -1);
    expect_bind_error(&description, x, label, "label -1 is out of range");
    description.wanted_count = 0;
    expect_open_error(&description, "z.npy has 3 examples, but");
}

static void check_damaged_npz(void)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s", path_of("a.npz"));
    struct data_description description = numpy(path);
    struct archive archive;
    make_archive(&archive, 0, 0);
    unsigned char *bytes = archive.bytes;
    size_t size = archive.size;
    write_file("a.npz", bytes, size - 30);
    expect_open_error(&description, "truncated: its directory is missing");
    write_file("a.npz", "", 0);
    expect_open_error(&description, "not a zip archive");
    for (size_t cut = 0; cut < size; cut += 7) { /* no cut may crash or pass */
        struct error error = {0};
        write_file("a.npz", bytes, cut);
        CHECK(!data_open(&description, &error) && error.code);
    }
    for (size_t at = 0; at < size; at++) { /* nor may a byte that flips */
        struct error error = {0};
        bytes[at] ^= 0x55;
        write_file("a.npz", bytes, size);
        struct dataset *dataset = data_open(&description, &error);
        CHECK(dataset || error.code);
        data_close(dataset);
        bytes[at] ^= 0x55;
    }
    bytes[archive.size / 3] ^= 1;
    unlink(path);
    expect_open_error(&description, "a.npz");
}

static void check_npy(void)
{
    static const struct {
        const char *descr, *shape, *values, *error;
        size_t size;
    } cases[] = {
        {"<i2", "(2, 2)", "\1\0\2\0\3\0\377\377", NULL, 8},
        {"|i1", "(4,)", "\1\2\3\377", NULL, 4},
        {"<f4", "(2,)", "1234", "truncated: shape [2]", 4},
        {"<f4", "(1,)", "12345", "too long", 5},
        {">f4", "(1,)", "1234", "element type '>f4'", 4},
        {"|O", "(1,)", "12345678", "element type '|O'", 8},
        {"<f4", "()", "1234", "a single number", 4},
        {"<f4", "(-1,)", "1234", "damaged", 4},
        {"<f4", "(99999999999, 99999999999)", "1234", "truncated", 4},
    };
    char path[PATH];
    snprintf(path, sizeof path, "%s", path_of("x.npy"));
    struct data_source source = {.kind = DATA_NUMPY, .path = path};
    struct data_description description = one_line(&source);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[512];
        struct error error = {0};
        size_t size = npy_bytes(bytes, cases[i].descr, cases[i].shape, cases[i].values, cases[i].size);
        write_file("x.npy", bytes, size);
        if (cases[i].error) {
            expect_open_error(&description, cases[i].error);
            continue;
        }
        struct dataset *dataset = data_open(&description, &error);
        CHECK(dataset && data_examples(dataset, SPLIT_TRAIN) == (i ? 4 : 2));
        data_close(dataset);
    }
}

/* ---- synthetic ---- */

static void check_synthetic(void)
{
    struct data_synthetic_field fields[] = {
        {"image", DATA_UNIFORM, 10, 20}, {"x", DATA_NORMAL, 5, 2}, {"label", DATA_CLASSES, 0, 0}};
    struct data_source source = {
        .kind = DATA_SYNTHETIC, .examples = 1000, .test = 10, .synthetic_count = 3, .synthetic = fields};
    struct data_description description = one_line(&source);
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    CHECK(data_examples(dataset, SPLIT_TRAIN) == 1000 && data_examples(dataset, SPLIT_TEST) == 10);
    struct program_input inputs[] = {input("image", PROGRAM_U8, 3, 2, 2, 0), input("x", PROGRAM_F32, 2, 4, 0, 0),
                                     input("label", PROGRAM_I32, 1, 0, 0, 3)};
    struct loader *loader = loader_open(dataset, inputs, 3, 0, 0, &error);
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    const void *data[3];
    int64_t count;
    CHECK(batches.start(batches.source, SPLIT_TRAIN, 0, 1000, 0, &error));
    CHECK(batches.next(batches.source, SPLIT_TRAIN, data, &count, &error) && count == 1000);
    double sum = 0, squares = 0;
    int labels[3] = {0}, low = 255, high = 0;
    for (int i = 0; i < 4000; i++) {
        double value = ((const float *)data[1])[i];
        int pixel = ((const unsigned char *)data[0])[i];
        sum += value;
        squares += value * value;
        low = pixel < low ? pixel : low;
        high = pixel > high ? pixel : high;
        labels[((const int *)data[2])[i / 4]]++;
    }
    double mean = sum / 4000, deviation = sqrt(squares / 4000 - mean * mean);
    CHECK(fabs(mean - 5) < 0.15 && fabs(deviation - 2) < 0.15); /* 4 standard errors */
    CHECK(low == 10 && high == 19);
    for (int i = 0; i < 3; i++)
        CHECK(labels[i] > 4 * 270 && labels[i] < 4 * 400);
    loader_close(loader);
    struct program_input other = input("y", PROGRAM_F32, 2, 4, 0, 0);
    CHECK(!loader_open(dataset, &other, 1, 0, 0, &error) && strstr(error.text, "no field y"));
    data_close(dataset);
}

/* ---- the real files, where they are installed ---- */

static void check_fashion(void)
{
    static const char real[] = "/usr/share/datasets/fashion-mnist";
    struct data_source source = {.kind = DATA_IDX, .path = real};
    struct data_description description = one_line(&source);
    struct error error = {0};
    if (access(real, F_OK) != 0)
        return;
    struct dataset *dataset = data_open(&description, &error);
    CHECK(dataset && data_examples(dataset, SPLIT_TRAIN) == 60000 && data_examples(dataset, SPLIT_TEST) == 10000);
    struct program_input inputs[] = {input("image", PROGRAM_U8, 3, 28, 28, 0),
                                     input("label", PROGRAM_I32, 1, 0, 0, 10)};
    struct loader *loader = loader_open(dataset, inputs, 2, 1, 0, &error);
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    const void *fields[2];
    int64_t count, labels[10] = {0};
    double sum = 0;
    CHECK(batches.start(batches.source, SPLIT_TRAIN, 0, 96, 0, &error));
    while (batches.next(batches.source, SPLIT_TRAIN, fields, &count, &error) && count) {
        for (int64_t i = 0; i < count; i++)
            labels[((const int *)fields[1])[i]]++;
        for (int64_t i = 0; i < count * 784; i++)
            sum += ((const unsigned char *)fields[0])[i];
    }
    for (int i = 0; i < 10; i++)
        CHECK(labels[i] == 6000);
    CHECK(fabs(sum / 60000 / 784 / 255 - 0.2860) < 1e-4); /* the known mean of its training images */
    loader_close(loader);
    data_close(dataset);
}

static void clean(void)
{
    static const char *const names[] = {"train-images-idx3-ubyte.gz",
                                        "train-labels.idx1-ubyte",
                                        "t10k-images-idx3-ubyte",
                                        "t10k-labels-idx1-ubyte.gz",
                                        "x.npy",
                                        "a.npz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
}

int main(void)
{
    CHECK(mkdtemp(folder));
    check_idx();
    check_shares();
    check_augmentation();
    check_damaged_idx();
    check_npz();
    check_damaged_npz();
    check_npy();
    check_synthetic();
    check_fashion();
    clean();
    return check_result();
}
