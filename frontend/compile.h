/* The one driver: from a command line and a .net file to a planned module, a program, and an executor's device.
 *
 *     compilation_open     reads and parses the file, lays the flags over its train block, loads the policy
 *     compilation_module   elaborates and runs the pipeline
 *     compilation_program  assembles the program
 *     compilation_device   makes the device that runs it
 *     compilation_close    prints diagnostics and releases everything
 *
 * Each returns 0 or an exit code; after one has failed the next may not be called, except close. */
#ifndef CASTOR_FRONTEND_COMPILE_H
#define CASTOR_FRONTEND_COMPILE_H

#include "frontend/cli/command.h"
#include "frontend/device.h"
#include "frontend/language/elaborate.h"
#include "passes/pipeline.h"
#include "passes/policies/plugin.h"
#include "passes/policies/policy.h"
#include "passes/policies/ranges.h"
#include "runtime/program.h"

/* What failed while running, to stderr; gives the exit code. */
int report_failure(const struct error *error);

struct compilation {
    const struct invocation *invocation;
    struct arena *arena;
    struct diagnostics *diagnostics;
    const char *file, *text; /* the .net file */
    struct ast_file *syntax;
    struct unit *unit;
    const struct settings *settings;
    const struct policy *policy; /* once there is a module: what policy cost chose */
    struct plugins plugins;
    struct ranges *ranges; /* of --ranges; NULL: none */
    struct device_choice choice;
    struct device_facts facts;
    struct target target;
    struct module *module; /* after the pipeline */
    /* With --memory-budget, a copy from before the pipeline, for passes may have to run again; else NULL. */
    struct module *elaborated;
    struct pipeline_options options; /* for the pipeline, and what its passes are given */
    struct pass_context context;
    int64_t budget; /* --memory-budget in bytes, as pass remat took it; 0: none */
    struct program *program;
    struct device *device;
    double seconds; /* spent in the three stages so far */
    bool json;      /* diagnostics as JSON to stdout, not as text to stderr */
};

/* What is compiled beside the training graph. */
struct compile_request {
    int64_t batch;                     /* examples in a training batch; 0: no training graph */
    int64_t eval, tail, validate_tail; /* examples of the evaluation graphs; 0: none */
    const char *const *fetch;
    int fetch_count;
    const char *const *feed;
    int feed_count;
    bool fetch_gradients, no_update;
    bool outputs;           /* `output NAME` values too */
    bool one_batch;         /* metrics are those of one batch */
    bool only_fed;          /* evaluation leaves out what needs inputs that are not fed */
    const char *stop_after; /* a pass; NULL: the whole pipeline */
    const char *passes;     /* comma-separated passes to run; NULL: --passes, else the whole pipeline */
    bool observe;           /* --print-after and --time-passes apply */
};

int compilation_open(struct compilation *compilation, const struct invocation *invocation);
/* With this policy (as --policy takes it) instead of the flag's or the train block's; NULL: theirs. */
int compilation_open_with(struct compilation *compilation, const struct invocation *invocation, const char *policy);
/* "autocast(f16)" for messages. */
const char *compilation_policy_text(const struct compilation *compilation);
/* An exit code, after a message where the train block lacks what trains, or the batch. */
int compilation_wants_training(const struct compilation *compilation);
int compilation_wants_batch(const struct compilation *compilation);
int compilation_module(struct compilation *compilation, const struct compile_request *request);
int compilation_program(struct compilation *compilation);
int compilation_device(struct compilation *compilation);
int compilation_close(struct compilation *compilation, int code);

/* Of a path that is not there, the same beside the .net file, where it is there; malloced, else NULL. */
char *compilation_beside(const struct compilation *compilation, const char *path);

/* The parts that other commands need on their own. */

/* The whole file ("-": stdin) in the arena; NULL after a message. */
char *read_text(struct arena *arena, const char *path, size_t *length);
/* Fills all three from --device and its kin. 0 or an exit code. */
int choose_target(const struct invocation *invocation, struct device_choice *choice, struct device_facts *facts,
                  struct target *target);
/* Fills the options that --passes, --verify-each … ask for. False after a usage error. */
bool pipeline_flags(const struct invocation *invocation, struct diagnostics *diagnostics,
                    struct pipeline_options *options, struct pass_context *context);
/* All kernels of a program as one compilation unit. */
void print_kernels(const struct program *program, FILE *out);
/* Prints why a pipeline stopped; gives the exit code. */
int pipeline_failure(const struct invocation *invocation, const struct pipeline_result *result);

#endif
