/* Attributes by name: which fields of struct attributes each kind of op has, what they are called in the text form,
 * and what they are when the text leaves them out. The printer, the parser and the verifier walk this one table. */
#ifndef CASTOR_IR_ATTRIBUTE_H
#define CASTOR_IR_ATTRIBUTE_H

#include "ir/graph.h"

enum attribute_form {
    FORM_REAL,        /* double: value=0.5; the name may be left out where it is the first field */
    FORM_AXES,        /* uint32_t mask: axes=[0,2] */
    FORM_AXIS,        /* int: axis=1 */
    FORM_FLAG,        /* bool: its name alone when set */
    FORM_PERMUTATION, /* unsigned char per axis: permutation=[1,0] */
    FORM_SIZES,       /* int64_t per axis of the operand: low=[0,0] */
    FORM_SPATIAL,     /* int64_t per spatial axis of the window: stride=[2,2] */
    FORM_COUNT,       /* int64_t: groups=2 */
    FORM_SYMBOL,      /* interned string: "fc1.weight"; stands without its name */
    FORM_KIND,        /* enum output_kind: kind=loss */
    FORM_KEY,         /* uint64_t in hexadecimal: key=0x1f */
    FORM_CLASSES,     /* int: classes=10; left out when 0 */
    FORM_GATE,        /* int: gate=all, gate=never, gate=1 */
    FORM_INDEX        /* int: index=0; the name may be left out */
};

struct attribute_field {
    const char *name;
    enum attribute_form form;
    size_t offset;    /* in struct attributes */
    int64_t fallback; /* of numbers and lists that the text leaves out */
};

/* The fields of a kind, in the order in which they are printed. */
int attribute_field_count(enum attribute_kind kind);
const struct attribute_field *attribute_field(enum attribute_kind kind, int index);

/* The field of that name; NULL when ops of this kind have none. */
const struct attribute_field *attribute_field_find(enum attribute_kind kind, const char *name);

/* Gives a numeric field that the text leaves out its fallback, in the first `length` places. */
void attribute_fill(struct attributes *attributes, const struct attribute_field *field, int length);

/* Where a field lies. */
static inline void *attribute_at(struct attributes *attributes, const struct attribute_field *field)
{
    return (char *)attributes + field->offset;
}

static inline const void *attribute_of(const struct attributes *attributes, const struct attribute_field *field)
{
    return (const char *)attributes + field->offset;
}

/* How many numbers a list field of this node holds: the operand's rank, the window's or the result's. */
int attribute_length(const struct node *node, const struct attribute_field *field);

/* Bytes of a field that count for this node: of a list, those of its numbers. */
size_t attribute_bytes(const struct node *node, const struct attribute_field *field);

#endif
