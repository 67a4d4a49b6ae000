/* Pass memory: a place for every stored value.
 *
 * Values live in one scratch arena, from the kernel that stores them to the last one that loads them; outputs to the
 * end. A value takes over the memory of one that dies in its own kernel where overwrite.h allows it. A write goes into
 * the variable itself when every kernel that reads the old value has run, its own too as overwrite.h tells; else it
 * goes to scratch, and the assembler appends a copy. The parts of a concat that only joins them (kernels.h) are stored
 * within it.
 *
 * Requires: scheduled (kernels numbered in the order of execution). Preserves: everything but placements. */
#include "passes/memory.h"
#include "passes/offsets.h"
#include "passes/overwrite.h"
#include "passes/strips.h"
#include "passes/view.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { SEARCH_MAX = 256 }; /* nodes looked at in the search for a value to take over */

/* The last kernel that reads a variable, and its `read`; NULL when it has several. */
struct reader {
    int kernel;
    struct node *node;
};

struct variable_reader {
    const char *key;
    struct reader value;
};

/* Where a value is stored within a concat. */
struct within {
    const struct node *concat; /* NULL: it has a place of its own */
    int64_t offset;            /* bytes */
};

struct planner {
    struct graph *graph;
    const struct target *target;
    struct pass_context *context;
    struct kernel_set set;
    struct strip_set strips;
    struct overwrite *overwrite;
    int *last_use;            /* by node id: the last kernel that loads it; set.count + 1: needed at the end */
    int *buffer;              /* by node id: index into buffers, -1 for none */
    struct within *within;    /* by node id */
    int *visited;             /* by node id: the last store from which the search came here */
    struct lifetime *buffers; /* no more than there are nodes */
    int buffer_count;
    struct variable_reader *readers; /* stb_ds hash */
};

int64_t memory_bytes(const struct type *type, const struct target *target)
{
    return shape_elements(&type->shape) * (int64_t)element_bytes(target->storage[type->element]);
}

/* ---- lifetimes ---- */

static void note_reader(struct planner *planner, struct node *read, int kernel)
{
    const char *variable = read->attributes->symbol;
    struct reader reader = {kernel, read};
    ptrdiff_t at = hmgeti(planner->readers, variable);
    if (at >= 0 && planner->readers[at].value.kernel == kernel && planner->readers[at].value.node != read)
        reader.node = NULL;
    hmput(planner->readers, variable, reader);
}

static void find_last_uses(struct planner *planner, struct arena *arena)
{
    ptrdiff_t count = arrlen(planner->graph->nodes);
    planner->last_use = ARENA_ARRAY(arena, int, count);
    planner->buffer = ARENA_ARRAY(arena, int, count);
    planner->visited = ARENA_ARRAY(arena, int, count);
    planner->buffers = ARENA_ARRAY(arena, struct lifetime, count);
    for (ptrdiff_t i = 0; i < count; i++) {
        planner->last_use[i] = planner->graph->nodes[i]->kernel;
        planner->buffer[i] = planner->visited[i] = -1;
    }
    for (int k = 0; k < planner->set.count; k++) {
        const struct kernel_use *use = &planner->set.kernels[k];
        for (int i = 0; i < use->load_count; i++) {
            planner->last_use[use->loads[i]->id] = use->number;
            if (use->loads[i]->op == OP_read)
                note_reader(planner, use->loads[i], use->number);
        }
        for (int i = 0; i < use->store_count; i++)
            if (use->stores[i]->op == OP_output)
                planner->last_use[use->stores[i]->id] = planner->set.count + 1;
    }
}

static bool is_unstored_root(const struct node *node)
{
    return op_is(node->op, CLASS_EFFECT) && node->kernel == 0;
}

/* The stored value that an output or write without a kernel stands for; NULL when fuse has not run, or where the value
 * lies in another order. */
static struct node *stored_operand(const struct node *root)
{
    struct view view;
    const struct type *wanted = &root->type;
    if (memcmp(wanted->order, root->operands[0]->type.order, (size_t)wanted->shape.rank) != 0 ||
        !view_find(root->operands[0], &view) || !view_is_alias(&view) ||
        (view.base->kernel == 0 && view.base->op != OP_read && view.base->op != OP_input))
        return NULL;
    return view.base;
}

/* False after a diagnostic when the graph is not one that fuse has been through. */
static bool is_fused(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (!is_unstored_root(node) || stored_operand(node))
            continue;
        diagnostics_error(graph->module->diagnostics, E0804, node->span, NULL,
                          "graph %s: pass memory needs pass fuse before it: no kernel stores what %s \"%s\" takes",
                          graph->name, op_info(node->op)->name, node->attributes->symbol);
        return false;
    }
    return true;
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
            note_reader(planner, base, planner->set.count + 1);
    }
}

/* ---- parts of concats ---- */

/* The table by node id. */
static struct within *find_within(const struct kernel_set *set, const struct target *target, ptrdiff_t nodes,
                                  struct arena *arena)
{
    struct within *within = ARENA_ARRAY(arena, struct within, nodes);
    for (int k = 0; k < set->count; k++) {
        const struct node *concat = set->kernels[k].joins ? set->kernels[k].stores[0] : NULL;
        int64_t offset = 0;
        for (int i = 0; concat && i < concat->operand_count; i++) {
            within[kernel_part(concat, i, NULL, NULL)->id] = (struct within){concat, offset};
            offset += memory_bytes(&concat->operands[i]->type, target);
        }
    }
    return within;
}

/* The concat's place, which its first part opens, and which lasts as long as any part is needed. */
static void place_part(struct planner *planner, const struct node *part, const struct node *concat)
{
    int *buffer = &planner->buffer[concat->id];
    if (*buffer < 0) {
        int last = planner->last_use[concat->id];
        for (int i = 0; i < concat->operand_count; i++) {
            int use = planner->last_use[kernel_part(concat, i, NULL, NULL)->id];
            last = use > last ? use : last;
        }
        *buffer = planner->buffer_count++;
        planner->buffers[*buffer] =
            (struct lifetime){memory_bytes(&concat->type, planner->target), part->kernel, last, 0};
    }
    planner->buffer[part->id] = *buffer;
}

/* ---- taking over memory ---- */

static bool same_place(const struct node *a, const struct node *b)
{
    struct type x = a->type, y = b->type;
    x.element = y.element = ELEMENT_NONE;
    return type_equal(&x, &y);
}

/* Looks for a value of the same size that dies in this kernel and may be overwritten: nearest first, and not for long.
 * Returns its buffer, -1 for none. */
static int find_dying(struct planner *planner, struct node *store)
{
    struct node *queue[SEARCH_MAX];
    int count = 0;
    queue[count++] = store;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < queue[i]->operand_count; j++) {
            struct node *operand = queue[i]->operands[j];
            int buffer = planner->buffer[operand->id];
            if (buffer >= 0 && operand->kernel != store->kernel) {
                const struct lifetime *lifetime = &planner->buffers[buffer];
                if (lifetime->last == store->kernel && same_place(store, operand) &&
                    lifetime->bytes == memory_bytes(&store->type, planner->target) &&
                    overwrite_allowed(planner->overwrite, store, operand))
                    return buffer;
            } else if (planner->visited[operand->id] != store->id && count < SEARCH_MAX) {
                planner->visited[operand->id] = store->id;
                queue[count++] = operand;
            }
        }
    return -1;
}

static bool writes_in_place(struct planner *planner, struct node *write)
{
    const struct kernel_use *use = &planner->set.kernels[write->kernel - 1];
    ptrdiff_t at = hmgeti(planner->readers, write->attributes->symbol);
    if (use->contraction)
        return false;
    if (at < 0 || planner->readers[at].value.kernel < write->kernel)
        return true;
    const struct reader *reader = &planner->readers[at].value;
    return reader->kernel == write->kernel && reader->node &&
           overwrite_allowed(planner->overwrite, write, reader->node);
}

/* ---- places ---- */

static void new_buffer(struct planner *planner, struct node *node, int last)
{
    planner->buffer[node->id] = planner->buffer_count;
    planner->buffers[planner->buffer_count++] =
        (struct lifetime){memory_bytes(&node->type, planner->target), node->kernel, last, 0};
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
    if (planner->within[store->id].concat) {
        place_part(planner, store, planner->within[store->id].concat);
        return;
    }
    if (planner->set.kernels[store->kernel - 1].joins)
        return;
    const struct kernel_use *use = &planner->set.kernels[store->kernel - 1];
    int dying = use->contraction && !kernel_has_tail(use) ? -1 : find_dying(planner, store);
    if (dying < 0 || !pass_may_rewrite(planner->context)) {
        new_buffer(planner, store, last);
        return;
    }
    planner->buffer[store->id] = dying;
    planner->buffers[dying].last = last > store->kernel ? last : store->kernel;
    if (last <= store->kernel) /* read by nobody else: no other store of this kernel may take it again */
        planner->buffers[dying].last = store->kernel + 1;
}

/* The kernels of a strip run in turns: what one of them needs is there as long as any of them runs. */
static void live_through_strips(struct lifetime *lifetimes, int count, const struct strip_set *strips, int kernels)
{
    for (int i = 0; i < count; i++) {
        lifetimes[i].first = strip_first(strips, lifetimes[i].first);
        if (lifetimes[i].last <= kernels)
            lifetimes[i].last = strip_last(strips, lifetimes[i].last);
    }
}

static void set_placements(struct planner *planner)
{
    for (ptrdiff_t i = 0; i < arrlen(planner->graph->nodes); i++) {
        struct node *node = planner->graph->nodes[i];
        if (node->op == OP_read || node->op == OP_input)
            node->placement =
                (struct placement){node->op == OP_read ? SPACE_STATE : SPACE_INPUT, 0, node->attributes->symbol};
        else if (planner->buffer[node->id] >= 0)
            node->placement = (struct placement){
                SPACE_SCRATCH, planner->buffers[planner->buffer[node->id]].offset + planner->within[node->id].offset,
                NULL};
        else if (is_unstored_root(node))
            node->placement = stored_operand(node)->placement;
    }
}

void pass_memory(struct graph *graph, struct pass_context *context)
{
    if (!is_fused(graph))
        return;
    struct arena *arena = arena_new();
    struct planner planner = {.graph = graph, .target = context->target, .context = context};
    int64_t alignment = context->target->alignment > 0 ? context->target->alignment : 1;
    graph_number(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->placement = (struct placement){0};
    planner.set = kernels_find(graph, arena);
    planner.strips = strips_find(&planner.set, context->target, arena);
    planner.overwrite = overwrite_new(arrlenu(graph->nodes));
    planner.within = find_within(&planner.set, context->target, arrlen(graph->nodes), arena);
    find_last_uses(&planner, arena);
    keep_to_the_end(&planner);
    for (int k = 0; k < planner.set.count; k++) {
        const struct kernel_use *use = &planner.set.kernels[k];
        if (!use->joins)
            overwrite_inspect(planner.overwrite, use);
        for (int i = 0; i < use->store_count; i++)
            place_store(&planner, use->stores[i]);
    }
    live_through_strips(planner.buffers, planner.buffer_count, &planner.strips, planner.set.count);
    offsets_assign(planner.buffers, planner.buffer_count, alignment);
    set_placements(&planner);
    hmfree(planner.readers);
    overwrite_free(planner.overwrite);
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
                                         const struct target *target, struct arena *arena, int *lifetime_count)
{
    struct lifetime *lifetimes = ARENA_ARRAY(arena, struct lifetime, arrlen(graph->nodes));
    int count = 0;
    int *index = ARENA_ARRAY(arena, int, arrlen(graph->nodes));
    const struct within *within = find_within(set, target, arrlen(graph->nodes), arena);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        index[i] = -1;
    struct place_taken *latest = NULL; /* by offset: the lifetime that holds it */
    for (int k = 0; k < set->count; k++) {
        const struct kernel_use *use = &set->kernels[k];
        for (int i = 0; i < use->load_count; i++)
            if (use->loads[i]->kernel)
                lifetimes[index[use->loads[i]->id]].last = use->number;
        for (int i = 0; i < use->store_count; i++) {
            const struct node *part = use->stores[i], *concat = within[part->id].concat;
            const struct node *store = concat ? concat : part;
            int64_t offset = store->placement.offset;
            if (store->placement.space != SPACE_SCRATCH)
                continue;
            if (index[store->id] >= 0) { /* some part is there already */
                index[part->id] = index[store->id];
                lifetimes[index[part->id]].last = use->number;
                continue;
            }
            int last = op_is(store->op, CLASS_EFFECT) ? set->count + 1 : use->number;
            ptrdiff_t old = hmgeti(latest, offset);
            struct lifetime lifetime = {memory_bytes(&store->type, target), use->number, last, offset};
            struct lifetime *dying = old >= 0 ? &lifetimes[latest[old].value] : NULL;
            /* A value of no elements shares its place with whatever begins there. */
            if (dying && dying->last == use->number && dying->bytes == lifetime.bytes && lifetime.bytes && !concat) {
                index[store->id] = latest[old].value;
                dying->last = last;
                continue;
            }
            index[store->id] = index[part->id] = count;
            hmput(latest, offset, count);
            lifetimes[count++] = lifetime;
        }
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (is_unstored_root(graph->nodes[i]) && stored_operand(graph->nodes[i])->kernel)
            lifetimes[index[stored_operand(graph->nodes[i])->id]].last = set->count + 1;
    hmfree(latest);
    *lifetime_count = count;
    return lifetimes;
}

struct memory_use memory_measure(const struct graph *graph, const struct target *target)
{
    struct arena *arena = arena_new();
    struct kernel_set set = kernels_find(graph, arena);
    struct strip_set strips = strips_find(&set, target, arena);
    int count;
    struct lifetime *lifetimes = placed_lifetimes(graph, &set, target, arena, &count);
    live_through_strips(lifetimes, count, &strips, set.count);
    struct memory_use use = {0};
    int64_t alignment = target->alignment > 0 ? target->alignment : 1;
    for (int i = 0; i < count; i++) {
        int64_t end = lifetimes[i].offset + (lifetimes[i].bytes + alignment - 1) / alignment * alignment;
        use.peak = end > use.peak ? end : use.peak;
    }
    use.bound = offsets_bound(lifetimes, count, alignment);
    arena_free(arena);
    return use;
}
