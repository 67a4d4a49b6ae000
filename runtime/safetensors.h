/* The safetensors format: a u64 length, a JSON header, then the tensors' bytes, row-major and little-endian.
 *
 * The reader is strict: everything the format demands is checked before a byte of data is used (length, header size,
 * no duplicate keys, types, shapes without overflow, offsets that cover the data without gap or overlap). The writer is
 * durable: a full disk or a crash leaves the old file as it was. What it writes with notes (the format's __metadata__)
 * carries a checksum among them, so that weights or a checkpoint of ours whose bytes changed are refused; other
 * programs' files have none. */
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

/* An entry of the format's __metadata__. */
struct safetensors_note {
    const char *key, *value;
};

struct safetensors {
    char *path;
    int count;
    struct safetensors_tensor *tensors; /* in the order of the header */
    int note_count;
    struct safetensors_note *notes;
    void *mapping;
    size_t mapping_bytes;
    bool owned; /* malloced, not mapped */
};

enum { SAFETENSORS_HEADER_MAX = 100 * 1000 * 1000 };

/* NULL with an error that names the file and what is wrong with it. */
struct safetensors *safetensors_open(const char *path, struct error *error);
void safetensors_close(struct safetensors *file);
/* The same of a file in memory, which it takes over (malloced), also when it fails. `name` is what messages call it. */
struct safetensors *safetensors_take(const char *name, void *memory, size_t size, struct error *error);
/* The next one of files that stand back to back in a stream. NULL without an error at the stream's end. */
struct safetensors *safetensors_read(FILE *stream, const char *name, struct error *error);
/* NULL when there is none. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* The value of the note with this key, or NULL. */
const char *safetensors_note(const struct safetensors *file, const char *key);

/* Writes the tensors in the order given: to a temporary file in the same folder, synced, renamed, folder synced. */
bool safetensors_write(const char *path, const struct safetensors_tensor *tensors, int count,
                       const struct safetensors_note *notes, int note_count, struct error *error);

/* "[64, 1, 3, 3]" into text. */
const char *safetensors_shape(int rank, const int64_t *dimension, char *text, size_t size);

#endif
