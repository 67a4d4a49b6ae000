/* Which GPU tests run on. See test_driver.h. */
#include "test_driver.h"

#include "runtime/sim/cublaslt.h"

#include <stdlib.h>
#include <string.h>

bool test_on_gpu(void)
{
    const char *device = getenv("CASTOR_TEST_DEVICE");
    return device && strcmp(device, "cuda") == 0;
}

bool test_has_nvrtc(void)
{
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (nvrtc)
        nvrtc->free(nvrtc);
    else
        error_print(&error, stderr);
    return nvrtc;
}

struct driver *test_driver(const struct sim_settings *settings, struct error *error)
{
    struct driver *driver = test_on_gpu() ? driver_open(error) : sim_driver_new(settings, error);
    CUdevice device;
    CUcontext context;
    if (driver && (!driver_good(driver, driver->DeviceGet(driver, &device, 0), "finding a GPU", error) ||
                   !driver_good(driver, driver->DevicePrimaryCtxRetain(driver, &context, device), "a context", error) ||
                   !driver_good(driver, driver->CtxSetCurrent(driver, context), "a context", error))) {
        driver->free(driver);
        return NULL;
    }
    return driver;
}

struct cublaslt *test_cublaslt(struct driver *driver, struct error *error)
{
    int version = 0;
    if (!test_on_gpu())
        return sim_cublaslt_new(driver);
    return driver_version(driver, &version, error) ? cublaslt_open(version, error) : NULL;
}

struct nvrtc *test_nvrtc(struct error *error)
{
    struct driver *driver = test_on_gpu() ? driver_open(error) : NULL;
    int version = 0;
    if (test_on_gpu() && !driver)
        return NULL;
    if (driver) {
        driver_version(driver, &version, error);
        driver->free(driver);
    }
    return nvrtc_open(version, error);
}
