/* The cuda device: start and end, memory, copies, failures. */
#include "runtime/clock.h"
#include "runtime/cuda/parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- failures ---- */

void cuda_step_text(const struct program_step *step, char *text, size_t size)
{
    if (step->file)
        snprintf(text, size, "%s (%s:%d:%d)", step->name, step->file, step->line, step->column);
    else
        snprintf(text, size, "%s", step->name);
}

/* Whether `name` stands in the text as a word of its own. */
static bool holds_word(const char *text, const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(name);
    for (const char *at = text; length && (at = strstr(at, name)); at++)
        if ((at == text || !strchr(word, at[-1])) && (!at[length] || !strchr(word, at[length])))
            return true;
    return false;
}

/* Whether a call's result may be that of work before it. */
static bool comes_late(CUresult result)
{
    switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_UNKNOWN:
        return true;
    default:
        return false;
    }
}

/* The step that failed, as far as it is known: the one that runs alone, with a wait behind it; the first among the
 * running ones whose kernel the text names; the one that the driver refused. */
static const struct program_step *find_step(const struct cuda *cuda, CUresult result, const char *text)
{
    if (cuda->alone)
        return cuda->issued->step;
    for (int i = 0; i < cuda->running_count; i++) {
        const struct program_step *step = cuda->running[i].step;
        const struct cuda_call *call = cuda->running[i].prepared;
        if (step->kind == PROGRAM_KERNEL && holds_word(text, call->kernels->program->kernels[step->kernel].name))
            return step;
    }
    return cuda->issued && !comes_late(result) ? cuda->issued->step : NULL;
}

void cuda_hint_check(const struct cuda *cuda, struct error *error)
{
    if (cuda->running_count && !cuda->alone)
        error_hint(error, "with --check each step is waited for, and the one that fails is named");
}

bool cuda_good(struct cuda *cuda, CUresult result, const char *tried, struct error *error)
{
    struct error raw = {0};
    char step_text[256];
    if (driver_good(cuda->tables.driver, result, tried, &raw))
        return true;
    const struct program_step *step = find_step(cuda, result, raw.text);
    if (step) {
        cuda_step_text(step, step_text, sizeof step_text);
        return error_set(error, "step %s: %s", step_text, raw.text);
    }
    error_set(error, "%s", raw.text);
    if (comes_late(result))
        cuda_hint_check(cuda, error);
    return false;
}

static bool failed(struct device *device, struct error *error)
{
    const struct cuda *cuda = device->own;
    if (cuda->failure.code && !error->code)
        *error = cuda->failure;
    return cuda->failure.code;
}

/* ---- memory ---- */

static void *allocate(struct device *device, size_t bytes)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    CUdeviceptr address = 0;
    CUresult result = driver->MemAlloc(driver, &address, bytes ? bytes : 1);
    if (result != CUDA_ERROR_OUT_OF_MEMORY && !cuda_good(cuda, result, "allocating memory", &cuda->failure))
        return NULL;
    return result == CUDA_SUCCESS ? (void *)(uintptr_t)address : NULL;
}

static void release(struct device *device, void *memory)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    if (memory)
        cuda_good(cuda, driver->MemFree(driver, (CUdeviceptr)(uintptr_t)memory), "releasing memory", &cuda->failure);
}

static bool wait(struct cuda *cuda, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    return cuda_good(cuda, driver->StreamSynchronize(driver, cuda->compute), "waiting for the device", error);
}

/* A place in the ring for a small upload; when the ring comes round, what was on its way is waited for. */
static char *small_place(struct cuda *cuda)
{
    if (cuda->small_next == CUDA_SMALL_COUNT) {
        if (!wait(cuda, &cuda->failure))
            return NULL;
        cuda->small_next = 0;
    }
    return cuda->small + (size_t)cuda->small_next++ * CUDA_SMALL_BYTES;
}

static void upload(struct device *device, void *to, const void *from, size_t bytes)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    bool small = bytes <= CUDA_SMALL_BYTES;
    if (!bytes || cuda->failure.code)
        return;
    if (small) {
        char *place = small_place(cuda);
        if (!place)
            return;
        from = memcpy(place, from, bytes);
    }
    CUresult result = driver->MemcpyHtoDAsync(driver, (CUdeviceptr)(uintptr_t)to, from, bytes, cuda->compute);
    if (cuda_good(cuda, result, "copying to the device", &cuda->failure) && !small)
        wait(cuda, &cuda->failure);
}

static void download(struct device *device, void *to, const void *from, size_t bytes)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    if (!bytes)
        return;
    if (!cuda->failure.code) {
        CUresult result = driver->MemcpyDtoHAsync(driver, to, (CUdeviceptr)(uintptr_t)from, bytes, cuda->compute);
        if (cuda_good(cuda, result, "copying from the device", &cuda->failure))
            wait(cuda, &cuda->failure);
    }
    if (cuda->failure.code)
        memset(to, 0, bytes);
}

static void fill(struct device *device, void *to, int value, size_t bytes)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    if (bytes && !cuda->failure.code)
        cuda_good(cuda,
                  driver->MemsetD8Async(driver, (CUdeviceptr)(uintptr_t)to, (unsigned char)value, bytes, cuda->compute),
                  "filling memory", &cuda->failure);
}

static double finish(struct device *device)
{
    struct cuda *cuda = device->own;
    if (!cuda->failure.code)
        wait(cuda, &cuda->failure);
    return clock_seconds();
}

/* ---- start and end ---- */

static bool make_slot(struct cuda *cuda, struct cuda_slot *slot, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    return cuda_good(cuda, driver->EventCreate(driver, &slot->uploaded, CU_EVENT_DISABLE_TIMING), "making an event",
                     error) &&
           cuda_good(cuda, driver->EventCreate(driver, &slot->done, CU_EVENT_DISABLE_TIMING), "making an event", error);
}

static bool start_context(struct cuda *cuda, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    static const char tried[] = "starting the GPU";
    if (!cuda_describe(driver, &cuda->device.facts, error) ||
        !cuda_good(cuda, driver->DeviceGet(driver, &cuda->gpu, 0), tried, error) ||
        !cuda_good(cuda, driver->DevicePrimaryCtxRetain(driver, &cuda->context, cuda->gpu), tried, error) ||
        !cuda_good(cuda, driver->CtxSetCurrent(driver, cuda->context), tried, error))
        return false;
    cuda->device.facts.device = cuda->device.name;
    cuda->multiprocessors = cuda->device.facts.threads;
    return cuda->architecture[0] ||
           cuda_choose_architecture(&cuda->tables, cuda->device.facts.isa, cuda->architecture, error);
}

static bool start(struct cuda *cuda, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    static const char tried[] = "starting the GPU";
    if (!start_context(cuda, error) ||
        !cuda_good(cuda, driver->StreamCreate(driver, &cuda->compute, CU_STREAM_NON_BLOCKING), tried, error) ||
        !cuda_good(cuda, driver->StreamCreate(driver, &cuda->copy, CU_STREAM_NON_BLOCKING), tried, error) ||
        !cuda_good(cuda, driver->EventCreate(driver, &cuda->begin, CU_EVENT_DEFAULT), tried, error) ||
        !cuda_good(cuda, driver->EventCreate(driver, &cuda->end, CU_EVENT_DEFAULT), tried, error) ||
        !cuda_good(cuda,
                   driver->MemHostAlloc(driver, (void **)&cuda->small, (size_t)CUDA_SMALL_BYTES * CUDA_SMALL_COUNT, 0),
                   "allocating page-locked memory", error))
        return false;
    for (int i = 0; i < DEVICE_SLOTS; i++)
        if (!make_slot(cuda, &cuda->slots[i], error))
            return false;
    return cublaslt_good(cublaslt, cublaslt->Create(cublaslt, &cuda->products), "starting cuBLASLt", error) &&
           cuda_good(cuda, driver->MemAlloc(driver, &cuda->workspace, CUDA_WORKSPACE_BYTES),
                     "allocating cuBLASLt's workspace", error);
}

static void release_slot(struct driver *driver, struct cuda_slot *slot)
{
    if (slot->uploaded)
        driver->EventDestroy(driver, slot->uploaded);
    if (slot->done)
        driver->EventDestroy(driver, slot->done);
    if (slot->staging)
        driver->MemFreeHost(driver, slot->staging);
}

/* What fails while all is taken down can no longer matter to anyone. */
static void take_down(struct cuda *cuda)
{
    struct driver *driver = cuda->tables.driver;
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    for (int i = 0; i < DEVICE_SLOTS; i++)
        release_slot(driver, &cuda->slots[i]);
    if (cuda->workspace)
        driver->MemFree(driver, cuda->workspace);
    if (cuda->products)
        cublaslt->Destroy(cublaslt, cuda->products);
    if (cuda->small)
        driver->MemFreeHost(driver, cuda->small);
    if (cuda->begin)
        driver->EventDestroy(driver, cuda->begin);
    if (cuda->end)
        driver->EventDestroy(driver, cuda->end);
    if (cuda->copy)
        driver->StreamDestroy(driver, cuda->copy);
    if (cuda->compute)
        driver->StreamDestroy(driver, cuda->compute);
    if (cuda->context)
        driver->DevicePrimaryCtxRelease(driver, cuda->gpu);
}

void cuda_tables_free(const struct cuda_tables *tables)
{
    if (tables->cublaslt)
        tables->cublaslt->free(tables->cublaslt);
    if (tables->nvrtc)
        tables->nvrtc->free(tables->nvrtc);
    if (tables->driver)
        tables->driver->free(tables->driver);
}

static void free_device(struct device *device)
{
    struct cuda *cuda = device->own;
    take_down(cuda);
    cuda_tables_free(&cuda->tables);
    free(cuda->cache);
    free(cuda);
}

static void fill_device(struct cuda *cuda, const struct cuda_settings *settings)
{
    cuda->device = (struct device){.name = settings->name,
                                   .own = cuda,
                                   .free = free_device,
                                   .allocate = allocate,
                                   .release = release,
                                   .upload = upload,
                                   .download = download,
                                   .fill = fill,
                                   .failed = failed,
                                   .load = cuda_load,
                                   .unload = cuda_unload,
                                   .prepare = cuda_prepare,
                                   .discard = cuda_discard,
                                   .run = cuda_run,
                                   .contracts_by = cuda_contracts_by,
                                   .counts = cuda_counts,
                                   .submit = cuda_submit,
                                   .results = cuda_results,
                                   .forget = cuda_forget,
                                   .finish = finish};
    cuda->jobs = settings->jobs;
    cuda->tf32 = settings->tf32;
    cuda->ptx = settings->ptx;
    cuda->built = settings->built;
    cuda->built_size = settings->built_size;
    cuda->kernel_counts = settings->counts;
    if (settings->architecture)
        snprintf(cuda->architecture, sizeof cuda->architecture, "%s", settings->architecture);
}

struct device *cuda_device_new(const struct cuda_tables *tables, const struct cuda_settings *settings,
                               struct error *error)
{
    struct cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda || (settings->cache && !(cuda->cache = strdup(settings->cache)))) {
        free(cuda);
        cuda_tables_free(tables);
        error_set(error, "out of memory");
        return NULL;
    }
    cuda->tables = *tables;
    fill_device(cuda, settings);
    if (start(cuda, error))
        return &cuda->device;
    free_device(&cuda->device);
    return NULL;
}
