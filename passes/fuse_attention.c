/* Attention in one kernel each way: what passes/attention.h finds becomes kernels of the library kind, which compute
 * all that lies between their operands and their results. */
#include "passes/fuse.h"

#include <stb/stb_ds.h>

static void add_operand(struct fuser *fuser, struct attention_place *place, struct node *operand, bool biased)
{
    struct attention_source source;
    struct node *stored = attention_source(operand, biased, &source) ? source.view.base : operand;
    if (!fuse_is_leaf(stored))
        fuser->facts[stored->id].required = true;
    place->operands[place->operand_count++] = operand;
}

static struct attention_place *new_place(struct fuser *fuser, const struct attention *forward)
{
    struct attention_place *place = ARENA_ARRAY(fuser->arena, struct attention_place, 1);
    place->group = GROUP_NONE;
    add_operand(fuser, place, forward->query, true);
    add_operand(fuser, place, forward->key, true);
    add_operand(fuser, place, forward->value, true);
    return place;
}

static void add_result(struct fuser *fuser, struct attention_place *place, struct node *result)
{
    fuser->facts[result->id].attention = place;
    fuser->facts[result->id].inside = false;
    place->results[place->result_count++] = result;
}

static void add_forward(struct fuser *fuser, const struct attention *forward)
{
    struct attention_place *place = new_place(fuser, forward);
    add_result(fuser, place, forward->result);
    add_result(fuser, place, forward->maximum);
    add_result(fuser, place, forward->total);
}

static void add_gradient(struct fuser *fuser, const struct attention_gradient *gradient)
{
    const struct attention *forward = &gradient->forward;
    struct attention_place *place = new_place(fuser, forward);
    add_operand(fuser, place, forward->result, false);
    add_operand(fuser, place, gradient->d_result, false);
    place->operands[place->operand_count++] = forward->maximum;
    place->operands[place->operand_count++] = forward->total;
    if (gradient->joined) {
        add_result(fuser, place, gradient->joined);
        return;
    }
    add_result(fuser, place, gradient->d_query);
    add_result(fuser, place, gradient->d_key);
    add_result(fuser, place, gradient->d_value);
}

void fuse_find_attention(struct fuser *fuser)
{
    const struct target *target = fuser->context->target;
    if (!target->attention || !pass_may_rewrite(fuser->context))
        return;
    struct attention_set set = attention_find(fuser->graph, true, fuser->arena);
    for (ptrdiff_t i = 0; i < arrlen(fuser->graph->nodes); i++)
        fuser->facts[i].inside = set.inside[i];
    for (int i = 0; i < set.count; i++) {
        add_forward(fuser, &set.found[i].forward);
        if (set.found[i].gradient.d_score)
            add_gradient(fuser, &set.found[i].gradient);
    }
}

/* One level above all that it reads; what gives several results is placed when the first of them is met. */
static void place_kernel(struct fuser *fuser, struct attention_place *place)
{
    int level = -1;
    for (int i = 0; i < place->operand_count; i++) {
        const struct fact *fact = &fuser->facts[place->operands[i]->id];
        int needed = fact->own_group != GROUP_NONE ? fuser->groups[fact->own_group].level : fact->level;
        level = needed > level ? needed : level;
    }
    place->group = fuse_new_group(fuser, level + 1, true);
    for (int i = 0; i < place->result_count; i++) {
        struct fact *fact = &fuser->facts[place->results[i]->id];
        fact->own_group = place->group;
        fact->own_nest = GROUP_NONE;
        fact->alignment = alignment_none();
        fact->stored = true;
    }
}

void fuse_place_attention(struct fuser *fuser, struct node *node)
{
    struct attention_place *place = fuser->facts[node->id].attention;
    bool waits = op_is(node->op, CLASS_REDUCE); /* a row's maximum and total come with the result */
    if (place->group == GROUP_NONE && !waits)
        place_kernel(fuser, place);
}
