/* Adding and naming counters. */
#include "runtime/sim/counters.h"

const char *sim_class_name(enum sim_class class)
{
    static const char *const names[] = {
#define CLASS(name, text) text,
#include "runtime/sim/classes.def"
    };
    return names[class];
}

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
