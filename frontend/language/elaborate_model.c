/* The module: its graphs, inputs, losses, metrics, outputs, and what `castor run` fetches. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- inputs ---- */

static bool input_shape(struct elaborator *e, const struct ast_parameter *input, const struct dimension *batch,
                        struct shape *shape, struct axis axes[RANK_MAX])
{
    const struct ast_expressions *dimensions = &input->type->dimensions;
    const struct ast_expression *first = dimensions->count ? dimensions->items[0] : NULL;
    if (!first || first->kind != AST_NAME || strcmp(first->name, batch->name) != 0) {
        report(e, E0504, input->span, NULL, "the first axis of input `%s` must be `%s`: the examples", input->name,
               batch->name);
        return false;
    }
    struct value *sizes = ARENA_ARRAY(e->arena, struct value, dimensions->count);
    for (int i = 0; i < dimensions->count; i++) {
        sizes[i] = evaluate_expression(e, dimensions->items[i]);
        if (sizes[i].kind == VALUE_ERROR)
            return false;
    }
    struct value list = value_list(e, sizes, dimensions->count);
    if (!want_shape(e, &list, input->type->span, shape, axes))
        return false;
    for (int i = 0; i < shape->rank; i++) {
        axes[i].from = arena_internf(e->arena, "`input %s`", input->name);
        axes[i].span = input->span;
    }
    return true;
}

static bool input_element(struct elaborator *e, const struct ast_parameter *input, enum element *element,
                          int64_t *classes)
{
    const char *name = input->type->element;
    *classes = 0;
    *element = name ? element_find(name) : ELEMENT_F32;
    if (name && strcmp(name, "class") == 0) {
        *element = ELEMENT_I32;
        if (!input->type->classes) {
            report(e, E0210, input->type->span, NULL, "class(n) needs a number of classes");
            return false;
        }
        struct value count = evaluate_expression(e, input->type->classes);
        if (!want_size(e, &count, input->type->classes->span, "the number of classes", classes))
            return false;
        if (*classes > 0 && *classes <= INT32_MAX)
            return true;
        report(e, E0210, input->type->classes->span, NULL, "class(n) needs n from 1 to 2147483647");
        return false;
    }
    if (*element == ELEMENT_NONE || *element == ELEMENT_F64 || *element == ELEMENT_I64) {
        report(e, E0204, input->type->span, NULL, "an input is f32, f16, bf16, i32, u8, bool or class(n), not `%s`",
               name);
        return false;
    }
    return true;
}

/* The input as a value; VALUE_ERROR (reported) where its type is no input's. */
static struct value input_value(struct elaborator *e, const struct ast_parameter *input, const struct dimension *batch)
{
    struct shape shape;
    struct axis axes[RANK_MAX];
    enum element element;
    int64_t classes;
    if (input->value)
        return report(e, E0504, input->value->span, NULL, "input `%s` comes with the data: it has no default",
                      input->name);
    if (!input->type)
        return report(e, E0504, input->span, NULL, "input `%s` needs a type such as f32[batch, 10]", input->name);
    e->builder.span = input->span;
    if (!input_shape(e, input, batch, &shape, axes) || !input_element(e, input, &element, &classes))
        return (struct value){0};
    struct type type = type_make(element, shape);
    struct node *node = build(&e->builder, OP_input, NULL, 0,
                              &(struct attributes){.symbol = input->name, .index = (int)classes}, &type);
    struct value value = value_tensor_axes(e, node, axes);
    value.classes = classes;
    return value;
}

/* The batch is the dimension that all inputs begin with, whatever its name. */
static void bind_inputs(struct elaborator *e, int64_t batch)
{
    const struct ast_parameters *inputs = &e->unit->model->parameters;
    struct dimension *dimension = ARENA_NEW(e->arena, struct dimension);
    *dimension = (struct dimension){arena_intern(e->arena, "batch"), batch};
    if (inputs->count && inputs->items[0].type && inputs->items[0].type->dimensions.count &&
        inputs->items[0].type->dimensions.items[0]->kind == AST_NAME)
        dimension->name = inputs->items[0].type->dimensions.items[0]->name;
    bind(e, dimension->name, value_dimension(dimension), NULL);
    int errors = diagnostics_errors(e->diagnostics);
    for (int i = 0; i < inputs->count; i++)
        bind(e, inputs->items[i].name, input_value(e, &inputs->items[i], dimension), NULL);
    if (diagnostics_errors(e->diagnostics) == errors)
        elaborate_data(e);
}

/* ---- results ---- */

/* A scalar f32 of what must be one; NULL after a diagnostic. */
static struct node *scalar_node(struct elaborator *e, const struct declared_output *output, const struct value *value)
{
    if (value->kind == VALUE_ERROR || refuse_classes(e, value, ast_declaration_text(output->what), output->span))
        return NULL;
    if (value->kind == VALUE_NUMBER)
        return build_constant(&e->builder, value->number, ELEMENT_F32);
    if (!want_tensor(e, value, output->span, ast_declaration_text(output->what)))
        return NULL;
    if (value->node->type.shape.rank) {
        report(e, E0504, output->span, NULL, "%s `%s` must be a scalar, but it has the shape %s",
               ast_declaration_text(output->what), output->name, shape_text(e, &value->node->type.shape));
        diagnostics_note(e->diagnostics, (struct span){0}, "mean(x) takes the mean over all axes");
        return NULL;
    }
    return value->node->type.element == ELEMENT_F32 ? value->node : build_cast(&e->builder, value->node, ELEMENT_F32);
}

static void emit_ratio(struct elaborator *e, const struct declared_output *output)
{
    for (int i = 0; i < 2; i++) {
        struct node *node = scalar_node(e, output, &output->value.items[i]);
        if (node)
            build_output(&e->builder, output->name, node, i ? OUTPUT_DENOMINATOR : OUTPUT_NUMERATOR);
    }
}

static void emit_output(struct elaborator *e, const struct declared_output *output)
{
    static const enum output_kind kinds[] = {
        [AST_DECLARE_LOSS] = OUTPUT_LOSS, [AST_DECLARE_METRIC] = OUTPUT_METRIC, [AST_DECLARE_WATCH] = OUTPUT_WATCH};
    e->builder.span = output->span;
    bool wanted = output->what == AST_DECLARE_WATCH    ? e->training
                  : output->what == AST_DECLARE_OUTPUT ? e->request->outputs
                                                       : true;
    if (output->value.kind == VALUE_RATIO) {
        emit_ratio(e, output);
        return;
    }
    if (output->what == AST_DECLARE_OUTPUT) {
        bool tensor = want_tensor(e, &output->value, output->span, "an output");
        if (tensor && wanted)
            build_output(&e->builder, output->name, output->value.node, OUTPUT_VALUE);
        return;
    }
    struct node *node = scalar_node(e, output, &output->value);
    if (output->what == AST_DECLARE_LOSS && e->training && loss_is_later(e, output->name))
        wanted = false;
    if (node && output->what == AST_DECLARE_METRIC && emit_totals(e, output, node))
        return;
    if (node && wanted)
        build_output(&e->builder, output->name, node, kinds[output->what]);
}

/* A value named `loss` is the loss, unless `loss NAME = e` declared it already. */
static void add_plain_loss(struct elaborator *e)
{
    const char *name = arena_intern(e->arena, "loss");
    ptrdiff_t at = FIND(e->frame->bindings, name);
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++)
        if (e->outputs[i].name == name)
            return;
    if (at < 0)
        return;
    struct value value = e->frame->bindings[at].value;
    struct span span = e->loss_span.line ? e->loss_span : e->unit->model->span;
    struct declared_output loss = {name, AST_DECLARE_LOSS, value, span};
    arrins(e->outputs, 0, loss);
}

static bool has_output(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--)
        if (graph->nodes[i]->op == OP_output && strcmp(graph->nodes[i]->attributes->symbol, name) == 0)
            return true;
    return false;
}

static void emit_fetches(struct elaborator *e, bool *found)
{
    for (int i = 0; i < e->request->fetch_count; i++) {
        const char *name = arena_intern(e->arena, e->request->fetch[i]);
        const struct variable *variable = module_find_variable(e->module, name);
        ptrdiff_t at = FIND(e->named, name);
        found[i] |= at >= 0 || variable || has_output(e->builder.graph, name);
        if (has_output(e->builder.graph, name))
            continue;
        if (at >= 0)
            build_output(&e->builder, name, e->named[at].value.node, OUTPUT_VALUE);
        else if (variable)
            build_output(&e->builder, name, variable_value(e, variable).node, OUTPUT_VALUE);
    }
}

static bool is_among(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Takes away what is put out but needs an input that is not fed. */
static void leave_out_unfed(struct elaborator *e)
{
    const struct elaborate_request *request = e->request;
    struct node **nodes = e->builder.graph->nodes;
    bool *unfed = ARENA_ARRAY(e->arena, bool, arrlenu(nodes));
    ptrdiff_t outputs = 0, out = 0, kept = 0;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        const char *symbol = nodes[i]->attributes->symbol;
        unfed[i] = nodes[i]->op == OP_input && !is_among(symbol, request->feed, request->feed_count);
        for (int k = 0; k < nodes[i]->operand_count; k++)
            unfed[i] |= unfed[nodes[i]->operands[k]->id];
        if (nodes[i]->op != OP_output)
            continue;
        unfed[i] = unfed[i] && !is_among(symbol, request->fetch, request->fetch_count);
        outputs++;
        out += unfed[i];
    }
    if (out == outputs)
        return;
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i]->op != OP_output || !unfed[i])
            nodes[kept++] = nodes[i];
    arrsetlen(e->builder.graph->nodes, (size_t)kept);
}

/* ---- graphs ---- */

static void forget_graph(struct elaborator *e)
{
    hmfree(e->reads);
    hmfree(e->named);
    hmfree(e->draws);
    hmfree(e->update_index);
    arrfree(e->updates);
    arrfree(e->outputs);
    arrfree(e->totals);
}

/* The attempt counter goes on whatever becomes of the step. */
static void count_attempt(struct elaborator *e)
{
    const struct variable *attempt = module_find_variable(e->module, "train/attempt");
    if (!attempt || FIND(e->reads, attempt) < 0)
        return;
    struct node *one = build_constant(&e->builder, 1, ELEMENT_I64);
    variable_update(e, attempt, build_binary(&e->builder, OP_add, variable_value(e, attempt).node, one), GATE_NEVER);
}

static void finish_graph(struct elaborator *e, const char *name, bool *found)
{
    add_plain_loss(e);
    for (ptrdiff_t i = 0; i < arrlen(e->outputs); i++)
        emit_output(e, &e->outputs[i]);
    e->builder.scope = "";
    e->builder.pin = ELEMENT_NONE;
    if (strcmp(name, "train") == 0) {
        elaborate_update(e);
        e->builder.region = REGION_UPDATE;
        count_attempt(e);
    }
    emit_fetches(e, found);
    if (e->request->only_fed && !e->training)
        leave_out_unfed(e);
    if (e->training && !e->request->no_update)
        emit_updates(e);
}

static struct frame model_frame(void)
{
    return (struct frame){.owns = true, .path = "", .value_path = "", .scope = "", .prefix = "", .gate = GATE_ALL};
}

/* What the model updated goes back to what it was when the step began. */
static void forget_states(struct elaborator *e)
{
    for (ptrdiff_t i = hmlen(e->reads) - 1; i >= 0; i--) {
        const struct variable *variable = e->reads[i].key;
        ptrdiff_t at = FIND(e->update_index, variable->name);
        if (at >= 0 && e->updates[e->update_index[at].value].gate == GATE_ALL)
            (void)hmdel(e->reads, variable);
    }
}

void elaborate_again(struct elaborator *e)
{
    struct elaborator saved = *e;
    e->named = NULL;
    e->outputs = NULL;
    hmfree(e->draws);
    forget_states(e);
    frame_free(e->frame);
    *e->frame = model_frame();
    e->again = true;
    e->builder = (struct builder){.graph = saved.builder.graph, .scope = "", .span = e->unit->model->span};
    bind_inputs(e, e->builder.graph->batch);
    execute(e, e->unit->model->body);
    hmfree(e->named);
    arrfree(e->outputs);
    e->named = saved.named;
    e->outputs = saved.outputs;
    e->again = false;
    e->builder = saved.builder;
}

static void elaborate_graph(struct elaborator *e, const char *name, int64_t batch, bool *found)
{
    struct graph *graph = module_add_graph(e->module, name);
    struct frame frame = model_frame();
    graph->batch = batch;
    e->training = strcmp(name, "train") == 0;
    e->averaged = strncmp(name, "average", 7) == 0;
    e->builder = (struct builder){.graph = graph, .scope = "", .span = e->unit->model->span};
    e->frame = &frame;
    e->turns = e->calls = 0;
    int errors = diagnostics_errors(e->diagnostics);
    bind_inputs(e, batch);
    execute(e, e->unit->model->body);
    if (diagnostics_errors(e->diagnostics) == errors)
        finish_graph(e, name, found);
    e->frame = NULL;
    frame_free(&frame);
    forget_graph(e);
    graph_number(graph);
}

static void report_unknown_fetches(struct elaborator *e, const bool *found)
{
    for (int i = 0; i < e->request->fetch_count; i++) {
        if (found[i])
            continue;
        const char **names = NULL;
        for (ptrdiff_t k = 0; k < arrlen(e->module->variables); k++)
            arrput(names, e->module->variables[k]->name);
        for (ptrdiff_t g = 0; g < arrlen(e->module->graphs); g++)
            for (ptrdiff_t k = 0; k < arrlen(e->module->graphs[g]->nodes); k++)
                if (e->module->graphs[g]->nodes[k]->name)
                    arrput(names, e->module->graphs[g]->nodes[k]->name);
        const char *near = suggest(e->request->fetch[i], names, (size_t)arrlen(names));
        diagnostics_error(e->diagnostics, E0301, e->unit->model->span, NULL, "there is no value `%s` to fetch",
                          e->request->fetch[i]);
        if (near)
            diagnostics_note(e->diagnostics, (struct span){0}, "did you mean `%s`?", near);
        arrfree(names);
    }
}

/* Variables that the runtime sets are there in every module, needed or not. */
static void add_host_variables(struct elaborator *e)
{
    variable_implied(e, "train/seed", ELEMENT_I64, VARIABLE_HOST, 0);
    variable_implied(e, "train/epoch", ELEMENT_F32, VARIABLE_HOST, 0);
    variable_implied(e, "train/steps", ELEMENT_F32, VARIABLE_HOST, 0);
}

static const char *module_name(const struct unit *unit)
{
    const char *slash = strrchr(unit->file->name, '/'), *base = slash ? slash + 1 : unit->file->name;
    const char *dot = strrchr(base, '.');
    return arena_intern_length(unit->arena, base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
}

bool elaborate_wants_model(struct unit *unit)
{
    if (!unit->model)
        diagnostics_error(unit->diagnostics, E0504, (struct span){unit->file->name, 1, 1, 2}, NULL,
                          "the file has no model");
    return unit->model;
}

struct module *elaborate(struct unit *unit, const struct elaborate_request *request)
{
    struct elaborator e = {.arena = unit->arena, .diagnostics = unit->diagnostics, .unit = unit, .request = request};
    int errors = diagnostics_errors(unit->diagnostics);
    if (!elaborate_wants_model(unit))
        return NULL;
    e.module = module_new(unit->arena, unit->diagnostics, request->name ? request->name : module_name(unit));
    e.init = module_add_graph(e.module, "init");
    add_host_variables(&e);
    bool averaged = request->batch > 0 && unit->settings && unit->settings->average;
    const struct {
        const char *name;
        int64_t batch;
    } graphs[] = {{"train", request->batch},
                  {"eval", request->eval},
                  {"eval_tail", request->tail},
                  {"eval_validate", request->validate_tail},
                  {"average", averaged ? request->eval : 0},
                  {"average_tail", averaged ? request->tail : 0},
                  {"average_validate", averaged ? request->validate_tail : 0}};
    const int count = sizeof graphs / sizeof *graphs;
    bool *found = ARENA_ARRAY(unit->arena, bool, request->fetch_count + 1);
    for (int i = 0; i < count && diagnostics_errors(unit->diagnostics) == errors; i++)
        if (graphs[i].batch > 0)
            elaborate_graph(&e, graphs[i].name, graphs[i].batch, found);
    if (diagnostics_errors(unit->diagnostics) == errors)
        report_unknown_fetches(&e, found);
    graph_number(e.init);
    if (module_find_graph(e.module, "metrics"))
        graph_number(module_find_graph(e.module, "metrics"));
    hmfree(e.initial);
    hmfree(e.owners);
    if (diagnostics_errors(unit->diagnostics) == errors)
        return e.module;
    module_free(e.module);
    return NULL;
}

/* Mistakes of the train block do not hide those of the model: it is elaborated for evaluation then. */
bool elaborate_check(struct unit *unit)
{
    const struct settings *settings = settings_read(unit, NULL, 0);
    if (!unit->model && !unit->train)
        return settings != NULL;
    int64_t batch = settings && settings->batch ? settings->batch : 2;
    struct elaborate_request request = {.batch = settings ? batch : 0, .eval = batch, .outputs = true};
    request.scale = settings ? settings->scale : NULL;
    request.scale_explicit = request.scale != NULL;
    struct module *module = elaborate(unit, &request);
    module_free(module);
    return settings && module;
}
