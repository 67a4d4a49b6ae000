/* Literals, and where a statement ends.
 *
 * A line end ends a statement unless it stands inside ( ) or [ ], after a comma, or before a token that can only go
 * on with what stands above. To know that, a token is read before the end is given: the token of delay. After a
 * syntax error inside brackets, a line that begins no further right than the broken statement ends it, so that one
 * forgotten bracket does not swallow the rest of the file. */
#include "frontend/language/lexer.h"

#include "frontend/language/net.lexer.h"
#include "ir/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double EXACT_INTEGER_LIMIT = 9007199254740992.0; /* 2^53 */

void net_advance(struct net_parser *parser, struct net_location *location, int length)
{
    *location = (struct net_location){parser->line, parser->column, parser->line, parser->column + length};
    parser->column += length;
}

void net_comment(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    while (length > 0 && strchr(" \t\r", text[length - 1]))
        length--;
    const char *line = parser->lines[location.line - 1];
    bool alone = strspn(line, " \t") >= (size_t)(location.column - 1);
    struct ast_file *tree = parser->tree;
    tree->comments =
        ast_grow(parser->arena, tree->comments, tree->comment_count, &tree->comment_capacity, sizeof *tree->comments);
    tree->comments[tree->comment_count++] =
        (struct ast_comment){arena_intern_length(parser->arena, text, (size_t)length), location.line, alone};
}

/* ---- literals ---- */

struct net_number net_read_number(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    struct net_number number = {.text = arena_intern_length(parser->arena, text, (size_t)length)};
    number.integer = strcspn(number.text, ".eE") == (size_t)length;
    errno = 0;
    number.value = strtod(number.text, NULL);
    struct span span = net_span(parser, location);
    if (isinf(number.value))
        diagnostics_error(parser->diagnostics, E0103, span, NULL,
                          "this number is too large: the largest is about 1.8e308");
    else if (errno == ERANGE && number.value == 0)
        diagnostics_error(parser->diagnostics, E0103, span, NULL, "this number is too small to differ from 0");
    else if (number.integer && number.value >= EXACT_INTEGER_LIMIT)
        diagnostics_error(parser->diagnostics, E0103, span, NULL,
                          "this integer is too large to be exact: the largest is 9007199254740991");
    else
        return number;
    number.value = 1;
    return number;
}

struct net_number net_bad_number(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    diagnostics_error(parser->diagnostics, E0103, net_span(parser, location), NULL,
                      "`%.*s` is neither a number nor a name", length, text);
    diagnostics_note(parser->diagnostics, (struct span){0},
                     "numbers are written 1, 0.5 or 1e-3; names begin with a letter or `_`");
    return (struct net_number){1, true, "1"};
}

/* What the escape stands for whose letter, which may be of several bytes, stands at `letter`. */
static char unescape(struct net_parser *parser, struct net_location location, const char *letter, int left)
{
    int length = utf8_length(letter, (size_t)left);
    switch (*letter) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '"':
    case '\\':
        return *letter;
    default:
        location.end_column += length - 1;
        diagnostics_error(parser->diagnostics, E0104, net_span(parser, location), NULL,
                          "unknown escape `\\%.*s` in a string; there are \\\" \\\\ \\n and \\t", length, letter);
        return *letter;
    }
}

const char *net_read_string(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    char *string = arena_allocate(parser->arena, (size_t)length);
    int count = 0;
    for (int i = 1; i < length - 1; i++) {
        struct net_location place = {location.line, location.column + i, location.line, location.column + i + 2};
        bool escape = text[i] == '\\';
        i += escape;
        string[count++] = escape ? unescape(parser, place, text + i, length - i) : text[i];
    }
    return arena_intern_length(parser->arena, string, (size_t)count);
}

const char *net_open_string(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    (void)text, (void)length;
    location.end_column = location.column + 1;
    diagnostics_error(parser->diagnostics, E0104, net_span(parser, location), NULL,
                      "this string has no closing `\"` on its line");
    return "";
}

/* What people write out of habit, and what stands for it here. */
static const struct {
    const char *text, *hint;
} habits[] = {
    {"&&", "write `and`"},
    {"||", "write `or`"},
    {"!", "write `not`"},
    {"**", "powers are written with `^`"},
    {"%", "there is no remainder operator"},
    {"->", "a binding is `name = value`, an update `name <- value`"},
    {"=>", "at least is written `>=`"},
    {".", "numbers have digits on both sides of the dot, and a dotted path has no blanks in it"},
    {"|", "a pipe is written `|>`"},
    {"\\", "a line goes on by itself when the next one begins with an operator"},
};

int net_bad_character(struct net_parser *parser, struct net_location location, const char *text, int length)
{
    if (parser->recovering)
        return TOKEN_NET_error;
    parser->recovering = true;
    diagnostics_error(parser->diagnostics, E0102, net_span(parser, location), NULL,
                      (unsigned char)*text < ' ' ? "a control character begins nothing here"
                                                 : "`%.*s` begins nothing here",
                      length, text);
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
        if (strlen(habits[i].text) == (size_t)length && strncmp(habits[i].text, text, (size_t)length) == 0)
            diagnostics_note(parser->diagnostics, (struct span){0}, "%s", habits[i].hint);
    return TOKEN_NET_error;
}

/* ---- brackets ---- */

static bool inside_parentheses(const struct net_parser *parser)
{
    return parser->bracket_count && parser->brackets[parser->bracket_count - 1].opener != '{';
}

/* No `{` stands inside ( ) or [ ], so one that seems to tells of a bracket that was forgotten. */
static void open_bracket(struct net_parser *parser, int token, struct net_location location)
{
    while (token == '{' && inside_parentheses(parser))
        parser->bracket_count--;
    if (parser->bracket_count == AST_DEPTH_MAX) {
        net_report_depth(parser, location);
        parser->stopped = true;
        return;
    }
    parser->brackets[parser->bracket_count++] = (struct net_bracket){token, location};
}

/* A `}` closes all that was forgotten inside its block; a ) or ] closes only its own kind. */
static void close_bracket(struct net_parser *parser, int token)
{
    if (token == '}')
        while (inside_parentheses(parser))
            parser->bracket_count--;
    int opener = token == '}' ? '{' : token == ')' ? '(' : '[';
    if (parser->bracket_count && parser->brackets[parser->bracket_count - 1].opener == opener)
        parser->bracket_count--;
}

static void track(struct net_parser *parser, int token, struct net_location location)
{
    if (parser->statement_begins)
        parser->statement_column = location.column;
    parser->statement_begins = token == TOKEN_END || token == '{';
    if (token == '(' || token == '[' || token == '{')
        open_bracket(parser, token, location);
    else if (token == ')' || token == ']' || token == '}')
        close_bracket(parser, token);
    parser->before = parser->previous;
    parser->before_location = parser->previous_location;
    parser->previous = token;
    parser->previous_location = location;
}

/* ---- the token of delay ---- */

/* Does a line that begins with this token go on with the statement above? */
static bool continues(int token)
{
    switch (token) {
    case '+':
    case '-':
    case '*':
    case '/':
    case '^':
    case '@':
    case '<':
    case '>':
    case '~':
    case '{':
    case TOKEN_EQUAL:
    case TOKEN_NOT_EQUAL:
    case TOKEN_LESS_EQUAL:
    case TOKEN_GREATER_EQUAL:
    case TOKEN_AND:
    case TOKEN_OR:
    case TOKEN_PIPE:
    case TOKEN_AS:
    case TOKEN_THEN:
    case TOKEN_ELSE:
        return true;
    default:
        return false;
    }
}

/* The next token of the text that is neither line end nor comment; `fresh` tells whether it begins a line. */
static int next_raw(struct net_parser *parser, NET_STYPE *value, struct net_location *location, bool *fresh)
{
    *fresh = false;
    for (;;) {
        int token = parser->stopped ? TOKEN_YYEOF : net_raw_lex(value, location, parser->scanner);
        if (token == TOKEN_YYEOF)
            *location = (struct net_location){parser->line, parser->column, parser->line, parser->column};
        if (token == RAW_NEWLINE)
            *fresh = true;
        else if (token != RAW_COMMENT)
            return token;
    }
}

static bool ends_statement(struct net_parser *parser, int token, struct net_location location)
{
    int previous = parser->previous;
    if (!previous || previous == TOKEN_END || previous == '{')
        return false;
    if (token == TOKEN_YYEOF)
        return true;
    if (inside_parentheses(parser)) {
        if (!parser->recovering || location.column > parser->statement_column || token == ')' || token == ']')
            return false;
        while (inside_parentheses(parser))
            parser->bracket_count--;
        return true;
    }
    return previous != ',' && !continues(token);
}

static int hold(struct net_parser *parser, int token, const NET_STYPE *value, struct net_location *location)
{
    parser->holding = true;
    parser->held_token = token;
    parser->held_location = *location;
    parser->held_value = arena_copy(parser->arena, value, sizeof *value);
    parser->ends_after_operator = continues(parser->previous) && parser->previous != '{';
    struct net_location end = parser->previous_location;
    *location = (struct net_location){end.end_line, end.end_column, end.end_line, end.end_column + 1};
    return TOKEN_END;
}

int net_lex(NET_STYPE *value, struct net_location *location, struct net_parser *parser)
{
    if (parser->start) {
        int token = parser->start;
        parser->start = 0;
        *location = (struct net_location){1, 1, 1, 1};
        return token;
    }
    bool fresh;
    int token;
    if (parser->holding) {
        parser->holding = false;
        token = parser->held_token;
        *location = parser->held_location;
        memcpy(value, parser->held_value, sizeof *value);
    } else {
        token = next_raw(parser, value, location, &fresh);
        if ((fresh || token == TOKEN_YYEOF) && ends_statement(parser, token, *location))
            token = hold(parser, token, value, location);
    }
    track(parser, token, *location);
    return token;
}
