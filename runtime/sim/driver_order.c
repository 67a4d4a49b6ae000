/* The driver's order: streams, events, captures and graphs. Work is done when it is submitted, so that waiting is only
 * a matter of telling a fault. */
#include "runtime/sim/gpu.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static CUresult sticky(struct driver *driver)
{
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    gpu_leave(gpu);
    return result;
}

/* Zeroed memory behind a handle; NULL, with `*result` set, after a fault or when memory is out. */
static void *handle(struct driver *driver, size_t bytes, const char *what, CUresult *result)
{
    struct gpu *gpu = gpu_of(driver);
    *result = gpu_enter(gpu);
    void *made = *result ? NULL : calloc(1, bytes);
    if (!*result && !made)
        *result = gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "no memory for %s", what);
    gpu_leave(gpu);
    return made;
}

/* A whole call that fails for a reason of its own. */
static CUresult refuse(struct driver *driver, CUresult result, const char *why)
{
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    gpu_fail(gpu, result, "%s", why);
    gpu_leave(gpu);
    return result;
}

/* ---- streams and events ---- */

static CUresult stream_create(struct driver *driver, CUstream *stream, unsigned flags)
{
    (void)flags;
    CUresult result;
    *stream = (CUstream)handle(driver, sizeof(struct stream), "a stream", &result);
    return result;
}

static CUresult stream_destroy(struct driver *driver, CUstream stream)
{
    struct stream *old = (struct stream *)(void *)stream;
    if (old)
        graph_free(old->capturing);
    free(old);
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

static CUresult stream_synchronize(struct driver *driver, CUstream stream)
{
    const struct stream *queue = (const struct stream *)(const void *)stream;
    if (queue && queue->capturing)
        return refuse(driver, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is captured");
    return sticky(driver);
}

static CUresult stream_wait(struct driver *driver, CUstream stream, CUevent event, unsigned flags)
{
    (void)stream;
    (void)event;
    (void)flags;
    return sticky(driver);
}

static CUresult event_create(struct driver *driver, CUevent *event, unsigned flags)
{
    (void)flags;
    CUresult result;
    *event = (CUevent)handle(driver, sizeof(struct event), "an event", &result);
    return result;
}

static CUresult event_destroy(struct driver *driver, CUevent event)
{
    free((void *)event);
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

static CUresult event_record(struct driver *driver, CUevent event, CUstream stream)
{
    struct event *recorded = (struct event *)(void *)event;
    struct timespec now;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &now);
    recorded->recorded = true;
    recorded->seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    return sticky(driver);
}

static CUresult event_synchronize(struct driver *driver, CUevent event)
{
    (void)event;
    return sticky(driver);
}

static CUresult event_elapsed(struct driver *driver, float *milliseconds, CUevent start, CUevent end)
{
    const struct event *from = (const struct event *)(const void *)start;
    const struct event *to = (const struct event *)(const void *)end;
    if (!from->recorded || !to->recorded)
        return refuse(driver, CUDA_ERROR_INVALID_HANDLE, "an event was not recorded");
    *milliseconds = (float)((to->seconds - from->seconds) * 1e3);
    return sticky(driver);
}

/* ---- graphs ---- */

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    for (ptrdiff_t i = 0; i < arrlen(graph->works); i++)
        work_free(&graph->works[i]);
    arrfree(graph->works);
    free(graph);
}

static CUresult begin_capture(struct driver *driver, CUstream stream, CUstreamCaptureMode mode)
{
    struct stream *queue = (struct stream *)(void *)stream;
    (void)mode;
    if (!queue || queue->capturing)
        return refuse(driver, CUDA_ERROR_ILLEGAL_STATE, "this stream cannot be captured now");
    CUresult result;
    queue->capturing = handle(driver, sizeof *queue->capturing, "a graph", &result);
    return result;
}

static CUresult end_capture(struct driver *driver, CUstream stream, CUgraph *graph)
{
    struct stream *queue = (struct stream *)(void *)stream;
    *graph = NULL;
    if (!queue || !queue->capturing)
        return refuse(driver, CUDA_ERROR_ILLEGAL_STATE, "this stream is not captured");
    *graph = (CUgraph)(void *)queue->capturing;
    queue->capturing = NULL;
    return sticky(driver);
}

static size_t work_bytes(const struct work *work)
{
    return work->kind == WORK_LAUNCH ? (size_t)work->kernel->parameter_bytes + 1 : work->library.bytes;
}

static bool copy_work(struct graph *graph, const struct work *work)
{
    struct work copy = *work;
    size_t bytes = work_bytes(work);
    if (work->bytes) {
        copy.bytes = malloc(bytes ? bytes : 1);
        if (!copy.bytes)
            return false;
        if (bytes)
            memcpy(copy.bytes, work->bytes, bytes);
    }
    arrput(graph->works, copy);
    return true;
}

static CUresult instantiate(struct driver *driver, CUgraphExec *executable, CUgraph graph, unsigned long long flags)
{
    const struct graph *from = (const struct graph *)(const void *)graph;
    (void)flags;
    CUresult result;
    struct graph *made = handle(driver, sizeof *made, "a graph", &result);
    bool good = made != NULL;
    for (ptrdiff_t i = 0; good && i < arrlen(from->works); i++)
        good = copy_work(made, &from->works[i]);
    if (!good)
        graph_free(made);
    *executable = good ? (CUgraphExec)(void *)made : NULL;
    return result || good ? result : refuse(driver, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a graph");
}

static CUresult graph_launch(struct driver *driver, CUgraphExec executable, CUstream stream)
{
    struct gpu *gpu = gpu_of(driver);
    const struct graph *graph = (const struct graph *)(const void *)executable;
    const struct stream *queue = (const struct stream *)(const void *)stream;
    CUresult result = gpu_enter(gpu);
    if (!result && queue && queue->capturing)
        result = gpu_fail(gpu, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "a graph cannot be launched into a capture here");
    for (ptrdiff_t i = 0; !result && i < arrlen(graph->works); i++)
        result = gpu_do(driver, &graph->works[i]);
    gpu_leave(gpu);
    return result;
}

static CUresult executable_destroy(struct driver *driver, CUgraphExec executable)
{
    graph_free((struct graph *)(void *)executable);
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

static CUresult graph_destroy(struct driver *driver, CUgraph graph)
{
    graph_free((struct graph *)(void *)graph);
    return gpu_answer(gpu_of(driver), CUDA_SUCCESS);
}

void gpu_fill_order(struct driver *driver)
{
    driver->StreamCreate = stream_create;
    driver->StreamDestroy = stream_destroy;
    driver->StreamSynchronize = stream_synchronize;
    driver->StreamWaitEvent = stream_wait;
    driver->EventCreate = event_create;
    driver->EventDestroy = event_destroy;
    driver->EventRecord = event_record;
    driver->EventSynchronize = event_synchronize;
    driver->EventQuery = event_synchronize;
    driver->EventElapsedTime = event_elapsed;
    driver->StreamBeginCapture = begin_capture;
    driver->StreamEndCapture = end_capture;
    driver->GraphInstantiate = instantiate;
    driver->GraphLaunch = graph_launch;
    driver->GraphExecDestroy = executable_destroy;
    driver->GraphDestroy = graph_destroy;
}
