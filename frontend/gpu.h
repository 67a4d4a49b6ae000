/* What device.c asks of a GPU, the machine's or a simulated one; all fail with a message where castor was built without
 * CUDA's headers. */
#ifndef CASTOR_FRONTEND_GPU_H
#define CASTOR_FRONTEND_GPU_H

#include "frontend/device.h"

/* What code is for where neither a flag nor a GPU says it. */
#define GPU_ARCHITECTURE "sm_80"

/* What the GPU is; it need not be usable. */
bool gpu_describe(const struct device_choice *choice, struct device_facts *facts, struct error *error);

/* Whether kernels and products can run on it. `there`: whether a driver has a GPU at all. */
bool gpu_ready(const struct device_choice *choice, struct device_facts *facts, bool *there, struct error *error);

/* NULL with an error set when it cannot be used. */
struct device *gpu_make(const struct device_choice *choice, struct error *error);

#endif
