/* The simulated GPU: a driver table (runtime/cuda/driver.h) whose memory is the process's and whose kernels are PTX that
 * an emulator executes. */
#ifndef CASTOR_RUNTIME_SIM_SIM_H
#define CASTOR_RUNTIME_SIM_SIM_H

#include "runtime/cuda/driver.h"

struct sim_settings {
    const char *architecture; /* "sm_80": what it says it is */
    int threads;              /* that run blocks side by side; 0: as many as cores */
};

/* NULL with an error set on failure. The settings are copied. */
struct driver *sim_driver_new(const struct sim_settings *settings, struct error *error);

#endif
