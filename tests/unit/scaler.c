/* The prelude's dynamic scale, elaborated and evaluated, against PyTorch's GradScaler over scripted overflows
 * (tests/pytorch/data/scaler.txt), and against a model of it in plain C over random ones, with limits that must hold
 * whatever comes. */
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>

/* In f32, as the graph keeps them. */
struct setting {
    float init, growth, backoff, interval, min, max, hysteresis;
};

struct model {
    float scale, clean, left;
};

/* What the scale must do: with hysteresis 1, min 0 and no max this is PyTorch's GradScaler. */
static void model_step(struct model *model, const struct setting *setting, bool found_inf)
{
    if (found_inf) {
        model->clean = 0;
        model->left = model->left > 0 ? model->left - 1 : 0;
        if (model->left == 0)
            model->scale = fmaxf(model->scale * setting->backoff, setting->min);
        return;
    }
    model->left = setting->hysteresis;
    if (++model->clean < setting->interval)
        return;
    model->clean = 0;
    float larger = model->scale * setting->growth;
    if (larger <= setting->max)
        model->scale = larger;
}

static struct net_case open_rule(const struct setting *s)
{
    char text[1024];
    snprintf(text, sizeof text,
             "model (x: f32[batch, 4]) { loss = mean(linear(x, 1)) }\n"
             "train { batch 4; steps 1; minimize loss with sgd(lr = 1)\n"
             "scale dynamic(init = %.9g, growth = %.9g, backoff = %.9g, interval = %.9g, min = %.9g, max = %.9g, "
             "hysteresis = %.9g) }\n",
             s->init, s->growth, s->backoff, s->interval, s->min, s->max, s->hysteresis);
    struct net_case net = net_case_open(text, (struct elaborate_request){.batch = 4}, NULL, NULL);
    if (!net.module)
        diagnostics_print(net.diagnostics, stderr);
    CHECK(net.module && net.module->scaling.rules);
    return net;
}

/* One execution of the rule; gives the scale that it returns. */
static double rule_step(const struct net_case *net, struct environment *environment, bool found_inf)
{
    struct type type = type_scalar(ELEMENT_BOOL);
    double argument = found_inf;
    environment_set_argument(environment, 0, &type, &argument);
    graph_number(net->module->scaling.rules[0]);
    struct evaluation *evaluation = evaluate_graph(net->module->scaling.rules[0], environment, EVALUATE_ROUNDED);
    double scale = evaluation_output(evaluation, "scale")->values[0];
    evaluation_commit(evaluation, environment);
    evaluation_free(evaluation);
    return scale;
}

static void compare(const struct setting *setting, unsigned rarity, int steps)
{
    struct net_case net = open_rule(setting);
    if (!net.module)
        return;
    struct environment *environment = net_case_initialise(&net, 1, steps);
    struct model model = {setting->init, 0, setting->hysteresis};
    uint64_t random = 12345 + rarity;
    int wrong = 0;
    for (int i = 0; i < steps; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        bool found_inf = (random >> 40) % 100 < rarity;
        double scale = rule_step(&net, environment, found_inf);
        model_step(&model, setting, found_inf);
        wrong += scale != model.scale || environment_variable(environment, "train/scale")->values[0] != scale;
        wrong += !(scale > 0) || !isfinite(scale) || scale > setting->max || scale < setting->min;
    }
    CHECK(wrong == 0);
    environment_free(environment);
    net_case_close(&net);
}

/* Lines "found_inf scale tracker" after a line "interval N", as tests/pytorch/reference.py writes them. */
static void compare_with_pytorch(void)
{
    const char *source = getenv("CASTOR_SOURCE");
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/tests/pytorch/data/scaler.txt", source ? source : ".");
    FILE *file = fopen(path, "r");
    CHECK(file);
    struct net_case net = {0};
    struct environment *environment = NULL;
    int steps = 0, wrong = 0, overflow;
    double interval, scale, tracker;
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "interval %lf", &interval) == 1) {
            if (environment) {
                environment_free(environment);
                net_case_close(&net);
            }
            net = open_rule(&(struct setting){65536, 2, 0.5F, (float)interval, 1e-30F, 3e38F, 1});
            environment = net_case_initialise(&net, 1, 1000);
        } else if (net.module && sscanf(line, "%d %lf %lf", &overflow, &scale, &tracker) == 3) {
            wrong += rule_step(&net, environment, overflow) != scale;
            wrong += environment_variable(environment, "train/clean")->values[0] != tracker;
            steps++;
        }
    }
    CHECK(steps == 120);
    CHECK(wrong == 0);
    if (environment) {
        environment_free(environment);
        net_case_close(&net);
    }
    fclose(file);
}

int main(void)
{
    compare_with_pytorch();
    static const struct setting settings[] = {
        {65536, 2, 0.5, 4, 1, 16777216, 1},  {65536, 2, 0.5, 7, 1, 16777216, 3}, {1024, 1.5, 0.75, 3, 0.001, 3e38, 2},
        {3e38, 2, 0.5, 1, 1e-30, 3.4e38, 1}, {1, 4, 0.25, 2, 1, 64, 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        compare(&settings[i], 0, 60);
        compare(&settings[i], 10, 400);
        compare(&settings[i], 60, 400);
        compare(&settings[i], 100, 300);
    }
    return check_result();
}
