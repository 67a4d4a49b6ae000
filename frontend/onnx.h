/* castor export: an evaluation graph, with the casts of its policy, as an ONNX model. */
#ifndef CASTOR_FRONTEND_ONNX_H
#define CASTOR_FRONTEND_ONNX_H

#include "ir/graph.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"

/* Writes the graph (after pass dce, before layout) to a file. Weights that the safetensors file has become constants of
 * the model; with `weights` NULL, parameters and states are inputs of it. False after diagnostics of the module, or
 * with an error set: an op that ONNX has no form for, a weight that is missing or has another shape, a full disk. */
bool onnx_export(const struct graph *graph, const struct safetensors *weights, const char *path, struct error *error);

#endif
