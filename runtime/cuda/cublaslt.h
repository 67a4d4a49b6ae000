/* cuBLASLt, the matrix products of CUDA, as a struct of functions (driver.h says why). runtime/sim/cublaslt.c is the
 * same table on the simulated GPU. */
#ifndef CASTOR_RUNTIME_CUDA_CUBLASLT_H
#define CASTOR_RUNTIME_CUDA_CUBLASLT_H

#include "runtime/error.h"

#include <cublasLt.h>

struct cublaslt {
#define CUBLASLT(name, symbol, arguments, ...) cublasStatus_t (*name)(struct cublaslt * cublaslt, __VA_ARGS__);
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT
    const char *(*GetStatusString)(struct cublaslt *cublaslt, cublasStatus_t status);
    void *own;
    void (*free)(struct cublaslt *cublaslt);
};

/* `driver`: which CUDA the driver is for, 12040 for 12.4. NULL with an error set where no cuBLASLt is that will do. */
struct cublaslt *cublaslt_open(int driver, struct error *error);

/* Sets the error of a failed call; gives `status == CUBLAS_STATUS_SUCCESS`. */
bool cublaslt_good(struct cublaslt *cublaslt, cublasStatus_t status, const char *tried, struct error *error);

#endif
