/* The cuda device: a struct device over the tables of driver, NVRTC and cuBLASLt. What the tables are decides whether
 * it runs on a GPU or on the simulated one; nothing here knows which. */
#ifndef CASTOR_RUNTIME_CUDA_CUDA_H
#define CASTOR_RUNTIME_CUDA_CUDA_H

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/device.h"

struct cuda_settings {
    const char *name;         /* "cuda", "sim" */
    const char *architecture; /* "sm_80": what kernels are compiled for; NULL: what the device is (facts.c) */
    const char *cache;        /* see cache_open */
    int jobs;                 /* compilations at a time */
    bool tf32;                /* products of f32 may be rounded to tf32 */
    bool ptx;                 /* the driver takes PTX alone: no cubin need be tried */
    /* What cuda_code_write made of the program that it will load, which stays there; NULL: kernels are compiled where
     * they run. */
    const void *built;
    size_t built_size;
    /* What the driver counted of a kernel, a launch; NULL where it counts nothing. Returns how many, at most `room`. */
    int (*counts)(CUfunction function, struct device_count *counts, int room);
};

struct cuda_tables {
    struct driver *driver;
    struct nvrtc *nvrtc;
    struct cublaslt *cublaslt;
};

/* Frees those that are there. */
void cuda_tables_free(const struct cuda_tables *tables);

/* Takes the tables, which are freed with the device, or at once when it cannot be made: then NULL with an error set.
 * NVRTC's may be missing where kernels are built.
 * The settings' strings are copied, but for the name. */
struct device *cuda_device_new(const struct cuda_tables *tables, const struct cuda_settings *settings,
                               struct error *error);

/* What the first GPU of a driver is. facts->isa is its architecture, facts->threads its number of multiprocessors. */
bool cuda_describe(struct driver *driver, struct device_facts *facts, struct error *error);

/* Whether the first GPU can be used with these libraries: starts it and cuBLASLt once. Fills the facts, too. */
bool cuda_ready(const struct cuda_tables *tables, struct device_facts *facts, struct error *error);

#endif
