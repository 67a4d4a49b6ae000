/* The host printer's expressions: one C statement a value, over the vectors of prelude/host.h. */
#include "codegen/print_host.h"

#include <string.h>

/* ---- indices ---- */

const char *print_uniform(struct printer *printer, const struct affine *index)
{
    const char *sum = "";
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &printer->lowered->variables[index->terms[i].variable];
        bool loop = variable->kind == INDEX_LOOP;
        if (variable->kind == INDEX_MERGED || (variable->vector && !loop))
            continue;
        const char *name = arena_printf(printer->arena, "%c%d", loop ? 'i' : 'd', index->terms[i].variable);
        sum = print_add_term(printer, sum, index->terms[i].factor, name);
    }
    return print_add_constant(printer, sum, index->constant);
}

/* ---- indices of tensors with more elements than an int can count ---- */

static bool fits_int(int64_t low, int64_t high)
{
    return low >= INT32_MIN && high <= INT32_MAX;
}

static bool is_varying(const struct index_variable *variable)
{
    return variable->vector && variable->kind != INDEX_MERGED;
}

/* Whether the variable is a vector of longs. */
static bool is_long(const struct index_variable *variable)
{
    return is_varying(variable) && variable->kind != INDEX_LOOP && !fits_int(variable->low, variable->high);
}

/* Whether the part that differs from lane to lane, plus up to `more`, may leave the range of an int. */
static bool varies_far(const struct lowered *lowered, const struct affine *index, int64_t more)
{
    int64_t low = 0, high = more;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        bool loop = variable->kind == INDEX_LOOP; /* of which `lane` alone differs */
        int64_t a = index->terms[i].factor * (loop ? 0 : variable->low);
        int64_t b = index->terms[i].factor * (loop ? LANES - 1 : variable->high);
        if (!is_varying(variable))
            continue;
        low += a < b ? a : b;
        high += a < b ? b : a;
    }
    return !fits_int(low, high);
}

/* Whether the whole index may. */
static bool is_far(const struct lowered *lowered, const struct affine *index)
{
    int64_t low, high;
    affine_range(lowered, index, &low, &high);
    return !fits_int(low, high) || varies_far(lowered, index, 0);
}

/* ---- the part that differs from lane to lane ---- */

/* As ints, or (far) as longs; NULL: there is none. */
static const char *varying_sum(struct printer *printer, const struct affine *index, bool far)
{
    const char *sum = "";
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &printer->lowered->variables[index->terms[i].variable];
        if (!is_varying(variable))
            continue;
        const char *name =
            variable->kind == INDEX_LOOP ? "lane" : arena_printf(printer->arena, "d%d", index->terms[i].variable);
        if (far && !is_long(variable))
            name = arena_printf(printer->arena, "int_to_long(%s)", name);
        sum = print_add_term(printer, sum, index->terms[i].factor, name);
    }
    return *sum ? sum : NULL;
}

static const char *longs_of(struct printer *printer, const struct affine *index)
{
    const char *varying = varying_sum(printer, index, true), *uniform = print_uniform(printer, index);
    return varying ? arena_printf(printer->arena, "(%s) + %s", uniform, varying)
                   : arena_printf(printer->arena, "splat_long(%s)", uniform);
}

static const char *ints_of(struct printer *printer, const struct affine *index)
{
    if (is_far(printer->lowered, index))
        return arena_printf(printer->arena, "low_ints(%s)", longs_of(printer, index));
    const char *varying = varying_sum(printer, index, false), *uniform = print_uniform(printer, index);
    return varying ? arena_printf(printer->arena, "(int)(%s) + %s", uniform, varying)
                   : arena_printf(printer->arena, "splat_int((int)(%s))", uniform);
}

/* A derived index that differs from lane to lane. */
static void print_vector_index(struct printer *printer, int number)
{
    const struct index_variable *variable = &printer->lowered->variables[number];
    bool far = is_far(printer->lowered, variable->of), wide = is_long(variable);
    const char *of = far ? longs_of(printer, variable->of) : ints_of(printer, variable->of), *value;
    if (variable->kind == INDEX_CLAMP)
        value = arena_printf(printer->arena, "%s(%s, %lld, %lld)", far ? "hold_longs" : "hold_ints", of,
                             (long long)variable->low, (long long)variable->high);
    else
        value = arena_printf(printer->arena, "(%s) %c %lld", of, variable->kind == INDEX_QUOTIENT ? '/' : '%',
                             (long long)variable->by);
    if (far && !wide)
        value = arena_printf(printer->arena, "low_ints(%s)", value);
    text_line(&printer->text, "const %s d%d = %s;", wide ? "longs" : "ints", number, value);
}

void print_index(struct printer *printer, int number)
{
    const struct index_variable *variable = &printer->lowered->variables[number];
    if (variable->kind == INDEX_GIVEN) {
        text_line(&printer->text, "const long d%d = integers[%d];", number, variable->integer);
        return;
    }
    if (variable->vector) {
        print_vector_index(printer, number);
        return;
    }
    const char *of = print_uniform(printer, variable->of);
    if (variable->kind == INDEX_CLAMP)
        text_line(&printer->text, "const long d%d = hold(%s, %lld, %lld);", number, of, (long long)variable->low,
                  (long long)variable->high);
    else
        text_line(&printer->text, "const long d%d = (%s) %c %lld;", number, of,
                  variable->kind == INDEX_QUOTIENT ? '/' : '%', (long long)variable->by);
}

/* ---- memory ---- */

/* Where to find lanes: function suffix and arguments behind the buffer; `slice` chooses among slices (-1: none). */
struct access {
    const char *suffix, *at, *lanes; /* lanes: vector of offsets, NULL where it is not needed */
};

static struct access access_of(struct printer *printer, const struct affine *index, int slice, int64_t stride,
                               int64_t last)
{
    struct access access = {.suffix = "", .at = print_uniform(printer, index)};
    bool vector_slice = slice >= 0 && printer->lowered->values[slice].vector;
    bool far = varies_far(printer->lowered, index, vector_slice ? stride * last : 0);
    const char *varying = varying_sum(printer, index, far);
    bool contiguous = print_is_contiguous(printer->lowered, index);
    if (slice >= 0) {
        const char *name = print_value_name(printer, slice);
        if (vector_slice) {
            contiguous = false;
            varying = arena_printf(
                printer->arena,
                far ? "%s%s%lld * int_to_long(hold_ints(%s, 0, %lld))" : "%s%s%lld * hold_ints(%s, 0, %lld)",
                varying ? varying : "", varying ? " + " : "", (long long)stride, name, (long long)last);
        } else {
            access.at = arena_printf(printer->arena, "%s + %lld * hold(%s[0], 0, %lld)", access.at, (long long)stride,
                                     name, (long long)last);
        }
    }
    if (!varying)
        access.suffix = "all_";
    else if (!contiguous) {
        access.suffix = far ? "far_" : "at_";
        access.lanes = varying;
    } else if (printer->lanes < LANES) {
        access.suffix = "part_";
    }
    return access;
}

static const char *print_load(struct printer *printer, const struct value *value)
{
    int slice = value->operand_count ? value->operands[0] : -1;
    struct access access = access_of(printer, value->index, slice, value->stride, value->high);
    const char *buffer = print_buffer_name(printer, value->buffer);
    const char *start = arena_printf(printer->arena, "load_%s%s(%s, %s", access.suffix, element_name(value->element),
                                     buffer, access.at);
    if (strcmp(access.suffix, "at_") == 0 && value->element == ELEMENT_F32 && printer->lanes == LANES)
        return arena_printf(printer->arena, "gather_f32(%s, %s, %s)", buffer, access.at, access.lanes);
    if (access.lanes)
        return arena_printf(printer->arena, "%s, %s, %d)", start, access.lanes, printer->lanes);
    return strcmp(access.suffix, "part_") == 0 ? arena_printf(printer->arena, "%s, %d)", start, printer->lanes)
                                               : arena_printf(printer->arena, "%s)", start);
}

void print_store(struct printer *printer, const struct store *store)
{
    struct access access = access_of(printer, store->index, store->slice, store->stride, store->last);
    const char *suffix = strcmp(access.suffix, "all_") == 0 ? "one_" : access.suffix;
    const char *name = print_value_name(printer, store->value);
    const char *start = arena_printf(printer->arena, "store_%s%s(%s, %s", suffix, element_name(store->element),
                                     print_buffer_name(printer, store->buffer), access.at);
    if (access.lanes)
        text_line(&printer->text, "%s, %s, %s, %d);", start, access.lanes, name, printer->lanes);
    else if (strcmp(suffix, "part_") == 0)
        text_line(&printer->text, "%s, %s, %d);", start, name, printer->lanes);
    else
        text_line(&printer->text, "%s, %s);", start, name);
}

/* ---- expressions ---- */

static const char *print_inside(struct printer *printer, const struct value *value)
{
    long long low = value->low, high = value->high;
    if (value->vector && is_far(printer->lowered, value->index)) {
        const char *index = longs_of(printer, value->index);
        return arena_printf(printer->arena, "long_ge(%s, splat_long(%lld)) & long_le(%s, splat_long(%lld))", index, low,
                            index, high);
    }
    if (value->vector) {
        const char *index = ints_of(printer, value->index);
        return arena_printf(printer->arena, "int_ge(%s, splat_int(%lld)) & int_le(%s, splat_int(%lld))", index, low,
                            index, high);
    }
    const char *index = print_uniform(printer, value->index);
    return arena_printf(printer->arena, "splat_int(-(%s >= %lld && %s <= %lld))", index, low, index, high);
}

/* Lanes in order from a multiple of LANES: the vector loop steps by LANES, all other factors are multiples. */
static bool is_stocked(const struct printer *printer, const struct value *value)
{
    bool stocked = value->index->constant % LANES == 0 && print_is_contiguous(printer->lowered, value->index);
    for (int i = 0; i < value->index->count && stocked; i++) {
        const struct index_variable *variable = &printer->lowered->variables[value->index->terms[i].variable];
        stocked = variable->vector || variable->kind == INDEX_MERGED || value->index->terms[i].factor % LANES == 0;
    }
    return stocked;
}

static const char *print_random(struct printer *printer, const struct value *value)
{
    if (is_stocked(printer, value))
        return arena_printf(printer->arena, "uniform_from(&stock%d, %s, %s, integers[%d], %s)",
                            (int)(value - printer->lowered->values), print_value_name(printer, value->operands[0]),
                            print_value_name(printer, value->operands[1]), value->integer,
                            print_uniform(printer, value->index));
    if (varies_far(printer->lowered, value->index, 0))
        return arena_printf(
            printer->arena, "uniform_far(%s, %s, integers[%d], %s)", print_value_name(printer, value->operands[0]),
            print_value_name(printer, value->operands[1]), value->integer, longs_of(printer, value->index));
    const char *varying = varying_sum(printer, value->index, false);
    return arena_printf(printer->arena, "uniform_bits(%s, %s, integers[%d], %s, %s)",
                        print_value_name(printer, value->operands[0]), print_value_name(printer, value->operands[1]),
                        value->integer, print_uniform(printer, value->index), varying ? varying : "splat_int(0)");
}

static const char *print_expression(struct printer *printer, const struct value *value)
{
    switch (value->kind) {
    case VALUE_LOAD:
        return print_load(printer, value);
    case VALUE_INDEX:
        return ints_of(printer, value->index);
    case VALUE_INSIDE:
        return print_inside(printer, value);
    case VALUE_RANDOM:
        return print_random(printer, value);
    default:
        return print_computed(printer, value);
    }
}

bool print_is_stocked(const struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    return value->kind == VALUE_RANDOM && is_stocked(printer, value);
}

void print_value(struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    const char *taken = host_keep_taken(printer, number), *given = host_keep_given(printer, number);
    const char *name = print_value_name(printer, number);
    text_line(&printer->text, "const %s %s = %s;", print_lane_type(printer, value->lane), name,
              taken ? taken : print_expression(printer, value));
    if (given)
        text_line(&printer->text, "%s = %s;", given, name);
}
