/* Inside runtime/data: what has been read, before any input is bound to it. */
#ifndef CASTOR_RUNTIME_DATA_DATASET_H
#define CASTOR_RUNTIME_DATA_DATASET_H

#include "runtime/data/array.h"
#include "runtime/data/data.h"

/* A source has a training part and perhaps a test part, each an array a field. */
enum data_part { PART_TRAIN, PART_TEST, PART_COUNT };

struct data_field {
    char *name;
    const struct data_source *line; /* the data line that gives it, whose stages it passes through */
    struct data_array part[PART_COUNT]; /* none where the model does not take the field */
};

/* A data line that was opened. */
struct source {
    const struct data_description *description;
    const struct data_source *line;
    struct data_field *fields;
    int field_count;
    bool *renamed;     /* for each rename of the line whether there is such a field */
    char *no_features; /* why a CSV file gives no field features; NULL: it does, or it is none */
    int64_t examples[PART_COUNT];
};

/* A set: so many rows of a part. */
struct data_split {
    enum data_part part;
    int64_t count;
    const int64_t *rows; /* NULL: 0, 1, 2 … */
};

struct dataset {
    const struct data_description *description;
    struct source *sources; /* one a data line, alike in their numbers of examples */
    int source_count;
    int64_t examples[PART_COUNT];
    struct data_split splits[SPLIT_COUNT];
    int64_t *rows; /* all rows of the training part, shuffled, where splits take shares of them */
};

/* ---- the sources: each makes the fields of a data line ---- */

/* False with an error set; what was made stays with the source. */

/* Whether each field that a rename names was there, once the source is open. */
bool source_check_renames(const struct source *source, struct error *error);
bool source_idx(struct source *source, struct error *error);
bool source_numpy(struct source *source, struct error *error);
bool source_csv(struct source *source, struct error *error);
bool source_tensors(struct source *source, struct error *error);
bool source_images(struct source *source, struct error *error);
bool source_text(struct source *source, struct error *error);
bool source_command(struct source *source, struct error *error);

/* ---- sources.c, beside idx, numpy, csv and tensors ---- */

/* A new field by the name under which the model sees it; valid until the next one. NULL with an error set when there is
 * one already. */
struct data_field *source_add(struct source *source, const char *name, struct error *error);

/* ---- random.c: counter-based draws, equal on every machine ---- */

/* 64 well-mixed bits of four numbers. */
uint64_t data_hash(uint64_t seed, uint64_t stream, uint64_t a, uint64_t b);
/* 0 <= result < below, from 64 random bits. */
int64_t data_below(uint64_t bits, int64_t below);
/* From Beta(alpha, alpha), as a function of its numbers. */
double data_beta(double alpha, uint64_t seed, uint64_t stream, uint64_t key);
/* Fills rows[i] = i and shuffles. */
void data_shuffle(int64_t *rows, int64_t count, uint64_t seed, uint64_t stream);

enum data_stream { STREAM_SPLIT = 1, STREAM_ORDER, STREAM_AUGMENT, STREAM_SYNTHETIC };

/* ---- synthetic.c ---- */

/* Whether the source is synthetic and has a field of this name. */
bool synthetic_has(const struct source *source, const char *name);
/* Whether each field that a rename names is there. */
bool synthetic_check_renames(const struct source *source, struct error *error);
/* Draws both parts of the field of that name, which it has, in the type that the input asks for. */
bool synthetic_draw(const struct source *source, const struct program_input *input, struct data_field *field,
                    struct error *error);

/* ---- fields.c ---- */

/* The source whose field has an input's name, and the field (NULL: a synthetic one, not drawn yet). NULL with an error
 * set that lists the fields when none has, or more than one. */
const struct source *field_find(const struct dataset *dataset, const char *name, const struct data_field **field,
                                struct error *error);
/* What the field's own array must be for an input: the input itself, or the class that a row of shares is made of. */
struct program_input field_asked(const struct data_field *field, const struct program_input *input);
/* Checks that the field fits what is asked, in element type and shape, and every value that lies in memory. */
bool field_check(const struct dataset *dataset, const struct data_field *field, const struct program_input *asked,
                 struct error *error);
/* Checks the values of one example. */
bool field_check_example(const struct data_array *array, const struct program_input *input, const void *values,
                         int64_t example, struct error *error);

/* ---- transform.c ---- */

/* A thread's buffers: two for stages in turn, two for examples that are read, two for those that are mixed. */
enum { SCRATCHES = 6, SCRATCH_OWN = 2, SCRATCH_OTHER, SCRATCH_MIXED, SCRATCH_ADDED };

/* Examples on their way from one part's array to the batch: a test set may have other element types, and axes of size 1
 * elsewhere. */
struct transform {
    const struct data_source *line;
    const struct program_input *input;
    struct program_input asked; /* by field_asked */
    enum program_element from;
    int rank; /* of an example */
    int64_t dimension[PROGRAM_RANK];
    int64_t elements, planes; /* planes of the last two axes */
    bool label;               /* a class: stages move it, but none but mixup changes it */
    int64_t shares;           /* elements of the row that a class becomes; 0: none */
    int mixup;                /* number of that stage, -1: none */
    size_t scratch;           /* bytes of a scratch buffer */
};

/* An example as it was read; its row decides the random stages. */
struct example {
    const void *values;
    int64_t row;
};

bool transform_init(struct transform *transform, const struct data_field *field, enum data_part part,
                    const struct program_input *input, struct error *error);
/* Does the stage change the field at all? One that changes no field of its line was meant for other data. */
bool transform_acts(const struct transform *transform, const struct data_stage *stage);
const char *data_stage_name(enum data_stage_kind kind);
/* Which example of `count` an example is mixed with; -1: none. */
int64_t transform_partner(const struct transform *transform, uint64_t seed, int64_t row, int64_t count);
/* Writes one example, mixed with another one where `other` is not NULL. `training` lets the random stages act. */
void transform_apply(const struct transform *transform, const struct example *own, const struct example *other,
                     bool training, uint64_t seed, void *scratch[SCRATCHES], void *out);

#endif
