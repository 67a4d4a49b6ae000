/* Rewrites a graph by a plan: kernels in the plan's order, recipes as kernels of their own.
 *
 * Whoever comes behind a recipe takes the value that it made. A node that lies in no memory may be computed by several
 * kernels; the kernel that takes another value gets one of its own. */
#include "passes/order.h"
#include "passes/remat.h"

#include <stb/stb_ds.h>

/* Operands that a node of an old kernel will have. They wait for the end, since recipes are read off the old graph. */
struct rewired {
    struct node *node, **operands;
};

struct rewriter {
    struct remat_problem *problem;
    struct node **present;   /* by value: the node that holds it at this point of the plan */
    struct node **copies;    /* stb_ds array */
    struct rewired *rewired; /* stb_ds array */
    int *number;             /* by old number: the new one */
    int kernels;
};

/* ---- within one kernel: node->replacement is what stands for a node there ---- */

static struct node *standing_for(struct node *node)
{
    return node->replacement ? node->replacement : node;
}

static bool is_changed(const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++)
        if (node->operands[i]->replacement)
            return true;
    return false;
}

static struct node **changed_operands(const struct rewriter *rewriter, const struct node *node)
{
    struct arena *arena = rewriter->problem->graph->module->arena;
    struct node **operands = ARENA_ARRAY(arena, struct node *, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = standing_for(node->operands[i]);
    return operands;
}

static void copy_node(struct rewriter *rewriter, struct node *node, int kernel)
{
    struct module *module = rewriter->problem->graph->module;
    struct node *copy = arena_copy(module->arena, node, sizeof *node);
    copy->operands = changed_operands(rewriter, node);
    copy->origin = module->next_origin++;
    copy->again = node->again ? node->again : node->origin;
    copy->kernel = kernel;
    copy->replacement = NULL;
    node->replacement = copy;
    arrput(rewriter->copies, copy);
}

static void set_loads(const struct rewriter *rewriter, struct node *const *nodes, int count)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < nodes[i]->operand_count; k++) {
            struct node *operand = nodes[i]->operands[k];
            int value = rewriter->problem->value_of[operand->id];
            struct node *present = value < 0 ? operand : rewriter->present[value];
            if (present != operand)
                operand->replacement = present;
        }
}

static void clear(struct node *const *nodes, int count)
{
    for (int i = 0; i < count; i++) {
        nodes[i]->replacement = NULL;
        for (int k = 0; k < nodes[i]->operand_count; k++)
            nodes[i]->operands[k]->replacement = NULL;
    }
}

/* ---- the entries of a plan ---- */

static void add_kernel(struct rewriter *rewriter, int index)
{
    const struct kernel_use *use = &rewriter->problem->set.kernels[index];
    rewriter->number[use->number] = ++rewriter->kernels;
    set_loads(rewriter, use->computed, use->computed_count);
    for (int i = 0; i < use->computed_count; i++) {
        struct node *node = use->computed[i];
        if (!is_changed(node))
            continue;
        if (node->kernel)
            arrput(rewriter->rewired, ((struct rewired){node, changed_operands(rewriter, node)}));
        else
            copy_node(rewriter, node, 0);
    }
    clear(use->computed, use->computed_count);
}

static void add_recipe(struct rewriter *rewriter, int value)
{
    const struct recipe *recipe = remat_recipe(rewriter->problem, value);
    const struct remat_value *of = &rewriter->problem->values[value];
    bool library = rewriter->problem->set.kernels[of->kernel].contraction != NULL;
    int number = ++rewriter->kernels;
    /* What the kernel stores beside the value is computed inside: only loads are looked up. */
    set_loads(rewriter, recipe->nodes, recipe->node_count);
    for (int i = 0; i < recipe->node_count; i++)
        recipe->nodes[i]->replacement = NULL;
    for (int i = 0; i < recipe->node_count; i++) {
        struct node *node = recipe->nodes[i];
        bool stored = node == of->node || (library && node->kernel);
        if (node->kernel || is_changed(node))
            copy_node(rewriter, node, stored ? number : 0);
    }
    rewriter->present[value] = of->node->replacement;
    clear(recipe->nodes, recipe->node_count);
}

/* Kernels whose values were all made again before anybody read them have gone. */
static void close_gaps(struct graph *graph, int kernels)
{
    int *number = NULL, count = 0;
    arrsetlen(number, (size_t)kernels + 1);
    for (int k = 0; k <= kernels; k++)
        number[k] = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        number[graph->nodes[i]->kernel] = 1;
    for (int k = 1; k <= kernels; k++)
        number[k] = number[k] ? ++count : 0;
    number[0] = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->kernel = number[graph->nodes[i]->kernel];
    arrfree(number);
}

/* Where the first of several equal nodes has gone, since nobody needed it, the next takes its place. */
static void settle_origins(struct rewriter *rewriter)
{
    const struct graph *graph = rewriter->problem->graph;
    uint32_t *first = ARENA_ARRAY(rewriter->problem->arena, uint32_t, graph->module->next_origin);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        uint32_t *own = &first[node->again ? node->again : node->origin];
        *own = *own ? *own : node->origin;
        node->again = *own == node->origin ? 0 : *own;
    }
}

static void install(struct rewriter *rewriter)
{
    struct graph *graph = rewriter->problem->graph;
    for (ptrdiff_t i = 0; i < arrlen(rewriter->rewired); i++)
        rewriter->rewired[i].node->operands = rewriter->rewired[i].operands;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->kernel = rewriter->number[graph->nodes[i]->kernel];
    for (ptrdiff_t i = 0; i < arrlen(rewriter->copies); i++)
        graph_append(graph, rewriter->copies[i]);
    order_by_kernel(graph, rewriter->kernels);
    /* Nodes of which every kernel has its own now, and values that nobody read. */
    pass_dce(graph, &(struct pass_context){.limit = -1});
    close_gaps(graph, rewriter->kernels);
    settle_origins(rewriter);
}

void remat_apply(struct remat_problem *problem, const struct remat_plan *plan, struct pass_context *context)
{
    struct rewriter rewriter = {.problem = problem};
    rewriter.present = ARENA_ARRAY(problem->arena, struct node *, problem->value_count);
    rewriter.number = ARENA_ARRAY(problem->arena, int, problem->set.count + 1);
    for (int i = 0; i < problem->value_count; i++)
        rewriter.present[i] = problem->values[i].node;
    for (ptrdiff_t i = 0; i < arrlen(problem->graph->nodes); i++)
        problem->graph->nodes[i]->replacement = NULL;
    for (ptrdiff_t i = 0; i < arrlen(plan->entries); i++) {
        const struct remat_entry *entry = &plan->entries[i];
        if (entry->kernel >= 0)
            add_kernel(&rewriter, entry->kernel);
        else if (pass_may_rewrite(context))
            add_recipe(&rewriter, entry->value);
    }
    install(&rewriter);
    arrfree(rewriter.copies);
    arrfree(rewriter.rewired);
}
