/* The graph: nodes in SSA form, the graphs of a module, and the state that they share.
 *
 * graph->nodes is always in an order in which operands come before users. All reads see the variables as they were
 * when the graph began; writes take effect when it ends, so a graph is a pure function of (inputs, variables).
 * Outputs and writes are the roots; what no root needs may be dropped.
 *
 * How a pass rewrites: it takes the node list (graph_take_nodes), walks it in order, maps each node's operands
 * through `replacement` (graph_map_operands) and appends either that node or new ones (the builder appends). So a
 * pass is one linear walk, and operands precede users by construction. */
#ifndef CASTOR_IR_GRAPH_H
#define CASTOR_IR_GRAPH_H

#include "ir/arena.h"
#include "ir/diagnostic.h"
#include "ir/op.h"
#include "ir/type.h"

enum { SPATIAL_MAX = 3, GATE_NEVER = 0, GATE_ALL = -1 };

enum region { REGION_FORWARD, REGION_BACKWARD, REGION_UPDATE };

enum output_kind {
    OUTPUT_VALUE,       /* `output NAME = e`, and what `castor run` fetches */
    OUTPUT_LOSS,        /* scalar f32, mean over the batch */
    OUTPUT_METRIC,      /* scalar f32, averaged over examples */
    OUTPUT_NUMERATOR,   /* scalar f32, `metric NAME = ratio(a, b)`: summed over the data set, … */
    OUTPUT_DENOMINATOR, /* … then divided; both carry the metric's name */
    OUTPUT_WATCH,       /* `watch NAME = e`: training log only */
    OUTPUT_LOG,         /* scalars of the step itself: lr, scale, skipped (0 or 1), grad_norm */
    OUTPUT_TOTAL        /* f32: summed over the data set, it is an input of the graph `metrics` of this name */
};

/* Geometry of window, fold and the convolutions, on the last `rank` axes; the window at place o covers
 * o * stride - pad_low + k * dilation. */
struct window {
    int rank;
    int64_t kernel[SPATIAL_MAX], stride[SPATIAL_MAX], dilation[SPATIAL_MAX];
    int64_t pad_low[SPATIAL_MAX], pad_high[SPATIAL_MAX];
};

/* How often a loop runs its body, and how many of its operands are of which kind (ir/loop.h). */
struct loop_counts {
    int turns, carries, sequences, previous;
};

/* Which fields count is told by the op's attribute kind; the others are zero. Shared and immutable once a node has
 * it. */
struct attributes {
    double value;
    uint32_t axes; /* bit i: axis i */
    int axis;
    bool reverse, transpose_a, transpose_b;
    bool explicit_cast; /* written by the user as cast(x, type): no policy may change it */
    unsigned char permutation[RANK_MAX];
    int64_t low[RANK_MAX], high[RANK_MAX], step[RANK_MAX];
    struct window window;
    int64_t groups;
    const char *symbol; /* interned: input, variable, output or a loop's body */
    enum output_kind output;
    uint64_t key;
    struct loop_counts loop;
    int index; /* minimize line from 1 (scale_seed and unscale, where 0 is a gradient inside the loss; gate; a write's
                  gate: GATE_NEVER, GATE_ALL or the line), argument number from 0, classes of an input (0: none) */
};

/* Where a value lies once pass memory has run. */
enum space {
    SPACE_NONE,    /* nowhere: computed inside the kernels that use it */
    SPACE_SCRATCH, /* the entry's scratch arena, at `offset` */
    SPACE_STATE,   /* in the variable `symbol` itself (read, or written in place) */
    SPACE_INPUT    /* the batch field `symbol` */
};

struct placement {
    enum space space;
    int64_t offset; /* bytes */
    const char *symbol;
};

struct node {
    enum op op;
    int id; /* position in graph->nodes; kept by graph_number */
    struct type type;
    int operand_count;
    struct node **operands;
    const struct attributes *attributes; /* never NULL */

    const char *name; /* readable, interned; NULL where there is none; the printer makes names unique */
    struct span span;
    const char *scope; /* interned, "" outside of all: see scope.h */
    uint32_t origin;   /* stable from elaboration on, kept by every pass, unique in the module; from 1 */
    uint32_t forward;  /* origin of the node that this one differentiates; 0 for none */
    uint32_t again;    /* origin of the node that this one computes once more (pass remat); 0 for none */
    enum region region;

    enum element pin;   /* set by a `precision` block, else ELEMENT_NONE */
    const char *reason; /* interned: the rule that decided the precision; NULL before pass precision */

    int kernel; /* from pass fuse on: the kernel (from 1) that stores this node; 0: not stored, computed where used */
    struct placement placement; /* from pass memory on */

    struct node *replacement; /* scratch of the pass now running */
    int64_t mark;             /* scratch of the pass now running */
};

enum variable_kind {
    VARIABLE_PARAMETER, /* trained or frozen; saved under its path */
    VARIABLE_STATE,     /* forward state such as running statistics; saved under its path */
    VARIABLE_OPTIMIZER, /* optimizer state, scale, counters: paths under train/; no weight */
    VARIABLE_COPY,      /* a half copy of a parameter made by pass casts; never saved */
    VARIABLE_HOST       /* set by the runtime before a step: train/seed (i64), train/epoch (f32), train/steps (f32) */
};

struct variable {
    const char *name; /* interned path, "fc1.weight" */
    struct type type;
    enum variable_kind kind;
    bool frozen;
    const char *source; /* VARIABLE_COPY: the variable that it copies; optimizer state: its parameter */
    struct span span;
    const char *module; /* interned callee that owns it, for diagnostics; NULL outside modules */
};

/* One `minimize` line, numbered from 1 in the order of the file. */
struct minimize {
    const char *loss; /* name of the loss output */
    struct span span;
    int rule;         /* its scale's rule, from 0 */
    int every;        /* it acts in every so many steps, the last of them; 0 and 1: in each */
    const char *turn; /* i32 variable that counts those steps, from 0; NULL where it acts in each */
};

/* How the losses are to be scaled; resolved by the driver from flag, train block and policy, in that order. */
struct scaling {
    bool present;         /* false: no scaling */
    bool explicit;        /* asked for by the user: not dropped when the gradients are bf16 */
    struct graph **rules; /* stb_ds array, of function graphs: one, or one for each minimised loss. Argument 0 is
                             found_inf (bool []), argument 1, where it is used, the largest magnitude of the unscaled
                             gradients (f32 []), output "scale" the next scale. A rule reads and writes train/
                             variables of its own, one of which is called scale: train/scale, or train/LOSS.scale */
    struct span span;
};

struct graph {
    const char *name; /* init, refresh, train, micro, update, eval, eval_tail, metrics, or a function's name */
    struct module *module;
    struct node **nodes; /* stb_ds array */
    int64_t batch;       /* examples in one execution; 0 where there is none */
    bool body;           /* the body of a loop (ir/loop.h): never run by itself */
};

struct module {
    struct arena *arena;
    struct diagnostics *diagnostics;
    const char *name;            /* file name without folder and extension */
    struct graph **graphs;       /* stb_ds array */
    struct graph **functions;    /* stb_ds array */
    struct variable **variables; /* stb_ds array, in order of creation */
    struct minimize *minimizes;  /* stb_ds array */
    struct scaling scaling;
    int accumulate; /* micro-batches in a step, 1 without accumulation */
    uint32_t next_origin;
    struct variable_entry *variable_index; /* stb_ds hash by name */
};

struct variable_entry {
    const char *key; /* interned */
    struct variable *value;
};

/* An empty module in the arena; module_free releases what is not in the arena. */
struct module *module_new(struct arena *arena, struct diagnostics *diagnostics, const char *name);
void module_free(struct module *module);

struct graph *module_add_graph(struct module *module, const char *name);
struct graph *module_add_body(struct module *module, const char *name);
struct graph *module_add_function(struct module *module, const char *name);
/* NULL when there is none. */
struct graph *module_find_graph(const struct module *module, const char *name);
/* Forward and backward of a training step: "train" or, where pass accumulate split it, "micro"; NULL: none. */
struct graph *module_training_graph(const struct module *module);
/* What one training step runs, from number 0 on, and how often: "train", or several times "micro" and once "update"; of
 * a module that trains nothing, its first graph. NULL behind the last. */
struct graph *module_step_graph(const struct module *module, int number, int *times);

/* Adds a variable; the name must be new. */
struct variable *module_add_variable(struct module *module, const char *name, struct type type, enum variable_kind kind,
                                     struct span span);
struct variable *module_find_variable(const struct module *module, const char *name);
/* What the log calls a value of minimize line `number`: WHAT where there is one line, else WHAT/LOSS, and WHAT/LOSS.N
 * for a line N whose loss a line before it minimises too. Interned. */
const char *module_line_label(const struct module *module, int number, const char *what);
/* The variable of a scale rule that holds the scale; NULL when it has none. */
struct variable *module_scale_of(const struct module *module, const struct graph *rule);

/* Gives up the node list to the caller, who walks it and frees it with arrfree; the graph is empty afterwards. */
struct node **graph_take_nodes(struct graph *graph);
/* Appends a node that was taken before; sets its id. */
void graph_append(struct graph *graph, struct node *node);
/* Replaces each operand by the end of its chain of replacements. */
void graph_map_operands(struct node *node);
/* The end of the node's chain of replacements; the node itself when it has none. */
struct node *node_resolve(struct node *node);
/* ids = positions, replacement = NULL, mark = 0. Passes call it at their end. */
void graph_number(struct graph *graph);

/* A copy of the module with the same names, origins and spans, in its own arena or the same. */
struct module *module_copy(const struct module *module, struct arena *arena);

/* ---- the builder: appends nodes, with where they come from filled in ---- */

struct builder {
    struct graph *graph;
    struct span span;
    const char *scope;
    enum region region;
    enum element pin;
    const char *reason;
    uint32_t forward; /* origin of the node now being differentiated */
};

/* Appends a node; `type` NULL: inferred. The operands must satisfy the op's rule (castor_bug otherwise: the frontend
 * checks first with node_infer). The attributes are copied; NULL means all zero. */
struct node *build(struct builder *builder, enum op op, struct node *const *operands, int count,
                   const struct attributes *attributes, const struct type *type);

/* The result type of an op by its shape and element rules. NULL when all is well, else what is wrong (in the arena).
 * For ops whose attribute kind ends in _TYPE, *type holds the wanted shape on entry. */
const char *node_infer(struct arena *arena, enum op op, struct node *const *operands, int count,
                       const struct attributes *attributes, struct type *type);

/* Pointwise ops with operands broadcast to their common shape, as NumPy does. */
struct node *build_unary(struct builder *builder, enum op op, struct node *a);
struct node *build_binary(struct builder *builder, enum op op, struct node *a, struct node *b);
struct node *build_where(struct builder *builder, struct node *condition, struct node *a, struct node *b);
struct node *build_cast(struct builder *builder, struct node *a, enum element element);
/* A scalar constant (rank 0), and one broadcast to a shape. */
struct node *build_constant(struct builder *builder, double value, enum element element);
struct node *build_full(struct builder *builder, double value, enum element element, const struct shape *shape);
struct node *build_reshape(struct builder *builder, struct node *a, const struct shape *shape);
/* Rank padded with leading 1s and size-1 axes repeated; the node itself when it has the shape already. */
struct node *build_broadcast(struct builder *builder, struct node *a, const struct shape *shape);
/* Reduction over the axes of the mask, which stay with size 1; the node itself for sum over no axes. */
struct node *build_reduce(struct builder *builder, enum op op, struct node *a, uint32_t axes);
struct node *build_permute(struct builder *builder, struct node *a, const unsigned char *permutation);
struct node *build_matmul(struct builder *builder, struct node *a, struct node *b, bool transpose_a, bool transpose_b);
struct node *build_read(struct builder *builder, const struct variable *variable);
struct node *build_write(struct builder *builder, const struct variable *variable, struct node *value, int gate);
struct node *build_output(struct builder *builder, const char *symbol, struct node *value, enum output_kind kind);

/* A builder that continues where `node` comes from (span, scope, region, pin, reason). */
struct builder builder_at(struct graph *graph, const struct node *node);

const char *region_name(enum region region);
const char *output_kind_name(enum output_kind kind);
const char *variable_kind_name(enum variable_kind kind);

#endif
