/* The simulated GPU as a whole: making it, failing, and doing one piece of work. */
#include "runtime/sim/gpu.h"

#include "runtime/sim/shadow.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CUresult gpu_fail(struct gpu *gpu, CUresult result, const char *format, ...)
{
    char text[ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(&gpu->problem, "%s", text);
    return result;
}

void gpu_begin(struct gpu *gpu)
{
    pthread_mutex_lock(&gpu->lock);
    gpu->problem = (struct error){0};
}

CUresult gpu_answer(struct gpu *gpu, CUresult result)
{
    gpu_begin(gpu);
    gpu_leave(gpu);
    return result;
}

CUresult gpu_enter(struct gpu *gpu)
{
    gpu_begin(gpu);
    if (gpu->sticky)
        gpu->problem = gpu->sticky_error;
    return gpu->sticky;
}

void gpu_leave(struct gpu *gpu)
{
    pthread_mutex_unlock(&gpu->lock);
}

static const char *problem(struct driver *driver)
{
    const struct gpu *gpu = gpu_of(driver);
    return gpu->problem.code ? gpu->problem.text : NULL;
}

/* ---- doing work ---- */

/* The bytes of a copy's end; a fault-like message where they do not lie in one allocation or were never written. */
static void *reach(struct gpu *gpu, uint64_t address, size_t bytes, bool write, const char *what)
{
    const struct sim_allocation *allocation = sim_memory_find(&gpu->memory, address);
    if (!allocation || bytes > allocation->end - address) {
        const struct sim_allocation *near = sim_memory_below(&gpu->memory, address);
        if (near)
            gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "%s: %zu bytes at byte %llu of allocation %d, which has %llu", what,
                     bytes, (unsigned long long)(address - near->begin), near->number,
                     (unsigned long long)(near->end - near->begin));
        else
            gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "%s: no allocation is at 0x%llx", what,
                     (unsigned long long)address);
        return NULL;
    }
    size_t first = address - allocation->begin;
    size_t written = write ? bytes : shadow_written(allocation->written, first, bytes);
    if (written < bytes) {
        unsigned long long at = first + written;
        gpu_fail(gpu, CUDA_ERROR_INVALID_VALUE, "%s: reads what nothing wrote: byte %llu of allocation %d (%llu bytes)",
                 what, at, allocation->number, (unsigned long long)(allocation->end - allocation->begin));
        return NULL;
    }
    if (write)
        shadow_mark(allocation->written, first, bytes);
    return (void *)(uintptr_t)address;
}

static CUresult do_copy(struct gpu *gpu, const struct work *work)
{
    if (!work->count)
        return CUDA_SUCCESS;
    const void *from = work->from_host ? (const void *)(uintptr_t)work->from
                                       : reach(gpu, work->from, work->count, false, "copy from the device");
    void *to = !from           ? NULL
               : work->to_host ? (void *)(uintptr_t)work->to
                               : reach(gpu, work->to, work->count, true, "copy to the device");
    if (!from || !to)
        return CUDA_ERROR_INVALID_VALUE;
    memmove(to, from, work->count);
    return CUDA_SUCCESS;
}

static CUresult do_set(struct gpu *gpu, const struct work *work)
{
    if (!work->count)
        return CUDA_SUCCESS;
    void *to = reach(gpu, work->to, work->count, true, "memset");
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    memset(to, work->value, work->count);
    return CUDA_SUCCESS;
}

/* A kernel's fault stays: the context is lost, as it is on a GPU. */
static CUresult do_launch(struct gpu *gpu, const struct work *work)
{
    const struct sim_kernel *kernel = work->kernel;
    size_t total = (size_t)kernel->dynamic_offset + work->dynamic_bytes;
    struct launch launch = {.kernel = work->kernel, .isa = gpu->isa, .memory = &gpu->memory};
    launch.parameters = work->bytes;
    memcpy(launch.grid, work->grid, sizeof launch.grid);
    memcpy(launch.threads, work->threads, sizeof launch.threads);
    launch.block_count = (uint64_t)work->grid[0] * work->grid[1] * work->grid[2];
    launch.thread_count = work->threads[0] * work->threads[1] * work->threads[2];
    launch.shared_bytes = work->dynamic_bytes ? total : (size_t)kernel->shared_bytes;
    launch.dynamic_bytes = work->dynamic_bytes;
    launch.processors = (uint32_t)gpu->settings.processors;
    launch.patience = gpu->settings.patience;
    launch.cooperative = work->cooperative;
    launch.worker_count = gpu->settings.threads;
    if (gpu->settings.races) {
        launch.worker_count = 1;
        launch.races = races_new();
        if (!launch.races)
            return gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "no memory to look for races in");
    }
    bool good = launch_run(&launch, &gpu->sticky_error);
    races_free(launch.races);
    if (good)
        return CUDA_SUCCESS;
    gpu->problem = gpu->sticky_error;
    return gpu->sticky = CUDA_ERROR_LAUNCH_FAILED;
}

CUresult gpu_do(struct driver *driver, const struct work *work)
{
    switch (work->kind) {
    case WORK_COPY:
        return do_copy(gpu_of(driver), work);
    case WORK_SET:
        return do_set(gpu_of(driver), work);
    case WORK_LIBRARY:
        return work->library.run(driver, work->bytes);
    default: /* WORK_LAUNCH */
        return do_launch(gpu_of(driver), work);
    }
}

/* The stream that always is waits for those that were not made apart from it. */
static CUresult null_catch_up(struct driver *driver)
{
    const struct gpu *gpu = gpu_of(driver);
    CUresult result = CUDA_SUCCESS;
    for (ptrdiff_t i = 0; i < arrlen(gpu->late) && !result; i++)
        if (gpu->late[i]->waits_for_null)
            result = stream_catch_up(driver, gpu->late[i], ORDERS_ALL);
    return result;
}

CUresult gpu_submit(struct driver *driver, CUstream stream, struct work *work)
{
    struct stream *queue = (struct stream *)stream;
    if (queue && queue->capturing) {
        arrput(queue->capturing->works, *work);
        return CUDA_SUCCESS;
    }
    if (queue && queue->late)
        return stream_order(driver, queue, work);
    CUresult result = queue ? CUDA_SUCCESS : null_catch_up(driver);
    if (!result)
        result = gpu_do(driver, work);
    work_free(work);
    return result;
}

void work_free(struct work *work)
{
    free(work->bytes);
    work->bytes = NULL;
}

static size_t work_bytes(const struct work *work)
{
    return work->kind == WORK_LAUNCH ? (size_t)work->kernel->parameter_bytes + 1 : work->library.bytes;
}

bool work_copy(struct work *copy, const struct work *work)
{
    size_t bytes = work_bytes(work);
    *copy = *work;
    if (!work->bytes)
        return true;
    copy->bytes = malloc(bytes ? bytes : 1);
    if (copy->bytes && bytes)
        memcpy(copy->bytes, work->bytes, bytes);
    return copy->bytes;
}

/* ---- for libraries ---- */

/* The argument is copied; a library's work runs with the driver's lock held and calls only the functions below. */
CUresult sim_enqueue(struct driver *driver, CUstream stream, const struct sim_work *library)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    struct work work = {.kind = WORK_LIBRARY, .library = *library};
    if (!result) {
        work.bytes = malloc(library->bytes ? library->bytes : 1);
        if (!work.bytes) {
            result = gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "no memory for the work of %s", library->name);
        } else {
            if (library->bytes)
                memcpy(work.bytes, library->argument, library->bytes);
            result = gpu_submit(driver, stream, &work);
        }
    }
    gpu_leave(gpu);
    return result;
}

void *sim_reach(struct driver *driver, CUdeviceptr address, size_t bytes, bool write)
{
    return reach(gpu_of(driver), address, bytes, write, "library call");
}

int sim_threads(struct driver *driver)
{
    return gpu_of(driver)->settings.threads;
}

/* ---- making it ---- */

/* Instructions of one warp: tens of seconds here, and more than ten on a GPU, where a kernel has many warps so that
 * each does little. What waits for others by nanosleep counts few, however long it waits. */
#define PATIENCE ((uint64_t)1 << 32)

static void gpu_free(struct driver *driver)
{
    struct gpu *gpu = gpu_of(driver);
    for (ptrdiff_t i = 0; i < arrlen(gpu->modules); i++)
        sim_module_unload(gpu->modules[i]);
    arrfree(gpu->modules);
    sim_memory_free(&gpu->memory);
    for (ptrdiff_t i = 0; i < arrlen(gpu->late); i++) {
        for (ptrdiff_t k = gpu->late[i]->next; k < arrlen(gpu->late[i]->orders); k++)
            work_free(&gpu->late[i]->orders[k].work);
        arrfree(gpu->late[i]->orders);
        free(gpu->late[i]);
    }
    arrfree(gpu->late);
    arrfree(gpu->pinned);
    pthread_mutex_destroy(&gpu->lock);
    free(gpu);
    free(driver);
}

static bool complete(struct sim_settings *settings, int *capability, struct error *error)
{
    if (settings->threads < 0 || settings->processors < 0 || settings->isa < 0)
        return error_set(error, "the simulated GPU cannot have negative numbers of anything");
    if (!sim_isa_at(settings->isa))
        return error_set(error, "the simulated GPU has no build %d for this CPU", settings->isa);
    if (!settings->threads)
        settings->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    settings->threads = settings->threads < 1 ? 1 : settings->threads > 256 ? 256 : settings->threads;
    settings->processors = settings->processors ? settings->processors : 4;
    settings->memory = settings->memory ? settings->memory : (size_t)8 << 30;
    settings->patience = settings->patience ? settings->patience : PATIENCE;
    const char *architecture = settings->architecture ? settings->architecture : "sm_80";
    char *end;
    long number = strncmp(architecture, "sm_", 3) == 0 ? strtol(architecture + 3, &end, 10) : 0;
    if (number < 80 || number > 999 || *end)
        return error_set(error, "the simulated GPU can be sm_80 or later, not '%s'", architecture);
    *capability = (int)number;
    return true;
}

struct driver *sim_driver_new(const struct sim_settings *settings, struct error *error)
{
    struct sim_settings chosen = settings ? *settings : (struct sim_settings){0};
    int capability = 0;
    if (!complete(&chosen, &capability, error))
        return NULL;
    struct driver *driver = calloc(1, sizeof *driver);
    struct gpu *gpu = calloc(1, sizeof *gpu);
    if (!driver || !gpu) {
        free(driver);
        free(gpu);
        error_set(error, "no memory for a simulated GPU");
        return NULL;
    }
    gpu->settings = chosen;
    gpu->settings.architecture = NULL;
    gpu->capability = capability;
    gpu->isa = sim_isa_at(chosen.isa);
    gpu->memory.limit = chosen.memory;
    pthread_mutex_init(&gpu->lock, NULL);
    driver->own = gpu;
    driver->free = gpu_free;
    driver->problem = problem;
    gpu_fill_device(driver);
    gpu_fill_memory(driver);
    gpu_fill_code(driver);
    gpu_fill_order(driver);
    return driver;
}

const struct sim_counters *sim_kernel_counters(struct driver *driver, size_t index, const char **name)
{
    const struct gpu *gpu = gpu_of(driver);
    for (ptrdiff_t i = 0; i < arrlen(gpu->modules); i++) {
        size_t count = arrlenu(gpu->modules[i]->kernels);
        if (index < count) {
            *name = gpu->modules[i]->kernels[index]->name;
            return &gpu->modules[i]->kernels[index]->counters;
        }
        index -= count;
    }
    return NULL;
}

const struct sim_counters *sim_function_counters(CUfunction function)
{
    return &((const struct sim_kernel *)(const void *)function)->counters;
}

void sim_reset_counters(struct driver *driver)
{
    const struct gpu *gpu = gpu_of(driver);
    for (ptrdiff_t i = 0; i < arrlen(gpu->modules); i++)
        for (ptrdiff_t k = 0; k < arrlen(gpu->modules[i]->kernels); k++)
            gpu->modules[i]->kernels[k]->counters = (struct sim_counters){0};
}
