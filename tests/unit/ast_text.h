/* A syntax tree as one line of text, without places and layout: what the tests of parser and formatter compare. */
#ifndef CASTOR_TESTS_AST_TEXT_H
#define CASTOR_TESTS_AST_TEXT_H

#include "frontend/language/ast.h"

static void text_expression(FILE *out, const struct ast_expression *e);

static void text_expressions(FILE *out, const struct ast_expressions *list)
{
    for (int i = 0; i < list->count; i++) {
        fputc(' ', out);
        text_expression(out, list->items[i]);
    }
}

static void text_call(FILE *out, const struct ast_call *call)
{
    fprintf(out, "(call %s", call->callee);
    for (int i = 0; i < call->arguments.count; i++) {
        fprintf(out, " %s%s", call->arguments.items[i].name ? call->arguments.items[i].name : "",
                call->arguments.items[i].name ? "=" : "");
        text_expression(out, call->arguments.items[i].value);
    }
    fprintf(out, "%s%s)", call->label ? " as " : "", call->label ? call->label : "");
}

static void text_several(FILE *out, const char *head, const struct ast_expression *a, const struct ast_expression *b,
                         const struct ast_expression *c)
{
    const struct ast_expression *parts[] = {a, b, c};
    fprintf(out, "(%s", head);
    for (int i = 0; i < 3; i++) {
        if (!parts[i])
            continue;
        fputc(' ', out);
        text_expression(out, parts[i]);
    }
    fputc(')', out);
}

static void text_slice_part(FILE *out, const struct ast_expression *part)
{
    fputc(' ', out);
    if (part)
        text_expression(out, part);
    else
        fputc('_', out);
}

static void text_expression(FILE *out, const struct ast_expression *e)
{
    switch (e->kind) {
    case AST_NUMBER:
        fprintf(out, "%.17g", e->number.value);
        break;
    case AST_STRING:
        fprintf(out, "\"%s\"", e->string);
        break;
    case AST_BOOLEAN:
        fputs(e->boolean ? "#true" : "#false", out);
        break;
    case AST_NAME:
        fputs(e->name, out);
        break;
    case AST_REST:
        fputs("..", out);
        break;
    case AST_LIST:
        fputs("(list", out);
        text_expressions(out, &e->list);
        fputc(')', out);
        break;
    case AST_CALL:
        text_call(out, &e->call);
        break;
    case AST_INDEX:
        fputs("(index ", out);
        text_expression(out, e->index.base);
        text_expressions(out, &e->index.items);
        fputc(')', out);
        break;
    case AST_SLICE:
        fputs("(slice", out);
        text_slice_part(out, e->slice.low);
        text_slice_part(out, e->slice.high);
        text_slice_part(out, e->slice.step);
        fputc(')', out);
        break;
    case AST_TRANSPOSE:
        text_several(out, "'", e->transpose, NULL, NULL);
        break;
    case AST_UNARY:
        text_several(out, ast_operator_text(e->unary.operator), e->unary.operand, NULL, NULL);
        break;
    case AST_BINARY:
        text_several(out, ast_operator_text(e->binary.operator), e->binary.left, e->binary.right, NULL);
        break;
    case AST_CONDITIONAL:
        text_several(out, "if", e->conditional.condition, e->conditional.then, e->conditional.otherwise);
        break;
    }
}

static void text_type(FILE *out, const struct ast_type *type)
{
    fprintf(out, "(type %s", type->element ? type->element : "_");
    if (type->classes) {
        fputc('/', out);
        text_expression(out, type->classes);
    }
    text_expressions(out, &type->dimensions);
    fputc(')', out);
}

static void text_block(FILE *out, const struct ast_block *block);

static void text_minimize(FILE *out, const struct ast_statement *s)
{
    fprintf(out, "%s ", s->minimize.then ? "then-minimize" : "minimize");
    text_expression(out, s->minimize.loss);
    fputs(" (over", out);
    text_expressions(out, &s->minimize.over);
    fputs(") ", out);
    text_expression(out, s->minimize.optimizer);
    for (int i = 0; i < s->minimize.overrides.count; i++) {
        const struct ast_override *override = &s->minimize.overrides.items[i];
        fprintf(out, " (override %s ", override->name.name);
        text_expression(out, override->value);
        text_expressions(out, &override->predicates);
        fputc(')', out);
    }
    if (s->minimize.every) {
        fputs(" every ", out);
        text_expression(out, s->minimize.every);
    }
}

static void text_statement(FILE *out, const struct ast_statement *s)
{
    fputc('(', out);
    switch (s->kind) {
    case AST_BIND:
        fputs("bind", out);
        for (int i = 0; i < s->bind.names.count; i++)
            fprintf(out, " %s", s->bind.names.items[i].name);
        fputs(" = ", out);
        text_expression(out, s->bind.value);
        break;
    case AST_UPDATE:
        fprintf(out, "update %s ", s->update.name.name);
        text_expression(out, s->update.value);
        break;
    case AST_PARAM:
        fprintf(out, "param %s ", s->param.name.name);
        text_type(out, s->param.type);
        fputc(' ', out);
        text_expression(out, s->param.initialiser);
        break;
    case AST_DECLARE:
        fprintf(out, "%s %s ", ast_declaration_text(s->declare.what), s->declare.name.name);
        text_expression(out, s->declare.value);
        break;
    case AST_SETTING:
        fprintf(out, "set %s", s->setting.word.name);
        text_expressions(out, &s->setting.values);
        fprintf(out, "%s%s", s->setting.per.name ? " per " : "", s->setting.per.name ? s->setting.per.name : "");
        break;
    case AST_PIN:
        fputs("precision ", out);
        text_expression(out, s->pin.precision);
        text_block(out, s->pin.body);
        break;
    case AST_IF:
        fputs("if ", out);
        text_expression(out, s->branch.condition);
        text_block(out, s->branch.body);
        if (s->branch.otherwise)
            text_block(out, s->branch.otherwise);
        break;
    case AST_REPEAT:
        fprintf(out, "repeat %s%s ", s->repeat.rolled ? "rolled " : "", s->repeat.variable.name);
        text_expression(out, s->repeat.low);
        fputc(' ', out);
        text_expression(out, s->repeat.high);
        fprintf(out, " as %s", s->repeat.label.name ? s->repeat.label.name : "_");
        text_block(out, s->repeat.body);
        break;
    case AST_RETURN:
        fputs("return", out);
        text_expressions(out, &s->returned);
        break;
    case AST_MINIMIZE:
        text_minimize(out, s);
        break;
    case AST_EVERY:
        fprintf(out, "%s ", s->every.word.name);
        text_expression(out, s->every.count);
        fprintf(out, " %s", s->every.unit.name);
        if (s->every.kept) {
            fputs(" keep ", out);
            text_expression(out, s->every.kept);
        }
        if (s->every.keep.name)
            fprintf(out, " keep %s %s", s->every.keep.name, s->every.measure.name);
        break;
    }
    fputc(')', out);
}

static void text_block(FILE *out, const struct ast_block *block)
{
    fputs(" {", out);
    for (int i = 0; i < block->count; i++)
        text_statement(out, block->items[i]);
    fputc('}', out);
}

static void text_definition(FILE *out, const struct ast_definition *d)
{
    fprintf(out, "(define %d %s", d->kind, d->name.name ? d->name.name : "_");
    for (int i = 0; i < d->parameters.count; i++) {
        const struct ast_parameter *p = &d->parameters.items[i];
        fprintf(out, " %s", p->name);
        if (p->type) {
            fputc(':', out);
            text_type(out, p->type);
        }
        if (p->value) {
            fputc('=', out);
            text_expression(out, p->value);
        }
    }
    if (d->value) {
        fputs(" = ", out);
        text_expression(out, d->value);
    }
    if (d->body)
        text_block(out, d->body);
    fputs(")\n", out);
}

static inline void text_file(FILE *out, const struct ast_file *file)
{
    for (int i = 0; i < file->count; i++)
        text_definition(out, file->items[i]);
}

#endif
