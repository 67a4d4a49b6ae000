/* Arithmetic on index expressions: sums of loop variables and of what is derived from them. */
#include "codegen/nest.h"

#include <string.h>

static struct affine *make(struct arena *arena, int terms)
{
    return arena_allocate(arena, sizeof(struct affine) + sizeof(struct term) * (size_t)terms);
}

const struct affine *affine_constant(struct arena *arena, int64_t constant)
{
    struct affine *a = make(arena, 0);
    a->constant = constant;
    return a;
}

const struct affine *affine_variable(struct arena *arena, int variable)
{
    struct affine *a = make(arena, 1);
    a->count = 1;
    a->terms[0] = (struct term){variable, 1};
    return a;
}

static void put(struct affine *a, int variable, int64_t factor)
{
    if (factor)
        a->terms[a->count++] = (struct term){variable, factor};
}

const struct affine *affine_add(struct arena *arena, const struct affine *a, const struct affine *b, int64_t factor)
{
    struct affine *sum = make(arena, a->count + b->count);
    sum->constant = a->constant + factor * b->constant;
    int i = 0, j = 0;
    while (i < a->count || j < b->count) {
        if (j == b->count || (i < a->count && a->terms[i].variable < b->terms[j].variable)) {
            put(sum, a->terms[i].variable, a->terms[i].factor);
            i++;
        } else if (i == a->count || b->terms[j].variable < a->terms[i].variable) {
            put(sum, b->terms[j].variable, factor * b->terms[j].factor);
            j++;
        } else {
            put(sum, a->terms[i].variable, a->terms[i].factor + factor * b->terms[j].factor);
            i++;
            j++;
        }
    }
    return sum;
}

bool affine_equal(const struct affine *a, const struct affine *b)
{
    if (a->constant != b->constant || a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (a->terms[i].variable != b->terms[i].variable || a->terms[i].factor != b->terms[i].factor)
            return false;
    return true;
}

int64_t affine_factor(const struct affine *a, int variable)
{
    for (int i = 0; i < a->count; i++)
        if (a->terms[i].variable == variable)
            return a->terms[i].factor;
    return 0;
}

void affine_range(const struct lowered *lowered, const struct affine *a, int64_t *low, int64_t *high)
{
    *low = *high = a->constant;
    for (int i = 0; i < a->count; i++) {
        const struct index_variable *variable = &lowered->variables[a->terms[i].variable];
        int64_t factor = a->terms[i].factor;
        *low += factor * (factor > 0 ? variable->low : variable->high);
        *high += factor * (factor > 0 ? variable->high : variable->low);
    }
}

int affine_depth(const struct lowered *lowered, const struct affine *a)
{
    int depth = BODY_KERNEL;
    for (int i = 0; i < a->count; i++) {
        int other = lowered->variables[a->terms[i].variable].depth;
        depth = other > depth ? other : depth;
    }
    return depth;
}

bool affine_vector(const struct lowered *lowered, const struct affine *a)
{
    for (int i = 0; i < a->count; i++)
        if (lowered->variables[a->terms[i].variable].vector)
            return true;
    return false;
}
