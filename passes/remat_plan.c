/* Runs through a step with a bounded memory and notes what has to be computed again.
 *
 * Turn by turn, what the turn needs and is no longer there is made again, which may need other values first; then
 * room is made for what it stores. Where there is none, a value that nothing needs now is let go: the one for which
 *
 *     seconds to make it again, with all that is not there of what it needs
 *     ---------------------------------------------------------------------
 *         bytes · square root of the turns from its last use to the next
 *
 * is least. This is how Kirisame et al. choose at run time ("Dynamic Tensor Rematerialization", 2021); the whole step
 * is known here, so staleness is the true time to the next use. The networks of models/ are better served by its root
 * than by that time: a value that is cheap to make should go for a short time rather than a dear one for a long time.
 * What values that were let go are made from stays wanted: it is let go only by the same measure.
 *
 * A value is in one of four states: not made yet; there; gone though it is needed (then its recipe's loads are wanted
 * once more each); gone for good. Work is linear in uses and recipes, each times LOOKED_AT at most. */
#include "passes/heap.h"
#include "passes/remat.h"

#include <math.h>
#include <stb/stb_ds.h>

enum {
    LOOKED_AT = 64,    /* recipes that one measure may take */
    REPETITIONS = 4,   /* recipes in a plan, at most, for each value; a step that needs more goes in circles */
    SMALL_PART = 65536 /* values below this part of the budget are never let go */
};

struct state {
    bool there;
    int pins;      /* kernels that wait with it among their operands */
    int next;      /* index of the next of its uses */
    int wanted;    /* values that are gone and made from it */
    int wanted_at; /* turn in which the first of them is needed */
    int touched;   /* turn that made or used it last */
    int stamp;     /* older candidates are void */
    int seen;      /* the last measure that came here */
};

struct candidate {
    double measure;
    int value, stamp;
};

/* A kernel that waits for its operands: those up to `ready` are there and pinned. */
struct frame {
    int value;  /* -1: the turn itself */
    int *loads; /* stb_ds array */
    ptrdiff_t ready;
};

struct walk {
    struct remat_problem *problem;
    struct remat_plan *plan;
    struct state *states;   /* by value */
    struct candidate *heap; /* stb_ds array: a binary heap */
    struct frame *frames;   /* stb_ds array: a stack */
    int *pending;           /* stb_ds array: values whose loads are still to be wanted, or not any more */
    int64_t budget, live;
    int turn, measures;
};

static struct remat_value *value_of(const struct walk *walk, int value)
{
    return &walk->problem->values[value];
}

static bool has_uses(const struct walk *walk, int value)
{
    return walk->states[value].next < arrlen(value_of(walk, value)->uses);
}

static bool is_needed(const struct walk *walk, int value)
{
    return value_of(walk, value)->kept || walk->states[value].wanted > 0 || has_uses(walk, value);
}

/* ---- the candidates ---- */

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->measure != b->measure ? a->measure < b->measure : a->value < b->value;
}

HEAP_OF(struct candidate, before)

/* Seconds to make the value again with what is there now; infinite when some of it cannot be made alone, or when more
 * would have to be made than is worth a look. */
static double seconds_again(struct walk *walk, int value)
{
    int *reached = NULL, token = ++walk->measures;
    double seconds = 0;
    arrput(reached, value);
    walk->states[value].seen = token;
    for (ptrdiff_t i = 0; i < arrlen(reached); i++) {
        const struct recipe *recipe = remat_recipe(walk->problem, reached[i]);
        seconds = recipe->possible && i < LOOKED_AT ? seconds + recipe->seconds : INFINITY;
        for (int k = 0; k < recipe->load_count && seconds < INFINITY; k++) {
            struct state *state = &walk->states[recipe->loads[k]];
            if (!state->there && state->seen != token)
                arrput(reached, recipe->loads[k]);
            state->seen = token;
        }
        if (seconds == INFINITY)
            break;
    }
    arrfree(reached);
    return seconds;
}

static double measure(struct walk *walk, int value)
{
    const struct state *state = &walk->states[value];
    int next = has_uses(walk, value) ? value_of(walk, value)->uses[state->next] : state->wanted_at;
    double turns = next > state->touched + 1 ? next - state->touched : 1;
    return seconds_again(walk, value) / ((double)value_of(walk, value)->bytes * sqrt(turns));
}

static void offer(struct walk *walk, int value)
{
    double cost = measure(walk, value);
    if (cost < INFINITY)
        heap_push(&walk->heap, (struct candidate){cost, value, walk->states[value].stamp});
}

/* Nothing needs the value at present: it goes, or may go. */
static void become_idle(struct walk *walk, int value)
{
    struct state *state = &walk->states[value];
    const struct remat_value *of = value_of(walk, value);
    if (!state->there || state->pins)
        return;
    if (!is_needed(walk, value)) {
        state->there = false;
        walk->live -= of->bytes;
        return;
    }
    state->stamp++;
    if (!of->kept && of->bytes > walk->budget / SMALL_PART)
        offer(walk, value);
}

static void pin(struct walk *walk, int value)
{
    walk->states[value].pins++;
    walk->states[value].stamp++;
}

/* ---- what is gone and needed wants what it is made from ---- */

static void want_loads(struct walk *walk, int value)
{
    arrput(walk->pending, value);
    while (arrlen(walk->pending)) {
        int gone = arrpop(walk->pending);
        const struct state *own = &walk->states[gone];
        int needed_at = has_uses(walk, gone) ? value_of(walk, gone)->uses[own->next] : own->wanted_at;
        const struct recipe *recipe = remat_recipe(walk->problem, gone);
        for (int i = 0; i < recipe->load_count; i++) {
            struct state *load = &walk->states[recipe->loads[i]];
            bool forgotten = !load->there && !is_needed(walk, recipe->loads[i]);
            load->wanted_at = load->wanted && load->wanted_at < needed_at ? load->wanted_at : needed_at;
            load->wanted++;
            if (forgotten)
                arrput(walk->pending, recipe->loads[i]);
        }
    }
}

static void unwant_loads(struct walk *walk, int value)
{
    arrput(walk->pending, value);
    while (arrlen(walk->pending)) {
        const struct recipe *recipe = remat_recipe(walk->problem, arrpop(walk->pending));
        for (int i = 0; i < recipe->load_count; i++) {
            int load = recipe->loads[i];
            walk->states[load].wanted--;
            if (is_needed(walk, load))
                continue;
            if (walk->states[load].there)
                become_idle(walk, load);
            else
                arrput(walk->pending, load);
        }
    }
}

static void let_go(struct walk *walk, int value)
{
    walk->states[value].there = false;
    walk->states[value].stamp++;
    walk->live -= value_of(walk, value)->bytes;
    want_loads(walk, value);
}

/* Room for so many bytes more; false when too little can go. A measure may have grown since it was taken, when what
 * the value is made from went before it: then it is looked at again in its place. */
static bool make_room(struct walk *walk, int64_t bytes)
{
    while (walk->live + bytes > walk->budget) {
        if (!arrlen(walk->heap))
            return false;
        struct candidate best = heap_pop(&walk->heap);
        if (best.stamp != walk->states[best.value].stamp)
            continue;
        if (measure(walk, best.value) <= best.measure)
            let_go(walk, best.value);
        else
            offer(walk, best.value);
    }
    walk->plan->peak = walk->live + bytes > walk->plan->peak ? walk->live + bytes : walk->plan->peak;
    return true;
}

/* ---- one turn ---- */

/* A kernel that waits: what is there of its loads is pinned at once, the others come one by one. */
static void push_frame(struct walk *walk, int value, const int *loads, int count)
{
    struct frame frame = {.value = value};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < count; i++)
            if (walk->states[loads[i]].there == (pass == 0)) {
                arrput(frame.loads, loads[i]);
                frame.ready += pass == 0;
            }
    for (ptrdiff_t i = 0; i < frame.ready; i++)
        pin(walk, frame.loads[i]);
    arrput(walk->frames, frame);
}

static void release_frame(struct walk *walk, struct frame *frame)
{
    for (ptrdiff_t i = 0; i < arrlen(frame->loads); i++) {
        walk->states[frame->loads[i]].pins--;
        become_idle(walk, frame->loads[i]);
    }
    arrfree(frame->loads);
}

static bool run_recipe(struct walk *walk, struct frame *frame)
{
    int value = frame->value;
    struct state *state = &walk->states[value];
    if (!make_room(walk, value_of(walk, value)->bytes) ||
        walk->plan->recomputed >= REPETITIONS * walk->problem->value_count)
        return false;
    walk->live += value_of(walk, value)->bytes;
    state->there = true;
    state->touched = walk->turn;
    for (ptrdiff_t i = 0; i < arrlen(frame->loads); i++)
        walk->states[frame->loads[i]].touched = walk->turn;
    unwant_loads(walk, value);
    release_frame(walk, frame);
    arrput(walk->plan->entries, ((struct remat_entry){-1, value}));
    walk->plan->recomputed++;
    walk->plan->seconds += remat_recipe(walk->problem, value)->seconds;
    return true;
}

static bool dies(const struct walk *walk, int value)
{
    const struct state *state = &walk->states[value];
    const struct remat_value *of = value_of(walk, value);
    return !of->kept && !state->wanted && state->next + 1 >= arrlen(of->uses);
}

/* Bytes that the turn will store over values that die in it. Each store takes one of them, as pass memory does. */
static int64_t reused_bytes(struct walk *walk, const struct remat_turn *turn)
{
    int64_t reused = 0;
    if (turn->count == 1 && walk->problem->set.kernels[turn->first].joins) /* its parts are there */
        return value_of(walk, turn->stores[0])->bytes;
    int token = ++walk->measures;
    for (int i = 0; i < turn->reuse_count; i++) {
        struct state *store = &walk->states[turn->reuses[i].store], *load = &walk->states[turn->reuses[i].load];
        if (store->seen == token || load->seen == token || !dies(walk, turn->reuses[i].load))
            continue;
        store->seen = load->seen = token;
        reused += value_of(walk, turn->reuses[i].store)->bytes;
    }
    return reused;
}

static bool run_turn(struct walk *walk, struct frame *frame)
{
    const struct remat_turn *turn = &walk->problem->turns[walk->turn];
    int64_t bytes = 0;
    for (int i = 0; i < turn->store_count; i++)
        bytes += value_of(walk, turn->stores[i])->bytes;
    if (!make_room(walk, bytes - reused_bytes(walk, turn)))
        return false;
    walk->live += bytes;
    for (int i = 0; i < turn->load_count; i++) {
        walk->states[turn->loads[i]].next++;
        walk->states[turn->loads[i]].touched = walk->turn;
    }
    for (int i = 0; i < turn->store_count; i++) {
        walk->states[turn->stores[i]].there = true;
        walk->states[turn->stores[i]].touched = walk->turn;
        become_idle(walk, turn->stores[i]);
    }
    release_frame(walk, frame);
    for (int k = turn->first; k < turn->first + turn->count; k++)
        arrput(walk->plan->entries, ((struct remat_entry){k, -1}));
    return true;
}

static void free_frames(struct walk *walk)
{
    for (ptrdiff_t i = 0; i < arrlen(walk->frames); i++)
        arrfree(walk->frames[i].loads);
    arrfree(walk->frames);
}

/* What the present turn needs, and then the turn; false when there is no room. */
static bool take_turn(struct walk *walk)
{
    const struct remat_turn *turn = &walk->problem->turns[walk->turn];
    push_frame(walk, -1, turn->loads, turn->load_count);
    while (arrlen(walk->frames)) {
        struct frame *frame = &arrlast(walk->frames);
        if (frame->ready < arrlen(frame->loads)) {
            int load = frame->loads[frame->ready];
            const struct recipe *recipe = walk->states[load].there ? NULL : remat_recipe(walk->problem, load);
            if (!recipe) {
                pin(walk, load);
                frame->ready++;
            } else if (recipe->possible) {
                push_frame(walk, load, recipe->loads, recipe->load_count);
            } else {
                return false; /* it went for good, and a recipe needs it after all */
            }
            continue;
        }
        struct frame done = arrpop(walk->frames);
        if (!(done.value < 0 ? run_turn(walk, &done) : run_recipe(walk, &done))) {
            arrfree(done.loads);
            return false;
        }
    }
    return true;
}

struct remat_plan remat_plan_make(struct remat_problem *problem, int64_t budget)
{
    struct remat_plan plan = {.possible = true};
    struct arena *arena = arena_new();
    struct walk walk = {.problem = problem, .plan = &plan, .budget = budget};
    walk.states = ARENA_ARRAY(arena, struct state, problem->value_count);
    for (walk.turn = 0; plan.possible && walk.turn < problem->turn_count; walk.turn++)
        plan.possible = take_turn(&walk);
    free_frames(&walk);
    arrfree(walk.heap);
    arrfree(walk.pending);
    arena_free(arena);
    return plan;
}

void remat_plan_free(struct remat_plan *plan)
{
    arrfree(plan->entries);
    *plan = (struct remat_plan){0};
}
