/* The machine's cuBLASLt behind the table. */
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/library.h"

#include <stdlib.h>

struct library_cublaslt {
    struct cublaslt cublaslt;
    void *library;
    const char *(*GetStatusString)(cublasStatus_t status);
#define CUBLASLT(name, symbol, arguments, ...) cublasStatus_t (*name)(__VA_ARGS__);
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT
};

#define CUBLASLT(name, symbol, arguments, ...)                                                                         \
    static cublasStatus_t call_##name(struct cublaslt *cublaslt, __VA_ARGS__)                                          \
    {                                                                                                                  \
        const struct library_cublaslt *own = cublaslt->own;                                                            \
        return own->name arguments;                                                                                    \
    }
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT

static const char *status_string(struct cublaslt *cublaslt, cublasStatus_t status)
{
    const struct library_cublaslt *own = cublaslt->own;
    return own->GetStatusString(status);
}

static void close_cublaslt(struct cublaslt *cublaslt)
{
    struct library_cublaslt *own = cublaslt->own;
    library_close(own->library);
    free(own);
}

static bool find_symbols(struct library_cublaslt *own, struct error *error)
{
    const struct library_symbol symbols[] = {
#define CUBLASLT(name, symbol, arguments, ...) {#symbol, &own->name},
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT
        {"cublasLtGetStatusString", &own->GetStatusString}};
    return library_symbols(own->library, "cuBLASLt", symbols, sizeof symbols / sizeof *symbols, error);
}

static void fill_table(struct library_cublaslt *own)
{
    own->cublaslt = (struct cublaslt){
#define CUBLASLT(name, symbol, arguments, ...) .name = call_##name,
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT
        .GetStatusString = status_string, .own = own, .free = close_cublaslt};
}

struct cublaslt *cublaslt_open(int driver, struct error *error)
{
    const struct library_wish wish = {.stem = "cublasLt", .what = "cuBLASLt", .driver = driver};
    struct library_cublaslt *own = calloc(1, sizeof *own);
    if (!own) {
        error_set(error, "out of memory");
        return NULL;
    }
    own->library = library_open_toolkit(&wish, error);
    if (own->library && find_symbols(own, error)) {
        fill_table(own);
        return &own->cublaslt;
    }
    library_close(own->library);
    free(own);
    return NULL;
}

bool cublaslt_good(struct cublaslt *cublaslt, cublasStatus_t status, const char *tried, struct error *error)
{
    return status == CUBLAS_STATUS_SUCCESS ||
           error_set(error, "%s: cuBLASLt says %s", tried, cublaslt->GetStatusString(cublaslt, status));
}
