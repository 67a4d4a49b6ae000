/* cuBLASLt on the simulated GPU: the calls that the cuda device makes, on simulated memory. */
#ifndef CASTOR_RUNTIME_SIM_CUBLASLT_H
#define CASTOR_RUNTIME_SIM_CUBLASLT_H

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"

/* The driver must be a simulated one and outlive the table. NULL when out of memory. */
struct cublaslt *sim_cublaslt_new(struct driver *driver);

/* A product as the library has it, by columns: d[m, n] = op(a)[m, k] op(b)[k, n] + beta c, plus a bias along m; batches
 * a fixed distance apart. All sums are f32; the result is rounded once. With `aux`, that is what lies there, and d is
 * the gelu of the sum in its tanh form. */
struct sim_product {
    int64_t batch, m, n, k;
    bool turn_a, turn_b; /* a and b are stored with rows and columns exchanged */
    bool tf32;           /* operands are rounded to tf32 */
    cudaDataType_t a_type, b_type, d_type;
    int64_t a_leading, b_leading, c_leading, d_leading, aux_leading;
    int64_t a_offset, b_offset, c_offset, d_offset; /* from batch to batch, in elements */
    float alpha, beta;
    CUdeviceptr a, b, c, d, bias, aux; /* bias and aux: 0 for none, else of the result's type */
};

/* Does it in fixed tiles, each on one thread in a fixed order: threads decide who does which tile, not what comes out.
 * The addresses are the process's own. False when out of memory. */
bool sim_product_run(const struct sim_product *product, int threads);

#endif
