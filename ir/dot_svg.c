/* Pictures as SVG: graphviz's program `dot` is run on the text of dot.c. */
#include "ir/dot.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Runs `dot -Tsvg` from one file to another. */
static const char *run_graphviz(FILE *from, FILE *to)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(from), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(to), STDOUT_FILENO);
    char *const arguments[] = {"dot", "-Tsvg", NULL};
    pid_t child;
    int problem = posix_spawnp(&child, "dot", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (problem)
        return "graphviz's program `dot` is needed for SVG and cannot be started (on Debian: apt install graphviz)";
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return "the program `dot` was lost";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return "graphviz's program `dot` is needed for SVG and cannot be started (on Debian: apt install graphviz)";
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "the program `dot` failed";
}

static bool copy_file(FILE *from, FILE *to)
{
    char buffer[1 << 14];
    size_t bytes;
    rewind(from);
    while ((bytes = fread(buffer, 1, sizeof buffer, from)) > 0)
        if (fwrite(buffer, 1, bytes, to) != bytes)
            return false;
    return !ferror(from) && fflush(to) == 0;
}

const char *dot_svg(const struct graph *graph, FILE *out)
{
    FILE *source = tmpfile(), *picture = tmpfile();
    const char *problem = source && picture ? NULL : "no temporary file can be made for graphviz";
    if (!problem) {
        dot_graph(graph, source);
        rewind(source);
        problem = run_graphviz(source, picture);
    }
    if (!problem && !copy_file(picture, out))
        problem = "the picture cannot be written";
    if (source)
        fclose(source);
    if (picture)
        fclose(picture);
    return problem;
}
