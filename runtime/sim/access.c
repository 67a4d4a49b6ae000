/* Loads, stores and atomics: every access of a kernel to memory passes through here or shared.c, where it is checked.
 *
 * Warps whose lanes are all active and read or write one run of bytes, or all the same place, go a fast way with one
 * check; all others go lane by lane. */
#include "runtime/sim/execute.h"

#include <string.h>

void access_addresses(const struct warp *warp, uint32_t base, bool wide, uint64_t offset, uint64_t *addresses)
{
    if (wide)
        warp->isa->offset64(addresses, warp_source(warp, base), offset);
    else
        warp->isa->offset32(addresses, warp_source(warp, base), offset);
}

const struct hint *access_find(struct warp *warp, const struct op *op, uint64_t address, uint64_t bytes)
{
    const struct launch *launch = warp->block->launch;
    struct hint *hint = &warp->block->worker->hints[op - launch->kernel->ops];
    if (address < hint->begin || address >= hint->end) {
        const struct sim_allocation *allocation = sim_memory_find(launch->memory, address);
        if (!allocation)
            return NULL;
        *hint = (struct hint){allocation->begin, allocation->end, allocation->written, allocation->read_only};
    }
    return bytes <= hint->end - address ? hint : NULL;
}

/* ---- between memory and registers ---- */

/* Reads a value of 1 to 8 bytes; those that other threads may write meanwhile, atomically. */
static uint64_t read_value(const uint8_t *from, int bytes, bool ordered)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (bytes) {
    case 1:
        return ordered ? __atomic_load_n(from, __ATOMIC_SEQ_CST) : *from;
    case 2:
        if (ordered)
            return __atomic_load_n((const uint16_t *)(const void *)from, __ATOMIC_SEQ_CST);
        memcpy(&two, from, sizeof two);
        return two;
    case 4:
        if (ordered)
            return __atomic_load_n((const uint32_t *)(const void *)from, __ATOMIC_SEQ_CST);
        memcpy(&four, from, sizeof four);
        return four;
    default:
        if (ordered)
            return __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_SEQ_CST);
        memcpy(&eight, from, sizeof eight);
        return eight;
    }
}

static void write_value(uint8_t *to, int bytes, bool ordered, uint64_t value)
{
    if (!ordered) {
        memcpy(to, &value, (size_t)bytes); /* little-endian, as the device is */
        return;
    }
    if (bytes == 1)
        __atomic_store_n(to, (uint8_t)value, __ATOMIC_SEQ_CST);
    else if (bytes == 2)
        __atomic_store_n((uint16_t *)(void *)to, (uint16_t)value, __ATOMIC_SEQ_CST);
    else if (bytes == 4)
        __atomic_store_n((uint32_t *)(void *)to, (uint32_t)value, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n((uint64_t *)(void *)to, value, __ATOMIC_SEQ_CST);
}

/* What a register gets: extended by the sign where there is one, cut to the register's width. */
static uint64_t extended(const struct access *access, uint64_t value)
{
    if (access->is_signed) {
        int shift = 64 - 8 * access->bytes;
        value = (uint64_t)((int64_t)(value << shift) >> shift);
    }
    return access->register_bits == 16 ? (uint16_t)value : value;
}

static void put_cell(struct warp *warp, const struct access *access, int element, int lane, uint64_t value)
{
    void *cells = warp_destination(warp, access->registers[element]);
    value = extended(access, value);
    if (access->register_bits == 64)
        ((uint64_t *)cells)[lane] = value;
    else
        ((uint32_t *)cells)[lane] = (uint32_t)value;
}

static uint64_t get_cell(const struct warp *warp, const struct access *access, int element, int lane)
{
    const void *cells = warp_source(warp, access->registers[element]);
    return access->register_bits == 64 ? ((const uint64_t *)cells)[lane] : ((const uint32_t *)cells)[lane];
}

static void load_lane(struct warp *warp, const struct access *access, int lane, const uint8_t *from)
{
    for (int i = 0; i < access->count; i++)
        put_cell(warp, access, i, lane, read_value(from + i * access->bytes, access->bytes, access->ordered));
}

static void store_lane(const struct warp *warp, const struct access *access, int lane, uint8_t *to)
{
    for (int i = 0; i < access->count; i++)
        write_value(to + i * access->bytes, access->bytes, access->ordered, get_cell(warp, access, i, lane));
}

/* Active lanes at `origin` plus their addresses. The sizes that kernels mostly use have loops of their own. */
static void load_lanes(struct warp *warp, const struct access *access, const uint64_t *addresses, uint32_t active,
                       uintptr_t origin)
{
    bool words = access->bytes == 4 && access->register_bits == 32;
    bool halves = access->bytes == 2 && access->register_bits <= 32 && !access->is_signed;
    for (int i = 0; i < access->count; i++) {
        uint32_t *cells = warp_destination(warp, access->registers[i]);
        uintptr_t from = origin + (uintptr_t)(i * access->bytes);
        for (uint32_t left = active; left; left &= left - 1) {
            int l = __builtin_ctz(left);
            const uint8_t *place = (const uint8_t *)(from + addresses[l]);
            if (words)
                memcpy(&cells[l], place, 4);
            else if (halves)
                cells[l] = *(const uint16_t *)(const void *)place;
            else
                put_cell(warp, access, i, l, read_value(place, access->bytes, false));
        }
    }
}

static void store_lanes(const struct warp *warp, const struct access *access, const uint64_t *addresses,
                        uint32_t active, uintptr_t origin)
{
    bool words = access->bytes == 4 && access->register_bits == 32;
    bool halves = access->bytes == 2 && access->register_bits <= 32;
    for (int i = 0; i < access->count; i++) {
        const uint32_t *cells = warp_source(warp, access->registers[i]);
        uintptr_t to = origin + (uintptr_t)(i * access->bytes);
        for (uint32_t left = active; left; left &= left - 1) {
            int l = __builtin_ctz(left);
            uint8_t *place = (uint8_t *)(to + addresses[l]);
            if (words)
                memcpy(place, &cells[l], 4);
            else if (halves)
                *(uint16_t *)(void *)place = (uint16_t)cells[l];
            else
                write_value(place, access->bytes, false, get_cell(warp, access, i, l));
        }
    }
}

/* All lanes from one place. */
static void load_same(struct warp *warp, const struct access *access, const uint8_t *from)
{
    for (int i = 0; i < access->count; i++) {
        uint64_t value = extended(access, read_value(from + i * access->bytes, access->bytes, access->ordered));
        void *cells = warp_destination(warp, access->registers[i]);
        if (access->register_bits == 64)
            warp->isa->fill64(cells, value);
        else
            warp->isa->fill32(cells, (uint32_t)value);
    }
}

/* All lanes from one run of bytes, lane after lane. */
static void load_run(struct warp *warp, const struct access *access, const uint8_t *from)
{
    int bytes = access->bytes, count = access->count;
    if (bytes == 4 && access->register_bits == 32) {
        uint32_t *cells[PTX_VECTOR_MAX];
        for (int i = 0; i < count; i++)
            cells[i] = warp_destination(warp, access->registers[i]);
        warp->isa->load_vectors(cells, from, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        uint32_t *cells = warp_destination(warp, access->registers[i]);
        if (bytes == 2 && !access->is_signed && access->register_bits == 16) {
            for (int l = 0; l < LANES; l++) {
                uint16_t half;
                memcpy(&half, from + 2 * (l * count + i), 2);
                cells[l] = half;
            }
        } else {
            for (int l = 0; l < LANES; l++)
                put_cell(warp, access, i, l, read_value(from + bytes * (l * count + i), bytes, false));
        }
    }
}

static void store_run(const struct warp *warp, const struct access *access, uint8_t *to)
{
    int bytes = access->bytes, count = access->count;
    if (bytes == 4 && access->register_bits == 32) {
        const uint32_t *cells[PTX_VECTOR_MAX];
        for (int i = 0; i < count; i++)
            cells[i] = warp_source(warp, access->registers[i]);
        warp->isa->store_vectors(cells, to, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        const uint32_t *cells = warp_source(warp, access->registers[i]);
        if (bytes == 2 && access->register_bits <= 32) {
            for (int l = 0; l < LANES; l++) {
                uint16_t half = (uint16_t)cells[l];
                memcpy(to + 2 * (l * count + i), &half, 2);
            }
        } else {
            for (int l = 0; l < LANES; l++)
                write_value(to + bytes * (l * count + i), bytes, false, get_cell(warp, access, i, l));
        }
    }
}

static const char *verb(const struct access *access)
{
    return access->operation ? "updates" : access->load ? "reads" : "writes";
}

/* ---- global memory ---- */

/* Sectors of 32 bytes, of lanes in their order; neighbours mostly share one or follow. No access crosses a sector's
 * end, since it is aligned. */
void count_sectors(const uint64_t *addresses, uint32_t active, uint64_t *sectors)
{
    uint64_t seen[LANES], highest = 0, last = UINT64_MAX;
    int count = 0;
    for (uint32_t left = active; left; left &= left - 1) {
        uint64_t sector = addresses[__builtin_ctz(left)] >> 5;
        bool known = sector == last;
        for (int i = count - 1; !known && sector <= highest && i >= 0; i--)
            known = seen[i] == sector;
        last = sector;
        if (known)
            continue;
        seen[count++] = sector;
        highest = sector > highest ? sector : highest;
    }
    *sectors += (uint64_t)count;
}

static void count_global(struct warp *warp, const struct access *access, uint64_t bytes, uint64_t sectors)
{
    if (access->load) {
        warp->counters->load_bytes += bytes;
        warp->counters->load_sectors += sectors;
    }
    if (access->store) {
        warp->counters->store_bytes += bytes;
        warp->counters->store_sectors += sectors;
    }
}

/* The whole warp at one run of bytes or, reading, at one place. False, with nothing done, where that cannot be, for
 * whatever reason: then lane by lane. */
static bool global_regular(struct warp *warp, const struct op *op, const struct access *access, uint64_t first,
                           int lane_bytes, enum pattern pattern)
{
    bool same = pattern == PATTERN_SAME;
    uint64_t bytes = same ? (uint64_t)lane_bytes : (uint64_t)lane_bytes * LANES;
    const struct hint *hint = access_find(warp, op, first, bytes);
    if (!hint || first & (uint64_t)(lane_bytes - 1) || (access->store && (same || hint->read_only)))
        return false;
    uint8_t *place = (uint8_t *)(uintptr_t)first;
    size_t at = first - hint->begin;
    if (access->load && shadow_written(hint->written, at, bytes) < bytes)
        return false;
    if (same) {
        load_same(warp, access, place);
    } else if (access->load) {
        load_run(warp, access, place);
    } else {
        store_run(warp, access, place);
        shadow_mark(hint->written, at, bytes);
    }
    uint64_t sectors = ((first + bytes - 1) >> 5) - (first >> 5) + 1;
    count_global(warp, access, (uint64_t)lane_bytes * LANES, sectors);
    return true;
}

static bool global_lane(struct warp *warp, const struct op *op, const struct access *access, int lane, uint64_t address,
                        int bytes)
{
    const struct hint *hint = access_find(warp, op, address, (uint64_t)bytes);
    if (!hint)
        return warp_fault_address(warp, op, lane, verb(access), address, bytes);
    if (address & (uint64_t)(bytes - 1))
        return warp_fault(warp, op, lane, "%s %d bytes at 0x%llx, which is misaligned", verb(access), bytes,
                          (unsigned long long)address);
    if (access->store && hint->read_only)
        return warp_fault(warp, op, lane, "writes constant memory at 0x%llx", (unsigned long long)address);
    uint8_t *place = (uint8_t *)(uintptr_t)address;
    size_t at = address - hint->begin;
    if (access->load && !shadow_has(hint->written, at, bytes))
        return warp_fault_address(warp, op, lane, "reads what nothing wrote:", address, bytes);
    if (access->operation)
        return atomic_lane(warp, op, lane, place, false);
    if (access->load) {
        load_lane(warp, access, lane, place);
    } else {
        store_lane(warp, access, lane, place);
        shadow_put(hint->written, at, bytes);
    }
    return true;
}

/* Lanes at any places within one allocation, checked together; false where that cannot be done, for whatever reason. */
static bool global_gather(struct warp *warp, const struct op *op, const struct access *access,
                          const uint64_t *addresses, uint32_t active, int bytes)
{
    uint64_t low, high, bits;
    warp->isa->range(addresses, active, &low, &high, &bits);
    const struct hint *hint =
        high - low > (uint64_t)1 << 40 ? NULL : access_find(warp, op, low, high - low + (uint64_t)bytes);
    if (!hint || bits & (uint64_t)(bytes - 1) || access->operation || access->ordered ||
        (access->store && hint->read_only))
        return false;
    for (uint32_t left = access->load ? active : 0; left; left &= left - 1)
        if (!shadow_has(hint->written, addresses[__builtin_ctz(left)] - hint->begin, bytes))
            return false;
    if (access->load) {
        load_lanes(warp, access, addresses, active, 0);
        return true;
    }
    store_lanes(warp, access, addresses, active, 0);
    for (uint32_t left = active; left; left &= left - 1)
        shadow_put(hint->written, addresses[__builtin_ctz(left)] - hint->begin, bytes);
    return true;
}

/* What lies where the lanes store, of those for which all of it was written. */
struct before {
    uint32_t lanes;
    uint8_t bytes[LANES][32]; /* sm_100 has vectors of so many */
};

static void look_before(struct warp *warp, const struct op *op, const uint64_t *addresses, uint32_t active, int bytes,
                        struct before *before)
{
    before->lanes = 0;
    for (uint32_t left = active; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        const struct hint *hint = access_find(warp, op, addresses[l], (uint64_t)bytes);
        bool misaligned = addresses[l] & (uint64_t)(bytes - 1);
        if (!hint || misaligned || !shadow_has(hint->written, addresses[l] - hint->begin, bytes))
            continue;
        before->lanes |= 1u << l;
        memcpy(before->bytes[l], (const void *)(uintptr_t)addresses[l], (size_t)bytes);
    }
}

static bool race_lanes(struct warp *warp, const struct op *op, const struct access *access, const uint64_t *addresses,
                       uint32_t active, const struct before *before)
{
    int bytes = access->bytes * access->count;
    struct race_use use = {.load = access->load || access->operation,
                           .store = access->store || access->operation,
                           .ordered = access->ordered || access->operation};
    bool stores = access->store && !access->operation;
    for (uint32_t left = access->space == PTX_CONST ? 0 : active; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        use.silent = stores && before->lanes >> l & 1 &&
                     memcmp(before->bytes[l], (const void *)(uintptr_t)addresses[l], (size_t)bytes) == 0;
        if (!race_access(warp, op, l, addresses[l], bytes, use))
            return false;
    }
    return true;
}

static bool run_global(struct warp *warp, const struct op *op, const struct access *access, const uint64_t *addresses,
                       uint32_t active)
{
    int bytes = access->bytes * access->count;
    struct before before;
    if (warp->block->launch->races && access->store)
        look_before(warp, op, addresses, active, bytes, &before);
    uint32_t left = global_gather(warp, op, access, addresses, active, bytes) ? 0 : active;
    for (; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        if (!global_lane(warp, op, access, l, addresses[l], bytes))
            return false;
    }
    if (warp->block->launch->races && !race_lanes(warp, op, access, addresses, active, &before))
        return false;
    uint64_t sectors = 0;
    count_sectors(addresses, active, &sectors);
    count_global(warp, access, (uint64_t)bytes * (uint64_t)__builtin_popcount(active), sectors);
    return true;
}

/* ---- shared memory ---- */

static bool shared_lane(struct warp *warp, const struct op *op, const struct access *access, int lane, uint64_t address,
                        int bytes)
{
    uint8_t *place = warp->block->shared.bytes + address;
    if (access->operation)
        return shared_use(warp, op, lane, address, bytes, SHARED_UPDATE) && atomic_lane(warp, op, lane, place, true);
    if (!shared_use(warp, op, lane, address, bytes, access->load ? SHARED_READ : SHARED_WRITE))
        return false;
    if (access->load)
        load_lane(warp, access, lane, place);
    else
        store_lane(warp, access, lane, place);
    return true;
}

static bool run_shared(struct warp *warp, const struct op *op, const struct access *access, const uint64_t *addresses,
                       uint32_t active)
{
    int bytes = access->bytes * access->count;
    bool together = !access->operation && !access->ordered;
    enum shared_use use = access->load ? SHARED_READ : SHARED_WRITE;
    uint32_t left = together ? shared_lanes(warp, addresses, active, bytes, use) : active;
    for (uint32_t rest = left; rest; rest &= rest - 1) {
        int l = __builtin_ctz(rest);
        if (together ? !shared_use(warp, op, l, addresses[l], bytes, use)
                     : !shared_lane(warp, op, access, l, addresses[l], bytes))
            return false;
    }
    uintptr_t origin = (uintptr_t)warp->block->shared.bytes;
    if (together && access->load)
        load_lanes(warp, access, addresses, active, origin);
    else if (together)
        store_lanes(warp, access, addresses, active, origin);
    count_conflicts(warp, addresses, active, bytes);
    return true;
}

/* The whole warp at one run of bytes or, reading, at one place: as global_regular. */
static bool shared_regular(struct warp *warp, const struct op *op, const struct access *access, uint64_t first,
                           int lane_bytes, enum pattern pattern)
{
    uint8_t *place = warp->block->shared.bytes + first;
    if (pattern == PATTERN_SAME) {
        if (access->store || !shared_use(warp, op, 0, first, lane_bytes, SHARED_READ))
            return false;
        load_same(warp, access, place);
        return true;
    }
    if (!shared_run(warp, first, lane_bytes, access->load ? SHARED_READ : SHARED_WRITE))
        return false;
    if (access->load)
        load_run(warp, access, place);
    else
        store_run(warp, access, place);
    return true;
}

/* ---- local and parameter memory ---- */

static bool local_lane(struct warp *warp, const struct op *op, const struct access *access, int lane, uint64_t address,
                       int bytes)
{
    const struct sim_kernel *kernel = warp->block->launch->kernel;
    uint64_t size = (uint64_t)kernel->local_bytes;
    if (address >= size || (uint64_t)bytes > size - address)
        return warp_fault(warp, op, lane, "%s %d bytes at %lld of %llu bytes of local memory", verb(access), bytes,
                          (long long)address, (unsigned long long)size);
    if (address & (uint64_t)(bytes - 1))
        return warp_fault(warp, op, lane, "%s %d bytes at %llu of local memory, which is misaligned", verb(access),
                          bytes, (unsigned long long)address);
    size_t at = (size_t)lane * kernel->local_stride + address;
    if (access->load && !shadow_has(warp->local_written, at, bytes))
        return warp_fault(warp, op, lane, "reads what nothing wrote: %d bytes at %llu of local memory", bytes,
                          (unsigned long long)address);
    if (access->operation)
        return warp_fault(warp, op, lane, "atomics have no place in local memory");
    if (access->load) {
        load_lane(warp, access, lane, warp->local + at);
    } else {
        store_lane(warp, access, lane, warp->local + at);
        shadow_put(warp->local_written, at, bytes);
    }
    return true;
}

static bool parameter_lane(struct warp *warp, const struct op *op, const struct access *access, int lane,
                           uint64_t address, int bytes)
{
    const struct launch *launch = warp->block->launch;
    uint64_t size = (uint64_t)launch->kernel->parameter_bytes;
    if (!access->load || access->store)
        return warp_fault(warp, op, lane, "writes its parameters");
    if (address >= size || (uint64_t)bytes > size - address)
        return warp_fault(warp, op, lane, "reads %d bytes at %lld of %llu bytes of parameters", bytes,
                          (long long)address, (unsigned long long)size);
    if (address & (uint64_t)(bytes - 1))
        return warp_fault(warp, op, lane, "reads %d bytes at %llu of the parameters, which is misaligned", bytes,
                          (unsigned long long)address);
    load_lane(warp, access, lane, launch->parameters + address);
    return true;
}

/* ---- all spaces ---- */

static bool in_space(struct warp *warp, const struct op *op, enum ptx_space space, const uint64_t *addresses,
                     uint32_t active)
{
    const struct access *access = op->detail;
    if (space == PTX_GLOBAL || space == PTX_CONST)
        return run_global(warp, op, access, addresses, active);
    if (space == PTX_SHARED)
        return run_shared(warp, op, access, addresses, active);
    int bytes = access->bytes * access->count;
    for (uint32_t left = active; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        bool good = space == PTX_LOCAL ? local_lane(warp, op, access, l, addresses[l], bytes)
                                       : parameter_lane(warp, op, access, l, addresses[l], bytes);
        if (!good)
            return false;
    }
    return true;
}

/* Generic addresses: lanes are sorted by the window in which theirs lies. */
static bool run_generic(struct warp *warp, const struct op *op, uint64_t *addresses, uint32_t active)
{
    static const enum ptx_space spaces[] = {PTX_GLOBAL, PTX_SHARED, PTX_LOCAL, PTX_PARAM};
    for (uint32_t window = 0; window < sizeof spaces / sizeof *spaces; window++) {
        uint32_t inside = 0;
        for (int l = 0; l < LANES; l++)
            if (addresses[l] >> WINDOW_SHIFT == window)
                inside |= 1U << l;
        inside &= active;
        active &= ~inside;
        if (!inside)
            continue;
        uint64_t within[LANES];
        for (int l = 0; l < LANES; l++)
            within[l] = addresses[l] - WINDOW(window);
        if (!in_space(warp, op, spaces[window], within, inside))
            return false;
    }
    if (!active)
        return true;
    const struct access *access = op->detail;
    int lane = __builtin_ctz(active);
    return warp_fault_address(warp, op, lane, verb(access), addresses[lane], access->bytes * access->count);
}

/* The fast way for whole warps whose addresses follow each other or are the same; false where it cannot be taken. */
static bool run_regular(struct warp *warp, const struct op *op, const struct access *access)
{
    const void *base = warp_source(warp, op->a);
    int bytes = access->bytes * access->count;
    enum pattern pattern = access->wide_address ? warp->isa->pattern64(base, (uint64_t)bytes)
                                                : warp->isa->pattern32(base, (uint32_t)bytes);
    if (pattern == PATTERN_ANY)
        return false;
    uint64_t first = access->wide_address ? *(const uint64_t *)base + op->immediate
                                          : (uint32_t)(*(const uint32_t *)base + (uint32_t)op->immediate);
    return access->space == PTX_SHARED ? shared_regular(warp, op, access, first, bytes, pattern)
                                       : global_regular(warp, op, access, first, bytes, pattern);
}

bool run_access(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct access *access = op->detail;
    uint64_t addresses[LANES];
    bool fast = access->regular && (access->space == PTX_SHARED || !warp->block->launch->races);
    if (active == UINT32_MAX && fast && run_regular(warp, op, access))
        return true;
    access_addresses(warp, op->a, access->wide_address, op->immediate, addresses);
    if (access->space == PTX_GENERIC)
        return run_generic(warp, op, addresses, active);
    return in_space(warp, op, access->space, addresses, active);
}

bool run_parameter(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct access *access = op->detail;
    const uint8_t *place = warp->block->launch->parameters + op->immediate;
    if (active == UINT32_MAX)
        load_same(warp, access, place);
    for (uint32_t left = active == UINT32_MAX ? 0 : active; left; left &= left - 1)
        load_lane(warp, access, __builtin_ctz(left), place);
    return true;
}
