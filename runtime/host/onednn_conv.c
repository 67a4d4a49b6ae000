/* Convolutions by oneDNN.
 *
 * Formats of convolutions. Weights are kept row-major (they are the user's parameters); the library's fast code wants
 * them blocked, and reordering them at each call costs about 1 % of the convolution. Activations are taken as they lie
 * where the library has fast code for that; the table `conv_attempts` says what is tried next. Measured on two AVX-512
 * cores, batch 128, f32, GFLOP/s: 32 -> 64 channels 3x3 on 14x14: channels-last 191, blocked 235 before its reorders,
 * the library's plain code ("ref") 0.1. So an activation is reordered only to avoid the plain code. */
#include "runtime/host/onednn_plan.h"

#include <string.h>

/* The library's plain loops, a thousand times slower than its generated code. */
static bool is_plain_code(dnnl_primitive_desc_t descriptor)
{
    return strncmp(onednn_name(descriptor), "ref", 3) == 0;
}

enum { OPERAND_X, OPERAND_WEIGHT, OPERAND_Y, OPERAND_COUNT };

struct conv_formats {
    dnnl_memory_desc_t given[OPERAND_COUNT]; /* as they lie in memory */
    dnnl_memory_desc_t free[OPERAND_COUNT];  /* left to the library */
    dnnl_memory_desc_t bias;
};

/* Which activations are taken as they lie, in the order in which it is tried; the weight is always the library's. */
static const struct {
    bool x_free, y_free;
} conv_attempts[] = {{false, false}, {false, true}, {true, false}, {true, true}};

static bool conv_formats_set(struct conv_formats *formats, const struct program_conv *conv)
{
    static const dnnl_format_tag_t tags[PROGRAM_SPATIAL][4] = {
        {dnnl_ncw, dnnl_nwc, dnnl_oiw, dnnl_goiw},
        {dnnl_nchw, dnnl_nhwc, dnnl_oihw, dnnl_goihw},
        {dnnl_ncdhw, dnnl_ndhwc, dnnl_oidhw, dnnl_goidhw},
    };
    const dnnl_format_tag_t *tag = tags[conv->spatial - 1];
    bool grouped = conv->groups > 1;
    int rank[OPERAND_COUNT] = {conv->spatial + 2, conv->spatial + 2 + grouped, conv->spatial + 2};
    dnnl_dims_t dims[OPERAND_COUNT] = {{conv->n, conv->c}, {0}, {conv->n, conv->o}};
    int64_t *weight = dims[OPERAND_WEIGHT];
    if (grouped)
        *weight++ = conv->groups;
    weight[0] = conv->o / conv->groups;
    weight[1] = conv->c / conv->groups;
    for (int i = 0; i < conv->spatial; i++) {
        dims[OPERAND_X][i + 2] = conv->x[i];
        weight[i + 2] = conv->kernel[i];
        dims[OPERAND_Y][i + 2] = conv->y[i];
    }
    dnnl_data_type_t types[OPERAND_COUNT] = {onednn_type(conv->x_element), onednn_type(conv->weight_element),
                                             onednn_type(conv->y_element)};
    /* With one channel both orders are the same bytes, and the library's code for first layers asks for this one. */
    dnnl_format_tag_t plain[OPERAND_COUNT] = {tag[conv->channels_last && conv->c > 1], tag[grouped ? 3 : 2],
                                              tag[conv->channels_last && conv->o > 1]};
    for (int i = 0; i < OPERAND_COUNT; i++)
        if (dnnl_memory_desc_init_by_tag(&formats->given[i], rank[i], dims[i], types[i], plain[i]) != dnnl_success ||
            dnnl_memory_desc_init_by_tag(&formats->free[i], rank[i], dims[i], types[i], dnnl_format_tag_any) !=
                dnnl_success)
            return false;
    if (!(conv->epilogue & PROGRAM_EPILOGUE_BIAS))
        return true;
    dnnl_dims_t bias = {conv->o};
    return dnnl_memory_desc_init_by_tag(&formats->bias, 1, bias, onednn_type(conv->bias), dnnl_x) == dnnl_success;
}

/* The type of both operands of the convolution that a gradient belongs to. The gradient of a half operand may be f32,
 * but the library has no convolution of operands of two types. */
static dnnl_data_type_t forward_type(const struct program_conv *conv)
{
    return onednn_type(conv->kind == PROGRAM_CONV_DATA ? conv->weight_element : conv->x_element);
}

/* The primitive for one choice of formats; NULL when the library has none. */
static dnnl_primitive_desc_t conv_descriptor(struct onednn_plan *plan, const struct program_conv *conv,
                                             const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *weight,
                                             const dnnl_memory_desc_t *y, const dnnl_memory_desc_t *bias,
                                             dnnl_primitive_attr_t attributes)
{
    dnnl_dims_t stride = {0}, dilation = {0}, low = {0}, high = {0};
    for (int i = 0; i < conv->spatial; i++) {
        stride[i] = conv->stride[i];
        dilation[i] = conv->dilation[i] - 1;
        low[i] = conv->pad_low[i];
        high[i] = conv->pad_high[i];
    }
    dnnl_engine_t engine = plan->onednn->engine;
    dnnl_convolution_desc_t forward, backward;
    dnnl_primitive_desc_t hint = NULL, descriptor = NULL;
    dnnl_memory_desc_t operands[] = {*x, *weight};
    if (conv->kind != PROGRAM_CONV)
        operands[0].data_type = operands[1].data_type = forward_type(conv);
    if (dnnl_dilated_convolution_forward_desc_init(&forward, dnnl_forward_training, dnnl_convolution_direct,
                                                   &operands[0], &operands[1], bias, y, stride, dilation, low,
                                                   high) != dnnl_success ||
        dnnl_primitive_desc_create(&hint, &forward, attributes, engine, NULL) != dnnl_success)
        return NULL;
    if (conv->kind == PROGRAM_CONV)
        return hint;
    dnnl_status_t status =
        conv->kind == PROGRAM_CONV_DATA
            ? dnnl_dilated_convolution_backward_data_desc_init(&backward, dnnl_convolution_direct, x, weight, y, stride,
                                                               dilation, low, high)
            : dnnl_dilated_convolution_backward_weights_desc_init(&backward, dnnl_convolution_direct, x, weight, NULL,
                                                                  y, stride, dilation, low, high);
    if (status == dnnl_success)
        dnnl_primitive_desc_create(&descriptor, &backward, attributes, engine, hint);
    dnnl_primitive_desc_destroy(hint);
    return descriptor;
}

/* The library's code for windows of one element takes every stride-th place of x apart (or puts it there) by whole
 * vectors, whatever the number of channels, where channels are last: behind the last place it reads and writes memory
 * that is not x's (2.6.3). */
static bool leaves_memory(const struct program_conv *conv, dnnl_primitive_desc_t descriptor)
{
    enum { VECTOR = 16 };
    bool single = true, strided = false;
    for (int i = 0; i < conv->spatial; i++) {
        single = single && conv->kernel[i] == 1;
        strided = strided || conv->stride[i] > 1;
    }
    return single && strided && conv->channels_last && conv->c % VECTOR && strstr(onednn_name(descriptor), "1x1");
}

/* The first attempt for which the library has fast code, else the last that it can do at all. */
static dnnl_primitive_desc_t conv_choose_for(struct onednn_plan *plan, const struct program_conv *conv,
                                             const struct conv_formats *formats, bool adds)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t chosen = NULL;
    if (!onednn_epilogue_attributes(&attributes, adds ? &formats->given[OPERAND_Y] : NULL)) {
        dnnl_primitive_attr_destroy(attributes);
        return NULL;
    }
    if (plan->onednn->own_scratch)
        dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    const dnnl_memory_desc_t *bias = conv->epilogue & PROGRAM_EPILOGUE_BIAS ? &formats->bias : NULL;
    for (size_t i = 0; i < sizeof conv_attempts / sizeof *conv_attempts; i++) {
        const dnnl_memory_desc_t *x = conv_attempts[i].x_free ? formats->free : formats->given;
        const dnnl_memory_desc_t *y = conv_attempts[i].y_free ? formats->free : formats->given;
        dnnl_primitive_desc_t next =
            conv_descriptor(plan, conv, &x[OPERAND_X], &formats->free[OPERAND_WEIGHT], &y[OPERAND_Y], bias, attributes);
        if (!next)
            continue;
        if (chosen)
            dnnl_primitive_desc_destroy(chosen);
        chosen = next;
        if (!is_plain_code(chosen) && (conv_attempts[i].x_free || !leaves_memory(conv, chosen)))
            break;
    }
    dnnl_primitive_attr_destroy(attributes);
    return chosen;
}

/* The same, and whether it adds the addend. The library's convolution by gemm, which CPUs without AVX-512 get for some
 * shapes, takes addends from wrong places when channels are last (2.6.3: groups, and channels that are no multiple of
 * its block). */
static dnnl_primitive_desc_t conv_choose(struct onednn_plan *plan, const struct program_conv *conv,
                                         const struct conv_formats *formats, bool *adds)
{
    *adds = onednn_adds(conv->epilogue);
    dnnl_primitive_desc_t chosen = conv_choose_for(plan, conv, formats, *adds);
    if (!chosen || !*adds || !strstr(onednn_name(chosen), "gemm"))
        return chosen;
    dnnl_primitive_desc_destroy(chosen);
    *adds = false;
    return conv_choose_for(plan, conv, formats, *adds);
}

/* The slot in which the library wants an operand that lies in `buffer` in the format `given`; reordered if need be. */
static int add_operand(struct onednn_plan *plan, int buffer, const dnnl_memory_desc_t *given,
                       const dnnl_memory_desc_t *wanted)
{
    int slot = onednn_add_slot(plan, given, buffer);
    if (slot < 0 || dnnl_memory_desc_equal(given, wanted))
        return slot;
    int reordered = onednn_add_slot(plan, wanted, -1);
    return reordered >= 0 && onednn_add_reorder(plan, slot, reordered) ? reordered : -1;
}

/* What the library calls operands and result of each kind, and which operand the result is. */
static const struct {
    int argument[OPERAND_COUNT];
    dnnl_query_t query[OPERAND_COUNT];
    int operand[2], result; /* in the order of the step's buffers */
} conv_roles[] = {
    [PROGRAM_CONV] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
                      {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
                      {OPERAND_X, OPERAND_WEIGHT},
                      OPERAND_Y},
    [PROGRAM_CONV_DATA] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST},
                           {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
                           {OPERAND_WEIGHT, OPERAND_Y},
                           OPERAND_X},
    [PROGRAM_CONV_WEIGHT] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST},
                             {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md},
                             {OPERAND_X, OPERAND_Y},
                             OPERAND_WEIGHT},
};

bool onednn_prepare_conv(struct onednn_plan *plan, const struct program_conv *conv)
{
    struct conv_formats formats;
    if (conv->epilogue && conv->kind != PROGRAM_CONV) /* the library passes over what a gradient is to append */
        return false;
    if (!conv_formats_set(&formats, conv))
        return false;
    bool adds;
    dnnl_primitive_desc_t descriptor = conv_choose(plan, conv, &formats, &adds);
    if (!descriptor)
        return false;
    dnnl_memory_desc_t wanted[OPERAND_COUNT];
    for (int i = 0; i < OPERAND_COUNT; i++)
        wanted[i] = *dnnl_primitive_desc_query_md(descriptor, conv_roles[conv->kind].query[i], 0);

    int slot[OPERAND_COUNT], result = conv_roles[conv->kind].result;
    for (int i = 0; i < 2; i++) {
        int operand = conv_roles[conv->kind].operand[i], before = plan->stage_count;
        slot[operand] = add_operand(plan, i, &formats.given[operand], &wanted[operand]);
        if (slot[operand] < 0) {
            dnnl_primitive_desc_destroy(descriptor);
            return false;
        }
        if (operand == OPERAND_WEIGHT && plan->stage_count > before)
            plan->stages[before].weight = true;
    }
    dnnl_memory_desc_t scratch = *dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md, 0);
    struct stage *stage = onednn_add_contraction(plan, descriptor);
    if (!stage)
        return false;
    if (dnnl_memory_desc_get_size(&scratch))
        onednn_add_argument(stage, DNNL_ARG_SCRATCHPAD, onednn_add_slot(plan, &scratch, -1));
    int stored = slot[result] = onednn_add_slot(plan, &formats.given[result], 2);
    bool same = dnnl_memory_desc_equal(&formats.given[result], &wanted[result]);
    if (!same)
        slot[result] = onednn_add_slot(plan, &wanted[result], -1);
    for (int i = 0; i < OPERAND_COUNT; i++)
        onednn_add_argument(stage, conv_roles[conv->kind].argument[i], slot[i]);
    onednn_add_epilogue(plan, stage, conv->epilogue, adds, &formats.bias, &formats.given[OPERAND_Y]);
    plan->result = slot[result];
    if (same)
        return true;
    if (!onednn_add_reorder(plan, slot[result], stored))
        return false;
    plan->stages[plan->stage_count - 1].last = true;
    return true;
}
