/* The folder that a training run leaves behind: model.net (and imports/, by which it compiles), run.json (how it was
 * begun; run.policy beside it where the policy came from a file), log.jsonl, last.safetensors, best.safetensors, and
 * step-N.safetensors, the checkpoints before the last one. */
#ifndef CASTOR_RUNTIME_RUN_FOLDER_H
#define CASTOR_RUNTIME_RUN_FOLDER_H

#include "runtime/error.h"

/* Makes the folder `out`, which must not exist, or when `out` is NULL the first free one of runs/NAME.1, runs/NAME.2, …
 * Gives its path, malloced; NULL with an error set. */
char *run_folder_make(const char *name, const char *out, struct error *error);

/* Takes the run for this process until the descriptor *lock is closed, by its log; -1 where there is no log, or a file
 * system that knows no locks. False with an error set when another process has it. */
bool run_folder_lock(const char *run, int *lock, struct error *error);

#endif
