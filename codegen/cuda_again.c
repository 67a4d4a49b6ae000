/* Values that stay on the chip from one walk over rows to the next. See cuda_plan.h.
 *
 * A normalisation's gradient takes sums over all rows and then, with these, every element's result, or sums of those:
 * the values are needed twice, and all blocks must wait in between. Where a task of columns has walked the elements
 * that a later task takes, the later one walks them the same way: the thread that loaded or made a value keeps it in
 * shared memory and takes it from there. That goes for a block's first share of the work alone, the only one where the
 * GPU holds all blocks at a time; what a further share needs is loaded again. */
#include "codegen/cuda_places.h"
#include "codegen/cuda_plan.h"

#include <stb/stb_ds.h>

enum {
    KEPT_BYTES = 43 * 1024, /* of a block, of the 48 KiB that need no asking for; up to 4 KiB merge parts of columns */
    RESIDENTS_MAX = 4,      /* blocks of a multiprocessor: more would have too few registers */
    RESERVED_BYTES = 5120   /* of a block: what the driver and the rest of the kernel take */
};

static bool is_plain(const struct loop_nest *nest)
{
    return nest->shape == NEST_LOOPS && nest->vector_inner && !nest->inner_count && arrlen(nest->phases) == 1 &&
           !arrlen(nest->phases[0].reductions);
}

static int count_loads(const struct lowered *lowered, const struct item *items)
{
    int loads = 0;
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        loads += items[i].kind == ITEM_VALUE && lowered->values[items[i].number].kind == VALUE_LOAD;
    return loads;
}

/* What a look for an overflow's origin asks about: it is held until the end of the body. */
static int count_watched(const struct lowered *lowered, const struct item *items)
{
    int count = 0;
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_WATCH)
            count += (int)arrlen(lowered->watches[items[i].number].values);
    return count;
}

/* For how many blocks there are registers, whichever body of the kernel they run, told from what it loads and watches.
 * Of the networks' kernels those of up to 11 loads take at most 56 registers a thread (but where one block is alone and
 * takes more), those of up to 18 at most 79, and one of 22 takes 89; of 50 watched values and sums besides, 90 and
 * more. Four blocks have 64 for each thread, three have 85. */
static int most_residents(const struct lowered *lowered)
{
    int loads = 0, watched = 0;
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++) {
        const struct loop_nest *nest = &lowered->nests[i];
        const struct item *items = arrlen(nest->phases) ? arrlast(nest->phases).items : NULL;
        int own = count_loads(lowered, nest->bodies[BODY_OUTER]) + count_loads(lowered, items);
        int held = count_watched(lowered, items);
        loads = own > loads ? own : loads;
        watched = held > watched ? held : watched;
    }
    return loads > 18 || watched > 48 ? 2 : loads > 11 ? 3 : RESIDENTS_MAX;
}

/* Blocks that a multiprocessor must hold at a time so that all are held. */
static int residents_of(const struct lowered *lowered, int64_t blocks)
{
    int processors = lowered->target->processors, limit = most_residents(lowered);
    int64_t residents = processors ? (blocks + processors - 1) / processors : 1;
    return residents < limit ? (int)residents : limit;
}

/* What of it a block may keep. */
static int64_t room_of(const struct target *target, int residents)
{
    int64_t room = target->shared_bytes ? target->shared_bytes / residents - RESERVED_BYTES : KEPT_BYTES;
    return room < KEPT_BYTES ? room : KEPT_BYTES;
}

/* What a later walk loads once, and an earlier one loads or stores at the same rows and columns. */
struct candidate {
    struct cuda_kept kept;
    int model, task; /* the tasks of these walks */
    int64_t spared;  /* bytes of memory that are not read */
};

static bool is_load_of(const struct lowered *lowered, const struct item *item, int buffer)
{
    const struct value *value = &lowered->values[item->number];
    return item->kind == ITEM_VALUE && value->kind == VALUE_LOAD && value->buffer == buffer;
}

/* The nest's only load of the buffer; -1: there is none, there are several, or a value tells where. */
static int only_load(const struct lowered *lowered, const struct loop_nest *nest, int buffer)
{
    const struct item *items = nest->phases[0].items;
    int found = -1;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        if (!is_load_of(lowered, &items[i], buffer))
            continue;
        if (found >= 0 || lowered->values[items[i].number].operand_count)
            return -1;
        found = items[i].number;
    }
    return found;
}

static bool meets(const struct lowered *lowered, const struct loop_nest *nest, const struct places *places,
                  const struct affine *index, const struct place_form *form)
{
    struct place_form own;
    return place_form(lowered, nest, places, index, &own) && place_form_equal(places, &own, form);
}

/* The load or store of the first walk that meets the same element; false: there is none. */
static bool find_source(const struct lowered *lowered, const struct loop_nest *nest, const struct places *places,
                        int buffer, const struct place_form *form, struct cuda_kept *kept)
{
    const struct item *items = nest->phases[0].items;
    kept->from_load = kept->from_store = -1;
    for (ptrdiff_t i = 0; i < arrlen(items) && kept->from_load < 0; i++) {
        const struct store *store = items[i].kind == ITEM_STORE ? &lowered->stores[items[i].number] : NULL;
        if (is_load_of(lowered, &items[i], buffer) && !lowered->values[items[i].number].operand_count &&
            meets(lowered, nest, places, lowered->values[items[i].number].index, form))
            kept->from_load = items[i].number;
        if (store && store->buffer == buffer && store->slice < 0 && meets(lowered, nest, places, store->index, form))
            kept->from_store = items[i].number;
    }
    if (kept->from_load >= 0)
        kept->from_store = -1;
    return kept->from_load >= 0 || kept->from_store >= 0;
}

/* Does the task walk as the columns of `first` do, or could it? */
static bool walks_alike(const struct lowered *lowered, const struct cuda_task *first, const struct cuda_task *second)
{
    const struct loop_nest *a = &lowered->nests[first->nest], *b = &lowered->nests[second->nest];
    if (first->scheme != CUDA_COLUMNS || !is_plain(a) || !is_plain(b))
        return false;
    bool elements = second->scheme == CUDA_ELEMENTS && !second->ends;
    return elements || (second->scheme == CUDA_COLUMNS && a->block == b->block);
}

/* Of what a walk loads, as the ledger counts that (kernel.c): no more than all there is, as of windows that overlap,
 * and nothing of the kernel's own workspace. */
static int64_t elements_spared(const struct kernel_buffer *buffer, const struct places *places,
                               const struct place_form *form)
{
    int64_t all = buffer->scratch ? 0 : shape_elements(&buffer->node->type.shape);
    int64_t met = place_form_elements(places, form);
    return met < all ? met : all;
}

static struct candidate *candidates_of(const struct cuda_plan *plan, const struct lowered *lowered, int model, int task)
{
    struct candidate *candidates = NULL;
    const struct loop_nest *first = &lowered->nests[plan->tasks[model].nest];
    const struct loop_nest *second = &lowered->nests[plan->tasks[task].nest];
    struct places places;
    if (!walks_alike(lowered, &plan->tasks[model], &plan->tasks[task]) || !places_find(lowered, first, second, &places))
        return NULL;
    for (int buffer = 0; buffer < arrlen(lowered->buffers); buffer++) {
        struct candidate found = {.kept.to = only_load(lowered, second, buffer), .model = model, .task = task};
        const struct value *value = found.kept.to < 0 ? NULL : &lowered->values[found.kept.to];
        struct place_form form;
        if (!value || !place_form(lowered, second, &places, value->index, &form) ||
            !find_source(lowered, first, &places, buffer, &form, &found.kept))
            continue;
        int64_t bytes = (int64_t)element_bytes(value->element);
        found.kept.slot = found.kept.to;
        found.kept.bytes = first->block * CUDA_THREADS * bytes;
        found.spared = elements_spared(&lowered->buffers[buffer], &places, &form) * bytes;
        /* No channel's values, which stand before the rows (print_cuda_fixed.c), and no row's, which caches hold. */
        if (found.spared >= first->rows * bytes && place_form_has_rows(&places, &form))
            arrput(candidates, found);
    }
    return candidates;
}

static int64_t all_spared(const struct candidate *candidates)
{
    int64_t bytes = 0;
    for (ptrdiff_t i = 0; i < arrlen(candidates); i++)
        bytes += candidates[i].spared;
    return bytes;
}

/* Of a task, which walks like one other: like the one that can keep most for it. */
static struct candidate *best_candidates(const struct cuda_plan *plan, const struct lowered *lowered, int task)
{
    struct candidate *best = NULL;
    for (int model = 0; model < task; model++) {
        struct candidate *next = candidates_of(plan, lowered, model, task);
        struct candidate *worse = all_spared(next) > all_spared(best) ? best : next;
        best = worse == best ? next : best;
        arrfree(worse);
    }
    return best;
}

static int64_t spared_each(const struct candidate *candidate)
{
    return candidate->spared / (candidate->kept.bytes + 1);
}

/* Where it lies already: for another walk, or for the very one that it is to be kept by. */
static bool find_slot(const struct cuda_plan *plan, struct cuda_kept *kept)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++) {
        const struct cuda_kept *other = &plan->kept[i];
        bool same = other->from_load == kept->from_load && other->from_store == kept->from_store;
        if (same || (kept->from_load >= 0 && other->to == kept->from_load)) {
            kept->slot = other->slot;
            return true;
        }
    }
    return false;
}

/* Does a later walk count on it that this one keeps the value in a place of its own? */
static bool gives(const struct cuda_plan *plan, int value)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++)
        if (plan->kept[i].from_load == value)
            return true;
    return false;
}

static void walk_again(struct cuda_plan *plan, struct cuda_task *first, struct cuda_task *second)
{
    first->keeps = true;
    second->again = true;
    second->model = first->nest;
    if (second->scheme != CUDA_ELEMENTS)
        return;
    second->scheme = CUDA_AGAIN;
    second->width = 1;
    second->items = first->items;
    second->blocks = second->parts = first->blocks;
    for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++)
        if (plan->tasks[i].nest == second->nest && plan->tasks[i].scheme == CUDA_TOTAL)
            plan->tasks[i].parts = first->blocks;
}

/* Keeps what spares most for its room first. */
static void keep(struct cuda_plan *plan, const struct lowered *lowered, struct candidate *candidates)
{
    int64_t blocks = 1;
    for (ptrdiff_t i = 0; i < arrlen(candidates); i++)
        if (plan->tasks[candidates[i].model].blocks > blocks)
            blocks = plan->tasks[candidates[i].model].blocks;
    int residents = residents_of(lowered, blocks);
    int64_t room = room_of(lowered->target, residents), held = (int64_t)lowered->target->processors * residents;
    while (arrlen(candidates)) {
        ptrdiff_t best = 0;
        for (ptrdiff_t i = 1; i < arrlen(candidates); i++)
            if (spared_each(&candidates[i]) > spared_each(&candidates[best]))
                best = i;
        struct candidate next = candidates[best];
        arrdel(candidates, best);
        int64_t shares = plan->tasks[next.model].blocks;
        if (gives(plan, next.kept.to) || (!find_slot(plan, &next.kept) && next.kept.bytes > room))
            continue;
        room -= next.kept.slot == next.kept.to ? next.kept.bytes : 0;
        arrput(plan->kept, next.kept);
        plan->residents = residents;
        plan->spared += (uint64_t)((held && held < shares ? (double)held / (double)shares : 1) * (double)next.spared);
        walk_again(plan, &plan->tasks[next.model], &plan->tasks[next.task]);
    }
}

void cuda_plan_again(struct cuda_plan *plan, const struct lowered *lowered)
{
    struct candidate *candidates = NULL;
    for (int task = 0; task < arrlen(plan->tasks); task++) {
        struct candidate *own = best_candidates(plan, lowered, task);
        for (ptrdiff_t i = 0; i < arrlen(own); i++)
            arrput(candidates, own[i]);
        arrfree(own);
    }
    if (arrlen(candidates))
        keep(plan, lowered, candidates);
    arrfree(candidates);
}

const struct cuda_kept *cuda_kept_load(const struct cuda_plan *plan, int value)
{
    const struct cuda_kept *from = NULL;
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++) {
        if (plan->kept[i].to == value)
            return &plan->kept[i];
        from = !from && plan->kept[i].from_load == value ? &plan->kept[i] : from;
    }
    return from;
}

const struct cuda_kept *cuda_kept_store(const struct cuda_plan *plan, int store)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++)
        if (plan->kept[i].from_store == store)
            return &plan->kept[i];
    return NULL;
}
