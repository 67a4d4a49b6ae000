/* The driver's code: modules, functions, launches. */
#include "runtime/sim/gpu.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static CUresult module_load(struct driver *driver, CUmodule *module, const void *image)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    if (!result) {
        struct sim_module *loaded = sim_module_load(image, &gpu->memory, gpu->isa, &gpu->problem);
        if (loaded)
            arrput(gpu->modules, loaded);
        else
            result = CUDA_ERROR_INVALID_PTX;
        *module = (CUmodule)(void *)loaded;
    }
    gpu_leave(gpu);
    return result;
}

static CUresult module_unload(struct driver *driver, CUmodule module)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    streams_catch_up(driver);
    CUresult result = CUDA_ERROR_INVALID_HANDLE;
    for (ptrdiff_t i = 0; i < arrlen(gpu->modules) && result; i++)
        if (gpu->modules[i] == (struct sim_module *)(void *)module) {
            sim_module_unload(gpu->modules[i]);
            arrdel(gpu->modules, i);
            result = CUDA_SUCCESS;
        }
    gpu_leave(gpu);
    return result;
}

static CUresult module_function(struct driver *driver, CUfunction *function, CUmodule module, const char *name)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    if (!result) {
        *function = (CUfunction)(void *)sim_module_kernel((struct sim_module *)(void *)module, name);
        if (!*function)
            result = gpu_fail(gpu, CUDA_ERROR_NOT_FOUND, "the module has no kernel '%s'", name);
    }
    gpu_leave(gpu);
    return result;
}

static CUresult module_global(struct driver *driver, CUdeviceptr *address, size_t *bytes, CUmodule module,
                              const char *name)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    uint64_t place = 0;
    size_t size = 0;
    if (!result && !sim_module_global((const struct sim_module *)(const void *)module, name, &place, &size))
        result = gpu_fail(gpu, CUDA_ERROR_NOT_FOUND, "the module has no variable '%s'", name);
    if (address)
        *address = place;
    if (bytes)
        *bytes = size;
    gpu_leave(gpu);
    return result;
}

/* ---- functions ---- */

static bool attribute_of(const struct sim_kernel *kernel, CUfunction_attribute attribute, int *value)
{
    const struct ptx *ptx = kernel->module->ptx;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = kernel->ptx->threads_max;
        return true;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = (int)kernel->shared_bytes;
        return true;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
        *value = 0;
        for (ptrdiff_t i = 0; i < arrlen(ptx->variables); i++)
            if (ptx->variables[i].space == PTX_CONST)
                *value += (int)ptx->variables[i].bytes;
        return true;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = (int)kernel->local_bytes;
        return true;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = (int)kernel->dynamic_limit;
        return true;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value = ptx->target;
        return true;
    default: /* registers are known to ptxas alone */
        *value = 0;
        return false;
    }
}

static CUresult function_attribute(struct driver *driver, int *value, CUfunction_attribute attribute,
                                   CUfunction function)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    CUresult result = CUDA_SUCCESS;
    if (!attribute_of((const struct sim_kernel *)(const void *)function, attribute, value))
        result = gpu_fail(gpu, CUDA_ERROR_NOT_SUPPORTED, "the simulated GPU has no answer for function attribute %d",
                          (int)attribute);
    gpu_leave(gpu);
    return result;
}

static int fact(const struct gpu *gpu, CUdevice_attribute attribute)
{
    int value = 0;
    gpu_attribute(gpu, attribute, &value);
    return value;
}

static int shared_optin(const struct gpu *gpu)
{
    return fact(gpu, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
}

static CUresult set_attribute(struct driver *driver, CUfunction function, CUfunction_attribute attribute, int value)
{
    struct gpu *gpu = gpu_of(driver);
    struct sim_kernel *kernel = (struct sim_kernel *)(void *)function;
    int limit = shared_optin(gpu);
    CUresult result = gpu_enter(gpu);
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (!result && (value < 0 || value + kernel->shared_bytes > limit))
            result = gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE,
                              "%d bytes of dynamic shared memory beside %lld static ones; a block has at most %d",
                              value, (long long)kernel->shared_bytes, limit);
        else if (!result)
            kernel->dynamic_limit = value;
    } else if (!result && attribute != CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) {
        result = gpu_fail(gpu, CUDA_ERROR_NOT_SUPPORTED, "function attribute %d cannot be set", (int)attribute);
    }
    gpu_leave(gpu);
    return result;
}

/* By threads, blocks and shared memory; registers are not known here. */
static int occupancy(const struct gpu *gpu, const struct sim_kernel *kernel, int threads, size_t dynamic)
{
    int all_threads = fact(gpu, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    int all_blocks = fact(gpu, CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
    int all_shared = fact(gpu, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
    int warps = threads > 0 ? (threads + LANES - 1) / LANES : 1, blocks = all_threads / LANES / warps;
    size_t shared = (size_t)kernel->shared_bytes + dynamic + 1024; /* 1 KiB a block is the system's */
    int by_shared = (int)((size_t)all_shared / shared);
    blocks = blocks < all_blocks ? blocks : all_blocks;
    return blocks < by_shared ? blocks : by_shared;
}

static CUresult occupancy_blocks(struct driver *driver, int *blocks, CUfunction function, int threads,
                                 size_t shared_bytes)
{
    const struct sim_kernel *kernel = (const struct sim_kernel *)(const void *)function;
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    if (!result && (threads < 1 || threads > PTX_THREADS_MAX))
        result = gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "%d threads a block", threads);
    if (!result)
        *blocks = threads > kernel->ptx->threads_max ? 0 : occupancy(gpu, kernel, threads, shared_bytes);
    gpu_leave(gpu);
    return result;
}

/* ---- launches ---- */

static bool is_cooperative(const CUlaunchConfig *config)
{
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && config->attrs[i].value.cooperative)
            return true;
    return false;
}

static CUresult check_threads(struct gpu *gpu, const CUlaunchConfig *config, const struct sim_kernel *kernel)
{
    unsigned long long threads = (unsigned long long)config->blockDimX * config->blockDimY * config->blockDimZ;
    const int *exactly = kernel->ptx->threads_exactly;
    if (!threads || threads > (unsigned)kernel->ptx->threads_max || config->blockDimX > 1024 ||
        config->blockDimY > 1024 || config->blockDimZ > 64)
        return gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "kernel %s: %u x %u x %u threads a block, where it may have %d",
                        kernel->name, config->blockDimX, config->blockDimY, config->blockDimZ,
                        kernel->ptx->threads_max);
    if (exactly[0] && (config->blockDimX != (unsigned)exactly[0] || config->blockDimY != (unsigned)exactly[1] ||
                       config->blockDimZ != (unsigned)exactly[2]))
        return gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE,
                        "kernel %s: %u x %u x %u threads a block, where it must have %d x %d x %d", kernel->name,
                        config->blockDimX, config->blockDimY, config->blockDimZ, exactly[0], exactly[1], exactly[2]);
    return CUDA_SUCCESS;
}

static CUresult check_launch(struct gpu *gpu, const CUlaunchConfig *config, const struct sim_kernel *kernel)
{
    unsigned long long threads = (unsigned long long)config->blockDimX * config->blockDimY * config->blockDimZ;
    unsigned long long blocks = (unsigned long long)config->gridDimX * config->gridDimY * config->gridDimZ;
    CUresult result = check_threads(gpu, config, kernel);
    if (result)
        return result;
    if (!blocks || config->gridDimX > INT32_MAX || config->gridDimY > 65535 || config->gridDimZ > 65535)
        return gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "kernel %s: a grid of %u x %u x %u blocks", kernel->name,
                        config->gridDimX, config->gridDimY, config->gridDimZ);
    if (config->sharedMemBytes > (uint64_t)kernel->dynamic_limit ||
        config->sharedMemBytes + (uint64_t)kernel->dynamic_offset > (uint64_t)shared_optin(gpu))
        return gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE,
                        "kernel %s: %u bytes of dynamic shared memory, where it may have %lld", kernel->name,
                        config->sharedMemBytes, (long long)kernel->dynamic_limit);
    int resident = occupancy(gpu, kernel, (int)threads, config->sharedMemBytes) * gpu->settings.processors;
    if (is_cooperative(config) && blocks > (unsigned)resident)
        return gpu_fail(gpu, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
                        "kernel %s: %llu blocks in a cooperative launch, where %d are resident at once", kernel->name,
                        blocks, resident);
    return CUDA_SUCCESS;
}

static uint8_t *parameter_block(const struct sim_kernel *kernel, void **parameters)
{
    uint8_t *block = calloc(1, (size_t)kernel->parameter_bytes + 1);
    for (ptrdiff_t i = 0; block && i < arrlen(kernel->ptx->parameters); i++)
        memcpy(block + kernel->parameter_offsets[i], parameters[i], (size_t)kernel->ptx->parameters[i].bytes);
    return block;
}

static CUresult launch(struct driver *driver, const CUlaunchConfig *config, CUfunction function, void **parameters,
                       void **extra)
{
    struct gpu *gpu = gpu_of(driver);
    struct sim_kernel *kernel = (struct sim_kernel *)(void *)function;
    CUresult result = gpu_enter(gpu);
    if (!result && extra)
        result = gpu_fail(gpu, CUDA_ERROR_NOT_SUPPORTED, "parameters come one by one, not as a block");
    if (!result)
        result = check_launch(gpu, config, kernel);
    struct work work = {.kind = WORK_LAUNCH, .kernel = kernel, .dynamic_bytes = config->sharedMemBytes};
    if (!result) {
        work.bytes = parameter_block(kernel, parameters);
        if (!work.bytes)
            result = gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a launch");
    }
    if (!result) {
        memcpy(work.grid, (uint32_t[]){config->gridDimX, config->gridDimY, config->gridDimZ}, sizeof work.grid);
        memcpy(work.threads, (uint32_t[]){config->blockDimX, config->blockDimY, config->blockDimZ},
               sizeof work.threads);
        work.cooperative = is_cooperative(config);
        result = gpu_submit(driver, config->hStream, &work);
    }
    gpu_leave(gpu);
    return result;
}

void gpu_fill_code(struct driver *driver)
{
    driver->ModuleLoadData = module_load;
    driver->ModuleUnload = module_unload;
    driver->ModuleGetFunction = module_function;
    driver->ModuleGetGlobal = module_global;
    driver->FuncGetAttribute = function_attribute;
    driver->FuncSetAttribute = set_attribute;
    driver->OccupancyMaxActiveBlocksPerMultiprocessor = occupancy_blocks;
    driver->LaunchKernelEx = launch;
}
