/* Plans of the oneDNN part: made, run, released. */
#include "runtime/host/onednn_plan.h"
#include "runtime/host/pages.h"
#include "runtime/host/vectors.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct onednn *onednn_new(const struct vector_isa *vectors, int threads, struct error *error)
{
    if (threads > 0)
        omp_set_num_threads(threads);
    struct onednn *onednn = calloc(1, sizeof *onednn);
    if (!onednn) {
        error_set(error, "out of memory");
        return NULL;
    }
    onednn->vectors = vectors;
    if (dnnl_engine_create(&onednn->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&onednn->stream, onednn->engine, dnnl_stream_default_flags) == dnnl_success)
        return onednn;
    onednn_free(onednn);
    error_set(error, "oneDNN does not start");
    return NULL;
}

void onednn_free(struct onednn *onednn)
{
    if (!onednn)
        return;
    dnnl_stream_destroy(onednn->stream);
    dnnl_engine_destroy(onednn->engine);
    free(onednn->workspace);
    free(onednn);
}

void onednn_plan_free(struct onednn_plan *plan)
{
    if (!plan)
        return;
    for (int i = 0; i < plan->stage_count; i++)
        dnnl_primitive_destroy(plan->stages[i].primitive);
    for (int i = 0; i < plan->slot_count; i++)
        dnnl_memory_destroy(plan->slots[i].memory);
    free(plan->plain);
    free(plan->gemm);
    free(plan);
}

const char *onednn_implementation(const struct onednn_plan *plan)
{
    return plan->implementation;
}

int onednn_reorders(const struct onednn_plan *plan)
{
    return plan->reorders;
}

dnnl_data_type_t onednn_type(enum program_element element)
{
    switch (element) {
    case PROGRAM_F32:
        return dnnl_f32;
    case PROGRAM_BF16:
        return dnnl_bf16;
    default:
        return dnnl_data_type_undef;
    }
}

const char *onednn_name(dnnl_primitive_desc_t descriptor)
{
    const char *name = "";
    dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str, 0, &name);
    return name;
}

/* ---- slots and stages ---- */

int onednn_add_slot(struct onednn_plan *plan, const dnnl_memory_desc_t *descriptor, int buffer)
{
    struct slot *slot = &plan->slots[plan->slot_count];
    slot->buffer = buffer;
    if (dnnl_memory_create(&slot->memory, descriptor, plan->onednn->engine, DNNL_MEMORY_NONE) != dnnl_success)
        return -1;
    if (buffer < 0) {
        size_t bytes = dnnl_memory_desc_get_size(descriptor);
        slot->offset = plan->workspace_bytes;
        plan->workspace_bytes += (bytes + WORKSPACE_ALIGNMENT - 1) & ~(size_t)(WORKSPACE_ALIGNMENT - 1);
    }
    return plan->slot_count++;
}

/* Gives up the descriptor. NULL when the library refuses. */
static struct stage *add_stage(struct onednn_plan *plan, dnnl_primitive_desc_t descriptor)
{
    struct stage *stage = &plan->stages[plan->stage_count];
    dnnl_status_t status = dnnl_primitive_create(&stage->primitive, descriptor);
    dnnl_primitive_desc_destroy(descriptor);
    if (status != dnnl_success)
        return NULL;
    plan->stage_count++;
    return stage;
}

struct stage *onednn_add_contraction(struct onednn_plan *plan, dnnl_primitive_desc_t descriptor)
{
    snprintf(plan->implementation, sizeof plan->implementation, "%s", onednn_name(descriptor));
    return add_stage(plan, descriptor);
}

void onednn_add_argument(struct stage *stage, int kind, int slot)
{
    stage->kind[stage->argument_count] = kind;
    stage->slot[stage->argument_count++] = slot;
}

bool onednn_add_reorder(struct onednn_plan *plan, int from, int to)
{
    const dnnl_memory_desc_t *source, *destination;
    dnnl_memory_get_memory_desc(plan->slots[from].memory, &source);
    dnnl_memory_get_memory_desc(plan->slots[to].memory, &destination);
    dnnl_engine_t engine = plan->onednn->engine;
    dnnl_primitive_desc_t descriptor;
    if (dnnl_reorder_primitive_desc_create(&descriptor, source, engine, destination, engine, NULL) != dnnl_success)
        return false;
    struct stage *stage = add_stage(plan, descriptor);
    if (!stage)
        return false;
    onednn_add_argument(stage, DNNL_ARG_FROM, from);
    onednn_add_argument(stage, DNNL_ARG_TO, to);
    plan->reorders++;
    return true;
}

/* ---- plans ---- */

static bool step_supported(const struct program_step *step)
{
    const struct program_matmul *matmul = &step->matmul;
    const struct program_conv *conv = &step->conv;
    unsigned statistics = PROGRAM_EPILOGUE_SUM | PROGRAM_EPILOGUE_M2;
    if (step->kind == PROGRAM_CONV_STEP && (conv->epilogue & statistics))
        return false;
    if (step->kind == PROGRAM_MATMUL_STEP)
        return onednn_type(matmul->a) && onednn_type(matmul->b) && onednn_type(matmul->d) &&
               (!(matmul->epilogue & PROGRAM_EPILOGUE_BIAS) || onednn_type(matmul->bias));
    return step->kind == PROGRAM_CONV_STEP && onednn_type(conv->x_element) && onednn_type(conv->weight_element) &&
           onednn_type(conv->y_element) && (!(conv->epilogue & PROGRAM_EPILOGUE_BIAS) || onednn_type(conv->bias));
}

/* A contraction over nothing or with an empty operand. */
static bool step_empty(const struct program_step *step)
{
    if (step->kind == PROGRAM_MATMUL_STEP)
        return step->matmul.batch * step->matmul.m * step->matmul.n == 0;
    int64_t elements = step->conv.n * step->conv.c * step->conv.o;
    for (int i = 0; i < step->conv.spatial; i++)
        elements *= step->conv.x[i] * step->conv.y[i] * step->conv.kernel[i];
    return elements == 0;
}

/* Of a convolution with an empty operand: only gradients of weights are not empty themselves. */
static size_t conv_result_bytes(const struct program_conv *conv)
{
    int64_t elements = conv->kind == PROGRAM_CONV_WEIGHT ? conv->o * (conv->c / conv->groups) : 0;
    for (int i = 0; i < conv->spatial; i++)
        elements *= conv->kernel[i];
    return (size_t)elements * (conv->weight_element == PROGRAM_BF16 ? 2 : 4);
}

static bool prepare(struct onednn_plan *plan, const struct program_step *step, struct error *error)
{
    plan->empty = step_empty(step);
    if (plan->empty && step->kind == PROGRAM_CONV_STEP)
        plan->empty_bytes = conv_result_bytes(&step->conv);
    if (plan->empty)
        return true;
    if (step->kind == PROGRAM_CONV_STEP)
        return onednn_prepare_conv(plan, &step->conv);
    bool gemm = onednn_gemm_fits(&step->matmul);
    if (step->matmul.k > 0 && !gemm)
        return onednn_prepare_matmul(plan, &step->matmul);
    struct program_matmul *matmul = malloc(sizeof *matmul);
    if (!matmul)
        return error_set(error, "out of memory");
    *matmul = step->matmul;
    *(step->matmul.k > 0 ? &plan->gemm : &plan->plain) = matmul;
    snprintf(plan->implementation, sizeof plan->implementation, "sgemm");
    return true;
}

static bool reserve_workspace(struct onednn *onednn, size_t bytes, struct error *error)
{
    if (bytes <= onednn->workspace_bytes)
        return true;
    char *larger = pages_allocate(bytes);
    if (!larger)
        return error_set(error, "out of memory");
    free(onednn->workspace);
    onednn->workspace = larger;
    onednn->workspace_bytes = bytes;
    return true;
}

struct onednn_plan *onednn_prepare(struct onednn *onednn, const struct program_step *step, struct error *error)
{
    if (!step_supported(step)) {
        error_set(error, "%s: the host's library has no such contraction", step->name);
        return NULL;
    }
    struct onednn_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        error_set(error, "out of memory");
        return NULL;
    }
    plan->onednn = onednn;
    bool good = prepare(plan, step, error);
    for (int i = 0; i < plan->slot_count; i++)
        good = good && plan->slots[i].memory;
    if (good && reserve_workspace(onednn, plan->workspace_bytes, error))
        return plan;
    onednn_plan_free(plan);
    error_set(error, "%s: oneDNN can not do this contraction", step->name);
    return NULL;
}

static bool run_stage(struct onednn_plan *plan, const struct stage *stage)
{
    dnnl_exec_arg_t arguments[ARGUMENTS_MAX];
    for (int i = 0; i < stage->argument_count; i++) {
        arguments[i] = (dnnl_exec_arg_t){stage->kind[i], plan->slots[stage->slot[i]].memory};
    }
    return dnnl_primitive_execute(stage->primitive, plan->onednn->stream, stage->argument_count, arguments) ==
           dnnl_success;
}

static bool is_due(const struct stage *stage, enum onednn_stages stages)
{
    switch (stages) {
    case STAGES_NEXT:
        return !stage->weight;
    case STAGES_SLICE:
        return !stage->last;
    case STAGES_NEXT_SLICE:
        return !stage->weight && !stage->last;
    case STAGES_LAST:
        return stage->last;
    default:
        return true;
    }
}

bool onednn_run(struct onednn_plan *plan, char *const *buffers, struct error *error)
{
    return onednn_run_stages(plan, buffers, STAGES_ALL, error);
}

bool onednn_run_stages(struct onednn_plan *plan, char *const *buffers, enum onednn_stages stages, struct error *error)
{
    if (plan->empty) {
        memset(buffers[2], 0, plan->empty_bytes);
        return true;
    }
    if (plan->plain) {
        onednn_run_plain(plan->plain, buffers);
        return true;
    }
    if (plan->gemm)
        return onednn_run_gemm(plan->onednn->vectors, plan->gemm, omp_get_max_threads(), buffers) ||
               error_set(error, "oneDNN failed in sgemm");
    for (int i = 0; i < plan->slot_count; i++) {
        struct slot *slot = &plan->slots[i];
        char *address = slot->buffer < 0 ? plan->onednn->workspace + slot->offset : buffers[slot->buffer];
        if (address != slot->address && dnnl_memory_set_data_handle(slot->memory, address) != dnnl_success)
            return error_set(error, "oneDNN refused a buffer");
        slot->address = address;
    }
    for (int i = 0; i < plan->stage_count; i++)
        if (is_due(&plan->stages[i], stages) && !run_stage(plan, &plan->stages[i]))
            return error_set(error, "oneDNN failed in %s", plan->implementation);
    if (dnnl_stream_wait(plan->onednn->stream) != dnnl_success)
        return error_set(error, "oneDNN failed in %s", plan->implementation);
    if (plan->behind_bytes)
        onednn_run_behind(plan, buffers);
    return true;
}
