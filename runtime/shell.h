/* Words as a shell reads them, for commands that messages suggest. */
#ifndef CASTOR_RUNTIME_SHELL_H
#define CASTOR_RUNTIME_SHELL_H

#include <stdio.h>

/* Quoted where it must be. */
void shell_put_word(FILE *out, const char *word);
/* The same, malloced. */
char *shell_word(const char *word);

#endif
