/* What the CPU is: read from the kernel's /proc and sysconf, the same way for every compiler. */
#include "runtime/cores.h"
#include "runtime/host/host.h"
#include "runtime/host/isa.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What --isa knows, widest first. `needs` is the CPU flag that must be there; `flags` goes to the compiler. */
static const struct isa isas[] = {
    {"native", NULL, "-march=native"},
    {"avx512", "avx512vl", "-march=x86-64-v4"},
    {"avx2", "avx2", "-march=x86-64-v3"},
    {"baseline", NULL, NULL},
};

const struct isa *isa_find(const char *name)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (strcmp(isas[i].name, name) == 0)
            return &isas[i];
    return NULL;
}

/* The text behind "KEY :" of the first processor, cut at `size`; "" when there is none. */
static void read_processor_line(const char *key, char *text, size_t size)
{
    text[0] = '\0';
    FILE *file = fopen("/proc/cpuinfo", "r");
    char *line = NULL;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 0) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon)
            continue;
        snprintf(text, size, "%s", colon + 1 + (colon[1] == ' '));
        text[strcspn(text, "\n")] = '\0';
        break;
    }
    free(line);
    if (file)
        fclose(file);
}

/* What isas need, asked of the processor itself: where /proc is not. */
static void ask_processor(char *flags, size_t size)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        snprintf(flags, size, "sse2 avx2 avx512vl");
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        snprintf(flags, size, "sse2 avx2");
#else
    (void)flags;
    (void)size;
#endif
}

void isa_processor(char *flags, size_t size)
{
    read_processor_line("flags", flags, size);
    if (!flags[0])
        read_processor_line("Features", flags, size);
    if (!flags[0])
        ask_processor(flags, size);
}

/* Whether the flags hold this word. */
static bool has_flag(const char *flags, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = flags; (at = strstr(at, word)); at += length)
        if ((at == flags || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

const char *host_unit_isa(const struct host_unit *units)
{
    char flags[4096];
    isa_processor(flags, sizeof flags);
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (const struct host_unit *unit = units; unit->isa; unit++)
            if (strcmp(unit->isa, isas[i].name) == 0 && (!isas[i].needs || has_flag(flags, isas[i].needs)))
                return isas[i].name;
    return NULL;
}

static uint64_t positive(long value)
{
    return value > 0 ? (uint64_t)value : 0;
}

bool host_describe(const struct host_settings *settings, struct device_facts *facts, struct error *error)
{
    char flags[4096];
    isa_processor(flags, sizeof flags);
    *facts = (struct device_facts){.device = "host", .cores = cores_available()};
    const char *environment = getenv("CASTOR_ISA");
    const char *name = settings->isa ? settings->isa : environment && environment[0] ? environment : "native";
    const struct isa *isa = isa_find(name);
    if (!isa) {
        error_set(error, "unknown instruction set `%s`", name);
        error_hint(error, "it is one of native, avx512, avx2, baseline");
        return false;
    }
    if (isa->needs && !has_flag(flags, isa->needs))
        return error_set(error, "this processor has no %s", name);
    if (settings->threads < 0 || settings->threads > HOST_THREADS_MAX)
        return error_set(error, "%d threads: give a number from 1 to %d", settings->threads, HOST_THREADS_MAX);
    read_processor_line("model name", facts->processor, sizeof facts->processor);
    int wanted = cores_wanted();
    facts->threads = settings->threads ? settings->threads : wanted ? wanted : facts->cores;
    facts->bf16 = strcmp(name, "native") == 0 && has_flag(flags, "avx512_bf16");
    facts->cache_bytes = positive(sysconf(_SC_LEVEL3_CACHE_SIZE));
    if (!facts->cache_bytes)
        facts->cache_bytes = positive(sysconf(_SC_LEVEL2_CACHE_SIZE));
    facts->memory_bytes = positive(sysconf(_SC_PHYS_PAGES)) * positive(sysconf(_SC_PAGESIZE));
    snprintf(facts->isa, sizeof facts->isa, "%s", name);
    const char *widest = has_flag(flags, "avx512vl") ? "avx512"
                         : has_flag(flags, "avx2")   ? "avx2"
                         : has_flag(flags, "sse2")   ? "sse2"
                                                     : "";
    snprintf(facts->instructions, sizeof facts->instructions, "%s%s", widest,
             has_flag(flags, "amx_bf16")      ? " amx"
             : has_flag(flags, "avx512_bf16") ? " bf16"
                                              : "");
    return true;
}
