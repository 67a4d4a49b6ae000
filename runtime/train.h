/* Training and evaluation: loops over a program, a device and batches, and the run folder that they leave behind.
 *
 * Everything the loops must know comes as plain data; nothing here knows how the program was made. */
#ifndef CASTOR_RUNTIME_TRAIN_H
#define CASTOR_RUNTIME_TRAIN_H

#include "runtime/executor.h"

enum split { SPLIT_TRAIN, SPLIT_TEST, SPLIT_VALIDATE, SPLIT_COUNT };

/* Where batches come from. The loader (runtime/data) makes one; so do tests. Passes over different sets are independent
 * of each other. All functions return false with an error set on failure. */
struct batches {
    void *source;
    int64_t examples[SPLIT_COUNT]; /* 0 where the source has no such set */
    int field_count;
    const char *const *fields; /* names, in the order in which `next` gives addresses */
    /* Begins a pass over a set, at batch number `first`. Training: shuffled by (seed, pass), whole batches only. Else
     * in order, the last batch may be smaller. */
    bool (*start)(void *source, enum split split, int64_t pass, int64_t batch, int64_t first, struct error *error);
    /* The next batch of the pass: fields[i] is the address of field i, aligned to 64 bytes, row-major in the element
     * type of the program's input of that name, unchanged until the call after the next one. *count: examples in it, 0
     * at the end of the pass. */
    bool (*next)(void *source, enum split split, const void **fields, int64_t *count, struct error *error);
};

/* A text that a run keeps in its folder. */
struct run_file {
    const char *name; /* below the folder: "model.net", "imports/blocks.net" */
    const char *text;
    bool begins; /* tells how training was begun, so that a run that goes on writes it anew. Else it stays as it is, and
                    a run that goes on says where it trains another text. */
};

struct train_settings {
    const char *name;             /* of the model: run folders are runs/NAME.1, … */
    const struct run_file *files; /* what else the run's folder holds */
    int file_count;
    const char *out;       /* run folder, must not exist; NULL: the next free one below runs/ */
    const char *precision; /* for messages: "autocast(f16)"; may be NULL */
    int64_t epochs;        /* used when steps is 0 */
    int64_t steps;         /* the planned total; 0: epochs times the steps of an epoch */
    uint64_t seed;
    const char *weights; /* loaded after init; NULL: none */
    bool weights_partial;
    const char *resume;    /* a run folder: go on where its last checkpoint stands; NULL: begin a run */
    const char *command;   /* what begins this training, for the message after an interruption; NULL: not known */
    const char *optimizer; /* the optimizers by name, "loss with adam"; a resumed run must have the same; may be NULL */
    /* What else was set, a line each, of which a resumed run tells what has changed; may be NULL. */
    const char *entries;
    int64_t evaluate_steps;    /* evaluate every so many steps, 0: see evaluate_epochs */
    int64_t evaluate_epochs;   /* evaluate every so many epochs, 0: only at the end */
    int64_t checkpoint_steps;  /* write last.safetensors every so many steps, 0: see checkpoint_epochs */
    int64_t checkpoint_epochs; /* 0: only at the end */
    int64_t keep;              /* checkpoints that stay, the last one among them; 0: two */
    const char *best;          /* loss or metric that chooses best.safetensors; NULL: the first metric, else the loss */
    int best_direction;        /* 1 highest, -1 lowest, 0: metrics highest, losses lowest */
    bool quiet;                /* no progress */
    bool json;                 /* log lines to stdout too */
    bool check;                /* executor_new's check */
    bool no_files;             /* leave nothing on disk (benchmarks) */
};

enum { RESULT_PATH = 4096 };

/* A loss or metric by name. */
struct score {
    char *name;
    double value;
    bool loss;
};

/* Losses, then metrics, in the order of the program; they own their names. */
struct scores {
    struct score *list;
    int count, room;
};

/* Adds one under a copy of its name. False when out of memory. */
bool scores_add(struct scores *scores, const char *name, double value, bool loss);
/* Forgets what `to` holds, then adds all of `from`. False when out of memory. */
bool scores_copy(struct scores *to, const struct scores *from);
void scores_free(struct scores *scores);

struct train_result {
    char run[RESULT_PATH]; /* the run folder, "" with no_files */
    int64_t steps;         /* attempted */
    int64_t skipped;
    double scale;               /* of the loss at the end; NaN where there is none, or one for each loss */
    double step_seconds;        /* mean time of a training step, evaluation and first step apart */
    double examples_per_second; /* the same as a rate */
    double wait_share;          /* share of that time in which no batch was ready */
    struct scores scores;       /* of the last evaluation, or of the last training step when there is no test set; to be
                                   freed by the caller */
    double best;                /* value of the best evaluation so far; NaN when there was none */
    double best_average;        /* likewise of the averaged weights */
};

/* Trains: init, weights, steps with evaluation and checkpoints between, last and best weights at the end. The progress
 * line and messages go to stderr. On Ctrl-C it finishes the step, or with accumulation the batch, saves, and returns
 * false with code 130; diverged training gives code 4. A resumed run goes on, and ends, as if it had never stopped. */
bool train(struct device *device, const struct program *program, const struct batches *batches,
           const struct train_settings *settings, struct train_result *result, struct error *error);

/* Metrics of a set: every example exactly once. */
struct evaluation {
    struct scores scores; /* to be freed by the caller */
    int64_t examples;
    double seconds;
};

/* At which weights: those that train, by the entries eval…, or their averages, by the entries average…. */
enum evaluated { EVALUATED_WEIGHTS, EVALUATED_AVERAGE };

/* Evaluates on an executor whose state is in place. The first entry of that name takes whole batches, the one compiled
 * for the examples that are left takes those; a set smaller than a batch needs only the latter. */
bool evaluate(struct executor *executor, const struct batches *batches, enum split split, enum evaluated evaluated,
              struct evaluation *evaluation, struct error *error);

/* Whether the program can evaluate the set: which sizes of a last batch it takes is decided when it is compiled, for
 * the data of that time. */
bool evaluation_check(const struct program *program, const struct batches *batches, enum split split,
                      struct error *error);

/* Whether the program keeps averaged weights and has entries that evaluate them. */
bool has_averages(const struct program *program);

/* Gives the state its first values: seed, entry init, then the weights of a file if one is named, then refresh. */
bool executor_initialise(struct executor *executor, uint64_t seed, const char *weights, bool partial,
                         struct error *error);

/* The command `eval`: init, weights (NULL: fresh ones), evaluate on the test set. */
bool evaluate_weights(struct device *device, const struct program *program, const struct batches *batches,
                      const char *weights, bool partial, uint64_t seed, struct evaluation *evaluation,
                      struct error *error);

/* Beside what each step costs. */
struct train_profile {
    double load_seconds; /* to compile or fetch the kernels and to prepare the steps */
    bool finite;         /* the losses were numbers to the end */
};

/* The command `profile`: what each step of the entry `train` (or micro) costs, over `runs` runs on one batch that
 * begin as training does. */
bool train_profile(struct device *device, const struct program *program, const struct batches *batches, uint64_t seed,
                   int runs, const char *entry, struct executor_cost *costs, struct train_profile *profile,
                   struct error *error);

#endif
