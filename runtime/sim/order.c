/* Streams that are late: what they are ordered is done when somebody waits for it. On a GPU each stream does its work
 * in order, at some time before it is waited for; streams of which one is late and another is not show the two ends of
 * what may happen. */
#include "runtime/sim/gpu.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool event_pending(const struct event *event)
{
    return event->stream && event->stream->passed < event->record;
}

void event_passed(struct event *event)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->recorded = true;
    event->seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static CUresult do_order(struct driver *driver, struct stream *stream, struct order *order)
{
    CUresult result = CUDA_SUCCESS;
    switch (order->kind) {
    case ORDER_WORK:
        result = gpu_of(driver)->sticky;
        if (!result)
            result = gpu_do(driver, &order->work);
        work_free(&order->work);
        return result;
    case ORDER_RECORD:
        event_passed(order->event);
        stream->passed++;
        return CUDA_SUCCESS;
    default: /* ORDER_WAIT */
        return stream_catch_up(driver, order->stream, order->record);
    }
}

CUresult stream_catch_up(struct driver *driver, struct stream *stream, uint64_t record)
{
    CUresult result = CUDA_SUCCESS;
    while (stream->next < arrlen(stream->orders) && stream->passed < record) {
        struct order order = stream->orders[stream->next++];
        CUresult own = do_order(driver, stream, &order);
        result = result ? result : own;
    }
    if (stream->next == arrlen(stream->orders)) {
        arrsetlen(stream->orders, 0);
        stream->next = 0;
    }
    return result;
}

CUresult streams_catch_up(struct driver *driver)
{
    const struct gpu *gpu = gpu_of(driver);
    CUresult result = CUDA_SUCCESS;
    for (ptrdiff_t i = 0; i < arrlen(gpu->late); i++) {
        CUresult own = stream_catch_up(driver, gpu->late[i], ORDERS_ALL);
        result = result ? result : own;
    }
    return result;
}

static bool is_pinned(const struct gpu *gpu, uint64_t address)
{
    for (ptrdiff_t i = 0; i < arrlen(gpu->pinned); i++)
        if (address >= gpu->pinned[i].begin && address < gpu->pinned[i].end)
            return true;
    return false;
}

/* CUDA Driver API, "API synchronization behavior": memory that is not page-locked is copied before the call returns,
 * and has what comes from the device when it does. */
CUresult stream_order(struct driver *driver, struct stream *stream, struct work *work)
{
    struct gpu *gpu = gpu_of(driver);
    struct order order = {.kind = ORDER_WORK, .work = *work};
    if (work->from_host && work->count && !is_pinned(gpu, work->from)) {
        order.work.bytes = malloc(work->count);
        if (!order.work.bytes)
            return gpu_fail(gpu, CUDA_ERROR_OUT_OF_MEMORY, "no memory for a copy");
        memcpy(order.work.bytes, (const void *)(uintptr_t)work->from, work->count);
        order.work.from = (uint64_t)(uintptr_t)order.work.bytes;
    }
    arrput(stream->orders, order);
    bool now = work->to_host && !is_pinned(gpu, work->to);
    return now ? stream_catch_up(driver, stream, ORDERS_ALL) : CUDA_SUCCESS;
}

CUresult stream_record(struct stream *stream, struct event *event)
{
    struct order order = {.kind = ORDER_RECORD, .event = event};
    event->recorded = false;
    event->stream = stream;
    event->record = ++stream->records;
    arrput(stream->orders, order);
    return CUDA_SUCCESS;
}

/* The record that is the event's last one now is what is waited for. */
CUresult stream_await(struct driver *driver, struct stream *stream, const struct event *event)
{
    struct order order = {.kind = ORDER_WAIT, .stream = event->stream, .record = event->record};
    if (!event_pending(event))
        return CUDA_SUCCESS;
    if (!stream || !stream->late)
        return stream_catch_up(driver, event->stream, event->record);
    arrput(stream->orders, order);
    return CUDA_SUCCESS;
}
