/* What is done to a contraction's result before anyone sees it: bias, relu, addend. */
#include "runtime/host/onednn_plan.h"

#include <string.h>

bool onednn_adds(unsigned epilogue)
{
    return (epilogue & PROGRAM_EPILOGUE_ADD) && !(epilogue & PROGRAM_EPILOGUE_RELU);
}

bool onednn_epilogue_attributes(dnnl_primitive_attr_t *attributes, const dnnl_memory_desc_t *addend)
{
    dnnl_post_ops_t operations;
    if (dnnl_primitive_attr_create(attributes) != dnnl_success || dnnl_post_ops_create(&operations) != dnnl_success)
        return false;
    bool good = !addend || (dnnl_post_ops_append_binary(operations, dnnl_binary_add, addend) == dnnl_success &&
                            dnnl_primitive_attr_set_post_ops(*attributes, operations) == dnnl_success);
    dnnl_post_ops_destroy(operations);
    return good;
}

void onednn_add_epilogue(struct onednn_plan *plan, struct stage *stage, unsigned epilogue, bool adds,
                         const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *result)
{
    int buffer = 3;
    if (epilogue & PROGRAM_EPILOGUE_BIAS)
        onednn_add_argument(stage, DNNL_ARG_BIAS, onednn_add_slot(plan, bias, buffer++));
    if (adds)
        onednn_add_argument(stage, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1,
                            onednn_add_slot(plan, result, buffer));
    else if (epilogue & (PROGRAM_EPILOGUE_RELU | PROGRAM_EPILOGUE_ADD)) {
        plan->behind_bytes = dnnl_memory_desc_get_size(result);
        plan->behind_half = result->data_type == dnnl_bf16;
        plan->behind_relu = epilogue & PROGRAM_EPILOGUE_RELU;
        plan->behind_addend = epilogue & PROGRAM_EPILOGUE_ADD ? buffer : 0;
    }
}

static float widen(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

static uint16_t narrow(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = value != value ? 0x7fc00000 : bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)(bits >> 16);
}

float onednn_load(enum program_element element, const void *from, int64_t index)
{
    return element == PROGRAM_F32 ? ((const float *)from)[index] : widen(((const uint16_t *)from)[index]);
}

void onednn_store(enum program_element element, void *to, int64_t index, float value)
{
    if (element == PROGRAM_F32)
        ((float *)to)[index] = value;
    else
        ((uint16_t *)to)[index] = narrow(value);
}

static void behind_half(uint16_t *value, bool relu, const uint16_t *addend, int64_t count)
{
#pragma omp parallel for if (count > 16384)
    for (int64_t i = 0; i < count; i++) {
        float wide = widen(value[i]);
        wide = relu && wide < 0 ? 0 : wide;
        value[i] = narrow(addend ? wide + widen(addend[i]) : wide);
    }
}

static void behind_single(float *value, bool relu, const float *addend, int64_t count)
{
#pragma omp parallel for simd if (count > 16384)
    for (int64_t i = 0; i < (relu ? count : 0); i++)
        value[i] = value[i] < 0 ? 0 : value[i];
    if (!addend)
        return;
#pragma omp parallel for simd if (count > 16384)
    for (int64_t i = 0; i < count; i++)
        value[i] += addend[i];
}

void onednn_run_behind(const struct onednn_plan *plan, char *const *buffers)
{
    void *addend = plan->behind_addend ? buffers[plan->behind_addend] : NULL;
    int64_t count = (int64_t)(plan->behind_bytes / (plan->behind_half ? sizeof(uint16_t) : sizeof(float)));
    if (plan->behind_half)
        behind_half((void *)buffers[2], plan->behind_relu, addend, count);
    else
        behind_single((void *)buffers[2], plan->behind_relu, addend, count);
}
