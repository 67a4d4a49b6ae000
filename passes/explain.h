/* Why a node has its precision, told for one node: `castor explain m.net NODE`. */
#ifndef CASTOR_PASSES_EXPLAIN_H
#define CASTOR_PASSES_EXPLAIN_H

#include "ir/target.h"
#include "passes/policies/policy.h"

#include <stdio.h>

/* Prints, for every node of this name ("logits", "fc1.y") or origin ("#12") in the training and evaluation graphs: its
 * type, the rule, from which value the type came where it follows others, the casts around it, and its bytes and
 * predicted time in either type (`target` NULL: no time). The module is one after pass casts (later passes do no
 * harm). False after a diagnostic when there is no such node. */
bool explain_node(const struct module *module, const struct policy *policy, const struct target *target,
                  const char *name, FILE *out);

#endif
