/* Running calls: one by one with a wait behind each, or a whole list at a time.
 *
 * The first run of a list is issued call by call, which lets libraries load what they need; the second is captured as a
 * graph, and from then on the graph is launched. Addresses in a graph are fixed: that is why lists belong to slots. */
#include "runtime/cuda/parts.h"

#include <stdlib.h>
#include <string.h>

enum { GATHER_MAX = 64, GATHER_THREADS = 64, STAGING_ALIGNMENT = 64 };

/* The parameter of castor_gather (code.c). */
struct gather {
    CUdeviceptr from[GATHER_MAX], to;
    int64_t bytes[GATHER_MAX], count;
};

/* What a list becomes. */
struct recording {
    CUgraphExec graph;
    bool ran;
    char *results;        /* page-locked */
    CUdeviceptr gathered; /* the results, together, on the device */
};

/* ---- calls ---- */

static bool launch(struct cuda *cuda, const struct cuda_call *own, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
    CUlaunchConfig config = {.gridDimX = own->grid,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = own->threads,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .sharedMemBytes = own->shared_bytes,
                             .hStream = cuda->compute,
                             .attrs = &attribute,
                             .numAttrs = own->cooperative};
    void *parameters[] = {own->argument};
    return cuda_good(cuda, driver->LaunchKernelEx(driver, &config, own->function, parameters, NULL),
                     "launching a kernel", error);
}

static bool issue(struct cuda *cuda, struct device_call *call, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    struct cuda_call *own = call->prepared;
    if (own->plan)
        return cuda_product_run(cuda, own->plan, call->buffers, error);
    if (own->function) {
        memcpy(own->argument, call->buffers, sizeof *call->buffers * (size_t)call->step->buffer_count);
        return launch(cuda, own, error);
    }
    size_t bytes = call->step->copy_bytes;
    return !bytes || cuda_good(cuda,
                               driver->MemcpyDtoDAsync(driver, (CUdeviceptr)(uintptr_t)call->buffers[1],
                                                       (CUdeviceptr)(uintptr_t)call->buffers[0], bytes, cuda->compute),
                               "copying on the device", error);
}

/* Remembers what runs, for messages. */
static void set_running(struct cuda *cuda, const struct device_call *calls, int count)
{
    cuda->running = calls;
    cuda->running_count = count;
    cuda->issued = NULL;
    cuda->alone = false;
}

static void set_alone(struct cuda *cuda, const struct device_call *call)
{
    set_running(cuda, call, 1);
    cuda->issued = call;
    cuda->alone = true;
}

static bool run_timed(struct cuda *cuda, struct device_call *call, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    float milliseconds = 0;
    static const char tried[] = "running";
    set_alone(cuda, call);
    bool ok = cuda_good(cuda, driver->EventRecord(driver, cuda->begin, cuda->compute), tried, error) &&
              issue(cuda, call, error) &&
              cuda_good(cuda, driver->EventRecord(driver, cuda->end, cuda->compute), tried, error) &&
              cuda_good(cuda, driver->EventSynchronize(driver, cuda->end), tried, error) &&
              cuda_good(cuda, driver->EventElapsedTime(driver, &milliseconds, cuda->begin, cuda->end), tried, error);
    set_running(cuda, NULL, 0);
    cuda->device.run_seconds += 1e-3 * (double)milliseconds;
    return ok;
}

bool cuda_run(struct device *device, struct device_call *calls, int count, struct error *error)
{
    struct cuda *cuda = device->own;
    device->run_seconds = 0;
    bool ok = !device->failed(device, error);
    for (int i = 0; i < count && ok; i++)
        ok = run_timed(cuda, &calls[i], error);
    return ok;
}

/* ---- lists ---- */

/* The kernel that brings scalar results together stands behind the program's own. */
static bool gather(struct cuda *cuda, const struct device_list *list, const struct cuda_kernels *kernels,
                   struct error *error)
{
    struct recording *recording = list->prepared;
    for (int first = 0; first < list->result_count; first += GATHER_MAX) {
        int left = list->result_count - first;
        struct gather argument = {.to = recording->gathered + (CUdeviceptr)first * DEVICE_RESULT_BYTES,
                                  .count = left < GATHER_MAX ? left : GATHER_MAX};
        for (int i = 0; i < argument.count; i++) {
            argument.from[i] = (CUdeviceptr)(uintptr_t)list->results[first + i].from;
            argument.bytes[i] = (int64_t)list->results[first + i].bytes;
        }
        struct cuda_call own = {.function = kernels->functions[kernels->kernel_count],
                                .grid = 1,
                                .threads = GATHER_THREADS,
                                .argument = (char *)&argument};
        if (!launch(cuda, &own, error))
            return false;
    }
    return true;
}

static bool bring_results(struct cuda *cuda, const struct device_list *list, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    const struct recording *recording = list->prepared;
    if (!list->result_count || !list->count)
        return true;
    const struct cuda_call *any = list->calls[0].prepared;
    return gather(cuda, list, any->kernels, error) &&
           cuda_good(cuda,
                     driver->MemcpyDtoHAsync(driver, recording->results, recording->gathered,
                                             (size_t)list->result_count * DEVICE_RESULT_BYTES, cuda->compute),
                     "bringing results", error);
}

static bool issue_list(struct cuda *cuda, struct device_list *list, struct error *error)
{
    set_running(cuda, list->calls, list->count);
    for (int i = 0; i < list->count; i++) {
        cuda->issued = &list->calls[i];
        if (!issue(cuda, &list->calls[i], error))
            return false;
    }
    cuda->issued = NULL;
    return bring_results(cuda, list, error);
}

static bool capture(struct cuda *cuda, struct device_list *list, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    struct recording *recording = list->prepared;
    CUgraph graph = NULL;
    static const char tried[] = "recording a graph";
    if (!cuda_good(cuda, driver->StreamBeginCapture(driver, cuda->compute, CU_STREAM_CAPTURE_MODE_RELAXED), tried,
                   error))
        return false;
    bool issued = issue_list(cuda, list, error);
    bool ok = cuda_good(cuda, driver->StreamEndCapture(driver, cuda->compute, &graph), tried, error) && issued &&
              cuda_good(cuda, driver->GraphInstantiate(driver, &recording->graph, graph, 0), tried, error);
    if (graph && !cuda_good(cuda, driver->GraphDestroy(driver, graph), tried, error))
        ok = false;
    return ok;
}

static bool make_recording(struct cuda *cuda, struct device_list *list, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    struct recording *recording = list->prepared = calloc(1, sizeof *recording);
    size_t bytes = (size_t)list->result_count * DEVICE_RESULT_BYTES;
    if (!recording)
        return error_set(error, "out of memory");
    return !bytes ||
           (cuda_good(cuda, driver->MemHostAlloc(driver, (void **)&recording->results, bytes, 0),
                      "allocating page-locked memory", error) &&
            cuda_good(cuda, driver->MemAlloc(driver, &recording->gathered, bytes), "allocating memory", error));
}

/* ---- inputs ---- */

static bool reserve_staging(struct cuda *cuda, struct cuda_slot *slot, size_t bytes, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    static const char tried[] = "allocating page-locked memory";
    if (bytes <= slot->staging_bytes)
        return true;
    char *old = slot->staging;
    slot->staging = NULL;
    slot->staging_bytes = 0;
    if ((old && !cuda_good(cuda, driver->MemFreeHost(driver, old), tried, error)) ||
        !cuda_good(cuda, driver->MemHostAlloc(driver, (void **)&slot->staging, bytes, 0), tried, error))
        return false;
    slot->staging_bytes = bytes;
    return true;
}

static size_t staged_bytes(const struct device_copy *copy)
{
    return (copy->bytes + STAGING_ALIGNMENT - 1) & ~(size_t)(STAGING_ALIGNMENT - 1);
}

/* Copies the inputs into page-locked memory and from there, on a stream of their own, to the device: behind the last
 * run that read these places, before the next. */
static bool bring_inputs(struct cuda *cuda, struct cuda_slot *slot, const struct device_copy *copies, int count,
                         struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    static const char tried[] = "bringing inputs";
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += staged_bytes(&copies[i]);
    if (!bytes)
        return true;
    if (!cuda_good(cuda, driver->EventSynchronize(driver, slot->uploaded), tried, error) ||
        !reserve_staging(cuda, slot, bytes, error) ||
        !cuda_good(cuda, driver->StreamWaitEvent(driver, cuda->copy, slot->done, 0), tried, error))
        return false;
    char *staging = slot->staging;
    for (int i = 0; i < count; i++) {
        if (!copies[i].bytes)
            continue;
        memcpy(staging, copies[i].from, copies[i].bytes);
        CUdeviceptr to = (CUdeviceptr)(uintptr_t)copies[i].to;
        if (!cuda_good(cuda, driver->MemcpyHtoDAsync(driver, to, staging, copies[i].bytes, cuda->copy), tried, error))
            return false;
        staging += staged_bytes(&copies[i]);
    }
    return cuda_good(cuda, driver->EventRecord(driver, slot->uploaded, cuda->copy), tried, error) &&
           cuda_good(cuda, driver->StreamWaitEvent(driver, cuda->compute, slot->uploaded, 0), tried, error);
}

/* ---- the whole ---- */

static bool start(struct cuda *cuda, struct device_list *list, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    struct recording *recording = list->prepared;
    if (!recording->ran)
        return issue_list(cuda, list, error);
    if (!recording->graph && !capture(cuda, list, error))
        return false;
    set_running(cuda, list->calls, list->count);
    return cuda_good(cuda, driver->GraphLaunch(driver, recording->graph, cuda->compute), "launching a graph", error);
}

bool cuda_submit(struct device *device, struct device_list *list, const struct device_copy *copies, int copy_count,
                 struct error *error)
{
    struct cuda *cuda = device->own;
    struct cuda_slot *slot = &cuda->slots[list->slot];
    if (device->failed(device, error) || (!list->prepared && !make_recording(cuda, list, error)) ||
        !bring_inputs(cuda, slot, copies, copy_count, error) || !start(cuda, list, error))
        return false;
    struct recording *recording = list->prepared;
    struct driver *driver = cuda->tables.driver;
    recording->ran = true;
    return cuda_good(cuda, driver->EventRecord(driver, slot->done, cuda->compute), "running", error);
}

const char *cuda_results(struct device *device, const struct device_list *list, struct error *error)
{
    static const char none[1];
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    const struct recording *recording = list->prepared;
    set_running(cuda, list->calls, list->count);
    if (device->failed(device, error) ||
        !cuda_good(cuda, driver->EventSynchronize(driver, cuda->slots[list->slot].done), "running", error))
        return NULL;
    return recording->results ? recording->results : none;
}

void cuda_forget(struct device *device, struct device_list *list)
{
    struct cuda *cuda = device->own;
    struct driver *driver = cuda->tables.driver;
    struct recording *recording = list->prepared;
    set_running(cuda, NULL, 0);
    if (recording->graph)
        driver->GraphExecDestroy(driver, recording->graph);
    if (recording->results)
        driver->MemFreeHost(driver, recording->results);
    if (recording->gathered)
        driver->MemFree(driver, recording->gathered);
    free(recording);
    list->prepared = NULL;
}
