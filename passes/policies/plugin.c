/* Policies from shared objects: opening them, and the functions through which they see the graph (castor_plugin.h). */
#include "passes/policies/plugin.h"
#include "passes/cost.h"
#include "passes/policies/castor_plugin.h"
#include "passes/policies/load.h"
#include "passes/policies/ranges.h"
#include "passes/precision.h"

#include <dlfcn.h>
#include <limits.h>
#include <stb/stb_ds.h>
#include <string.h>
#include <unistd.h>

struct plugin {
    const char *path;
    void *handle;
    const struct castor_policy *policies;
};

/* ---- opening ---- */

static bool refuse(struct diagnostics *diagnostics, struct span where, const char *path, const char *problem)
{
    diagnostics_error(diagnostics, E0611, where, NULL, "%s is no plugin: %s", path, problem);
    return false;
}

static bool check_plugin(struct plugin *plugin, struct diagnostics *diagnostics, struct span where)
{
    char problem[96];
    const int *abi = dlsym(plugin->handle, "castor_plugin_abi");
    plugin->policies = dlsym(plugin->handle, "castor_plugin_policies");
    if (!abi || !plugin->policies) {
        snprintf(problem, sizeof problem, "it has no symbol %s", abi ? "castor_plugin_policies" : "castor_plugin_abi");
        refuse(diagnostics, where, plugin->path, problem);
        diagnostics_note(diagnostics, (struct span){0}, "CASTOR_POLICIES of castor_plugin.h defines both");
        return false;
    }
    if (*abi == CASTOR_PLUGIN_ABI)
        return true;
    snprintf(problem, sizeof problem, "it was built for version %d of the interface, this Castor has %d", *abi,
             CASTOR_PLUGIN_ABI);
    refuse(diagnostics, where, plugin->path, problem);
    diagnostics_note(diagnostics, (struct span){0}, "build it again with this Castor's castor_plugin.h");
    return false;
}

/* A name without a slash is looked for where libraries are; a file of this name here comes first, as for other flags.
 */
static void *open_object(const char *path)
{
    char here[PATH_MAX];
    bool plain = !strchr(path, '/') && access(path, F_OK) == 0;
    if (plain && snprintf(here, sizeof here, "./%s", path) < (int)sizeof here)
        path = here;
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

bool plugins_open(struct plugins *plugins, struct diagnostics *diagnostics, const char *path, struct span where)
{
    struct plugin plugin = {.path = path, .handle = open_object(path)};
    if (!plugin.handle)
        return refuse(diagnostics, where, path, dlerror());
    arrput(plugins->opened, plugin);
    return check_plugin(&arrlast(plugins->opened), diagnostics, where);
}

void plugins_close(struct plugins *plugins)
{
    for (ptrdiff_t i = 0; i < arrlen(plugins->opened); i++)
        dlclose(plugins->opened[i].handle);
    arrfree(plugins->opened);
}

/* ---- finding a policy ---- */

static const struct castor_policy *find(const struct plugins *plugins, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(plugins->opened); i++)
        for (const struct castor_policy *policy = plugins->opened[i].policies; policy->name; policy++)
            if (strcmp(policy->name, name) == 0)
                return policy;
    return NULL;
}

static const char *path_of(const struct plugins *plugins, const struct castor_policy *wanted)
{
    for (ptrdiff_t i = 0; i < arrlen(plugins->opened); i++)
        for (const struct castor_policy *policy = plugins->opened[i].policies; policy->name; policy++)
            if (policy == wanted)
                return plugins->opened[i].path;
    return "";
}

struct policy *plugins_policy(const struct plugins *plugins, struct arena *arena, struct diagnostics *diagnostics,
                              const char *text, enum element half, struct span where)
{
    const char *written = NULL, *name = policy_split_half(arena, text, &written);
    const struct castor_policy *found = find(plugins, name);
    if (!found)
        return policy_load(arena, diagnostics, text, half, where);
    const char *base = found->extends ? found->extends : "f32";
    const char *extended = written ? arena_printf(arena, "%s(%s)", base, written) : base;
    struct policy *policy = policy_load(arena, diagnostics, extended, half, where);
    if (!policy)
        return NULL;
    policy->name = arena_intern(arena, name);
    policy->file = arena_intern(arena, path_of(plugins, found));
    policy->algorithm = ALGORITHM_PLUGIN;
    policy->plugin = found;
    if (!found->extends)
        policy->scale = "dynamic";
    return policy;
}

/* ---- the functions that a plugin may call ---- */

struct castor_graph {
    struct precision *precision;
};

static const struct node *node_of(const struct castor_graph *graph, int node)
{
    const struct graph *inner = graph->precision->graph;
    if (node >= 0 && node < (int)arrlen(inner->nodes))
        return inner->nodes[node];
    fprintf(stderr, "castor: plugin policy %s asks for node %d of %d\n", graph->precision->policy->name, node,
            (int)arrlen(inner->nodes));
    return inner->nodes[0];
}

static const char *api_graph_name(const struct castor_graph *graph)
{
    return graph->precision->graph->name;
}

static int api_half_bits(const struct castor_graph *graph)
{
    return graph->precision->policy->half == ELEMENT_F16 ? 5 : 8;
}

static int api_node_count(const struct castor_graph *graph)
{
    return (int)arrlen(graph->precision->graph->nodes);
}

static int api_is_free(const struct castor_graph *graph, int node)
{
    const struct choice *choice = &graph->precision->choices[node_of(graph, node)->id];
    return precision_is_free(graph->precision, node_of(graph, node)) && !choice->scalar_result && !choice->state_only &&
           !precision_moves(node_of(graph, node));
}

static const char *api_op(const struct castor_graph *graph, int node)
{
    return op_info(node_of(graph, node)->op)->name;
}

static const char *api_name(const struct castor_graph *graph, int node)
{
    const char *name = node_of(graph, node)->name;
    return name ? name : "";
}

static const char *api_scope(const struct castor_graph *graph, int node)
{
    return node_of(graph, node)->scope;
}

static enum castor_region api_region(const struct castor_graph *graph, int node)
{
    static const enum castor_region regions[] = {
        [REGION_FORWARD] = CASTOR_FORWARD, [REGION_BACKWARD] = CASTOR_BACKWARD, [REGION_UPDATE] = CASTOR_UPDATE};
    return regions[node_of(graph, node)->region];
}

static int api_operand_count(const struct castor_graph *graph, int node)
{
    return node_of(graph, node)->operand_count;
}

static int api_operand(const struct castor_graph *graph, int node, int index)
{
    const struct node *inner = node_of(graph, node);
    return index >= 0 && index < inner->operand_count ? inner->operands[index]->id : -1;
}

static int api_user_count(const struct castor_graph *graph, int node)
{
    const int *start = graph->precision->use_start + node_of(graph, node)->id;
    return start[1] - start[0];
}

static int api_user(const struct castor_graph *graph, int node, int index)
{
    const struct precision *precision = graph->precision;
    bool exists = index >= 0 && index < api_user_count(graph, node);
    return exists ? precision->uses[precision->use_start[node_of(graph, node)->id] + index]->id : -1;
}

static int api_rank(const struct castor_graph *graph, int node)
{
    return node_of(graph, node)->type.shape.rank;
}

static long long api_dimension(const struct castor_graph *graph, int node, int axis)
{
    const struct shape *shape = &node_of(graph, node)->type.shape;
    return axis >= 0 && axis < shape->rank ? (long long)shape->dimension[axis] : 0;
}

static double api_bytes(const struct castor_graph *graph, int node)
{
    return node_bytes(node_of(graph, node));
}

static double api_flops(const struct castor_graph *graph, int node)
{
    return node_flops(node_of(graph, node));
}

static enum castor_type api_type(const struct castor_graph *graph, int node)
{
    const struct node *inner = node_of(graph, node);
    enum element decided = graph->precision->choices[inner->id].decided;
    enum element element = decided ? decided : inner->type.element;
    return element == ELEMENT_F32 ? CASTOR_F32 : element_is_half(element) ? CASTOR_HALF : CASTOR_OTHER;
}

static int api_range(const struct castor_graph *graph, int node, double *largest, double *lost)
{
    const struct precision *precision = graph->precision;
    const struct ranges *ranges = precision->policy->ranges;
    const struct range *range = ranges ? ranges_find(ranges, precision->graph, node_of(graph, node)) : NULL;
    if (!range)
        return 0;
    *largest = range->largest;
    *lost = range_lost(range, 1);
    return 1;
}

static void api_decide(struct castor_graph *graph, int node, enum castor_type type, const char *reason)
{
    struct precision *precision = graph->precision;
    const struct node *inner = node_of(graph, node);
    if (!api_is_free(graph, node) || type == CASTOR_OTHER)
        return;
    const char *text = arena_internf(precision->graph->module->arena, "%s: %s", precision->policy->name,
                                     reason && *reason ? reason : "decided without a reason");
    precision_tell(precision, inner, type == CASTOR_HALF ? precision->policy->half : ELEMENT_F32, text);
}

static const struct castor_api api = {
    .graph_name = api_graph_name,
    .half_bits = api_half_bits,
    .node_count = api_node_count,
    .is_free = api_is_free,
    .op = api_op,
    .name = api_name,
    .scope = api_scope,
    .region = api_region,
    .operand_count = api_operand_count,
    .operand = api_operand,
    .user_count = api_user_count,
    .user = api_user,
    .rank = api_rank,
    .dimension = api_dimension,
    .bytes = api_bytes,
    .flops = api_flops,
    .type = api_type,
    .range = api_range,
    .decide = api_decide,
};

/* ---- deciding ---- */

static void check_decided(const struct castor_graph *graph)
{
    const struct precision *precision = graph->precision;
    const struct node *first = NULL;
    int open = 0;
    for (int i = 0; i < api_node_count(graph); i++) {
        const struct node *node = precision->graph->nodes[i];
        if (precision->choices[node->id].decided || !api_is_free(graph, i))
            continue;
        first = first ? first : node;
        open++;
    }
    if (!open)
        return;
    struct diagnostics *diagnostics = precision->graph->module->diagnostics;
    diagnostics_error(diagnostics, E0612, first->span, NULL,
                      "policy %s leaves %d node%s of graph %s undecided, the first is %s = %s", precision->policy->name,
                      open, open == 1 ? "" : "s", precision->graph->name, precision_node_text(precision, first),
                      op_info(first->op)->name);
    diagnostics_note(diagnostics, (struct span){0},
                     "a policy that `extends` another one leaves to it what it does not decide");
}

void precision_plugin(struct precision *precision)
{
    const struct castor_policy *policy = precision->policy->plugin;
    struct castor_graph graph = {precision};
    ranges_number(precision->graph);
    policy->decide(&api, &graph);
    if (!policy->extends)
        check_decided(&graph);
}
