/* What the first GPU is, what kernels for it are compiled for, and whether it can be used at all. */
#include "runtime/cuda/parts.h"

#include <string.h>

static bool attribute(struct driver *driver, CUdevice gpu, CUdevice_attribute which, int *value, struct error *error)
{
    return driver_good(driver, driver->DeviceGetAttribute(driver, value, which, gpu), "asking what the GPU is", error);
}

bool cuda_describe(struct driver *driver, struct device_facts *facts, struct error *error)
{
    static const char tried[] = "asking what the GPU is";
    CUdevice gpu = 0;
    int version = 0, major = 0, minor = 0, cache = 0, multiprocessors = 0;
    size_t memory = 0;
    *facts = (struct device_facts){.device = "cuda", .f16 = true, .bf16 = true};
    if (!driver_version(driver, &version, error) ||
        !driver_good(driver, driver->DeviceGet(driver, &gpu, 0), tried, error) ||
        !driver_good(driver, driver->DeviceGetName(driver, facts->processor, (int)sizeof facts->processor, gpu), tried,
                     error) ||
        !driver_good(driver, driver->DeviceTotalMem(driver, &memory, gpu), tried, error) ||
        !attribute(driver, gpu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major, error) ||
        !attribute(driver, gpu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor, error) ||
        !attribute(driver, gpu, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &cache, error) ||
        !attribute(driver, gpu, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &multiprocessors, error))
        return false;
    facts->threads = facts->cores = multiprocessors;
    facts->memory_bytes = memory;
    facts->cache_bytes = cache > 0 ? (uint64_t)cache : 0;
    snprintf(facts->isa, sizeof facts->isa, "sm_%d%d", major, minor);
    snprintf(facts->instructions, sizeof facts->instructions, "sm_%d%d", major, minor);
    if (major >= 8)
        return true;
    error_set(error, "the GPU (%s, sm_%d%d) is too old: sm_80 is the first that will do", facts->processor, major,
              minor);
    error_hint(error, "only the first GPU is looked at; CUDA_VISIBLE_DEVICES=NUMBER makes another one the first");
    return false;
}

bool cuda_choose_architecture(const struct cuda_tables *tables, const char *gpu, char architecture[NVRTC_ARCHITECTURE],
                              struct error *error)
{
    if (tables->nvrtc)
        return nvrtc_architecture(tables->nvrtc, gpu, architecture, error);
    snprintf(architecture, NVRTC_ARCHITECTURE, "%s", gpu);
    return true;
}

/* Products: cuBLASLt needs the context, and refuses a driver that is too old for it. */
static bool try_products(struct cublaslt *cublaslt, struct error *error)
{
    static const char tried[] = "starting cuBLASLt";
    cublasLtHandle_t products = NULL;
    return cublaslt_good(cublaslt, cublaslt->Create(cublaslt, &products), tried, error) &&
           cublaslt_good(cublaslt, cublaslt->Destroy(cublaslt, products), tried, error);
}

bool cuda_ready(const struct cuda_tables *tables, struct device_facts *facts, struct error *error)
{
    struct driver *driver = tables->driver;
    char architecture[NVRTC_ARCHITECTURE];
    static const char tried[] = "starting the GPU";
    CUdevice gpu = 0;
    CUcontext context = NULL;
    if (!cuda_describe(driver, facts, error) || !cuda_choose_architecture(tables, facts->isa, architecture, error) ||
        !driver_good(driver, driver->DeviceGet(driver, &gpu, 0), tried, error) ||
        !driver_good(driver, driver->DevicePrimaryCtxRetain(driver, &context, gpu), tried, error))
        return false;
    bool ok = driver_good(driver, driver->CtxSetCurrent(driver, context), tried, error) &&
              try_products(tables->cublaslt, error);
    return driver_good(driver, driver->DevicePrimaryCtxRelease(driver, gpu), tried, error) && ok;
}
