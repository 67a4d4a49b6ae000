/* Variables: params, states, the counters that no text declares, and what is written to them. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

/* ---- reading ---- */

struct value variable_value(struct elaborator *e, const struct variable *variable)
{
    bool initialising = e->builder.graph == e->init;
    struct read_entry *table = initialising ? e->initial : e->reads;
    ptrdiff_t at = FIND(table, variable);
    if (at >= 0)
        return table[at].value;
    struct builder builder = e->builder;
    if (!initialising)
        builder.graph = rolled_root(e);
    if (variable->kind == VARIABLE_PARAMETER || variable->kind == VARIABLE_STATE)
        builder.region = REGION_FORWARD;
    builder.pin = ELEMENT_NONE;
    const struct variable *read = e->averaged && !initialising && variable->kind == VARIABLE_PARAMETER
                                      ? module_find_variable(e->module, average_of(e, variable))
                                      : NULL;
    struct node *node = build_read(&builder, read ? read : variable);
    node->name = variable->name;
    struct value value = value_tensor(e, node);
    if (initialising)
        hmput(e->initial, variable, value);
    else
        hmput(e->reads, variable, value);
    return value;
}

/* ---- first values ---- */

static bool in_graph(const struct graph *graph, const struct node *node)
{
    return node->id < arrlen(graph->nodes) && graph->nodes[node->id] == node;
}

/* The value as a node of graph init, of the variable's type. NULL after a diagnostic. */
static struct node *first_value(struct elaborator *e, const struct variable *variable, const struct value *value,
                                struct span span)
{
    if (value->kind == VALUE_NUMBER || value->kind == VALUE_BOOL)
        return build_full(&e->builder, value->number, variable->type.element, &variable->type.shape);
    if (!want_tensor(e, value, span, "a first value"))
        return NULL;
    struct value full = tensor_broadcast(e, value, &variable->type.shape, span);
    if (full.kind == VALUE_ERROR)
        return NULL;
    if (!in_graph(e->init, full.node) || !in_graph(e->init, value->node)) {
        report(e, E0401, span, NULL, "a first value may not depend on what a step computes");
        return NULL;
    }
    return full.node->type.element == variable->type.element
               ? full.node
               : build_cast(&e->builder, full.node, variable->type.element);
}

struct initialising {
    struct builder builder;
    const struct shape *implicit;
    const char *draw_path;
};

static struct initialising begin_initialising(struct elaborator *e, const struct shape *shape, const char *path)
{
    struct initialising saved = {e->builder, e->implicit, e->draw_path};
    e->builder.graph = e->init;
    e->builder.region = REGION_FORWARD;
    e->builder.pin = ELEMENT_NONE;
    e->implicit = shape;
    e->draw_path = arena_internf(e->arena, "init/%s", path);
    return saved;
}

static void end_initialising(struct elaborator *e, struct initialising saved)
{
    e->builder = saved.builder;
    e->implicit = saved.implicit;
    e->draw_path = saved.draw_path;
}

static void write_first(struct elaborator *e, const struct variable *variable, struct node *node)
{
    build_write(&e->builder, variable, node, GATE_NEVER);
    hmput(e->initial, variable, value_tensor(e, node));
}

/* Enters who owns the path, if no one does yet; false when it is another one's. */
static bool take_path(struct elaborator *e, const char *path, const char *owner)
{
    ptrdiff_t at = FIND(e->owners, path);
    if (at < 0)
        hmput(e->owners, path, owner);
    return at < 0 || strcmp(e->owners[at].value, owner) == 0;
}

void reserve_paths(struct elaborator *e)
{
    static const char *const paths[] = {"train/attempt", "train/micro", "train/overflow"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        take_path(e, arena_intern(e->arena, paths[i]), "train");
}

bool variable_is_implied(struct elaborator *e, const char *path)
{
    if (take_path(e, path, "train"))
        return true;
    struct span span = module_find_variable(e->module, path)->span;
    report(e, E0302, span, NULL, "this state would be `%s`, which training keeps itself: give it another name", path);
    hmput(e->owners, path, "train");
    return false;
}

struct variable *variable_implied(struct elaborator *e, const char *name, enum element element, enum variable_kind kind,
                                  double first)
{
    struct variable *variable = module_find_variable(e->module, name);
    variable_is_implied(e, arena_intern(e->arena, name));
    if (variable)
        return variable;
    variable = module_add_variable(e->module, name, type_scalar(element), kind, e->builder.span);
    if (kind == VARIABLE_HOST)
        return variable;
    struct initialising saved = begin_initialising(e, &variable->type.shape, name);
    write_first(e, variable, build_constant(&e->builder, first, element));
    end_initialising(e, saved);
    return variable;
}

/* ---- declaring ---- */

static const char *owned_path(struct elaborator *e, const char *name)
{
    return arena_internf(e->arena, "%s%s%s%s", e->frame->path, *e->frame->path ? "." : "", e->frame->prefix, name);
}

bool is_model_input(const struct elaborator *e, const char *path)
{
    const struct ast_parameters *inputs = &e->unit->model->parameters;
    for (int i = 0; i < inputs->count; i++)
        if (strcmp(inputs->items[i].name, path) == 0)
            return true;
    return false;
}

/* False after a diagnostic: declared before in this very frame, or an input, which files name as they name this. */
static bool declare_path(struct elaborator *e, const char *path, struct span span)
{
    if (is_model_input(e, path)) {
        report(e, E0302, span, NULL, "`%s` is an input of the model already", path);
        return false;
    }
    if (FIND(e->frame->declared, path) >= 0) {
        report(e, E0302, span, NULL, "`%s` is declared already", path);
        diagnostics_note(e->diagnostics, (struct span){0},
                         "in a repeat, declare it before, or give the repeat a label: `repeat i in 0..n as layer`");
        return false;
    }
    hmput(e->frame->declared, path, 1);
    return true;
}

/* False after a diagnostic: the path is that of another instance. Only calling a label ties weights. */
static bool own_path(struct elaborator *e, const char *path, struct span span)
{
    if (take_path(e, path, e->frame->owner ? e->frame->owner : ""))
        return true;
    if (e->frame->state_prefix) {
        report(e, E0302, span, NULL, "this state would be `%s`, which is there already: give it another name", path);
        return false;
    }
    report(e, E0302, span, NULL, "`%s` is declared already, by another instance", path);
    diagnostics_note(e->diagnostics, module_find_variable(e->module, path)->span,
                     "here; another label would keep the two apart, and calling a label ties weights");
    return false;
}

static void initialise_param(struct elaborator *e, struct variable *variable, const struct ast_statement *statement)
{
    struct initialising saved = begin_initialising(e, &variable->type.shape, variable->name);
    struct value value = evaluate_initialiser(e, statement->param.initialiser);
    struct node *node = first_value(e, variable, &value, statement->param.initialiser->span);
    if (node)
        write_first(e, variable, node);
    end_initialising(e, saved);
}

/* The variable of this path, new or as declared by an earlier graph or call. NULL after a diagnostic. */
static struct variable *find_param(struct elaborator *e, const struct ast_statement *statement, const char *path,
                                   const struct shape *shape)
{
    struct span span = statement->param.name.span;
    struct variable *variable = module_find_variable(e->module, path);
    if (!variable) {
        variable = module_add_variable(e->module, path, type_make(ELEMENT_F32, *shape), VARIABLE_PARAMETER,
                                       e->frame->prelude ? e->builder.span : span);
        variable->module = e->frame->definition ? e->frame->definition->name : NULL;
        initialise_param(e, variable, statement);
    }
    if (shape_equal(&variable->type.shape, shape) && variable->kind == VARIABLE_PARAMETER)
        return variable;
    report(e, E0412, span, NULL, "`%s` was %s when it was made, but %s is wanted here", path,
           shape_text(e, &variable->type.shape), shape_text(e, shape));
    return NULL;
}

void declare_param(struct elaborator *e, const struct ast_statement *statement)
{
    const char *name = statement->param.name.name;
    struct shape shape;
    struct axis axes[RANK_MAX];
    if (!e->frame->owns) {
        report(e, E0408, statement->param.name.span, NULL, "only the model and modules have params");
        return;
    }
    const char *path = owned_path(e, name);
    struct variable *variable = NULL;
    struct span span = statement->param.name.span;
    if (type_shape(e, statement->param.type, &shape, axes) && declare_path(e, path, span) && own_path(e, path, span))
        variable = find_param(e, statement, path, &shape);
    if (!variable) {
        bind(e, name, (struct value){0}, NULL);
        return;
    }
    struct value value = variable_value(e, variable);
    for (int i = 0; i < shape.rank && !e->frame->prelude; i++) {
        axes[i].from = arena_internf(e->arena, "`param %s`", name);
        axes[i].span = statement->param.name.span;
    }
    value.axes = arena_copy(e->arena, axes, sizeof *axes * (size_t)shape.rank);
    bind(e, name, value, variable);
}

/* A state takes the type of its first value; numbers make f32 scalars. */
static struct variable *new_state(struct elaborator *e, const struct ast_statement *statement, const char *path,
                                  enum variable_kind kind)
{
    static const struct shape scalar;
    struct initialising saved = begin_initialising(e, &scalar, path);
    struct value value = evaluate_initialiser(e, statement->declare.value);
    struct type type = type_scalar(ELEMENT_F32);
    if (value.kind == VALUE_TENSOR)
        type = type_make(value.node->type.element, value.node->type.shape);
    struct variable *variable = module_add_variable(e->module, path, type, kind, statement->declare.name.span);
    struct node *node = first_value(e, variable, &value, statement->declare.value->span);
    if (node)
        write_first(e, variable, node);
    end_initialising(e, saved);
    return node ? variable : NULL;
}

void declare_state(struct elaborator *e, const struct ast_statement *statement)
{
    const char *name = statement->declare.name.name, *prefix = e->frame->state_prefix;
    if (!e->frame->owns && !prefix) {
        report(e, E0408, statement->span, NULL, "only the model, modules, optimizers and scale rules have states");
        return;
    }
    const char *path = prefix ? arena_internf(e->arena, "%s%s", prefix, name) : owned_path(e, name);
    struct variable *variable = NULL;
    struct span span = statement->declare.name.span;
    if (declare_path(e, path, span) && own_path(e, path, span)) {
        variable = module_find_variable(e->module, path);
        if (!variable)
            variable = new_state(e, statement, path, prefix ? VARIABLE_OPTIMIZER : VARIABLE_STATE);
    }
    if (!variable) {
        bind(e, name, (struct value){0}, NULL);
        return;
    }
    variable->module = e->frame->definition ? e->frame->definition->name : NULL;
    if (e->frame->parameter)
        variable->source = e->frame->parameter->name;
    bind(e, name, variable_value(e, variable), variable);
}

/* ---- writing ---- */

void variable_update(struct elaborator *e, const struct variable *variable, struct node *node, int gate)
{
    struct update_entry entry = {variable, node, gate, e->builder.span};
    ptrdiff_t at = FIND(e->update_index, variable->name);
    if (at >= 0) {
        e->updates[e->update_index[at].value] = entry;
        return;
    }
    hmput(e->update_index, variable->name, (int)arrlen(e->updates));
    arrput(e->updates, entry);
}

/* The new value, of the variable's own type. NULL after a diagnostic. */
static struct node *updated_node(struct elaborator *e, const struct variable *variable, const struct value *value,
                                 struct span span)
{
    if (value->kind == VALUE_NUMBER || value->kind == VALUE_BOOL)
        return build_full(&e->builder, value->number, variable->type.element, &variable->type.shape);
    if (!want_tensor(e, value, span, "a new value"))
        return NULL;
    struct value full = tensor_broadcast(e, value, &variable->type.shape, span);
    if (full.kind == VALUE_ERROR || full.node->type.element == variable->type.element)
        return full.node;
    return build_cast(&e->builder, full.node, variable->type.element);
}

void update_variable(struct elaborator *e, const struct ast_statement *statement)
{
    const char *name = statement->update.name.name;
    struct value value = evaluate_expression(e, statement->update.value);
    ptrdiff_t at = FIND(e->frame->bindings, name);
    struct variable *variable = at >= 0 ? e->frame->bindings[at].variable : NULL;
    if (!variable) {
        bool poisoned = at >= 0 && e->frame->bindings[at].value.kind == VALUE_ERROR;
        if (!poisoned)
            report(e, E0408, statement->update.name.span, NULL,
                   "`%s` is no param or state of this scope; `=` binds a "
                   "value",
                   name);
        return;
    }
    e->builder.span = e->frame->prelude ? e->builder.span : statement->span;
    struct node *node = updated_node(e, variable, &value, statement->update.value->span);
    if (!node)
        return;
    struct value updated = value_tensor_axes(e, node, e->frame->bindings[at].value.axes);
    hmput(e->reads, variable, updated);
    bind(e, name, updated, variable);
    if (e->training && !(e->again && e->frame->gate == GATE_ALL))
        variable_update(e, variable, node, e->frame->gate);
}

void emit_updates(struct elaborator *e)
{
    for (ptrdiff_t i = 0; i < arrlen(e->updates); i++) {
        struct builder builder = e->builder;
        builder.region = REGION_UPDATE;
        builder.span = e->updates[i].span;
        build_write(&builder, e->updates[i].variable, e->updates[i].node, e->updates[i].gate);
    }
}
