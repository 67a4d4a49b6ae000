/* The machine's NVRTC behind the table. */
#include "runtime/cuda/nvrtc.h"
#include "runtime/cuda/library.h"

#include <stdlib.h>

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

struct nvrtc *nvrtc_open(struct error *error)
{
    static const char *const names[] = {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"};
    struct library_nvrtc *own = calloc(1, sizeof *own);
    if (!own) {
        error_set(error, "out of memory");
        return NULL;
    }
    own->library = library_open(names, sizeof names / sizeof *names, "NVRTC, the CUDA compiler library,", error);
    if (own->library && find_symbols(own, error)) {
        fill_table(own);
        return &own->nvrtc;
    }
    error_hint(error, "it comes with the CUDA Toolkit; `./dev setup --cuda` puts it into the build folder");
    library_close(own->library);
    free(own);
    return NULL;
}

bool nvrtc_good(struct nvrtc *nvrtc, nvrtcResult result, const char *tried, struct error *error)
{
    return result == NVRTC_SUCCESS ||
           error_set(error, "%s: NVRTC says %s", tried, nvrtc->GetErrorString(nvrtc, result));
}
