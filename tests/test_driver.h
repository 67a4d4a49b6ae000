/* The driver that tests of the cuda device run on: a simulated GPU, or the machine's own where the variable
 * CASTOR_TEST_DEVICE says cuda. */
#ifndef CASTOR_TESTS_TEST_DRIVER_H
#define CASTOR_TESTS_TEST_DRIVER_H

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/sim/sim.h"

bool test_on_gpu(void);
/* Whether there is an NVRTC; says why not. */
bool test_has_nvrtc(void);
/* With a current context. NULL with the error set. */
struct driver *test_driver(const struct sim_settings *settings, struct error *error);
struct cublaslt *test_cublaslt(struct driver *driver, struct error *error);
/* One whose code that driver loads. */
struct nvrtc *test_nvrtc(struct error *error);

#endif
