/* What the parser says of texts that are wrong: all errors of a file at once, in the user's words, and no crash
 * however deep a text nests. */
#include "frontend/language/ast.h"
#include "tests/unit/check.h"

#include <stdlib.h>

/* All diagnostics of a text, as printed. */
static char *report(const char *source, size_t length)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct ast_file *file = parse_net_bytes(arena, diagnostics, "t.net", source, length);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    diagnostics_print(diagnostics, out);
    fputs(file ? "parsed\n" : "", out);
    fclose(out);
    arena_free(arena);
    return text;
}

static void check_report(const char *source, const char *wanted)
{
    char *text = report(source, strlen(source));
    CHECK_TEXT(text, wanted);
    free(text);
}

static void check_several(void)
{
    check_report("module f(x: [b c]) {\n"
                 "    y = 1 +\n"
                 "    z = g(a, b\n"
                 "    w = 3\n"
                 "    v = a <-b\n"
                 "    return y\n"
                 "}\n"
                 "x = 3\n"
                 "train {\n"
                 "    batch 128 epochs\n"
                 "    seed && 1\n"
                 "    seed 1 2\n"
                 "}\n",
                 "t.net:1:16: error[E0101]: unexpected name `c`; expected an operator, `,` or `]`\n"
                 "    1 | module f(x: [b c]) {\n"
                 "      |                ^\n"
                 "t.net:2:12: error[E0101]: unexpected end of the line; expected a value\n"
                 "    2 |     y = 1 +\n"
                 "      |            ^\n"
                 "note: a line goes on when the next one begins with the operator\n"
                 "t.net:4:5: error[E0101]: unexpected name `w`; expected an operator, `=`, `)` or `,`\n"
                 "    4 |     w = 3\n"
                 "      |     ^\n"
                 "t.net:3:10: note: this `(` is still open\n"
                 "    3 |     z = g(a, b\n"
                 "      |          ^\n"
                 "t.net:5:11: error[E0101]: unexpected `<-`; expected the end of the line, an operator or `}`\n"
                 "    5 |     v = a <-b\n"
                 "      |           ^~\n"
                 "note: `<-` updates a param or state and stands behind its name alone; to compare, write `a < -b`\n"
                 "t.net:8:1: error[E0101]: unexpected name `x`; expected the end of the text, the end of the line or a "
                 "definition (import, option, model, module, function, optimizer, scaler, train)\n"
                 "    8 | x = 3\n"
                 "      | ^\n"
                 "t.net:10:21: error[E0101]: unexpected end of the line; expected a name\n"
                 "   10 |     batch 128 epochs\n"
                 "      |                     ^\n"
                 "t.net:11:10: error[E0102]: `&&` begins nothing here\n"
                 "   11 |     seed && 1\n"
                 "      |          ^~\n"
                 "note: write `and`\n"
                 "t.net:12:12: error[E0101]: unexpected number `2`; expected the end of the line, an operator, `,`, "
                 "`{` or `}`\n"
                 "   12 |     seed 1 2\n"
                 "      |            ^\n");
}

/* A missing or stray brace is one error, however much follows it. */
static void check_braces(void)
{
    check_report("module a(x) {\n"
                 "    y = x\n"
                 "\n"
                 "module b(x) {\n"
                 "    return x\n"
                 "}\n"
                 "train { }\n",
                 "t.net:4:1: error[E0101]: a definition begins here, but a block above has no `}`\n"
                 "    4 | module b(x) {\n"
                 "      | ^~~~~~\n"
                 "t.net:1:13: note: this `{` is still open\n"
                 "    1 | module a(x) {\n"
                 "      |             ^\n");
    check_report("module a(x) {\n"
                 "    y = x }\n"
                 "    z = y\n"
                 "    return z\n"
                 "}\n",
                 "t.net:3:5: error[E0101]: unexpected name `z`; expected the end of the text, the end of the line or a "
                 "definition (import, option, model, module, function, optimizer, scaler, train)\n"
                 "    3 |     z = y\n"
                 "      |     ^\n"
                 "t.net:5:1: error[E0101]: unexpected `}`; expected the end of the text, the end of the line or a "
                 "definition (import, option, model, module, function, optimizer, scaler, train)\n"
                 "    5 | }\n"
                 "      | ^\n");
}

static const struct {
    const char *source, *part;
} hints[] = {
    {"model () { x = a < b < c }", "comparisons do not chain"},
    {"train { evaluate every epoch\nbatch 4 }", "note: an interval has a count before its unit: `every 1 epoch`"},
    {"model () { for i in 0..3 { x = y } }", "note: a loop is written `repeat i in 0..n { … }`"},
    {"model () { repeat 3 { x = y } }", "note: a loop is written `repeat i in 0..n { … }`"},
    {"train { optimizer adam(lr = 1) }", "note: an optimizer stands in a line of its loss: `minimize loss with"},
    {"train { checkpoint every step }", "note: an interval has a count before its unit: `every 1 epoch`"},
    {"model () { x = a |> f + 1 }", "only `|>` may follow a stage"},
    {"model () { x = y as z }", "a label follows only a call"},
    {"model () { x = a = b }", "to compare, write `==`"},
    {"model () { x = 1 + if a then b else c }", "stands in parentheses"},
    {"model () { then = 1 }", "unexpected `then`; expected a statement or `}`"},
    {"option if = 1", "this word is reserved"},
    {"model () { a + b }", "a value by itself is no statement"},
    {"model () { parm w: [n] ~ ones }", "did you mean `param`?"},
    {"model () { param w = 1 }", "a param needs a shape and an initialiser"},
    {"model () { x = 5. }", "digits on both sides of the dot"},
    {"model () { x = 1e999 }", "this number is too large"},
    {"model () { x = 1e-999 }", "too small to differ from 0"},
    {"model () { x = 9007199254740993 }", "this integer is too large to be exact"},
    {"model () { x = \"abc }\n}", "this string has no closing `\"` on its line"},
    {"model () { x = \"a\\q\" }", "unknown escape `\\q`"},
    {"model () { x = \xc3\xa9 }", "`\xc3\xa9` begins nothing here"},
    {"model () {\n x = 1\n", "this `{` is still open"},
    {"option x = \xff", "t.net:1:12: error[E0102]: byte 0xff is not UTF-8 text"},
    {"# \xed\xa0\x80", "byte 0xed is not UTF-8 text"},
};

static void check_hints(void)
{
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        char *text = report(hints[i].source, strlen(hints[i].source));
        CHECK(strstr(text, hints[i].part));
        free(text);
    }
    char *text = report("option x = 1\0 + 2", 17);
    CHECK(strstr(text, "t.net:1:13: error[E0102]: a NUL byte"));
    free(text);
}

/* At most one complaint about a text that nests deeply, and none of its consequences. */
static void check_depth(const char *head, const char *step, int count, const char *tail, const char *back)
{
    size_t size = strlen(head) + (strlen(step) + strlen(back)) * (size_t)count + strlen(tail) + 1;
    char *source = malloc(size), *at = source;
    at += sprintf(at, "%s", head);
    for (int i = 0; i < count; i++)
        at += sprintf(at, "%s", step);
    at += sprintf(at, "%s", tail);
    for (int i = 0; i < count; i++)
        at += sprintf(at, "%s", back);
    char *text = report(source, strlen(source));
    const char *found = strstr(text, "E0105");
    CHECK(found && !strstr(found + 1, "error["));
    free(text);
    free(source);
}

int main(void)
{
    check_several();
    check_braces();
    check_hints();
    check_depth("option x = ", "(", 50000, "1", ")");
    check_depth("option x = ", "[", 300, "1", "]");
    check_depth("option x = ", "-", 50000, "1", "");
    check_depth("option x = ", "not ", 50000, "1", "");
    check_depth("option x = ", "1 + ", 50000, "1", "");
    check_depth("option x = 2", "^2", 50000, "", "");
    check_depth("option x = a", " |> f", 50000, "", "");
    check_depth("option x = a", "[0]", 50000, "", "");
    check_depth("option x = ", "if a then b else ", 50000, "c", "");
    check_depth("model () {\n", "if a {", 1000, "", "}");
    check_depth("model () {\nif a { }", " else if a { }", 5000, "\n}", "");
    return check_result();
}
