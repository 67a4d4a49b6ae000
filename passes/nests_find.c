/* The nests of one generated kernel: each of its stores and reductions in the order of computation, put into the nest
 * of what it needs, beside others that read the same values, or into a nest of its own behind all others. */
#include "passes/nests.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { SHARED_LOADS = 8 };

/* What is known of a node while the kernel is walked. */
struct standing {
    struct alignment alignment;
    int needs;                              /* nest of a reduction that is not stored, -1: none, -2: several */
    const struct node *loads[SHARED_LOADS]; /* the largest values that it is computed from, from memory */
};

struct finder {
    const struct kernel_use *kernel;
    struct standing *standings; /* by node->mark; 0 stands for everything from memory */
    struct nest *nests;
    struct nest_entry {
        struct nest_key key;
        int value;
    } * latest; /* the last nest of each key */
};

static void add_load(struct standing *standing, const struct node *load)
{
    int64_t elements = shape_elements(&load->type.shape);
    if (elements == 1)
        return;
    for (int i = 0; i < SHARED_LOADS; i++) {
        const struct node *present = standing->loads[i];
        if (present == load)
            return;
        if (!present || shape_elements(&present->type.shape) < elements) {
            standing->loads[i] = load;
            if (!present)
                return;
            load = present;
            elements = shape_elements(&load->type.shape);
        }
    }
}

static struct standing standing_of(const struct finder *finder, const struct node *node)
{
    struct standing standing = {.alignment = alignment_none(), .needs = -1};
    const struct alignment **all = NULL;
    arrsetlen(all, (size_t)node->operand_count);
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        const struct standing *from = &finder->standings[operand->mark];
        all[i] = &from->alignment;
        if (operand->mark == 0)
            add_load(&standing, operand);
        for (int k = 0; k < SHARED_LOADS && from->loads[k]; k++)
            add_load(&standing, from->loads[k]);
        if (from->needs != -1)
            standing.needs = standing.needs == -1 || standing.needs == from->needs ? from->needs : -2;
    }
    standing.alignment = alignment_of(node, all);
    arrfree(all);
    return standing;
}

static bool try_join(struct finder *finder, int nest, struct node *node, const struct alignment *alignment)
{
    return nest >= 0 && nest > alignment->after && nest_join(&finder->nests[nest], node, alignment);
}

static int join_key(struct finder *finder, struct node *node, struct nest_key key, const struct alignment *alignment)
{
    ptrdiff_t found = hmgeti(finder->latest, key);
    bool joined = found >= 0 && try_join(finder, finder->latest[found].value, node, alignment);
    return joined ? finder->latest[found].value : -1;
}

/* A nest that reads the same values, if possible one over the same space. A reduction over rows joins any nest over its
 * space: what is computed from several of them must find them in one nest. So does what is made from nothing (a mask),
 * which would need loops of its own for no other reason; but where there is nothing else, as in a network's first
 * values, each has its own, so that those of a hundred layers are alike (codegen/cuda_alike.c). */
static int join_shared(struct finder *finder, struct node *node, const struct standing *standing,
                       const struct alignment *alignment)
{
    struct type space = nest_space(node, alignment);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < SHARED_LOADS && standing->loads[i]; i++) {
            struct nest_key key = nest_key(standing->loads[i], pass ? NULL : &space);
            int nest = join_key(finder, node, key, alignment);
            if (nest >= 0)
                return nest;
        }
    bool anywhere = reduction_kind(node) == REDUCTION_ROW || (!reduction_kind(node) && !standing->loads[0]);
    return anywhere ? join_key(finder, node, nest_key(NULL, &space), alignment) : -1;
}

/* The nest that computes `node`; -1 when there can be none. */
static int place_node(struct finder *finder, struct node *node, const struct standing *standing)
{
    struct alignment alignment = standing->alignment;
    bool alone = nest_is_alone(node);
    if (!alone && try_join(finder, alignment.nest, node, &alignment))
        return alignment.nest;
    if (standing->needs != -1)
        return -1;
    alignment_leave(&alignment);
    if (!alone) {
        int shared = join_shared(finder, node, standing, &alignment);
        if (shared >= 0)
            return shared;
    }
    struct nest nest = nest_make(node, &alignment);
    arrput(finder->nests, nest);
    int last = (int)arrlen(finder->nests) - 1;
    if (!nest_join(&finder->nests[last], node, &alignment))
        castor_bug("%s does not fit a nest of its own", op_info(node->op)->name);
    return last;
}

/* After `node` is in `nest`: where its value stands for those that use it. */
static void settle(struct finder *finder, struct node *node, int nest, struct standing *standing)
{
    if (nest >= (int)arrlen(finder->nests))
        castor_bug("nest %d does not exist", nest);
    const struct nest *home = &finder->nests[nest];
    const struct nest_member *member = &arrlast(home->members);
    enum reduction_kind kind = member->reduction;
    bool alone = nest_is_alone(node);
    for (int i = 0; i < SHARED_LOADS && standing->loads[i] && !alone; i++) {
        hmput(finder->latest, nest_key(standing->loads[i], &home->space), nest);
        hmput(finder->latest, nest_key(standing->loads[i], NULL), nest);
    }
    if (!alone && (standing->loads[0] || kind))
        hmput(finder->latest, nest_key(NULL, &home->space), nest);
    standing->needs = -1;
    struct node *base = member->base;
    standing->alignment = alignment_none();
    if (kind == REDUCTION_COLUMN || kind == REDUCTION_FULL || alone) {
        standing->alignment.after = nest;
        memset(standing->loads, 0, sizeof standing->loads); /* who needs the result reads that alone */
        add_load(standing, node);
        return;
    }
    const struct shape *shape = base ? &base->type.shape : &node->type.shape;
    standing->alignment.nest = nest;
    standing->alignment.base = base;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dimension[i] != 1)
            standing->alignment.axis[i] = member->axis[i];
    if (kind == REDUCTION_ROW && node->kernel != finder->kernel->number)
        standing->needs = nest;
}

static bool find_place(struct finder *finder, struct node *node)
{
    struct standing standing = standing_of(finder, node);
    bool stored = node->kernel == finder->kernel->number;
    bool lost = standing.needs == -2 || (standing.needs >= 0 && standing.alignment.nest != standing.needs);
    if (!lost && (stored || reduction_kind(node))) {
        int nest = place_node(finder, node, &standing);
        lost = nest < 0;
        if (!lost)
            settle(finder, node, nest, &standing);
    }
    node->mark = (int64_t)arrlen(finder->standings);
    arrput(finder->standings, standing);
    return !lost;
}

struct nest *nests_find(const struct kernel_use *kernel)
{
    struct finder finder = {.kernel = kernel};
    struct standing memory = {.alignment = alignment_none(), .needs = -1};
    arrput(finder.standings, memory);
    for (int i = 0; i < kernel->load_count; i++)
        kernel->loads[i]->mark = 0;
    bool found = true;
    for (int i = 0; i < kernel->computed_count && found; i++)
        found = find_place(&finder, kernel->computed[i]);
    arrfree(finder.standings);
    hmfree(finder.latest);
    if (!found) {
        nests_free(finder.nests);
        return NULL;
    }
    return finder.nests;
}
