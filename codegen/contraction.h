/* Contractions: a library kernel of the fused graph becomes a matmul or conv step of the program. */
#ifndef CASTOR_CODEGEN_CONTRACTION_H
#define CASTOR_CODEGEN_CONTRACTION_H

#include "codegen/convolution_tail.h"
#include "ir/target.h"
#include "passes/kernels.h"
#include "runtime/program.h"

enum { CONTRACTION_BUFFERS = 6 + TAIL_TOTALS_MAX + TAIL_FINISHED_MAX + TAIL_LOADS_MAX };

struct contraction {
    /* kind, matmul or conv, bytes and flops are set; the rest is the assembler's. */
    struct program_step step;
    /* What the step's buffers are: the node where each lies and how many bytes into it. */
    struct node *buffers[CONTRACTION_BUFFERS];
    int64_t offset[CONTRACTION_BUFFERS];
    int buffer_count;
    bool weight_last;                    /* conv: the weight lies as o, taps, c / groups; else it is row-major */
    const struct convolution_tail *tail; /* conv: what is computed behind it: its totals, check and loads are the last
                                            buffers; NULL: nothing */
};

/* The step of a library kernel. Operands are read where they lie, through views (passes/view.h); a kernel that the
 * library can not do as it stands is a bug of pass fuse. */
struct contraction contraction_make(const struct kernel_use *use, const struct target *target, struct arena *arena);

#endif
