/* castor reduce: the smallest .net or IR file for which a command still fails. */
#include "frontend/reduce.h"
#include "frontend/compile.h"
#include "runtime/file.h"
#include "runtime/interrupt.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a shell exits with when it has not run the command. */
enum { SHELL_NOT_RUN = 126, SHELL_NOT_FOUND = 127 };

/* The command with the candidate's file in it, and how it failed at first. */
struct keep {
    char *path;    /* of the candidate; beside the original, so that its imports are found */
    char *command; /* what the shell runs */
    int status;
};

/* A command with each "{}" replaced by the path, which stands at its end where there is none; malloced. */
static char *command_on(const char *command, const char *path)
{
    char *text = file_text("%s", ""), *quoted = file_text("'%s'", path);
    bool placed = false;
    for (const char *at; (at = strstr(command, "{}")); command = at + 2) {
        char *longer = file_text("%s%.*s%s", text, (int)(at - command), command, quoted);
        free(text);
        text = longer;
        placed = true;
    }
    char *whole = placed ? file_text("(%s%s) >/dev/null 2>&1 </dev/null", text, command)
                         : file_text("(%s %s) >/dev/null 2>&1 </dev/null", command, quoted);
    free(text);
    free(quoted);
    return whole;
}

/* Not system(), which leaves it to the command alone to hear of Ctrl-C. The status as waitpid gives it, or -1. */
static int run_shell(const char *command)
{
    char *words[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    pid_t process;
    int status = -1;
    errno = posix_spawn(&process, "/bin/sh", NULL, NULL, words, environ);
    if (errno)
        return -1;
    while (waitpid(process, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

/* The exit status of the command on a text; a signal counts from 256 up. -1 when the file cannot be written or no shell
 * started. */
static int status_on(const struct keep *keep, const char *text)
{
    FILE *file = fopen(keep->path, "w");
    bool written = file && fputs(text, file) >= 0;
    if (file)
        written = fclose(file) == 0 && written;
    if (!written)
        return -1;
    int status = run_shell(keep->command);
    if (status < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static bool fails(void *own, const char *text)
{
    const struct keep *keep = own;
    if (interrupt_requested()) /* what is left of the search is passed over */
        return false;
    bool same = status_on(keep, text) == keep->status;
    return same && !interrupt_requested(); /* a command that was interrupted shows nothing */
}

static bool ends_with(const char *path, const char *suffix)
{
    size_t length = strlen(path), size = strlen(suffix);
    return length >= size && strcmp(path + length - size, suffix) == 0;
}

static char *reduce(char *text, bool ir, struct reduce_test *test)
{
    size_t before;
    do {
        before = strlen(text);
        text = ir ? reduce_ir(text, test) : reduce_lines(text, test);
        if (!ir)
            text = reduce_numbers(text, test);
    } while (strlen(text) < before);
    return text;
}

static int run(const struct invocation *invocation, struct keep *keep, const char *text, size_t length)
{
    const char *file = invocation->words[0];
    keep->status = status_on(keep, text);
    if (interrupt_requested())
        return ERROR_INTERRUPTED;
    if (keep->status < 0) {
        fprintf(stderr, "castor: %s: cannot write it and run the command: %s\n", keep->path, strerror(errno));
        return EXIT_DEVICE;
    }
    if (keep->status == SHELL_NOT_FOUND || keep->status == SHELL_NOT_RUN)
        return usage_error(invocation, "the shell cannot run the command (exit %d): %s", keep->status,
                           flag_text(invocation, FLAG_keep));
    if (keep->status == 0)
        return usage_error(invocation, "the command succeeds on %s: there is nothing to keep", file);
    struct reduce_test test = {.fails = fails, .own = keep};
    char *smallest = reduce(file_text("%s", text), ends_with(file, ".ir"), &test);
    fputs(smallest, stdout);
    bool interrupted = interrupt_requested();
    fprintf(stderr, "castor: %s%zu bytes of %zu are left after %d tries; the command still exits %d\n",
            interrupted ? "interrupted: " : "", strlen(smallest), length, test.tried, keep->status);
    free(smallest);
    return interrupted ? ERROR_INTERRUPTED : 0;
}

int command_reduce(const struct invocation *invocation)
{
    const char *file = invocation->words[0], *command = flag_text(invocation, FLAG_keep);
    if (!command)
        return usage_error(invocation, "it needs --keep COMMAND, which fails on the file");
    bool ir = ends_with(file, ".ir");
    if (!ir && !ends_with(file, ".net"))
        return usage_error(invocation, "it takes a .net or an .ir file, not %s", file);
    struct arena *arena = arena_new();
    size_t length = 0;
    const char *text = read_text(arena, file, &length), *slash = strrchr(file, '/');
    int code = text ? 0 : EXIT_DEVICE;
    struct keep keep = {.path = file_text("%.*s.reduce-%ld%s", slash ? (int)(slash - file) + 1 : 0, file,
                                          (long)getpid(), ir ? ".ir" : ".net")};
    keep.command = command_on(command, keep.path);
    interrupt_begin();
    if (!code)
        code = run(invocation, &keep, text, length);
    interrupt_end();
    unlink(keep.path);
    free(keep.command);
    free(keep.path);
    arena_free(arena);
    return code;
}
