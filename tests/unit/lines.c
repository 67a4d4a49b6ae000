/* Several minimize lines, executed by the evaluator and compared with steps worked by hand: gradients at one point,
 * phases behind `then`, `every`, what skips and what does not, averages. */
#include "passes/policies/policy.h"
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <string.h>

struct run {
    struct net_case net;
    struct environment *environment;
};

static void run_passes(struct net_case *net, const char *policy)
{
    static void (*const passes[])(struct graph *, struct pass_context *) = {
        pass_gradients, pass_dce,      pass_precision, pass_accumulate, pass_loss_scale,
        pass_casts,     pass_simplify, pass_cse,       pass_dce};
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(net->arena, net->diagnostics, policy, ELEMENT_NONE, (struct span){0});
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        for (ptrdiff_t k = 0; k < arrlen(net->module->graphs); k++)
            passes[i](net->module->graphs[k], &context);
        CHECK(verify_module(net->module, net->diagnostics));
    }
    diagnostics_print(net->diagnostics, stderr);
}

static struct run start(const char *model, const char *train, const char *policy)
{
    char text[2048];
    snprintf(text, sizeof text, "%s\ntrain { batch 4; steps 10\n%s\n}\n", model, train);
    struct run run = {.net = net_case_open(text, (struct elaborate_request){.batch = 4, .eval = 4}, NULL, NULL)};
    CHECK(run.net.module);
    if (!run.net.module) {
        diagnostics_print(run.net.diagnostics, stderr);
        return run;
    }
    run_passes(&run.net, policy);
    run.environment = net_case_initialise(&run.net, 1, 10);
    return run;
}

static void finish(struct run *run)
{
    environment_free(run->environment);
    net_case_close(&run->net);
}

static void feed(struct run *run, const char *name, double value)
{
    double values[16];
    for (int i = 0; i < 16; i++)
        values[i] = value;
    struct type type = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){4, 4}));
    environment_set_input(run->environment, name, &type, values);
}

/* One execution; gives the output of this name, NAN when there is none. */
static double execute(struct run *run, const char *graph, const char *output)
{
    struct evaluation *evaluation =
        evaluate_graph(module_find_graph(run->net.module, graph), run->environment, EVALUATE_ROUNDED);
    const struct tensor *tensor = output ? evaluation_output(evaluation, output) : NULL;
    double value = tensor ? tensor->values[0] : NAN;
    evaluation_commit(evaluation, run->environment);
    evaluation_free(evaluation);
    return value;
}

static double value(const struct run *run, const char *name)
{
    const struct tensor *tensor = environment_variable(run->environment, name);
    CHECK(tensor);
    return tensor ? tensor->values[0] : NAN;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fmax(1, fabs(b));
}

/* f = u v: its gradients are v and u. */
#define PRODUCT                                                                                                        \
    "model (x: f32[batch, 4]) {\n param u: [] ~ constant(2)\n param v: [] ~ constant(3)\n"                             \
    " loss f = u * v\n loss g = u * v + 0 * mean(x)\n}"

static void at_one_point(void)
{
    struct run run =
        start(PRODUCT, "minimize f over \"u\" with sgd(lr = 0.1)\nminimize g over \"v\" with sgd(lr = 0.01)", "f32");
    feed(&run, "x", 1);
    double u = 2, v = 3;
    for (int i = 0; i < 3; i++) {
        CHECK(near(execute(&run, "train", "g"), u * v));
        double old = u;
        u -= 0.1 * v;
        v -= 0.01 * old;
        CHECK(near(value(&run, "u"), u) && near(value(&run, "v"), v));
    }
    CHECK(value(&run, "train/step") == 3 && value(&run, "train/step.2") == 3);
    finish(&run);
}

/* The second line sees the u that the first one made, and so does its loss in the log. */
static void phases(void)
{
    struct run run = start(
        PRODUCT, "minimize f over \"u\" with sgd(lr = 0.1)\nthen minimize g over \"v\" with sgd(lr = 0.01) every 2",
        "f32");
    feed(&run, "x", 1);
    double u = 2, v = 3;
    for (int i = 0; i < 5; i++) {
        u -= 0.1 * v;
        CHECK(near(execute(&run, "train", "g"), u * v));
        if (i % 2 == 1)
            v -= 0.01 * u;
        CHECK(near(value(&run, "u"), u) && near(value(&run, "v"), v));
    }
    CHECK(value(&run, "train/step") == 5 && value(&run, "train/step.2") == 2 && value(&run, "train/turn.2") == 1);
    finish(&run);
}

/* Two phases train one parameter, each with a momentum of its own. */
static void twice(void)
{
    struct run run = start(PRODUCT,
                           "minimize f with sgd(lr = 0.1, momentum = 0.5)\n"
                           "then minimize g over \"u\" with sgd(lr = 0.2, momentum = 0.25)",
                           "f32");
    feed(&run, "x", 1);
    double u = 2, v = 3, mu = 0, mv = 0, second = 0;
    for (int i = 0; i < 4; i++) {
        mu = 0.5 * mu + v;
        mv = 0.5 * mv + u;
        u -= 0.1 * mu;
        v -= 0.1 * mv;
        second = 0.25 * second + v;
        u -= 0.2 * second;
        execute(&run, "train", NULL);
        CHECK(near(value(&run, "u"), u) && near(value(&run, "v"), v));
        CHECK(near(value(&run, "train/u.m"), mu) && near(value(&run, "train/u.2.m"), second));
    }
    finish(&run);
}

/* A state counts the steps: once a step, however often the model is evaluated. */
static void states_once(void)
{
    struct run run =
        start("model (x: f32[batch, 4]) {\n param u: [] ~ constant(2)\n param v: [] ~ constant(3)\n"
              " state n = 0\n n <- n + mean(x)\n loss f = u * v * n\n loss g = u + v * n\n}",
              "minimize f over \"u\" with sgd(lr = 0)\nthen minimize g over \"v\" with sgd(lr = 1)", "f32");
    feed(&run, "x", 1);
    for (int i = 1; i <= 3; i++) {
        execute(&run, "train", NULL);
        CHECK(value(&run, "n") == i && near(value(&run, "v"), 3 - i * (i + 1) / 2.0));
    }
    finish(&run);
}

/* Two towers, gradients of 4 times their inputs: d a / d w = mean over 4 examples of x summed over 4 outputs. */
#define TOWERS                                                                                                         \
    "module tower(x: [b, k]) { param w: [4, k] ~ constant(1)\n return x @ w' }\n"                                      \
    "model (x: f32[batch, 4], y: f32[batch, 4]) {\n"                                                                   \
    " loss a = sum(tower(x) as p)\n loss b = sum(tower(y) as q)\n}"

static const double lr = 1.0 / 1024;

static void skips_alone(const char *scale, bool own)
{
    char train[512];
    snprintf(train, sizeof train,
             "scale %s\nminimize a over \"p.*\" with sgd(lr = 0.0009765625, momentum = 0.5)\n"
             "minimize b over \"q.*\" with sgd(lr = 0.0009765625)",
             scale);
    struct run run = start(TOWERS, train, "autocast(f16)");
    const char *first = own ? "scale/a" : "scale";
    feed(&run, "x", 1);
    feed(&run, "y", 1);
    CHECK(execute(&run, "train", first) == 1024);
    CHECK(value(&run, "p.w") == 1 - 4 * lr && value(&run, "q.w") == 1 - 4 * lr);
    double p = value(&run, "p.w"), momentum = value(&run, "train/p.w.m"), copy = value(&run, "p.w.f16");
    feed(&run, "x", 1e6); /* inf in f16: the weight gradient of p is not finite */
    CHECK(execute(&run, "train", first) == 512);
    CHECK(value(&run, "p.w") == p && value(&run, "train/p.w.m") == momentum && value(&run, "p.w.f16") == copy);
    CHECK(value(&run, "train/step") == 1 && value(&run, "train/step.2") == 2);
    CHECK(value(&run, "q.w") == 1 - 8 * lr);
    CHECK(value(&run, own ? "train/a.scale" : "train/scale") == 512);
    CHECK(!own || value(&run, "train/b.scale") == 1024);
    feed(&run, "x", 1);
    CHECK(execute(&run, "train", "skipped/a") == 0 && value(&run, "train/step") == 2);
    CHECK(near(value(&run, "p.w"), p - lr * (4 + 0.5 * momentum)));
    finish(&run);
}

/* What the first phase skips, the second sees unchanged; a line that does not act is neither skipped nor counted. */
static void skipped_phase(void)
{
    struct run run = start("module tower(x: [b, k]) { param w: [4, k] ~ constant(1)\n return x @ w' }\n"
                           "model (x: f32[batch, 4], y: f32[batch, 4]) {\n"
                           " loss a = sum(tower(x) as p)\n loss b = sum(p(y) * (tower(y) as q))\n}",
                           "scale dynamic(init = 1)\nminimize a over \"p.*\" with sgd(lr = 0.0009765625)\n"
                           "then minimize b over \"q.*\" with sgd(lr = 0.0009765625) every 3",
                           "autocast(f16)");
    feed(&run, "x", 1e6);
    feed(&run, "y", 1);
    CHECK(execute(&run, "train", "skipped/b") == -1);
    CHECK(execute(&run, "train", "skipped/a") == 1);
    CHECK(value(&run, "p.w") == 1 && value(&run, "q.w") == 1 && value(&run, "train/step.2") == 0);
    CHECK(execute(&run, "train", "skipped/b") == 0); /* its third step; p is as it was: d b / d q = 16 */
    CHECK(value(&run, "p.w") == 1 && near(value(&run, "q.w"), 1 - 16 * lr) && value(&run, "train/step.2") == 1);
    feed(&run, "x", 1);
    execute(&run, "train", NULL);
    CHECK(near(value(&run, "p.w"), 1 - 4 * lr) && value(&run, "train/step") == 1 && value(&run, "train/turn.2") == 1);
    finish(&run);
}

/* The average is the parameter after the first step taken, and follows it from there; evaluation reads it. */
static void averages(void)
{
    struct run run =
        start("module tower(x: [b, k]) { param w: [4, k] ~ constant(1)\n return x @ w' }\n"
              "model (x: f32[batch, 4]) { loss = mean(tower(x) as p) }",
              "scale dynamic(init = 1)\naverage ema(0.75)\nminimize loss with sgd(lr = 1)", "autocast(f16)");
    feed(&run, "x", 1e6);
    execute(&run, "train", NULL);
    CHECK(value(&run, "train/p.w.average") == 1);
    feed(&run, "x", 1);
    double p = 1, average = 1;
    for (int i = 0; i < 4; i++) {
        execute(&run, "train", NULL);
        p -= 0.25;
        average = i ? average + 0.25 * (p - average) : p;
        CHECK(near(value(&run, "p.w"), p) && near(value(&run, "train/p.w.average"), average));
    }
    CHECK(near(execute(&run, "eval", "loss"), 4 * p));
    CHECK(fabs(execute(&run, "average", "loss") - 4 * average) < 2e-3 * 4);
    finish(&run);
}

/* Each line clips by the norm of its own gradients. */
static void own_norms(void)
{
    struct run run = start(
        PRODUCT, "clip norm(1)\nminimize f over \"u\" with sgd(lr = 1)\nminimize g over \"v\" with sgd(lr = 1)", "f32");
    feed(&run, "x", 1);
    CHECK(near(execute(&run, "train", "grad_norm/f"), 3));
    CHECK(near(value(&run, "u"), 1) && near(value(&run, "v"), 2));
    CHECK(near(execute(&run, "train", "grad_norm/g"), 1)); /* u is 1 now */
    finish(&run);
}

/* The rule sees the largest gradient, unscaled, of all lines: 2^16 / 2^(mean + 3.09 deviations) of its log2. The mean
 * of squares less the square of the mean is exact to some 2^-22 of it, so the deviation to 2^-10: half a percent of the
 * scale. */
static void logmax(void)
{
    struct run run = start(TOWERS,
                           "scale logmax\nminimize a over \"p.*\" with sgd(lr = 0)\n"
                           "minimize b over \"q.*\" with sgd(lr = 0)",
                           "autocast(f16)");
    feed(&run, "x", 1);
    feed(&run, "y", 0.0625);
    CHECK(fabs(execute(&run, "train", "scale") / 16384 - 1) < 5e-3); /* log2 of the largest is 2 */
    double scale = execute(&run, "train", "scale");
    CHECK(fabs(scale / 16384 - 1) < 5e-3);
    feed(&run, "x", 0);
    feed(&run, "y", 0);
    CHECK(execute(&run, "train", "scale") == scale); /* no gradient says nothing */
    feed(&run, "x", 1e6);
    double after = execute(&run, "train", "scale");
    CHECK(after < 4096 && after >= 1 && execute(&run, "train", "skipped/a") == 1);
    finish(&run);
}

/* ---- a skipped step changes no bit ---- */

enum { VARIABLES = 64, VALUES = 64 };

struct state {
    const char *name;
    double values[VALUES];
    int count;
};

static int remember(const struct run *run, struct state states[VARIABLES])
{
    int count = 0;
    for (ptrdiff_t i = 0; i < arrlen(run->net.module->variables) && count < VARIABLES; i++) {
        const struct variable *variable = run->net.module->variables[i];
        const struct tensor *tensor = environment_variable(run->environment, variable->name);
        if (!tensor)
            continue;
        struct state *state = &states[count++];
        *state = (struct state){.name = variable->name, .count = (int)shape_elements(&tensor->shape)};
        CHECK(state->count <= VALUES);
        memcpy(state->values, tensor->values, sizeof *tensor->values * (size_t)state->count);
    }
    return count;
}

static bool belongs(const char *name, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (strstr(name, *patterns))
            return true;
    return false;
}

/* Both lines have Adam, an average and a running statistic; which of them overflows is drawn for each step. */
static void skipped_bits(void)
{
    static const char *const of_a[] = {"p.", "train/step", NULL}, *const of_b[] = {"q.", "train/step.2", NULL};
    static const char *const shared[] = {"running", NULL};
    struct run run = start("module tower(x: [b, k]) {\n param w: [4, k] ~ uniform(-1, 1)\n param c: [4] ~ zeros\n"
                           " state running = zeros([4])\n y = x @ w' + c\n"
                           " running <- 0.5 * running + squeeze(max(y, axis = 0), 0)\n return y\n}\n"
                           "model (x: f32[batch, 4], y: f32[batch, 4]) {\n"
                           " loss a = mean(tower(x) as p ^ 2)\n loss b = mean(tower(y) as q ^ 2)\n}",
                           "scale dynamic(init = 1024, interval = 3, min = 16, max = 4096)\naverage ema(0.5)\n"
                           "clip norm(1)\nminimize a over \"p.*\" with adam(lr = 0.01)\n"
                           "minimize b over \"q.*\" with adam(lr = 0.01) every 2",
                           "autocast(f16)");
    static struct state before[VARIABLES], after[VARIABLES];
    uint64_t random = 3;
    int skips[2] = {0}, wrong = 0;
    for (int step = 0; step < 300; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        bool bad_a = random >> 60 < 4, bad_b = (random >> 50 & 15) < 6, acts = step % 2;
        static const double inputs[] = {1e6, INFINITY, NAN, -3e38};
        feed(&run, "x", bad_a ? inputs[random >> 40 & 3] : sin(step));
        feed(&run, "y", bad_b ? inputs[random >> 42 & 3] : cos(step));
        int count = remember(&run, before);
        execute(&run, "train", NULL);
        CHECK(remember(&run, after) == count);
        for (int i = 0; i < count; i++) {
            const char *name = before[i].name;
            bool second = belongs(name, of_b),
                 first = !second && belongs(name, of_a) && strcmp(name, "train/steps") != 0;
            bool kept = belongs(name, shared) ? bad_a || (bad_b && acts)
                        : first               ? bad_a
                        : second              ? bad_b || !acts
                                              : false;
            bool same = memcmp(before[i].values, after[i].values, sizeof(double) * (size_t)before[i].count) == 0;
            bool moves = (first || second) && !kept && (strstr(name, "step") || strstr(name, ".v"));
            wrong += (kept && !same) || (moves && same);
        }
        skips[0] += bad_a;
        skips[1] += bad_b && acts;
        double scale = value(&run, "train/scale");
        wrong += !(scale >= 16 && scale <= 4096);
    }
    CHECK(wrong == 0 && skips[0] > 40 && skips[1] > 40);
    CHECK(value(&run, "train/step") == 300 - skips[0] && value(&run, "train/step.2") == 150 - skips[1]);
    finish(&run);
}

int main(void)
{
    skipped_bits();
    at_one_point();
    phases();
    twice();
    states_once();
    skips_alone("dynamic(init = 1024)", false);
    skips_alone("dynamic(init = 1024) per loss", true);
    skipped_phase();
    averages();
    own_norms();
    logmax();
    return check_result();
}
