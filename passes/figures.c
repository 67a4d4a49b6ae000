/* The table of figures, and a host's from its facts. */
#include "passes/figures.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
    const char *name, *architecture;
    double bandwidth, vector, tf32, f16, bf16, launch;
    int processors, shared, cache;
} rows[] = {
#define FIGURES(name, architecture, bandwidth, vector, tf32, f16, bf16, launch, processors, shared, cache)             \
    {name, architecture, bandwidth, vector, tf32, f16, bf16, launch, processors, shared, cache},
#include "passes/figures.def"
#undef FIGURES
};

/* Whether the words of a row's name ("A100-40GB") stand in what a device calls itself ("NVIDIA A100-SXM4-40GB"). */
static bool is_called(const char *device, const char *name)
{
    while (*name) {
        size_t length = strcspn(name, "- ");
        const char *at = device;
        bool found = false;
        while (!found && *at) {
            found = strncmp(at, name, length) == 0 && !isalnum((unsigned char)at[length]);
            at++;
        }
        if (!found)
            return false;
        name += length + (name[length] != 0);
    }
    return true;
}

/* The number of "sm_90"; 0 for all else. */
static int number_of(const char *architecture)
{
    return strncmp(architecture, "sm_", 3) == 0 ? atoi(architecture + 3) : 0;
}

/* The first row of the latest architecture that is no later than this one. */
static const struct row *find_nearest(const char *architecture)
{
    const struct row *found = NULL;
    int limit = number_of(architecture);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int number = number_of(rows[i].architecture);
        if (number <= limit && (!found || number > number_of(found->architecture)))
            found = &rows[i];
    }
    return found;
}

bool figures_find(const char *name, bool tf32, struct figures *figures)
{
    const double giga = 1e9, tera = 1e12, micro = 1e-6;
    const struct row *found = find_nearest(name);
    for (size_t i = 0; !found && i < sizeof rows / sizeof *rows; i++)
        if (is_called(name, rows[i].name))
            found = &rows[i];
    if (!found)
        return false;
    *figures = (struct figures){.name = found->name,
                                .bandwidth = giga * found->bandwidth,
                                .vector_flops = tera * found->vector,
                                .launch_seconds = micro * found->launch,
                                .processors = found->processors,
                                .shared_bytes = (int64_t)found->shared << 10,
                                .cache_bytes = (int64_t)found->cache << 20};
    figures->flops[ELEMENT_F16] = tera * found->f16;
    figures->flops[ELEMENT_BF16] = tera * found->bf16;
    figures->flops[ELEMENT_F32] = tera * (tf32 ? found->tf32 : found->vector);
    return true;
}

struct figures figures_of_host(int threads, const char *instructions)
{
    /* A nominal clock; two fused multiply-adds a cycle and thread; memory that about four threads can saturate. */
    const double clock = 2.5e9, thread_bandwidth = 8e9;
    const int saturating = 4;
    double lanes = strstr(instructions, "avx512") ? 16 : strstr(instructions, "avx2") ? 8 : 4;
    double peak = clock * 2 * 2 * lanes * threads;
    struct figures figures = {.name = "host",
                              .bandwidth = thread_bandwidth * (threads < saturating ? threads : saturating),
                              .vector_flops = peak / 4, /* loads, selects and conversions come between */
                              .launch_seconds = 2e-6};
    figures.flops[ELEMENT_F32] = peak;
    figures.flops[ELEMENT_F16] = peak;
    figures.flops[ELEMENT_BF16] = strstr(instructions, "amx")    ? 16 * peak
                                  : strstr(instructions, "bf16") ? 2 * peak
                                                                 : peak;
    return figures;
}

void figures_apply(const struct figures *figures, struct target *target)
{
    target->bandwidth = figures->bandwidth;
    target->vector_flops = figures->vector_flops;
    target->launch_seconds = figures->launch_seconds;
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        target->flops[element] = figures->flops[target->storage[element]];
}
