/* Matrix products by cuBLASLt.
 *
 * The library is column-major, programs are row-major: the transpose of the result, n x m by columns, is the same
 * memory as the result, m x n by rows, and it is B^T A^T. So the library's first operand is b, its second a; which of
 * them it must transpose follows from their strides. A result that lies by columns is asked for as it is: first a, then
 * b.
 *
 * Plans (descriptors and the algorithms that the library's heuristic likes best) are made once a step; the first of
 * them that the library does not refuse when it runs is kept. Sums are f32 all through: splits of k that would add up
 * in the result's type are ruled out, and all splits where a half result has a bias, which is then added to rounded
 * sums (PyTorch's pull request 180875).
 *
 * The library takes less than 2^16 matrices in one call (XLA's gemm_rewriter; TensorFlow's pull request 44175): larger
 * batches are multiplied in slices, all by the algorithm of the first. */
#include "runtime/cuda/parts.h"

#include <stdlib.h>

enum {
    ALGORITHMS_MAX = 8,
    SLICE_MAX = 1 << 15 /* matrices of a call: so many end at multiples of 256 bytes, whatever their size */
};

struct cuda_product {
    const struct program_matmul *matmul;
    const struct program_step *step;
    bool swapped; /* b comes first */
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t first, second, result;
    cublasLtMatmulHeuristicResult_t algorithms[ALGORITHMS_MAX];
    int algorithm_count, chosen;
    bool settled;      /* the chosen one has run */
    size_t zero_bytes; /* of a product over nothing */
    bool empty;
};

static bool set_attribute(struct cuda *cuda, struct cuda_product *plan, cublasLtMatmulDescAttributes_t attribute,
                          const void *value, size_t size, struct error *error)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    return cublaslt_good(cublaslt, cublaslt->MatmulDescSetAttribute(cublaslt, plan->operation, attribute, value, size),
                         "describing a product", error);
}

static bool good(struct cuda *cuda, cublasStatus_t status, struct error *error)
{
    return cublaslt_good(cuda->tables.cublaslt, status, "describing a product", error);
}

/* ---- what the library can do ---- */

static bool find_type(enum program_element element, cudaDataType_t *type)
{
    *type = element == PROGRAM_F16 ? CUDA_R_16F : element == PROGRAM_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    return element == PROGRAM_F16 || element == PROGRAM_BF16 || element == PROGRAM_F32;
}

/* Rows lie one behind the other. */
static bool by_rows(const int64_t stride[3], int64_t columns)
{
    return stride[2] == 1 && stride[1] >= columns;
}

static bool by_columns(const int64_t stride[3], int64_t rows)
{
    return stride[1] == 1 && stride[2] >= rows;
}

static bool lies_well(const int64_t stride[3], int64_t rows, int64_t columns)
{
    return by_rows(stride, columns) || by_columns(stride, rows);
}

/* What stands against this product, NULL when nothing does. */
static const char *objection(const struct program_matmul *matmul)
{
    cudaDataType_t type;
    bool biased = matmul->epilogue & PROGRAM_EPILOGUE_BIAS;
    if (!find_type(matmul->a, &type) || !find_type(matmul->b, &type) || !find_type(matmul->d, &type))
        return "its operands are no floating point numbers that cuBLASLt multiplies";
    if (matmul->a != matmul->b)
        return "cuBLASLt wants operands of one type";
    if (matmul->d != matmul->a && matmul->d != PROGRAM_F32)
        return "cuBLASLt gives the operands' type or f32";
    if (biased && matmul->bias != matmul->d)
        return "cuBLASLt wants a bias of the result's type";
    if (matmul->epilogue & PROGRAM_EPILOGUE_RELU)
        return "cuBLASLt's relu does not keep NaN";
    if (!lies_well(matmul->a_stride, matmul->m, matmul->k) || !lies_well(matmul->b_stride, matmul->k, matmul->n) ||
        !lies_well(matmul->d_stride, matmul->m, matmul->n))
        return "cuBLASLt wants rows or columns that lie one behind the other";
    if (!by_rows(matmul->d_stride, matmul->n) && matmul->epilogue)
        return "cuBLASLt adds a bias to results by rows alone";
    if (!matmul->k && matmul->epilogue)
        return "a bias on a product over nothing";
    if (matmul->epilogue & PROGRAM_EPILOGUE_GELU && (matmul->batch != 1 || matmul->n % 8 != 0 || !biased))
        return "cuBLASLt adds gelu to one product with a bias, of columns by eights";
    return NULL;
}

/* ---- layouts ---- */

/* The matrix as the library reads it: by columns, so one that lies by rows looks like its transpose. */
static bool make_layout(struct cuda *cuda, cublasLtMatrixLayout_t *layout, enum program_element element, int64_t batch,
                        int64_t rows, int64_t columns, const int64_t stride[3], struct error *error)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    cudaDataType_t type;
    int32_t count = (int32_t)(batch < SLICE_MAX ? batch : SLICE_MAX);
    bool rowwise = by_rows(stride, columns);
    int64_t height = rowwise ? columns : rows, width = rowwise ? rows : columns;
    int64_t leading = rowwise ? stride[1] : stride[2], offset = stride[0];
    find_type(element, &type);
    if (leading < height)
        leading = height;
    return good(cuda, cublaslt->MatrixLayoutCreate(cublaslt, layout, type, (uint64_t)height, (uint64_t)width, leading),
                error) &&
           good(cuda,
                cublaslt->MatrixLayoutSetAttribute(cublaslt, *layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                   sizeof count),
                error) &&
           good(cuda,
                cublaslt->MatrixLayoutSetAttribute(cublaslt, *layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                   &offset, sizeof offset),
                error);
}

/* What the address of a buffer is a multiple of, given that its arena is aligned to 256 bytes. */
static uint32_t alignment_of(const struct program_step *step, int buffer)
{
    uint64_t offset = step->buffers[buffer].offset | 256;
    return (uint32_t)(offset & -offset);
}

/* Of what the epilogue reads and writes besides: the bias, and what the gelu is of. */
static bool set_addresses(struct cuda *cuda, struct cuda_product *plan, uintptr_t bias, uintptr_t inner,
                          struct error *error)
{
    unsigned epilogue = plan->matmul->epilogue;
    return (!(epilogue & PROGRAM_EPILOGUE_BIAS) ||
            set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, error)) &&
           (!(epilogue & PROGRAM_EPILOGUE_GELU) ||
            set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &inner, sizeof inner, error));
}

/* The heuristic reads from these addresses what they are multiples of; the true ones are set before each run. */
static bool set_alignments(struct cuda *cuda, struct cuda_product *plan, struct error *error)
{
    int last = plan->step->buffer_count - 1;
    return set_addresses(cuda, plan, last >= 3 ? alignment_of(plan->step, 3) : 0, alignment_of(plan->step, last),
                         error);
}

static bool make_operation(struct cuda *cuda, struct cuda_product *plan, struct error *error)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    const struct program_matmul *matmul = plan->matmul;
    bool tf32 = cuda->tf32 && matmul->a == PROGRAM_F32;
    bool a_rows = by_rows(matmul->a_stride, matmul->k), b_rows = by_rows(matmul->b_stride, matmul->n);
    /* By columns, a matrix that lies by rows is its own transpose, which is what a swapped product wants. */
    cublasOperation_t a = a_rows == plan->swapped ? CUBLAS_OP_N : CUBLAS_OP_T;
    cublasOperation_t b = b_rows == plan->swapped ? CUBLAS_OP_N : CUBLAS_OP_T;
    cublasOperation_t first = plan->swapped ? b : a, second = plan->swapped ? a : b;
    cublasLtEpilogue_t epilogue = matmul->epilogue & PROGRAM_EPILOGUE_GELU   ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS
                                  : matmul->epilogue & PROGRAM_EPILOGUE_BIAS ? CUBLASLT_EPILOGUE_BIAS
                                                                             : CUBLASLT_EPILOGUE_DEFAULT;
    return good(cuda,
                cublaslt->MatmulDescCreate(cublaslt, &plan->operation,
                                           tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
                error) &&
           set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first, error) &&
           set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second, error) &&
           set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, error) &&
           (!(matmul->epilogue & PROGRAM_EPILOGUE_GELU) ||
            set_attribute(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &matmul->n, sizeof matmul->n, error)) &&
           set_alignments(cuda, plan, error);
}

static bool make_layouts(struct cuda *cuda, struct cuda_product *plan, struct error *error)
{
    const struct program_matmul *matmul = plan->matmul;
    cublasLtMatrixLayout_t *a = plan->swapped ? &plan->second : &plan->first;
    cublasLtMatrixLayout_t *b = plan->swapped ? &plan->first : &plan->second;
    return make_layout(cuda, a, matmul->a, matmul->batch, matmul->m, matmul->k, matmul->a_stride, error) &&
           make_layout(cuda, b, matmul->b, matmul->batch, matmul->k, matmul->n, matmul->b_stride, error) &&
           make_layout(cuda, &plan->result, matmul->d, matmul->batch, matmul->m, matmul->n, matmul->d_stride, error);
}

/* ---- the algorithm ---- */

static bool set_preference(struct cuda *cuda, cublasLtMatmulPreference_t preference, const struct cuda_product *plan,
                           struct error *error)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    uint64_t workspace = CUDA_WORKSPACE_BYTES;
    bool rounded = plan->matmul->epilogue & PROGRAM_EPILOGUE_BIAS && plan->matmul->d != PROGRAM_F32;
    uint32_t schemes = rounded ? CUBLASLT_REDUCTION_SCHEME_NONE : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t a = alignment_of(plan->step, 0), b = alignment_of(plan->step, 1), d = alignment_of(plan->step, 2);
    bool added = plan->matmul->epilogue & PROGRAM_EPILOGUE_ADD;
    uint32_t c = added ? alignment_of(plan->step, plan->step->buffer_count - 1) : d;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const void *value;
        size_t size;
    } wishes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, plan->swapped ? &b : &a, sizeof a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan->swapped ? &a : &b, sizeof b},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d},
    };
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++)
        if (!good(cuda,
                  cublaslt->MatmulPreferenceSetAttribute(cublaslt, preference, wishes[i].attribute, wishes[i].value,
                                                         wishes[i].size),
                  error))
            return false;
    return true;
}

static bool choose_algorithms(struct cuda *cuda, struct cuda_product *plan, struct error *error)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS_MAX];
    int count = 0;
    bool ok = good(cuda, cublaslt->MatmulPreferenceCreate(cublaslt, &preference), error) &&
              set_preference(cuda, preference, plan, error) &&
              cublaslt_good(cublaslt,
                            cublaslt->MatmulAlgoGetHeuristic(cublaslt, cuda->products, plan->operation, plan->first,
                                                             plan->second, plan->result, plan->result, preference,
                                                             ALGORITHMS_MAX, found, &count),
                            "choosing an algorithm for a product", error);
    if (preference)
        ok = good(cuda, cublaslt->MatmulPreferenceDestroy(cublaslt, preference), error) && ok;
    for (int i = 0; ok && i < count; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS)
            plan->algorithms[plan->algorithm_count++] = found[i];
    return ok && (plan->algorithm_count || error_set(error, "cuBLASLt has no algorithm for this product"));
}

/* ---- the whole ---- */

static bool make_plan(struct cuda *cuda, struct cuda_product *plan, struct error *error)
{
    const struct program_matmul *matmul = plan->matmul;
    const char *problem = objection(matmul);
    plan->empty = matmul->batch * matmul->m * matmul->n == 0;
    if (plan->empty)
        return true;
    if (problem)
        return error_set(error, "%s", problem);
    plan->swapped = by_rows(matmul->d_stride, matmul->n);
    if (!matmul->k) {
        plan->zero_bytes = (size_t)(matmul->batch * matmul->m * matmul->n) * program_element_bytes(matmul->d);
        return true;
    }
    return make_operation(cuda, plan, error) && make_layouts(cuda, plan, error) && choose_algorithms(cuda, plan, error);
}

struct cuda_product *cuda_product_new(struct cuda *cuda, const struct program_step *step, struct error *error)
{
    struct cuda_product *plan = calloc(1, sizeof *plan);
    struct error reason = {0};
    char step_text[256];
    if (!plan) {
        error_set(error, "out of memory");
        return NULL;
    }
    *plan = (struct cuda_product){.matmul = &step->matmul, .step = step};
    if (make_plan(cuda, plan, &reason))
        return plan;
    cuda_product_free(cuda, plan);
    cuda_step_text(step, step_text, sizeof step_text);
    error_set(error, "step %s: %s", step_text, reason.text);
    return NULL;
}

void cuda_product_free(struct cuda *cuda, struct cuda_product *plan)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    cublasLtMatrixLayout_t layouts[] = {plan->first, plan->second, plan->result};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            cublaslt->MatrixLayoutDestroy(cublaslt, layouts[i]);
    if (plan->operation)
        cublaslt->MatmulDescDestroy(cublaslt, plan->operation);
    free(plan);
}

/* The matrix from which a slice goes on. */
static void *slice_of(char *base, enum program_element element, const int64_t stride[3], int64_t first)
{
    return base + first * stride[0] * (int64_t)program_element_bytes(element);
}

static cublasStatus_t multiply_slice(struct cuda *cuda, const struct cuda_product *plan, char *const *buffers,
                                     int64_t first)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    const struct program_matmul *matmul = plan->matmul;
    bool added = matmul->epilogue & PROGRAM_EPILOGUE_ADD;
    const float one = 1, beta = added;
    void *a = slice_of(buffers[0], matmul->a, matmul->a_stride, first);
    void *b = slice_of(buffers[1], matmul->b, matmul->b_stride, first);
    void *d = slice_of(buffers[2], matmul->d, matmul->d_stride, first);
    char *addend = !added ? buffers[2] : buffers[matmul->epilogue & PROGRAM_EPILOGUE_BIAS ? 4 : 3];
    void *c = slice_of(addend, matmul->d, matmul->d_stride, first);
    return cublaslt->Matmul(cublaslt, cuda->products, plan->operation, &one, plan->swapped ? b : a, plan->first,
                            plan->swapped ? a : b, plan->second, &beta, c, plan->result, d, plan->result,
                            &plan->algorithms[plan->chosen].algo, (void *)(uintptr_t)cuda->workspace,
                            CUDA_WORKSPACE_BYTES, cuda->compute);
}

/* How many matrices the next call takes. */
static cublasStatus_t set_count(struct cuda *cuda, const struct cuda_product *plan, int64_t matrices)
{
    struct cublaslt *cublaslt = cuda->tables.cublaslt;
    const cublasLtMatrixLayout_t layouts[] = {plan->first, plan->second, plan->result};
    const int32_t count = (int32_t)matrices;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts && status == CUBLAS_STATUS_SUCCESS; i++)
        status = cublaslt->MatrixLayoutSetAttribute(cublaslt, layouts[i], CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                    sizeof count);
    return status;
}

static cublasStatus_t multiply(struct cuda *cuda, const struct cuda_product *plan, char *const *buffers)
{
    const int64_t batch = plan->matmul->batch;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (int64_t first = 0; first < batch && status == CUBLAS_STATUS_SUCCESS; first += SLICE_MAX) {
        if (batch > SLICE_MAX)
            status = set_count(cuda, plan, batch - first < SLICE_MAX ? batch - first : SLICE_MAX);
        if (status == CUBLAS_STATUS_SUCCESS)
            status = multiply_slice(cuda, plan, buffers, first);
    }
    return status;
}

/* The first run is never recorded: there, what the library refuses is tried by the next algorithm. */
static cublasStatus_t multiply_somehow(struct cuda *cuda, struct cuda_product *plan, char *const *buffers)
{
    cublasStatus_t status = multiply(cuda, plan, buffers);
    while (status != CUBLAS_STATUS_SUCCESS && !plan->settled && plan->chosen + 1 < plan->algorithm_count) {
        plan->chosen++;
        status = multiply(cuda, plan, buffers);
    }
    plan->settled = plan->settled || status == CUBLAS_STATUS_SUCCESS;
    return status;
}

/* A product that could not be started may have found the device dead, by a step before it. */
static bool report_failure(struct cuda *cuda, const struct cuda_product *plan, cublasStatus_t status,
                           struct error *error)
{
    struct error reason = {0};
    char step_text[256];
    if (cublaslt_good(cuda->tables.cublaslt, status, "multiplying", &reason))
        return true;
    cuda_step_text(plan->step, step_text, sizeof step_text);
    if (!cuda->alone && status == CUBLAS_STATUS_EXECUTION_FAILED) {
        error_set(error, "step %s or one before it: %s", step_text, reason.text);
        cuda_hint_check(cuda, error);
        return false;
    }
    return error_set(error, "step %s: %s", step_text, reason.text);
}

bool cuda_product_run(struct cuda *cuda, struct cuda_product *plan, char *const *buffers, struct error *error)
{
    struct driver *driver = cuda->tables.driver;
    const struct program_matmul *matmul = plan->matmul;
    int last = plan->step->buffer_count - 1;
    if (plan->empty)
        return true;
    if (!matmul->k)
        return cuda_good(
            cuda, driver->MemsetD8Async(driver, (CUdeviceptr)(uintptr_t)buffers[2], 0, plan->zero_bytes, cuda->compute),
            "clearing a product over nothing", error);
    return set_addresses(cuda, plan, last >= 3 ? (uintptr_t)buffers[3] : 0, (uintptr_t)buffers[last], error) &&
           report_failure(cuda, plan, multiply_somehow(cuda, plan, buffers), error);
}
