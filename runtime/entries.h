/* The entries of a train block as text, a line each. */
#ifndef CASTOR_RUNTIME_ENTRIES_H
#define CASTOR_RUNTIME_ENTRIES_H

/* What has changed from one text to the other, "clip norm(2), was clip norm(1)", joined by semicolons; malloced, ""
 * when nothing has. */
char *entries_changes(const char *before, const char *now);

/* The text without the first line that sets the same, and with this line behind all; malloced. */
char *entries_replace(const char *text, const char *line);

#endif
