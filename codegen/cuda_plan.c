/* Chooses a scheme for each nest, tells which tasks must wait for which, and sizes the workspace. See cuda_plan.h.
 *
 * A task waits for an earlier one when it loads what that one stores, or stores where that one loads or stores: pass
 * memory may have given a store the memory of a value that dies in this kernel. Values of the whole kernel are computed
 * at the start of the first stage that needs them, but before the stage in which something is stored over what they
 * are loaded from. */
#include "codegen/cuda_plan.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { TAIL_WORK = 16384, PARTS_MAX = 1024, TOTAL_BLOCKS = 2048 };
enum { ROW_TURNS = 2 }; /* of a team over a row, below which lanes without work would cost more than packing saves */

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

int cuda_parameter(const struct lowered *lowered, int buffer)
{
    int parameter = 0;
    for (int i = 0; i < buffer; i++)
        parameter += !lowered->buffers[i].scratch;
    return parameter;
}

int64_t cuda_saved_offset(const struct cuda_plan *plan, int value)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->saved); i++)
        if (plan->saved[i].value == value)
            return (int64_t)plan->saved[i].offset;
    return -1;
}

bool cuda_is_end(const struct cuda_task *task)
{
    return task->scheme == CUDA_FINISH || task->scheme == CUDA_FINISH_WAYS || task->scheme == CUDA_TOTAL;
}

/* ---- schemes ---- */

struct traits {
    bool column, whole, row_level, totals, ordered; /* kinds of reductions over the rows */
    bool row_lanes, row_stores;
    bool windows; /* what is reduced in a row are places in windows: memory goes on with the next row */
};

static struct traits traits_of(const struct lowered *lowered, const struct loop_nest *nest)
{
    struct traits traits = {.totals = arrlen(nest->totals) > 0, .windows = true};
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        const struct reduction *reduction = &lowered->reductions[nest->totals[i]];
        bool full = reduction->kind == REDUCTION_FULL;
        traits.column |= !full;
        traits.row_level |= full && reduction->row_level;
        traits.whole |= full && !reduction->row_level && reduction_ordered(reduction->node);
        traits.ordered |= reduction_ordered(reduction->node);
    }
    for (ptrdiff_t i = 0; i < arrlen(nest->phases); i++)
        for (ptrdiff_t k = 0; k < arrlen(nest->phases[i].reductions); k++) {
            const struct reduction *reduction = &lowered->reductions[nest->phases[i].reductions[k]];
            traits.row_lanes |= reduction->lanes;
            traits.windows &= reduction->node->op == OP_fold;
        }
    for (ptrdiff_t i = 0; i < arrlen(nest->bodies[BODY_OUTER]); i++)
        traits.row_stores |= nest->bodies[BODY_OUTER][i].kind == ITEM_STORE && nest->vector_inner;
    return traits;
}

static enum cuda_scheme scheme_of(const struct loop_nest *nest, const struct traits *traits)
{
    bool rows = traits->row_lanes || traits->row_stores || traits->row_level;
    if (nest->shape == NEST_SCATTER)
        return CUDA_SCATTER;
    if (nest->shape == NEST_SUPPRESS)
        return nest->vector >= 0 ? CUDA_ROWS : CUDA_ELEMENTS;
    if (traits->column)
        return rows ? CUDA_ROWS_COLUMNS : CUDA_COLUMNS;
    if (traits->windows && traits->row_lanes && !traits->ordered && nest->vector_extent < LANES)
        return CUDA_SHORT_ROWS;
    return traits->whole ? CUDA_WHOLE : rows ? CUDA_ROWS : CUDA_ELEMENTS;
}

/* ---- neighbours that one thread takes ---- */

bool cuda_is_aligned(const struct lowered *lowered, const struct affine *index, int width)
{
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        bool vector = variable->vector && variable->kind == INDEX_LOOP;
        if (!vector && variable->kind != INDEX_MERGED && index->terms[i].factor % width)
            return false;
    }
    return index->constant % width == 0;
}

struct accesses {
    const struct affine **indices; /* of what lies next to each other; stb_ds array */
    size_t widest;                 /* bytes of an element */
    bool scattered;                /* lanes that do not lie next to each other */
    int64_t strides;               /* of slices whose number is read from memory, or-ed: their common power of two */
};

static void add_access(struct accesses *accesses, const struct lowered *lowered, const struct affine *index,
                       enum element element, int slice, int64_t stride)
{
    bool vector = affine_vector(lowered, index) || (slice >= 0 && lowered->values[slice].vector);
    if (!vector)
        return;
    bool contiguous = slice < 0 || !lowered->values[slice].vector;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        if (variable->vector && variable->kind != INDEX_MERGED)
            contiguous &= variable->kind == INDEX_LOOP && index->terms[i].factor == 1;
    }
    accesses->scattered |= !contiguous;
    accesses->widest = element_bytes(element) > accesses->widest ? element_bytes(element) : accesses->widest;
    accesses->strides |= slice >= 0 ? stride : 0;
    arrput(accesses->indices, index);
}

static struct accesses accesses_of(const struct lowered *lowered, const struct item *items)
{
    struct accesses accesses = {0};
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = items[i].kind == ITEM_VALUE ? &lowered->values[items[i].number] : NULL;
        const struct store *store = items[i].kind == ITEM_STORE ? &lowered->stores[items[i].number] : NULL;
        if (value && value->kind == VALUE_LOAD)
            add_access(&accesses, lowered, value->index, value->element, value->operand_count ? value->operands[0] : -1,
                       value->stride);
        if (store)
            add_access(&accesses, lowered, store->index, store->element, store->slice, store->stride);
    }
    return accesses;
}

static bool all_aligned(const struct lowered *lowered, const struct accesses *accesses, int width)
{
    for (ptrdiff_t i = 0; i < arrlen(accesses->indices); i++)
        if (!cuda_is_aligned(lowered, accesses->indices[i], width))
            return false;
    return accesses->strides % width == 0;
}

/* How many of a phase's loads and stores can be taken together; no more than one access of 16 bytes takes, so that the
 * threads of a warp leave no gaps between theirs. */
static int packed_width(const struct lowered *lowered, const struct loop_nest *nest, const struct phase *phase)
{
    if (nest->shape != NEST_LOOPS || !nest->vector_inner || nest->inner_count || arrlen(phase->reductions))
        return 1;
    struct accesses accesses = accesses_of(lowered, phase->items);
    int width = accesses.widest <= 2 && arrlen(accesses.indices) <= 6 ? 8 : accesses.widest <= 4 ? 4 : 2;
    while (width > 1 && (accesses.scattered || (nest->rows > 1 && nest->vector_extent % width) ||
                         !all_aligned(lowered, &accesses, width)))
        width /= 2;
    arrfree(accesses.indices);
    return width;
}

/* Several only where a body is all there is. */
static int choose_width(const struct lowered *lowered, const struct loop_nest *nest)
{
    return arrlen(nest->phases) == 1 ? packed_width(lowered, nest, &nest->phases[0]) : 1;
}

/* Does the phase take what an earlier one of its row stores? */
static bool takes_stored(const struct lowered *lowered, const struct loop_nest *nest, const struct phase *phase)
{
    bool takes = false;
    for (const struct phase *earlier = nest->phases; earlier < phase; earlier++)
        for (ptrdiff_t i = 0; i < arrlen(earlier->items); i++)
            for (ptrdiff_t k = 0; k < arrlen(phase->items); k++)
                takes |=
                    earlier->items[i].kind == ITEM_STORE && phase->items[k].kind == ITEM_VALUE &&
                    lowered->values[phase->items[k].number].kind == VALUE_LOAD &&
                    lowered->stores[earlier->items[i].number].buffer == lowered->values[phase->items[k].number].buffer;
    return takes;
}

int cuda_row_width(const struct lowered *lowered, const struct loop_nest *nest)
{
    const struct phase *last = &arrlast(nest->phases);
    bool free_order = !takes_stored(lowered, nest, last);
    for (ptrdiff_t i = 0; i < arrlen(last->items); i++) {
        if (last->items[i].kind != ITEM_STEP)
            continue;
        const struct reduction *reduction = &lowered->reductions[last->items[i].number];
        free_order &= reduction->kind == REDUCTION_FULL && !reduction_ordered(reduction->node);
    }
    int width = free_order ? packed_width(lowered, nest, last) : 1;
    while (width > 1 && (nest->vector_extent % width || nest->vector_extent < ROW_TURNS * LANES * width))
        width /= 2;
    return width;
}

/* ---- tasks ---- */

static void size_elements(struct cuda_task *task, const struct lowered *lowered, const struct loop_nest *nest,
                          const struct traits *traits)
{
    task->width = choose_width(lowered, nest);
    task->items = nest->rows * divide_up(nest->vector_extent, task->width);
    task->blocks = divide_up(task->items, CUDA_THREADS);
    if (traits->totals && task->blocks > TOTAL_BLOCKS)
        task->blocks = TOTAL_BLOCKS;
}

/* Rows are taken block by block of passes/nests.h where the order of their sums counts. */
static void size_rows(struct cuda_task *task, const struct loop_nest *nest, const struct traits *traits)
{
    task->apart = !traits->ordered;
    task->blocks = traits->ordered ? loop_nest_blocks(nest) : divide_up(nest->rows, LANES);
    if (traits->totals && !traits->ordered && task->blocks > TOTAL_BLOCKS)
        task->blocks = TOTAL_BLOCKS;
}

static void size_scatter(struct cuda_task *task, const struct lowered *lowered, const struct loop_nest *nest)
{
    const struct store *store = NULL;
    for (ptrdiff_t i = 0; i < arrlen(nest->phases[0].items); i++)
        if (nest->phases[0].items[i].kind == ITEM_STORE)
            store = &lowered->stores[nest->phases[0].items[i].number];
    if (!store)
        castor_bug("a scatter stores nothing");
    task->parts = 1;
    while (2 * task->parts <= store->last + 1 && task->parts < PARTS_MAX && task->parts * nest->vector_extent < 65536)
        task->parts *= 2;
    task->items = nest->rows ? task->parts * nest->vector_extent : 0;
    task->blocks = divide_up(task->items, CUDA_THREADS);
}

/* A block's parts of a column, where they are those that are merged first: not where the nest walks a part of all
 * columns, of which blocks have others. */
static int64_t merges_of(const struct lowered *lowered, const struct loop_nest *nest)
{
    return nest->neighbours * loop_nest_columns(lowered, nest) == CUDA_THREADS ? nest->neighbours : 1;
}

static struct cuda_task main_task(const struct lowered *lowered, int number)
{
    const struct loop_nest *nest = &lowered->nests[number];
    struct traits traits = traits_of(lowered, nest);
    struct cuda_task task = {.scheme = scheme_of(nest, &traits), .nest = number, .width = 1};
    switch (task.scheme) {
    case CUDA_ELEMENTS:
        size_elements(&task, lowered, nest, &traits);
        break;
    case CUDA_ROWS:
        size_rows(&task, nest, &traits);
        break;
    case CUDA_SHORT_ROWS:
        task.items = nest->rows;
        task.blocks = divide_up(task.items, CUDA_THREADS);
        if (traits.totals && task.blocks > TOTAL_BLOCKS)
            task.blocks = TOTAL_BLOCKS;
        break;
    case CUDA_COLUMNS:
        task.items = loop_nest_blocks(nest) * loop_nest_columns(lowered, nest);
        task.blocks = divide_up(task.items, CUDA_THREADS);
        task.merges = merges_of(lowered, nest);
        break;
    case CUDA_SCATTER:
        size_scatter(&task, lowered, nest);
        return task;
    case CUDA_WHOLE:
        task.blocks = divide_up(loop_nest_blocks(nest), LANES);
        break;
    default:
        task.blocks = loop_nest_blocks(nest);
    }
    task.parts = task.scheme == CUDA_WHOLE ? loop_nest_blocks(nest) : task.blocks;
    task.ends = task.scheme <= CUDA_SHORT_ROWS && task.blocks == 1 && arrlen(nest->bodies[BODY_TOTAL]);
    return task;
}

static void add_tasks(struct cuda_plan *plan, const struct lowered *lowered, int number)
{
    const struct loop_nest *nest = &lowered->nests[number];
    struct cuda_task task = main_task(lowered, number), end = {.nest = number, .width = 1};
    if (nest->clear >= 0) {
        end.scheme = CUDA_CLEAR;
        end.items = nest->clear_bytes % 4 ? nest->clear_bytes : nest->clear_bytes / 4;
        end.blocks = divide_up(end.items, CUDA_THREADS);
        arrput(plan->tasks, end);
    }
    arrput(plan->tasks, task);
    if (arrlen(nest->bodies[BODY_FINISH])) {
        end.scheme = loop_nest_blocks(nest) > MERGE_ORDERED ? CUDA_FINISH_WAYS : CUDA_FINISH;
        end.items = loop_nest_columns(lowered, nest);
        end.blocks = end.scheme == CUDA_FINISH ? divide_up(end.items, CUDA_THREADS) : end.items;
        end.merges = task.merges;
        arrput(plan->tasks, end);
    }
    if (arrlen(nest->bodies[BODY_TOTAL]) && !task.ends) {
        end.scheme = CUDA_TOTAL;
        end.parts = task.parts;
        end.items = 0;
        end.blocks = 1;
        arrput(plan->tasks, end);
    }
}

/* ---- stages ---- */

/* Buffers that a task loads and stores. */
struct use {
    int *loads, *stores; /* stb_ds arrays */
};

static void add_use(struct use *use, const struct lowered *lowered, const struct item *items)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = items[i].kind == ITEM_VALUE ? &lowered->values[items[i].number] : NULL;
        if (value && value->kind == VALUE_LOAD)
            arrput(use->loads, value->buffer);
        if (items[i].kind == ITEM_STORE)
            arrput(use->stores, lowered->stores[items[i].number].buffer);
    }
}

static struct use use_of(const struct lowered *lowered, const struct cuda_task *task)
{
    const struct loop_nest *nest = &lowered->nests[task->nest];
    struct use use = {0};
    if (task->scheme == CUDA_CLEAR) {
        arrput(use.stores, nest->clear);
        return use;
    }
    add_use(&use, lowered, nest->bodies[BODY_NEST]);
    if (cuda_is_end(task)) {
        add_use(&use, lowered, nest->bodies[task->scheme == CUDA_TOTAL ? BODY_TOTAL : BODY_FINISH]);
        return use;
    }
    add_use(&use, lowered, nest->bodies[BODY_OUTER]);
    add_use(&use, lowered, nest->bodies[BODY_VECTOR]);
    for (ptrdiff_t i = 0; i < arrlen(nest->phases); i++)
        add_use(&use, lowered, nest->phases[i].items);
    if (task->ends)
        add_use(&use, lowered, nest->bodies[BODY_TOTAL]);
    return use;
}

static bool share_memory(const struct lowered *lowered, int a, int b)
{
    const struct kernel_buffer *first = &lowered->buffers[a], *second = &lowered->buffers[b];
    if (a == b || first->scratch || second->scratch)
        return a == b;
    const struct placement *x = &first->node->placement, *y = &second->node->placement;
    if (x->space != y->space)
        return false;
    if (x->space == SPACE_STATE)
        return strcmp(x->symbol, y->symbol) == 0;
    return x->space == SPACE_SCRATCH && x->offset < y->offset + memory_bytes(&second->node->type, lowered->target) &&
           y->offset < x->offset + memory_bytes(&first->node->type, lowered->target);
}

static bool any_shared(const struct lowered *lowered, const int *a, const int *b)
{
    for (ptrdiff_t i = 0; i < arrlen(a); i++)
        for (ptrdiff_t k = 0; k < arrlen(b); k++)
            if (share_memory(lowered, a[i], b[k]))
                return true;
    return false;
}

/* Two parts of one space are stored side by side in the same buffers. */
static bool stores_meet(const struct lowered *lowered, const struct use *a, const struct use *b, bool side_by_side)
{
    for (ptrdiff_t i = 0; i < arrlen(a->stores); i++)
        for (ptrdiff_t k = 0; k < arrlen(b->stores); k++)
            if (!(side_by_side && a->stores[i] == b->stores[k]) && share_memory(lowered, a->stores[i], b->stores[k]))
                return true;
    return false;
}

/* A task's own end needs its results; else memory tells. */
static bool must_wait(const struct lowered *lowered, const struct cuda_task *tasks, const struct use *uses, int task,
                      int other)
{
    const struct loop_nest *nest = &lowered->nests[tasks[task].nest], *before = &lowered->nests[tasks[other].nest];
    if (cuda_is_end(&tasks[task]) && !cuda_is_end(&tasks[other]) && tasks[task].nest == tasks[other].nest)
        return true;
    return any_shared(lowered, uses[task].loads, uses[other].stores) ||
           any_shared(lowered, uses[task].stores, uses[other].loads) ||
           stores_meet(lowered, &uses[task], &uses[other], nest->part_of && nest->part_of == before->part_of);
}

/* Does the later task take what this one keeps? Then it comes no earlier; in one stage a thread does this one first. */
static bool keeps_for(const struct cuda_task *task, const struct cuda_task *later)
{
    return task->keeps && later->again && later->model == task->nest;
}

/* `early`: the buffers that the kernel loads at its start; what is stored over them waits for the next stage. */
static void choose_stages(struct cuda_plan *plan, const struct lowered *lowered)
{
    struct use early = {0}, *uses = NULL;
    add_use(&early, lowered, lowered->items);
    for (int i = 0; i < arrlen(plan->tasks); i++) {
        struct use use = use_of(lowered, &plan->tasks[i]);
        arrput(uses, use);
        int stage = any_shared(lowered, use.stores, early.loads);
        for (int k = 0; k < i; k++)
            if (plan->tasks[k].stage >= stage && must_wait(lowered, plan->tasks, uses, i, k))
                stage = plan->tasks[k].stage + 1;
            else if (plan->tasks[k].stage > stage && keeps_for(&plan->tasks[k], &plan->tasks[i]))
                stage = plan->tasks[k].stage;
        plan->tasks[i].stage = stage;
        plan->stages = stage >= plan->stages ? stage + 1 : plan->stages;
    }
    for (ptrdiff_t i = 0; i < arrlen(uses); i++) {
        arrfree(uses[i].loads);
        arrfree(uses[i].stores);
    }
    arrfree(uses);
    arrfree(early.loads);
}

static int64_t task_work(const struct lowered *lowered, const struct cuda_task *task)
{
    const struct loop_nest *nest = &lowered->nests[task->nest];
    switch (task->scheme) {
    case CUDA_CLEAR:
        return task->items;
    case CUDA_FINISH:
    case CUDA_FINISH_WAYS:
        return task->items * (loop_nest_blocks(nest) + 1);
    case CUDA_TOTAL:
        return task->parts;
    default:
        return nest->work;
    }
}

/* The last block does the stages at the end that are little work. */
static void choose_joint(struct cuda_plan *plan, const struct lowered *lowered)
{
    int64_t work = 0;
    plan->joint = plan->stages;
    plan->blocks = 1;
    while (plan->joint > 0) {
        for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++)
            if (plan->tasks[i].stage == plan->joint - 1)
                work += task_work(lowered, &plan->tasks[i]);
        if (work > TAIL_WORK)
            break;
        plan->joint--;
    }
    for (int stage = 0; stage < plan->joint; stage++) {
        int64_t blocks = 0;
        for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++)
            blocks += plan->tasks[i].stage == stage ? plan->tasks[i].blocks : 0;
        plan->blocks = blocks > plan->blocks ? blocks : plan->blocks;
    }
}

/* ---- when the values of the whole kernel are computed ---- */

static void need_value(struct cuda_plan *plan, const struct lowered *lowered, int number, int stage)
{
    if (number < 0)
        return;
    const struct value *value = &lowered->values[number];
    if (value->depth != BODY_KERNEL || plan->value_stage[number] <= stage)
        return;
    plan->value_stage[number] = stage;
    for (int i = 0; i < value->operand_count; i++)
        need_value(plan, lowered, value->operands[i], stage);
}

static void need_items(struct cuda_plan *plan, const struct lowered *lowered, const struct item *items, int stage)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int number = items[i].number;
        if (items[i].kind == ITEM_STORE) {
            need_value(plan, lowered, lowered->stores[number].value, stage);
            need_value(plan, lowered, lowered->stores[number].slice, stage);
        } else if (items[i].kind == ITEM_STEP) {
            need_value(plan, lowered, lowered->reductions[number].value, stage);
            need_value(plan, lowered, lowered->reductions[number].position, stage);
        } else if (items[i].kind == ITEM_VALUE) {
            const struct value *value = &lowered->values[number];
            for (int k = 0; k < value->operand_count; k++)
                need_value(plan, lowered, value->operands[k], stage);
        }
    }
}

/* Nothing may be stored over what a value is loaded from before it is. */
static void load_in_time(struct cuda_plan *plan, const struct lowered *lowered, const struct item *item)
{
    const struct value *value = &lowered->values[item->number];
    if (item->kind != ITEM_VALUE || value->kind != VALUE_LOAD)
        return;
    for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++) {
        struct use use = use_of(lowered, &plan->tasks[i]);
        for (ptrdiff_t k = 0; k < arrlen(use.stores); k++)
            if (share_memory(lowered, use.stores[k], value->buffer))
                need_value(plan, lowered, item->number, plan->tasks[i].stage - 1);
        arrfree(use.loads);
        arrfree(use.stores);
    }
}

static void place_values(struct cuda_plan *plan, const struct lowered *lowered)
{
    arrsetlen(plan->value_stage, arrlenu(lowered->values));
    for (ptrdiff_t i = 0; i < arrlen(lowered->values); i++)
        plan->value_stage[i] = plan->stages;
    for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++) {
        const struct loop_nest *nest = &lowered->nests[plan->tasks[i].nest];
        int stage = plan->tasks[i].stage;
        bool end = cuda_is_end(&plan->tasks[i]);
        need_items(plan, lowered, nest->bodies[BODY_NEST], stage);
        for (int body = BODY_OUTER; body < BODY_COUNT; body++)
            if (end == (body == BODY_FINISH || body == BODY_TOTAL) || (plan->tasks[i].ends && body == BODY_TOTAL))
                need_items(plan, lowered, nest->bodies[body], stage);
        for (ptrdiff_t k = 0; !end && k < arrlen(nest->phases); k++)
            need_items(plan, lowered, nest->phases[k].items, stage);
    }
    for (ptrdiff_t i = 0; i < arrlen(lowered->items); i++)
        load_in_time(plan, lowered, &lowered->items[i]);
}

/* ---- workspace ---- */

static uint64_t reserve(struct cuda_plan *plan, int64_t bytes)
{
    uint64_t offset = plan->workspace;
    plan->workspace += ((uint64_t)bytes + 63) / 64 * 64;
    return offset;
}

int64_t cuda_accumulator_bytes(const struct reduction *reduction)
{
    if (reduction->node->op == OP_m2)
        return 12;
    if (reduction->position >= 0)
        return reduction->lane == LANE_FLOAT ? 8 : 16;
    return reduction->lane == LANE_LONG ? 8 : 4;
}

static void reserve_totals(struct cuda_plan *plan, const struct lowered *lowered)
{
    arrsetlen(plan->totals, arrlenu(lowered->reductions));
    for (ptrdiff_t i = 0; i < arrlen(plan->totals); i++)
        plan->totals[i] = 0;
    for (ptrdiff_t t = 0; t < arrlen(plan->tasks); t++) {
        const struct cuda_task *task = &plan->tasks[t];
        const struct loop_nest *nest = &lowered->nests[task->nest];
        if (task->scheme >= CUDA_CLEAR || task->ends)
            continue;
        for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
            const struct reduction *reduction = &lowered->reductions[nest->totals[i]];
            bool column = reduction->kind == REDUCTION_COLUMN;
            int64_t shares = task->merges > 1 ? loop_nest_blocks(nest) / task->merges : loop_nest_blocks(nest);
            int64_t count = column ? shares * loop_nest_columns(lowered, nest) : task->parts;
            plan->totals[nest->totals[i]] = reserve(plan, count * cuda_accumulator_bytes(reduction));
        }
    }
}

static void save(struct cuda_plan *plan, const struct lowered *lowered, const struct loop_nest *nest, int number)
{
    if (number < 0)
        return;
    const struct value *value = &lowered->values[number];
    if (value->depth != BODY_OUTER || cuda_saved_offset(plan, number) >= 0)
        return;
    struct cuda_saved saved = {.value = number};
    saved.offset = reserve(plan, nest->rows * (value->lane == LANE_LONG ? 8 : value->lane == LANE_MASK ? 1 : 4));
    arrput(plan->saved, saved);
}

/* What the last phase takes from outside its loops. */
static void save_for_columns(struct cuda_plan *plan, const struct lowered *lowered, const struct loop_nest *nest)
{
    const struct item *items = arrlast(nest->phases).items;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int number = items[i].number;
        if (items[i].kind == ITEM_STORE) {
            save(plan, lowered, nest, lowered->stores[number].value);
            save(plan, lowered, nest, lowered->stores[number].slice);
        } else if (items[i].kind == ITEM_STEP) {
            save(plan, lowered, nest, lowered->reductions[number].value);
            save(plan, lowered, nest, lowered->reductions[number].position);
        } else if (items[i].kind == ITEM_VALUE) {
            const struct value *value = &lowered->values[number];
            for (int k = 0; k < value->operand_count; k++)
                save(plan, lowered, nest, value->operands[k]);
        }
    }
}

/* ---- names ---- */

static void name(struct cuda_plan *plan, const int *buffers, const struct cuda_pick *picks)
{
    for (ptrdiff_t i = 0; i < arrlen(buffers); i++)
        plan->named[buffers[i]] |= cuda_find_pick(picks, PICK_BUFFER, buffers[i]) < 0;
}

/* A buffer that only tasks of groups take from their tables needs none. */
static void name_buffers(struct cuda_plan *plan, const struct lowered *lowered)
{
    struct use early = {0};
    for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++)
        arrput(plan->named, i == lowered->overflow);
    add_use(&early, lowered, lowered->items);
    name(plan, early.loads, NULL);
    arrfree(early.loads);
    for (ptrdiff_t i = 0; i < arrlen(plan->tasks); i++) {
        const struct cuda_group *group = cuda_group_of(plan, &plan->tasks[i]);
        if (group && group->leader != i)
            continue;
        struct use use = use_of(lowered, &plan->tasks[i]);
        name(plan, use.loads, group ? group->picks : NULL);
        name(plan, use.stores, group ? group->picks : NULL);
        arrfree(use.loads);
        arrfree(use.stores);
    }
}

struct cuda_plan cuda_plan_make(const struct lowered *lowered)
{
    struct cuda_plan plan = {.workspace = lowered->workspace};
    for (int i = 0; i < arrlen(lowered->nests); i++)
        add_tasks(&plan, lowered, i);
    cuda_plan_again(&plan, lowered);
    choose_stages(&plan, lowered);
    choose_joint(&plan, lowered);
    place_values(&plan, lowered);
    reserve_totals(&plan, lowered);
    for (ptrdiff_t i = 0; i < arrlen(plan.tasks); i++)
        if (plan.tasks[i].scheme == CUDA_ROWS_COLUMNS)
            save_for_columns(&plan, lowered, &lowered->nests[plan.tasks[i].nest]);
    cuda_plan_alike(&plan, lowered);
    name_buffers(&plan, lowered);
    return plan;
}

void cuda_plan_free(struct cuda_plan *plan)
{
    cuda_plan_free_groups(plan);
    arrfree(plan->named);
    arrfree(plan->tasks);
    arrfree(plan->value_stage);
    arrfree(plan->totals);
    arrfree(plan->saved);
    arrfree(plan->kept);
}
