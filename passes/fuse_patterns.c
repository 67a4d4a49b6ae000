/* Patterns that become one kernel of the library kind, which computes all that lies between its operands and its
 * results: attention each way (passes/attention.h), a product with bias and gelu (passes/gelu.h). */
#include "passes/fuse.h"
#include "passes/gelu.h"

#include <stb/stb_ds.h>

/* ---- what a pattern is made of ---- */

static struct pattern *new_pattern(struct fuser *fuser)
{
    struct pattern *pattern = ARENA_ARRAY(fuser->arena, struct pattern, 1);
    pattern->group = GROUP_NONE;
    return pattern;
}

/* `stored`: what lies in memory of the operand. */
static void add_source(struct fuser *fuser, struct pattern *pattern, struct node *operand, struct node *stored)
{
    if (!fuse_is_leaf(stored))
        fuser->facts[stored->id].required = true;
    pattern->operands[pattern->operand_count++] = operand;
}

static void add_result(struct fuser *fuser, struct pattern *pattern, struct node *result)
{
    fuser->facts[result->id].pattern = pattern;
    fuser->facts[result->id].inside = false;
    pattern->results[pattern->result_count++] = result;
}

/* ---- attention ---- */

static void add_operand(struct fuser *fuser, struct pattern *pattern, struct node *operand, bool biased)
{
    struct attention_source source;
    add_source(fuser, pattern, operand, attention_source(operand, biased, &source) ? source.view.base : operand);
}

static struct pattern *new_attention(struct fuser *fuser, const struct attention *forward)
{
    struct pattern *pattern = new_pattern(fuser);
    add_operand(fuser, pattern, forward->query, true);
    add_operand(fuser, pattern, forward->key, true);
    add_operand(fuser, pattern, forward->value, true);
    return pattern;
}

static void add_forward(struct fuser *fuser, const struct attention *forward)
{
    struct pattern *pattern = new_attention(fuser, forward);
    add_result(fuser, pattern, forward->result);
    add_result(fuser, pattern, forward->maximum);
    add_result(fuser, pattern, forward->total);
}

static void add_gradient(struct fuser *fuser, const struct attention_gradient *gradient)
{
    const struct attention *forward = &gradient->forward;
    struct pattern *pattern = new_attention(fuser, forward);
    add_operand(fuser, pattern, forward->result, false);
    add_operand(fuser, pattern, gradient->d_result, false);
    pattern->operands[pattern->operand_count++] = forward->maximum;
    pattern->operands[pattern->operand_count++] = forward->total;
    if (gradient->joined) {
        add_result(fuser, pattern, gradient->joined);
        return;
    }
    add_result(fuser, pattern, gradient->d_query);
    add_result(fuser, pattern, gradient->d_key);
    add_result(fuser, pattern, gradient->d_value);
}

static void find_attention(struct fuser *fuser)
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

/* ---- products with gelu ---- */

/* Nothing else needs what is between the product and the sum. */
static bool is_only_summed(const struct fuser *fuser, const struct gelu_product *found)
{
    for (const struct node *node = found->moved;; node = node->operands[0]) {
        if (fuser->facts[node->id].users != 1)
            return false;
        if (node == found->product)
            return true;
    }
}

static void add_gelu(struct fuser *fuser, const struct gelu_product *found)
{
    struct pattern *pattern = new_pattern(fuser);
    for (int i = 0; i < 2; i++) {
        struct node *operand = found->product->operands[i];
        struct view view;
        bool readable = view_contraction_operand(found->product, i) && view_find(operand, &view);
        add_source(fuser, pattern, operand, readable ? view.base : operand);
    }
    add_result(fuser, pattern, found->sum);
    add_result(fuser, pattern, found->result);
    for (const struct node *node = found->moved;; node = node->operands[0]) {
        fuser->facts[node->id].inside = true;
        if (node == found->product)
            break;
    }
}

/* Gelu is computed again for next to nothing where memory is short, a product is not. */
static void find_gelu(struct fuser *fuser)
{
    const struct pass_context *context = fuser->context;
    if (!(context->target->epilogues & EPILOGUE_GELU) || memory_budget_bounds(&context->budget, fuser->graph))
        return;
    for (ptrdiff_t i = 0; i < arrlen(fuser->graph->nodes); i++) {
        struct gelu_product found;
        if (gelu_match_product(fuser->graph->nodes[i], &found) && gelu_bias_fits(&found) && gelu_operands_fit(&found) &&
            is_only_summed(fuser, &found) && pass_may_rewrite(fuser->context))
            add_gelu(fuser, &found);
    }
}

void fuse_find_patterns(struct fuser *fuser)
{
    find_attention(fuser);
    find_gelu(fuser);
}

/* ---- places ---- */

/* One level above all that it reads; what gives several results is placed when the first of them is met. */
static void place_kernel(struct fuser *fuser, struct pattern *pattern)
{
    int level = -1;
    for (int i = 0; i < pattern->operand_count; i++) {
        const struct fact *fact = &fuser->facts[pattern->operands[i]->id];
        int needed = fact->own_group != GROUP_NONE ? fuser->groups[fact->own_group].level : fact->level;
        level = needed > level ? needed : level;
    }
    pattern->group = fuse_new_group(fuser, level + 1, true);
    for (int i = 0; i < pattern->result_count; i++) {
        struct fact *fact = &fuser->facts[pattern->results[i]->id];
        fact->own_group = pattern->group;
        fact->own_nest = GROUP_NONE;
        fact->alignment = alignment_none();
        fact->stored = true;
    }
}

void fuse_place_pattern(struct fuser *fuser, struct node *node)
{
    struct pattern *pattern = fuser->facts[node->id].pattern;
    bool waits = op_is(node->op, CLASS_REDUCE); /* a row's maximum and total come with the result */
    if (pattern->group == GROUP_NONE && !waits)
        place_kernel(fuser, pattern);
}
