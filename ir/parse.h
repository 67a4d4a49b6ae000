/* Reads the text form of modules (ir/README.md) that ir/print.h writes, and shorter texts written by hand. */
#ifndef CASTOR_IR_PARSE_H
#define CASTOR_IR_PARSE_H

#include "ir/graph.h"

/* The module of a text; NULL after diagnostics E0701 … E0705, several of which are reported at once. `file` names the
 * text in the diagnostics; the text must live as long as the arena. Every node's type agrees with its op's rules
 * (node_infer); the other invariants are the verifier's business. */
struct module *parse_module(struct arena *arena, struct diagnostics *diagnostics, const char *file, const char *text);

#endif
