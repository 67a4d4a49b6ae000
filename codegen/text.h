/* A growing text with indentation, for the printers. */
#ifndef CASTOR_CODEGEN_TEXT_H
#define CASTOR_CODEGEN_TEXT_H

#include "ir/graph.h"

struct text {
    char *characters; /* stb_ds array, not terminated */
    int indent;
};

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line: indentation, the text, a line end. */
void text_line(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line that opens a brace, one that is nothing but that, and the line that closes it. */
void text_open(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_open_block(struct text *text);
void text_close(struct text *text);
/* The whole text in the arena; the growing copy is released. */
const char *text_finish(struct text *text, struct arena *arena);

/* The last component of the node's name (of its symbol, for what has one; of its op, where there is neither) as a C
 * identifier. */
const char *text_identifier(const struct node *node, struct arena *arena);

#endif
