/* Keeping what a run was compiled from. Only the strings of `import` lines change: lines keep their numbers. */
#include "frontend/run_files.h"
#include "frontend/language/ast.h"
#include "frontend/run_record.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { EXTRA = 2 }; /* run.json, run.policy */

/* A name in imports/ for the file at `path`: its own, with a number where two have the same, and without what a string
 * would have to escape. */
static const char *kept_name(struct arena *arena, const char *path, const char *const *taken, int count)
{
    const char *slash = strrchr(path, '/'), *dot;
    char *base = arena_printf(arena, "%s", slash ? slash + 1 : path);
    for (char *c = base; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = '_';
    dot = strrchr(base, '.');
    int stem = dot ? (int)(dot - base) : (int)strlen(base);
    const char *name = base;
    for (int number = 2, i = 1; i < count; i++)
        if (strcmp(taken[i], name) == 0) {
            name = arena_printf(arena, "%.*s-%d%s", stem, base, number++, base + stem);
            i = 0;
        }
    return name;
}

/* The text with its imports under their kept names, which stand in `folder`. */
static const char *with_kept_imports(const struct compilation *compilation, const struct ast_file *file,
                                     const char *const *names, const char *folder)
{
    const char *rest = file->text, *line = file->text;
    char *text = NULL;
    int number = 1;
    for (int i = 0; i < file->count; i++) {
        const struct ast_definition *item = file->items[i];
        const struct span *span = &item->name.span;
        if (item->kind != AST_IMPORT)
            continue;
        for (; number < span->line; number++)
            line = strchr(line, '\n') + 1;
        const char *begin = line + span->column - 1;
        const char *name = names[unit_import(compilation->unit, item)];
        memcpy(arraddnptr(text, begin - rest), rest, (size_t)(begin - rest));
        arrput(text, '"');
        memcpy(arraddnptr(text, strlen(folder)), folder, strlen(folder));
        memcpy(arraddnptr(text, strlen(name)), name, strlen(name));
        arrput(text, '"');
        rest = line + span->end_column - 1;
    }
    memcpy(arraddnptr(text, strlen(rest) + 1), rest, strlen(rest) + 1);
    char *kept = ARENA_ARRAY(compilation->arena, char, arrlen(text));
    memcpy(kept, text, (size_t)arrlen(text));
    arrfree(text);
    return kept;
}

void run_files(const struct compilation *compilation, struct train_settings *settings)
{
    struct arena *arena = compilation->arena;
    const char *policy = run_record_policy(compilation);
    const struct ast_file *file;
    int count = 0;
    while (unit_file(compilation->unit, count))
        count++;
    const char **names = ARENA_ARRAY(arena, const char *, count);
    struct run_file *files = ARENA_ARRAY(arena, struct run_file, count + EXTRA);
    for (int i = 1; i < count; i++)
        names[i] = kept_name(arena, unit_file(compilation->unit, i)->name, names, i);
    for (int i = 0; (file = unit_file(compilation->unit, i)); i++)
        files[i] = (struct run_file){.name = i ? arena_printf(arena, "imports/%s", names[i]) : "model.net",
                                     .text = with_kept_imports(compilation, file, names, i ? "" : "imports/")};
    files[count++] = (struct run_file){.name = "run.json", .text = run_record_text(compilation), .begins = true};
    if (policy)
        files[count++] = (struct run_file){.name = "run.policy", .text = policy, .begins = true};
    settings->files = files;
    settings->file_count = count;
}
