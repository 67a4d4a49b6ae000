/* Special registers by number, and those that are the same for all threads of a warp. */
#ifndef CASTOR_RUNTIME_SIM_SPECIALS_H
#define CASTOR_RUNTIME_SIM_SPECIALS_H

#include "runtime/sim/execute.h"

enum special_register {
#define SPECIAL(name, text, width) SPECIAL_##name,
#include "runtime/sim/specials.def"
    SPECIAL_COUNT
};

/* Whether it differs from block to block. */
static inline bool special_of_block(int which)
{
    return (which >= SPECIAL_CTAID_X && which <= SPECIAL_CTAID_Z) || which == SPECIAL_SMID;
}

static inline uint32_t special_of_warp(const struct warp *warp, int which)
{
    const struct launch *launch = warp->block->launch;
    switch (which) {
    case SPECIAL_CTAID_X:
        return warp->block->x;
    case SPECIAL_CTAID_Y:
        return warp->block->y;
    case SPECIAL_CTAID_Z:
        return warp->block->z;
    case SPECIAL_NTID_X:
    case SPECIAL_NTID_Y:
    case SPECIAL_NTID_Z:
        return launch->threads[which - SPECIAL_NTID_X];
    case SPECIAL_NCTAID_X:
    case SPECIAL_NCTAID_Y:
    case SPECIAL_NCTAID_Z:
        return launch->grid[which - SPECIAL_NCTAID_X];
    case SPECIAL_WARPID:
        return warp->number;
    case SPECIAL_NWARPID:
        return warp->block->warp_count;
    case SPECIAL_SMID:
        return (uint32_t)(warp->block->index % launch->processors);
    case SPECIAL_NSMID:
        return launch->processors;
    case SPECIAL_DYNAMIC_SMEM:
        return (uint32_t)launch->dynamic_bytes;
    default: /* SPECIAL_TOTAL_SMEM */
        return (uint32_t)launch->shared_bytes;
    }
}

#endif
