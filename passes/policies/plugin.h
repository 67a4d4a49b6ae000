/* Policies from shared objects. */
#ifndef CASTOR_PASSES_POLICIES_PLUGIN_H
#define CASTOR_PASSES_POLICIES_PLUGIN_H

#include "passes/policies/policy.h"

/* Shared objects that were opened; they stay so until plugins_close, which must come after the last pass. */
struct plugins {
    struct plugin *opened; /* stb_ds array */
};

/* Opens one. False after a diagnostic (E0611): it cannot be loaded, lacks a symbol, was built for another ABI. */
bool plugins_open(struct plugins *plugins, struct diagnostics *diagnostics, const char *path, struct span where);
void plugins_close(struct plugins *plugins);

/* As policy_load, but a policy of a plugin hides a built-in one of its name. Scale, masters and weight gradients are
 * those of the policy that it extends; dynamic, f32 and f32 where it extends none. */
struct policy *plugins_policy(const struct plugins *plugins, struct arena *arena, struct diagnostics *diagnostics,
                              const char *text, enum element half, struct span where);

#endif
