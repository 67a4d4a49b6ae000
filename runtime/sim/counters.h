/* Counts of what a kernel did: exact, and the same in every run. */
#ifndef CASTOR_RUNTIME_SIM_COUNTERS_H
#define CASTOR_RUNTIME_SIM_COUNTERS_H

#include <stdint.h>

enum sim_class {
#define CLASS(name) CLASS_##name,
#include "runtime/sim/classes.def"
    CLASS_COUNT,
    CLASS_NONE = CLASS_COUNT /* a step of an instruction counted already */
};

struct sim_counters {
    uint64_t instructions[CLASS_COUNT]; /* warp instructions by class */
#define COUNTER(name, text) uint64_t name;
#include "runtime/sim/counters.def"
};

void sim_counters_add(struct sim_counters *to, const struct sim_counters *from);
uint64_t sim_counters_instructions(const struct sim_counters *counters);

#endif
