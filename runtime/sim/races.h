/* Races for global memory (sim_settings.races): two threads use the same byte, one of them writes, and nothing orders
 * them.
 *
 * What orders two threads of a warp is bar.warp.sync, of a block a barrier, of two blocks what the one releases and the
 * other acquires: an ordinary write, a fence, then an atomic or volatile write; an atomic or volatile read of what that
 * left, a fence, then an ordinary read (PTX, memory consistency model). Barriers hand on within a block what one of its
 * threads has acquired. Each of the three has a clock (Lamport 1978) that goes on where something is ordered. An access
 * whose clock is no later than that of the one before it was not ordered behind it: no race is told that is none,
 * though some are not found. Atomics and volatile accesses race only with ordinary ones, and a lane that writes what is
 * there already races with none of its warp. */
#ifndef CASTOR_RUNTIME_SIM_RACES_H
#define CASTOR_RUNTIME_SIM_RACES_H

#include <stdbool.h>
#include <stdint.h>

struct block;
struct op;
struct races;
struct warp;

/* Of one warp. What is released or acquired is a grid's clock plus one, 0: nothing. */
struct clocks {
    uint32_t grid, block, warp, released, acquired;
};

struct races *races_new(void);
void races_free(struct races *races);

/* `ordered`: atomic or volatile; `silent`: writes what was there. */
struct race_use {
    bool load, store, ordered, silent;
};

/* An access of a lane, at a multiple of its bytes, of which there are 32 at most; false after a fault. */
bool race_access(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes, struct race_use use);
void race_fence(struct warp *warp);
void race_sync_warp(struct warp *warp);
/* The warps of the mask have met. */
void race_barrier(struct block *block, uint32_t arrived);

#endif
