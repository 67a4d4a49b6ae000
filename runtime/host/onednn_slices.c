/* A convolution on a slice of the batch at a time, by several threads side by side, each with a plan and a workspace of
 * its own. A slice gives the same result whichever thread does it. The gradient of a weight is summed by each thread
 * over its slices, then over the threads in their order, so that it repeats for a fixed number of threads. */
#include "runtime/host/onednn_plan.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { CONV_BUFFERS = 5 };

/* What one thread has. */
struct slicer {
    struct onednn library; /* stream and workspace; the engine is shared */
    struct onednn_plan *plan;
    float *part, *sum; /* gradient of a weight: where a slice's may lie, and the sum, both in the library's format */
    bool worked;       /* since the sums were taken */
};

struct onednn_slices {
    int threads, buffer_count;
    struct slicer *slicers;
    size_t stride[CONV_BUFFERS]; /* by buffer: bytes of one example; 0: taken whole */
    size_t sum_bytes;            /* 0 where nothing is summed */
};

static size_t example_bytes(const struct program_conv *conv, bool x)
{
    int64_t elements = x ? conv->c : conv->o;
    for (int i = 0; i < conv->spatial; i++)
        elements *= x ? conv->x[i] : conv->y[i];
    return (size_t)elements * program_element_bytes(x ? conv->x_element : conv->y_element);
}

static void set_strides(struct onednn_slices *slices, const struct program_conv *conv)
{
    size_t *stride = slices->stride;
    size_t x = example_bytes(conv, true), y = example_bytes(conv, false);
    stride[0] = conv->kind == PROGRAM_CONV_DATA ? 0 : x;
    stride[1] = conv->kind == PROGRAM_CONV ? 0 : y;
    stride[2] = conv->kind == PROGRAM_CONV ? y : conv->kind == PROGRAM_CONV_DATA ? x : 0;
    if (conv->epilogue & PROGRAM_EPILOGUE_ADD)
        stride[conv->epilogue & PROGRAM_EPILOGUE_BIAS ? 4 : 3] = stride[2];
}

static bool add_sum(struct onednn_slices *slices, struct slicer *slicer, struct error *error)
{
    const dnnl_memory_desc_t *result;
    dnnl_memory_get_memory_desc(slicer->plan->slots[slicer->plan->result].memory, &result);
    slices->sum_bytes = dnnl_memory_desc_get_size(result);
    size_t bytes = (slices->sum_bytes + WORKSPACE_ALIGNMENT - 1) & ~(size_t)(WORKSPACE_ALIGNMENT - 1);
    slicer->part = aligned_alloc(WORKSPACE_ALIGNMENT, bytes);
    slicer->sum = aligned_alloc(WORKSPACE_ALIGNMENT, bytes);
    if (!slicer->part || !slicer->sum)
        return error_set(error, "out of memory");
    return result->data_type == dnnl_f32 || error_set(error, "the gradient of a weight can not be summed");
}

/* The plan is used inside a parallel region, by one thread. */
static bool add_slicer(struct onednn_slices *slices, const struct onednn *onednn, const struct program_step *step,
                       struct error *error)
{
    struct slicer *slicer = &slices->slicers[slices->threads++];
    slicer->library.engine = onednn->engine;
    slicer->library.own_scratch = true;
    if (dnnl_stream_create(&slicer->library.stream, onednn->engine, dnnl_stream_default_flags) != dnnl_success)
        return error_set(error, "oneDNN gives no stream");
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    slicer->plan = onednn_prepare(&slicer->library, step, error);
    omp_set_num_threads(threads);
    if (!slicer->plan || step->conv.kind != PROGRAM_CONV_WEIGHT)
        return slicer->plan;
    return add_sum(slices, slicer, error);
}

struct onednn_slices *onednn_slices_new(struct onednn *onednn, const struct program_step *step, int64_t size,
                                        int threads, struct error *error)
{
    struct onednn_slices *slices = calloc(1, sizeof *slices);
    struct program_step slice = *step;
    slice.conv.n = size;
    bool good = slices && (slices->slicers = calloc((size_t)threads, sizeof *slices->slicers));
    if (!good)
        error_set(error, "out of memory");
    for (int i = 0; i < threads && good; i++)
        good = add_slicer(slices, onednn, &slice, error);
    if (!good) {
        onednn_slices_free(slices);
        return NULL;
    }
    slices->buffer_count = step->buffer_count < CONV_BUFFERS ? step->buffer_count : CONV_BUFFERS;
    set_strides(slices, &step->conv);
    return slices;
}

void onednn_slices_free(struct onednn_slices *slices)
{
    if (!slices)
        return;
    for (int i = 0; i < slices->threads; i++) {
        struct slicer *slicer = &slices->slicers[i];
        onednn_plan_free(slicer->plan);
        if (slicer->library.stream)
            dnnl_stream_destroy(slicer->library.stream);
        free(slicer->library.workspace);
        free(slicer->part);
        free(slicer->sum);
    }
    free(slices->slicers);
    free(slices);
}

static float *result_address(const struct slicer *slicer)
{
    return (float *)(void *)slicer->plan->slots[slicer->plan->result].address;
}

static void add_to(float *sum, const float *part, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *sum; i++)
        sum[i] += part[i];
}

bool onednn_slices_run(struct onednn_slices *slices, int thread, char *const *buffers, int64_t first, bool again)
{
    char *own[CONV_BUFFERS] = {0};
    struct slicer *slicer = &slices->slicers[thread];
    for (int i = 0; i < slices->buffer_count; i++)
        own[i] = buffers[i] + (size_t)first * slices->stride[i];
    if (slices->sum_bytes)
        own[2] = (char *)slicer->part;
    struct error error = {0};
    if (!onednn_run_stages(slicer->plan, own,
                           slices->sum_bytes ? again ? STAGES_NEXT_SLICE : STAGES_SLICE
                           : again           ? STAGES_NEXT
                                             : STAGES_ALL,
                           &error))
        return false;
    if (slices->sum_bytes && slicer->worked)
        add_to(slicer->sum, result_address(slicer), slices->sum_bytes);
    else if (slices->sum_bytes)
        memcpy(slicer->sum, result_address(slicer), slices->sum_bytes);
    slicer->worked = true;
    return true;
}

bool onednn_slices_finish(struct onednn_slices *slices, char *const *buffers)
{
    struct slicer *into = NULL;
    for (int i = 0; i < slices->threads; i++) {
        struct slicer *slicer = &slices->slicers[i];
        if (slices->sum_bytes && slicer->worked && into)
            add_to(into->sum, slicer->sum, slices->sum_bytes);
        else if (slices->sum_bytes && slicer->worked)
            into = slicer;
        slicer->worked = false;
    }
    if (!into)
        return true;
    struct error error = {0};
    float *result = result_address(into);
    bool in_place = result == into->part;
    memcpy(in_place ? (float *)(void *)buffers[2] : result, into->sum, slices->sum_bytes);
    return in_place || onednn_run_stages(into->plan, buffers, STAGES_LAST, &error);
}
