/* Parsing: from text to tree, with the checks that come before and after the grammar. */
#include "frontend/language/lexer.h"

#include "frontend/language/net.lexer.h"
#include "ir/utf8.h"

#include <stb/stb_ds.h>
#include <string.h>

/* The first byte that is NUL or not UTF-8 is reported; a text that is no text is not read further. */
static bool is_text(struct net_parser *parser)
{
    struct span span = {parser->file, 1, 1, 2};
    for (size_t i = 0; i < parser->length;) {
        const unsigned char *at = (const unsigned char *)parser->text + i;
        int length = utf8_length(parser->text + i, parser->length - i);
        if (!length) {
            diagnostics_error(parser->diagnostics, E0102, span, NULL,
                              *at ? "byte 0x%02x is not UTF-8 text" : "a NUL byte (0x%02x) stands in the text", *at);
            return false;
        }
        i += (size_t)length;
        span.column = *at == '\n' ? 1 : span.column + length;
        span.line += *at == '\n';
        span.end_column = span.column + 1;
    }
    return true;
}

static void find_lines(struct net_parser *parser)
{
    arrput(parser->lines, parser->text);
    for (const char *end = parser->text; (end = strchr(end, '\n'));)
        arrput(parser->lines, ++end);
}

/* An editor's byte order mark is passed over. */
static void skip_mark(struct net_parser *parser)
{
    if (parser->length >= 3 && memcmp(parser->text, "\xef\xbb\xbf", 3) == 0)
        parser->text += 3, parser->length -= 3;
}

/* ---- placement: entries stand in the train block, all else outside it ---- */

static void misplaced_outside(struct net_parser *parser, const struct ast_statement *statement)
{
    const char *word = statement->kind == AST_MINIMIZE ? "minimize"
                       : statement->kind == AST_EVERY  ? statement->every.word.name
                                                       : statement->setting.word.name;
    diagnostics_error(parser->diagnostics, E0106, statement->span, NULL, "`%s` begins no statement here", word);
    diagnostics_note(parser->diagnostics, (struct span){0}, "%s",
                     statement->kind == AST_SETTING
                         ? "a value is bound with `name = value`; entries like `batch 128` stand in the train block"
                         : "it stands in the train block");
}

static void check_body(struct net_parser *parser, const struct ast_block *block)
{
    for (int i = 0; block && i < block->count; i++) {
        const struct ast_statement *statement = block->items[i];
        if (statement->kind == AST_SETTING || statement->kind == AST_MINIMIZE || statement->kind == AST_EVERY)
            misplaced_outside(parser, statement);
        else if (statement->kind == AST_PIN)
            check_body(parser, statement->pin.body);
        else if (statement->kind == AST_REPEAT)
            check_body(parser, statement->repeat.body);
        else if (statement->kind == AST_IF) {
            check_body(parser, statement->branch.body);
            check_body(parser, statement->branch.otherwise);
        }
    }
}

static void check_train(struct net_parser *parser, const struct ast_block *block)
{
    for (int i = 0; i < block->count; i++) {
        const struct ast_statement *statement = block->items[i];
        bool fits = statement->kind == AST_SETTING || statement->kind == AST_MINIMIZE || statement->kind == AST_EVERY ||
                    statement->kind == AST_BIND;
        if (!fits)
            diagnostics_error(parser->diagnostics, E0106, statement->span, NULL,
                              "the train block holds entries, `minimize` lines and bindings only");
    }
}

static void check_placement(struct net_parser *parser)
{
    for (int i = 0; i < parser->tree->count; i++) {
        const struct ast_definition *definition = parser->tree->items[i];
        if (definition->kind == AST_TRAIN)
            check_train(parser, definition->body);
        else
            check_body(parser, definition->body);
    }
}

/* Runs the grammar; true when nothing was wrong. */
static bool parse(struct net_parser *parser)
{
    skip_mark(parser);
    diagnostics_add_source(parser->diagnostics, parser->file, parser->text);
    parser->errors_before = diagnostics_errors(parser->diagnostics);
    parser->line = parser->column = 1;
    parser->statement_begins = true;
    parser->tree = ARENA_NEW(parser->arena, struct ast_file);
    parser->tree->name = parser->file;
    parser->tree->text = parser->text;
    if (!is_text(parser))
        return false;
    find_lines(parser);
    if (net_raw_lex_init_extra(parser, &parser->scanner) != 0)
        arena_exhausted();
    net_raw__scan_bytes(parser->text, (int)parser->length, parser->scanner);
    int status = net_parse(parser);
    net_raw_lex_destroy(parser->scanner);
    arrfree(parser->lines);
    check_placement(parser);
    return status == 0 && diagnostics_errors(parser->diagnostics) == parser->errors_before;
}

static struct net_parser *parser_new(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                     const char *text, size_t length, int start)
{
    struct net_parser *parser = ARENA_NEW(arena, struct net_parser);
    parser->arena = arena;
    parser->diagnostics = diagnostics;
    parser->file = arena_intern(arena, file);
    parser->text = text;
    parser->length = length;
    parser->start = start;
    return parser;
}

struct ast_file *parse_net_bytes(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                 const char *text, size_t length)
{
    /* A copy, so that it surely ends in NUL. */
    char *copy = arena_allocate(arena, length + 1);
    if (length)
        memcpy(copy, text, length);
    struct net_parser *parser = parser_new(arena, diagnostics, file, copy, length, TOKEN_START_FILE);
    return parse(parser) ? parser->tree : NULL;
}

struct ast_file *parse_net(struct arena *arena, struct diagnostics *diagnostics, const char *file, const char *text)
{
    struct net_parser *parser = parser_new(arena, diagnostics, file, text, strlen(text), TOKEN_START_FILE);
    return parse(parser) ? parser->tree : NULL;
}

struct ast_expression *parse_net_expression(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                            const char *text)
{
    struct net_parser *parser =
        parser_new(arena, diagnostics, file, arena_intern(arena, text), strlen(text), TOKEN_START_EXPRESSION);
    return parse(parser) ? parser->expression : NULL;
}

static bool is_entry(const struct ast_statement *statement, const char *word)
{
    const char *written = statement->kind == AST_MINIMIZE  ? "minimize"
                          : statement->kind == AST_EVERY   ? statement->every.word.name
                          : statement->kind == AST_SETTING ? statement->setting.word.name
                                                           : "";
    return strcmp(written, word) == 0;
}

struct ast_block *parse_net_entry(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                  const char *word, const char *text)
{
    const char *line = arena_printf(arena, "%s %s", word, text);
    struct net_parser *parser = parser_new(arena, diagnostics, file, line, strlen(line), TOKEN_START_ENTRY);
    if (!parse(parser))
        return NULL;
    for (int i = 0; i < parser->entry->count; i++) {
        const struct ast_statement *statement = parser->entry->items[i];
        if (is_entry(statement, word))
            continue;
        diagnostics_error(diagnostics, E0106, statement->span, NULL, "only `%s` stands here", word);
        return NULL;
    }
    return parser->entry;
}
