/* Pass loss_scale: the whole of loss scaling, inside the graph, and which lines of a step act.
 *
 * scale_seed(k) becomes the scale of line k, unscale(k) the multiplication by its reciprocal in f32. From the gradients
 * of line k comes found_inf(k). Every write that line k gates keeps the old value where found_inf(k) is set, and in
 * steps in which the line does not act (it may act in every n-th step only). So a skipped step leaves everything as it
 * was, and one optimizer may skip while another steps. gate(new, old, k) is the same choice as a value, for what comes
 * later in the step. The scales' rules (function graphs) are inlined once, with found_inf over the lines that they are
 * for.
 *
 * A module whose gradients have no range to win is not scaled: then the markers vanish. */
#include "passes/loss_scale.h"
#include "ir/loop.h"
#include "passes/finite.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>

/* ---- whether to scale ---- */

static bool has_gradient_of(const struct graph *graph, enum element element)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->region == REGION_BACKWARD && graph->nodes[i]->type.element == element)
            return true;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct graph *body = graph->nodes[i]->op == OP_loop ? loop_body(graph->module, graph->nodes[i]) : NULL;
        if (body && has_gradient_of(body, element))
            return true;
    }
    return false;
}

static bool has_op(const struct graph *graph, enum op op)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == op)
            return true;
    return false;
}

/* f16 gradients are scaled; those in bf16 have f32's range, so only on request. */
static bool wants_scaling(const struct graph *graph)
{
    const struct scaling *scaling = &graph->module->scaling;
    return scaling->present && arrlen(scaling->rules) &&
           (has_gradient_of(graph, ELEMENT_F16) || (scaling->explicit && has_gradient_of(graph, ELEMENT_BF16)));
}

/* Whether the graph does what lines do: their gradients end here, or variables of theirs are written. */
static bool holds_update(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if ((node->op == OP_unscale || node->op == OP_write || node->op == OP_gate) &&
            node->attributes->index > GATE_NEVER)
            return true;
    }
    return false;
}

static bool has_turns(const struct module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->minimizes); i++)
        if (module->minimizes[i].turn)
            return true;
    return false;
}

/* ---- gradients ---- */

struct builder scaler_builder(struct graph *graph, const struct node *at)
{
    struct builder builder = {.graph = graph, .scope = "", .region = REGION_UPDATE, .reason = "loss scaling is f32"};
    if (at) {
        builder.span = at->span;
        builder.scope = at->scope;
    }
    return builder;
}

struct scale *scaler_scale(struct scaler *scaler, int rule)
{
    struct module *module = scaler->graph->module;
    struct scale *scale = &scaler->scales[rule];
    if (scale->scale)
        return scale;
    struct builder builder = scaler_builder(scaler->graph, NULL);
    builder.span = module->scaling.span;
    const struct variable *variable = module_scale_of(module, scale->rule);
    if (!variable)
        castor_bug("the scale's rule has no variable called scale");
    scale->scale = build_read(&builder, variable);
    return scale;
}

/* The scale of a line, or for gradients inside the loss (0) the first. */
static struct scale *scale_of(struct scaler *scaler, int line)
{
    return scaler_scale(scaler, line ? scaler->graph->module->minimizes[line - 1].rule : 0);
}

static struct node *unscaled(struct scaler *scaler, struct node *marker)
{
    struct node *gradient = marker->operands[0];
    struct scale *scale = scale_of(scaler, marker->attributes->index);
    struct builder builder = scaler_builder(scaler->graph, marker);
    if (!scale->reciprocal) {
        struct node *one = build_constant(&builder, 1, ELEMENT_F32);
        scale->reciprocal = build_binary(&builder, OP_div, one, scale->scale);
    }
    builder.region = marker->region;
    builder.forward = marker->forward;
    struct node *factor = build_broadcast(&builder, scale->reciprocal, &gradient->type.shape);
    struct node *result = build_binary(&builder, OP_mul, gradient, factor);
    result->type = type_make(ELEMENT_F32, gradient->type.shape);
    result->name = marker->name;
    result->origin = marker->origin;
    return result;
}

/* ---- lines ---- */

static struct node *found_inf(struct scaler *scaler, const struct scaled_line *line)
{
    struct builder builder = scaler_builder(scaler->graph, NULL);
    struct finite_values values = {0};
    for (ptrdiff_t i = 0; i < arrlen(line->gradients); i++)
        finite_add(&values, line->gradients[i]);
    return finite_found_inf(&builder, &values);
}

/* Counts the steps of a line that acts in every n-th one; gives whether this is the n-th. */
static struct node *take_turn(struct scaler *scaler, const struct minimize *minimize)
{
    struct builder builder = scaler_builder(scaler->graph, NULL);
    builder.span = minimize->span;
    const struct variable *variable = module_find_variable(scaler->graph->module, minimize->turn);
    struct node *turn = build_read(&builder, variable), *zero = build_constant(&builder, 0, ELEMENT_I32);
    struct node *acts = build_binary(&builder, OP_eq, turn, build_constant(&builder, minimize->every - 1, ELEMENT_I32));
    struct node *next = build_binary(&builder, OP_add, turn, build_constant(&builder, 1, ELEMENT_I32));
    build_write(&builder, variable, build_where(&builder, acts, zero, next), GATE_NEVER);
    return acts;
}

/* What is known of a line once all of its gradients are there. */
static const struct scaled_line *settle_line(struct scaler *scaler, int number)
{
    const struct minimize *minimize = &scaler->graph->module->minimizes[number - 1];
    struct scaled_line *line = &scaler->lines[number];
    struct builder builder = scaler_builder(scaler->graph, NULL);
    if (line->settled)
        return line;
    line->settled = true;
    line->acts = minimize->turn ? take_turn(scaler, minimize) : NULL;
    line->found_inf = line->skips = scaler->scaled ? found_inf(scaler, line) : NULL;
    if (line->acts) {
        struct node *rests = build_unary(&builder, OP_not, line->acts);
        line->skips = line->found_inf ? build_binary(&builder, OP_or, rests, line->found_inf) : rests;
    }
    if (line->acts && line->found_inf)
        line->found_inf = build_binary(&builder, OP_and, line->acts, line->found_inf);
    return line;
}

/* ---- markers ---- */

static void replace_seed(struct scaler *scaler, struct node *marker)
{
    struct builder builder = scaler_builder(scaler->graph, marker);
    marker->replacement =
        scaler->scaled ? scale_of(scaler, marker->attributes->index)->scale : build_constant(&builder, 1, ELEMENT_F32);
}

static void replace_unscale(struct scaler *scaler, struct node *marker)
{
    struct builder builder = builder_at(scaler->graph, marker);
    int line = marker->attributes->index;
    marker->replacement = scaler->scaled ? unscaled(scaler, marker) : marker->operands[0];
    if (line) {
        arrput(scaler->lines[line].gradients, marker->operands[0]);
        arrput(scaler->lines[line].unscaled, marker->replacement);
    } else if (marker->replacement->type.element != marker->type.element) {
        marker->replacement = build_cast(&builder, marker->replacement, marker->type.element);
    }
}

static void replace_gate(struct scaler *scaler, struct node *marker)
{
    const struct scaled_line *line = settle_line(scaler, marker->attributes->index);
    struct builder builder = builder_at(scaler->graph, marker);
    marker->replacement = line->skips ? build_where(&builder, line->skips, marker->operands[1], marker->operands[0])
                                      : marker->operands[0];
}

/* ---- what is written ---- */

/* found_inf over all lines; NULL: cannot be. */
static struct node *any_found(struct scaler *scaler)
{
    struct builder builder = scaler_builder(scaler->graph, NULL);
    struct node *any = NULL;
    for (int i = 1; i < scaler->line_count; i++) {
        struct node *found = settle_line(scaler, i)->found_inf;
        any = any && found ? build_binary(&builder, OP_or, any, found) : found ? found : any;
    }
    return any;
}

static void append_effect(struct scaler *scaler, struct node *node, struct node *any)
{
    struct module *module = scaler->graph->module;
    graph_map_operands(node);
    int gate = node->op == OP_write ? node->attributes->index : GATE_NEVER;
    struct node *skips = gate == GATE_ALL ? any : gate > GATE_NEVER ? scaler->lines[gate].skips : NULL;
    if (skips) {
        struct builder builder = builder_at(scaler->graph, node);
        builder.region = REGION_UPDATE;
        builder.reason = "a step with inf or NaN is skipped";
        const struct variable *variable = module_find_variable(module, node->attributes->symbol);
        node->operands[0] = build_where(&builder, skips, build_read(&builder, variable), node->operands[0]);
        struct attributes *attributes = arena_copy(module->arena, node->attributes, sizeof *node->attributes);
        attributes->index = GATE_NEVER;
        node->attributes = attributes;
    }
    graph_append(scaler->graph, node);
}

/* ---- where overflows begin ---- */

/* The variable in which kernels leave where the step's overflow began, as a log value. Nodes of the graph never write
 * it: the runtime sets it before a step, code generation adds the telling. */
static void put_out_overflow(struct scaler *scaler)
{
    static const char name[] = "train/overflow";
    struct module *module = scaler->graph->module;
    struct graph *init = module_find_graph(module, "init");
    struct builder builder = scaler_builder(scaler->graph, NULL), first = builder;
    const struct variable *variable = module_find_variable(module, name);
    if (!variable)
        variable = module_add_variable(module, name, type_scalar(ELEMENT_I32), VARIABLE_HOST, module->scaling.span);
    build_output(&builder, "overflow", build_read(&builder, variable), OUTPUT_LOG);
    first.graph = init;
    if (init)
        build_write(&first, variable, build_constant(&first, INT32_MAX, ELEMENT_I32), GATE_NEVER);
}

/* ---- the graph ---- */

static void replace_markers(struct scaler *scaler, bool defer)
{
    struct node **nodes = graph_take_nodes(scaler->graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (node->op == OP_scale_seed)
            replace_seed(scaler, node);
        else if (node->op == OP_unscale)
            replace_unscale(scaler, node);
        else if (node->op == OP_gate)
            replace_gate(scaler, node);
        else if (op_is(node->op, CLASS_EFFECT) && defer)
            arrput(scaler->effects, node);
        else
            graph_append(scaler->graph, node);
    }
    arrfree(nodes);
}

static void open_scaler(struct scaler *scaler)
{
    const struct module *module = scaler->graph->module;
    scaler->line_count = (int)arrlen(module->minimizes) + 1;
    scaler->lines = ARENA_ARRAY(module->arena, struct scaled_line, scaler->line_count);
    scaler->scale_count = scaler->scaled ? (int)arrlen(module->scaling.rules) : 0;
    scaler->scales = ARENA_ARRAY(module->arena, struct scale, scaler->scale_count + 1);
    for (int i = 0; i < scaler->scale_count; i++)
        scaler->scales[i].rule = module->scaling.rules[i];
}

static void close_scaler(struct scaler *scaler)
{
    for (int i = 1; i < scaler->line_count; i++) {
        arrfree(scaler->lines[i].gradients);
        arrfree(scaler->lines[i].unscaled);
    }
    arrfree(scaler->effects);
}

static void scale_graph(struct graph *graph, bool scaled)
{
    struct scaler scaler = {.graph = graph, .scaled = scaled};
    bool updates = holds_update(graph) && (scaled || has_turns(graph->module));
    bool differentiates = has_op(graph, OP_scale_seed);
    graph_number(graph);
    open_scaler(&scaler);
    replace_markers(&scaler, updates);
    struct node *any = updates ? any_found(&scaler) : NULL;
    for (ptrdiff_t i = 0; i < arrlen(scaler.effects); i++)
        append_effect(&scaler, scaler.effects[i], any);
    if (updates && scaled)
        scale_rules_inline(&scaler);
    if (differentiates && scaled)
        put_out_overflow(&scaler);
    close_scaler(&scaler);
    graph_number(graph);
}

/* Requires: precision decided, a step of several micro-batches split already. Ensures: no scale_seed, unscale and gate;
 * writes are gated by values, no longer by number. Preserves: a graph without these markers is left alone. */
void pass_loss_scale(struct graph *graph, struct pass_context *context)
{
    (void)context; /* not optional, so --pass-limit does not count it */
    bool seeds = has_op(graph, OP_scale_seed);
    if (!seeds && !has_op(graph, OP_unscale) && !holds_update(graph))
        return;
    struct module *module = graph->module;
    if (seeds && !wants_scaling(graph))
        scale_rules_drop(module);
    if (!module->scaling.present || scale_check(graph))
        scale_graph(graph, module->scaling.present);
}
