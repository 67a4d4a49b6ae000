/* What the files of the cuda device share.
 *
 *     facts.c    what the GPU is, and whether it can be used
 *     device.c   the device: start and end, memory, copies, failures
 *     load.c     modules of compiled kernels; a kernel step made ready
 *     matmul.c   plans of matrix products
 *     launch.c   running calls, one by one or as a list that becomes a graph
 *
 * One stream computes, a second brings inputs. Every call into the driver goes through `cuda_good`. */
#ifndef CASTOR_RUNTIME_CUDA_PARTS_H
#define CASTOR_RUNTIME_CUDA_PARTS_H

#include "runtime/cuda/compile.h"
#include "runtime/cuda/cuda.h"

enum {
    CUDA_WORKSPACE_BYTES = 32 << 20, /* shared by all products: they run one after the other */
    CUDA_SMALL_BYTES = 64,           /* an upload up to here does not wait */
    CUDA_SMALL_COUNT = 256           /* of such uploads on their way */
};

/* One of the two copies of what a run needs beside its list. */
struct cuda_slot {
    CUevent uploaded, done;
    char *staging; /* page-locked memory, from which inputs are copied */
    size_t staging_bytes;
};

struct cuda {
    struct device device;
    struct cuda_tables tables;
    char *cache;
    char architecture[NVRTC_ARCHITECTURE];
    int jobs;
    bool tf32, ptx;
    const void *built;
    size_t built_size;
    int (*kernel_counts)(CUfunction function, struct device_count *counts, int room);
    CUdevice gpu;
    CUcontext context;
    int multiprocessors;
    CUstream compute, copy;
    CUevent begin, end; /* around one call, to time it */
    cublasLtHandle_t products;
    CUdeviceptr workspace;
    struct cuda_slot slots[DEVICE_SLOTS];
    char *small; /* page-locked ring of small uploads */
    int small_next;
    struct error failure; /* of an upload or download; stays */
    /* For messages: the calls that run, the one of them that the driver is asked for (NULL: none), and whether that one
     * is waited for before the next. */
    const struct device_call *running, *issued;
    int running_count;
    bool alone;
};

struct cuda_kernels {
    struct cuda_code *code;
    CUmodule *modules; /* one a unit */
    CUfunction *functions;
    int kernel_count; /* of the program; one more stands behind: what gathers results */
    const struct program *program;
};

struct cuda_product;

/* What a call needs besides its addresses. */
struct cuda_call {
    const struct cuda_kernels *kernels;
    CUfunction function;
    unsigned grid, threads, shared_bytes;
    bool cooperative;
    char *argument; /* addresses, then integers */
    size_t argument_bytes;
    struct cuda_product *plan; /* of a product */
};

/* Sets the error of a failed driver call, with the step that it is known to come from. Gives whether it succeeded. */
bool cuda_good(struct cuda *cuda, CUresult result, const char *tried, struct error *error);
/* Says how the step is found that failed among those that run. */
void cuda_hint_check(const struct cuda *cuda, struct error *error);
/* nvrtc_architecture; the GPU's own where there is no NVRTC. */
bool cuda_choose_architecture(const struct cuda_tables *tables, const char *gpu, char architecture[NVRTC_ARCHITECTURE],
                              struct error *error);
/* "fc1.y (model.net:3:4)" */
void cuda_step_text(const struct program_step *step, char *text, size_t size);

void *cuda_load(struct device *device, const struct program *program, struct error *error);
void cuda_unload(struct device *device, void *loaded);
bool cuda_prepare(struct device *device, void *kernels, struct device_call *call, struct error *error);
void cuda_discard(struct device *device, struct device_call *call);

struct cuda_product *cuda_product_new(struct cuda *cuda, const struct program_step *step, struct error *error);
void cuda_product_free(struct cuda *cuda, struct cuda_product *plan);
bool cuda_product_run(struct cuda *cuda, struct cuda_product *plan, char *const *buffers, struct error *error);

const char *cuda_contracts_by(struct device *device, const struct device_call *call);
int cuda_counts(struct device *device, const struct device_call *call, struct device_count counts[DEVICE_COUNTS]);

bool cuda_run(struct device *device, struct device_call *calls, int count, struct error *error);
bool cuda_submit(struct device *device, struct device_list *list, const struct device_copy *copies, int copy_count,
                 struct error *error);
const char *cuda_results(struct device *device, const struct device_list *list, struct error *error);
void cuda_forget(struct device *device, struct device_list *list);

#endif
