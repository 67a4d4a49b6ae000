/* Sources beside the files of arrays: texts, processes, several data lines; and what must not depend on threads or on
 * where the values lie. Files are made here; what must come out is known from how they were made. */
#include "runtime/data/data.h"
#include "runtime/safetensors.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH = 512 };

static char folder[] = "/tmp/castor-sources-XXXXXX";

/* Whether `which` is one of `count` and comes for the first time. */
static bool is_new(bool *seen, int which, int count)
{
    if (which < 0 || which >= count || seen[which])
        return false;
    seen[which] = true;
    return true;
}

/* Four paths may be in use at once. */
static const char *path_of(const char *name)
{
    static char paths[4][PATH];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
}

static struct program_input input(const char *name, enum program_element element, int64_t width, int64_t classes)
{
    struct program_input result = {.name = name, .classes = classes};
    result.tensor = (struct program_tensor){
        .element = element, .storage = element, .rank = width ? 2 : 1, .dimension = {1, width}, .order = {0, 1}};
    return result;
}

/* ---- what is opened ---- */

struct opened {
    struct dataset *dataset;
    struct loader *loader;
    struct batches batches;
};

static struct opened open_data(const struct data_description *description, const struct program_input *inputs,
                               int count, int threads)
{
    struct opened opened = {0};
    struct error error = {0};
    opened.dataset = data_open(description, &error);
    if (opened.dataset)
        opened.loader = loader_open(opened.dataset, inputs, count, 5, threads, &error);
    if (!opened.loader) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    opened.batches = loader_batches(opened.loader);
    return opened;
}

static struct opened open_line(const struct data_source *source, const struct program_input *inputs, int count)
{
    static struct data_description description;
    description = (struct data_description){.source_count = 1, .sources = source};
    return open_data(&description, inputs, count, 2);
}

static void close_data(struct opened *opened)
{
    loader_close(opened->loader);
    data_close(opened->dataset);
}

static void expect_error(const struct data_source *sources, int count, const char *part)
{
    struct data_description description = {.source_count = count, .sources = sources};
    struct error error = {0};
    struct dataset *dataset = data_open(&description, &error);
    CHECK(!dataset && error.code == ERROR_RUNTIME);
    if (!strstr(error.text, part))
        fprintf(stderr, "wanted \"%s\" in \"%s\"\n", part, error.text);
    CHECK(strstr(error.text, part));
    data_close(dataset);
}

/* ---- text ---- */

/* Every window of a set, each of which begins at a token whose value says where. */
static void expect_windows(const struct data_source *source, enum split split, int64_t width, int first, int step,
                           int count)
{
    struct program_input tokens = input("tokens", PROGRAM_I32, width, 256);
    struct opened opened = open_line(source, &tokens, 1);
    struct error error = {0};
    const void *fields[1];
    int64_t got;
    bool seen[64] = {false};
    CHECK(data_examples(opened.dataset, split) == count);
    CHECK(opened.batches.start(opened.batches.source, split, 0, 1, 0, &error));
    for (int i = 0; i < count; i++) {
        CHECK(opened.batches.next(opened.batches.source, split, fields, &got, &error) && got == 1);
        const int *window = fields[0];
        int which = (window[0] - first) / step;
        CHECK(window[0] == first + which * step && is_new(seen, which, count));
        for (int k = 0; k < width; k++)
            CHECK(window[k] == window[0] + k);
    }
    close_data(&opened);
}

static void check_text(void)
{
    unsigned char bytes[50];
    for (int i = 0; i < 50; i++)
        bytes[i] = (unsigned char)(100 + i);
    write_file("t.txt", bytes, 50);
    struct data_source source = {.kind = DATA_TEXT, .path = path_of("t.txt"), .window = 4, .stride = 4};
    expect_windows(&source, SPLIT_TRAIN, 4, 100, 4, 12); /* two bytes are left over */
    source.stride = 3;
    expect_windows(&source, SPLIT_TRAIN, 4, 100, 3, 16);
    source.test_share = 0.2; /* ten of fifty bytes, at the end */
    expect_windows(&source, SPLIT_TRAIN, 4, 100, 3, 13);
    expect_windows(&source, SPLIT_TEST, 4, 140, 3, 3);
    source.window = 11;
    expect_error(&source, 1, "leaves 10 bytes for testing, fewer than a window of 11");
    source.window = 51;
    expect_error(&source, 1, "40 bytes for training are fewer than a window of 51");
    source.path = "/nonexistent/text";
    expect_error(&source, 1, "/nonexistent/text: cannot read: No such file");
}

/* bé€😀é b: six tokens of five characters, whose code points are in the order ' ', 'b', é, €, 😀. */
static void check_characters(void)
{
    static const char text[] = "b\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9 b";
    static const int wanted[] = {1, 2, 3, 4, 2, 0, 1};
    static const char *const bad[] = {"ab\xc3",         "ab\xff",      "ab\xc0\x80",
                                      "ab\xed\xa0\x80", "ab\xe2\x82 ", "ab\xf5\x80\x80\x80"};
    write_file("t.txt", text, sizeof text - 1);
    struct data_source source = {
        .kind = DATA_TEXT, .path = path_of("t.txt"), .window = 7, .stride = 7, .characters = true};
    struct program_input tokens = input("tokens", PROGRAM_I32, 7, 5);
    struct opened opened = open_line(&source, &tokens, 1);
    struct error error = {0};
    const void *fields[1];
    int64_t count;
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 0, 1, 0, &error));
    CHECK(opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count == 1);
    CHECK(memcmp(fields[0], wanted, sizeof wanted) == 0);
    tokens.classes = 4;
    CHECK(!loader_open(opened.dataset, &tokens, 1, 0, 1, &error) && strstr(error.text, "label 4 is out of range"));
    close_data(&opened);
    source.window = source.stride = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("t.txt", bad[i], strlen(bad[i]));
        expect_error(&source, 1, "t.txt: byte 2 is no UTF-8");
    }
}

/* ---- processes ---- */

/* Example e has x = {e, -e} and label e % 3. */
static void write_chunk(const char *name, int first, int count, enum program_element element)
{
    float x[64];
    int32_t label[32];
    for (int i = 0; i < count; i++) {
        x[2 * i] = (float)(first + i);
        x[2 * i + 1] = -x[2 * i];
        label[i] = (first + i) % 3;
    }
    struct safetensors_tensor tensors[] = {
        {"x", PROGRAM_F32, 2, {count, 2}, x, (size_t)count * 8},
        {"label", element, 1, {count}, label, (size_t)count * 4},
    };
    struct error error = {0};
    CHECK(safetensors_write(path_of(name), tensors, 2, NULL, 0, &error));
}

static void expect_process(const char *command, int64_t examples, int count)
{
    struct data_source source = {.kind = DATA_COMMAND, .path = command, .examples = examples};
    struct program_input inputs[] = {input("x", PROGRAM_F32, 2, 0), input("label", PROGRAM_I32, 0, 3)};
    struct opened opened = open_line(&source, inputs, 2);
    struct error error = {0};
    const void *fields[2];
    int64_t got;
    bool seen[64] = {false};
    CHECK(data_examples(opened.dataset, SPLIT_TRAIN) == count);
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 0, 1, 0, &error));
    while (opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &got, &error) && got) {
        const float *x = fields[0];
        int which = (int)x[0];
        CHECK(is_new(seen, which, count) && x[1] == -x[0] && *(const int *)fields[1] == which % 3);
    }
    for (int i = 0; i < count; i++)
        CHECK(seen[i]);
    close_data(&opened);
}

static void expect_process_error(const char *command, int64_t examples, const char *part)
{
    struct data_source source = {.kind = DATA_COMMAND, .path = command, .examples = examples};
    expect_error(&source, 1, part);
}

static void check_command(void)
{
    write_chunk("a", 0, 7, PROGRAM_I32);
    write_chunk("b", 7, 4, PROGRAM_I32);
    write_chunk("other", 7, 4, PROGRAM_F32);
    CHECK(chdir(folder) == 0);
    expect_process("cat a b", 0, 11);
    expect_process("cat a; cat b", 11, 11);
    expect_process("cat a b", 9, 9);
    expect_process("while cat a b a b; do :; done", 8, 8); /* it never ends by itself */
    expect_process_error("true", 0, "true: no examples");
    expect_process_error("cat a; exit 3", 0, "cat a; exit 3: failed with exit code 3 after 7 examples");
    expect_process_error("cat a; kill -9 $$", 0, "was ended by signal 9 after 7 examples");
    expect_process_error("cat a b", 12, "ended after 11 of 12 examples");
    expect_process_error("cat a; head -c 100 b", 0, "its output ends within a safetensors file");
    expect_process_error("cat a; head -c 100 b; exit 1", 0, "failed with exit code 1 after 7 examples");
    expect_process_error("echo 'hello, world'", 0, "its output is no safetensors file");
    expect_process_error("cat a other", 0, "label: examples are f32[], but those before were i32[]");
    expect_process_error("castor-is-not-here 2>/dev/null", 0, "failed with exit code 127");
    CHECK(chdir("/") == 0);
}

/* ---- several data lines ---- */

static void write_npy(const char *name, const char *descr, const char *shape, const void *values, size_t size)
{
    unsigned char bytes[1024];
    char header[118];
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    memset(header + length, ' ', sizeof header - (size_t)length);
    header[117] = '\n';
    static const unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + 10, header, 118);
    memcpy(bytes + 128, values, size);
    write_file(name, bytes, 128 + size);
}

static void check_join(void)
{
    static const char rows[] = "y,label\n0.5,0\n1.5,1\n2.5,2\n3.5,0\n4.5,1\n5.5,2\n6.5,0\n7.5,1\n8.5,2\n9.5,0\n";
    static const float x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    char first[PATH], second[PATH];
    write_npy("x.npy", "<f4", "(10,)", x, sizeof x);
    write_file("y.csv", rows, sizeof rows - 1);
    snprintf(first, sizeof first, "%s/x.npy", folder);
    snprintf(second, sizeof second, "%s/y.csv", folder);
    struct data_source lines[] = {{.kind = DATA_NUMPY, .path = first},
                                  {.kind = DATA_CSV, .path = second, .test_share = 0.3}};
    struct data_description description = {.source_count = 2, .sources = lines};
    struct program_input inputs[] = {input("x", PROGRAM_F32, 0, 0), input("y", PROGRAM_F32, 0, 0)};
    struct opened opened = open_data(&description, inputs, 2, 1);
    struct error error = {0};
    int total = 0;
    for (int split = 0; split < 2; split++) {
        const void *fields[2];
        int64_t count;
        CHECK(opened.batches.start(opened.batches.source, (enum split)split, 0, 1, 0, &error));
        while (opened.batches.next(opened.batches.source, (enum split)split, fields, &count, &error) && count) {
            CHECK(*(const float *)fields[1] == *(const float *)fields[0] + 0.5f);
            total++;
        }
    }
    CHECK(total == 10 && data_examples(opened.dataset, SPLIT_TEST) == 3);
    struct program_input features = input("z", PROGRAM_F32, 0, 0);
    CHECK(!loader_open(opened.dataset, &features, 1, 0, 1, &error) &&
          strstr(error.text, "the data lines: no field z") && strstr(error.hint, "x, features, y, label"));
    close_data(&opened);

    lines[0].test_share = 0.2;
    expect_error(lines, 2, "different shares for testing, 0.2 and 0.3");
    write_npy("x.npy", "<f4", "(9,)", x, sizeof x - 4);
    expect_error(lines, 2, "y.csv has 10 examples, but");
    lines[0] = (struct data_source){.kind = DATA_CSV, .path = second, .test_share = 0.3};
    struct program_input label = input("label", PROGRAM_I32, 0, 3);
    struct dataset *dataset = data_open(&description, &error);
    error = (struct error){0};
    CHECK(!loader_open(dataset, &label, 1, 0, 1, &error) && strstr(error.text, "two data lines have a field label"));
    data_close(dataset);
}

/* ---- stages ---- */

/* Example e of ten has x = {e, 10 e} and class e. Mixed: x = {v, 10 v}, and v is the mean of the classes by their
 * shares, of which at most two are not zero. The shares of Beta(a, a) have the variance 1 / (8 a + 4) around 1/2. */
static void check_mixup(void)
{
    const double alphas[] = {0.4, 3};
    char path[PATH];
    float x[20];
    int32_t label[10];
    for (int i = 0; i < 10; i++) {
        x[2 * i] = (float)i;
        x[2 * i + 1] = 10 * (float)i;
        label[i] = i;
    }
    const struct safetensors_tensor tensors[] = {{"x", PROGRAM_F32, 2, {10, 2}, x, sizeof x},
                                                 {"label", PROGRAM_I32, 1, {10}, label, sizeof label}};
    struct error error = {0};
    snprintf(path, sizeof path, "%s/a", folder);
    CHECK(safetensors_write(path, tensors, 2, NULL, 0, &error));
    for (size_t k = 0; k < 2; k++) {
        double alpha = alphas[k], sum = 0, squares = 0;
        int mixed = 0;
        const struct data_stage stage = {.kind = DATA_MIXUP, .alpha = alpha};
        struct data_source source = {.kind = DATA_TENSORS, .path = path, .stage_count = 1, .stages = &stage};
        source.test_share = 0.2;
        struct program_input inputs[] = {input("x", PROGRAM_F32, 2, 0), input("label", PROGRAM_F32, 10, 0)};
        struct opened opened = open_line(&source, inputs, 2);
        const void *fields[2];
        int64_t count;
        for (int pass = 0; pass < 200; pass++) {
            CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, pass, 1, 0, &error));
            while (opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count) {
                const float *value = fields[0], *share = fields[1];
                double mean = 0, total = 0, largest = 0;
                int used = 0;
                for (int i = 0; i < 10; i++) {
                    mean += i * (double)share[i];
                    total += (double)share[i];
                    used += share[i] > 0;
                    largest = share[i] > largest ? (double)share[i] : largest;
                }
                CHECK(used >= 1 && used <= 2 && fabs(total - 1) < 1e-6);
                CHECK(fabs(mean - (double)value[0]) < 1e-5 && fabs((double)value[1] - 10 * (double)value[0]) < 1e-4);
                if (used < 2)
                    continue;
                sum += largest - 0.5;
                squares += (largest - 0.5) * (largest - 0.5);
                mixed++;
            }
        }
        double variance = squares / mixed;
        CHECK(mixed > 1200 && fabs(variance - 1 / (8 * alpha + 4)) < 0.1 / (8 * alpha + 4) && sum > 0);
        CHECK(opened.batches.start(opened.batches.source, SPLIT_TEST, 0, 1, 0, &error));
        CHECK(opened.batches.next(opened.batches.source, SPLIT_TEST, fields, &count, &error) && count == 1);
        CHECK(((const float *)fields[1])[(int)*(const float *)fields[0]] == 1);
        close_data(&opened);
    }
}

/* A square of zeros in an image of ones, cut off at the borders, around any pixel equally often. */
static void check_cutout(void)
{
    enum { SIDE = 5, SIZE = 3, EXAMPLES = 4000 };
    const struct data_stage stage = {.kind = DATA_CUTOUT, .size = SIZE};
    const struct data_synthetic_field field = {"x", DATA_UNIFORM, 1, 1};
    const struct data_source source = {.kind = DATA_SYNTHETIC,
                                       .examples = EXAMPLES,
                                       .synthetic_count = 1,
                                       .synthetic = &field,
                                       .stage_count = 1,
                                       .stages = &stage};
    struct program_input image = {.name = "x"};
    image.tensor = (struct program_tensor){
        .element = PROGRAM_F32, .storage = PROGRAM_F32, .rank = 3, .dimension = {1, SIDE, SIDE}, .order = {0, 1, 2}};
    struct opened opened = open_line(&source, &image, 1);
    struct error error = {0};
    const void *fields[1];
    int64_t count;
    int centres[SIDE * SIDE] = {0};
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 0, 1, 0, &error));
    while (opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count) {
        const float *pixels = fields[0];
        int found = -1;
        for (int centre = 0; centre < SIDE * SIDE; centre++) {
            bool same = true;
            for (int i = 0; i < SIDE * SIDE; i++) {
                bool cut = abs(i / SIDE - centre / SIDE) <= 1 && abs(i % SIDE - centre % SIDE) <= 1;
                same &= pixels[i] == (cut ? 0 : 1);
            }
            found = same ? centre : found;
        }
        CHECK(found >= 0);
        centres[found >= 0 ? found : 0]++;
    }
    for (int i = 0; i < SIDE * SIDE; i++) /* 160 expected, deviation 12.4 */
        CHECK(centres[i] > 100 && centres[i] < 220);
    close_data(&opened);
}

/* ---- threads ---- */

static void *whole_pass(const struct data_description *description, const struct program_input *inputs, int threads,
                        int64_t pass, int64_t first, size_t batch_bytes, size_t *size)
{
    struct opened opened = open_data(description, inputs, 1, threads);
    struct error error = {0};
    const void *fields[1];
    int64_t count;
    char *all = malloc(batch_bytes * 64);
    *size = 0;
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, pass, 8, first, &error));
    while (opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count) {
        memcpy(all + *size, fields[0], batch_bytes);
        *size += batch_bytes;
    }
    CHECK(!error.code);
    close_data(&opened);
    return all;
}

/* The bytes of a pass, or of its rest, are the same whatever the number of threads. */
static void check_threads(void)
{
    double mean = 100, deviation = 50;
    const struct data_stage stages[] = {
        {.kind = DATA_RANDOM_CROP, .pad = 3},
        {.kind = DATA_RANDOM_FLIP},
        {.kind = DATA_MIXUP, .alpha = 0.3},
        {.kind = DATA_CUTOUT, .size = 4},
        {.kind = DATA_NORMALIZE, .channels = 1, .mean = &mean, .deviation = &deviation}};
    const struct data_synthetic_field field = {"x", DATA_UNIFORM, 0, 256};
    const struct data_source source = {.kind = DATA_SYNTHETIC,
                                       .examples = 500,
                                       .synthetic_count = 1,
                                       .synthetic = &field,
                                       .stage_count = sizeof stages / sizeof *stages,
                                       .stages = stages};
    const struct data_description description = {.source_count = 1, .sources = &source};
    struct program_input image = {.name = "x"};
    image.tensor = (struct program_tensor){
        .element = PROGRAM_F32, .storage = PROGRAM_F32, .rank = 3, .dimension = {1, 9, 11}, .order = {0, 1, 2}};
    size_t batch = 8 * 9 * 11 * sizeof(float), size, other_size;
    void *one = whole_pass(&description, &image, 1, 3, 0, batch, &size);
    CHECK(size == 62 * batch);
    for (int threads = 2; threads <= 9; threads += 3)
        for (int first = 0; first < 62; first += 17) {
            char *other = whole_pass(&description, &image, threads, 3, first, batch, &other_size);
            CHECK(other_size == size - (size_t)first * batch);
            CHECK(memcmp((char *)one + (size_t)first * batch, other, other_size) == 0);
            free(other);
        }
    free(one);
}

/* ---- values that stay on disk ---- */

enum { ROWS = 300 };

/* A file with holes: `head`, then ROWS rows of `row` bytes, each beginning with its number. */
static void write_sparse(const char *name, const void *head, size_t size, size_t row, bool as_float)
{
    FILE *file = fopen(path_of(name), "wb");
    fwrite(head, 1, size, file);
    for (int i = 0; i < ROWS; i++) {
        float value = (float)i;
        unsigned char bytes[] = {(unsigned char)i, (unsigned char)(i >> 8)};
        fseek(file, (long)(size + (size_t)i * row), SEEK_SET);
        fwrite(as_float ? (void *)&value : (void *)bytes, 1, as_float ? 4 : 2, file);
    }
    fflush(file);
    CHECK(ftruncate(fileno(file), (off_t)(size + ROWS * row)) == 0);
    fclose(file);
}

static size_t npy_head(unsigned char head[128], const char *descr, long columns)
{
    memset(head, ' ', 128);
    static const unsigned char magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    memcpy(head, magic, sizeof magic);
    int length = snprintf((char *)head + 10, 118, "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %ld), }",
                          descr, ROWS, columns);
    head[10 + length] = ' ';
    head[127] = '\n';
    return 128;
}

/* Every row is there once, begins with its number and is zero else. */
static void expect_rows(const struct data_source *source, struct program_input in)
{
    struct opened opened = open_line(source, &in, 1);
    struct error error = {0};
    const void *fields[1];
    int64_t count, columns = in.tensor.dimension[1];
    bool seen[ROWS] = {false};
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 1, 1, ROWS - 40, &error));
    for (int i = 0; i < 40; i++) {
        CHECK(opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count == 1);
        int which = in.tensor.element == PROGRAM_F32 ? (int)*(const float *)fields[0] : *(const int *)fields[0];
        CHECK(is_new(seen, which, ROWS));
        for (int64_t k = 1; k < columns; k += 999)
            CHECK(((const int *)fields[0])[k] == 0);
    }
    close_data(&opened);
}

static void check_disk(void)
{
    enum { COLUMNS = 1 << 18 }; /* 300 MB as f32: more than is held in memory */
    unsigned char head[128] = {0};
    struct data_rename rename = {"x", "big"};
    struct data_source source = {.kind = DATA_NUMPY, .path = path_of("big.npy"), .rename_count = 1, .renames = &rename};
    char path[PATH];
    snprintf(path, sizeof path, "%s", source.path);
    source.path = path;
    write_sparse("big.npy", head, npy_head(head, "<f4", COLUMNS), COLUMNS * 4, true);
    expect_rows(&source, input("x", PROGRAM_F32, COLUMNS, 0));
    CHECK(truncate(path, 1 << 29) == 0);
    expect_error(&source, 1, "too long");
    CHECK(truncate(path, (1 << 28) + 9) == 0);
    expect_error(&source, 1, "truncated: shape [300, 262144] of '<f4' needs more than");
    write_sparse("big.npy", head, npy_head(head, "<i2", 2 * COLUMNS), COLUMNS * 4, false);
    expect_rows(&source, input("x", PROGRAM_I32, 2 * COLUMNS, 0));

    /* A value that is not finite is found when its row is read, and named. */
    write_sparse("big.npy", head, npy_head(head, "<f4", COLUMNS), COLUMNS * 4, true);
    FILE *file = fopen(path, "r+b");
    float nan = NAN;
    fseek(file, 128 + 17 * (long)COLUMNS * 4 + 12, SEEK_SET);
    fwrite(&nan, 4, 1, file);
    fclose(file);
    struct program_input in = input("x", PROGRAM_F32, COLUMNS, 0);
    for (int round = 0; round < 3; round++) {
        struct opened opened = open_line(&source, &in, 1);
        struct error error = {0};
        const void *fields[1];
        int64_t count = 1, batches = 0;
        CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 0, 1, 0, &error));
        while (opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count)
            batches++;
        CHECK(batches < ROWS && strstr(error.text, "example 17: element 3 is NaN"));
        close_data(&opened);
    }
    unlink(path);
}

/* The other forms that are read by row. */
static void check_disk_forms(void)
{
    enum { ROW = 1 << 20 };
    char path[PATH];
    snprintf(path, sizeof path, "%s/big.safetensors", folder);
    char header[256];
    int length = snprintf(header + 8, sizeof header - 8,
                          "{\"x\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%ld]}}", ROWS, ROW / 4,
                          (long)ROWS * ROW);
    memset(header, 0, 8);
    header[0] = (char)length;
    write_sparse("big.safetensors", header, (size_t)length + 8, ROW, true);
    struct data_source source = {.kind = DATA_TENSORS, .path = path};
    expect_rows(&source, input("x", PROGRAM_F32, ROW / 4, 0));
    unlink(path);

    unsigned char idx[16] = {0, 0, 8, 3, 0, 0, ROWS >> 8, ROWS & 255, 0, 0, 4, 0, 0, 0, 4, 0};
    unsigned char labels[8 + ROWS] = {0, 0, 8, 1, 0, 0, ROWS >> 8, ROWS & 255};
    write_sparse("train-images-idx3-ubyte", idx, 16, ROW, false);
    write_file("train-labels-idx1-ubyte", labels, sizeof labels);
    write_file("t10k-labels-idx1-ubyte", (unsigned char[]){0, 0, 8, 1, 0, 0, 0, 0}, 8);
    write_file("t10k-images-idx3-ubyte", (unsigned char[]){0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0}, 16);
    source = (struct data_source){.kind = DATA_IDX, .path = folder};
    struct program_input image = {.name = "image"};
    image.tensor = (struct program_tensor){
        .element = PROGRAM_I32, .storage = PROGRAM_I32, .rank = 3, .dimension = {1, 1024, 1024}, .order = {0, 1, 2}};
    struct opened opened = open_line(&source, &image, 1);
    struct error error = {0};
    const void *fields[1];
    int64_t count;
    CHECK(opened.batches.start(opened.batches.source, SPLIT_TRAIN, 0, 4, 70, &error));
    CHECK(opened.batches.next(opened.batches.source, SPLIT_TRAIN, fields, &count, &error) && count == 4);
    for (int i = 0; i < 4; i++) {
        const int *pixels = (const int *)fields[0] + (size_t)i * ROW;
        CHECK(pixels[0] + 256 * pixels[1] < ROWS && pixels[2] == 0);
    }
    close_data(&opened);
    CHECK(truncate(path_of("train-images-idx3-ubyte"), 1 << 28) == 0);
    expect_error(&source, 1, "truncated: the header says [300, 1024, 1024]");
    CHECK(truncate(path_of("train-images-idx3-ubyte"), 16 + ROWS * (long)ROW + 1) == 0);
    expect_error(&source, 1, "too long");
}

static void clean(void)
{
    static const char *const names[] = {"t.txt",
                                        "a",
                                        "b",
                                        "other",
                                        "x.npy",
                                        "y.csv",
                                        "train-images-idx3-ubyte",
                                        "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte",
                                        "t10k-labels-idx1-ubyte"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
}

int main(void)
{
    CHECK(mkdtemp(folder));
    check_text();
    check_characters();
    check_command();
    check_join();
    check_mixup();
    check_cutout();
    check_threads();
    check_disk();
    check_disk_forms();
    clean();
    return check_result();
}
