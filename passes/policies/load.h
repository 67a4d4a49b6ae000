/* Finding and reading policies, inside the folder. */
#ifndef CASTOR_PASSES_POLICIES_LOAD_H
#define CASTOR_PASSES_POLICIES_LOAD_H

#include "passes/policies/reader.h"

/* The policy that the file being read extends; NULL after diagnostics. */
const struct policy *policy_load_base(const struct policy_reader *outer, const char *name, bool quoted,
                                      enum element asked, struct span where);

/* Takes "(bf16)" off the end of the text; *half stays where there is none. */
const char *policy_split_half(struct arena *arena, const char *text, const char **half);

/* f16 or bf16, or ELEMENT_NONE after a diagnostic. */
enum element policy_half(struct policy_reader *reader, const char *word, struct span span);

#endif
