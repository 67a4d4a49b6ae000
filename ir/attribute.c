/* The table of attribute fields. */
#include "ir/attribute.h"

#include <string.h>

enum field {
    FIELD_VALUE,
    FIELD_AXES,
    FIELD_AXIS,
    FIELD_REVERSE,
    FIELD_TRANSPOSE_A,
    FIELD_TRANSPOSE_B,
    FIELD_EXPLICIT,
    FIELD_PERMUTATION,
    FIELD_LOW,
    FIELD_HIGH,
    FIELD_STEP,
    FIELD_KERNEL,
    FIELD_STRIDE,
    FIELD_DILATION,
    FIELD_PAD_LOW,
    FIELD_PAD_HIGH,
    FIELD_GROUPS,
    FIELD_SYMBOL,
    FIELD_KIND,
    FIELD_KEY,
    FIELD_CLASSES,
    FIELD_GATE,
    FIELD_INDEX,
    FIELD_TURNS,
    FIELD_CARRIES,
    FIELD_SEQUENCES,
    FIELD_PREVIOUS
};

#define FIELD(name, form, member, fallback)                                                                            \
    &(const struct attribute_field)                                                                                    \
    {                                                                                                                  \
        name, form, offsetof(struct attributes, member), fallback                                                      \
    }

static const struct attribute_field *const fields[] = {
    [FIELD_VALUE] = FIELD("value", FORM_REAL, value, 0),
    [FIELD_AXES] = FIELD("axes", FORM_AXES, axes, 0),
    [FIELD_AXIS] = FIELD("axis", FORM_AXIS, axis, 0),
    [FIELD_REVERSE] = FIELD("reverse", FORM_FLAG, reverse, 0),
    [FIELD_TRANSPOSE_A] = FIELD("transpose_a", FORM_FLAG, transpose_a, 0),
    [FIELD_TRANSPOSE_B] = FIELD("transpose_b", FORM_FLAG, transpose_b, 0),
    [FIELD_EXPLICIT] = FIELD("explicit", FORM_FLAG, explicit_cast, 0),
    [FIELD_PERMUTATION] = FIELD("permutation", FORM_PERMUTATION, permutation, 0),
    [FIELD_LOW] = FIELD("low", FORM_SIZES, low, 0),
    [FIELD_HIGH] = FIELD("high", FORM_SIZES, high, 0),
    [FIELD_STEP] = FIELD("step", FORM_SIZES, step, 1),
    [FIELD_KERNEL] = FIELD("kernel", FORM_SPATIAL, window.kernel, 0),
    [FIELD_STRIDE] = FIELD("stride", FORM_SPATIAL, window.stride, 1),
    [FIELD_DILATION] = FIELD("dilation", FORM_SPATIAL, window.dilation, 1),
    [FIELD_PAD_LOW] = FIELD("pad_low", FORM_SPATIAL, window.pad_low, 0),
    [FIELD_PAD_HIGH] = FIELD("pad_high", FORM_SPATIAL, window.pad_high, 0),
    [FIELD_GROUPS] = FIELD("groups", FORM_COUNT, groups, 1),
    [FIELD_SYMBOL] = FIELD("symbol", FORM_SYMBOL, symbol, 0),
    [FIELD_KIND] = FIELD("kind", FORM_KIND, output, 0),
    [FIELD_KEY] = FIELD("key", FORM_KEY, key, 0),
    [FIELD_CLASSES] = FIELD("classes", FORM_CLASSES, index, 0),
    [FIELD_GATE] = FIELD("gate", FORM_GATE, index, 0),
    [FIELD_INDEX] = FIELD("index", FORM_INDEX, index, 0),
    [FIELD_TURNS] = FIELD("turns", FORM_INDEX, loop.turns, 0),
    [FIELD_CARRIES] = FIELD("carries", FORM_CLASSES, loop.carries, 0),
    [FIELD_SEQUENCES] = FIELD("sequences", FORM_CLASSES, loop.sequences, 0),
    [FIELD_PREVIOUS] = FIELD("previous", FORM_CLASSES, loop.previous, 0),
};

enum { FIELDS_MAX = 6 };

#define GEOMETRY FIELD_KERNEL, FIELD_STRIDE, FIELD_DILATION, FIELD_PAD_LOW, FIELD_PAD_HIGH

static const struct {
    int count;
    enum field field[FIELDS_MAX];
} kinds[] = {
    [ATTRIBUTE_NONE] = {1, {FIELD_EXPLICIT}},
    [ATTRIBUTE_TYPE] = {0, {0}},
    [ATTRIBUTE_VALUE] = {1, {FIELD_VALUE}},
    [ATTRIBUTE_AXES] = {1, {FIELD_AXES}},
    [ATTRIBUTE_AXIS] = {1, {FIELD_AXIS}},
    [ATTRIBUTE_AXIS_TYPE] = {1, {FIELD_AXIS}},
    [ATTRIBUTE_AXIS_REVERSE] = {2, {FIELD_AXIS, FIELD_REVERSE}},
    [ATTRIBUTE_PERMUTATION] = {1, {FIELD_PERMUTATION}},
    [ATTRIBUTE_SLICE] = {3, {FIELD_LOW, FIELD_HIGH, FIELD_STEP}},
    [ATTRIBUTE_PAD] = {3, {FIELD_LOW, FIELD_HIGH, FIELD_VALUE}},
    [ATTRIBUTE_WINDOW] = {6, {GEOMETRY, FIELD_VALUE}},
    [ATTRIBUTE_WINDOW_TYPE] = {5, {GEOMETRY}},
    [ATTRIBUTE_CONV] = {6, {GEOMETRY, FIELD_GROUPS}},
    [ATTRIBUTE_CONV_TYPE] = {6, {GEOMETRY, FIELD_GROUPS}},
    [ATTRIBUTE_MATMUL] = {2, {FIELD_TRANSPOSE_A, FIELD_TRANSPOSE_B}},
    [ATTRIBUTE_SYMBOL] = {1, {FIELD_SYMBOL}},
    [ATTRIBUTE_INPUT] = {2, {FIELD_SYMBOL, FIELD_CLASSES}},
    [ATTRIBUTE_WRITE] = {2, {FIELD_SYMBOL, FIELD_GATE}},
    [ATTRIBUTE_OUTPUT] = {2, {FIELD_SYMBOL, FIELD_KIND}},
    [ATTRIBUTE_KEY] = {1, {FIELD_KEY}},
    [ATTRIBUTE_INDEX] = {1, {FIELD_INDEX}},
    [ATTRIBUTE_LOOP] = {6, {FIELD_SYMBOL, FIELD_TURNS, FIELD_CARRIES, FIELD_SEQUENCES, FIELD_PREVIOUS, FIELD_REVERSE}},
};

int attribute_field_count(enum attribute_kind kind)
{
    return kinds[kind].count;
}

const struct attribute_field *attribute_field(enum attribute_kind kind, int index)
{
    return fields[kinds[kind].field[index]];
}

const struct attribute_field *attribute_field_find(enum attribute_kind kind, const char *name)
{
    for (int i = 0; i < kinds[kind].count; i++)
        if (strcmp(attribute_field(kind, i)->name, name) == 0)
            return attribute_field(kind, i);
    return NULL;
}

void attribute_fill(struct attributes *attributes, const struct attribute_field *field, int length)
{
    if (!field->fallback)
        return;
    int64_t *numbers = attribute_at(attributes, field);
    for (int i = 0; i < (field->form == FORM_COUNT ? 1 : length); i++)
        numbers[i] = field->fallback;
}

int attribute_length(const struct node *node, const struct attribute_field *field)
{
    if (field->form == FORM_SPATIAL)
        return node->attributes->window.rank;
    return node->operand_count ? node->operands[0]->type.shape.rank : node->type.shape.rank;
}

size_t attribute_bytes(const struct node *node, const struct attribute_field *field)
{
    switch (field->form) {
    case FORM_REAL:
        return sizeof(double);
    case FORM_AXES:
        return sizeof(uint32_t);
    case FORM_FLAG:
        return sizeof(bool);
    case FORM_PERMUTATION:
        return (size_t)attribute_length(node, field);
    case FORM_SIZES:
    case FORM_SPATIAL:
        return sizeof(int64_t) * (size_t)attribute_length(node, field);
    case FORM_COUNT:
        return sizeof(int64_t);
    case FORM_KEY:
        return sizeof(uint64_t);
    case FORM_SYMBOL:
        return sizeof(const char *);
    case FORM_AXIS:
    case FORM_KIND:
    case FORM_CLASSES:
    case FORM_GATE:
    case FORM_INDEX:
        return sizeof(int);
    }
    return 0;
}
