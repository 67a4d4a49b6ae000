/* Library kernels of the graph as steps run by oneDNN, against the evaluator: operands through views, transposes,
 * batches, layouts and epilogues. */
#include "codegen/contraction.h"
#include "check.h"
#include "ir/evaluate.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "passes/view.h"
#include "runtime/host/onednn.h"
#include "runtime/host/vectors.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static struct target host_target(void)
{
    struct target target = {.name = "host", .alignment = 64, .channels_last = true, .threads = 1};
    for (int i = 0; i < ELEMENT_COUNT; i++)
        target.storage[i] = (enum element)i;
    target.storage[ELEMENT_F16] = target.storage[ELEMENT_BF16] = ELEMENT_F32;
    return target;
}

static double random_value(void)
{
    static uint64_t state = 3;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 33) / 1073741824.0 - 1.0;
}

/* Where element `index` (row-major) of a value lies in its memory. */
static int64_t memory_index(const struct type *type, int64_t index)
{
    int64_t strides[RANK_MAX], at = 0;
    type_strides(type, strides);
    for (int i = type->shape.rank - 1; i >= 0; i--) {
        at += index % type->shape.dimension[i] * strides[i];
        index /= type->shape.dimension[i];
    }
    return at;
}

/* Values of leaves as the evaluator wants them, and each stored node's memory by id. */
struct machine {
    struct graph *graph;
    struct environment *environment;
    float **memory; /* by node id */
};

static struct machine machine_make(struct graph *graph)
{
    struct machine machine = {.graph = graph, .environment = environment_new()};
    machine.memory = calloc(arrlenu(graph->nodes) + 1, sizeof *machine.memory);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        int64_t count = shape_elements(&node->type.shape);
        float *memory = aligned_alloc(64, ((size_t)count * sizeof(float) + 64) / 64 * 64);
        memset(memory, 0x7f, (size_t)count * sizeof(float));
        machine.memory[i] = memory;
        if (node->op != OP_input)
            continue;
        double *values = calloc((size_t)count + 1, sizeof *values);
        for (int64_t j = 0; j < count; j++) {
            values[j] = (float)random_value();
            memory[memory_index(&node->type, j)] = (float)values[j];
        }
        environment_set_input(machine.environment, node->attributes->symbol, &node->type, values);
        free(values);
    }
    return machine;
}

static void machine_free(struct machine *machine)
{
    for (ptrdiff_t i = 0; i < arrlen(machine->graph->nodes); i++)
        free(machine->memory[i]);
    free(machine->memory);
    environment_free(machine->environment);
}

static bool run_kernel(struct onednn *onednn, struct machine *machine, const struct kernel_use *use,
                       const struct target *target)
{
    struct contraction contraction = contraction_make(use, target, machine->graph->module->arena);
    char *buffers[CONTRACTION_BUFFERS];
    for (int i = 0; i < contraction.buffer_count; i++)
        buffers[i] = (char *)machine->memory[contraction.buffers[i]->id] + contraction.offset[i];
    contraction.step.name = "test";
    struct error error = {0};
    struct onednn_plan *plan = onednn_prepare(onednn, &contraction.step, &error);
    bool good = plan && onednn_run(plan, buffers, &error);
    if (error.code)
        error_print(&error, stderr);
    onednn_plan_free(plan);
    return good;
}

/* Normalised mean squared error of a stored node against the evaluator. */
static double node_error(const struct machine *machine, const struct node *node, const struct tensor *wanted)
{
    double error = 0, power = 0;
    for (int64_t i = 0; i < shape_elements(&node->type.shape); i++) {
        double difference = machine->memory[node->id][memory_index(&node->type, i)] - wanted->values[i];
        error += difference * difference;
        power += wanted->values[i] * wanted->values[i];
    }
    return power > 0 ? error / power : error;
}

/* The body's last node is what its only kernels compute. */
static void check_body(struct onednn *onednn, const char *body)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph g {\n%s}\n", body);
    struct module *module = parse_module(arena, diagnostics, "contraction.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct graph *graph = module->graphs[0];
    struct target target = host_target();
    graph_number(graph);
    struct machine machine = machine_make(graph);
    struct kernel_set set = kernels_find(graph, arena);
    struct evaluation *evaluation = evaluate_graph(graph, machine.environment, EVALUATE_EXACT);
    for (int i = 0; i < set.count; i++) {
        struct node *result = set.kernels[i].stores[0];
        bool good = run_kernel(onednn, &machine, &set.kernels[i], &target) &&
                    node_error(&machine, result, evaluation_value(evaluation, result)) <= 1e-7;
        if (!good)
            fprintf(stderr, "%s", body);
        CHECK(good);
    }
    evaluation_free(evaluation);
    machine_free(&machine);
    module_free(module);
    arena_free(arena);
}

#define INPUT(name, type) " %" name " = input(\"" name "\") : " type "\n"

static const char *const bodies[] = {
    INPUT("a", "f32[5,7]") INPUT("b", "f32[7,9]") " %d = matmul(%a, %b) kernel 1\n",
    INPUT("a", "f32[7,5]") INPUT("b", "f32[9,7]") " %d = matmul(%a, %b, transpose_a, transpose_b) kernel 1\n",
    INPUT("a", "f32[7,1]") INPUT("b", "f32[1,7]") " %d = matmul(%a, %b, transpose_a, transpose_b) kernel 1\n",
    INPUT("a", "f32[1,7]") INPUT("b", "f32[7,1]") " %d = matmul(%a, %b, transpose_a, transpose_b) kernel 1\n",
    INPUT("a", "f32[1,7]") INPUT("b", "f32[1,7]") " %d = matmul(%a, %b, transpose_b) kernel 1\n",
    INPUT("a", "f32[3,4,6]") INPUT("b", "f32[3,6,8]") " %d = matmul(%a, %b) kernel 1\n",
    INPUT("a", "f32[2,3,4,6]") INPUT("b", "f32[2,3,8,6]") " %d = matmul(%a, %b, transpose_b) kernel 1\n",
    /* one matrix for all of the batch, and a batch that folds into rows */
    INPUT("a", "f32[3,4,6]") INPUT("w", "f32[8,6]") " %r = reshape(%w) : f32[1,8,6]\n"
                                                    " %b = broadcast(%r) : f32[3,8,6]\n"
                                                    " %d = matmul(%a, %b, transpose_b) kernel 1\n",
    /* a permuted batch, a slice of columns, a reshaped operand */
    INPUT("a", "f32[4,3,6]") INPUT("b", "f32[3,6,8]") " %p = permute(%a, permutation=[1,0,2])\n"
                                                      " %d = matmul(%p, %b) kernel 1\n",
    INPUT("a", "f32[4,20]") INPUT("b", "f32[8,6]") " %s = slice(%a, low=[1,6], high=[3,14], step=[1,1])\n"
                                                   " %d = matmul(%s, %b) kernel 1\n",
    INPUT("a", "f32[4,2,3]") INPUT("b", "f32[6,5]") " %r = reshape(%a) : f32[4,6]\n"
                                                    " %d = matmul(%r, %b) kernel 1\n",
    INPUT("a", "f32[6,4]") INPUT("b", "f32[6,5]") " %t = permute(%a, permutation=[1,0])\n"
                                                  " %d = matmul(%t, %b) kernel 1\n",
    /* epilogues */
    INPUT("a", "f32[4,6]") INPUT("b", "f32[6,5]") INPUT("v", "f32[5]")
        INPUT("z", "f32[4,5]") " %d = matmul(%a, %b) kernel 1\n"
                               " %r = reshape(%v) : f32[1,5]\n"
                               " %w = broadcast(%r) : f32[4,5]\n"
                               " %e = add(%d, %w) kernel 1\n"
                               " %c = constant(0) : f32[]\n"
                               " %q = reshape(%c) : f32[1,1]\n"
                               " %f = broadcast(%q) : f32[4,5]\n"
                               " %g = max(%e, %f) kernel 1\n"
                               " %h = add(%z, %g) kernel 1\n",
    INPUT("a", "f32[4,6]") INPUT("b", "f32[6,5]") INPUT("z", "f32[4,5]") " %d = matmul(%a, %b) kernel 1\n"
                                                                         " %h = add(%d, %z) kernel 1\n",
    /* two kernels, one after the other */
    INPUT("a", "f32[4,6]") INPUT("b", "f32[6,5]") " %d = matmul(%a, %b) kernel 1\n"
                                                  " %h = matmul(%d, %b, transpose_b) kernel 2\n",
    /* convolutions: row-major, channels last, one channel, bias and relu, gradients, groups, one spatial axis */
    INPUT("x", "f32[2,3,6,5]")
        INPUT("w", "f32[4,3,3,3]") " %d = conv(%x, %w, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) kernel 1\n",
    INPUT("x", "f32[2,3,6,5]{0,2,3,1}")
        INPUT("w", "f32[4,3,3,3]") " %d = conv(%x, %w, kernel=[3,3], stride=[2,1], pad_low=[1,0], pad_high=[1,0]) : "
                                   "f32[2,4,3,3]{0,2,3,1} kernel 1\n",
    INPUT("x", "f32[2,1,6,5]") INPUT("w", "f32[4,1,3,3]")
        INPUT("v", "f32[4]") " %d = conv(%x, %w, kernel=[3,3]) : f32[2,4,4,3]{0,2,3,1} kernel 1\n"
                             " %r = reshape(%v) : f32[1,4,1,1]\n"
                             " %b = broadcast(%r) : f32[2,4,4,3]\n"
                             " %e = add(%b, %d) : f32[2,4,4,3]{0,2,3,1} kernel 1\n"
                             " %c = constant(0) : f32[]\n"
                             " %q = reshape(%c) : f32[1,1,1,1]\n"
                             " %f = broadcast(%q) : f32[2,4,4,3]\n"
                             " %g = max(%f, %e) : f32[2,4,4,3]{0,2,3,1} kernel 1\n",
    INPUT("dy", "f32[2,4,6,5]{0,2,3,1}")
        INPUT("w", "f32[4,3,3,3]") " %d = conv_data(%w, %dy, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : "
                                   "f32[2,3,6,5]{0,2,3,1} kernel 1\n",
    INPUT("dy", "f32[2,4,6,5]{0,2,3,1}")
        INPUT("x", "f32[2,3,6,5]{0,2,3,1}") " %d = conv_weight(%x, %dy, kernel=[3,3], pad_low=[1,1], pad_high=[1,1]) : "
                                            "f32[4,3,3,3] kernel 1\n",
    INPUT("x", "f32[2,6,6,5]{0,2,3,1}") INPUT(
        "w",
        "f32[4,3,3,3]") " %d = conv(%x, %w, kernel=[3,3], dilation=[2,1], groups=2) : f32[2,4,2,3]{0,2,3,1} kernel 1\n",
    INPUT("x", "f32[2,6,7]{0,2,1}")
        INPUT("w", "f32[4,6,3]") " %d = conv(%x, %w, kernel=[3]) : f32[2,4,5]{0,2,1} kernel 1\n",
};

/* What the library can not read in place. */
static void check_refused(void)
{
    static const char text[] = "graph g {\n" INPUT("a", "f32[2,4,3,6]") INPUT("b", "f32[6,8]")
        INPUT("x", "f32[2,3,5,5]") INPUT("w", "f32[4,3,3,3]") " %p = permute(%a, permutation=[0,2,1,3])\n"
                                                              " %q = permute(%p, permutation=[1,0,2,3])\n"
                                                              " %m = matmul(%q, %q, transpose_b) kernel 1\n"
                                                              " %s = slice(%b, low=[0,0], high=[6,8], step=[1,2])\n"
                                                              " %n = matmul(%b, %s, transpose_a) kernel 2\n"
                                                              " %r = reshape(%x) : f32[2,3,5,5]{0,2,3,1}\n"
                                                              " %c = conv(%r, %w, kernel=[3,3]) kernel 3\n"
                                                              "}\n";
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "refused.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    for (ptrdiff_t i = 0; module && i < arrlen(module->graphs[0]->nodes); i++) {
        const struct node *node = module->graphs[0]->nodes[i];
        if (node->kernel == 1)
            CHECK(!view_contraction_operand(node, 0) && !view_contraction_operand(node, 1));
        if (node->kernel == 2)
            CHECK(view_contraction_operand(node, 0) && !view_contraction_operand(node, 1));
        if (node->kernel == 3)
            CHECK(!view_contraction_operand(node, 0) && view_contraction_operand(node, 1));
    }
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    struct error error = {0};
    struct onednn *onednn = onednn_new(vector_isa_find("native"), 2, &error);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        check_body(onednn, bodies[i]);
    check_refused();
    onednn_free(onednn);
    return check_result();
}
