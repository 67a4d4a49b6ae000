/* Pass memory: a place for every stored value.
 *
 * Values live in one scratch arena, from the kernel that stores them to the last one that loads them; outputs to the
 * end. A value takes over the memory of one that dies in its own kernel where each element is read before the same
 * element is written. A write goes into the variable itself when every kernel that reads the old value has run and
 * its own kernel reads it element by element; else it goes to scratch, and the assembler appends a copy.
 *
 * Requires: scheduled (kernels numbered in the order of execution). Preserves: everything but placements. */
#include "passes/memory.h"
#include "passes/offsets.h"
#include "passes/view.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { SEARCH_MAX = 256 }; /* nodes looked at in the search for a value to take over */

struct planner {
    struct graph *graph;
    const struct target *target;
    struct pass_context *context;
    struct kernel_set set;
    int *last_use;                   /* by node id: the last kernel that loads it; set.count: needed at the end */
    int *buffer;                     /* by node id: index into buffers, -1 for none */
    struct lifetime *buffers;        /* stb_ds array */
    struct variable_reader *readers; /* stb_ds hash: variable -> last kernel that reads it */
    int *uses;           /* by node id, loads of the present kernel: operands in it that are this load … */
    int *uses_found;     /* … and how many of them the search has met */
    int *visited;        /* by node id: the last store from which the search came here */
    struct node **found; /* stb_ds array: loads found by the search */
};

struct variable_reader {
    const char *key;
    int value;
};

int64_t memory_bytes(const struct type *type, const struct target *target)
{
    return shape_elements(&type->shape) * (int64_t)element_bytes(target->storage[type->element]);
}

/* ---- lifetimes ---- */

static void note_reader(struct planner *planner, const char *variable, int kernel)
{
    hmput(planner->readers, variable, kernel);
}

static void find_last_uses(struct planner *planner)
{
    size_t count = arrlenu(planner->graph->nodes);
    arrsetlen(planner->last_use, count);
    arrsetlen(planner->buffer, count);
    arrsetlen(planner->uses, count);
    arrsetlen(planner->uses_found, count);
    arrsetlen(planner->visited, count);
    for (size_t i = 0; i < count; i++) {
        planner->last_use[i] = planner->graph->nodes[i]->kernel;
        planner->buffer[i] = planner->visited[i] = -1;
    }
    for (int k = 0; k < planner->set.count; k++) {
        const struct kernel_use *use = &planner->set.kernels[k];
        for (int i = 0; i < use->load_count; i++) {
            planner->last_use[use->loads[i]->id] = use->number;
            if (use->loads[i]->op == OP_read)
                note_reader(planner, use->loads[i]->attributes->symbol, use->number);
        }
        for (int i = 0; i < use->store_count; i++)
            if (use->stores[i]->op == OP_output)
                planner->last_use[use->stores[i]->id] = planner->set.count + 1;
    }
}

/* The stored value that an output or write without a kernel stands for. */
static struct node *stored_operand(const struct node *root)
{
    struct view view;
    if (!view_find(root->operands[0], &view) || !view_is_alias(&view) ||
        (view.base->kernel == 0 && view.base->op != OP_read && view.base->op != OP_input))
        castor_bug("%s \"%s\" is not stored", op_info(root->op)->name, root->attributes->symbol);
    return view.base;
}

static bool is_unstored_root(const struct node *node)
{
    return op_is(node->op, CLASS_EFFECT) && node->kernel == 0;
}

static void keep_to_the_end(struct planner *planner)
{
    for (ptrdiff_t i = 0; i < arrlen(planner->graph->nodes); i++) {
        const struct node *node = planner->graph->nodes[i];
        if (!is_unstored_root(node))
            continue;
        struct node *base = stored_operand(node);
        planner->last_use[base->id] = planner->set.count + 1;
        if (base->op == OP_read)
            note_reader(planner, base->attributes->symbol, planner->set.count + 1);
    }
}

/* ---- taking over memory ---- */

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

static int compare_ids_descending(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;
    return ((*x)->id < (*y)->id) - ((*x)->id > (*y)->id);
}

/* Marks the kernel's nodes whose value reaches a store by another way than element by element: marked loads may not be
 * overwritten by the kernel. Counts the uses of loads. One walk from the stores back. */
static void mark_spread(struct planner *planner, const struct kernel_use *use)
{
    struct node **nodes = NULL;
    for (int i = 0; i < use->load_count; i++)
        use->loads[i]->mark = planner->uses[use->loads[i]->id] = 0;
    for (int i = 0; i < use->computed_count; i++)
        arrput(nodes, use->computed[i]);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        nodes[i]->mark = 0;
    if (nodes)
        qsort(nodes, arrlenu(nodes), sizeof *nodes, compare_ids_descending);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        for (int j = 0; j < nodes[i]->operand_count; j++) {
            struct node *operand = nodes[i]->operands[j];
            planner->uses[operand->id]++;
            if (nodes[i]->mark || !is_elementwise(nodes[i]) || !same_place(nodes[i], operand))
                operand->mark = 1;
        }
    arrfree(nodes);
}

static bool is_load(const struct node *node, int number)
{
    return node->op == OP_read || node->op == OP_input || (node->kernel && node->kernel != number);
}

static void meet_load(struct planner *planner, struct node *load, int store)
{
    if (planner->visited[load->id] != store) {
        planner->visited[load->id] = store;
        planner->uses_found[load->id] = 0;
        arrput(planner->found, load);
    }
    planner->uses_found[load->id]++;
}

/* Finds the loads that meet `store` element by element, nearest first; gives up after SEARCH_MAX nodes. */
static void find_elementwise_loads(struct planner *planner, struct node *store)
{
    struct node *queue[SEARCH_MAX];
    int count = 0, number = store->kernel;
    arrsetlen(planner->found, 0);
    queue[count++] = store;
    for (int i = 0; i < count; i++)
        for (int j = 0; is_elementwise(queue[i]) && j < queue[i]->operand_count; j++) {
            struct node *operand = queue[i]->operands[j];
            if (!same_place(queue[i], operand))
                continue;
            if (is_load(operand, number))
                meet_load(planner, operand, store->id);
            else if (planner->visited[operand->id] != store->id && count < SEARCH_MAX) {
                planner->visited[operand->id] = store->id;
                queue[count++] = operand;
            }
        }
}

/* May the store that the search came from lie over this load? All that the kernel computes from the load must be on the
 * way to that store, for then it is computed in one loop with it, before it. A value of one element is read before
 * anything is written. */
static bool may_overwrite(const struct planner *planner, const struct node *load)
{
    if (shape_elements(&load->type.shape) == 1)
        return true;
    return load->mark == 0 && planner->uses_found[load->id] == planner->uses[load->id];
}

static int find_dying(struct planner *planner, struct node *store)
{
    find_elementwise_loads(planner, store);
    int64_t bytes = memory_bytes(&store->type, planner->target);
    for (ptrdiff_t i = 0; i < arrlen(planner->found); i++) {
        const struct node *load = planner->found[i];
        int buffer = planner->buffer[load->id];
        if (buffer >= 0 && planner->buffers[buffer].last == store->kernel && may_overwrite(planner, load) &&
            memory_bytes(&load->type, planner->target) == bytes && planner->buffers[buffer].bytes == bytes)
            return buffer;
    }
    return -1;
}

static bool writes_in_place(struct planner *planner, struct node *write)
{
    const struct kernel_use *use = &planner->set.kernels[write->kernel - 1];
    ptrdiff_t reader = hmgeti(planner->readers, write->attributes->symbol);
    int last = reader < 0 ? 0 : planner->readers[reader].value;
    if (use->contraction)
        return false;
    if (last < write->kernel)
        return true;
    if (last > write->kernel)
        return false;
    find_elementwise_loads(planner, write);
    for (ptrdiff_t i = 0; i < arrlen(planner->found); i++) {
        const struct node *load = planner->found[i];
        if (load->op == OP_read && load->attributes->symbol == write->attributes->symbol)
            return may_overwrite(planner, load);
    }
    return shape_elements(&write->type.shape) == 1;
}

/* ---- places ---- */

static void new_buffer(struct planner *planner, struct node *node, int last)
{
    planner->buffer[node->id] = (int)arrlen(planner->buffers);
    struct lifetime lifetime = {memory_bytes(&node->type, planner->target), node->kernel, last, 0};
    arrput(planner->buffers, lifetime);
}

static void place_store(struct planner *planner, struct node *store)
{
    int last = planner->last_use[store->id];
    if (store->op == OP_write) {
        if (writes_in_place(planner, store) && pass_may_rewrite(planner->context))
            store->placement = (struct placement){SPACE_STATE, 0, store->attributes->symbol};
        else
            new_buffer(planner, store, planner->set.count + 1);
        return;
    }
    int dying = planner->set.kernels[store->kernel - 1].contraction ? -1 : find_dying(planner, store);
    if (dying < 0 || !pass_may_rewrite(planner->context)) {
        new_buffer(planner, store, last);
        return;
    }
    planner->buffer[store->id] = dying;
    planner->buffers[dying].last = last > store->kernel ? last : store->kernel;
    if (last <= store->kernel) /* read by nobody else: no other store of this kernel may take it again */
        planner->buffers[dying].last = store->kernel + 1;
}

static void set_placements(struct planner *planner)
{
    for (ptrdiff_t i = 0; i < arrlen(planner->graph->nodes); i++) {
        struct node *node = planner->graph->nodes[i];
        if (node->op == OP_read || node->op == OP_input)
            node->placement =
                (struct placement){node->op == OP_read ? SPACE_STATE : SPACE_INPUT, 0, node->attributes->symbol};
        else if (planner->buffer[node->id] >= 0)
            node->placement =
                (struct placement){SPACE_SCRATCH, planner->buffers[planner->buffer[node->id]].offset, NULL};
        else if (is_unstored_root(node))
            node->placement = stored_operand(node)->placement;
    }
}

void pass_memory(struct graph *graph, struct pass_context *context)
{
    struct arena *arena = arena_new();
    struct planner planner = {.graph = graph, .target = context->target, .context = context};
    int64_t alignment = context->target->alignment > 0 ? context->target->alignment : 1;
    graph_number(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->placement = (struct placement){0};
    planner.set = kernels_find(graph, arena);
    find_last_uses(&planner);
    keep_to_the_end(&planner);
    for (int k = 0; k < planner.set.count; k++) {
        const struct kernel_use *use = &planner.set.kernels[k];
        mark_spread(&planner, use);
        for (int i = 0; i < use->store_count; i++)
            place_store(&planner, use->stores[i]);
    }
    offsets_assign(planner.buffers, (int)arrlen(planner.buffers), alignment);
    set_placements(&planner);
    arrfree(planner.last_use);
    arrfree(planner.buffer);
    arrfree(planner.buffers);
    arrfree(planner.uses);
    arrfree(planner.uses_found);
    arrfree(planner.visited);
    arrfree(planner.found);
    hmfree(planner.readers);
    arena_free(arena);
    graph_number(graph);
}

/* ---- measuring ---- */

struct place_taken {
    int64_t key; /* offset */
    int value;   /* the kernel that stored there last, and the value's lifetime */
};

/* Lifetimes as they follow from the placements: where a value is stored over another one that dies in the same kernel,
 * the two are one. */
static struct lifetime *placed_lifetimes(const struct graph *graph, const struct kernel_set *set,
                                         const struct target *target)
{
    struct lifetime *lifetimes = NULL;
    int *index = NULL;
    arrsetlen(index, arrlenu(graph->nodes));
    struct place_taken *latest = NULL; /* by offset: the lifetime that holds it */
    for (int k = 0; k < set->count; k++) {
        const struct kernel_use *use = &set->kernels[k];
        for (int i = 0; i < use->load_count; i++)
            if (use->loads[i]->kernel)
                lifetimes[index[use->loads[i]->id]].last = use->number;
        for (int i = 0; i < use->store_count; i++) {
            const struct node *store = use->stores[i];
            int64_t offset = store->placement.offset;
            index[store->id] = -1;
            if (store->placement.space != SPACE_SCRATCH)
                continue;
            int last = op_is(store->op, CLASS_EFFECT) ? set->count + 1 : use->number;
            ptrdiff_t old = hmgeti(latest, offset);
            struct lifetime lifetime = {memory_bytes(&store->type, target), use->number, last, offset};
            if (old >= 0 && lifetimes[latest[old].value].last == use->number && lifetime.bytes)
                lifetimes[latest[old].value].last = use->number - 1;
            index[store->id] = (int)arrlen(lifetimes);
            hmput(latest, offset, index[store->id]);
            arrput(lifetimes, lifetime);
        }
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (is_unstored_root(graph->nodes[i]) && stored_operand(graph->nodes[i])->kernel)
            lifetimes[index[stored_operand(graph->nodes[i])->id]].last = set->count + 1;
    hmfree(latest);
    arrfree(index);
    return lifetimes;
}

struct memory_use memory_measure(const struct graph *graph, const struct target *target)
{
    struct arena *arena = arena_new();
    struct kernel_set set = kernels_find(graph, arena);
    struct lifetime *lifetimes = placed_lifetimes(graph, &set, target);
    struct memory_use use = {0};
    int64_t alignment = target->alignment > 0 ? target->alignment : 1;
    for (ptrdiff_t i = 0; i < arrlen(lifetimes); i++) {
        int64_t end = lifetimes[i].offset + (lifetimes[i].bytes + alignment - 1) / alignment * alignment;
        use.peak = end > use.peak ? end : use.peak;
    }
    use.bound = offsets_bound(lifetimes, (int)arrlen(lifetimes), alignment);
    arrfree(lifetimes);
    arena_free(arena);
    return use;
}
