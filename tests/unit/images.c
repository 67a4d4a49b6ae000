/* Images: files made by hand, right and damaged, against the values that were put in; folders of them as data. */
#include "runtime/data/data.h"
#include "runtime/data/image.h"
#include "tests/image_files.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 512 };

static char folder[] = "/tmp/castor-images-XXXXXX";

/* ---- files ---- */

static bool decode(const unsigned char *bytes, size_t size, int channels, unsigned char *out, struct error *error)
{
    struct image image;
    if (!image_inspect("file", bytes, size, &image, error))
        return false;
    if (channels)
        image.channels = channels;
    return image_decode("file", bytes, size, &image, out, error);
}

static void expect_values(const struct png_case *png, int channels, const unsigned char *wanted, size_t count)
{
    unsigned char out[64];
    struct error error = {0};
    size_t size;
    unsigned char *bytes = png_file(png, &size);
    CHECK(decode(bytes, size, channels, out, &error) && memcmp(out, wanted, count) == 0);
    free(bytes);
}

static void expect_refused(const struct png_case *png, const char *part)
{
    unsigned char out[64];
    struct error error = {0};
    size_t size;
    unsigned char *bytes = png_file(png, &size);
    CHECK(!decode(bytes, size, 0, out, &error) && strstr(error.text, part));
    free(bytes);
}

static const unsigned char ramp[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};

static void check_png(void)
{
    static const unsigned char palette[] = {10, 20, 30, 40, 50, 60}, indices[] = {0, 1, 1, 0}, bits[] = {0xa0, 0x40};
    const struct png_case gray = {3, 2, 8, PNG_GRAY, ramp, 3, NULL, NULL, 0};
    const struct png_case colour = {3, 2, 8, PNG_RGB, ramp, 9, NULL, NULL, 0};
    const struct png_case listed = {2, 2, 8, PNG_PALETTE, indices, 2, "PLTE", palette, 6};
    const struct png_case packed = {3, 2, 1, PNG_GRAY, bits, 1, NULL, NULL, 0};
    expect_values(&gray, 0, ramp, 6);
    expect_values(&gray, 3, (unsigned char[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}, 18);
    expect_values(&colour, 0, (unsigned char[]){1, 4, 7, 10, 13, 16, 2, 5, 8, 11, 14, 17, 3, 6, 9, 12, 15, 18}, 18);
    expect_values(&listed, 0, (unsigned char[]){10, 40, 40, 10, 20, 50, 50, 20, 30, 60, 60, 30}, 12);
    expect_values(&packed, 0, (unsigned char[]){255, 0, 255, 0, 255, 0}, 6);
    const struct png_case deep = {1, 2, 16, PNG_GRAY, ramp, 2, NULL, NULL, 0};
    const struct png_case alpha = {1, 2, 8, PNG_RGB_ALPHA, ramp, 4, NULL, NULL, 0};
    const struct png_case hole = {3, 2, 8, PNG_GRAY, ramp, 3, "tRNS", (const unsigned char *)"\0\1", 2};
    expect_refused(&deep, "16 bits a channel");
    expect_refused(&alpha, "transparent in places");
    expect_refused(&hole, "transparent in places");
}

static void check_jpeg(void)
{
    static const unsigned char colour[] = {200, 100, 50, 0};
    unsigned char out[3 * 20 * 10];
    for (int channels = 1; channels <= 4; channels += channels == 1 ? 2 : 1) {
        struct error error = {0};
        size_t size;
        unsigned char *bytes = jpeg_file(20, 10, channels, colour, &size);
        bool taken = decode(bytes, size, 0, out, &error);
        CHECK(taken == (channels < 4) && (taken || strstr(error.text, "four colours")));
        for (int i = 0; taken && i < channels * 200; i++)
            CHECK(abs(out[i] - colour[i / 200]) <= 2);
        error = (struct error){0};
        CHECK(!decode(bytes, size / 2, 0, out, &error) && error.code);
        CHECK(channels == 4 || (!decode(bytes, size - 3, 0, out, &error) && strstr(error.text, "damaged JPEG")));
        free(bytes);
    }
}

/* No cut may pass; no changed byte may crash. */
static void check_damaged(void)
{
    const struct png_case colour = {3, 2, 8, PNG_RGB, ramp, 9, NULL, NULL, 0};
    unsigned char out[64];
    size_t size, jpeg_size;
    unsigned char *bytes = png_file(&colour, &size), *jpeg = jpeg_file(4, 4, 3, ramp, &jpeg_size);
    for (size_t cut = 0; cut < size; cut++) {
        struct error error = {0};
        CHECK(!decode(bytes, cut, 0, out, &error) && error.code);
    }
    for (size_t at = 0; at < size; at++) {
        struct error error = {0};
        struct image image = {3, 2, 3};
        bytes[at] ^= 0x21;
        CHECK(!image_decode("file", bytes, size, &image, out, &error) && error.code);
        bytes[at] ^= 0x21;
    }
    for (size_t at = 0; at < jpeg_size; at++) {
        struct error error = {0};
        struct image image = {4, 4, 3};
        jpeg[at] ^= 0x5a;
        CHECK(image_decode("file", jpeg, jpeg_size, &image, out, &error) || error.code);
        jpeg[at] ^= 0x5a;
    }
    struct error error = {0};
    CHECK(!decode((const unsigned char *)"hello world", 11, 0, out, &error) && strstr(error.text, "neither a PNG"));
    free(bytes);
    free(jpeg);
}

/* Sizes that so few bytes can't hold. */
static void check_lie(void)
{
    const struct png_case lie = {60000, 60000, 8, PNG_GRAY, ramp, 0, NULL, NULL, 0};
    size_t size;
    struct error error = {0};
    struct image image;
    unsigned char *bytes = png_file(&lie, &size);
    CHECK(!image_inspect("file", bytes, size, &image, &error) && strstr(error.text, "can't hold an image of 60000"));
    free(bytes);
}

/* ---- folders ---- */

static const char *path_of(const char *name)
{
    static char path[PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *name, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
}

/* A gray image of 2 by 2, all of whose values are `value`. */
static void write_gray(const char *name, unsigned char value, unsigned width)
{
    const unsigned char rows[] = {value, value, value, value, value, value, value, value};
    const struct png_case gray = {width, 2, 8, PNG_GRAY, rows, width, NULL, NULL, 0};
    size_t size;
    unsigned char *bytes = png_file(&gray, &size);
    write_bytes(name, bytes, size);
    free(bytes);
}

static void make_folder(const char *name)
{
    CHECK(mkdir(path_of(name), 0700) == 0);
}

static void clear(void)
{
    char command[PATH];
    snprintf(command, sizeof command, "rm -rf %s/*", folder);
    CHECK(system(command) == 0);
}

static void expect_error(const char *part)
{
    struct data_source source = {.kind = DATA_IMAGES, .path = folder};
    struct data_description description = {.source_count = 1, .sources = &source};
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    CHECK(!dataset && error.code);
    if (!strstr(error.text, part))
        fprintf(stderr, "wanted \"%s\" in \"%s\"\n", part, error.text);
    CHECK(strstr(error.text, part));
    data_close(dataset);
}

static struct program_input input(const char *name, enum program_element element, int rank, int64_t channels,
                                  int64_t height, int64_t width, int64_t classes)
{
    struct program_input result = {.name = name, .classes = classes};
    result.tensor = (struct program_tensor){.element = element,
                                            .storage = element,
                                            .rank = rank,
                                            .dimension = {1, channels, height, width},
                                            .order = {0, 1, 2, 3}};
    return result;
}

/* Checks a set that is given in order: the first value of each image, and its label. */
static void expect_set(const struct data_source *source, enum split split, int channels, const unsigned char *values,
                       const int *labels, int count)
{
    struct data_description description = {.source_count = 1, .sources = source};
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    struct program_input inputs[] = {input("image", PROGRAM_U8, 4, channels, 2, 2, 0),
                                     input("label", PROGRAM_I32, 1, 0, 0, 0, 3)};
    struct loader *loader = dataset ? loader_open(dataset, inputs, 2, 1, 2, &error) : NULL;
    CHECK(loader && data_examples(dataset, split) == count);
    if (!loader)
        return;
    struct batches batches = loader_batches(loader);
    const void *fields[2];
    int64_t got;
    bool seen[8] = {false};
    CHECK(batches.start(batches.source, split, 0, 1, 0, &error));
    for (int i = 0; i < count; i++) {
        CHECK(batches.next(batches.source, split, fields, &got, &error) && got == 1);
        for (int k = 0; k < count; k++)
            if (!seen[k] && ((const unsigned char *)fields[0])[4 * channels - 1] == values[k] &&
                *(const int *)fields[1] == labels[k]) {
                seen[k] = true;
                break;
            }
    }
    for (int k = 0; k < count; k++)
        CHECK(seen[k]);
    loader_close(loader);
    data_close(dataset);
}

static void check_folders(void)
{
    static const char *const files[] = {"cat", "ant", "cat/2.png", "cat/10.png", "ant/x.png", ".hidden"};
    const struct data_source source = {.kind = DATA_IMAGES, .path = folder};
    expect_error("no folder there");
    make_folder(files[0]);
    make_folder(files[1]);
    write_gray(files[2], 2, 2);
    write_gray(files[3], 10, 2);
    expect_error("ant: a class without an image");
    write_gray(files[4], 7, 2);
    write_gray(files[5], 1, 2); /* passed over */
    expect_set(&source, SPLIT_TRAIN, 1, (unsigned char[]){7, 10, 2}, (int[]){0, 1, 1}, 3);
    const struct png_case colour = {2, 2, 8, PNG_RGB, ramp, 6, NULL, NULL, 0};
    size_t size;
    unsigned char *bytes = png_file(&colour, &size);
    write_bytes("ant/y.png", bytes, size); /* now all have three channels */
    expect_set(&source, SPLIT_TRAIN, 3, (unsigned char[]){7, 10, 2, 12}, (int[]){0, 1, 1, 0}, 4);
    write_bytes("ant/y.png", bytes, size - 20);
    expect_error("ant/y.png: damaged PNG file");
    write_gray("ant/y.png", 1, 3);
    expect_error("ant/y.png is 3 by 2, but");
    write_bytes("ant/y.png", (const unsigned char *)"text", 4);
    expect_error("ant/y.png: neither a PNG nor a JPEG file");
    unlink(path_of("ant/y.png"));
    make_folder("ant/deeper");
    expect_error("ant/deeper: a folder within a class");
    rmdir(path_of("ant/deeper"));
    write_gray("stray.png", 1, 2);
    expect_error("stray.png: is no folder");
    free(bytes);
    clear();
}

static void check_two_sets(void)
{
    static const char *const folders[] = {"train", "test", "train/a", "train/b", "test/a", "test/b"};
    struct data_source source = {.kind = DATA_IMAGES, .path = folder};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        make_folder(folders[i]);
    write_gray("train/a/1.png", 1, 2);
    write_gray("train/b/1.png", 2, 2);
    write_gray("test/a/1.png", 3, 2);
    write_gray("test/b/1.png", 4, 2);
    expect_set(&source, SPLIT_TRAIN, 1, (unsigned char[]){1, 2}, (int[]){0, 1}, 2);
    expect_set(&source, SPLIT_TEST, 1, (unsigned char[]){3, 4}, (int[]){0, 1}, 2);
    struct data_description description = {.source_count = 1, .sources = &source};
    struct error error = {0};
    source.test_share = 0.5;
    CHECK(!data_open(&description, &error) && strstr(error.text, "there is a test set already"));
    make_folder("test/c");
    write_gray("test/c/1.png", 4, 2);
    expect_error("test: class `c` is not trained");
    make_folder("train/c");
    make_folder("train/d");
    write_gray("train/c/1.png", 4, 2);
    write_gray("train/d/1.png", 4, 2);
    expect_error("test: has no class `d`, which is trained");
    clear();
}

/* More than is held in memory, decoded example by example: many names of one file. */
static void check_large(void)
{
    enum { WIDTH = 4096, HEIGHT = 2048, COUNT = 36 };
    unsigned char *rows = calloc(WIDTH, HEIGHT);
    struct png_case gray = {WIDTH, HEIGHT, 8, PNG_GRAY, rows, WIDTH, NULL, NULL, 0};
    size_t size;
    CHECK(rows);
    rows[(size_t)WIDTH * HEIGHT - 1] = 9;
    unsigned char *bytes = png_file(&gray, &size);
    make_folder("a");
    write_bytes("a/0.png", bytes, size);
    for (int i = 1; i < COUNT; i++) {
        char first[PATH], name[PATH];
        snprintf(first, sizeof first, "%s/a/0.png", folder);
        snprintf(name, sizeof name, "%s/a/%d.png", folder, i);
        CHECK(link(first, name) == 0);
    }
    struct data_source source = {.kind = DATA_IMAGES, .path = folder};
    struct data_description description = {.source_count = 1, .sources = &source};
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    struct program_input image = input("image", PROGRAM_U8, 4, 1, HEIGHT, WIDTH, 0);
    struct loader *loader = dataset ? loader_open(dataset, &image, 1, 1, 2, &error) : NULL;
    CHECK(loader);
    struct batches batches = loader_batches(loader);
    const void *fields[1];
    int64_t count;
    CHECK(batches.start(batches.source, SPLIT_TRAIN, 0, 2, 0, &error));
    CHECK(batches.next(batches.source, SPLIT_TRAIN, fields, &count, &error) && count == 2);
    CHECK(memcmp(fields[0], rows, (size_t)WIDTH * HEIGHT) == 0);
    loader_close(loader);
    data_close(dataset);
    free(rows);
    free(bytes);
    clear();
}

int main(void)
{
    CHECK(mkdtemp(folder));
    check_png();
    check_jpeg();
    check_damaged();
    check_lie();
    check_folders();
    check_two_sets();
    check_large();
    clear();
    unlink(path_of(".hidden"));
    rmdir(folder);
    return check_result();
}
