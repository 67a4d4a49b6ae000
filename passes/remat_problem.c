/* What pass remat must know of a scheduled graph: values, when they are needed, and how each is made. */
#include "passes/cost.h"
#include "passes/memory.h"
#include "passes/nests.h"
#include "passes/overwrite.h"
#include "passes/remat.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

/* ---- recipes ---- */

struct copied {
    const struct node *key;
    struct node *value;
};

struct cook {
    struct remat_problem *problem;
    const struct kernel_use *use;
    struct node **stack, **nodes, **loads; /* stb_ds arrays */
    struct copied *copies;                 /* stb_ds hash: of the nodes taken */
};

static bool is_loaded(const struct cook *cook, const struct node *node)
{
    return node->op == OP_read || node->op == OP_input || (node->kernel > 0 && node->kernel != cook->use->number);
}

/* A copy to try the kernel with; it gets its operands' copies, which exist by then. */
static struct node *copy_node(struct cook *cook, const struct node *node, const struct node *result)
{
    struct arena *arena = cook->problem->arena;
    struct node *copy = arena_copy(arena, node, sizeof *node);
    copy->operands = ARENA_ARRAY(arena, struct node *, node->operand_count);
    for (int i = 0; i < node->operand_count; i++) {
        struct node *operand = node->operands[i];
        ptrdiff_t at = hmgeti(cook->copies, operand);
        copy->operands[i] = at >= 0 && cook->copies[at].value ? cook->copies[at].value : operand;
    }
    bool stored = node == result || (cook->use->contraction && node->kernel);
    copy->kernel = stored ? cook->problem->set.count + 1 : 0;
    return copy;
}

/* Walks back from the result inside its kernel, operands first; an own stack, for any depth. */
static void collect(struct cook *cook, struct node *result)
{
    arrput(cook->stack, result);
    while (arrlen(cook->stack)) {
        struct node *node = arrpop(cook->stack);
        if (!node) { /* the one below has its operands */
            node = arrpop(cook->stack);
            hmput(cook->copies, node, copy_node(cook, node, result));
            arrput(cook->nodes, node);
            continue;
        }
        if (hmgeti(cook->copies, node) >= 0)
            continue;
        hmput(cook->copies, node, NULL);
        if (is_loaded(cook, node)) {
            arrput(cook->loads, node);
            continue;
        }
        arrput(cook->stack, node);
        arrput(cook->stack, NULL);
        for (int i = node->operand_count - 1; i >= 0; i--)
            arrput(cook->stack, node->operands[i]);
    }
}

static struct kernel_use trial_kernel(struct cook *cook, struct node *result)
{
    struct arena *arena = cook->problem->arena;
    struct kernel_use trial = {
        .number = cook->problem->set.count + 1, .overflow = cook->use->overflow, .libraries = cook->use->libraries};
    trial.computed = ARENA_ARRAY(arena, struct node *, arrlen(cook->nodes));
    for (ptrdiff_t i = 0; i < arrlen(cook->nodes); i++) {
        trial.computed[i] = hmget(cook->copies, cook->nodes[i]);
        if (op_is(cook->nodes[i]->op, CLASS_CONTRACTION))
            trial.contraction = trial.computed[i];
    }
    trial.computed_count = (int)arrlen(cook->nodes);
    trial.loads = arena_copy(arena, cook->loads, sizeof *cook->loads * arrlenu(cook->loads));
    trial.load_count = (int)arrlen(cook->loads);
    trial.stores = ARENA_ARRAY(arena, struct node *, 1);
    trial.stores[0] = hmget(cook->copies, result);
    trial.store_count = 1;
    return trial;
}

/* Does the kernel compute inside what it has to store: such a value, or the table of a gather? */
static bool stores_more(const struct kernel_use *trial)
{
    for (int i = 0; i < trial->computed_count; i++) {
        const struct node *node = trial->computed[i], *table = node->op == OP_gather ? node->operands[0] : NULL;
        if (!node->kernel && nest_is_alone(node))
            return true;
        if (table && !table->kernel && table->op != OP_read && table->op != OP_input)
            return true;
    }
    return false;
}

/* Whether a kernel can make the value alone: no statistics without what they are taken of, no nests that do not fit. */
static bool can_stand_alone(const struct kernel_use *use, const struct kernel_use *trial, const struct node *result)
{
    if (op_is(result->op, CLASS_EFFECT) || op_is(result->op, CLASS_LOOP))
        return false;
    if (trial->contraction)
        return !use->attention && !use->gelu && result == use->stores[0];
    if (stores_more(trial))
        return false;
    struct nest *nests = nests_find(trial);
    bool fits = nests != NULL;
    nests_free(nests);
    return fits;
}

static void list_loads(const struct cook *cook, struct recipe *recipe)
{
    int *loads = ARENA_ARRAY(cook->problem->arena, int, arrlen(cook->loads));
    for (ptrdiff_t i = 0; i < arrlen(cook->loads); i++)
        if (cook->loads[i]->kernel)
            loads[recipe->load_count++] = cook->problem->value_of[cook->loads[i]->id];
    recipe->loads = loads;
}

const struct recipe *remat_recipe(struct remat_problem *problem, int value)
{
    struct remat_value *of = &problem->values[value];
    if (of->recipe)
        return of->recipe;
    struct recipe *recipe = ARENA_NEW(problem->arena, struct recipe);
    struct cook cook = {.problem = problem, .use = &problem->set.kernels[of->kernel]};
    collect(&cook, of->node);
    struct kernel_use trial = trial_kernel(&cook, of->node);
    recipe->possible = can_stand_alone(cook.use, &trial, of->node);
    recipe->seconds = recipe->possible ? cost_kernel(&trial, problem->target).seconds : 0;
    recipe->nodes = arena_copy(problem->arena, cook.nodes, sizeof *cook.nodes * arrlenu(cook.nodes));
    recipe->node_count = (int)arrlen(cook.nodes);
    list_loads(&cook, recipe);
    arrfree(cook.stack);
    arrfree(cook.nodes);
    arrfree(cook.loads);
    hmfree(cook.copies);
    of->recipe = recipe;
    return recipe;
}

/* ---- values and turns ---- */

static int64_t bytes_in_arena(const struct remat_problem *problem, const struct node *node)
{
    int64_t alignment = problem->target->alignment > 0 ? problem->target->alignment : 1;
    int64_t bytes = node->op == OP_write ? 0 : memory_bytes(&node->type, problem->target);
    return (bytes + alignment - 1) / alignment * alignment;
}

static void add_values(struct remat_problem *problem)
{
    ptrdiff_t count = arrlen(problem->graph->nodes);
    problem->value_of = ARENA_ARRAY(problem->arena, int, count);
    problem->values = ARENA_ARRAY(problem->arena, struct remat_value, count);
    for (ptrdiff_t i = 0; i < count; i++)
        problem->value_of[i] = -1;
    for (int k = 0; k < problem->set.count; k++)
        for (int i = 0; i < problem->set.kernels[k].store_count; i++) {
            struct node *node = problem->set.kernels[k].stores[i];
            problem->value_of[node->id] = problem->value_count;
            problem->values[problem->value_count++] = (struct remat_value){
                .node = node, .kernel = k, .bytes = bytes_in_arena(problem, node), .kept = node->op == OP_output};
        }
    for (ptrdiff_t i = 0; i < count; i++) { /* results that lie in memory already */
        struct node *root = problem->graph->nodes[i];
        struct view view;
        if (op_is(root->op, CLASS_EFFECT) && !root->kernel && view_find(root->operands[0], &view) && view.base->kernel)
            problem->values[problem->value_of[view.base->id]].kept = true;
    }
}

static void add_load(struct remat_problem *problem, int **loads, int turn, const struct node *node)
{
    if (!node->kernel)
        return;
    int number = problem->value_of[node->id];
    struct remat_value *value = &problem->values[number];
    const struct remat_turn *self = &problem->turns[turn];
    if (value->kernel >= self->first || (arrlen(value->uses) && arrlast(value->uses) == turn))
        return;
    arrput(value->uses, turn);
    arrput(*loads, number);
}

static bool is_same_place(const struct node *a, const struct node *b)
{
    struct type x = a->type, y = b->type;
    x.element = y.element = ELEMENT_NONE;
    return type_equal(&x, &y);
}

/* What pass memory could store over what: of a kernel that runs by itself, since others find more alive. */
static void find_reuses(struct remat_problem *problem, struct remat_turn *turn, struct overwrite *overwrite)
{
    const struct kernel_use *use = &problem->set.kernels[turn->first];
    struct remat_reuse *reuses = NULL;
    if (turn->count > 1 || (use->contraction && !kernel_has_tail(use)) || use->joins)
        return;
    overwrite_inspect(overwrite, use);
    for (int i = 0; i < use->store_count; i++)
        for (int k = 0; k < use->load_count; k++) {
            struct node *store = use->stores[i], *load = use->loads[k];
            int64_t bytes = bytes_in_arena(problem, store);
            if (load->kernel && bytes && is_same_place(store, load) && bytes == bytes_in_arena(problem, load) &&
                overwrite_allowed(overwrite, store, load))
                arrput(reuses, ((struct remat_reuse){problem->value_of[store->id], problem->value_of[load->id]}));
        }
    turn->reuses = arena_copy(problem->arena, reuses, sizeof *reuses * arrlenu(reuses));
    turn->reuse_count = (int)arrlen(reuses);
    arrfree(reuses);
}

static void fill_turn(struct remat_problem *problem, int number)
{
    struct remat_turn *turn = &problem->turns[number];
    int *loads = NULL, *stores = NULL;
    for (int k = turn->first; k < turn->first + turn->count; k++) {
        const struct kernel_use *use = &problem->set.kernels[k];
        for (int i = 0; i < use->load_count; i++)
            add_load(problem, &loads, number, use->loads[i]);
        for (int i = 0; i < use->store_count; i++)
            arrput(stores, problem->value_of[use->stores[i]->id]);
    }
    turn->loads = arena_copy(problem->arena, loads, sizeof *loads * arrlenu(loads));
    turn->load_count = (int)arrlen(loads);
    turn->stores = arena_copy(problem->arena, stores, sizeof *stores * arrlenu(stores));
    turn->store_count = (int)arrlen(stores);
    arrfree(loads);
    arrfree(stores);
}

struct remat_problem *remat_problem_new(struct graph *graph, const struct target *target, struct arena *arena)
{
    struct remat_problem *problem = ARENA_NEW(arena, struct remat_problem);
    *problem = (struct remat_problem){.graph = graph, .target = target, .arena = arena};
    problem->set = kernels_find(graph, arena);
    struct strip_set strips = strips_find(&problem->set, target, arena);
    problem->turns = ARENA_ARRAY(arena, struct remat_turn, problem->set.count);
    struct overwrite *overwrite = overwrite_new(arrlenu(graph->nodes));
    add_values(problem);
    for (int k = 0; k < problem->set.count;) {
        int last = strip_last(&strips, k + 1);
        problem->turns[problem->turn_count] = (struct remat_turn){.first = k, .count = last - k};
        fill_turn(problem, problem->turn_count);
        find_reuses(problem, &problem->turns[problem->turn_count++], overwrite);
        k = last;
    }
    overwrite_free(overwrite);
    return problem;
}

void remat_problem_free(struct remat_problem *problem)
{
    for (int i = 0; i < problem->value_count; i++)
        arrfree(problem->values[i].uses);
}
