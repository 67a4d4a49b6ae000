/* The story of one node's precision: rule, the values that it came from, casts around it, bytes and time. */
#include "passes/explain.h"
#include "ir/print.h"
#include "passes/cost.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_MOST = 12 };

struct story {
    const struct module *module;
    const struct policy *policy;
    const struct target *target; /* NULL: no predictions */
    const struct graph *graph;
    const char **names; /* of the graph's nodes, by id */
    FILE *out;
};

static const char *element_of(const struct node *node)
{
    return element_name(node->type.element);
}

static const char *name_of(const struct story *story, const struct node *node)
{
    return story->names[node->id];
}

static bool is_wanted(const struct node *node, const char *name)
{
    if (*name == '#')
        return node->origin == strtoul(name + 1, NULL, 10);
    return node->name && strcmp(node->name, name) == 0;
}

/* ---- parts of the story ---- */

static void tell_node(const struct story *story, const struct node *node)
{
    char type[TYPE_TEXT];
    fprintf(story->out, "%s = %s : %s", name_of(story, node), op_info(node->op)->name,
            type_format(&node->type, type, sizeof type));
    fprintf(story->out, ", %s, graph %s\n", region_name(node->region), story->graph->name);
    if (node->span.file)
        fprintf(story->out, "  written at   %s:%d:%d\n", node->span.file, node->span.line, node->span.column);
    if (*node->scope)
        fprintf(story->out, "  in           %s\n", node->scope);
    fprintf(story->out, "  rule         %s\n", node->reason ? node->reason : "none yet: the policy has not run");
}

static const struct node *by_origin(const struct story *story, uint32_t origin)
{
    for (ptrdiff_t i = 0; i < arrlen(story->graph->nodes); i++)
        if (story->graph->nodes[i]->origin == origin)
            return story->graph->nodes[i];
    return NULL;
}

/* The operand that a node which follows others has its type from: the first of the same type that is no constant. */
static const struct node *followed(const struct node *node)
{
    if (!node->reason || !(strstr(node->reason, "follow") || strstr(node->reason, "promote")))
        return NULL;
    for (int i = 0; i < node->operand_count; i++)
        if (node->operands[i]->type.element == node->type.element && node->operands[i]->op != OP_constant)
            return node->operands[i];
    return NULL;
}

/* The way back along which the type came. */
static void tell_path(const struct story *story, const struct node *node)
{
    const struct node *forward = node->forward ? by_origin(story, node->forward) : NULL;
    if (forward)
        fprintf(story->out, "  backward of  %s : %s, %s\n", name_of(story, forward), element_of(forward),
                forward->reason ? forward->reason : "");
    const struct node *from = followed(node);
    for (int i = 0; from && i < PATH_MOST; i++, from = followed(from))
        fprintf(story->out, "  as           %s = %s : %s, %s\n", name_of(story, from), op_info(from->op)->name,
                element_of(from), from->reason ? from->reason : "");
}

static const struct variable *copy_read(const struct story *story, const struct node *node)
{
    const struct variable *variable =
        node->op == OP_read ? module_find_variable(story->module, node->attributes->symbol) : NULL;
    return variable && variable->kind == VARIABLE_COPY ? variable : NULL;
}

static int tell_operand_cast(const struct story *story, const struct node *operand)
{
    const struct variable *copy = copy_read(story, operand);
    if (copy)
        fprintf(story->out, "  cast before  %s is read as its %s copy %s, which the update writes: no cast here\n",
                copy->source, element_name(copy->type.element), copy->name);
    else if (operand->op == OP_cast)
        fprintf(story->out, "  cast before  %s %s -> %s (%s)\n", name_of(story, operand->operands[0]),
                element_of(operand->operands[0]), element_of(operand), operand->reason ? operand->reason : "");
    return copy || operand->op == OP_cast;
}

static void tell_casts(const struct story *story, const struct node *node)
{
    int casts = 0;
    for (int i = 0; i < node->operand_count; i++)
        casts += tell_operand_cast(story, node->operands[i]);
    for (ptrdiff_t i = node->id + 1; i < arrlen(story->graph->nodes); i++) {
        const struct node *user = story->graph->nodes[i];
        if (user->op != OP_cast || user->operands[0] != node)
            continue;
        casts++;
        fprintf(story->out, "  cast after   %s -> %s (%s)\n", element_of(node), element_of(user),
                user->reason ? user->reason : "");
    }
    if (!casts)
        fprintf(story->out, "  casts        none around it\n");
}

/* What the node would cost in a type: its products and one way through memory. */
static double seconds_in(const struct story *story, const struct node *node, enum element element)
{
    const struct target *target = story->target;
    double elements = (double)shape_elements(&node->type.shape), seconds = 0;
    if (target->bandwidth > 0)
        seconds = elements * (double)element_bytes(target->storage[element]) / target->bandwidth;
    if (op_is(node->op, CLASS_CONTRACTION) && target->flops[element] > 0)
        seconds += node_flops(node) / target->flops[element];
    return seconds;
}

static void tell_bytes(const struct story *story, const struct node *node)
{
    const double micro = 1e6;
    double elements = (double)shape_elements(&node->type.shape);
    fprintf(story->out, "  bytes        %.0f", elements * (double)element_bytes(node->type.element));
    if (!element_is_float(node->type.element)) {
        fputc('\n', story->out);
        return;
    }
    enum element other = element_is_half(node->type.element) ? ELEMENT_F32 : story->policy->half;
    fprintf(story->out, ", in %s %.0f\n", element_name(other), elements * (double)element_bytes(other));
    if (!story->target)
        return;
    bool product = op_is(node->op, CLASS_CONTRACTION);
    enum element now = product ? node->operands[0]->type.element : node->type.element;
    other = element_is_half(now) ? ELEMENT_F32 : story->policy->half;
    fprintf(story->out, "  predicted    %.3g us in %s, %.3g us in %s (%smoved once)\n",
            micro * seconds_in(story, node, now), element_name(now), micro * seconds_in(story, node, other),
            element_name(other), product ? "multiplied and " : "");
}

static void tell(const struct story *story, const struct node *node)
{
    tell_node(story, node);
    tell_path(story, node);
    tell_casts(story, node);
    tell_bytes(story, node);
    if (story->policy->verdict)
        fprintf(story->out, "  policy       %s\n", story->policy->verdict);
}

/* ---- finding it ---- */

static bool is_asked_graph(const struct graph *graph)
{
    static const char *const names[] = {"train", "micro", "update", "eval"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(graph->name, names[i], length) == 0 &&
            (!graph->name[length] || (graph->body && graph->name[length] == '.')))
            return true;
    }
    return false;
}

static void report_unknown(const struct module *module, const char *name)
{
    const char **candidates = NULL;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        for (ptrdiff_t k = 0; is_asked_graph(module->graphs[i]) && k < arrlen(module->graphs[i]->nodes); k++)
            if (module->graphs[i]->nodes[k]->name)
                arrput(candidates, module->graphs[i]->nodes[k]->name);
    diagnostics_error(module->diagnostics, E0610, (struct span){0}, NULL, "no value is called `%s`", name);
    const char *near = suggest(name, candidates, arrlenu(candidates));
    if (near)
        diagnostics_note(module->diagnostics, (struct span){0}, "did you mean `%s`?", near);
    else
        diagnostics_note(module->diagnostics, (struct span){0},
                         "`castor dump --emit ir` shows all names; \"#12\" asks for the node with origin 12");
    arrfree(candidates);
}

bool explain_node(const struct module *module, const struct policy *policy, const struct target *target,
                  const char *name, FILE *out)
{
    int told = 0;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) {
        struct graph *graph = module->graphs[i];
        if (!is_asked_graph(graph))
            continue;
        graph_number(graph);
        struct story story = {module, policy, target, graph, graph_node_names(graph, module->arena), out};
        for (ptrdiff_t k = 0; k < arrlen(graph->nodes); k++) {
            if (!is_wanted(graph->nodes[k], name))
                continue;
            if (told++)
                fputc('\n', out);
            tell(&story, graph->nodes[k]);
        }
    }
    if (!told)
        report_unknown(module, name);
    return told;
}
