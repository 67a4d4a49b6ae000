/* Tensors gathered from an executor, to be written as one safetensors file. */
#ifndef CASTOR_RUNTIME_COLLECTION_H
#define CASTOR_RUNTIME_COLLECTION_H

#include "runtime/executor.h"

struct collection {
    struct safetensors_tensor *tensors;
    int count, room;
    const struct safetensors_note *notes; /* the caller's, written along */
    int note_count;
};

/* Adds a tensor given as stored, in its own element type; copies the bytes and the name. False when out of memory. */
bool collection_add(struct collection *collection, const char *name, const struct program_tensor *tensor,
                    const void *stored);
/* Adds the present value of a variable, under its own name or another. */
bool collection_add_variable(struct collection *collection, struct executor *executor,
                             const struct program_variable *variable);
bool collection_add_variable_as(struct collection *collection, struct executor *executor,
                                const struct program_variable *variable, const char *name);
bool collection_write(const struct collection *collection, const char *path, struct error *error);
void collection_free(struct collection *collection);

#endif
