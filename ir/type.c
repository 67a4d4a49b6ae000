/* Shapes, layouts and element types; the one place that knows how a double rounds to a half. */
#include "ir/type.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned char bytes, significand; /* bits of the significand, the hidden one included; 0: no float */
    short smallest;                   /* exponent of the smallest subnormal */
    double largest;
} elements[ELEMENT_COUNT] = {
    [ELEMENT_NONE] = {"none", 0, 0, 0, 0},
    [ELEMENT_F16] = {"f16", 2, 11, -24, 65504.0},
    [ELEMENT_BF16] = {"bf16", 2, 8, -133, 0x1.fep127},
    [ELEMENT_F32] = {"f32", 4, 24, -149, 0x1.fffffep127},
    [ELEMENT_F64] = {"f64", 8, 53, -1074, 0x1.fffffffffffffp1023},
    [ELEMENT_I32] = {"i32", 4, 0, 0, 2147483647.0},
    [ELEMENT_I64] = {"i64", 8, 0, 0, 9223372036854774784.0},
    [ELEMENT_U8] = {"u8", 1, 0, 0, 255.0},
    [ELEMENT_BOOL] = {"bool", 1, 0, 0, 1.0},
};

struct shape shape_make(int rank, const int64_t *dimensions)
{
    struct shape shape = {.rank = rank};
    for (int i = 0; i < rank; i++)
        shape.dimension[i] = dimensions[i];
    return shape;
}

struct type type_make(enum element element, struct shape shape)
{
    struct type type = {.element = element, .shape = shape};
    for (int i = 0; i < RANK_MAX; i++)
        type.order[i] = (unsigned char)i;
    return type;
}

struct type type_scalar(enum element element)
{
    return type_make(element, (struct shape){.rank = 0});
}

bool shape_equal(const struct shape *a, const struct shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dimension[i] != b->dimension[i])
            return false;
    return true;
}

bool type_row_major(const struct type *type)
{
    for (int i = 0; i < type->shape.rank; i++)
        if (type->order[i] != i)
            return false;
    return true;
}

bool type_equal(const struct type *a, const struct type *b)
{
    return a->element == b->element && shape_equal(&a->shape, &b->shape) &&
           memcmp(a->order, b->order, (size_t)a->shape.rank) == 0;
}

int64_t shape_elements(const struct shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= shape->dimension[i];
    return count;
}

bool shape_broadcast(const struct shape *a, const struct shape *b, struct shape *result)
{
    struct shape out = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 1; i <= out.rank; i++) {
        int64_t left = i <= a->rank ? a->dimension[a->rank - i] : 1;
        int64_t right = i <= b->rank ? b->dimension[b->rank - i] : 1;
        if (left != right && left != 1 && right != 1)
            return false;
        out.dimension[out.rank - i] = left == 1 ? right : left;
    }
    *result = out;
    return true;
}

void type_strides(const struct type *type, int64_t strides[RANK_MAX])
{
    int64_t stride = 1;
    for (int i = type->shape.rank - 1; i >= 0; i--) {
        strides[type->order[i]] = stride;
        stride *= type->shape.dimension[type->order[i]];
    }
}

size_t element_bytes(enum element element)
{
    return elements[element].bytes;
}

bool element_is_float(enum element element)
{
    return elements[element].significand != 0;
}

bool element_is_half(enum element element)
{
    return element == ELEMENT_F16 || element == ELEMENT_BF16;
}

const char *element_name(enum element element)
{
    return elements[element].name;
}

enum element element_find(const char *name)
{
    for (int i = 1; i < ELEMENT_COUNT; i++)
        if (strcmp(elements[i].name, name) == 0)
            return (enum element)i;
    return ELEMENT_NONE;
}

static double round_integer(enum element element, double value)
{
    if (element == ELEMENT_BOOL)
        return value != 0;
    double low = element == ELEMENT_U8 ? 0 : -elements[element].largest - 1;
    if (isnan(value))
        return 0;
    return fmin(fmax(trunc(value), low), elements[element].largest);
}

double element_round(enum element element, double value)
{
    if (!element_is_float(element))
        return round_integer(element, value);
    if (element == ELEMENT_F64 || value == 0 || !isfinite(value))
        return value;
    if (element == ELEMENT_F32)
        return (float)value;
    int exponent;
    frexp(value, &exponent); /* |value| = m * 2^exponent, 0.5 <= m < 1 */
    int unit = exponent - elements[element].significand;
    if (unit < elements[element].smallest)
        unit = elements[element].smallest;
    double rounded = ldexp(rint(ldexp(value, -unit)), unit);
    return fabs(rounded) > elements[element].largest ? copysign(INFINITY, value) : rounded;
}

char *shape_format(const struct shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < shape->rank && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i ? "," : "", (long long)shape->dimension[i]);
    if (used < size)
        snprintf(buffer + used, size - used, "]");
    return buffer;
}

char *type_format(const struct type *type, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "%s", element_name(type->element));
    shape_format(&type->shape, buffer + used, size - used);
    if (type_row_major(type))
        return buffer;
    used = strlen(buffer);
    for (int i = 0; i < type->shape.rank && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%d", i ? "," : "{", type->order[i]);
    if (used < size)
        snprintf(buffer + used, size - used, "}");
    return buffer;
}
