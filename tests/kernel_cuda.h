/* Generated CUDA kernels on the simulated GPU: compiled by NVRTC to PTX, buffers of the test copied there and back. */
#ifndef CASTOR_TESTS_KERNEL_CUDA_H
#define CASTOR_TESTS_KERNEL_CUDA_H

#include "codegen/kernel.h"

#include <stddef.h>

struct kernel_cuda;

/* A GPU, sm_80 and up. */
struct target kernel_cuda_target(void);
/* Whether the simulated GPU and NVRTC are here; tests that need them exit with 77 where they are not. */
bool kernel_cuda_possible(void);

/* `texts`: compilation units, each with the prelude (`count` of them). NULL after a message. */
struct kernel_cuda *kernel_cuda_new(const char *const *texts, int count);
void kernel_cuda_free(struct kernel_cuda *cuda);

struct kernel_cuda_buffer {
    void *bytes; /* on the host; NULL: a workspace, which nothing has written */
    size_t size;
};
/* False after a message. The grid has fewer blocks than there is work, so that kernels must go round. */
bool kernel_cuda_run(struct kernel_cuda *cuda, const char *name, const struct kernel *kernel,
                     const struct kernel_cuda_buffer *buffers);

/* Sectors of global memory touched and bytes asked for by a kernel so far, in loads and stores. */
struct kernel_cuda_traffic {
    uint64_t bytes, sectors;
};
struct kernel_cuda_traffic kernel_cuda_traffic(const struct kernel_cuda *cuda, const char *name);

#endif
