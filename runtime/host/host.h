/* The host device: fused kernels compiled by the system's C compiler, contractions by oneDNN, threads by OpenMP. */
#ifndef CASTOR_RUNTIME_HOST_HOST_H
#define CASTOR_RUNTIME_HOST_HOST_H

#include "runtime/device.h"

struct host_settings {
    int threads;       /* 0: as many as cores */
    const char *isa;   /* native, avx512, avx2, baseline; NULL: the variable CASTOR_ISA, else native */
    const char *cache; /* folder, "off", or NULL: $XDG_CACHE_HOME/castor, ~/.cache/castor */
};

/* What the CPU is and has, without creating a device. False with an error when the isa is unknown or not there. */
bool host_describe(const struct host_settings *settings, struct device_facts *facts, struct error *error);

/* NULL with an error set on failure. The settings' strings are copied. */
struct device *host_device_new(const struct host_settings *settings, struct error *error);

#endif
