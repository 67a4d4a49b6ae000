/* The driver's memory: allocation, copies, memset. */
#include "runtime/sim/gpu.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static CUresult memory_info(struct driver *driver, size_t *available, size_t *total)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    *total = gpu->memory.limit;
    *available = gpu->memory.limit - gpu->memory.used;
    gpu_leave(gpu);
    return result;
}

static CUresult allocate(struct driver *driver, CUdeviceptr *address, size_t bytes)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    if (!result && !bytes)
        result = gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "an allocation of no bytes");
    if (!result) {
        *address = sim_memory_new(&gpu->memory, bytes, NULL);
        if (!*address)
            result = gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes, where %zu of %zu are in use", bytes,
                              gpu->memory.used, gpu->memory.limit);
    }
    gpu_leave(gpu);
    return result;
}

/* Freeing works after a fault too, so that whoever cleans up can. */
static CUresult release(struct driver *driver, CUdeviceptr address)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    streams_catch_up(driver); /* it waits for all that runs */
    CUresult result = CUDA_SUCCESS;
    if (address && !sim_memory_delete(&gpu->memory, address))
        result = gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "no allocation begins at 0x%llx", (unsigned long long)address);
    gpu_leave(gpu);
    return result;
}

static CUresult host_allocate(struct driver *driver, void **address, size_t bytes, unsigned flags)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    (void)flags;
    *address = result ? NULL : aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!result && !*address)
        result = gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "%zu bytes on the host", bytes);
    if (!result) {
        uint64_t begin = (uint64_t)(uintptr_t)*address;
        struct pinned pinned = {begin, begin + bytes};
        arrput(gpu->pinned, pinned);
    }
    gpu_leave(gpu);
    return result;
}

static CUresult host_release(struct driver *driver, void *address)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    streams_catch_up(driver);
    for (ptrdiff_t i = arrlen(gpu->pinned) - 1; i >= 0; i--)
        if (gpu->pinned[i].begin == (uint64_t)(uintptr_t)address)
            arrdelswap(gpu->pinned, i);
    free(address);
    gpu_leave(gpu);
    return CUDA_SUCCESS;
}

static CUresult submit(struct driver *driver, CUstream stream, struct work *work)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    if (!result)
        result = gpu_submit(driver, stream, work);
    gpu_leave(gpu);
    return result;
}

static CUresult to_device(struct driver *driver, CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    struct work work = {.kind = WORK_COPY, .to = to, .from = (uint64_t)(uintptr_t)from, .from_host = true};
    work.count = bytes;
    return submit(driver, stream, &work);
}

static CUresult to_host(struct driver *driver, void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    struct work work = {.kind = WORK_COPY, .to = (uint64_t)(uintptr_t)to, .from = from, .to_host = true};
    work.count = bytes;
    return submit(driver, stream, &work);
}

static CUresult within_device(struct driver *driver, CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    struct work work = {.kind = WORK_COPY, .to = to, .from = from, .count = bytes};
    return submit(driver, stream, &work);
}

static CUresult set_bytes(struct driver *driver, CUdeviceptr address, unsigned char value, size_t count,
                          CUstream stream)
{
    struct work work = {.kind = WORK_SET, .to = address, .count = count, .value = value};
    return submit(driver, stream, &work);
}

static CUresult to_device_now(struct driver *driver, CUdeviceptr to, const void *from, size_t bytes)
{
    return to_device(driver, to, from, bytes, NULL);
}

static CUresult to_host_now(struct driver *driver, void *to, CUdeviceptr from, size_t bytes)
{
    return to_host(driver, to, from, bytes, NULL);
}

void gpu_fill_memory(struct driver *driver)
{
    driver->MemGetInfo = memory_info;
    driver->MemAlloc = allocate;
    driver->MemFree = release;
    driver->MemHostAlloc = host_allocate;
    driver->MemFreeHost = host_release;
    driver->MemcpyHtoD = to_device_now;
    driver->MemcpyDtoH = to_host_now;
    driver->MemcpyHtoDAsync = to_device;
    driver->MemcpyDtoHAsync = to_host;
    driver->MemcpyDtoDAsync = within_device;
    driver->MemsetD8Async = set_bytes;
}
