/* Casting policies in C: the one header that a plugin needs.
 *
 * A plugin is a shared object with one or more policies. Castor calls `decide` once for each graph that it compiles
 * (training step, evaluation), after gradients are expanded: forward and backward nodes stand in one graph, operands
 * before users, numbered from 0. The policy asks what it wants to know through the functions of `api` and sets the
 * type of every node that is free, with the reason that dumps and `castor explain` show.
 *
 *     static void decide(const struct castor_api *api, struct castor_graph *graph) { … }
 *     CASTOR_POLICIES({"mine", "one line about it", NULL, decide})
 *
 *     cc -shared -fPIC $(pkg-config --cflags castor) mine.c -o mine.so
 *     castor train model.net --plugin ./mine.so --policy 'mine(f16)'
 *
 * All strings that Castor gives live until `decide` returns; those that it is given are copied. */
#ifndef CASTOR_PLUGIN_H
#define CASTOR_PLUGIN_H

#ifdef __cplusplus
extern "C" {
#endif

/* Grows whenever the structs below change; a plugin built against another one is refused. */
#define CASTOR_PLUGIN_ABI 1

/* HALF is f16 or bf16, as the user asked. OTHER: integers, truth values, f64. */
enum castor_type { CASTOR_OTHER, CASTOR_F32, CASTOR_HALF };
enum castor_region { CASTOR_FORWARD, CASTOR_BACKWARD, CASTOR_UPDATE };

struct castor_graph;

struct castor_api {
    const char *(*graph_name)(const struct castor_graph *graph); /* "train", "eval", … */
    int (*half_bits)(const struct castor_graph *graph);          /* of the exponent: 5 for f16, 8 for bf16 */
    int (*node_count)(const struct castor_graph *graph);

    /* Whether the policy decides this node. What the source fixes (casts, `precision` blocks), leaves, updates, and
     * values that are no floats or made of parameters alone are not free. */
    int (*is_free)(const struct castor_graph *graph, int node);
    const char *(*op)(const struct castor_graph *graph, int node);   /* "matmul"; `castor ops` lists them */
    const char *(*name)(const struct castor_graph *graph, int node); /* "fc1.y"; "" where it has none */
    /* The calls that it was made in, "layers.0:block/fc1:linear/:relu"; "" outside of all. */
    const char *(*scope)(const struct castor_graph *graph, int node);
    enum castor_region (*region)(const struct castor_graph *graph, int node);
    int (*operand_count)(const struct castor_graph *graph, int node);
    int (*operand)(const struct castor_graph *graph, int node, int index);
    int (*user_count)(const struct castor_graph *graph, int node);
    int (*user)(const struct castor_graph *graph, int node, int index);
    int (*rank)(const struct castor_graph *graph, int node);
    long long (*dimension)(const struct castor_graph *graph, int node, int axis);
    double (*bytes)(const struct castor_graph *graph, int node); /* operands and result, before any policy */
    double (*flops)(const struct castor_graph *graph, int node);
    /* The type so far: as decided, else as it stands before any policy. */
    enum castor_type (*type)(const struct castor_graph *graph, int node);
    /* The largest magnitude that --record-ranges saw, and the share of values below 2^-24; 0 when none was recorded. */
    int (*range)(const struct castor_graph *graph, int node, double *largest, double *lost);

    void (*decide)(struct castor_graph *graph, int node, enum castor_type type, const char *reason);
};

struct castor_policy {
    const char *name, *help;
    /* A built-in policy ("autocast") whose rules decide the nodes that this one leaves open, and whose scopes act as
     * one operator: f32 inside. NULL: every free node must be decided. */
    const char *extends;
    void (*decide)(const struct castor_api *api, struct castor_graph *graph);
};

/* What a plugin exports: its policies. */
#define CASTOR_POLICIES(...)                                                                                           \
    extern const int castor_plugin_abi;                                                                                \
    extern const struct castor_policy castor_plugin_policies[];                                                        \
    const int castor_plugin_abi = CASTOR_PLUGIN_ABI;                                                                   \
    const struct castor_policy castor_plugin_policies[] = {__VA_ARGS__, {0, 0, 0, 0}};

#ifdef __cplusplus
}
#endif

#endif
