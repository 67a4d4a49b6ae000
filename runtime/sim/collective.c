/* What lanes of a warp do together, and small things that concern masks: shuffles, votes, matches, sums, mma. */
#include "runtime/sim/execute.h"
#include "runtime/sim/specials.h"

#include <string.h>

/* The lanes that act together with this one: those that name the same members. All members must be here that have not
 * ended, and nobody else. Groups apart may act in one go. 0 after a fault. */
static uint32_t group_of(struct warp *warp, const struct op *op, uint32_t active, int lane)
{
    const uint32_t *members = warp_source(warp, op->e);
    uint32_t named = members[lane], group = active, others = 0;
    for (int l = 0; l < LANES; l++)
        others |= members[l] ^ named;
    for (int l = 0; others && l < LANES; l++)
        group &= members[l] == named ? UINT32_MAX : ~(1U << l);
    if (group != (named & warp->live))
        warp_drop_ended(warp);
    if (group == (named & warp->live))
        return group;
    warp_fault(warp, op, lane, "lanes %08x are to act together, lanes %08x are here", named, group);
    return 0;
}

/* PTX, shfl.sync: c holds the clamp in bits 0-4 and the segment's mask in bits 8-12. */
static int source_lane(int mode, int lane, uint32_t b, uint32_t c, bool *inside)
{
    int segment = (int)(c >> 8 & 31), clamp = (int)(c & 31), by = (int)(b & 31);
    int highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment, from;
    switch (mode) {
    case 0:
        from = lane - by;
        *inside = from >= highest;
        break;
    case 1:
        from = lane + by;
        *inside = from <= highest;
        break;
    case 2:
        from = lane ^ by;
        *inside = from <= highest;
        break;
    default:
        from = lowest | (by & ~segment);
        *inside = from <= highest;
        break;
    }
    return *inside ? from : lane;
}

static bool shuffle_group(struct warp *warp, const struct op *op, uint32_t group, uint32_t *result, uint32_t *within)
{
    const struct shuffle *shuffle = op->detail;
    const uint32_t *a = warp_source(warp, op->a), *b = warp_source(warp, op->b), *c = warp_source(warp, op->c);
    for (uint32_t left = group; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        bool inside;
        int from = source_lane(shuffle->mode, l, b[l], c[l], &inside);
        if (!(group & (1U << from)))
            return warp_fault(warp, op, l, "shuffles from lane %d, which is not one of lanes %08x", from, group);
        result[l] = a[from];
        *within |= inside ? 1U << l : 0;
    }
    return true;
}

bool run_shuffle(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct shuffle *shuffle = op->detail;
    uint32_t result[LANES] = {0}, within = 0;
    for (uint32_t left = active, group; left; left &= ~group) {
        group = group_of(warp, op, active, __builtin_ctz(left));
        if (!group || !shuffle_group(warp, op, group, result, &within))
            return false;
    }
    warp_set_register(warp, op->d, false, active, result);
    warp_set_predicate(warp, shuffle->inside, active, within);
    return true;
}

static bool vote_of(char mode, uint32_t values, uint32_t group)
{
    bool all = values == group, any = values != 0;
    return mode == 'l' ? all : mode == 'y' ? any : all || !any;
}

bool run_vote(struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t values = warp->predicates[op->a] ^ (op->target ? UINT32_MAX : 0), cells[LANES] = {0}, result = 0;
    for (uint32_t left = active, group; left; left &= ~group) {
        group = group_of(warp, op, active, __builtin_ctz(left));
        if (!group)
            return false;
        for (int l = 0; op->immediate == 'b' && l < LANES; l++)
            cells[l] = group & (1U << l) ? values & group : cells[l];
        result |= op->immediate != 'b' && vote_of((char)op->immediate, values & group, group) ? group : 0;
    }
    if (op->immediate == 'b')
        warp_set_register(warp, op->d, false, active, cells);
    else
        warp_set_predicate(warp, op->d, active, result);
    return true;
}

static bool same_cells(const void *cells, bool wide, int l, int k)
{
    return wide ? ((const uint64_t *)cells)[l] == ((const uint64_t *)cells)[k]
                : ((const uint32_t *)cells)[l] == ((const uint32_t *)cells)[k];
}

bool run_match(struct warp *warp, const struct op *op, uint32_t active)
{
    const void *cells = warp_source(warp, op->a);
    uint32_t result[LANES] = {0}, same = 0;
    bool all = op->immediate;
    for (uint32_t left = active; left; left &= left - 1) {
        int l = __builtin_ctz(left);
        uint32_t group = group_of(warp, op, active, l);
        if (!group)
            return false;
        for (int k = 0; k < LANES; k++)
            result[l] |= group & (1U << k) && same_cells(cells, op->wide, l, k) ? 1U << k : 0;
        same |= result[l] == group ? 1U << l : 0;
        result[l] = all && result[l] != group ? 0 : result[l];
    }
    warp_set_register(warp, op->d, false, active, result);
    if (all)
        warp_set_predicate(warp, op->c, active, same);
    return true;
}

static uint32_t reduce(enum redux_operation operation, uint32_t a, uint32_t b)
{
    switch (operation) {
    case REDUX_ADD:
        return a + b;
    case REDUX_MIN_U32:
        return a < b ? a : b;
    case REDUX_MIN_S32:
        return (int32_t)a < (int32_t)b ? a : b;
    case REDUX_MAX_U32:
        return a > b ? a : b;
    case REDUX_MAX_S32:
        return (int32_t)a > (int32_t)b ? a : b;
    case REDUX_AND:
        return a & b;
    case REDUX_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

bool run_redux(struct warp *warp, const struct op *op, uint32_t active)
{
    const uint32_t *a = warp_source(warp, op->a);
    uint32_t cells[LANES] = {0};
    for (uint32_t left = active, group; left; left &= ~group) {
        group = group_of(warp, op, active, __builtin_ctz(left));
        if (!group)
            return false;
        uint32_t result = a[__builtin_ctz(group)];
        for (uint32_t rest = group & (group - 1); rest; rest &= rest - 1)
            result = reduce((enum redux_operation)op->immediate, result, a[__builtin_ctz(rest)]);
        for (int l = 0; l < LANES; l++)
            cells[l] = group & (1U << l) ? result : cells[l];
    }
    warp_set_register(warp, op->d, false, active, cells);
    return true;
}

bool run_active_mask(struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t cells[LANES];
    for (int l = 0; l < LANES; l++)
        cells[l] = active;
    warp_set_register(warp, op->d, false, active, cells);
    return true;
}

bool run_sync_warp(struct warp *warp, const struct op *op, uint32_t active)
{
    for (uint32_t left = active, group; left; left &= ~group) {
        group = group_of(warp, op, active, __builtin_ctz(left));
        if (!group)
            return false;
    }
    race_sync_warp(warp);
    return true;
}

/* ---- predicates and the like ---- */

bool run_select(struct warp *warp, const struct op *op, uint32_t active)
{
    const void *a = warp_source(warp, op->a), *b = warp_source(warp, op->b);
    uint32_t mask = warp->predicates[op->c];
    bool full = active == UINT32_MAX;
    void *d = warp_destination(warp, full ? op->d : REGISTER_BLEND);
    if (op->wide)
        warp->isa->select64(d, a, b, mask);
    else
        warp->isa->select32(d, a, b, mask);
    if (!full)
        warp_set_register(warp, op->d, op->wide, active, warp_source(warp, REGISTER_BLEND));
    return true;
}

/* c and e are masks that flip the operands. */
bool run_predicate_logic(struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t a = warp->predicates[op->a] ^ op->c, b = warp->predicates[op->b] ^ op->e, result;
    switch ((char)op->immediate) {
    case 'a':
        result = a & b;
        break;
    case 'o':
        result = a | b;
        break;
    case 'x':
        result = a ^ b;
        break;
    default:
        result = ~a;
        break;
    }
    warp_set_predicate(warp, op->d, active, result);
    return true;
}

bool run_move_predicate(struct warp *warp, const struct op *op, uint32_t active)
{
    warp_set_predicate(warp, op->d, active, warp->predicates[op->a] ^ (op->immediate ? UINT32_MAX : 0));
    return true;
}

bool run_move_pair(struct warp *warp, const struct op *op, uint32_t active)
{
    warp_set_predicate(warp, op->d, active, warp->predicates[op->a]);
    warp_set_predicate(warp, op->e, active, warp->predicates[op->b]);
    return true;
}

/* c is 1 for constant memory, which lies among the global. */
bool run_space_test(struct warp *warp, const struct op *op, uint32_t active)
{
    const uint64_t *a = warp_source(warp, op->a);
    uint32_t result = 0;
    for (int l = 0; l < LANES; l++) {
        bool inside = a[l] >> WINDOW_SHIFT == op->immediate >> WINDOW_SHIFT;
        const struct sim_allocation *found = sim_memory_find(warp->block->launch->memory, a[l]);
        result |= inside && (found && found->read_only) == op->c ? 1U << l : 0;
    }
    warp_set_predicate(warp, op->d, active, result);
    return true;
}

bool run_clock(struct warp *warp, const struct op *op, uint32_t active)
{
    uint64_t wide[LANES], now = warp->executed + (uint64_t)(op - warp->straight);
    uint32_t narrow[LANES];
    for (int l = 0; l < LANES; l++) {
        wide[l] = now;
        narrow[l] = (uint32_t)(op->immediate ? now >> 32 : now);
    }
    warp_set_register(warp, op->d, op->wide, active, op->wide ? (const void *)wide : narrow);
    return true;
}

bool run_trap(struct warp *warp, const struct op *op, uint32_t active)
{
    return warp_fault(warp, op, __builtin_ctz(active), "trap");
}

/* A read-modify-write orders memory like a fence, and the thread sanitizer understands it. `immediate`: it reaches
 * other blocks. */
bool run_fence(struct warp *warp, const struct op *op, uint32_t active)
{
    if (op->immediate)
        race_fence(warp);
    (void)active;
    __atomic_fetch_add(&warp->block->launch->fences, 1, __ATOMIC_SEQ_CST);
    return true;
}

/* ---- mma ---- */

bool run_matrix(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct matrix_product *product = op->detail;
    if (active != UINT32_MAX)
        return warp_fault(warp, op, __builtin_ctz(~active), "mma needs all lanes of the warp");
    const void *a[4] = {0}, *b[2] = {0}, *c[4] = {0};
    void *d[4] = {0};
    for (int i = 0; i < product->a_count; i++)
        a[i] = warp_source(warp, product->a[i]);
    for (int i = 0; i < product->b_count; i++)
        b[i] = warp_source(warp, product->b[i]);
    for (int i = 0; i < product->sums; i++) {
        c[i] = warp_source(warp, product->c[i]);
        d[i] = warp_destination(warp, product->d[i]);
    }
    warp->counters->matrix_products++;
    warp->isa->matrix(&product->shape, d, a, b, c);
    return true;
}
