/* Commands and their flags. A command is one row of the table in cli/commands.c and one function in a file of cli/, by
 * itself or with its like; flags are rows of flags.def, and a command takes those of its groups. */
#ifndef CASTOR_FRONTEND_CLI_COMMAND_H
#define CASTOR_FRONTEND_CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum exit_code { EXIT_TEXT = 1, EXIT_USAGE = 2, EXIT_DEVICE = 3 };

enum flag_group {
    GROUP_COMPILE = 1 << 0,  /* whatever compiles a .net file */
    GROUP_LANGUAGE = 1 << 1, /* what the language alone needs */
    GROUP_PASSES = 1 << 2,
    GROUP_BLOCK = 1 << 3, /* entries of the train block */
    GROUP_STEPS = 1 << 4,
    GROUP_WEIGHTS = 1 << 5,
    GROUP_TRAIN = 1 << 6,
    GROUP_RUN = 1 << 7,
    GROUP_DUMP = 1 << 8,
    GROUP_FORMAT = 1 << 9,
    GROUP_POLICIES = 1 << 10,
    GROUP_JSON = 1 << 11,
    GROUP_DEVICE = 1 << 12,
    GROUP_REDUCE = 1 << 13,
    GROUP_LEDGER = 1 << 14,
    GROUP_BUILD = 1 << 15,
    GROUP_REPORT = 1 << 16,
    GROUP_EXPORT = 1 << 17,
    GROUP_AFTER = 1 << 18
};

enum flag {
#define FLAG(identifier, spelling, argument, groups, help) FLAG_##identifier,
#include "frontend/cli/flags.def"
#undef FLAG
    FLAG_COUNT
};

/* A row of flags.def. */
struct flag_info {
    const char *spelling, *argument; /* argument: NULL for a switch */
    unsigned groups;
    const char *help;
};

const struct flag_info *flag_info(enum flag flag);

/* The sections of --help, in their order: a flag stands in one of them. NULL past the last. */
const char *flag_section_title(int section);
int flag_section(enum flag flag);

/* The words of one command line. Everything points into argv. */
struct invocation {
    const struct command *command;
    const char *words[8]; /* positional */
    int word_count;
    const char **given[FLAG_COUNT]; /* stb_ds arrays: the arguments of each flag in order; "" for a switch */
};

struct command {
    const char *name, *words; /* words: "FILE [NODE]" */
    int least, most;          /* how many words */
    unsigned groups;
    const char *help;     /* one sentence */
    const char *examples; /* one a line, without the leading "castor" */
    int (*run)(const struct invocation *invocation);
};

const struct command *command_table(size_t *count);

/* Parses argv (argv[0] is the command). -1 when the command is to run, else the exit code: 0 after --help, 2 after a
 * usage error. invocation_free releases it either way. */
int invocation_parse(struct invocation *invocation, const struct command *command, int argc, char **argv);
void invocation_free(struct invocation *invocation);

bool flag_given(const struct invocation *invocation, enum flag flag);
/* The last argument given, NULL when the flag was not given. */
const char *flag_text(const struct invocation *invocation, enum flag flag);
int flag_count(const struct invocation *invocation, enum flag flag);
/* Whether the flag's argument, if it was given, is one of the words that flags.def lists for it; false after a message
 * otherwise. */
bool flag_choice(const struct invocation *invocation, enum flag flag);
/* An integer of at least `least`. False after a message when the text is no such number; *value stays when the flag
 * was not given. */
bool flag_integer(const struct invocation *invocation, enum flag flag, int64_t least, int64_t *value);
/* Whether the flag's argument, where it is one number and no other expression of the language, is whole and at least
 * `least`; false after a message otherwise. */
bool flag_number(const struct invocation *invocation, enum flag flag, int64_t least);
/* Whether it is "1 epoch" or "500 steps", `every` before it or not, or no number at all; false after a message
 * otherwise. */
bool flag_interval(const struct invocation *invocation, enum flag flag);
/* An interval without `every`. */
const char *interval_text(const char *text);
/* A number above 0 and below 1, likewise. */
bool flag_share(const struct invocation *invocation, enum flag flag, double *value);
/* Whether the file that a flag names can be what is written: not stdout, and none of the files that the command reads.
 * False after a message. */
bool flag_output(const struct invocation *invocation, enum flag flag);
/* A size in memory: bytes (2000000, 512M, 1.5Gi, share 0) or, in per cent, a share between 0 and 1 (bytes 0). */
bool flag_bytes(const struct invocation *invocation, enum flag flag, int64_t *bytes, double *share);
const char *flag_spelling(enum flag flag);
bool flag_in(enum flag flag, enum flag_group group);
bool command_takes(const struct command *command, enum flag flag);

/* "castor COMMAND: …" to stderr; gives EXIT_USAGE. */
int usage_error(const struct invocation *invocation, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define COMMAND(name) int command_##name(const struct invocation *invocation);
COMMAND(check)
COMMAND(fmt)
COMMAND(train)
COMMAND(build)
COMMAND(eval)
COMMAND(run)
COMMAND(dump)
COMMAND(opt)
COMMAND(explain)
COMMAND(ledger)
COMMAND(export)
COMMAND(profile)
COMMAND(ops)
COMMAND(passes)
COMMAND(policies)
COMMAND(devices)
COMMAND(calibrate)
COMMAND(compare)
COMMAND(reduce)
COMMAND(report)
COMMAND(new)
#undef COMMAND

#endif
