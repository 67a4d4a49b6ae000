/* The machine's NVRTC behind the table. */
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda/library.h"

#include <stdlib.h>
#include <string.h>

struct library_nvrtc {
    struct nvrtc nvrtc;
    void *library;
    const char *(*GetErrorString)(nvrtcResult result);
#define NVRTC(name, symbol, arguments, ...) nvrtcResult (*name)(__VA_ARGS__);
#include "runtime/cuda/nvrtc.def"
#undef NVRTC
};

#define NVRTC(name, symbol, arguments, ...)                                                                            \
    static nvrtcResult call_##name(struct nvrtc *nvrtc, __VA_ARGS__)                                                   \
    {                                                                                                                  \
        const struct library_nvrtc *own = nvrtc->own;                                                                  \
        return own->name arguments;                                                                                    \
    }
#include "runtime/cuda/nvrtc.def"
#undef NVRTC

static const char *error_string(struct nvrtc *nvrtc, nvrtcResult result)
{
    const struct library_nvrtc *own = nvrtc->own;
    return own->GetErrorString(result);
}

static void close_nvrtc(struct nvrtc *nvrtc)
{
    struct library_nvrtc *own = nvrtc->own;
    library_close(own->library);
    free(own);
}

static bool find_symbols(struct library_nvrtc *own, struct error *error)
{
    const struct library_symbol symbols[] = {
#define NVRTC(name, symbol, arguments, ...) {#symbol, &own->name},
#include "runtime/cuda/nvrtc.def"
#undef NVRTC
        {"nvrtcGetErrorString", &own->GetErrorString}};
    return library_symbols(own->library, "NVRTC", symbols, sizeof symbols / sizeof *symbols, error);
}

static void fill_table(struct library_nvrtc *own)
{
    own->nvrtc = (struct nvrtc){
#define NVRTC(name, symbol, arguments, ...) .name = call_##name,
#include "runtime/cuda/nvrtc.def"
#undef NVRTC
        .GetErrorString = error_string, .own = own, .free = close_nvrtc};
}

struct nvrtc *nvrtc_open(int driver, struct error *error)
{
    const struct library_wish wish = {.stem = "nvrtc",
                                      .what = "NVRTC, the CUDA compiler library,",
                                      .beside = "libnvrtc-builtins.so*",
                                      .driver = driver};
    struct library_nvrtc *own = calloc(1, sizeof *own);
    if (!own) {
        error_set(error, "out of memory");
        return NULL;
    }
    own->library = library_open_toolkit(&wish, error);
    if (own->library && find_symbols(own, error)) {
        fill_table(own);
        return &own->nvrtc;
    }
    library_close(own->library);
    free(own);
    return NULL;
}

bool nvrtc_good(struct nvrtc *nvrtc, nvrtcResult result, const char *tried, struct error *error)
{
    return result == NVRTC_SUCCESS ||
           error_set(error, "%s: NVRTC says %s", tried, nvrtc->GetErrorString(nvrtc, result));
}

/* The GPU's own, else the first of a generation, no later than the GPU's: all of the generation load what is built for
 * its first, but not what is built for those between, which may be of another kind (sm_101 is a system on a chip, which
 * CUDA 13 counts among sm_11x; an sm_103 loads neither its cubins nor, with a new driver, its PTX). 0 where there is
 * none. */
static int latest(const int *architectures, int count, int gpu)
{
    int best = 0;
    for (int i = 0; i < count; i++)
        if (architectures[i] == gpu ||
            (architectures[i] < gpu && architectures[i] % 10 == 0 && architectures[i] > best))
            best = architectures[i];
    return best;
}

bool nvrtc_architecture(struct nvrtc *nvrtc, const char *gpu, char architecture[NVRTC_ARCHITECTURE],
                        struct error *error)
{
    static const char tried[] = "asking which GPUs NVRTC knows";
    int count = 0;
    if (!nvrtc_good(nvrtc, nvrtc->GetNumSupportedArchs(nvrtc, &count), tried, error))
        return false;
    int *all = calloc((size_t)count + 1, sizeof *all);
    if (!all)
        return error_set(error, "out of memory");
    bool ok = nvrtc_good(nvrtc, nvrtc->GetSupportedArchs(nvrtc, all), tried, error);
    int best = ok ? latest(all, count, atoi(gpu + strlen("sm_"))) : 0;
    free(all);
    snprintf(architecture, NVRTC_ARCHITECTURE, "sm_%d", best);
    return best || error_set(error, "this NVRTC compiles for newer GPUs than %s alone", gpu);
}
