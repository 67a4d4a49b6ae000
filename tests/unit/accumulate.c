/* Accumulation from the language down: micro-batches of 2 make the same steps as one batch of 6, with clipping, Adam,
 * a schedule over `step` and batch statistics in play. */
#include "passes/policies/policy.h"
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>

static const char network[] = "model (x: f32[batch, 4], t: f32[batch, 3]) {\n"
                              "    y = linear(x, 5) as a |> tanh |> linear(3) as b\n"
                              "    loss = mse(y, t)\n"
                              "}\n"
                              "train {\n"
                              "    batch 6; steps 4; %s\n"
                              "    clip norm(0.5)\n"
                              "    scale dynamic\n"
                              "    minimize loss with adam(lr = 0.1 * warmup(step, 3))\n"
                              "}\n";

static void run_passes(struct net_case *net, const char *policy)
{
    static void (*const passes[])(struct graph *, struct pass_context *) = {
        pass_gradients, pass_precision, pass_accumulate, pass_loss_scale,
        pass_casts,     pass_simplify,  pass_cse,        pass_dce};
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(net->arena, net->diagnostics, policy, ELEMENT_NONE, (struct span){0});
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        for (ptrdiff_t k = 0; k < arrlen(net->module->graphs); k++)
            passes[i](net->module->graphs[k], &context);
    CHECK(verify_module(net->module, net->diagnostics));
    diagnostics_print(net->diagnostics, stderr);
}

static struct net_case open_network(const char *setting, int64_t batch, const char *policy)
{
    char text[1024];
    snprintf(text, sizeof text, network, setting);
    struct net_case net = net_case_open(text, (struct elaborate_request){.batch = batch}, NULL, NULL);
    CHECK(net.module);
    if (net.module)
        run_passes(&net, policy);
    else
        diagnostics_print(net.diagnostics, stderr);
    return net;
}

/* Examples `first` to `first + batch` of a fixed data set. */
static void feed(struct environment *environment, int first, int batch)
{
    double x[6 * 4], t[6 * 3];
    for (int i = 0; i < batch; i++) {
        for (int k = 0; k < 4; k++)
            x[i * 4 + k] = sin((first + i) * 1.7 + k);
        for (int k = 0; k < 3; k++)
            t[i * 3 + k] = cos((first + i) * 0.9 - k);
    }
    struct type tx = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){batch, 4}));
    struct type tt = type_make(ELEMENT_F32, shape_make(2, (int64_t[]){batch, 3}));
    environment_set_input(environment, "x", &tx, x);
    environment_set_input(environment, "t", &tt, t);
}

static void execute(const struct net_case *net, struct environment *environment, const char *name)
{
    const struct graph *graph = module_find_graph(net->module, name);
    CHECK(graph);
    if (!graph)
        return;
    struct evaluation *evaluation = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    evaluation_commit(evaluation, environment);
    evaluation_free(evaluation);
}

static void compare(const char *policy, double tolerance)
{
    struct net_case whole = open_network("", 6, policy), split = open_network("accumulate 3", 2, policy);
    struct environment *a = net_case_initialise(&whole, 1, 4), *b = net_case_initialise(&split, 1, 4);
    for (int step = 0; step < 4; step++) {
        feed(a, step * 6, 6);
        execute(&whole, a, "train");
        for (int i = 0; i < 3; i++) {
            feed(b, step * 6 + i * 2, 2);
            execute(&split, b, "micro");
        }
        execute(&split, b, "update");
    }
    static const char *const names[] = {"a.weight", "a.bias", "b.weight", "b.bias", "train/a.weight.v", "train/step"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct tensor *p = environment_variable(a, names[i]), *q = environment_variable(b, names[i]);
        CHECK(p && q);
        double worst = 0;
        for (int64_t k = 0; p && q && k < shape_elements(&p->shape); k++)
            worst = fmax(worst, fabs(p->values[k] - q->values[k]));
        CHECK(worst <= tolerance);
    }
    CHECK(environment_variable(b, "train/step")->values[0] == 4);
    environment_free(a);
    environment_free(b);
    net_case_close(&whole);
    net_case_close(&split);
}

int main(void)
{
    compare("f32", 1e-5);
    compare("autocast", 2e-2);
    return check_result();
}
