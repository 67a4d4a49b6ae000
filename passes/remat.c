/* Pass remat: rematerialisation. Where a memory budget asks for it, values of a training step are let go and computed
 * again when they are needed, so that the step takes more arithmetic and less memory.
 *
 * The plan is made by remat_plan.c within a target for the sum of live bytes. What the arena takes is known only after
 * pass memory (values stored over others, gaps), so plans are tried on a copy of the module, and the target is moved
 * until the arena is just within the budget. */
#include "passes/remat.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>
#include <string.h>

enum {
    TRIALS = 8,
    WORKSPACE_PART = 256, /* of the budget, kept for the workspaces of kernels, which lie behind the values */
    CLOSE_PART = 200      /* an arena so near to the budget is near enough */
};

/* ---- trials ---- */

struct trial {
    bool possible; /* there is a plan for this target */
    int64_t target, arena;
    double seconds;
};

static int64_t measure_arena(struct graph *graph, struct pass_context *context)
{
    struct pass_context unlimited = *context;
    unlimited.limit = -1;
    pass_memory(graph, &unlimited);
    return memory_measure(graph, context->target).peak;
}

static int graph_index(const struct graph *graph)
{
    int index = 0;
    while (graph->module->graphs[index] != graph)
        index++;
    return index;
}

static struct trial try_target(struct remat_problem *problem, int64_t target, struct pass_context *context)
{
    struct remat_plan plan = remat_plan_make(problem, target);
    struct trial trial = {.possible = plan.possible, .target = target, .seconds = plan.seconds};
    if (plan.possible) {
        struct arena *arena = arena_new();
        struct module *copy = module_copy(problem->graph->module, arena);
        struct graph *graph = copy->graphs[graph_index(problem->graph)];
        struct remat_problem *again = remat_problem_new(graph, context->target, arena);
        struct pass_context unlimited = {.target = context->target, .limit = -1};
        remat_apply(again, &plan, &unlimited);
        trial.arena = measure_arena(graph, context);
        remat_problem_free(again);
        module_free(copy);
        arena_free(arena);
    }
    remat_plan_free(&plan);
    return trial;
}

/* Targets between which the search goes on: without a plan or within the budget; over it. */
struct range {
    int64_t low, high;
};

/* How much the arena is off its target hardly changes with the target. */
static int64_t next_target(const struct trial *last, int64_t budget, const struct range *range)
{
    int64_t guess = last->target + (budget - last->arena);
    bool inside = last->possible && guess > range->low && guess < range->high;
    return inside ? guess : range->low + (range->high - range->low) / 2;
}

/* The trial with the least recomputation within the budget; where there is none, the one with the least memory. */
static struct trial search(struct remat_problem *problem, int64_t budget, int64_t first, int64_t most,
                           struct pass_context *context)
{
    struct range range = {0, most + 1};
    struct trial best = {0};
    int64_t target = first < most ? first : most;
    for (int i = 0; i < TRIALS && target > range.low && target < range.high; i++) {
        struct trial trial = try_target(problem, target, context);
        bool within = trial.possible && trial.arena <= budget;
        bool better = within ? best.arena > budget || trial.seconds < best.seconds : trial.arena < best.arena;
        if (trial.possible && (!best.possible || better))
            best = trial;
        if (within && budget - trial.arena <= budget / CLOSE_PART)
            break;
        *(trial.possible && !within ? &range.high : &range.low) = target;
        target = next_target(&trial, budget, &range);
    }
    return best;
}

/* ---- the pass ---- */

bool memory_budget_bounds(const struct memory_budget *budget, const struct graph *graph)
{
    bool backward = false, update = false;
    if (graph->body) /* its arena is the workspace of a loop */
        return false;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        backward |= graph->nodes[i]->region == REGION_BACKWARD;
        update |= graph->nodes[i]->region == REGION_UPDATE;
    }
    /* An update of its own keeps nothing for long: a share of what it takes would ask for the impossible. */
    if (!budget->bytes)
        return budget->share > 0 && backward && strcmp(graph->name, "update") != 0;
    return backward || update;
}

/* Of a budget of so many bytes, what is left for values. */
static int64_t for_values(const struct memory_budget *budget, int64_t bytes)
{
    return bytes - (budget->workspace ? budget->workspace : bytes / WORKSPACE_PART);
}

/* In units of 0.01 MB, upwards: what is asked for then is enough. */
static double megabytes_up(int64_t bytes)
{
    enum { UNIT = 10000 };
    int64_t units = (bytes + UNIT - 1) / UNIT;
    return (double)units * UNIT / 1e6;
}

static void report(const struct graph *graph, const struct memory_budget *budget, int64_t bytes, int64_t without,
                   int64_t least)
{
    int64_t workspace = budget->workspace ? budget->workspace : least / (WORKSPACE_PART - 1) + 1;
    diagnostics_error(graph->module->diagnostics, E0805, budget->span, NULL,
                      "a training step does not fit a memory budget of %.2f MB: graph %s takes %.2f MB, and computing "
                      "values again has brought it to %.2f MB at the least",
                      (double)bytes / 1e6, graph->name, megabytes_up(without + workspace),
                      megabytes_up(least + workspace));
}

static void fit(struct graph *graph, int64_t bytes, int64_t without, struct pass_context *context)
{
    struct arena *arena = arena_new();
    struct remat_problem *problem = remat_problem_new(graph, context->target, arena);
    struct remat_plan free_plan = remat_plan_make(problem, INT64_MAX);
    int64_t budget = for_values(&context->budget, bytes);
    int64_t first = budget - without + free_plan.peak;
    struct trial best = search(problem, budget, first > 0 ? first : budget, free_plan.peak, context);
    remat_plan_free(&free_plan);
    if (best.possible && best.arena <= budget) {
        struct remat_plan plan = remat_plan_make(problem, best.target);
        remat_apply(problem, &plan, context);
        remat_plan_free(&plan);
    } else {
        report(graph, &context->budget, bytes, without, best.possible ? best.arena : without);
    }
    remat_problem_free(problem);
    arena_free(arena);
}

/* Computes values again instead of keeping them, so that the arena of a training step takes no more than
 * context->budget; reports E0805 when that cannot be reached. What a kernel makes is made by the same nodes again,
 * so results keep every bit (but with a budget no product has gelu appended by its library, which rounds less); draws
 * are functions of their keys, which copies share; nothing that is written or put out is done twice. Copies are marked
 * with the origin of what they repeat (node->again). Requires: scheduled. Preserves: results, the order of all kernels;
 * new ones stand where they are needed. */
void pass_remat(struct graph *graph, struct pass_context *context)
{
    const struct memory_budget *budget = &context->budget;
    if (!memory_budget_bounds(budget, graph))
        return;
    graph_number(graph);
    int64_t without = measure_arena(graph, context);
    int64_t whole = budget->whole ? budget->whole : without;
    int64_t bytes = budget->bytes ? budget->bytes : (int64_t)(budget->share * (double)(whole + budget->workspace));
    context->granted = bytes > context->granted ? bytes : context->granted;
    if (without > for_values(budget, bytes))
        fit(graph, bytes, without, context);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        graph->nodes[i]->placement = (struct placement){0};
    graph_number(graph);
}
