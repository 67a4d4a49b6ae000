/* Compiling and loading of kernel source. */
#include "runtime/host/compile.h"
#include "runtime/cache.h"
#include "runtime/file.h"
#include "runtime/host/isa.h"
#include "runtime/host/process.h"
#include "runtime/units.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OWN_WORDS = 6 }; /* -shared -o OBJECT SOURCE -lm */

struct unit {
    int first, last; /* kernels first … last - 1 */
    char *text;
    char name[UNIT_NAME];
    char *path; /* of the shared object */
    pid_t process;
};

struct build {
    const struct compile_settings *settings;
    const struct program *program;
    struct cache cache;
    struct compile_command command;
    char *identity; /* what the compiler says of itself, flags, processor */
    int unit_count, compiled;
    struct unit units[UNITS_MAX];
};

bool compile_command_make(struct compile_command *command, const char *isa, int room, struct error *error)
{
    static const char *const flags[] = {
        "-std=gnu17",         "-O3",        "-fopenmp", "-ffp-contract=off", "-fno-math-errno",
        "-fno-trapping-math", "-Wno-psabi", "-fPIC"};
    enum { FLAGS = sizeof flags / sizeof *flags };
    static const char spaces[] = " \t\n";
    const char *wanted = getenv("CC");
    char *rest = NULL;
    wanted = wanted && wanted[strspn(wanted, spaces)] ? wanted : "cc";
    size_t most = strlen(wanted) / 2 + 1 + FLAGS + 1 + (size_t)room + 1;
    *command = (struct compile_command){.text = strdup(wanted), .words = calloc(most, sizeof *command->words)};
    if (!command->text || !command->words)
        return error_set(error, "out of memory");
    for (char *word = strtok_r(command->text, spaces, &rest); word; word = strtok_r(NULL, spaces, &rest))
        command->words[command->count++] = word;
    command->compiler = command->count;
    for (int i = 0; i < FLAGS; i++)
        command->words[command->count++] = (char *)flags[i];
    if (isa_find(isa)->flags)
        command->words[command->count++] = (char *)isa_find(isa)->flags;
    return true;
}

void compile_command_free(struct compile_command *command)
{
    free(command->text);
    free(command->words);
    *command = (struct compile_command){0};
}

/* The words that all units share. */
static bool set_command(struct build *build, struct error *error)
{
    if (!compile_command_make(&build->command, build->settings->isa, OWN_WORDS, error))
        return false;
    build->command.words[build->command.count++] = (char *)"-shared";
    return true;
}

static bool no_compiler(const struct build *build, const char *reason, struct error *error)
{
    error_set(error, "cannot run the C compiler `%s`: %s", build->command.words[0], reason);
    error_hint(error,
               "kernels are compiled on this machine: install gcc (Debian: apt install gcc), or name a C compiler "
               "in the variable CC");
    return false;
}

/* What the compiler says when asked for its version, malloced. All words of $CC are asked: the first one may be a
 * launcher, whose version says nothing of the compiler behind it. */
static char *compiler_version(struct build *build, struct error *error)
{
    const struct compile_command *command = &build->command;
    char *output = file_text("%s/version", build->cache.scratch), *version = NULL;
    char **arguments = calloc((size_t)command->compiler + 2, sizeof *arguments);
    size_t size = 0;
    for (int i = 0; arguments && i < command->compiler; i++)
        arguments[i] = command->words[i];
    if (arguments)
        arguments[command->compiler] = (char *)"--version";
    pid_t process = arguments ? process_start(arguments, output) : 0;
    if (!process)
        no_compiler(build, strerror(errno), error);
    else if (!process_wait(process))
        no_compiler(build, "it fails when asked for its version", error);
    else
        version = file_read(output, &size, error);
    free(arguments);
    free(output);
    return version;
}

/* Puts all that changes the compiler's output into one text. */
static bool set_identity(struct build *build, struct error *error)
{
    char *version = compiler_version(build, error);
    if (!version)
        return false;
    char processor[4096] = "";
    if (strcmp(build->settings->isa, "native") == 0)
        isa_processor(processor, sizeof processor);
    char *identity = file_text("%s\n%s\n", version, processor);
    for (int i = 0; i < build->command.count; i++) {
        char *longer = file_text("%s %s", identity, build->command.words[i]);
        free(identity);
        identity = longer;
    }
    free(version);
    build->identity = identity;
    return true;
}

static void split(struct build *build)
{
    int ends[UNITS_MAX] = {0};
    build->unit_count = units_split(build->program, build->settings->unit_bytes, ends);
    for (int i = 0; i < build->unit_count; i++) {
        struct unit *unit = &build->units[i];
        unit->first = i ? ends[i - 1] : 0;
        unit->last = ends[i];
        unit->text = unit_text(build->program, unit->first, unit->last);
        unit_name(unit->text, build->identity, unit->name);
        unit->path = cache_path(&build->cache, unit->name, "so");
    }
}

static char *scratch_file(const struct build *build, const struct unit *unit, const char *suffix)
{
    return file_text("%s/%s.%s", build->cache.scratch, unit->name, suffix);
}

static bool start_unit(struct build *build, struct unit *unit, struct error *error)
{
    char *source = scratch_file(build, unit, "c"), *object = scratch_file(build, unit, "o");
    char *output = scratch_file(build, unit, "log");
    char *const own[] = {"-o", object, source, "-lm", NULL};
    memcpy(build->command.words + build->command.count, own, sizeof own);
    FILE *stream = fopen(source, "w");
    bool ok = stream && fputs(unit->text, stream) >= 0;
    if (stream)
        ok = fclose(stream) == 0 && ok;
    if (!ok)
        error_set_system(error, source, "cannot write");
    else if (!(unit->process = process_start(build->command.words, output)))
        ok = no_compiler(build, strerror(errno), error);
    free(source);
    free(object);
    free(output);
    return ok;
}

/* The first error line of the compiler's output, cut short. */
static void report_failure(const struct build *build, const struct unit *unit, struct error *error)
{
    struct error ignored = {0};
    size_t size = 0;
    char *path = scratch_file(build, unit, "log");
    char *log = file_read(path, &size, &ignored);
    const char *line = log ? strstr(log, "error") : NULL;
    while (line && line > log && line[-1] != '\n')
        line--;
    if (!line)
        line = log ? log : "";
    error_set(error, "the C compiler `%s` failed on generated kernels: %.*s", build->command.words[0],
              (int)strcspn(line, "\n"), line);
    free(log);
    free(path);
}

static bool finish_unit(struct build *build, struct unit *unit, struct error *error)
{
    bool ok = process_wait(unit->process);
    unit->process = 0;
    if (!ok) {
        report_failure(build, unit, error);
        return false;
    }
    char *object = scratch_file(build, unit, "o");
    ok = cache_keep(object, unit->path, error);
    free(object);
    return ok;
}

/* Runs the compiler on every unit that the cache lacks, at most `jobs` at a time. */
static bool compile_missing(struct build *build, struct error *error)
{
    struct unit *missing[UNITS_MAX];
    int count = 0, started = 0, finished = 0;
    for (int i = 0; i < build->unit_count; i++)
        if (!cache_holds(build->units[i].path))
            missing[count++] = &build->units[i];
    build->compiled = count;
    bool ok = true;
    int jobs = build->settings->jobs > 0 ? build->settings->jobs : 1;
    while (finished < started || (ok && started < count)) {
        if (ok && started < count && started - finished < jobs) {
            ok = start_unit(build, missing[started], error);
            started += ok;
        } else if (!finish_unit(build, missing[finished++], error)) {
            ok = false;
        }
    }
    return ok;
}

static bool load_unit(const struct build *build, const struct unit *unit, struct kernel_library *library,
                      struct error *error)
{
    void *handle = dlopen(unit->path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return error_set(error, "cannot load compiled kernels: %s", dlerror());
    library->handles[library->unit_count++] = handle;
    for (int i = unit->first; i < unit->last; i++) {
        void *symbol = dlsym(handle, build->program->kernels[i].name);
        if (!symbol)
            return error_set(error, "kernel %s is missing in its compiled source", build->program->kernels[i].name);
        /* POSIX gives functions as object pointers; copying the bytes is the way that ISO C has for it. */
        memcpy(&library->functions[i], &symbol, sizeof symbol);
    }
    return true;
}

static bool build_library(struct build *build, struct kernel_library *library, struct error *error)
{
    if (!cache_open(&build->cache, build->settings->cache, error))
        return false;
    if (!set_command(build, error) || !set_identity(build, error))
        return false;
    split(build);
    if (!compile_missing(build, error))
        return false;
    library->compiled = build->compiled;
    for (int i = 0; i < build->unit_count; i++)
        if (!load_unit(build, &build->units[i], library, error))
            return false;
    return true;
}

/* Looks every kernel up among those that were compiled before. */
static bool take_built(const struct compile_settings *settings, const struct program *program,
                       struct kernel_library *library, struct error *error)
{
    for (const struct host_unit *unit = settings->built; unit->isa; unit++)
        for (int i = 0; strcmp(unit->isa, settings->isa) == 0 && i < unit->count; i++)
            if (unit->first + i < program->kernel_count)
                library->functions[unit->first + i] = unit->functions[i];
    for (int i = 0; i < program->kernel_count; i++)
        if (!library->functions[i])
            return error_set(error, "this trainer holds no kernel %s for %s", program->kernels[i].name, settings->isa);
    return true;
}

struct kernel_library *compile_kernels(const struct compile_settings *settings, const struct program *program,
                                       struct error *error)
{
    struct kernel_library *library = calloc(1, sizeof *library);
    struct build *build = calloc(1, sizeof *build);
    bool ok = library && build;
    if (ok) {
        *build = (struct build){.settings = settings, .program = program};
        library->functions = calloc((size_t)program->kernel_count + 1, sizeof *library->functions);
        library->handles = calloc(UNITS_MAX, sizeof *library->handles);
        ok = library->functions && library->handles;
    }
    if (!ok)
        error_set(error, "out of memory");
    else if (program->kernel_count)
        ok = settings->built ? take_built(settings, program, library, error) : build_library(build, library, error);
    if (build) {
        for (int i = 0; i < build->unit_count; i++) {
            free(build->units[i].text);
            free(build->units[i].path);
        }
        free(build->identity);
        compile_command_free(&build->command);
        cache_close(&build->cache);
    }
    free(build);
    if (ok)
        return library;
    kernel_library_free(library);
    return NULL;
}

void kernel_library_free(struct kernel_library *library)
{
    if (!library)
        return;
    for (int i = 0; i < library->unit_count; i++)
        dlclose(library->handles[i]);
    free(library->handles);
    free(library->functions);
    free(library);
}
