/* Asynchronous copies. cp.async notes what is to be copied; the bytes arrive when the warp waits for their group, so a
 * kernel that forgets to wait is found out. Copies of one warp arrive in the order of their groups. */
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
    if (bytes && sim_written(hint->written + (from - hint->begin), (size_t)bytes) != (size_t)bytes)
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

bool run_copy(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct transfer *transfer = op->detail;
    struct pending_copy copy = {.op = op, .mask = active, .group = warp->open_group};
    access_addresses(warp, op->a, transfer->to_wide, transfer->to_offset, copy.to);
    access_addresses(warp, op->b, transfer->from_wide, transfer->from_offset, copy.from);
    uint32_t reading = 0;
    uint64_t asked = 0;
    for (uint32_t left = active; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (!source_bytes(warp, op, l, &copy.bytes[l]) ||
            !check_source(warp, op, l, copy.from[l], copy.bytes[l], transfer->bytes) ||
            !shared_reserve(warp, op, l, copy.to[l], transfer->bytes))
            return false;
        reading |= copy.bytes[l] ? 1U << l : 0;
        asked += (uint64_t)copy.bytes[l];
    }
    warp->counters->load_bytes += asked;
    if (reading)
        count_sectors(copy.from, reading, transfer->bytes, &warp->counters->load_sectors);
    count_conflicts(warp, copy.to, active, transfer->bytes);
    arrput(warp->copies, copy);
    return true;
}

bool run_commit(struct warp *warp, const struct op *op, uint32_t active)
{
    (void)op;
    (void)active;
    warp->open_group++;
    return true;
}

static void arrive(struct warp *warp, const struct pending_copy *copy)
{
    const struct transfer *transfer = copy->op->detail;
    struct shared *shared = &warp->block->shared;
    uint16_t tag = (uint16_t)(shared->epoch * TAG_EPOCH + warp->number);
    for (uint32_t left = copy->mask; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        uint8_t *to = shared->bytes + copy->to[l];
        memset(to, 0, (size_t)transfer->bytes);
        if (copy->bytes[l])
            memcpy(to, (const void *)(uintptr_t)copy->from[l], (size_t)copy->bytes[l]);
        memset(shared->state + copy->to[l], SHARED_WRITTEN, (size_t)transfer->bytes);
        for (int i = 0; i < transfer->bytes; i++)
            shared->writer[copy->to[l] + (uint64_t)i] = tag;
    }
}

/* wait_group n leaves the last n groups under way; wait_all leaves nothing, committed or not. */
bool run_wait(struct warp *warp, const struct op *op, uint32_t active)
{
    (void)active;
    int64_t last = op->wide ? warp->open_group : (int64_t)warp->open_group - 1 - (int64_t)op->immediate;
    ptrdiff_t arrived = 0;
    while (arrived < arrlen(warp->copies) && warp->copies[arrived].group <= last)
        arrive(warp, &warp->copies[arrived++]);
    if (arrived)
        arrdeln(warp->copies, 0, arrived);
    return true;
}

/* ---- ldmatrix ---- */

/* Row r of matrix m lies where lane 8 m + r says. Lane l gets elements 2 (l % 4) and the next of row l / 4, or, when
 * transposed, of column l / 4 (PTX, ldmatrix). */
bool run_ldmatrix(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct matrix_load *load = op->detail;
    uint64_t rows[LANES];
    if (active != UINT32_MAX)
        return warp_fault(warp, op, __builtin_ctz(~active), "ldmatrix needs all lanes of the warp");
    access_addresses(warp, op->a, load->wide_address, op->immediate, rows);
    for (int l = 0; l < 8 * load->count; l++) {
        rows[l] -= load->shared ? 0 : WINDOW(WINDOW_SHARED);
        if (!shared_read(warp, op, l, rows[l], 16))
            return false;
    }
    uint32_t used = load->count == 4 ? UINT32_MAX : (1U << (8 * load->count)) - 1;
    count_conflicts(warp, rows, used, 16);
    for (int m = 0; m < load->count; m++) {
        uint32_t *cells = warp_destination(warp, load->registers[m]);
        for (int l = 0; l < LANES; l++) {
            uint16_t pair[2];
            for (int i = 0; i < 2; i++) {
                int row = load->transposed ? 2 * (l % 4) + i : l / 4,
                    column = load->transposed ? l / 4 : 2 * (l % 4) + i;
                memcpy(&pair[i], warp->block->shared.bytes + rows[8 * m + row] + 2 * column, 2);
            }
            cells[l] = (uint32_t)pair[1] << 16 | pair[0];
        }
    }
    return true;
}
