/* Cutting, hashing, compiling and keeping of CUDA source; what the assembler says of each kernel.
 *
 * A unit's entry in the cache is its three parts one behind the other (PTX, cubin, the assembler's log) with their
 * sizes before them. */
#include "runtime/cuda/compile.h"
#include "runtime/cache.h"
#include "runtime/cuda/library.h"
#include "runtime/file.h"
#include "runtime/units.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 8, JOBS_MAX = 64 };
enum { UNIT_BYTES = 64 * 1024 }; /* the prelude takes a twentieth of a second each time */

struct unit {
    char *text, *path, *entry; /* source; file in the cache; what that holds */
    char name[UNIT_NAME];
    size_t entry_size;
    struct error error;
};

struct build {
    const struct cuda_compile_settings *settings;
    const struct program *program;
    struct cuda_code *code;
    struct cache cache;
    char *options[OPTIONS_MAX];
    int option_count;
    char *identity; /* what NVRTC says of itself, options */
    struct unit units[UNITS_MAX];
    int missing[UNITS_MAX], missing_count;
    atomic_int next; /* of the missing units */
};

/* ---- units ---- */

static bool set_identity(struct build *build, struct error *error)
{
    struct nvrtc *nvrtc = build->settings->nvrtc;
    int major = 0, minor = 0;
    if (!nvrtc_good(nvrtc, nvrtc->Version(nvrtc, &major, &minor), "asking NVRTC's version", error))
        return false;
    build->identity = file_text("nvrtc %d.%d", major, minor);
    for (int i = 0; i < build->option_count; i++) {
        char *longer = file_text("%s %s", build->identity, build->options[i]);
        free(build->identity);
        build->identity = longer;
    }
    return true;
}

static bool set_options(struct build *build, struct error *error)
{
    char *include = library_include_folder("cuda_fp16.h");
    char **options = build->options;
    int count = 0;
    options[count++] = file_text("--gpu-architecture=%s", build->settings->architecture);
    options[count++] = file_text("--std=c++17");
    options[count++] = file_text("--fmad=false"); /* a product and a sum are two roundings unless the graph says fma */
    options[count++] = file_text("--ptxas-options=-v");
    if (include)
        options[count++] = file_text("--include-path=%s", include);
    free(include);
    build->option_count = count;
    return set_identity(build, error);
}

static void split(struct build *build)
{
    struct cuda_code *code = build->code;
    int ends[UNITS_MAX] = {0};
    code->unit_count = units_split(build->program, UNIT_BYTES, ends);
    for (int i = 0; i < code->unit_count; i++) {
        struct unit *unit = &build->units[i];
        code->units[i] = (struct cuda_unit){.first = i ? ends[i - 1] : 0, .last = ends[i]};
        unit->text = unit_text(build->program, code->units[i].first, code->units[i].last);
        unit_name(unit->text, build->identity, unit->name);
        unit->path = cache_path(&build->cache, unit->name, "cuda");
    }
}

/* ---- entries of the cache ---- */

enum part { PART_PTX, PART_CUBIN, PART_LOG, PART_COUNT };

struct entry {
    uint64_t sizes[PART_COUNT];
    const char *parts[PART_COUNT];
};

/* False where the bytes are no entry. */
static bool parse_entry(const char *bytes, size_t size, struct entry *entry)
{
    size_t at = sizeof entry->sizes;
    if (size < at)
        return false;
    memcpy(entry->sizes, bytes, sizeof entry->sizes);
    for (int i = 0; i < PART_COUNT; i++) {
        if (entry->sizes[i] > size - at)
            return false;
        entry->parts[i] = bytes + at;
        at += (size_t)entry->sizes[i];
    }
    return at == size;
}

static bool store_entry(const struct build *build, struct unit *unit, const struct entry *entry, struct error *error)
{
    FILE *stream = open_memstream(&unit->entry, &unit->entry_size);
    bool ok = stream && fwrite(entry->sizes, sizeof entry->sizes, 1, stream) == 1;
    for (int i = 0; i < PART_COUNT && ok; i++)
        ok = fwrite(entry->parts[i], 1, (size_t)entry->sizes[i], stream) == (size_t)entry->sizes[i];
    if (stream)
        ok = fclose(stream) == 0 && ok;
    if (!ok)
        return error_set(error, "out of memory");
    char *scratch = file_text("%s/%s.cuda", build->cache.scratch, unit->name);
    ok = !build->cache.folder ||
         (file_write(scratch, unit->entry, unit->entry_size, error) && cache_keep(scratch, unit->path, error));
    free(scratch);
    return ok;
}

/* ---- compiling ---- */

static char *take_part(struct nvrtc *nvrtc, nvrtcProgram program,
                       nvrtcResult (*measure)(struct nvrtc *, nvrtcProgram, size_t *),
                       nvrtcResult (*copy)(struct nvrtc *, nvrtcProgram, char *), uint64_t *size, struct error *error)
{
    static const char tried[] = "taking NVRTC's output";
    size_t bytes = 0;
    if (!nvrtc_good(nvrtc, measure(nvrtc, program, &bytes), tried, error))
        return NULL;
    char *part = calloc(bytes + 1, 1);
    if (!part) {
        error_set(error, "out of memory");
    } else if (!nvrtc_good(nvrtc, copy(nvrtc, program, part), tried, error)) {
        free(part);
        part = NULL;
    }
    *size = bytes;
    return part;
}

/* The first error line of NVRTC's log, cut short. */
static void report_failure(struct nvrtc *nvrtc, nvrtcProgram program, nvrtcResult result, struct error *error)
{
    struct error ignored = {0};
    uint64_t size = 0;
    char *log = take_part(nvrtc, program, nvrtc->GetProgramLogSize, nvrtc->GetProgramLog, &size, &ignored);
    const char *line = log ? strstr(log, "error") : NULL;
    while (line && line > log && line[-1] != '\n')
        line--;
    if (result == NVRTC_ERROR_COMPILATION && line)
        error_set(error, "NVRTC failed on generated kernels: %.*s", (int)strcspn(line, "\n"), line);
    else
        nvrtc_good(nvrtc, result, line ? line : "compiling kernels", error);
    free(log);
}

static bool take_parts(const struct build *build, struct unit *unit, nvrtcProgram program)
{
    struct nvrtc *nvrtc = build->settings->nvrtc;
    struct error *error = &unit->error;
    uint64_t sizes[PART_COUNT];
    char *ptx = take_part(nvrtc, program, nvrtc->GetPTXSize, nvrtc->GetPTX, &sizes[PART_PTX], error);
    char *cubin = take_part(nvrtc, program, nvrtc->GetCUBINSize, nvrtc->GetCUBIN, &sizes[PART_CUBIN], error);
    char *log = take_part(nvrtc, program, nvrtc->GetProgramLogSize, nvrtc->GetProgramLog, &sizes[PART_LOG], error);
    bool ok = ptx && cubin && log;
    if (ok) {
        struct entry entry = {{sizes[0], sizes[1], sizes[2]}, {ptx, cubin, log}};
        ok = store_entry(build, unit, &entry, error);
    }
    free(ptx);
    free(cubin);
    free(log);
    return ok;
}

static bool compile_unit(const struct build *build, struct unit *unit)
{
    struct nvrtc *nvrtc = build->settings->nvrtc;
    nvrtcProgram program = NULL;
    if (!nvrtc_good(nvrtc, nvrtc->CreateProgram(nvrtc, &program, unit->text, "kernels.cu", 0, NULL, NULL),
                    "giving kernels to NVRTC", &unit->error))
        return false;
    nvrtcResult result =
        nvrtc->CompileProgram(nvrtc, program, build->option_count, (const char *const *)build->options);
    if (result != NVRTC_SUCCESS)
        report_failure(nvrtc, program, result, &unit->error);
    bool ok = result == NVRTC_SUCCESS && take_parts(build, unit, program);
    return nvrtc_good(nvrtc, nvrtc->DestroyProgram(nvrtc, &program), "releasing NVRTC's program", &unit->error) && ok;
}

static void *compile_units(void *argument)
{
    struct build *build = argument;
    for (int i; (i = atomic_fetch_add(&build->next, 1)) < build->missing_count;)
        if (!compile_unit(build, &build->units[build->missing[i]]))
            atomic_store(&build->next, build->missing_count);
    return NULL;
}

static bool compile_missing(struct build *build, struct error *error)
{
    pthread_t threads[JOBS_MAX];
    int jobs = build->settings->jobs, started = 0;
    for (int i = 0; i < build->code->unit_count; i++) {
        struct unit *unit = &build->units[i];
        struct entry entry;
        unit->entry = cache_read(unit->path, &unit->entry_size);
        if (unit->entry && parse_entry(unit->entry, unit->entry_size, &entry))
            continue;
        free(unit->entry);
        unit->entry = NULL;
        build->missing[build->missing_count++] = i;
    }
    build->code->compiled = build->missing_count;
    while (started + 1 < jobs && started + 1 < build->missing_count && started < JOBS_MAX &&
           pthread_create(&threads[started], NULL, compile_units, build) == 0)
        started++;
    compile_units(build);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < build->code->unit_count; i++)
        if (build->units[i].error.code && !error->code)
            *error = build->units[i].error;
    return !error->code;
}

/* ---- what the assembler says ---- */

static int find_kernel(const struct program *program, const struct cuda_unit *unit, const char *name, size_t length)
{
    for (int i = unit->first; i < unit->last; i++)
        if (strlen(program->kernels[i].name) == length && strncmp(program->kernels[i].name, name, length) == 0)
            return i;
    return -1;
}

/* The number that stands before `word`, 0 where that does not stand in the line. */
static int number_before(const char *line, const char *word)
{
    const char *at = strstr(line, word);
    while (at && at > line && at[-1] >= '0' && at[-1] <= '9')
        at--;
    return at ? atoi(at) : 0;
}

static void read_line(const char *line, struct cuda_resources *resources)
{
    if (strstr(line, "bytes stack frame")) {
        resources->stack_bytes = number_before(line, " bytes stack frame");
        resources->spill_stores = number_before(line, " bytes spill stores");
        resources->spill_loads = number_before(line, " bytes spill loads");
    } else if (strstr(line, ": Used ")) {
        resources->registers = number_before(line, " registers");
        resources->shared_bytes = number_before(line, " bytes smem");
    }
}

static void read_log(const struct build *build, const struct cuda_unit *unit, const char *log, size_t size)
{
    static const char entry[] = "Compiling entry function '";
    char line[512];
    int kernel = -1;
    for (size_t at = 0, length; at < size; at += length + 1) {
        const char *end = memchr(log + at, '\n', size - at);
        length = end ? (size_t)(end - (log + at)) : size - at;
        snprintf(line, sizeof line, "%.*s", (int)length, log + at);
        const char *name = strstr(line, entry);
        if (name) {
            name += sizeof entry - 1;
            kernel = find_kernel(build->program, unit, name, strcspn(name, "'"));
        } else if (kernel >= 0) {
            read_line(line, &build->code->resources[kernel]);
        }
    }
}

/* ---- the whole ---- */

static char *copy_part(const struct entry *entry, enum part part)
{
    char *copy = malloc((size_t)entry->sizes[part] + 1);
    if (!copy)
        return NULL;
    memcpy(copy, entry->parts[part], (size_t)entry->sizes[part]);
    copy[entry->sizes[part]] = '\0';
    return copy;
}

static bool unpack(const struct build *build, int number, struct error *error)
{
    const struct unit *unit = &build->units[number];
    struct cuda_unit *out = &build->code->units[number];
    struct entry entry;
    if (!parse_entry(unit->entry, unit->entry_size, &entry))
        return error_set(error, "compiled kernels are damaged");
    out->ptx = copy_part(&entry, PART_PTX);
    out->cubin = copy_part(&entry, PART_CUBIN);
    out->ptx_size = (size_t)entry.sizes[PART_PTX];
    out->cubin_size = (size_t)entry.sizes[PART_CUBIN];
    if (!out->ptx || !out->cubin)
        return error_set(error, "out of memory");
    read_log(build, out, entry.parts[PART_LOG], (size_t)entry.sizes[PART_LOG]);
    return true;
}

static bool build_code(struct build *build, struct error *error)
{
    if (!cache_open(&build->cache, build->settings->cache, error) || !set_options(build, error))
        return false;
    split(build);
    bool ok = compile_missing(build, error);
    for (int i = 0; i < build->code->unit_count && ok; i++)
        ok = unpack(build, i, error);
    return ok;
}

static void release(struct build *build)
{
    for (int i = 0; i < UNITS_MAX; i++) {
        free(build->units[i].text);
        free(build->units[i].path);
        free(build->units[i].entry);
    }
    free(build->identity);
    for (int i = 0; i < build->option_count; i++)
        free(build->options[i]);
    cache_close(&build->cache);
    free(build);
}

struct cuda_code *cuda_compile(const struct cuda_compile_settings *settings, const struct program *program,
                               struct error *error)
{
    struct cuda_code *code = calloc(1, sizeof *code);
    struct build *build = calloc(1, sizeof *build);
    bool ok = code && build;
    if (ok) {
        *build = (struct build){.settings = settings, .program = program, .code = code};
        code->units = calloc(UNITS_MAX, sizeof *code->units);
        code->resources = calloc((size_t)program->kernel_count + 1, sizeof *code->resources);
        ok = code->units && code->resources;
    }
    if (!ok)
        error_set(error, "out of memory");
    else if (program->kernel_count)
        ok = build_code(build, error);
    if (build)
        release(build);
    if (ok)
        return code;
    cuda_code_free(code);
    return NULL;
}

void cuda_code_free(struct cuda_code *code)
{
    if (!code)
        return;
    for (int i = 0; i < code->unit_count; i++) {
        free(code->units[i].ptx);
        free(code->units[i].cubin);
    }
    free(code->units);
    free(code->resources);
    free(code);
}
