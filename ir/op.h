/* The op table as data: ops.def with its enums, names and lookups. */
#ifndef CASTOR_IR_OP_H
#define CASTOR_IR_OP_H

#include "ir/type.h"

enum op {
#define POINTWISE(name, arity, element, gradient, expression, flops, help) OP_##name,
#define OTHER(name, arity, class, attributes, gradient, help) OP_##name,
#include "ir/ops.def"
    OP_COUNT
};

enum op_class {
    CLASS_POINTWISE,
    CLASS_LEAF,
    CLASS_REDUCE,
    CLASS_SCAN,
    CLASS_MOVEMENT,
    CLASS_FOLD,
    CLASS_GATHER,
    CLASS_CONTRACTION,
    CLASS_LOOP,
    CLASS_MARKER,
    CLASS_EFFECT
};

/* Which fields of struct attributes an op uses. _TYPE: the maker must also give the result's shape, which cannot be
 * told from the operands. */
enum attribute_kind {
    ATTRIBUTE_NONE,
    ATTRIBUTE_TYPE,         /* nothing but the result type */
    ATTRIBUTE_VALUE,        /* value */
    ATTRIBUTE_AXES,         /* axes */
    ATTRIBUTE_AXIS,         /* axis */
    ATTRIBUTE_AXIS_TYPE,    /* axis */
    ATTRIBUTE_AXIS_REVERSE, /* axis, reverse */
    ATTRIBUTE_PERMUTATION,  /* permutation */
    ATTRIBUTE_SLICE,        /* low, high, step */
    ATTRIBUTE_PAD,          /* low, high, value */
    ATTRIBUTE_WINDOW,       /* window, value */
    ATTRIBUTE_WINDOW_TYPE,  /* window */
    ATTRIBUTE_CONV,         /* window (kernel from the weight), groups */
    ATTRIBUTE_CONV_TYPE,    /* the same */
    ATTRIBUTE_MATMUL,       /* transpose_a, transpose_b */
    ATTRIBUTE_SYMBOL,       /* symbol */
    ATTRIBUTE_INPUT,        /* symbol, index: classes */
    ATTRIBUTE_WRITE,        /* symbol, index: the gate */
    ATTRIBUTE_OUTPUT,       /* symbol, output */
    ATTRIBUTE_KEY,          /* key */
    ATTRIBUTE_INDEX,        /* index */
    ATTRIBUTE_LOOP          /* symbol, loop, reverse */
};

enum element_rule { RULE_SAME, RULE_FLOAT, RULE_BOOL, RULE_SELECT, RULE_GIVEN };

struct op_info {
    const char *name;
    int arity; /* -1: one or more */
    enum op_class class;
    enum attribute_kind attributes;
    enum element_rule element; /* pointwise ops only */
    const char *expression;    /* pointwise ops only: C over a, b, c */
    int flops;                 /* per element, pointwise ops only */
    const char *gradient;      /* "none" where no gradient flows */
    const char *help;
};

const struct op_info *op_info(enum op op);
/* OP_COUNT when there is no op of this name. */
enum op op_find(const char *name);
const char *op_class_name(enum op_class class);

static inline bool op_is(enum op op, enum op_class class)
{
    return op_info(op)->class == class;
}

/* The element type that two operands meet in: any float beats integers, f16 with bf16 gives f32, the wider wins. */
enum element element_promote(enum element a, enum element b);

#endif
