/* Scopes: the chain of module instances and functions that a node was made in, outermost first.
 *
 * Text form, one segment a call, joined with '/': "label:callee" for a module instance (its label may hold dots),
 * ":callee" for a function and for anything without a label of its own. "layer1.0:block/bn1:batch_norm/:mean".
 * The instance path is the labels joined with dots: "layer1.0.bn1". */
#ifndef CASTOR_IR_SCOPE_H
#define CASTOR_IR_SCOPE_H

#include "ir/arena.h"

struct scope_segment {
    const char *label; /* not terminated; length 0 for functions */
    size_t label_length;
    const char *callee;
    size_t callee_length;
};

/* Takes the next segment off `*rest` (start with the scope's text); false at the end. */
_Bool scope_next(const char **rest, struct scope_segment *segment);

/* The scope one call deeper. `label` NULL or "" for functions. */
const char *scope_enter(struct arena *arena, const char *scope, const char *label, const char *callee);

/* "layer1.0.bn1" of the scope above; "" outside of all instances. Interned. */
const char *scope_path(struct arena *arena, const char *scope);

#endif
