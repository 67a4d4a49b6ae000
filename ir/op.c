/* The op table: rows of ops.def as an array. */
#include "ir/op.h"

#include <string.h>

static const struct op_info ops[OP_COUNT] = {
#define POINTWISE(name, arity, element, gradient, expression, flops, help)                                             \
    {#name, arity, CLASS_POINTWISE, ATTRIBUTE_NONE, RULE_##element, #expression, flops, #gradient, help},
#define OTHER(name, arity, class, attributes, gradient, help)                                                          \
    {#name, arity, CLASS_##class, ATTRIBUTE_##attributes, RULE_SAME, NULL, 0, #gradient, help},
#include "ir/ops.def"
};

const struct op_info *op_info(enum op op)
{
    return &ops[op];
}

enum op op_find(const char *name)
{
    for (int i = 0; i < OP_COUNT; i++)
        if (strcmp(ops[i].name, name) == 0)
            return (enum op)i;
    return OP_COUNT;
}

const char *op_class_name(enum op_class class)
{
    static const char *const names[] = {"pointwise", "leaf",        "reduction", "scan",   "movement", "fold",
                                        "gather",    "contraction", "loop",      "marker", "effect"};
    return names[class];
}

enum element element_promote(enum element a, enum element b)
{
    if (a == b)
        return a;
    if (element_is_half(a) && element_is_half(b))
        return ELEMENT_F32;
    if (element_is_float(a) != element_is_float(b))
        return element_is_float(a) ? a : b;
    if (element_is_float(a))
        return element_bytes(a) > element_bytes(b) ? a : b;
    static const int rank[ELEMENT_COUNT] = {[ELEMENT_BOOL] = 1, [ELEMENT_U8] = 2, [ELEMENT_I32] = 3, [ELEMENT_I64] = 4};
    return rank[a] > rank[b] ? a : b;
}
