/* What can stand behind a flag, from the way in which flags.def writes its argument: words in small letters are
 * themselves, FILE, DIR, PATH and RUN are files, and some names are in tables. */
#include "frontend/manual/manual.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"

#include <ctype.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static bool names_policies(enum flag flag)
{
    return flag == FLAG_policy || flag == FLAG_precision || flag == FLAG_explain;
}

static bool names_passes(enum flag flag)
{
    return flag == FLAG_after || flag == FLAG_print_after || flag == FLAG_passes;
}

static void add_word(struct flag_values *values, const char *word, size_t length)
{
    arrput(values->words, strndup(word, length));
}

static void add_names(struct flag_values *values, enum flag flag)
{
    size_t count;
    if (names_policies(flag)) {
        const struct policy_info *policies = policy_table(&count);
        for (size_t i = 0; i < count; i++)
            add_word(values, policies[i].name, strlen(policies[i].name));
    }
    if (names_passes(flag)) {
        const struct pass *passes = pass_table(&count);
        for (size_t i = 0; i < count; i++)
            add_word(values, passes[i].name, strlen(passes[i].name));
    }
}

static bool is_file(const char *part)
{
    static const char *const names[] = {"FILE", "DIR", "PATH", "RUN"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(part, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

struct flag_values flag_values(enum flag flag)
{
    struct flag_values values = {0};
    const char *part = flag_info(flag)->argument;
    add_names(&values, flag);
    while (part && *part) {
        size_t length = strcspn(part, "|");
        values.files |= is_file(part);
        if (islower((unsigned char)*part))
            add_word(&values, part, length);
        part += length + (part[length] == '|');
    }
    return values;
}

void flag_values_free(struct flag_values *values)
{
    for (ptrdiff_t i = 0; i < arrlen(values->words); i++)
        free((char *)values->words[i]);
    arrfree(values->words);
}

bool command_takes_files(const struct command *command)
{
    return is_file(command->words);
}
