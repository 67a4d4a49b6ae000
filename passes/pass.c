/* The pass table. */
#include "passes/pass.h"

#include <string.h>

static const struct pass passes[] = {
#define PASS(name, help) {#name, help, pass_##name},
#include "passes/passes.def"
#undef PASS
};

const struct pass *pass_table(size_t *count)
{
    *count = sizeof passes / sizeof *passes;
    return passes;
}

const struct pass *pass_find(const char *name)
{
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        if (strcmp(passes[i].name, name) == 0)
            return &passes[i];
    return NULL;
}
