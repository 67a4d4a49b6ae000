/* A data line: a source and the stages piped after it, checked against the tables below and given as plain data. */
#include "frontend/language/elaborate_internal.h"

#include <math.h>
#include <string.h>

/* The kinds of an argument: a number, a number or a list of them, a string, `bytes` or `characters`. */
enum parameter_kind { PARAMETER_NUMBER, PARAMETER_NUMBERS, PARAMETER_STRING, PARAMETER_TOKENS };

struct parameter {
    const char *name;
    enum parameter_kind kind;
    bool optional;
};

enum { CALL_PARAMETERS = 5 };

/* What else a call takes: any name bound to a distribution, or to the name of a field. */
enum extra { EXTRA_NONE, EXTRA_DISTRIBUTIONS, EXTRA_FIELDS };

struct signature {
    const char *name;
    struct parameter parameters[CALL_PARAMETERS];
    enum extra extra;
};

static const struct signature sources[] = {
    {"idx", {{"path", PARAMETER_STRING, false}}, EXTRA_NONE},
    {"csv",
     {{"path", PARAMETER_STRING, false}, {"label", PARAMETER_STRING, true}, {"test", PARAMETER_NUMBER, true}},
     EXTRA_NONE},
    {"npz", {{"path", PARAMETER_STRING, false}, {"test", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"npy", {{"path", PARAMETER_STRING, false}, {"test", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"safetensors", {{"path", PARAMETER_STRING, false}, {"test", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"synthetic", {{"examples", PARAMETER_NUMBER, false}, {"test", PARAMETER_NUMBER, true}}, EXTRA_DISTRIBUTIONS},
    {"images", {{"path", PARAMETER_STRING, false}, {"test", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"text",
     {{"path", PARAMETER_STRING, false},
      {"window", PARAMETER_NUMBER, false},
      {"tokens", PARAMETER_TOKENS, true},
      {"stride", PARAMETER_NUMBER, true},
      {"test", PARAMETER_NUMBER, true}},
     EXTRA_NONE},
    {"command",
     {{"command", PARAMETER_STRING, false}, {"examples", PARAMETER_NUMBER, true}, {"test", PARAMETER_NUMBER, true}},
     EXTRA_NONE},
    {0}};

static const struct signature stages[] = {
    {"rename", {{0}}, EXTRA_FIELDS},
    {"random_crop", {{"pad", PARAMETER_NUMBER, false}}, EXTRA_NONE},
    {"random_flip", {{0}}, EXTRA_NONE},
    {"cutout", {{"size", PARAMETER_NUMBER, false}}, EXTRA_NONE},
    {"mixup", {{"alpha", PARAMETER_NUMBER, false}}, EXTRA_NONE},
    {"normalize", {{"mean", PARAMETER_NUMBERS, false}, {"std", PARAMETER_NUMBERS, false}}, EXTRA_NONE},
    {0}};

static const struct signature distributions[] = {
    {"uniform", {{"a", PARAMETER_NUMBER, true}, {"b", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"normal", {{"mean", PARAMETER_NUMBER, true}, {"std", PARAMETER_NUMBER, true}}, EXTRA_NONE},
    {"classes", {{0}}, EXTRA_NONE},
    {0}};

static const struct signature *find_signature(struct elaborator *e, const struct signature *table, const char *what,
                                              const char *name, struct span span)
{
    const char *names[16], *all = "";
    size_t count = 0;
    for (const struct signature *row = table; row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
        names[count++] = row->name;
        all = arena_printf(e->arena, "%s%s%s", all, *all ? ", " : "", row->name);
    }
    const char *near = suggest(name, names, count);
    report(e, E0508, span, NULL, "there is no %s `%s`; there are %s", what, name, all);
    if (near)
        diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    return NULL;
}

static const struct parameter *find_parameter(const struct signature *signature, const char *name)
{
    for (int i = 0; i < CALL_PARAMETERS && signature->parameters[i].name; i++)
        if (strcmp(signature->parameters[i].name, name) == 0)
            return &signature->parameters[i];
    return NULL;
}

static bool read_call(struct elaborator *e, const struct ast_expression *expression, const struct signature *signature,
                      int first, struct setting_call *call);

static bool read_numbers(struct elaborator *e, const struct value *value, struct setting_argument *argument)
{
    double *numbers = ARENA_ARRAY(e->arena, double, value->count + 1);
    for (int i = 0; i < value->count; i++)
        if (!want_number(e, &value->items[i], argument->span, argument->name, &numbers[i]))
            return false;
    argument->kind = SETTING_NUMBERS;
    argument->numbers = numbers;
    argument->count = value->count;
    return true;
}

/* `tokens = characters` */
static bool read_tokens(struct elaborator *e, const struct ast_argument *ast, struct setting_argument *argument)
{
    const char *word = ast->value->kind == AST_NAME ? ast->value->name : "";
    argument->kind = SETTING_STRING;
    argument->text = word;
    if (strcmp(word, "bytes") == 0 || strcmp(word, "characters") == 0)
        return true;
    report(e, E0503, ast->span, NULL, "tokens are `bytes` or `characters`");
    return false;
}

static bool read_value(struct elaborator *e, const struct ast_argument *ast, const struct parameter *parameter,
                       struct setting_argument *argument)
{
    if (parameter->kind == PARAMETER_TOKENS)
        return read_tokens(e, ast, argument);
    int errors = diagnostics_errors(e->diagnostics);
    struct value value = evaluate_expression(e, ast->value);
    if (value.kind == VALUE_ERROR && diagnostics_errors(e->diagnostics) == errors) /* only the step knows it */
        report(e, E0401, ast->span, NULL, "`%s` must be known at compile time", parameter->name);
    if (parameter->kind == PARAMETER_STRING && value.kind == VALUE_STRING) {
        argument->kind = SETTING_STRING;
        argument->text = value.text;
        return true;
    }
    if (parameter->kind == PARAMETER_NUMBERS && value.kind == VALUE_LIST)
        return read_numbers(e, &value, argument);
    if (parameter->kind == PARAMETER_STRING) {
        if (value.kind != VALUE_ERROR)
            report(e, E0503, ast->span, NULL, "`%s` must be a string, not %s", parameter->name,
                   value_describe(e, &value));
        return false;
    }
    argument->kind = SETTING_NUMBER;
    return want_number(e, &value, ast->span, parameter->name, &argument->number);
}

static double argument_number(const struct setting_call *call, const char *name, double usual)
{
    for (int i = 0; i < call->argument_count; i++)
        if (strcmp(call->arguments[i].name, name) == 0)
            return call->arguments[i].number;
    return usual;
}

static bool check_distribution(struct elaborator *e, const struct setting_call *drawn)
{
    double low = argument_number(drawn, "a", 0), high = argument_number(drawn, "b", 1);
    double mean = argument_number(drawn, "mean", 0), deviation = argument_number(drawn, "std", 1);
    if (isfinite(low) && isfinite(high) && isfinite(mean) && isfinite(deviation) && low <= high && deviation >= 0)
        return true;
    report(e, E0503, drawn->span, NULL, "%s needs finite numbers, %s", drawn->name,
           strcmp(drawn->name, "normal") == 0 ? "and a deviation of at least 0" : "the first not above the second");
    return false;
}

/* `image = normal(0, 1)` or `label = classes`. */
static bool read_distribution(struct elaborator *e, const struct ast_argument *ast, struct setting_argument *argument)
{
    bool call = ast->value->kind == AST_CALL;
    if (!call && ast->value->kind != AST_NAME) {
        report(e, E0503, ast->span, NULL, "field `%s` needs a distribution: uniform, normal or classes", ast->name);
        return false;
    }
    const char *name = call ? ast->value->call.callee : ast->value->name;
    const struct signature *signature = find_signature(e, distributions, "distribution", name, ast->value->span);
    struct setting_call *drawn = ARENA_NEW(e->arena, struct setting_call);
    argument->kind = SETTING_CALL;
    argument->call = drawn;
    return signature && read_call(e, ast->value, signature, 0, drawn) && check_distribution(e, drawn);
}

/* `x = features`: the field's name as a word or a string. */
static bool read_field(struct elaborator *e, const struct ast_argument *ast, struct setting_argument *argument)
{
    argument->kind = SETTING_STRING;
    argument->text = ast->value->kind == AST_NAME     ? ast->value->name
                     : ast->value->kind == AST_STRING ? ast->value->string
                                                      : NULL;
    if (!argument->text)
        report(e, E0503, ast->span, NULL, "rename needs the name of a field: rename(new = old)");
    return argument->text != NULL;
}

static bool read_argument(struct elaborator *e, const struct signature *signature, const struct ast_argument *ast,
                          int position, struct setting_argument *argument)
{
    const char *name = ast->name;
    if (!name && position < CALL_PARAMETERS)
        name = signature->parameters[position].name;
    *argument = (struct setting_argument){.name = name, .span = ast->span};
    const struct parameter *parameter = name ? find_parameter(signature, name) : NULL;
    if (parameter)
        return read_value(e, ast, parameter, argument);
    if (ast->name && signature->extra == EXTRA_DISTRIBUTIONS)
        return read_distribution(e, ast, argument);
    if (ast->name && signature->extra == EXTRA_FIELDS)
        return read_field(e, ast, argument);
    if (name)
        report(e, E0305, ast->span, NULL, "`%s` has no parameter `%s`", signature->name, name);
    else
        report(e, E0307, ast->span, NULL, "`%s` gets too many arguments", signature->name);
    return false;
}

static bool has_argument(const struct setting_call *call, const char *name)
{
    for (int i = 0; i < call->argument_count; i++)
        if (strcmp(call->arguments[i].name, name) == 0)
            return true;
    return false;
}

/* Reads the arguments from `first` on (a stage's argument 0 is what is piped into it). */
static bool read_call(struct elaborator *e, const struct ast_expression *expression, const struct signature *signature,
                      int first, struct setting_call *call)
{
    int count = expression->kind == AST_CALL ? expression->call.arguments.count : 0;
    struct setting_argument *arguments = ARENA_ARRAY(e->arena, struct setting_argument, count + 1);
    *call = (struct setting_call){.name = signature->name, .arguments = arguments, .span = expression->span};
    for (int i = first; i < count; i++) {
        const struct ast_argument *ast = &expression->call.arguments.items[i];
        if (!read_argument(e, signature, ast, i - first, &arguments[call->argument_count]))
            return false;
        if (has_argument(call, arguments[call->argument_count].name)) {
            report(e, E0307, ast->span, NULL, "`%s` gets `%s` twice", signature->name,
                   arguments[call->argument_count].name);
            return false;
        }
        call->argument_count++;
    }
    for (int i = 0; i < CALL_PARAMETERS && signature->parameters[i].name; i++)
        if (!signature->parameters[i].optional && !has_argument(call, signature->parameters[i].name)) {
            report(e, E0306, expression->span, NULL, "`%s` needs `%s`", signature->name, signature->parameters[i].name);
            return false;
        }
    return true;
}

static bool is_count(double value, double least)
{
    return value >= least && value <= 1e12 && value == (double)(int64_t)value;
}

/* Ranges that the loader relies on. */
static bool check_source(struct elaborator *e, const struct setting_call *source)
{
    bool synthetic = strcmp(source->name, "synthetic") == 0;
    double test = argument_number(source, "test", 0);
    if (!is_count(argument_number(source, "examples", 1), 1) || (synthetic && !is_count(test, 0))) {
        report(e, E0503, source->span, NULL, "%s needs whole numbers of examples, at least one", source->name);
        return false;
    }
    if (!synthetic && (test < 0 || test >= 1)) {
        report(e, E0503, source->span, NULL, "`test` is a share of the examples: at least 0 and below 1");
        return false;
    }
    if (is_count(argument_number(source, "window", 1), 1) && is_count(argument_number(source, "stride", 1), 1))
        return true;
    report(e, E0503, source->span, NULL, "text needs whole numbers of tokens, at least one");
    return false;
}

/* One value or a list of them: how many. */
static int argument_values(const struct setting_call *call, const char *name, const double **values)
{
    for (int i = 0; i < call->argument_count; i++) {
        const struct setting_argument *argument = &call->arguments[i];
        if (strcmp(argument->name, name) != 0)
            continue;
        *values = argument->kind == SETTING_NUMBERS ? argument->numbers : &argument->number;
        return argument->kind == SETTING_NUMBERS ? argument->count : 1;
    }
    return 0;
}

/* One value stands for all channels, beside a list too. Pixels are multiplied with 1 / std in f32. */
static bool check_normalize(struct elaborator *e, const struct setting_call *stage)
{
    const double *means = NULL, *deviations = NULL;
    int mean_count = argument_values(stage, "mean", &means), count = argument_values(stage, "std", &deviations);
    if (!mean_count || !count || (mean_count != count && mean_count != 1 && count != 1)) {
        report(e, E0503, stage->span, NULL,
               "normalize has %d means and %d deviations: it needs one of each, or one a channel", mean_count, count);
        return false;
    }
    bool good = true;
    for (int i = 0; i < mean_count; i++)
        good &= isfinite((float)means[i]);
    for (int i = 0; i < count; i++)
        good &= deviations[i] > 0 && isfinite((float)(1 / deviations[i]));
    if (!good)
        report(e, E0503, stage->span, NULL, "normalize needs finite means and deviations above 0");
    return good;
}

static bool check_stage(struct elaborator *e, const struct setting_call *stage)
{
    if (strcmp(stage->name, "normalize") == 0)
        return check_normalize(e, stage);
    double pixels = argument_number(stage, "pad", argument_number(stage, "size", 1));
    double alpha = argument_number(stage, "alpha", 1);
    if (!is_count(pixels, 0) || pixels > 1e6) {
        report(e, E0503, stage->span, NULL, "%s needs a whole number of pixels", stage->name);
        return false;
    }
    if (alpha > 0 && alpha <= 1e6)
        return true;
    report(e, E0503, stage->span, NULL, "mixup needs an alpha above 0");
    return false;
}

/* Examples are mixed once. */
static bool check_stages(struct elaborator *e, const struct data_line *line)
{
    int mixups = 0;
    for (int i = 0; i < line->stage_count; i++)
        if (strcmp(line->stages[i].name, "mixup") == 0 && mixups++) {
            report(e, E0503, line->stages[i].span, NULL, "a data line has one mixup");
            return false;
        }
    return true;
}

static bool is_function(struct elaborator *e, const struct ast_expression *stage)
{
    for (const struct signature *row = stages; row->name; row++)
        if (strcmp(row->name, stage->call.callee) == 0)
            return false;
    const struct definition *definition = unit_find(e->unit, stage->call.callee, false);
    return definition && definition->ast->kind == AST_FUNCTION;
}

/* A stage of the loader, or a function, which runs in the network and so behind all of them. */
static bool read_stage(struct elaborator *e, const struct ast_expression *stage, struct data_line *line,
                       struct setting_call *call)
{
    if (is_function(e, stage)) {
        line->functions[line->function_count++] = stage;
        return true;
    }
    const struct signature *signature =
        find_signature(e, stages, "data stage or function", stage->call.callee, stage->call.callee_span);
    if (!signature || !read_call(e, stage, signature, 1, call) || !check_stage(e, call))
        return false;
    line->stage_count++;
    if (!line->function_count)
        return true;
    report(e, E0503, stage->span, NULL,
           "`%s` stands behind the function `%s`, which runs in the network, where the "
           "loader's work is done",
           stage->call.callee, line->functions[0]->call.callee);
    return false;
}

bool settings_data(struct elaborator *e, const struct ast_expression *expression, struct data_line *line)
{
    const struct ast_expression *source = expression, *written[AST_DEPTH_MAX];
    int count = 0; /* of stages, the last one first */
    for (; source->kind == AST_CALL && source->call.piped; source = source->call.arguments.items[0].value)
        written[count++] = source;
    struct setting_call *list = ARENA_ARRAY(e->arena, struct setting_call, count + 1);
    line->stages = list;
    line->functions = ARENA_ARRAY(e->arena, const struct ast_expression *, count + 1);
    for (int i = count - 1; i >= 0; i--)
        if (!read_stage(e, written[i], line, &list[line->stage_count]))
            return false;
    if (source->kind != AST_CALL) {
        report(e, E0503, source->span, NULL, "data needs a source such as idx(\"folder\")");
        return false;
    }
    const struct signature *signature =
        find_signature(e, sources, "data source", source->call.callee, source->call.callee_span);
    return signature && read_call(e, source, signature, 0, &line->source) && check_source(e, &line->source) &&
           check_stages(e, line);
}
