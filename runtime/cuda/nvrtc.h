/* NVRTC, the CUDA C++ compiler as a library, as a struct of functions (driver.h says why). */
#ifndef CASTOR_RUNTIME_CUDA_NVRTC_H
#define CASTOR_RUNTIME_CUDA_NVRTC_H

#include "runtime/error.h"

#include <nvrtc.h>

struct nvrtc {
#define NVRTC(name, symbol, arguments, ...) nvrtcResult (*name)(struct nvrtc * nvrtc, __VA_ARGS__);
#include "runtime/cuda/nvrtc.def"
#undef NVRTC
    const char *(*GetErrorString)(struct nvrtc *nvrtc, nvrtcResult result);
    void *own;
    void (*free)(struct nvrtc *nvrtc);
};

/* NULL with an error set where the library is not. */
struct nvrtc *nvrtc_open(struct error *error);

/* Sets the error of a failed call; gives `result == NVRTC_SUCCESS`. */
bool nvrtc_good(struct nvrtc *nvrtc, nvrtcResult result, const char *tried, struct error *error);

#endif
