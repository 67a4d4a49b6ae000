/* Reducing IR: graphs, effects and nodes. A node goes by being replaced: by an operand of its type, or by an input of
 * its own, which cuts off all that it was made of. */
#include "frontend/reduce.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* One thing to leave out; a module is parsed anew for each. */
enum change { DROP_GRAPH, DROP_EFFECT, TAKE_OPERAND, MAKE_INPUT, DROP_VARIABLES, CHANGE_COUNT };

static void drop_graph(struct module *module, int number)
{
    arrfree(module->graphs[number]->nodes);
    arrdel(module->graphs, number);
}

/* The node's operand of the same type, NULL where it has none. */
static struct node *like_operand(const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (type_equal(&node->operands[i]->type, &node->type))
            return node->operands[i];
    return NULL;
}

static struct node *input_like(struct graph *graph, const struct node *node)
{
    struct attributes attributes = {.symbol = arena_internf(graph->module->arena, "reduced%u", (unsigned)node->origin)};
    struct builder builder = builder_at(graph, node);
    builder.region = REGION_FORWARD;
    return build(&builder, OP_input, NULL, 0, &attributes, &node->type);
}

/* Rebuilds the graph with node `number` changed; false when the change means nothing there. */
static bool change_node(struct graph *graph, int number, enum change change)
{
    const struct node *target = graph->nodes[number];
    bool effect = op_is(target->op, CLASS_EFFECT);
    if ((change == DROP_EFFECT) != effect || (change == TAKE_OPERAND && !like_operand(target)) ||
        (change == MAKE_INPUT && (op_is(target->op, CLASS_LEAF) || target->op == OP_grad)))
        return false;
    struct node **nodes = graph_take_nodes(graph);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        struct node *node = nodes[i];
        graph_map_operands(node);
        if (i != number)
            graph_append(graph, node);
        else if (change == TAKE_OPERAND)
            node->replacement = like_operand(node);
        else if (change == MAKE_INPUT)
            node->replacement = input_like(graph, node);
    }
    arrfree(nodes);
    graph_number(graph);
    pass_dce(graph, &(struct pass_context){.limit = -1});
    return true;
}

/* Variables that no graph reads or writes. */
static bool drop_variables(struct module *module)
{
    bool dropped = false;
    for (ptrdiff_t i = arrlen(module->variables) - 1; i >= 0; i--) {
        bool used = false;
        for (ptrdiff_t g = 0; g < arrlen(module->graphs) && !used; g++)
            for (ptrdiff_t k = 0; k < arrlen(module->graphs[g]->nodes) && !used; k++) {
                const char *symbol = module->graphs[g]->nodes[k]->attributes->symbol;
                used = symbol && strcmp(symbol, module->variables[i]->name) == 0;
            }
        if (used)
            continue;
        arrdel(module->variables, i);
        dropped = true;
    }
    return dropped;
}

static char *text_of(const struct module *module)
{
    char *text;
    size_t size;
    FILE *stream = arena_stream(&text, &size);
    print_module(module, stream);
    arena_stream_close(stream);
    return text;
}

/* The text after one change; NULL when there is no such thing to change, *end at the end of the list. */
static char *changed(const char *text, enum change change, int graph, int number, bool *end)
{
    struct arena *arena = arena_new();
    struct module *module = parse_module(arena, diagnostics_new(arena), "reduce.ir", text);
    char *result = NULL;
    *end = !module || graph >= (int)arrlen(module->graphs);
    if (!*end && change == DROP_GRAPH) {
        drop_graph(module, graph);
        result = text_of(module);
    } else if (!*end && change == DROP_VARIABLES) {
        *end = true;
        result = drop_variables(module) ? text_of(module) : NULL;
    } else if (!*end) {
        graph_number(module->graphs[graph]);
        *end = number < 0 || number >= (int)arrlen(module->graphs[graph]->nodes);
        if (!*end && change_node(module->graphs[graph], number, change))
            result = text_of(module);
    }
    module_free(module);
    arena_free(arena);
    return result;
}

static bool take(char **text, char *candidate, struct reduce_test *test)
{
    test->tried++;
    bool keep = candidate && strcmp(candidate, *text) != 0 && test->fails(test->own, candidate);
    free(keep ? *text : candidate);
    if (keep)
        *text = candidate;
    return keep;
}

static int count_nodes(const char *text, int graph)
{
    struct arena *arena = arena_new();
    struct module *module = parse_module(arena, diagnostics_new(arena), "reduce.ir", text);
    int count = module && graph < (int)arrlen(module->graphs) ? (int)arrlen(module->graphs[graph]->nodes) : 0;
    module_free(module);
    arena_free(arena);
    return count;
}

/* One kind of change, everywhere, from the last node to the first. */
static bool sweep(char **text, enum change change, struct reduce_test *test)
{
    bool any = false, end = false;
    for (int graph = 0; !end; graph++) {
        bool by_node = change != DROP_GRAPH && change != DROP_VARIABLES;
        char *candidate = by_node ? NULL : changed(*text, change, graph, 0, &end);
        if (!by_node && candidate && take(text, candidate, test)) {
            any = true;
            graph -= change == DROP_GRAPH;
        }
        if (!by_node)
            continue;
        int count = count_nodes(*text, graph);
        for (int number = count - 1; number >= 0; number--) {
            candidate = changed(*text, change, graph, number, &end);
            any |= candidate && take(text, candidate, test);
        }
        end = count == 0;
    }
    return any;
}

char *reduce_ir(char *text, struct reduce_test *test)
{
    bool any = true;
    while (any) {
        any = false;
        for (enum change change = 0; change < CHANGE_COUNT; change++)
            any |= sweep(&text, change, test);
    }
    return text;
}
