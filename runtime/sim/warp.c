/* The interpreter: one warp's instructions with a mask of active lanes.
 *
 * Where a branch splits the warp, the way not taken at once and the meeting point are pushed, and lanes wait at the
 * meeting point (the branch's immediate post-dominator) for the others. */
#include "runtime/sim/execute.h"

#include "runtime/sim/specials.h"

#include <stb/stb_ds.h>
#include <xmmintrin.h>

/* A warp's turn, in instructions, before the others of its block and then other blocks have theirs. */
enum { TURN = 1 << 16 };
/* Sleeping this often without end is waiting for something that cannot come. */
#define SLEEPS_MAX ((uint64_t)1 << 24)

static uint32_t get_control(void)
{
    return _mm_getcsr();
}

static void set_control(uint32_t control)
{
    _mm_setcsr(control);
}

/* Goes on with the innermost way that still has lanes; false when none is left. */
static bool pop(struct warp *warp)
{
    while (arrlen(warp->splits)) {
        struct split split = arrpop(warp->splits);
        split.mask &= warp->live;
        if (!split.mask)
            continue;
        warp->pc = split.pc;
        warp->reconverge = split.reconverge;
        warp->mask = split.mask;
        return true;
    }
    return false;
}

/* `taken` of the active lanes jump. Ways that are at the meeting point already have nothing to do. */
static void branch(struct warp *warp, const struct op *op, uint32_t taken)
{
    uint32_t left = warp->mask & ~taken;
    if (!taken || !left) {
        warp->pc = taken ? op->target : warp->pc + 1;
        return;
    }
    warp->counters->divergent_branches++;
    struct split rest = {warp->pc + 1, op->reconverge, left}, meeting = {op->reconverge, warp->reconverge, warp->mask};
    if (op->reconverge != warp->reconverge)
        arrput(warp->splits, meeting);
    warp->reconverge = op->reconverge;
    warp->mask = taken;
    warp->pc = op->target;
    if (op->target == op->reconverge) {
        warp->mask = left;
        warp->pc = rest.pc;
    } else if (rest.pc != op->reconverge) {
        arrput(warp->splits, rest);
    }
}

static void run_lane(struct warp *warp, const struct op *op, uint32_t active)
{
    const void *a = warp_source(warp, op->a), *b = warp_source(warp, op->b);
    const void *c = warp_source(warp, op->c), *e = warp_source(warp, op->e);
    void *d = warp_destination(warp, op->d);
    if (active == UINT32_MAX) {
        op->lane(d, a, b, c, e);
        return;
    }
    op->lane(warp->scratch, a, b, c, e);
    if (op->wide)
        warp->isa->blend64(d, warp->scratch, active);
    else
        warp->isa->blend32(d, warp->scratch, active);
}

static void run_compare(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct comparison *comparison = op->detail;
    uint32_t result = op->compare(warp_source(warp, op->a), warp_source(warp, op->b));
    uint32_t with = warp->predicates[comparison->with] ^ (comparison->with_flip ? UINT32_MAX : 0);
    uint32_t opposite = ~result;
    switch (comparison->combine) {
    case '&':
        result &= with;
        opposite &= with;
        break;
    case '|':
        result |= with;
        opposite |= with;
        break;
    case '^':
        result ^= with;
        opposite ^= with;
        break;
    default:
        break;
    }
    warp_set_predicate(warp, comparison->p, active, result);
    if (comparison->q != PREDICATE_SINK)
        warp_set_predicate(warp, comparison->q, active, opposite);
}

/* The same with the CPU's rounding mode and flushing set as the instruction says. */
static void run_controlled(struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t before = get_control();
    set_control((before & ~0xe040U) | op->control);
    if (op->kind == OP_LANE)
        run_lane(warp, op, active);
    else
        run_compare(warp, op, active);
    set_control(before);
}

static bool run_exit(struct warp *warp, uint32_t active)
{
    warp->live &= ~active;
    warp->mask &= ~active;
    if (warp->mask) {
        warp->pc++;
        return true;
    }
    if (pop(warp))
        return true;
    warp->state = WARP_DONE;
    return false;
}

/* False where the warp has to wait; `*good` says whether there was no fault. */
static bool run_barrier(struct warp *warp, const struct op *op, uint32_t active, bool *good)
{
    if (warp->released) {
        warp->released = false;
        *good = barrier_finish(warp, op, active);
        warp->pc++;
        return *good;
    }
    *good = barrier_arrive(warp, op, active);
    return false;
}

/* Everything but the fast kinds; false when the warp's turn ends. */
static bool run_other(struct warp *warp, const struct op *op, uint32_t active, bool *good)
{
    switch (op->kind) {
    case OP_LANE:
    case OP_COMPARE:
        run_controlled(warp, op, active);
        warp->pc++;
        return true;
    case OP_EXIT:
        return run_exit(warp, active);
    case OP_BARRIER:
        return run_barrier(warp, op, active, good);
    default: /* OP_YIELD */
        warp->pc++;
        if (++warp->sleeps > SLEEPS_MAX)
            *good = warp_fault(warp, op, -1, "sleeps for ever: nobody does what it waits for");
        return false;
    }
}

bool warp_run(struct warp *warp)
{
    const struct op *ops = warp->block->launch->kernel->ops;
    uint64_t *counts = warp->counters->instructions;
    uint64_t patience = warp->block->launch->patience;
    bool good = true;
    if (patience && warp->executed > patience)
        return warp_fault(warp, &ops[warp->pc], -1, "has executed %llu instructions and does not end",
                          (unsigned long long)warp->executed);
    for (int turn = 0; turn < TURN; turn++) {
        while (warp->pc == warp->reconverge)
            if (!pop(warp))
                return warp_fault(warp, &ops[warp->pc], -1, "lanes meet where none are left");
        const struct op *op = &ops[warp->pc];
        uint32_t active = warp->mask & (warp->predicates[op->guard] ^ (op->guard_flip ? UINT32_MAX : 0));
        if (!(op->kind == OP_BARRIER && warp->released))
            counts[op->class]++;
        warp->executed++;
        if (op->kind == OP_BRANCH) {
            branch(warp, op, active);
            continue;
        }
        if (!active) {
            warp->pc++;
            continue;
        }
        if (op->kind == OP_LANE && !op->control) {
            run_lane(warp, op, active);
            warp->pc++;
        } else if (op->kind == OP_RUN) {
            if (!op->run(warp, op, active))
                return false;
            warp->pc++;
        } else if (op->kind == OP_COMPARE && !op->control) {
            run_compare(warp, op, active);
            warp->pc++;
        } else if (!run_other(warp, op, active, &good)) {
            return good;
        }
    }
    return true;
}

/* ---- starting ---- */

/* The thread's place in the block, axis by axis, counted up without dividing. */
static void set_thread(const struct warp *warp, int axis, uint32_t *cells)
{
    const uint32_t *threads = warp->block->launch->threads;
    uint32_t first = warp->number * LANES;
    uint32_t at[3] = {first % threads[0], first / threads[0] % threads[1], first / threads[0] / threads[1]};
    for (int l = 0; l < LANES; l++) {
        cells[l] = at[axis];
        if (++at[0] < threads[0])
            continue;
        at[0] = 0;
        if (++at[1] < threads[1])
            continue;
        at[1] = 0;
        at[2]++;
    }
}

static uint32_t special_of_lane(int which, int lane)
{
    uint32_t bit = 1U << lane;
    switch (which) {
    case SPECIAL_LANEID:
        return (uint32_t)lane;
    case SPECIAL_LANEMASK_EQ:
        return bit;
    case SPECIAL_LANEMASK_LT:
        return bit - 1;
    case SPECIAL_LANEMASK_LE:
        return bit | (bit - 1);
    case SPECIAL_LANEMASK_GT:
        return ~(bit | (bit - 1));
    default: /* SPECIAL_LANEMASK_GE */
        return ~(bit - 1);
    }
}

static void set_special(struct warp *warp, int which, uint32_t *cells)
{
    if (which <= SPECIAL_TID_Z) {
        set_thread(warp, which - SPECIAL_TID_X, cells);
    } else if (which == SPECIAL_LANEID || (which >= SPECIAL_LANEMASK_EQ && which <= SPECIAL_LANEMASK_GT)) {
        for (int l = 0; l < LANES; l++)
            cells[l] = special_of_lane(which, l);
    } else {
        uint32_t value = special_of_warp(warp, which);
        for (int l = 0; l < LANES; l++)
            cells[l] = value;
    }
}

bool warp_start(struct warp *warp)
{
    const struct sim_kernel *kernel = warp->block->launch->kernel;
    for (ptrdiff_t i = 0; i < arrlen(kernel->specials); i++) {
        uint32_t *cells = warp_destination(warp, kernel->specials[i].register_offset);
        set_special(warp, kernel->specials[i].which, cells);
    }
    uint32_t first = warp->number * LANES, threads = warp->block->launch->thread_count;
    uint32_t lanes = threads - first < LANES ? threads - first : LANES;
    warp->mask = warp->live = lanes == LANES ? UINT32_MAX : (1U << lanes) - 1;
    warp->pc = 0;
    warp->reconverge = UINT32_MAX;
    warp->predicates[PREDICATE_TRUE] = UINT32_MAX;
    warp->state = WARP_READY;
    warp->released = false;
    warp->executed = warp->sleeps = 0;
    warp->open_group = warp->done_group = 0;
    arrsetlen(warp->splits, 0);
    arrsetlen(warp->copies, 0);
    return true;
}
