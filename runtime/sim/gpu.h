/* The state behind the simulated driver, and what streams and graphs hold. */
#ifndef CASTOR_RUNTIME_SIM_GPU_H
#define CASTOR_RUNTIME_SIM_GPU_H

#include "runtime/sim/execute.h"
#include "runtime/sim/sim.h"

#include "runtime/sim/enqueue.h"

enum work_kind { WORK_LAUNCH, WORK_COPY, WORK_SET, WORK_LIBRARY };

/* One piece of work of a stream; everything it needs is in it, so that a graph can do it again. */
struct work {
    enum work_kind kind;
    struct sim_kernel *kernel;
    uint8_t *bytes; /* parameters of a launch, or a library's argument; owned */
    uint32_t grid[3], threads[3];
    size_t dynamic_bytes;
    bool cooperative;
    uint64_t to, from; /* a copy, or what is set */
    bool to_host, from_host;
    size_t count;
    uint8_t value;
    struct sim_work library;
};

/* CUgraph and CUgraphExec; the second owns its own copy of the work. */
struct graph {
    struct work *works; /* stb_ds */
};

/* CUstream; NULL is the stream that always is. */
struct stream {
    struct graph *capturing; /* what is recorded instead of done */
    bool waits_for_null;     /* and that for it */
    /* What follows is of those that are late (sim.h). */
    bool late;
    struct order *orders; /* stb_ds; those from `next` on are to be done */
    ptrdiff_t next;
    uint64_t records, passed; /* of events: how many were ordered, and are done */
};

/* CUevent. */
struct event {
    bool recorded; /* and `seconds` tells when */
    double seconds;
    struct stream *stream; /* a late one that has recorded it, as its record of this number; NULL: none */
    uint64_t record;
    bool captured; /* its last record is part of a graph */
};

enum order_kind { ORDER_WORK, ORDER_RECORD, ORDER_WAIT };

struct order {
    enum order_kind kind;
    struct work work;
    struct event *event;   /* ORDER_RECORD */
    struct stream *stream; /* ORDER_WAIT: until this one has passed the record of that number */
    uint64_t record;
};

/* Page-locked memory. */
struct pinned {
    uint64_t begin, end;
};

struct gpu {
    struct sim_settings settings; /* its text is not kept */
    int capability;               /* 80 for sm_80 */
    const struct sim_isa *isa;
    struct sim_memory memory;
    struct sim_module **modules;
    struct stream **late;  /* stb_ds; the late streams, also those that were destroyed */
    int stream_count;      /* made so far */
    struct pinned *pinned; /* stb_ds */
    pthread_mutex_t lock;  /* calls come from any thread, and are done one at a time */
    CUresult sticky;       /* the result of a fault, which stays */
    struct error sticky_error;
    struct error problem; /* of the last failed call */
};

static inline struct gpu *gpu_of(struct driver *driver)
{
    return driver->own;
}

/* Sets the problem of a failed call and returns its code. */
CUresult gpu_fail(struct gpu *gpu, CUresult result, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Starts a call: takes the lock and clears the problem. gpu_enter also gives the sticky error where there is one. */
void gpu_begin(struct gpu *gpu);
CUresult gpu_enter(struct gpu *gpu);
void gpu_leave(struct gpu *gpu);
/* A whole call with this result, which nothing that was before changes. */
CUresult gpu_answer(struct gpu *gpu, CUresult result);
/* A fact about the device, or false. */
bool gpu_attribute(const struct gpu *gpu, CUdevice_attribute attribute, int *value);

/* Does the work, or records it where the stream is captured. Takes over `bytes`. */
CUresult gpu_submit(struct driver *driver, CUstream stream, struct work *work);
CUresult gpu_do(struct driver *driver, const struct work *work);
void work_free(struct work *work);
/* False when memory is out. */
bool work_copy(struct work *copy, const struct work *work);
void graph_free(struct graph *graph);

/* Late streams (order.c); with the lock held. A stream does what it was ordered up to the record of that number,
 * ORDERS_ALL: to the end. They give the result of what fails first. */
#define ORDERS_ALL UINT64_MAX
CUresult stream_catch_up(struct driver *driver, struct stream *stream, uint64_t record);
CUresult streams_catch_up(struct driver *driver);
/* Takes over `bytes`. */
CUresult stream_order(struct driver *driver, struct stream *stream, struct work *work);
CUresult stream_record(struct stream *stream, struct event *event);
CUresult stream_await(struct driver *driver, struct stream *stream, const struct event *event);
bool event_pending(const struct event *event);
void event_passed(struct event *event);

/* driver_*.c fill their part of the table. */
void gpu_fill_device(struct driver *driver);
void gpu_fill_memory(struct driver *driver);
void gpu_fill_code(struct driver *driver);
void gpu_fill_order(struct driver *driver);

#endif
