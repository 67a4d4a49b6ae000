/* The state of one training run, shared by the files that make it up: train.c (the loop), trainer_step.c (what a step
 * leaves behind), trainer_save.c (evaluations, weights and checkpoints as files), trainer_checkpoint.c and
 * trainer_resume.c (what is in a checkpoint). Private to them. */
#ifndef CASTOR_RUNTIME_TRAINER_H
#define CASTOR_RUNTIME_TRAINER_H

#include "runtime/divergence.h"
#include "runtime/feeder.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "runtime/tally.h"
#include "runtime/train.h"

/* A launch whose results have not been looked at. */
struct pending {
    uint64_t ticket; /* 0: none */
    const struct program_entry *entry;
    int64_t examples;
    bool ends_step;
    double clock; /* when the launch came back */
};

struct trainer {
    const struct train_settings *settings;
    const struct batches *batches;
    const struct program *program;
    struct executor *executor;
    struct train_result *result;
    struct feeder feeder;                          /* of entry train, or micro */
    int update;                                    /* number of entry update, -1 without accumulation */
    const struct program_variable *epoch_variable; /* train/epoch; NULL when nothing reads it */
    const struct program_variable *overflow;       /* train/overflow; NULL where nothing is scaled */
    int64_t step_examples, steps_per_epoch, total;
    int64_t begun;              /* the step at which it was resumed, 0 */
    int64_t pass;               /* over the data, that is under way; -1: none */
    int64_t launched, finished; /* steps */
    int64_t micro;              /* batches of the next step that have run already */
    int64_t evaluated;          /* the step after which the last evaluation ran */
    struct pending pending;
    struct tally step, epoch; /* values of the present step and epoch */
    struct divergence divergence;
    struct log log;
    int lock; /* of the run folder; -1: none */
    struct progress progress;
    double clock;          /* when the launch of the last step came back, or when the work on it began */
    double timed_seconds;  /* of timed_steps steps, the first apart */
    double waited_seconds; /* … in which no batch was ready */
    int64_t timed_steps;
    enum split best_split;                        /* SPLIT_COUNT when there is nothing to evaluate on */
    int64_t saved_step, saved_micro, saved_total; /* where the newest checkpoint stands; step -1: there is none */
    int64_t saved_evaluated;                      /* and the step of the last evaluation that it knows */
    bool saved_apart;   /* it has its step's name alone: last.safetensors is damaged or gone */
    bool saved_whole;   /* and what goes with it is done: older ones removed, averages written */
    char *best_name;    /* the loss or metric that chose the best weights so far, NULL: none did … */
    int best_direction; /* … as the highest, 1, or the lowest, -1; 0: not known (older checkpoints) */
};

/* Launches an entry and looks at the results of the launch before it. */
bool trainer_launch(struct trainer *trainer, int entry, const void *const *inputs, int64_t examples, bool ends_step,
                    struct error *error);
/* Looks at what is outstanding. */
bool trainer_drain(struct trainer *trainer, struct error *error);
/* What is known now, for the progress line. */
struct progress_state trainer_state(const struct trainer *trainer);

/* Evaluates the weights and, where there are any, their averages; logs it, and keeps those that are the best so far. */
bool trainer_evaluate(struct trainer *trainer, struct evaluation evaluations[2], struct error *error);
/* Writes the checkpoint last.safetensors; the one that was called so stays under the number of its step, and as many of
 * those as the settings keep. */
bool trainer_save_last(struct trainer *trainer, struct error *error);
/* Brings the trainer to where the newest checkpoint of the run folder stands that is not damaged. */
bool trainer_resume(struct trainer *trainer, struct error *error);
/* The test set at the end, when the best weights are chosen on another set. */
bool trainer_final_test(struct trainer *trainer, struct error *error);

#endif
