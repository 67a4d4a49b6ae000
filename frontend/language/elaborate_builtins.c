/* The table of built-in functions, and the binding of their arguments. */
#include "frontend/language/elaborate_internal.h"

#include "ir/scope.h"

#include <string.h>

static const struct builtin builtins[] = {
    {"abs", "x", builtin_unary, OP_abs},
    {"sign", "x", builtin_unary, OP_sign},
    {"floor", "x", builtin_unary, OP_floor},
    {"ceil", "x", builtin_unary, OP_ceil},
    {"round", "x", builtin_unary, OP_round},
    {"sqrt", "x", builtin_unary, OP_sqrt},
    {"rsqrt", "x", builtin_unary, OP_rsqrt},
    {"exp", "x", builtin_unary, OP_exp},
    {"expm1", "x", builtin_unary, OP_expm1},
    {"log", "x", builtin_unary, OP_log},
    {"log1p", "x", builtin_unary, OP_log1p},
    {"sin", "x", builtin_unary, OP_sin},
    {"cos", "x", builtin_unary, OP_cos},
    {"tanh", "x", builtin_unary, OP_tanh},
    {"sigmoid", "x", builtin_unary, OP_sigmoid},
    {"erf", "x", builtin_unary, OP_erf},
    {"isfinite", "x", builtin_unary, OP_isfinite},
    {"stop_gradient", "x", builtin_unary, OP_stop_gradient},
    {"max", "x other? axis?", builtin_minmax, OP_max},
    {"min", "x other? axis?", builtin_minmax, OP_min},
    {"sum", "x axis?", builtin_reduce, OP_sum},
    {"prod", "x axis?", builtin_reduce, OP_prod},
    {"any", "x axis?", builtin_reduce, OP_reduce_max},
    {"all", "x axis?", builtin_reduce, OP_reduce_min},
    {"mean", "x axis?", builtin_mean, 0},
    {"var", "x axis? correction?", builtin_var, 0},
    {"argmax", "x axis?", builtin_arg, OP_argmax},
    {"argmin", "x axis?", builtin_arg, OP_argmin},
    {"cumsum", "x axis?", builtin_cumsum, 0},
    {"reshape", "x shape", builtin_reshape, 0},
    {"flatten", "x from?", builtin_flatten, 0},
    {"permute", "x axes", builtin_permute, 0},
    {"squeeze", "x axis?", builtin_squeeze, 0},
    {"unsqueeze", "x axis", builtin_unsqueeze, 0},
    {"concat", "x.. axis?", builtin_concat, 0},
    {"stack", "x.. axis?", builtin_stack, 0},
    {"split", "x n axis?", builtin_split, 0},
    {"pad", "x amount axis? value?", builtin_pad, 0},
    {"flip", "x axis", builtin_flip, 0},
    {"tile", "x counts", builtin_tile, 0},
    {"along", "x like axis?", builtin_along, 0},
    {"range", "n", builtin_range, 0},
    {"zeros", "shape?", builtin_full, 0},
    {"ones", "shape?", builtin_full, 1},
    {"full", "shape value", builtin_full, 2},
    {"zeros_like", "x", builtin_full_like, 0},
    {"ones_like", "x", builtin_full_like, 1},
    {"tri", "n", builtin_tri, 0},
    {"suppressed", "pairs", builtin_suppressed, 0},
    {"gather", "table index axis?", builtin_gather, 0},
    {"scatter_add", "table index updates axis?", builtin_scatter_add, 0},
    {"one_hot", "index n? axis?", builtin_one_hot, 0},
    {"where", "condition a b", builtin_where, 0},
    {"window", "x kernel stride? pad? dilation? value?", builtin_window, 0},
    {"convolve", "x weight stride? pad? dilation? groups?", builtin_convolve, 0},
    {"convolve_transposed", "x weight stride? pad? dilation? groups? output_pad?", builtin_convolve_transposed, 0},
    {"cast", "x type", builtin_cast, 0},
    {"grad", "y x", builtin_grad, 0},
    {"uniform", "low? high? shape?", builtin_uniform, 0},
    {"normal", "mean? std? shape?", builtin_normal, 0},
    {"bernoulli", "p shape?", builtin_bernoulli, 0},
    {"shape", "x", builtin_shape, 0},
    {"size", "x axis", builtin_size, 0},
    {"rank", "x", builtin_rank, 0},
    {"axes", "x except?", builtin_axes, 0},
    {"count", "x axis?", builtin_count, 0},
    {"pair", "x", builtin_pair, 0},
    {"quotient", "a b", builtin_whole, 0},
    {"remainder", "a b", builtin_whole, 1},
    {"fan_in", "", builtin_fan, 1},
    {"fan_out", "", builtin_fan, 0},
    {"require", "x condition message", builtin_require, 0},
    {"ratio", "a b", builtin_ratio, 0},
    {"total", "x", builtin_total, 0},
};

const struct builtin *builtin_at(int index)
{
    return (size_t)index < sizeof builtins / sizeof *builtins ? &builtins[index] : NULL;
}

const struct builtin *builtin_find(const char *name)
{
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

/* ---- binding ---- */

/* Word `index` of the parameters: its length (0 past the last), and whether it is optional. */
static size_t parameter_word(const char *parameters, int index, const char **word, bool *optional)
{
    for (; index > 0 && *parameters; index--) {
        parameters += strcspn(parameters, " ");
        parameters += *parameters == ' ';
    }
    *word = parameters;
    size_t length = strcspn(parameters, "? .");
    *optional = parameters[length] == '?' || parameters[length] == '.';
    return length;
}

static int parameter_find(const char *parameters, const char *name)
{
    const char *word;
    bool optional;
    size_t length;
    for (int i = 0; (length = parameter_word(parameters, i, &word, &optional)); i++)
        if (strlen(name) == length && strncmp(word, name, length) == 0)
            return i;
    return -1;
}

static bool takes_all(const struct builtin *builtin)
{
    const char *dots = strstr(builtin->parameters, "..");
    return dots && (size_t)(dots - builtin->parameters) < strcspn(builtin->parameters, " ");
}

static bool place_argument(struct builtin_call *call, const struct argument_value *argument, int *next)
{
    const char *word;
    bool optional;
    int index = argument->name ? parameter_find(call->builtin->parameters, argument->name) : (*next)++;
    if (index < 0) {
        report(call->e, E0305, argument->span, NULL, "`%s` has no parameter `%s`; it takes (%s)", call->builtin->name,
               argument->name, call->builtin->parameters);
        return false;
    }
    if (!parameter_word(call->builtin->parameters, index, &word, &optional) || call->given[index]) {
        report(call->e, E0307, argument->span, NULL, "`%s` gets too many arguments; it takes (%s)", call->builtin->name,
               call->builtin->parameters);
        return false;
    }
    call->values[index] = argument->value;
    call->spans[index] = argument->span;
    call->given[index] = true;
    return true;
}

static bool place_arguments(struct builtin_call *call, const struct argument_value *arguments, int count)
{
    int next = 0;
    bool all = takes_all(call->builtin);
    struct value *rest = all ? ARENA_ARRAY(call->e->arena, struct value, count + 1) : NULL;
    for (int i = 0; i < count; i++) {
        if (all && !arguments[i].name)
            rest[call->rest_count++] = arguments[i].value;
        else if (!place_argument(call, &arguments[i], &next))
            return false;
    }
    call->rest = rest;
    const char *word;
    bool optional;
    size_t length;
    for (int i = 0; (length = parameter_word(call->builtin->parameters, i, &word, &optional)); i++)
        if (!optional && !call->given[i]) {
            report(call->e, E0306, call->span, NULL, "`%s` needs `%.*s`", call->builtin->name, (int)length, word);
            return false;
        }
    return true;
}

/* Built-ins that policies speak of as one operator have a scope of their own, as prelude functions do. */
bool builtin_has_scope(const struct builtin *builtin)
{
    return builtin->function == builtin_mean || builtin->function == builtin_var ||
           builtin->function == builtin_one_hot;
}

struct value builtin_invoke(struct elaborator *e, const struct builtin *builtin, const struct argument_value *arguments,
                            int count, struct span span)
{
    struct builtin_call call = {.e = e, .builtin = builtin, .span = span};
    if (!place_arguments(&call, arguments, count))
        return (struct value){0};
    for (int i = 0; i < BUILTIN_PARAMETERS; i++)
        if (!call.given[i])
            call.spans[i] = span;
    const char *scope = e->builder.scope;
    if (builtin_has_scope(builtin))
        e->builder.scope = scope_enter(e->arena, scope, NULL, builtin->name);
    struct value value = builtin->function(&call);
    e->builder.scope = scope;
    return value;
}

/* ---- arguments of one kind ---- */

static bool axis_in_range(struct builtin_call *call, int index, int64_t given, int rank, int *axis)
{
    if (given < -rank || given >= rank) {
        report(call->e, E0209, call->spans[index], NULL, "`%s`: there is no axis %lld among %d", call->builtin->name,
               (long long)given, rank);
        return false;
    }
    *axis = (int)(given < 0 ? given + rank : given);
    return true;
}

bool argument_axis(struct builtin_call *call, int index, int rank, int fallback, int *axis)
{
    int64_t given = fallback;
    if (call->given[index] && !want_integer(call->e, &call->values[index], call->spans[index], "an axis", &given))
        return false;
    return axis_in_range(call, index, given, rank, axis);
}

bool argument_axes(struct builtin_call *call, int index, const struct value *x, uint32_t *mask, bool *all)
{
    const struct value *given = &call->values[index];
    int rank = x->node->type.shape.rank, axis;
    *all = !call->given[index] || (given->kind == VALUE_LIST && given->count == 0);
    *mask = *all ? (1u << rank) - 1 : 0;
    if (*all)
        return true;
    const struct value *items = given->kind == VALUE_LIST ? given->items : given;
    int count = given->kind == VALUE_LIST ? given->count : 1;
    for (int i = 0; i < count; i++) {
        int64_t number;
        if (!want_integer(call->e, &items[i], call->spans[index], "an axis", &number) ||
            !axis_in_range(call, index, number, rank, &axis))
            return false;
        if (*mask >> axis & 1) {
            report(call->e, E0209, call->spans[index], NULL, "`%s` is given axis %d twice", call->builtin->name, axis);
            return false;
        }
        *mask |= 1u << axis;
    }
    return true;
}

bool argument_pair(struct builtin_call *call, int index, int64_t fallback, int64_t pair[2])
{
    const struct value *given = &call->values[index];
    pair[0] = pair[1] = fallback;
    if (!call->given[index])
        return true;
    if (given->kind == VALUE_LIST && given->count == 2)
        return want_size(call->e, &given->items[0], call->spans[index], "a size", &pair[0]) &&
               want_size(call->e, &given->items[1], call->spans[index], "a size", &pair[1]);
    if (!want_size(call->e, given, call->spans[index], "a size", &pair[0]))
        return false;
    pair[1] = pair[0];
    return true;
}
