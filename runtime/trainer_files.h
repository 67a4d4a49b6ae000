/* Checkpoints: trainer_checkpoint.c knows what is in one and writes it, trainer_resume.c goes on from it,
 * trainer_save.c knows which of them there are. */
#ifndef CASTOR_RUNTIME_TRAINER_FILES_H
#define CASTOR_RUNTIME_TRAINER_FILES_H

#include "runtime/safetensors.h"
#include "runtime/trainer.h"

#define CHECKPOINT_FORMAT "checkpoint"
#define CHECKPOINT_VERSION "1"
#define CHECKPOINT_PREFIX "train/run/" /* of what belongs to the loop */

enum { CHECKPOINT_FIXED = 4, CHECKPOINT_NOTES = 10 };

/* Number `number` of the integers that say where the loop stands, and its name; NULL past the last. */
int64_t *trainer_position(struct trainer *trainer, int number, const char **name);

/* What a position within the data means nothing without. */
struct fixed_number {
    const char *name, *text;
    int64_t value;
};

void trainer_fixed_numbers(const struct trainer *trainer, struct fixed_number numbers[CHECKPOINT_FIXED]);

/* Format and version, and what else a checkpoint says in words. */
void trainer_notes(const struct trainer *trainer, struct safetensors_note notes[CHECKPOINT_NOTES]);

bool trainer_write_checkpoint(struct trainer *trainer, const char *path, struct error *error);

/* Whether an undamaged file is a checkpoint that this version reads; if not, an error that names it. */
bool trainer_is_checkpoint(const struct safetensors *file, struct error *error);

/* Brings the state of executor and loop to where the checkpoint stands, or says what it does not fit and changes
 * nothing. What differs from the saved run without harm is told on stderr. */
bool trainer_restore(struct trainer *trainer, const struct safetensors *file, struct error *error);

#endif
