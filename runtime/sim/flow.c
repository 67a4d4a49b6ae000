/* Where the ways of a branch meet again: immediate post-dominators of the control flow graph.
 *
 * The iterative algorithm of Cooper, Harvey and Kennedy ("A simple, fast dominance algorithm", 2001) on the reversed
 * graph; block `count` stands for the end of the kernel. */
#include "runtime/sim/module.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

struct flow {
    int count;       /* of blocks, without the end */
    int *first;      /* ops: first[i] … first[i + 1] */
    int *block_of;   /* by op */
    bool *leads;     /* by op: it begins a block */
    int (*after)[2]; /* successors by block, -1 for none */
    int *order;      /* of a walk from the end against the arrows, -1 for blocks that never end */
    int *meet;       /* the immediate post-dominator */
};

static bool ends_block(const struct op *op)
{
    return op->kind == OP_BRANCH || op->kind == OP_EXIT;
}

static void find_blocks(struct flow *flow, const struct op *ops, int op_count)
{
    bool *leads = flow->leads;
    leads[0] = true;
    for (int i = 0; i < op_count; i++) {
        if (ops[i].kind == OP_BRANCH)
            leads[ops[i].target] = true;
        if (ends_block(&ops[i]))
            leads[i + 1] = true;
    }
    for (int i = 0; i < op_count; i++) {
        if (leads[i])
            flow->first[flow->count++] = i;
        flow->block_of[i] = flow->count - 1;
    }
    flow->first[flow->count] = op_count;
    flow->block_of[op_count] = flow->count;
}

static void find_successors(struct flow *flow, const struct op *ops)
{
    for (int i = 0; i < flow->count; i++) {
        const struct op *last = &ops[flow->first[i + 1] - 1];
        bool always = last->guard == PREDICATE_TRUE && !last->guard_flip;
        int next = i + 1, jump = -1;
        if (last->kind == OP_BRANCH)
            jump = flow->block_of[last->target];
        else if (last->kind == OP_EXIT)
            jump = flow->count;
        flow->after[i][0] = ends_block(last) && always ? jump : next;
        flow->after[i][1] = ends_block(last) && !always ? jump : -1;
    }
}

/* Numbers blocks in postorder of the reversed graph, from the end; `before` lists predecessors. */
static bool number_blocks(struct flow *flow)
{
    int **before = calloc((size_t)flow->count + 1, sizeof *before);
    int *stack = NULL, *at = calloc((size_t)flow->count + 1, sizeof *at);
    if (!before || !at) {
        free(before);
        free(at);
        return false;
    }
    for (int i = 0; i < flow->count; i++)
        for (int k = 0; k < 2; k++)
            if (flow->after[i][k] >= 0)
                arrput(before[flow->after[i][k]], i);
    int numbered = 0;
    arrput(stack, flow->count);
    flow->order[flow->count] = -2;
    while (arrlen(stack)) {
        int block = arrlast(stack);
        if (at[block] < arrlen(before[block])) {
            int next = before[block][at[block]++];
            if (flow->order[next] == -1) {
                flow->order[next] = -2;
                arrput(stack, next);
            }
        } else {
            flow->order[block] = numbered++;
            arrsetlen(stack, arrlenu(stack) - 1);
        }
    }
    for (int i = 0; i <= flow->count; i++)
        arrfree(before[i]);
    arrfree(stack);
    free(before);
    free(at);
    return true;
}

static int intersect(const struct flow *flow, int a, int b)
{
    while (a != b) {
        while (flow->order[a] < flow->order[b])
            a = flow->meet[a];
        while (flow->order[b] < flow->order[a])
            b = flow->meet[b];
    }
    return a;
}

static int meet_of(const struct flow *flow, int block)
{
    int meet = -1;
    for (int k = 0; k < 2; k++) {
        int next = flow->after[block][k];
        if (next < 0 || flow->meet[next] < 0)
            continue;
        meet = meet < 0 ? next : intersect(flow, meet, next);
    }
    return meet;
}

static bool find_meets(struct flow *flow)
{
    int *sorted = malloc(((size_t)flow->count + 1) * sizeof *sorted); /* blocks by falling order */
    if (!sorted)
        return false;
    for (int i = 0; i <= flow->count; i++)
        sorted[i] = -1;
    for (int i = 0; i <= flow->count; i++)
        if (flow->order[i] >= 0)
            sorted[flow->count - flow->order[i]] = i;
    flow->meet[flow->count] = flow->count;
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i <= flow->count; i++) {
            int block = sorted[i], meet = block < 0 || block == flow->count ? -1 : meet_of(flow, block);
            if (meet < 0 || meet == flow->meet[block])
                continue;
            flow->meet[block] = meet;
            changed = true;
        }
    }
    free(sorted);
    return true;
}

static bool allocate(struct flow *flow, size_t op_count)
{
    size_t room = op_count + 2;
    flow->first = calloc(room, sizeof *flow->first);
    flow->block_of = calloc(room, sizeof *flow->block_of);
    flow->leads = calloc(room, sizeof *flow->leads);
    flow->after = calloc(room, sizeof *flow->after);
    flow->order = malloc(room * sizeof *flow->order);
    flow->meet = malloc(room * sizeof *flow->meet);
    for (size_t i = 0; flow->order && flow->meet && i < room; i++)
        flow->order[i] = flow->meet[i] = -1;
    return flow->first && flow->block_of && flow->leads && flow->after && flow->order && flow->meet;
}

bool sim_flow(struct sim_kernel *kernel)
{
    struct flow flow = {0};
    int op_count = (int)arrlen(kernel->ops);
    bool good = allocate(&flow, (size_t)op_count);
    if (good) {
        find_blocks(&flow, kernel->ops, op_count);
        find_successors(&flow, kernel->ops);
        good = flow.count && number_blocks(&flow) && find_meets(&flow);
    }
    for (int i = 0; good && i < op_count; i++) {
        struct op *op = &kernel->ops[i];
        if (op->kind != OP_BRANCH)
            continue;
        int meet = flow.meet[flow.block_of[i]];
        op->reconverge = (uint32_t)(meet < 0 ? op_count : flow.first[meet]);
    }
    free(flow.first);
    free(flow.block_of);
    free(flow.leads);
    free(flow.after);
    free(flow.order);
    free(flow.meet);
    return good;
}
