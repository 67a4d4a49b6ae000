/* Offsets in an arena for buffers with known lifetimes. */
#ifndef CASTOR_PASSES_OFFSETS_H
#define CASTOR_PASSES_OFFSETS_H

#include <stdint.h>

/* Lives from time `first` to `last`, both included. */
struct lifetime {
    int64_t bytes;
    int first, last;
    int64_t offset; /* found here */
};

/* Places all buffers so that those living at one time do not overlap, at multiples of `alignment`. Returns the size of
 * the arena. Assigning offsets optimally is NP-complete; a few greedy orders are tried and the best is kept. Where
 * there are thousands of buffers only one that walks through time is, so that it stays near linear. */
int64_t offsets_assign(struct lifetime *buffers, int count, int64_t alignment);

/* The largest sum of bytes that live at one time, each rounded up to the alignment. */
int64_t offsets_bound(const struct lifetime *buffers, int count, int64_t alignment);

#endif
