/* Why losses are scaled: a network whose gradients lie below 2^-24 trains in f16 with a dynamic scale as it does in
 * f32, and stands still without one. */
#include "passes/policies/policy.h"
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>

enum { EXAMPLES = 8, STEPS = 60 };

/* The loss is weighed down by 2^-26, as one term of a large sum of losses would be; Adam does not care, as long as
 * there are gradients. */
static const char network[] = "model (x: f32[batch, 4], t: f32[batch, 1]) {\n"
                              "    y = linear(x, 16) as a |> tanh |> linear(1) as b\n"
                              "    loss error = mse(y, t)\n"
                              "    loss small = error * 2 ^ -26\n"
                              "}\n"
                              "train {\n"
                              "    batch 8; steps 60; scale %s\n"
                              "    minimize small with adam(lr = 0.02, eps = 1e-12)\n"
                              "}\n";

static void run_passes(struct net_case *net, const char *policy)
{
    static void (*const passes[])(struct graph *, struct pass_context *) = {
        pass_gradients, pass_precision, pass_loss_scale, pass_casts, pass_simplify, pass_cse, pass_dce};
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(net->arena, net->diagnostics, policy, ELEMENT_NONE, (struct span){0});
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        for (ptrdiff_t k = 0; k < arrlen(net->module->graphs); k++)
            passes[i](net->module->graphs[k], &context);
}

static void feed(struct environment *environment)
{
    double x[EXAMPLES * 4], t[EXAMPLES];
    for (int i = 0; i < EXAMPLES; i++) {
        for (int k = 0; k < 4; k++)
            x[i * 4 + k] = sin(i * 2.3 + k * 0.7);
        t[i] = cos(i * 1.1);
    }
    struct type tx = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){EXAMPLES, 4}));
    struct type tt = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){EXAMPLES, 1}));
    environment_set_input(environment, "x", &tx, x);
    environment_set_input(environment, "t", &tt, t);
}

/* The error before the first and after the last step. */
static void train(const char *policy, const char *scale, double *first, double *last)
{
    char text[1024];
    snprintf(text, sizeof text, network, scale);
    struct net_case net = net_case_open(text, (struct elaborate_request){.batch = EXAMPLES}, NULL, NULL);
    CHECK(net.module);
    if (!net.module) {
        diagnostics_print(net.diagnostics, stderr);
        return;
    }
    run_passes(&net, policy);
    struct environment *environment = net_case_initialise(&net, 3, STEPS);
    feed(environment);
    for (int i = 0; i < STEPS; i++) {
        struct evaluation *evaluation =
            evaluate_graph(module_find_graph(net.module, "train"), environment, EVALUATE_ROUNDED);
        *last = evaluation_output(evaluation, "error")->values[0];
        if (i == 0)
            *first = *last;
        evaluation_commit(evaluation, environment);
        evaluation_free(evaluation);
    }
    environment_free(environment);
    net_case_close(&net);
}

int main(void)
{
    double first = 0, f32 = 0, scaled = 0, unscaled = 0;
    train("f32", "none", &first, &f32);
    CHECK(f32 < 0.25 * first);
    train("autocast(f16)", "dynamic(init = 16777216)", &first, &scaled);
    CHECK(scaled < 0.25 * first && fabs(scaled - f32) < 0.1 * first);
    train("autocast(f16)", "none", &first, &unscaled);
    CHECK(unscaled > 0.99 * first);
    printf("error %.4f: f32 %.4f, scaled %.4f, unscaled %.4f\n", first, f32, scaled, unscaled);
    return check_result();
}
