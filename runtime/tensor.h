/* Values of tensors between their stored form (any element type, any order of axes) and plain row-major arrays. */
#ifndef CASTOR_RUNTIME_TENSOR_H
#define CASTOR_RUNTIME_TENSOR_H

#include "runtime/error.h"
#include "runtime/program.h"

/* One value at an address that need not be aligned. */
double tensor_get(enum program_element element, const void *at);
/* Rounds to nearest even; out of range gives infinity for floating types and the nearest bound for integers. */
void tensor_put(enum program_element element, void *at, double value);
/* The value rounded to an element type. */
double tensor_round(enum program_element element, double value);

/* Writes row-major `values` of type `element` into a tensor, rounded to its type. Only to an integer type can it fail:
 * when a value is no integer or out of range; `name` is for that message. */
bool tensor_store(const struct program_tensor *tensor, void *stored, enum program_element element, const void *values,
                  const char *name, struct error *error);
/* Reads a tensor into row-major `values` of type `element`, rounded to the tensor's own type and then to `element`. */
void tensor_load(const struct program_tensor *tensor, const void *stored, enum program_element element, void *values);

#endif
