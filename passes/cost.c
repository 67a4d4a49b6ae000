/* What kernels cost by the roofline, and the work of single nodes. */
#include "passes/cost.h"
#include "ir/loop.h"
#include "passes/memory.h"
#include "passes/nests.h"

#include <stb/stb_ds.h>

/* ---- single nodes ---- */

static double type_bytes(const struct type *type)
{
    return (double)shape_elements(&type->shape) * (double)element_bytes(type->element);
}

double node_bytes(const struct node *node)
{
    double bytes = type_bytes(&node->type);
    for (int i = 0; i < node->operand_count; i++)
        bytes += type_bytes(&node->operands[i]->type);
    return bytes;
}

/* Multiplications and additions: each element of x meets (conv) o / groups * kernel weights at every output place. */
static double contraction_flops(const struct node *node)
{
    const struct shape *a = &node->operands[node->op == OP_tap_sums]->type.shape;
    const struct shape *b = &node->operands[node->op != OP_tap_sums]->type.shape;
    const struct shape *weight = node->op == OP_conv ? b : node->op == OP_conv_data ? a : &node->type.shape;
    const struct shape *output = node->op == OP_conv ? &node->type.shape : b;
    double each = 1;
    if (node->op == OP_matmul) {
        each = (double)a->dimension[a->rank - 1 - node->attributes->transpose_a];
        return 2 * each * (double)shape_elements(&node->type.shape);
    }
    for (int i = 1; i < weight->rank; i++)
        each *= (double)weight->dimension[i];
    return 2 * each * (double)shape_elements(output);
}

double node_flops(const struct node *node)
{
    double elements = (double)shape_elements(&node->type.shape);
    switch (op_info(node->op)->class) {
    case CLASS_CONTRACTION:
        return contraction_flops(node);
    case CLASS_POINTWISE:
        return elements * op_info(node->op)->flops;
    case CLASS_REDUCE:
    case CLASS_SCAN:
        return (double)shape_elements(&node->operands[0]->type.shape);
    case CLASS_FOLD:
        return node->op == OP_tap_sums ? contraction_flops(node)
                                       : (double)shape_elements(&node->operands[0]->type.shape);
    default:
        return 0;
    }
}

/* ---- reads of a generated kernel ---- */

struct reading {
    const struct kernel_use *use;
    const struct target *target;
    struct seen {
        const struct node *key;
        int value;
    } * seen, *made_in; /* stb_ds hashes: the last nest that came here; the nest that a member belongs to */
    const struct node **stack;
    double bytes;
};

/* Whether the node is in memory before this kernel runs. */
static bool is_load(const struct kernel_use *use, const struct node *node)
{
    return node->op == OP_read || node->op == OP_input || (node->kernel > 0 && node->kernel != use->number);
}

/* What `user` reads of a value in memory: picking rows or a part does not read the rest. */
static double read_bytes(const struct reading *reading, const struct node *node, const struct node *user)
{
    double bytes = (double)memory_bytes(&node->type, reading->target);
    if (user->op != OP_slice && !(user->op == OP_gather && user->operands[0] == node))
        return bytes;
    struct type part = user->type;
    part.element = node->type.element;
    double picked = (double)memory_bytes(&part, reading->target);
    return picked < bytes ? picked : bytes;
}

static void visit(struct reading *reading, const struct node *node, const struct node *user, int nest)
{
    if (hmget(reading->seen, node) == nest)
        return;
    hmput(reading->seen, node, nest);
    ptrdiff_t at = hmgeti(reading->made_in, node);
    bool elsewhere = at >= 0 && reading->made_in[at].value != nest;
    if (is_load(reading->use, node) || (elsewhere && node->kernel == reading->use->number))
        reading->bytes += read_bytes(reading, node, user);
    else if (!elsewhere)
        arrput(reading->stack, node);
}

/* Every nest reads anew what it needs; sums made by another nest of the kernel are small and stay at hand. */
static void read_nest(struct reading *reading, const struct nest *nest, int number)
{
    for (ptrdiff_t i = 0; i < arrlen(nest->members); i++)
        visit(reading, nest->members[i].node, nest->members[i].node, number);
    while (arrlen(reading->stack)) {
        const struct node *node = arrpop(reading->stack);
        for (int i = 0; i < node->operand_count; i++)
            visit(reading, node->operands[i], node, number);
    }
}

static double generated_reads(const struct kernel_use *use, const struct target *target)
{
    struct reading reading = {.use = use, .target = target};
    struct nest *nests = nests_find(use);
    for (ptrdiff_t i = 0; i < arrlen(nests); i++)
        for (ptrdiff_t k = 0; k < arrlen(nests[i].members); k++)
            hmput(reading.made_in, (const struct node *)nests[i].members[k].node, (int)i + 1);
    for (ptrdiff_t i = 0; i < arrlen(nests); i++)
        read_nest(&reading, &nests[i], (int)i + 1);
    nests_free(nests);
    hmfree(reading.seen);
    hmfree(reading.made_in);
    arrfree(reading.stack);
    return reading.bytes;
}

/* ---- kernels ---- */

static double library_reads(const struct kernel_use *use, const struct target *target)
{
    double bytes = 0;
    for (int i = 0; i < use->load_count; i++)
        bytes += (double)memory_bytes(&use->loads[i]->type, target);
    return bytes;
}

static double seconds_of(const struct target *target, double bytes, double product_seconds, double vector_flops)
{
    double longest = product_seconds;
    double moving = target->bandwidth > 0 ? bytes / target->bandwidth : 0;
    double vector = target->vector_flops > 0 ? vector_flops / target->vector_flops : 0;
    longest = moving > longest ? moving : longest;
    longest = vector > longest ? vector : longest;
    return target->launch_seconds + longest;
}

struct kernel_cost cost_kernel(const struct kernel_use *use, const struct target *target)
{
    struct kernel_cost cost = {0};
    double products = 0, vector_flops = 0;
    if (!use->store_count || use->joins)
        return cost;
    for (int i = 0; i < use->computed_count; i++) {
        const struct node *node = use->computed[i];
        double flops = node_flops(node);
        cost.flops += flops;
        if (!op_is(node->op, CLASS_CONTRACTION))
            vector_flops += flops;
        else if (target->flops[node->operands[0]->type.element] > 0)
            products += flops / target->flops[node->operands[0]->type.element];
    }
    cost.bytes = use->contraction ? library_reads(use, target) : generated_reads(use, target);
    for (int i = 0; i < use->store_count; i++)
        cost.bytes += (double)memory_bytes(&use->stores[i]->type, target);
    cost.seconds = seconds_of(target, cost.bytes, products, vector_flops);
    return cost;
}

/* Of one that copies a variable's new value into its place at the end. */
static struct kernel_cost cost_of_copy(const struct node *write, const struct target *target)
{
    struct kernel_cost cost = {.bytes = 2 * (double)memory_bytes(&write->type, target)};
    cost.seconds = seconds_of(target, cost.bytes, 0, 0);
    return cost;
}

static void add(struct kernel_cost *sum, const struct kernel_cost *cost, double times)
{
    sum->bytes += times * cost->bytes;
    sum->flops += times * cost->flops;
    sum->seconds += times * cost->seconds;
}

/* All turns of a loop; its body has kernels once that is fused. */
static struct kernel_cost cost_loop(const struct graph *graph, const struct node *loop, const struct target *target)
{
    const struct graph *body = loop_body(graph->module, loop);
    struct kernel_cost sum = {0}, turn = {0};
    if (body)
        turn = cost_graph(body, target, NULL);
    add(&sum, &turn, loop->attributes->loop.turns);
    return sum;
}

struct kernel_cost cost_graph(const struct graph *graph, const struct target *target, struct kernel_cost *each)
{
    struct arena *arena = arena_new();
    struct kernel_set set = kernels_find(graph, arena);
    struct kernel_cost sum = {0};
    for (int i = 0; i < set.count; i++) {
        const struct node *contraction = set.kernels[i].contraction;
        struct kernel_cost cost = contraction && contraction->op == OP_loop ? cost_loop(graph, contraction, target)
                                                                            : cost_kernel(&set.kernels[i], target);
        add(&sum, &cost, 1);
        if (each)
            each[i] = cost;
    }
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        struct kernel_cost cost = cost_of_copy(node, target);
        if (node->op == OP_write && node->placement.space != SPACE_STATE)
            add(&sum, &cost, 1);
    }
    arena_free(arena);
    return sum;
}

struct kernel_cost cost_step(const struct module *module, const struct target *target)
{
    struct kernel_cost sum = {0}, part;
    const struct graph *graph;
    int times;
    for (int i = 0; (graph = module_step_graph(module, i, &times)); i++) {
        part = cost_graph(graph, target, NULL);
        add(&sum, &part, times);
    }
    return sum;
}
