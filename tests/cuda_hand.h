/* A program made by hand for the cuda device, with kernels written by hand, and the device on the simulated GPU. */
#ifndef CASTOR_TESTS_CUDA_HAND_H
#define CASTOR_TESTS_CUDA_HAND_H

#include "runtime/executor.h"

#if CASTOR_CUDA

#include "runtime/cuda/cuda.h"

enum { HAND_SIZE = 6, HAND_STEPS = 5 };

/* Entry train, of input x[6]: y = x w + 10; w += 1; loss = sum(y); z = y; outer[6, 6] = y z^T, kept in the state after
 * w; done counts its runs by a kernel that waits for its whole grid. Outputs: loss, z, outer, done. */
struct program *hand_program(void);

/* What sum comes out at this w. */
float hand_loss(const float *x, float w);

/* Tables of the simulated GPU; false with an error set. `late`: as in sim.h. */
bool hand_tables(struct cuda_tables *tables, struct error *error);
bool hand_tables_late(struct cuda_tables *tables, unsigned late, struct error *error);

#endif
#endif
