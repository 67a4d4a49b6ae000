/* Generated CUDA kernels on the GPU of test_driver.h. See kernel_cuda.h. */
#include "tests/kernel_cuda.h"

#include "frontend/device.h"

struct target kernel_cuda_target(void)
{
    const struct device_choice choice = {.kind = DEVICE_CUDA, .architecture = "sm_80"};
    struct device_facts facts;
    struct error ignored = {0};
    device_describe(&choice, &facts, &ignored); /* of an architecture by its name: always known */
    return device_target(&choice, &facts);
}

#if CASTOR_CUDA
#include "runtime/cuda/cuda.h"
#include "test_driver.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { GRID = 3, ARGUMENT_BYTES = 32764 };

struct kernel_cuda {
    struct driver *driver;
    CUmodule *modules; /* stb_ds array */
};

bool kernel_cuda_possible(void)
{
    struct error error = {0};
    struct nvrtc *nvrtc = test_nvrtc(&error);
    if (nvrtc)
        nvrtc->free(nvrtc);
    return nvrtc != NULL;
}

static void print_log(struct nvrtc *nvrtc, nvrtcProgram program)
{
    size_t size = 0;
    nvrtc->GetProgramLogSize(nvrtc, program, &size);
    char *log = calloc(size + 1, 1);
    if (nvrtc->GetProgramLog(nvrtc, program, log) == NVRTC_SUCCESS)
        fprintf(stderr, "%s\n", log);
    free(log);
}

/* Malloced; NULL after a message. A cubin for an architecture ("sm_90"), or PTX for compute_80 (NULL). */
static char *compile(struct nvrtc *nvrtc, const char *architecture, const char *text)
{
    char option[64];
    const char *const options[] = {option, "--fmad=false", "--std=c++17"};
    nvrtcProgram program;
    size_t size = 0;
    char *image = NULL;
    snprintf(option, sizeof option, "--gpu-architecture=%s", architecture ? architecture : "compute_80");
    if (nvrtc->CreateProgram(nvrtc, &program, text, "kernels.cu", 0, NULL, NULL) != NVRTC_SUCCESS)
        return NULL;
    if (nvrtc->CompileProgram(nvrtc, program, 3, options) != NVRTC_SUCCESS)
        print_log(nvrtc, program);
    else if (architecture && nvrtc->GetCUBINSize(nvrtc, program, &size) == NVRTC_SUCCESS && (image = malloc(size)))
        nvrtc->GetCUBIN(nvrtc, program, image);
    else if (!architecture && nvrtc->GetPTXSize(nvrtc, program, &size) == NVRTC_SUCCESS && (image = malloc(size)))
        nvrtc->GetPTX(nvrtc, program, image);
    nvrtc->DestroyProgram(nvrtc, &program);
    return image;
}

static bool failed(const struct kernel_cuda *cuda, const char *what)
{
    const char *problem = cuda->driver->problem(cuda->driver);
    fprintf(stderr, "%s: %s\n", what, problem ? problem : "failed");
    return false;
}

static bool load(struct kernel_cuda *cuda, struct nvrtc *nvrtc, const char *architecture, const char *text)
{
    char *image = compile(nvrtc, architecture, text);
    CUmodule module;
    bool loaded = image && cuda->driver->ModuleLoadData(cuda->driver, &module, image) == CUDA_SUCCESS;
    free(image);
    if (loaded)
        arrput(cuda->modules, module);
    return loaded || failed(cuda, "module");
}

/* What a GPU's cubins are for: PTX is refused by drivers older than NVRTC. NULL where PTX is the way: on the simulated
 * GPU, and on one newer than NVRTC knows. */
static const char *own_architecture(const struct kernel_cuda *cuda, struct nvrtc *nvrtc, struct device_facts *facts)
{
    char known[NVRTC_ARCHITECTURE];
    struct error ignored = {0};
    bool own = test_on_gpu() && cuda_describe(cuda->driver, facts, &ignored) &&
               nvrtc_architecture(nvrtc, facts->isa, known, &ignored) && strcmp(known, facts->isa) == 0;
    return own ? facts->isa : NULL;
}

struct kernel_cuda *kernel_cuda_new(const char *const *texts, int count)
{
    struct error error = {0};
    struct device_facts facts;
    struct nvrtc *nvrtc = test_nvrtc(&error);
    struct kernel_cuda *cuda = calloc(1, sizeof *cuda);
    cuda->driver = nvrtc ? test_driver(&(struct sim_settings){.threads = 1, .races = true}, &error) : NULL;
    bool good = cuda->driver;
    if (!good)
        error_print(&error, stderr);
    const char *architecture = good ? own_architecture(cuda, nvrtc, &facts) : NULL;
    for (int i = 0; i < count && good; i++)
        good = load(cuda, nvrtc, architecture, texts[i]);
    if (nvrtc)
        nvrtc->free(nvrtc);
    if (good)
        return cuda;
    kernel_cuda_free(cuda);
    return NULL;
}

void kernel_cuda_free(struct kernel_cuda *cuda)
{
    if (cuda->driver)
        cuda->driver->free(cuda->driver);
    arrfree(cuda->modules);
    free(cuda);
}

static CUfunction find(const struct kernel_cuda *cuda, const char *name)
{
    CUfunction function;
    for (ptrdiff_t i = 0; i < arrlen(cuda->modules); i++)
        if (cuda->driver->ModuleGetFunction(cuda->driver, &function, cuda->modules[i], name) == CUDA_SUCCESS)
            return function;
    fprintf(stderr, "no kernel %s\n", name);
    return NULL;
}

static bool launch(struct kernel_cuda *cuda, CUfunction function, const struct kernel *kernel, void *arguments)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value = {.cooperative = 1}};
    CUlaunchConfig config = {.gridDimX = kernel->blocks < GRID ? (unsigned)kernel->blocks : GRID,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = (unsigned)kernel->threads,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .attrs = &attribute,
                             .numAttrs = kernel->cooperative};
    void *parameters[] = {arguments};
    return cuda->driver->LaunchKernelEx(cuda->driver, &config, function, parameters, NULL) == CUDA_SUCCESS;
}

bool kernel_cuda_run(struct kernel_cuda *cuda, const char *name, const struct kernel *kernel,
                     const struct kernel_cuda_buffer *buffers)
{
    struct driver *driver = cuda->driver;
    uint64_t arguments[ARGUMENT_BYTES / 8] = {0};
    int count = kernel->buffer_count + (kernel->workspace_bytes > 0);
    CUfunction function = find(cuda, name);
    bool good = function;
    for (int i = 0; i < count && good; i++) {
        CUdeviceptr address;
        good = driver->MemAlloc(driver, &address, buffers[i].size + 1) == CUDA_SUCCESS &&
               (!buffers[i].bytes ||
                driver->MemcpyHtoD(driver, address, buffers[i].bytes, buffers[i].size) == CUDA_SUCCESS);
        arguments[i] = address;
    }
    for (int i = 0; i < kernel->integer_count; i++)
        arguments[count + i] = (uint64_t)kernel->integers[i];
    good = good && launch(cuda, function, kernel, arguments);
    for (int i = 0; i < count && good; i++)
        good = !buffers[i].bytes ||
               driver->MemcpyDtoH(driver, buffers[i].bytes, arguments[i], buffers[i].size) == CUDA_SUCCESS;
    for (int i = 0; i < count; i++)
        if (arguments[i])
            driver->MemFree(driver, arguments[i]);
    return good || failed(cuda, name);
}

struct kernel_cuda_traffic kernel_cuda_traffic(const struct kernel_cuda *cuda, const char *name)
{
    const struct sim_counters *counters = sim_function_counters(find(cuda, name));
    return (struct kernel_cuda_traffic){counters->load_bytes + counters->store_bytes,
                                        counters->load_sectors + counters->store_sectors};
}

#else

bool kernel_cuda_possible(void)
{
    return false;
}
struct kernel_cuda *kernel_cuda_new(const char *const *texts, int count)
{
    (void)texts;
    (void)count;
    return NULL;
}
void kernel_cuda_free(struct kernel_cuda *cuda)
{
    (void)cuda;
}
bool kernel_cuda_run(struct kernel_cuda *cuda, const char *name, const struct kernel *kernel,
                     const struct kernel_cuda_buffer *buffers)
{
    (void)cuda;
    (void)name;
    (void)kernel;
    (void)buffers;
    return false;
}
struct kernel_cuda_traffic kernel_cuda_traffic(const struct kernel_cuda *cuda, const char *name)
{
    (void)cuda;
    (void)name;
    return (struct kernel_cuda_traffic){0};
}

#endif
