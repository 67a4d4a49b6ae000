/* The wrappers, made from the lists of calls: see cuda_faults.h. */
#include "cuda_faults.h"

#include <stdlib.h>
#include <string.h>

#if CASTOR_CUDA

#define LIST(...) __VA_ARGS__

struct faulty_driver {
    struct driver table, *inner;
    struct faults *faults;
};

struct faulty_nvrtc {
    struct nvrtc table, *inner;
    struct faults *faults;
};

struct faulty_cublaslt {
    struct cublaslt table, *inner;
    struct faults *faults;
};

bool faults_releases(const char *name)
{
    static const char *const words[] = {"Free", "Destroy", "Unload", "Release"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

/* Texts of errors are asked for while a failure is told of; they always come. */
static bool fails(struct faults *faults, const char *name)
{
    if (strcmp(name, "GetErrorName") == 0 || strcmp(name, "GetErrorString") == 0)
        return false;
    if (++faults->calls != faults->failing)
        return false;
    faults->name = name;
    return true;
}

/* NVRTC's calls may come from several threads; the test compiles with one. */
#define CALL(type, bad, name, arguments)                                                                               \
    bool failing = fails(own->faults, #name);                                                                          \
    if (failing && !faults_releases(#name))                                                                            \
        return bad;                                                                                                    \
    type came = own->inner->name(own->inner, LIST arguments);                                                          \
    return failing ? (bad) : came;

#define DRIVER(name, symbol, arguments, ...)                                                                           \
    static CUresult driver_##name(struct driver *driver, __VA_ARGS__)                                                  \
    {                                                                                                                  \
        struct faulty_driver *own = driver->own;                                                                       \
        CALL(CUresult, CUDA_ERROR_UNKNOWN, name, arguments)                                                            \
    }
#include "runtime/cuda/driver.def"
#undef DRIVER

#define NVRTC(name, symbol, arguments, ...)                                                                            \
    static nvrtcResult nvrtc_##name(struct nvrtc *nvrtc, __VA_ARGS__)                                                  \
    {                                                                                                                  \
        struct faulty_nvrtc *own = nvrtc->own;                                                                         \
        own->faults->compiler = own->faults->calls + 1;                                                                \
        CALL(nvrtcResult, NVRTC_ERROR_INTERNAL_ERROR, name, arguments)                                                 \
    }
#include "runtime/cuda/nvrtc.def"
#undef NVRTC

#define CUBLASLT(name, symbol, arguments, ...)                                                                         \
    static cublasStatus_t cublaslt_##name(struct cublaslt *cublaslt, __VA_ARGS__)                                      \
    {                                                                                                                  \
        struct faulty_cublaslt *own = cublaslt->own;                                                                   \
        CALL(cublasStatus_t, CUBLAS_STATUS_INTERNAL_ERROR, name, arguments)                                            \
    }
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT

static void free_driver(struct driver *driver)
{
    struct faulty_driver *own = driver->own;
    own->inner->free(own->inner);
    free(own);
}

static const char *problem(struct driver *driver)
{
    struct faulty_driver *own = driver->own;
    return own->faults->name ? NULL : own->inner->problem(own->inner);
}

static void free_nvrtc(struct nvrtc *nvrtc)
{
    struct faulty_nvrtc *own = nvrtc->own;
    own->inner->free(own->inner);
    free(own);
}

static const char *nvrtc_text(struct nvrtc *nvrtc, nvrtcResult result)
{
    struct faulty_nvrtc *own = nvrtc->own;
    return own->inner->GetErrorString(own->inner, result);
}

static void free_cublaslt(struct cublaslt *cublaslt)
{
    struct faulty_cublaslt *own = cublaslt->own;
    own->inner->free(own->inner);
    free(own);
}

static const char *cublaslt_text(struct cublaslt *cublaslt, cublasStatus_t status)
{
    struct faulty_cublaslt *own = cublaslt->own;
    return own->inner->GetStatusString(own->inner, status);
}

static void fill(struct faulty_driver *driver, struct faulty_nvrtc *nvrtc, struct faulty_cublaslt *cublaslt)
{
    driver->table = (struct driver){
#define DRIVER(name, symbol, arguments, ...) .name = driver_##name,
#include "runtime/cuda/driver.def"
#undef DRIVER
        .own = driver, .free = free_driver, .problem = problem};
    nvrtc->table = (struct nvrtc){
#define NVRTC(name, symbol, arguments, ...) .name = nvrtc_##name,
#include "runtime/cuda/nvrtc.def"
#undef NVRTC
        .GetErrorString = nvrtc_text, .own = nvrtc, .free = free_nvrtc};
    cublaslt->table = (struct cublaslt){
#define CUBLASLT(name, symbol, arguments, ...) .name = cublaslt_##name,
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT
        .GetStatusString = cublaslt_text, .own = cublaslt, .free = free_cublaslt};
}

bool faults_wrap(struct cuda_tables *tables, struct faults *faults)
{
    struct faulty_driver *driver = calloc(1, sizeof *driver);
    struct faulty_nvrtc *nvrtc = calloc(1, sizeof *nvrtc);
    struct faulty_cublaslt *cublaslt = calloc(1, sizeof *cublaslt);
    if (!driver || !nvrtc || !cublaslt) {
        free(driver);
        free(nvrtc);
        free(cublaslt);
        return false;
    }
    driver->inner = tables->driver;
    nvrtc->inner = tables->nvrtc;
    cublaslt->inner = tables->cublaslt;
    driver->faults = nvrtc->faults = cublaslt->faults = faults;
    fill(driver, nvrtc, cublaslt);
    *tables = (struct cuda_tables){&driver->table, &nvrtc->table, &cublaslt->table};
    return true;
}

#endif
