/* What a team keeps of its row: a value that several phases take from memory is loaded by the first of them and stays
 * in registers, a lane's elements one after the other. The loop over a short row is unrolled for it, since registers
 * have no addresses. */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

enum { STEPS_MAX = 8, KEPT_MAX = 32 }; /* elements of a value that a lane keeps; of all values */

/* The phases of a row that its team computes: the last one of CUDA_ROWS_COLUMNS is done by columns. */
static ptrdiff_t team_phases(const struct printer *printer)
{
    return arrlen(printer->nest->phases) - (printer->task->scheme == CUDA_ROWS_COLUMNS);
}

int64_t cuda_keep_steps(const struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    int64_t steps = (nest->vector_extent + LANES - 1) / LANES;
    bool team = printer->task->scheme == CUDA_ROWS || printer->task->scheme == CUDA_ROWS_COLUMNS;
    bool keeps = team && nest->vector_inner && !nest->inner_count && team_phases(printer) > 1;
    return keeps && steps <= STEPS_MAX ? steps : 0;
}

static bool is_element(const struct printer *printer, const struct item *item)
{
    const struct value *value = &printer->lowered->values[item->number];
    return item->kind == ITEM_VALUE && value->kind == VALUE_LOAD && !value->operand_count &&
           affine_vector(printer->lowered, value->index);
}

static bool same_element(const struct printer *printer, int a, int b)
{
    const struct value *x = &printer->lowered->values[a], *y = &printer->lowered->values[b];
    return x->buffer == y->buffer && x->element == y->element && affine_equal(x->index, y->index);
}

/* The load of an equal element in phases `from` to `until`; -1. */
static int find_equal(const struct printer *printer, ptrdiff_t from, ptrdiff_t until, int number)
{
    for (ptrdiff_t i = from; i < until; i++) {
        const struct item *items = printer->nest->phases[i].items;
        for (ptrdiff_t k = 0; k < arrlen(items); k++)
            if (is_element(printer, &items[k]) && same_element(printer, items[k].number, number))
                return items[k].number;
    }
    return -1;
}

/* Whether `number` is kept: values are, in the order of their first loads, up to what registers hold. To declare them
 * all is the same walk. */
static bool is_kept(struct printer *printer, int number, bool declare)
{
    int64_t steps = cuda_keep_steps(printer), kept = 0;
    ptrdiff_t phases = team_phases(printer);
    for (ptrdiff_t i = 0; i < phases && steps; i++) {
        const struct item *items = printer->nest->phases[i].items;
        for (ptrdiff_t k = 0; k < arrlen(items); k++) {
            int own = items[k].number;
            if (!is_element(printer, &items[k]) || find_equal(printer, 0, i, own) >= 0 ||
                find_equal(printer, i + 1, phases, own) < 0 || kept + steps > KEPT_MAX)
                continue;
            kept += steps;
            if (declare)
                text_line(&printer->text, "%s kept%d[%lld];",
                          print_lane_type(printer, printer->lowered->values[own].lane), own, (long long)steps);
            else if (own == number)
                return true;
        }
    }
    return false;
}

void cuda_keep_declare(struct printer *printer)
{
    is_kept(printer, -1, true);
}

int cuda_keep_taken(struct printer *printer, int phase, const struct item *item)
{
    if (!cuda_keep_steps(printer) || !is_element(printer, item) || phase >= team_phases(printer))
        return -1;
    int first = find_equal(printer, 0, phase, item->number);
    return first >= 0 && is_kept(printer, first, false) ? first : -1;
}

bool cuda_keep_gives(struct printer *printer, const struct item *item)
{
    return is_element(printer, item) && is_kept(printer, item->number, false);
}
