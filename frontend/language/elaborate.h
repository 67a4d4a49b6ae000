/* Elaboration: from the syntax tree of a .net file to the module that the passes work on.
 *
 *     unit = unit_load(arena, diagnostics, file, sets, count)      the file, its imports, the prelude, its options
 *     settings = settings_read(unit, overrides, count)             what the train block and the flags say
 *     module = elaborate(unit, &request)                           graphs init, train, eval …; the scale's rule
 *
 * Each gives NULL after diagnostics. Everything lives in the arena but the module's node lists (module_free). */
#ifndef CASTOR_FRONTEND_LANGUAGE_ELABORATE_H
#define CASTOR_FRONTEND_LANGUAGE_ELABORATE_H

#include "ir/graph.h"

struct ast_file;
struct ast_definition;
struct unit;

/* `--set width=512` is {"width", "512"}; `--epochs 3` is {"epochs", "3"}. The text is written as in the file. */
struct name_text {
    const char *name, *text;
};

struct unit *unit_load(struct arena *arena, struct diagnostics *diagnostics, const struct ast_file *file,
                       const struct name_text *sets, int set_count);
/* Releases what is not in the arena. */
void unit_free(struct unit *unit);

/* The files that it was read from, the prelude apart: the file itself, then each that is imported, once. NULL past the
 * last. */
const struct ast_file *unit_file(const struct unit *unit, int index);
/* The index of the file that an `import` names. */
int unit_import(const struct unit *unit, const struct ast_definition *import);

/* An option of the file or its imports, for --help and error messages. NULL past the last. */
const char *unit_option(const struct unit *unit, int index);
/* Its value as text, for --help. */
const char *unit_option_text(const struct unit *unit, int index);

/* The names that may stand in the scope of a node: definitions of the file, its imports and the prelude, and built-in
 * functions that are made of several ops. *count of them, in the arena. */
const char *const *unit_scope_names(const struct unit *unit, size_t *count);

/* ---- settings: the train block with the flags laid over it ---- */

enum setting_kind { SETTING_NUMBER, SETTING_BOOL, SETTING_STRING, SETTING_NUMBERS, SETTING_CALL };

struct setting_call;

/* An argument of a source or a stage. Positional ones have got the name that the callee's parameter has. */
struct setting_argument {
    const char *name;
    enum setting_kind kind;
    double number;                   /* number; bool: 0 or 1 */
    const char *text;                /* string */
    const double *numbers;           /* numbers */
    int count;                       /* … how many */
    const struct setting_call *call; /* call: `field = normal(0, 1)`, or a plain word (`classes`) without arguments */
    struct span span;
};

struct setting_call {
    const char *name;
    const struct setting_argument *arguments;
    int argument_count;
    struct span span;
};

/* One `data` line: a source, csv(path, label, test) or synthetic(examples, test, FIELD = DISTRIBUTION …), with the
 * stages piped after it: rename(NEW = OLD-as-string …), normalize(mean, std) … Names and arguments are checked. */
struct data_line {
    struct setting_call source;
    const struct setting_call *stages;
    int stage_count;
    const struct ast_expression **functions; /* calls of functions of the language; they stand behind the stages */
    int function_count;
};

struct data_setting {
    struct data_line *lines; /* at least one */
    int count;
};

enum interval_unit { INTERVAL_NONE, INTERVAL_EPOCHS, INTERVAL_STEPS };

struct interval {
    enum interval_unit unit;
    int64_t count;
};

/* Which value chooses best.safetensors: a metric or loss by name, NULL when the block does not say. */
struct keep_setting {
    const char *name;
    bool highest;
    struct span span;
};

struct settings {
    const struct data_setting *data; /* NULL: no data line */
    int64_t batch;
    int64_t epochs; /* 0 when `steps` is given instead */
    int64_t steps;  /* 0 when `epochs` is given instead */
    int accumulate;
    int64_t seed;
    const char *policy; /* "autocast", or a path that ends in .policy; NULL: nothing said */
    enum element half;  /* of `autocast(f16)`; ELEMENT_NONE: not said */
    struct span policy_span;
    const struct ast_expression *scale; /* as written; NULL: not said */
    bool scale_per_loss;                /* each minimised loss has a scale of its own */
    bool average;                       /* trained parameters have averages */
    struct interval evaluate, checkpoint;
    struct keep_setting keep;
    int64_t kept;          /* checkpoints that stay; 0: not said */
    const char *optimizer; /* the names of the minimize lines' optimizers, "adam, sgd"; NULL: none */
    struct span span;      /* of the train block; file NULL when the file has none (defaults stand then) */
    bool trains;           /* there is a minimize line */
    const char *text;      /* options and entries that a resumed run may change, a line each, flags laid over them */
    int *every;            /* of each minimize line: it acts in every so many steps */
    int line_count;        /* … how many lines */
};

/* NULL after diagnostics. Overrides are the flags named like entries of the train block, and `lr`. Call it before
 * elaborate, which uses the same train block with the same overrides. */
const struct settings *settings_read(struct unit *unit, const struct name_text *overrides, int count);

/* A setting's word is one of the train block's entries (for the driver's flag table); NULL past the last. */
const char *settings_entry(int index);

/* ---- elaboration ---- */

struct elaborate_request {
    const char *name;                  /* the module's; NULL: made from the file's name */
    int64_t batch;                     /* examples in a training (micro-)batch; 0: no graph train */
    int64_t eval, tail, validate_tail; /* examples in graphs eval, eval_tail, eval_validate; 0: no such graph */
    /* The scale rule to use (flag, train block or policy: the driver chooses); NULL: no loss scaling. */
    const struct ast_expression *scale;
    bool scale_explicit; /* flag or train block, not the policy's default */
    /* `castor run`: values to put out besides losses, metrics and outputs, in every graph that has them: names of
     * bound values or random draws, `grad:PARAM` (train only). An unknown one is a diagnostic. */
    const char *const *fetch;
    int fetch_count;
    bool outputs;            /* what the model declares with `output`, too */
    bool fetch_gradients;    /* grad:PARAM of every trained parameter */
    const char *const *feed; /* random draws, by their names, that become inputs of the graphs */
    int feed_count;
    bool one_batch; /* metrics are those of one batch, which is all there is: total(x) is x */
    bool only_fed;  /* evaluating graphs leave out what needs an input that is not among `feed`, unless it is among
                       `fetch` or nothing would be left */
    bool no_update; /* graph train computes losses and gradients and writes nothing (`castor run` without --steps) */
};

/* False after a diagnostic when the unit's file has no model. */
bool elaborate_wants_model(struct unit *unit);

/* The module, before every pass. The model's inputs are `input` nodes whose symbol is the field's name and whose
 * index is the number of classes. NULL after diagnostics. */
struct module *elaborate(struct unit *unit, const struct elaborate_request *request);

/* Checks the whole unit, also one without a train block or without a model (a file to be imported): settings and
 * model, so that the mistakes of both are reported. False after diagnostics. */
bool elaborate_check(struct unit *unit);

#endif
