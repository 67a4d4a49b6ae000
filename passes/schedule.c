/* Pass schedule: the order of kernels.
 *
 * Two orders are made and the one whose live values need less memory at their peak is kept: the order in which the
 * kernels stand in the graph, and a greedy one that always runs the ready kernel that frees most (what it stores less
 * what dies with it). A kernel that writes a variable waits, where the dependences allow it, until all other kernels
 * that read the old value have run, so that pass memory can let it write in place. In either order a kernel that
 * continues the strip (strips.h) of those before it comes first.
 *
 * Requires: fused. Preserves: everything but the order of nodes and the numbers of kernels, which become their order of
 * execution; the stored nodes of a kernel follow each other. */
#include "passes/heap.h"
#include "passes/kernels.h"
#include "passes/order.h"
#include "passes/pass.h"
#include "passes/strips.h"
#include "passes/view.h"

#include <stb/stb_ds.h>
#include <string.h>

struct task {
    int *users, *providers;    /* stb_ds arrays of kernels: values needed by them, values needed here */
    int *earlier, *later;      /* readers of what this kernel overwrites; kernels that overwrite what this one reads */
    int waiting, soft_waiting; /* providers and earlier kernels that have not run */
    bool done;
    int64_t stored_bytes;
    int position; /* in the graph */
};

/* A value in memory: what one kernel stores and others load. */
struct value {
    int64_t bytes;
    int users_left;
};

struct scheduler {
    const struct target *target;
    struct kernel_set set;
    struct task *tasks;
    struct value *values; /* by node id */
    ptrdiff_t value_count;
};

static int64_t stored_bytes(const struct scheduler *scheduler, const struct node *node)
{
    if (node->op == OP_write)
        return 0;
    enum element storage = scheduler->target->storage[node->type.element];
    return shape_elements(&node->type.shape) * (int64_t)element_bytes(storage);
}

/* ---- dependences ---- */

struct readers {
    const char *key; /* variable, interned */
    int *value;      /* kernels that read it */
};

static void add_dependences(struct scheduler *scheduler, int kernel)
{
    const struct kernel_use *use = &scheduler->set.kernels[kernel];
    struct task *task = &scheduler->tasks[kernel];
    for (int i = 0; i < use->load_count; i++) {
        int provider = use->loads[i]->kernel - 1;
        if (provider < 0)
            continue;
        arrput(task->providers, provider);
        arrput(scheduler->tasks[provider].users, kernel);
        scheduler->values[use->loads[i]->id].users_left++;
    }
    for (int i = 0; i < use->store_count; i++) {
        struct value *value = &scheduler->values[use->stores[i]->id];
        value->bytes = stored_bytes(scheduler, use->stores[i]);
        if (use->stores[i]->op == OP_output)
            value->users_left = 1; /* kept to the end */
        task->stored_bytes += value->bytes;
    }
    task->position = use->store_count ? use->stores[use->store_count - 1]->id : 0;
}

/* The entry of a variable in the table of readers; -1 when there is none and none is to be made. */
static ptrdiff_t find_readers(struct readers **readers, const char *variable, bool make)
{
    ptrdiff_t at = hmgeti(*readers, variable);
    if (at >= 0 || !make)
        return at;
    int *none = NULL;
    hmput(*readers, variable, none);
    return hmgeti(*readers, variable);
}

static void wait_for_readers(struct scheduler *scheduler, int kernel, const int *readers)
{
    for (ptrdiff_t i = 0; i < arrlen(readers); i++)
        if (readers[i] != kernel) {
            arrput(scheduler->tasks[kernel].earlier, readers[i]);
            arrput(scheduler->tasks[readers[i]].later, kernel);
        }
}

static void add_reader_order(struct scheduler *scheduler)
{
    struct readers *readers = NULL;
    for (int k = 0; k < scheduler->set.count; k++) {
        const struct kernel_use *use = &scheduler->set.kernels[k];
        for (int i = 0; i < use->load_count; i++)
            if (use->loads[i]->op == OP_read) {
                ptrdiff_t at = find_readers(&readers, use->loads[i]->attributes->symbol, true);
                arrput(readers[at].value, k);
            }
    }
    for (int k = 0; k < scheduler->set.count; k++) {
        const struct kernel_use *use = &scheduler->set.kernels[k];
        for (int i = 0; i < use->store_count; i++)
            if (use->stores[i]->op == OP_write) {
                ptrdiff_t at = find_readers(&readers, use->stores[i]->attributes->symbol, false);
                if (at >= 0)
                    wait_for_readers(scheduler, k, readers[at].value);
            }
    }
    for (ptrdiff_t i = 0; i < hmlen(readers); i++)
        arrfree(readers[i].value);
    hmfree(readers);
}

/* ---- list scheduling ---- */

struct ready {
    bool held; /* others still read what it overwrites */
    int64_t cost;
    int position, kernel;
};

static bool ready_before(const struct ready *a, const struct ready *b)
{
    if (a->held != b->held)
        return b->held;
    if (a->cost != b->cost)
        return a->cost < b->cost;
    return a->position < b->position;
}

HEAP_OF(struct ready, ready_before)

/* One run of the list scheduler. */
struct run {
    struct scheduler *scheduler;
    bool greedy;
    struct ready *heap; /* stb_ds array */
    struct strip_builder *strips;
    int *strip;         /* stb_ds array: kernels of the strip that is being made */
    int *users_left;    /* by node id */
    int64_t live, peak; /* bytes */
};

static struct ready ready_entry(const struct run *run, int kernel)
{
    const struct kernel_use *use = &run->scheduler->set.kernels[kernel];
    const struct task *task = &run->scheduler->tasks[kernel];
    int64_t cost = run->greedy ? task->stored_bytes : 0;
    for (int i = 0; run->greedy && i < use->load_count; i++)
        if (use->loads[i]->kernel && run->users_left[use->loads[i]->id] == 1)
            cost -= run->scheduler->values[use->loads[i]->id].bytes;
    return (struct ready){task->soft_waiting > 0, cost, task->position, kernel};
}

/* The first ready kernel that goes on with the present strip; -1 when there is none. */
static int take_continuing(struct run *run)
{
    struct task *tasks = run->scheduler->tasks;
    int best = -1;
    for (ptrdiff_t i = 0; i < arrlen(run->strip); i++) {
        const struct task *task = &tasks[run->strip[i]];
        for (ptrdiff_t k = 0; k < arrlen(task->users); k++) {
            int user = task->users[k];
            if (!tasks[user].done && tasks[user].waiting == 0 && tasks[user].soft_waiting == 0 &&
                (best < 0 || tasks[user].position < tasks[best].position) && strip_continues(run->strips, user))
                best = user;
        }
    }
    if (best >= 0)
        tasks[best].done = true;
    return best;
}

static void note_strip(struct run *run, int kernel)
{
    if (!strip_continues(run->strips, kernel))
        arrsetlen(run->strip, 0);
    arrput(run->strip, kernel);
    strip_add(run->strips, kernel);
}

/* The kernel to run next; -1 when all have run. Costs change while kernels wait, so the best one is looked at again
 * before it is taken. */
static int take_ready(struct run *run)
{
    int continuing = take_continuing(run);
    if (continuing >= 0)
        return continuing;
    while (arrlen(run->heap)) {
        struct ready old = heap_pop(&run->heap), now = ready_entry(run, old.kernel);
        if (run->scheduler->tasks[old.kernel].done)
            continue;
        bool changed = now.cost != old.cost || now.held != old.held;
        if (!changed || arrlen(run->heap) == 0 || !ready_before(&run->heap[0], &now)) {
            run->scheduler->tasks[now.kernel].done = true;
            return now.kernel;
        }
        heap_push(&run->heap, now);
    }
    return -1;
}

enum { REUSE_STORES = 8, REUSE_LOADS = 32 }; /* larger kernels are not looked at */

/* Is the value read by the kernel's convolution, in another order than its tail stores? */
static bool is_operand(const struct kernel_use *use, const struct node *load)
{
    for (int i = 0; use->contraction && i < use->contraction->operand_count; i++) {
        struct view view;
        view_find(use->contraction->operands[i], &view);
        if (view.base == load)
            return true;
    }
    return false;
}

/* Bytes that the kernel will likely store over values that die in it: pass memory decides, this is its guess. */
static int64_t reused_bytes(const struct run *run, const struct kernel_use *use)
{
    bool taken[REUSE_LOADS] = {false};
    int64_t bytes = 0;
    if (use->joins)
        return run->scheduler->tasks[use->number - 1].stored_bytes;
    if ((use->contraction && !kernel_has_tail(use)) || use->store_count > REUSE_STORES || use->load_count > REUSE_LOADS)
        return 0;
    for (int i = 0; i < use->store_count; i++) {
        int64_t wanted = run->scheduler->values[use->stores[i]->id].bytes;
        for (int j = 0; j < use->load_count && wanted; j++) {
            const struct node *load = use->loads[j];
            if (taken[j] || !load->kernel || run->users_left[load->id] != 1 ||
                run->scheduler->values[load->id].bytes != wanted || is_operand(use, load))
                continue;
            taken[j] = true;
            bytes += wanted;
            break;
        }
    }
    return bytes;
}

static void count_memory(struct run *run, const struct kernel_use *use)
{
    const struct value *values = run->scheduler->values;
    run->live += run->scheduler->tasks[use->number - 1].stored_bytes;
    int64_t needed = run->live - reused_bytes(run, use);
    if (needed > run->peak)
        run->peak = needed;
    for (int i = 0; i < use->load_count; i++)
        if (use->loads[i]->kernel && --run->users_left[use->loads[i]->id] == 0)
            run->live -= values[use->loads[i]->id].bytes;
    for (int i = 0; i < use->store_count; i++)
        if (run->users_left[use->stores[i]->id] == 0)
            run->live -= values[use->stores[i]->id].bytes;
}

static void release_users(struct run *run, const struct task *task)
{
    struct task *tasks = run->scheduler->tasks;
    for (ptrdiff_t i = 0; i < arrlen(task->later); i++) {
        struct task *later = &tasks[task->later[i]];
        if (--later->soft_waiting == 0 && later->waiting == 0 && !later->done)
            heap_push(&run->heap, ready_entry(run, task->later[i])); /* a better entry than the one in the heap */
    }
    for (ptrdiff_t i = 0; i < arrlen(task->users); i++)
        if (--tasks[task->users[i]].waiting == 0)
            heap_push(&run->heap, ready_entry(run, task->users[i]));
}

/* Fills `order` with kernel indices and returns the largest sum of live bytes. */
static int64_t schedule_once(struct scheduler *scheduler, bool greedy, int *order, struct arena *arena)
{
    struct run run = {.scheduler = scheduler, .greedy = greedy};
    int count = scheduler->set.count, done = 0;
    run.strips = strip_builder_new(&scheduler->set, scheduler->target, arena);
    run.users_left = ARENA_ARRAY(arena, int, scheduler->value_count);
    for (ptrdiff_t i = 0; i < scheduler->value_count; i++)
        run.users_left[i] = scheduler->values[i].users_left;
    for (int k = 0; k < count; k++) {
        struct task *task = &scheduler->tasks[k];
        task->done = false;
        task->waiting = (int)arrlen(task->providers);
        task->soft_waiting = (int)arrlen(task->earlier);
    }
    for (int k = 0; k < count; k++)
        if (scheduler->tasks[k].waiting == 0)
            heap_push(&run.heap, ready_entry(&run, k));
    for (int kernel; (kernel = take_ready(&run)) >= 0;) {
        order[done++] = kernel;
        note_strip(&run, kernel);
        count_memory(&run, &scheduler->set.kernels[kernel]);
        release_users(&run, &scheduler->tasks[kernel]);
    }
    arrfree(run.heap);
    arrfree(run.strip);
    if (done != count)
        castor_bug("kernels depend on each other in a circle");
    return run.peak;
}

/* ---- the new node list ---- */

static void reorder(struct graph *graph, const struct scheduler *scheduler, const int *order)
{
    int *number = NULL;
    arrsetlen(number, (size_t)scheduler->set.count + 1);
    number[0] = 0;
    for (int i = 0; i < scheduler->set.count; i++)
        number[order[i] + 1] = i + 1;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->kernel = number[graph->nodes[i]->kernel];
    arrfree(number);
    order_by_kernel(graph, scheduler->set.count);
}

static void release(struct scheduler *scheduler)
{
    for (int k = 0; k < scheduler->set.count; k++) {
        struct task *task = &scheduler->tasks[k];
        arrfree(task->users);
        arrfree(task->providers);
        arrfree(task->earlier);
        arrfree(task->later);
    }
}

void pass_schedule(struct graph *graph, struct pass_context *context)
{
    struct arena *arena = arena_new();
    struct scheduler scheduler = {.target = context->target};
    graph_number(graph);
    scheduler.set = kernels_find(graph, arena);
    scheduler.tasks = ARENA_ARRAY(arena, struct task, scheduler.set.count);
    scheduler.value_count = arrlen(graph->nodes);
    scheduler.values = ARENA_ARRAY(arena, struct value, scheduler.value_count);
    for (int k = 0; k < scheduler.set.count; k++)
        add_dependences(&scheduler, k);
    add_reader_order(&scheduler);
    int *plain = ARENA_ARRAY(arena, int, scheduler.set.count), *greedy = ARENA_ARRAY(arena, int, scheduler.set.count);
    int64_t plain_peak = schedule_once(&scheduler, false, plain, arena);
    bool better = schedule_once(&scheduler, true, greedy, arena) < plain_peak && pass_may_rewrite(context);
    reorder(graph, &scheduler, better ? greedy : plain);
    release(&scheduler);
    arena_free(arena);
}
