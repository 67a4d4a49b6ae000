/* A session: a compilation with the data that it trains or evaluates on, as train, eval, profile and compare need. */
#ifndef CASTOR_FRONTEND_SESSION_H
#define CASTOR_FRONTEND_SESSION_H

#include "frontend/compile.h"
#include "runtime/data/data.h"
#include "runtime/train.h"

struct session {
    struct compilation compilation;
    struct dataset *dataset;
    struct loader *loader;
    struct batches batches;
};

/* Opens the data and compiles the graphs that are asked for into a program. `policy` as for compilation_open_with.
 * Returns 0 or an exit code; session_close is needed either way, and gives the code back. */
int session_compile(struct session *session, const struct invocation *invocation, const char *policy, bool train_graph,
                    bool eval_graph);
/* The same, and makes the device that runs it. */
int session_open(struct session *session, const struct invocation *invocation, const char *policy, bool train_graph,
                 bool eval_graph);
int session_close(struct session *session, int code);

/* What train() is to do, by flags and train block. */
struct train_settings session_train_settings(const struct session *session);

/* The entry that takes batches: train, micro or eval. */
const struct program_entry *session_entry(const struct program *program);

#endif
