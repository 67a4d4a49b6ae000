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
        memset(shared->writer, 0, (bytes + 3) / 4 * sizeof *shared->writer);
    shared_epoch(shared);
}

/* After the last epoch that tags can tell, what was written stays written, by nobody in particular. */
static void restart_epochs(struct shared *shared)
{
    for (size_t word = 0; word < shared->capacity / 4; word++) {
        uint32_t *writer = &shared->writer[word];
        for (int i = 0; i < 4 && *writer == TAG_MIXED; i++) {
            uint32_t *tag = &shared->mixed[word].writer[i];
            *tag = *tag && *tag != TAG_PENDING ? 1 : *tag;
            shared->mixed[word].reader[i] = 0;
        }
        *writer = *writer && *writer < TAG_MIXED ? 1 : *writer;
        shared->reader[word] = 0;
    }
    shared->epoch = 1;
}

void shared_epoch(struct shared *shared)
{
    if (++shared->epoch > EPOCHS)
        restart_epochs(shared);
}

/* ---- tags ---- */

/* What a warp leaves now, and the least tag of this epoch. */
struct now {
    uint32_t mine, epoch;
};

static struct now now_of(const struct warp *warp)
{
    uint32_t epoch = warp->block->shared.epoch * TAG_EPOCH;
    return (struct now){epoch + warp->number, epoch};
}

/* 1 for words that were never written, that others wrote in this epoch, or whose tags do not tell. */
static inline uint32_t unreadable(uint32_t writer, struct now now)
{
    return (uint32_t)(writer - 1 >= now.epoch - 1) & (uint32_t)((writer & ~(uint32_t)TAG_ATOMIC) != now.mine);
}

/* 1 for words that others wrote or read in this epoch, or whose tags do not tell. */
static inline uint32_t unwritable(uint32_t writer, uint32_t reader, struct now now)
{
    return ((uint32_t)(writer >= now.epoch) & (uint32_t)((writer & ~(uint32_t)TAG_ATOMIC) != now.mine)) |
           ((uint32_t)(reader >= now.epoch) & (uint32_t)(reader != now.mine));
}

static inline uint32_t read_tag(uint32_t reader, struct now now)
{
    uint32_t again = (reader ^ now.mine) & TAG_WARP ? reader | TAG_MANY : reader;
    return reader < now.epoch ? now.mine : again;
}

/* Whole words; false, and nothing done, where there may be something to report or bytes have tags of their own. */
static inline bool read_words(struct shared *shared, size_t first, size_t count, struct now now)
{
    const uint32_t *writer = shared->writer + first;
    uint32_t *reader = shared->reader + first, bad = 0;
    for (size_t i = 0; i < count; i++)
        bad |= unreadable(writer[i], now);
    if (bad)
        return false;
    for (size_t i = 0; i < count; i++)
        reader[i] = read_tag(reader[i], now);
    return true;
}

static inline bool write_words(struct shared *shared, size_t first, size_t count, struct now now, uint32_t tag)
{
    uint32_t *writer = shared->writer + first, bad = 0;
    const uint32_t *reader = shared->reader + first;
    for (size_t i = 0; i < count; i++)
        bad |= unwritable(writer[i], reader[i], now);
    if (bad)
        return false;
    for (size_t i = 0; i < count; i++)
        writer[i] = tag;
    return true;
}

/* ---- byte by byte, with reports ---- */

static const char *const verbs[] = {"reads", "writes", "updates", "copies to"};

/* Gives the bytes of a word tags of their own. */
static struct byte_tags *split_word(struct shared *shared, size_t word)
{
    struct byte_tags *tags = &shared->mixed[word];
    if (shared->writer[word] != TAG_MIXED)
        for (int i = 0; i < 4; i++) {
            tags->writer[i] = shared->writer[word];
            tags->reader[i] = shared->reader[word];
        }
    shared->writer[word] = TAG_MIXED;
    return tags;
}

/* Back to one tag where the bytes' are the same. */
static void join_word(struct shared *shared, size_t word)
{
    const struct byte_tags *tags = &shared->mixed[word];
    for (int i = 1; i < 4; i++)
        if (tags->writer[i] != tags->writer[0] || tags->reader[i] != tags->reader[0])
            return;
    shared->writer[word] = tags->writer[0];
    shared->reader[word] = tags->reader[0];
}

static bool race(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t at, uint32_t tag,
                 const char *other)
{
    if (tag & TAG_MANY)
        return warp_fault(warp, op, lane,
                          "race: %s byte %llu of shared memory, which other warps %s since the last "
                          "barrier",
                          did, (unsigned long long)at, other);
    return warp_fault(warp, op, lane, "race: %s byte %llu of shared memory, which warp %u %s since the last barrier",
                      did, (unsigned long long)at, tag & TAG_WARP, other);
}

/* Atomics may meet atomics. */
static bool check_byte(struct warp *warp, const struct op *op, int lane, uint64_t at, enum shared_use use,
                       uint32_t writer, uint32_t reader)
{
    struct now now = now_of(warp);
    const char *did = verbs[use];
    if (writer == TAG_PENDING)
        return warp_fault(warp, op, lane, "race: %s byte %llu of shared memory while cp.async copies to it", did,
                          (unsigned long long)at);
    if (!writer && (use == SHARED_READ || use == SHARED_UPDATE))
        return warp_fault(warp, op, lane, "%s what nothing wrote: byte %llu of shared memory", did,
                          (unsigned long long)at);
    bool others_wrote = writer >= now.epoch && (writer & TAG_MANY || (writer & TAG_WARP) != warp->number);
    if (others_wrote && !(use == SHARED_UPDATE && writer & TAG_ATOMIC))
        return race(warp, op, lane, did, at, writer, "wrote");
    if (use != SHARED_READ && reader >= now.epoch && reader != now.mine)
        return race(warp, op, lane, did, at, reader, "read");
    return true;
}

/* The writer's tag behind an atomic: what the warp itself wrote plainly stays so, for others to be told. */
static uint32_t update_tag(uint32_t writer, struct now now)
{
    if (writer < now.epoch)
        return now.mine | TAG_ATOMIC;
    if (!(writer & TAG_ATOMIC))
        return writer;
    return now.mine | TAG_ATOMIC | ((writer ^ now.mine) & TAG_WARP ? TAG_MANY : writer & TAG_MANY);
}

static bool use_byte(struct warp *warp, const struct op *op, int lane, uint64_t at, enum shared_use use)
{
    struct now now = now_of(warp);
    struct byte_tags *tags = split_word(&warp->block->shared, at / 4);
    uint32_t *writer = &tags->writer[at % 4], *reader = &tags->reader[at % 4];
    bool good = check_byte(warp, op, lane, at, use, *writer, *reader);
    if (good && use == SHARED_READ)
        *reader = read_tag(*reader, now);
    else if (good)
        *writer = use == SHARED_WRITE ? now.mine : use == SHARED_UPDATE ? update_tag(*writer, now) : TAG_PENDING;
    join_word(&warp->block->shared, at / 4);
    return good;
}

/* ---- for lanes and warps ---- */

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

static inline bool use_words(struct shared *shared, size_t first, size_t count, struct now now, enum shared_use use)
{
    switch (use) {
    case SHARED_READ:
        return read_words(shared, first, count, now);
    case SHARED_WRITE:
        return write_words(shared, first, count, now, now.mine);
    case SHARED_RESERVE:
        return write_words(shared, first, count, now, TAG_PENDING);
    default: /* SHARED_UPDATE */
        return false;
    }
}

bool shared_use(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes, enum shared_use use)
{
    struct shared *shared = &warp->block->shared;
    if (!in_bounds(warp, op, lane, verbs[use], address, bytes))
        return false;
    struct now now = now_of(warp);
    if (bytes == 4 && use_words(shared, address / 4, 1, now, use))
        return true;
    if (bytes == 16 && use_words(shared, address / 4, 4, now, use))
        return true;
    if (bytes == 8 && use_words(shared, address / 4, 2, now, use))
        return true;
    for (uint64_t at = address; at < address + (uint64_t)bytes; at++)
        if (!use_byte(warp, op, lane, at, use))
            return false;
    return true;
}

bool shared_run(struct warp *warp, uint64_t address, int bytes, enum shared_use use)
{
    struct shared *shared = &warp->block->shared;
    size_t all = (size_t)bytes * LANES;
    if (address >= shared->size || all > shared->size - address || address & (uint64_t)(bytes - 1) || address % 4)
        return false;
    return use_words(shared, address / 4, all / 4, now_of(warp), use);
}

static inline uint32_t use_lanes(struct shared *shared, const uint64_t *addresses, uint32_t active, size_t words,
                                 struct now now, enum shared_use use)
{
    uint32_t left = active;
    for (; left; left &= left - 1) {
        uint64_t address = addresses[__builtin_ctz(left)];
        if (address >= shared->size || shared->size - address < 4 * words || address & (4 * words - 1) ||
            !use_words(shared, address / 4, words, now, use))
            break;
    }
    return left;
}

uint32_t shared_lanes(struct warp *warp, const uint64_t *addresses, uint32_t active, int bytes, enum shared_use use)
{
    struct shared *shared = &warp->block->shared;
    switch (bytes) {
    case 4:
        return use_lanes(shared, addresses, active, 1, now_of(warp), use);
    case 8:
        return use_lanes(shared, addresses, active, 2, now_of(warp), use);
    case 16:
        return use_lanes(shared, addresses, active, 4, now_of(warp), use);
    default:
        return active;
    }
}

void shared_arrive(struct warp *warp, uint64_t address, int bytes)
{
    uint32_t *writer = warp->block->shared.writer + address / 4;
    for (int i = 0; i < bytes / 4; i++)
        writer[i] = now_of(warp).mine;
}

/* ---- banks ---- */

/* Wavefronts that lanes `from` … `to` need: the most different words that one of the 32 banks must give. */
static uint32_t wavefronts(const uint64_t *addresses, uint32_t active, int from, int to, int bytes)
{
    uint32_t words[32][LANES];
    uint8_t counts[32] = {0};
    uint32_t most = 0;
    for (int l = from; l < to; l++) {
        if (!(active & (1U << l)))
            continue;
        for (uint64_t word = addresses[l] / 4; word <= (addresses[l] + (uint64_t)bytes - 1) / 4; word++) {
            unsigned bank = word % 32;
            bool known = false;
            for (int i = 0; i < counts[bank] && !known; i++)
                known = words[bank][i] == (uint32_t)word;
            if (known || counts[bank] == LANES)
                continue;
            words[bank][counts[bank]++] = (uint32_t)word;
            most = counts[bank] > most ? counts[bank] : most;
        }
    }
    return most;
}

/* Accesses of 8 bytes a lane go by half warps, of 16 bytes by quarters. Mostly all lanes have banks of their own, which
 * is quickly seen. */
void count_conflicts(struct warp *warp, const uint64_t *addresses, uint32_t active, int bytes)
{
    int lanes = bytes <= 4 ? LANES : bytes == 8 ? LANES / 2 : LANES / 4;
    uint32_t bits[LANES];
    warp->isa->bank_bits(addresses, bytes <= 4 ? 2 : bytes == 8 ? 3 : 4, (uint32_t)lanes - 1, bits);
    for (int from = 0; from < LANES; from += lanes) {
        uint32_t taken = 0, twice = 0;
        for (int l = from; l < from + lanes; l++) {
            uint32_t bit = active & (1U << l) ? bits[l] : 0;
            twice |= taken & bit;
            taken |= bit;
        }
        if (!twice)
            continue;
        uint32_t needed = wavefronts(addresses, active, from, from + lanes, bytes);
        warp->counters->bank_conflicts += needed > 1 ? needed - 1 : 0;
    }
}
