/* Collecting and printing diagnostics. */
#include "ir/diagnostic.h"

#include "ir/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ERRORS_SHOWN = 20 };

struct note {
    struct note *next;
    struct span span;
    const char *text;
};

struct diagnostic {
    enum code code;
    struct span span;
    const char *label, *text;
    struct note *notes, *last_note;
};

struct source {
    const char *file, *text;
    struct source *next;
};

struct diagnostics {
    struct arena *arena;
    struct source *sources;
    struct diagnostic **list; /* arena array, grown by doubling */
    int count, capacity;
    int errors;    /* with those that said again what an earlier one says: they are not in the list */
    bool repeated; /* the last one is such, and so are its notes */
};

struct diagnostics *diagnostics_new(struct arena *arena)
{
    struct diagnostics *diagnostics = ARENA_NEW(arena, struct diagnostics);
    diagnostics->arena = arena;
    return diagnostics;
}

void diagnostics_add_source(struct diagnostics *diagnostics, const char *file, const char *text)
{
    struct source *source = ARENA_NEW(diagnostics->arena, struct source);
    *source = (struct source){arena_intern(diagnostics->arena, file), text, diagnostics->sources};
    diagnostics->sources = source;
}

/* Whether one of those that are shown says the same of the same place. */
static bool was_said(const struct diagnostics *diagnostics, enum code code, struct span span, const char *text)
{
    for (int i = 0; i < diagnostics->count && i < ERRORS_SHOWN; i++) {
        const struct diagnostic *said = diagnostics->list[i];
        if (said->code == code && said->span.line == span.line && said->span.column == span.column &&
            said->span.end_column == span.end_column && said->span.file == span.file && strcmp(said->text, text) == 0)
            return true;
    }
    return false;
}

static void diagnostic_add(struct diagnostics *diagnostics, enum code code, struct span span, const char *label,
                           const char *format, va_list arguments)
{
    const char *text = arena_vprintf(diagnostics->arena, format, arguments);
    diagnostics->errors++;
    diagnostics->repeated = was_said(diagnostics, code, span, text);
    if (diagnostics->repeated)
        return;
    if (diagnostics->count == diagnostics->capacity) {
        int capacity = diagnostics->capacity ? diagnostics->capacity * 2 : 16;
        struct diagnostic **list = ARENA_ARRAY(diagnostics->arena, struct diagnostic *, capacity);
        if (diagnostics->count)
            memcpy(list, diagnostics->list, sizeof *list * (size_t)diagnostics->count);
        diagnostics->list = list;
        diagnostics->capacity = capacity;
    }
    struct diagnostic *diagnostic = ARENA_NEW(diagnostics->arena, struct diagnostic);
    diagnostic->code = code;
    diagnostic->span = span;
    diagnostic->label = label ? arena_intern(diagnostics->arena, label) : NULL;
    diagnostic->text = text;
    diagnostics->list[diagnostics->count++] = diagnostic;
}

void diagnostics_error(struct diagnostics *diagnostics, enum code code, struct span span, const char *label,
                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    diagnostic_add(diagnostics, code, span, label, format, arguments);
    va_end(arguments);
}

void diagnostics_note(struct diagnostics *diagnostics, struct span span, const char *format, ...)
{
    if (!diagnostics->count || diagnostics->repeated)
        return;
    struct diagnostic *diagnostic = diagnostics->list[diagnostics->count - 1];
    struct note *note = ARENA_NEW(diagnostics->arena, struct note);
    va_list arguments;
    va_start(arguments, format);
    note->text = arena_vprintf(diagnostics->arena, format, arguments);
    va_end(arguments);
    note->span = span;
    if (diagnostic->last_note)
        diagnostic->last_note->next = note;
    else
        diagnostic->notes = note;
    diagnostic->last_note = note;
}

int diagnostics_errors(const struct diagnostics *diagnostics)
{
    return diagnostics->errors;
}

/* ---- printing ---- */

static void print_place(FILE *out, struct span span)
{
    if (span.file && span.line)
        fprintf(out, "%s:%d:%d: ", span.file, span.line, span.column);
    else if (span.file)
        fprintf(out, "%s: ", span.file);
}

static const char *source_text(const struct diagnostics *diagnostics, const char *file)
{
    for (struct source *source = diagnostics->sources; source && file; source = source->next)
        if (strcmp(source->file, file) == 0)
            return source->text;
    return NULL;
}

static const char *line_start(const char *text, int line)
{
    while (line > 1 && (text = strchr(text, '\n')))
        text++, line--;
    return text;
}

/* `blank` (a tab where a tab stands) for each character of the line from byte `first` on, before byte `last`. */
static void print_below(FILE *out, const char *line, int first, int last, char blank)
{
    int length = (int)strcspn(line, "\r\n");
    for (int i = first; i < last && i < length; i++)
        if (((unsigned char)line[i] & 0xc0) != 0x80)
            fputc(line[i] == '\t' && blank == ' ' ? '\t' : blank, out);
}

/* The source line and a caret line below it. Tabs are kept in front of the caret so that it stands right. */
static void print_source(const struct diagnostics *diagnostics, FILE *out, struct span span, const char *label)
{
    const char *text = span.line > 0 ? source_text(diagnostics, span.file) : NULL;
    const char *line = text ? line_start(text, span.line) : NULL;
    if (!line)
        return;
    int length = (int)strcspn(line, "\r\n");
    fprintf(out, "%5d | %.*s\n      | ", span.line, length, line);
    print_below(out, line, 0, span.column - 1, ' ');
    fputc('^', out);
    print_below(out, line, span.column, span.end_column - 1, '~');
    fprintf(out, "%s%s\n", label ? " " : "", label ? label : "");
}

void diagnostics_print(const struct diagnostics *diagnostics, FILE *out)
{
    for (int i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *diagnostic = diagnostics->list[i];
        if (i == ERRORS_SHOWN) {
            fprintf(out, "%d more errors\n", diagnostics->count - ERRORS_SHOWN);
            return;
        }
        print_place(out, diagnostic->span);
        fprintf(out, "error[%s]: %s\n", diagnostic_code_name(diagnostic->code), diagnostic->text);
        print_source(diagnostics, out, diagnostic->span, diagnostic->label);
        for (const struct note *note = diagnostic->notes; note; note = note->next) {
            print_place(out, note->span);
            fprintf(out, "note: %s\n", note->text);
            print_source(diagnostics, out, note->span, NULL);
        }
    }
}

/* What is no UTF-8, as names of files may hold, becomes U+FFFD: JSON has no other text. */
static json_t *json_text(const char *text)
{
    if (!text)
        return json_null();
    char *clean = NULL;
    size_t size = 0, left = strlen(text);
    FILE *out = arena_stream(&clean, &size);
    while (left) {
        size_t length = (size_t)utf8_length(text, left), step = length ? length : 1;
        if (length)
            fwrite(text, 1, length, out);
        else
            fputs("\xef\xbf\xbd", out);
        text += step;
        left -= step;
    }
    arena_stream_close(out);
    json_t *string = json_stringn(clean, size);
    free(clean);
    return string;
}

static json_t *json_of(const struct diagnostic *diagnostic)
{
    json_t *notes = json_array();
    for (const struct note *note = diagnostic->notes; note; note = note->next)
        json_array_append_new(notes, json_text(note->text));
    struct span span = diagnostic->span;
    return json_pack("{s:o, s:i, s:i, s:i, s:s, s:s, s:o, s:o}", "file", json_text(span.file), "line", span.line,
                     "column", span.column, "end_column", span.end_column, "severity", "error", "code",
                     diagnostic_code_name(diagnostic->code), "message", json_text(diagnostic->text), "notes", notes);
}

void diagnostics_print_json(const struct diagnostics *diagnostics, FILE *out)
{
    json_t *list = json_array();
    for (int i = 0; i < diagnostics->count; i++)
        json_array_append_new(list, json_of(diagnostics->list[i]));
    json_dumpf(list, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(list);
}

/* ---- the table of codes ---- */

static const struct {
    const char *name, *title, *help;
} codes[] = {
#define CODE(number, name, help) {"E" #number, name, help},
#include "ir/diagnostics.def"
#undef CODE
};

int diagnostic_code_find(const char *text)
{
    for (int i = 0; i < CODE_COUNT; i++)
        if (strcmp(codes[i].name, text) == 0)
            return i;
    return -1;
}

const char *diagnostic_code_name(enum code code)
{
    return codes[code].name;
}

const char *diagnostic_code_title(enum code code)
{
    return codes[code].title;
}

const char *diagnostic_code_help(enum code code)
{
    return codes[code].help;
}

/* ---- suggestions ---- */

enum { WORD_MAX = 64 };

/* Edit distance with swaps of neighbours (optimal string alignment); words over WORD_MAX are never near. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), rows[3][WORD_MAX + 1];
    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *suggest(const char *word, const char *const *candidates, size_t count)
{
    size_t limit = strlen(word) / 3 + 1, best = limit + 1;
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, candidates[i]);
        if (d < best)
            best = d, found = candidates[i];
    }
    return found;
}

void castor_bug_at(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "castor: internal bug at %s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nPlease report it with the command line and the .net file that led here.\n");
    exit(70);
}
