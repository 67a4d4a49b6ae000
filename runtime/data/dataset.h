/* Inside runtime/data: what has been read, before any input is bound to it. */
#ifndef CASTOR_RUNTIME_DATA_DATASET_H
#define CASTOR_RUNTIME_DATA_DATASET_H

#include "runtime/data/array.h"
#include "runtime/data/data.h"

/* A source has a training part and perhaps a test part, each an array a field. */
enum data_part { PART_TRAIN, PART_TEST, PART_COUNT };

struct data_field {
    char *name;
    struct data_array part[PART_COUNT];
};

/* A set: so many rows of a part. */
struct data_split {
    enum data_part part;
    int64_t count;
    const int64_t *rows; /* NULL: 0, 1, 2 … */
};

struct dataset {
    const struct data_description *description;
    struct data_field *fields;
    int field_count;
    char *no_features; /* why a CSV file gives no field features; NULL: it does, or it is none */
    int64_t examples[PART_COUNT];
    struct data_split splits[SPLIT_COUNT];
    int64_t *rows; /* all rows of the training part, shuffled, where splits take shares of them */
};

/* ---- random.c: counter-based draws, equal on every machine ---- */

/* 64 well-mixed bits of four numbers. */
uint64_t data_hash(uint64_t seed, uint64_t stream, uint64_t a, uint64_t b);
/* 0 <= result < below, from 64 random bits. */
int64_t data_below(uint64_t bits, int64_t below);
/* Fills rows[i] = i and shuffles. */
void data_shuffle(int64_t *rows, int64_t count, uint64_t seed, uint64_t stream);

enum data_stream { STREAM_SPLIT = 1, STREAM_ORDER, STREAM_AUGMENT, STREAM_SYNTHETIC };

/* ---- synthetic.c ---- */

/* Draws both parts of the field that an input of the given type asks for. */
bool synthetic_draw(const struct dataset *dataset, const struct program_input *input, struct data_field *field,
                    struct error *error);

/* ---- fields.c ---- */

/* Checks that the field fits the input, in element type, shape and every value. */
bool field_check(const struct dataset *dataset, const struct data_field *field, const struct program_input *input,
                 struct error *error);
/* The field of an input's name, or NULL with an error set that lists the fields. */
const struct data_field *field_find(const struct dataset *dataset, const char *name, struct error *error);

/* ---- transform.c ---- */

/* One example on its way from the file's array to the batch. */
struct transform {
    const struct data_description *description;
    const struct program_input *input;
    enum program_element from;
    int rank; /* of an example */
    int64_t dimension[PROGRAM_RANK];
    int64_t elements, planes; /* planes of the last two axes */
    bool label;
    size_t row, scratch; /* bytes of an example in the array; of a scratch buffer (two are needed) */
};

/* NULL input: nothing. The example's type is that of the array. */
bool transform_init(struct transform *transform, const struct data_description *description,
                    const struct data_array *array, const struct program_input *input, struct error *error);
/* Writes one example. `key` decides the random stages; `training` lets them act. */
void transform_apply(const struct transform *transform, const void *example, bool training, uint64_t seed, uint64_t key,
                     void *scratch[2], void *out);

#endif
