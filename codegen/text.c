/* A growing text for the printers. */
#include "codegen/text.h"

#include <ctype.h>
#include <stb/stb_ds.h>
#include <stdarg.h>
#include <string.h>

static void add_v(struct text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *place = arraddnptr(text->characters, length + 1);
    vsnprintf(place, (size_t)length + 1, format, arguments);
    arrsetlen(text->characters, arrlenu(text->characters) - 1);
}

static void indent(struct text *text)
{
    text_add(text, "%*s", 4 * text->indent, "");
}

void text_add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_v(text, format, arguments);
    va_end(arguments);
}

void text_line(struct text *text, const char *format, ...)
{
    va_list arguments;
    indent(text);
    va_start(arguments, format);
    add_v(text, format, arguments);
    va_end(arguments);
    text_add(text, "\n");
}

void text_open(struct text *text, const char *format, ...)
{
    va_list arguments;
    indent(text);
    va_start(arguments, format);
    add_v(text, format, arguments);
    va_end(arguments);
    text_add(text, " {\n");
    text->indent++;
}

void text_open_block(struct text *text)
{
    text_line(text, "{");
    text->indent++;
}

void text_close(struct text *text)
{
    text->indent--;
    text_line(text, "}");
}

const char *text_finish(struct text *text, struct arena *arena)
{
    arrput(text->characters, 0);
    const char *result = arena_copy(arena, text->characters, arrlenu(text->characters));
    arrfree(text->characters);
    return result;
}

const char *text_identifier(const struct node *node, struct arena *arena)
{
    const char *name = node->attributes->symbol ? node->attributes->symbol : node->name;
    name = name ? name : op_info(node->op)->name;
    for (const char *dot = strpbrk(name, "./"); dot && dot[1]; dot = strpbrk(name, "./"))
        name = dot + 1;
    char *identifier = arena_printf(arena, "%s%s", isdigit((unsigned char)name[0]) ? "v" : "", name);
    for (char *c = identifier; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    return identifier;
}
