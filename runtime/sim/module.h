/* A loaded module: its variables have addresses, its kernels are decoded. */
#ifndef CASTOR_RUNTIME_SIM_MODULE_H
#define CASTOR_RUNTIME_SIM_MODULE_H

#include "runtime/sim/memory.h"
#include "runtime/sim/op.h"

struct sim_module {
    struct ptx *ptx;
    struct sim_memory *memory;
    const struct sim_isa *isa;
    uint64_t *addresses; /* of variables in global and const memory, 0 of others */
    struct sim_kernel **kernels;
};

/* Reads PTX, places and initialises its variables, decodes its kernels. NULL with an error that names the line and, of
 * an instruction that the simulated GPU does not know, the opcode. */
struct sim_module *sim_module_load(const char *text, struct sim_memory *memory, const struct sim_isa *isa,
                                   struct error *error);
void sim_module_unload(struct sim_module *module);

struct sim_kernel *sim_module_kernel(struct sim_module *module, const char *name);
bool sim_module_global(const struct sim_module *module, const char *name, uint64_t *address, size_t *bytes);

/* Decodes one kernel (decode.c). */
struct sim_kernel *sim_kernel_decode(struct sim_module *module, const struct ptx_kernel *ptx, struct error *error);
void sim_kernel_free(struct sim_kernel *kernel);

/* Sets for every branch where its ways meet: the immediate post-dominator of its block (flow.c). */
bool sim_flow(struct sim_kernel *kernel);
/* Reorders arithmetic so that results are there when they are needed (spread.c), behind sim_flow. */
bool sim_spread(struct sim_kernel *kernel);

#endif
