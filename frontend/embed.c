/* Source files in a temporary folder, the system's compiler on each, and its linker on all with the runtime's archive,
 * which lies in lib/castor beside or above castor itself. */
#include "frontend/embed.h"
#include "ir/arena.h"
#include "runtime/cache.h"
#include "runtime/file.h"
#include "runtime/host/compile.h"
#include "runtime/host/process.h"
#include "runtime/units.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const sets[] = {"avx512", "avx2", "baseline"};

enum {
    SETS = sizeof sets / sizeof *sets,
    OBJECTS = SETS * UNITS_MAX + 1,
    LIBRARIES = 32,
    OBJECT_WORDS = 6,
    LINK_WORDS = 64
};

struct embedding {
    const struct embed_edition *editions;
    int edition_count;
    const struct program *host; /* of the host's edition; NULL: there is none */
    struct error *error;
    struct cache folder; /* temporary */
    char *library;       /* folder of shipped libraries */
    int ends[UNITS_MAX], unit_count;
    int object_count;
    char *objects[OBJECTS];
    pid_t processes[OBJECTS];
    int library_count;
    char *libraries[LIBRARIES]; /* as shipped */
};

static char *scratch(const struct embedding *embedding, const char *name, const char *suffix)
{
    return file_text("%s/%s%s", embedding->folder.scratch, name, suffix);
}

static bool write_scratch(struct embedding *embedding, const char *name, const char *suffix, const void *bytes,
                          size_t size)
{
    char *path = scratch(embedding, name, suffix);
    bool ok = file_write(path, bytes, size, embedding->error);
    free(path);
    return ok;
}

/* ---- compiling ---- */

static bool no_compiler(struct embedding *embedding, const char *compiler)
{
    error_set(embedding->error, "cannot run the C compiler `%s`: %s", compiler, strerror(errno));
    error_hint(embedding->error,
               "trainers are compiled and linked on this machine: install gcc, or name a C compiler in "
               "the variable CC");
    return false;
}

static bool compiler_failed(struct embedding *embedding, const char *what, const char *log)
{
    struct error ignored = {0};
    size_t size;
    char *text = file_read(log, &size, &ignored);
    const char *line = text ? strstr(text, "undefined reference") : NULL;
    line = text && !line ? strstr(text, "error") : line;
    while (line && line > text && line[-1] != '\n')
        line--;
    line = line ? line : text ? text : "";
    error_set(embedding->error, "%s failed: %.*s", what, (int)strcspn(line, "\n"), line);
    free(text);
    return false;
}

/* Starts the compiler on NAME.c, which becomes the next object. */
static bool start_object(struct embedding *embedding, const char *name, const char *isa)
{
    struct compile_command command;
    if (!compile_command_make(&command, isa, OBJECT_WORDS, embedding->error)) {
        compile_command_free(&command);
        return false;
    }
    char *source = scratch(embedding, name, ".c"), *log = scratch(embedding, name, ".log");
    char *include = file_text("-Wa,-I,%s", embedding->folder.scratch);
    int at = embedding->object_count++;
    embedding->objects[at] = scratch(embedding, name, ".o");
    char *const own[] = {"-c", "-g0", include, "-o", embedding->objects[at], source, NULL};
    memcpy(command.words + command.count, own, sizeof own);
    embedding->processes[at] = process_start(command.words, log);
    bool ok = embedding->processes[at] || no_compiler(embedding, command.words[0]);
    compile_command_free(&command);
    free(source);
    free(log);
    free(include);
    return ok;
}

static bool finish_object(struct embedding *embedding, int at)
{
    bool ok = !embedding->processes[at] || process_wait(embedding->processes[at]);
    embedding->processes[at] = 0;
    if (ok)
        return true;
    char *log = file_text("%.*slog", (int)strlen(embedding->objects[at]) - 1, embedding->objects[at]);
    compiler_failed(embedding, "the C compiler on a trainer's kernels", log);
    free(log);
    return false;
}

/* The kernels of a unit become functions of the file alone, so that those of several instruction sets do not meet; a
 * table behind them is what the linker sees. */
static char *unit_source(const struct program *program, const char *name, int first, int last)
{
    size_t size = 0;
    char *text = NULL;
    FILE *out = arena_stream(&text, &size);
    for (int i = first; i < last; i++)
        fprintf(out, "static void %s(char *const *, const long long *, const long *);\n", program->kernels[i].name);
    fputs(program->source, out);
    for (int i = first; i < last; i++)
        fprintf(out, "\n%s", program->kernels[i].source);
    fprintf(out, "\nvoid (*const castor_%s[])(char *const *, const long long *, const long *) = {\n", name);
    for (int i = first; i < last; i++)
        fprintf(out, "    %s,\n", program->kernels[i].name);
    fputs("};\n", out);
    arena_stream_close(out);
    return text;
}

static bool start_unit(struct embedding *embedding, int set, int unit)
{
    char *name = file_text("%s_%d", sets[set], unit);
    int first = unit ? embedding->ends[unit - 1] : 0;
    char *text = unit_source(embedding->host, name, first, embedding->ends[unit]);
    bool ok = text
                  ? write_scratch(embedding, name, ".c", text, strlen(text)) && start_object(embedding, name, sets[set])
                  : error_set(embedding->error, "out of memory");
    free(text);
    free(name);
    return ok;
}

static bool compile_units(struct embedding *embedding, int jobs)
{
    int total = SETS * embedding->unit_count, finished = 0;
    bool ok = true;
    for (int i = 0; i < total && ok; i++) {
        if (i - finished >= jobs)
            ok = finish_object(embedding, finished++);
        ok = ok && start_unit(embedding, i / embedding->unit_count, i % embedding->unit_count);
    }
    while (finished < embedding->object_count)
        ok = finish_object(embedding, finished++) && ok;
    return ok;
}

/* ---- the payload ---- */

/* The program without the text of its kernels, which is compiled. */
static bool write_program(struct embedding *embedding, const struct program *program, const char *name)
{
    struct program bare = *program;
    void *bytes = NULL;
    size_t size = 0;
    bare.source = "";
    bare.kernels = calloc((size_t)bare.kernel_count + 1, sizeof *bare.kernels);
    if (!bare.kernels)
        arena_exhausted();
    for (int i = 0; i < bare.kernel_count; i++) {
        bare.kernels[i] = program->kernels[i];
        bare.kernels[i].source = "";
    }
    bool ok = program_write(&bare, &bytes, &size) || error_set(embedding->error, "out of memory");
    ok = ok && write_scratch(embedding, name, "", bytes, size);
    free(bytes);
    free(bare.kernels);
    return ok;
}

static bool write_edition(struct embedding *embedding, int number)
{
    const struct embed_edition *edition = &embedding->editions[number];
    char *program = file_text("program_%d", number), *record = file_text("record_%d", number);
    char *code = file_text("code_%d", number);
    bool ok = write_program(embedding, edition->program, program) &&
              write_scratch(embedding, record, "", edition->record, strlen(edition->record)) &&
              write_scratch(embedding, code, "", edition->code ? edition->code : "", edition->code_size);
    free(program);
    free(record);
    free(code);
    return ok;
}

/* The bytes of a file, and a zero behind them. */
static void put_blob(FILE *out, const char *name)
{
    fprintf(out,
            "__asm__(\".section .rodata\\n.balign 16\\n.globl castor_%s\\ncastor_%s:\\n.incbin \\\"%s\\\"\\n\"\n"
            "        \".globl castor_%s_end\\ncastor_%s_end:\\n.byte 0\\n.text\\n\");\n"
            "extern const char castor_%s[], castor_%s_end[];\n",
            name, name, name, name, name, name, name);
}

static void put_units(FILE *out, const struct embedding *embedding)
{
    fputs("typedef void kernel(char *const *, const long long *, const long *);\n", out);
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < embedding->unit_count; k++)
            fprintf(out, "extern kernel *const castor_%s_%d[];\n", sets[i], k);
    fputs("static const struct {\n    const char *isa;\n    int first, count;\n    kernel *const *functions;\n} "
          "units[] = {\n",
          out);
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < embedding->unit_count; k++) {
            int first = k ? embedding->ends[k - 1] : 0;
            fprintf(out, "    {\"%s\", %d, %d, castor_%s_%d},\n", sets[i], first, embedding->ends[k] - first, sets[i],
                    k);
        }
    fputs("    {0, 0, 0, 0}};\n", out);
}

static void put_edition(FILE *out, const struct embed_edition *edition, int i)
{
    fprintf(out, "    {\"%s\", ", edition->device);
    fprintf(out, edition->architecture ? "\"%s\"" : "0", edition->architecture);
    fprintf(
        out,
        ", %d, castor_record_%d, castor_program_%d, castor_program_%d_end, castor_code_%d, castor_code_%d_end, %s},\n",
        edition->tf32, i, i, i, i, i, edition->architecture ? "0" : "units");
}

/* castor_payload and castor_editions, as runtime/standalone/ declares them. */
static char *payload_source(const struct embedding *embedding)
{
    static const char *const parts[] = {"record", "program", "code"};
    size_t size = 0;
    char *text = NULL;
    FILE *out = arena_stream(&text, &size);
    put_blob(out, "payload");
    for (int i = 0; i < embedding->edition_count; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            char *name = file_text("%s_%d", parts[k], i);
            put_blob(out, name);
            free(name);
        }
    put_units(out, embedding);
    fputs("const struct {\n    const char *device, *architecture;\n    int tf32;\n"
          "    const char *record, *program, *program_end, *code, *code_end;\n    const void *units;\n"
          "} castor_editions[] = {\n",
          out);
    for (int i = 0; i < embedding->edition_count; i++)
        put_edition(out, &embedding->editions[i], i);
    fputs("    {0, 0, 0, 0, 0, 0, 0, 0, 0}};\n", out);
    bool gpu = embedding->edition_count > (embedding->host != NULL);
    fprintf(out, "%svoid (*const castor_choose_gpu)(void) = %s;\n", gpu ? "void trainer_choose_gpu(void);\n" : "",
            gpu ? "trainer_choose_gpu" : "0");
    arena_stream_close(out);
    return text;
}

static bool write_payload(struct embedding *embedding, const struct payload *payload)
{
    char *json = payload_text(payload), *source = payload_source(embedding);
    bool ok = json && source;
    if (ok)
        ok = write_scratch(embedding, "payload", "", json, strlen(json));
    else
        error_set(embedding->error, "out of memory");
    for (int i = 0; i < embedding->edition_count && ok; i++)
        ok = write_edition(embedding, i);
    ok = ok && write_scratch(embedding, "payload", ".c", source, strlen(source)) &&
         start_object(embedding, "payload", "baseline") && finish_object(embedding, embedding->object_count - 1);
    free(json);
    free(source);
    return ok;
}

/* ---- shared libraries ---- */

/* What every system has, what the archive or the linker brings in whole, and what a GPU's driver and toolkit bring. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = {"ld-linux",    "linux-vdso", "libc.",    "libm.",       "libgomp.",
                                        "libpthread.", "libdl.",     "librt.",   "libjansson.", "libxxhash.",
                                        "libz.",       "libpng16.",  "libjpeg.", "libasan.",    "libubsan.",
                                        "libtsan.",    "libnvrtc",   "libcuda.", "libcublas"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return !*name || !strstr(name, ".so");
}

/* Castor uses the same libraries as a trainer: those that it has loaded are the ones to ship. */
static int copy_library(struct dl_phdr_info *info, size_t size, void *own)
{
    (void)size;
    struct embedding *embedding = own;
    const char *slash = strrchr(info->dlpi_name, '/'), *name = slash ? slash + 1 : info->dlpi_name;
    size_t bytes = 0;
    if (is_left_out(name) || embedding->library_count == LIBRARIES)
        return 0;
    char *path = file_text("%s/%s", embedding->library, name);
    char *content = file_read(info->dlpi_name, &bytes, embedding->error);
    bool ok = content && file_write(path, content, bytes, embedding->error);
    free(content);
    embedding->libraries[embedding->library_count++] = path;
    return !ok;
}

/* lib/castor with the runtime's archive, beside or above castor; malloced, NULL with an error set. */
static char *find_archive(struct embedding *embedding)
{
    char own[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    for (int up = 0; length > 0 && up < 2; up++) {
        own[length] = 0;
        char *slash = strrchr(own, '/');
        if (!slash)
            break;
        length = slash - own;
        char *path = file_text("%.*s/lib/castor/libcastor_trainer.a", (int)length, own);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    error_set(embedding->error, "lib/castor/libcastor_trainer.a is not beside castor: the installation is not whole");
    return NULL;
}

/* ---- linking ---- */

static bool link_trainer(struct embedding *embedding, const char *path)
{
    struct compile_command command = {0};
    char *archive = find_archive(embedding);
    if (!archive || !compile_command_make(&command, "baseline", OBJECTS + LIBRARIES + LINK_WORDS, embedding->error)) {
        compile_command_free(&command);
        free(archive);
        return false;
    }
    char *output = file_text("%s.%d.tmp", path, getpid()), *log = scratch(embedding, "link", ".log");
    char *place = file_text("-L%.*s", (int)(strrchr(archive, '/') - archive), archive);
    char *libraries = file_text("-Wl,-rpath-link,%s", embedding->library);
    char **words = command.words;
    int count = command.compiler; /* the flags behind it are for compiling */
    char *const before[] = {"-fopenmp",
                            "-s",
                            "-Wl,--build-id=none",
                            "-Wl,--disable-new-dtags",
                            "-Wl,-rpath,$ORIGIN/lib",
                            "-Wl,--as-needed",
                            "-o",
                            output,
                            place,
                            libraries};
    char *const after[] = {archive,  "-Wl,-Bstatic", "-ljansson",     "-lxxhash", "-lpng",
                           "-ljpeg", "-lz",          "-Wl,-Bdynamic", "-lm"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        words[count++] = before[i];
    for (int i = 0; i < embedding->object_count; i++)
        words[count++] = embedding->objects[i];
    for (size_t i = 0; i < sizeof after / sizeof *after; i++)
        words[count++] = after[i];
    for (int i = 0; i < embedding->library_count; i++)
        words[count++] = embedding->libraries[i];
    words[count] = NULL;
    pid_t process = process_start(words, log);
    bool ok = process ? process_wait(process) || compiler_failed(embedding, "the linker", log)
                      : no_compiler(embedding, words[0]);
    ok = ok && (rename(output, path) == 0 || error_set_system(embedding->error, path, "cannot write"));
    if (!ok)
        unlink(output);
    char *const owned[] = {archive, output, log, place, libraries};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    compile_command_free(&command);
    return ok;
}

static bool ship_libraries(struct embedding *embedding, const char *path)
{
    const char *slash = strrchr(path, '/');
    embedding->library = slash ? file_text("%.*s/lib", (int)(slash - path), path) : file_text("lib");
    if (!file_make_folders(embedding->library))
        return error_set_system(embedding->error, embedding->library, "cannot make the folder");
    return dl_iterate_phdr(copy_library, embedding) == 0;
}

static bool embed(struct embedding *embedding, const char *path, const struct payload *payload, int jobs)
{
    for (int i = 0; i < embedding->edition_count; i++)
        if (!embedding->editions[i].architecture)
            embedding->host = embedding->editions[i].program;
    if (embedding->host)
        embedding->unit_count = units_split(embedding->host, 0, embedding->ends);
    return cache_open(&embedding->folder, "off", embedding->error) && compile_units(embedding, jobs > 0 ? jobs : 1) &&
           write_payload(embedding, payload) && ship_libraries(embedding, path) && link_trainer(embedding, path);
}

bool embed_trainer(const char *path, const struct embed_edition *editions, int count, const struct payload *payload,
                   int jobs, struct error *error)
{
    struct embedding *embedding = calloc(1, sizeof *embedding);
    if (!embedding)
        return error_set(error, "out of memory");
    embedding->editions = editions;
    embedding->edition_count = count;
    embedding->error = error;
    struct stat status;
    bool special = stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
    char *target = file_resolve(path);
    bool ok = special ? error_set(error, "%s: is no regular file, which a trainer is", path)
                      : embed(embedding, target, payload, jobs);
    free(target);
    for (int i = 0; i < embedding->object_count; i++)
        free(embedding->objects[i]);
    for (int i = 0; i < embedding->library_count; i++)
        free(embedding->libraries[i]);
    free(embedding->library);
    cache_close(&embedding->folder);
    free(embedding);
    return ok;
}
