/* One minimize line: the gradients of its loss, clipping, the optimizer, its step counter.
 *
 * Per parameter the graph gets unscale_k(grad(loss, parameter, scale_seed(k))), clipping after that, and the
 * optimizer's body with the writes of line k. What the line's expressions name is looked up in the model's frame, with
 * step, steps, epoch and the bindings of the train block laid over it. */
#include "frontend/language/elaborate_line.h"

#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <string.h>

struct override_value {
    const struct ast_override *ast;
    struct value value;
    bool matched;
};

/* ---- which parameters ---- */

static void choose_parameters(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_expressions *over = &line->statement->minimize.over;
    int errors = diagnostics_errors(e->diagnostics);
    report_unmatched(e, over, "over");
    for (ptrdiff_t i = 0; i < arrlen(e->module->variables); i++) {
        struct variable *variable = e->module->variables[i];
        if (variable->kind == VARIABLE_PARAMETER && !variable->frozen &&
            (!over->count || override_matches(e, over, variable)))
            arrput(line->parameters, variable);
    }
    if (!arrlen(line->parameters) && diagnostics_errors(e->diagnostics) == errors)
        report(e, E0505, line->statement->span, NULL, "there is no parameter to train");
}

/* ---- what the line says ---- */

static bool read_loss(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_expression *expression = line->statement->minimize.loss;
    line->loss = evaluate_expression(e, expression);
    if (!want_tensor(e, &line->loss, expression->span, "what is minimised"))
        return false;
    if (!line->loss.node->type.shape.rank && element_is_float(line->loss.node->type.element))
        return true;
    report(e, E0504, expression->span, NULL, "what is minimised must be a floating scalar, not %s",
           value_describe(e, &line->loss));
    return false;
}

static bool read_clip(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_statement *entry = train_entry(e->unit, "clip");
    if (!entry)
        return true;
    const struct ast_expression *call = entry->setting.values.items[0];
    struct value limit = evaluate_expression(e, call->call.arguments.items[0].value);
    line->clips_norm = strcmp(call->call.callee, "norm") == 0;
    if (limit.kind == VALUE_NUMBER && !(limit.number > 0))
        report(e, E0503, call->span, NULL, "clip needs a limit above 0");
    if (limit.kind != VALUE_NUMBER && !want_tensor(e, &limit, call->span, "the limit"))
        return false;
    line->clip_limit = tensor_node(e, &limit, ELEMENT_F32);
    if (!line->clip_limit->type.shape.rank)
        return true;
    report(e, E0503, call->span, NULL, "clip needs a scalar, not %s", value_describe(e, &limit));
    return false;
}

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

static bool read_optimizer(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_expression *optimizer = line->statement->minimize.optimizer;
    const struct ast_overrides *overrides = &line->statement->minimize.overrides;
    int errors = diagnostics_errors(e->diagnostics);
    line->optimizer = find_rule(e, optimizer, AST_OPTIMIZER, "optimizer");
    if (!line->optimizer || !rule_arguments(e, line->optimizer, optimizer, 2, &line->arguments, &line->argument_count))
        return false;
    replace_rate(line);
    line->overrides = ARENA_ARRAY(e->arena, struct override_value, overrides->count + 1);
    for (int i = 0; i < overrides->count; i++)
        line->overrides[i] =
            (struct override_value){&overrides->items[i], evaluate_expression(e, overrides->items[i].value), false};
    return diagnostics_errors(e->diagnostics) == errors;
}

bool line_read(struct line *line)
{
    struct elaborator *e = line->e;
    int errors = diagnostics_errors(e->diagnostics);
    e->builder.span = line->statement->span;
    e->builder.region = REGION_FORWARD;
    if (!read_loss(line))
        return false;
    choose_parameters(line);
    e->builder.region = REGION_UPDATE;
    return read_optimizer(line) && read_clip(line) && line_read_average(line) &&
           diagnostics_errors(e->diagnostics) == errors;
}

/* ---- gradients ---- */

/* Under the name of the parameter, unless a line of an earlier phase trains it too. */
static void name_gradient(struct line *line, struct node *gradient, const struct variable *parameter)
{
    struct elaborator *e = line->e;
    const char *name = arena_internf(e->arena, "grad:%s", parameter->name);
    if (FIND(e->named, name) >= 0)
        return;
    gradient->name = name;
    hmput(e->named, name, value_tensor(e, gradient));
    if (e->request->fetch_gradients)
        build_output(&e->builder, name, gradient, OUTPUT_VALUE);
}

void line_differentiate(struct line *line)
{
    struct elaborator *e = line->e;
    struct attributes number = {.index = line->number};
    e->builder.span = line->statement->span;
    e->builder.region = REGION_BACKWARD;
    struct node *seed = build(&e->builder, OP_scale_seed, NULL, 0, &number, NULL);
    for (ptrdiff_t i = 0; i < arrlen(line->parameters); i++) {
        struct node *operands[] = {line->loss.node, variable_value(e, line->parameters[i]).node, seed};
        struct node *gradient = build(&e->builder, OP_grad, operands, 3, NULL, NULL);
        gradient = build(&e->builder, OP_unscale, &gradient, 1, &number, NULL);
        name_gradient(line, gradient, line->parameters[i]);
        arrput(line->gradients, gradient);
    }
    e->builder.region = REGION_UPDATE;
}

/* ---- the log ---- */

static void log_value(struct line *line, const char *what, struct node *node)
{
    build_output(&line->e->builder, module_line_label(line->e->module, line->number, what), node, OUTPUT_LOG);
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
    if (rate.kind == VALUE_NUMBER || (rate.kind == VALUE_TENSOR && !rate.node->type.shape.rank))
        log_value(line, "lr", tensor_node(e, &rate, ELEMENT_F32));
}

/* ---- clipping ---- */

/* Summed in the order in which gradients are made, the last layer's first: the kernel that has a sum of its own adds it
 * last, and holds none of the others until then. */
static struct node *gradient_norm(struct line *line)
{
    struct builder *builder = &line->e->builder;
    struct node *total = NULL;
    for (ptrdiff_t i = arrlen(line->gradients) - 1; i >= 0; i--) {
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
static void clip_norm(struct line *line)
{
    struct builder *builder = &line->e->builder;
    struct node *norm = gradient_norm(line);
    log_value(line, "grad_norm", norm);
    struct node *safe = build_binary(builder, OP_add, norm, build_constant(builder, 1e-6, ELEMENT_F32));
    struct node *factor = build_binary(builder, OP_div, line->clip_limit, safe);
    factor = build_binary(builder, OP_min, factor, build_constant(builder, 1, ELEMENT_F32));
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++)
        line->gradients[i] = build_binary(builder, OP_mul, line->gradients[i], factor);
}

static void clip_value(struct line *line)
{
    struct builder *builder = &line->e->builder;
    struct node *low = build_unary(builder, OP_neg, line->clip_limit);
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++) {
        struct node *above = build_binary(builder, OP_max, line->gradients[i], low);
        line->gradients[i] = build_binary(builder, OP_min, above, line->clip_limit);
    }
}

static void clip(struct line *line)
{
    if (!line->clip_limit)
        return;
    if (line->clips_norm)
        clip_norm(line);
    else
        clip_value(line);
}

/* ---- the optimizer ---- */

/* The arguments for one parameter: the line's, with the overrides that match it; the last one counts. */
static struct argument_value *parameter_arguments(struct line *line, const struct variable *parameter, int *count)
{
    int given = line->statement->minimize.overrides.count;
    struct argument_value *arguments =
        ARENA_ARRAY(line->e->arena, struct argument_value, line->argument_count + given + 1);
    *count = line->argument_count;
    if (*count)
        memcpy(arguments, line->arguments, sizeof *arguments * (size_t)*count);
    for (int i = 0; i < given; i++) {
        const struct ast_override *override = line->overrides[i].ast;
        if (!override_matches(line->e, &override->predicates, parameter))
            continue;
        line->overrides[i].matched = true;
        if (!line->e->unit->rate || strcmp(override->name.name, "lr") != 0)
            set_argument(arguments, count, override->name.name, override->name.span, line->overrides[i].value);
    }
    return arguments;
}

static bool trained_before(const struct line *line, const struct variable *parameter)
{
    for (ptrdiff_t i = 0; i < arrlen(line->e->trained); i++)
        if (line->e->trained[i] == parameter)
            return true;
    return false;
}

static void update_parameter(struct line *line, struct variable *parameter, struct node *gradient,
                             const struct argument_value *arguments, int count)
{
    struct elaborator *e = line->e;
    struct value p = variable_value(e, parameter), g = value_tensor_axes(e, gradient, p.axes);
    struct value first[] = {p, g};
    struct frame frame = {.path = "", .prefix = "", .gate = line->number, .parameter = parameter};
    frame.value_path = arena_internf(e->arena, "train/%s", parameter->name);
    frame.owner = arena_internf(e->arena, "train/%s/%d", parameter->name, line->number);
    frame.state_prefix = trained_before(line, parameter)
                             ? arena_internf(e->arena, "train/%s.%d.", parameter->name, line->number)
                             : arena_internf(e->arena, "train/%s.", parameter->name);
    frame.scope = scope_enter(e->arena, "", NULL, line->optimizer->name);
    hmputs(frame.bindings, ((struct binding){arena_intern(e->arena, "step"), line->step, NULL}));
    call_rule(e, line->optimizer, first, 2, parameter, arguments, count, &frame,
              line->statement->minimize.optimizer->span);
}

/* The gate of the write that stands for the variable so far; GATE_NEVER when there is none. */
static int written_by(struct elaborator *e, const struct variable *variable)
{
    ptrdiff_t at = FIND(e->update_index, variable->name);
    return at < 0 ? GATE_NEVER : e->updates[e->update_index[at].value].gate;
}

static void run_optimizer(struct line *line)
{
    struct elaborator *e = line->e;
    int errors = diagnostics_errors(e->diagnostics);
    for (ptrdiff_t i = 0; i < arrlen(line->parameters); i++) {
        int count;
        struct argument_value *arguments = parameter_arguments(line, line->parameters[i], &count);
        if (written_by(e, line->parameters[i]) == GATE_ALL)
            report(e, E0505, line->parameters[i]->span, NULL, "`%s` is updated by the model and trained too; freeze it",
                   line->parameters[i]->name);
        update_parameter(line, line->parameters[i], line->gradients[i], arguments, count);
        if (diagnostics_errors(e->diagnostics) > errors)
            return;
    }
    for (int i = 0; i < line->statement->minimize.overrides.count; i++)
        if (!line->overrides[i].matched) {
            report(e, E0506, line->overrides[i].ast->name.span, NULL, "this override matches no parameter");
            note_commas(e, &line->overrides[i].ast->predicates);
        }
    if (written_by(e, line->parameters[0]) != line->number && diagnostics_errors(e->diagnostics) == errors)
        report(e, E0409, line->statement->minimize.optimizer->span, NULL, "`%s` never updates the parameter: `p <- …`",
               line->optimizer->name);
}

static void count_step(struct line *line)
{
    struct elaborator *e = line->e;
    struct node *next = build_binary(&e->builder, OP_add, line->step.node, build_constant(&e->builder, 1, ELEMENT_I32));
    variable_update(e, module_find_variable(e->module, line->step.node->attributes->symbol), next, line->number);
}

void line_update(struct line *line)
{
    line->e->builder.span = line->statement->span;
    clip(line);
    log_rate(line);
    run_optimizer(line);
    line_average(line);
    count_step(line);
}
