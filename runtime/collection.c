/* A growing list of tensors that own their bytes. */
#include "runtime/collection.h"
#include "runtime/safetensors.h"
#include "runtime/tensor.h"

#include <stdlib.h>
#include <string.h>

static struct safetensors_tensor *append(struct collection *collection)
{
    if (collection->count == collection->room) {
        int room = collection->room ? 2 * collection->room : 16;
        struct safetensors_tensor *grown = realloc(collection->tensors, sizeof *grown * (size_t)room);
        if (!grown)
            return NULL;
        collection->tensors = grown;
        collection->room = room;
    }
    return &collection->tensors[collection->count++];
}

bool collection_add(struct collection *collection, const char *name, const struct program_tensor *tensor,
                    const void *stored)
{
    struct safetensors_tensor *added = append(collection);
    if (!added)
        return false;
    *added = (struct safetensors_tensor){.name = strdup(name), .element = tensor->element, .rank = tensor->rank};
    memcpy(added->dimension, tensor->dimension, sizeof added->dimension);
    added->bytes = (size_t)program_tensor_elements(tensor) * program_element_bytes(tensor->element);
    void *values = malloc(added->bytes + 1);
    added->data = values;
    if (!added->name || !values)
        return false;
    tensor_load(tensor, stored, tensor->element, values);
    return true;
}

bool collection_add_variable(struct collection *collection, struct executor *executor,
                             const struct program_variable *variable)
{
    return collection_add_variable_as(collection, executor, variable, variable->name);
}

bool collection_add_variable_as(struct collection *collection, struct executor *executor,
                                const struct program_variable *variable, const char *name)
{
    void *stored = malloc(program_tensor_bytes(&variable->tensor) + 1);
    if (!stored)
        return false;
    executor_read(executor, variable, stored);
    bool ok = collection_add(collection, name, &variable->tensor, stored);
    free(stored);
    return ok;
}

bool collection_write(const struct collection *collection, const char *path, struct error *error)
{
    return safetensors_write(path, collection->tensors, collection->count, collection->notes, collection->note_count,
                             error);
}

void collection_free(struct collection *collection)
{
    for (int i = 0; i < collection->count; i++) {
        free((void *)collection->tensors[i].data);
        free((char *)collection->tensors[i].name);
    }
    free(collection->tensors);
    *collection = (struct collection){0};
}
