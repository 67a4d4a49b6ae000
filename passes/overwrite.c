/* Walks each loop nest of a kernel back from what it makes to what it loads. A load is spread when some way to it is
 * not element by element; a reduction takes its operand element by element, in the iteration that stores it as well or
 * an earlier one. */
#include "passes/overwrite.h"
#include "passes/nests.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

struct overwrite {
    int *maker;          /* by node id: the nest that makes it; stale outside of the kernel inspected */
    int *last_nest;      /* by node id, loads: the last nest that reads it */
    bool *spread;        /* by node id */
    int *reached;        /* by node id: the last nest, counted over all kernels, that came here */
    int *kernel;         /* by node id: the kernel for which maker and last_nest were set */
    int *uniform;        /* by node id: the last kernel in which a value of one element needed it */
    int *gathered;       /* by node id: the last kernel that takes elements of it by an index */
    int nests, number;   /* nests seen so far; the kernel inspected */
    struct node **found; /* stb_ds array: nodes of the nest being walked */
    struct node **stack; /* stb_ds array */
};

struct overwrite *overwrite_new(size_t node_count)
{
    struct overwrite *overwrite = calloc(1, sizeof *overwrite);
    if (!overwrite)
        arena_exhausted();
    arrsetlen(overwrite->maker, node_count);
    arrsetlen(overwrite->last_nest, node_count);
    arrsetlen(overwrite->spread, node_count);
    arrsetlen(overwrite->reached, node_count);
    arrsetlen(overwrite->kernel, node_count);
    arrsetlen(overwrite->uniform, node_count);
    arrsetlen(overwrite->gathered, node_count);
    for (size_t i = 0; i < node_count; i++)
        overwrite->reached[i] = overwrite->kernel[i] = overwrite->uniform[i] = overwrite->gathered[i] = 0;
    return overwrite;
}

void overwrite_free(struct overwrite *overwrite)
{
    arrfree(overwrite->maker);
    arrfree(overwrite->last_nest);
    arrfree(overwrite->spread);
    arrfree(overwrite->reached);
    arrfree(overwrite->kernel);
    arrfree(overwrite->uniform);
    arrfree(overwrite->gathered);
    arrfree(overwrite->found);
    arrfree(overwrite->stack);
    free(overwrite);
}

static bool same_place(const struct node *a, const struct node *b)
{
    struct type x = a->type, y = b->type;
    x.element = y.element = ELEMENT_NONE;
    return type_equal(&x, &y);
}

static bool is_elementwise(const struct node *node)
{
    return op_is(node->op, CLASS_POINTWISE) || op_is(node->op, CLASS_EFFECT);
}

static bool is_load(const struct overwrite *overwrite, const struct node *node)
{
    return node->op == OP_read || node->op == OP_input || (node->kernel && node->kernel != overwrite->number);
}

/* Made by a nest of this kernel: other nests, and users in its own, take it from there. */
static bool is_made(const struct overwrite *overwrite, const struct node *node)
{
    return overwrite->kernel[node->id] == overwrite->number && overwrite->maker[node->id] >= 0;
}

/* Do the members of a nest put equal indices at equal places of its space? */
static bool members_agree(const struct nest *nest)
{
    for (ptrdiff_t i = 1; i < arrlen(nest->members); i++) {
        const struct nest_member *a = &nest->members[i - 1], *b = &nest->members[i];
        if (a->base != b->base)
            return false;
        for (int axis = 0; axis < RANK_MAX; axis++)
            if (a->axis[axis] != b->axis[axis] && a->axis[axis] != AXIS_NONE && b->axis[axis] != AXIS_NONE)
                return false;
    }
    return true;
}

static void reach(struct overwrite *overwrite, struct node *node, bool spread)
{
    if (overwrite->reached[node->id] != overwrite->nests) {
        overwrite->reached[node->id] = overwrite->nests;
        overwrite->spread[node->id] = false;
        arrput(overwrite->found, node);
    }
    overwrite->spread[node->id] |= spread;
}

static int compare_ids_descending(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;
    return ((*x)->id < (*y)->id) - ((*x)->id > (*y)->id);
}

/* Computed where it is needed, one for all of the kernel: found_inf, a learning rate. */
static bool is_uniform(const struct overwrite *overwrite, const struct node *node)
{
    return shape_elements(&node->type.shape) == 1 && !is_load(overwrite, node) && !is_made(overwrite, node);
}

/* Walks from a uniform value to its loads, once a kernel, since every nest may need it. */
static void walk_uniform(struct overwrite *overwrite, struct node *from)
{
    arrsetlen(overwrite->stack, 0);
    arrput(overwrite->stack, from);
    while (arrlen(overwrite->stack)) {
        struct node *node = arrpop(overwrite->stack);
        if (overwrite->uniform[node->id] == overwrite->number)
            continue;
        overwrite->uniform[node->id] = overwrite->number;
        if (is_load(overwrite, node))
            overwrite->kernel[node->id] = overwrite->number;
        for (int i = 0; !is_load(overwrite, node) && !is_made(overwrite, node) && i < node->operand_count; i++)
            arrput(overwrite->stack, node->operands[i]);
    }
}

/* All that the nest computes or loads, sorted from users to operands, so that `spread` can be carried. */
static void walk_nest(struct overwrite *overwrite, const struct nest *nest)
{
    overwrite->nests++;
    arrsetlen(overwrite->found, 0);
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        reach(overwrite, nest->members[i].node, false);
    ptrdiff_t members = arrlen(overwrite->found);
    for (ptrdiff_t i = 0; i < arrlen(overwrite->found); i++) {
        struct node *node = overwrite->found[i];
        bool stop = is_load(overwrite, node) || (i >= members && is_made(overwrite, node));
        for (int j = 0; !stop && j < node->operand_count; j++)
            if (is_uniform(overwrite, node->operands[j]))
                walk_uniform(overwrite, node->operands[j]);
            else
                reach(overwrite, node->operands[j], false);
    }
    if (arrlen(overwrite->found))
        qsort(overwrite->found, arrlenu(overwrite->found), sizeof *overwrite->found, compare_ids_descending);
}

static void carry_spread(struct overwrite *overwrite, const struct nest *nest, int index)
{
    bool agree = members_agree(nest);
    for (ptrdiff_t i = 0; i < arrlen(overwrite->found); i++) {
        struct node *node = overwrite->found[i];
        if (is_load(overwrite, node)) {
            overwrite->kernel[node->id] = overwrite->number;
            overwrite->maker[node->id] = -1;
            overwrite->last_nest[node->id] = index;
            overwrite->spread[node->id] |= !agree;
            continue;
        }
        bool own = is_made(overwrite, node) && overwrite->maker[node->id] == index;
        bool reduces = own && op_is(node->op, CLASS_REDUCE) && node->op != OP_m2; /* which may read twice */
        for (int j = 0; (own || !is_made(overwrite, node)) && j < node->operand_count; j++) {
            struct node *operand = node->operands[j];
            bool direct = reduces || (is_elementwise(node) && shape_equal(&node->type.shape, &operand->type.shape));
            if (is_uniform(overwrite, operand))
                continue;
            /* a made value does not spread what it was made from: it is complete when others take it */
            if (!direct || (overwrite->spread[node->id] && !own))
                overwrite->spread[operand->id] = true;
        }
    }
}

void overwrite_inspect(struct overwrite *overwrite, const struct kernel_use *use)
{
    overwrite->number = use->number;
    for (int i = 0; i < use->load_count; i++)
        overwrite->kernel[use->loads[i]->id] = 0;
    for (int i = 0; i < use->computed_count; i++)
        overwrite->kernel[use->computed[i]->id] = 0;
    struct arena *arena = kernel_has_tail(use) ? arena_new() : NULL;
    struct kernel_use tail = arena ? kernel_tail(use, arena) : *use;
    struct nest *nests = tail.contraction ? NULL : nests_find(&tail);
    if (arena)
        arena_free(arena);
    for (ptrdiff_t i = 0; i < arrlen(nests); i++)
        for (ptrdiff_t j = 0; j < arrlen(nests[i].members); j++) {
            int id = nests[i].members[j].node->id;
            overwrite->kernel[id] = use->number;
            overwrite->maker[id] = (int)i;
        }
    for (int i = 0; i < use->computed_count; i++)
        if (use->computed[i]->op == OP_gather)
            overwrite->gathered[use->computed[i]->operands[0]->id] = use->number;
    for (ptrdiff_t i = 0; i < arrlen(nests); i++) {
        walk_nest(overwrite, &nests[i]);
        carry_spread(overwrite, &nests[i], (int)i);
    }
    nests_free(nests);
}

bool overwrite_allowed(const struct overwrite *overwrite, const struct node *store, const struct node *load)
{
    bool known = overwrite->kernel[store->id] == overwrite->number && overwrite->kernel[load->id] == overwrite->number;
    if (!known || store->kernel != overwrite->number)
        return false;
    if (shape_elements(&load->type.shape) == 1) /* read before all else, unless an index says where */
        return overwrite->gathered[load->id] != overwrite->number;
    if (overwrite->uniform[load->id] == overwrite->number)
        return false;
    int reader = overwrite->last_nest[load->id], writer = overwrite->maker[store->id];
    return reader < writer || (reader == writer && !overwrite->spread[load->id] && same_place(store, load));
}
