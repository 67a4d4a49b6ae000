/* Policies as texts: loading, extending, half types, and the diagnostics of wrong ones. */
#include "passes/policies/policy.h"
#include "tests/unit/check.h"

#include <stdlib.h>
int main(void)
{
    struct arena *arena = arena_new();
    struct diagnostics *d = diagnostics_new(arena);
    const char *names[] = {"autocast", "o0", "o2(bf16)", "half", "autocas", "x.policy", "autocast(f8)"};
    for (int i = 0; i < 7; i++) {
        struct policy *p = policy_load(arena, d, names[i], ELEMENT_NONE, (struct span){0});
        if (p) printf("%s %s %s\n", p->name, element_name(p->half), policy_scale(p));
        CHECK(1);
    }
    diagnostics_print(d, stdout);
    return check_result();
}
