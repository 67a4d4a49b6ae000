/* Pass accumulate: splits a training step of several micro-batches.
 *
 * Graph train becomes graph micro, run once a micro-batch: forward, backward, and each gradient of an unscale added, in
 * f32 and still scaled, to a variable of its own. Graph update, run once a step, takes their mean and does the rest:
 * unscale, clip, optimizer. `train/micro` counts the micro-batches of the step; the first one replaces what the
 * variables hold instead of adding to it, so nothing has to be cleared. States of the forward pass go on from
 * micro-batch to micro-batch in pending copies, and are committed by the update: a skipped step forgets them. */
#include "passes/loops.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <string.h>

struct split {
    struct module *module;
    struct graph *micro, *update, *init;
    bool *updates;         /* by id: belongs to the update … */
    bool *only_updates;    /* … and to it alone: it needs an unscaled gradient, or is an effect */
    bool *batch_dependent; /* by id: depends on the micro-batch */
    struct node **copies;  /* by id: the node's copy in the update */
    struct node *first;    /* in micro: whether this is the first micro-batch of its step */
    int accumulators;
};

static struct builder split_builder(struct graph *graph, const struct node *at)
{
    struct builder builder = builder_at(graph, at);
    builder.region = REGION_UPDATE;
    builder.reason = "accumulation is f32";
    builder.pin = ELEMENT_NONE;
    builder.forward = 0;
    return builder;
}

/* Adds a variable that the init graph sets to zero. */
static struct variable *add_variable(struct split *split, const char *name, struct type type, struct span span)
{
    struct variable *variable = module_add_variable(split->module, name, type, VARIABLE_OPTIMIZER, span);
    if (split->init) {
        struct builder builder = {.graph = split->init, .region = REGION_UPDATE, .reason = "initial values are f32"};
        struct node *zero = build_full(&builder, 0, type.element, &type.shape);
        build_write(&builder, variable, zero, GATE_NEVER);
    }
    return variable;
}

/* ---- what goes where ---- */

static bool is_log(const struct node *node)
{
    return node->op == OP_output && node->attributes->output == OUTPUT_LOG;
}

/* The gradient of a line: what is added up. One inside the loss is a value like any other. */
static bool ends_gradient(const struct node *node)
{
    return node->op == OP_unscale && node->attributes->index > GATE_NEVER;
}

static bool any_operand(const struct node *node, const bool *flags)
{
    for (int i = 0; i < node->operand_count; i++)
        if (flags[node->operands[i]->id])
            return true;
    return false;
}

static void classify(struct split *split, struct node *const *nodes)
{
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        const struct node *node = nodes[i];
        bool of_line = node->op == OP_write && node->attributes->index > GATE_NEVER;
        split->updates[i] = ends_gradient(node) || of_line || any_operand(node, split->updates) ||
                            (is_log(node) && node->region == REGION_UPDATE);
        split->batch_dependent[i] =
            !ends_gradient(node) && (node->op == OP_input || node->op == OP_random || node->op == OP_scale_seed ||
                                     any_operand(node, split->batch_dependent));
    }
    memcpy(split->only_updates, split->updates, (size_t)arrlen(nodes) * sizeof *split->updates);
    /* Whatever the update needs and that is the same for all micro-batches is computed there. */
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--)
        for (int k = 0; split->updates[i] && !ends_gradient(nodes[i]) && k < nodes[i]->operand_count; k++)
            split->updates[nodes[i]->operands[k]->id] = true;
}

static bool check_update(const struct split *split, struct node *const *nodes)
{
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        if (!split->updates[i] || !split->batch_dependent[i])
            continue;
        diagnostics_error(split->module->diagnostics, E0803, nodes[i]->span, NULL,
                          "with accumulate, the update of the parameters can't use the %s of one micro-batch",
                          nodes[i]->op == OP_input ? "data" : "values");
        return false;
    }
    return true;
}

/* ---- micro ---- */

static void count_micro_batches(struct split *split, const struct node *at)
{
    struct variable *variable = add_variable(split, "train/micro", type_scalar(ELEMENT_I32), at->span);
    struct builder builder = split_builder(split->micro, at);
    struct node *count = build_read(&builder, variable);
    split->first = build_binary(&builder, OP_eq, count, build_constant(&builder, 0, ELEMENT_I32));
    struct node *next = build_binary(&builder, OP_add, count, build_constant(&builder, 1, ELEMENT_I32));
    build_write(&builder, variable, next, GATE_NEVER);

    builder.graph = split->update;
    build_write(&builder, variable, build_constant(&builder, 0, ELEMENT_I32), GATE_NEVER);
}

/* Adds the marker's gradient to a new variable; the marker then stands in the update, on the variable's mean. */
static void accumulate_gradient(struct split *split, struct node *marker)
{
    struct node *gradient = marker->operands[0];
    struct type type = type_make(ELEMENT_F32, gradient->type.shape);
    const char *name = arena_printf(split->module->arena, "train/gradient.%d", ++split->accumulators);
    struct variable *variable = add_variable(split, name, type, marker->span);
    struct builder builder = split_builder(split->micro, marker);
    builder.region = REGION_BACKWARD;
    struct node *added = build_binary(&builder, OP_add, build_read(&builder, variable), gradient);
    added->type = type;
    struct node *sum = build_where(&builder, split->first, gradient, added);
    sum->type = type;
    build_write(&builder, variable, sum, GATE_NEVER);

    builder.graph = split->update;
    builder.region = REGION_UPDATE;
    struct node *share = build_full(&builder, 1.0 / split->module->accumulate, ELEMENT_F32, &type.shape);
    struct node *mean = build_binary(&builder, OP_mul, build_read(&builder, variable), share);
    marker->operands[0] = mean;
    marker->type = type;
    graph_append(split->update, marker);
    split->copies[marker->mark] = marker;
}

/* ---- update ---- */

/* The node of the update that stands for one of the step; operands come first, so it is there already. */
static struct node *copied(struct split *split, struct node *node)
{
    struct node *copy = split->copies[node->mark];
    if (!copy)
        castor_bug("accumulate: %s is missing in the update", op_info(node->op)->name);
    return copy;
}

static void copy_operands(struct split *split, struct node *node)
{
    for (int k = 0; k < node->operand_count; k++)
        node->operands[k] = copied(split, node->operands[k]);
}

/* Effects move; values are copied, since the micro-batches may need them too. */
static void put_into_update(struct split *split, struct node *node)
{
    struct node *copy = node;
    if (!op_is(node->op, CLASS_EFFECT)) {
        copy = arena_copy(split->module->arena, node, sizeof *node);
        copy->operands =
            arena_copy(split->module->arena, node->operands, sizeof *node->operands * (size_t)node->operand_count);
        copy->origin = split->module->next_origin++;
        if (node->op == OP_loop && !split->only_updates[node->mark])
            loops_copy_body(split->module, copy);
    }
    copy_operands(split, copy);
    split->copies[node->mark] = copy;
    graph_append(split->update, copy);
}

/* ---- states of the forward pass ---- */

/* Reads of a state that the step writes see the pending value, but in the first micro-batch. */
static struct node *read_state(struct split *split, struct node *read, const struct variable *pending)
{
    struct builder builder = split_builder(split->micro, read);
    return build_where(&builder, split->first, read, build_read(&builder, pending));
}

static void commit_state(struct split *split, struct node *write, const struct variable *pending)
{
    struct attributes *attributes = arena_copy(split->module->arena, write->attributes, sizeof *write->attributes);
    attributes->symbol = pending->name;
    attributes->index = GATE_NEVER;
    struct builder builder = split_builder(split->update, write);
    build_write(&builder, module_find_variable(split->module, write->attributes->symbol), build_read(&builder, pending),
                GATE_ALL);
    write->attributes = attributes;
    graph_append(split->micro, write);
}

static const char *pending_name(const struct split *split, const char *state)
{
    return arena_internf(split->module->arena, "train/pending/%s", state);
}

static void add_pending(struct split *split, struct node *const *nodes)
{
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        const struct node *node = nodes[i];
        if (node->op != OP_write || split->updates[i] || node->attributes->index != GATE_ALL)
            continue;
        const struct variable *state = module_find_variable(split->module, node->attributes->symbol);
        add_variable(split, pending_name(split, state->name), state->type, node->span);
    }
}

/* ---- the split ---- */

static const struct variable *pending_of(const struct split *split, const struct node *node)
{
    bool committed = node->op == OP_read || (node->op == OP_write && node->attributes->index == GATE_ALL);
    return committed ? module_find_variable(split->module, pending_name(split, node->attributes->symbol)) : NULL;
}

/* Bodies of loops read variables themselves; pending values they are given. */
static void take_pending(const struct split *split, const struct node *loop)
{
    for (int k = 0; k < loop->operand_count; k++)
        if (loop->operands[k]->op == OP_read && loop_role(loop, k) == LOOP_CAPTURED &&
            pending_of(split, loop->operands[k]))
            loops_take_operand(split->micro, loop, k);
}

static void put_into_micro(struct split *split, struct node *node)
{
    if (node->op == OP_loop)
        take_pending(split, node);
    graph_map_operands(node);
    const struct variable *pending = pending_of(split, node);
    if (node->op == OP_write && pending) {
        commit_state(split, node, pending);
        return;
    }
    graph_append(split->micro, node);
    if (node->op == OP_read && pending)
        node->replacement = read_state(split, node, pending);
}

static void split_nodes(struct split *split, struct node *const *nodes)
{
    count_micro_batches(split, nodes[0]);
    add_pending(split, nodes);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        bool updates = split->updates[i];
        if (ends_gradient(node)) {
            graph_map_operands(node);
            accumulate_gradient(split, node);
            continue;
        }
        if (updates) /* first, while the operands are still those of the step */
            put_into_update(split, node);
        if (!split->only_updates[i])
            put_into_micro(split, node);
    }
}

/* Requires: gradients expanded, markers of loss scaling still there. Ensures: with accumulate > 1, graphs micro and
 * update instead of train. Preserves: all other graphs. */
void pass_accumulate(struct graph *graph, struct pass_context *context)
{
    (void)context; /* not optional, so --pass-limit does not count it */
    struct module *module = graph->module;
    if (module->accumulate <= 1 || strcmp(graph->name, "train") != 0 || arrlen(graph->nodes) == 0)
        return;
    graph_number(graph);
    struct node **nodes = graph_take_nodes(graph);
    size_t count = arrlenu(nodes);
    struct split split = {.module = module, .micro = graph, .init = module_find_graph(module, "init")};
    split.updates = ARENA_ARRAY(module->arena, bool, count);
    split.only_updates = ARENA_ARRAY(module->arena, bool, count);
    split.batch_dependent = ARENA_ARRAY(module->arena, bool, count);
    split.copies = ARENA_ARRAY(module->arena, struct node *, count);
    for (size_t i = 0; i < count; i++)
        nodes[i]->mark = (int64_t)i;
    classify(&split, nodes);
    if (check_update(&split, nodes)) {
        graph->name = arena_intern(module->arena, "micro");
        split.update = module_add_graph(module, "update");
        split_nodes(&split, nodes);
        graph_number(split.update);
    }
    arrfree(nodes);
    graph_number(graph);
}
