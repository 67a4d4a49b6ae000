/* The texts that a run keeps in its folder beside log and weights: model.net, its imports, run.json, run.policy. */
#ifndef CASTOR_FRONTEND_RUN_FILES_H
#define CASTOR_FRONTEND_RUN_FILES_H

#include "frontend/compile.h"
#include "runtime/train.h"

/* Sets `files` and `file_count` of the settings, in the compilation's arena. The imports lie in imports/, and the
 * `import` lines name them there, so that the folder compiles by itself; all else is the text that was read. */
void run_files(const struct compilation *compilation, struct train_settings *settings);

#endif
