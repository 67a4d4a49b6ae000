/* Matrix products by oneDNN. */
#include "runtime/host/onednn_plan.h"

/* A matrix or a batch of them; a batch stride of 0 is one matrix for the whole batch. */
static bool matrix_descriptor(dnnl_memory_desc_t *descriptor, int64_t batch, int64_t rows, int64_t columns,
                              const int64_t stride[3], enum program_element element)
{
    int skip = batch == 1 ? 1 : 0;
    dnnl_dims_t dims = {stride[0] ? batch : 1, rows, columns};
    dnnl_dims_t strides = {stride[0] ? stride[0] : rows * columns, stride[1], stride[2]};
    return dnnl_memory_desc_init_by_strides(descriptor, 3 - skip, dims + skip, onednn_type(element), strides + skip) ==
           dnnl_success;
}

bool onednn_prepare_matmul(struct onednn_plan *plan, const struct program_matmul *matmul)
{
    int64_t batch = matmul->batch;
    int rank = batch == 1 ? 2 : 3;
    dnnl_memory_desc_t a, b, d, bias;
    dnnl_dims_t bias_dims = {1, 1, matmul->n}, bias_strides = {matmul->n, matmul->n, 1};
    int skip = 3 - rank;
    if (!matrix_descriptor(&a, batch, matmul->m, matmul->k, matmul->a_stride, matmul->a) ||
        !matrix_descriptor(&b, batch, matmul->k, matmul->n, matmul->b_stride, matmul->b) ||
        !matrix_descriptor(&d, batch, matmul->m, matmul->n, matmul->d_stride, matmul->d))
        return false;
    bool biased = matmul->epilogue & PROGRAM_EPILOGUE_BIAS;
    if (biased && dnnl_memory_desc_init_by_strides(&bias, rank, bias_dims + skip, onednn_type(matmul->bias),
                                                   bias_strides + skip) != dnnl_success)
        return false;
    bool adds = onednn_adds(matmul->epilogue);
    dnnl_matmul_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t descriptor = NULL;
    bool good =
        dnnl_matmul_desc_init(&operation, &a, &b, biased ? &bias : NULL, &d) == dnnl_success &&
        onednn_epilogue_attributes(&attributes, adds ? &d : NULL) &&
        dnnl_primitive_desc_create(&descriptor, &operation, attributes, plan->onednn->engine, NULL) == dnnl_success;
    dnnl_primitive_attr_destroy(attributes);
    if (!good)
        return false;
    struct stage *stage = onednn_add_contraction(plan, descriptor);
    if (!stage)
        return false;
    onednn_add_argument(stage, DNNL_ARG_SRC, onednn_add_slot(plan, &a, 0));
    onednn_add_argument(stage, DNNL_ARG_WEIGHTS, onednn_add_slot(plan, &b, 1));
    onednn_add_argument(stage, DNNL_ARG_DST, onednn_add_slot(plan, &d, 2));
    onednn_add_epilogue(plan, stage, matmul->epilogue, adds, &bias, &d);
    return true;
}

/* The library leaves the result of a product over k = 0 as it was; this is its value. */
void onednn_run_plain(const struct program_matmul *matmul, char *const *buffers)
{
    int64_t size = matmul->batch * matmul->m * matmul->n;
    const char *bias = buffers[3];
    const char *addend = buffers[matmul->epilogue & PROGRAM_EPILOGUE_BIAS ? 4 : 3];
    for (int64_t i = 0; i < size; i++) {
        int64_t column = i % matmul->n, row = i / matmul->n % matmul->m, batch = i / matmul->n / matmul->m;
        int64_t at = batch * matmul->d_stride[0] + row * matmul->d_stride[1] + column * matmul->d_stride[2];
        float value = matmul->epilogue & PROGRAM_EPILOGUE_BIAS ? onednn_load(matmul->bias, bias, column) : 0;
        if (matmul->epilogue & PROGRAM_EPILOGUE_RELU)
            value = value < 0 ? 0 : value;
        if (matmul->epilogue & PROGRAM_EPILOGUE_ADD)
            value += onednn_load(matmul->d, addend, at);
        onednn_store(matmul->d, buffers[2], at, value);
    }
}
