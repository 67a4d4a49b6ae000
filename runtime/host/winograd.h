/* Convolutions with windows of 3 × 3 and steps of one, and both of their gradients, by a quarter of the
 * multiplications.
 *
 * Winograd's way, as Lavin and Gray have it (Fast Algorithms for Convolutional Neural Networks, 2016): 4 × 4 places of
 * a result need 6 × 6 of the input, d. With w the window and three constant matrices
 *
 *     result            y  = A' [ (G w G') * (B' d B) ] A      36 multiplications for 144
 *     gradient of d         the same convolution of dy with the window turned
 *     gradient of w     dw = G' [ sum over tiles of (B' d B) * (A dy A') ] G
 *
 * where * multiplies position by position; over channels it is 36 matrix products. In f32 the result is about three
 * times as far from the exact one as that of plain sums, some 1e-6 of its size. It does not depend on the number of
 * threads, but for the gradient of a weight taken by slices of the batch, which repeats for a fixed number of them. */
#ifndef CASTOR_RUNTIME_HOST_WINOGRAD_H
#define CASTOR_RUNTIME_HOST_WINOGRAD_H

#include "runtime/error.h"
#include "runtime/program.h"

struct winograd;
struct vector_isa;

/* Whether a convolution can be done so, and is worth it: f32, channels last, enough of them. */
bool winograd_fits(const struct program_conv *conv);

/* Memory that convolutions work in which run one after the other. Begins as zeros. */
struct winograd_pool {
    float *memory;
    size_t floats;
};
void winograd_pool_release(struct winograd_pool *pool);

/* Of the whole batch on all `threads`, in a pool that outlives it. NULL with an error set when memory is out. */
struct winograd *winograd_new(const struct vector_isa *isa, const struct program_conv *conv, int threads,
                              struct winograd_pool *pool, struct error *error);
/* The whole batch, of which slices would give the same. */
void winograd_run(struct winograd *winograd, char *const *buffers);

/* Whether slices of `size` examples hold enough tiles for the windows to be read anew for each. */
bool winograd_fits_sliced(const struct program_conv *conv, int64_t size);
/* Of `size` examples at a time, by up to so many threads at once. */
struct winograd *winograd_new_sliced(const struct vector_isa *isa, const struct program_conv *conv, int64_t size,
                                     int threads, struct error *error);
/* Before the slices of a run, outside of a parallel region. */
void winograd_begin(struct winograd *winograd, char *const *buffers);
/* The slice that begins with example `first`, on thread number `thread`; buffers are the whole batch's. */
void winograd_run_slice(struct winograd *winograd, int thread, char *const *buffers, int64_t first);
/* When all slices are done. */
void winograd_finish(struct winograd *winograd, char *const *buffers);

void winograd_free(struct winograd *winograd);

#endif
