/* The standard layout of a .net file (`castor fmt`). */
#ifndef CASTOR_FRONTEND_LANGUAGE_FORMAT_H
#define CASTOR_FRONTEND_LANGUAGE_FORMAT_H

#include "frontend/language/ast.h"

/* Prints a parsed file in the standard layout. Comments, blank lines between groups (one at most) and the places where
 * lines are broken are kept; indentation, blanks and the alignment of neighbouring lines are made. Formatting the
 * result again gives the same text, and parsing it the same tree. */
void format_net(const struct ast_file *file, FILE *out);

/* One statement in the same layout, without comments, a line end behind it. */
void format_one(const struct ast_statement *statement, FILE *out);

#endif
