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

void warp_drop_ended(struct warp *warp)
{
    const struct op *ops = warp->block->launch->kernel->ops;
    uint32_t elsewhere = warp->mask;
    for (ptrdiff_t i = arrlen(warp->splits); i-- > 0;) {
        const struct split *split = &warp->splits[i];
        if (split->pc != UINT32_MAX && ops[split->pc].kind == OP_EXIT && ops[split->pc].guard == PREDICATE_TRUE)
            warp->live &= ~(split->mask & ~elsewhere);
        elsewhere |= split->mask;
    }
}

/* At a barrier to which not all lanes have come: those that went the other way go on first, since they may end there.
 * False where they have done so already, or where there is no other way. */
static bool others_first(struct warp *warp)
{
    if (!arrlen(warp->splits))
        return false;
    struct split *other = &arrlast(warp->splits), way = *other;
    if (way.reconverge != warp->reconverge || way.pc == way.reconverge || way.waits || !(way.mask & warp->live))
        return false;
    *other = (struct split){warp->pc, warp->reconverge, warp->mask, true};
    warp->pc = way.pc;
    warp->mask = way.mask & warp->live;
    return true;
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
    struct split rest = {.pc = warp->pc + 1, .reconverge = op->reconverge, .mask = left};
    struct split meeting = {.pc = op->reconverge, .reconverge = warp->reconverge, .mask = warp->mask};
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

/* With some lanes left out: the result is blended in. */
static void run_partial(struct warp *warp, const struct op *op, uint32_t active)
{
    op->lane(warp->registers, &op->places, REGISTER_BLEND);
    warp_set_register(warp, op->d, op->wide, active, warp_source(warp, REGISTER_BLEND));
}

static void run_compare(struct warp *warp, const struct op *op, uint32_t active)
{
    const struct comparison *comparison = op->detail;
    uint32_t result = op->compare(warp->registers, &op->places);
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

/* With the CPU's rounding mode and flushing set as the instruction says. */
static void run_rounded(struct warp *warp, const struct op *op, uint32_t active)
{
    uint32_t before = get_control();
    set_control((before & ~0xe040U) | op->control);
    if (op->kind == OP_ROUNDED)
        run_partial(warp, op, active);
    else
        run_compare(warp, op, active);
    set_control(before);
}

/* What does not change which lanes run, for those that do; false after a fault. */
static bool run_op(struct warp *warp, const struct op *op, uint32_t active)
{
    switch (op->kind) {
    case OP_RUN:
        return op->run(warp, op, active);
    case OP_LANE:
        run_partial(warp, op, active);
        return true;
    case OP_COMPARE:
        run_compare(warp, op, active);
        return true;
    default:
        run_rounded(warp, op, active);
        return true;
    }
}

/* The warp has executed the ops from `first` to before `end`. */
static void count(struct warp *warp, uint32_t first, uint32_t end)
{
    uint64_t *visits = warp->block->worker->visits;
    visits[first]++;
    visits[end]--;
    warp->executed += end - first;
}

/* Runs ops one after the other up to a meeting point or one that changes which lanes run; false after a fault. */
static bool run_straight(struct warp *warp, const struct op *ops)
{
    const struct op *op = ops + warp->pc, *meeting = warp->reconverge == UINT32_MAX ? NULL : ops + warp->reconverge;
    uint8_t *registers = warp->registers;
    const uint32_t *predicates = warp->predicates;
    uint32_t mask = warp->mask;
    warp->straight = op;
    for (; op->kind < OP_CONTROL && op != meeting; op++) {
        uint32_t active = mask & (predicates[op->guard] ^ op->guard_flip);
        if (op->kind == OP_LANE && active == UINT32_MAX)
            op->lane(registers, &op->places, op->d);
        else if (active && !run_op(warp, op, active))
            return false;
    }
    count(warp, warp->pc, (uint32_t)(op - ops));
    warp->pc = (uint32_t)(op - ops);
    return true;
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

/* False where the lanes at hand have to wait; `*good` says whether there was no fault. The op is come to again when the
 * others have arrived, or have gone first, and counts once. */
static bool run_barrier(struct warp *warp, const struct op *op, uint32_t active, bool *good)
{
    if (warp->released) {
        warp->released = false;
        *good = barrier_finish(warp, op, active);
        warp->pc++;
        return *good;
    }
    if (active != warp->live && others_first(warp))
        return true;
    count(warp, warp->pc, warp->pc + 1);
    *good = barrier_arrive(warp, op, active);
    return false;
}

/* False when the warp's turn ends. */
static bool run_control(struct warp *warp, const struct op *op, bool *good)
{
    uint32_t active = warp->mask & (warp->predicates[op->guard] ^ op->guard_flip);
    if (op->kind == OP_BARRIER && active)
        return run_barrier(warp, op, active, good);
    count(warp, warp->pc, warp->pc + 1);
    if (op->kind == OP_BRANCH) {
        branch(warp, op, active);
        return true;
    }
    if (!active) {
        warp->pc++;
        return true;
    }
    if (op->kind == OP_EXIT)
        return run_exit(warp, active);
    warp->pc++; /* OP_YIELD */
    if (++warp->sleeps > SLEEPS_MAX)
        *good = warp_fault(warp, op, -1, "sleeps for ever: nobody does what it waits for");
    return false;
}

bool warp_run(struct warp *warp)
{
    const struct op *ops = warp->block->launch->kernel->ops;
    uint64_t patience = warp->block->launch->patience, end = warp->executed + TURN;
    bool good = true;
    if (warp->executed > patience)
        return warp_fault(warp, &ops[warp->pc], -1, "has executed %llu instructions and does not end",
                          (unsigned long long)warp->executed);
    while (warp->executed < end) {
        while (warp->pc == warp->reconverge)
            if (!pop(warp))
                return warp_fault(warp, &ops[warp->pc], -1, "lanes meet where none are left");
        if (!run_straight(warp, ops))
            return false;
        if (warp->pc != warp->reconverge && !run_control(warp, &ops[warp->pc], &good))
            return good;
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
        warp->isa->fill32(cells, special_of_warp(warp, which));
    }
}

void warp_set_specials(struct warp *warp, bool of_block)
{
    const struct sim_kernel *kernel = warp->block->launch->kernel;
    for (ptrdiff_t i = 0; i < arrlen(kernel->specials); i++)
        if (special_of_block(kernel->specials[i].which) == of_block)
            set_special(warp, kernel->specials[i].which, warp_destination(warp, kernel->specials[i].register_offset));
}

void warp_start(struct warp *warp)
{
    warp_set_specials(warp, true);
    uint32_t first = warp->number * LANES, threads = warp->block->launch->thread_count;
    uint32_t lanes = threads - first < LANES ? threads - first : LANES;
    warp->mask = warp->live = lanes == LANES ? UINT32_MAX : (1U << lanes) - 1;
    warp->pc = 0;
    warp->reconverge = UINT32_MAX;
    warp->predicates[PREDICATE_TRUE] = UINT32_MAX;
    warp->state = WARP_READY;
    warp->released = false;
    warp->executed = warp->sleeps = 0;
    warp->clocks = (struct clocks){0};
    arrsetlen(warp->splits, 0);
    arrsetlen(warp->copies, 0);
    arrsetlen(warp->commits, 0);
}
