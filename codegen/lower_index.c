/* Index expressions that the movement ops need: quotients and remainders (reshape, fold), clamps (pad, window,
 * concat). They become index variables of their own only where they do not simplify: terms whose factor the divisor
 * divides come out exactly, and a rest that is known to be smaller than the divisor vanishes. */
#include "codegen/lower.h"

#include <stb/stb_ds.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct memo_key lower_key(const void *what, const struct affine *const *indices, int count, int64_t extra)
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &what, sizeof what);
    XXH3_128bits_update(&state, &extra, sizeof extra);
    for (int i = 0; i < count; i++) {
        XXH3_128bits_update(&state, &indices[i]->constant, sizeof indices[i]->constant);
        for (int k = 0; k < indices[i]->count; k++) {
            int64_t term[] = {indices[i]->terms[k].variable, indices[i]->terms[k].factor};
            XXH3_128bits_update(&state, term, sizeof term);
        }
        XXH3_128bits_update(&state, "|", 1);
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    return (struct memo_key){hash.low64, hash.high64};
}

int lower_recall(struct lowerer *lowerer, struct memo_key key)
{
    for (int i = 0; i < BODY_COUNT; i++) {
        ptrdiff_t found = hmgeti(lowerer->memo[i], key);
        if (found >= 0)
            return lowerer->memo[i][found].value;
    }
    return -1;
}

void lower_remember(struct lowerer *lowerer, struct memo_key key, int depth, int number)
{
    hmput(lowerer->memo[depth], key, number);
}

/* A vector of lanes whose first is a multiple of LANES in all: divided by such a number it gives one quotient. */
static bool has_one_quotient(const struct lowered *out, const struct affine *index, int64_t by)
{
    int vectors = 0;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &out->variables[index->terms[i].variable];
        bool lanes = variable->vector && variable->kind == INDEX_LOOP && index->terms[i].factor == 1;
        vectors += lanes;
        if (!lanes && (variable->vector || index->terms[i].factor % LANES))
            return false;
    }
    return vectors == 1 && index->constant % LANES == 0 && by % LANES == 0;
}

/* The derived variable of this definition, as an expression. */
static const struct affine *derive(struct lowerer *lowerer, enum index_kind kind, const struct affine *of, int64_t by,
                                   int64_t low, int64_t high)
{
    struct lowered *out = &lowerer->out;
    int64_t numbers[] = {kind, by, low, high};
    struct memo_key key = lower_key(NULL, &of, 1, (int64_t)XXH3_64bits(numbers, sizeof numbers));
    int number = lower_recall(lowerer, key);
    if (number < 0) {
        struct index_variable variable = {
            .kind = kind, .of = of, .by = by, .low = low, .high = high, .depth = affine_depth(out, of)};
        variable.vector =
            affine_vector(out, of) && !(kind == INDEX_QUOTIENT && low >= 0 && has_one_quotient(out, of, by));
        number = (int)arrlen(out->variables);
        arrput(out->variables, variable);
        lower_append_item(lowerer, variable.depth, ITEM_INDEX, number);
        lower_remember(lowerer, key, variable.depth, number);
    }
    return affine_variable(out->arena, number);
}

/* Splits the terms of `index` into those that `by` divides (divided) and the rest. */
static void separate(struct lowerer *lowerer, const struct affine *index, int64_t by, const struct affine **whole,
                     const struct affine **rest)
{
    struct arena *arena = lowerer->out.arena;
    int64_t remainder = index->constant % by;
    remainder += remainder < 0 ? by : 0;
    *whole = affine_constant(arena, (index->constant - remainder) / by);
    *rest = affine_constant(arena, remainder);
    for (int i = 0; i < index->count; i++) {
        struct term term = index->terms[i];
        const struct affine *variable = affine_variable(arena, term.variable);
        if (term.factor % by == 0)
            *whole = affine_add(arena, *whole, variable, term.factor / by);
        else
            *rest = affine_add(arena, *rest, variable, term.factor);
    }
}

/* (factor * a + b) / by = a / (by / factor) where 0 <= b < factor: the largest such factor, 1 when there is none. */
static int64_t common_factor(struct lowerer *lowerer, const struct affine *index, int64_t by)
{
    int64_t best = 1, low, high;
    const struct affine *whole, *rest;
    for (int i = 0; i < index->count; i++) {
        int64_t factor = index->terms[i].factor;
        if (factor <= best || by % factor)
            continue;
        separate(lowerer, index, factor, &whole, &rest);
        affine_range(&lowerer->out, rest, &low, &high);
        if (low >= 0 && high < factor)
            best = factor;
    }
    return best;
}

const struct affine *lower_quotient(struct lowerer *lowerer, const struct affine *index, int64_t by)
{
    if (by == 1)
        return index;
    const struct affine *whole, *rest;
    separate(lowerer, index, by, &whole, &rest);
    int64_t low, high;
    affine_range(&lowerer->out, rest, &low, &high);
    if (low >= 0 && high < by)
        return whole;
    int64_t factor = low >= 0 ? common_factor(lowerer, rest, by) : 1;
    if (factor > 1) {
        const struct affine *smaller, *lost;
        separate(lowerer, rest, factor, &smaller, &lost);
        return affine_add(lowerer->out.arena, whole, lower_quotient(lowerer, smaller, by / factor), 1);
    }
    if (low < 0) { /* the sum is not negative although the rest may be */
        whole = affine_constant(lowerer->out.arena, 0);
        rest = index;
        affine_range(&lowerer->out, rest, &low, &high);
        low = low < 0 ? 0 : low;
    }
    const struct affine *quotient = derive(lowerer, INDEX_QUOTIENT, rest, by, low / by, high / by);
    return affine_add(lowerer->out.arena, whole, quotient, 1);
}

const struct affine *lower_remainder(struct lowerer *lowerer, const struct affine *index, int64_t by)
{
    if (by == 1)
        return affine_constant(lowerer->out.arena, 0);
    const struct affine *whole, *rest;
    separate(lowerer, index, by, &whole, &rest);
    int64_t low, high;
    affine_range(&lowerer->out, rest, &low, &high);
    if (low >= 0 && high < by)
        return rest;
    if (low >= 0 && has_one_quotient(&lowerer->out, rest, by)) /* then its lanes lie side by side */
        return affine_add(lowerer->out.arena, rest, lower_quotient(lowerer, rest, by), -by);
    return derive(lowerer, INDEX_REMAINDER, low < 0 ? index : rest, by, 0, by - 1);
}

const struct affine *lower_clamp(struct lowerer *lowerer, const struct affine *index, int64_t low, int64_t high)
{
    int64_t least, most;
    affine_range(&lowerer->out, index, &least, &most);
    return least >= low && most <= high ? index : derive(lowerer, INDEX_CLAMP, index, 1, low, high);
}

const struct affine *lower_place_of(struct lowerer *lowerer, const struct node *slice, int axis)
{
    struct lowered *out = &lowerer->out;
    struct memo_key key = lower_key(slice, NULL, 0, axis);
    int number = lower_recall(lowerer, key);
    if (number < 0) {
        int64_t place = slice->attributes->low[axis];
        struct index_variable variable = {.kind = INDEX_GIVEN, .low = place, .high = place, .depth = BODY_KERNEL};
        variable.integer = (int)arrlen(out->integers);
        arrput(out->integers, place);
        number = (int)arrlen(out->variables);
        arrput(out->variables, variable);
        lower_append_item(lowerer, BODY_KERNEL, ITEM_INDEX, number);
        lower_remember(lowerer, key, BODY_KERNEL, number);
    }
    return affine_variable(out->arena, number);
}

/* factor * by * (x / by) + factor * (x % by) = factor * x: what a reshape and its inverse leave behind. */
static const struct affine *recombine(struct lowerer *lowerer, const struct affine *index)
{
    const struct lowered *out = &lowerer->out;
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *remainder = &out->variables[index->terms[i].variable];
        for (int j = 0; j < index->count && remainder->kind == INDEX_REMAINDER; j++) {
            const struct index_variable *quotient = &out->variables[index->terms[j].variable];
            int64_t factor = index->terms[i].factor;
            if (quotient->kind != INDEX_QUOTIENT || quotient->by != remainder->by ||
                index->terms[j].factor != factor * quotient->by || !affine_equal(quotient->of, remainder->of))
                continue;
            struct arena *arena = out->arena;
            const struct affine *sum =
                affine_add(arena, index, affine_variable(arena, index->terms[i].variable), -factor);
            sum = affine_add(arena, sum, affine_variable(arena, index->terms[j].variable), -index->terms[j].factor);
            return recombine(lowerer, affine_add(arena, sum, remainder->of, factor));
        }
    }
    return index;
}

static const struct affine *weigh(struct lowerer *lowerer, const int64_t *strides, int rank,
                                  const struct affine *const *indices)
{
    const struct affine *sum = affine_constant(lowerer->out.arena, 0);
    for (int i = 0; i < rank; i++)
        sum = affine_add(lowerer->out.arena, sum, indices[i], strides[i]);
    return recombine(lowerer, sum);
}

const struct affine *lower_linear(struct lowerer *lowerer, const struct shape *shape,
                                  const struct affine *const *indices)
{
    struct type type = type_make(ELEMENT_F32, *shape);
    return lower_address(lowerer, &type, indices);
}

const struct affine *lower_address(struct lowerer *lowerer, const struct type *type,
                                   const struct affine *const *indices)
{
    int64_t strides[RANK_MAX];
    type_strides(type, strides);
    for (int i = 0; i < type->shape.rank; i++)
        if (type->shape.dimension[i] == 1) /* what is held within 0 … 0 by a concat or a pad: a value of one element */
            strides[i] = 0;                /* is read before the first nest, since others may be stored over it */
    return weigh(lowerer, strides, type->shape.rank, indices);
}

void lower_split(struct lowerer *lowerer, const struct shape *shape, const struct affine *linear,
                 const struct affine **indices)
{
    bool outermost = true;
    int64_t stride = 1;
    for (int i = 0; i < shape->rank; i++)
        stride *= shape->dimension[i];
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dimension[i] <= 1) {
            indices[i] = affine_constant(lowerer->out.arena, 0);
            continue;
        }
        stride /= shape->dimension[i];
        indices[i] = lower_quotient(lowerer, linear, stride);
        if (!outermost)
            indices[i] = lower_remainder(lowerer, indices[i], shape->dimension[i]);
        outermost = false;
    }
}
