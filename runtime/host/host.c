/* The host device: memory is the process's own, a run is a loop over prepared calls. */
#include "runtime/host/host.h"
#include "runtime/clock.h"
#include "runtime/host/compile.h"
#include "runtime/host/onednn.h"
#include "runtime/host/pages.h"
#include "runtime/host/vectors.h"
#include "runtime/host/winograd.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>


struct host {
    struct device device;
    struct compile_settings compile;
    char *cache;
    struct onednn *onednn;
    const struct vector_isa *vectors;
    struct winograd_pool pool;
    bool plain_convolutions;
};

/* What a call needs besides its addresses. */
struct host_call {
    host_kernel function;
    long long *integers;
    struct onednn_plan *plan;
    struct onednn_slices *slices; /* of a convolution in a strip */
    struct winograd *winograd;    /* of a convolution, instead of a plan */
    bool sliced;                  /* the call can run slice by slice */
};

static void *host_allocate(struct device *device, size_t bytes)
{
    (void)device;
    return pages_allocate(bytes);
}

static void host_release(struct device *device, void *memory)
{
    (void)device;
    free(memory);
}

static void host_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes)
        memcpy(to, from, bytes);
}

static void host_fill(struct device *device, void *to, int value, size_t bytes)
{
    (void)device;
    memset(to, value, bytes);
}

static bool host_failed(struct device *device, struct error *error)
{
    (void)device;
    (void)error;
    return false;
}

static void *host_load(struct device *device, const struct program *program, struct error *error)
{
    struct host *host = device->own;
    return compile_kernels(&host->compile, program, error);
}

static void host_unload(struct device *device, void *kernels)
{
    (void)device;
    kernel_library_free(kernels);
}

static void host_discard(struct device *device, struct device_call *call)
{
    (void)device;
    struct host_call *own = call->prepared;
    if (!own)
        return;
    if (own->plan)
        onednn_plan_free(own->plan);
    onednn_slices_free(own->slices);
    winograd_free(own->winograd);
    free(own->integers);
    free(own);
    call->prepared = NULL;
}

static bool prepare_kernel(struct host_call *own, const struct kernel_library *library, const struct program_step *step)
{
    own->function = library->functions[step->kernel];
    own->sliced = true;
    own->integers = calloc((size_t)step->integer_count + 1, sizeof *own->integers);
    for (int i = 0; own->integers && i < step->integer_count; i++)
        own->integers[i] = step->integers[i];
    return own->integers;
}

static bool prepare_contraction(struct host *host, struct host_call *own, const struct device_call *call,
                                struct error *error)
{
    const struct program_step *step = call->step;
    int threads = host->device.facts.threads;
    if (step->kind == PROGRAM_CONV_STEP && !host->plain_convolutions && winograd_fits(&step->conv)) {
        own->sliced = call->strip && winograd_fits_sliced(&step->conv, call->strip->size);
        own->winograd = own->sliced ? winograd_new_sliced(host->vectors, &step->conv, call->strip->size, threads, error)
                                    : winograd_new(host->vectors, &step->conv, threads, &host->pool, error);
        return own->winograd;
    }
    own->plan = onednn_prepare(host->onednn, step, error);
    if (own->plan && call->strip)
        own->slices = onednn_slices_new(host->onednn, step, call->strip->size, threads, error);
    own->sliced = own->slices;
    return own->plan && (!call->strip || own->slices);
}

static bool host_prepare(struct device *device, void *kernels, struct device_call *call, struct error *error)
{
    struct host *host = device->own;
    struct host_call *own = call->prepared = calloc(1, sizeof *own);
    if (!own)
        return error_set(error, "out of memory");
    switch (call->step->kind) {
    case PROGRAM_KERNEL:
        return prepare_kernel(own, kernels, call->step) || error_set(error, "out of memory");
    case PROGRAM_MATMUL_STEP:
    case PROGRAM_CONV_STEP:
        return prepare_contraction(host, own, call, error);
    default:
        return true;
    }
}

/* The time since `before` was one of all threads'. Returns what time it is; 0 when nobody asks. */
static double tell_time(const struct device_call *call, double before, int threads)
{
    if (!call->seconds)
        return 0;
    double now = clock_seconds();
#pragma omp atomic
    *call->seconds += (now - before) / threads;
    return now;
}

/* One strip, from example `first` on, through all its calls. */
static bool run_slice(const struct device_call *calls, int thread, int64_t first, bool again)
{
    const struct program_strip *strip = calls->strip;
    const long slice[] = {(long)first, (long)(first + strip->size)};
    double before = calls->seconds ? clock_seconds() : 0;
    for (int i = 0; i < strip->count; i++) {
        const struct host_call *own = calls[i].prepared;
        if (own->function)
            own->function(calls[i].buffers, own->integers, slice);
        else if (own->winograd)
            winograd_run_slice(own->winograd, thread, calls[i].buffers, first);
        else if (!onednn_slices_run(own->slices, thread, calls[i].buffers, first, again))
            return false;
        before = tell_time(&calls[i], before, omp_get_num_threads());
    }
    return true;
}

static bool run_strip(const struct device *device, const struct device_call *calls, struct error *error)
{
    const struct program_strip *strip = calls->strip;
    const long behind[] = {(long)strip->items, (long)strip->items};
    bool good = true;
    for (int i = 0; i < strip->count; i++) {
        const struct host_call *own = calls[i].prepared;
        if (own->winograd)
            winograd_begin(own->winograd, calls[i].buffers);
    }
#pragma omp parallel num_threads(device->facts.threads) reduction(&& : good)
    {
        bool again = false;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < strip->items; first += strip->size) {
            good = run_slice(calls, omp_get_thread_num(), first, again) && good;
            again = true;
        }
    }
    double before = calls->seconds ? clock_seconds() : 0;
    for (int i = 0; i < strip->count; i++) {
        const struct host_call *own = calls[i].prepared;
        if (own->function)
            own->function(calls[i].buffers, own->integers, behind);
        else if (own->winograd)
            winograd_finish(own->winograd, calls[i].buffers);
        else
            good = onednn_slices_finish(own->slices, calls[i].buffers) && good;
        before = tell_time(&calls[i], before, 1);
    }
    return good || error_set(error, "oneDNN failed on a slice of a convolution");
}

/* Whether a strip begins here, all its calls are there, and each can run slice by slice. */
static bool strip_begins(const struct device_call *calls, int at, int count)
{
    const struct program_strip *strip = calls[at].strip;
    if (!strip || (at > 0 && calls[at - 1].strip == strip) || count - at < strip->count)
        return false;
    for (int i = at; i < at + strip->count; i++)
        if (!((const struct host_call *)calls[i].prepared)->sliced)
            return false;
    return true;
}

static bool run_call(const struct device_call *call, struct error *error)
{
    const struct host_call *own = call->prepared;
    double before = call->seconds ? clock_seconds() : 0;
    if (own->function)
        own->function(call->buffers, own->integers, NULL);
    else if (own->winograd)
        winograd_run(own->winograd, call->buffers);
    else if (!own->plan)
        memmove(call->buffers[1], call->buffers[0], call->step->copy_bytes);
    else if (!onednn_run(own->plan, call->buffers, error))
        return false;
    tell_time(call, before, 1);
    return true;
}

static bool host_run(struct device *device, struct device_call *calls, int count, struct error *error)
{
    for (int i = 0; i < count; i++) {
        bool strip = strip_begins(calls, i, count);
        if (!(strip ? run_strip(device, &calls[i], error) : run_call(&calls[i], error)))
            return false;
        i += strip ? calls[i].strip->count - 1 : 0;
    }
    return true;
}

static const char *host_contracts_by(struct device *device, const struct device_call *call)
{
    (void)device;
    return ((const struct host_call *)call->prepared)->winograd ? "Winograd" : "oneDNN";
}

static double host_finish(struct device *device)
{
    (void)device;
    return clock_seconds();
}

static void host_free(struct device *device)
{
    struct host *host = device->own;
    onednn_free(host->onednn);
    winograd_pool_release(&host->pool);
    free(host->cache);
    free(host);
}

struct device *host_device_new(const struct host_settings *settings, struct error *error)
{
    struct device_facts facts;
    if (!host_describe(settings, &facts, error))
        return NULL;
    struct host *host = calloc(1, sizeof *host);
    if (!host || (settings->cache && !(host->cache = strdup(settings->cache)))) {
        free(host);
        error_set(error, "out of memory");
        return NULL;
    }
    host->device = (struct device){.name = "host",
                                   .facts = facts,
                                   .host_memory = true,
                                   .own = host,
                                   .free = host_free,
                                   .allocate = host_allocate,
                                   .release = host_release,
                                   .upload = host_copy,
                                   .download = host_copy,
                                   .fill = host_fill,
                                   .failed = host_failed,
                                   .load = host_load,
                                   .unload = host_unload,
                                   .prepare = host_prepare,
                                   .discard = host_discard,
                                   .run = host_run,
                                   .contracts_by = host_contracts_by,
                                   .finish = host_finish};
    host->compile = (struct compile_settings){
        .cache = host->cache, .jobs = facts.cores, .unit_bytes = settings->unit_bytes, .built = settings->built};
    host->compile.isa = host->device.facts.isa;
    host->plain_convolutions = settings->plain_convolutions;
    host->vectors = vector_isa_find(facts.isa);
    if (!host->vectors)
        host->vectors = vector_isa_find("baseline");
    omp_set_num_threads(facts.threads);
    host->onednn = onednn_new(host->vectors, facts.threads, error);
    if (host->onednn)
        return &host->device;
    host_free(&host->device);
    return NULL;
}
