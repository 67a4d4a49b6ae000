/* Adding counters. */
#include "runtime/sim/counters.h"

void sim_counters_add(struct sim_counters *to, const struct sim_counters *from)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        to->instructions[i] += from->instructions[i];
#define COUNTER(name, text) to->name += from->name;
#include "runtime/sim/counters.def"
}

uint64_t sim_counters_instructions(const struct sim_counters *counters)
{
    uint64_t sum = 0;
    for (int i = 0; i < CLASS_COUNT; i++)
        sum += counters->instructions[i];
    return sum;
}
