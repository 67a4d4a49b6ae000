/* Asynchronous copies. cp.async notes what is to be copied; the bytes arrive when the warp waits for their group, so a
 * kernel that forgets to wait is found out. Groups are each lane's own. */
#include "runtime/sim/execute.h"

#include <stb/stb_ds.h>
#include <string.h>

static bool check_source(struct warp *warp, const struct op *op, int lane, uint64_t from, int bytes, int all)
{
    const struct hint *hint = bytes ? access_find(warp, op, from, (uint64_t)bytes) : NULL;
    if (bytes && !hint)
        return warp_fault_address(warp, op, lane, "copies from", from, bytes);
    if (from & (uint64_t)(all - 1))
        return warp_fault(warp, op, lane, "copies %d bytes from 0x%llx, which is misaligned", all,
                          (unsigned long long)from);
    if (bytes && shadow_written(hint->written, from - hint->begin, (size_t)bytes) < (size_t)bytes)
        return warp_fault_address(warp, op, lane, "copies what nothing wrote:", from, bytes);
    return true;
}

/* How many bytes a lane reads: at most all; a size beyond is an error of the kernel. */
static bool source_bytes(struct warp *warp, const struct op *op, int lane, int *bytes)
{
    const struct transfer *transfer = op->detail;
    const uint32_t *sizes = warp_source(warp, op->c);
    *bytes = transfer->bytes;
    if (!transfer->sized)
        return true;
    if (sizes[lane] > (uint32_t)transfer->bytes)
        return warp_fault(warp, op, lane, "cp.async of %d bytes is to read %u", transfer->bytes, sizes[lane]);
    *bytes = (int)sizes[lane];
    return true;
}

/* Checks all sources at once where they lie in one allocation; false where each has to be looked at. */
static bool check_sources(struct warp *warp, const struct op *op, const struct pending_copy *copy, uint32_t reading,
                          int all)
{
    uint64_t low, high, bits;
    warp->isa->range(copy->from, reading, &low, &high, &bits);
    const struct hint *hint =
        high - low > (uint64_t)1 << 40 ? NULL : access_find(warp, op, low, high - low + (uint64_t)all);
    if (!hint || bits & (uint64_t)(all - 1))
        return false;
    for (uint32_t left = reading; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (copy->bytes[l] != all || !shadow_has(hint->written, copy->from[l] - hint->begin, all))
            return false;
    }
    return true;
}

static bool read_sources(struct warp *warp, const struct op *op, struct pending_copy *copy)
{
    const struct transfer *transfer = op->detail;
    uint32_t reading = 0;
    uint64_t asked = 0;
    for (uint32_t left = copy->mask; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (!source_bytes(warp, op, l, &copy->bytes[l]))
            return false;
        reading |= copy->bytes[l] ? 1U << l : 0;
        asked += (uint64_t)copy->bytes[l];
    }
    if (!reading || !check_sources(warp, op, copy, reading, transfer->bytes))
        for (uint32_t left = copy->mask; left; left &= left - 1) {
            int l = __builtin_ctz(left);
            if (!check_source(warp, op, l, copy->from[l], copy->bytes[l], transfer->bytes))
                return false;
        }
    warp->counters->load_bytes += asked;
    count_sectors(copy->from, reading, &warp->counters->load_sectors);
    return true;
}

static bool race_sources(struct warp *warp, const struct op *op, const struct pending_copy *copy)
{
    for (uint32_t left = copy->mask; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (copy->bytes[l] && !race_access(warp, op, l, copy->from[l], copy->bytes[l], (struct race_use){.load = true}))
            return false;
    }
    return true;
}

bool run_copy(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct transfer *transfer = op->detail;
    struct pending_copy *copy = arraddnptr(warp->copies, 1);
    copy->op = op;
    copy->mask = active;
    copy->group = arrlen(warp->commits);
    access_addresses(warp, op->a, transfer->to_wide, transfer->to_offset, copy->to);
    access_addresses(warp, op->b, transfer->from_wide, transfer->from_offset, copy->from);
    if (!read_sources(warp, op, copy) || (warp->block->launch->races && !race_sources(warp, op, copy)))
        return false;
    for (uint32_t left = shared_lanes(warp, copy->to, active, transfer->bytes, SHARED_RESERVE); left;
         left &= left - 1) {
        int l = __builtin_ctz(left);
        if (!shared_use(warp, op, l, copy->to[l], transfer->bytes, SHARED_RESERVE))
            return false;
    }
    count_conflicts(warp, copy->to, active, transfer->bytes);
    return true;
}

bool run_commit(struct warp *warp, const struct op *op, uint32_t active)
{
    (void)op;
    arrput(warp->commits, active);
    return true;
}

static void arrive(struct warp *warp, const struct pending_copy *copy, uint32_t lanes)
{
    const struct transfer *transfer = copy->op->detail;
    struct shared *shared = &warp->block->shared;
    for (uint32_t left = lanes; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        uint8_t *to = shared->bytes + copy->to[l];
        if (copy->bytes[l] == 16) {
            memcpy(to, (const void *)(uintptr_t)copy->from[l], 16);
        } else {
            memset(to, 0, (size_t)transfer->bytes);
            if (copy->bytes[l])
                memcpy(to, (const void *)(uintptr_t)copy->from[l], (size_t)copy->bytes[l]);
        }
        shared_arrive(warp, copy->to[l], transfer->bytes);
    }
}

/* What these lanes copied before the commit of this number, or with it, has arrived. */
static void arrive_until(struct warp *warp, uint32_t lanes, int64_t commit)
{
    for (ptrdiff_t i = 0; i < arrlen(warp->copies) && warp->copies[i].group <= commit; i++) {
        struct pending_copy *copy = &warp->copies[i];
        arrive(warp, copy, copy->mask & lanes);
        copy->mask &= ~lanes;
    }
}

/* The commit of a lane that all but `rest` of its commits have come to, or -1. */
static int64_t commit_of(const struct warp *warp, int lane, uint64_t rest)
{
    int64_t commit = arrlen(warp->commits) - 1;
    for (; commit >= 0; commit--)
        if (warp->commits[commit] & (1U << lane) && rest-- == 0)
            break;
    return commit;
}

/* Copies that have wholly arrived are forgotten, and so are commits that came before all that are left. */
static void forget(struct warp *warp)
{
    enum { COMMITS_KEPT = 64 };
    ptrdiff_t arrived = 0, count = arrlen(warp->copies);
    while (arrived < count && !warp->copies[arrived].mask)
        arrived++;
    if (arrived)
        arrdeln(warp->copies, 0, arrived);
    int64_t first = arrived < count ? warp->copies[0].group : arrlen(warp->commits);
    if (first < COMMITS_KEPT)
        return;
    for (ptrdiff_t i = 0; i < arrlen(warp->copies); i++)
        warp->copies[i].group -= first;
    arrdeln(warp->commits, 0, first);
}

/* wait_group n leaves each lane's last n groups under way; wait_all leaves nothing, committed or not. */
bool run_wait(struct warp *warp, const struct op *op, uint32_t active)
{
    int64_t count = arrlen(warp->commits), last = count - 1 - (int64_t)op->immediate;
    uint32_t together = active;
    for (int64_t i = count - 1; !op->wide && i >= 0 && i >= last; i--)
        together &= warp->commits[i];
    if (op->wide)
        arrive_until(warp, active, INT64_MAX);
    else if (together == active)
        arrive_until(warp, active, last);
    else
        for (uint32_t left = active; left; left &= left - 1)
            arrive_until(warp, left & -left, commit_of(warp, __builtin_ctz(left), op->immediate));
    forget(warp);
    return true;
}

/* ---- ldmatrix ---- */

/* Row r of matrix m lies where lane 8 m + r says. Lane l gets elements 2 (l % 4) and the next of row l / 4, so rows in
 * order fill the cells in order; or, when transposed, of column l / 4 (PTX, ldmatrix). */
static void load_matrix(const struct warp *warp, const uint64_t *rows, bool transposed, uint32_t *cells)
{
    uint16_t plain[8][8];
    for (int r = 0; r < 8; r++)
        memcpy(plain[r], warp->block->shared.bytes + rows[r], sizeof plain[r]);
    if (transposed)
        warp->isa->turn_halves(cells, plain);
    else
        memcpy(cells, plain, sizeof plain);
}

bool run_ldmatrix(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct matrix_load *load = op->detail;
    uint64_t rows[LANES];
    int count = 8 * load->count;
    if (active != UINT32_MAX)
        return warp_fault(warp, op, __builtin_ctz(~active), "ldmatrix needs all lanes of the warp");
    access_addresses(warp, op->a, load->wide_address, op->immediate, rows);
    for (int l = 0; l < count && !load->shared; l++)
        rows[l] -= WINDOW(WINDOW_SHARED);
    uint32_t used = load->count == 4 ? UINT32_MAX : (1U << count) - 1;
    for (uint32_t left = shared_lanes(warp, rows, used, 16, SHARED_READ); left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (!shared_use(warp, op, l, rows[l], 16, SHARED_READ))
            return false;
    }
    count_conflicts(warp, rows, used, 16);
    for (int m = 0; m < load->count; m++)
        load_matrix(warp, rows + 8 * m, load->transposed, warp_destination(warp, load->registers[m]));
    return true;
}
