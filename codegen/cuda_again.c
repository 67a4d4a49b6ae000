/* Values that stay on the chip between two walks over the same rows. See cuda_plan.h.
 *
 * A normalisation's gradient takes sums over all rows and then, with these, every element's result: the values are
 * needed twice, and all blocks must wait in between. Where a task of columns has walked the elements that a later task
 * of elements takes, the later one walks them the same way: the thread that loaded or made a value keeps it in shared
 * memory and takes it from there. That goes for a block's first share of the work alone, the only one where the GPU
 * holds all blocks at a time; what a further share needs is loaded again. */
#include "codegen/cuda_plan.h"

#include <stb/stb_ds.h>

enum {
    KEPT_BYTES = 46 * 1024, /* of a block, of the 48 KiB that need no asking for */
    RESIDENTS_MAX = 4,      /* blocks of a multiprocessor: more would have too few registers */
    RESERVED_BYTES = 2048   /* of a block: what the driver and the rest of the kernel take */
};

static bool is_plain(const struct loop_nest *nest)
{
    return nest->shape == NEST_LOOPS && nest->vector_inner && !nest->inner_count && arrlen(nest->phases) == 1 &&
           !arrlen(nest->phases[0].reductions);
}

static bool is_row_loop(const struct loop_nest *nest, int variable)
{
    for (int i = 0; i < nest->row_count; i++)
        if (nest->row_loops[i] == variable)
            return true;
    return false;
}

/* Does the index count the elements of the nest's space one by one, row after row? */
static bool is_identity(const struct lowered *lowered, const struct loop_nest *nest, const struct affine *index)
{
    int64_t stride = nest->vector_extent;
    if (index->constant || (nest->vector_extent > 1 && affine_factor(index, nest->vector) != 1))
        return false;
    for (int i = nest->row_count - 1; i >= 0; i--) {
        int64_t extent = lowered->variables[nest->row_loops[i]].high + 1;
        if (extent > 1 && affine_factor(index, nest->row_loops[i]) != stride)
            return false;
        stride *= extent;
    }
    for (int i = 0; i < index->count; i++) {
        int variable = index->terms[i].variable;
        if (variable != nest->vector && !is_row_loop(nest, variable) &&
            lowered->variables[variable].kind != INDEX_MERGED)
            return false;
    }
    return true;
}

/* The nest's load of the buffer, element by element; -1. */
static int find_load(const struct lowered *lowered, const struct loop_nest *nest, int buffer)
{
    const struct item *items = nest->phases[0].items;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = &lowered->values[items[i].number];
        if (items[i].kind == ITEM_VALUE && value->kind == VALUE_LOAD && value->buffer == buffer &&
            !value->operand_count && is_identity(lowered, nest, value->index))
            return items[i].number;
    }
    return -1;
}

static int find_store(const struct lowered *lowered, const struct loop_nest *nest, int buffer)
{
    const struct item *items = nest->phases[0].items;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct store *store = &lowered->stores[items[i].number];
        if (items[i].kind == ITEM_STORE && store->buffer == buffer && store->slice < 0 &&
            is_identity(lowered, nest, store->index))
            return items[i].number;
    }
    return -1;
}

/* For how many blocks there are registers, whichever body of the kernel they run, told from its loads. Of the networks'
 * kernels those of up to 11 loads take at most 56 registers a thread (but where one block is alone and takes more),
 * those of up to 14 at most 79, and one of 22 takes 89; four blocks have 64 for each thread, three have 85. */
static int most_residents(const struct lowered *lowered)
{
    int most = 0;
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++) {
        const struct phase *phases = lowered->nests[i].phases;
        const struct item *items = arrlen(phases) ? arrlast(phases).items : NULL;
        int loads = 0;
        for (ptrdiff_t j = 0; j < arrlen(items); j++)
            loads += items[j].kind == ITEM_VALUE && lowered->values[items[j].number].kind == VALUE_LOAD;
        most = loads > most ? loads : most;
    }
    return most <= 11 ? RESIDENTS_MAX : most <= 16 ? 3 : 2;
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

/* Lists what `task`, walking like `model`, finds kept. */
static void list_kept(struct cuda_plan *plan, const struct lowered *lowered, const struct cuda_task *model,
                      const struct cuda_task *task)
{
    const struct loop_nest *first = &lowered->nests[model->nest], *second = &lowered->nests[task->nest];
    int residents = residents_of(lowered, model->blocks);
    int64_t room = room_of(lowered->target, residents);
    for (int buffer = 0; buffer < arrlen(lowered->buffers); buffer++) {
        struct cuda_kept kept = {.to = find_load(lowered, second, buffer)};
        if (kept.to < 0)
            continue;
        kept.from_load = find_load(lowered, first, buffer);
        kept.from_store = kept.from_load < 0 ? find_store(lowered, first, buffer) : -1;
        kept.bytes = first->block * CUDA_THREADS * (int64_t)element_bytes(lowered->values[kept.to].element);
        if ((kept.from_load < 0 && kept.from_store < 0) || kept.bytes > room)
            continue;
        room -= kept.bytes;
        arrput(plan->kept, kept);
        plan->residents = residents;
    }
}

/* Bytes that the second walk does not load. */
static void count_spared(struct cuda_plan *plan, const struct lowered *lowered, int64_t blocks)
{
    int64_t held = (int64_t)lowered->target->processors * plan->residents;
    double share = held && held < blocks ? (double)held / (double)blocks : 1;
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++) {
        const struct value *value = &lowered->values[plan->kept[i].to];
        int64_t elements = shape_elements(&lowered->buffers[value->buffer].node->type.shape);
        plan->spared += (uint64_t)(share * (double)elements * (double)element_bytes(value->element));
    }
}

static bool try_pair(struct cuda_plan *plan, const struct lowered *lowered, int model, int task)
{
    struct cuda_task *first = &plan->tasks[model], *second = &plan->tasks[task];
    const struct loop_nest *a = &lowered->nests[first->nest], *b = &lowered->nests[second->nest];
    if (first->scheme != CUDA_COLUMNS || second->scheme != CUDA_ELEMENTS || !is_plain(a) || !is_plain(b) ||
        a->rows != b->rows || a->vector_extent != b->vector_extent)
        return false;
    list_kept(plan, lowered, first, second);
    if (!arrlen(plan->kept))
        return false;
    count_spared(plan, lowered, first->blocks);
    first->keeps = true;
    second->scheme = CUDA_AGAIN;
    second->model = first->nest;
    second->width = 1;
    second->items = first->items;
    second->blocks = second->parts = first->blocks;
    for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++)
        if (plan->tasks[i].nest == second->nest && plan->tasks[i].scheme == CUDA_TOTAL)
            plan->tasks[i].parts = first->blocks;
    return true;
}

void cuda_plan_again(struct cuda_plan *plan, const struct lowered *lowered)
{
    for (int task = 0; task < arrlen(plan->tasks); task++)
        for (int model = 0; model < task; model++)
            if (try_pair(plan, lowered, model, task))
                return;
}

const struct cuda_kept *cuda_kept_load(const struct cuda_plan *plan, int value)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++)
        if (plan->kept[i].to == value || plan->kept[i].from_load == value)
            return &plan->kept[i];
    return NULL;
}

const struct cuda_kept *cuda_kept_store(const struct cuda_plan *plan, int store)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++)
        if (plan->kept[i].from_store == store)
            return &plan->kept[i];
    return NULL;
}
