/* Manual pages: one of castor as a whole, and one of each command. */
#include "frontend/manual/manual.h"

#include <ctype.h>
#include <string.h>

static const struct {
    int code;
    const char *meaning;
} codes[] = {{0, "Done."},
             {1, "A text is wrong: diagnostics of the .net file, the policy or the IR are on standard error."},
             {2, "Wrong usage: an unknown command or flag, or a value that does not fit."},
             {3, "Device, disk, data or weights failed."},
             {4, "Training diverged."},
             {70, "A bug of Castor."},
             {130, "Interrupted; a run can be gone on with."}};

static const struct {
    const char *name, *meaning;
} files[] = {{"runs/NAME.1", "A training run: model.net, log.jsonl, run.json, last.safetensors, best.safetensors and "
                             "older checkpoints."},
             {"$XDG_CACHE_HOME/castor", "Compiled kernels, and what castor calibrate measured."}};

static const struct {
    const char *name, *meaning;
} variables[] = {{"CC", "The C compiler for kernels on the host; default: cc."},
                 {"XDG_CACHE_HOME", "Where kernels are kept; default: ~/.cache."},
                 {"CUDA_HOME", "Where CUDA's toolkit is, for the devices cuda and sim."},
                 {"OMP_WAIT_POLICY", "passive lets threads sleep between kernels, also those of a trainer: where other "
                                     "programs keep cores busy, waiting that keeps them busy, too, can make a step ten "
                                     "times as long."},
                 {"NO_COLOR", "Whatever its value: no colours."}};

/* One character of UTF-8 as its number; gives its length. */
static int decode(const char *text, unsigned *number)
{
    const unsigned char *byte = (const unsigned char *)text;
    int length = *byte < 0x80 ? 1 : *byte < 0xe0 ? 2 : *byte < 0xf0 ? 3 : 4;
    *number = length == 1 ? *byte : *byte & (0xffu >> (length + 1));
    for (int i = 1; i < length; i++)
        *number = *number << 6 | (byte[i] & 0x3f);
    return length;
}

enum { LINE = 60 };

/* A character as troff takes it. */
static void put_character(FILE *out, unsigned number)
{
    static const char plain[] = "\\-'`^~";
    static const char *const escaped[] = {"\\e", "\\-", "\\(aq", "\\(ga", "\\(ha", "\\(ti"};
    const char *found = number < 0x80 ? strchr(plain, (int)number) : NULL;
    if (number >= 0x80)
        fprintf(out, "\\[u%04X]", number);
    else if (found)
        fputs(escaped[found - plain], out);
    else
        fputc((int)number, out);
}

/* Text in which nothing is a request or an escape; with `filled` in lines of a length that sources should have. */
static void put_text(FILE *out, const char *text, bool filled)
{
    bool begins = true;
    for (int column = 0; *text; column++) {
        unsigned number;
        text += decode(text, &number);
        if (begins && (number == '.' || number == '\''))
            fputs("\\&", out);
        begins = filled && number == ' ' && column + (int)strcspn(text, " ") > LINE;
        if (begins) {
            fputc('\n', out);
            column = 0;
        } else {
            put_character(out, number);
        }
    }
}

static void put(FILE *out, const char *text)
{
    put_text(out, text, true);
}

static void put_title(FILE *out, const char *name)
{
    fputs(".TH ", out);
    for (const char *at = name; *at; at++)
        fputs(*at == '-' ? "\\-" : (char[]){(char)toupper((unsigned char)*at), 0}, out);
    fprintf(out, " 1 %s \"Castor %s\" \"Castor\"\n.SH NAME\n", CASTOR_DATE, CASTOR_VERSION);
    put(out, name);
}

static void put_item(FILE *out, const char *name, const char *text)
{
    fputs(".TP\n.B ", out);
    put(out, name);
    fputc('\n', out);
    put(out, text);
    fputc('\n', out);
}

static void put_codes(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", codes[i].code);
        put_item(out, code, codes[i].meaning);
    }
}

void manual_overview(FILE *out)
{
    size_t count;
    const struct command *commands = command_table(&count);
    put_title(out, "castor");
    fputs(" \\- compiles neural networks into mixed precision trainers\n.SH SYNOPSIS\n.B castor\n.I COMMAND\n"
          "[\\fIWORD\\fR ...] [\\fIflags\\fR]\n.SH DESCRIPTION\n",
          out);
    put(out, "A .net file describes a neural network and how it is trained. Castor differentiates it, decides for "
             "every node "
             "whether it runs in half precision or in f32, inserts casts and loss scaling, fuses the graph into few "
             "kernels, "
             "and trains. Each command has a page of its own, castor-COMMAND(1), and --help.");
    fputs("\n.SH COMMANDS\n", out);
    for (size_t i = 0; i < count; i++)
        put_item(out, commands[i].name, commands[i].help);
    fputs(".SH OPTIONS\n", out);
    put_item(out, "--help", "Print the commands.");
    put_item(out, "--version", "Print the version.");
    fputs(".SH FILES\nPaths of data and policies, in a .net file too, are those of the folder where castor runs; an "
          "import is beside its file.\n",
          out);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put_item(out, files[i].name, files[i].meaning);
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        put_item(out, variables[i].name, variables[i].meaning);
    put_codes(out);
}

static void put_examples(FILE *out, const char *examples)
{
    fputs(".SH EXAMPLES\n.nf\n", out);
    while (*examples) {
        size_t length = strcspn(examples, "\n");
        char line[512];
        snprintf(line, sizeof line, "castor %.*s\n", (int)length, examples);
        line[strcspn(line, "\n")] = '\0';
        put_text(out, line, false);
        fputc('\n', out);
        examples += length + (examples[length] == '\n');
    }
    fputs(".fi\n", out);
}

static void put_flag(FILE *out, const struct flag_info *flag)
{
    fputs(".TP\n\\fB\\-\\-", out);
    put(out, flag->spelling);
    fputs("\\fR", out);
    if (flag->argument) {
        fputs("=\\fI", out);
        put(out, flag->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put(out, flag->help);
    fputc('\n', out);
}

static void put_flags(FILE *out, const struct command *command)
{
    const char *title;
    for (int section = 0; (title = flag_section_title(section)); section++) {
        int count = 0;
        for (int flag = 0; flag < FLAG_COUNT; flag++) {
            if (!command_takes(command, (enum flag)flag) || flag_section((enum flag)flag) != section)
                continue;
            if (!count++) {
                fputs(".SS ", out);
                put(out, title);
                fputc('\n', out);
            }
            put_flag(out, flag_info((enum flag)flag));
        }
    }
}

void manual_command(const struct command *command, FILE *out)
{
    char name[64];
    snprintf(name, sizeof name, "castor-%s", command->name);
    put_title(out, name);
    fputs(" \\- ", out);
    put(out, command->help);
    fprintf(out, "\n.SH SYNOPSIS\n.B castor %s\n", command->name);
    if (*command->words) {
        fputs(".I ", out);
        put(out, command->words);
        fputc('\n', out);
    }
    fputs("[\\fIflags\\fR]\n", out);
    put_examples(out, command->examples);
    fputs(".SH OPTIONS\n", out);
    put_flags(out, command);
    put_item(out, "--help", "Print examples and flags.");
    put_codes(out);
    fputs(".SH SEE ALSO\n.BR castor (1)\n", out);
}
