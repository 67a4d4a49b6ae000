/* Modules of compiled kernels, and a kernel step made ready for launching. */
#include "runtime/cuda/code.h"
#include "runtime/cuda/parts.h"

#include <stdlib.h>
#include <string.h>

enum { WAVES = 8 }; /* a grid has at most so many blocks for each that fits onto the GPU at once */

static struct cuda_code *code_of(struct cuda *cuda, const struct program *program, struct error *error)
{
    const struct cuda_compile_settings settings = {cuda->tables.nvrtc, cuda->architecture, cuda->cache, cuda->jobs};
    return cuda->built ? cuda_code_read(cuda->built, cuda->built_size, program, error)
                       : cuda_code_compile(&settings, program, error);
}

/* Cubins run on GPUs of their own major version that are not older. */
static bool cubins_run(const struct cuda *cuda)
{
    int code = atoi(cuda->architecture + strlen("sm_")), gpu = atoi(cuda->device.facts.isa + strlen("sm_"));
    return !cuda->ptx && code / 10 == gpu / 10 && code <= gpu;
}

/* The cubin, or what the driver makes of the PTX: a GPU newer than the cubin's needs that, and so does one that the
 * cubin's compiler takes for another kind. A driver refuses PTX that is newer than itself, but not the cubin. */
static bool load_module(struct cuda *cuda, CUmodule *module, const struct cuda_unit *unit, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    if (cubins_run(cuda) && driver->ModuleLoadData(driver, module, unit->cubin) == CUDA_SUCCESS)
        return true;
    CUresult result = driver->ModuleLoadData(driver, module, unit->ptx);
    if (cuda_good(cuda, result, "loading kernels", error))
        return true;
    if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
        error_hint(error,
                   "the driver is older than the NVRTC that compiled for %s, and this GPU is %s: a newer driver "
                   "can load it",
                   cuda->architecture, cuda->device.facts.isa);
    return false;
}

static bool load_unit(struct cuda *cuda, struct cuda_kernels *kernels, int number, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    const struct cuda_unit *unit = &kernels->code->units[number];
    if (!load_module(cuda, &kernels->modules[number], unit, error))
        return false;
    for (int i = unit->first; i < unit->last; i++) {
        const char *name = i < kernels->kernel_count ? kernels->program->kernels[i].name : CUDA_GATHER;
        if (!cuda_good(cuda, driver->ModuleGetFunction(driver, &kernels->functions[i], kernels->modules[number], name),
                       name, error))
            return false;
    }
    return true;
}

void *cuda_load(struct device *device, const struct program *program, struct error *error)
{
    struct cuda *cuda = device->own;
    struct cuda_kernels *kernels = calloc(1, sizeof *kernels);
    if (!kernels) {
        error_set(error, "out of memory");
        return NULL;
    }
    *kernels = (struct cuda_kernels){.kernel_count = program->kernel_count, .program = program};
    kernels->code = code_of(cuda, program, error);
    bool ok = kernels->code;
    if (ok) {
        kernels->modules = calloc((size_t)kernels->code->unit_count + 1, sizeof *kernels->modules);
        kernels->functions = calloc((size_t)program->kernel_count + 1, sizeof *kernels->functions);
        ok = kernels->modules && kernels->functions;
        if (!ok)
            error_set(error, "out of memory");
    }
    for (int i = 0; ok && i < kernels->code->unit_count; i++)
        ok = load_unit(cuda, kernels, i, error);
    if (ok)
        return kernels;
    cuda_unload(device, kernels);
    return NULL;
}

void cuda_unload(struct device *device, void *loaded)
{
    struct cuda *cuda = device->own;
    struct cuda_kernels *kernels = loaded;
    struct driver *driver = cuda->tables.driver;
    for (int i = 0; kernels->modules && i < kernels->code->unit_count; i++)
        if (kernels->modules[i])
            cuda_good(cuda, driver->ModuleUnload(driver, kernels->modules[i]), "unloading kernels", &cuda->failure);
    free(kernels->modules);
    free(kernels->functions);
    cuda_code_free(kernels->code);
    free(kernels);
}

/* ---- steps ---- */

/* How many blocks: as many as have work, but no more than some waves, and for a kernel that waits for its whole grid no
 * more than fit at once. */
static bool choose_grid(struct cuda *cuda, struct cuda_call *own, const struct program_kernel *kernel, int64_t blocks,
                        struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    int resident = 0;
    static const char tried[] = "planning a launch";
    /* More than 48 KiB must be asked for, and what the kernel has of its own counts as well. */
    if (kernel->shared_bytes &&
        !cuda_good(cuda,
                   driver->FuncSetAttribute(driver, own->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            (int)kernel->shared_bytes),
                   tried, error))
        return false;
    if (!cuda_good(cuda,
                   driver->OccupancyMaxActiveBlocksPerMultiprocessor(driver, &resident, own->function, kernel->threads,
                                                                     kernel->shared_bytes),
                   tried, error))
        return false;
    if (resident < 1)
        return error_set(error, "kernel %s does not fit onto a multiprocessor: %d threads, %u bytes of shared memory",
                         kernel->name, kernel->threads, kernel->shared_bytes);
    int64_t most = (int64_t)resident * cuda->multiprocessors * (kernel->cooperative ? 1 : WAVES);
    own->grid = (unsigned)(blocks < most ? blocks : most);
    own->threads = (unsigned)kernel->threads;
    own->shared_bytes = kernel->shared_bytes;
    own->cooperative = kernel->cooperative;
    return true;
}

static bool prepare_kernel(struct cuda *cuda, struct cuda_call *own, const struct cuda_kernels *kernels,
                           const struct program_step *step, struct error *error)
{
    const struct program_kernel *kernel = &kernels->program->kernels[step->kernel];
    size_t pointers = sizeof(CUdeviceptr) * (size_t)step->buffer_count;
    size_t integers = sizeof *step->integers * (size_t)step->integer_count;
    if (!kernel->threads)
        return error_set(error, "kernel %s was not made for a GPU", kernel->name);
    own->function = kernels->functions[step->kernel];
    own->argument_bytes = pointers + integers;
    own->argument = calloc(own->argument_bytes + 1, 1);
    if (!own->argument)
        return error_set(error, "out of memory");
    if (integers)
        memcpy(own->argument + pointers, step->integers, integers);
    return choose_grid(cuda, own, kernel, step->blocks ? step->blocks : kernel->blocks, error);
}

bool cuda_prepare(struct device *device, void *kernels, struct device_call *call, struct error *error)
{
    struct cuda *cuda = device->own;
    struct cuda_call *own = call->prepared = calloc(1, sizeof *own);
    char step_text[256];
    if (!own)
        return error_set(error, "out of memory");
    own->kernels = kernels;
    switch (call->step->kind) {
    case PROGRAM_KERNEL:
        return prepare_kernel(cuda, own, kernels, call->step, error);
    case PROGRAM_MATMUL_STEP:
        own->plan = cuda_product_new(cuda, call->step, error);
        return own->plan;
    case PROGRAM_CONV_STEP:
        cuda_step_text(call->step, step_text, sizeof step_text);
        return error_set(error, "step %s: convolutions are kernels on a GPU, but this is a library's", step_text);
    default:
        return true;
    }
}

void cuda_discard(struct device *device, struct device_call *call)
{
    struct cuda *cuda = device->own;
    struct cuda_call *own = call->prepared;
    if (!own)
        return;
    if (own->plan)
        cuda_product_free(cuda, own->plan);
    cuda->running = cuda->issued = NULL;
    cuda->running_count = 0;
    cuda->alone = false;
    free(own->argument);
    free(own);
    call->prepared = NULL;
}

const char *cuda_contracts_by(struct device *device, const struct device_call *call)
{
    (void)device;
    (void)call;
    return "cuBLASLt";
}

int cuda_counts(struct device *device, const struct device_call *call, struct device_count counts[DEVICE_COUNTS])
{
    const struct cuda *cuda = device->own;
    const struct cuda_call *own = call->prepared;
    int count = 0;
    if (call->step->kind != PROGRAM_KERNEL)
        return 0;
    const struct cuda_resources *resources = &own->kernels->code->resources[call->step->kernel];
    counts[count++] = (struct device_count){"blocks", own->grid};
    counts[count++] = (struct device_count){"threads", own->threads};
    counts[count++] = (struct device_count){"registers", resources->registers};
    counts[count++] = (struct device_count){"spilled_bytes", resources->spill_stores + resources->spill_loads};
    counts[count++] = (struct device_count){"shared_bytes", resources->shared_bytes + (double)own->shared_bytes};
    return cuda->kernel_counts ? count + cuda->kernel_counts(own->function, counts + count, DEVICE_COUNTS - count)
                               : count;
}
