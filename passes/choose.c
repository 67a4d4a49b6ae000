/* Pricing policies against each other. */
#include "passes/choose.h"
#include "passes/cost.h"
#include "passes/pipeline.h"

#include <stb/stb_ds.h>
#include <string.h>

struct candidate {
    const char *name;
    const struct policy *policy;
    double seconds; /* negative: it does not compile */
};

/* In the order in which they are tried: of equal ones the first is taken. */
enum { F32, CUT, AUTOCAST, ALMOST, PAINT, CANDIDATES };

/* ---- running the pipeline on a copy ---- */

struct trial {
    struct arena *arena;
    struct module *module;
    bool done;
};

static struct trial try_policy(const struct policy *policy, const struct module *module, const struct target *target)
{
    struct trial trial = {.arena = arena_new()};
    trial.module = module_copy(module, trial.arena);
    trial.module->diagnostics = diagnostics_new(trial.arena);
    struct pass_context context = {.target = target, .policy = policy, .limit = -1};
    struct pipeline_options options = {.messages = stderr};
    trial.done = pipeline_run(trial.module, &context, &options).done;
    return trial;
}

static void trial_free(struct trial *trial)
{
    module_free(trial->module);
    arena_free(trial->arena);
}

/* Seconds of a training step, or of all graphs where there is none but those that run once. */
static double price(const struct module *module, const struct target *target)
{
    if (module_find_graph(module, "train") || module_find_graph(module, "micro"))
        return cost_step(module, target).seconds;
    double seconds = 0;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) {
        const char *name = module->graphs[i]->name;
        if (!module->graphs[i]->body && strcmp(name, "init") != 0 && strcmp(name, "refresh") != 0)
            seconds += cost_graph(module->graphs[i], target, NULL).seconds;
    }
    return seconds;
}

/* ---- what the cut must know ---- */

static void count_traffic(const struct graph *graph, float *traffic, uint32_t count, struct arena *arena)
{
    struct kernel_set set = kernels_find(graph, arena);
    for (int i = 0; i < set.count; i++) {
        const struct kernel_use *use = &set.kernels[i];
        for (int k = 0; k < use->store_count; k++)
            if (use->stores[k]->origin < count)
                traffic[use->stores[k]->origin]++;
        for (int k = 0; k < use->load_count; k++)
            if (use->loads[k]->origin < count)
                traffic[use->loads[k]->origin]++;
    }
}

static struct policy *cut_policy(const struct policy *policy, const struct module *fused)
{
    struct policy *cut = arena_copy(policy->arena, policy, sizeof *policy);
    float *traffic = ARENA_ARRAY(policy->arena, float, fused->next_origin);
    struct arena *scratch = arena_new();
    for (ptrdiff_t i = 0; i < arrlen(fused->graphs); i++)
        count_traffic(fused->graphs[i], traffic, fused->next_origin, scratch);
    arena_free(scratch);
    cut->algorithm = ALGORITHM_CUT;
    cut->traffic = traffic;
    cut->traffic_count = fused->next_origin;
    return cut;
}

/* ---- choosing ---- */

static const struct policy *load(const struct policy *policy, const char *name)
{
    return policy_load(policy->arena, policy->diagnostics, name, policy->half, (struct span){0});
}

/* "cost(f16) takes cut: 1.2 ms predicted; f32 3.4, autocast 1.31, …" */
static const char *verdict_text(const struct policy *policy, const struct candidate *candidates, int best)
{
    const double milli = 1e3;
    const char *text =
        arena_printf(policy->arena, "%s(%s) takes %s: %.4g ms predicted", policy->name, element_name(policy->half),
                     candidates[best].name, milli * candidates[best].seconds);
    const char *separator = "; ";
    for (int i = 0; i < CANDIDATES; i++) {
        if (i == best || candidates[i].seconds < 0)
            continue;
        text = arena_printf(policy->arena, "%s%s%s %.4g", text, separator, candidates[i].name,
                            milli * candidates[i].seconds);
        separator = ", ";
    }
    return text;
}

static const struct policy *under_name(const struct policy *policy, const struct policy *chosen, const char *verdict)
{
    struct policy *result = arena_copy(policy->arena, chosen, sizeof *chosen);
    result->name = policy->name;
    result->verdict = verdict;
    return result;
}

static bool has_own_rules(const struct policy *policy)
{
    for (const struct policy_rule *rule = policy->rules; rule; rule = rule->next)
        if (!rule->built_in)
            return true;
    return false;
}

/* Compiles and prices one; the first, f32, is also the scratch copy that the cut looks at. */
static void try_candidate(struct candidate *candidates, int number, const struct policy *policy,
                          const struct module *module, const struct target *target)
{
    struct candidate *candidate = &candidates[number];
    if (number != CUT)
        candidate->policy = load(policy, candidate->name);
    candidate->seconds = -1;
    if (!candidate->policy)
        return;
    struct trial trial = try_policy(candidate->policy, module, target);
    if (trial.done)
        candidate->seconds = price(trial.module, target);
    if (trial.done && number == F32)
        candidates[CUT].policy = cut_policy(policy, trial.module);
    trial_free(&trial);
}

static const struct policy *cheapest(const struct policy *policy, const struct module *module,
                                     const struct target *target)
{
    struct candidate candidates[CANDIDATES] = {[F32] = {.name = "f32"},
                                               [CUT] = {.name = "cut"},
                                               [AUTOCAST] = {.name = "autocast"},
                                               [ALMOST] = {.name = "almost"},
                                               [PAINT] = {.name = "paint"}};
    int best = F32;
    for (int i = 0; i < CANDIDATES; i++) {
        try_candidate(candidates, i, policy, module, target);
        if (candidates[i].seconds >= 0 && candidates[i].seconds < candidates[best].seconds)
            best = i;
    }
    return under_name(policy, candidates[best].policy, verdict_text(policy, candidates, best));
}

/* Rules of the user's own are heeded by the cut alone. */
static const struct policy *cut_alone(const struct policy *policy, const struct module *module,
                                      const struct target *target)
{
    struct candidate candidates[CANDIDATES] = {[F32] = {.name = "f32"}};
    try_candidate(candidates, F32, policy, module, target);
    const char *verdict =
        arena_printf(policy->arena, "%s(%s) takes the minimum cut, which alone heeds rules added to cost's",
                     policy->name, element_name(policy->half));
    const struct policy *chosen = candidates[CUT].policy ? candidates[CUT].policy : candidates[F32].policy;
    return under_name(policy, chosen, verdict);
}

const struct policy *policy_choose(const struct policy *policy, const struct module *module,
                                   const struct target *target)
{
    if (policy->algorithm != ALGORITHM_COST)
        return policy;
    if (target_emulates(target, policy->half)) {
        const char *verdict = arena_printf(policy->arena, "%s(%s) takes f32: %s is emulated here, half saves nothing",
                                           policy->name, element_name(policy->half), element_name(policy->half));
        return under_name(policy, load(policy, "f32"), verdict);
    }
    return has_own_rules(policy) ? cut_alone(policy, module, target) : cheapest(policy, module, target);
}
