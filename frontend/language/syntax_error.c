/* Saying what was read and what could stand there, in the user's words.
 *
 * The grammar hands over the names of all tokens that it would have taken. Lists of them say little (a value may
 * begin in a dozen ways), so they are folded into what a person would say: a value, an operator, a statement. */
#include "frontend/language/lexer.h"

#include <string.h>

enum { SAID_MAX = 9, SAID_BYTES = 512 };

struct expectation {
    const char *const *names;
    int count;
};

static bool expects(const struct expectation *expectation, const char *name)
{
    for (int i = 0; i < expectation->count; i++)
        if (strcmp(expectation->names[i], name) == 0)
            return true;
    return false;
}

static bool among(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static const char *const context_words[] = {"import",   "option", "model", "module",   "function",   "optimizer",
                                            "scaler",   "train",  "in",    "over",     "with",       "every",
                                            "minimize", "for",    "keep",  "evaluate", "checkpoint", NULL};
static const char *const value_words[] = {"a name", "a path", "a string", "a number", "true", "false",
                                          "not",    "'('",    "'['",      "'-'",      "if",   NULL};
static const char *const operator_words[] = {"'+'", "'-'", "'*'", "'/'", "'^'", "'@'", "==",  "!=",    "'<'", "<=",
                                             "'>'", ">=",  "and", "or",  "|>",  "'['", "'('", "'\\''", "as",  NULL};
static const char *const comparison_words[] = {"==", "!=", "'<'", "<=", "'>'", ">=", NULL};
static const char *const definition_words[] = {"import",    "option", "model", "module", "function",
                                               "optimizer", "scaler", "train", NULL};

/* One way of folding: when `sign` is expected, `phrase` stands for it and for all in `covers`. */
struct fold {
    const char *sign, *phrase;
    const char *const *covers, *const *covers_too;
};

static const struct fold folds[] = {
    {"repeat", "a statement", value_words, context_words},
    {"a number", "a value", value_words, context_words},
    {"a name", "a name", context_words, (const char *const[]){"a path", NULL}},
    {"import", "a definition (import, option, model, module, function, optimizer, scaler, train)", definition_words,
     NULL},
    {"'*'", "an operator", operator_words, NULL},
};

static bool folded(const struct expectation *expectation, const char *name, const char *said[], int *count)
{
    for (size_t i = 0; i < sizeof folds / sizeof *folds; i++) {
        const struct fold *fold = &folds[i];
        bool covered = strcmp(name, fold->sign) == 0 || among(name, fold->covers) ||
                       (fold->covers_too && among(name, fold->covers_too));
        if (!covered || !expects(expectation, fold->sign))
            continue;
        for (int k = 0; k < *count; k++)
            if (said[k] == fold->phrase)
                return true;
        if (*count < SAID_MAX)
            said[(*count)++] = fold->phrase;
        return true;
    }
    return false;
}

/* Token names are shown as the user writes them: 'x' and words in backquotes, descriptions as they are. */
static const char *shown(struct arena *arena, const char *name)
{
    if (strncmp(name, "a ", 2) == 0 || strncmp(name, "the ", 4) == 0)
        return name;
    size_t length = strlen(name);
    if (name[0] == '\'' && length >= 3)
        return strcmp(name, "'\\''") == 0 ? "`'`" : arena_printf(arena, "`%.*s`", (int)length - 2, name + 1);
    return arena_printf(arena, "`%s`", name);
}

static const char *what_could_stand(struct arena *arena, const struct expectation *expectation)
{
    const char *said[SAID_MAX];
    int count = 0;
    /* Where a statement may begin or end, what else could stand there says little. */
    bool statement = expects(expectation, "repeat"), ends = expects(expectation, "the end of the line");
    for (int i = 0; i < expectation->count; i++) {
        const char *name = expectation->names[i];
        bool line_end = strcmp(name, "the end of the line") == 0;
        bool obvious = strcmp(name, statement ? "return" : "a name") == 0;
        if ((statement && line_end) || (obvious && ends))
            continue;
        if (!folded(expectation, name, said, &count) && count < SAID_MAX)
            said[count++] = shown(arena, name);
    }
    char *text = arena_allocate(arena, SAID_BYTES);
    int at = 0;
    for (int i = 0; i < count && at < SAID_BYTES; i++)
        at += snprintf(text + at, (size_t)(SAID_BYTES - at), "%s%s",
                       i == 0           ? ""
                       : i == count - 1 ? " or "
                                        : ", ",
                       said[i]);
    return text;
}

static const char *what_was_read(const struct net_parser *parser, struct net_location location, const char *unexpected)
{
    const char *text = parser->lines[location.line - 1] + location.column - 1;
    int length = location.end_column - location.column;
    if (strcmp(unexpected, "the end of the line") == 0)
        return *text == ';' ? "`;`" : "end of the line";
    if (strcmp(unexpected, "the end of the text") == 0)
        return "end of the text";
    bool named = strncmp(unexpected, "a ", 2) == 0 && strcmp(unexpected, "a string") != 0;
    return arena_printf(parser->arena, "%s%s`%.*s`", named ? unexpected + 2 : "", named ? " " : "", length, text);
}

/* ---- hints ---- */

static const char *const reserved[] = {"and", "or",     "not",    "if",   "then",  "else",
                                       "as",  "return", "repeat", "true", "false", NULL};

/* Whether one of these stands right before the place, in its line. */
static bool stands_before(const struct net_parser *parser, struct net_location location, const char *const *words)
{
    const char *line = parser->lines[location.line - 1];
    size_t before = (size_t)(location.column - 1);
    while (before && line[before - 1] == ' ')
        before--;
    for (; *words; words++) {
        size_t length = strlen(*words);
        bool whole = before == length || (before > length && line[before - length - 1] == ' ');
        if (whole && memcmp(line + before - length, *words, length) == 0)
            return true;
    }
    return false;
}

/* "evaluate every epoch": the unit was taken for the count. */
static const char *const uncounted[] = {"every epoch", "every epochs", "every step", "every steps", NULL};
static const char *const loop_words[] = {"repeat", NULL}, *const foreign_loop_words[] = {"for", NULL};
static const char *const optimizer_words[] = {"optimizer", NULL};

static const char *hint_for(const struct net_parser *parser, struct net_location location, const char *unexpected,
                            const struct expectation *expectation)
{
    bool value_read = expects(expectation, "|>");
    if (strcmp(unexpected, "<-") == 0)
        return "`<-` updates a param or state and stands behind its name alone; to compare, write `a < -b`";
    if (strcmp(unexpected, "'='") == 0 && value_read)
        return "to compare, write `==`";
    if (strcmp(unexpected, "'='") == 0 && expectation->count == 1 && expects(expectation, "'~'"))
        return "a shape and `~` declare a param; a state has the shape of its first value: `state s = zeros([8])`";
    if (among(unexpected, comparison_words) && expects(expectation, "'+'"))
        return "comparisons do not chain; join two of them with `and`";
    if (among(unexpected, operator_words) && expects(expectation, "<-") && expects(expectation, "'='"))
        return "a value by itself is no statement; bind it: `name = value`";
    if (among(unexpected, operator_words) && value_read)
        return strcmp(unexpected, "as") == 0
                   ? "a label follows only a call or a stage of a pipe"
                   : "only `|>` may follow a stage of a pipe; put the pipe in parentheses to go on with its value";
    if (strcmp(unexpected, "the end of the line") == 0 && parser->ends_after_operator)
        return "a line goes on when the next one begins with the operator";
    if (stands_before(parser, location, uncounted))
        return "an interval has a count before its unit: `every 1 epoch`";
    bool statement = expects(expectation, "<-"); /* not the `for` of an override */
    if (stands_before(parser, location, loop_words) ||
        (statement && stands_before(parser, location, foreign_loop_words)))
        return "a loop is written `repeat i in 0..n { … }`";
    if (statement && stands_before(parser, location, optimizer_words))
        return "an optimizer stands in a line of its loss: `minimize loss with adam(lr = 1e-3)`";
    if (strcmp(unexpected, "if") == 0 && expects(expectation, "a number"))
        return "an `if` expression that is part of a larger one stands in parentheses";
    if (expects(expectation, "a name") && !expects(expectation, "a number") && among(unexpected, reserved))
        return "this word is reserved and can't be a name";
    return NULL;
}

/* A bracket of the broken statement that stands open on an earlier line is probably what is wrong. */
static void note_open_bracket(struct net_parser *parser, struct net_location location, bool at_end)
{
    if (!parser->bracket_count)
        return;
    struct net_bracket bracket = parser->brackets[parser->bracket_count - 1];
    if (bracket.location.line < location.line && (bracket.opener != '{' || at_end))
        diagnostics_note(parser->diagnostics, net_span(parser, bracket.location), "this `%c` is still open",
                         bracket.opener);
}

static bool begins_definition(int token)
{
    return token == TOKEN_IMPORT || token == TOKEN_OPTION || token == TOKEN_MODEL || token == TOKEN_MODULE ||
           token == TOKEN_FUNCTION || token == TOKEN_OPTIMIZER || token == TOKEN_SCALER || token == TOKEN_TRAIN;
}

/* A definition at the beginning of a line inside a block tells that a `}` is missing above. What follows would be
 * misread, so nothing more is. */
static bool report_missing_brace(struct net_parser *parser)
{
    int depth = parser->bracket_count;
    if (!begins_definition(parser->before) || parser->before_location.column != 1 || !depth)
        return false;
    while (depth > 1 && parser->brackets[depth - 1].opener != '{')
        depth--;
    diagnostics_error(parser->diagnostics, E0101, net_span(parser, parser->before_location), NULL,
                      "a definition begins here, but a block above has no `}`");
    diagnostics_note(parser->diagnostics, net_span(parser, parser->brackets[depth - 1].location),
                     "this `{` is still open");
    return parser->stopped = true;
}

/* After an error, an indented line that seems to stand outside all blocks is its consequence. */
static bool is_consequence(const struct net_parser *parser, struct net_location location,
                           const struct expectation *expectation)
{
    return parser->stopped || (expects(expectation, "scaler") && !expects(expectation, "a name") &&
                               location.column > 1 && diagnostics_errors(parser->diagnostics) > parser->errors_before);
}

void net_syntax_error(struct net_parser *parser, struct net_location location, const char *unexpected,
                      const char *const *expected, int count)
{
    struct expectation expectation = {expected, count};
    parser->recovering = true;
    if (is_consequence(parser, location, &expectation) || report_missing_brace(parser))
        return;
    diagnostics_error(parser->diagnostics, E0101, net_span(parser, location), NULL, "unexpected %s; expected %s",
                      what_was_read(parser, location, unexpected), what_could_stand(parser->arena, &expectation));
    const char *hint = hint_for(parser, location, unexpected, &expectation);
    if (hint)
        diagnostics_note(parser->diagnostics, (struct span){0}, "%s", hint);
    note_open_bracket(parser, location, strcmp(unexpected, "the end of the text") == 0);
}

void net_report_depth(struct net_parser *parser, struct net_location location)
{
    if (!parser->too_deep)
        diagnostics_error(parser->diagnostics, E0105, net_span(parser, location), NULL,
                          "this nests more than %d levels deep; bind parts of it to names", AST_DEPTH_MAX);
    parser->too_deep = true;
    parser->recovering = true;
}
