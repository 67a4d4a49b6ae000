/* Data: from files to batches.
 *
 *     dataset = data_open(&description, error)                  reads the files, knows fields and numbers of examples
 *     loader  = loader_open(dataset, inputs, count, seed, …)    binds the program's inputs to fields, checks values
 *     loader_batches(loader)                                    what train.h's loops draw from
 *     loader_close, data_close
 *
 * The description is plain data that the compiler fills from the `data` lines. A field is an array whose first axis
 * counts examples; the fields of several lines stand side by side, example by example. A model input binds to the field
 * of its name; fields that no input asks for are left alone. Every failure names the file, and the example where there
 * is one, and says what was expected. */
#ifndef CASTOR_RUNTIME_DATA_DATA_H
#define CASTOR_RUNTIME_DATA_DATA_H

#include "runtime/error.h"
#include "runtime/program.h"
#include "runtime/train.h"

enum data_kind {
    DATA_IDX,       /* a folder with files by the MNIST names, gzipped or not: fields image and label */
    DATA_CSV,       /* a header line and a line an example: fields features, label, and each column by its name */
    DATA_TENSORS,   /* a safetensors file, its tensors are the fields */
    DATA_NUMPY,     /* an .npz file, its arrays are the fields; an .npy file, one field named after the file */
    DATA_SYNTHETIC, /* drawn from distributions, in the shapes that the model's inputs have */
    DATA_IMAGES,    /* a folder of folders of PNG and JPEG files, one a class: fields image and label */
    DATA_TEXT,      /* a file cut into windows: field tokens */
    DATA_COMMAND    /* what a process writes: safetensors files back to back, their tensors are the fields */
};

enum data_distribution {
    DATA_UNIFORM, /* in [a, b); whole numbers a … b - 1 for integer inputs */
    DATA_NORMAL,  /* mean a, standard deviation b; rounded for integer inputs */
    DATA_CLASSES  /* any class, equally likely */
};

struct data_synthetic_field {
    const char *name;
    enum data_distribution distribution;
    double a, b;
};

struct data_rename {
    const char *name; /* new */
    const char *field;
};

/* Applied in their order: crop and flip (in training only) over the last two axes of every bound field with two axes or
 * more, an image of labels too; cutout (in training only) likewise, and normalize (always) to fields with one axis or
 * more, but neither to labels. Mixup (in training only)
 * mixes each example with another of the set, in all fields; a whole number for which the model's input asks for a row
 * of numbers is a class, and becomes the row that is 1 at its place. */
enum data_stage_kind { DATA_RANDOM_CROP, DATA_RANDOM_FLIP, DATA_NORMALIZE, DATA_CUTOUT, DATA_MIXUP };

struct data_stage {
    enum data_stage_kind kind;
    int pad;      /* crop: zeros on each side before a window of the old size is cut out */
    int size;     /* cutout: the side of a square of zeros around a random place */
    double alpha; /* mixup: the example's share is drawn from Beta(alpha, alpha) */
    /* normalize: (x - mean) / deviation, in the units of the file; one pair, or one a channel (the third last axis) */
    int channels;
    const double *mean, *deviation;
};

/* A data line. */
struct data_source {
    enum data_kind kind;
    const char *path;       /* idx, images: folder; command: the shell's command line; else the file */
    const char *label;      /* csv: the column that is the label; NULL: one called so, if any */
    int64_t examples, test; /* synthetic; command: examples that are taken at most, 0: all */
    double test_share;      /* a file's share of the examples kept as test set, 0: none */
    int64_t window, stride; /* text: tokens of an example, and from the begin of one to the next */
    bool characters;        /* text: tokens are characters, numbered in their order; else bytes */
    int synthetic_count;
    const struct data_synthetic_field *synthetic;
    int rename_count;
    const struct data_rename *renames;
    int stage_count;
    const struct data_stage *stages;
};

struct data_description {
    int source_count;
    const struct data_source *sources;
    double validate_share; /* share of the training set kept for choosing the best weights, 0: none */
    /* Fields that the model asks for (after renaming), so that others need not be read nor agree in their numbers of
     * examples; 0: all. */
    int wanted_count;
    const char *const *wanted;
};

/* What messages call the data: the line's path, or how many lines there are. */
const char *data_name(const struct data_description *description);

struct dataset;

/* Reads everything that the description names. The description must outlive the dataset. NULL with an error set. */
struct dataset *data_open(const struct data_description *description, struct error *error);
void data_close(struct dataset *dataset);

/* Examples in a set; 0 where there is none. */
int64_t data_examples(const struct dataset *dataset, enum split split);

struct loader;

/* Binds `inputs` (as an entry of the program has them; the first axis is the batch and does not matter here) to
 * fields. Checked here: that each input has its field, element types and shapes fit, labels are below the number of
 * classes, and no value in memory is NaN or infinite (values on disk are checked when they are read). So many threads
 * prepare batches, 0: by the number of cores; batches do not depend on it. The dataset must outlive the loader. NULL
 * with an error set. */
struct loader *loader_open(const struct dataset *dataset, const struct program_input *inputs, int count, uint64_t seed,
                           int threads, struct error *error);
void loader_close(struct loader *loader);

/* The loader as train.h sees it: training batches are shuffled by (seed, pass) and whole; others come in order, the
 * last one perhaps smaller. What an example looks like depends on (seed, pass, its index) alone. Batches are prepared
 * ahead by threads. Valid until loader_close. */
struct batches loader_batches(struct loader *loader);

#endif
