/* What the cuda device loads: the kernels of a program, and one more behind them that gathers results. Compiled where
 * the program runs, or before, and carried as bytes by a trainer that has no NVRTC beside it. */
#ifndef CASTOR_RUNTIME_CUDA_CODE_H
#define CASTOR_RUNTIME_CUDA_CODE_H

#include "runtime/cuda/compile.h"

/* The kernel that brings scalar results together; the program's kernels stand before it. */
#define CUDA_GATHER "castor_gather"

/* cuda_compile of the program and the kernel that gathers. NULL with an error set on failure. */
struct cuda_code *cuda_code_compile(const struct cuda_compile_settings *settings, const struct program *program,
                                    struct error *error);

/* As bytes for machines like this one; malloced. False when out of memory. */
bool cuda_code_write(const struct cuda_code *code, const struct program *program, void **bytes, size_t *size);
/* NULL with an error set when the bytes are not what cuda_code_write made for this program. */
struct cuda_code *cuda_code_read(const void *bytes, size_t size, const struct program *program, struct error *error);

#endif
