/* The prelude's dynamic scale, elaborated and evaluated, against PyTorch's GradScaler over scripted overflows
 * (tests/pytorch/data/scaler.txt), and against a model of it in plain C over random ones with random options, with
 * limits that must hold whatever comes.
 *
 *   usage: test_scaler [SEQUENCES] */
#include "tests/net_case.h"
#include "tests/scaler_model.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>

static struct net_case open_rule(const struct setting *s)
{
    char text[1024], scale[SETTING_TEXT];
    setting_text(s, scale, sizeof scale);
    snprintf(text, sizeof text,
             "model (x: f32[batch, 4]) { loss = mean(linear(x, 1)) }\n"
             "train { batch 4; steps 1; minimize loss with sgd(lr = 1)\nscale %s }\n",
             scale);
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

/* One sequence from fresh state; gives how many steps were wrong. `rarity`: the share of overflows. */
static int run_sequence(struct net_case *net, const struct setting *setting, double rarity, int steps, uint64_t *random)
{
    struct environment *environment = net_case_initialise(net, 1, steps);
    struct model model = {setting->init, 0, setting->hysteresis};
    int wrong = 0;
    for (int i = 0; i < steps; i++) {
        bool found_inf = draw(random) < rarity;
        double scale = rule_step(net, environment, found_inf);
        model_step(&model, setting, found_inf);
        wrong += scale != model.scale || environment_variable(environment, "train/scale")->values[0] != scale;
        wrong += !(scale > 0) || !isfinite(scale);
        wrong += scale > fmaxf(setting->init, setting->max) || scale < fminf(setting->init, setting->min);
    }
    environment_free(environment);
    return wrong;
}

static void compare(const struct setting *setting, int sequences, int steps, uint64_t *random)
{
    static const double rarities[] = {0, 0.01, 0.1, 0.3, 0.6, 0.95, 1};
    struct net_case net = open_rule(setting);
    char scale[SETTING_TEXT];
    int wrong = 0;
    for (int i = 0; i < sequences && net.module; i++)
        wrong += run_sequence(&net, setting, rarities[i % 7], steps, random);
    if (wrong)
        fprintf(stderr, "%s\n", setting_text(setting, scale, sizeof scale));
    CHECK(wrong == 0);
    net_case_close(&net);
}

/* Whatever the compiler accepts, scales that f32 can hardly hold included. */
static struct setting random_setting(uint64_t *random)
{
    struct setting setting = {.init = (float)exp2(240 * draw(random) - 117),
                              .growth = 1 + (float)exp2(8 * draw(random) - 6),
                              .backoff = (float)(0.001 + 0.998 * draw(random)),
                              .interval = 1 + floorf((float)(6 * draw(random))),
                              .hysteresis = 1 + floorf((float)(4 * draw(random)))};
    if (draw(random) < 0.7)
        setting.init = (float)exp2(floor(26 * draw(random) - 2));
    setting.min = setting.init * (float)exp2(8 * draw(random) - 7);
    setting.max = setting.min * (float)exp2(12 * draw(random));
    return setting;
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

int main(int argc, char **argv)
{
    enum { EACH = 50, STEPS = 40 };
    int sequences = argc > 1 ? atoi(argv[1]) : 10000;
    uint64_t random = 7;
    compare_with_pytorch();
    for (size_t i = 0; i < sizeof scaler_settings / sizeof *scaler_settings; i++)
        compare(&scaler_settings[i], 14, 300, &random);
    for (int done = 0; done < sequences; done += EACH) {
        struct setting setting = random_setting(&random);
        compare(&setting, EACH, STEPS, &random);
    }
    return check_result();
}
