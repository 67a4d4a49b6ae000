/* Reads the kernels off node->kernel: what each one stores, loads and computes inside. */
#include "passes/kernels.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct collector {
    struct kernel_use *kernel;
    const struct kernel_use *behind;           /* whose convolution and statistics count as loaded; NULL: none */
    struct node **stores, **loads, **computed; /* stb_ds arrays, emptied for each kernel */
    struct node **stack;
};

static bool is_load(const struct node *node, int number)
{
    return node->op == OP_read || node->op == OP_input || (node->kernel > 0 && node->kernel != number);
}

static bool is_behind(const struct collector *collector, const struct node *node)
{
    return collector->behind &&
           (node == collector->behind->contraction || kernel_is_statistic(collector->behind, node));
}

/* Marks are kernel numbers: a node is visited once for each kernel. Depth first with an own stack, so that chains of
 * any length are walked; a node pushed for the second time has its operands done. */
static void collect_from(struct collector *collector, struct node *root, int number)
{
    arrput(collector->stack, root);
    while (arrlen(collector->stack)) {
        struct node *node = arrpop(collector->stack);
        if (node == NULL) { /* the one below is done */
            arrput(collector->computed, arrpop(collector->stack));
            continue;
        }
        if (node->mark == number)
            continue;
        node->mark = number;
        if (is_load(node, number) || is_behind(collector, node)) {
            arrput(collector->loads, node);
            continue;
        }
        arrput(collector->stack, node);
        arrput(collector->stack, NULL);
        for (int i = node->operand_count - 1; i >= 0; i--)
            arrput(collector->stack, node->operands[i]);
    }
}

static struct node **keep(struct node **array, int *count, struct arena *arena)
{
    *count = (int)arrlen(array);
    return arena_copy(arena, array, sizeof *array * arrlenu(array));
}

/* Of a contraction's kernel: the last of its chain, then its statistics, the sum first, and what else its tail has. */
static void list_contraction(struct collector *collector, struct node *const *members, int count)
{
    const struct shape *shape = &collector->kernel->contraction->type.shape;
    struct node *result = NULL;
    for (int i = 0; i < count; i++)
        if (!op_is(members[i]->op, CLASS_REDUCE) && shape_elements(&members[i]->type.shape) == shape_elements(shape))
            result = members[i];
    arrput(collector->stores, result);
    for (int i = 0; i < count; i++)
        if (members[i]->op == OP_sum)
            arrput(collector->stores, members[i]);
    for (int i = 0; i < count; i++)
        if (members[i]->op == OP_m2)
            arrput(collector->stores, members[i]);
    for (int i = 0; i < count; i++)
        if (members[i]->op != OP_sum && members[i]->op != OP_m2 &&
            shape_elements(&members[i]->type.shape) != shape_elements(shape))
            arrput(collector->stores, members[i]);
}

static void finish_kernel(struct collector *collector, struct node *const *members, int count,
                          struct kernel_use *kernel, struct arena *arena)
{
    arrsetlen(collector->stores, 0);
    arrsetlen(collector->loads, 0);
    arrsetlen(collector->computed, 0);
    for (int i = 0; i < count; i++) {
        if (op_is(members[i]->op, CLASS_CONTRACTION) || members[i]->op == OP_loop)
            kernel->contraction = members[i];
        collect_from(collector, members[i], kernel->number);
    }
    struct node *inner = NULL;
    for (ptrdiff_t i = 0; i < arrlen(collector->computed); i++)
        if (op_is(collector->computed[i]->op, CLASS_CONTRACTION) && collector->computed[i]->kernel != kernel->number)
            inner = collector->computed[i];
    kernel->gelu = inner && !kernel->contraction && members[0]->op == OP_add;
    kernel->attention = inner && !kernel->gelu;
    kernel->contraction = kernel->contraction ? kernel->contraction : inner;
    bool chain = kernel->contraction && !inner && kernel->contraction->op != OP_loop;
    collector->kernel = kernel;
    if (chain)
        list_contraction(collector, members, count);
    for (int i = 0; i < count && !chain; i++)
        if (members[i]->op != OP_loop)
            arrput(collector->stores, members[i]);
    kernel->stores = keep(collector->stores, &kernel->store_count, arena);
    kernel->loads = keep(collector->loads, &kernel->load_count, arena);
    kernel->computed = keep(collector->computed, &kernel->computed_count, arena);
}

/* Of the values as they are stored: what is rounded once more is another sum. */
static bool is_of_result(const struct node *store, const struct node *result)
{
    const struct node *of = store->operands[0];
    if (of != result && of->op == OP_cast && of->type.element == ELEMENT_F32)
        of = of->operands[0];
    return (store->op == OP_sum || store->op == OP_m2) && of == result;
}

bool kernel_is_statistic(const struct kernel_use *use, const struct node *store)
{
    bool statistic = store->operand_count > 0 && store->kernel == use->number && is_of_result(store, use->stores[0]);
    for (int i = 1; i < use->store_count && use->stores[i] != store; i++)
        statistic &= use->stores[i]->op != store->op || !is_of_result(use->stores[i], use->stores[0]);
    return statistic;
}

static bool is_of_tail(const struct kernel_use *use, const struct node *store)
{
    return store != use->contraction && !kernel_is_statistic(use, store);
}

bool kernel_has_tail(const struct kernel_use *use)
{
    bool tail = false;
    if (!use->contraction || (use->contraction->op != OP_conv && use->contraction->op != OP_conv_data))
        return false;
    for (int i = 0; i < use->store_count; i++)
        tail = tail || is_of_tail(use, use->stores[i]);
    return tail;
}

struct kernel_use kernel_tail(const struct kernel_use *use, struct arena *arena)
{
    struct kernel_use tail = *use;
    struct collector collector = {.behind = use};
    for (int i = 0; i < use->computed_count; i++)
        use->computed[i]->mark = 0;
    for (int i = 0; i < use->load_count; i++)
        use->loads[i]->mark = 0;
    for (int i = 0; i < use->store_count; i++)
        if (is_of_tail(use, use->stores[i])) {
            collect_from(&collector, use->stores[i], use->number);
            arrput(collector.stores, use->stores[i]);
        }
    tail.contraction = NULL;
    tail.stores = keep(collector.stores, &tail.store_count, arena);
    tail.loads = keep(collector.loads, &tail.load_count, arena);
    tail.computed = keep(collector.computed, &tail.computed_count, arena);
    arrfree(collector.stores);
    arrfree(collector.loads);
    arrfree(collector.computed);
    arrfree(collector.stack);
    return tail;
}

/* The members of all kernels in one array: those of kernel k stand at start[k - 1] … start[k]. */
static struct node **sort_members(const struct graph *graph, int count, int **start)
{
    int *place = NULL;
    struct node **members = NULL;
    arrsetlen(place, (size_t)count + 2);
    for (int i = 0; i < count + 2; i++)
        place[i] = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->kernel > 0)
            place[graph->nodes[i]->kernel + 1]++;
    for (int i = 1; i < count + 2; i++)
        place[i] += place[i - 1];
    arrsetlen(members, (size_t)place[count + 1]);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->kernel > 0)
            members[place[graph->nodes[i]->kernel]++] = graph->nodes[i];
    *start = place;
    return members;
}

static struct node *find_overflow(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_read && strcmp(graph->nodes[i]->attributes->symbol, "train/overflow") == 0)
            return graph->nodes[i];
    return NULL;
}

/* ---- concats whose parts are stored within them ---- */

enum { PART_ALIGNMENT = 256 }; /* bytes: devices ask for no more of a buffer */

bool kernel_parts_follow(const struct node *concat)
{
    const struct shape *shape = &concat->type.shape;
    int64_t offset = 0;
    if (concat->op != OP_concat || concat->operand_count < 2 || !type_row_major(&concat->type))
        return false;
    for (int axis = 0; axis < concat->attributes->axis; axis++)
        if (shape->dimension[axis] != 1)
            return false;
    for (int i = 0; i < concat->operand_count; i++) {
        offset += shape_elements(&concat->operands[i]->type.shape) * (int64_t)element_bytes(concat->type.element);
        if (offset % PART_ALIGNMENT != 0)
            return false;
    }
    return true;
}

static bool has_kernel(const void *data, const struct node *node)
{
    (void)data;
    return node->kernel > 0;
}

struct node *kernel_part(const struct node *concat, int i, bool (*stop)(const void *, const struct node *),
                         const void *data)
{
    struct node *node = concat->operands[i];
    stop = stop ? stop : has_kernel;
    while (node->op == OP_reshape && !stop(data, node) && type_row_major(&node->type) &&
           node->type.element == concat->type.element)
        node = node->operands[0];
    /* Contractions store some half types unrounded. */
    bool plain = node->op != OP_read && node->op != OP_input && type_row_major(&node->type) &&
                 node->type.element == concat->type.element &&
                 !(op_is(node->op, CLASS_CONTRACTION) && element_is_half(node->type.element));
    return plain ? node : NULL;
}

static bool could_join(const struct kernel_use *use)
{
    if (use->contraction || use->store_count != 1 || !kernel_parts_follow(use->stores[0]) ||
        use->load_count != use->stores[0]->operand_count)
        return false;
    for (int i = 0; i < use->stores[0]->operand_count; i++) {
        const struct node *part = kernel_part(use->stores[0], i, NULL, NULL);
        if (!part || part->kernel <= 0)
            return false;
    }
    return true;
}

static int by_origin(const void *a, const void *b)
{
    const struct kernel_use *const *x = a, *const *y = b;
    uint32_t first = (*x)->stores[0]->origin, second = (*y)->stores[0]->origin;
    return (first > second) - (first < second);
}

struct taken {
    const struct node *key;
    bool value;
};

/* A value lies within one concat at most, the oldest; nor does a concat lie within one. */
static void find_joins(struct kernel_set *set)
{
    struct kernel_use **candidates = NULL;
    struct taken *taken = NULL;
    for (int k = 0; k < set->count; k++)
        if (could_join(&set->kernels[k])) {
            arrput(candidates, &set->kernels[k]);
            hmput(taken, (const struct node *)set->kernels[k].stores[0], true);
        }
    if (candidates)
        qsort(candidates, arrlenu(candidates), sizeof *candidates, by_origin);
    for (ptrdiff_t k = 0; k < arrlen(candidates); k++) {
        struct kernel_use *use = candidates[k];
        use->joins = true;
        for (int i = 0; i < use->load_count; i++)
            use->joins = use->joins && hmgeti(taken, (const struct node *)use->loads[i]) < 0;
        for (int i = 0; i < use->load_count && use->joins; i++)
            hmput(taken, (const struct node *)use->loads[i], true);
    }
    hmfree(taken);
    arrfree(candidates);
}

struct kernel_set kernels_find(const struct graph *graph, struct arena *arena)
{
    struct kernel_set set = {0};
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        graph->nodes[i]->mark = 0;
        if (graph->nodes[i]->kernel > set.count)
            set.count = graph->nodes[i]->kernel;
    }
    int *start;
    struct node **members = sort_members(graph, set.count, &start);
    set.kernels = ARENA_ARRAY(arena, struct kernel_use, set.count);
    bool *libraries = ARENA_ARRAY(arena, bool, set.count);
    struct node *overflow = find_overflow(graph);
    struct collector collector = {0};
    for (int i = 0; i < set.count; i++) {
        set.kernels[i].number = i + 1;
        set.kernels[i].overflow = overflow;
        set.kernels[i].libraries = libraries;
        finish_kernel(&collector, members + start[i], start[i + 1] - start[i], &set.kernels[i], arena);
    }
    for (int i = 0; i < set.count; i++)
        libraries[i] = set.kernels[i].contraction != NULL;
    find_joins(&set);
    arrfree(collector.stores);
    arrfree(collector.loads);
    arrfree(collector.computed);
    arrfree(collector.stack);
    arrfree(members);
    arrfree(start);
    return set;
}
