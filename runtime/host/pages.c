/* Large pages are asked for, which Linux gives on request (madvise) or by itself; without them all works, slower. */
#include "runtime/host/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LINE = 64, LARGE_PAGE = 1 << 21 };

void *pages_allocate(size_t bytes)
{
    size_t unit = bytes < LARGE_PAGE ? LINE : LARGE_PAGE;
    if (bytes > SIZE_MAX - unit)
        return NULL;
    size_t rounded = bytes ? (bytes + unit - 1) / unit * unit : unit;
    void *memory = aligned_alloc(unit, rounded);
#ifdef MADV_HUGEPAGE
    if (memory && unit == LARGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE);
#endif
    return memory;
}
