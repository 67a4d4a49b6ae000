/* castor new: a starter project, from the texts in frontend/starter and a table of points. */
#include "frontend/cli/command.h"
#include "frontend/starter_files.h"
#include "runtime/file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ARMS = 3, POINTS = 200 };

/* What {{name}} stands for: the last part of the path. */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_name(const char *name)
{
    for (const char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
            return false;
    return isalpha((unsigned char)*name);
}

static void put_named(FILE *out, const char *text, const char *name)
{
    const char mark[] = "{{name}}";
    for (const char *found; (found = strstr(text, mark)); text = found + strlen(mark)) {
        fwrite(text, 1, (size_t)(found - text), out);
        fputs(name, out);
    }
    fputs(text, out);
}

/* From -1 to 1, the same on every machine. */
static double draw(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

/* Points of three arms of a spiral, each a little beside its arm. */
static void put_points(FILE *out)
{
    static const char *const arms[ARMS] = {"blue", "green", "red"};
    const double turn = 2 * acos(-1.0), noise = 0.04;
    uint32_t state = 1;
    fputs("x,y,arm\n", out);
    for (int i = 0; i < POINTS; i++)
        for (int arm = 0; arm < ARMS; arm++) {
            double radius = 0.1 + 0.9 * i / (POINTS - 1), angle = turn * (0.75 * radius + (double)arm / ARMS);
            double x = radius * cos(angle) + noise * draw(&state), y = radius * sin(angle) + noise * draw(&state);
            fprintf(out, "%.3f,%.3f,%s\n", x, y, arms[arm]);
        }
}

static bool write_starter(const char *folder, const char *name, struct error *error)
{
    const struct {
        const char *text, *file; /* file: below the folder; its own name where NULL */
    } rows[] = {{"model.net", ".net"}, {"model.policy", ".policy"}, {"README.md", NULL}, {NULL, ".csv"}};
    bool ok = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && ok; i++) {
        struct file_writer writer;
        char *path =
            rows[i].file ? file_text("%s/%s%s", folder, name, rows[i].file) : file_text("%s/%s", folder, rows[i].text);
        ok = file_begin(&writer, path, error);
        for (int k = 0; ok && rows[i].text && starter_files[k].name; k++)
            if (strcmp(starter_files[k].name, rows[i].text) == 0)
                put_named(writer.stream, starter_files[k].text, name);
        if (ok && !rows[i].text)
            put_points(writer.stream);
        ok = ok && file_commit(&writer, error);
        free(path);
    }
    return ok;
}

static bool make_folder(const char *folder, struct error *error)
{
    if (mkdir(folder, 0777) == 0)
        return true;
    if (errno != EEXIST)
        return error_set_system(error, folder, "cannot make the folder");
    error_set(error, "%s: exists already, and nothing is overwritten", folder);
    error_hint(error, "give the project another name");
    return false;
}

int command_new(const struct invocation *invocation)
{
    const char *folder = invocation->words[0], *name = name_of(folder);
    struct error error = {0};
    if (!is_name(name))
        return usage_error(invocation, "a project's name is a letter and then letters, digits, - and _, not '%s'",
                           name);
    if (make_folder(folder, &error) && write_starter(folder, name, &error))
        fprintf(stderr,
                "castor: wrote %s/%s.net, %s.csv, %s.policy and README.md; next: cd %s && castor train %s.net\n",
                folder, name, name, name, folder, name);
    else
        error_print(&error, stderr);
    return error.code;
}
