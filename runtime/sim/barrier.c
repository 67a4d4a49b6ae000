/* Barriers of a block: arriving, letting go on, and what bar.red computes on the way. */
#include "runtime/sim/execute.h"

#include <string.h>

static bool same_in_all_lanes(const struct warp *warp, uint32_t operand, uint32_t active, uint32_t *value)
{
    const uint32_t *cells = warp_source(warp, operand);
    *value = cells[__builtin_ctz(active)];
    for (int l = 0; l < LANES; l++)
        if (active & (1U << l) && cells[l] != *value)
            return false;
    return true;
}

/* How many warps a barrier with a count waits for; 0 where that cannot be. */
static uint32_t counted_warps(const struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t threads = 0;
    bool good = same_in_all_lanes(warp, op->b, active, &threads) && threads % LANES == 0;
    return good && threads / LANES <= warp->block->warp_count ? threads / LANES : 0;
}

static void combine(const struct warp *warp, const struct op *op, uint32_t active, struct barrier *barrier)
{
    const struct barrier_op *detail = op->detail;
    if (!detail->operation)
        return;
    uint32_t values = (warp->predicates[op->c] ^ (detail->flip ? UINT32_MAX : 0)) & active;
    barrier->count += (uint32_t)__builtin_popcount(values);
    barrier->all &= values == active;
    barrier->any |= values != 0;
}

static int line_of(const struct block *block, uint32_t pc)
{
    const struct sim_kernel *kernel = block->launch->kernel;
    return kernel->ptx->code[kernel->ops[pc].instruction].line;
}

/* Every lane that has not ended must come to a barrier together. Whether warps that have ended are waited for, the
 * barrier's completion says (since Volta they are not: CUDA C++ Programming Guide, compute capability 7.x). */
bool barrier_arrive(struct warp *warp, const struct op *op, uint32_t active)
{
    struct block *block = warp->block;
    const struct barrier_op *detail = op->detail;
    uint32_t number, expected = 0;
    if (active != warp->live)
        warp_drop_ended(warp);
    if (active != warp->live)
        return warp_fault(warp, op, __builtin_ctz(warp->live & ~active),
                          "divergent barrier: lanes %08x of the warp wait, lanes %08x do not come", active,
                          warp->live & ~active);
    if (!same_in_all_lanes(warp, op->a, active, &number) || number >= BARRIERS_MAX)
        return warp_fault(warp, op, -1, "no barrier has this number");
    if (detail->counted && !(expected = counted_warps(warp, op, active)))
        return warp_fault(warp, op, -1, "a barrier's threads must be whole warps of the block");
    struct barrier *barrier = &block->barriers[number];
    if (!barrier->arrived)
        *barrier = (struct barrier){.expected = expected, .all = 1, .first_op = warp->pc};
    else if ((!expected || expected == block->warp_count) && barrier->first_op != warp->pc)
        return warp_fault(warp, op, -1, "divergent barrier: another warp waits at PTX line %d",
                          line_of(block, barrier->first_op));
    combine(warp, op, active, barrier);
    barrier->arrived++;
    barrier->arrived_mask |= 1U << warp->number;
    warp->state = WARP_WAITS;
    warp->barrier = number;
    return true;
}

/* The barrier has been passed: bar.red's result. */
bool barrier_finish(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct barrier_op *detail = op->detail;
    const struct barrier *barrier = &warp->passed;
    warp->counters->barriers++;
    if (detail->operation == 'p') {
        uint32_t cells[LANES];
        for (int l = 0; l < LANES; l++)
            cells[l] = barrier->count;
        warp_set_register(warp, op->d, false, active, cells);
    } else if (detail->operation) {
        bool value = detail->operation == '&' ? barrier->all : barrier->any;
        warp_set_predicate(warp, op->d, active, value ? UINT32_MAX : 0);
    }
    return true;
}

static bool complete(const struct block *block, const struct barrier *barrier)
{
    uint32_t expected = barrier->expected ? barrier->expected : block->warp_count - block->done;
    return barrier->arrived && barrier->arrived >= expected;
}

static bool release(struct block *block)
{
    bool released = false;
    for (int i = 0; i < BARRIERS_MAX; i++) {
        struct barrier *barrier = &block->barriers[i];
        if (!complete(block, barrier))
            continue;
        for (uint32_t w = 0; w < block->warp_count; w++)
            if (barrier->arrived_mask & (1U << w)) {
                block->warps[w].state = WARP_READY;
                block->warps[w].released = true;
                block->warps[w].passed = *barrier;
            }
        race_barrier(block, barrier->arrived_mask);
        barrier->arrived = barrier->arrived_mask = 0;
        shared_epoch(&block->shared);
        released = true;
    }
    return released;
}

bool barrier_settle(struct block *block)
{
    struct warp *waits = NULL;
    bool ready = false;
    for (uint32_t w = 0; w < block->warp_count; w++) {
        ready = ready || block->warps[w].state == WARP_READY;
        if (block->warps[w].state == WARP_WAITS && !waits)
            waits = &block->warps[w];
    }
    if (!waits || release(block) || ready)
        return true;
    const struct op *op = &block->launch->kernel->ops[waits->pc];
    for (uint32_t w = 0; w < block->warp_count; w++)
        if (!(block->barriers[waits->barrier].arrived_mask & (1U << w)))
            return warp_fault(waits, op, -1, "divergent barrier: warp %u waits, warp %u %s", waits->number, w,
                              block->warps[w].state == WARP_DONE ? "has ended" : "waits for another barrier");
    return warp_fault(waits, op, -1, "divergent barrier: warp %u waits in vain", waits->number);
}
