/* Dinic's algorithm: levels by breadth first search, then blocking flows by depth first search with its own stack. */
#include "passes/max_flow.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

struct arc {
    int to, next; /* the next arc of the same node, -1 for none; arc i and i ^ 1 are each other's reverse */
    int64_t capacity;
};

struct flow {
    int node_count;
    struct arc *arcs; /* stb_ds array */
    /* By node, stb_ds arrays: the first arc, the arc to try next, the level (-1: not reached). */
    int *first, *current, *level;
    int *queue; /* stb_ds array: breadth first, then the arcs of the path */
};

struct flow *flow_new(int node_count)
{
    struct flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        arena_exhausted();
    flow->node_count = node_count;
    arrsetlen(flow->first, (size_t)node_count);
    arrsetlen(flow->current, (size_t)node_count);
    arrsetlen(flow->level, (size_t)node_count);
    for (int i = 0; i < node_count; i++)
        flow->first[i] = -1;
    return flow;
}

void flow_free(struct flow *flow)
{
    arrfree(flow->arcs);
    arrfree(flow->first);
    arrfree(flow->current);
    arrfree(flow->level);
    arrfree(flow->queue);
    free(flow);
}

static void add(struct flow *flow, int from, int to, int64_t capacity)
{
    struct arc arc = {to, flow->first[from], capacity};
    flow->first[from] = (int)arrlen(flow->arcs);
    arrput(flow->arcs, arc);
}

void flow_arc(struct flow *flow, int from, int to, int64_t capacity, int64_t back)
{
    if (from == to)
        return;
    add(flow, from, to, capacity);
    add(flow, to, from, back);
}

/* Levels from the source through arcs with capacity left; whether the sink is reached. */
static bool find_levels(struct flow *flow)
{
    for (int i = 0; i < flow->node_count; i++)
        flow->level[i] = -1;
    flow->level[FLOW_SOURCE] = 0;
    arrsetlen(flow->queue, 0);
    arrput(flow->queue, FLOW_SOURCE);
    for (ptrdiff_t at = 0; at < arrlen(flow->queue); at++) {
        int node = flow->queue[at];
        for (int i = flow->first[node]; i >= 0; i = flow->arcs[i].next) {
            if (!flow->arcs[i].capacity || flow->level[flow->arcs[i].to] >= 0)
                continue;
            flow->level[flow->arcs[i].to] = flow->level[node] + 1;
            arrput(flow->queue, flow->arcs[i].to);
        }
    }
    return flow->level[FLOW_SINK] >= 0;
}

/* The next arc from the node to the next level, -1 when there is none left. */
static int next_arc(struct flow *flow, int node)
{
    int *at = &flow->current[node];
    while (*at >= 0 && (!flow->arcs[*at].capacity || flow->level[flow->arcs[*at].to] != flow->level[node] + 1))
        *at = flow->arcs[*at].next;
    return *at;
}

/* Sends what the path in the queue can take; cuts the path back to the first arc that is full. */
static int64_t send(struct flow *flow)
{
    int64_t least = FLOW_INFINITE;
    for (ptrdiff_t i = 0; i < arrlen(flow->queue); i++)
        if (flow->arcs[flow->queue[i]].capacity < least)
            least = flow->arcs[flow->queue[i]].capacity;
    ptrdiff_t full = arrlen(flow->queue);
    for (ptrdiff_t i = arrlen(flow->queue) - 1; i >= 0; i--) {
        flow->arcs[flow->queue[i]].capacity -= least;
        flow->arcs[flow->queue[i] ^ 1].capacity += least;
        if (!flow->arcs[flow->queue[i]].capacity)
            full = i;
    }
    arrsetlen(flow->queue, (size_t)full);
    return least;
}

static int path_end(const struct flow *flow)
{
    return arrlen(flow->queue) ? flow->arcs[arrlast(flow->queue)].to : FLOW_SOURCE;
}

/* Paths along the levels until none is left. */
static int64_t block(struct flow *flow)
{
    int64_t sum = 0;
    for (int i = 0; i < flow->node_count; i++)
        flow->current[i] = flow->first[i];
    arrsetlen(flow->queue, 0);
    while (true) {
        int node = path_end(flow), arc = node == FLOW_SINK ? -1 : next_arc(flow, node);
        if (node == FLOW_SINK) {
            sum += send(flow);
        } else if (arc >= 0) {
            arrput(flow->queue, arc);
        } else if (arrlen(flow->queue)) {
            flow->level[node] = -1; /* a dead end */
            (void)arrpop(flow->queue);
        } else {
            return sum;
        }
    }
}

int64_t flow_solve(struct flow *flow)
{
    int64_t sum = 0;
    while (find_levels(flow))
        sum += block(flow);
    return sum;
}

bool flow_at_source(const struct flow *flow, int node)
{
    return flow->level[node] >= 0;
}
