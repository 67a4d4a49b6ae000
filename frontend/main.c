/* castor: finds the command and runs it. */
#include "frontend/cli/command.h"
#include "ir/diagnostic.h"
#include "runtime/cores.h"
#include "runtime/file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_commands(FILE *out)
{
    fprintf(out, "castor: compiles .net files into mixed precision trainers\n\nexamples:\n"
                 "  castor train models/fashion_mlp.net\n"
                 "  castor dump models/fashion_mlp.net --emit ir --after precision\n\n"
                 "usage: castor COMMAND FILE [flags]\n\n");
    size_t count;
    const struct command *commands = command_table(&count);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nflags of a command: castor COMMAND --help\n");
}

static int unknown_command(const char *word)
{
    const char *names[64];
    size_t count;
    const struct command *commands = command_table(&count);
    for (size_t i = 0; i < count && i < sizeof names / sizeof *names; i++)
        names[i] = commands[i].name;
    const char *near = suggest(word, names, count);
    fprintf(stderr, "castor: unknown command '%s'", word);
    fprintf(stderr, near ? "; did you mean '%s'?\n" : "\n", near);
    return EXIT_USAGE;
}

/* Of a write that failed some time before. */
static const char *likely_reason(void)
{
    struct stat status;
    return fstat(STDOUT_FILENO, &status) == 0 && S_ISFIFO(status.st_mode) ? "what read it has ended"
                                                                          : "the disk may be full";
}

/* What was printed may still wait in a buffer: a full disk shows only now. */
static bool output_written(void)
{
    bool failed_before = ferror(stdout);
    if (fflush(stdout) == 0 && !failed_before)
        return true;
    fprintf(stderr, "castor: cannot write the output: %s\n", failed_before ? likely_reason() : strerror(errno));
    return false;
}

static const struct command *find_command(const char *name)
{
    size_t count;
    const struct command *commands = command_table(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct invocation invocation;
    int code = invocation_parse(&invocation, command, argc, argv);
    if (code < 0)
        code = command->run(&invocation);
    invocation_free(&invocation);
    return output_written() ? code : EXIT_DEVICE;
}

int main(int argc, char **argv)
{
    cores_sleep_while_waiting(argv);
    file_hold_standard();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes shows as a failed write, not as a signal that ends the process */
    if (argc < 2) {
        print_commands(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 && argc == 3 && find_command(argv[2])) {
        char *help[] = {argv[2], (char[]){"--help"}, NULL};
        return run_command(find_command(argv[2]), 2, help);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_commands(stdout);
        return output_written() ? 0 : EXIT_DEVICE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("castor %s\n", CASTOR_VERSION);
        return output_written() ? 0 : EXIT_DEVICE;
    }
    const struct command *command = find_command(argv[1]);
    return command ? run_command(command, argc - 1, argv + 1) : unknown_command(argv[1]);
}
