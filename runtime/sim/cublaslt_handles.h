/* What stands behind the opaque handles of cuBLASLt on the simulated GPU, and the calls that make and change it. */
#ifndef CASTOR_RUNTIME_SIM_CUBLASLT_HANDLES_H
#define CASTOR_RUNTIME_SIM_CUBLASLT_HANDLES_H

#include "runtime/cuda/cublaslt.h"

#include <cuda.h>

struct sim_operation {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    cublasOperation_t turn_a, turn_b;
    cublasLtEpilogue_t epilogue;
    CUdeviceptr bias, aux;
    int64_t aux_leading;
};

struct sim_layout {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t leading, offset;
    int32_t batch;
};

/* What addresses are multiples of. An algorithm is these numbers here: there is but one, which trusts them. */
struct sim_alignments {
    uint32_t a, b, c, d, bias, aux;
};

enum { SIM_ALIGNMENT_MAX = 256 };

/* Their part of the table. */
void sim_cublaslt_fill_handles(struct cublaslt *cublaslt);

#endif
