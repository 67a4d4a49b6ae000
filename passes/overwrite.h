/* Which of the values that a kernel loads may be overwritten by what it stores. */
#ifndef CASTOR_PASSES_OVERWRITE_H
#define CASTOR_PASSES_OVERWRITE_H

#include "passes/kernels.h"

/* Tables by node id for one graph, good for all of its kernels in turn. */
struct overwrite;

struct overwrite *overwrite_new(size_t node_count);
void overwrite_free(struct overwrite *overwrite);

/* Looks at a kernel, before overwrite_allowed is asked about it. */
void overwrite_inspect(struct overwrite *overwrite, const struct kernel_use *use);

/* True when the kernel may keep what it stores as `store` in the memory of `load`, which has the same shape and order:
 * the last loop nest that reads `load` comes before the one that makes `store`, or is that one and reads each element
 * on the way to the same place of its space. Values of one element are read before anything is written. */
bool overwrite_allowed(const struct overwrite *overwrite, const struct node *store, const struct node *load);

#endif
