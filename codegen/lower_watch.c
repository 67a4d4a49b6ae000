/* Where overflows begin.
 *
 * In a graph that is scaled, each body gets a watch behind its values: where a lane of what leaves the body is not
 * finite (of what is checked for inf and NaN anyway; else of what is stored), the values of the body are looked at one
 * by one, and each that is not finite though its operands are tells its node's number (its place in the graph) to the
 * variable train/overflow, which keeps the smallest. Operands have smaller numbers than their users, so what is left at
 * the end of a step is where its overflow began. In steps without overflow that costs a test of what is in registers.
 *
 * A value of another generated kernel was looked at there; what a library made is looked at where it is loaded first,
 * and so is what is fed. The largest and smallest of several are no origin, nor are constants: masks are made of -inf.
 * Values of the update are not watched: it works on what has been found to be finite. */
#include "codegen/lower.h"

#include <stb/stb_ds.h>

struct watching {
    struct lowerer *lowerer;
    ptrdiff_t first; /* integers[first + i] is the number of watched[i] */
    struct watch watch;
};

static bool is_result_of_update(const struct value *value)
{
    return !value->node || value->node->region == REGION_UPDATE;
}

/* Whether the value can be where an overflow begins. */
static bool can_begin(const struct kernel_use *use, const struct value *value)
{
    if (value->lane != LANE_FLOAT || is_result_of_update(value))
        return false;
    switch (value->kind) {
    case VALUE_POINTWISE:
    case VALUE_ROUND:
        return true;
    case VALUE_LOAD:
        return value->node->op == OP_input || (value->node->kernel > 0 && use->libraries[value->node->kernel - 1] &&
                                               !op_is(value->node->op, CLASS_REDUCE));
    case VALUE_RESULT:
        return value->node->op == OP_sum || value->node->op == OP_m2 || value->node->op == OP_prod ||
               value->node->op == OP_tap_sums;
    default:
        return false;
    }
}

static bool is_check(const struct value *value)
{
    return value->kind == VALUE_POINTWISE && value->op == OP_isfinite;
}

/* The slot of the node's number among the kernel's integers. */
static int number_slot(struct watching *watching, const struct node *node)
{
    struct lowered *out = &watching->lowerer->out;
    for (ptrdiff_t i = 0; i < arrlen(out->watched); i++)
        if (out->watched[i] == node)
            return (int)(watching->first + i);
    arrput(out->watched, node);
    arrput(out->integers, node->id + 1);
    return (int)arrlen(out->integers) - 1;
}

static void add_triggers(struct watching *watching, const struct item *items)
{
    const struct lowered *out = &watching->lowerer->out;
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_VALUE && is_check(&out->values[items[i].number]))
            arrput(watching->watch.triggers, items[i].number);
    bool checked = arrlen(watching->watch.triggers) > 0;
    for (ptrdiff_t i = 0; i < arrlen(items) && !checked; i++) {
        int value = items[i].kind == ITEM_STORE ? out->stores[items[i].number].value : -1;
        const struct node *stored = value >= 0 ? out->buffers[out->stores[items[i].number].buffer].node : NULL;
        if (stored && stored->region != REGION_UPDATE && out->values[value].lane == LANE_FLOAT &&
            out->values[value].kind != VALUE_CONSTANT)
            arrput(watching->watch.triggers, value);
    }
}

/* Puts a watch into the body, behind its last value. */
static void watch_body(struct watching *watching, struct item **items)
{
    struct lowered *out = &watching->lowerer->out;
    watching->watch = (struct watch){0};
    add_triggers(watching, *items);
    for (ptrdiff_t i = 0; i < arrlen(*items) && arrlen(watching->watch.triggers); i++)
        if ((*items)[i].kind == ITEM_VALUE && can_begin(watching->lowerer->use, &out->values[(*items)[i].number])) {
            int value = (*items)[i].number;
            struct watched_value watched = {value, number_slot(watching, out->values[value].node)};
            arrput(watching->watch.values, watched);
        }
    if (!arrlen(watching->watch.values)) {
        arrfree(watching->watch.triggers);
        return;
    }
    ptrdiff_t at = arrlen(*items);
    while ((*items)[at - 1].kind != ITEM_VALUE)
        at--;
    arrput(out->watches, watching->watch);
    arrins(*items, at, ((struct item){ITEM_WATCH, (int)arrlen(out->watches) - 1}));
}

void lower_watch(struct lowerer *lowerer)
{
    struct lowered *out = &lowerer->out;
    out->overflow = -1;
    if (!lowerer->use->overflow)
        return;
    struct watching watching = {.lowerer = lowerer, .first = arrlen(out->integers)};
    for (ptrdiff_t i = 0; i < arrlen(out->nests); i++) {
        for (ptrdiff_t k = 0; k < arrlen(out->nests[i].phases); k++)
            watch_body(&watching, &out->nests[i].phases[k].items);
        for (int k = 0; k < BODY_COUNT; k++)
            watch_body(&watching, &out->nests[i].bodies[k]);
    }
    if (!arrlen(out->watches))
        return;
    arrput(out->buffers, ((struct kernel_buffer){.node = lowerer->use->overflow}));
    out->overflow = (int)arrlen(out->buffers) - 1;
}
