/* The driver's order: streams, events, captures and graphs. But on late streams (order.c) work is done when it is
 * submitted, so that waiting is only a matter of telling a fault.
 *
 * One stream can be captured at a time, with nothing of others: what would bring another one into a capture, and what
 * asks of work that was only recorded whether it is done, is refused as by the driver. */
#include "runtime/sim/gpu.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

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
    struct gpu *gpu = gpu_of(driver);
    CUresult result;
    struct stream *made = handle(driver, sizeof *made, "a stream", &result);
    *stream = (CUstream)(void *)made;
    if (!made)
        return result;
    gpu_begin(gpu);
    made->waits_for_null = !(flags & CU_STREAM_NON_BLOCKING);
    made->late = gpu->stream_count < 32 && gpu->settings.late >> gpu->stream_count & 1;
    gpu->stream_count++;
    if (made->late)
        arrput(gpu->late, made);
    gpu_leave(gpu);
    return result;
}

/* Events may still tell of a late one. */
static CUresult stream_destroy(struct driver *driver, CUstream stream)
{
    struct stream *old = (struct stream *)(void *)stream;
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    if (old) {
        graph_free(old->capturing);
        old->capturing = NULL;
        stream_catch_up(driver, old, ORDERS_ALL);
    }
    if (old && !old->late)
        free(old);
    gpu_leave(gpu);
    return CUDA_SUCCESS;
}

static CUresult stream_synchronize(struct driver *driver, CUstream stream)
{
    struct stream *queue = (struct stream *)(void *)stream;
    struct gpu *gpu = gpu_of(driver);
    if (queue && queue->capturing)
        return refuse(driver, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "the stream is captured");
    CUresult result = gpu_enter(gpu);
    if (!result && queue)
        result = stream_catch_up(driver, queue, ORDERS_ALL);
    gpu_leave(gpu);
    return result;
}

static CUresult stream_wait(struct driver *driver, CUstream stream, CUevent event, unsigned flags)
{
    struct stream *queue = (struct stream *)(void *)stream;
    const struct event *awaited = (const struct event *)(const void *)event;
    struct gpu *gpu = gpu_of(driver);
    (void)flags;
    bool captured = queue && queue->capturing;
    if (captured != awaited->captured)
        return refuse(driver, CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                      captured ? "a captured stream is to wait for what is not captured"
                               : "what is captured would bring another stream into the capture");
    CUresult result = gpu_enter(gpu);
    if (!result && !captured)
        result = stream_await(driver, queue, awaited);
    gpu_leave(gpu);
    return result;
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
    struct event *old = (struct event *)(void *)event;
    struct gpu *gpu = gpu_of(driver);
    gpu_begin(gpu);
    if (old && old->stream)
        stream_catch_up(driver, old->stream, ORDERS_ALL);
    free(old);
    gpu_leave(gpu);
    return CUDA_SUCCESS;
}

static CUresult event_record(struct driver *driver, CUevent event, CUstream stream)
{
    struct event *recorded = (struct event *)(void *)event;
    struct stream *queue = (struct stream *)(void *)stream;
    struct gpu *gpu = gpu_of(driver);
    CUresult result = gpu_enter(gpu);
    recorded->captured = queue && queue->capturing;
    if (!result && !recorded->captured && queue && queue->late) {
        result = stream_record(queue, recorded);
    } else if (!recorded->captured) {
        recorded->stream = NULL;
        event_passed(recorded);
    }
    gpu_leave(gpu);
    return result;
}

static CUresult event_synchronize(struct driver *driver, CUevent event)
{
    const struct event *awaited = (const struct event *)(const void *)event;
    struct gpu *gpu = gpu_of(driver);
    if (awaited->captured)
        return refuse(driver, CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a captured stream");
    CUresult result = gpu_enter(gpu);
    if (!result)
        result = stream_await(driver, NULL, awaited);
    gpu_leave(gpu);
    return result;
}

static CUresult event_query(struct driver *driver, CUevent event)
{
    const struct event *asked = (const struct event *)(const void *)event;
    if (asked->captured)
        return refuse(driver, CUDA_ERROR_CAPTURED_EVENT, "the event was recorded in a captured stream");
    return event_pending(asked) ? gpu_answer(gpu_of(driver), CUDA_ERROR_NOT_READY) : sticky(driver);
}

static CUresult event_elapsed(struct driver *driver, float *milliseconds, CUevent start, CUevent end)
{
    const struct event *from = (const struct event *)(const void *)start;
    const struct event *to = (const struct event *)(const void *)end;
    if (event_pending(from) || event_pending(to))
        return gpu_answer(gpu_of(driver), CUDA_ERROR_NOT_READY);
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

static CUresult instantiate(struct driver *driver, CUgraphExec *executable, CUgraph graph, unsigned long long flags)
{
    const struct graph *from = (const struct graph *)(const void *)graph;
    (void)flags;
    CUresult result;
    struct graph *made = handle(driver, sizeof *made, "a graph", &result);
    bool good = made != NULL;
    for (ptrdiff_t i = 0; good && i < arrlen(from->works); i++) {
        struct work copy;
        good = work_copy(&copy, &from->works[i]);
        if (good)
            arrput(made->works, copy);
    }
    if (!good)
        graph_free(made);
    *executable = good ? (CUgraphExec)(void *)made : NULL;
    return result || good ? result : refuse(driver, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a graph");
}

static CUresult launch_work(struct driver *driver, CUstream stream, const struct work *work)
{
    const struct stream *queue = (const struct stream *)(const void *)stream;
    struct work copy;
    if (!queue || !queue->late)
        return gpu_do(driver, work);
    return work_copy(&copy, work) ? gpu_submit(driver, stream, &copy)
                                  : gpu_fail(gpu_of(driver), CUDA_ERROR_OUT_OF_MEMORY, "no memory for a graph");
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
        result = launch_work(driver, stream, &graph->works[i]);
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
    driver->EventQuery = event_query;
    driver->EventElapsedTime = event_elapsed;
    driver->StreamBeginCapture = begin_capture;
    driver->StreamEndCapture = end_capture;
    driver->GraphInstantiate = instantiate;
    driver->GraphLaunch = graph_launch;
    driver->GraphExecDestroy = executable_destroy;
    driver->GraphDestroy = graph_destroy;
}
