/* What a row keeps between its phases on the host: softmax's powers of e, say, are summed by one loop over the row and
 * divided by the next, which would compute them again. A costly value that an earlier phase made is kept in an array of
 * vectors, small enough to fit into the first cache; the later phase takes it from there. */
#include "codegen/print_host.h"

#include <math.h>
#include <stb/stb_ds.h>

enum { COSTLY = 8, ROW_MAX = 2048, KEPT_MAX = 2 }; /* operations; elements of a row; values */

struct host_keep {
    int *same;     /* by value: the first value that is equal to it, in whatever phase */
    bool *gives;   /* by value: what it is is kept */
    bool *takes;   /* by value: it is taken from what same[it] keeps */
    bool *dropped; /* by value: nothing needs it any more */
};

static bool equal_indices(const struct affine *a, const struct affine *b)
{
    return a == b || (a && b && affine_equal(a, b));
}

static bool equal_values(const struct host_keep *keep, const struct value *a, const struct value *b)
{
    bool equal = a->kind == b->kind && a->lane == b->lane && a->domain == b->domain && a->op == b->op &&
                 a->element == b->element && a->operand_count == b->operand_count && a->low == b->low &&
                 a->high == b->high && a->stride == b->stride && a->buffer == b->buffer && a->integer == b->integer &&
                 a->reduction == b->reduction && a->constant == b->constant &&
                 signbit(a->constant) == signbit(b->constant) && equal_indices(a->index, b->index);
    for (int i = 0; i < a->operand_count && equal; i++)
        equal = keep->same[a->operands[i]] == keep->same[b->operands[i]];
    return equal;
}

static bool is_costly(const struct value *value)
{
    return value->kind == VALUE_POINTWISE && op_info(value->op)->flops >= COSTLY && value->vector;
}

/* The first value equal to this one in the phases before; the value itself where there is none. */
static int find_same(const struct printer *printer, const struct host_keep *keep, ptrdiff_t phase, int number)
{
    const struct value *values = printer->lowered->values;
    for (ptrdiff_t i = 0; i < phase; i++) {
        const struct item *items = printer->nest->phases[i].items;
        for (ptrdiff_t k = 0; k < arrlen(items); k++)
            if (items[k].kind == ITEM_VALUE && equal_values(keep, &values[items[k].number], &values[number]))
                return keep->same[items[k].number];
    }
    return number;
}

static void need(bool *needed, const struct value *value)
{
    for (int i = 0; i < value->operand_count; i++)
        needed[value->operands[i]] = true;
}

static void need_for_watch(const struct lowered *lowered, bool *needed, const struct watch *watch)
{
    for (ptrdiff_t i = 0; i < arrlen(watch->triggers); i++)
        needed[watch->triggers[i]] = true;
    for (ptrdiff_t i = 0; i < arrlen(watch->values); i++) {
        needed[watch->values[i].value] = true;
        need(needed, &lowered->values[watch->values[i].value]);
    }
}

/* Drops what only values needed that are taken now. */
static void drop_unused(const struct printer *printer, struct host_keep *keep, const struct phase *phase)
{
    const struct lowered *lowered = printer->lowered;
    bool *needed = ARENA_ARRAY(printer->arena, bool, arrlenu(lowered->values));
    for (ptrdiff_t i = arrlen(phase->items) - 1; i >= 0; i--) {
        int number = phase->items[i].number;
        switch (phase->items[i].kind) {
        case ITEM_VALUE:
            if (!needed[number])
                keep->dropped[number] = true;
            else if (!keep->takes[number])
                need(needed, &lowered->values[number]);
            break;
        case ITEM_STORE:
            needed[lowered->stores[number].value] = true;
            if (lowered->stores[number].slice >= 0)
                needed[lowered->stores[number].slice] = true;
            break;
        case ITEM_STEP:
            needed[lowered->reductions[number].value] = true;
            if (lowered->reductions[number].position >= 0)
                needed[lowered->reductions[number].position] = true;
            break;
        case ITEM_WATCH:
            need_for_watch(lowered, needed, &lowered->watches[number]);
            break;
        default:
            break;
        }
    }
}

static bool keeps(const struct loop_nest *nest)
{
    return nest->shape == NEST_LOOPS && nest->vector_inner && !nest->inner_count && !nest->split_vector &&
           arrlen(nest->phases) > 1 && nest->vector_extent <= ROW_MAX;
}

struct host_keep *host_keep_find(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    size_t count = arrlenu(printer->lowered->values);
    if (!keeps(nest))
        return NULL;
    struct host_keep *keep = ARENA_NEW(printer->arena, struct host_keep);
    *keep = (struct host_keep){ARENA_ARRAY(printer->arena, int, count), ARENA_ARRAY(printer->arena, bool, count),
                               ARENA_ARRAY(printer->arena, bool, count), ARENA_ARRAY(printer->arena, bool, count)};
    for (size_t i = 0; i < count; i++)
        keep->same[i] = (int)i;
    int kept = 0;
    for (ptrdiff_t i = 0; i < arrlen(nest->phases); i++) {
        const struct item *items = nest->phases[i].items;
        bool taken = false;
        for (ptrdiff_t k = 0; k < arrlen(items); k++) {
            int number = items[k].number;
            if (items[k].kind != ITEM_VALUE)
                continue;
            int same = keep->same[number] = find_same(printer, keep, i, number);
            if (same == number || !is_costly(&printer->lowered->values[number]) ||
                (!keep->gives[same] && kept == KEPT_MAX))
                continue;
            kept += !keep->gives[same];
            keep->gives[same] = keep->takes[number] = taken = true;
        }
        if (taken)
            drop_unused(printer, keep, &nest->phases[i]);
    }
    return kept ? keep : NULL;
}

void host_keep_declare(struct printer *printer)
{
    int64_t steps = (printer->nest->vector_extent + LANES - 1) / LANES;
    for (ptrdiff_t i = 0; printer->keep && i < arrlen(printer->lowered->values); i++)
        if (printer->keep->gives[i])
            text_line(&printer->text, "%s kept%d[%lld];", print_lane_type(printer, printer->lowered->values[i].lane),
                      (int)i, (long long)steps);
}

static const char *place_of(const struct printer *printer, int number)
{
    return arena_printf(printer->arena, "kept%d[i%d / %d]", number, printer->nest->vector, LANES);
}

const char *host_keep_taken(const struct printer *printer, int number)
{
    bool taken = printer->keep && printer->keep->takes[number];
    return taken ? place_of(printer, printer->keep->same[number]) : NULL;
}

const char *host_keep_given(const struct printer *printer, int number)
{
    return printer->keep && printer->keep->gives[number] ? place_of(printer, number) : NULL;
}

bool host_keep_drops(const struct printer *printer, int number)
{
    return printer->keep && printer->keep->dropped[number];
}
