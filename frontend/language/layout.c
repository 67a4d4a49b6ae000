/* Aligning neighbouring lines, and printing them. */
#include "frontend/language/layout.h"

#include <stb/stb_ds.h>
#include <string.h>

void layout_begin(struct layout *layout, enum line_kind kind, int column)
{
    struct line line = {.kind = kind, .column = column, .head = -1};
    arrput(layout->lines, line);
}

void layout_continue(struct layout *layout, int column)
{
    const struct line *present = layout_line(layout);
    int head = present->head >= 0 ? present->head : (int)arrlen(layout->lines) - 1;
    layout_begin(layout, LINE_CONTINUATION, column);
    layout_line(layout)->head = head;
}

struct line *layout_line(struct layout *layout)
{
    return &layout->lines[arrlen(layout->lines) - 1];
}

void layout_put(struct layout *layout, const char *text)
{
    struct line *line = layout_line(layout);
    size_t length = strlen(text);
    if (length)
        memcpy(arraddnptr(line->text, length), text, length);
}

int layout_column(const struct layout *layout)
{
    const struct line *line = &layout->lines[arrlen(layout->lines) - 1];
    return line->column + (int)arrlen(line->text);
}

void layout_cell(struct layout *layout, int cell)
{
    struct line *line = layout_line(layout);
    line->cells[cell] = (int)arrlen(line->text);
}

/* ---- alignment ---- */

/* The line after `at` that may stand in one run with it: no blank line, comment or other kind between. */
static int next_of_run(const struct layout *layout, int at)
{
    int count = (int)arrlen(layout->lines), next = at + 1;
    while (next < count && layout->lines[next].kind == LINE_CONTINUATION && layout->lines[next].head == at)
        next++;
    if (next == count)
        return -1;
    const struct line *a = &layout->lines[at], *b = &layout->lines[next];
    bool same = a->kind == b->kind && a->column == b->column && !b->blank_before && !b->comment_alone;
    return same ? next : -1;
}

/* Inserts blanks at a cell; its later cells and its continuation lines move along. */
static void shift(struct layout *layout, int at, int cell, int blanks)
{
    struct line *line = &layout->lines[at];
    int place = line->cells[cell];
    for (int i = 0; i < blanks; i++)
        arrins(line->text, place, ' ');
    for (int i = cell; i < CELLS; i++)
        line->cells[i] += line->cells[i] ? blanks : 0;
    for (int i = at + 1; i < (int)arrlen(layout->lines) && layout->lines[i].head == at; i++)
        layout->lines[i].column += blanks;
}

static int align_run(struct layout *layout, int first)
{
    int last = first, lines = 0;
    for (int cell = 0; cell < CELLS; cell++) {
        int widest = 0;
        lines = 0;
        for (int at = first; at >= 0; at = next_of_run(layout, at)) {
            widest = layout->lines[at].cells[cell] > widest ? layout->lines[at].cells[cell] : widest;
            last = at;
            lines++;
        }
        /* Settings stand in two columns, so one more blank between them. */
        if (layout->lines[first].kind == LINE_SETTING && lines > 1 && cell == 0)
            widest++;
        for (int at = first; at >= 0; at = next_of_run(layout, at))
            if (layout->lines[at].cells[cell])
                shift(layout, at, cell, widest - layout->lines[at].cells[cell]);
    }
    return last;
}

static void align(struct layout *layout)
{
    for (int i = 0; i < (int)arrlen(layout->lines); i++) {
        enum line_kind kind = layout->lines[i].kind;
        if (kind != LINE_PLAIN && kind != LINE_CONTINUATION)
            i = align_run(layout, i);
    }
}

/* ---- comments behind lines ---- */

static int end_column(const struct line *line)
{
    return line->column + (int)arrlen(line->text);
}

static bool has_comment(const struct layout *layout, int at)
{
    return at < (int)arrlen(layout->lines) && layout->lines[at].comment && !layout->lines[at].comment_alone;
}

/* The column of the comments of the run of commented lines that begins at `at`; *end is just past it. */
static int comment_column(const struct layout *layout, int at, int *end)
{
    int widest = 0;
    const struct line *first = &layout->lines[at];
    for (*end = at; has_comment(layout, *end); ++*end) {
        if (*end > at && (layout->lines[*end].blank_before || layout->lines[*end].column != first->column))
            break;
        widest = end_column(&layout->lines[*end]) > widest ? end_column(&layout->lines[*end]) : widest;
    }
    return widest + 2;
}

static void print_line(const struct line *line, int comment_at, FILE *out)
{
    if (line->blank_before)
        fputc('\n', out);
    fprintf(out, "%*s%.*s", line->column, "", (int)arrlen(line->text), line->text ? line->text : "");
    if (line->comment)
        fprintf(out, "%*s%s", line->comment_alone ? 0 : comment_at - end_column(line), "", line->comment);
    fputc('\n', out);
}

void layout_print(struct layout *layout, FILE *out)
{
    align(layout);
    for (int i = 0, end = 0, column = 0; i < (int)arrlen(layout->lines); i++) {
        if (i >= end && has_comment(layout, i))
            column = comment_column(layout, i, &end);
        print_line(&layout->lines[i], column, out);
    }
    for (int i = 0; i < (int)arrlen(layout->lines); i++)
        arrfree(layout->lines[i].text);
    arrfree(layout->lines);
}
