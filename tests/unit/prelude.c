/* The prelude against formulas written again here, in double precision: activations, losses, layers, optimizers,
 * schedules, initialisers and the dynamic scale. */
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>

enum { COUNT = 8 };

static const double xs[COUNT] = {-2.5, -1, -0.25, 0, 0.5, 1, 3, 12};
static const double ts[COUNT] = {0.125, 0.875, 0.5, 0.25, 1, 0, 0.75, 0.375};

static void complain(const struct net_case *net, const char *text)
{
    char *messages = net_case_messages(net);
    fprintf(stderr, "%s\n%s", text, messages);
    free(messages);
}

static bool near(double got, double wanted, double relative)
{
    return got == wanted || fabs(got - wanted) <= relative * (1e-3 + fabs(wanted));
}

/* Evaluates output y of `text` on inputs x and t of the given shape; `wanted` holds `count` values. */
static void check_output(const char *body, const char *inputs, const struct shape *shape, const double *wanted,
                         int count)
{
    char text[2048];
    snprintf(text, sizeof text, "model (%s) {\n%s\noutput y\n}\n", inputs, body);
    struct net_case net =
        net_case_open(text, (struct elaborate_request){.eval = shape->dimension[0], .outputs = true}, NULL, NULL);
    CHECK(net.module != NULL);
    if (!net.module) {
        complain(&net, text);
        net_case_close(&net);
        return;
    }
    struct environment *environment = net_case_initialise(&net, 1, 10);
    struct type type = type_make(ELEMENT_F32, *shape);
    environment_set_input(environment, "x", &type, xs);
    environment_set_input(environment, "t", &type, ts);
    struct type labels = type_make(ELEMENT_I32, (struct shape){1, {shape->dimension[0]}});
    environment_set_input(environment, "label", &labels, (const double[]){1, 0, 3, 2, 1, 0, 3, 2});
    struct evaluation *evaluation = evaluate_graph(module_find_graph(net.module, "eval"), environment, EVALUATE_EXACT);
    const struct tensor *y = evaluation_output(evaluation, "y");
    CHECK(shape_elements(&y->shape) == count);
    for (int i = 0; i < count && i < shape_elements(&y->shape); i++) {
        CHECK(near(y->values[i], wanted[i], 1e-9));
        if (!near(y->values[i], wanted[i], 1e-9))
            fprintf(stderr, "%s [%d]: got %.17g, wanted %.17g\n", body, i, y->values[i], wanted[i]);
    }
    evaluation_free(evaluation);
    environment_free(environment);
    net_case_close(&net);
}

/* ---- activations ---- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

static double leaky_relu(double x)
{
    return x > 0 ? x : 0.01 * x;
}

static double elu(double x)
{
    return x > 0 ? x : exp(x) - 1;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double softplus(double x)
{
    return log(1 + exp(x));
}

static double gelu(double x)
{
    return x * 0.5 * erfc(-x / sqrt(2));
}

static double gelu_tanh(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * pow(x, 3))));
}

static double hard_swish(double x)
{
    return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6;
}

static void check_activations(void)
{
    static const struct {
        const char *body;
        double (*function)(double);
    } cases[] = {{"y = relu(x)", relu}, {"y = leaky_relu(x)", leaky_relu},
                 {"y = elu(x)", elu},   {"y = sigmoid(x)", sigmoid},
                 {"y = silu(x)", silu}, {"y = softplus(x)", softplus},
                 {"y = gelu(x)", gelu}, {"y = hard_swish(x)", hard_swish},
                 {"y = tanh(x)", tanh}, {"y = gelu(x, approximate = true)", gelu_tanh}};
    struct shape shape = {1, {COUNT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double wanted[COUNT];
        for (int k = 0; k < COUNT; k++)
            wanted[k] = cases[i].function(xs[k]);
        check_output(cases[i].body, "x: f32[batch]", &shape, wanted, COUNT);
    }
}

static void softmax(double *row, int count, bool logarithm)
{
    double total = 0, scores[COUNT] = {0};
    for (int i = 0; i < count; i++)
        total += exp(row[i]);
    for (int i = 0; i < count; i++)
        scores[i] = logarithm ? row[i] - log(total) : exp(row[i]) / total;
    memcpy(row, scores, sizeof *row * (size_t)count);
}

/* ---- losses ---- */

static void check_losses(void)
{
    struct shape flat = {1, {COUNT}}, rows = {2, {2, 4}};
    double squares = 0, distances = 0, smooth = 0, huber = 0, binary = 0, kl = 0;
    for (int i = 0; i < COUNT; i++) {
        double d = xs[i] - ts[i], a = fabs(d);
        squares += d * d;
        distances += a;
        smooth += a < 2 ? 0.5 * d * d / 2 : a - 1;
        huber += a <= 1.5 ? 0.5 * d * d : 1.5 * (a - 0.75);
        binary += -(ts[i] * log(sigmoid(xs[i])) + (1 - ts[i]) * log(sigmoid(-xs[i])));
        kl += ts[i] > 0 ? ts[i] * (log(ts[i]) - xs[i]) : 0;
    }
    const double wanted[] = {squares / COUNT, distances / COUNT, smooth / COUNT,
                             huber / COUNT,   binary / COUNT,    kl / COUNT};
    static const char *const bodies[] = {"y = mse(x, t)",
                                         "y = l1(x, t)",
                                         "y = smooth_l1(x, t, beta = 2)",
                                         "y = huber(x, t, delta = 1.5)",
                                         "y = binary_cross_entropy_with_logits(x, t)",
                                         "y = kl_div(x, t)"};
    for (int i = 0; i < 6; i++)
        check_output(bodies[i], "x: f32[batch], t: f32[batch]", &flat, &wanted[i], 1);

    double scores[COUNT], plain = 0, all = 0;
    memcpy(scores, xs, sizeof scores);
    softmax(scores, 4, true);
    softmax(scores + 4, 4, true);
    for (int i = 0; i < COUNT; i++)
        all -= scores[i] / COUNT;
    plain = -(scores[1] + scores[4]) / 2;
    double smoothed = 0.9 * plain + 0.1 * all, perplexity = exp(plain), right = 0;
    const char *inputs = "x: f32[batch, 4], label: class(4)[batch]";
    check_output("y = cross_entropy(x, label)", inputs, &rows, &plain, 1);
    check_output("y = cross_entropy(permute(x, [1, 0]), label, axis = 0)", inputs, &rows, &plain, 1);
    check_output("y = cross_entropy(x, label, smoothing = 0.1)", inputs, &rows, &smoothed, 1);
    check_output("y = perplexity(x, label)", inputs, &rows, &perplexity, 1);
    check_output("y = accuracy(x, label)", inputs, &rows, &right, 1);
    /* Of 1 1 0.25 0 the right one is the second of two equals, of -0.5 -1 -3 -12 it is the first. */
    const double half = 0.5, whole = 1;
    check_output("y = top_k_accuracy(min(-x, 1), label, 1)", inputs, &rows, &half, 1);
    check_output("y = top_k_accuracy(min(-x, 1), label, 2)", inputs, &rows, &whole, 1);
    check_output("y = top_k_accuracy(x, label, 3)", inputs, &rows, &half, 1);
    check_output("y = log_softmax(x)", inputs, &rows, scores, COUNT);
    memcpy(scores, xs, sizeof scores);
    softmax(scores, 4, false);
    softmax(scores + 4, 4, false);
    check_output("y = softmax(x)", inputs, &rows, scores, COUNT);
    double sums[] = {log(exp(-2.5) + exp(-1) + exp(-0.25) + 1), log(exp(0.5) + exp(1) + exp(3) + exp(12))};
    check_output("y = logsumexp(x, axis = 1)", inputs, &rows, sums, 2);
    double length = 0;
    for (int i = 0; i < COUNT; i++)
        length += xs[i] * xs[i];
    length = sqrt(length);
    check_output("y = norm(x)", inputs, &rows, &length, 1);
}

/* ---- layers ---- */

static void check_layers(void)
{
    struct shape image = {4, {1, 1, 2, 4}}, rows = {2, {2, 4}};
    const double largest[] = {1, 12}, average[] = {(-2.5 - 1 + 0.5 + 1) / 4, (-0.25 + 0 + 3 + 12) / 4};
    const double overlapping[] = {1, 3, 12}, padded[] = {-2.5, -0.25, 0, 0.5, 3, 12};
    check_output("y = max_pool(x, 2)", "x: f32[batch, 1, 2, 4]", &image, largest, 2);
    check_output("y = avg_pool(x, 2)", "x: f32[batch, 1, 2, 4]", &image, average, 2);
    check_output("y = max_pool(x, 2, stride = 1)", "x: f32[batch, 1, 2, 4]", &image, overlapping, 3);
    check_output("y = max_pool(x, 2, stride = 2, pad = 1)", "x: f32[batch, 1, 2, 4]", &image, padded, 6);
    const double whole[] = {-0.25, 0, 3, 12}, kept[] = {-2.5, 0, 0.5, 12};
    check_output("y = max_pool(x, [1, 3], stride = [1, 2], ceil = true)", "x: f32[batch, 1, 2, 4]", &image, whole, 4);
    check_output("y = max_pool(x, [1, 2], stride = [1, 3], pad = [0, 1], ceil = true)", "x: f32[batch, 1, 2, 4]",
                 &image, kept, 4); /* a third window would begin in the padding */
    double normal[COUNT];
    for (int row = 0; row < 2; row++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < 4; i++)
            mean += xs[4 * row + i] / 4;
        for (int i = 0; i < 4; i++)
            variance += (xs[4 * row + i] - mean) * (xs[4 * row + i] - mean) / 4;
        for (int i = 0; i < 4; i++)
            normal[4 * row + i] = (xs[4 * row + i] - mean) / sqrt(variance + 1e-5);
    }
    struct shape groups = {3, {1, 4, 2}}, channels = {3, {1, 2, 4}};
    check_output("y = layer_norm(x)", "x: f32[batch, 4]", &rows, normal, COUNT);
    check_output("y = group_norm(x, 2)", "x: f32[batch, 4, 2]", &groups, normal, COUNT);
    check_output("y = instance_norm(x)", "x: f32[batch, 2, 4]", &channels, normal, COUNT);
    check_output("y = instance_norm(x, affine = true)", "x: f32[batch, 2, 4]", &channels, normal, COUNT);
    double evaluated[COUNT];
    for (int i = 0; i < COUNT; i++)
        evaluated[i] = xs[i] / sqrt(1 + 1e-5);
    check_output("y = batch_norm(x)", "x: f32[batch, 4]", &rows, evaluated, COUNT);
    double dropped[COUNT];
    memcpy(dropped, xs, sizeof dropped);
    check_output("y = dropout(x, 0.5)", "x: f32[batch, 4]", &rows, dropped, COUNT);
}

static void check_rms_norm(void)
{
    struct shape rows = {2, {2, 4}};
    double wanted[COUNT];
    for (int row = 0; row < 2; row++) {
        double squares = 0;
        for (int i = 0; i < 4; i++)
            squares += xs[4 * row + i] * xs[4 * row + i];
        for (int i = 0; i < 4; i++)
            wanted[4 * row + i] = xs[4 * row + i] / sqrt(squares / 4 + 0.5);
    }
    check_output("y = rms_norm(x, eps = 0.5)", "x: f32[batch, 4]", &rows, wanted, COUNT);
}

/* Channel c of four sees the squares from `before` channels before it to `after` behind it. */
static void check_response(const char *body, int before, int after)
{
    struct shape shape = {3, {1, 4, 2}};
    double wanted[COUNT];
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 2; i++) {
            double squares = 0;
            for (int k = c - before; k <= c + after; k++)
                squares += k >= 0 && k < 4 ? xs[2 * k + i] * xs[2 * k + i] : 0;
            wanted[2 * c + i] = xs[2 * c + i] / pow(3 + 0.5 * squares / (before + 1 + after), 0.75);
        }
    check_output(body, "x: f32[batch, 4, 2]", &shape, wanted, COUNT);
}

static void check_adaptive_pool(void)
{
    struct shape image = {4, {1, 1, 2, 4}};
    const double thirds[] = {-2.0 / 4, 2.75 / 4, 14.75 / 4}, halves[] = {-1.75, -0.125, 0.75, 7.5};
    const double enlarged[] = {-2.5, -2.5, -1, -1, -0.25, -0.25, 0, 0, 0.5, 0.5, 1, 1, 3, 3, 12, 12};
    check_output("y = adaptive_avg_pool(x, [1, 3])", "x: f32[batch, 1, 2, 4]", &image, thirds, 3);
    check_output("y = adaptive_avg_pool(x, 2)", "x: f32[batch, 1, 2, 4]", &image, halves, 4);
    check_output("y = adaptive_avg_pool(x, [2, 8])", "x: f32[batch, 1, 2, 4]", &image, enlarged, 16);
}

/* x [1, 2, 2, 2] with the weights 1, 3 and 2, 4 at stride 2 along the rows: no two products meet there. */
static void check_convolve_transposed(void)
{
    struct shape shape = {4, {1, 2, 2, 2}};
    double wanted[8];
    for (int row = 0; row < 2; row++)
        for (int column = 0; column < 4; column++) {
            int i = 2 * row + column / 2, tap = column % 2;
            wanted[4 * row + column] = (tap ? 3 : 1) * xs[i] + (tap ? 4 : 2) * xs[4 + i];
        }
    const char *inputs = "x: f32[batch, 2, 2, 2]";
    check_output("w = reshape(reshape(range(4), [2, 2])', [2, 1, 1, 2]) + 1\n"
                 "y = convolve_transposed(x, w, stride = [1, 2])",
                 inputs, &shape, wanted, 8);
    const double summed[] = {-2.5, -3.5, -1, -2.75, -3.75, -1, -0.25, -0.25, 0};
    check_output("y = convolve_transposed(x[:, 0:1], ones([1, 1, 2, 2]))", inputs, &shape, summed, 9);
}

/* Of x [4, 2] with itself, x / 2 and t. */
static void check_attention(bool causal)
{
    struct shape shape = {2, {4, 2}};
    double wanted[COUNT];
    for (int row = 0; row < 4; row++) {
        int seen = causal ? row + 1 : 4;
        double score[4] = {0}, sums[2] = {0};
        for (int i = 0; i < seen; i++)
            score[i] = (xs[2 * row] * xs[2 * i] + xs[2 * row + 1] * xs[2 * i + 1]) / (2 * sqrt(2));
        softmax(score, seen, false);
        for (int i = 0; i < seen; i++)
            for (int k = 0; k < 2; k++)
                sums[k] += score[i] * ts[2 * i + k];
        memcpy(&wanted[2 * row], sums, sizeof sums);
    }
    const char *body = causal ? "y = attention(x, x / 2, t, causal = true)" : "y = attention(x, x / 2, t)";
    check_output(body, "x: f32[batch, 2], t: f32[batch, 2]", &shape, wanted, COUNT);
}

/* Equals keep their order, and NaN is above all, as in PyTorch. */
static void check_sort(void)
{
    struct shape flat = {1, {COUNT}}, rows = {2, {2, 4}};
    const char *inputs = "x: f32[batch]";
    const double up[] = {-2.5, -1, -0.25, 0, 0.5, 1, 3, 12}, down[] = {12, 3, 1, 0.5, 0, -0.25, -1, -2.5};
    check_output("y, i = sort(x)", inputs, &flat, up, COUNT);
    check_output("y, i = sort(x, descending = true)", inputs, &flat, down, COUNT);
    check_output("y, i = top_k(x, 3)", inputs, &flat, down, 3);
    check_output("v, y = top_k(x, 3)", inputs, &flat, (const double[]){7, 6, 5}, 3);
    check_output("v, y = sort(-x, k = 3)", inputs, &flat, (const double[]){7, 6, 5}, 3);
    check_output("y, i = sort(x, axis = 0, descending = true)", "x: f32[batch, 4]", &rows,
                 (const double[]){0.5, 1, 3, 12, -2.5, -1, -0.25, 0}, COUNT);
    /* of floor(x): -3, -1, -1, 0, 0, 1, 3, 12 */
    check_output("v, y = sort(floor(x), descending = true)", inputs, &flat, (const double[]){7, 6, 5, 3, 4, 1, 2, 0},
                 COUNT);
    check_output("v, y = sort(floor(x))", inputs, &flat, (const double[]){0, 1, 2, 3, 4, 5, 6, 7}, COUNT);
    /* NaN for the first three */
    check_output("v, y = sort(sqrt(x))", inputs, &flat, (const double[]){3, 4, 5, 6, 7, 0, 1, 2}, COUNT);
    check_output("v, y = top_k(sqrt(x), 5)", inputs, &flat, (const double[]){0, 1, 2, 7, 6}, 5);
    check_output("y = places(sqrt(x))", inputs, &flat, (const double[]){5, 6, 7, 0, 1, 2, 3, 4}, COUNT);
}

/* Boxes of 2 by 2 that are moved by halves of x, and scores. Worked by hand. */
static void check_detection(void)
{
    struct shape flat = {1, {COUNT}};
    const char *inputs = "x: f32[batch]";
    /* IoU with [0, 0, 1, 1] of the box at 0.5, 0 and of the one at 0.5, 0.5 of twice the height */
    check_output("a = reshape(concat(zeros([2]), ones([2]), axis = 0), [1, 4])\n"
                 "b = reshape(concat(x[4:5], x[3:4], x[5:6] + x[4:5], x[5:6], axis = 0), [1, 4])\n"
                 "c = reshape(concat(x[4:5], x[4:5], x[5:6] + x[4:5], x[5:6] + x[5:6] + x[4:5], axis = 0), [1, 4])\n"
                 "y = iou(a, concat(b, c, axis = 0))",
                 inputs, &flat, (const double[]){0.5 / 1.5, 0.25 / 2.75}, 2);
    /* From -2.5 up, intervals of length 2 in order of -x, 12 last: -1 overlaps -2.5 by 1/7, -0.25 is on -1 by 5/11,
     * 0 on -1 by 1/3, 1 on 0.5 by 3/5. From 12 down, 0.5 is on 1, -0.25 on 0, and 1/3 is not enough. */
    check_output("left = unsqueeze(x, 1)\nbox = concat(left, zeros([8, 1]), left + 2, ones([8, 1]), axis = 1)\n"
                 "y = nms(box, -x, threshold = 0.3)",
                 inputs, &flat, (const double[]){1, 1, 0, 0, 1, 0, 1, 1}, COUNT);
    check_output("left = unsqueeze(x, 1)\nbox = concat(left, zeros([8, 1]), left + 2, ones([8, 1]), axis = 1)\n"
                 "y = nms(box, x, threshold = 0.34)",
                 inputs, &flat, (const double[]){1, 1, 0, 1, 0, 1, 1, 1}, COUNT);
    /* wrong, right, wrong, right, wrong from the top: precision 1/2 at either recall, and one object is not found */
    check_output("y = average_precision(x == 3 or x == 0.5, x == 12 or x == 1 or x == 0, 3)", inputs, &flat,
                 (const double[]){1.0 / 3}, 1);
    /* wrong, right, right: the precision at recall 1/2 is that at 1, 2/3 */
    check_output("y = average_precision(x == 3 or x == 1, x == 12, 2)", inputs, &flat, (const double[]){2.0 / 3}, 1);
}

/* ---- training steps of whole modules ---- */

/* A model with loss = mean(w * x) whose gradient to w is x / COUNT, trained for some steps. */
struct trainer {
    struct net_case net;
    struct environment *environment;
};

static struct trainer trainer_open(const char *text, const struct shape *shape)
{
    struct trainer trainer = {
        .net = net_case_open(text, (struct elaborate_request){.batch = shape->dimension[0]}, NULL, NULL)};
    CHECK(trainer.net.module != NULL);
    if (!trainer.net.module) {
        complain(&trainer.net, text);
        return trainer;
    }
    trainer.environment = net_case_initialise(&trainer.net, 1, 4);
    struct type type = type_make(ELEMENT_F32, *shape);
    environment_set_input(trainer.environment, "x", &type, xs);
    net_case_differentiate(&trainer.net, "train");
    return trainer;
}

static void trainer_step(struct trainer *trainer)
{
    struct evaluation *evaluation =
        evaluate_graph(module_find_graph(trainer->net.module, "train"), trainer->environment, EVALUATE_ROUNDED);
    evaluation_commit(evaluation, trainer->environment);
    evaluation_free(evaluation);
}

static void trainer_close(struct trainer *trainer)
{
    if (trainer->environment)
        environment_free(trainer->environment);
    net_case_close(&trainer->net);
}

/* One parameter's optimizer, as its paper or PyTorch's documentation states it. */
struct state {
    double p, m, v;
};

static void step_sgd(struct state *s, double g, int t)
{
    (void)t;
    g += 0.1 * s->p;
    s->m = 0.9 * s->m + g;
    s->p -= 0.01 * (g + 0.9 * s->m);
}

static void moments(struct state *s, double g)
{
    s->m = 0.9 * s->m + 0.1 * g;
    s->v = 0.999 * s->v + 0.001 * g * g;
}

static void step_adam(struct state *s, double g, int t)
{
    moments(s, g);
    s->p -= 0.01 * (s->m / (1 - pow(0.9, t))) / (sqrt(s->v / (1 - pow(0.999, t))) + 1e-8);
}

static void step_adamw(struct state *s, double g, int t)
{
    s->p -= 0.01 * 0.1 * s->p;
    step_adam(s, g, t);
}

static void step_rmsprop(struct state *s, double g, int t)
{
    (void)t;
    s->v = 0.99 * s->v + 0.01 * g * g;
    s->m = 0.9 * s->m + g / (sqrt(s->v) + 1e-8);
    s->p -= 0.01 * s->m;
}

static void step_lion(struct state *s, double g, int t)
{
    (void)t;
    double c = 0.9 * s->m + 0.1 * g;
    s->m = 0.99 * s->m + 0.01 * g;
    s->p -= 0.01 * ((c > 0) - (c < 0));
}

static void check_optimizer(const char *call, void (*step)(struct state *, double, int))
{
    char text[512];
    snprintf(text, sizeof text,
             "model (x: f32[batch]) { param w: [batch] ~ ones\n loss = mean(w * x) }\n"
             "train { batch 8; steps 4; minimize loss with %s }",
             call);
    struct shape shape = {1, {COUNT}};
    struct trainer trainer = trainer_open(text, &shape);
    struct state states[COUNT];
    for (int i = 0; i < COUNT; i++)
        states[i] = (struct state){1, 0, 0};
    for (int t = 1; t <= 4 && trainer.environment; t++) {
        trainer_step(&trainer);
        const struct tensor *w = environment_variable(trainer.environment, "w");
        for (int i = 0; i < COUNT; i++) {
            step(&states[i], xs[i] / COUNT, t);
            CHECK(near(w->values[i], states[i].p, 2e-6));
        }
        CHECK(environment_variable(trainer.environment, "train/step")->values[0] == t);
    }
    trainer_close(&trainer);
}

static void check_lamb(void)
{
    struct shape shape = {1, {COUNT}};
    struct trainer trainer = trainer_open("model (x: f32[batch]) { param w: [batch] ~ ones\n loss = mean(w * x) }\n"
                                          "train { batch 8; steps 4; minimize loss with lamb(lr = 0.01) }",
                                          &shape);
    double r[COUNT], length = 0;
    for (int i = 0; i < COUNT; i++) {
        double g = xs[i] / COUNT;
        r[i] = g / (fabs(g) + 1e-6) + 0.01;
        length += r[i] * r[i];
    }
    if (trainer.environment) {
        trainer_step(&trainer);
        const struct tensor *w = environment_variable(trainer.environment, "w");
        for (int i = 0; i < COUNT; i++)
            CHECK(near(w->values[i], 1 - 0.01 * sqrt((double)COUNT / length) * r[i], 2e-6));
    }
    trainer_close(&trainer);
}

/* In training, batch norm normalises by the batch and moves its running statistics by a tenth. */
static void check_batch_norm_training(void)
{
    struct shape shape = {2, {4, 2}};
    struct trainer trainer =
        trainer_open("model (x: f32[batch, 2]) { y = batch_norm(x) as bn\n loss = mean(y * y * x) }\n"
                     "train { batch 4; steps 4; minimize loss with sgd(lr = 0) }",
                     &shape);
    if (trainer.environment) {
        trainer_step(&trainer);
        for (int c = 0; c < 2; c++) {
            double mean = 0, squares = 0;
            for (int i = 0; i < 4; i++)
                mean += xs[2 * i + c] / 4;
            for (int i = 0; i < 4; i++)
                squares += (xs[2 * i + c] - mean) * (xs[2 * i + c] - mean);
            CHECK(near(environment_variable(trainer.environment, "bn.running_mean")->values[c], 0.1 * mean, 1e-6));
            CHECK(near(environment_variable(trainer.environment, "bn.running_var")->values[c], 0.9 + 0.1 * squares / 3,
                       1e-6));
        }
    }
    trainer_close(&trainer);
}

static void check_clipping(void)
{
    struct shape shape = {1, {COUNT}};
    double length = 0;
    for (int i = 0; i < COUNT; i++)
        length += xs[i] * xs[i] / COUNT / COUNT;
    length = sqrt(length);
    static const char *const clips[] = {"clip norm(0.5)", "clip value(0.25)", "clip norm(1000)"};
    for (int k = 0; k < 3; k++) {
        char text[512];
        snprintf(text, sizeof text,
                 "model (x: f32[batch]) { param w: [batch] ~ zeros\n loss = mean(w * x) }\n"
                 "train { batch 8; steps 4; minimize loss with sgd(lr = 1); %s }",
                 clips[k]);
        struct trainer trainer = trainer_open(text, &shape);
        if (trainer.environment) {
            trainer_step(&trainer);
            const struct tensor *w = environment_variable(trainer.environment, "w");
            for (int i = 0; i < COUNT; i++) {
                double g = xs[i] / COUNT, clipped = fmax(-0.25, fmin(0.25, g));
                CHECK(near(w->values[i], k == 0 ? -g * 0.5 / (length + 1e-6) : k == 1 ? -clipped : -g, 1e-6));
            }
        }
        trainer_close(&trainer);
    }
}

/* ---- schedules: the logged rate over four steps ---- */

static void check_schedule(const char *rate, const double wanted[4])
{
    char text[512];
    snprintf(text, sizeof text,
             "model (x: f32[batch]) { param w: [batch] ~ ones\n loss = mean(w * x) }\n"
             "train { batch 8; steps 4; minimize loss with sgd(lr = %s) }",
             rate);
    struct shape shape = {1, {COUNT}};
    struct trainer trainer = trainer_open(text, &shape);
    for (int t = 0; t < 4 && trainer.environment; t++) {
        struct evaluation *evaluation =
            evaluate_graph(module_find_graph(trainer.net.module, "train"), trainer.environment, EVALUATE_ROUNDED);
        double got = evaluation_output(evaluation, "lr")->values[0];
        CHECK(near(got, wanted[t], 1e-6));
        if (!near(got, wanted[t], 1e-6))
            fprintf(stderr, "%s: step %d: %g, not %g\n", rate, t, got, wanted[t]);
        evaluation_commit(evaluation, trainer.environment);
        evaluation_free(evaluation);
    }
    trainer_close(&trainer);
}

static void check_schedules(void)
{
    const double root = sqrt(0.5);
    check_schedule("0.5", (double[]){0.5, 0.5, 0.5, 0.5});
    check_schedule("constant(0.5)", (double[]){0.5, 0.5, 0.5, 0.5});
    check_schedule("warmup(step, 2)", (double[]){0.5, 1, 1, 1});
    check_schedule("cosine(step, steps)", (double[]){1, (1 + root) / 2, 0.5, (1 - root) / 2});
    check_schedule("cosine(step, 2, floor = 0.1)", (double[]){1, 0.55, 0.1, 0.1});
    check_schedule("linear_decay(step, steps)", (double[]){1, 0.75, 0.5, 0.25});
    check_schedule("step_decay(step, 2)", (double[]){1, 1, 0.1, 0.1});
    check_schedule("one_cycle(step, steps, rise = 0.5, start = 10, end = 10)",
                   (double[]){0.1, 0.55, 1, 0.01 + 0.99 / 2});
}

/* ---- initialisers: bounds, moments, orthogonality ---- */

static void check_spread(const char *initialiser, double bound, double deviation)
{
    char text[512];
    snprintf(text, sizeof text, "model (x: f32[batch]) { param w: [64, 16, 2, 2] ~ %s\n y = sum(w) * x }\n",
             initialiser);
    struct net_case net = net_case_open(text, (struct elaborate_request){.eval = 1}, NULL, NULL);
    CHECK(net.module != NULL);
    if (!net.module) {
        complain(&net, text);
        net_case_close(&net);
        return;
    }
    struct environment *environment = net_case_initialise(&net, 3, 1);
    const struct tensor *w = environment_variable(environment, "w");
    double mean = 0, squares = 0, largest = 0, count = 64 * 16 * 4;
    for (int i = 0; i < count; i++) {
        mean += w->values[i] / count;
        squares += w->values[i] * w->values[i] / count;
        largest = fmax(largest, fabs(w->values[i]));
    }
    CHECK(largest <= bound * (1 + 1e-6) && largest > 0.9 * fmin(bound, 3 * deviation));
    CHECK(fabs(mean) < 5 * deviation / sqrt(count) && fabs(sqrt(squares) / deviation - 1) < 0.06);
    environment_free(environment);
    net_case_close(&net);
}

static void check_orthogonal(void)
{
    struct net_case net = net_case_open("model (x: f32[batch]) { param w: [5, 12] ~ orthogonal\n y = sum(w) * x }\n",
                                        (struct elaborate_request){.eval = 1}, NULL, NULL);
    CHECK(net.module != NULL);
    struct environment *environment = net.module ? net_case_initialise(&net, 5, 1) : NULL;
    const struct tensor *w = environment ? environment_variable(environment, "w") : NULL;
    for (int i = 0; w && i < 5; i++)
        for (int k = 0; k < 5; k++) {
            double product = 0;
            for (int n = 0; n < 12; n++)
                product += w->values[12 * i + n] * w->values[12 * k + n];
            CHECK(fabs(product - (i == k)) < 1e-5);
        }
    if (environment)
        environment_free(environment);
    net_case_close(&net);
}

static void check_initialisers(void)
{
    double in = 16 * 4, out = 64 * 4;
    check_spread("kaiming_uniform", 1 / sqrt(in), 1 / sqrt(3 * in));
    check_spread("kaiming_uniform(fan_in = 100)", 0.1, 0.1 / sqrt(3));
    check_spread("xavier_uniform", sqrt(6 / (in + out)), sqrt(2 / (in + out)));
    check_spread("kaiming_normal", INFINITY, sqrt(2 / in));
    check_spread("xavier_normal(gain = 2)", INFINITY, 2 * sqrt(2 / (in + out)));
    check_spread("normal(0, 0.02)", INFINITY, 0.02);
    check_spread("uniform(-0.3, 0.3)", 0.3, 0.3 / sqrt(3));
    check_orthogonal();
}

/* ---- the dynamic scale against a model of its own ---- */

struct scale_model {
    double scale, clean, left;
};

static void scale_step(struct scale_model *model, bool overflow)
{
    if (overflow) {
        model->clean = 0;
        model->left = fmax(model->left - 1, 0);
        if (model->left == 0)
            model->scale = fmax(model->scale * 0.5, 4);
        return;
    }
    model->left = 2;
    model->clean++;
    if (model->clean >= 3) {
        model->clean = 0;
        if (model->scale * 2 <= 64)
            model->scale *= 2;
    }
}

static void check_scale(void)
{
    struct net_case net = net_case_open("model (x: f32[batch]) { param w: [batch] ~ ones\n loss = mean(w * x) }\n"
                                        "train { batch 8; steps 4; minimize loss with sgd(lr = 1)\n"
                                        "scale dynamic(init = 16, interval = 3, min = 4, max = 64, hysteresis = 2) }",
                                        (struct elaborate_request){.batch = 8}, NULL, NULL);
    CHECK(net.module && net.module->scaling.present && net.module->scaling.explicit);
    if (!net.module) {
        complain(&net, "dynamic");
        net_case_close(&net);
        return;
    }
    struct environment *environment = net_case_initialise(&net, 1, 4);
    struct scale_model model = {16, 0, 2};
    struct type type = type_scalar(ELEMENT_BOOL);
    uint32_t random = 12345;
    for (int t = 0; t < 400; t++) {
        random = random * 1664525 + 1013904223;
        double overflow = t / 40 % 2 ? random >> 28 < 2 : random >> 31;
        environment_set_argument(environment, 0, &type, &overflow);
        struct evaluation *evaluation = evaluate_graph(net.module->scaling.rules[0], environment, EVALUATE_ROUNDED);
        scale_step(&model, overflow != 0);
        CHECK(evaluation_output(evaluation, "scale")->values[0] == model.scale);
        evaluation_commit(evaluation, environment);
        CHECK(environment_variable(environment, "train/scale")->values[0] == model.scale);
        CHECK(environment_variable(environment, "train/clean")->values[0] == model.clean);
        evaluation_free(evaluation);
    }
    environment_free(environment);
    net_case_close(&net);
}

int main(void)
{
    check_activations();
    check_losses();
    check_layers();
    check_rms_norm();
    check_response("y = local_response_norm(x, 3, alpha = 0.5, k = 3)", 1, 1);
    check_response("y = local_response_norm(x, 4, alpha = 0.5, k = 3)", 2, 1);
    check_adaptive_pool();
    check_convolve_transposed();
    check_sort();
    check_detection();
    check_attention(false);
    check_attention(true);
    check_optimizer("sgd(lr = 0.01, momentum = 0.9, weight_decay = 0.1, nesterov = true)", step_sgd);
    check_optimizer("adam(lr = 0.01)", step_adam);
    check_optimizer("adamw(lr = 0.01, weight_decay = 0.1)", step_adamw);
    check_optimizer("rmsprop(momentum = 0.9)", step_rmsprop);
    check_optimizer("lion(lr = 0.01)", step_lion);
    check_lamb();
    check_batch_norm_training();
    check_clipping();
    check_schedules();
    check_initialisers();
    check_scale();
    return check_result();
}
