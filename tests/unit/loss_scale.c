/* Loss scaling as it behaves, step by step in the evaluator: overflow backs off and changes nothing else, clean steps
 * grow the scale, limits hold; what is checked for inf; accumulation; when there is no scaling at all. */
#include "check.h"
#include "ir/evaluate.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

static struct arena *arena;

/* loss = sum(x @ w) with a state that follows x, momentum, a step counter, a call counter that always goes on, and the
 * dynamic rule with interval 3, between 1 and 2^17. */
static const char network[] = "variable \"w\" : f32[3,2] parameter\n"
                              "variable \"train/w.m\" : f32[3,2] optimizer of \"w\"\n"
                              "variable \"running\" : f32[] state\n"
                              "variable \"train/step\" : f32[] optimizer\n"
                              "variable \"train/calls\" : f32[] optimizer\n"
                              "variable \"train/scale\" : f32[] optimizer\n"
                              "variable \"train/clean\" : f32[] optimizer\n"
                              "%s"
                              "minimize \"loss\"\n"
                              "scaling \"rule\"%s\n"
                              "function rule {\n"
                              "  %%found = argument(0) : bool[]\n"
                              "  %%scale = read(\"train/scale\") : f32[]\n"
                              "  %%clean = read(\"train/clean\") : f32[]\n"
                              "  %%zero = constant(0) : f32[]\n"
                              "  %%one = constant(1) : f32[]\n"
                              "  %%two = constant(2) : f32[]\n"
                              "  %%three = constant(3) : f32[]\n"
                              "  %%most = constant(131072) : f32[]\n"
                              "  %%half = div(%%scale, %%two) : f32[]\n"
                              "  %%less = max(%%half, %%one) : f32[]\n"
                              "  %%count = add(%%clean, %%one) : f32[]\n"
                              "  %%due = ge(%%count, %%three) : bool[]\n"
                              "  %%twice = mul(%%scale, %%two) : f32[]\n"
                              "  %%fits = le(%%twice, %%most) : bool[]\n"
                              "  %%grows = and(%%due, %%fits) : bool[]\n"
                              "  %%more = where(%%grows, %%twice, %%scale) : f32[]\n"
                              "  %%next = where(%%found, %%less, %%more) : f32[]\n"
                              "  %%left = where(%%due, %%zero, %%count) : f32[]\n"
                              "  %%tracker = where(%%found, %%zero, %%left) : f32[]\n"
                              "  %%w1 = write(%%next, \"train/scale\") : f32[]\n"
                              "  %%w2 = write(%%tracker, \"train/clean\") : f32[]\n"
                              "  %%o = output(%%next, \"scale\") : f32[]\n"
                              "}\n"
                              "graph init {\n"
                              "  %%z = constant(0) : f32[]\n"
                              "  %%z1 = reshape(%%z) : f32[1,1]\n"
                              "  %%zw = broadcast(%%z1) : f32[3,2]\n"
                              "  %%s = constant(65536) : f32[]\n"
                              "  %%i1 = write(%%zw, \"w\") : f32[3,2]\n"
                              "  %%i2 = write(%%zw, \"train/w.m\") : f32[3,2]\n"
                              "  %%i3 = write(%%z, \"running\") : f32[]\n"
                              "  %%i4 = write(%%z, \"train/step\") : f32[]\n"
                              "  %%i5 = write(%%z, \"train/calls\") : f32[]\n"
                              "  %%i6 = write(%%s, \"train/scale\") : f32[]\n"
                              "  %%i7 = write(%%z, \"train/clean\") : f32[]\n"
                              "}\n"
                              "graph train {\n"
                              "  %%x = input(\"x\") : f32[4,3]\n"
                              "  %%w = read(\"w\") : f32[3,2]\n"
                              "  %%y = matmul(%%x, %%w) : f32[4,2] in \"fc:linear\"\n"
                              "  %%d = input(\"d\") : f32[4,2]\n"
                              "  %%e = mul(%%y, %%d) : f32[4,2]\n"
                              "  %%t = sum(%%e, axes=[0,1]) : f32[1,1] in \":mse\"\n"
                              "  %%loss = reshape(%%t) : f32[] in \":mse\"\n"
                              "  %%o = output(%%loss, \"loss\", kind=loss) : f32[]\n"
                              "  %%xm = reduce_max(%%x, axes=[0,1]) : f32[1,1]\n"
                              "  %%xs = reshape(%%xm) : f32[]\n"
                              "  %%r = read(\"running\") : f32[]\n"
                              "  %%rn = add(%%r, %%xs) : f32[]\n"
                              "  %%w0 = write(%%rn, \"running\", gate=all) : f32[]\n"
                              "  %%seed = scale_seed(1) : f32[]\n"
                              "  %%g = grad(%%loss, %%w, %%seed) : f32[3,2]\n"
                              "  %%ug = unscale(%%g, 1) : f32[3,2] update\n"
                              "  %%m = read(\"train/w.m\") : f32[3,2] update\n"
                              "  %%mn = add(%%m, %%ug) : f32[3,2] update\n"
                              "  %%n = sub(%%w, %%mn) : f32[3,2] update\n"
                              "  %%w1 = write(%%n, \"w\", gate=1) : f32[3,2] update\n"
                              "  %%w2 = write(%%mn, \"train/w.m\", gate=1) : f32[3,2] update\n"
                              "  %%one = constant(1) : f32[] update\n"
                              "  %%step = read(\"train/step\") : f32[] update\n"
                              "  %%step1 = add(%%step, %%one) : f32[] update\n"
                              "  %%w3 = write(%%step1, \"train/step\", gate=1) : f32[] update\n"
                              "  %%calls = read(\"train/calls\") : f32[]\n"
                              "  %%calls1 = add(%%calls, %%one) : f32[]\n"
                              "  %%w4 = write(%%calls1, \"train/calls\") : f32[]\n"
                              "}\n";

struct run {
    struct module *module;
    struct environment *environment;
    struct diagnostics *diagnostics;
    double loss, scale, skipped; /* of the last step; scale is 0 where the graph logs none */
};

static void run_passes(struct run *run, const char *policy)
{
    static void (*const passes[])(struct graph *, struct pass_context *) = {
        pass_gradients, pass_precision, pass_accumulate, pass_loss_scale,
        pass_casts,     pass_simplify,  pass_cse,        pass_dce};
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, run->diagnostics, policy, ELEMENT_NONE, (struct span){0});
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        for (ptrdiff_t k = 0; k < arrlen(run->module->graphs); k++)
            passes[i](run->module->graphs[k], &context);
}

static void execute(struct run *run, const char *name)
{
    const struct graph *graph = module_find_graph(run->module, name);
    CHECK(graph);
    if (!graph)
        return;
    struct evaluation *evaluation = evaluate_graph(graph, run->environment, EVALUATE_ROUNDED);
    const struct tensor *loss = evaluation_output(evaluation, "loss"), *scale = evaluation_output(evaluation, "scale"),
                        *skipped = evaluation_output(evaluation, "skipped");
    run->loss = loss ? *loss->values : run->loss;
    run->scale = scale ? *scale->values : 0;
    run->skipped = skipped ? *skipped->values : 0;
    evaluation_commit(evaluation, run->environment);
    evaluation_free(evaluation);
}

static struct run start(const char *policy, const char *settings, const char *how)
{
    struct run run = {.diagnostics = diagnostics_new(arena), .environment = environment_new()};
    run.module = parse_module(arena, run.diagnostics, "test.ir", arena_printf(arena, network, settings, how));
    CHECK(run.module);
    if (run.module) {
        run_passes(&run, policy);
        execute(&run, "init");
    }
    diagnostics_print(run.diagnostics, stderr);
    return run;
}

static void finish(struct run *run)
{
    environment_free(run->environment);
    module_free(run->module);
}

/* Feeds x and d full of one number each. */
static void feed(struct run *run, double x, double d)
{
    double xs[12], ds[8];
    for (int i = 0; i < 12; i++)
        xs[i] = x;
    for (int i = 0; i < 8; i++)
        ds[i] = d;
    struct type tx = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){4, 3}));
    struct type td = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){4, 2}));
    environment_set_input(run->environment, "x", &tx, xs);
    environment_set_input(run->environment, "d", &td, ds);
}

static double value(const struct run *run, const char *variable)
{
    const struct tensor *tensor = environment_variable(run->environment, variable);
    CHECK(tensor);
    return tensor ? tensor->values[0] : NAN;
}

static const char *const gated[] = {"w", "train/w.m", "running", "train/step", "w.f16"};

static void overflow_and_growth(void)
{
    struct run run = start("autocast", "", "");
    feed(&run, 1, 0.25);
    execute(&run, "train"); /* the gradient is 4 * 0.25, scaled 65536: 16384 in f16 */
    CHECK(run.skipped == 0 && run.scale == 65536);
    CHECK(value(&run, "w") == -1 && value(&run, "train/w.m") == 1 && value(&run, "train/step") == 1);
    CHECK(value(&run, "running") == 1 && value(&run, "w.f16") == -1);

    double before[5];
    for (int i = 0; i < 5; i++)
        before[i] = value(&run, gated[i]);
    feed(&run, 1, 1.5); /* 1.5 * 65536 leaves f16 */
    execute(&run, "train");
    CHECK(run.skipped == 1 && run.scale == 32768 && value(&run, "train/clean") == 0);
    for (int i = 0; i < 5; i++)
        CHECK(value(&run, gated[i]) == before[i]);
    CHECK(value(&run, "train/calls") == 2); /* goes on */
    execute(&run, "train");
    CHECK(run.skipped == 0 && value(&run, "train/step") == 2 && value(&run, "w") == -1 - 1 - 6);

    feed(&run, 1, 0);
    double scales[] = {32768, 65536, 65536, 65536, 131072, 131072, 131072, 131072, 131072};
    for (int i = 0; i < 9; i++) { /* one clean step is behind: grows after each third, up to the maximum */
        execute(&run, "train");
        CHECK(run.scale == scales[i] && run.skipped == 0);
    }
    finish(&run);
}

/* inf for ever: the scale ends at its minimum and is never 0, inf or NaN; then it recovers. */
static void minimum(void)
{
    struct run run = start("autocast", "", "");
    for (int i = 0; i < 40; i++) {
        feed(&run, 1, i % 2 ? INFINITY : NAN);
        execute(&run, "train");
        CHECK(run.skipped == 1 && run.scale == fmax(65536 / pow(2, i + 1), 1));
    }
    CHECK(value(&run, "w") == 0 && value(&run, "running") == 0 && value(&run, "train/calls") == 40);
    feed(&run, 1, 0);
    for (int i = 0; i < 3; i++)
        execute(&run, "train");
    CHECK(run.scale == 2);
    finish(&run);
}

/* An activation that is inf where the gradient is 0 makes the weight gradient NaN, so it must be seen. */
static void infinite_operand(void)
{
    struct run run = start("autocast", "", "");
    feed(&run, 70000, 0); /* inf in f16 */
    execute(&run, "train");
    CHECK(run.skipped == 1 && value(&run, "w") == 0);
    finish(&run);
}

static int count(const struct module *module, const char *name, enum op op)
{
    const struct graph *graph = module_find_graph(module, name);
    int found = 0;
    for (ptrdiff_t i = 0; graph && i < arrlen(graph->nodes); i++)
        found += graph->nodes[i]->op == op;
    return found;
}

/* The weight gradient is not looked at itself: its operands are. */
static void what_is_checked(void)
{
    struct run run = start("autocast", "", "");
    const struct graph *graph = module_find_graph(run.module, "train");
    int looked_at = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        looked_at += node->op == OP_isfinite;
        CHECK(node->op != OP_isfinite || node->operands[0]->type.element == ELEMENT_F16);
        CHECK(node->op != OP_scale_seed && node->op != OP_unscale);
    }
    CHECK(looked_at == 2);
    finish(&run);

    run = start("autocast(bf16)", "", " explicit"); /* finite is not enough: products must be finite too */
    CHECK(count(run.module, "train", OP_isfinite) == 0 && count(run.module, "train", OP_abs) == 2);
    feed(&run, 1, 1.5);
    execute(&run, "train");
    CHECK(run.skipped == 0 && run.scale == 65536 && value(&run, "w") == -6);
    feed(&run, 1e20, 1e20);
    execute(&run, "train");
    CHECK(run.skipped == 1 && run.scale == 32768 && value(&run, "w") == -6);
    feed(&run, NAN, 1);
    execute(&run, "train");
    CHECK(run.skipped == 1 && run.scale == 16384 && value(&run, "w") == -6);
    finish(&run);
}

static void no_scaling(void)
{
    static const char *const policies[] = {"f32", "autocast(bf16)"};
    for (int i = 0; i < 2; i++) {
        struct run run = start(policies[i], "", "");
        CHECK(!run.module->scaling.present && !module_find_variable(run.module, "train/scale"));
        CHECK(!module_find_variable(run.module, "train/clean") && module_find_variable(run.module, "train/step"));
        CHECK(count(run.module, "train", OP_isfinite) == 0 && count(run.module, "train", OP_scale_seed) == 0);
        feed(&run, 1, 1.5);
        execute(&run, "train");
        CHECK(run.skipped == 0 && run.scale == 0 && value(&run, "w") == -6);
        finish(&run);
    }
}

/* A gradient below f16's smallest number survives only when it is scaled. */
static void underflow(void)
{
    double tiny = ldexp(1, -27);
    struct run run = start("autocast", "", "");
    feed(&run, 1, tiny);
    execute(&run, "train");
    CHECK(value(&run, "w") == -4 * tiny);
    finish(&run);
    const char *without = arena_printf(arena, network, "", "");
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct run bare = {.diagnostics = diagnostics, .environment = environment_new()};
    bare.module = parse_module(arena, diagnostics, "test.ir", without);
    bare.module->scaling.present = false;
    run_passes(&bare, "autocast");
    execute(&bare, "init");
    feed(&bare, 1, tiny);
    execute(&bare, "train");
    CHECK(value(&bare, "w") == 0);
    finish(&bare);
}

static void window(struct run *run, const double *x, const double *d)
{
    double running = value(run, "running"), w = value(run, "w");
    for (int i = 0; i < 4; i++) {
        feed(run, x[i], d[i]);
        execute(run, "micro");
        CHECK(value(run, "running") == running && value(run, "w") == w); /* nothing moves before the update */
    }
    execute(run, "update");
}

/* Four micro-batches make one step on the mean of their gradients, 4 x d each. */
static void accumulation(void)
{
    struct run run = start("autocast", "accumulate 4\n", "");
    CHECK(!module_find_graph(run.module, "train"));
    window(&run, (double[]){1, 2, 3, 4}, (double[]){0.25, 0.5, 0.125, 0.125});
    CHECK(run.skipped == 0 && run.scale == 65536 && value(&run, "train/step") == 1);
    CHECK(value(&run, "w") == -2.125 && value(&run, "running") == 10);

    window(&run, (double[]){1, 1, 1, 1}, (double[]){1e5, 0.25, 0.25, 0.25}); /* one overflow spoils the window */
    CHECK(run.skipped == 1 && run.scale == 32768 && value(&run, "train/step") == 1);
    CHECK(value(&run, "w") == -2.125 && value(&run, "running") == 10 && value(&run, "train/calls") == 8);

    window(&run, (double[]){1, 1, 1, 1}, (double[]){0.25, 0.25, 0.25, 0.25}); /* and leaves no trace */
    CHECK(run.skipped == 0 && value(&run, "train/step") == 2);
    CHECK(value(&run, "train/w.m") == 3.125 && value(&run, "running") == 14);
    finish(&run);
}

static void check_wrong(const char *graphs, const char *message)
{
    const char *text =
        arena_printf(arena,
                     "variable \"w\" : f32[2] parameter\nvariable \"train/scale\" : f32[] optimizer\n"
                     "minimize \"loss\"\nscaling \"rule\" explicit\nfunction rule {\n"
                     "  %%s = read(\"train/scale\") : f32[]\n  %%w = write(%%s, \"train/scale\") : f32[]\n"
                     "  %%o = output(%%s, \"scale\") : f32[]\n}\n%s",
                     graphs);
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct pass_context context = {.limit = -1};
    CHECK(module);
    for (ptrdiff_t i = 0; module && i < arrlen(module->graphs); i++) {
        pass_accumulate(module->graphs[i], &context);
        pass_loss_scale(module->graphs[i], &context);
    }
    char *got;
    size_t size;
    FILE *out = open_memstream(&got, &size);
    diagnostics_print(diagnostics, out);
    fclose(out);
    if (!strstr(got, message))
        CHECK_TEXT(got, message);
    check_count++;
    free(got);
    module_free(module);
}

static void compile_time_checks(void)
{
    check_wrong("graph train {\n  %s = scale_seed(1) : f32[]\n  %c = cast(%s) : f16[] backward\n"
                "  %r = reshape(%c) : f16[1] backward\n  %g = broadcast(%r) : f16[2] backward\n"
                "  %n = sum(%g, axes=[0]) : f32[1] update\n  %nb = broadcast(%n) : f32[2] update\n"
                "  %k = div(%g, %nb) : f32[2] update\n  %u = unscale(%k, 1) : f32[2] update\n"
                "  %w = write(%u, \"w\", gate=1) : f32[2] update\n}\n",
                "E0801");
    check_wrong("graph micro {\n  %s = scale_seed(1) : f32[]\n  %c = cast(%s) : f16[] backward\n"
                "  %r = read(\"train/scale\") : f32[]\n  %w = write(%r, \"train/scale\") : f32[]\n}\n",
                "E0802");
    check_wrong("accumulate 2\ngraph train {\n  %x = input(\"x\") : f32[2]\n  %s = scale_seed(1) : f32[]\n"
                "  %r = reshape(%s) : f32[1] backward\n  %g = broadcast(%r) : f32[2] backward\n"
                "  %u = unscale(%g, 1) : f32[2] update\n  %k = mul(%u, %x) : f32[2] update\n"
                "  %w = write(%k, \"w\", gate=1) : f32[2] update\n}\n",
                "E0803");
}

int main(void)
{
    arena = arena_new();
    overflow_and_growth();
    minimum();
    infinite_operand();
    what_is_checked();
    no_scaling();
    underflow();
    accumulation();
    compile_time_checks();
    arena_free(arena);
    return check_result();
}
