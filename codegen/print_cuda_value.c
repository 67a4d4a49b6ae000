/* The CUDA printer's memory accesses and indices: scalars, and packed accesses for several neighbours at once. */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

/* ---- indices ---- */

const char *cuda_integer(int64_t last)
{
    return last > INT32_MAX ? "long long" : "int";
}

bool cuda_is_short(const struct lowered *lowered, const struct affine *index)
{
    int64_t bound = llabs(index->constant);
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        int64_t size = llabs(variable->high) > llabs(variable->low) ? llabs(variable->high) : llabs(variable->low);
        if (variable->kind != INDEX_MERGED)
            bound += llabs(index->terms[i].factor) * size;
    }
    return bound <= INT32_MAX;
}

static const char *variable_name(struct printer *printer, int number)
{
    if (printer->lowered->variables[number].kind != INDEX_LOOP)
        return arena_printf(printer->arena, "d%d", number);
    bool first = printer->packed && number == printer->nest->vector;
    return arena_printf(printer->arena, first ? "i%d_first" : "i%d", number);
}

const char *cuda_index(struct printer *printer, const struct affine *index)
{
    const char *sum = "";
    bool wide = !cuda_is_short(printer->lowered, index);
    for (int i = 0; i < index->count; i++) {
        int variable = index->terms[i].variable;
        if (printer->lowered->variables[variable].kind == INDEX_MERGED)
            continue;
        const char *name = variable_name(printer, variable);
        if (wide)
            name = arena_printf(printer->arena, "(long long)%s", name);
        sum = print_add_term(printer, sum, index->terms[i].factor, name);
    }
    return print_add_constant(printer, sum, index->constant);
}

/* The range of what a variable is derived from, in which unsigned division may do. */
static bool is_natural(const struct lowered *lowered, const struct affine *index)
{
    int64_t low, high;
    affine_range(lowered, index, &low, &high);
    return low >= 0 && cuda_is_short(lowered, index);
}

void cuda_print_index(struct printer *printer, int number)
{
    const struct index_variable *variable = &printer->lowered->variables[number];
    if (variable->kind == INDEX_GIVEN) {
        const char *given = cuda_integer(variable->high);
        text_line(&printer->text, "const %s d%d = (%s)%s;", given, number, given,
                  print_integer(printer, variable->integer));
        return;
    }
    const char *of = cuda_index(printer, variable->of);
    const char *type = cuda_integer(variable->high > -variable->low ? variable->high : -variable->low);
    long long low = variable->low, high = variable->high, by = variable->by;
    char op = variable->kind == INDEX_QUOTIENT ? '/' : '%';
    const char *suffix = cuda_is_short(printer->lowered, variable->of) ? "" : "ll";
    if (variable->kind == INDEX_CLAMP)
        text_line(&printer->text, "const %s d%d = hold(%s, %lld%s, %lld%s);", type, number, of, low, suffix, high,
                  suffix);
    else if (is_natural(printer->lowered, variable->of))
        text_line(&printer->text, "const %s d%d = (unsigned)(%s) %c %lldu;", type, number, of, op, by);
    else
        text_line(&printer->text, "const %s d%d = (%s) %c %lld;", type, number, of, op, by);
}

/* ---- memory ---- */

/* Index of an element in a buffer; `slice` chooses among slices (-1: none). */
static const char *address(struct printer *printer, const struct affine *index, int slice, int64_t stride, int64_t last)
{
    const char *at = cuda_index(printer, index);
    if (slice < 0)
        return at;
    const char *name = print_value_name(printer, slice);
    bool wide = stride * (last + 1) > INT32_MAX;
    return arena_printf(printer->arena, "%s + %lld%s * hold(%s, 0, %lld)", at, (long long)stride, wide ? "ll" : "",
                        name, (long long)last);
}

static const char *load_address(struct printer *printer, const struct value *value)
{
    int slice = value->operand_count ? value->operands[0] : -1;
    return address(printer, value->index, slice, value->stride, value->high);
}

static const char *store_address(struct printer *printer, const struct store *store)
{
    return address(printer, store->index, store->slice, store->stride, store->last);
}

static const char *print_random(struct printer *printer, const struct value *value)
{
    return arena_printf(printer->arena, "uniform_bits(%s, %s, %s, %s, 0)",
                        print_value_name(printer, value->operands[0]), print_value_name(printer, value->operands[1]),
                        print_integer(printer, value->integer), cuda_index(printer, value->index));
}

static const char *print_inside(struct printer *printer, const struct value *value)
{
    const char *index = cuda_index(printer, value->index);
    return arena_printf(printer->arena, "(%s >= %lld) & (%s <= %lld)", index, (long long)value->low, index,
                        (long long)value->high);
}

static const char *print_expression(struct printer *printer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_LOAD:
        return arena_printf(printer->arena, "load_%s(%s, %s)", element_name(value->element),
                            print_buffer_name(printer, value->buffer), load_address(printer, value));
    case VALUE_INDEX:
        return arena_printf(printer->arena, cuda_is_short(printer->lowered, value->index) ? "%s" : "(int)(%s)",
                            cuda_index(printer, value->index));
    case VALUE_INSIDE:
        return print_inside(printer, value);
    case VALUE_RANDOM:
        return print_random(printer, value);
    default:
        return print_computed(printer, value);
    }
}

const char *cuda_print_load(struct printer *printer, int number)
{
    return print_expression(printer, &printer->lowered->values[number]);
}

void cuda_print_value(struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    text_line(&printer->text, "const %s %s = %s;", print_lane_type(printer, value->lane),
              print_value_name(printer, number), print_expression(printer, value));
}

void cuda_print_store(struct printer *printer, const struct store *store)
{
    text_line(&printer->text, "store_%s(%s, %s, %s);", element_name(store->element),
              print_buffer_name(printer, store->buffer), store_address(printer, store),
              print_value_name(printer, store->value));
}

/* ---- several neighbours ---- */

static bool is_vector_load(const struct printer *printer, const struct value *value)
{
    return value->kind == VALUE_LOAD && affine_vector(printer->lowered, value->index);
}

/* Four numbers come from one Philox block where the first of them begins one. */
static bool is_vector_random(const struct printer *printer, const struct value *value, int width)
{
    return value->kind == VALUE_RANDOM && width % 4 == 0 && print_is_contiguous(printer->lowered, value->index) &&
           cuda_is_aligned(printer->lowered, value->index, 4);
}

static void print_gathered(struct printer *printer, const struct item *items, int width)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        if (items[i].kind != ITEM_VALUE)
            continue;
        const struct value *value = &printer->lowered->values[items[i].number];
        const char *name = print_value_name(printer, items[i].number);
        if (is_vector_load(printer, value)) {
            text_line(&printer->text, "%s %s_all[%d];", print_lane_type(printer, value->lane), name, width);
            text_line(&printer->text, "load_%s(%s_all, %s, %s);", element_name(value->element), name,
                      print_buffer_name(printer, value->buffer), load_address(printer, value));
        } else if (is_vector_random(printer, value, width)) {
            text_line(&printer->text, "float %s_all[%d];", name, width);
            text_line(&printer->text, "uniform_fill(%s_all, %s, %s, %s, %s);", name,
                      print_value_name(printer, value->operands[0]), print_value_name(printer, value->operands[1]),
                      print_integer(printer, value->integer), cuda_index(printer, value->index));
        }
    }
}

static void print_uniform_items(struct printer *printer, const struct item *items)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int number = items[i].number;
        if (items[i].kind == ITEM_INDEX && !printer->lowered->variables[number].vector)
            cuda_print_index(printer, number);
        if (items[i].kind == ITEM_VALUE && !printer->lowered->values[number].vector)
            cuda_print_value(printer, number);
    }
}

static void declare_stores(struct printer *printer, const struct item *items, int width)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_STORE) {
            const struct store *store = &printer->lowered->stores[items[i].number];
            text_line(&printer->text, "%s stored%d[%d];",
                      print_lane_type(printer, printer->lowered->values[store->value].lane), items[i].number, width);
        }
}

static void print_neighbour(struct printer *printer, const struct item *item, int width)
{
    const struct value *value = &printer->lowered->values[item->number];
    switch (item->kind) {
    case ITEM_INDEX:
        if (printer->lowered->variables[item->number].vector)
            cuda_print_index(printer, item->number);
        break;
    case ITEM_VALUE:
        if (is_vector_load(printer, value) || is_vector_random(printer, value, width)) {
            const char *name = print_value_name(printer, item->number);
            text_line(&printer->text, "const %s %s = %s_all[k];", print_lane_type(printer, value->lane), name, name);
        } else if (value->vector) {
            cuda_print_value(printer, item->number);
        }
        break;
    case ITEM_STORE:
        text_line(&printer->text, "stored%d[k] = %s;", item->number,
                  print_value_name(printer, printer->lowered->stores[item->number].value));
        break;
    case ITEM_WATCH:
        print_watch_open(printer, item->number);
        print_watch_close(printer, item->number);
        break;
    default:
        cuda_print_step(printer, item->number);
    }
}

void cuda_print_packed(struct printer *printer, const struct item *items, int width)
{
    int vector = printer->nest->vector;
    printer->packed = true;
    print_uniform_items(printer, items);
    print_gathered(printer, items, width);
    declare_stores(printer, items, width);
    printer->packed = false;
    text_add(&printer->text, "#pragma unroll\n");
    text_open(&printer->text, "for (int k = 0; k < %d; k++)", width);
    text_line(&printer->text, "const %s i%d = i%d_first + k;", cuda_integer(printer->nest->vector_extent), vector,
              vector);
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        print_neighbour(printer, &items[i], width);
    text_close(&printer->text);
    printer->packed = true;
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_STORE) {
            const struct store *store = &printer->lowered->stores[items[i].number];
            text_line(&printer->text, "store_%s(%s, %s, stored%d);", element_name(store->element),
                      print_buffer_name(printer, store->buffer), store_address(printer, store), items[i].number);
        }
    printer->packed = false;
}
