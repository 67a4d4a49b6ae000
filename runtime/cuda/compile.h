/* The kernels of a program, compiled by NVRTC.
 *
 * The source is cut into units of several kernels; each becomes PTX (what the simulated GPU runs, and what `castor dump
 * --emit ptx` shows) and a cubin (what a GPU loads) for one architecture, in threads side by side. Units are kept on
 * disk under a hash of their source, the options, and NVRTC's version. */
#ifndef CASTOR_RUNTIME_CUDA_COMPILE_H
#define CASTOR_RUNTIME_CUDA_COMPILE_H

#include "runtime/cuda/nvrtc.h"
#include "runtime/program.h"

#include <stddef.h>

struct cuda_compile_settings {
    struct nvrtc *nvrtc;
    const char *architecture; /* "sm_80" */
    const char *cache;        /* see cache_open */
    int jobs;                 /* compilations at a time */
};

/* What a kernel takes of a multiprocessor, as the assembler tells it. */
struct cuda_resources {
    int registers;                 /* a thread */
    int spill_stores, spill_loads; /* bytes a thread */
    int stack_bytes;               /* a thread */
    int shared_bytes;              /* a block, static */
};

struct cuda_unit {
    int first, last; /* kernels first … last - 1 of the program */
    char *ptx;       /* text, with a zero behind it */
    char *cubin;
    size_t ptx_size, cubin_size;
};

struct cuda_code {
    struct cuda_unit *units;
    int unit_count;
    int compiled;                     /* units that were not in the cache */
    struct cuda_resources *resources; /* one a kernel */
};

/* NULL with an error set on failure. */
struct cuda_code *cuda_compile(const struct cuda_compile_settings *settings, const struct program *program,
                               struct error *error);
void cuda_code_free(struct cuda_code *code);

#endif
