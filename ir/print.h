/* The text form of modules: complete and stable. What it looks like is told in ir/README.md; ir/parse.h reads it. */
#ifndef CASTOR_IR_PRINT_H
#define CASTOR_IR_PRINT_H

#include "ir/graph.h"

#include <stdio.h>

/* The whole module, which parse_module reads back as the same module. Node ids must be positions (graph_number). */
void print_module(const struct module *module, FILE *out);

/* One graph or function as it stands in a module's text. */
void print_graph(const struct graph *graph, FILE *out);

/* One node as it stands in its graph's text, but operands by origin number; for messages and debugging. */
void print_node(const struct node *node, FILE *out);

/* The shortest decimal form of a double that reads back as the same bits ("nan:0x…" for unusual NaNs). */
enum { DOUBLE_TEXT = 32 };
char *format_double(double value, char buffer[DOUBLE_TEXT]);

/* The names by which the text form calls the nodes of a graph, by id, without the leading "%": unique, readable. */
const char **graph_node_names(const struct graph *graph, struct arena *arena);

#endif
