/* Shared memory and its checks: bounds, alignment, bytes that nothing wrote, copies under way, and races.
 *
 * A race is two warps at one byte between two barriers, one of them writing. Lanes of one warp are not compared. A
 * barrier of some warps only counts as one of all: that can miss a race, never invent one. */
#include "runtime/sim/execute.h"

#include <stdlib.h>
#include <string.h>

void shared_reset(struct shared *shared, size_t bytes)
{
    shared->size = bytes;
    if (bytes)
        memset(shared->state, 0, bytes);
    shared_epoch(shared);
}

void shared_epoch(struct shared *shared)
{
    if (++shared->epoch <= EPOCHS)
        return;
    if (shared->capacity) {
        memset(shared->writer, 0, shared->capacity * sizeof *shared->writer);
        memset(shared->reader, 0, shared->capacity * sizeof *shared->reader);
    }
    shared->epoch = 1;
}

static uint16_t tag_of(const struct warp *warp)
{
    return (uint16_t)(warp->block->shared.epoch * TAG_EPOCH + warp->number);
}

static bool same_epoch(uint16_t tag, uint16_t mine)
{
    return tag / TAG_EPOCH == mine / TAG_EPOCH;
}

static bool other_warp(uint16_t tag, uint16_t mine)
{
    return (tag & TAG_WARP) != (mine & TAG_WARP);
}

static bool in_bounds(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t address, int bytes)
{
    uint64_t size = warp->block->shared.size;
    if (address >= size || (uint64_t)bytes > size - address)
        return warp_fault(warp, op, lane, "%s %d bytes at %lld of %llu bytes of shared memory", did, bytes,
                          (long long)address, (unsigned long long)size);
    if (address & (uint64_t)(bytes - 1))
        return warp_fault(warp, op, lane, "%s %d bytes at %llu of shared memory, which is misaligned", did, bytes,
                          (unsigned long long)address);
    return true;
}

static bool race(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t at, uint16_t tag,
                 const char *other)
{
    if (tag & TAG_MANY)
        return warp_fault(warp, op, lane,
                          "race: %s byte %llu of shared memory, which other warps %s since the last "
                          "barrier",
                          did, (unsigned long long)at, other);
    return warp_fault(warp, op, lane, "race: %s byte %llu of shared memory, which warp %d %s since the last barrier",
                      did, (unsigned long long)at, tag & TAG_WARP, other);
}

static bool pending(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t at)
{
    return warp_fault(warp, op, lane, "race: %s byte %llu of shared memory while cp.async copies to it", did,
                      (unsigned long long)at);
}

bool shared_read(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes)
{
    struct shared *shared = &warp->block->shared;
    uint16_t mine = tag_of(warp);
    if (!in_bounds(warp, op, lane, "reads", address, bytes))
        return false;
    for (uint64_t at = address; at < address + (uint64_t)bytes; at++) {
        uint16_t writer = shared->writer[at], *reader = &shared->reader[at];
        if (shared->state[at] & SHARED_PENDING)
            return pending(warp, op, lane, "reads", at);
        if (!(shared->state[at] & SHARED_WRITTEN))
            return warp_fault(warp, op, lane, "reads what nothing wrote: byte %llu of shared memory",
                              (unsigned long long)at);
        if (same_epoch(writer, mine) && other_warp(writer, mine))
            return race(warp, op, lane, "reads", at, writer, "wrote");
        if (!same_epoch(*reader, mine))
            *reader = mine;
        else if (other_warp(*reader, mine))
            *reader |= TAG_MANY;
    }
    return true;
}

/* Whether the byte may be changed by this warp; atomics may meet atomics. */
static bool may_write(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t at, bool atomic)
{
    const struct shared *shared = &warp->block->shared;
    uint16_t mine = tag_of(warp), writer = shared->writer[at], reader = shared->reader[at];
    if (shared->state[at] & SHARED_PENDING)
        return pending(warp, op, lane, did, at);
    if (same_epoch(writer, mine) && other_warp(writer, mine) && !(atomic && writer & TAG_MANY))
        return race(warp, op, lane, did, at, writer, "wrote");
    if (same_epoch(reader, mine) && (other_warp(reader, mine) || reader & TAG_MANY))
        return race(warp, op, lane, did, at, reader, "read");
    return true;
}

bool shared_write(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes)
{
    struct shared *shared = &warp->block->shared;
    if (!in_bounds(warp, op, lane, "writes", address, bytes))
        return false;
    for (uint64_t at = address; at < address + (uint64_t)bytes; at++) {
        if (!may_write(warp, op, lane, "writes", at, false))
            return false;
        shared->writer[at] = tag_of(warp);
        shared->state[at] = SHARED_WRITTEN;
    }
    return true;
}

bool shared_atomic(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes)
{
    struct shared *shared = &warp->block->shared;
    if (!in_bounds(warp, op, lane, "updates", address, bytes))
        return false;
    for (uint64_t at = address; at < address + (uint64_t)bytes; at++) {
        if (!may_write(warp, op, lane, "updates", at, true))
            return false;
        if (!(shared->state[at] & SHARED_WRITTEN))
            return warp_fault(warp, op, lane, "updates what nothing wrote: byte %llu of shared memory",
                              (unsigned long long)at);
        shared->writer[at] = tag_of(warp) | TAG_MANY;
    }
    return true;
}

bool shared_reserve(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes)
{
    struct shared *shared = &warp->block->shared;
    if (!in_bounds(warp, op, lane, "copies to", address, bytes))
        return false;
    for (uint64_t at = address; at < address + (uint64_t)bytes; at++) {
        if (!may_write(warp, op, lane, "copies to", at, false))
            return false;
        shared->state[at] |= SHARED_PENDING;
    }
    return true;
}

/* Bits set where the tag is of this epoch and another warp. */
static uint32_t foreign(uint16_t tag, uint16_t mine)
{
    return (uint32_t)(((tag ^ mine) < TAG_EPOCH) & (((tag ^ mine) & TAG_WARP) != 0));
}

static bool run_readable(struct shared *shared, uint64_t from, size_t bytes, uint16_t mine)
{
    const uint8_t *state = shared->state + from;
    const uint16_t *writer = shared->writer + from;
    uint32_t bad = 0;
    for (size_t i = 0; i < bytes; i++)
        bad |= foreign(writer[i], mine) | (uint32_t)(state[i] != SHARED_WRITTEN);
    if (bad)
        return false;
    uint16_t *reader = shared->reader + from;
    for (size_t i = 0; i < bytes; i++) {
        uint16_t tag = reader[i], known = foreign(tag, mine) ? tag | TAG_MANY : tag;
        reader[i] = (uint16_t)(tag ^ mine) < TAG_EPOCH ? known : mine;
    }
    return true;
}

static bool run_writable(struct shared *shared, uint64_t from, size_t bytes, uint16_t mine)
{
    uint8_t *state = shared->state + from;
    uint16_t *writer = shared->writer + from;
    const uint16_t *reader = shared->reader + from;
    uint32_t bad = 0;
    for (size_t i = 0; i < bytes; i++)
        bad |= foreign(writer[i], mine) | (uint32_t)((uint16_t)(reader[i] ^ mine) < TAG_EPOCH && reader[i] != mine) |
               (uint32_t)(state[i] & SHARED_PENDING);
    if (bad)
        return false;
    for (size_t i = 0; i < bytes; i++)
        writer[i] = mine;
    memset(state, SHARED_WRITTEN, bytes);
    return true;
}

/* Without a report: a false makes the caller go lane by lane, which finds the same and says where. */
bool shared_run(struct warp *warp, const struct op *op, uint64_t address, int bytes, bool write)
{
    struct shared *shared = &warp->block->shared;
    size_t all = (size_t)bytes * LANES;
    (void)op;
    if (address >= shared->size || all > shared->size - address || address & (uint64_t)(bytes - 1))
        return false;
    uint16_t mine = tag_of(warp);
    return write ? run_writable(shared, address, all, mine) : run_readable(shared, address, all, mine);
}

/* ---- banks ---- */

/* Wavefronts that lanes `from` … `to` need: the most different words that one of the 32 banks must give. */
static uint32_t wavefronts(const uint64_t *addresses, uint32_t active, int from, int to, int bytes)
{
    uint64_t words[32][LANES];
    uint8_t counts[32] = {0};
    uint32_t most = 0;
    for (int l = from; l < to; l++) {
        if (!(active & (1U << l)))
            continue;
        for (uint64_t word = addresses[l] / 4; word <= (addresses[l] + (uint64_t)bytes - 1) / 4; word++) {
            unsigned bank = word % 32;
            bool known = false;
            for (int i = 0; i < counts[bank] && !known; i++)
                known = words[bank][i] == word;
            if (known || counts[bank] == LANES)
                continue;
            words[bank][counts[bank]++] = word;
            most = counts[bank] > most ? counts[bank] : most;
        }
    }
    return most;
}

/* Accesses of 8 bytes a lane go by half warps, of 16 bytes by quarters. */
void count_conflicts(struct warp *warp, const uint64_t *addresses, uint32_t active, int bytes)
{
    int lanes = bytes <= 4 ? LANES : bytes == 8 ? LANES / 2 : LANES / 4;
    for (int from = 0; from < LANES; from += lanes) {
        uint32_t needed = wavefronts(addresses, active, from, from + lanes, bytes);
        warp->counters->bank_conflicts += needed > 1 ? needed - 1 : 0;
    }
}
