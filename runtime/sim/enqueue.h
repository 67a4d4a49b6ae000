/* What a library on the simulated GPU (cublaslt.c) asks of it: to work in the order of a stream, and to reach device
 * memory under the same checks as kernels. */
#ifndef CASTOR_RUNTIME_SIM_ENQUEUE_H
#define CASTOR_RUNTIME_SIM_ENQUEUE_H

#include "runtime/cuda/driver.h"

struct sim_work {
    const char *name; /* for messages and counters; static */
    CUresult (*run)(struct driver *driver, const void *argument);
    const void *argument; /* copied, `bytes` of it */
    size_t bytes;
};

/* Runs the library's work when the stream comes to it, as it would a kernel. While the stream is captured it becomes a
 * node of the graph and runs at each launch of that. What `run` returns is that node's result. */
CUresult sim_enqueue(struct driver *driver, CUstream stream, const struct sim_work *library);

/* The process's address of device bytes, for the work while it runs. NULL with the driver's problem set where they do
 * not lie in one allocation or, when they are read, where nothing has written them; a write marks them as written. */
void *sim_reach(struct driver *driver, CUdeviceptr address, size_t bytes, bool write);

/* How many threads the simulated GPU uses: work may use as many. */
int sim_threads(struct driver *driver);

#endif
