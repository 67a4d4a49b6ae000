/* One minimize line being elaborated: what elaborate_train.c, elaborate_line.c and elaborate_average.c share. */
#ifndef CASTOR_FRONTEND_LANGUAGE_ELABORATE_LINE_H
#define CASTOR_FRONTEND_LANGUAGE_ELABORATE_LINE_H

#include "frontend/language/elaborate_internal.h"

struct line {
    struct elaborator *e;
    const struct ast_statement *statement;
    int number; /* from 1 */
    int phase;  /* from 0 */
    struct value loss;
    struct value step;            /* of its own counter */
    struct variable **parameters; /* stb_ds array */
    struct node **gradients;      /* stb_ds array, one a parameter */
    const struct definition *optimizer;
    struct argument_value *arguments; /* named, of the optimizer's call */
    int argument_count;
    struct override_value *overrides; /* one for each written */
    struct node *clip_limit;          /* NULL: no clipping */
    bool clips_norm;
    struct value decay; /* of `average ema(decay)`; VALUE_ERROR: none */
};

/* The entry of the train block, or NULL. */
const struct ast_statement *train_entry(const struct unit *unit, const char *word);

/* Evaluates all that the line says in the present frame, with `step` its own counter: loss, parameters, optimizer,
 * limits. False after diagnostics. */
bool line_read(struct line *line);
/* Its gradients, at the parameters as they are. Nothing is updated yet. */
void line_differentiate(struct line *line);
/* Clips, updates its parameters and counts the step. */
void line_update(struct line *line);

/* What `average` says, for a line; false after diagnostics. */
bool line_read_average(struct line *line);
/* The averages of the line's parameters follow their new values. */
void line_average(struct line *line);

#endif
