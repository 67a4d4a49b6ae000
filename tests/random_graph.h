/* Random valid graphs drawn from the op table, for tests that compare two ways of doing the same thing: fused and
 * unfused, before and after a pass, printed and parsed. The same seed and options give the same graph. */
#ifndef CASTOR_TESTS_RANDOM_GRAPH_H
#define CASTOR_TESTS_RANDOM_GRAPH_H

#include "ir/evaluate.h"
#include "ir/graph.h"

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). */
static inline uint64_t random_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Graphs of tensors of so many elements have long axes, too: rows of more than a warp, a block, a page. */
enum { RANDOM_LARGE = 8192 };

struct random_options {
    int steps;        /* ops drawn; each adds the nodes that make its operands fit (default 24) */
    int64_t elements; /* the largest tensor, roughly (default 600) */
    int64_t batch;    /* most tensors have it as their first axis; 0: none in particular */
    bool chains;      /* many ops take what was made last, often by the same op, so that rewrites meet their patterns */
    bool halves;      /* some nodes are rounded to f16 or bf16 */
    unsigned without; /* bit i: no ops of class i (enum op_class) */
};

/* A module of one graph, "train": inputs, variables that are read, written or both, draws of train/seed and
 * train/attempt, several outputs and writes. Every op of the table but the markers can occur. */
struct module *random_module(struct arena *arena, uint64_t seed, const struct random_options *options);

/* Adds such a graph to a module, with variables of its own but for the seed's. */
struct graph *random_graph(struct module *module, const char *name, uint64_t seed,
                           const struct random_options *options);

/* Adds gradients of this order, by every floating input, of the last floating output. False where there is none. */
bool random_gradients(struct graph *graph, int order);

/* ---- values (random_values.c) ---- */

/* Gives every input and variable of the module values: floats around 0 that their type holds exactly, indices in
 * their range. */
void random_fill(struct environment *environment, const struct module *module, uint64_t seed);

/* Half copies of parameters, as graph refresh would make them of what random_fill gave. */
void random_fill_copies(struct environment *environment, const struct module *module);

/* The inputs of one graph alone. */
void random_fill_inputs(struct environment *environment, const struct graph *graph, uint64_t seed);

#endif
