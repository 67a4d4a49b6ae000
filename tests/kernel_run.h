/* Runs the generated kernels of fused graphs without memory planning and without the runtime: every stored value has a
 * buffer of its own, with sentinels around it. Many graphs share one compilation. */
#ifndef CASTOR_TESTS_KERNEL_RUN_H
#define CASTOR_TESTS_KERNEL_RUN_H

#include "codegen/kernel.h"
#include "ir/evaluate.h"
#include "tests/kernel_cuda.h"

struct kernel_batch;

struct kernel_batch *kernel_batch_new(const struct target *target);
/* Whether there is a compiler for the host's kernels ($CC, else `cc`). */
bool kernel_run_possible(void);
/* Adds a fused graph without contractions; its number in the batch. */
int kernel_batch_add(struct kernel_batch *batch, struct graph *graph);
/* Compiles all: CUDA for the simulated GPU; C with $CC for $CASTOR_ISA where these are set, else `cc` for this machine.
 * False when that fails (what the compiler says goes to standard error). */
bool kernel_batch_compile(struct kernel_batch *batch, const char *flags);
/* Runs graph `number` once, kernels in strips (passes/strips.h) strip by strip. False when a kernel wrote outside of
 * its buffers. */
bool kernel_batch_run(struct kernel_batch *batch, int number, const struct environment *environment);
/* What the last run stored for this node, row-major, as doubles (malloced); NULL when it is not stored. */
double *kernel_batch_value(const struct kernel_batch *batch, const struct node *node);
/* How many elements that both batches' last runs stored for this node differ in their bits; all NaN are alike. */
int64_t kernel_batch_different(const struct kernel_batch *a, const struct node *node, const struct kernel_batch *b,
                               const struct node *same);
/* What the kernels of graph `number` have asked for and touched on the simulated GPU so far, and what the ledger counts
 * for one run of them, in bytes. */
struct kernel_cuda_traffic kernel_batch_traffic(const struct kernel_batch *batch, int number);
uint64_t kernel_batch_bytes(const struct kernel_batch *batch, int number);
const char *kernel_batch_text(const struct kernel_batch *batch);
void kernel_batch_free(struct kernel_batch *batch);

/* A host whose half types are kept as f32. */
struct target kernel_run_target(void);

#endif
