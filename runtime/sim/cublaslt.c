/* The calls of cuBLASLt that the cuda device makes, for the simulated GPU.
 *
 * Combinations of types that the real library refuses are refused here too, so that a program that runs here has
 * products that run there. A product runs in its stream's order and reaches memory under the simulator's checks, where
 * its matrices and vectors are aligned at least as the heuristic was told. */
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/cublaslt_handles.h"
#include "runtime/sim/enqueue.h"

#include <stdlib.h>
#include <string.h>

struct own {
    struct cublaslt cublaslt;
    struct driver *driver;
};

/* An address that was not set speaks against nothing. */
static uint32_t alignment_of(CUdeviceptr address)
{
    uint64_t bits = address | SIM_ALIGNMENT_MAX;
    return (uint32_t)(bits & -bits);
}

/* Whether all lies as the algorithm was told. */
static bool aligned(const cublasLtMatmulAlgo_t *algorithm, const struct sim_product *product)
{
    struct sim_alignments told;
    if (!algorithm)
        return true;
    memcpy(&told, algorithm, sizeof told);
    return alignment_of(product->a) >= told.a && alignment_of(product->b) >= told.b &&
           (product->beta == 0 || alignment_of(product->c) >= told.c) && alignment_of(product->d) >= told.d &&
           alignment_of(product->bias) >= told.bias && alignment_of(product->aux) >= told.aux;
}

/* ---- what is refused ---- */

static bool is_half(cudaDataType_t type)
{
    return type == CUDA_R_16F || type == CUDA_R_16BF;
}

static cublasStatus_t check_types(const struct sim_operation *operation, cudaDataType_t a, cudaDataType_t b,
                                  cudaDataType_t c, cudaDataType_t d)
{
    bool tf32 = operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if ((!tf32 && operation->compute != CUBLAS_COMPUTE_32F) || operation->scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    bool gelu = operation->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    if (operation->epilogue != CUBLASLT_EPILOGUE_DEFAULT && operation->epilogue != CUBLASLT_EPILOGUE_BIAS && !gelu)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (gelu && !is_half(d))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (a != b || c != d || (!is_half(a) && a != CUDA_R_32F) || (d != a && d != CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

enum { WORKSPACE_ALIGNMENT = 256 }; /* cuBLAS, cublasLtMatmul() */
enum { BATCH_MAX = 65535 };         /* as in the library, where matrices lie along an axis of the grid */

static bool sound(const struct sim_layout *layout)
{
    return layout->rows && layout->columns && layout->leading >= (int64_t)layout->rows && layout->batch > 0;
}

/* Fills sizes and strides; INVALID_VALUE where the matrices do not fit together. */
static cublasStatus_t describe(const struct sim_operation *operation, const struct sim_layout *a,
                               const struct sim_layout *b, const struct sim_layout *c, const struct sim_layout *d,
                               struct sim_product *product)
{
    bool turn_a = operation->turn_a == CUBLAS_OP_T, turn_b = operation->turn_b == CUBLAS_OP_T;
    uint64_t m = turn_a ? a->columns : a->rows, k = turn_a ? a->rows : a->columns;
    uint64_t k_too = turn_b ? b->columns : b->rows, n = turn_b ? b->rows : b->columns;
    if (!sound(a) || !sound(b) || !sound(c) || !sound(d) || k != k_too || m != d->rows || n != d->columns ||
        m != c->rows || n != c->columns || a->batch != d->batch || b->batch != d->batch || c->batch != d->batch)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (d->batch > BATCH_MAX)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *product = (struct sim_product){.batch = d->batch,
                                    .m = (int64_t)m,
                                    .n = (int64_t)n,
                                    .k = (int64_t)k,
                                    .turn_a = turn_a,
                                    .turn_b = turn_b,
                                    .tf32 = operation->compute == CUBLAS_COMPUTE_32F_FAST_TF32,
                                    .a_type = a->type,
                                    .b_type = b->type,
                                    .d_type = d->type,
                                    .a_leading = a->leading,
                                    .b_leading = b->leading,
                                    .c_leading = c->leading,
                                    .d_leading = d->leading,
                                    .a_offset = a->offset,
                                    .b_offset = b->offset,
                                    .c_offset = c->offset,
                                    .d_offset = d->offset,
                                    .aux_leading = operation->aux_leading};
    if (operation->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS &&
        (operation->aux_leading < (int64_t)m || operation->aux_leading % 8 || d->batch != 1))
        return CUBLAS_STATUS_INVALID_VALUE;
    return check_types(operation, a->type, b->type, c->type, d->type);
}

/* ---- the product ---- */

static size_t size_of(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

/* Reaches a matrix column by column, or in one piece where no gaps are in it. */
static bool reach(struct driver *driver, CUdeviceptr base, cudaDataType_t type, int64_t rows, int64_t columns,
                  int64_t leading, int64_t batch, int64_t offset, bool write)
{
    size_t size = size_of(type);
    for (int64_t i = 0; i < (offset ? batch : 1); i++) {
        CUdeviceptr matrix = base + (CUdeviceptr)(i * offset) * size;
        bool whole = leading == rows;
        for (int64_t j = 0; j < (whole ? 1 : columns); j++)
            if (!sim_reach(driver, matrix + (CUdeviceptr)(j * leading) * size,
                           (size_t)(whole ? rows * columns : rows) * size, write))
                return false;
    }
    return true;
}

static bool reach_all(struct driver *driver, const struct sim_product *product)
{
    int64_t m = product->m, n = product->n, k = product->k, batch = product->batch;
    return reach(driver, product->a, product->a_type, product->turn_a ? k : m, product->turn_a ? m : k,
                 product->a_leading, batch, product->a_offset, false) &&
           reach(driver, product->b, product->b_type, product->turn_b ? n : k, product->turn_b ? k : n,
                 product->b_leading, batch, product->b_offset, false) &&
           (product->beta == 0 ||
            reach(driver, product->c, product->d_type, m, n, product->c_leading, batch, product->c_offset, false)) &&
           (!product->bias || reach(driver, product->bias, product->d_type, m, 1, m, 1, 0, false)) &&
           (!product->aux || reach(driver, product->aux, product->d_type, m, n, product->aux_leading, 1, 0, true)) &&
           reach(driver, product->d, product->d_type, m, n, product->d_leading, batch, product->d_offset, true);
}

static CUresult run(struct driver *driver, const void *argument)
{
    const struct sim_product *product = argument;
    if (!reach_all(driver, product))
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    return sim_product_run(product, sim_threads(driver)) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* The kernels with gelu move 16 bytes at a time. */
static bool suits_gelu(const struct sim_alignments *alignments, const struct sim_product *product)
{
    enum { BYTES = 16 };
    int64_t size = (int64_t)size_of(product->a_type);
    return alignments->a >= BYTES && alignments->b >= BYTES && product->a_leading * size % BYTES == 0 &&
           product->b_leading * size % BYTES == 0;
}

static cublasStatus_t heuristic(struct cublaslt *cublaslt, cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int wanted,
                                cublasLtMatmulHeuristicResult_t *results, int *count)
{
    struct sim_product product;
    if (handle != (cublasLtHandle_t)cublaslt || !preference || wanted < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status =
        describe((const void *)operation, (const void *)a, (const void *)b, (const void *)c, (const void *)d, &product);
    const struct sim_operation *what = (const void *)operation;
    struct sim_alignments alignments = *(const struct sim_alignments *)(const void *)preference;
    alignments.bias = alignment_of(what->bias);
    alignments.aux = alignment_of(what->aux);
    if (status == CUBLAS_STATUS_SUCCESS && what->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS &&
        !suits_gelu(&alignments, &product))
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    memset(results, 0, sizeof *results);
    memcpy(&results->algo, &alignments, sizeof alignments);
    results->state = status;
    *count = status == CUBLAS_STATUS_SUCCESS;
    return status;
}

static cublasStatus_t multiply(struct cublaslt *cublaslt, cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                               const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                               cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                               cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                               const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,
                               cudaStream_t stream)
{
    struct own *own = cublaslt->own;
    const struct sim_operation *what = (const void *)operation;
    struct sim_product product;
    cublasStatus_t status = describe(what, (const void *)a_layout, (const void *)b_layout, (const void *)c_layout,
                                     (const void *)d_layout, &product);
    if (handle != (cublasLtHandle_t)cublaslt || (workspace_bytes && (uintptr_t)workspace % WORKSPACE_ALIGNMENT))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    product.alpha = *(const float *)alpha;
    product.beta = *(const float *)beta;
    product.a = (CUdeviceptr)(uintptr_t)a;
    product.b = (CUdeviceptr)(uintptr_t)b;
    product.c = (CUdeviceptr)(uintptr_t)c;
    product.d = (CUdeviceptr)(uintptr_t)d;
    bool gelu = what->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    product.bias = gelu || what->epilogue == CUBLASLT_EPILOGUE_BIAS ? what->bias : 0;
    product.aux = gelu ? what->aux : 0;
    if ((gelu && (!product.bias || !product.aux)) || !aligned(algorithm, &product))
        return CUBLAS_STATUS_INVALID_VALUE;
    const struct sim_work work = {"cublasLtMatmul", run, &product, sizeof product};
    return sim_enqueue(own->driver, stream, &work) == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS
                                                                   : CUBLAS_STATUS_EXECUTION_FAILED;
}

static const char *status_string(struct cublaslt *cublaslt, cublasStatus_t status)
{
    struct own *own = cublaslt->own;
    const char *problem = own->driver->problem(own->driver);
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "success";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "out of memory";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "the matrices do not fit together or lie at other addresses than they were said to";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "no product of such types, or of so many matrices";
    default:
        return problem ? problem : "the product failed";
    }
}

static void close_cublaslt(struct cublaslt *cublaslt)
{
    free(cublaslt->own);
}

struct cublaslt *sim_cublaslt_new(struct driver *driver)
{
    struct own *own = calloc(1, sizeof *own);
    if (!own)
        return NULL;
    own->driver = driver;
    own->cublaslt = (struct cublaslt){.MatmulAlgoGetHeuristic = heuristic,
                                      .Matmul = multiply,
                                      .GetStatusString = status_string,
                                      .own = own,
                                      .free = close_cublaslt};
    sim_cublaslt_fill_handles(&own->cublaslt);
    return &own->cublaslt;
}
