/* Metrics made of totals: `total(x)` is x summed over the data set, and what a metric makes of such sums is computed
 * once, when all batches are through. An evaluating graph puts out what is to be summed, `NAME.total.0` and so on; the
 * graph `metrics` takes the sums as inputs of these names, and puts out the metric. */
#include "frontend/language/elaborate_internal.h"

#include <stb/stb_ds.h>
#include <string.h>

static const char metrics_name[] = "metrics";

/* In graphs that evaluate a data set. */
static bool is_summing(const struct elaborator *e)
{
    return e->request && e->builder.graph && e->builder.graph != e->init && !e->training && !e->request->one_batch;
}

/* Elsewhere it is the value of the batch. */
BUILTIN(total)
{
    struct elaborator *e = call->e;
    struct value x = call->values[0];
    if (refuse_classes(e, &x, "total", call->spans[0]))
        return (struct value){0};
    bool summed = is_summing(e);
    if (x.kind == VALUE_NUMBER && summed)
        x = value_tensor(e, build_constant(&e->builder, x.number, ELEMENT_F32));
    if (x.kind == VALUE_NUMBER || !want_tensor(e, &x, call->spans[0], "what is summed"))
        return x;
    x = tensor_cast(e, &x, ELEMENT_F32, false);
    if (!summed)
        return x;
    struct node *node = build_unary(&e->builder, OP_stop_gradient, x.node);
    arrput(e->totals, node);
    return value_tensor_axes(e, node, x.axes);
}

static bool is_total(const struct elaborator *e, const struct node *node)
{
    for (ptrdiff_t i = 0; i < arrlen(e->totals); i++)
        if (e->totals[i] == node)
            return true;
    return false;
}

/* By id: what the metric is made of, up to the totals; NULL where it is made of none. */
static const bool *made_of(const struct elaborator *e, const struct node *metric)
{
    struct node *const *nodes = e->builder.graph->nodes;
    bool *needed = ARENA_ARRAY(e->arena, bool, arrlenu(nodes)), any = false;
    needed[metric->id] = true;
    for (int id = metric->id; id >= 0; id--) {
        bool total = needed[id] && is_total(e, nodes[id]);
        any |= total;
        for (int i = 0; needed[id] && !total && i < nodes[id]->operand_count; i++)
            needed[nodes[id]->operands[i]->id] = true;
    }
    return any ? needed : NULL;
}

static bool is_put_out(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_output && strcmp(graph->nodes[i]->attributes->symbol, name) == 0)
            return true;
    return false;
}

/* The node in the graph of metrics, computed in f32. */
static struct node *copy_node(struct graph *metrics, const struct node *node, struct node *const *copies)
{
    struct builder builder = builder_at(metrics, node);
    struct node **operands = ARENA_ARRAY(metrics->module->arena, struct node *, node->operand_count + 1);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = copies[node->operands[i]->id];
    builder.pin = ELEMENT_F32;
    struct node *copy = build(&builder, node->op, operands, node->operand_count, node->attributes, &node->type);
    copy->name = node->name;
    return copy;
}

/* The sum's input there, put out here. */
static struct node *move_total(struct elaborator *e, struct graph *metrics, const struct node *total,
                               const char *symbol)
{
    struct builder builder = builder_at(metrics, total);
    build_output(&e->builder, symbol, total->operands[0], OUTPUT_TOTAL);
    return build(&builder, OP_input, NULL, 0, &(struct attributes){.symbol = symbol}, &total->type);
}

static bool is_known(const struct node *node)
{
    return node->operand_count || node->op == OP_constant || node->op == OP_iota;
}

bool emit_totals(struct elaborator *e, const struct declared_output *output, struct node *metric)
{
    const bool *needed = arrlen(e->totals) ? made_of(e, metric) : NULL;
    if (!needed)
        return false;
    struct graph *metrics = module_find_graph(e->module, metrics_name);
    metrics = metrics ? metrics : module_add_graph(e->module, metrics_name);
    bool done = is_put_out(metrics, output->name); /* by an evaluating graph for other batches */
    struct node **copies = ARENA_ARRAY(e->arena, struct node *, metric->id + 1);
    for (int id = 0, count = 0; id <= metric->id; id++) {
        const struct node *node = e->builder.graph->nodes[id]; /* the array grows with each sum that is put out */
        if (!needed[id])
            continue;
        if (is_total(e, node)) {
            const char *symbol = arena_internf(e->arena, "%s.total.%d", output->name, count++);
            if (done)
                build_output(&e->builder, symbol, node->operands[0], OUTPUT_TOTAL);
            else
                copies[id] = move_total(e, metrics, node, symbol);
        } else if (!is_known(node)) {
            report(e, E0413, output->span, NULL, "metric `%s` takes values of a batch beside totals of all",
                   output->name);
            diagnostics_note(e->diagnostics, (struct span){0}, "total(x) is x summed over the data set");
            return true;
        } else if (!done) {
            copies[id] = copy_node(metrics, node, copies);
        }
    }
    if (!done) {
        struct builder builder = builder_at(metrics, metric);
        build_output(&builder, output->name, copies[metric->id], OUTPUT_METRIC);
    }
    return true;
}
