/* What is made of the tables of commands, flags, ops and words when Castor is built: manual pages, completions for
 * shells, and syntax for vim. A program of its own (main.c) writes them; castor does not need them. */
#ifndef CASTOR_FRONTEND_MANUAL_H
#define CASTOR_FRONTEND_MANUAL_H

#include "frontend/cli/command.h"

/* Troff with the macros of man(7): castor.1, and castor-COMMAND.1. */
void manual_overview(FILE *out);
void manual_command(const struct command *command, FILE *out);

void completions_bash(FILE *out);
void completions_zsh(FILE *out);

/* `lexer`: the text of net.l and policy.l, whose words are the keywords. */
void vim_net(FILE *out, const char *lexer);
void vim_policy(FILE *out, const char *lexer);

/* What can stand behind a flag: words that are known, files, both or neither. */
struct flag_values {
    const char **words; /* stb_ds array of malloced words */
    bool files;
};

struct flag_values flag_values(enum flag flag);
void flag_values_free(struct flag_values *values);
/* Whether a command's words are files ("FILE", "RUN..."). */
bool command_takes_files(const struct command *command);

#endif
