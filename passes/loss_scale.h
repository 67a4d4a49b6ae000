/* The parts of pass loss_scale: what they share. Private to loss_scale*.c. */
#ifndef CASTOR_PASSES_LOSS_SCALE_H
#define CASTOR_PASSES_LOSS_SCALE_H

#include "ir/graph.h"

/* One scale: the rule that moves it, and its nodes in this graph, NULL until needed. */
struct scale {
    struct graph *rule;
    struct node *scale, *reciprocal;
};

/* One minimize line as this graph has it. */
struct scaled_line {
    struct node **gradients; /* stb_ds array: scaled, as they came … */
    struct node **unscaled;  /* … and unscaled */
    bool settled;            /* the three below are known */
    struct node *found_inf;  /* it acts and a gradient is inf or NaN; NULL: cannot be */
    struct node *acts;       /* this is one of its steps; NULL: it acts in each */
    struct node *skips;      /* its variables stay as they are; NULL: never */
};

struct scaler {
    struct graph *graph;
    bool scaled;               /* else the markers only vanish */
    struct scale *scales;      /* by rule */
    struct scaled_line *lines; /* by line; 0 is not used */
    int scale_count, line_count;
    struct node **effects; /* stb_ds array: writes and outputs, put off until it is known what skips */
};

/* A builder of f32 nodes of the update, placed where `at` comes from; NULL: nowhere. */
struct builder scaler_builder(struct graph *graph, const struct node *at);

/* The scale with its node made. */
struct scale *scaler_scale(struct scaler *scaler, int rule);

/* ---- loss_scale_rule.c ---- */

/* Whether the rule reads or writes the variable, and no other part of the step does. */
bool scale_rule_owns(const struct graph *rule, const char *symbol);
/* Nothing is scaled: the rules go, and their variables with their initial values. */
void scale_rules_drop(struct module *module);
/* Puts every rule into the graph, with its scale and what was skipped as log outputs. Lines must be settled. */
void scale_rules_inline(struct scaler *scaler);

/* ---- loss_scale_check.c ---- */

/* False after diagnostics: a gradient that still carries the scale is used; the scale changes between micro-batches. */
bool scale_check(struct graph *graph);

#endif
