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

/* `driver`: which CUDA the driver is for whose GPU will load what is compiled, 12040 for 12.4; 0: nobody's. NULL with
 * an error set where no NVRTC is that will do. */
struct nvrtc *nvrtc_open(int driver, struct error *error);

/* Sets the error of a failed call; gives `result == NVRTC_SUCCESS`. */
bool nvrtc_good(struct nvrtc *nvrtc, nvrtcResult result, const char *tried, struct error *error);

enum { NVRTC_ARCHITECTURE = 16 }; /* bytes of a name */

/* What to compile for where kernels run on this GPU ("sm_90"): its own architecture, or, where NVRTC does not know
 * that, the first one of the latest generation before it. False with an error set when there is none. */
bool nvrtc_architecture(struct nvrtc *nvrtc, const char *gpu, char architecture[NVRTC_ARCHITECTURE],
                        struct error *error);

#endif
