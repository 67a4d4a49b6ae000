/* Kernels that are the same but for numbers become one: see share.c. */
#ifndef CASTOR_CODEGEN_SHARE_H
#define CASTOR_CODEGEN_SHARE_H

#include "ir/arena.h"
#include "runtime/program.h"

/* Of a program of CUDA kernels whose steps are complete. `generated`: by kernel, that it came from print_cuda. */
void share_kernels(struct program *program, const bool *generated, struct arena *arena);

#endif
