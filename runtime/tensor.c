/* Conversions between element types in double precision, which holds every value of every type but large i64 (those
 * go through int64_t), so that each conversion rounds exactly once. */
#include "runtime/tensor.h"

#include <math.h>
#include <string.h>

/* Formats narrower than f32: explicit mantissa bits, smallest normal exponent, exponent bias. */
struct narrow {
    int mantissa, smallest, bias;
};

static const struct narrow f16_format = {10, -14, 15}, bf16_format = {7, -126, 127};

static double round_narrow(const struct narrow *format, double value)
{
    if (!isfinite(value) || value == 0)
        return value;
    int exponent = ilogb(value) > format->smallest ? ilogb(value) : format->smallest;
    double unit = ldexp(1, exponent - format->mantissa);
    double rounded = nearbyint(value / unit) * unit;
    return fabs(rounded) >= ldexp(1, format->bias + 1) ? copysign(INFINITY, value) : rounded;
}

static uint16_t encode_narrow(const struct narrow *format, double value)
{
    unsigned sign = signbit(value) ? 0x8000 : 0, infinity = (unsigned)(2 * format->bias + 1) << format->mantissa;
    if (isnan(value))
        return (uint16_t)(sign | infinity | 1u << (format->mantissa - 1));
    double magnitude = fabs(round_narrow(format, value));
    if (isinf(magnitude))
        return (uint16_t)(sign | infinity);
    double smallest = ldexp(1, format->smallest);
    if (magnitude < smallest)
        return (uint16_t)(sign | (unsigned)ldexp(magnitude, format->mantissa - format->smallest));
    int exponent = ilogb(magnitude);
    unsigned fraction = (unsigned)ldexp(ldexp(magnitude, -exponent) - 1, format->mantissa);
    return (uint16_t)(sign | (unsigned)(exponent + format->bias) << format->mantissa | fraction);
}

static double decode_narrow(const struct narrow *format, uint16_t bits)
{
    unsigned exponent = (bits & 0x7fffu) >> format->mantissa, fraction = bits & ((1u << format->mantissa) - 1);
    double magnitude;
    if (exponent == (unsigned)(2 * format->bias + 1))
        magnitude = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        magnitude = ldexp(fraction, format->smallest - format->mantissa);
    else
        magnitude = ldexp(fraction + ldexp(1, format->mantissa), (int)exponent - format->bias - format->mantissa);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static uint16_t load_u16(const void *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static int64_t get_integer(enum program_element element, const void *at)
{
    int32_t narrow;
    int64_t wide;
    switch (element) {
    case PROGRAM_I32:
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    case PROGRAM_I64:
        memcpy(&wide, at, sizeof wide);
        return wide;
    default:
        return *(const unsigned char *)at;
    }
}

double tensor_get(enum program_element element, const void *at)
{
    float single;
    double full;
    switch (element) {
    case PROGRAM_F16:
        return decode_narrow(&f16_format, load_u16(at));
    case PROGRAM_BF16:
        return decode_narrow(&bf16_format, load_u16(at));
    case PROGRAM_F32:
        memcpy(&single, at, sizeof single);
        return single;
    case PROGRAM_F64:
        memcpy(&full, at, sizeof full);
        return full;
    case PROGRAM_NONE:
        return NAN;
    default:
        return (double)get_integer(element, at);
    }
}

static bool is_integer(enum program_element element)
{
    return element >= PROGRAM_I32;
}

struct bounds {
    int64_t low, high;
};

static struct bounds integer_bounds(enum program_element element)
{
    switch (element) {
    case PROGRAM_I32:
        return (struct bounds){INT32_MIN, INT32_MAX};
    case PROGRAM_U8:
        return (struct bounds){0, UINT8_MAX};
    case PROGRAM_BOOL:
        return (struct bounds){0, 1};
    default:
        return (struct bounds){INT64_MIN, INT64_MAX};
    }
}

static void put_integer(enum program_element element, void *at, int64_t value)
{
    int32_t narrow = (int32_t)value;
    if (element == PROGRAM_I64)
        memcpy(at, &value, sizeof value);
    else if (element == PROGRAM_I32)
        memcpy(at, &narrow, sizeof narrow);
    else
        *(unsigned char *)at = (unsigned char)value;
}

static int64_t clamp_integer(enum program_element element, double value)
{
    struct bounds bounds = integer_bounds(element);
    if (isnan(value))
        return 0;
    if (value <= (double)bounds.low)
        return bounds.low;
    return value >= (double)bounds.high ? bounds.high : (int64_t)value;
}

void tensor_put(enum program_element element, void *at, double value)
{
    float single = (float)value;
    uint16_t bits = 0;
    switch (element) {
    case PROGRAM_F16:
        bits = encode_narrow(&f16_format, value);
        memcpy(at, &bits, sizeof bits);
        break;
    case PROGRAM_BF16:
        bits = encode_narrow(&bf16_format, value);
        memcpy(at, &bits, sizeof bits);
        break;
    case PROGRAM_F32:
        memcpy(at, &single, sizeof single);
        break;
    case PROGRAM_F64:
        memcpy(at, &value, sizeof value);
        break;
    case PROGRAM_NONE:
        break;
    default:
        put_integer(element, at, clamp_integer(element, value));
    }
}

double tensor_round(enum program_element element, double value)
{
    switch (element) {
    case PROGRAM_F16:
        return round_narrow(&f16_format, value);
    case PROGRAM_BF16:
        return round_narrow(&bf16_format, value);
    case PROGRAM_F32:
        return (float)value;
    default:
        return value;
    }
}

/* Elements between neighbours along each logical axis, as stored. */
static void strides(const struct program_tensor *tensor, int64_t *stride)
{
    int64_t step = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        int axis = tensor->order[i];
        stride[axis] = step;
        step *= tensor->dimension[axis];
    }
}

static bool is_row_major(const struct program_tensor *tensor)
{
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->order[i] != i)
            return false;
    return true;
}

/* Walks the logical indices in row-major order; `offset` follows as the stored position. */
struct walk {
    const struct program_tensor *tensor;
    int64_t stride[PROGRAM_RANK], index[PROGRAM_RANK], offset;
};

static struct walk walk_begin(const struct program_tensor *tensor)
{
    struct walk walk = {.tensor = tensor};
    strides(tensor, walk.stride);
    return walk;
}

static void walk_next(struct walk *walk)
{
    for (int axis = walk->tensor->rank - 1; axis >= 0; axis--) {
        walk->offset += walk->stride[axis];
        if (++walk->index[axis] < walk->tensor->dimension[axis])
            return;
        walk->offset -= walk->stride[axis] * walk->tensor->dimension[axis];
        walk->index[axis] = 0;
    }
}

static bool store_integer(const struct program_tensor *tensor, void *at, enum program_element element,
                          const void *value)
{
    struct bounds bounds = integer_bounds(tensor->element);
    double real = tensor_get(element, value);
    if (!is_integer(element) && real != nearbyint(real))
        return false;
    if (!is_integer(element) && (real < -9.2e18 || real > 9.2e18))
        return false;
    int64_t integer = is_integer(element) ? get_integer(element, value) : (int64_t)real;
    if (integer < bounds.low || integer > bounds.high)
        return false;
    put_integer(tensor->storage, at, integer);
    return true;
}

bool tensor_store(const struct program_tensor *tensor, void *stored, enum program_element element, const void *values,
                  const char *name, struct error *error)
{
    int64_t count = program_tensor_elements(tensor);
    size_t step = program_element_bytes(element), stored_step = program_element_bytes(tensor->storage);
    if (element == tensor->element && element == tensor->storage && is_row_major(tensor)) {
        memcpy(stored, values, (size_t)count * step);
        return true;
    }
    struct walk walk = walk_begin(tensor);
    for (int64_t i = 0; i < count; i++, walk_next(&walk)) {
        const char *value = (const char *)values + (size_t)i * step;
        char *at = (char *)stored + (size_t)walk.offset * stored_step;
        if (!is_integer(tensor->element))
            tensor_put(tensor->storage, at, tensor_round(tensor->element, tensor_get(element, value)));
        else if (!store_integer(tensor, at, element, value))
            return error_set(error, "%s: value %g at place %lld is not of type %s", name, tensor_get(element, value),
                             (long long)i, program_element_name(tensor->element));
    }
    return true;
}

void tensor_load(const struct program_tensor *tensor, const void *stored, enum program_element element, void *values)
{
    int64_t count = program_tensor_elements(tensor);
    size_t step = program_element_bytes(element), stored_step = program_element_bytes(tensor->storage);
    if (element == tensor->element && element == tensor->storage && is_row_major(tensor)) {
        memcpy(values, stored, (size_t)count * step);
        return;
    }
    struct walk walk = walk_begin(tensor);
    for (int64_t i = 0; i < count; i++, walk_next(&walk)) {
        const char *at = (const char *)stored + (size_t)walk.offset * stored_step;
        char *value = (char *)values + (size_t)i * step;
        if (is_integer(tensor->storage) && is_integer(element))
            put_integer(element, value, get_integer(tensor->storage, at));
        else
            tensor_put(element, value, tensor_round(tensor->element, tensor_get(tensor->storage, at)));
    }
}
