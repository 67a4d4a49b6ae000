/* Every op that generated kernels compute, over element types, shapes and memory orders, against the evaluator, with
 * sentinels around all buffers. Iterates the op table: an op without a case fails. On the simulated GPU every result
 * must have the host's bits besides.
 * usage: test_kernel_ops [shapes an op and type, all when 0 [host|cuda [part parts]]]; of so many parts
 * only that one, from 0 */
#include "tests/kernel_cuda.h"
#include "tests/kernel_run.h"
#include "tests/unit/check.h"

#include "passes/pass.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* The last one has so few rows that threads share them where they can. */
static const struct shape shapes[] = {
    {1, {33}},     {0, {0}},       {2, {3, 7}},        {3, {2, 3, 17}}, {1, {1}},
    {2, {4, 16}},  {2, {100, 5}},  {4, {2, 5, 3, 4}},  {1, {0}},        {3, {1, 1, 40}},
    {2, {48, 32}}, {3, {6, 1, 9}}, {4, {3, 16, 4, 4}}, {2, {1, 300}},   {2, {2, 4100}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct suite {
    struct arena *arena;
    struct module **modules; /* stb_ds arrays */
    struct graph **graphs;
    uint64_t state;
    int number;
};

static double draw(struct suite *suite)
{
    suite->state = suite->state * 6364136223846793005u + 1442695040888963407u;
    return (double)(suite->state >> 40) * 0x1p-24;
}

/* ---- building ---- */

static struct builder start(struct suite *suite)
{
    struct module *module = module_new(suite->arena, diagnostics_new(suite->arena), "ops");
    arrput(suite->modules, module);
    return (struct builder){.graph = module_add_graph(module, "train"), .scope = ""};
}

static struct node *add_input(struct builder *builder, enum element element, struct shape shape)
{
    struct module *module = builder->graph->module;
    struct type type = type_make(element, shape);
    const char *name = arena_internf(module->arena, "x%d", (int)arrlen(builder->graph->nodes));
    return build(builder, OP_input, NULL, 0, &(struct attributes){.symbol = name}, &type);
}

/* The value in another memory order: the last axis outermost but one, as channels-last does. */
static struct node *reordered(struct builder *builder, struct node *x)
{
    int rank = x->type.shape.rank;
    struct node *copy = build_unary(builder, OP_abs, build_unary(builder, OP_neg, x));
    if (rank < 2)
        return copy;
    for (int i = 0; i < rank; i++)
        copy->type.order[i] = (unsigned char)(i == 0 ? 0 : i == rank - 1 ? 1 : i + 1);
    return copy;
}

static void finish(struct builder *builder, struct node *value)
{
    build_output(builder, "y", value, OUTPUT_VALUE);
}

static void add_pointwise(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    struct builder builder = start(suite);
    struct node *operands[3] = {NULL};
    const struct op_info *info = op_info(op);
    bool logical = op == OP_not || op == OP_and || op == OP_or;
    for (int i = 0; i < info->arity; i++)
        operands[i] = add_input(&builder, logical || (op == OP_where && i == 0) ? ELEMENT_BOOL : element, shape);
    if (op == OP_cast) {
        for (enum element to = ELEMENT_F16; to < ELEMENT_COUNT; to++)
            if (to != ELEMENT_F64)
                build_output(&builder, element_name(to), build_cast(&builder, operands[0], to), OUTPUT_VALUE);
        return;
    }
    finish(&builder, build(&builder, op, operands, info->arity, NULL, NULL));
}

static void add_reductions(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    if (shape_elements(&shape) == 0 && op != OP_sum && op != OP_prod)
        return;
    for (uint32_t axes = 1; axes < 1u << shape.rank; axes++) {
        struct builder builder = start(suite);
        struct node *x = add_input(&builder, element, shape);
        if (axes % 2 == 0 && element_is_float(element))
            x = reordered(&builder, x);
        finish(&builder, build_reduce(&builder, op, x, axes));
    }
}

static void add_scan(struct suite *suite, enum element element, struct shape shape)
{
    for (int axis = 0; axis < shape.rank; axis++) {
        if (shape.dimension[axis] > 1000) /* so long a sum may be further from the evaluator's than is_close allows */
            continue;
        struct builder builder = start(suite);
        struct node *x = add_input(&builder, element, shape);
        struct attributes attributes = {.axis = axis, .reverse = axis % 2};
        finish(&builder, build(&builder, OP_cumsum, &x, 1, &attributes, NULL));
    }
}

/* Of pairs that lie as they are, and the other way round. */
static void add_suppressed(struct suite *suite, enum element element, struct shape shape)
{
    if (element != ELEMENT_BOOL || shape.rank < 1 || shape.rank > 3)
        return;
    shape.dimension[shape.rank] = shape.dimension[shape.rank - 1];
    shape.rank++;
    bool large = shape_elements(&shape) > 1 << 20;
    for (int turned = 0; turned < (large ? 1 : 2); turned++) {
        struct builder builder = start(suite);
        struct node *x = add_input(&builder, element, shape);
        x = turned ? reordered(&builder, x) : x;
        finish(&builder, build_unary(&builder, OP_suppressed, x));
    }
}

static struct window window_for(int64_t kernel, int64_t stride, int64_t pad, int64_t dilation)
{
    struct window window = {.rank = 1};
    window.kernel[0] = kernel;
    window.stride[0] = stride;
    window.dilation[0] = dilation;
    window.pad_low[0] = window.pad_high[0] = pad;
    return window;
}

static void add_window(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    if (shape.rank < 1 || shape.rank > 3 || shape.dimension[shape.rank - 1] < 5)
        return;
    struct builder builder = start(suite);
    struct node *x = add_input(&builder, element, shape);
    struct attributes attributes = {.value = op == OP_window ? -1 : 0, .window = window_for(3, 2, 1, 2)};
    struct node *windows = build(&builder, OP_window, &x, 1, &attributes, NULL);
    if (op == OP_fold)
        windows = build(&builder, OP_fold, &windows, 1, &attributes, &x->type);
    finish(&builder, windows);
}

/* dy of this shape: depthwise where it has five channels, two groups of filters of two channels where it has 16. */
static void add_tap_sums(struct suite *suite, enum element element, struct shape shape)
{
    int rank = shape.rank;
    if (rank < 3 || shape.dimension[1] < 2 || !element_is_float(element))
        return;
    int64_t channels = shape.dimension[1], groups = channels == 5 ? 5 : channels % 2 ? 1 : 2;
    for (int turned = 0; turned < 2; turned++) {
        struct builder builder = start(suite);
        struct shape x = shape, weight = shape;
        struct attributes attributes = {.groups = groups, .window.rank = rank - 2};
        weight.dimension[0] = channels;
        weight.dimension[1] = groups == 5 ? 1 : 2;
        x.dimension[1] = groups * weight.dimension[1];
        for (int i = 0; i < rank - 2; i++) {
            struct window *window = &attributes.window;
            window->stride[i] = 1 + turned;
            window->dilation[i] = i ? 1 : 2;
            window->pad_low[i] = window->pad_high[i] = 1;
            weight.dimension[2 + i] = 2 + i;
            x.dimension[2 + i] = (shape.dimension[2 + i] - 1) * (1 + turned) + (1 + i) * window->dilation[i] - 1;
        }
        struct node *dy = add_input(&builder, element, shape);
        struct node *operands[] = {turned ? reordered(&builder, dy) : dy, add_input(&builder, element, x)};
        struct type type = type_make(element, weight);
        finish(&builder, build(&builder, OP_tap_sums, operands, 2, &attributes, &type));
    }
}

static void add_movement(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    int rank = shape.rank;
    struct builder builder = start(suite);
    struct node *x = add_input(&builder, element, shape), *operands[2] = {x, x};
    struct attributes attributes = {.value = 3, .axes = rank ? 1u << (rank - 1) : 0, .axis = rank - 1};
    struct type type = type_make(element, (struct shape){.rank = 1, .dimension = {shape_elements(&shape)}});
    if (op == OP_broadcast) {
        type = x->type;
        type.shape.rank++;
        type.shape.dimension[rank] = 4;
        struct type from = type;
        from.shape.dimension[rank] = 1;
        type_make(element, from.shape);
        operands[0] = build_reshape(&builder, x, &from.shape);
        type = type_make(element, type.shape);
    }
    for (int i = 0; i < rank; i++) {
        attributes.permutation[i] = (unsigned char)((i + 1) % rank);
        attributes.low[i] = op == OP_pad ? 1 + i : shape.dimension[i] > 2 ? 1 : 0;
        attributes.high[i] = op == OP_pad ? 2 : shape.dimension[i];
        attributes.step[i] = 2;
    }
    if (rank == 0 && op != OP_reshape && op != OP_broadcast)
        return;
    bool given = op == OP_reshape || op == OP_broadcast;
    finish(&builder, build(&builder, op, operands, op == OP_concat ? 2 : 1, &attributes, given ? &type : NULL));
}

static void add_gather(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    if (shape.rank < 1 || shape_elements(&shape) == 0 || element == ELEMENT_BOOL)
        return;
    struct builder builder = start(suite);
    int axis = shape.rank > 1 ? 1 : 0;
    struct type table = type_make(element, shape);
    struct node *index = add_input(&builder, ELEMENT_U8, (struct shape){.rank = 2, .dimension = {3, 5}});
    struct shape updates = {.rank = shape.rank + 1};
    for (int i = 0; i < updates.rank; i++)
        updates.dimension[i] = i < axis       ? shape.dimension[i]
                               : i < axis + 2 ? index->type.shape.dimension[i - axis]
                                              : shape.dimension[i - 1];
    struct node *operands[] = {add_input(&builder, element, op == OP_gather ? shape : updates), index};
    const struct type *given = op == OP_gather ? NULL : &table;
    finish(&builder, build(&builder, op, operands, 2, &(struct attributes){.axis = axis}, given));
}

static void add_leaf(struct suite *suite, enum op op, struct shape shape)
{
    struct builder builder = start(suite);
    struct type type = type_make(op == OP_iota ? ELEMENT_I32 : ELEMENT_F32, shape);
    struct node *operands[] = {add_input(&builder, ELEMENT_I64, (struct shape){.rank = 0}),
                               add_input(&builder, ELEMENT_I64, (struct shape){.rank = 0})};
    struct attributes attributes = {.axes = (1u << shape.rank) - 1, .key = 0x123456789abcdefu};
    finish(&builder, build(&builder, op, operands, op == OP_random ? 2 : 0, &attributes, &type));
}

/* False when the table has an op that this test does not know. */
static bool add_case(struct suite *suite, enum op op, enum element element, struct shape shape)
{
    switch (op_info(op)->class) {
    case CLASS_POINTWISE:
        add_pointwise(suite, op, element, shape);
        return true;
    case CLASS_REDUCE:
        add_reductions(suite, op, element, shape);
        return true;
    case CLASS_SCAN:
        if (op == OP_cumsum)
            add_scan(suite, element, shape);
        else
            add_suppressed(suite, element, shape);
        return true;
    case CLASS_FOLD:
        if (op == OP_fold)
            add_window(suite, op, element, shape);
        else
            add_tap_sums(suite, element, shape);
        return true;
    case CLASS_MOVEMENT:
        if (op == OP_window)
            add_window(suite, op, element, shape);
        else
            add_movement(suite, op, element, shape);
        return true;
    case CLASS_GATHER:
        add_gather(suite, op, element, shape);
        return true;
    case CLASS_LEAF:
        if ((op == OP_iota || op == OP_random) && element == ELEMENT_F32)
            add_leaf(suite, op, shape);
        return true;
    default:
        return op_is(op, CLASS_CONTRACTION) || op_is(op, CLASS_LOOP) || op_is(op, CLASS_MARKER) ||
               op_is(op, CLASS_EFFECT);
    }
}

/* ---- running ---- */

/* Operands in the range that the op is defined on. */
static double operand_value(struct suite *suite, const struct graph *graph, const struct node *input)
{
    enum op op = OP_COUNT;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (op_is(graph->nodes[i]->op, CLASS_POINTWISE))
            op = graph->nodes[i]->op;
    bool positive = op == OP_log || op == OP_sqrt || op == OP_rsqrt || op == OP_pow || op == OP_log1p;
    double value = draw(suite) * 4 - (positive ? -0.1 : 2);
    if (input->type.element == ELEMENT_BOOL)
        return value > 0;
    if (!element_is_float(input->type.element))
        return floor(fabs(value) * 1.4);
    return value;
}

static void fill(struct suite *suite, struct environment *environment, const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_input)
            continue;
        int64_t count = shape_elements(&node->type.shape);
        double *values = malloc(sizeof *values * (size_t)(count + 1));
        for (int64_t k = 0; k < count; k++)
            values[k] = operand_value(suite, graph, node);
        environment_set_input(environment, node->attributes->symbol, &node->type, values);
        free(values);
    }
}

static bool is_close(double got, double wanted, enum element element)
{
    double relative = element == ELEMENT_F16 ? 1e-3 : element == ELEMENT_BF16 ? 1.6e-2 : 1.3e-6;
    if (isnan(wanted))
        return isnan(got);
    if (!element_is_float(element))
        return got == wanted;
    return got == wanted || fabs(got - wanted) <= 1e-5 + relative * fabs(wanted);
}

static void check_node(const struct kernel_batch *batch, const struct evaluation *evaluation, const struct node *node,
                       const struct graph *graph)
{
    const struct tensor *wanted = evaluation_value(evaluation, node);
    double *got = kernel_batch_value(batch, node);
    int64_t bad = got ? 0 : 1, count = shape_elements(&node->type.shape);
    for (int64_t i = 0; got && i < count; i++)
        if (!is_close(got[i], wanted->values[i], node->type.element) && !bad++)
            fprintf(stderr, "element %lld is %.9g, not %.9g\n", (long long)i, got[i], wanted->values[i]);
    char type[TYPE_TEXT];
    const struct node *made = node->operands[0];
    if (bad)
        fprintf(stderr, "%s of %s: %lld of %lld are wrong\n", op_info(made->op)->name,
                type_format(&graph->nodes[0]->type, type, sizeof type), (long long)bad, (long long)count);
    CHECK(!bad);
    free(got);
}

/* `host`: NULL, or the same graphs there. */
static void run(struct suite *suite, struct kernel_batch *batch, struct kernel_batch *host, int number)
{
    struct graph *graph = suite->graphs[number];
    struct environment *environment = environment_new();
    fill(suite, environment, graph);
    struct evaluation *evaluation = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    CHECK(kernel_batch_run(batch, number, environment));
    CHECK(!host || kernel_batch_run(host, number, environment));
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op != OP_output)
            continue;
        check_node(batch, evaluation, node, graph);
        int64_t different = host ? kernel_batch_different(batch, node, host, node) : 0;
        if (different)
            fprintf(stderr, "graph %d: %s differs from the host's in %lld elements\n", number,
                    op_info(node->operands[0]->op)->name, (long long)different);
        CHECK(!different);
    }
    evaluation_free(evaluation);
    environment_free(environment);
}

int main(int argc, char **argv)
{
    static const enum element elements[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16, ELEMENT_I32,
                                            ELEMENT_U8,  ELEMENT_I64, ELEMENT_BOOL};
    int each = argc > 1 ? atoi(argv[1]) : 1;
    bool cuda = argc > 2 && strcmp(argv[2], "cuda") == 0;
    if (cuda && !kernel_cuda_possible())
        return 77;
    bool beside = cuda && kernel_run_possible(); /* a machine that only runs may have no compiler */
    if (cuda && !beside)
        puts("no compiler for the host's kernels: compared with the evaluator alone");
    struct suite suite = {.arena = arena_new(), .state = 7};
    struct target host_target = kernel_run_target(), target = cuda ? kernel_cuda_target() : host_target;
    struct pass_context context = {.target = &target, .limit = -1};
    int turn = 0, part = argc > 4 ? atoi(argv[3]) : 0, parts = argc > 4 ? atoi(argv[4]) : 1;
    for (int op = 0; op < OP_COUNT; op++)
        for (size_t e = 0; e < sizeof elements / sizeof *elements; e++)
            for (int s = 0; s < (each ? each : SHAPES); s++, turn++)
                CHECK((turn / SHAPES + turn) % parts != part ||
                      add_case(&suite, (enum op)op, elements[e], shapes[turn % SHAPES]));
    struct kernel_batch *batch = kernel_batch_new(&target), *host = beside ? kernel_batch_new(&host_target) : NULL;
    for (ptrdiff_t i = 0; i < arrlen(suite.modules); i++) {
        arrput(suite.graphs, suite.modules[i]->graphs[0]);
        pass_fuse(suite.graphs[i], &context);
        kernel_batch_add(batch, suite.graphs[i]);
        if (host)
            kernel_batch_add(host, suite.graphs[i]);
    }
    bool compiled = kernel_batch_compile(batch, "-O0 '-DINLINE=static inline'");
    compiled = compiled && (!host || kernel_batch_compile(host, "-O0 '-DINLINE=static inline'"));
    CHECK(compiled);
    for (int i = 0; i < (int)arrlen(suite.graphs) && compiled && check_failures < 20; i++)
        run(&suite, batch, host, i);
    kernel_batch_free(batch);
    if (host)
        kernel_batch_free(host);
    for (ptrdiff_t i = 0; i < arrlen(suite.modules); i++)
        module_free(suite.modules[i]);
    arrfree(suite.modules);
    arrfree(suite.graphs);
    arena_free(suite.arena);
    return check_result();
}
