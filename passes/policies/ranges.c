/* Policy ranges: types by what was measured. Nodes of the f32 list stay f32. A value is f16 where 8 times its largest
 * magnitude fits and under a thousandth of its elements is lost below 2^-24, else bf16; the operands of a product join
 * to bf16. Gradients are looked at as they are after scaling, by the largest power of two that keeps 8 times the
 * largest gradient in range. */
#include "passes/policies/ranges.h"
#include "passes/precision.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

static const double f16_largest = 65504, headroom = 8, most_lost = 1e-3;

/* The static scale; 1 where nothing was recorded. */
static double scale_of(const struct ranges *ranges)
{
    const double most = 16777216;
    double largest = ranges_largest_gradient(ranges), scale = 1;
    if (!(largest > 0) || !isfinite(largest))
        return 1;
    scale = exp2(floor(log2(f16_largest / (headroom * largest))));
    return scale > most ? most : scale < 1 ? 1 : scale;
}

void policy_take_ranges(struct policy *policy, const struct ranges *ranges)
{
    policy->ranges = ranges;
    if (policy->algorithm == ALGORITHM_RANGES)
        policy->scale = arena_printf(policy->arena, "static(%.0f)", scale_of(ranges));
}

static bool fits_f16(const struct range *range, double scale)
{
    return headroom * scale * range->largest <= f16_largest && range_lost(range, scale) < most_lost && !range->infinite;
}

/* bf16 for a product of which an operand does not fit f16. */
static bool operands_fit(const struct precision *precision, const struct node *node, double scale)
{
    for (int i = 0; i < 2; i++) {
        const struct node *operand = node->operands[i];
        const struct range *range = ranges_find(precision->policy->ranges, precision->graph, operand);
        if (range && !fits_f16(range, operand->region == REGION_BACKWARD ? scale : 1))
            return false;
    }
    return true;
}

static void decide(struct precision *precision, const struct node *node, const struct range *range, double scale)
{
    struct arena *arena = precision->graph->module->arena;
    double own_scale = node->region == REGION_BACKWARD ? scale : 1;
    bool product = op_is(node->op, CLASS_CONTRACTION);
    bool fits = fits_f16(range, own_scale), joined = product && fits && !operands_fit(precision, node, scale);
    bool narrow = precision->policy->half == ELEMENT_F16 && fits && !joined;
    const char *reason =
        arena_internf(arena, "ranges: largest %.3g%s, %.3g %% lost in f16%s", own_scale * range->largest,
                      own_scale > 1 ? " scaled" : "", 100 * range_lost(range, own_scale),
                      joined ? "; bf16 for an operand that does not fit f16" : "");
    precision_tell(precision, node, narrow ? ELEMENT_F16 : ELEMENT_BF16, reason);
}

void precision_ranges(struct precision *precision)
{
    const struct ranges *ranges = precision->policy->ranges;
    struct graph *graph = precision->graph;
    if (!ranges) {
        diagnostics_error(graph->module->diagnostics, E0613, (struct span){0}, NULL,
                          "policy %s needs recorded ranges: --ranges FILE", precision->policy->name);
        return;
    }
    double scale = scale_of(ranges);
    ranges_number(graph);
    int known = 0, asked = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (!precision_is_free(precision, node))
            continue;
        const struct range *range = ranges_find(ranges, graph, node);
        const char *rule = precision_rule_for_f32(precision, node);
        asked++;
        known += range != NULL;
        if (rule)
            precision_tell(precision, node, ELEMENT_F32, rule);
        else if (range)
            decide(precision, node, range, scale);
    }
    if (2 * known < asked && strcmp(graph->name, "train") == 0)
        diagnostics_error(graph->module->diagnostics, E0613, (struct span){0}, NULL,
                          "the recorded ranges are of another model: they know %d of the %d values of graph %s", known,
                          asked, graph->name);
}
