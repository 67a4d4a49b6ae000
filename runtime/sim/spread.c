/* The order of arithmetic within a stretch of straight code: ops whose operands have just been computed wait for them,
 * so others that stand behind are run in between. Compilers put the elements of a vector one after the other, so there
 * is nearly always something to do.
 *
 * Only lane ops and comparisons move, and none across anything else or a place that a branch goes to. Results, counters
 * and what faults tell stay the same: an op knows its instruction. */
#include "runtime/sim/module.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

enum {
    STRETCH_MAX = 64, /* ops that are looked at together */
    DISTANCE = 4      /* turns from one to those that need its result */
};

struct stretch {
    struct op *ops;
    int count;
    uint64_t before[STRETCH_MAX]; /* by op: those that must come first */
    uint64_t makers[STRETCH_MAX]; /* by op: those of them whose results it needs */
    int turn[STRETCH_MAX];        /* by op: when it runs */
};

static bool moves(const struct op *op)
{
    return op->kind == OP_LANE || op->kind == OP_COMPARE;
}

/* ---- who must come before whom ---- */

static bool writes_predicate(const struct op *op, uint32_t predicate)
{
    const struct comparison *comparison = op->detail;
    return predicate != PREDICATE_SINK && op->kind == OP_COMPARE &&
           (comparison->p == predicate || comparison->q == predicate);
}

static bool reads_predicate(const struct op *op, uint32_t predicate)
{
    const struct comparison *comparison = op->detail;
    return op->guard == predicate || (op->kind == OP_COMPARE && comparison->with == predicate);
}

/* A place is a register's or a constant's, so two are the same or apart. A guarded op keeps lanes of its old result. */
static bool reads_register(const struct op *op, uint32_t place)
{
    return op->a == place || op->b == place || op->c == place || op->e == place || op->d == place;
}

static bool needs(const struct op *later, const struct op *earlier)
{
    if (earlier->kind == OP_LANE)
        return reads_register(later, earlier->d);
    const struct comparison *made = earlier->detail;
    return reads_predicate(later, made->p) || reads_predicate(later, made->q);
}

/* The later one overwrites what the earlier one reads or writes. */
static bool spoils(const struct op *later, const struct op *earlier)
{
    if (later->kind == OP_LANE)
        return reads_register(earlier, later->d);
    const struct comparison *made = later->detail;
    return reads_predicate(earlier, made->p) || reads_predicate(earlier, made->q) ||
           writes_predicate(earlier, made->p) || writes_predicate(earlier, made->q);
}

static void find_order(struct stretch *stretch)
{
    for (int i = 0; i < stretch->count; i++) {
        stretch->before[i] = stretch->makers[i] = 0;
        for (int k = 0; k < i; k++) {
            uint64_t bit = UINT64_C(1) << k;
            bool needed = needs(&stretch->ops[i], &stretch->ops[k]);
            stretch->makers[i] |= needed ? bit : 0;
            stretch->before[i] |= needed || spoils(&stretch->ops[i], &stretch->ops[k]) ? bit : 0;
        }
    }
}

/* ---- turns ---- */

/* How long ago the last of what the op needs was computed, at most DISTANCE. */
static int waited(const struct stretch *stretch, int i, int now)
{
    int least = DISTANCE;
    for (uint64_t makers = stretch->makers[i]; makers; makers &= makers - 1) {
        int since = now - stretch->turn[__builtin_ctzll(makers)];
        least = since < least ? since : least;
    }
    return least;
}

/* The first of those that wait for nothing, else the one that has waited longest. */
static int choose(const struct stretch *stretch, uint64_t done, int now)
{
    int chosen = 0, longest = 0; /* one is always free, and has waited a turn at least */
    for (int i = 0; i < stretch->count && longest < DISTANCE; i++) {
        if (done >> i & 1 || stretch->before[i] & ~done)
            continue;
        int time = waited(stretch, i, now);
        chosen = time > longest ? i : chosen;
        longest = time > longest ? time : longest;
    }
    return chosen;
}

static void spread(struct stretch *stretch)
{
    struct op ordered[STRETCH_MAX];
    uint64_t done = 0;
    find_order(stretch);
    for (int now = 0; now < stretch->count; now++) {
        int i = choose(stretch, done, now);
        stretch->turn[i] = now;
        done |= UINT64_C(1) << i;
        ordered[now] = stretch->ops[i];
    }
    for (int i = 0; i < stretch->count; i++)
        stretch->ops[i] = ordered[i];
}

bool sim_spread(struct sim_kernel *kernel)
{
    int count = (int)arrlen(kernel->ops);
    bool *leads = calloc((size_t)count + 1, sizeof *leads);
    if (!leads)
        return false;
    for (int i = 0; i < count; i++)
        if (kernel->ops[i].kind == OP_BRANCH)
            leads[kernel->ops[i].target] = leads[kernel->ops[i].reconverge] = true;
    for (int i = 0; i < count;) {
        struct stretch stretch = {.ops = &kernel->ops[i]};
        while (stretch.count < STRETCH_MAX && i < count && moves(&kernel->ops[i]) && !(stretch.count && leads[i])) {
            stretch.count++;
            i++;
        }
        if (stretch.count > 2)
            spread(&stretch);
        i += stretch.count == 0;
    }
    free(leads);
    return true;
}
