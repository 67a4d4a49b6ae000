/* Which of the instruction sets that vectors.c was compiled for this CPU has. */
#include "runtime/host/vectors.h"

#include <stddef.h>
#include <string.h>

/* Whether the CPU can run it. */
static bool is_there(const struct vector_isa *isa)
{
#if defined __x86_64__
    if (isa == &vector_isa_avx512)
        return __builtin_cpu_supports("avx512f");
    if (isa == &vector_isa_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return isa == &vector_isa_baseline;
}

const struct vector_isa *vector_isa_find(const char *name)
{
    static const struct vector_isa *const isas[] = {
#if defined __x86_64__
        &vector_isa_avx512,
        &vector_isa_avx2,
#endif
        &vector_isa_baseline
    };
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (is_there(isas[i]) && (strcmp(name, "native") == 0 || strcmp(name, isas[i]->name) == 0))
            return isas[i];
    return NULL;
}
