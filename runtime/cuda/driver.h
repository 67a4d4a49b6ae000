/* The CUDA driver API as a struct of functions.
 *
 * All that the cuda device asks of a GPU goes through one such table, so a table decides what it runs on: driver_open
 * gives the machine's driver library, runtime/sim the simulated GPU, and a table that wraps another can make any call
 * fail, for tests. Every function takes the table itself first; what it needs beside its arguments hangs on `own`, and
 * nothing is global. The types are those of <cuda.h>; the calls are listed in driver.def. */
#ifndef CASTOR_RUNTIME_CUDA_DRIVER_H
#define CASTOR_RUNTIME_CUDA_DRIVER_H

#include "runtime/error.h"

#include <cuda.h>

struct driver {
#define DRIVER(name, symbol, arguments, ...) CUresult (*name)(struct driver * driver, __VA_ARGS__);
#include "runtime/cuda/driver.def"
#undef DRIVER
    void *own;
    void (*free)(struct driver *driver);
    /* What is known of the last failed call beyond its code (the simulated GPU names kernel, place and address), valid
     * until the next call; NULL when nothing is. */
    const char *(*problem)(struct driver *driver);
};

/* The machine's driver (libcuda.so.1), initialised. NULL with an error set when there is none, it is too old or it has
 * no GPU. */
struct driver *driver_open(struct error *error);

/* Which CUDA the driver is for, 12040 for 12.4. False with an error set when it does not say or is older than 12.1:
 * before that a kernel had no more than 4,096 bytes of parameters. */
bool driver_version(struct driver *driver, int *version, struct error *error);

/* Sets the error of a failed call: what was tried, the driver's name and text of the code, and its `problem`. Gives
 * `result == CUDA_SUCCESS`. */
bool driver_good(struct driver *driver, CUresult result, const char *tried, struct error *error);

#endif
