/* Indices of two nests as functions of row and column that can be compared. See cuda_places.h. */
#include "codegen/cuda_places.h"

#include <stb/stb_ds.h>
#include <string.h>

static int64_t extent_of(const struct lowered *lowered, int variable)
{
    return lowered->variables[variable].high + 1;
}

/* Rows from one turn of the loop to the next, -1: it is none of the nest's row loops. */
static int64_t loop_stride(const struct lowered *lowered, const struct loop_nest *nest, int variable)
{
    int64_t stride = 1;
    for (int i = nest->row_count - 1; i >= 0; i--) {
        if (nest->row_loops[i] == variable)
            return stride;
        stride *= extent_of(lowered, nest->row_loops[i]);
    }
    return -1;
}

/* ---- digits ---- */

/* Where a digit begins, kept sorted; false when there is no room. */
static bool add_stride(struct places *places, int64_t stride)
{
    int at = 0;
    while (at < places->count && places->stride[at] < stride)
        at++;
    if (at < places->count && places->stride[at] == stride)
        return true;
    if (places->count == DIGITS_MAX)
        return false;
    memmove(&places->stride[at + 1], &places->stride[at], sizeof *places->stride * (size_t)(places->count - at));
    places->stride[at] = stride;
    places->count++;
    return true;
}

static bool add_loops(struct places *places, const struct lowered *lowered, const struct loop_nest *nest)
{
    bool room = true;
    for (int i = 0; i < nest->row_count; i++)
        room &= add_stride(places, loop_stride(lowered, nest, nest->row_loops[i]));
    return room;
}

/* Where quotients and remainders split loops. */
static bool add_splits(struct places *places, const struct lowered *lowered, const struct loop_nest *nest)
{
    bool room = true;
    for (ptrdiff_t i = 0; i < arrlen(lowered->variables); i++) {
        const struct index_variable *variable = &lowered->variables[i];
        bool divides = variable->kind == INDEX_QUOTIENT || variable->kind == INDEX_REMAINDER;
        if (!divides || variable->of->count != 1 || variable->of->terms[0].factor != 1)
            continue;
        int64_t stride = loop_stride(lowered, nest, variable->of->terms[0].variable);
        if (stride > 0 && variable->by < extent_of(lowered, variable->of->terms[0].variable))
            room &= add_stride(places, stride * variable->by);
    }
    return room;
}

/* False where one digit does not hold a whole number of the next finer one's ranges. */
static bool set_extents(struct places *places, int64_t rows, int64_t columns)
{
    for (int i = 0; i < places->count; i++) {
        int64_t next = i + 1 < places->count ? places->stride[i + 1] : rows;
        if (next % places->stride[i])
            return false;
        places->extent[i] = next / places->stride[i];
    }
    places->extent[places->count] = columns;
    return true;
}

bool places_find(const struct lowered *lowered, const struct loop_nest *a, const struct loop_nest *b,
                 struct places *places)
{
    *places = (struct places){.count = 1, .stride = {1}};
    if (a->rows != b->rows || a->vector_extent != b->vector_extent || a->inner_count || b->inner_count ||
        !add_loops(places, lowered, a) || !add_loops(places, lowered, b))
        return false;
    struct places loops = *places;
    if (add_splits(places, lowered, a) && add_splits(places, lowered, b) &&
        set_extents(places, a->rows, a->vector_extent))
        return true;
    *places = loops;
    return set_extents(places, a->rows, a->vector_extent);
}

/* ---- forms ---- */

struct former {
    const struct lowered *lowered;
    const struct loop_nest *nest;
    const struct places *places;
};

static bool add_form(const struct former *former, const struct affine *index, int64_t factor, struct place_form *sum);

/* What `by` divides and the rest, which must be smaller. */
static bool divide(const struct places *places, struct place_form *form, int64_t by, bool remainder)
{
    struct place_form whole = {.constant = form->constant / by}, rest = {.constant = form->constant % by};
    int64_t most = rest.constant;
    for (int i = 0; i <= places->count; i++) {
        if (form->factor[i] < 0 || form->constant < 0)
            return false;
        if (form->factor[i] % by) {
            rest.factor[i] = form->factor[i];
            most += form->factor[i] * (places->extent[i] - 1);
        } else {
            whole.factor[i] = form->factor[i] / by;
        }
    }
    *form = remainder ? rest : whole;
    return most < by;
}

static bool form_of_loop(const struct former *former, int variable, struct place_form *form)
{
    const struct places *places = former->places;
    if (variable == former->nest->vector) {
        form->factor[places->count] = 1;
        return true;
    }
    int64_t stride = loop_stride(former->lowered, former->nest, variable);
    for (int i = 0; i < places->count && stride > 0; i++)
        if (places->stride[i] >= stride && places->stride[i] < stride * extent_of(former->lowered, variable))
            form->factor[i] = places->stride[i] / stride;
    return stride > 0;
}

static bool form_of_variable(const struct former *former, int number, struct place_form *form)
{
    const struct index_variable *variable = &former->lowered->variables[number];
    *form = (struct place_form){0};
    switch (variable->kind) {
    case INDEX_LOOP:
        return form_of_loop(former, number, form);
    case INDEX_MERGED:
        return true;
    case INDEX_QUOTIENT:
    case INDEX_REMAINDER:
        return add_form(former, variable->of, 1, form) &&
               divide(former->places, form, variable->by, variable->kind == INDEX_REMAINDER);
    default:
        return false;
    }
}

static bool add_form(const struct former *former, const struct affine *index, int64_t factor, struct place_form *sum)
{
    sum->constant += factor * index->constant;
    for (int i = 0; i < index->count; i++) {
        struct place_form form;
        if (!form_of_variable(former, index->terms[i].variable, &form))
            return false;
        sum->constant += factor * index->terms[i].factor * form.constant;
        for (int k = 0; k <= former->places->count; k++)
            sum->factor[k] += factor * index->terms[i].factor * form.factor[k];
    }
    return true;
}

bool place_form(const struct lowered *lowered, const struct loop_nest *nest, const struct places *places,
                const struct affine *index, struct place_form *form)
{
    struct former former = {lowered, nest, places};
    *form = (struct place_form){0};
    return add_form(&former, index, 1, form);
}

bool place_form_equal(const struct places *places, const struct place_form *a, const struct place_form *b)
{
    for (int i = 0; i <= places->count; i++)
        if (a->factor[i] != b->factor[i] && places->extent[i] > 1)
            return false;
    return a->constant == b->constant;
}

bool place_form_has_rows(const struct places *places, const struct place_form *form)
{
    for (int i = 0; i < places->count; i++)
        if (form->factor[i] && places->extent[i] > 1)
            return true;
    return false;
}

int64_t place_form_elements(const struct places *places, const struct place_form *form)
{
    int64_t elements = 1;
    for (int i = 0; i <= places->count; i++)
        elements *= form->factor[i] ? places->extent[i] : 1;
    return elements;
}
