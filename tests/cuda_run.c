/* Running CUDA C on the simulated GPU (cuda_run.h). */
#if CASTOR_CUDA
#include "cuda_run.h"

#include "runtime/cuda/nvrtc.h"
#include "runtime/sim/sim.h"

#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 32 };

struct argument {
    void *host; /* of a buffer, NULL for a value */
    size_t size;
    CUdeviceptr device;
    unsigned char value[256];
};

struct cuda_run {
    struct cuda_settings settings;
    struct driver *driver;
    CUmodule module;
    struct error error;
    struct argument arguments[ARGUMENTS_MAX];
    int count;
};

bool cuda_run_possible(void)
{
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (nvrtc)
        nvrtc->free(nvrtc);
    return nvrtc != NULL;
}

static void print_log(struct nvrtc *nvrtc, nvrtcProgram program)
{
    size_t size = 0;
    nvrtc->GetProgramLogSize(nvrtc, program, &size);
    char *log = malloc(size + 1);
    if (log && size && nvrtc->GetProgramLog(nvrtc, program, log) == NVRTC_SUCCESS)
        fprintf(stderr, "%s\n", log);
    free(log);
}

static char *compile(struct nvrtc *nvrtc, const struct cuda_settings *settings, const char *source)
{
    char arch[32], include[512];
    const char *home = getenv("CUDA_HOME"), *options[8];
    int count = 0;
    nvrtcProgram program;
    size_t size = 0;
    char *ptx = NULL;
    snprintf(arch, sizeof arch, "-arch=sm_%d", settings->arch ? settings->arch : 80);
    snprintf(include, sizeof include, "-I%s/include", home ? home : CASTOR_CUDA_HOME);
    options[count++] = arch;
    options[count++] = include;
    options[count++] = "-default-device";
    if (settings->fast_math)
        options[count++] = "-use_fast_math";
    if (settings->line_info)
        options[count++] = "-lineinfo";
    if (nvrtc->CreateProgram(nvrtc, &program, source, "test.cu", 0, NULL, NULL) != NVRTC_SUCCESS)
        return NULL;
    if (nvrtc->CompileProgram(nvrtc, program, count, options) != NVRTC_SUCCESS)
        print_log(nvrtc, program);
    else if (nvrtc->GetPTXSize(nvrtc, program, &size) == NVRTC_SUCCESS && (ptx = malloc(size)))
        nvrtc->GetPTX(nvrtc, program, ptx);
    nvrtc->DestroyProgram(nvrtc, &program);
    return ptx;
}

char *cuda_run_ptx(const struct cuda_settings *settings, const char *source)
{
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (!nvrtc)
        return NULL;
    char *ptx = compile(nvrtc, settings, source);
    nvrtc->free(nvrtc);
    return ptx;
}

static bool failed(struct cuda_run *run, const char *what)
{
    const char *problem = run->driver->problem(run->driver);
    return error_set(&run->error, "%s", problem ? problem : what);
}

struct cuda_run *cuda_run_new(const struct cuda_settings *settings, const char *source)
{
    struct cuda_run *run = calloc(1, sizeof *run);
    if (!run)
        abort();
    run->settings = *settings;
    char architecture[32];
    snprintf(architecture, sizeof architecture, "sm_%d", settings->arch ? settings->arch : 80);
    struct sim_settings sim = {.threads = settings->threads ? settings->threads : 1, .architecture = architecture};
    sim.patience = settings->patience;
    sim.isa = settings->isa;
    sim.races = settings->races;
    run->driver = sim_driver_new(&sim, &run->error);
    if (!run->driver)
        abort();
    char *ptx = settings->ptx ? NULL : cuda_run_ptx(settings, source);
    if (!settings->ptx && !ptx)
        error_set(&run->error, "NVRTC failed");
    else if (run->driver->ModuleLoadData(run->driver, &run->module, ptx ? ptx : source) != CUDA_SUCCESS)
        failed(run, "the module cannot be loaded");
    free(ptx);
    return run;
}

void cuda_run_free(struct cuda_run *run)
{
    run->driver->free(run->driver);
    free(run);
}

void cuda_run_buffer(struct cuda_run *run, void *bytes, size_t size)
{
    run->arguments[run->count++] = (struct argument){.host = bytes, .size = size};
}

void cuda_run_value(struct cuda_run *run, const void *bytes, size_t size)
{
    struct argument *argument = &run->arguments[run->count++];
    *argument = (struct argument){.size = size};
    if (size > sizeof argument->value)
        abort();
    memcpy(argument->value, bytes, size);
}

/* Buffers to the device, the launch, and the buffers back. */
static bool launch(struct cuda_run *run, const char *kernel, const unsigned blocks[3], const unsigned threads[3],
                   size_t shared)
{
    struct driver *driver = run->driver;
    void *parameters[ARGUMENTS_MAX];
    CUfunction function;
    if (driver->ModuleGetFunction(driver, &function, run->module, kernel) != CUDA_SUCCESS)
        return failed(run, "no such kernel");
    for (int i = 0; i < run->count; i++) {
        struct argument *argument = &run->arguments[i];
        parameters[i] = argument->host ? (void *)&argument->device : argument->value;
        if (!argument->host)
            continue;
        if (driver->MemAlloc(driver, &argument->device, argument->size) != CUDA_SUCCESS)
            return failed(run, "no memory");
        if (!run->settings.unwritten &&
            driver->MemcpyHtoD(driver, argument->device, argument->host, argument->size) != CUDA_SUCCESS)
            return failed(run, "copy failed");
    }
    if (shared > 32 * 1024) /* static memory may stand beside it */
        driver->FuncSetAttribute(driver, function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared);
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value = {.cooperative = 1}};
    CUlaunchConfig config = {.gridDimX = blocks[0],
                             .gridDimY = blocks[1],
                             .gridDimZ = blocks[2],
                             .blockDimX = threads[0],
                             .blockDimY = threads[1],
                             .blockDimZ = threads[2],
                             .sharedMemBytes = (unsigned)shared};
    config.attrs = &attribute;
    config.numAttrs = run->settings.cooperative;
    if (driver->LaunchKernelEx(driver, &config, function, parameters, NULL) != CUDA_SUCCESS)
        return failed(run, "launch failed");
    for (int i = 0; i < run->count; i++) {
        struct argument *argument = &run->arguments[i];
        if (argument->host && driver->MemcpyDtoH(driver, argument->host, argument->device, argument->size))
            return failed(run, "copy failed");
    }
    return true;
}

bool cuda_run_launch3(struct cuda_run *run, const char *kernel, const unsigned blocks[3], const unsigned threads[3],
                      size_t shared)
{
    bool good = !run->error.code && launch(run, kernel, blocks, threads, shared);
    for (int i = 0; i < run->count; i++)
        if (run->arguments[i].device)
            run->driver->MemFree(run->driver, run->arguments[i].device);
    run->count = 0;
    return good;
}

bool cuda_run_launch(struct cuda_run *run, const char *kernel, unsigned blocks, unsigned threads, size_t shared)
{
    return cuda_run_launch3(run, kernel, (unsigned[]){blocks, 1, 1}, (unsigned[]){threads, 1, 1}, shared);
}

const char *cuda_run_problem(const struct cuda_run *run)
{
    return run->error.text;
}

const struct sim_counters *cuda_run_counters(const struct cuda_run *run, const char *kernel)
{
    const char *name;
    const struct sim_counters *counters;
    for (size_t i = 0; (counters = sim_kernel_counters(run->driver, i, &name)); i++)
        if (strcmp(name, kernel) == 0)
            return counters;
    return NULL;
}

struct driver *cuda_run_driver(const struct cuda_run *run)
{
    return run->driver;
}
#else
extern int cuda_run_is_left_out;
#endif
