/* Pass cse: common subexpression elimination. */
#include "ir/attribute.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

#define XXH_INLINE_ALL
#include <stb/stb_ds.h>
#include <string.h>
#include <xxhash.h>

/* The first node of each hash; should two different nodes share one, the later is not merged with anything. */
struct known {
    uint64_t key;
    struct node *value;
};

static bool commutes(enum op op)
{
    return op == OP_add || op == OP_mul || op == OP_eq || op == OP_ne || op == OP_and || op == OP_or;
}

/* Operand i, those of a commutative op by their place in the graph. */
static const struct node *operand_at(const struct node *node, int i)
{
    if (commutes(node->op) && node->operands[0]->id > node->operands[1]->id)
        i = 1 - i;
    return node->operands[i];
}

/* The text of a symbol: the same name may be interned in two arenas, a module's and the one that it was copied from. */
static const char *symbol_of(const struct node *node, const struct attribute_field *field)
{
    const char *symbol;
    memcpy(&symbol, attribute_of(node->attributes, field), sizeof symbol);
    return symbol ? symbol : "";
}

static uint64_t hash(const struct node *node)
{
    const struct type *type = &node->type;
    int64_t head[] = {node->op, node->operand_count, node->pin, type->element, type->shape.rank};
    uint64_t value = XXH3_64bits(head, sizeof head);
    value = XXH3_64bits_withSeed(type->shape.dimension, sizeof(int64_t) * (size_t)type->shape.rank, value);
    for (int i = 0; i < node->operand_count; i++) {
        int id = operand_at(node, i)->id;
        value = XXH3_64bits_withSeed(&id, sizeof id, value);
    }
    enum attribute_kind kind = op_info(node->op)->attributes;
    for (int i = 0; i < attribute_field_count(kind); i++) {
        const struct attribute_field *field = attribute_field(kind, i);
        const void *bytes = attribute_of(node->attributes, field);
        size_t size = attribute_bytes(node, field);
        if (field->form == FORM_SYMBOL) {
            bytes = symbol_of(node, field);
            size = strlen(bytes);
        }
        value = XXH3_64bits_withSeed(bytes, size, value);
    }
    return value;
}

static bool equal(const struct node *a, const struct node *b)
{
    if (a->op != b->op || a->operand_count != b->operand_count || a->pin != b->pin || !type_equal(&a->type, &b->type))
        return false;
    for (int i = 0; i < a->operand_count; i++)
        if (operand_at(a, i) != operand_at(b, i))
            return false;
    enum attribute_kind kind = op_info(a->op)->attributes;
    for (int i = 0; i < attribute_field_count(kind); i++) {
        const struct attribute_field *field = attribute_field(kind, i);
        if (field->form == FORM_SYMBOL ? strcmp(symbol_of(a, field), symbol_of(b, field)) != 0
                                       : memcmp(attribute_of(a->attributes, field), attribute_of(b->attributes, field),
                                                attribute_bytes(a, field)) != 0)
            return false;
    }
    return true;
}

/* Computes equal values once: of nodes with the same op, operands, attributes, type and pin the first stays. All
 * reads of a variable see the same value and random is a function of its operands and key, so they merge too;
 * writes and outputs never do.
 * Requires: nothing. Preserves: values and the order of the rest. Linear in nodes. */
void pass_cse(struct graph *graph, struct pass_context *context)
{
    struct node **nodes = graph_take_nodes(graph);
    struct known *table = NULL;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (op_is(node->op, CLASS_EFFECT)) {
            graph_append(graph, node);
            continue;
        }
        uint64_t key = hash(node);
        struct known *entry = hmgetp_null(table, key);
        if (entry && equal(entry->value, node) && pass_may_rewrite(context)) {
            node_replace(node, entry->value);
            continue;
        }
        graph_append(graph, node);
        if (!entry)
            hmput(table, key, node);
    }
    hmfree(table);
    arrfree(nodes);
    graph_number(graph);
}
