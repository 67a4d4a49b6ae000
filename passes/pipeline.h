/* The pipeline: which passes run, in which order, and what a developer may see of them on the way. */
#ifndef CASTOR_PASSES_PIPELINE_H
#define CASTOR_PASSES_PIPELINE_H

#include "passes/pass.h"

struct pipeline_options {
    const char *passes;      /* comma-separated names to run instead of the default sequence; NULL: the default */
    const char *stop_after;  /* stop after the last run of this pass; NULL: run all */
    const char *print_after; /* print the module after this pass, or after each for "all"; NULL: never */
    bool verify_each, time_passes;
    const char *dump_to; /* a folder that gets 00-elaborate.ir, 01-gradients.ir, … ; NULL: none */
    FILE *messages;      /* where --print-after and --time-passes write */
};

struct pipeline_result {
    bool done;             /* false: a diagnostic was reported, or one of the two below */
    const char *unknown;   /* the name that is no pass, else NULL */
    const char *unwritten; /* the dump that cannot be written (errno says why), else NULL */
};

/* Runs the passes over all graphs of the module. */
struct pipeline_result pipeline_run(struct module *module, struct pass_context *context,
                                    const struct pipeline_options *options);

#endif
