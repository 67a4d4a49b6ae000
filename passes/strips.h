/* Strips: kernels that follow each other and run together, a few examples of the batch at a time, so that what one of
 * them stores the next one finds in the cache.
 *
 * A batch norm's sums, say, are taken of each strip of a convolution's result as soon as it is there. What a device
 * does with it is its own business: every kernel can also run over the whole batch at once.
 *
 * A kernel can run by strips when axis 0 of all that it touches is the batch, the outermost in memory, and what it
 * makes of an example needs of such values nothing but the same example. Its leading loop nests walk strip by strip;
 * those behind them (`nests` tells how many lead) wait for sums over the batch and run when all strips are done. So
 * within a strip no kernel may need such a sum. Convolutions and their gradients run on slices; that of a weight is
 * such a sum. */
#ifndef CASTOR_PASSES_STRIPS_H
#define CASTOR_PASSES_STRIPS_H

#include "ir/target.h"
#include "passes/kernels.h"

struct strip {
    int first, count; /* numbers of kernels: first … first + count - 1 */
    int64_t items;    /* examples in the batch */
    int64_t size;     /* of one strip; divides `items` */
};

struct strip_set {
    int count;
    struct strip *strips;
    int *of; /* by kernel number - 1: index into strips; -1: runs by itself */
};

/* The strips of a scheduled graph whose nodes are numbered; none where the target runs none. Sets strip_items,
 * strip_size and strip_nests of their kernels. Uses node->mark. */
struct strip_set strips_find(struct kernel_set *set, const struct target *target, struct arena *arena);

/* The first and the last kernel that runs along with this one, itself when it runs alone. */
int strip_first(const struct strip_set *strips, int kernel);
int strip_last(const struct strip_set *strips, int kernel);

/* Is the value stored and loaded strip by strip, by all kernels of the strip that load it? Then only the first one of
 * them fetches it. */
bool strip_carries(const struct strip *strip, const struct node *node);

/* For pass schedule: which kernel continues the strip that is being made. */
struct strip_builder;
struct strip_builder *strip_builder_new(const struct kernel_set *set, const struct target *target, struct arena *arena);
bool strip_continues(const struct strip_builder *builder, int kernel); /* index of the kernel */
/* Runs the kernel next: it continues the strip or begins a new one. */
void strip_add(struct strip_builder *builder, int kernel);

#endif
