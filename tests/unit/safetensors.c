/* safetensors: what is written reads back; every way in which a file can be wrong is refused with its own message;
 * a write that fails leaves the old file. */
#include "runtime/safetensors.h"
#include "check.h"
#include "runtime/file.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char folder[] = "/tmp/castor-test-XXXXXX";

static char *path_of(const char *name)
{
    return file_text("%s/%s", folder, name);
}

/* Writes a file with this header and so many bytes of data, and gives the reader's message ("" when it is content). */
static const char *message(const char *header, size_t data_bytes, struct error *error)
{
    char *path = path_of("case.safetensors");
    FILE *stream = fopen(path, "wb");
    uint64_t length = strlen(header);
    fwrite(&length, 1, 8, stream);
    fwrite(header, 1, length, stream);
    for (size_t i = 0; i < data_bytes; i++)
        fputc((int)i, stream);
    fclose(stream);
    *error = (struct error){0};
    struct safetensors *file = safetensors_open(path, error);
    CHECK(!file == (error->code == ERROR_RUNTIME));
    safetensors_close(file);
    free(path);
    return error->text;
}

static void check_refused(void)
{
    static const struct {
        const char *header;
        size_t bytes;
        const char *wanted;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, ""},
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}  ", 1,
         ""},
        {"{}", 0, ""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}",
         16, "belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "at the end belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8, "out of range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "out of range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "out of range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "takes 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904, 8],\"data_offsets\":[0,8]}}", 8, "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, "natural number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "natural number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "rank 9"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "type `F8_E4M3`"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "exactly"},
        {"{\"a\":3}", 0, "exactly"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "duplicate"},
        {"{\"a\":", 8, "header:"},
        {" {}", 8, "does not begin"},
        {"[]", 0, "does not begin"},
    };
    struct error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = message(cases[i].header, cases[i].bytes, &error);
        if (cases[i].wanted[0])
            CHECK(strstr(got, cases[i].wanted));
        else
            CHECK_TEXT(got, "");
        if (cases[i].wanted[0] && !strstr(got, cases[i].wanted))
            fprintf(stderr, "  case %zu: %s\n", i, got);
    }
}

static void check_raw(const void *bytes, size_t size, const char *wanted)
{
    struct error error = {0};
    char *path = path_of("raw.safetensors");
    CHECK(file_write(path, bytes, size, &error));
    CHECK(!safetensors_open(path, &error) && strstr(error.text, wanted) && strstr(error.text, "raw.safetensors"));
    free(path);
}

static void check_lengths(void)
{
    check_raw("", 0, "too few");
    check_raw("\2\0\0\0\0\0\0\0{", 9, "too few");
    check_raw("\3\0\0\0\0\0\0\0{}", 10, "truncated");
    check_raw("\377\377\377\377\377\377\377\377{}", 10, "too large");
    struct error error = {0};
    CHECK(!safetensors_open("/nowhere/w.safetensors", &error));
    CHECK_TEXT(error.text, "/nowhere/w.safetensors: cannot read: No such file or directory");
    error = (struct error){0};
    CHECK(!safetensors_open("/tmp", &error));
}

static const float four[4] = {1, -2, 3.5f, 0};
static const int64_t wide[1] = {1LL << 40};

static bool write_two(const char *path, struct error *error)
{
    const struct safetensors_tensor tensors[] = {
        {"fc1.weight", PROGRAM_F32, 2, {2, 2}, four, sizeof four},
        {"empty \"name\"", PROGRAM_F16, 2, {3, 0}, NULL, 0},
        {"train/step", PROGRAM_I64, 0, {0}, wide, sizeof wide},
    };
    return safetensors_write(path, tensors, 3, NULL, 0, error);
}

static void check_round_trip(void)
{
    struct error error = {0};
    char *path = path_of("two.safetensors");
    CHECK(write_two(path, &error));
    struct safetensors *file = safetensors_open(path, &error);
    CHECK(file && file->count == 3);
    const struct safetensors_tensor *weight = safetensors_find(file, "fc1.weight");
    CHECK(weight && weight->element == PROGRAM_F32 && weight->rank == 2 && weight->dimension[1] == 2);
    CHECK(weight && memcmp(weight->data, (const char *)four, sizeof four) == 0);
    const struct safetensors_tensor *empty = safetensors_find(file, "empty \"name\"");
    CHECK(empty && empty->bytes == 0 && empty->dimension[0] == 3);
    const struct safetensors_tensor *step = safetensors_find(file, "train/step");
    CHECK(step && step->rank == 0 && memcmp(step->data, wide, sizeof wide) == 0);
    CHECK(!safetensors_find(file, "nothing"));
    safetensors_close(file);
    free(path);
}

/* A file size limit stands for a full disk: the write fails in the middle. */
static void check_full_disk(void)
{
    struct error error = {0};
    char *path = path_of("full.safetensors");
    CHECK(write_two(path, &error));
    size_t size = 0, size_after = 0;
    char *before = file_read(path, &size, &error);
    struct rlimit old, limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(!write_two(path, &error) && error.code == ERROR_RUNTIME);
    CHECK(strstr(error.text, "full.safetensors: cannot write: File too large") && error.hint[0]);
    setrlimit(RLIMIT_FSIZE, &old);
    error = (struct error){0};
    char *after = file_read(path, &size_after, &error);
    CHECK(size == size_after && memcmp(before, after, size) == 0);
    char *listing = file_text("test $(ls %s | grep -c tmp) = 0", folder);
    CHECK(system(listing) == 0);
    free(listing);
    free(before);
    free(after);
    free(path);
    CHECK(!write_two("/nowhere/x.safetensors", &error) && strstr(error.text, "/nowhere/x.safetensors"));
}

int main(void)
{
    CHECK(mkdtemp(folder));
    check_refused();
    check_lengths();
    check_round_trip();
    check_full_disk();
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
