/* Policy cost, before any pass runs: the cheapest of several policies by the cost model. */
#ifndef CASTOR_PASSES_CHOOSE_H
#define CASTOR_PASSES_CHOOSE_H

#include "ir/target.h"
#include "passes/policies/policy.h"

/* For a policy with the algorithm cost: fuses a scratch copy of the module in f32, takes a minimum cut, prices the cut
 * and the policies f32, autocast, almost and paint by running the pipeline on copies, and gives the cheapest under the
 * policy's name, with what each would cost in `verdict`. Where the target emulates the half type nothing can be
 * gained: f32 at once. Where a policy that extends cost has rules of its own, only the cut heeds them, so it alone is
 * taken. Any other policy comes back as it is. The module is one that no pass has seen; it does not change. */
const struct policy *policy_choose(const struct policy *policy, const struct module *module,
                                   const struct target *target);

#endif
