/* Which kernels can run by strips, and which of them follow each other so that it pays. See strips.h. */
#include "passes/strips.h"
#include "passes/memory.h"
#include "passes/nests.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

/* Values that a strip takes from the cache have to fit into the part of it that is one core's own: 512 KiB or more
 * nowadays. */
enum { CACHED_BYTES = 3 << 17, MEMBERS_MAX = 16 };

/* Strips that each thread gets at least, so that all end at about the same time. */
enum { STRIPS_A_THREAD = 8 };

/* One kernel's way to run by strips. */
struct part {
    int64_t items; /* 0: it can not */
    int nests;     /* that lead */
};

struct strip_builder {
    const struct kernel_set *set;
    const struct target *target;
    struct part *parts;
    bool *sliced; /* by node id: stored strip by strip */
    int *seen;    /* by node id: the last strip that made or loaded it */
    int *shared;  /* by node id: the last strip that takes it from the cache */
    int *member;  /* by kernel: its strip */
    int strip;    /* number of the one being made, from 1 */
    int members;
    int64_t items, cached;
};

/* ---- what runs example by example ---- */

static bool carries(const struct node *node, int64_t items)
{
    const struct type *type = &node->type;
    return type->shape.rank > 0 && type->shape.dimension[0] == items && type->order[0] == 0 &&
           shape_elements(&type->shape) > items;
}

bool strip_carries(const struct strip *strip, const struct node *node)
{
    return carries(node, strip->items);
}

static bool movement_keeps(const struct node *node, int64_t items)
{
    const struct attributes *attributes = node->attributes;
    switch (node->op) {
    case OP_permute:
        return attributes->permutation[0] == 0;
    case OP_slice:
        return attributes->low[0] == 0 && attributes->high[0] == items && attributes->step[0] == 1;
    case OP_pad:
        return attributes->low[0] == 0 && attributes->high[0] == 0;
    case OP_flip:
        return !(attributes->axes & 1);
    case OP_concat:
        return attributes->axis != 0;
    case OP_window:
        return node->operands[0]->type.shape.rank > attributes->window.rank;
    case OP_fold:
        return node->type.shape.rank > attributes->window.rank;
    case OP_tap_sums:
        return false;
    default:
        return true;
    }
}

/* Does example i of the node need of its operand, which carries examples, example i alone? */
static bool keeps_items(const struct node *node, int operand, int64_t items)
{
    if (op_is(node->op, CLASS_REDUCE) && node->attributes->axes & 1)
        return true; /* a sum over the batch; who needs it is another matter */
    if (node->type.shape.rank == 0 || node->type.shape.dimension[0] != items)
        return false;
    switch (op_info(node->op)->class) {
    case CLASS_POINTWISE:
    case CLASS_REDUCE:
        return true;
    case CLASS_EFFECT:
        return node->op == OP_output;
    case CLASS_FOLD:
    case CLASS_MOVEMENT:
        return movement_keeps(node, items);
    default:
        return node->op == OP_gather && operand == 1 && node->attributes->axis == 0;
    }
}

/* ---- generated kernels ---- */

/* What is known of a node inside the kernel: it needs a sum over the batch that the kernel makes; it is computed from
 * values that carry examples, such sums apart. */
struct inside {
    bool late, touches;
};

static int outermost_axis(const struct nest *nest)
{
    for (int i = 0; i < nest->space.shape.rank; i++)
        if (nest->space.shape.dimension[nest->space.order[i]] != 1)
            return nest->space.order[i];
    return -1;
}

static bool is_total(const struct nest_member *member)
{
    return member->reduction == REDUCTION_COLUMN || member->reduction == REDUCTION_FULL;
}

/* Can the strips be made of blocks of the nest's rows? Where vectors lie along the rows, of whole vectors too. */
static bool whole_blocks(const struct nest *nest, int64_t items, int64_t size)
{
    int vector = nest_vector_axis(nest);
    int64_t rows = shape_elements(&nest->space.shape) / items;
    for (int i = 0; i < nest->space.shape.rank && nest->outer_fixed; i++)
        if (!(nest->outer >> i & 1) && nest->space.shape.dimension[i] > 0)
            rows /= nest->space.shape.dimension[i];
    if (nest->block)
        return rows * size % nest->block == 0;
    return (nest->outer_fixed && !(nest->outer >> vector & 1)) || rows * size % 16 == 0;
}

/* Do the nest's loops run over the batch outside of everything else, in blocks of whole strips? */
static bool runs_by_items(const struct nest *nest, int64_t items, int64_t size)
{
    int batch = outermost_axis(nest);
    if (batch < 0 || nest->space.shape.dimension[batch] != items || nest_vector_axis(nest) == batch ||
        (nest->outer_fixed && !(nest->outer >> batch & 1)))
        return false;
    if (!whole_blocks(nest, items, size))
        return false;
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++) {
        const struct nest_member *member = &nest->members[i];
        const struct node *walked = member->base        ? member->base
                                    : member->reduction ? member->node->operands[0]
                                                        : member->node;
        if (member->axis[0] != batch || walked->type.shape.dimension[0] != items || member->node->op == OP_write ||
            nest_is_alone(member->node) ||
            (member->base && !is_total(member) && member->node->type.shape.dimension[0] != items))
            return false;
    }
    return true;
}

/* Fills the table by position in use->computed (node->mark - 1); false if a value is not taken example by example. */
static bool look_inside(const struct kernel_use *use, int64_t items, struct inside *inside)
{
    for (int i = 0; i < use->load_count; i++)
        use->loads[i]->mark = 0;
    for (int i = 0; i < use->computed_count; i++)
        use->computed[i]->mark = i + 1;
    for (int i = 0; i < use->computed_count; i++) {
        const struct node *node = use->computed[i];
        struct inside *own = &inside[i];
        bool total = op_is(node->op, CLASS_REDUCE) && node->attributes->axes & 1;
        if (node->op == OP_concat && node->attributes->axis == 0 && carries(node, items))
            return false; /* its parts are walked one by one */
        for (int k = 0; k < node->operand_count; k++) {
            const struct node *operand = node->operands[k];
            const struct inside *from = operand->mark ? &inside[operand->mark - 1] : NULL;
            bool touches = carries(operand, items) || (from && from->touches);
            if (carries(operand, items) && !keeps_items(node, k, items))
                return false;
            own->late |= (from && from->late) ||
                         (op_is(operand->op, CLASS_REDUCE) && operand->mark && operand->attributes->axes & 1);
            own->touches |= touches && !total;
        }
    }
    return true;
}

/* Of what the member is computed from. */
static struct inside member_needs(const struct nest_member *member, const struct inside *inside, int64_t items)
{
    struct inside needs = {0};
    for (int i = 0; i < member->node->operand_count; i++) {
        const struct node *operand = member->node->operands[i];
        const struct inside *from = operand->mark ? &inside[operand->mark - 1] : NULL;
        needs.touches |= carries(operand, items) || (from && from->touches);
        needs.late |= from && from->late;
        needs.late |= op_is(operand->op, CLASS_REDUCE) && operand->mark && operand->attributes->axes & 1;
    }
    return needs;
}

/* The number of leading nests that run by strips; 0 when those behind them touch examples too. */
static int leading_nests(const struct nest *nests, const struct inside *inside, int64_t items, int64_t size)
{
    int leading = 0;
    for (bool leads = true; leads && leading < arrlen(nests); leading += leads) {
        leads = runs_by_items(&nests[leading], items, size);
        for (ptrdiff_t i = 0; i < arrlen(nests[leading].members); i++)
            leads = leads && !member_needs(&nests[leading].members[i], inside, items).late;
    }
    for (ptrdiff_t i = leading; i < arrlen(nests); i++)
        for (ptrdiff_t k = 0; k < arrlen(nests[i].members); k++)
            if (member_needs(&nests[i].members[k], inside, items).touches || carries(nests[i].members[k].node, items))
                return 0;
    return leading;
}

static struct part part_of_generated(const struct kernel_use *use, bool *sliced)
{
    struct part part = {0};
    struct nest *nests = nests_find(use);
    int batch = nests && arrlen(nests) ? outermost_axis(&nests[0]) : -1;
    if (batch >= 0) {
        int64_t items = nests[0].space.shape.dimension[batch], size = reduction_items(items);
        struct inside *inside = NULL;
        arrsetlen(inside, (size_t)use->computed_count);
        for (int i = 0; i < use->computed_count; i++)
            inside[i] = (struct inside){0};
        if (size < items && look_inside(use, items, inside))
            part = (struct part){items, leading_nests(nests, inside, items, size)};
        if (!part.nests)
            part.items = 0;
        arrfree(inside);
    }
    for (int i = 0; i < part.nests; i++)
        for (ptrdiff_t k = 0; k < arrlen(nests[i].members); k++)
            if (!is_total(&nests[i].members[k]))
                sliced[nests[i].members[k].node->id] = true;
    nests_free(nests);
    return part;
}

/* ---- convolutions ---- */

static bool is_alias(struct node *operand)
{
    struct view view;
    return view_find(operand, &view) && view_is_alias(&view);
}

/* The gradient of a weight is the sum of what the slices give, in f32; all else goes slice by slice. */
static struct part part_of_contraction(const struct kernel_use *use, bool *sliced)
{
    const struct node *conv = use->contraction, *result = use->stores[0];
    if (conv->op == OP_matmul || conv->op == OP_loop || use->store_count != 1)
        return (struct part){0};
    bool sums = conv->op == OP_conv_weight;
    struct node *first = conv->operands[conv->op == OP_conv_data];
    int64_t items = first->type.shape.dimension[0];
    bool fits = reduction_items(items) < items && is_alias(first) && first->type.order[0] == 0;
    if (sums)
        fits = fits && is_alias(conv->operands[1]) && conv->operands[1]->type.order[0] == 0 &&
               result->type.element == ELEMENT_F32;
    else
        fits = fits && carries(result, items);
    sliced[result->id] = fits && !sums;
    return (struct part){fits ? items : 0, 0};
}

/* The base of a convolution's weight has to be there before the strip. */
static bool reads_whole(const struct kernel_use *use, const struct node *load)
{
    const struct node *conv = use->contraction;
    struct view view;
    return conv && conv->op != OP_conv_weight && conv->op != OP_loop &&
           view_find(conv->operands[conv->op != OP_conv_data], &view) && view.base == load;
}

/* ---- strips ---- */

struct strip_builder *strip_builder_new(const struct kernel_set *set, const struct target *target, struct arena *arena)
{
    struct strip_builder *builder = ARENA_ARRAY(arena, struct strip_builder, 1);
    size_t nodes = 0;
    for (int i = 0; i < set->count; i++) {
        const struct kernel_use *use = &set->kernels[i];
        for (int k = 0; k < use->store_count; k++)
            nodes = (size_t)use->stores[k]->id >= nodes ? (size_t)use->stores[k]->id + 1 : nodes;
        for (int k = 0; k < use->load_count; k++)
            nodes = (size_t)use->loads[k]->id >= nodes ? (size_t)use->loads[k]->id + 1 : nodes;
    }
    *builder = (struct strip_builder){.set = set, .target = target};
    builder->parts = ARENA_ARRAY(arena, struct part, set->count);
    builder->sliced = ARENA_ARRAY(arena, bool, nodes);
    builder->seen = ARENA_ARRAY(arena, int, nodes);
    builder->shared = ARENA_ARRAY(arena, int, nodes);
    builder->member = ARENA_ARRAY(arena, int, set->count);
    for (int i = 0; i < set->count && target->strips; i++)
        if (!set->kernels[i].joins)
            builder->parts[i] = set->kernels[i].contraction ? part_of_contraction(&set->kernels[i], builder->sliced)
                                                            : part_of_generated(&set->kernels[i], builder->sliced);
    return builder;
}

static bool is_shared(const struct strip_builder *builder, const struct node *load)
{
    return builder->seen[load->id] == builder->strip && carries(load, builder->items);
}

/* Bytes of one strip that would have to stay in the cache if the kernel ran along: what it loads and the strip has made
 * or loaded before, and what others share; -1 when it can not run along or shares nothing. */
static int64_t cached_bytes(const struct strip_builder *builder, int kernel)
{
    const struct kernel_use *use = &builder->set->kernels[kernel];
    int64_t bytes = builder->cached;
    bool shares = false;
    for (int i = 0; i < use->load_count; i++) {
        const struct node *load = use->loads[i];
        bool made = load->kernel && builder->member[load->kernel - 1] == builder->strip;
        if (made && (!builder->sliced[load->id] || !carries(load, builder->items) || reads_whole(use, load)))
            return -1;
        shares = shares || is_shared(builder, load);
        if (is_shared(builder, load) && builder->shared[load->id] != builder->strip)
            bytes += memory_bytes(&load->type, builder->target) / builder->items * reduction_items(builder->items);
    }
    return shares ? bytes : -1;
}

bool strip_continues(const struct strip_builder *builder, int kernel)
{
    if (!builder->strip || !builder->items || builder->parts[kernel].items != builder->items ||
        builder->members == MEMBERS_MAX)
        return false;
    int64_t bytes = cached_bytes(builder, kernel);
    return bytes >= 0 && bytes <= CACHED_BYTES;
}

/* Marks what the kernel shares with the strip. */
static void share(struct strip_builder *builder, const struct kernel_use *use)
{
    for (int i = 0; i < use->load_count; i++)
        if (is_shared(builder, use->loads[i]))
            builder->shared[use->loads[i]->id] = builder->strip;
}

void strip_add(struct strip_builder *builder, int kernel)
{
    const struct kernel_use *use = &builder->set->kernels[kernel];
    if (strip_continues(builder, kernel)) {
        builder->cached = cached_bytes(builder, kernel);
        share(builder, use);
    } else {
        builder->strip++;
        builder->items = builder->parts[kernel].items;
        builder->cached = builder->members = 0;
    }
    builder->members++;
    builder->member[kernel] = builder->strip;
    for (int i = 0; i < use->load_count; i++)
        builder->seen[use->loads[i]->id] = builder->strip;
    for (int i = 0; i < use->store_count; i++)
        builder->seen[use->stores[i]->id] = builder->strip;
}

/* As many examples as the cache holds of what the strip shares, `cached` bytes where it has the fewest: each call into
 * a library costs the same for one example as for many. */
static int64_t strip_size(const struct target *target, int64_t items, int64_t cached)
{
    int64_t fewest = reduction_items(items), size = fewest;
    for (int64_t next = fewest; next * STRIPS_A_THREAD * target->threads <= items; next += fewest)
        if (items % next == 0 && cached / fewest * next <= CACHED_BYTES)
            size = next;
    return size;
}

struct strip_set strips_find(struct kernel_set *set, const struct target *target, struct arena *arena)
{
    struct strip_builder *builder = strip_builder_new(set, target, arena);
    struct strip_set strips = {.of = ARENA_ARRAY(arena, int, set->count)};
    strips.strips = ARENA_ARRAY(arena, struct strip, set->count);
    for (int i = 0; i < set->count; i++) {
        strips.of[i] = -1;
        strip_add(builder, i);
        if (i == 0 || builder->member[i] != builder->member[i - 1])
            continue;
        if (strips.of[i - 1] < 0) {
            strips.of[i - 1] = strips.count;
            strips.strips[strips.count++] = (struct strip){i, 1, builder->items, 0};
        }
        strips.of[i] = strips.of[i - 1];
        struct strip *strip = &strips.strips[strips.of[i]];
        strip->count++;
        strip->size = strip_size(target, strip->items, builder->cached);
    }
    for (int i = 0; i < set->count; i++)
        if (strips.of[i] >= 0) {
            const struct strip *strip = &strips.strips[strips.of[i]];
            set->kernels[i].strip_items = strip->items;
            set->kernels[i].strip_size = strip->size;
            set->kernels[i].strip_nests = builder->parts[i].nests;
        }
    return strips;
}

int strip_first(const struct strip_set *strips, int kernel)
{
    int strip = strips->of[kernel - 1];
    return strip < 0 ? kernel : strips->strips[strip].first;
}

int strip_last(const struct strip_set *strips, int kernel)
{
    int strip = strips->of[kernel - 1];
    return strip < 0 ? kernel : strips->strips[strip].first + strips->strips[strip].count - 1;
}
