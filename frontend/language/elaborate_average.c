/* `average ema(decay)`: each trained parameter has an average that follows it, train/PARAM.average. After the first
 * step that a line takes it is the parameter itself, as in PyTorch's AveragedModel; a skipped step leaves it alone. The
 * graphs whose names begin with `average` evaluate the model at the averages. */
#include "frontend/language/elaborate_line.h"

#include <stb/stb_ds.h>
#include <string.h>

bool line_read_average(struct line *line)
{
    struct elaborator *e = line->e;
    const struct ast_statement *entry = train_entry(e->unit, "average");
    if (!entry)
        return true;
    const struct ast_expression *call = entry->setting.values.items[0];
    line->decay = evaluate_expression(e, call->call.arguments.items[0].value);
    if (line->decay.kind == VALUE_NUMBER) {
        if (line->decay.number >= 0 && line->decay.number < 1)
            return true;
        report(e, E0503, call->span, NULL, "the decay of an average lies from 0 to below 1");
        return false;
    }
    if (!want_tensor(e, &line->decay, call->span, "the decay"))
        return false;
    if (!line->decay.node->type.shape.rank)
        return true;
    report(e, E0503, call->span, NULL, "the decay of an average is a scalar, not %s", value_describe(e, &line->decay));
    return false;
}

const char *average_of(struct elaborator *e, const struct variable *parameter)
{
    return arena_internf(e->arena, "train/%s.average", parameter->name);
}

/* The variable of the average, made when it is not there; its first value is the parameter's. */
static struct variable *average_variable(struct elaborator *e, const struct variable *parameter)
{
    const char *name = average_of(e, parameter);
    struct variable *variable = module_find_variable(e->module, name);
    if (!variable_is_implied(e, name) || variable)
        return variable;
    variable = module_add_variable(e->module, name, parameter->type, VARIABLE_OPTIMIZER, e->builder.span);
    variable->source = parameter->name;
    struct builder builder = e->builder;
    builder.graph = e->init;
    ptrdiff_t at = FIND(e->initial, parameter);
    if (at < 0)
        castor_bug("%s has no first value", parameter->name);
    build_write(&builder, variable, e->initial[at].value.node, GATE_NEVER);
    return variable;
}

/* average + (1 - decay) (p - average); p itself in the line's first step. */
static struct node *follow(struct line *line, struct node *average, struct node *p)
{
    struct builder *builder = &line->e->builder;
    struct node *share;
    if (line->decay.kind == VALUE_NUMBER) {
        share = build_constant(builder, 1 - line->decay.number, ELEMENT_F32);
    } else {
        struct node *decay = tensor_node(line->e, &line->decay, ELEMENT_F32);
        share = build_binary(builder, OP_sub, build_constant(builder, 1, ELEMENT_F32), decay);
    }
    struct node *towards = build_binary(builder, OP_mul, build_binary(builder, OP_sub, p, average), share);
    struct node *first = build_binary(builder, OP_eq, line->step.node, build_constant(builder, 0, ELEMENT_I32));
    return build_where(builder, first, p, build_binary(builder, OP_add, average, towards));
}

void line_average(struct line *line)
{
    struct elaborator *e = line->e;
    for (ptrdiff_t i = 0; line->decay.kind != VALUE_ERROR && i < arrlen(line->parameters); i++) {
        const struct variable *variable = average_variable(e, line->parameters[i]);
        struct node *p = variable_value(e, line->parameters[i]).node;
        variable_update(e, variable, follow(line, variable_value(e, variable).node, p), line->number);
    }
}
