/* Library kernels as steps: operands by strides, epilogues by their pattern. */
#include "codegen/contraction.h"
#include "codegen/convolution.h"
#include "passes/cost.h"
#include "passes/gelu.h"
#include "passes/memory.h"
#include "passes/rewrite.h"
#include "passes/view.h"

#include <string.h>

static void add_buffer(struct contraction *contraction, struct node *node, int64_t elements,
                       const struct target *target)
{
    contraction->buffers[contraction->buffer_count] = node;
    contraction->offset[contraction->buffer_count] =
        elements * (int64_t)element_bytes(target->storage[node->type.element]);
    contraction->buffer_count++;
    contraction->step.bytes += (uint64_t)memory_bytes(&node->type, target);
}

static struct view operand_view(struct contraction *contraction, const struct node *node, int i,
                                const struct target *target)
{
    struct view view;
    if (!view_contraction_operand(node, i) || !view_find(node->operands[i], &view))
        castor_bug("operand %d of %s can not be read where it lies", i, op_info(node->op)->name);
    add_buffer(contraction, view.base, view.offset, target);
    return view;
}

/* ---- matmul ---- */

/* Batch, row and column stride of a matrix operand; `transpose`: it is stored with rows and columns exchanged. */
static void matrix_strides(const struct view *view, bool transpose, int64_t stride[3])
{
    int rank = view->type.shape.rank;
    view_join_axes(view, 0, rank - 2, &stride[0]);
    stride[1] = view->stride[transpose ? rank - 1 : rank - 2];
    stride[2] = view->stride[transpose ? rank - 2 : rank - 1];
}

/* An axis of size 1 has any stride; the library wants one that looks like a matrix. */
static void tidy_strides(int64_t rows, int64_t columns, int64_t stride[3])
{
    if (columns == 1 && stride[1] != 1)
        stride[2] = 1;
    else if (rows == 1 && stride[2] != 1)
        stride[1] = 1;
    if (columns == 1 && rows > 1 && stride[1] == 1)
        stride[2] = rows;
    if (rows == 1 && stride[2] == 1)
        stride[1] = columns;
}

static void result_strides(const struct node *result, int64_t stride[3])
{
    struct view view = {.type = result->type};
    type_strides(&result->type, view.stride);
    matrix_strides(&view, false, stride);
}

/* One matrix for the whole batch on the right: the batch is more rows on the left. */
static void fold_batch(struct program_matmul *matmul)
{
    if (matmul->batch <= 1 || matmul->b_stride[0] != 0 || matmul->a_stride[0] != matmul->m * matmul->a_stride[1] ||
        matmul->d_stride[0] != matmul->m * matmul->d_stride[1])
        return;
    matmul->m *= matmul->batch;
    matmul->batch = 1;
}

static void make_matmul(struct contraction *contraction, const struct node *node, const struct node *result,
                        const struct target *target)
{
    struct program_step *step = &contraction->step;
    struct program_matmul *matmul = &step->matmul;
    int rank = node->type.shape.rank;
    step->kind = PROGRAM_MATMUL_STEP;
    matmul->batch = 1;
    for (int i = 0; i < rank - 2; i++)
        matmul->batch *= node->type.shape.dimension[i];
    matmul->m = node->type.shape.dimension[rank - 2];
    matmul->n = node->type.shape.dimension[rank - 1];
    matmul->k = node->operands[0]->type.shape.dimension[node->attributes->transpose_a ? rank - 2 : rank - 1];
    struct view a = operand_view(contraction, node, 0, target), b = operand_view(contraction, node, 1, target);
    matrix_strides(&a, node->attributes->transpose_a, matmul->a_stride);
    matrix_strides(&b, node->attributes->transpose_b, matmul->b_stride);
    result_strides(result, matmul->d_stride);
    fold_batch(matmul);
    tidy_strides(matmul->m, matmul->k, matmul->a_stride);
    tidy_strides(matmul->k, matmul->n, matmul->b_stride);
    if (matmul->n > 1) /* a single column lies by rows as it is, which is where a bias can be added */
        tidy_strides(matmul->m, matmul->n, matmul->d_stride);
    matmul->a = (enum program_element)target->storage[a.type.element];
    matmul->b = (enum program_element)target->storage[b.type.element];
    matmul->d = (enum program_element)target->storage[result->type.element];
    step->flops = 2 * (uint64_t)(matmul->batch * matmul->m * matmul->n * matmul->k);
}

/* ---- epilogues ---- */

/* Adds what `node` appends to the chain whose present end is `chain`. */
static unsigned append(struct contraction *contraction, const struct node *node, const struct node *chain,
                       unsigned epilogue, const struct target *target)
{
    struct view view;
    if (node_is_relu(node) && !(epilogue & ~(unsigned)PROGRAM_EPILOGUE_BIAS))
        return PROGRAM_EPILOGUE_RELU;
    struct node *other = node->operands[node->operands[0] == chain ? 1 : 0];
    if (node->op != OP_add || !view_find(other, &view))
        castor_bug("%s is no epilogue", op_info(node->op)->name);
    int channel = contraction->step.kind == PROGRAM_CONV_STEP ? 1 : node->type.shape.rank - 1;
    unsigned kind = PROGRAM_EPILOGUE_ADD;
    if (view_is_vector(&view, channel) && !epilogue) {
        kind = PROGRAM_EPILOGUE_BIAS;
        enum program_element element = (enum program_element)target->storage[other->type.element];
        if (contraction->step.kind == PROGRAM_CONV_STEP)
            contraction->step.conv.bias = element;
        else
            contraction->step.matmul.bias = element;
    } else if (!view_is_alias(&view) || (epilogue & PROGRAM_EPILOGUE_ADD) ||
               memcmp(other->type.order, node->type.order, sizeof node->type.order) != 0 ||
               target->storage[other->type.element] != target->storage[node->type.element])
        castor_bug("an addend lies otherwise than the result");
    add_buffer(contraction, view.base, view.offset, target);
    return kind;
}

/* From the contraction to the node that is stored: at most three nodes of one kernel, each the operand of the next. */
static unsigned collect_epilogue(struct contraction *contraction, const struct kernel_use *use,
                                 const struct target *target)
{
    const struct node *chain[4];
    int length = 0;
    for (const struct node *node = use->stores[0]; node != use->contraction;) {
        if (length == 3)
            castor_bug("an epilogue of more than three nodes");
        chain[length++] = node;
        const struct node *next = NULL;
        for (int i = 0; i < node->operand_count; i++)
            if (node->operands[i]->kernel == use->number)
                next = node->operands[i];
        if (!next)
            castor_bug("an epilogue that does not begin at its contraction");
        node = next;
    }
    chain[length] = use->contraction;
    unsigned epilogue = 0;
    for (; length > 0; length--)
        epilogue |= append(contraction, chain[length - 1], chain[length], epilogue, target);
    return epilogue;
}

/* What the convolution stores besides its result. */
static unsigned collect_statistics(struct contraction *contraction, const struct kernel_use *use,
                                   const struct target *target)
{
    unsigned epilogue = 0;
    for (int i = 1; i < use->store_count; i++) {
        struct node *node = use->stores[i];
        if (!kernel_is_statistic(use, node))
            continue;
        epilogue |= node->op == OP_sum ? PROGRAM_EPILOGUE_SUM : PROGRAM_EPILOGUE_M2;
        add_buffer(contraction, node, 0, target);
    }
    if (epilogue && use->contraction->op != OP_conv && use->contraction->op != OP_conv_data)
        castor_bug("%s takes no such statistics", op_info(use->contraction->op)->name);
    return epilogue;
}

/* The gelu is the result, the sum that it is of lies beside it. */
static struct contraction make_gelu(const struct kernel_use *use, const struct target *target)
{
    struct contraction contraction = {0};
    struct gelu_product found;
    struct view bias;
    if (use->store_count != 2 || !gelu_match_product(use->stores[1], &found) || found.sum != use->stores[0] ||
        !view_find(found.bias, &bias))
        castor_bug("a product with gelu that is none");
    make_matmul(&contraction, found.product, found.product, target);
    contraction.step.matmul.d = (enum program_element)target->storage[found.result->type.element];
    contraction.step.matmul.bias = (enum program_element)target->storage[bias.base->type.element];
    contraction.step.matmul.epilogue = PROGRAM_EPILOGUE_BIAS | PROGRAM_EPILOGUE_GELU;
    add_buffer(&contraction, found.result, 0, target);
    add_buffer(&contraction, bias.base, bias.offset, target);
    add_buffer(&contraction, found.sum, 0, target);
    for (int i = 0; i < use->computed_count; i++)
        if (use->computed[i] != found.product)
            contraction.step.flops += (uint64_t)node_flops(use->computed[i]);
    return contraction;
}

static void add_tail(struct contraction *contraction, const struct kernel_use *use, const struct target *target,
                     struct arena *arena)
{
    struct convolution_tail tail = convolution_tail_make(use, target, arena);
    for (int i = 0; i < tail.total_count; i++)
        add_buffer(contraction, tail.totals[i], 0, target);
    if (tail.check)
        add_buffer(contraction, tail.check, 0, target);
    for (int i = 0; i < tail.finished_count; i++)
        add_buffer(contraction, tail.finished[i], 0, target);
    for (int i = 0; i < tail.load_count; i++)
        add_buffer(contraction, tail.loads[i], 0, target);
    contraction->step.flops = (uint64_t)cost_kernel(use, target).flops;
    contraction->tail = arena_copy(arena, &tail, sizeof tail);
}

struct contraction contraction_make(const struct kernel_use *use, const struct target *target, struct arena *arena)
{
    struct contraction contraction = {0};
    struct node *node = use->contraction, *result = use->stores[0];
    if (use->gelu)
        return make_gelu(use, target);
    if (node->op == OP_matmul) {
        make_matmul(&contraction, node, result, target);
    } else {
        operand_view(&contraction, node, 0, target);
        operand_view(&contraction, node, 1, target);
        convolution_make(&contraction, node, result, target);
    }
    add_buffer(&contraction, result, 0, target);
    bool tail = kernel_has_tail(use) && target->epilogues & EPILOGUE_TAIL;
    unsigned epilogue = tail ? 0 : collect_epilogue(&contraction, use, target);
    epilogue |= collect_statistics(&contraction, use, target);
    if (tail)
        add_tail(&contraction, use, target, arena);
    if (node->op == OP_matmul)
        contraction.step.matmul.epilogue = epilogue;
    else
        contraction.step.conv.epilogue = epilogue;
    return contraction;
}
