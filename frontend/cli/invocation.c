/* Taking a command line apart with argp: the options of a command are the rows of flags.def in its groups. */
#include "frontend/cli/command.h"
#include "ir/diagnostic.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KEY = 256 };

#define COMPILE GROUP_COMPILE
#define LANGUAGE GROUP_LANGUAGE
#define PASSES GROUP_PASSES
#define BLOCK GROUP_BLOCK
#define STEPS GROUP_STEPS
#define WEIGHTS GROUP_WEIGHTS
#define TRAIN GROUP_TRAIN
#define RUN GROUP_RUN
#define DUMP GROUP_DUMP
#define FORMAT GROUP_FORMAT
#define POLICIES GROUP_POLICIES
#define JSON GROUP_JSON
#define DEVICE GROUP_DEVICE
#define REDUCE GROUP_REDUCE
#define LEDGER GROUP_LEDGER
#define BUILD GROUP_BUILD
#define REPORT GROUP_REPORT
#define EXPORT GROUP_EXPORT
#define AFTER GROUP_AFTER

static const struct flag_info flags[FLAG_COUNT] = {
#define FLAG(identifier, spelling, argument, groups, help) {spelling, argument, groups, help},
#include "frontend/cli/flags.def"
#undef FLAG
};

const struct flag_info *flag_info(enum flag flag)
{
    return &flags[flag];
}

const char *flag_spelling(enum flag flag)
{
    return flags[flag].spelling;
}

bool flag_in(enum flag flag, enum flag_group group)
{
    return (flags[flag].groups & group) != 0;
}

int usage_error(const struct invocation *invocation, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "castor %s: ", invocation->command->name);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\ntry: castor %s --help\n", invocation->command->name);
    return EXIT_USAGE;
}

static error_t take(int key, char *argument, struct argp_state *state)
{
    struct invocation *invocation = state->input;
    if (key >= KEY && key < KEY + FLAG_COUNT) {
        arrput(invocation->given[key - KEY], argument ? argument : "");
        return 0;
    }
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    if (invocation->word_count == invocation->command->most) {
        invocation->word_count++;
        return EINVAL;
    }
    invocation->words[invocation->word_count++] = argument;
    return 0;
}

bool command_takes(const struct command *command, enum flag flag)
{
    return (flags[flag].groups & command->groups) != 0;
}

/* The flag that `word` (behind "--", up to '=') names, FLAG_COUNT when the command has none. */
static enum flag find_flag(const struct command *command, const char *word)
{
    size_t length = strcspn(word, "=");
    for (int i = 0; i < FLAG_COUNT; i++)
        if (command_takes(command, (enum flag)i) && strlen(flags[i].spelling) == length &&
            strncmp(flags[i].spelling, word, length) == 0)
            return (enum flag)i;
    return FLAG_COUNT;
}

/* Looks at the flags before argp does, which would know neither suggestions nor our exit code. */
static int check_flags(const struct invocation *invocation, int argc, char **argv)
{
    const struct command *command = invocation->command;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || argv[i][1] == 0 || strcmp(argv[i], "--help") == 0)
            continue;
        const char *word = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        enum flag flag = argv[i][1] == '-' ? find_flag(command, word) : FLAG_COUNT;
        if (flag < FLAG_COUNT) {
            bool joined = strchr(word, '=') != NULL;
            if (flags[flag].argument && !joined && ++i == argc)
                return usage_error(invocation, "--%s needs a value: %s", word, flags[flag].argument);
            if (!flags[flag].argument && joined)
                return usage_error(invocation, "--%s takes no value", flags[flag].spelling);
            continue;
        }
        const char *names[FLAG_COUNT];
        size_t count = 0;
        for (int k = 0; k < FLAG_COUNT; k++)
            if (command_takes(command, (enum flag)k))
                names[count++] = flags[k].spelling;
        const char *near = suggest(word, names, count);
        return usage_error(invocation, near ? "unknown flag %s; did you mean --%s?" : "unknown flag %s", argv[i], near);
    }
    return -1;
}

/* The sections of --help: a flag stands in the last that one of its groups belongs to. */
static const struct {
    unsigned groups;
    const char *title;
} sections[] = {{~0u, "Of this command:"},
                {GROUP_LANGUAGE | GROUP_COMPILE | GROUP_PASSES | GROUP_DEVICE, "How it is compiled:"},
                {GROUP_BLOCK, "Entries of the train block, written as in the file:"}};
enum { SECTION_COUNT = sizeof sections / sizeof *sections };

const char *flag_section_title(int section)
{
    return section < SECTION_COUNT ? sections[section].title : NULL;
}

int flag_section(enum flag flag)
{
    int section = SECTION_COUNT - 1;
    while (!(flags[flag].groups & sections[section].groups))
        section--;
    return section;
}

/* Options for argp, the command's own first, ended by an empty row; malloced. */
static struct argp_option *options_of(const struct command *command)
{
    struct argp_option *options = calloc(FLAG_COUNT + SECTION_COUNT + 1, sizeof *options);
    if (!options)
        arena_exhausted();
    for (int section = 0, at = 0; section < SECTION_COUNT; section++) {
        int first = at++;
        for (int i = 0; i < FLAG_COUNT; i++)
            if (command_takes(command, (enum flag)i) && flag_section((enum flag)i) == section)
                options[at++] = (struct argp_option){.name = flags[i].spelling,
                                                     .key = KEY + i,
                                                     .arg = flags[i].argument,
                                                     .doc = flags[i].help,
                                                     .group = section + 1};
        if (at == first + 1)
            at = first;
        else
            options[first] = (struct argp_option){.doc = sections[section].title, .group = section + 1};
    }
    return options;
}

static void print_help(const struct command *command, const struct argp *argp)
{
    printf("%s\n\nexamples:\n", command->help);
    for (const char *rest = command->examples; rest && *rest;) {
        size_t length = strcspn(rest, "\n");
        printf("  castor %.*s\n", (int)length, rest);
        rest += length + (rest[length] == '\n');
    }
    bool flags = argp->options->name || argp->options->doc;
    printf("\nusage: castor %s%s%s%s\n\n", command->name, *command->words ? " " : "", command->words,
           flags ? " [flags]" : "");
    fflush(stdout);
    if (flags) /* without any it would lose memory */
        argp_help(argp, stdout, ARGP_HELP_LONG, (char *)command->name);
}

static int parse_words(struct invocation *invocation, const struct argp *argp, int argc, char **argv)
{
    const struct command *command = invocation->command;
    error_t failed = argp_parse(argp, argc, argv, ARGP_NO_HELP | ARGP_NO_ERRS | ARGP_NO_EXIT, NULL, invocation);
    if (invocation->word_count > command->most)
        return usage_error(invocation, command->most ? "too many words: it takes %s" : "it takes no words",
                           command->words);
    if (failed)
        return usage_error(invocation, "cannot read the command line");
    if (invocation->word_count < command->least)
        return usage_error(invocation, "it takes %s", command->words);
    return -1;
}

int invocation_parse(struct invocation *invocation, const struct command *command, int argc, char **argv)
{
    *invocation = (struct invocation){.command = command};
    struct argp_option *options = options_of(command);
    struct argp argp = {.options = options, .parser = take, .args_doc = command->words};
    int code = -1;
    for (int i = 1; i < argc; i++) /* the one short flag that everybody's fingers know */
        if (strcmp(argv[i], "-o") == 0 && find_flag(command, "output") != FLAG_COUNT)
            argv[i] = (char *)"--output";
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            code = 0;
    if (code == 0)
        print_help(command, &argp);
    if (code < 0)
        code = check_flags(invocation, argc, argv);
    if (code < 0)
        code = parse_words(invocation, &argp, argc, argv);
    free(options);
    return code;
}

void invocation_free(struct invocation *invocation)
{
    for (int i = 0; i < FLAG_COUNT; i++)
        arrfree(invocation->given[i]);
}

bool flag_given(const struct invocation *invocation, enum flag flag)
{
    return flag_count(invocation, flag) > 0;
}

int flag_count(const struct invocation *invocation, enum flag flag)
{
    return (int)arrlen(invocation->given[flag]);
}

const char *flag_text(const struct invocation *invocation, enum flag flag)
{
    int count = flag_count(invocation, flag);
    return count ? invocation->given[flag][count - 1] : NULL;
}

bool flag_choice(const struct invocation *invocation, enum flag flag)
{
    enum { CHOICES = 16, LENGTH = 16 };
    char copies[CHOICES][LENGTH], all[CHOICES * (LENGTH + 4)] = "";
    const char *words[CHOICES], *text = flag_text(invocation, flag);
    size_t count = 0;
    for (const char *rest = flags[flag].argument; *rest && count < CHOICES; count++) {
        size_t length = strcspn(rest, "|"), written = strlen(all);
        bool more = rest[length] == '|';
        snprintf(copies[count], LENGTH, "%.*s", (int)length, rest);
        snprintf(all + written, sizeof all - written, "%s%s", !count ? "" : more ? ", " : " or ", copies[count]);
        words[count] = copies[count];
        if (!text || strcmp(text, words[count]) == 0)
            return true;
        rest += length + more;
    }
    const char *near = suggest(text, words, count);
    usage_error(invocation, near ? "--%s takes %s, not '%s'; did you mean '%s'?" : "--%s takes %s, not '%s'",
                flags[flag].spelling, all, text, near);
    return false;
}

bool flag_integer(const struct invocation *invocation, enum flag flag, int64_t least, int64_t *value)
{
    const char *text = flag_text(invocation, flag);
    if (!text)
        return true;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (!*text || *end || errno || number < least) {
        usage_error(invocation, "--%s needs a whole number of at least %lld, not '%s'", flags[flag].spelling,
                    (long long)least, text);
        return false;
    }
    *value = number;
    return true;
}

bool flag_number(const struct invocation *invocation, enum flag flag, int64_t least)
{
    const char *text = flag_text(invocation, flag);
    char *end;
    double number = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || (number == floor(number) && number >= (double)least))
        return true;
    usage_error(invocation, "--%s needs a whole number of at least %lld, not '%s'", flags[flag].spelling,
                (long long)least, text);
    return false;
}

const char *interval_text(const char *text)
{
    return strncmp(text, "every ", 6) == 0 ? text + 6 : text;
}

bool flag_interval(const struct invocation *invocation, enum flag flag)
{
    static const char *const units[] = {" epochs", " epoch", " steps", " step"};
    const char *text = flag_text(invocation, flag);
    if (!text)
        return true;
    char *end;
    double number = strtod(interval_text(text), &end);
    bool whole = number >= 1 && number == floor(number), unit = false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i]);
        unit |= strncmp(end, units[i], length) == 0 && strchr(" ", end[length]);
    }
    if (end == interval_text(text) ? *end != 0 : whole && unit)
        return true;
    usage_error(invocation, "--%s needs a whole number and its unit, '1 epoch' or '500 steps', not '%s'",
                flags[flag].spelling, text);
    return false;
}

bool flag_share(const struct invocation *invocation, enum flag flag, double *value)
{
    const char *text = flag_text(invocation, flag);
    if (!text)
        return true;
    char *end;
    double number = strtod(text, &end);
    if (!*text || *end || !(number > 0 && number < 1)) {
        usage_error(invocation, "--%s needs a share above 0 and below 1, not '%s'", flags[flag].spelling, text);
        return false;
    }
    *value = number;
    return true;
}

static bool is_same_file(const char *one, const char *other)
{
    struct stat a, b;
    return one && other && stat(one, &a) == 0 && stat(other, &b) == 0 && S_ISREG(a.st_mode) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool flag_output(const struct invocation *invocation, enum flag flag)
{
    static const enum flag read[] = {FLAG_weights, FLAG_feed, FLAG_policy};
    const char *path = flag_text(invocation, flag), *input = NULL;
    if (path && (!*path || strcmp(path, "-") == 0)) {
        usage_error(invocation, "--%s needs a file's name, not '%s'", flags[flag].spelling, path);
        return false;
    }
    for (int i = 0; i < invocation->word_count; i++)
        if (is_same_file(path, invocation->words[i]))
            input = invocation->words[i];
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (is_same_file(path, flag_text(invocation, read[i])))
            input = flag_text(invocation, read[i]);
    if (input)
        usage_error(invocation, "--%s %s would overwrite %s, which is read", flags[flag].spelling, path, input);
    return !input;
}

/* The unit behind a number of bytes: K, M, G, T by thousands, Ki, Mi, … by 1024, a B behind them or not. 0 for none. */
static double unit_bytes(const char *unit)
{
    static const char prefixes[] = "KMGT";
    const char *prefix = *unit ? strchr(prefixes, *unit) : NULL;
    double factor = 1;
    if (prefix) {
        double step = unit[1] == 'i' ? 1024 : 1000;
        for (const char *at = prefixes; at <= prefix; at++)
            factor *= step;
        unit += unit[1] == 'i' ? 2 : 1;
    }
    unit += *unit == 'B';
    return *unit ? 0 : factor;
}

bool flag_bytes(const struct invocation *invocation, enum flag flag, int64_t *bytes, double *share)
{
    const char *text = flag_text(invocation, flag);
    if (!text)
        return true;
    char *end;
    double number = strtod(text, &end);
    bool percent = strcmp(end, "%") == 0;
    double amount = percent ? number / 100 : number * unit_bytes(end);
    bool known = end > text && *text >= '0' && *text <= '9';
    if (!known || (percent ? !(amount > 0 && amount < 1) : !(amount >= 1 && amount < 0x1p62))) {
        usage_error(invocation, "--%s needs bytes such as 2G or 512M, or a share such as 60%%, not '%s'",
                    flags[flag].spelling, text);
        return false;
    }
    *bytes = percent ? 0 : (int64_t)amount;
    *share = percent ? amount : 0;
    return true;
}
