/* What is the same in all rows of a thread's column: a channel's mean, what is computed from it. It stands before the
 * loop over the rows. */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

static bool variable_is_fixed(const struct printer *printer, int number)
{
    const struct index_variable *variable = &printer->lowered->variables[number];
    if (variable->kind == INDEX_MERGED || variable->kind == INDEX_GIVEN)
        return true;
    if (variable->kind != INDEX_LOOP)
        return printer->fixed_index[number];
    for (int i = 0; i < printer->nest->row_count; i++)
        if (printer->nest->row_loops[i] == number)
            return false;
    return true;
}

static bool index_is_fixed(const struct printer *printer, const struct affine *index)
{
    for (int i = 0; i < index->count; i++)
        if (!variable_is_fixed(printer, index->terms[i].variable))
            return false;
    return true;
}

static bool value_is_fixed(const struct printer *printer, const struct value *value)
{
    if (value->kind == VALUE_RESULT || (value->index && !index_is_fixed(printer, value->index)))
        return false;
    for (int i = 0; i < value->operand_count; i++) {
        int operand = value->operands[i];
        if (printer->lowered->values[operand].depth > BODY_NEST && !printer->fixed_value[operand])
            return false;
    }
    return true;
}

void cuda_fixed_begin(struct printer *printer)
{
    const struct item *items = arrlast(printer->nest->phases).items;
    printer->fixed_value = ARENA_ARRAY(printer->arena, bool, arrlen(printer->lowered->values) + 1);
    printer->fixed_index = ARENA_ARRAY(printer->arena, bool, arrlen(printer->lowered->variables) + 1);
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int number = items[i].number;
        if (items[i].kind == ITEM_INDEX) {
            printer->fixed_index[number] = index_is_fixed(printer, printer->lowered->variables[number].of);
            if (printer->fixed_index[number])
                cuda_print_index(printer, number);
        } else if (items[i].kind == ITEM_VALUE) {
            printer->fixed_value[number] = value_is_fixed(printer, &printer->lowered->values[number]);
            if (printer->fixed_value[number])
                cuda_print_value(printer, number);
        }
    }
}

void cuda_fixed_end(struct printer *printer)
{
    printer->fixed_value = printer->fixed_index = NULL;
}

bool cuda_is_fixed(const struct printer *printer, const struct item *item)
{
    return printer->fixed_value && ((item->kind == ITEM_VALUE && printer->fixed_value[item->number]) ||
                                    (item->kind == ITEM_INDEX && printer->fixed_index[item->number]));
}
