/* Shared by the two halves of the formatter. */
#ifndef CASTOR_FRONTEND_LANGUAGE_FORMAT_INTERNAL_H
#define CASTOR_FRONTEND_LANGUAGE_FORMAT_INTERNAL_H

#include "frontend/language/ast.h"
#include "frontend/language/layout.h"

struct formatter {
    struct layout layout;
    const struct ast_file *file;
    int comment;      /* the next comment that is not printed yet */
    int source_line;  /* the last line of the source that is printed */
    bool block_begun; /* nothing stands in the present block yet: no blank line comes first */
    int flat;         /* within a block on one line: no comments there */
};

/* Breaks the line inside a statement: what follows stands at `column`, in the source at `source_line`. Comments in
 * front of it go behind the line that ends, or above the one that begins. */
void format_break(struct formatter *formatter, int column, int source_line);

void format_expression(struct formatter *formatter, const struct ast_expression *expression);
/* Items with commas between, without brackets. */
void format_values(struct formatter *formatter, const struct ast_expressions *values);
void format_type(struct formatter *formatter, const struct ast_type *type);
/* ( … ) of a module or function. */
void format_parameters(struct formatter *formatter, const struct ast_parameters *parameters);
void format_string(struct formatter *formatter, const char *string);

#endif
