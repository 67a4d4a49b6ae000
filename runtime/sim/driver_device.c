/* The driver's start-up and facts about the device. */
#include "runtime/sim/gpu.h"

#include <string.h>

static CUresult init(struct driver *driver, unsigned flags)
{
    return gpu_answer(gpu_of(driver), flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS);
}

static CUresult version_of(struct driver *driver, int *version)
{
    *version = CUDA_VERSION;
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

static const struct {
    CUresult result;
    const char *name, *text;
} results[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX text cannot be loaded"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "a kernel did what it must not"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
     "too many blocks in a cooperative launch"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted while a stream is captured"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "operation not permitted in this state"},
};

static CUresult error_name(struct driver *driver, CUresult result, const char **text)
{
    (void)driver;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].result == result) {
            *text = results[i].name;
            return CUDA_SUCCESS;
        }
    *text = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult error_string(struct driver *driver, CUresult result, const char **text)
{
    (void)driver;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].result == result) {
            *text = results[i].text;
            return CUDA_SUCCESS;
        }
    *text = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult device_count(struct driver *driver, int *count)
{
    *count = 1;
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

/* The only device has the number 0. */
static CUresult about(struct driver *driver, CUdevice device)
{
    return gpu_answer(gpu_of(driver), device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE);
}

static CUresult device_get(struct driver *driver, CUdevice *device, int ordinal)
{
    *device = 0;
    return about(driver, ordinal);
}

static CUresult device_name(struct driver *driver, char *name, int size, CUdevice device)
{
    struct gpu *gpu = gpu_of(driver);
    if (device != 0 || size < 1)
        return gpu_answer(gpu, CUDA_ERROR_INVALID_VALUE);
    snprintf(name, (size_t)size, "simulated GPU (sm_%d, %s)", gpu->capability, gpu->isa->name);
    return gpu_answer(gpu, CUDA_SUCCESS);
}

/* What a multiprocessor holds, and the shared memory that a block may have when it asks, by compute capability (CUDA
 * C++ Programming Guide, table of technical specifications). */
struct limits {
    int capability, threads, blocks, shared;
};

static const struct limits *limits_of(int capability)
{
    static const struct limits rows[] = {
        {80, 2048, 32, 163 << 10}, {86, 1536, 16, 99 << 10},   {87, 1536, 16, 163 << 10},  {89, 1536, 24, 99 << 10},
        {90, 2048, 32, 227 << 10}, {100, 2048, 32, 227 << 10}, {103, 2048, 32, 227 << 10}, {120, 1536, 24, 99 << 10}};
    const struct limits *found = rows;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].capability <= capability)
            found = &rows[i];
    return found;
}

bool gpu_attribute(const struct gpu *gpu, CUdevice_attribute attribute, int *value)
{
    const struct limits *limits = limits_of(gpu->capability);
    const struct {
        CUdevice_attribute attribute;
        int value;
    } rows[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->capability / 10},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->capability % 10},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, gpu->settings.processors},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, limits->threads},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, limits->blocks},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, INT32_MAX},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
        {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
        {CU_DEVICE_ATTRIBUTE_WARP_SIZE, LANES},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 * 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, limits->shared},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, limits->shared + 1024},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
        {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
        {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 40 << 20},
        {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1000000},
        {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1000000},
        {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
        {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
        {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
        {CU_DEVICE_ATTRIBUTE_INTEGRATED, 0},
        {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 0},
        {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].attribute == attribute) {
            *value = rows[i].value;
            return true;
        }
    return false;
}

static CUresult device_attribute(struct driver *driver, int *value, CUdevice_attribute attribute, CUdevice device)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    CUresult result = device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    if (!result && !gpu_attribute(gpu, attribute, value))
        result = gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "the simulated GPU has no answer for device attribute %d",
                          (int)attribute);
    gpu_leave(gpu);
    return result;
}

static CUresult device_total(struct driver *driver, size_t *bytes, CUdevice device)
{
    *bytes = gpu_of(driver)->settings.memory;
    return about(driver, device);
}

static CUresult context_retain(struct driver *driver, CUcontext *context, CUdevice device)
{
    *context = (CUcontext)driver->own;
    return about(driver, device);
}

static CUresult context_release(struct driver *driver, CUdevice device)
{
    return about(driver, device);
}

static CUresult context_set(struct driver *driver, CUcontext context)
{
    bool known = !context || context == (CUcontext)driver->own;
    return gpu_answer(gpu_of(driver), known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE);
}

void gpu_fill_device(struct driver *driver)
{
    driver->Init = init;
    driver->DriverGetVersion = version_of;
    driver->GetErrorName = error_name;
    driver->GetErrorString = error_string;
    driver->DeviceGetCount = device_count;
    driver->DeviceGet = device_get;
    driver->DeviceGetName = device_name;
    driver->DeviceGetAttribute = device_attribute;
    driver->DeviceTotalMem = device_total;
    driver->DevicePrimaryCtxRetain = context_retain;
    driver->DevicePrimaryCtxRelease = context_release;
    driver->CtxSetCurrent = context_set;
}
