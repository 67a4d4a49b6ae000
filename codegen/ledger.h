/* The ledger: what one training step costs, told from the program and the graphs alone. */
#ifndef CASTOR_CODEGEN_LEDGER_H
#define CASTOR_CODEGEN_LEDGER_H

#include "ir/graph.h"
#include "ir/target.h"
#include "runtime/program.h"

#include <stdio.h>

/* Of a kernel of the program on a GPU: registers of a thread, and bytes that it stores and loads for want of them. */
struct ledger_resources {
    int registers, spill_bytes;
};

struct ledger {
    const char *name, *target;
    uint64_t launches; /* kernels and library calls; copies apart; the kernels of a strip are launched together */
    uint64_t kernels, library_calls, copies;
    uint64_t bytes;                         /* moved by all of them */
    uint64_t bytes_lower_bound;             /* ledger_lower_bound */
    uint64_t bytes_unfused;                 /* were every node a kernel of its own */
    uint64_t workspace_bytes;               /* what blocks leave for each other: stored and loaded beside `bytes` */
    uint64_t arena_peak, arena_lower_bound; /* of scratch, without variables */
    uint64_t parameters, parameter_bytes;   /* elements, and bytes with their half copies */
    uint64_t optimizer_bytes;
    uint64_t flops;
    uint64_t flops_again;      /* of these, what pass remat computes a second time */
    uint64_t arena_budget;     /* bytes; 0: none was given */
    uint64_t casts_fused;      /* casts between floats computed in a kernel that does something else as well */
    uint64_t casts_standalone; /* in a kernel that does nothing else */
    double predicted_seconds;  /* by the cost model (passes/cost.h) */
    const char **standalone;   /* stb_ds array: their names with source lines, in the arena */
    /* Where ledger_add_resources was given them: the most registers of a thread, and whose; kernels that spill, and
     * the bytes of a thread in all of them. */
    const char *most_registers; /* a kernel's name; NULL: not given */
    int registers, spilling;
    uint64_t spill_bytes;
};

/* Of one training step: the entry `train`, or as many runs of `micro` as are accumulated and one of `update`; a module
 * without either is counted by its first graph. The module's graphs have been through pass memory and the program was
 * assembled from them. Free with ledger_free. */
struct ledger ledger_compute(const struct module *module, const struct program *program, const struct target *target,
                             struct arena *arena);
/* Adds what the step's kernels take; `resources` by number of the kernel in the program. */
void ledger_add_resources(struct ledger *ledger, const struct program *program,
                          const struct ledger_resources *resources);
void ledger_free(struct ledger *ledger);

/* The fewest bytes that a run of the graph can move when contractions are library calls and all else is fused as far as
 * it goes; which kernels there are does not matter to it. The rules stand in ledger_bounds.c. */
uint64_t ledger_lower_bound(const struct graph *graph, const struct target *target);
/* Bytes were every node but leaves and views a kernel of its own. */
uint64_t ledger_unfused(const struct graph *graph, const struct target *target);

void ledger_print(const struct ledger *ledger, FILE *out);
/* An object of libjansson; the caller's. */
struct json_t *ledger_json(const struct ledger *ledger);

#endif
