/* Varints, fields with a length, and messages in messages; field numbers are those of onnx.proto. */
#include "frontend/onnx_proto.h"

#include <stb/stb_ds.h>
#include <string.h>

enum wire { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

static void put_varint(struct message *message, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        arrput(message->bytes, (unsigned char)(value | 0x80));
    arrput(message->bytes, (unsigned char)value);
}

static void put_key(struct message *message, int field, enum wire wire)
{
    put_varint(message, (uint64_t)field << 3 | wire);
}

void message_integer(struct message *message, int field, int64_t value)
{
    put_key(message, field, WIRE_VARINT);
    put_varint(message, (uint64_t)value);
}

void message_bytes(struct message *message, int field, const void *bytes, size_t size)
{
    put_key(message, field, WIRE_LENGTH);
    put_varint(message, size);
    if (size)
        memcpy(arraddnptr(message->bytes, size), bytes, size);
}

void message_text(struct message *message, int field, const char *text)
{
    message_bytes(message, field, text, strlen(text));
}

void message_put(struct message *message, int field, struct message *inner)
{
    message_bytes(message, field, inner->bytes, arrlenu(inner->bytes));
    arrfree(inner->bytes);
}

int onnx_element(enum element element)
{
    static const int numbers[ELEMENT_COUNT] = {
        [ELEMENT_F32] = 1,  [ELEMENT_U8] = 2,   [ELEMENT_I32] = 6,  [ELEMENT_I64] = 7,
        [ELEMENT_BOOL] = 9, [ELEMENT_F16] = 10, [ELEMENT_F64] = 11, [ELEMENT_BF16] = 16};
    return numbers[element];
}

struct message onnx_tensor(const char *name, const struct type *type, const void *bytes)
{
    enum { DIMS = 1, DATA_TYPE = 2, NAME = 8, RAW_DATA = 9 };
    struct message tensor = {0};
    for (int i = 0; i < type->shape.rank; i++)
        message_integer(&tensor, DIMS, type->shape.dimension[i]);
    message_integer(&tensor, DATA_TYPE, onnx_element(type->element));
    message_text(&tensor, NAME, name);
    message_bytes(&tensor, RAW_DATA, bytes, (size_t)shape_elements(&type->shape) * element_bytes(type->element));
    return tensor;
}

struct message onnx_value(const char *name, const struct type *type)
{
    enum {
        VALUE_NAME = 1,
        VALUE_TYPE = 2,
        TENSOR_TYPE = 1,
        ELEMENT = 1,
        SHAPE = 2,
        DIMENSION = 1,
        DIMENSION_VALUE = 1
    };
    struct message value = {0}, outer = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < type->shape.rank; i++) {
        struct message dimension = {0};
        message_integer(&dimension, DIMENSION_VALUE, type->shape.dimension[i]);
        message_put(&shape, DIMENSION, &dimension);
    }
    message_integer(&tensor, ELEMENT, onnx_element(type->element));
    message_put(&tensor, SHAPE, &shape);
    message_put(&outer, TENSOR_TYPE, &tensor);
    message_text(&value, VALUE_NAME, name);
    message_put(&value, VALUE_TYPE, &outer);
    return value;
}

/* ---- nodes ---- */

enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_I = 3, ATTRIBUTE_GRAPH = 6, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_INT = 2, TYPE_GRAPH = 5, TYPE_INTS = 7 };

struct message onnx_node(const char *op, const char *const *inputs, int count, const char *output)
{
    struct message node = {0};
    for (int i = 0; i < count; i++)
        message_text(&node, NODE_INPUT, inputs[i]);
    message_text(&node, NODE_OUTPUT, output);
    message_text(&node, NODE_OP, op);
    return node;
}

void onnx_node_integer(struct message *node, const char *name, int64_t value)
{
    struct message attribute = {0};
    message_text(&attribute, ATTRIBUTE_NAME, name);
    message_integer(&attribute, ATTRIBUTE_I, value);
    message_integer(&attribute, ATTRIBUTE_TYPE, TYPE_INT);
    message_put(node, NODE_ATTRIBUTE, &attribute);
}

void onnx_node_integers(struct message *node, const char *name, const int64_t *values, int count)
{
    struct message attribute = {0};
    message_text(&attribute, ATTRIBUTE_NAME, name);
    for (int i = 0; i < count; i++)
        message_integer(&attribute, ATTRIBUTE_INTS, values[i]);
    message_integer(&attribute, ATTRIBUTE_TYPE, TYPE_INTS);
    message_put(node, NODE_ATTRIBUTE, &attribute);
}

void onnx_node_graph(struct message *node, const char *name, struct message *graph)
{
    struct message attribute = {0};
    message_text(&attribute, ATTRIBUTE_NAME, name);
    message_put(&attribute, ATTRIBUTE_GRAPH, graph);
    message_integer(&attribute, ATTRIBUTE_TYPE, TYPE_GRAPH);
    message_put(node, NODE_ATTRIBUTE, &attribute);
}

struct message onnx_model(struct message *graph, int opset, const char *producer)
{
    enum {
        IR_VERSION = 1,
        PRODUCER = 2,
        GRAPH = 7,
        OPSET_IMPORT = 8,
        OPSET_DOMAIN = 1,
        OPSET_VERSION = 2,
        VERSION = 8
    };
    struct message model = {0}, import = {0};
    message_integer(&model, IR_VERSION, VERSION);
    message_text(&model, PRODUCER, producer);
    message_put(&model, GRAPH, graph);
    message_text(&import, OPSET_DOMAIN, "");
    message_integer(&import, OPSET_VERSION, opset);
    message_put(&model, OPSET_IMPORT, &import);
    return model;
}
