/* Pass fuse: which values are stored, and by which kernel.
 *
 * Must be stored: results of contractions and what these read (through views, see view.h); what is written or put out;
 * scans and scattered sums; tables that are gathered from. Everything else is computed where it is used, once more in
 * each kernel that uses it, unless that costs much. Reductions are placed like stored values, and stored only when a
 * kernel that does not make them needs them.
 *
 * A kernel is a group of loop nests. The walk places each anchor (what is stored or reduced) in the nest of what it
 * needs if it can be computed there, so that softmax, the loss and its gradient, or a gradient and its sums over the
 * batch are one kernel; else into a nest that reads the same values; small ones go behind what they need. All updates
 * of parameters go into one kernel at the end. A convolution on a GPU goes on with its result by itself, as far as that
 * has one user (fuse_tail.c). Bytes are saved wherever a value is not stored or not read twice.
 *
 * Requires: layouts chosen, no markers. Preserves: everything but node->kernel, and results of loops that are there
 * twice. Rounding stays where the types put it, and the order of every sum too (nests.h): fused equals unfused bit for
 * bit, contractions' epilogues and the sums of tails apart. */
#include "passes/fuse.h"
#include "passes/loops.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

/* ---- which anchors are stored ---- */

/* The walk from an anchor through what is computed along with it. */
struct visit {
    struct fuser *fuser;
    int nest, group;
    struct node **stack; /* stb_ds array */
};

/* What took the group in may have been taken in itself. */
static int final_group(const struct fuser *fuser, int group)
{
    while (group >= 0 && fuser->groups[group].merged != GROUP_NONE)
        group = fuser->groups[group].merged;
    return group;
}

/* The visiting nest needs the provider: is it the first to do so, or the first of another group? */
static void note_consumer(const struct visit *visit, struct group *provider)
{
    const struct fuser *fuser = visit->fuser;
    int level = fuser->groups[visit->group].level, known = provider->consumer_nest;
    if (level < provider->consumer) {
        provider->next = provider->consumer;
        provider->consumer = level;
        provider->consumer_nest = visit->nest < arrlen(fuser->nests) ? visit->nest : -1;
    } else if (level == provider->consumer && known >= 0 && fuser->nest_group[known] != visit->group) {
        provider->consumer_nest = -1;
        provider->next = level;
    } else if (level > provider->consumer && level < provider->next) {
        provider->next = level;
    }
}

/* An anchor that the visiting nest needs: does the walk end there? */
static bool meet_anchor(struct visit *visit, struct node *node)
{
    struct fuser *fuser = visit->fuser;
    struct fact *fact = &fuser->facts[node->id];
    if (fact->own_group != visit->group) {
        note_consumer(visit, &fuser->groups[fact->own_group]);
        fact->stored = true;
        return true;
    }
    if (fact->own_nest == visit->nest)
        return true;
    fact->stored |= reduction_kind(node) == REDUCTION_ROW;
    return fact->stored || reduction_kind(node);
}

static void visit_operands(struct visit *visit, struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        arrput(visit->stack, node->operands[i]);
}

static void visit_from(struct visit *visit, struct node *anchor)
{
    visit_operands(visit, anchor);
    while (arrlen(visit->stack)) {
        struct node *node = arrpop(visit->stack);
        const struct fact *fact = &visit->fuser->facts[node->id];
        if (node->mark == visit->nest + 1 || fuse_is_leaf(node))
            continue;
        node->mark = visit->nest + 1;
        if (fact->own_group == GROUP_NONE || !meet_anchor(visit, node))
            visit_operands(visit, node);
    }
}

static void decide_stores(struct fuser *fuser)
{
    struct visit visit = {.fuser = fuser};
    for (ptrdiff_t i = 0; i < arrlen(fuser->graph->nodes); i++) {
        const struct fact *fact = &fuser->facts[i];
        if (fact->own_group == GROUP_NONE)
            continue;
        visit.group = fact->own_group;
        visit.nest = fact->own_nest != GROUP_NONE ? fact->own_nest : (int)(arrlen(fuser->nests) + i);
        visit_from(&visit, fuser->graph->nodes[i]);
    }
    arrfree(visit.stack);
}

/* ---- numbers ---- */

/* Kernel numbers by level, and within a level by age; groups that store nothing have none. */
static void number_kernels(struct fuser *fuser)
{
    int levels = 0, *start = NULL, *number = NULL;
    ptrdiff_t groups = arrlen(fuser->groups), nodes = arrlen(fuser->graph->nodes);
    if (groups == 0)
        return;
    arrsetlen(number, (size_t)groups);
    for (ptrdiff_t i = 0; i < groups; i++) {
        number[i] = 0;
        levels = fuser->groups[i].level >= levels ? fuser->groups[i].level + 1 : levels;
    }
    for (ptrdiff_t i = 0; i < nodes; i++)
        if (fuser->facts[i].stored)
            number[final_group(fuser, fuser->facts[i].own_group)] = 1;
    arrsetlen(start, (size_t)levels + 1);
    for (int i = 0; i <= levels; i++)
        start[i] = 0;
    for (ptrdiff_t i = 0; i < groups; i++)
        start[fuser->groups[i].level + 1] += number[i];
    for (int i = 1; i <= levels; i++)
        start[i] += start[i - 1];
    for (ptrdiff_t i = 0; i < groups; i++)
        if (number[i])
            number[i] = ++start[fuser->groups[i].level];
    for (ptrdiff_t i = 0; i < nodes; i++)
        if (fuser->facts[i].stored)
            fuser->graph->nodes[i]->kernel = number[final_group(fuser, fuser->facts[i].own_group)];
    arrfree(start);
    arrfree(number);
}

/* The nodes between a contraction and the last of its epilogue carry its number. */
static void number_chains(struct fuser *fuser)
{
    for (ptrdiff_t i = arrlen(fuser->graph->nodes) - 1; i >= 0; i--) {
        struct node *node = fuser->graph->nodes[i];
        const struct fact *fact = &fuser->facts[i];
        if (!fact->chained && (!fact->contraction || fact->contraction == node))
            continue;
        for (int k = 0; k < node->operand_count; k++)
            if (fuser->facts[node->operands[k]->id].chained)
                node->operands[k]->kernel = node->kernel;
    }
}

/* ---- what cannot be lowered after all ---- */

/* A kernel whose nests do not work out is taken apart: each of its reductions and stores becomes a kernel. */
static void take_apart(const struct kernel_use *use, int *kernels)
{
    bool first = true;
    for (int i = 0; i < use->computed_count; i++) {
        struct node *node = use->computed[i];
        if (node->kernel != use->number && !reduction_kind(node))
            continue;
        node->kernel = first ? use->number : ++*kernels;
        first = false;
    }
}

/* A tail that does is a kernel of its own after all. */
static void check_tail(const struct kernel_use *use, int *kernels, struct arena *arena)
{
    struct kernel_use tail = kernel_tail(use, arena);
    struct nest *nests = nests_find(&tail);
    int wide = 0;
    for (ptrdiff_t i = 0; i < arrlen(nests); i++)
        wide += shape_elements(&nests[i].space.shape) == shape_elements(&use->contraction->type.shape);
    if (!nests || wide != (use->stores[0] != use->contraction))
        use->contraction->kernel = ++*kernels;
    if (!nests)
        take_apart(&tail, kernels);
    nests_free(nests);
}

static void check_kernels(struct graph *graph, bool tails)
{
    struct arena *arena = arena_new();
    struct kernel_set set = kernels_find(graph, arena);
    int kernels = set.count;
    for (int i = 0; i < set.count; i++) {
        if (tails && kernel_has_tail(&set.kernels[i]))
            check_tail(&set.kernels[i], &kernels, arena);
        if (set.kernels[i].contraction)
            continue;
        struct nest *nests = nests_find(&set.kernels[i]);
        if (!nests)
            take_apart(&set.kernels[i], &kernels);
        nests_free(nests);
    }
    arena_free(arena);
}

/* ---- the pass ---- */

/* Results are what their loop's kernel stores. */
static void store_everything(struct graph *graph)
{
    int kernels = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op == OP_result)
            node->kernel = node->operands[0]->kernel;
        else
            node->kernel = fuse_is_leaf(node) ? 0 : ++kernels;
    }
}

void pass_fuse(struct graph *graph, struct pass_context *context)
{
    graph_number(graph);
    loops_join_results(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->kernel = 0;
    if (context->debug_unfused) {
        store_everything(graph);
        return;
    }
    struct fuser fuser = {.graph = graph, .context = context, .arena = arena_new()};
    fuser.facts = calloc(arrlenu(graph->nodes) + 1, sizeof *fuser.facts);
    if (!fuser.facts)
        arena_exhausted();
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        fuser.facts[i].own_group = fuser.facts[i].own_nest = GROUP_NONE;
        for (int k = 0; k < graph->nodes[i]->operand_count; k++)
            fuser.facts[graph->nodes[i]->operands[k]->id].users++;
    }
    fuse_find_patterns(&fuser);
    fuse_require(&fuser);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        fuse_place(&fuser, graph->nodes[i]);
    fuse_place_effects(&fuser);
    decide_stores(&fuser);
    fuse_made(&fuser);
    fuse_float(&fuser);
    fuse_later(&fuser);
    fuse_beside(&fuser);
    number_kernels(&fuser);
    number_chains(&fuser);
    fuse_number_tails(&fuser);
    check_kernels(graph, context->target->epilogues & EPILOGUE_TAIL);
    graph_number(graph);
    nests_free(fuser.nests);
    arrfree(fuser.nest_group);
    arrfree(fuser.groups);
    arrfree(fuser.effects);
    hmfree(fuser.latest);
    arena_free(fuser.arena);
    free(fuser.facts);
}
