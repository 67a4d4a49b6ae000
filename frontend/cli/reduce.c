/* castor reduce: the smallest .net or IR file for which a command still fails. */
#include "frontend/reduce.h"
#include "frontend/compile.h"
#include "runtime/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* The exit status of the command on a text; a signal counts from 256 up. -1 when the file cannot be written. */
static int status_on(const struct keep *keep, const char *text)
{
    FILE *file = fopen(keep->path, "w");
    bool written = file && fputs(text, file) >= 0;
    if (file)
        written = fclose(file) == 0 && written;
    if (!written)
        return -1;
    int status = system(keep->command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static bool fails(void *own, const char *text)
{
    const struct keep *keep = own;
    return status_on(keep, text) == keep->status;
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
    if (keep->status < 0) {
        fprintf(stderr, "castor: %s: cannot write: %s\n", keep->path, strerror(errno));
        return EXIT_DEVICE;
    }
    if (keep->status == 0)
        return usage_error(invocation, "the command succeeds on %s: there is nothing to keep", file);
    struct reduce_test test = {.fails = fails, .own = keep};
    char *smallest = reduce(file_text("%s", text), ends_with(file, ".ir"), &test);
    fputs(smallest, stdout);
    fprintf(stderr, "castor: %zu bytes of %zu are left after %d tries; the command still exits %d\n", strlen(smallest),
            length, test.tried, keep->status);
    free(smallest);
    return 0;
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
    if (!code)
        code = run(invocation, &keep, text, length);
    unlink(keep.path);
    free(keep.command);
    free(keep.path);
    arena_free(arena);
    return code;
}
