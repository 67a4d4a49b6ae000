/* The tail of a convolution (passes/fuse_tail.c) as text for the kernel's template. */
#ifndef CASTOR_CODEGEN_CONVOLUTION_TAIL_H
#define CASTOR_CODEGEN_CONVOLUTION_TAIL_H

#include "ir/target.h"
#include "passes/kernels.h"

struct convolution_tail {
    /* Defines `struct tail` inside of the kernel, as templates/convolution_result.cu wants it: what it loads,
     * what it finishes and its integers are members `buffer`, `finished` and `integer` of the kernel's arguments. */
    const char *text;
    enum element of; /* how the result that it starts from is rounded */
    struct node *loads[TAIL_LOADS_MAX], *totals[TAIL_TOTALS_MAX], *finished[TAIL_FINISHED_MAX];
    struct node *check; /* whether something holds for all elements; NULL: nothing */
    int load_count, total_count, finished_count;
    const int64_t *integers;
    int integer_count;
    const struct node **watched; /* as in struct kernel */
    int watched_count;
};

/* Of a kernel that has one (kernel_has_tail). Everything in the arena; uses node->mark. */
struct convolution_tail convolution_tail_make(const struct kernel_use *use, const struct target *target,
                                              struct arena *arena);

#endif
