/* Minimum cuts against all cuts of small random networks, and a chain long enough to need linear time and memory. */
#include "passes/max_flow.h"
#include "check.h"

#include <stdlib.h>

enum { NODES = 9, ARCS = 24 };

static uint32_t state = 1;

static int draw(int below)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (uint32_t)below);
}

struct test_arc {
    int from, to;
    int64_t capacity, back;
};

/* What a cut costs whose source's side are the nodes with a bit in `side`. */
static int64_t cut_cost(const struct test_arc *arcs, unsigned side)
{
    int64_t cost = 0;
    for (int i = 0; i < ARCS; i++) {
        bool from = side >> arcs[i].from & 1, to = side >> arcs[i].to & 1;
        cost += from && !to ? arcs[i].capacity : !from && to ? arcs[i].back : 0;
    }
    return cost;
}

static int64_t least_cut(const struct test_arc *arcs)
{
    int64_t least = INT64_MAX;
    for (unsigned side = 0; side < 1u << NODES; side++) {
        if (!(side >> FLOW_SOURCE & 1) || (side >> FLOW_SINK & 1))
            continue;
        int64_t cost = cut_cost(arcs, side);
        least = cost < least ? cost : least;
    }
    return least;
}

static void random_networks(void)
{
    for (int round = 0; round < 300; round++) {
        struct test_arc arcs[ARCS];
        struct flow *flow = flow_new(NODES);
        for (int i = 0; i < ARCS; i++) {
            arcs[i] = (struct test_arc){draw(NODES), draw(NODES), draw(20), draw(3) ? 0 : draw(20)};
            flow_arc(flow, arcs[i].from, arcs[i].to, arcs[i].capacity, arcs[i].back);
        }
        int64_t value = flow_solve(flow);
        unsigned side = 0;
        for (int i = 0; i < NODES; i++)
            side |= (unsigned)flow_at_source(flow, i) << i;
        CHECK(value == least_cut(arcs));
        CHECK(cut_cost(arcs, side) == value);
        CHECK((side >> FLOW_SOURCE & 1) && !(side >> FLOW_SINK & 1));
        flow_free(flow);
    }
}

/* Each node of a long chain wants one side or the other a little and its neighbours' side more. */
static void long_chain(void)
{
    enum { LENGTH = 200000 };
    struct flow *flow = flow_new(FLOW_FIRST + LENGTH);
    for (int i = 0; i < LENGTH; i++) {
        int node = FLOW_FIRST + i;
        flow_arc(flow, FLOW_SOURCE, node, i % 1000 < 10 ? 5 : 0, 0);
        flow_arc(flow, node, FLOW_SINK, i % 1000 >= 990 ? 5 : 0, 0);
        if (i)
            flow_arc(flow, node - 1, node, 3, 3);
    }
    /* Between ten that want the source (worth 50) and ten that want the sink a chain of 3 is cut, and one more before
     * the next ten. */
    CHECK(flow_solve(flow) == 3 * (2 * (LENGTH / 1000) - 1));
    flow_free(flow);
}

int main(void)
{
    random_networks();
    long_chain();
    return check_result();
}
