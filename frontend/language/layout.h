/* Lines of formatted text, before they are aligned: what the formatter writes into.
 *
 * A line has a text, the column at which it begins, cells (places in the text that are to stand below each other in
 * neighbouring lines of the same kind) and perhaps a comment behind it. Continuation lines follow the shift of the line
 * that they continue. */
#ifndef CASTOR_FRONTEND_LANGUAGE_LAYOUT_H
#define CASTOR_FRONTEND_LANGUAGE_LAYOUT_H

#include <stdbool.h>
#include <stdio.h>

enum { INDENT = 4, CELLS = 2 };

/* Neighbouring lines are aligned when they are of one kind. */
enum line_kind { LINE_PLAIN, LINE_BINDING, LINE_UPDATE, LINE_PARAM, LINE_SETTING, LINE_OVERRIDE, LINE_CONTINUATION };

struct line {
    enum line_kind kind;
    int column;       /* blanks in front, from 0 */
    char *text;       /* stb array of characters */
    int cells[CELLS]; /* offsets into the text that are aligned; 0: none */
    const char *comment;
    bool blank_before, comment_alone;
    int head; /* of a continuation: the line that it continues */
};

struct layout {
    struct line *lines; /* stb array */
};

/* Begins a line at a column; the ones before are complete. */
void layout_begin(struct layout *layout, enum line_kind kind, int column);
/* Begins a line that goes on with the statement of the present one. */
void layout_continue(struct layout *layout, int column);
void layout_put(struct layout *layout, const char *text);
/* The column at which the next character will stand. */
int layout_column(const struct layout *layout);
struct line *layout_line(struct layout *layout);
/* The next character is to be aligned with the neighbours'; `cell` from 0. */
void layout_cell(struct layout *layout, int cell);

/* Aligns, prints and frees all lines. */
void layout_print(struct layout *layout, FILE *out);

#endif
