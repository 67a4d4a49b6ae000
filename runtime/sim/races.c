/* Looking for races: see races.h. Each byte of global memory that a launch uses has marks of who wrote and who read it
 * last, and each word what was released there. */
#include "runtime/sim/races.h"
#include "runtime/sim/execute.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

enum { PAGE_BYTES = 4096 };

struct mark {
    uint32_t block, grid_clock, block_clock, warp_clock;
    uint16_t thread;
    bool set, ordered, silent;
};

struct page {
    struct mark written[PAGE_BYTES];
    struct mark read[PAGE_BYTES][2]; /* the second: by another thread, not ordered behind the first */
    uint32_t released[PAGE_BYTES / 4];
};

struct page_entry {
    uint64_t key;
    struct page *value;
};

struct races {
    struct page_entry *pages; /* stb_ds hash, by the address divided by PAGE_BYTES */
};

struct races *races_new(void)
{
    return calloc(1, sizeof(struct races));
}

void races_free(struct races *races)
{
    if (!races)
        return;
    for (ptrdiff_t i = 0; i < hmlen(races->pages); i++)
        free(races->pages[i].value);
    hmfree(races->pages);
    free(races);
}

static struct page *page_of(struct races *races, uint64_t address)
{
    uint64_t key = address / PAGE_BYTES;
    ptrdiff_t at = hmgeti(races->pages, key);
    if (at >= 0)
        return races->pages[at].value;
    struct page *page = calloc(1, sizeof *page);
    if (page)
        hmput(races->pages, key, page);
    return page;
}

static struct mark mark_of(const struct warp *warp, int lane, struct race_use use)
{
    const struct clocks *clocks = &warp->clocks;
    return (struct mark){.block = (uint32_t)warp->block->index,
                         .thread = (uint16_t)(warp->number * LANES + (uint32_t)lane),
                         .grid_clock = clocks->grid,
                         .block_clock = clocks->block,
                         .warp_clock = clocks->warp,
                         .set = true,
                         .ordered = use.ordered,
                         .silent = use.silent};
}

/* Between whom order is missing; NULL: between nobody. */
static const char *missing_order(const struct mark *before, const struct mark *now)
{
    if (!before->set)
        return NULL;
    if (before->block != now->block)
        return before->grid_clock < now->grid_clock ? NULL : "blocks";
    if (before->thread == now->thread)
        return NULL;
    if (before->thread / LANES == now->thread / LANES)
        return before->warp_clock < now->warp_clock ? NULL : "the lanes of the warp";
    return before->block_clock < now->block_clock ? NULL : "the warps of the block";
}

static bool same_warp(const struct mark *a, const struct mark *b)
{
    return a->block == b->block && a->thread / LANES == b->thread / LANES;
}

/* One of the two writes. */
static const char *race_of(const struct mark *before, const struct mark *now)
{
    bool harmless = (before->ordered && now->ordered) || ((before->silent || now->silent) && same_warp(before, now));
    return harmless ? NULL : missing_order(before, now);
}

/* What the location hands on. */
static void synchronize(struct warp *warp, uint32_t *released, bool load, bool store)
{
    struct clocks *clocks = &warp->clocks;
    if (load && *released > clocks->acquired)
        clocks->acquired = *released;
    if (store && clocks->released > *released)
        *released = clocks->released;
}

static bool check(struct warp *warp, const struct op *op, int lane, const struct mark *before, const struct mark *now,
                  const char *did, const char *does)
{
    const char *missing = race_of(before, now);
    return !missing || warp_fault(warp, op, lane, "%s what block %u, thread %u %s, in a race: nothing orders %s", does,
                                  before->block, (unsigned)before->thread, did, missing);
}

static void mark_read(struct mark read[2], const struct mark *now)
{
    bool first = read[0].thread == now->thread || !missing_order(&read[0], now);
    read[first ? 0 : 1] = *now;
}

/* What was there already does not hide who else wrote it. */
static void mark_written(struct mark *written, const struct mark *now)
{
    if (!now->silent || !missing_order(written, now))
        *written = *now;
}

bool race_access(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes, struct race_use use)
{
    struct page *page = page_of(warp->block->launch->races, address);
    const struct mark now = mark_of(warp, lane, use);
    const char *does = use.store ? "writes" : "reads";
    if (!page)
        return warp_fault(warp, op, lane, "no memory to look for races in");
    for (uint64_t i = address % PAGE_BYTES; i < address % PAGE_BYTES + (uint64_t)bytes; i++) {
        if (!check(warp, op, lane, &page->written[i], &now, "writes", does))
            return false;
        for (int k = 0; k < 2 && use.store; k++)
            if (!check(warp, op, lane, &page->read[i][k], &now, "reads", does))
                return false;
        if (use.store)
            mark_written(&page->written[i], &now);
        if (use.load)
            mark_read(page->read[i], &now);
    }
    if (use.ordered)
        synchronize(warp, &page->released[address % PAGE_BYTES / 4], use.load, use.store);
    return true;
}

void race_fence(struct warp *warp)
{
    struct clocks *clocks = &warp->clocks;
    if (clocks->acquired > clocks->grid)
        clocks->grid = clocks->acquired;
    clocks->released = clocks->grid + 1;
}

void race_sync_warp(struct warp *warp)
{
    warp->clocks.warp++;
}

void race_barrier(struct block *block, uint32_t arrived)
{
    uint32_t grid = 0, next = 0;
    for (uint32_t left = arrived; left; left &= left - 1) {
        const struct clocks *clocks = &block->warps[__builtin_ctz(left)].clocks;
        grid = clocks->grid > grid ? clocks->grid : grid;
        next = clocks->block >= next ? clocks->block + 1 : next;
    }
    for (uint32_t left = arrived; left; left &= left - 1) {
        struct clocks *clocks = &block->warps[__builtin_ctz(left)].clocks;
        clocks->grid = grid;
        clocks->block = next;
        clocks->warp++;
    }
}
