/* Syntax files for vim. Keywords come from the lexers, names from the prelude and the tables of built-in functions,
 * train block entries, element types and ops. */
#include "frontend/language/elaborate_internal.h"
#include "frontend/manual/manual.h"
#include "frontend/prelude_files.h"
#include "ir/op.h"

#include <ctype.h>
#include <string.h>

/* ---- words of a lexer ---- */

/* The word that a rule of a lexer matches: at the line's beginning, bare or quoted, with its action behind it. Its
 * length; 0 when the line is no such rule. */
static size_t rule_word(const char *line, const char **word)
{
    bool quoted = *line == '"';
    *word = line + quoted;
    size_t length = 0;
    while (islower((unsigned char)(*word)[length]) || isdigit((unsigned char)(*word)[length]))
        length++;
    const char *rest = *word + length;
    if (!length || (quoted && *rest++ != '"') || *rest != ' ')
        return 0;
    rest += strspn(rest, " ");
    return *rest == '{' ? length : 0;
}

/* All but one, which is NULL or has a rule of its own. */
static void put_keywords(FILE *out, const char *group, const char *lexer, const char *but)
{
    fprintf(out, "syntax keyword %s", group);
    for (const char *line = lexer; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *word;
        size_t length = rule_word(line, &word);
        if (length && !(but && strlen(but) == length && strncmp(but, word, length) == 0))
            fprintf(out, " %.*s", (int)length, word);
    }
    fputc('\n', out);
}

/* ---- names ---- */

static void put_elements(FILE *out, const char *group)
{
    fprintf(out, "syntax keyword %s class", group);
    for (int element = ELEMENT_NONE + 1; element < ELEMENT_COUNT; element++)
        fprintf(out, " %s", element_name((enum element)element));
    fputc('\n', out);
}

static void put_prelude(FILE *out, const char *group)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    fprintf(out, "syntax keyword %s", group);
    for (int i = 0; prelude_files[i].name; i++) {
        const struct ast_file *file = parse_net(arena, diagnostics, prelude_files[i].name, prelude_files[i].text);
        for (int k = 0; file && k < file->count; k++)
            fprintf(out, " %s", file->items[k]->name.name);
    }
    fputc('\n', out);
    arena_free(arena);
}

static void put_builtins(FILE *out, const char *group)
{
    const struct builtin *builtin;
    fprintf(out, "syntax keyword %s", group);
    for (int i = 0; (builtin = builtin_at(i)); i++)
        fprintf(out, " %s", builtin->name);
    fputc('\n', out);
}

static void put_entries(FILE *out, const char *group)
{
    const char *name;
    fprintf(out, "syntax keyword %s", group);
    for (int i = 0; (name = settings_entry(i)); i++)
        fprintf(out, " %s", name);
    fputc('\n', out);
}

static void put_declarations(FILE *out, const char *group)
{
    static const char *const words[] = {
#define DECLARATION(identifier, word) word,
        AST_DECLARATIONS(DECLARATION)
#undef DECLARATION
    };
    fprintf(out, "syntax keyword %s param", group);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        fprintf(out, " %s", words[i]);
    fputc('\n', out);
}

/* Ops behind the word `op`, with commas between them; elsewhere the same words mean something else. `fold` is an
 * argument of vim's own, which keeps it from being a keyword. */
static void put_ops(FILE *out)
{
    static const char next[] = "contained nextgroup=policyComma skipwhite";
    fprintf(out, "syntax keyword policyOp %s", next);
    for (int op = 0; op < OP_COUNT; op++)
        if (op != OP_fold)
            fprintf(out, " %s", op_info((enum op)op)->name);
    fprintf(out, "\nsyntax match policyOp '\\<%s\\>' %s\n", op_info(OP_fold)->name, next);
    fputs("syntax match policyComma ',' contained nextgroup=policyOp skipwhite skipempty\n"
          "syntax match policyKeyword '\\<op\\>' nextgroup=policyOp skipwhite\n",
          out);
}

/* ---- the files ---- */

static void begin(FILE *out, const char *what)
{
    fprintf(out,
            "\" Syntax of Castor's .%s files; made from its tables.\nif exists('b:current_syntax')\n  finish\nendif\n",
            what);
}

static void end(FILE *out, const char *what)
{
    fprintf(out,
            "syntax match %sNumber '\\<\\d\\+\\(\\.\\d\\+\\)\\?\\([eE][-+]\\?\\d\\+\\)\\?\\>'\n"
            "syntax region %sString start='\"' skip='\\\\.' end='\"' oneline\n"
            "syntax match %sComment '#.*$' contains=@Spell\n",
            what, what, what);
    static const char *const links[][2] = {{"Keyword", "Keyword"},  {"Type", "Type"},       {"Library", "Function"},
                                           {"Builtin", "Function"}, {"Entry", "Statement"}, {"Storage", "StorageClass"},
                                           {"Number", "Number"},    {"String", "String"},   {"Comment", "Comment"},
                                           {"Op", "Identifier"}};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        fprintf(out, "highlight default link %s%s %s\n", what, links[i][0], links[i][1]);
    fprintf(out, "setlocal commentstring=#\\ %%s\nlet b:current_syntax = 'castor%s'\n", what);
}

void vim_net(FILE *out, const char *lexer)
{
    begin(out, "net");
    put_builtins(out, "netBuiltin");
    put_prelude(out, "netLibrary");
    put_elements(out, "netType");
    put_entries(out, "netEntry");
    put_declarations(out, "netStorage");
    put_keywords(out, "netKeyword", lexer, NULL);
    end(out, "net");
}

void vim_policy(FILE *out, const char *lexer)
{
    begin(out, "policy");
    put_keywords(out, "policyKeyword", lexer, "op");
    put_elements(out, "policyType");
    put_ops(out);
    end(out, "policy");
}
