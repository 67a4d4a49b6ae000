/* How a run was begun, as its folder tells: run.json has the file, the flags, the policy and the device; run.policy is
 * the text of a policy that came from a file. `castor train` writes them, `castor report` compiles by them. */
#ifndef CASTOR_FRONTEND_RUN_RECORD_H
#define CASTOR_FRONTEND_RUN_RECORD_H

#include "frontend/compile.h"

/* The text of run.json, in the compilation's arena. */
const char *run_record_text(const struct compilation *compilation);
/* The text of run.policy, in the compilation's arena; NULL where the policy came from no file. */
const char *run_record_policy(const struct compilation *compilation);

/* A run that was made before. The invocation compiles RUN/model.net as the run did. Its strings are the record's. */
struct run_record {
    struct json_t *facts; /* run.json; NULL: the folder has none */
    struct invocation invocation;
    char *model, *policy; /* paths */
};

/* False with an error set when run.json is there and cannot be read; run_record_close is needed either way. */
bool run_record_open(struct run_record *record, const char *run, struct error *error);
void run_record_close(struct run_record *record);

#endif
