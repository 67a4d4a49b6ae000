/* What must be stored whatever is fused, what is worth offering, and what a contraction's library can append. */
#include "passes/fuse.h"
#include "passes/rewrite.h"
#include "passes/view.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static struct fact *fact_of(struct fuser *fuser, const struct node *node)
{
    return &fuser->facts[node->id];
}

static void require(struct fuser *fuser, struct node *node)
{
    if (!fuse_is_leaf(node))
        fact_of(fuser, node)->required = true;
}

/* Its kernel looks after its operands itself. */
static bool of_pattern(struct fuser *fuser, const struct node *node)
{
    return fact_of(fuser, node)->inside || fact_of(fuser, node)->pattern;
}

static struct node *behind_reshapes(struct node *node)
{
    while (node->op == OP_reshape)
        node = node->operands[0];
    return node;
}

static void require_operands(struct fuser *fuser, struct node *node)
{
    if (node->op == OP_gather)
        require(fuser, node->operands[0]);
    if (node->op == OP_tap_sums)
        require(fuser, behind_reshapes(node->operands[1]));
    if ((!op_is(node->op, CLASS_CONTRACTION) && node->op != OP_loop) || of_pattern(fuser, node))
        return;
    for (int i = 0; i < node->operand_count; i++) {
        struct view view;
        bool readable = view_contraction_operand(node, i) && view_find(node->operands[i], &view);
        bool there = readable && !view_lies_unrounded(view.base, fuser->context->target);
        require(fuser, there ? view.base : node->operands[i]);
    }
}

/* ---- concats whose parts are stored within them ---- */

static bool is_required(const void *data, const struct node *node)
{
    return ((const struct fact *)data)[node->id].required;
}

/* Are the parts values of their own that lie in memory anyway, but for one at most? That one is stored too then. */
static bool parts_are_stored(struct fuser *fuser, const struct node *concat)
{
    int stored = 0;
    if (!kernel_parts_follow(concat) || of_pattern(fuser, concat))
        return false;
    for (int i = 0; i < concat->operand_count; i++) {
        struct node *part = kernel_part(concat, i, is_required, fuser->facts);
        if (!part || kernel_parts_follow(part))
            return false;
        stored += fact_of(fuser, part)->required || op_is(part->op, CLASS_CONTRACTION);
    }
    return stored >= concat->operand_count - 1;
}

static int by_origin(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;
    return ((*x)->origin > (*y)->origin) - ((*x)->origin < (*y)->origin);
}

/* As kernels_find will see it: a part of two concats lies within the older one, a part that stands twice in none. */
static bool takes_parts(const struct fuser *fuser, const struct node *concat, bool *taken)
{
    int free = 0;
    while (free < concat->operand_count && !taken[kernel_part(concat, free, is_required, fuser->facts)->id])
        taken[kernel_part(concat, free++, is_required, fuser->facts)->id] = true;
    for (int i = 0; i < free && free < concat->operand_count; i++)
        taken[kernel_part(concat, i, is_required, fuser->facts)->id] = false;
    return free == concat->operand_count;
}

static void join_concats(struct fuser *fuser)
{
    struct node **concats = NULL;
    bool *taken = NULL;
    arrsetlen(taken, arrlenu(fuser->graph->nodes));
    for (ptrdiff_t i = 0; i < arrlen(taken); i++) {
        taken[i] = false;
        if (parts_are_stored(fuser, fuser->graph->nodes[i]))
            arrput(concats, fuser->graph->nodes[i]);
    }
    if (concats)
        qsort(concats, arrlenu(concats), sizeof *concats, by_origin);
    for (ptrdiff_t i = 0; i < arrlen(concats); i++) {
        if (!takes_parts(fuser, concats[i], taken) || !pass_may_rewrite(fuser->context))
            continue;
        fact_of(fuser, concats[i])->joins = true;
        require(fuser, concats[i]);
        for (int k = 0; k < concats[i]->operand_count; k++)
            require(fuser, kernel_part(concats[i], k, is_required, fuser->facts));
    }
    arrfree(concats);
    arrfree(taken);
}

/* A value that is repeated along an axis is computed once for each repetition, unless it is stored. */
static void offer_repeated(struct fuser *fuser, const struct node *node)
{
    const struct node *operand = behind_reshapes(node->operands[0]);
    int64_t elements = shape_elements(&operand->type.shape);
    bool grows = shape_elements(&node->type.shape) >= 8 * elements;
    if (elements > 1 && grows && op_is(operand->op, CLASS_POINTWISE))
        fact_of(fuser, operand)->offered = true;
}

/* A reshape from one order of memory to another is read against the grain by every kernel that needs it. */
static void offer_reordered(struct fuser *fuser, struct node *node)
{
    const struct type *from = &node->operands[0]->type;
    if (type_row_major(from) && !type_row_major(&node->type) && shape_elements(&node->type.shape) > 1)
        fact_of(fuser, node)->offered = true;
}

/* The position of the largest in a window fits a byte: then the byte is what is stored, not the position. */
static void offer_narrowed(struct fuser *fuser, const struct node *node)
{
    const struct node *operand = node->operands[0];
    if (op_is(operand->op, CLASS_REDUCE) && fact_of(fuser, operand)->users == 1 &&
        element_bytes(node->type.element) < element_bytes(operand->type.element))
        fact_of(fuser, node)->offered = true;
}

/* ---- epilogues ---- */

static struct node *only_user(struct node *const *user, const struct fuser *fuser, const struct node *node)
{
    return fuser->facts[node->id].users == 1 ? user[node->id] : NULL;
}

/* A vector along the result's channels that lies in memory. */
static bool is_bias(const struct node *contraction, const struct node *node, struct node *other)
{
    struct view view;
    int channel = contraction->op == OP_matmul ? node->type.shape.rank - 1 : 1;
    return node->op == OP_add && view_find(other, &view) && fuse_is_leaf(view.base) && view_is_vector(&view, channel);
}

/* Inner values of the chain are f32, the last may be rounded to the type of what is multiplied (library_types.h); each
 * must lie as it is typed. */
static bool may_append(const struct fuser *fuser, const struct node *contraction, const struct node *chain,
                       const struct node *next)
{
    const struct target *target = fuser->context->target;
    struct type a = chain->type, b = next->type;
    bool given = b.element == ELEMENT_F32 || b.element == contraction->operands[0]->type.element;
    a.element = b.element = ELEMENT_NONE;
    return chain->type.element == ELEMENT_F32 && element_is_float(next->type.element) && type_equal(&a, &b) &&
           !target_emulates(target, next->type.element) && given;
}

/* Whether the library that multiplies matrices takes a bias of this type, at this place, for the result of `next`. */
static bool bias_fits(const struct fuser *fuser, const struct node *contraction, const struct node *next,
                      struct node *bias)
{
    struct view view;
    return contraction->op != OP_matmul || !fuser->context->target->matmul_bias_only ||
           (bias->type.element == next->type.element && view_find(bias, &view) &&
            view_offset_aligned(&view, TARGET_VECTOR_BYTES));
}

static void append_epilogue(struct fuser *fuser, struct node *const *user, struct node *contraction)
{
    unsigned epilogues = fuser->context->target->epilogues;
    if (contraction->op == OP_matmul && fuser->context->target->matmul_bias_only)
        epilogues &= EPILOGUE_BIAS;
    struct node *last = contraction, *next = only_user(user, fuser, last);
    fact_of(fuser, contraction)->contraction = contraction;
    if (contraction->op != OP_matmul && (epilogues & EPILOGUE_TAIL)) {
        fuse_find_neck(fuser, user, contraction);
        return;
    }
    if (contraction->op == OP_conv_weight ||
        (contraction->op == OP_conv_data && fuser->context->target->conv_data_plain) ||
        fact_of(fuser, contraction)->required)
        return;
    if (next && next->operand_count == 2 && (epilogues & EPILOGUE_BIAS) && may_append(fuser, contraction, last, next) &&
        is_bias(contraction, next, next->operands[next->operands[0] == last]) &&
        bias_fits(fuser, contraction, next, next->operands[next->operands[0] == last]) &&
        pass_may_rewrite(fuser->context)) {
        last = next;
        next = fact_of(fuser, last)->required ? NULL : only_user(user, fuser, last);
    }
    if (next && (epilogues & EPILOGUE_RELU) && may_append(fuser, contraction, last, next) && node_is_relu(next) &&
        pass_may_rewrite(fuser->context))
        last = next;
    fact_of(fuser, contraction)->contraction = NULL;
    fact_of(fuser, last)->contraction = contraction;
    for (struct node *node = contraction; node != last; node = user[node->id])
        fact_of(fuser, node)->chained = true;
}

void fuse_require(struct fuser *fuser)
{
    ptrdiff_t count = arrlen(fuser->graph->nodes);
    struct node **user = NULL;
    arrsetlen(user, (size_t)count);
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *node = fuser->graph->nodes[i];
        for (int k = 0; k < node->operand_count; k++)
            user[node->operands[k]->id] = node;
        require_operands(fuser, node);
    }
    join_concats(fuser);
    fuse_note_uses(fuser);
    for (ptrdiff_t i = 0; i < count; i++) {
        struct node *node = fuser->graph->nodes[i];
        if (of_pattern(fuser, node))
            continue;
        if (node->op == OP_broadcast)
            offer_repeated(fuser, node);
        if (node->op == OP_cast)
            offer_narrowed(fuser, node);
        if (node->op == OP_reshape)
            offer_reordered(fuser, node);
        if (op_is(node->op, CLASS_CONTRACTION))
            append_epilogue(fuser, user, node);
    }
    arrfree(user);
}
