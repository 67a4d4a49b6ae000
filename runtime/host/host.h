/* The host device: fused kernels compiled by the system's C compiler, contractions by oneDNN, threads by OpenMP. */
#ifndef CASTOR_RUNTIME_HOST_HOST_H
#define CASTOR_RUNTIME_HOST_HOST_H

#include "runtime/device.h"

/* A compiled kernel (program.h says what it takes). */
typedef void (*host_kernel)(char *const *buffers, const long long *integers, const long *strip);

/* Kernels that were compiled before: number `first` and so many after it, built for an instruction set. */
struct host_unit {
    const char *isa; /* NULL ends a list */
    int first, count;
    const host_kernel *functions;
};

/* The widest instruction set of the list that this processor has; NULL: none of them. */
const char *host_unit_isa(const struct host_unit *units);

enum { HOST_THREADS_MAX = 4096 };

struct host_settings {
    int threads;                   /* 0: OMP_NUM_THREADS, or as many as cores (runtime/cores.h) */
    const char *isa;               /* native, avx512, avx2, baseline; NULL: the variable CASTOR_ISA, else native */
    const char *cache;             /* folder, "off", or NULL: $XDG_CACHE_HOME/castor, ~/.cache/castor */
    bool plain_convolutions;       /* none Winograd's way (winograd.h) */
    size_t unit_bytes;             /* as units_split takes it; 0 but where much is compiled and little run */
    const struct host_unit *built; /* nothing is compiled then; NULL: kernels are compiled where they run */
};

/* What the CPU is and has, without creating a device. False with an error when the isa is unknown or not there. */
bool host_describe(const struct host_settings *settings, struct device_facts *facts, struct error *error);

/* NULL with an error set on failure. The settings' strings are copied. */
struct device *host_device_new(const struct host_settings *settings, struct error *error);

#endif
