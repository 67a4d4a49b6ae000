/* Diagnostics: what is wrong with a text that a user wrote (.net, .policy, IR), and how it is shown.
 *
 * A diagnostic has a stable code from diagnostics.def, a span, a message and notes. They are collected, not
 * printed where they arise; after 20 errors the rest is only counted, and one that says again what an earlier one
 * says of the same place is left out. Failures that are no fault of a text (device, disk, data) are not
 * diagnostics: those are runtime/error.h. Bugs of Castor are castor_bug(). */
#ifndef CASTOR_IR_DIAGNOSTIC_H
#define CASTOR_IR_DIAGNOSTIC_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdio.h>

/* A piece of source: file (interned; NULL when unknown), 1-based line and column, and the column just past the end
 * on the same line. */
struct span {
    const char *file;
    int line, column, end_column;
};

enum code {
#define CODE(number, name, help) E##number,
#include "ir/diagnostics.def"
#undef CODE
    CODE_COUNT
};

struct diagnostics;

struct diagnostics *diagnostics_new(struct arena *arena);

/* Makes the text of `file` known so that its lines can be shown; both strings must live as long as the arena. */
void diagnostics_add_source(struct diagnostics *diagnostics, const char *file, const char *text);

/* Reports an error at `span`. The label is what stands behind the caret (NULL: nothing). */
void diagnostics_error(struct diagnostics *diagnostics, enum code code, struct span span, const char *label,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Adds a note (a suggestion, another place) to the last diagnostic reported; span.file may be NULL. */
void diagnostics_note(struct diagnostics *diagnostics, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Errors reported so far. */
int diagnostics_errors(const struct diagnostics *diagnostics);

/* Prints all that was reported, in the order of reporting, with source line and caret; or as the JSON array that
 * `castor check --json` gives, an object each: file, line, column, end_column, severity, code, message, notes. */
void diagnostics_print(const struct diagnostics *diagnostics, FILE *out);
void diagnostics_print_json(const struct diagnostics *diagnostics, FILE *out);

/* "E0203" -> its table row; the help text is what `castor explain E0203` prints. -1 when there is no such code. */
int diagnostic_code_find(const char *text);
const char *diagnostic_code_name(enum code code);
const char *diagnostic_code_title(enum code code);
const char *diagnostic_code_help(enum code code);

/* The candidate nearest to `word` by edit distance, when near enough to be what was meant; else NULL. */
const char *suggest(const char *word, const char *const *candidates, size_t count);

/* An internal bug: prints where in Castor, how to report, and exits 70. */
#define castor_bug(...) castor_bug_at(__FILE__, __LINE__, __VA_ARGS__)
__attribute__((noreturn, format(printf, 3, 4))) void castor_bug_at(const char *file, int line, const char *format, ...);

#endif
