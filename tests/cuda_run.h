/* Runs CUDA C on the simulated GPU, for tests: text → NVRTC → PTX → sim.
 *
 *     struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.arch = 80}, source);
 *     cuda_run_buffer(run, x, sizeof x);   the next pointer parameter; copied back after the launch
 *     cuda_run_value(run, &n, sizeof n);   the next parameter by value
 *     if (!cuda_run_launch(run, "kernel", blocks, threads, shared_bytes))
 *         puts(cuda_run_problem(run));
 *     cuda_run_free(run); */
#ifndef CASTOR_TESTS_CUDA_RUN_H
#define CASTOR_TESTS_CUDA_RUN_H

#include "runtime/sim/counters.h"

#include <stdbool.h>
#include <stddef.h>

struct cuda_settings {
    int arch;    /* 80 … 120; 0: 80 */
    int threads; /* of the CPU; 0: 1 */
    int isa;     /* which of the simulated GPU's builds for this CPU, the best first */
    bool fast_math;
    bool line_info;
    bool ptx;                    /* the source is PTX already */
    bool cooperative;            /* launches are */
    unsigned long long patience; /* instructions of a warp; 0: the simulated GPU's own */
    bool races;                  /* are looked for */
    bool unwritten;              /* buffers are not copied to the device: nothing has written them */
};

struct cuda_run;

/* Whether NVRTC is here; tests that need it exit with 77 where it is not. */
bool cuda_run_possible(void);
/* PTX of a source, to be freed; NULL with the log on stderr. */
char *cuda_run_ptx(const struct cuda_settings *settings, const char *source);

/* Compiles and loads. A failure is told by the first launch. */
struct cuda_run *cuda_run_new(const struct cuda_settings *settings, const char *source);
void cuda_run_free(struct cuda_run *run);
void cuda_run_buffer(struct cuda_run *run, void *bytes, size_t size);
void cuda_run_value(struct cuda_run *run, const void *bytes, size_t size);
/* Launches and copies the buffers back, in a grid of up to three axes; the arguments then start anew. */
bool cuda_run_launch(struct cuda_run *run, const char *kernel, unsigned blocks, unsigned threads, size_t shared);
bool cuda_run_launch3(struct cuda_run *run, const char *kernel, const unsigned blocks[3], const unsigned threads[3],
                      size_t shared);
const char *cuda_run_problem(const struct cuda_run *run); /* of the last launch, "" when there was none */
/* Those of a kernel, over all launches so far. */
const struct sim_counters *cuda_run_counters(const struct cuda_run *run, const char *kernel);
struct driver *cuda_run_driver(const struct cuda_run *run);

#endif
