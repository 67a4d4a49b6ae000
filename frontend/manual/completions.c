/* Completions for bash and zsh: commands, each one's flags, and what can stand behind a flag. */
#include "frontend/manual/manual.h"

#include <stb/stb_ds.h>
#include <string.h>

/* Inside single quotes of a shell. */
static void put_quoted(FILE *out, const char *text)
{
    for (; *text; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, 0}, out);
}

static void put_words(FILE *out, const struct flag_values *values)
{
    for (ptrdiff_t i = 0; i < arrlen(values->words); i++)
        fprintf(out, i ? " %s" : "%s", values->words[i]);
}

/* ---- bash ---- */

static void bash_values(FILE *out)
{
    for (int flag = 0; flag < FLAG_COUNT; flag++) {
        if (!flag_info((enum flag)flag)->argument || flag == FLAG_page) /* --output, too */
            continue;
        struct flag_values values = flag_values((enum flag)flag);
        fprintf(out, "        --%s%s) words='", flag_spelling((enum flag)flag), flag == FLAG_output ? " | -o" : "");
        put_words(out, &values);
        fprintf(out, "'%s ;;\n", values.files ? " files=yes" : "");
        flag_values_free(&values);
    }
}

static void bash_flags(FILE *out, const struct command *command)
{
    fprintf(out, "                %s) words='", command->name);
    for (int flag = 0; flag < FLAG_COUNT; flag++)
        if (command_takes(command, (enum flag)flag))
            fprintf(out, "--%s ", flag_spelling((enum flag)flag));
    fputs("--help' ;;\n", out);
}

static void bash_files(FILE *out)
{
    size_t count;
    const struct command *commands = command_table(&count);
    int listed = 0;
    fputs("                ", out);
    for (size_t i = 0; i < count; i++)
        if (command_takes_files(&commands[i]))
            fprintf(out, listed++ ? " | %s" : "%s", commands[i].name);
    fputs(") files=yes ;;\n                help) words=$commands ;;\n", out);
}

void completions_bash(FILE *out)
{
    size_t count;
    const struct command *commands = command_table(&count);
    fputs("# Completion of castor's command line for bash; made from its tables.\n_castor()\n{\n    local commands='",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s ", commands[i].name);
    fputs("help'\n    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words='' files=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$current\"))\n"
          "        return\n"
          "    fi\n"
          "    case $before in\n",
          out);
    bash_values(out);
    fputs("        *)\n            if [[ $current == -* ]]; then\n                case ${COMP_WORDS[1]} in\n", out);
    for (size_t i = 0; i < count; i++)
        bash_flags(out, &commands[i]);
    fputs("                esac\n            else\n                case ${COMP_WORDS[1]} in\n", out);
    bash_files(out);
    fputs("                esac\n            fi\n            ;;\n    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
          "    if [ -n \"$files\" ]; then\n"
          "        local IFS=$'\\n'\n"
          "        compopt -o filenames\n"
          "        COMPREPLY+=($(compgen -f -- \"$current\"))\n"
          "    fi\n"
          "}\ncomplete -F _castor castor\n",
          out);
}

/* ---- zsh ---- */

/* Help in square brackets of _arguments, inside single quotes. */
static void put_help(FILE *out, const char *help)
{
    for (; *help; help++) {
        if (strchr("[]:\\", *help))
            fputc('\\', out);
        put_quoted(out, (char[]){*help, 0});
    }
}

/* What _arguments offers behind a flag: words, files, or by commands both. */
static void zsh_values(FILE *out, const struct flag_values *values)
{
    bool both = values->files && arrlen(values->words);
    if (values->files && !both) {
        fputs("_files", out);
        return;
    }
    fputs(both ? "{compadd -- " : "(", out);
    put_words(out, values);
    fputs(both ? "; _files}" : ")", out);
}

static void zsh_flag(FILE *out, enum flag flag)
{
    const struct flag_info *info = flag_info(flag);
    struct flag_values values = flag_values(flag);
    fprintf(out, "                '*--%s%s[", info->spelling, info->argument ? "=" : "");
    put_help(out, info->help);
    fputc(']', out);
    if (info->argument) {
        fputs(":value:", out);
        zsh_values(out, &values);
    }
    fputs("' \\\n", out);
    flag_values_free(&values);
}

static void zsh_command(FILE *out, const struct command *command)
{
    fprintf(out, "        %s)\n            _arguments \\\n", command->name);
    for (int flag = 0; flag < FLAG_COUNT; flag++)
        if (command_takes(command, (enum flag)flag))
            zsh_flag(out, (enum flag)flag);
    fprintf(out, "                '--help[examples and flags]'%s\n            ;;\n",
            command_takes_files(command) ? " \\\n                '*:file:_files'" : "");
}

void completions_zsh(FILE *out)
{
    size_t count;
    const struct command *commands = command_table(&count);
    fputs("#compdef castor\n# Completion of castor's command line for zsh; made from its tables.\n_castor()\n{\n"
          "    local -a commands\n    commands=(\n",
          out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "        '%s:", commands[i].name);
        put_quoted(out, commands[i].help);
        fputs("'\n", out);
    }
    fputs("    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
          "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n",
          out);
    for (size_t i = 0; i < count; i++)
        zsh_command(out, &commands[i]);
    fputs("    esac\n}\n_castor \"$@\"\n", out);
}
