/* Formatting statements, definitions and comments (see format.h, and format_expression.c for what is inside a
 * statement).
 *
 * Kept from the source: comments, one blank line between groups, statements that share a line, blocks that stand on
 * one line. Neighbouring bindings are aligned at `=`, updates at `<-`, params at `~`, entries of the train block at
 * their values. */
#include "frontend/language/format.h"

#include "frontend/language/format_internal.h"

#include <limits.h>
#include <stddef.h>

static void put(struct formatter *formatter, const char *text)
{
    layout_put(&formatter->layout, text);
}

static void put_cell(struct formatter *formatter, int cell, const char *text)
{
    layout_cell(&formatter->layout, cell);
    put(formatter, text);
}

/* ---- comments ---- */

static const struct ast_comment *next_comment(const struct formatter *formatter, int before)
{
    if (formatter->comment == formatter->file->comment_count || formatter->flat)
        return NULL;
    const struct ast_comment *comment = &formatter->file->comments[formatter->comment];
    return comment->line < before ? comment : NULL;
}

static void advance(struct formatter *formatter, int line)
{
    if (line > formatter->source_line)
        formatter->source_line = line;
}

/* Begins a line for what stands at `source_line`, with a blank line before it where the source has one. */
static void begin(struct formatter *formatter, enum line_kind kind, int column, int source_line)
{
    bool blank = !formatter->block_begun && source_line > formatter->source_line + 1;
    layout_begin(&formatter->layout, kind, column);
    layout_line(&formatter->layout)->blank_before = blank;
    formatter->block_begun = false;
    advance(formatter, source_line);
}

/* Comments above the line `before`, on lines of their own. */
static void comments_above(struct formatter *formatter, int column, int before)
{
    const struct ast_comment *comment;
    while ((comment = next_comment(formatter, before))) {
        begin(formatter, LINE_PLAIN, column, comment->line);
        layout_line(&formatter->layout)->comment = comment->text;
        layout_line(&formatter->layout)->comment_alone = true;
        formatter->comment++;
    }
}

/* The comment at the end of the line being written, if there is one up to `source_line`. */
static void comment_behind(struct formatter *formatter, int source_line)
{
    const struct ast_comment *comment = next_comment(formatter, source_line + 1);
    if (!comment || comment->alone || layout_line(&formatter->layout)->comment)
        return;
    layout_line(&formatter->layout)->comment = comment->text;
    formatter->comment++;
}

void format_break(struct formatter *formatter, int column, int source_line)
{
    comment_behind(formatter, source_line - 1);
    const struct ast_comment *comment;
    while ((comment = next_comment(formatter, source_line))) {
        layout_continue(&formatter->layout, column);
        layout_line(&formatter->layout)->comment = comment->text;
        layout_line(&formatter->layout)->comment_alone = true;
        formatter->comment++;
    }
    layout_continue(&formatter->layout, column);
    advance(formatter, source_line);
}

/* ---- blocks ---- */

static void format_statement(struct formatter *formatter, const struct ast_statement *statement, int column);

static void format_flat(struct formatter *formatter, const struct ast_block *block)
{
    put(formatter, "{ ");
    formatter->flat++;
    for (int i = 0; i < block->count; i++) {
        put(formatter, i ? ";  " : "");
        format_statement(formatter, block->items[i], layout_line(&formatter->layout)->column);
    }
    formatter->flat--;
    put(formatter, block->count ? " }" : "}");
}

static enum line_kind kind_of(const struct ast_statement *statement)
{
    switch (statement->kind) {
    case AST_BIND:
        return LINE_BINDING;
    case AST_UPDATE:
        return LINE_UPDATE;
    case AST_DECLARE:
        return statement->declare.abbreviated ? LINE_PLAIN : LINE_BINDING;
    case AST_PARAM:
        return LINE_PARAM;
    case AST_SETTING:
    case AST_EVERY:
        return LINE_SETTING;
    case AST_MINIMIZE:
        return statement->minimize.then ? LINE_PLAIN : LINE_SETTING;
    default:
        return LINE_PLAIN;
    }
}

/* Statements that share a line go on sharing it. */
static bool shares_line(const struct ast_statement *before, const struct ast_statement *statement)
{
    return before && before->end_line == statement->line &&
           !(statement->kind == AST_MINIMIZE && statement->minimize.then);
}

static void format_statements(struct formatter *formatter, const struct ast_block *block, int column)
{
    const struct ast_statement *before = NULL;
    for (int i = 0; i < block->count; i++) {
        const struct ast_statement *statement = block->items[i];
        bool joined = shares_line(before, statement);
        bool joins = i + 1 < block->count && shares_line(statement, block->items[i + 1]);
        if (joined) {
            put(formatter, ";  ");
        } else {
            comments_above(formatter, column, statement->line);
            begin(formatter, joins ? LINE_PLAIN : kind_of(statement), column, statement->line);
        }
        format_statement(formatter, statement, column);
        advance(formatter, statement->end_line);
        if (!joins)
            comment_behind(formatter, statement->end_line);
        before = statement;
    }
}

static void format_block(struct formatter *formatter, const struct ast_block *block, int column)
{
    if (formatter->flat || block->line == block->end_line) {
        format_flat(formatter, block);
        return;
    }
    put(formatter, "{");
    comment_behind(formatter, block->line);
    advance(formatter, block->line);
    formatter->block_begun = true;
    format_statements(formatter, block, column + INDENT);
    comments_above(formatter, column + INDENT, block->end_line);
    formatter->block_begun = true;
    begin(formatter, LINE_PLAIN, column, block->end_line);
    formatter->block_begun = false;
    put(formatter, "}");
}

/* ---- statements ---- */

static void format_names(struct formatter *formatter, const struct ast_names *names)
{
    for (int i = 0; i < names->count; i++) {
        put(formatter, i ? ", " : "");
        put(formatter, names->items[i].name);
    }
}

static void format_declaration(struct formatter *formatter, const struct ast_statement *statement)
{
    put(formatter, ast_declaration_text(statement->declare.what));
    put(formatter, " ");
    put(formatter, statement->declare.name.name);
    if (statement->declare.abbreviated)
        return;
    put(formatter, " ");
    put_cell(formatter, 0, "= ");
    format_expression(formatter, statement->declare.value);
}

static void format_param(struct formatter *formatter, const struct ast_statement *statement)
{
    put(formatter, "param ");
    put(formatter, statement->param.name.name);
    put(formatter, ": ");
    format_type(formatter, statement->param.type);
    put(formatter, " ");
    put_cell(formatter, 0, "~ ");
    format_expression(formatter, statement->param.initialiser);
}

static void format_setting(struct formatter *formatter, const struct ast_statement *statement)
{
    put(formatter, statement->setting.word.name);
    put(formatter, " ");
    layout_cell(&formatter->layout, 0);
    format_values(formatter, &statement->setting.values);
    if (statement->setting.per.name) {
        put(formatter, " per ");
        put(formatter, statement->setting.per.name);
    }
}

static void format_branch(struct formatter *formatter, const struct ast_statement *statement, int column)
{
    for (;;) {
        put(formatter, "if ");
        format_expression(formatter, statement->branch.condition);
        put(formatter, " ");
        format_block(formatter, statement->branch.body, column);
        const struct ast_block *otherwise = statement->branch.otherwise;
        if (!otherwise)
            return;
        put(formatter, " else ");
        if (!statement->branch.chained) {
            format_block(formatter, otherwise, column);
            return;
        }
        statement = otherwise->items[0];
    }
}

static void format_repeat(struct formatter *formatter, const struct ast_statement *statement, int column)
{
    put(formatter, statement->repeat.rolled ? "repeat rolled " : "repeat ");
    put(formatter, statement->repeat.variable.name);
    put(formatter, " in ");
    format_expression(formatter, statement->repeat.low);
    put(formatter, "..");
    format_expression(formatter, statement->repeat.high);
    if (statement->repeat.label.name) {
        put(formatter, " as ");
        put(formatter, statement->repeat.label.name);
    }
    put(formatter, " ");
    format_block(formatter, statement->repeat.body, column);
}

static void format_override(struct formatter *formatter, const struct ast_override *override)
{
    put(formatter, override->name.name);
    put(formatter, " ");
    put_cell(formatter, 0, "= ");
    format_expression(formatter, override->value);
    put(formatter, " ");
    put_cell(formatter, 1, "for ");
    format_values(formatter, &override->predicates);
}

static void format_overrides(struct formatter *formatter, const struct ast_overrides *overrides, int column)
{
    put(formatter, " {");
    comment_behind(formatter, overrides->line);
    advance(formatter, overrides->line);
    formatter->block_begun = true;
    for (int i = 0; i < overrides->count; i++) {
        const struct ast_override *override = &overrides->items[i];
        comments_above(formatter, column + INDENT, override->line);
        begin(formatter, LINE_OVERRIDE, column + INDENT, override->line);
        format_override(formatter, override);
        advance(formatter, override->end_line);
        comment_behind(formatter, override->end_line);
    }
    comments_above(formatter, column + INDENT, overrides->end_line);
    formatter->block_begun = true;
    begin(formatter, LINE_PLAIN, column, overrides->end_line);
    formatter->block_begun = false;
    put(formatter, "}");
}

static void format_minimize(struct formatter *formatter, const struct ast_statement *statement, int column)
{
    put(formatter, statement->minimize.then ? "then minimize " : "minimize ");
    if (!statement->minimize.then)
        layout_cell(&formatter->layout, 0);
    format_expression(formatter, statement->minimize.loss);
    if (statement->minimize.over.count) {
        put(formatter, " over ");
        format_values(formatter, &statement->minimize.over);
    }
    put(formatter, " with ");
    format_expression(formatter, statement->minimize.optimizer);
    if (statement->minimize.overrides.line)
        format_overrides(formatter, &statement->minimize.overrides, column);
    if (statement->minimize.every) {
        put(formatter, " every ");
        format_expression(formatter, statement->minimize.every);
    }
}

static void format_every(struct formatter *formatter, const struct ast_statement *statement)
{
    put(formatter, statement->every.word.name);
    put(formatter, " ");
    put_cell(formatter, 0, "every ");
    format_expression(formatter, statement->every.count);
    put(formatter, " ");
    put(formatter, statement->every.unit.name);
    if (statement->every.kept) {
        put(formatter, " keep ");
        format_expression(formatter, statement->every.kept);
    }
    if (statement->every.keep.name) {
        put(formatter, " keep ");
        put(formatter, statement->every.keep.name);
        put(formatter, " ");
        put(formatter, statement->every.measure.name);
    }
}

static void format_statement(struct formatter *formatter, const struct ast_statement *statement, int column)
{
    switch (statement->kind) {
    case AST_BIND:
        format_names(formatter, &statement->bind.names);
        put(formatter, " ");
        put_cell(formatter, 0, "= ");
        format_expression(formatter, statement->bind.value);
        break;
    case AST_UPDATE:
        put(formatter, statement->update.name.name);
        put(formatter, " ");
        put_cell(formatter, 0, "<- ");
        format_expression(formatter, statement->update.value);
        break;
    case AST_PARAM:
        format_param(formatter, statement);
        break;
    case AST_DECLARE:
        format_declaration(formatter, statement);
        break;
    case AST_SETTING:
        format_setting(formatter, statement);
        break;
    case AST_PIN:
        put(formatter, "precision ");
        format_expression(formatter, statement->pin.precision);
        put(formatter, " ");
        format_block(formatter, statement->pin.body, column);
        break;
    case AST_IF:
        format_branch(formatter, statement, column);
        break;
    case AST_REPEAT:
        format_repeat(formatter, statement, column);
        break;
    case AST_RETURN:
        put(formatter, "return ");
        format_values(formatter, &statement->returned);
        break;
    case AST_MINIMIZE:
        format_minimize(formatter, statement, column);
        break;
    case AST_EVERY:
        format_every(formatter, statement);
        break;
    }
}

/* ---- definitions ---- */

static const char *const definition_words[] = {
    [AST_IMPORT] = "import ",     [AST_OPTION] = "option ",       [AST_MODEL] = "model ",   [AST_MODULE] = "module ",
    [AST_FUNCTION] = "function ", [AST_OPTIMIZER] = "optimizer ", [AST_SCALER] = "scaler ", [AST_TRAIN] = "train ",
};

static void format_definition(struct formatter *formatter, const struct ast_definition *definition)
{
    put(formatter, definition_words[definition->kind]);
    if (definition->kind == AST_IMPORT) {
        format_string(formatter, definition->name.name);
        return;
    }
    if (definition->name.name)
        put(formatter, definition->name.name);
    if (definition->kind == AST_OPTION) {
        put(formatter, " ");
        put_cell(formatter, 0, "= ");
        format_expression(formatter, definition->value);
        return;
    }
    if (definition->kind != AST_TRAIN) {
        format_parameters(formatter, &definition->parameters);
        put(formatter, " ");
    }
    format_block(formatter, definition->body, 0);
}

void format_net(const struct ast_file *file, FILE *out)
{
    struct formatter formatter = {.file = file, .block_begun = true};
    for (int i = 0; i < file->count; i++) {
        const struct ast_definition *definition = file->items[i];
        comments_above(&formatter, 0, definition->line);
        begin(&formatter, definition->kind == AST_OPTION ? LINE_BINDING : LINE_PLAIN, 0, definition->line);
        format_definition(&formatter, definition);
        advance(&formatter, definition->end_line);
        comment_behind(&formatter, definition->end_line);
    }
    comments_above(&formatter, 0, INT_MAX);
    layout_print(&formatter.layout, out);
}

void format_one(const struct ast_statement *statement, FILE *out)
{
    const struct ast_file none = {0};
    struct formatter formatter = {.file = &none, .block_begun = true};
    begin(&formatter, kind_of(statement), 0, statement->line);
    format_statement(&formatter, statement, 0);
    layout_print(&formatter.layout, out);
}
