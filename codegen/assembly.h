/* What the parts of the assembler share: the program in the making, and of it one graph. See assemble.h. */
#ifndef CASTOR_CODEGEN_ASSEMBLY_H
#define CASTOR_CODEGEN_ASSEMBLY_H

#include "ir/graph.h"
#include "ir/target.h"
#include "passes/kernels.h"
#include "passes/strips.h"
#include "runtime/program.h"

struct text_entry {
    char *key;
    int value;
};

struct origin_entry {
    int64_t key;
    int value;
};

struct assembler {
    const struct module *module;
    const struct target *target;
    struct arena *arena;
    struct program *program;
    struct program_kernel *kernels; /* stb_ds array */
    bool *generated;                /* stb_ds array, by kernel: it was printed, and is of no template */
    struct program_origin *origins; /* stb_ds array */
    struct origin_entry *known_origins;
    struct text_entry *bodies;    /* stb_ds string hash: body -> kernel */
    struct text_entry *names;     /* stb_ds string hash: name -> times used */
    struct text_entry *variables; /* stb_ds string hash: name -> index */
    uint64_t counter_bytes;       /* zeros behind the variables, for blocks to count themselves in */
    unsigned templates;           /* that kernels need: a sum of enum template_kind */
};

struct by_origin {
    uint32_t key;
    const struct node *value;
};

/* One graph being assembled. */
struct assembly {
    struct assembler *assembler;
    const struct graph *graph;
    struct program_entry *entry;
    uint64_t scratch_bytes;       /* of values; workspaces lie behind them */
    struct program_step *steps;   /* stb_ds array */
    struct program_input *inputs; /* stb_ds array */
    struct by_origin *by_origin;  /* stb_ds hash of the graph's nodes, made when it is asked for */
    struct strip_set strips;
    uint64_t workspace;                 /* of the present strip, whose kernels' workspaces live at one time */
    int *fetched;                       /* by node id: the last strip, from 1, that loaded or made it */
    struct program_strip *entry_strips; /* stb_ds array */
    uint64_t base;                      /* where a body's own values begin in scratch; 0 outside of loops */
    int *put_out; /* of a body, by node id: the output, from 1, that the node is as it is stored; NULL: none */
};

/* ---- memory of the program (assemble.c) ---- */

void *assembler_allocate(struct assembler *assembler, size_t count, size_t size);
/* A copy of the text; NULL of NULL. */
const char *assembler_keep(struct assembler *assembler, const char *text);
uint64_t assembler_align(const struct assembler *assembler, uint64_t bytes);

/* ---- places (assemble.c) ---- */

/* Where a variable lies in the state, in bytes. */
uint64_t assembler_variable(const struct assembler *assembler, const char *name);
/* Of a node's value, `offset` bytes behind its beginning. */
struct program_place assembly_place(struct assembly *assembly, const struct node *node, int64_t offset);

/* ---- steps (assemble_steps.c) ---- */

/* The step's name, that of the node where none is given, and its place in the source. */
void assembly_set_origin(struct assembler *assembler, struct program_step *step, const struct node *node,
                         const char *name);
/* The steps of the graph's kernels, loops included, in the order of execution. */
void assembly_add_kernels(struct assembly *assembly, const struct kernel_set *set);
/* Writes that could not be done in place take effect at the end. */
void assembly_add_copies(struct assembly *assembly);

/* ---- loops (assemble_loops.c) ---- */

/* The body's steps are made once, its kernels too, and stand in the program once for each turn. */
void assembly_add_loop(struct assembly *assembly, const struct kernel_use *use);

/* ---- where overflows can begin (assemble_origins.c) ---- */

/* Puts the nodes among those that the program can name. */
void assembly_add_origins(struct assembly *assembly, const struct node *const *watched, int count);
/* Into the program, by number. */
void assembler_finish_origins(struct assembler *assembler);

#endif
