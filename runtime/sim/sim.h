/* The simulated GPU: a CUDA driver (runtime/cuda/driver.h) whose device is an emulator of PTX.
 *
 * Work on streams is done at once and in order, so every call has finished when it returns (but see `late`). Faults of
 * a kernel are sticky, as on a GPU: all later calls fail with the same text. Device addresses are the process's own, so
 * a kernel's addresses differ from run to run, its counters do not. */
#ifndef CASTOR_RUNTIME_SIM_SIM_H
#define CASTOR_RUNTIME_SIM_SIM_H

#include "runtime/cuda/driver.h"
#include "runtime/sim/counters.h"

struct sim_settings {
    const char *architecture; /* "sm_80" and up: what it says it is; NULL: sm_80 */
    int threads;              /* of the CPU; 0: as many as there are processors */
    int processors;           /* streaming multiprocessors that it reports; 0: 4 */
    size_t memory;            /* bytes of device memory; 0: 8 GiB */
    int isa;                  /* which of its builds that this CPU can run, the best first, for tests */
    uint64_t patience;        /* instructions that a warp may execute before that is a fault; 0: 2^32 */
    /* Bit i: the i-th stream made is late. What it is asked for is done when somebody waits for it, and no earlier: so
     * whoever should wait and does not is found out. Page-locked memory is read and written then. */
    unsigned late;
    bool races; /* looks for races for global memory, too (races.h): slow */
};

/* NULL settings are all zero. NULL with an error set when they make no sense or memory is out. */
struct driver *sim_driver_new(const struct sim_settings *settings, struct error *error);

/* The counters of all kernels of all modules loaded, by the order of loading and then of the module's text. NULL beyond
 * the last. Valid until the module is unloaded. */
const struct sim_counters *sim_kernel_counters(struct driver *driver, size_t index, const char **name);
/* Those of one kernel of a module. */
const struct sim_counters *sim_function_counters(CUfunction function);
void sim_reset_counters(struct driver *driver);

#endif
