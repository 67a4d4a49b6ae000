/* Graphs, modules and the builder. */
#include "ir/graph.h"

#include <stb/stb_ds.h>
#include <string.h>

struct module *module_new(struct arena *arena, struct diagnostics *diagnostics, const char *name)
{
    struct module *module = ARENA_NEW(arena, struct module);
    module->arena = arena;
    module->diagnostics = diagnostics;
    module->name = arena_intern(arena, name);
    module->accumulate = 1;
    module->next_origin = 1;
    return module;
}

void module_free(struct module *module)
{
    if (!module)
        return;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        arrfree(module->graphs[i]->nodes);
    for (ptrdiff_t i = 0; i < arrlen(module->functions); i++)
        arrfree(module->functions[i]->nodes);
    arrfree(module->graphs);
    arrfree(module->functions);
    arrfree(module->variables);
    arrfree(module->minimizes);
    arrfree(module->scaling.rules);
    shfree(module->variable_index);
}

static struct graph *graph_new(struct module *module, const char *name)
{
    struct graph *graph = ARENA_NEW(module->arena, struct graph);
    graph->name = arena_intern(module->arena, name);
    graph->module = module;
    return graph;
}

struct graph *module_add_graph(struct module *module, const char *name)
{
    struct graph *graph = graph_new(module, name);
    arrput(module->graphs, graph);
    return graph;
}

struct graph *module_add_body(struct module *module, const char *name)
{
    struct graph *graph = module_add_graph(module, name);
    graph->body = true;
    return graph;
}

struct graph *module_add_function(struct module *module, const char *name)
{
    struct graph *graph = graph_new(module, name);
    arrput(module->functions, graph);
    return graph;
}

struct graph *module_find_graph(const struct module *module, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        if (strcmp(module->graphs[i]->name, name) == 0)
            return module->graphs[i];
    return NULL;
}

struct graph *module_training_graph(const struct module *module)
{
    struct graph *train = module_find_graph(module, "train");
    return train ? train : module_find_graph(module, "micro");
}

struct graph *module_step_graph(const struct module *module, int number, int *times)
{
    struct graph *first = module_training_graph(module), *update = module_find_graph(module, "update");
    *times = 1;
    if (number == 1)
        return update;
    if (number > 1)
        return NULL;
    if (!first)
        return arrlen(module->graphs) ? module->graphs[0] : NULL;
    if (update)
        *times = module->accumulate;
    return first;
}

struct variable *module_add_variable(struct module *module, const char *name, struct type type, enum variable_kind kind,
                                     struct span span)
{
    struct variable *variable = ARENA_NEW(module->arena, struct variable);
    variable->name = arena_intern(module->arena, name);
    variable->type = type;
    variable->kind = kind;
    variable->span = span;
    if (module_find_variable(module, name))
        castor_bug("variable %s is there already", name);
    arrput(module->variables, variable);
    shput(module->variable_index, variable->name, variable);
    return variable;
}

struct variable *module_find_variable(const struct module *module, const char *name)
{
    struct variable_entry *index = module->variable_index;
    if (!index)
        return NULL;
    ptrdiff_t at = shgeti(index, name);
    return at < 0 ? NULL : index[at].value;
}

const char *module_line_label(const struct module *module, int number, const char *what)
{
    const struct minimize *lines = module->minimizes;
    bool again = false;
    if (arrlen(lines) <= 1)
        return arena_intern(module->arena, what);
    for (int i = 1; i < number; i++)
        again |= strcmp(lines[i - 1].loss, lines[number - 1].loss) == 0;
    const char *loss = lines[number - 1].loss;
    return again ? arena_internf(module->arena, "%s/%s.%d", what, loss, number)
                 : arena_internf(module->arena, "%s/%s", what, loss);
}

/* Whether the last word of a path such as train/d_loss.scale is this one. */
static bool ends_in_word(const char *path, const char *word)
{
    size_t length = strlen(path), tail = strlen(word);
    return length > tail && strcmp(path + length - tail, word) == 0 && strchr("./", path[length - tail - 1]);
}

struct variable *module_scale_of(const struct module *module, const struct graph *rule)
{
    for (ptrdiff_t i = 0; i < arrlen(rule->nodes); i++) {
        const struct node *node = rule->nodes[i];
        if ((node->op == OP_read || node->op == OP_write) && ends_in_word(node->attributes->symbol, "scale"))
            return module_find_variable(module, node->attributes->symbol);
    }
    return NULL;
}

struct node **graph_take_nodes(struct graph *graph)
{
    struct node **nodes = graph->nodes;
    graph->nodes = NULL;
    return nodes;
}

void graph_append(struct graph *graph, struct node *node)
{
    node->id = (int)arrlen(graph->nodes);
    arrput(graph->nodes, node);
}

struct node *node_resolve(struct node *node)
{
    while (node->replacement)
        node = node->replacement;
    return node;
}

void graph_map_operands(struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        node->operands[i] = node_resolve(node->operands[i]);
}

void graph_number(struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        graph->nodes[i]->id = (int)i;
        graph->nodes[i]->replacement = NULL;
        graph->nodes[i]->mark = 0;
    }
}

/* ---- copying ---- */

static void graph_copy_nodes(struct graph *to, const struct graph *from, struct arena *arena)
{
    ptrdiff_t count = arrlen(from->nodes);
    arrsetlen(to->nodes, (size_t)count);
    for (ptrdiff_t i = 0; i < count; i++) {
        const struct node *old = from->nodes[i];
        struct node *copy = arena_copy(arena, old, sizeof *old);
        copy->id = (int)i;
        copy->replacement = NULL;
        copy->operands = ARENA_ARRAY(arena, struct node *, old->operand_count);
        for (int k = 0; k < old->operand_count; k++)
            copy->operands[k] = to->nodes[old->operands[k]->id];
        to->nodes[i] = copy;
    }
    to->batch = from->batch;
}

struct module *module_copy(const struct module *module, struct arena *arena)
{
    struct module *copy = module_new(arena, module->diagnostics, module->name);
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        const struct variable *old = module->variables[i];
        struct variable *variable = module_add_variable(copy, old->name, old->type, old->kind, old->span);
        variable->frozen = old->frozen;
        variable->source = old->source;
        variable->module = old->module;
    }
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) {
        graph_number(module->graphs[i]);
        struct graph *graph = module_add_graph(copy, module->graphs[i]->name);
        graph->body = module->graphs[i]->body;
        graph_copy_nodes(graph, module->graphs[i], arena);
    }
    copy->scaling = module->scaling;
    copy->scaling.rules = NULL;
    for (ptrdiff_t i = 0; i < arrlen(module->scaling.rules); i++)
        arrput(copy->scaling.rules, NULL);
    for (ptrdiff_t i = 0; i < arrlen(module->functions); i++) {
        graph_number(module->functions[i]);
        struct graph *function = module_add_function(copy, module->functions[i]->name);
        graph_copy_nodes(function, module->functions[i], arena);
        for (ptrdiff_t k = 0; k < arrlen(module->scaling.rules); k++)
            if (module->scaling.rules[k] == module->functions[i])
                copy->scaling.rules[k] = function;
    }
    for (ptrdiff_t i = 0; i < arrlen(module->minimizes); i++)
        arrput(copy->minimizes, module->minimizes[i]);
    copy->accumulate = module->accumulate;
    copy->next_origin = module->next_origin;
    return copy;
}

/* ---- the builder ---- */

static const struct attributes no_attributes;

struct node *build(struct builder *builder, enum op op, struct node *const *operands, int count,
                   const struct attributes *attributes, const struct type *type)
{
    struct module *module = builder->graph->module;
    struct type inferred = type ? *type : (struct type){0};
    if (!type || op_info(op)->attributes == ATTRIBUTE_NONE) {
        const char *problem = node_infer(module->arena, op, operands, count, attributes, &inferred);
        if (problem)
            castor_bug("build %s: %s", op_info(op)->name, problem);
        if (type)
            inferred.element = type->element;
    }
    struct node *node = ARENA_NEW(module->arena, struct node);
    node->op = op;
    node->type = inferred;
    node->operand_count = count;
    node->operands = arena_copy(module->arena, operands, sizeof *operands * (size_t)count);
    node->attributes = attributes ? arena_copy(module->arena, attributes, sizeof *attributes) : &no_attributes;
    node->span = builder->span;
    node->scope = builder->scope ? builder->scope : "";
    node->origin = module->next_origin++;
    node->forward = builder->forward;
    node->region = builder->region;
    node->pin = builder->pin;
    node->reason = builder->reason;
    graph_append(builder->graph, node);
    return node;
}

struct builder builder_at(struct graph *graph, const struct node *node)
{
    return (struct builder){.graph = graph,
                            .span = node->span,
                            .scope = node->scope,
                            .region = node->region,
                            .pin = node->pin,
                            .reason = node->reason,
                            .forward = node->forward};
}

struct node *build_unary(struct builder *builder, enum op op, struct node *a)
{
    return build(builder, op, &a, 1, NULL, NULL);
}

struct node *build_cast(struct builder *builder, struct node *a, enum element element)
{
    struct type type = type_make(element, a->type.shape);
    return build(builder, OP_cast, &a, 1, NULL, &type);
}

static void common_shape(struct builder *builder, struct node **operands, int count)
{
    struct shape shape = operands[0]->type.shape;
    for (int i = 1; i < count; i++)
        if (!shape_broadcast(&shape, &operands[i]->type.shape, &shape))
            castor_bug("operands do not broadcast");
    for (int i = 0; i < count; i++)
        operands[i] = build_broadcast(builder, operands[i], &shape);
}

struct node *build_binary(struct builder *builder, enum op op, struct node *a, struct node *b)
{
    struct node *operands[] = {a, b};
    common_shape(builder, operands, 2);
    return build(builder, op, operands, 2, NULL, NULL);
}

struct node *build_where(struct builder *builder, struct node *condition, struct node *a, struct node *b)
{
    struct node *operands[] = {condition, a, b};
    common_shape(builder, operands, 3);
    return build(builder, OP_where, operands, 3, NULL, NULL);
}

struct node *build_constant(struct builder *builder, double value, enum element element)
{
    struct type type = type_scalar(element);
    return build(builder, OP_constant, NULL, 0, &(struct attributes){.value = value}, &type);
}

struct node *build_full(struct builder *builder, double value, enum element element, const struct shape *shape)
{
    return build_broadcast(builder, build_constant(builder, value, element), shape);
}

struct node *build_reshape(struct builder *builder, struct node *a, const struct shape *shape)
{
    if (shape_equal(&a->type.shape, shape))
        return a;
    struct type type = type_make(a->type.element, *shape);
    return build(builder, OP_reshape, &a, 1, NULL, &type);
}

struct node *build_broadcast(struct builder *builder, struct node *a, const struct shape *shape)
{
    if (shape_equal(&a->type.shape, shape))
        return a;
    struct shape padded = {.rank = shape->rank};
    int added = shape->rank - a->type.shape.rank;
    for (int i = 0; i < shape->rank; i++)
        padded.dimension[i] = i < added ? 1 : a->type.shape.dimension[i - added];
    a = build_reshape(builder, a, &padded);
    if (shape_equal(&padded, shape))
        return a;
    struct type type = type_make(a->type.element, *shape);
    return build(builder, OP_broadcast, &a, 1, NULL, &type);
}

struct node *build_reduce(struct builder *builder, enum op op, struct node *a, uint32_t axes)
{
    return axes || op != OP_sum ? build(builder, op, &a, 1, &(struct attributes){.axes = axes}, NULL) : a;
}

struct node *build_permute(struct builder *builder, struct node *a, const unsigned char *permutation)
{
    struct attributes attributes = {0};
    memcpy(attributes.permutation, permutation, (size_t)a->type.shape.rank);
    return build(builder, OP_permute, &a, 1, &attributes, NULL);
}

struct node *build_matmul(struct builder *builder, struct node *a, struct node *b, bool transpose_a, bool transpose_b)
{
    struct node *operands[] = {a, b};
    return build(builder, OP_matmul, operands, 2,
                 &(struct attributes){.transpose_a = transpose_a, .transpose_b = transpose_b}, NULL);
}

struct node *build_read(struct builder *builder, const struct variable *variable)
{
    return build(builder, OP_read, NULL, 0, &(struct attributes){.symbol = variable->name}, &variable->type);
}

struct node *build_write(struct builder *builder, const struct variable *variable, struct node *value, int gate)
{
    return build(builder, OP_write, &value, 1, &(struct attributes){.symbol = variable->name, .index = gate}, NULL);
}

struct node *build_output(struct builder *builder, const char *symbol, struct node *value, enum output_kind kind)
{
    symbol = arena_intern(builder->graph->module->arena, symbol);
    return build(builder, OP_output, &value, 1, &(struct attributes){.symbol = symbol, .output = kind}, NULL);
}

const char *region_name(enum region region)
{
    static const char *const names[] = {"forward", "backward", "update"};
    return names[region];
}

const char *output_kind_name(enum output_kind kind)
{
    static const char *const names[] = {"value", "loss", "metric", "numerator", "denominator", "watch", "log", "total"};
    return names[kind];
}

const char *variable_kind_name(enum variable_kind kind)
{
    static const char *const names[] = {"parameter", "state", "optimizer", "copy", "host"};
    return names[kind];
}
