/* The update of a training step: gradients of the minimised loss, clipping, optimizers, the step counter.
 *
 * Per parameter the graph gets unscale_k(grad(loss, read p, scale_seed(k))), clipping after that, and the optimizer's
 * body with the writes of line k. What the line's expressions name is looked up in the model's frame, with step, steps,
 * epoch and the bindings of the train block laid over it. */
#include "frontend/language/elaborate_internal.h"

#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <string.h>

/* One minimize line being elaborated. */
struct line {
    struct elaborator *e;
    const struct ast_statement *statement;
    int number; /* from 1 */
    struct value loss;
    struct variable **parameters; /* stb_ds array */
    struct node **gradients;      /* stb_ds array, one a parameter */
    const struct definition *optimizer;
    struct argument_value *arguments; /* named, of the optimizer's call */
    int argument_count;
    struct value step;
};

static const struct ast_statement *find_entry(const struct unit *unit, const char *word)
{
    for (ptrdiff_t i = 0; i < arrlen(unit->entries); i++)
        if (unit->entries[i]->kind == AST_SETTING && strcmp(unit->entries[i]->setting.word.name, word) == 0)
            return unit->entries[i];
    return NULL;
}

/* ---- which parameters ---- */

static void freeze(struct elaborator *e)
{
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        const struct ast_statement *entry = e->unit->entries[i];
        if (entry->kind != AST_SETTING || strcmp(entry->setting.word.name, "freeze") != 0)
            continue;
        bool matched = false;
        for (ptrdiff_t k = 0; k < arrlen(e->module->variables); k++) {
            struct variable *variable = e->module->variables[k];
            if (variable->kind == VARIABLE_PARAMETER && override_matches(e, &entry->setting.values, variable))
                variable->frozen = matched = true;
        }
        if (!matched)
            report(e, E0506, entry->span, NULL, "`freeze` matches no parameter");
    }
}

static void choose_parameters(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_expressions *over = &line->statement->minimize.over;
    for (ptrdiff_t i = 0; i < arrlen(e->module->variables); i++) {
        struct variable *variable = e->module->variables[i];
        if (variable->kind != VARIABLE_PARAMETER || variable->frozen)
            continue;
        if (!over->count || override_matches(e, over, variable))
            arrput(line->parameters, variable);
        else {
            report(e, E0505, variable->span, NULL, "nothing trains parameter `%s`", variable->name);
            diagnostics_note(e->diagnostics, line->statement->span, "`over` leaves it out; freeze it if that is meant");
        }
    }
    if (!arrlen(line->parameters))
        report(e, E0505, line->statement->span, NULL, "there is no parameter to train");
}

/* ---- gradients ---- */

static bool minimised_loss(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_expression *expression = line->statement->minimize.loss;
    line->loss = evaluate_expression(e, expression);
    if (!want_tensor(e, &line->loss, expression->span, "what is minimised"))
        return false;
    if (line->loss.node->type.shape.rank || !element_is_float(line->loss.node->type.element)) {
        report(e, E0504, expression->span, NULL, "what is minimised must be a floating scalar, not %s",
               value_describe(e, &line->loss));
        return false;
    }
    bool declared = false;
    const char *name = expression->kind == AST_NAME ? expression->name : "objective";
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++)
        declared |= e->outputs[i].what == AST_DECLARE_LOSS && strcmp(e->outputs[i].name, name) == 0;
    if (!declared)
        build_output(&e->builder, name, line->loss.node, OUTPUT_LOSS);
    struct minimize minimize = {arena_intern(e->arena, name), line->statement->span};
    arrput(e->module->minimizes, minimize);
    return true;
}

static void build_gradients(struct line *line)
{
    struct elaborator *e = line->e;
    struct attributes number = {.index = line->number};
    e->builder.region = REGION_BACKWARD;
    struct node *seed = build(&e->builder, OP_scale_seed, NULL, 0, &number, NULL);
    for (ptrdiff_t i = 0; i < arrlen(line->parameters); i++) {
        struct node *operands[] = {line->loss.node, variable_value(e, line->parameters[i]).node, seed};
        struct node *gradient = build(&e->builder, OP_grad, operands, 3, NULL, NULL);
        gradient = build(&e->builder, OP_unscale, &gradient, 1, &number, NULL);
        gradient->name = arena_internf(e->arena, "grad:%s", line->parameters[i]->name);
        arrput(line->gradients, gradient);
        hmput(e->named, gradient->name, value_tensor(e, gradient));
        if (e->request->fetch_gradients)
            build_output(&e->builder, gradient->name, gradient, OUTPUT_VALUE);
    }
    e->builder.region = REGION_UPDATE;
}

/* ---- clipping ---- */

static struct node *gradient_norm(struct line *line)
{
    struct builder *builder = &line->e->builder;
    struct node *total = NULL;
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++) {
        struct node *g = line->gradients[i], *squares = build_binary(builder, OP_mul, g, g);
        if (g->type.shape.rank)
            squares = build_reduce(builder, OP_sum, squares, (1u << g->type.shape.rank) - 1);
        squares = build_reshape(builder, squares, &(struct shape){0});
        total = total ? build_binary(builder, OP_add, total, squares) : squares;
    }
    struct node *norm = build_unary(builder, OP_sqrt, total);
    norm->name = arena_intern(line->e->arena, "grad_norm");
    return norm;
}

/* All gradients times min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_. */
static void clip_norm(struct line *line, struct node *limit)
{
    struct builder *builder = &line->e->builder;
    struct node *norm = gradient_norm(line);
    build_output(builder, "grad_norm", norm, OUTPUT_LOG);
    struct node *safe = build_binary(builder, OP_add, norm, build_constant(builder, 1e-6, ELEMENT_F32));
    struct node *factor = build_binary(builder, OP_div, limit, safe);
    factor = build_binary(builder, OP_min, factor, build_constant(builder, 1, ELEMENT_F32));
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++)
        line->gradients[i] = build_binary(builder, OP_mul, line->gradients[i], factor);
}

static void clip_value(struct line *line, struct node *limit)
{
    struct builder *builder = &line->e->builder;
    struct node *low = build_unary(builder, OP_neg, limit);
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++) {
        struct node *above = build_binary(builder, OP_max, line->gradients[i], low);
        line->gradients[i] = build_binary(builder, OP_min, above, limit);
    }
}

static void clip(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_statement *entry = find_entry(e->unit, "clip");
    if (!entry)
        return;
    const struct ast_expression *call = entry->setting.values.items[0];
    struct value limit = evaluate_expression(e, call->call.arguments.items[0].value);
    if (limit.kind == VALUE_NUMBER && limit.number <= 0)
        report(e, E0503, call->span, NULL, "clip needs a limit above 0");
    if (limit.kind != VALUE_NUMBER && !want_tensor(e, &limit, call->span, "the limit"))
        return;
    struct node *node = tensor_node(e, &limit, ELEMENT_F32);
    if (node->type.shape.rank)
        report(e, E0503, call->span, NULL, "clip needs a scalar, not %s", value_describe(e, &limit));
    else if (strcmp(call->call.callee, "norm") == 0)
        clip_norm(line, node);
    else
        clip_value(line, node);
}

/* ---- the optimizer ---- */

static void set_argument(struct argument_value *arguments, int *count, const char *name, struct span span,
                         struct value value)
{
    int i = 0;
    while (i < *count && (!arguments[i].name || strcmp(arguments[i].name, name) != 0))
        i++;
    arguments[i] = (struct argument_value){name, span, value};
    *count += i == *count;
}

/* --lr replaces the rate of every optimizer. */
static void replace_rate(struct line *line)
{
    const struct ast_expression *rate = line->e->unit->rate;
    if (!rate)
        return;
    struct argument_value *grown = ARENA_ARRAY(line->e->arena, struct argument_value, line->argument_count + 2);
    memcpy(grown, line->arguments, sizeof *grown * (size_t)line->argument_count);
    line->arguments = grown;
    set_argument(grown, &line->argument_count, arena_intern(line->e->arena, "lr"), rate->span,
                 evaluate_expression(line->e, rate));
}

static void log_rate(struct line *line)
{
    struct elaborator *e = line->e;
    struct value rate = {0};
    const struct ast_parameters *parameters = &line->optimizer->ast->parameters;
    for (int i = 0; i < parameters->count; i++)
        if (strcmp(parameters->items[i].name, "lr") == 0 && parameters->items[i].value)
            rate = evaluate_expression(e, parameters->items[i].value);
    for (int i = 0; i < line->argument_count; i++)
        if (line->arguments[i].name && strcmp(line->arguments[i].name, "lr") == 0)
            rate = line->arguments[i].value;
    if (rate.kind != VALUE_NUMBER && (rate.kind != VALUE_TENSOR || rate.node->type.shape.rank))
        return;
    build_output(&e->builder, "lr", tensor_node(e, &rate, ELEMENT_F32), OUTPUT_LOG);
}

struct override_value {
    const struct ast_override *ast;
    struct value value;
    bool matched;
};

static struct override_value *read_overrides(struct line *line)
{
    const struct ast_overrides *overrides = &line->statement->minimize.overrides;
    struct override_value *values = ARENA_ARRAY(line->e->arena, struct override_value, overrides->count + 1);
    for (int i = 0; i < overrides->count; i++)
        values[i] = (struct override_value){&overrides->items[i],
                                            evaluate_expression(line->e, overrides->items[i].value), false};
    return values;
}

/* The arguments for one parameter: the line's, with the overrides that match it; the last one counts. */
static struct argument_value *parameter_arguments(struct line *line, struct override_value *overrides,
                                                  const struct variable *parameter, int *count)
{
    int given = line->statement->minimize.overrides.count;
    struct argument_value *arguments =
        ARENA_ARRAY(line->e->arena, struct argument_value, line->argument_count + given + 1);
    *count = line->argument_count;
    if (*count)
        memcpy(arguments, line->arguments, sizeof *arguments * (size_t)*count);
    for (int i = 0; i < given; i++) {
        const struct ast_override *override = overrides[i].ast;
        if (!override_matches(line->e, &override->predicates, parameter))
            continue;
        overrides[i].matched = true;
        if (!line->e->unit->rate || strcmp(override->name.name, "lr") != 0)
            set_argument(arguments, count, override->name.name, override->name.span, overrides[i].value);
    }
    return arguments;
}

static void update_parameter(struct line *line, struct variable *parameter, struct node *gradient,
                             const struct argument_value *arguments, int count)
{
    struct elaborator *e = line->e;
    struct value p = variable_value(e, parameter), g = value_tensor_axes(e, gradient, p.axes);
    struct value first[] = {p, g};
    struct frame frame = {.path = "", .prefix = "", .gate = line->number, .parameter = parameter};
    frame.value_path = arena_internf(e->arena, "train/%s", parameter->name);
    frame.state_prefix = arena_internf(e->arena, "train/%s.", parameter->name);
    frame.scope = scope_enter(e->arena, "", NULL, line->optimizer->name);
    hmputs(frame.bindings, ((struct binding){arena_intern(e->arena, "step"), line->step, NULL}));
    call_rule(e, line->optimizer, first, 2, parameter, arguments, count, &frame,
              line->statement->minimize.optimizer->span);
}

static void run_optimizer(struct line *line)
{
    struct elaborator *e = line->e;
    struct override_value *overrides = read_overrides(line);
    int errors = diagnostics_errors(e->diagnostics);
    for (ptrdiff_t i = 0; i < arrlen(line->parameters); i++) {
        int count;
        struct argument_value *arguments = parameter_arguments(line, overrides, line->parameters[i], &count);
        if (FIND(e->update_index, line->parameters[i]->name) >= 0)
            report(e, E0505, line->parameters[i]->span, NULL, "`%s` is updated by the model and trained too; freeze it",
                   line->parameters[i]->name);
        update_parameter(line, line->parameters[i], line->gradients[i], arguments, count);
        if (diagnostics_errors(e->diagnostics) > errors)
            return;
    }
    for (int i = 0; i < line->statement->minimize.overrides.count; i++)
        if (!overrides[i].matched)
            report(e, E0506, overrides[i].ast->name.span, NULL, "this override matches no parameter");
    if (FIND(e->update_index, line->parameters[0]->name) < 0 && diagnostics_errors(e->diagnostics) == errors)
        report(e, E0409, line->statement->minimize.optimizer->span, NULL, "`%s` never updates the parameter: `p <- …`",
               line->optimizer->name);
}

/* ---- lines ---- */

static void bind_counters(struct elaborator *e, struct value *step)
{
    struct variable *counter = variable_implied(e, "train/step", ELEMENT_I32, VARIABLE_OPTIMIZER, 0);
    *step = variable_value(e, counter);
    bind(e, arena_intern(e->arena, "step"), *step, NULL);
    bind(e, arena_intern(e->arena, "steps"), variable_value(e, module_find_variable(e->module, "train/steps")), NULL);
    bind(e, arena_intern(e->arena, "epoch"), variable_value(e, module_find_variable(e->module, "train/epoch")), NULL);
}

static void count_step(struct line *line)
{
    struct elaborator *e = line->e;
    struct node *next = build_binary(&e->builder, OP_add, line->step.node, build_constant(&e->builder, 1, ELEMENT_I32));
    variable_update(e, module_find_variable(e->module, "train/step"), next, line->number);
}

static void elaborate_line(struct line *line)
{
    struct elaborator *e = line->e;
    e->builder.span = line->statement->span;
    e->builder.region = REGION_FORWARD;
    int errors = diagnostics_errors(e->diagnostics);
    if (!minimised_loss(line))
        return;
    choose_parameters(line);
    const struct ast_expression *optimizer = line->statement->minimize.optimizer;
    line->optimizer = find_rule(e, optimizer, AST_OPTIMIZER, "optimizer");
    e->builder.region = REGION_UPDATE;
    if (!line->optimizer ||
        !rule_arguments(e, line->optimizer, optimizer, 2, &line->arguments, &line->argument_count) ||
        diagnostics_errors(e->diagnostics) > errors)
        return;
    replace_rate(line);
    build_gradients(line);
    if (e->request->no_update)
        return;
    clip(line);
    log_rate(line);
    run_optimizer(line);
    count_step(line);
}

void elaborate_update(struct elaborator *e)
{
    struct value step = {0};
    int number = 0;
    e->module->accumulate = e->unit->settings ? e->unit->settings->accumulate : 1;
    freeze(e);
    e->builder.region = REGION_UPDATE;
    bind_counters(e, &step);
    bind_train_values(e);
    for (ptrdiff_t i = 0; i < arrlen(e->unit->entries); i++) {
        if (e->unit->entries[i]->kind != AST_MINIMIZE)
            continue;
        number++;
        struct line line = {.e = e, .statement = e->unit->entries[i], .number = number, .step = step};
        elaborate_line(&line);
        arrfree(line.parameters);
        arrfree(line.gradients);
    }
    if (number)
        elaborate_scaler(e);
}
