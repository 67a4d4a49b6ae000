/* libcuda and libcublasLt of a machine with a GPU, for tests of all that comes before the first kernel: which libraries
 * are opened, which device is taken, what is said when it cannot be used. The GPU is the simulated one of the program
 * that opens this library: castor_played, which exports it.
 *
 * PLAYED_DRIVER: which CUDA the driver is for (13000); PLAYED_ARCHITECTURE: of the GPU (sm_80); PLAYED_BUSY: it cannot
 * be started; CUDA_VISIBLE_DEVICES: as ever. */
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"

#include <stdlib.h>

/* A library has but one of each in a process. */
static struct driver *driver;
static struct cublaslt *products;

static CUresult version_of(struct driver *played, int *version)
{
    const char *said = getenv("PLAYED_DRIVER");
    (void)played;
    *version = said ? atoi(said) : 13000;
    return CUDA_SUCCESS;
}

static CUresult init(struct driver *played, unsigned flags)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    (void)played;
    (void)flags;
    return visible && !visible[0] ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

static CUresult refuse_context(struct driver *played, CUcontext *context, CUdevice device)
{
    (void)played;
    (void)context;
    (void)device;
    return CUDA_ERROR_DEVICE_UNAVAILABLE;
}

static struct driver *driver_here(void)
{
    struct error error = {0};
    if (driver)
        return driver;
    driver = sim_driver_new(&(struct sim_settings){.architecture = getenv("PLAYED_ARCHITECTURE")}, &error);
    if (!driver) {
        error_print(&error, stderr);
        abort();
    }
    driver->DriverGetVersion = version_of;
    driver->Init = init;
    if (getenv("PLAYED_BUSY"))
        driver->DevicePrimaryCtxRetain = refuse_context;
    return driver;
}

static struct cublaslt *products_here(void)
{
    if (!products)
        products = sim_cublaslt_new(driver_here());
    if (!products)
        abort();
    return products;
}

/* The names that the libraries export are those of the tables, which cuda.h hides behind macros. */
#define LIST(...) __VA_ARGS__

#define DRIVER(name, symbol, arguments, ...)                                                                           \
    CUresult played_##name(__VA_ARGS__) __asm__(#symbol);                                                              \
    CUresult played_##name(__VA_ARGS__)                                                                                \
    {                                                                                                                  \
        return driver_here()->name(driver, LIST arguments);                                                            \
    }
#include "runtime/cuda/driver.def"
#undef DRIVER

#define CUBLASLT(name, symbol, arguments, ...)                                                                         \
    cublasStatus_t played_lt_##name(__VA_ARGS__) __asm__(#symbol);                                                     \
    cublasStatus_t played_lt_##name(__VA_ARGS__)                                                                       \
    {                                                                                                                  \
        return products_here()->name(products, LIST arguments);                                                        \
    }
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT

const char *played_lt_text(cublasStatus_t status) __asm__("cublasLtGetStatusString");
const char *played_lt_text(cublasStatus_t status)
{
    return products_here()->GetStatusString(products, status);
}

/* NVRTC asks a driver that is here for tables of its own: an empty one, which begins with its size. */
CUresult played_table(const void **table, const CUuuid *which) __asm__("cuGetExportTable");
CUresult played_table(const void **table, const CUuuid *which)
{
    static const size_t empty[1] = {sizeof empty};
    (void)which;
    *table = empty;
    return CUDA_SUCCESS;
}
