/* The safetensors format: a u64 length, a JSON header, then the tensors' bytes, row-major and little-endian.
 *
 * The reader is strict: everything the format demands is checked before a byte of data is used (length, header size,
 * no duplicate keys, types, shapes without overflow, offsets that cover the data without gap or overlap). The writer is
 * durable: a full disk or a crash leaves the old file as it was. */
#ifndef CASTOR_RUNTIME_SAFETENSORS_H
#define CASTOR_RUNTIME_SAFETENSORS_H

#include "runtime/error.h"
#include "runtime/program.h"

struct safetensors_tensor {
    const char *name;
    enum program_element element;
    int rank;
    int64_t dimension[PROGRAM_RANK];
    const void *data; /* row-major; not aligned to its type */
    size_t bytes;
};

struct safetensors {
    char *path;
    int count;
    struct safetensors_tensor *tensors; /* in the order of the header */
    void *mapping;
    size_t mapping_bytes;
};

/* NULL with an error that names the file and what is wrong with it. */
struct safetensors *safetensors_open(const char *path, struct error *error);
void safetensors_close(struct safetensors *file);
/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* Writes the tensors in the order given: to a temporary file in the same folder, synced, renamed, folder synced. */
bool safetensors_write(const char *path, const struct safetensors_tensor *tensors, int count, struct error *error);

/* "[64, 1, 3, 3]" into text. */
const char *safetensors_shape(int rank, const int64_t *dimension, char *text, size_t size);

#endif
