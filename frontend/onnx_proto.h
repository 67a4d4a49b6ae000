/* The wire form of protocol buffers, and the messages of ONNX that an export needs (onnx.proto, IR version 8).
 *
 * A message is a growing buffer; a finished one is put into another as a field, which frees it. */
#ifndef CASTOR_FRONTEND_ONNX_PROTO_H
#define CASTOR_FRONTEND_ONNX_PROTO_H

#include "ir/type.h"

struct message {
    unsigned char *bytes; /* stb_ds array */
};

void message_integer(struct message *message, int field, int64_t value);
void message_bytes(struct message *message, int field, const void *bytes, size_t size);
void message_text(struct message *message, int field, const char *text);
/* Takes the inner message over. */
void message_put(struct message *message, int field, struct message *inner);

/* The number of an element type in ONNX. */
int onnx_element(enum element element);

/* ---- parts of a graph; each is to be put into the GraphProto by its field ---- */

enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };

/* A TensorProto; `bytes` are row-major. */
struct message onnx_tensor(const char *name, const struct type *type, const void *bytes);
/* A ValueInfoProto. */
struct message onnx_value(const char *name, const struct type *type);
/* A NodeProto without attributes. */
struct message onnx_node(const char *op, const char *const *inputs, int count, const char *output);
void onnx_node_integer(struct message *node, const char *name, int64_t value);
void onnx_node_integers(struct message *node, const char *name, const int64_t *values, int count);
/* An attribute that is a graph, which it takes over. */
void onnx_node_graph(struct message *node, const char *name, struct message *graph);
/* The ModelProto around a graph, which it takes over. */
struct message onnx_model(struct message *graph, int opset, const char *producer);

#endif
