/* Which of the CPU's instruction sets the lane functions use. */
#include "runtime/sim/lanes.h"

#include <cpuid.h>

/* Not every compiler has a name for it. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}

const struct sim_isa *sim_isa_at(int index)
{
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    const struct sim_isa *known[] = {avx512 ? &sim_isa_avx512 : NULL, avx2 ? &sim_isa_avx2 : NULL, &sim_isa_baseline};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] && index-- == 0)
            return known[i];
    return NULL;
}
