/* A unit: a file, what it imports, the prelude, and the options with the values that flags gave them. */
#include "frontend/language/elaborate_internal.h"

#include "frontend/prelude_files.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

const struct definition *unit_find(const struct unit *unit, const char *name, bool from_prelude)
{
    struct definition_entry *own = from_prelude ? NULL : unit->own, *prelude = unit->prelude;
    ptrdiff_t at = FIND(own, name);
    if (at >= 0)
        return own[at].value;
    at = FIND(prelude, name);
    return at >= 0 ? prelude[at].value : NULL;
}

const struct option *unit_find_option(const struct unit *unit, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(unit->options); i++)
        if (unit->options[i].name == name)
            return &unit->options[i];
    return NULL;
}

const char *unit_option(const struct unit *unit, int index)
{
    return index < arrlen(unit->options) ? unit->options[index].name : NULL;
}

const char *const *unit_scope_names(const struct unit *unit, size_t *count)
{
    int builtins = 0;
    while (builtin_at(builtins))
        builtins++;
    const char **names = ARENA_ARRAY(unit->arena, const char *, hmlen(unit->own) + hmlen(unit->prelude) + builtins + 1);
    *count = 0;
    for (ptrdiff_t i = 0; i < hmlen(unit->own); i++)
        names[(*count)++] = unit->own[i].key;
    for (ptrdiff_t i = 0; i < hmlen(unit->prelude); i++)
        names[(*count)++] = unit->prelude[i].key;
    for (int i = 0; i < builtins; i++)
        if (builtin_has_scope(builtin_at(i)))
            names[(*count)++] = builtin_at(i)->name;
    return names;
}

/* ---- loading ---- */

struct loading {
    struct unit *unit;
    const struct name_text *sets;
    int set_count;
    const char **open; /* stb_ds array: files being read, outermost first */
};

static void check_parameters(struct unit *unit, const struct ast_definition *ast)
{
    const struct ast_parameters *parameters = &ast->parameters;
    for (int i = 0; i < parameters->count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(parameters->items[i].name, parameters->items[k].name) == 0) {
                diagnostics_error(unit->diagnostics, E0302, parameters->items[i].span, NULL,
                                  ast->kind == AST_MODEL ? "two inputs are called `%s`"
                                                         : "two parameters are called `%s`",
                                  parameters->items[i].name);
                break;
            }
}

static void add_definition(struct loading *loading, const struct ast_definition *ast, bool prelude)
{
    struct unit *unit = loading->unit;
    struct definition_entry *table = prelude ? unit->prelude : unit->own;
    ptrdiff_t at = FIND(table, ast->name.name);
    if (at >= 0) {
        diagnostics_error(unit->diagnostics, E0302, ast->name.span, NULL, "`%s` is defined twice", ast->name.name);
        diagnostics_note(unit->diagnostics, table[at].value->ast->name.span, "the other one");
        return;
    }
    check_parameters(unit, ast);
    struct definition *definition = ARENA_NEW(unit->arena, struct definition);
    *definition = (struct definition){ast->name.name, ast, prelude};
    hmput(table, definition->name, definition);
    if (prelude)
        unit->prelude = table;
    else
        unit->own = table;
}

static bool load_prelude(struct loading *loading)
{
    struct unit *unit = loading->unit;
    for (int i = 0; prelude_files[i].name; i++) {
        const char *name = arena_internf(unit->arena, "prelude/%s", prelude_files[i].name);
        const struct ast_file *file = parse_net(unit->arena, unit->diagnostics, name, prelude_files[i].text);
        if (!file)
            return false;
        for (int k = 0; k < file->count; k++)
            add_definition(loading, file->items[k], true);
    }
    return true;
}

static void print_value(FILE *out, const struct value *value)
{
    switch (value->kind) {
    case VALUE_NUMBER:
        fprintf(out, "%.17g", value->number);
        break;
    case VALUE_BOOL:
        fputs(value->number != 0 ? "true" : "false", out);
        break;
    case VALUE_STRING:
        fprintf(out, "\"%s\"", value->text);
        break;
    default:
        fputc('[', out);
        for (int i = 0; i < value->count; i++) {
            fputs(i ? ", " : "", out);
            print_value(out, &value->items[i]);
        }
        fputc(']', out);
    }
}

const char *unit_option_text(const struct unit *unit, int index)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    print_value(out, &unit->options[index].value);
    arena_stream_close(out);
    const char *copy = arena_printf(unit->arena, "%s", text);
    free(text);
    return copy;
}

/* ---- options ---- */

static const char *const kind_words[] = {
    [VALUE_NUMBER] = "a number", [VALUE_BOOL] = "true or false", [VALUE_STRING] = "a string", [VALUE_LIST] = "a list"};

static struct value evaluate_set(struct elaborator *e, const struct name_text *set, const struct value *usual)
{
    const char *file = arena_internf(e->arena, "--set %s", set->name);
    if (usual->kind == VALUE_STRING && set->text[0] != '"')
        return (struct value){.kind = VALUE_STRING, .text = arena_intern(e->arena, set->text)};
    const struct ast_expression *expression = parse_net_expression(e->arena, e->diagnostics, file, set->text);
    if (!expression)
        return (struct value){0};
    struct value value = evaluate_expression(e, expression);
    if (value.kind == VALUE_ERROR)
        return value;
    bool whole = usual->kind == VALUE_NUMBER && usual->integer && !value_is_integer(&value);
    if (value.kind == usual->kind && !whole) {
        value.integer = value.integer || (usual->integer && value_is_integer(&value));
        return value;
    }
    return report(e, E0411, expression->span, NULL, "option `%s` is %s, not %s", set->name,
                  whole ? "a whole number" : kind_words[usual->kind], value_describe(e, &value));
}

static void add_option(struct loading *loading, const struct ast_definition *ast)
{
    struct unit *unit = loading->unit;
    struct elaborator e = {.arena = unit->arena, .diagnostics = unit->diagnostics, .unit = unit};
    struct value value = evaluate_expression(&e, ast->value);
    bool usable = value.kind == VALUE_NUMBER || value.kind == VALUE_BOOL || value.kind == VALUE_STRING ||
                  value.kind == VALUE_LIST;
    if (!usable && value.kind != VALUE_ERROR)
        value = report(&e, E0411, ast->value->span, NULL,
                       "an option is a number, a truth value, a string or a list, "
                       "not %s",
                       value_describe(&e, &value));
    if (unit_find_option(unit, ast->name.name)) {
        report(&e, E0302, ast->name.span, NULL, "option `%s` is defined twice", ast->name.name);
        return;
    }
    for (int i = 0; i < loading->set_count && value.kind != VALUE_ERROR; i++)
        if (strcmp(loading->sets[i].name, ast->name.name) == 0)
            value = evaluate_set(&e, &loading->sets[i], &value);
    struct option option = {ast->name.name, value, ast->name.span};
    arrput(unit->options, option);
}

static void check_sets(struct loading *loading)
{
    struct unit *unit = loading->unit;
    for (int i = 0; i < loading->set_count; i++) {
        const char *name = arena_intern(unit->arena, loading->sets[i].name);
        if (unit_find_option(unit, name))
            continue;
        const char **names = NULL;
        for (ptrdiff_t k = 0; k < arrlen(unit->options); k++)
            arrput(names, unit->options[k].name);
        const char *near = suggest(name, names, (size_t)arrlen(names));
        diagnostics_error(unit->diagnostics, E0301,
                          (struct span){.file = unit->file->name, .line = 1, .column = 1, .end_column = 2}, NULL,
                          "--set %s: the file has no option `%s`", loading->sets[i].name, name);
        if (near)
            diagnostics_note(unit->diagnostics, (struct span){0}, "did you mean `%s`?", near);
        arrfree(names);
    }
}

/* ---- files ---- */

static void load_file(struct loading *loading, const struct ast_file *file);

static char *read_text(struct arena *arena, const char *path, size_t *length)
{
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return NULL;
    char *text = NULL, block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof block, stream)) > 0)
        memcpy(arraddnptr(text, got), block, got);
    bool failed = ferror(stream);
    fclose(stream);
    *length = (size_t)arrlen(text);
    char *copy = failed ? NULL : arena_allocate(arena, *length + 1);
    if (copy && *length)
        memcpy(copy, text, *length);
    arrfree(text);
    return copy;
}

static const char *beside(struct arena *arena, const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    if (*path == '/' || !slash)
        return arena_intern(arena, path);
    return arena_internf(arena, "%.*s%s", (int)(slash - file + 1), file, path);
}

/* One name a file however it is written; the path itself when the file is not there. */
static const char *real_name(struct arena *arena, const char *path)
{
    char *real = realpath(path, NULL);
    const char *name = arena_intern(arena, real ? real : path);
    free(real);
    return name;
}

const struct ast_file *unit_file(const struct unit *unit, int index)
{
    return index < arrlen(unit->files) ? unit->files[index].syntax : NULL;
}

/* The file of this real name; -1: not read. */
static int find_file(const struct unit *unit, const char *real)
{
    for (int i = 0; i < arrlen(unit->files); i++)
        if (unit->files[i].real == real)
            return i;
    return -1;
}

int unit_import(const struct unit *unit, const struct ast_definition *import)
{
    struct unit_import *imports = unit->imports;
    return hmget(imports, import);
}

static bool is_open(const struct loading *loading, const char *real)
{
    for (ptrdiff_t i = 0; i < arrlen(loading->open); i++)
        if (loading->open[i] == real)
            return true;
    return false;
}

static void load_import(struct loading *loading, const char *from, const struct ast_definition *import)
{
    struct unit *unit = loading->unit;
    const char *path = beside(unit->arena, from, import->name.name), *real = real_name(unit->arena, path);
    if (is_open(loading, real)) {
        diagnostics_error(unit->diagnostics, E0404, import->name.span, NULL, "`%s` imports itself in a circle",
                          import->name.name);
        return;
    }
    int read = find_file(unit, real);
    hmput(unit->imports, import, read >= 0 ? read : (int)arrlen(unit->files)); /* where it comes to stand */
    if (read >= 0)
        return;
    size_t length = 0;
    char *text = read_text(unit->arena, path, &length);
    if (!text) {
        diagnostics_error(unit->diagnostics, E0405, import->name.span, NULL, "cannot read `%s`", path);
        return;
    }
    const struct ast_file *file = parse_net_bytes(unit->arena, unit->diagnostics, path, text, length);
    if (file) {
        load_file(loading, file);
        return;
    }
    struct unit_file broken = {.real = real}; /* further imports of it say nothing more */
    arrput(unit->files, broken);
}

static void load_file(struct loading *loading, const struct ast_file *file)
{
    struct unit *unit = loading->unit;
    struct unit_file read = {real_name(unit->arena, file->name), file};
    arrput(loading->open, read.real);
    arrput(unit->files, read);
    for (int i = 0; i < file->count; i++) {
        const struct ast_definition *item = file->items[i];
        if (item->kind == AST_IMPORT)
            load_import(loading, file->name, item);
        else if (item->kind == AST_OPTION)
            add_option(loading, item);
        else if (item->kind != AST_MODEL && item->kind != AST_TRAIN)
            add_definition(loading, item, false);
    }
    (void)arrpop(loading->open);
}

static void find_blocks(struct unit *unit)
{
    for (int i = 0; i < unit->file->count; i++) {
        const struct ast_definition *item = unit->file->items[i];
        const struct ast_definition **place = item->kind == AST_MODEL   ? &unit->model
                                              : item->kind == AST_TRAIN ? &unit->train
                                                                        : NULL;
        if (place && *place)
            diagnostics_error(unit->diagnostics, E0302, item->span, NULL, "a file has one `%s` block",
                              item->kind == AST_MODEL ? "model" : "train");
        else if (place)
            *place = item;
    }
    if (unit->model)
        check_parameters(unit, unit->model);
}

struct unit *unit_load(struct arena *arena, struct diagnostics *diagnostics, const struct ast_file *file,
                       const struct name_text *sets, int set_count)
{
    struct unit *unit = ARENA_NEW(arena, struct unit);
    *unit = (struct unit){.arena = arena, .diagnostics = diagnostics, .file = file};
    struct loading loading = {.unit = unit, .sets = sets, .set_count = set_count};
    int errors = diagnostics_errors(diagnostics);
    if (load_prelude(&loading)) {
        load_file(&loading, file);
        check_sets(&loading);
        find_blocks(unit);
    }
    arrfree(loading.open);
    if (diagnostics_errors(diagnostics) == errors)
        return unit;
    unit_free(unit);
    return NULL;
}

void unit_free(struct unit *unit)
{
    if (!unit)
        return;
    hmfree(unit->own);
    hmfree(unit->prelude);
    arrfree(unit->files);
    hmfree(unit->imports);
    arrfree(unit->options);
    arrfree(unit->entries);
}
