/* Calls: what a callee is, binding of arguments to parameters, instances and their names, frames. */
#include "frontend/language/elaborate_internal.h"

#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { FRAMES_MAX = 100 };

void frame_free(struct frame *frame)
{
    hmfree(frame->bindings);
    hmfree(frame->instances);
    hmfree(frame->counters);
    hmfree(frame->declared);
}

/* ---- binding arguments ---- */

struct call_site {
    const struct definition *definition;
    const struct argument_value *arguments;
    int argument_count;
    const struct value *given; /* values of the first parameters, for rules */
    int given_count;
    const struct value *fallback; /* of an instance's first call, one a parameter; NULL */
    struct variable *variable;    /* parameter 0 is this variable (optimizers) */
    struct span span;
};

static int parameter_index(const struct ast_parameters *parameters, const char *name)
{
    for (int i = 0; i < parameters->count; i++)
        if (parameters->items[i].name == name || strcmp(parameters->items[i].name, name) == 0)
            return i;
    return -1;
}

/* "`linear` takes (x, n, bias?)": what the caller gives, those with a default marked. */
static void note_parameters(struct elaborator *e, const struct call_site *site)
{
    const struct ast_parameters *parameters = &site->definition->ast->parameters;
    const char *list = "";
    for (int i = site->given_count; i < parameters->count; i++)
        list = arena_printf(e->arena, "%s%s%s%s", list, *list ? ", " : "", parameters->items[i].name,
                            parameters->items[i].value ? "?" : "");
    diagnostics_note(e->diagnostics, (struct span){0}, "`%s` takes (%s)", site->definition->name, list);
}

static void report_unknown_argument(struct elaborator *e, const struct call_site *site,
                                    const struct argument_value *argument)
{
    const struct ast_parameters *parameters = &site->definition->ast->parameters;
    const char **names = ARENA_ARRAY(e->arena, const char *, parameters->count + 1);
    for (int i = 0; i < parameters->count; i++)
        names[i] = parameters->items[i].name;
    const char *near = suggest(argument->name, names, (size_t)parameters->count);
    report(e, E0305, argument->span, NULL, "`%s` has no parameter `%s`", site->definition->name, argument->name);
    if (near)
        diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    else
        note_parameters(e, site);
}

/* Distributes the arguments over the parameters: slots[i] is the argument of parameter i. */
static bool place_arguments(struct elaborator *e, const struct call_site *site, const struct argument_value **slots)
{
    const struct ast_parameters *parameters = &site->definition->ast->parameters;
    int next = site->given_count;
    if (next > parameters->count) {
        report(e, E0307, site->definition->ast->name.span, NULL,
               "`%s` is called with %s first: it needs a parameter for %s", site->definition->name,
               next > 1 ? "the parameter and its gradient" : "whether gradients overflowed", next > 1 ? "each" : "it");
        return false;
    }
    for (int i = 0; i < site->argument_count; i++) {
        const struct argument_value *argument = &site->arguments[i];
        int index = argument->name ? parameter_index(parameters, argument->name) : next++;
        if (argument->name && index < 0) {
            report_unknown_argument(e, site, argument);
            return false;
        }
        if (index >= parameters->count) {
            report(e, E0307, argument->span, NULL, "`%s` takes at most %d arguments", site->definition->name,
                   parameters->count - site->given_count);
            note_parameters(e, site);
            return false;
        }
        if (slots[index] || index < site->given_count) {
            report(e, E0307, argument->span, NULL, "`%s` gets `%s` twice", site->definition->name,
                   parameters->items[index].name);
            return false;
        }
        slots[index] = argument;
    }
    return true;
}

/* A parameter may have the name of a dimension that a type before it bound, if it is that size. */
static bool dimension_agrees(struct elaborator *e, const struct call_site *site, const char *name,
                             const struct value *value, struct span span)
{
    ptrdiff_t at = FIND(e->frame->bindings, name);
    const struct dimension *dimension = at < 0 ? NULL : e->frame->bindings[at].value.dimension;
    if (!dimension || (value->kind == VALUE_NUMBER && value->number == (double)dimension->size))
        return true;
    report(e, E0207, span, NULL, "`%s` of `%s` is %s, but the dimension of this name is %lld", name,
           site->definition->name, value_describe(e, value), (long long)dimension->size);
    return false;
}

/* Binds parameter i in the new frame, which is e->frame already. What the call gives and is known at compile time (a
 * layer's width) stays in values[i]: it is the instance's, for calls of its label that leave it out. Tensors are of
 * this call alone, and defaults are evaluated in each. */
static bool bind_parameter(struct elaborator *e, const struct call_site *site, int i,
                           const struct argument_value *argument, struct value *values)
{
    const struct ast_parameter *parameter = &site->definition->ast->parameters.items[i];
    bool from_caller = true;
    if (i < site->given_count)
        values[i] = site->given[i];
    else if (argument)
        values[i] = argument->value;
    else if (site->fallback && site->fallback[i].kind != VALUE_ERROR)
        values[i] = site->fallback[i];
    else if (parameter->value)
        values[i] = evaluate_expression(e, parameter->value), from_caller = false;
    else {
        struct frame *inner = e->frame;
        e->frame = inner->caller;
        report(e, E0306, site->span, NULL, "`%s` needs `%s`", site->definition->name, parameter->name);
        note_parameters(e, site);
        e->frame = inner;
        return false;
    }
    if (values[i].kind == VALUE_ERROR)
        return false;
    if (parameter->type) {
        struct span here = e->here;
        e->here = argument && from_caller ? argument->span : site->span;
        bool matches = match_type(e, parameter->type, parameter->name, &values[i]);
        e->here = here;
        if (!matches)
            return false;
    }
    if (!dimension_agrees(e, site, parameter->name, &values[i], argument ? argument->span : site->span))
        return false;
    hmputs(e->frame->bindings, ((struct binding){parameter->name, values[i], i == 0 ? site->variable : NULL}));
    if (!argument || value_is_computed(&values[i]))
        values[i] = (struct value){0};
    return true;
}

static bool bind_parameters(struct elaborator *e, const struct call_site *site, struct value *values)
{
    int count = site->definition->ast->parameters.count;
    const struct argument_value **slots = ARENA_ARRAY(e->arena, const struct argument_value *, count + 1);
    struct frame *inner = e->frame;
    e->frame = inner->caller;
    bool placed = place_arguments(e, site, slots);
    e->frame = inner;
    for (int i = 0; i < count && placed; i++)
        placed = bind_parameter(e, site, i, slots[i], values);
    return placed;
}

/* ---- running a definition's body ---- */

static bool enter_refused(struct elaborator *e, const struct definition *definition, struct span span)
{
    int frames = 0;
    if (e->calls++ >= CALLS_MAX) {
        if (e->calls == CALLS_MAX + 1)
            report(e, E0406, span, NULL, "more than %d calls of modules and functions", CALLS_MAX);
        return true;
    }
    for (const struct frame *frame = e->frame; frame; frame = frame->caller, frames++)
        if (frame->definition == definition) {
            report(e, E0403, span, NULL, "`%s` calls itself", definition->name);
            for (const struct frame *step = e->frame; step && step != frame; step = step->caller)
                diagnostics_note(e->diagnostics, (struct span){0}, "by way of `%s`", step->definition->name);
            return true;
        }
    if (frames < FRAMES_MAX)
        return false;
    report(e, E0407, span, NULL, "calls are nested too deeply");
    return true;
}

static struct value run_body(struct elaborator *e, const struct call_site *site, struct frame *frame,
                             struct value *values)
{
    struct frame *caller = e->frame;
    const char *scope = e->builder.scope;
    frame->caller = caller;
    frame->definition = site->definition;
    frame->prelude = site->definition->prelude;
    frame->callee = caller ? caller->callee : NULL;
    e->frame = frame;
    e->builder.scope = frame->scope;
    struct value result = {0};
    int errors = diagnostics_errors(e->diagnostics);
    if (bind_parameters(e, site, values)) {
        execute(e, site->definition->ast->body);
        result = frame->result;
        bool quiet = diagnostics_errors(e->diagnostics) == errors;
        bool wants = site->definition->ast->kind != AST_OPTIMIZER;
        if (!frame->returned && quiet && wants)
            report(e, E0409, site->definition->ast->name.span, NULL, "`%s` returns nothing", site->definition->name);
    }
    e->frame = caller;
    e->builder.scope = scope;
    frame_free(frame);
    return result;
}

/* "linear" -> 1, 2, … in this frame. */
static int count_call(struct elaborator *e, const char *key)
{
    ptrdiff_t at = FIND(e->frame->counters, key);
    if (at < 0) {
        hmput(e->frame->counters, key, 0);
        at = FIND(e->frame->counters, key);
    }
    return ++e->frame->counters[at].value;
}

static const char *join_path(struct elaborator *e, const char *path, const char *name)
{
    return *path ? arena_internf(e->arena, "%s.%s", path, name) : arena_intern(e->arena, name);
}

static struct value call_function(struct elaborator *e, const struct call_site *site)
{
    if (enter_refused(e, site->definition, site->span))
        return (struct value){0};
    const char *name = site->definition->name;
    struct frame frame = {.path = "", .prefix = "", .gate = GATE_ALL};
    frame.value_path = "";
    if (e->frame) {
        int number = count_call(e, name);
        frame.path = e->frame->path;
        frame.gate = e->frame->gate;
        frame.value_path = arena_internf(e->arena, "%s%s%s%s%d", e->frame->value_path, *e->frame->value_path ? "." : "",
                                         e->frame->prefix, name, number);
    }
    frame.scope = scope_enter(e->arena, e->builder.scope, NULL, name);
    struct value *values = ARENA_ARRAY(e->arena, struct value, site->definition->ast->parameters.count + 1);
    return run_body(e, site, &frame, values);
}

/* ---- instances ---- */

/* The label of a call: as written, or numbered; with the prefix of the labelled repeat around it. */
static const char *instance_label(struct elaborator *e, const char *written, const char *callee)
{
    const char *prefix = e->frame->prefix;
    if (written)
        return arena_internf(e->arena, "%s%s", prefix, written);
    if (e->frame->single)
        return arena_intern_length(e->arena, prefix, strlen(prefix) - 1);
    const char *key = arena_internf(e->arena, "%s%s", prefix, callee);
    return arena_internf(e->arena, "%s%d", key, count_call(e, key));
}

static struct value call_instance(struct elaborator *e, struct call_site *site, const char *label, const void *place)
{
    if (enter_refused(e, site->definition, site->span))
        return (struct value){0};
    if (!e->frame || !e->frame->owns)
        return report(e, E0408, site->span, NULL,
                      "`%s` is a module; only the model and modules may hold instances of it", site->definition->name);
    ptrdiff_t known = FIND(e->frame->instances, label);
    if (known >= 0 && e->frame->instances[known].site != place) {
        struct value error = report(e, E0303, site->span, NULL, "the label `%s` is taken", label);
        if (e->frame->instances[known].definition)
            diagnostics_note(e->diagnostics, e->frame->instances[known].span,
                             "it is the label of this `%s`; call it by its label to use its weights again",
                             e->frame->instances[known].definition->name);
        return error;
    }
    struct value *values = ARENA_ARRAY(e->arena, struct value, site->definition->ast->parameters.count + 1);
    if (known < 0)
        hmputs(e->frame->instances, ((struct instance){label, place, site->definition, values, site->span}));
    struct frame frame = {.owns = true, .prefix = "", .gate = e->frame->gate};
    frame.path = frame.value_path = join_path(e, e->frame->path, label);
    frame.owner = arena_internf(e->arena, "%s/%s", e->frame->owner ? e->frame->owner : "", label);
    frame.scope = scope_enter(e->arena, e->builder.scope, label, site->definition->name);
    return run_body(e, site, &frame, values);
}

/* ---- what is called ---- */

static ptrdiff_t find_label(struct elaborator *e, const char *name)
{
    if (!e->frame)
        return -1;
    ptrdiff_t at = -1;
    if (*e->frame->prefix)
        at = FIND(e->frame->instances, arena_internf(e->arena, "%s%s", e->frame->prefix, name));
    return at >= 0 ? at : FIND(e->frame->instances, name);
}

static struct value report_unknown_callee(struct elaborator *e, const struct ast_call *call)
{
    struct value value;
    if (lookup(e, call->callee, &value))
        return report(e, E0308, call->callee_span, NULL, "`%s` is %s, nothing to be called", call->callee,
                      value_describe(e, &value));
    const char **names = NULL;
    for (int i = 0; builtin_at(i); i++)
        arrput(names, builtin_at(i)->name);
    for (ptrdiff_t i = 0; i < hmlen(e->unit->own); i++)
        arrput(names, e->unit->own[i].key);
    for (ptrdiff_t i = 0; i < hmlen(e->unit->prelude); i++)
        arrput(names, e->unit->prelude[i].key);
    for (ptrdiff_t i = 0; e->frame && i < hmlen(e->frame->instances); i++)
        arrput(names, e->frame->instances[i].key);
    const char *near = suggest(call->callee, names, (size_t)arrlen(names));
    value = report(e, E0301, call->callee_span, NULL, "there is no module, function or label `%s`", call->callee);
    if (near)
        diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    arrfree(names);
    return value;
}

static struct value call_definition(struct elaborator *e, struct call_site *site,
                                    const struct ast_expression *expression)
{
    const struct ast_call *call = &expression->call;
    if (site->definition->ast->kind == AST_MODULE) {
        if (!e->frame || !e->frame->owns)
            return call_instance(e, site, call->callee, NULL);
        const char *label = instance_label(e, call->label, call->callee);
        return call_instance(e, site, label, call->label ? (const void *)expression : (const void *)site->arguments);
    }
    if (site->definition->ast->kind != AST_FUNCTION)
        return report(e, E0308, call->callee_span, NULL, "`%s` is %s; it stands in the train block", call->callee,
                      site->definition->ast->kind == AST_OPTIMIZER ? "an optimizer" : "a scale rule");
    if (call->label)
        return report(e, E0303, call->label_span, NULL, "`%s` is a function: it has no weights to be labelled",
                      call->callee);
    return call_function(e, site);
}

static struct value call_resolved(struct elaborator *e, const struct ast_expression *expression,
                                  const struct argument_value *arguments, int count)
{
    const struct ast_call *call = &expression->call;
    const struct definition *definition = unit_find(e->unit, call->callee, e->frame && e->frame->prelude);
    struct call_site site = {.definition = definition, .arguments = arguments, .argument_count = count};
    site.span = expression->span;
    ptrdiff_t at = find_label(e, call->callee);
    const struct builtin *builtin = builtin_find(call->callee);
    if (at >= 0 && (definition || builtin)) {
        struct value error =
            report(e, E0304, call->callee_span, NULL, "`%s` is a label here and a %s too: which is meant?",
                   call->callee, definition && definition->ast->kind == AST_MODULE ? "module" : "function");
        diagnostics_note(e->diagnostics, e->frame->instances[at].span, "labelled here; another label would be clear");
        return error;
    }
    if (at >= 0) {
        const struct instance *instance = &e->frame->instances[at];
        if (!instance->definition)
            return (struct value){0};
        if (call->label)
            return report(e, E0303, call->label_span, NULL, "`%s` is a label: its instance cannot have another",
                          call->callee);
        site.definition = instance->definition;
        site.fallback = instance->arguments;
        return call_instance(e, &site, instance->key, instance->site);
    }
    if (definition)
        return call_definition(e, &site, expression);
    if (!builtin)
        return report_unknown_callee(e, call);
    if (call->label)
        return report(e, E0303, call->label_span, NULL, "`%s` is a function: it has no weights to be labelled",
                      call->callee);
    return builtin_invoke(e, builtin, arguments, count, expression->span);
}

/* A call whose arguments are in error is not made; its callee is looked at all the same, and its label is known. */
static struct value call_spoilt(struct elaborator *e, const struct ast_expression *expression)
{
    const struct ast_call *call = &expression->call;
    bool known = find_label(e, call->callee) >= 0 || builtin_find(call->callee) ||
                 unit_find(e->unit, call->callee, e->frame && e->frame->prelude);
    if (!known)
        report_unknown_callee(e, call);
    if (call->label && e->frame && e->frame->owns) {
        struct instance spoilt = {.key = instance_label(e, call->label, call->callee), .site = expression};
        if (FIND(e->frame->instances, spoilt.key) < 0)
            hmputs(e->frame->instances, spoilt);
    }
    return (struct value){0};
}

struct value evaluate_call(struct elaborator *e, const struct ast_expression *expression)
{
    const struct ast_call *call = &expression->call;
    int count = call->arguments.count;
    struct argument_value *arguments = ARENA_ARRAY(e->arena, struct argument_value, count + 1);
    bool complete = true;
    for (int i = 0; i < count; i++) {
        const struct ast_argument *argument = &call->arguments.items[i];
        arguments[i] = (struct argument_value){argument->name, argument->span, evaluate_expression(e, argument->value)};
        complete &= arguments[i].value.kind != VALUE_ERROR;
    }
    if (!complete)
        return call_spoilt(e, expression);
    if (e->frame && !e->frame->prelude)
        e->frame->callee = arena_internf(e->arena, "`%s`", call->callee);
    if (!e->frame || !e->frame->prelude)
        e->builder.span = call->piped ? call->callee_span : expression->span;
    return call_resolved(e, expression, arguments, count);
}

struct value call_rule(struct elaborator *e, const struct definition *definition, const struct value *first, int given,
                       struct variable *parameter, const struct argument_value *arguments, int argument_count,
                       struct frame *frame, struct span span)
{
    struct call_site site = {.definition = definition,
                             .arguments = arguments,
                             .argument_count = argument_count,
                             .given = first,
                             .given_count = given,
                             .variable = parameter,
                             .span = span};
    struct value *values = ARENA_ARRAY(e->arena, struct value, definition->ast->parameters.count + 1);
    return run_body(e, &site, frame, values);
}
