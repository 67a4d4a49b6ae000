/* The descriptors of cuBLASLt for the simulated GPU. */
#include "runtime/sim/cublaslt_handles.h"

#include <stdlib.h>
#include <string.h>

static cublasStatus_t create(struct cublaslt *cublaslt, cublasLtHandle_t *handle)
{
    *handle = (cublasLtHandle_t)cublaslt;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy(struct cublaslt *cublaslt, cublasLtHandle_t handle)
{
    return handle == (cublasLtHandle_t)cublaslt ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

static cublasStatus_t operation_create(struct cublaslt *cublaslt, cublasLtMatmulDesc_t *handle,
                                       cublasComputeType_t compute, cudaDataType_t scale)
{
    (void)cublaslt;
    struct sim_operation *operation = calloc(1, sizeof *operation);
    if (!operation)
        return CUBLAS_STATUS_ALLOC_FAILED;
    *operation = (struct sim_operation){.compute = compute,
                                        .scale = scale,
                                        .turn_a = CUBLAS_OP_N,
                                        .turn_b = CUBLAS_OP_N,
                                        .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
    *handle = (cublasLtMatmulDesc_t)(void *)operation;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t operation_destroy(struct cublaslt *cublaslt, cublasLtMatmulDesc_t handle)
{
    (void)cublaslt;
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set(void *field, size_t field_size, const void *value, size_t size)
{
    if (size != field_size)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(field, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t operation_set(struct cublaslt *cublaslt, cublasLtMatmulDesc_t handle,
                                    cublasLtMatmulDescAttributes_t attribute, const void *value, size_t size)
{
    (void)cublaslt;
    struct sim_operation *operation = (void *)handle;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(&operation->turn_a, sizeof operation->turn_a, value, size);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(&operation->turn_b, sizeof operation->turn_b, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(&operation->epilogue, sizeof operation->epilogue, value, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(&operation->bias, sizeof operation->bias, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
        return set(&operation->aux, sizeof operation->aux, value, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
        return set(&operation->aux_leading, sizeof operation->aux_leading, value, size);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

static cublasStatus_t layout_create(struct cublaslt *cublaslt, cublasLtMatrixLayout_t *handle, cudaDataType_t type,
                                    uint64_t rows, uint64_t columns, int64_t leading)
{
    (void)cublaslt;
    struct sim_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return CUBLAS_STATUS_ALLOC_FAILED;
    *layout = (struct sim_layout){.type = type, .rows = rows, .columns = columns, .leading = leading, .batch = 1};
    *handle = (cublasLtMatrixLayout_t)(void *)layout;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_destroy(struct cublaslt *cublaslt, cublasLtMatrixLayout_t handle)
{
    (void)cublaslt;
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_set(struct cublaslt *cublaslt, cublasLtMatrixLayout_t handle,
                                 cublasLtMatrixLayoutAttribute_t attribute, const void *value, size_t size)
{
    (void)cublaslt;
    struct sim_layout *layout = (void *)handle;
    if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        return set(&layout->batch, sizeof layout->batch, value, size);
    if (attribute == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
        return set(&layout->offset, sizeof layout->offset, value, size);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

/* Preferences choose among algorithms; here they only say how matrices are aligned. */
static cublasStatus_t preference_create(struct cublaslt *cublaslt, cublasLtMatmulPreference_t *handle)
{
    (void)cublaslt;
    struct sim_alignments *alignments = malloc(sizeof *alignments);
    if (!alignments)
        return CUBLAS_STATUS_ALLOC_FAILED;
    *alignments =
        (struct sim_alignments){SIM_ALIGNMENT_MAX, SIM_ALIGNMENT_MAX, SIM_ALIGNMENT_MAX, SIM_ALIGNMENT_MAX, 0, 0};
    *handle = (cublasLtMatmulPreference_t)(void *)alignments;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_destroy(struct cublaslt *cublaslt, cublasLtMatmulPreference_t handle)
{
    (void)cublaslt;
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t preference_set(struct cublaslt *cublaslt, cublasLtMatmulPreference_t handle,
                                     cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t size)
{
    (void)cublaslt;
    struct sim_alignments *alignments = (void *)handle;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return set(&alignments->a, sizeof alignments->a, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return set(&alignments->b, sizeof alignments->b, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return set(&alignments->c, sizeof alignments->c, value, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&alignments->d, sizeof alignments->d, value, size);
    default:
        return value && size ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    }
}
void sim_cublaslt_fill_handles(struct cublaslt *cublaslt)
{
    cublaslt->Create = create;
    cublaslt->Destroy = destroy;
    cublaslt->MatmulDescCreate = operation_create;
    cublaslt->MatmulDescDestroy = operation_destroy;
    cublaslt->MatmulDescSetAttribute = operation_set;
    cublaslt->MatrixLayoutCreate = layout_create;
    cublaslt->MatrixLayoutDestroy = layout_destroy;
    cublaslt->MatrixLayoutSetAttribute = layout_set;
    cublaslt->MatmulPreferenceCreate = preference_create;
    cublaslt->MatmulPreferenceDestroy = preference_destroy;
    cublaslt->MatmulPreferenceSetAttribute = preference_set;
}
