/* Where each anchor goes: into the nest of what it needs, behind it in the same group, beside others that read the
 * same values, or into a group of its own. */
#include "passes/fuse.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

enum {
    SMALL_ELEMENTS = 16384, /* a nest of at most so many elements may follow another one in its kernel */
    SMALL_LOADS = 65536,    /* if it reads no values larger than this */
    MEMBERS_MAX = 48,       /* of a nest */
    UPDATE_NESTS_MAX = 192, /* of the kernel that updates all parameters */
    RECOMPUTE_COST = 60,    /* operations that are worth storing when several kernels need the value */
    REPEATED_COST = 4,      /* the same for a value that is repeated along an axis */
    COST_MAX = 1500,        /* no expression grows beyond this */
    SCALAR_COST = 256,      /* operations on single values that kernels no longer do again, each for itself */
    REREAD_LOADS = 3,       /* a value made from so many of its size is stored when several kernels need it */
    RANDOM_COST = 80,
    DIVISION_COST = 8
};

/* ---- facts ---- */

static bool is_anchor(const struct fuser *fuser, const struct node *node)
{
    const struct fact *fact = &fuser->facts[node->id];
    return fact->own_group != GROUP_NONE;
}

static void add_load(struct fact *fact, const struct node *load)
{
    int64_t elements = shape_elements(&load->type.shape);
    for (int i = 0; i < FACT_LOADS && elements > 1; i++) {
        const struct node *present = fact->loads[i];
        if (present == load)
            return;
        if (!present || shape_elements(&present->type.shape) < elements) {
            fact->loads[i] = load;
            if (!present)
                return;
            load = present;
            elements = shape_elements(&load->type.shape);
        }
    }
}

static int64_t own_cost(const struct node *node)
{
    bool divides = node->op == OP_div || node->op == OP_sqrt || node->op == OP_rsqrt;
    if (op_is(node->op, CLASS_POINTWISE))
        return divides ? DIVISION_COST : op_info(node->op)->flops;
    return node->op == OP_random ? RANDOM_COST : node->op == OP_gather ? 4 : 0;
}

static bool is_scalar(const struct node *node)
{
    return shape_elements(&node->type.shape) == 1;
}

/* Levels first: what is needed of the highest one decides which alignments count. Single values
 * are computed once, outside of all loops, and weigh little in the cost of others. */
static void need_operands(const struct fuser *fuser, const struct node *node, struct fact *fact)
{
    fact->level = -1;
    fact->group = GROUP_NONE;
    fact->cost = own_cost(node);
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        const struct fact *from = &fuser->facts[operand->id];
        bool anchor = is_anchor(fuser, operand);
        int level = anchor ? fuser->groups[from->own_group].level : from->level;
        int group = anchor ? from->own_group : from->group;
        if (level > fact->level)
            fact->group = group;
        else if (level == fact->level && group != fact->group && level >= 0)
            fact->group = GROUP_MANY;
        fact->level = level > fact->level ? level : fact->level;
        fact->cost += anchor || fuse_is_leaf(operand) || (is_scalar(operand) && !is_scalar(node)) ? 1 : from->cost;
        if (anchor || fuse_is_leaf(operand))
            add_load(fact, operand);
        for (int k = 0; k < FACT_LOADS && from->loads[k] && !anchor; k++)
            add_load(fact, from->loads[k]);
    }
    fact->cost = fact->cost > 2 * COST_MAX ? 2 * COST_MAX : fact->cost;
}

/* Alignments in other groups than the one needed are those of values in memory: none. */
static struct alignment in_group(const struct fuser *fuser, struct alignment alignment, int group)
{
    struct alignment none = alignment_none();
    bool after = alignment.after >= 0 && fuser->nest_group[alignment.after] == group;
    none.after = after ? alignment.after : -1;
    if (alignment.nest < 0 || fuser->nest_group[alignment.nest] == group) {
        alignment.after = none.after;
        return alignment;
    }
    return none;
}

static void align(const struct fuser *fuser, const struct node *node, struct fact *fact)
{
    struct alignment *operands = NULL;
    const struct alignment **pointers = NULL;
    arrsetlen(operands, (size_t)node->operand_count);
    arrsetlen(pointers, (size_t)node->operand_count);
    for (int i = 0; i < node->operand_count; i++) {
        operands[i] = in_group(fuser, fuser->facts[node->operands[i]->id].alignment, fact->group);
        pointers[i] = &operands[i];
    }
    fact->alignment = alignment_of(node, pointers);
    arrfree(operands);
    arrfree(pointers);
}

/* ---- placing ---- */

int fuse_new_group(struct fuser *fuser, int level, bool library)
{
    struct group group = {.level = level,
                          .library = library,
                          .merged = GROUP_NONE,
                          .consumer = LEVEL_NONE,
                          .consumer_nest = -1,
                          .next = LEVEL_NONE,
                          .places = -1,
                          .finish = -1};
    arrput(fuser->groups, group);
    return (int)arrlen(fuser->groups) - 1;
}

static int new_nest(struct fuser *fuser, struct node *node, int group)
{
    struct alignment alignment = fuser->facts[node->id].alignment;
    alignment_leave(&alignment);
    struct nest nest = nest_make(node, &alignment);
    if (!nest_join(&nest, node, &alignment))
        castor_bug("%s does not fit a nest of its own", op_info(node->op)->name);
    arrput(fuser->nests, nest);
    arrput(fuser->nest_group, group);
    fuser->groups[group].nests++;
    return (int)arrlen(fuser->nests) - 1;
}

static bool try_join(struct fuser *fuser, struct node *node, int nest, const struct alignment *alignment)
{
    if (nest_is_alone(node) || nest_is_alone(fuser->nests[nest].members[0].node))
        return false;
    return arrlen(fuser->nests[nest].members) < MEMBERS_MAX && nest_join(&fuser->nests[nest], node, alignment);
}

static bool is_small(const struct fuser *fuser, const struct node *node)
{
    const struct fact *fact = &fuser->facts[node->id];
    const struct node *widest = reduction_kind(node) && node->op != OP_fold ? node->operands[0] : node;
    if (shape_elements(&widest->type.shape) > SMALL_ELEMENTS || nest_is_alone(node))
        return false;
    for (int i = 0; i < FACT_LOADS && fact->loads[i]; i++)
        if (shape_elements(&fact->loads[i]->type.shape) > SMALL_LOADS)
            return false;
    return true;
}

/* A nest above the levels that the node needs that reads one of its larger values already; -1. */
static int join_by_load(struct fuser *fuser, struct node *node, int only_group)
{
    const struct fact *fact = &fuser->facts[node->id];
    struct alignment alignment = fact->alignment;
    alignment_leave(&alignment);
    struct type space = nest_space(node, &alignment);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < FACT_LOADS && fact->loads[i]; i++) {
            ptrdiff_t found = hmgeti(fuser->latest, nest_key(fact->loads[i], pass ? NULL : &space));
            int nest = found < 0 ? -1 : fuser->latest[found].value;
            if (nest < 0 || fuser->groups[fuser->nest_group[nest]].level <= fact->level ||
                (only_group != GROUP_NONE && fuser->nest_group[nest] != only_group))
                continue;
            if (try_join(fuser, node, nest, &alignment))
                return nest;
        }
    return -1;
}

/* Does a nest of the group read one of the node's largest values too, and may the cache still hold it? Then a second
 * nest of the kernel, which needs what the first one summed (batch normalisation and its gradient), does not fetch it
 * again. Targets that run kernels by strips do better: the sums go with what makes the value, strip by strip, and the
 * second nest with what needs its result. */
static bool is_cached(struct fuser *fuser, const struct node *node, int group)
{
    const struct fact *fact = &fuser->facts[node->id];
    const struct target *target = fuser->context->target;
    for (int i = 0; i < FACT_LOADS && fact->loads[i] && !nest_is_alone(node); i++) {
        const struct node *load = fact->loads[i];
        int64_t elements = shape_elements(&load->type.shape);
        if (elements < shape_elements(&fact->loads[0]->type.shape))
            return false;
        ptrdiff_t found = hmgeti(fuser->latest, nest_key(load, NULL));
        int64_t bytes = elements * (int64_t)element_bytes(target->storage[load->type.element]);
        if (found >= 0 && fuser->nest_group[fuser->latest[found].value] == group && bytes <= target->cache_bytes / 2)
            return true;
    }
    return false;
}

static int join_group(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    int group = fact->group;
    if (group < 0 || fuser->groups[group].library || !pass_may_rewrite(fuser->context))
        return -1;
    if (fact->alignment.nest >= 0 && try_join(fuser, node, fact->alignment.nest, &fact->alignment))
        return fact->alignment.nest;
    bool behind = is_small(fuser, node) || (!fuser->context->target->strips && is_cached(fuser, node, group));
    return behind && fuser->groups[group].nests < NESTS_MAX ? new_nest(fuser, node, group) : -1;
}

static void count_bytes(struct fuser *fuser, const struct node *node)
{
    const struct fact *fact = &fuser->facts[node->id];
    const struct target *target = fuser->context->target;
    struct group *group = &fuser->groups[fact->own_group];
    group->bytes += memory_bytes(&node->type, target);
    for (int i = 0; i < FACT_LOADS && fact->loads[i]; i++)
        group->bytes += memory_bytes(&fact->loads[i]->type, target);
}

/* After the node is a member of `nest`: where its value stands for those that use it. */
static void settle(struct fuser *fuser, struct node *node, int nest)
{
    struct fact *fact = &fuser->facts[node->id];
    const struct nest_member *member = &arrlast(fuser->nests[nest].members);
    for (int i = 0; i < FACT_LOADS && fact->loads[i] && !fuser->groups[fuser->nest_group[nest]].library; i++) {
        hmput(fuser->latest, nest_key(fact->loads[i], &fuser->nests[nest].space), nest);
        hmput(fuser->latest, nest_key(fact->loads[i], NULL), nest);
    }
    fact->own_group = fuser->nest_group[nest];
    fact->own_nest = nest;
    fuser->groups[fact->own_group].sums &= member->reduction == REDUCTION_COLUMN || member->reduction == REDUCTION_FULL;
    count_bytes(fuser, node);
    fact->alignment = alignment_none();
    if (member->reduction == REDUCTION_COLUMN || member->reduction == REDUCTION_FULL || nest_is_alone(node)) {
        fact->alignment.after = nest;
        return;
    }
    fact->alignment.nest = nest;
    fact->alignment.base = member->base;
    const struct shape *shape = member->base ? &member->base->type.shape : &node->type.shape;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dimension[i] != 1)
            fact->alignment.axis[i] = member->axis[i];
}

static void place_anchor(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    int nest = join_group(fuser, node);
    if (nest < 0 && pass_may_rewrite(fuser->context))
        nest = join_by_load(fuser, node, GROUP_NONE);
    if (nest < 0) {
        int group = fuse_new_group(fuser, fact->level + 1, false);
        fuser->groups[group].floating = reduction_kind(node) == REDUCTION_FULL;
        fuser->groups[group].sums = true;
        nest = new_nest(fuser, node, group);
    }
    int group = fuser->nest_group[nest];
    fuser->groups[group].floating &= reduction_kind(node) == REDUCTION_FULL;
    settle(fuser, node, nest);
}

/* What an epilogue is appended to; NULL for the contraction itself. */
static const struct node *chained_operand(const struct fuser *fuser, const struct node *node)
{
    for (int i = 0; i < node->operand_count && !op_is(node->op, CLASS_CONTRACTION); i++)
        if (fuser->facts[node->operands[i]->id].chained)
            return node->operands[i];
    return NULL;
}

static void place_contraction(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id], whole = {0};
    int level = fact->level;
    for (const struct node *inner = chained_operand(fuser, node); inner; inner = chained_operand(fuser, inner)) {
        need_operands(fuser, inner, &whole);
        level = whole.level > level ? whole.level : level;
    }
    fact->own_group = fuse_new_group(fuser, level + 1, true);
    fact->alignment = alignment_none();
    fact->stored = !fact->neck;
    bool goes_on =
        (node->op == OP_conv || node->op == OP_conv_data) && (fuser->context->target->epilogues & EPILOGUE_TAIL);
    fuser->groups[fact->own_group].convolution = goes_on ? node : NULL;
    if (!fact->neck)
        return;
    struct fact *neck = &fuser->facts[fact->neck->id];
    if (!neck->tail_of || fuser->groups[fuser->facts[neck->tail_of->id].own_group].level <= level + 1)
        neck->tail_of = node;
}

/* The neck becomes the nest of the convolution's group, sums join it. The neck's statistics are the convolution's. */
static bool place_in_tail(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    if (fact->tail_of) {
        int number = fuse_tail_group(fuser, node);
        fact->alignment = alignment_none();
        fuser->groups[number].places = new_nest(fuser, node, number);
        settle(fuser, node, fuser->groups[number].places);
        fact->contraction = fact->tail_of;
        return true;
    }
    if (!fuse_joins_tail(fuser, node))
        return false;
    struct group *group = &fuser->groups[fact->group];
    int nest = fact->alignment.nest;
    if (nest != group->places || !pass_may_rewrite(fuser->context) || !try_join(fuser, node, nest, &fact->alignment))
        return false;
    group->totals += node->op == OP_sum;
    group->checked |= node->op != OP_sum;
    settle(fuser, node, nest);
    fact->stored = true;
    return true;
}

/* What is computed from a convolution's sums alone, one value a channel, is computed by the block that has them. */
static bool place_in_finish(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    if (!fuse_joins_finish(fuser, node) || !pass_may_rewrite(fuser->context))
        return false;
    struct group *group = &fuser->groups[fact->group];
    if (group->finish < 0)
        group->finish = new_nest(fuser, node, fact->group);
    else if (!try_join(fuser, node, group->finish, &fact->alignment))
        return false;
    settle(fuser, node, group->finish);
    group->finished++;
    return true;
}

/* The convolution's result of which the node is a statistic that its kernel can take along; NULL for all else. The
 * statistics are those of the result as it is stored. */
static struct node *statistic_of(const struct fuser *fuser, const struct node *node)
{
    if ((node->op != OP_sum && node->op != OP_m2) || node->type.element != ELEMENT_F32 ||
        !(fuser->context->target->epilogues & EPILOGUE_STATISTICS) || reduction_kind(node) != REDUCTION_COLUMN)
        return NULL;
    struct node *result = node->operands[0];
    if (result->op == OP_cast && result->type.element == ELEMENT_F32)
        result = result->operands[0];
    const struct fact *fact = &fuser->facts[result->id];
    if (!fact->contraction || (fact->contraction->op != OP_conv && fact->contraction->op != OP_conv_data) ||
        target_emulates(fuser->context->target, result->type.element))
        return NULL;
    for (int i = 0; i < result->type.shape.rank; i++)
        if (result->type.shape.dimension[i] != 1 && (node->attributes->axes >> i & 1) == (i == 1))
            return NULL;
    return (node->op == OP_sum ? fact->has_sum : fact->has_m2) ? NULL : result;
}

static bool place_statistic(struct fuser *fuser, struct node *node)
{
    struct node *result = statistic_of(fuser, node);
    if (!result || !pass_may_rewrite(fuser->context))
        return false;
    struct fact *fact = &fuser->facts[result->id];
    *(node->op == OP_sum ? &fact->has_sum : &fact->has_m2) = true;
    fuser->facts[node->id].own_group = fact->own_group;
    fuser->facts[node->id].alignment = alignment_none();
    fuser->facts[node->id].stored = true;
    return true;
}

/* Writes of the update wait for the end, where one kernel does them all. */
static bool waits(const struct node *node)
{
    return node->op == OP_write && node->region == REGION_UPDATE;
}

/* An output of a body that is the result of a contraction: the library leaves it where the loop wants it (codegen's
 * loop_places.h), and no kernel copies it. Emulated halves lie unrounded, and a convolution's result may lie in another
 * order: those are copied. */
static bool is_put_out(struct fuser *fuser, const struct node *node)
{
    const struct node *value = node->operands[0];
    struct fact *fact = &fuser->facts[value->id];
    if (!fuser->graph->body || node->op != OP_output || !fact->contraction || !fact->stored || fact->put_out ||
        !type_equal(&value->type, &node->type) || target_emulates(fuser->context->target, value->type.element) ||
        !pass_may_rewrite(fuser->context))
        return false;
    fact->put_out = true;
    return true;
}

/* Small effects that find no other place wait for the end too. */
static void place_effect(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    if (is_put_out(fuser, node))
        return;
    fact->stored = true;
    if (waits(node)) {
        arrput(fuser->effects, node);
        return;
    }
    int nest = join_group(fuser, node);
    if (nest >= 0)
        settle(fuser, node, nest);
    else if (is_small(fuser, node))
        arrput(fuser->effects, node);
    else
        place_anchor(fuser, node);
}

/* Values of at least its own size that the node is computed from. */
static int wide_loads(const struct fact *fact, const struct node *node)
{
    int count = 0;
    while (count < FACT_LOADS && fact->loads[count] &&
           shape_elements(&fact->loads[count]->type.shape) >= shape_elements(&node->type.shape))
        count++;
    return count;
}

/* Should a value that several kernels need be stored for them, since making it again costs too much reading? If it is
 * made from two values of its size, storing and reading it moves as many bytes as reading those again, and so the work
 * decides: an exponential or its like, as in the gates of an LSTM. */
static bool costs_rereading(const struct fact *fact, const struct node *node)
{
    int loads = wide_loads(fact, node);
    return loads >= REREAD_LOADS || (loads == REREAD_LOADS - 1 && own_cost(node) > DIVISION_COST);
}

static bool wants_place(const struct fuser *fuser, const struct node *node)
{
    const struct fact *fact = &fuser->facts[node->id];
    enum op_class class = op_info(node->op)->class;
    if (fact->required || nest_is_alone(node) || reduction_kind(node))
        return true;
    if (fact->offered && node->op == OP_reshape)
        return true;
    if (class != CLASS_POINTWISE)
        return false;
    if (is_scalar(node))
        return fact->users > 1 && fact->cost >= SCALAR_COST;
    if (node->region != REGION_UPDATE && fact->users > 1 && costs_rereading(fact, node))
        return true;
    int64_t worth = fact->offered ? REPEATED_COST : fact->users > 1 ? RECOMPUTE_COST : COST_MAX;
    return fact->cost >= worth || (fact->offered && node->op == OP_cast);
}

void fuse_place(struct fuser *fuser, struct node *node)
{
    struct fact *fact = &fuser->facts[node->id];
    fact->alignment = alignment_none();
    fact->level = -1;
    fact->group = GROUP_NONE;
    if (fact->pattern)
        fuse_place_pattern(fuser, node);
    if (fact->pattern || fact->inside || fact->chained || fuse_is_leaf(node))
        return;
    if (node->op == OP_result) {
        fact->own_group = fuser->facts[node->operands[0]->id].own_group;
        fact->stored = true;
        return;
    }
    need_operands(fuser, node, fact);
    if (node->op == OP_loop || fact->contraction || fact->joins) {
        place_contraction(fuser, node);
        return;
    }
    align(fuser, node, fact);
    if (op_is(node->op, CLASS_EFFECT))
        place_effect(fuser, node);
    else if (wants_place(fuser, node) && !place_statistic(fuser, node) && !place_in_tail(fuser, node) &&
             !place_in_finish(fuser, node))
        place_anchor(fuser, node);
    fact->stored |= fact->required || nest_is_alone(node);
}

/* The parameter whose value, optimizer state or half copy the node writes; NULL for all else. */
static const char *parameter_of(const struct fuser *fuser, const struct node *effect)
{
    const struct variable *variable =
        effect->op == OP_write ? module_find_variable(fuser->graph->module, effect->attributes->symbol) : NULL;
    return !variable ? NULL : variable->source ? variable->source : variable->name;
}

/* An effect, where the first one of its parameter stands, and how many that has. */
struct waiting {
    struct node *node;
    int first, place;
    int *count;
};

static int compare_waiting(const void *a, const void *b)
{
    const struct waiting *x = a, *y = b;
    return x->first != y->first ? x->first - y->first : x->place - y->place;
}

/* Effects by parameter: what is written of one reads the same values, so it belongs into one kernel. */
static struct waiting *sort_effects(struct fuser *fuser, int *counts)
{
    struct waiting *waiting = NULL;
    struct {
        const char *key;
        int value;
    } *first = NULL;
    for (int i = 0; i < arrlen(fuser->effects); i++) {
        const char *parameter = parameter_of(fuser, fuser->effects[i]);
        ptrdiff_t at = parameter ? hmgeti(first, parameter) : -1;
        int place = at < 0 ? i : first[at].value;
        if (parameter && at < 0)
            hmput(first, parameter, i);
        counts[place]++;
        struct waiting each = {fuser->effects[i], place, i, &counts[place]};
        arrput(waiting, each);
    }
    if (waiting)
        qsort(waiting, arrlenu(waiting), sizeof *waiting, compare_waiting);
    hmfree(first);
    return waiting;
}

void fuse_place_effects(struct fuser *fuser)
{
    int level = 0, group = GROUP_NONE, parameter = -1;
    for (ptrdiff_t i = 0; i < arrlen(fuser->groups); i++)
        level = fuser->groups[i].level >= level ? fuser->groups[i].level + 1 : level;
    struct waiting *waiting = sort_effects(fuser, ARENA_ARRAY(fuser->arena, int, arrlenu(fuser->effects)));
    for (ptrdiff_t i = 0; i < arrlen(waiting); i++) {
        struct node *node = waiting[i].node;
        bool next = waiting[i].first != parameter; /* all of a parameter go into one kernel */
        parameter = waiting[i].first;
        bool full = group != GROUP_NONE && next && fuser->groups[group].nests + *waiting[i].count > UPDATE_NESTS_MAX;
        int nest = group == GROUP_NONE || full ? -1 : join_by_load(fuser, node, group);
        if (nest < 0) {
            if (group == GROUP_NONE || full || !pass_may_rewrite(fuser->context))
                group = fuse_new_group(fuser, level, false);
            nest = new_nest(fuser, node, group);
        }
        settle(fuser, node, nest);
    }
    arrfree(waiting);
}
