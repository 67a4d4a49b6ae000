/* Pictures of graphs: DOT text coloured by precision, and SVG through graphviz. */
#ifndef CASTOR_IR_DOT_H
#define CASTOR_IR_DOT_H

#include "ir/graph.h"

#include <stdio.h>

/* The graph in graphviz's language. A node's colour is its element type, a red hexagon is a cast, boxes around nodes
 * are module instances and functions (backward and update apart), and a node's tooltip is its line of IR with the
 * reason of its precision. Constants stand in the labels of what uses them, reshape and broadcast are left out, and the
 * update of a training graph is one box (but for its casts). */
void dot_graph(const struct graph *graph, FILE *out);

/* The same as SVG, by running `dot -Tsvg`. NULL when all is well, else what went wrong, to be shown to the user. */
const char *dot_svg(const struct graph *graph, FILE *out);

#endif
