/* Tasks that do the same in other places: a layer's update and the next layer's. See cuda_plan.h.
 *
 * Two tasks are alike where a walk over both, side by side, meets the same statements over the same extents, and where
 * values, variables and reductions of the one always meet the same ones of the other. Buffers, integers, constants and
 * places in the workspace may differ, and are noted at each point; so may the length of a walk over memory from end to
 * end. Then only the first task is printed, with a table of what it would have been for the others: code for one layer,
 * and not for a hundred, goes to NVRTC, whose time it is that counts. */
#include "codegen/print_cuda.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

struct pair {
    const struct lowered *lowered;
    const struct cuda_plan *plan;
    int *values, *variables, *reductions; /* of the first task's: the second's, -1 for one that was not met */
    struct cuda_pick *picks;              /* stb_ds array; with the second's places alone */
    bool noting;
    bool lengths; /* both walk memory from end to end: how far may differ */
};

/* ---- what may differ ---- */

static int64_t constant_bits(const struct value *value)
{
    float constant = (float)value->constant;
    uint32_t bits = 0;
    memcpy(&bits, &constant, sizeof bits);
    return bits;
}

static int64_t place_of(const struct lowered *lowered, const struct cuda_plan *plan, enum cuda_pick_kind kind,
                        int number)
{
    switch (kind) {
    case PICK_BUFFER:
        if (lowered->buffers[number].scratch)
            return (int64_t)lowered->buffers[number].offset;
        return cuda_parameter(lowered, number);
    case PICK_TOTAL:
        return (int64_t)plan->totals[number];
    case PICK_SAVED:
        return cuda_saved_offset(plan, number);
    case PICK_CONSTANT:
        return constant_bits(&lowered->values[number]);
    default:
        return number;
    }
}

int cuda_find_pick(const struct cuda_pick *picks, enum cuda_pick_kind kind, int number)
{
    for (int i = 0; i < arrlen(picks); i++)
        if (picks[i].kind == kind && picks[i].number == number)
            return i;
    return -1;
}

static bool note_place(struct pair *pair, enum cuda_pick_kind kind, int number, int64_t place)
{
    for (ptrdiff_t i = 0; i < arrlen(pair->picks); i++)
        if (pair->picks[i].kind == kind && pair->picks[i].number == number)
            return pair->picks[i].places[0] == place;
    struct cuda_pick pick = {.kind = kind, .number = number};
    arrput(pick.places, place);
    arrput(pair->picks, pick);
    return true;
}

/* Notes that the second task has `b` where the first has `a`. False where it had another one before. */
static bool note(struct pair *pair, enum cuda_pick_kind kind, int a, int b)
{
    return !pair->noting || note_place(pair, kind, a, place_of(pair->lowered, pair->plan, kind, b));
}

static bool same_buffer(struct pair *pair, int a, int b)
{
    return pair->lowered->buffers[a].scratch == pair->lowered->buffers[b].scratch && note(pair, PICK_BUFFER, a, b);
}

/* ---- indices ---- */

static bool same_variable(const struct pair *pair, int a, int b)
{
    bool shared = a == b && pair->lowered->variables[a].depth == BODY_KERNEL;
    return shared || pair->variables[a] == b;
}

static int count_terms(const struct lowered *lowered, const struct affine *index)
{
    int count = 0;
    for (int i = 0; i < index->count; i++)
        count += lowered->variables[index->terms[i].variable].kind != INDEX_MERGED;
    return count;
}

static bool same_index(const struct pair *pair, const struct affine *a, const struct affine *b)
{
    const struct lowered *lowered = pair->lowered;
    if (!a || !b)
        return a == b;
    if (a->constant != b->constant || count_terms(lowered, a) != count_terms(lowered, b) ||
        cuda_is_short(lowered, a) != cuda_is_short(lowered, b))
        return false;
    for (int i = 0; i < a->count; i++) {
        int variable = a->terms[i].variable;
        bool found = lowered->variables[variable].kind == INDEX_MERGED;
        for (int k = 0; k < b->count && !found; k++)
            found = same_variable(pair, variable, b->terms[k].variable) && a->terms[i].factor == b->terms[k].factor;
        if (!found)
            return false;
    }
    return true;
}

static bool meet_variables(struct pair *pair, int a, int b)
{
    const struct index_variable *x = &pair->lowered->variables[a], *y = &pair->lowered->variables[b];
    pair->variables[a] = b;
    bool length = pair->lengths && x->kind == INDEX_LOOP;
    return x->kind == y->kind && x->by == y->by && x->low == y->low && (length || x->high == y->high) &&
           x->depth == y->depth && x->integer == y->integer && x->vector == y->vector && same_index(pair, x->of, y->of);
}

static bool meet_loops(struct pair *pair, const struct loop_nest *a, const struct loop_nest *b)
{
    if (a->row_count != b->row_count || a->inner_count != b->inner_count || (a->vector < 0) != (b->vector < 0))
        return false;
    for (int i = 0; i < a->row_count; i++)
        if (!meet_variables(pair, a->row_loops[i], b->row_loops[i]))
            return false;
    for (int i = 0; i < a->inner_count; i++)
        if (!meet_variables(pair, a->inner_loops[i], b->inner_loops[i]))
            return false;
    return a->vector < 0 || meet_variables(pair, a->vector, b->vector);
}

/* ---- what is computed ---- */

/* Constants stand before all tasks: within a group, one of another value stands in for the first task's. */
static bool may_stand_in(const struct value *a, const struct value *b)
{
    return a->kind == VALUE_CONSTANT && b->kind == VALUE_CONSTANT && a->lane == LANE_FLOAT && b->lane == LANE_FLOAT &&
           isfinite(a->constant) && isfinite(b->constant) && a->fits == b->fits;
}

static bool same_value(struct pair *pair, int a, int b)
{
    if (a < 0 || b < 0)
        return a == b;
    const struct value *x = &pair->lowered->values[a], *y = &pair->lowered->values[b];
    if (may_stand_in(x, y))
        return note(pair, PICK_CONSTANT, a, b);
    bool shared = x->depth == BODY_KERNEL || y->depth == BODY_KERNEL;
    return shared ? a == b : pair->values[a] == b;
}

static bool meet_values(struct pair *pair, int a, int b)
{
    const struct value *x = &pair->lowered->values[a], *y = &pair->lowered->values[b];
    pair->values[a] = b;
    for (int i = 0; i < x->operand_count; i++)
        if (i >= y->operand_count || !same_value(pair, x->operands[i], y->operands[i]))
            return false;
    bool alike = x->kind == y->kind && x->lane == y->lane && x->domain == y->domain && x->op == y->op &&
                 x->element == y->element && x->operand_count == y->operand_count && x->low == y->low &&
                 x->high == y->high && x->stride == y->stride && x->depth == y->depth && x->vector == y->vector &&
                 x->fits == y->fits && x->kind != VALUE_CONSTANT && same_index(pair, x->index, y->index);
    if (!alike || (x->kind == VALUE_LOAD && !same_buffer(pair, x->buffer, y->buffer)))
        return false;
    if (x->kind == VALUE_RANDOM && !note(pair, PICK_INTEGER, x->integer, y->integer))
        return false;
    if (x->kind == VALUE_RESULT && pair->reductions[x->reduction] != y->reduction)
        return false;
    int64_t saved = cuda_saved_offset(pair->plan, a);
    return (saved < 0) == (cuda_saved_offset(pair->plan, b) < 0) && (saved < 0 || note(pair, PICK_SAVED, a, b));
}

static bool same_store(struct pair *pair, int a, int b)
{
    const struct store *x = &pair->lowered->stores[a], *y = &pair->lowered->stores[b];
    return x->element == y->element && x->stride == y->stride && x->last == y->last &&
           same_value(pair, x->value, y->value) && same_value(pair, x->slice, y->slice) &&
           same_index(pair, x->index, y->index) && same_buffer(pair, x->buffer, y->buffer);
}

static bool meet_reductions(struct pair *pair, int a, int b)
{
    const struct reduction *x = &pair->lowered->reductions[a], *y = &pair->lowered->reductions[b];
    pair->reductions[a] = b;
    return x->node->op == y->node->op && reduction_ordered(x->node) == reduction_ordered(y->node) &&
           x->kind == y->kind && x->lane == y->lane && x->lanes == y->lanes && x->follows == y->follows &&
           x->row_level == y->row_level && x->slots == y->slots && x->phase == y->phase &&
           same_value(pair, x->value, y->value) && same_value(pair, x->position, y->position);
}

static bool same_watch(struct pair *pair, int a, int b)
{
    const struct watch *x = &pair->lowered->watches[a], *y = &pair->lowered->watches[b];
    if (arrlen(x->triggers) != arrlen(y->triggers) || arrlen(x->values) != arrlen(y->values))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(x->triggers); i++)
        if (!same_value(pair, x->triggers[i], y->triggers[i]))
            return false;
    for (ptrdiff_t i = 0; i < arrlen(x->values); i++)
        if (!same_value(pair, x->values[i].value, y->values[i].value) ||
            !note(pair, PICK_INTEGER, x->values[i].slot, y->values[i].slot))
            return false;
    return true;
}

/* ---- bodies ---- */

static bool meet_items(struct pair *pair, const struct loop_nest *a, const struct loop_nest *b, const struct item *x,
                       const struct item *y);

static bool meet_phases(struct pair *pair, const struct loop_nest *a, const struct loop_nest *b, int number)
{
    const struct phase *x = &a->phases[number], *y = &b->phases[number];
    if (!meet_items(pair, a, b, x->items, y->items) || arrlen(x->reductions) != arrlen(y->reductions))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(x->reductions); i++)
        if (pair->reductions[x->reductions[i]] != y->reductions[i])
            return false;
    return true;
}

static bool meet_items(struct pair *pair, const struct loop_nest *a, const struct loop_nest *b, const struct item *x,
                       const struct item *y)
{
    if (arrlen(x) != arrlen(y))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(x); i++) {
        int first = x[i].number, second = y[i].number;
        bool alike = x[i].kind == y[i].kind;
        if (alike && x[i].kind == ITEM_INDEX)
            alike = meet_variables(pair, first, second);
        else if (alike && x[i].kind == ITEM_VALUE)
            alike = meet_values(pair, first, second);
        else if (alike && x[i].kind == ITEM_STORE)
            alike = same_store(pair, first, second);
        else if (alike && x[i].kind == ITEM_STEP)
            alike = meet_reductions(pair, first, second);
        else if (alike && x[i].kind == ITEM_WATCH)
            alike = same_watch(pair, first, second);
        else
            alike = alike && first == second && meet_phases(pair, a, b, first);
        if (!alike)
            return false;
    }
    return true;
}

/* The accumulators of the sums over rows, one by one in the order in which they are listed. */
static bool same_totals(struct pair *pair, const struct loop_nest *a, const struct loop_nest *b)
{
    if (arrlen(a->totals) != arrlen(b->totals))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(a->totals); i++)
        if (pair->reductions[a->totals[i]] != b->totals[i] || !note(pair, PICK_TOTAL, a->totals[i], b->totals[i]))
            return false;
    return true;
}

static bool same_nests(struct pair *pair, const struct cuda_task *task, const struct loop_nest *a,
                       const struct loop_nest *b)
{
    bool end = cuda_is_end(task);
    pair->noting = true;
    if (a->shape != b->shape || a->rows != b->rows || (a->vector_extent != b->vector_extent && !pair->lengths) ||
        (a->block != b->block && !pair->lengths) || a->neighbours != b->neighbours ||
        a->vector_inner != b->vector_inner || a->split_vector != b->split_vector ||
        arrlen(a->phases) != arrlen(b->phases) || !meet_loops(pair, a, b) ||
        !meet_items(pair, a, b, a->bodies[BODY_NEST], b->bodies[BODY_NEST]))
        return false;
    pair->noting = !end;
    if (!meet_items(pair, a, b, a->bodies[BODY_OUTER], b->bodies[BODY_OUTER]) ||
        !meet_items(pair, a, b, a->bodies[BODY_VECTOR], b->bodies[BODY_VECTOR]))
        return false;
    pair->noting = true;
    if (!same_totals(pair, a, b))
        return false;
    enum body_depth body = task->scheme == CUDA_TOTAL || task->ends ? BODY_TOTAL : BODY_FINISH;
    return (!end && !task->ends) || meet_items(pair, a, b, a->bodies[body], b->bodies[body]);
}

/* ---- tasks ---- */

/* What a second walk over the same rows finds on the chip is not the same for all. */
static bool may_share(const struct cuda_task *task)
{
    return task->blocks && !task->keeps && !task->again;
}

static struct pair pair_new(const struct lowered *lowered, const struct cuda_plan *plan)
{
    return (struct pair){.lowered = lowered,
                         .plan = plan,
                         .values = ARENA_ARRAY(lowered->arena, int, arrlen(lowered->values) + 1),
                         .variables = ARENA_ARRAY(lowered->arena, int, arrlen(lowered->variables) + 1),
                         .reductions = ARENA_ARRAY(lowered->arena, int, arrlen(lowered->reductions) + 1)};
}

static void begin(struct pair *pair, bool lengths)
{
    const struct lowered *lowered = pair->lowered;
    for (ptrdiff_t i = 0; i < arrlen(lowered->values); i++)
        pair->values[i] = -1;
    for (ptrdiff_t i = 0; i < arrlen(lowered->variables); i++)
        pair->variables[i] = -1;
    for (ptrdiff_t i = 0; i < arrlen(lowered->reductions); i++)
        pair->reductions[i] = -1;
    pair->picks = NULL;
    pair->lengths = lengths;
    pair->noting = true;
}

static void free_picks(struct cuda_pick *picks)
{
    for (ptrdiff_t i = 0; i < arrlen(picks); i++)
        arrfree(picks[i].places);
    arrfree(picks);
}

/* Does the task walk memory from end to end? Then the length of the walk stands in its code once. */
static bool is_flat(const struct lowered *lowered, const struct cuda_task *task)
{
    const struct loop_nest *nest = &lowered->nests[task->nest];
    int64_t extent = nest->vector_extent;
    return task->scheme == CUDA_ELEMENTS && nest->shape == NEST_LOOPS && nest->rows == 1 && !nest->row_count &&
           !nest->inner_count && nest->vector >= 0 && !arrlen(nest->totals) && extent > task->width &&
           extent % task->width == 0 && extent <= INT32_MAX / 2;
}

static bool same_task(const struct cuda_task *a, const struct cuda_task *b, bool lengths)
{
    return a->scheme == b->scheme && a->stage == b->stage && a->width == b->width && a->ends == b->ends &&
           (lengths || (a->parts == b->parts && a->items == b->items && a->blocks == b->blocks));
}

/* Where `task` has what `leader` has, NULL where they are not alike. A stb_ds array of its own. */
static struct cuda_pick *compare(struct pair *pair, const struct cuda_task *leader, const struct cuda_task *task)
{
    const struct lowered *lowered = pair->lowered;
    const struct loop_nest *a = &lowered->nests[leader->nest], *b = &lowered->nests[task->nest];
    bool alike = false, lengths = is_flat(lowered, leader) && is_flat(lowered, task);
    if (!same_task(leader, task, lengths))
        return NULL;
    begin(pair, lengths);
    if (task->scheme == CUDA_CLEAR)
        alike = a->clear_bytes == b->clear_bytes && same_buffer(pair, a->clear, b->clear);
    else
        alike = same_nests(pair, task, a, b);
    if (lengths) {
        note_place(pair, PICK_ITEMS, 0, task->items);
        note_place(pair, PICK_FIRST, 0, 0);
    }
    if (alike)
        return pair->picks;
    free_picks(pair->picks);
    return NULL;
}

/* `places`: what the task has where the leader has the group's picks. */
static void add_member(struct cuda_group *group, const struct cuda_task *task, const struct cuda_pick *places)
{
    for (ptrdiff_t i = 0; i < arrlen(group->picks); i++)
        arrput(group->picks[i].places, group->picks[i].kind == PICK_FIRST ? group->blocks : places[i].places[0]);
    group->blocks += task->blocks;
    group->members++;
}

/* The group that the task joins, -1: none. */
static int find_group(struct cuda_plan *plan, struct pair *pair, const struct cuda_task *task)
{
    for (int i = 0; i < arrlen(plan->groups); i++) {
        struct cuda_group *group = &plan->groups[i];
        struct cuda_pick *places = compare(pair, &plan->tasks[group->leader], task);
        if (!places)
            continue;
        add_member(group, task, places);
        free_picks(places);
        return i;
    }
    return -1;
}

static bool is_agreed(const struct cuda_group *group, int pick)
{
    for (int member = 1; member < group->members; member++)
        if (group->picks[pick].places[member] != group->picks[pick].places[0])
            return false;
    return true;
}

/* Picks on which all members agree are none. Where all take as many blocks, a division tells whose a block is. */
static void drop_agreed(struct cuda_group *group)
{
    int items = cuda_find_pick(group->picks, PICK_ITEMS, 0), kept = 0;
    bool even = items < 0 || is_agreed(group, items);
    for (int i = 0; i < arrlen(group->picks); i++) {
        struct cuda_pick pick = group->picks[i];
        if (is_agreed(group, i) || (pick.kind == PICK_FIRST && even))
            arrfree(pick.places);
        else
            group->picks[kept++] = pick;
    }
    arrsetlen(group->picks, (size_t)kept);
}

void cuda_plan_alike(struct cuda_plan *plan, const struct lowered *lowered)
{
    struct pair pair = pair_new(lowered, plan);
    for (int i = 0; i < arrlen(plan->tasks); i++) {
        struct cuda_task *task = &plan->tasks[i];
        task->group = -1;
        if (!may_share(task))
            continue;
        task->group = find_group(plan, &pair, task);
        if (task->group >= 0)
            continue;
        struct cuda_group group = {
            .leader = i, .members = 1, .blocks = task->blocks, .picks = compare(&pair, task, task)};
        task->group = (int)arrlen(plan->groups);
        arrput(plan->groups, group);
    }
    for (ptrdiff_t i = 0; i < arrlen(plan->groups); i++)
        drop_agreed(&plan->groups[i]);
}

const struct cuda_group *cuda_group_of(const struct cuda_plan *plan, const struct cuda_task *task)
{
    const struct cuda_group *group = task->group >= 0 ? &plan->groups[task->group] : NULL;
    return group && group->members > 1 ? group : NULL;
}

void cuda_plan_free_groups(struct cuda_plan *plan)
{
    for (ptrdiff_t i = 0; i < arrlen(plan->groups); i++)
        free_picks(plan->groups[i].picks);
    arrfree(plan->groups);
}
