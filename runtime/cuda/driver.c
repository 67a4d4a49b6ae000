/* The machine's own driver: libcuda's functions behind the table. */
#include "runtime/cuda/driver.h"
#include "runtime/cuda/library.h"

#include <stdlib.h>
#include <string.h>

struct library_driver {
    struct driver driver;
    void *library;
#define DRIVER(name, symbol, arguments, ...) CUresult(CUDAAPI *name)(__VA_ARGS__);
#include "runtime/cuda/driver.def"
#undef DRIVER
};

#define DRIVER(name, symbol, arguments, ...)                                                                           \
    static CUresult call_##name(struct driver *driver, __VA_ARGS__)                                                    \
    {                                                                                                                  \
        const struct library_driver *own = driver->own;                                                                \
        return own->name arguments;                                                                                    \
    }
#include "runtime/cuda/driver.def"
#undef DRIVER

static const char *no_problem(struct driver *driver)
{
    (void)driver;
    return NULL;
}

static void close_driver(struct driver *driver)
{
    struct library_driver *own = driver->own;
    library_close(own->library);
    free(own);
}

static bool find_symbols(struct library_driver *own, struct error *error)
{
    const struct library_symbol symbols[] = {
#define DRIVER(name, symbol, arguments, ...) {#symbol, &own->name},
#include "runtime/cuda/driver.def"
#undef DRIVER
    };
    return library_symbols(own->library, "the CUDA driver", symbols, sizeof symbols / sizeof *symbols, error);
}

static void fill_table(struct library_driver *own)
{
    own->driver = (struct driver){
#define DRIVER(name, symbol, arguments, ...) .name = call_##name,
#include "runtime/cuda/driver.def"
#undef DRIVER
        .own = own, .free = close_driver, .problem = no_problem};
}

static bool start(struct driver *driver, struct error *error)
{
    int count = 0, version = 0;
    if (!driver_good(driver, driver->Init(driver, 0), "starting the CUDA driver", error) ||
        !driver_version(driver, &version, error) ||
        !driver_good(driver, driver->DeviceGetCount(driver, &count), "counting GPUs", error))
        return false;
    return count > 0 || error_set(error, "this machine has no GPU that the CUDA driver can use");
}

struct driver *driver_open(struct error *error)
{
    static const char *const names[] = {"libcuda.so.1", "libcuda.so"};
    struct library_driver *own = calloc(1, sizeof *own);
    if (!own) {
        error_set(error, "out of memory");
        return NULL;
    }
    own->library = library_open(names, sizeof names / sizeof *names, "the CUDA driver", error);
    if (own->library && find_symbols(own, error)) {
        fill_table(own);
        if (start(&own->driver, error))
            return &own->driver;
    }
    library_close(own->library);
    free(own);
    return NULL;
}

bool driver_version(struct driver *driver, int *version, struct error *error)
{
    static const int oldest = 12010;
    if (!driver_good(driver, driver->DriverGetVersion(driver, version), "asking the driver's version", error))
        return false;
    if (*version >= oldest)
        return true;
    error_set(error, "the driver is for CUDA %d.%d: 12.1 (driver 530) is the first that will do", *version / 1000,
              *version % 1000 / 10);
    error_hint(error, "older drivers give kernels no more than 4,096 bytes of parameters; install a newer one");
    return false;
}

bool driver_good(struct driver *driver, CUresult result, const char *tried, struct error *error)
{
    if (result == CUDA_SUCCESS)
        return true;
    const char *problem = driver->problem(driver), *name = NULL, *text = NULL;
    if (problem)
        return error_set(error, "%s: %s", tried, problem);
    if (driver->GetErrorName(driver, result, &name) != CUDA_SUCCESS || !name)
        name = "unknown error";
    if (driver->GetErrorString(driver, result, &text) != CUDA_SUCCESS || !text)
        text = "no description";
    return error_set(error, "%s: %s (%s, %d)", tried, text, name, (int)result);
}
