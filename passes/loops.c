/* What passes move between a loop and its body. */
#include "passes/loops.h"
#include "passes/rewrite.h"

#include <stb/stb_ds.h>
#include <string.h>

static void read_inside(const struct node *loop, struct graph *body)
{
    for (int i = 0; i < loop->operand_count; i++) {
        struct node *input =
            loop_role(loop, i) == LOOP_CAPTURED && loop->operands[i]->op == OP_read ? loop_input_find(body, i) : NULL;
        if (!input)
            continue;
        input->op = OP_read;
        input->attributes = loop->operands[i]->attributes;
    }
}

void loops_read_inside(const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct graph *body = graph->nodes[i]->op == OP_loop ? loop_body(graph->module, graph->nodes[i]) : NULL;
        if (!body)
            continue;
        read_inside(graph->nodes[i], body);
        loops_read_inside(body);
    }
}

struct first_result {
    struct {
        int64_t loop, number;
    } key;
    struct node *value;
};

void loops_join_results(struct graph *graph)
{
    struct first_result *first = NULL;
    bool joined = false;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op != OP_result)
            continue;
        struct first_result entry = {{node->operands[0]->id, node->attributes->index}, node};
        ptrdiff_t at = hmgeti(first, entry.key);
        if (at < 0) {
            hmputs(first, entry);
            continue;
        }
        node_replace(node, first[at].value);
        joined = true;
    }
    hmfree(first);
    if (joined)
        graph_apply_replacements(graph);
}

static void set_number(struct module *module, struct node *node, int number)
{
    struct attributes *attributes = arena_copy(module->arena, node->attributes, sizeof *attributes);
    attributes->symbol = loop_symbol(module, number);
    node->attributes = attributes;
}

static bool reads(const struct node *node, const char *symbol)
{
    return node->op == OP_read && strcmp(node->attributes->symbol, symbol) == 0;
}

void loops_take_operand(const struct graph *graph, const struct node *loop, int number)
{
    const char *symbol = loop->operands[number]->attributes->symbol;
    struct graph *body = loop_body(graph->module, loop);
    struct node *input = body ? loop_input_find(body, number) : NULL;
    for (ptrdiff_t i = 0; body && i < arrlen(body->nodes); i++) {
        struct node *node = body->nodes[i];
        for (int k = 0; node->op == OP_loop && k < node->operand_count; k++)
            if (reads(node->operands[k], symbol) && loop_role(node, k) == LOOP_CAPTURED)
                loops_take_operand(body, node, k);
    }
    for (ptrdiff_t i = 0; body && i < arrlen(body->nodes); i++) {
        struct node *node = body->nodes[i];
        if (!reads(node, symbol))
            continue;
        node->replacement = input;
        if (input)
            continue;
        input = node;
        input->op = OP_input;
        set_number(body->module, input, number);
    }
    if (input)
        graph_apply_replacements(body);
}

const char *loops_free_name(const struct module *module, const char *name)
{
    const char *found = name;
    for (int i = 2; module_find_graph(module, found); i++)
        found = arena_internf(module->arena, "%s%d", name, i);
    return found;
}

struct node *loops_copy_node(struct graph *to, struct node *const *copies, const struct node *node)
{
    struct module *module = to->module;
    struct node *copy = arena_copy(module->arena, node, sizeof *node);
    copy->operands = ARENA_ARRAY(module->arena, struct node *, node->operand_count);
    for (int k = 0; k < node->operand_count; k++)
        copy->operands[k] = copies[node->operands[k]->id];
    copy->again = node->again ? node->again : node->origin;
    copy->origin = module->next_origin++;
    copy->replacement = NULL;
    copy->mark = 0;
    if (node->op == OP_loop)
        loops_copy_body(module, copy);
    if (node->op == OP_matmul)
        matmul_fold_transposes(module->arena, copy);
    graph_append(to, copy);
    return copy;
}

void loops_copy_body(struct module *module, struct node *loop)
{
    struct graph *body = loop_body(module, loop);
    struct attributes attributes = *loop->attributes;
    const char *name = arena_internf(module->arena, "%s.again", body->name);
    struct graph *copy = module_add_body(module, loops_free_name(module, name));
    copy->batch = body->batch;
    graph_number(body);
    struct node **copies = ARENA_ARRAY(module->arena, struct node *, arrlen(body->nodes));
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++)
        copies[i] = loops_copy_node(copy, copies, body->nodes[i]);
    attributes.symbol = copy->name;
    loop->attributes = arena_copy(module->arena, &attributes, sizeof attributes);
}

struct loop_parts loop_parts_of(const struct node *loop, const struct graph *body)
{
    struct loop_parts parts = {.counts = loop->attributes->loop};
    for (int i = 0; i < loop->operand_count; i++) {
        arrput(parts.operands, loop->operands[i]);
        arrput(parts.inputs, NULL);
    }
    arrsetlen(parts.outputs, (size_t)loop_outputs(body));
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++) {
        struct node *node = body->nodes[i];
        if (node->op == OP_input && parts.inputs)
            parts.inputs[loop_number(node)] = node;
        else if (node->op == OP_output && parts.outputs)
            parts.outputs[loop_number(node)] = node;
    }
    return parts;
}

enum element loop_parts_element(const struct loop_parts *parts, const struct node *loop, int number)
{
    enum loop_role role = loop_role(loop, number);
    const struct node *value = parts->inputs[role == LOOP_STACK ? number - parts->counts.previous : number];
    if (role == LOOP_CARRY)
        value = parts->outputs[number];
    else if (role == LOOP_PREVIOUS && !value)
        value = parts->operands[number + parts->counts.previous];
    return value ? value->type.element : ELEMENT_NONE;
}

void loop_parts_free(struct loop_parts *parts)
{
    arrfree(parts->operands);
    arrfree(parts->inputs);
    arrfree(parts->outputs);
}

void loop_set_parts(struct node *loop, struct graph *body, const struct loop_parts *parts)
{
    struct module *module = body->module;
    struct attributes *attributes = arena_copy(module->arena, loop->attributes, sizeof *attributes);
    attributes->loop = parts->counts;
    loop->attributes = attributes;
    loop->operand_count = (int)arrlen(parts->operands);
    loop->operands = arena_copy(module->arena, parts->operands, sizeof *parts->operands * arrlenu(parts->operands));
    for (int i = 0; i < loop->operand_count; i++)
        if (parts->inputs[i])
            set_number(module, parts->inputs[i], i);
    for (int i = 0; i < arrlen(parts->outputs); i++)
        set_number(module, parts->outputs[i], i);
}

struct node *loop_parts_add(struct loop_parts *parts, struct graph *body, struct node *operand, enum loop_role role)
{
    ptrdiff_t at = role == LOOP_SEQUENCE ? parts->counts.carries + parts->counts.sequences++ : arrlen(parts->operands);
    struct builder builder = builder_at(body, operand);
    struct node *input = loop_input(&builder, operand, role, 0);
    input->name = operand->name;
    (void)arrpop(body->nodes);
    arrins(body->nodes, 0, input);
    arrins(parts->operands, at, operand);
    arrins(parts->inputs, at, input);
    graph_number(body);
    return input;
}

void loops_drop_dead(struct graph *body)
{
    graph_number(body);
    struct node **nodes = graph_take_nodes(body);
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--) {
        nodes[i]->mark |= op_is(nodes[i]->op, CLASS_EFFECT);
        for (int k = 0; nodes[i]->mark && k < nodes[i]->operand_count; k++)
            nodes[i]->operands[k]->mark = 1;
    }
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        if (nodes[i]->mark)
            graph_append(body, nodes[i]);
    arrfree(nodes);
    graph_number(body);
}
