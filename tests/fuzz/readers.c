/* Fuzzer of what reads files: damaged safetensors (alone and back to back), checkpoints, npy, npz, csv, idx, PNG, JPEG,
 * programs and logs.
 *
 *     fuzz_readers SECONDS [SEED [INPUTS]]     INPUTS inputs, 1 usually, of SEED on; without SEED, for so many seconds
 *
 * Each round takes a sound file of one kind and damages it: bits, bytes, numbers, pieces cut out, put in twice or
 * moved. The reader may take it or refuse it; it may not crash, hang, or ask for more memory than the file's size
 * warrants (what is compressed may grow a thousandfold, which deflate allows). The seed of a round that fails is
 * printed: give it as SEED to see it again. */
#include "frontend/report/log.h"
#include "runtime/data/array.h"
#include "runtime/data/image.h"
#include "runtime/safetensors.h"
#include "tests/checkpoint_file.h"
#include "tests/image_files.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { SEED_BYTES = 8192, SPARE = 1 << 20, FACTOR = 64, DEFLATE_FACTOR = 2048, HANG_SECONDS = 20 };

/* ---- memory ---- */

static struct {
    size_t most;    /* that a reader may ask for at once; 0: anything */
    char round[80]; /* what a message begins with */
    size_t round_length;
} playing;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static void say(const char *what)
{
    size_t length = 0;
    while (what[length])
        length++;
    if (write(STDERR_FILENO, playing.round, playing.round_length) < 0 || write(STDERR_FILENO, what, length) < 0)
        _exit(3);
}

static void check_size(size_t size)
{
    if (!playing.most || size <= playing.most)
        return;
    say("asks for more memory than the file warrants\n");
    abort();
}

void *__wrap_malloc(size_t size)
{
    check_size(size);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    size_t bytes;
    check_size(__builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    check_size(size);
    return __real_realloc(memory, size);
}

static void fall(int number)
{
    signal(number, SIG_DFL);
    say(number == SIGALRM ? "hangs\n" : "crashes\n");
    raise(number);
}

/* ---- sound files ---- */

struct bytes {
    size_t size;
    unsigned char data[SEED_BYTES];
};

static void put(struct bytes *bytes, const void *data, size_t size)
{
    if (size > SEED_BYTES - bytes->size)
        abort();
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void put_number(struct bytes *bytes, uint64_t value, int count, bool big_endian)
{
    for (int i = 0; i < count; i++) {
        int place = big_endian ? count - 1 - i : i;
        unsigned char byte = (unsigned char)(value >> (8 * place));
        put(bytes, &byte, 1);
    }
}

static void make_safetensors(struct bytes *bytes)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                                 "\"data_offsets\":[0,24]},\"train/step\":{\"dtype\":\"I64\",\"shape\":[],"
                                 "\"data_offsets\":[24,32]},\"b\":{\"dtype\":\"F16\",\"shape\":[4],"
                                 "\"data_offsets\":[32,40]}}    ";
    put_number(bytes, sizeof header - 1, 8, false);
    put(bytes, header, sizeof header - 1);
    for (int i = 0; i < 40; i++)
        put_number(bytes, (uint64_t)i, 1, false);
}

static void make_npy(struct bytes *bytes)
{
    char header[119];
    int length = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2, 3), }");
    memset(header + length, ' ', sizeof header - (size_t)length - 1);
    header[sizeof header - 1] = '\n';
    put(bytes, "\x93NUMPY\x01\x00", 8);
    put_number(bytes, sizeof header - 1, 2, false);
    put(bytes, header, sizeof header - 1);
    for (int i = 0; i < 30; i++)
        put_number(bytes, 0x3f800000, 4, false);
}

/* One entry, deflated. */
static void make_npz(struct bytes *bytes)
{
    static struct bytes inner;
    unsigned char packed[1024];
    inner.size = 0;
    make_npy(&inner);
    z_stream stream = {.next_in = inner.data, .avail_in = (unsigned)inner.size, .next_out = packed, .avail_out = 1024};
    if (deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK || deflate(&stream, Z_FINISH) < 0)
        abort();
    size_t size = stream.total_out;
    uint32_t sum = (uint32_t)crc32(0, inner.data, (unsigned)inner.size);
    deflateEnd(&stream);
    for (int directory = 0; directory < 2; directory++) {
        put(bytes, directory ? "PK\1\2\x14\0\x14\0\0\0\x08\0\0\0\0\0" : "PK\3\4\x14\0\0\0\x08\0\0\0\0\0",
            directory ? 16 : 14);
        put_number(bytes, sum, 4, false);
        put_number(bytes, size, 4, false);
        put_number(bytes, inner.size, 4, false);
        put_number(bytes, 5, 2, false);
        put_number(bytes, 0, 2, false);
        if (directory)
            put(bytes, (char[14]){0}, 14);
        put(bytes, "x.npy", 5);
        if (!directory)
            put(bytes, packed, size);
    }
    put(bytes, "PK\5\6\0\0\0\0\1\0\1\0", 12);
    put_number(bytes, 51, 4, false);
    put_number(bytes, 35 + size, 4, false);
    put_number(bytes, 0, 2, false);
}

static void make_csv(struct bytes *bytes)
{
    static const char text[] = "length,width,\"the kind\",label\r\n1,2.5,\"a, b\",0\r\n-3,1e3,\"say \"\"so\"\"\",1\n"
                               "\n4,0.25,c,2\n7,9,a,0";
    put(bytes, text, sizeof text - 1);
}

static void make_idx(struct bytes *bytes)
{
    put(bytes, "\0\0\x08\x03", 4);
    put_number(bytes, 3, 4, true);
    put_number(bytes, 4, 4, true);
    put_number(bytes, 5, 4, true);
    for (int i = 0; i < 60; i++)
        put_number(bytes, (uint64_t)i, 1, false);
}

/* Two files back to back, as a process writes them. */
static void make_stream(struct bytes *bytes)
{
    make_safetensors(bytes);
    make_safetensors(bytes);
}

static void make_checkpoint(struct bytes *bytes)
{
    size_t size;
    unsigned char *file = checkpoint_file(&size);
    put(bytes, file, size);
    free(file);
}

static void make_png(struct bytes *bytes)
{
    static const unsigned char indices[] = {0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2},
                               colours[] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    const struct png_case png = {4, 3, 8, PNG_PALETTE, indices, 4, "PLTE", colours, 9};
    size_t size;
    unsigned char *file = png_file(&png, &size);
    put(bytes, file, size);
    free(file);
}

static void make_jpeg(struct bytes *bytes)
{
    size_t size;
    unsigned char *file = jpeg_file(20, 12, 3, (const unsigned char[]){200, 100, 50}, &size);
    put(bytes, file, size);
    free(file);
}

static void make_program(struct bytes *bytes)
{
    struct program *program = program_new();
    void *written = NULL;
    size_t size = 0;
    const struct program_tensor f32 = {.element = PROGRAM_F32, .storage = PROGRAM_F32};
    program->name = "line";
    program->target = "host";
    program->source = "";
    program->state_bytes = 128;
    program->alignment = 64;
    program->accumulate = 1;
    program->kernel_count = program->variable_count = program->entry_count = 1;
    program->kernels = program_allocate(program, sizeof *program->kernels);
    program->kernels[0] = (struct program_kernel){.name = "init", .source = "void init(void) {}"};
    program->variables = program_allocate(program, sizeof *program->variables);
    program->variables[0] = (struct program_variable){"w", PROGRAM_PARAMETER, f32, 0};
    struct program_entry *entry = program->entries = program_allocate(program, sizeof *program->entries);
    *entry = (struct program_entry){.name = "init", .scratch_bytes = 64, .step_count = 1};
    struct program_step *step = entry->steps = program_allocate(program, sizeof *entry->steps);
    *step = (struct program_step){.name = "init", .buffer_count = 1, .integer_count = 1};
    step->buffers = program_allocate(program, sizeof *step->buffers);
    step->integers = program_allocate(program, sizeof *step->integers);
    if (!program_write(program, &written, &size))
        abort();
    put(bytes, written, size);
    free(written);
    program_free(program);
}

static void make_log(struct bytes *bytes)
{
    static const char text[] =
        "{\"step\":1,\"epoch\":1,\"loss\":{\"a\":0.5,\"b\":null},\"metrics\":{\"m\":1},\"scale\":{\"a\":8,\"b\":8},"
        "\"skipped\":{\"a\":1,\"b\":0},\"overflow\":\"fc1 (m.net:2:3), mul\",\"cause\":\"scale\"}\n"
        "{\"step\":2,\"epoch\":1,\"loss\":0.25,\"lr\":1e-3,\"scale\":4,\"skipped\":1,\"examples_per_s\":100}\n"
        "{\"epoch\":1,\"eval\":{\"loss\":0.3,\"m\":0.5},\"average\":{\"loss\":0.2},\"step\":2,\"set\":\"test\"}\n";
    put(bytes, text, sizeof text - 1);
}

/* ---- readers ---- */

/* The path of a file with these bytes: the same file each time, in memory. */
static const char *file_of(const struct bytes *bytes)
{
    static int descriptor = -1;
    static char path[32];
    if (descriptor < 0) {
        descriptor = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    if (pwrite(descriptor, bytes->data, bytes->size, 0) != (ssize_t)bytes->size ||
        ftruncate(descriptor, (off_t)bytes->size) != 0)
        abort();
    return path;
}

static bool read_safetensors(const struct bytes *bytes)
{
    struct error error = {0};
    struct safetensors *file = safetensors_open(file_of(bytes), &error);
    volatile unsigned char sum = 0;
    for (int i = 0; file && i < file->count; i++)
        for (size_t k = 0; k < file->tensors[i].bytes; k++)
            sum = (unsigned char)(sum + ((const unsigned char *)file->tensors[i].data)[k]);
    bool taken = file;
    safetensors_close(file);
    return taken;
}

static bool read_stream(const struct bytes *bytes)
{
    struct error error = {0};
    struct safetensors *file;
    FILE *stream = fmemopen((void *)bytes->data, bytes->size + !bytes->size, "rb");
    while (stream && (file = safetensors_read(stream, "fuzz", &error)))
        safetensors_close(file);
    if (stream)
        fclose(stream);
    return !error.code;
}

static bool read_checkpoint(const struct bytes *bytes)
{
    return checkpoint_take(file_of(bytes));
}

static bool read_image(const struct bytes *bytes)
{
    struct error error = {0};
    struct image image;
    if (!image_inspect("fuzz", bytes->data, bytes->size, &image, &error))
        return false;
    unsigned char *values = malloc((size_t)(image.width * image.height) * (size_t)image.channels + 1);
    bool taken = values && image_decode("fuzz", bytes->data, bytes->size, &image, values, &error);
    free(values);
    return taken;
}

static bool read_npy(const struct bytes *bytes)
{
    struct error error = {0};
    struct data_array array = {0};
    void *memory = malloc(bytes->size + 1);
    memcpy(memory, bytes->data, bytes->size);
    bool taken = npy_parse("fuzz", memory, bytes->size, &array, &error);
    data_array_free(&array);
    return taken;
}

static bool read_npz(const struct bytes *bytes)
{
    struct error error = {0};
    struct zip zip = {0};
    bool taken = false;
    if (zip_open(&zip, file_of(bytes), &error))
        for (int i = 0; i < zip.count; i++) {
            struct data_array array = {0};
            void *memory = zip_read(&zip, &zip.entries[i], &error);
            taken |= memory && npy_parse("fuzz", memory, zip.entries[i].size, &array, &error);
            data_array_free(&array);
            error = (struct error){0};
        }
    zip_close(&zip);
    return taken;
}

static bool read_csv(const struct bytes *bytes)
{
    struct error error = {0};
    struct data_array features = {0};
    struct csv csv;
    bool taken = csv_parse(&csv, "fuzz", (const char *)bytes->data, bytes->size, &error);
    if (taken)
        csv_features(&csv, "label", &features, &error);
    data_array_free(&features);
    csv_free(&csv);
    return taken;
}

static bool read_idx(const struct bytes *bytes)
{
    struct error error = {0};
    struct data_array array = {0};
    bool taken = idx_read(file_of(bytes), 3, &array, &error);
    data_array_free(&array);
    return taken;
}

static bool read_program(const struct bytes *bytes)
{
    char problem[256];
    struct program *program = program_read(bytes->data, bytes->size, problem, sizeof problem);
    if (program && program_check(program, problem, sizeof problem))
        free(program_text(program));
    bool taken = program;
    program_free(program);
    return taken;
}

/* Sums of the chunks, as far as their lengths lead. */
static void mend_png(struct bytes *bytes)
{
    for (size_t at = 8; at + 12 <= bytes->size;) {
        const unsigned char *length = bytes->data + at;
        size_t size = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
        if (size > bytes->size - at - 12)
            return;
        uint32_t sum = (uint32_t)crc32(0, bytes->data + at + 4, (unsigned)size + 4);
        for (int i = 0; i < 4; i++)
            bytes->data[at + 8 + size + (size_t)i] = (unsigned char)(sum >> 8 * (3 - i));
        at += size + 12;
    }
}

static bool read_log(const struct bytes *bytes)
{
    struct error error = {0};
    struct report_log log;
    bool taken = report_log_read(&log, file_of(bytes), &error) && !log.unused;
    json_decref(report_log_json(&log));
    report_log_free(&log);
    return taken;
}

static const struct {
    const char *name;
    void (*make)(struct bytes *bytes);
    bool (*read)(const struct bytes *bytes); /* whether it took the file */
    size_t factor;
    void (*mend)(struct bytes *bytes); /* sums that would give every damage away; NULL: none */
} kinds[] = {{"safetensors", make_safetensors, read_safetensors, FACTOR, NULL},
             {"stream", make_stream, read_stream, FACTOR, NULL},
             {"checkpoint", make_checkpoint, read_checkpoint, FACTOR, NULL},
             {"npy", make_npy, read_npy, FACTOR, NULL},
             {"npz", make_npz, read_npz, DEFLATE_FACTOR, NULL},
             {"csv", make_csv, read_csv, FACTOR, NULL},
             {"idx", make_idx, read_idx, DEFLATE_FACTOR, NULL},
             {"png", make_png, read_image, DEFLATE_FACTOR, mend_png},
             {"jpeg", make_jpeg, read_image, DEFLATE_FACTOR, NULL},
             {"program", make_program, read_program, FACTOR, NULL},
             {"log", make_log, read_log, FACTOR, NULL}};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- damage ---- */

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below ? (z ^ (z >> 31)) % below : 0;
}

static void insert(struct bytes *bytes, size_t at, const void *data, size_t size)
{
    if (size > SEED_BYTES - bytes->size)
        return;
    memmove(bytes->data + at + size, bytes->data + at, bytes->size - at);
    memcpy(bytes->data + at, data, size);
    bytes->size += size;
}

static void cut(struct bytes *bytes, size_t at, size_t size)
{
    memmove(bytes->data + at, bytes->data + at + size, bytes->size - at - size);
    bytes->size -= size;
}

static void damage(struct bytes *bytes, uint64_t *state)
{
    static const char *const words[] = {
        "0", "-1",        "18446744073709551615", "9223372036854775807", "1e308", "\"", "{", "]", "nan", "\n",
        ",", "4294967296"};
    unsigned char piece[64];
    size_t at = draw(state, bytes->size + 1), length = draw(state, sizeof piece) + 1;
    length = length < bytes->size - at ? length : bytes->size - at;
    const char *word = words[draw(state, sizeof words / sizeof *words)];
    switch (draw(state, 7)) {
    case 0:
        if (at < bytes->size)
            bytes->data[at] ^= (unsigned char)(1 << draw(state, 8));
        break;
    case 1:
        if (at < bytes->size)
            bytes->data[at] = (unsigned char[]){0, 1, 0x7f, 0x80, 0xff}[draw(state, 5)];
        break;
    case 2:
        insert(bytes, at, word, strlen(word));
        break;
    case 3:
        cut(bytes, at, length);
        break;
    case 4:
        memcpy(piece, bytes->data + at, length);
        insert(bytes, draw(state, bytes->size + 1), piece, length);
        break;
    case 5:
        for (size_t i = 0; i < 8 && at + i < bytes->size; i++)
            bytes->data[at + i] = (unsigned char)draw(state, 256);
        break;
    default:
        if (draw(state, 4) == 0)
            bytes->size = at;
    }
}

int main(int argc, char **argv)
{
    static struct bytes sound[KINDS], damaged;
    double limit = argc > 1 ? strtod(argv[1], NULL) : 1;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, first = seed;
    uint64_t last = argc > 3 ? seed + strtoull(argv[3], NULL, 10) : seed + 1, by_kind[KINDS] = {0};
    time_t start = time(NULL);
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], fall);
    for (int i = 0; i < KINDS; i++) {
        kinds[i].make(&sound[i]);
        if (kinds[i].read(&sound[i]))
            continue;
        fprintf(stderr, "fuzz_readers: a sound %s file is refused\n", kinds[i].name);
        return 1;
    }
    do {
        uint64_t state = seed;
        int kind = (int)draw(&state, KINDS);
        damaged.size = sound[kind].size;
        memcpy(damaged.data, sound[kind].data, damaged.size);
        for (uint64_t i = draw(&state, 4) + 1; i; i--)
            damage(&damaged, &state);
        if (kinds[kind].mend && draw(&state, 4))
            kinds[kind].mend(&damaged);
        playing.round_length =
            (size_t)snprintf(playing.round, sizeof playing.round, "fuzz_readers: %s: round with seed %" PRIu64 ": ",
                             kinds[kind].name, seed);
        playing.most = damaged.size * kinds[kind].factor + SPARE;
        if (seed % 1024 == 0)
            alarm(HANG_SECONDS);
        kinds[kind].read(&damaged);
        playing.most = 0;
        by_kind[kind]++;
        seed++;
    } while (argc > 2 ? seed < last : seed % 256 || difftime(time(NULL), start) < limit);
    printf("fuzz_readers: %" PRIu64 " inputs, no failure\n", seed - first);
    for (int i = 0; i < KINDS; i++)
        printf("%12" PRIu64 " %s\n", by_kind[i], kinds[i].name);
    return 0;
}
