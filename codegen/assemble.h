/* From a planned module to a program: the last step of the compiler. */
#ifndef CASTOR_CODEGEN_ASSEMBLE_H
#define CASTOR_CODEGEN_ASSEMBLE_H

#include "ir/graph.h"
#include "ir/target.h"
#include "runtime/program.h"

/* The program of a module whose graphs have been through pass memory: variables with their places, one entry a graph,
 * one step a kernel in the order of execution, equal kernels once. The caller frees it with program_free; it keeps
 * nothing of the module or the arena. Out of memory ends the process (arena_exhausted), as everywhere in the
 * compiler. */
struct program *assemble_program(const struct module *module, const struct target *target, struct arena *arena);

#endif
