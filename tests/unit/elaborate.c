/* What the elaborator makes: paths, labels, ties, shapes, values, the graphs of a module, the update of a step. */
#include "frontend/data.h"
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include <math.h>
#include <sys/resource.h>

static struct net_case open_text(const char *text)
{
    struct net_case net = net_case_open(text, (struct elaborate_request){.batch = 2, .eval = 2, .tail = 1}, NULL, NULL);
    if (!net.module) {
        char *messages = net_case_messages(&net);
        fprintf(stderr, "%s\n%s", text, messages);
        free(messages);
    }
    CHECK(net.module != NULL);
    return net;
}

/* All variables of a kind as "name[shape] …". */
static char *variable_list(const struct net_case *net, enum variable_kind kind)
{
    char *text = NULL, shape[TYPE_TEXT];
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    for (ptrdiff_t i = 0; net->module && i < arrlen(net->module->variables); i++) {
        const struct variable *variable = net->module->variables[i];
        if (variable->kind == kind)
            fprintf(stream, "%s%s ", variable->name, shape_format(&variable->type.shape, shape, sizeof shape));
    }
    fclose(stream);
    return text;
}

static void check_parameters(const char *text, const char *wanted)
{
    struct net_case net = open_text(text);
    char *list = variable_list(&net, VARIABLE_PARAMETER);
    CHECK_TEXT(list, wanted);
    free(list);
    net_case_close(&net);
}

#define INPUT "model (x: f32[batch, 4]) {\n"

static void check_names(void)
{
    check_parameters(INPUT "y = x |> linear(3) |> linear(2) as head |> linear(1)\n}",
                     "linear1.weight[3,4] linear1.bias[3] head.weight[2,3] head.bias[2] linear2.weight[1,2] "
                     "linear2.bias[1] ");
    check_parameters("module block(x, n) { return x |> linear(n, bias = false) as down.0 |> relu }\n" INPUT
                     "repeat i in 0..2 as layer1 { x = x |> block(3) }\n}",
                     "layer1.0.down.0.weight[3,4] layer1.1.down.0.weight[3,3] ");
    check_parameters(INPUT "repeat i in 0..2 as l { x = x |> linear(4, bias = false) |> linear(4, bias = false) }\n}",
                     "l.0.linear1.weight[4,4] l.0.linear2.weight[4,4] l.1.linear1.weight[4,4] "
                     "l.1.linear2.weight[4,4] ");
    check_parameters(INPUT "repeat i in 0..3 { x = x |> linear(4, bias = false) as cell }\n}", "cell.weight[4,4] ");
    check_parameters(INPUT "repeat i in 0..2 { x = x |> linear(4, bias = false) }\n}",
                     "linear1.weight[4,4] linear2.weight[4,4] ");
    check_parameters(INPUT "y = x |> linear(4) as encoder\nz = y |> encoder\n}",
                     "encoder.weight[4,4] encoder.bias[4] ");
    check_parameters(INPUT "param w: [3, 4] ~ xavier_uniform\ny = x @ w'\n}", "w[3,4] ");
    check_parameters("model (x: f32[batch, 6, 8, 8]) {\ny = x |> conv(4, [3, 5], groups = 2, pad = [1, 2]) as c "
                     "|> batch_norm as bn |> layer_norm as ln\n}",
                     "c.weight[4,3,3,5] c.bias[4] bn.weight[4] bn.bias[4] ln.weight[8] ln.bias[8] ");
    /* A param's shape is evaluated before its name is bound, so it may be called like a size. */
    check_parameters("module scale(x: [.., k]) { param k: [k] ~ ones\n return x * k }\n" INPUT "y = x |> scale\n}",
                     "scale1.k[4] ");
    check_parameters("model (i: class(7)[batch]) {\ny = embedding(i, 7, 5) as table\n}", "table.weight[7,5] ");
}

/* Indices stay indices where all that is laid beside them is one: one_hot knows how many there are. */
static void check_classes(void)
{
    struct net_case net =
        open_text("model (a: class(3)[batch], b: class(3)[batch]) {\n"
                  "    t = tile(a, [2]) |> one_hot; p = pad(a, 1, axis = 0, value = 2) |> one_hot\n"
                  "    w = (if a > b then a else b) |> one_hot; n = (if a > 1 then a else 0) |> one_hot\n"
                  "    none = (if a > 1 then a else -1) + 1; padded = pad(a, 1, axis = 0, value = 3) + 1\n}\n");
    net_case_close(&net);
}

static void check_precedence_of_definitions(void)
{
    check_parameters("module linear(x: [.., k], n) { param own: [n, k] ~ zeros\n return x @ own' }\n" INPUT
                     "y = x |> linear(2)\n}",
                     "linear1.own[2,4] ");
}

/* ---- values ---- */

/* The value `y` of the eval graph's output, computed for x = 1, 2, 3, … (batch 2, 4 wide). */
static struct tensor evaluate_y(const char *body, struct net_case *net, struct evaluation **evaluation)
{
    char text[1024];
    snprintf(text, sizeof text,
             "module shifted(x, by = x) { return squeeze(sum(by, axis = 1), 1) }\n" INPUT "%s\noutput y\n}\n", body);
    *net = net_case_open(text, (struct elaborate_request){.eval = 2, .outputs = true}, NULL, NULL);
    *evaluation = NULL;
    if (!net->module) {
        char *messages = net_case_messages(net);
        fprintf(stderr, "%s\n%s", text, messages);
        free(messages);
        CHECK(net->module != NULL);
        return (struct tensor){0};
    }
    struct environment *environment = net_case_initialise(net, 1, 10);
    struct type type = type_make(ELEMENT_F32, (struct shape){2, {2, 4}});
    double x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    environment_set_input(environment, "x", &type, x);
    net_case_differentiate(net, "eval");
    *evaluation = evaluate_graph(module_find_graph(net->module, "eval"), environment, EVALUATE_ROUNDED);
    environment_free(environment);
    return *evaluation_output(*evaluation, "y");
}

static void check_y(const char *body, int rank, const int64_t *shape, const double *values)
{
    struct net_case net;
    struct evaluation *evaluation;
    struct tensor y = evaluate_y(body, &net, &evaluation);
    bool same = evaluation && y.shape.rank == rank;
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        same = same && y.shape.dimension[i] == shape[i];
        count *= shape[i];
    }
    for (int64_t i = 0; same && i < count; i++)
        same = fabs(y.values[i] - values[i]) <= 1e-6 * (1 + fabs(values[i]));
    if (!same) {
        fprintf(stderr, "wrong: %s: rank %d:", body, y.shape.rank);
        for (int64_t i = 0; evaluation && i < shape_elements(&y.shape) && i < 16; i++)
            fprintf(stderr, " %g", y.values[i]);
        fprintf(stderr, "\n");
    }
    CHECK(same);
    if (evaluation)
        evaluation_free(evaluation);
    net_case_close(&net);
}

#define SHAPE(...)                                                                                                     \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[])                                              \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define VALUES(...)                                                                                                    \
    (const double[])                                                                                                   \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void check_values(void)
{
    check_y("y = x[1]", SHAPE(4), VALUES(5, 6, 7, 8));
    check_y("y = x[:, 1:3]", SHAPE(2, 2), VALUES(2, 3, 6, 7));
    check_y("y = x[.., -1]", SHAPE(2), VALUES(4, 8));
    check_y("y = x[:, ::2]", SHAPE(2, 2), VALUES(1, 3, 5, 7));
    check_y("y = x'[0]", SHAPE(2), VALUES(1, 5));
    check_y("y = sum(x, axis = 1)", SHAPE(2, 1), VALUES(10, 26));
    check_y("y = [sum(x), mean(x)] |> stack", SHAPE(2), VALUES(36, 4.5));
    /* The right side of `and` and `or` is not looked at where the left one decides. */
    check_y("y = if rank(x) > 2 and size(x, 2) > 3 then x[0] else x[1]", SHAPE(4), VALUES(5, 6, 7, 8));
    check_y("y = if rank(x) == 2 or size(x, 2) > 3 then x[0] else x[1]", SHAPE(4), VALUES(1, 2, 3, 4));
    /* NaN is no distance of 0; beta = 0 is l1. */
    check_y("n = norm(x * (inf - inf))\ny = [cast(n != n, f32), norm(x * 0), norm(x[0, 0:1] - 4)] |> stack", SHAPE(3),
            VALUES(1, 0, 3));
    check_y("y = [smooth_l1(x, x + 2, beta = 0), sum(grad(smooth_l1(x, x * 1, beta = 0), x))] |> stack", SHAPE(2),
            VALUES(2, 0));
    /* Nothing adds up to 0. */
    check_y("y = sum(x[:, 0:0], axis = 1) + prod(x[:, 0:0], axis = 1)", SHAPE(2, 1), VALUES(1, 1));
    check_y("y = [sum(cast(x[:, 0:0], i32)), cast(any(x[:, 0:0] > 0), i32), cast(all(x[:, 0:0] > 0), i32)] |> stack",
            SHAPE(3), VALUES(0, 0, 1));
    /* A label called again: its width is kept, defaults are those of the call. */
    check_y("a = x |> linear(4, bias = false) as e\nb = x * 2 |> e\ny = b - 2 * a", SHAPE(2, 4),
            VALUES(0, 0, 0, 0, 0, 0, 0, 0));
    check_y("a = x |> shifted as s\ny = x * 10 |> s", SHAPE(2), VALUES(100, 260));
    check_y("a = x |> shifted(x * 2) as s\ny = x * 10 |> s", SHAPE(2), VALUES(100, 260));
    check_y("y = mean(cast(x, i32) * 100000000)", 0, NULL, VALUES(4.5e8)); /* whose sum no i32 holds */
    check_y("y = max(x, axis = [0, 1])", SHAPE(1, 1), VALUES(8));
    check_y("y = max(x, 4)[0]", SHAPE(4), VALUES(4, 4, 4, 4));
    check_y("y = x @ x'", SHAPE(2, 2), VALUES(30, 70, 70, 174));
    check_y("y = x @ x[0]", SHAPE(2), VALUES(30, 70));
    check_y("y = reshape(x, [2, 2, 2]) @ reshape(x, [2, 2, 2])'", SHAPE(2, 2, 2),
            VALUES(5, 11, 11, 25, 61, 83, 83, 113));
    check_y("y = reshape(x, [2, 2, 2]) @ reshape(x[0], [2, 2])", SHAPE(2, 2, 2), VALUES(7, 10, 15, 22, 23, 34, 31, 46));
    check_y("y = concat(x, x * 2, axis = 1)[0]", SHAPE(8), VALUES(1, 2, 3, 4, 2, 4, 6, 8));
    check_y("a, b = split(x, 2, axis = 1)\ny = b - a", SHAPE(2, 2), VALUES(2, 2, 2, 2));
    check_y("y = pad(x[0], 1, axis = 0, value = 9)", SHAPE(6), VALUES(9, 1, 2, 3, 4, 9));
    check_y("y = pad(x, [[0, 0], [1, 0]])[1]", SHAPE(5), VALUES(0, 5, 6, 7, 8));
    check_y("y = flip(x, 1)[0]", SHAPE(4), VALUES(4, 3, 2, 1));
    check_y("y = tile(x[:, 0:1], [2, 3])", SHAPE(4, 3), VALUES(1, 1, 1, 5, 5, 5, 1, 1, 1, 5, 5, 5));
    check_y("y = permute(x, [1, 0])[1]", SHAPE(2), VALUES(2, 6));
    check_y("y = unsqueeze(x, -1) |> squeeze", SHAPE(2, 4), VALUES(1, 2, 3, 4, 5, 6, 7, 8));
    check_y("y = cumsum(x, axis = 1)[1]", SHAPE(4), VALUES(5, 11, 18, 26));
    check_y("y = suppressed(unsqueeze(x[0], 1) * 2 == x[0])", SHAPE(4), VALUES(0, 1, 0, 0));
    check_y("y = range(3) / 2", SHAPE(3), VALUES(0, 0.5, 1));
    check_y("y = tri(3)", SHAPE(3, 3), VALUES(1, 0, 0, 1, 1, 0, 1, 1, 1));
    check_y("y = one_hot(argmax(x), 4)[0]", SHAPE(4), VALUES(0, 0, 0, 1));
    check_y("y = gather(x, argmax(x), axis = 1)[0]", SHAPE(2), VALUES(4, 4));
    check_y("y = scatter_add(zeros([4]), range(2), x[:, 0])", SHAPE(4), VALUES(1, 5, 0, 0));
    check_y("y = if x > 4 then x else -x", SHAPE(2, 4), VALUES(-1, -2, -3, -4, 5, 6, 7, 8));
    check_y("y = x ^ 2 - 2 ^ x[0]", SHAPE(2, 4), VALUES(-1, 0, 1, 0, 23, 32, 41, 48));
    check_y("repeat i in 0..3 { x = x * 2; collect ys = x }\ny = ys[:, 0, 0]", SHAPE(3), VALUES(2, 4, 8));
    check_y("y = grad(sum(x ^ 3), x)[0]", SHAPE(4), VALUES(3, 12, 27, 48));
    check_y("y = grad(sum(grad(sum(x ^ 3), x)), x)[0]", SHAPE(4), VALUES(6, 12, 18, 24));
    check_y("y = grad(sum(stop_gradient(x) * x), x)[0]", SHAPE(4), VALUES(1, 2, 3, 4));
    check_y("y = cast(x / 3, f16)[0, 0:1]", SHAPE(1), VALUES(0.333251953125));
    check_y("y = var(x, axis = 1)", SHAPE(2, 1), VALUES(1.25, 1.25));
    check_y("y = upsample(reshape(x[0], [1, 1, 2, 2]), 2)[0, 0, 1]", SHAPE(4), VALUES(1, 1, 2, 2));
    check_y("if training { y = x } else { y = x[0, 0:1] + 1 }", SHAPE(1), VALUES(2));
    check_y("n = 6 / 4\ny = x[0, 0:1] * n", SHAPE(1), VALUES(1.5));
    check_y("y = clamp(x, 2, 3)[0]", SHAPE(4), VALUES(2, 2, 3, 3));
    check_y("y = (x > 1 and not (x == 3))[0]", SHAPE(4), VALUES(0, 1, 0, 1));
    check_y("y = (cast(x, u8) + cast(x, u8) - 9)[0]", SHAPE(4), VALUES(-7, -5, -3, -1));
    check_y("y = window(reshape(x, [1, 1, 2, 4]), 2, stride = 2)[0, 0, 0, 1]", SHAPE(2, 2), VALUES(3, 4, 7, 8));
}

/* ---- the module's graphs ---- */

static const struct node *find_output(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->op == OP_output && strcmp(graph->nodes[i]->attributes->symbol, name) == 0)
            return graph->nodes[i];
    return NULL;
}

static void check_graphs(void)
{
    struct net_case net =
        open_text(INPUT "h = linear(x, 3) |> dropout(0.5)\nloss = mean(h ^ 2)\n"
                        "metric m = ratio(sum(h), sum(x))\n"
                        "metric n = ratio(sum(h), count(x))\n"
                        "metric t = sum(total(sum(x, axis = 0)) / total(2))\nwatch w = max(h)\noutput h\n}\n"
                        "train { batch 2; steps 5; minimize loss with adam(lr = 1e-3); "
                        "clip norm(1); accumulate 3; scale static(128) }");
    if (!net.module)
        return;
    const struct graph *train = module_find_graph(net.module, "train"), *eval = module_find_graph(net.module, "eval");
    CHECK(train && train->batch == 2 && eval && module_find_graph(net.module, "eval_tail")->batch == 1);
    CHECK(find_output(train, "loss")->attributes->output == OUTPUT_LOSS);
    CHECK(find_output(train, "w")->attributes->output == OUTPUT_WATCH && !find_output(eval, "w"));
    CHECK(find_output(train, "m")->attributes->output == OUTPUT_NUMERATOR);
    CHECK(find_output(eval, "n")->attributes->output == OUTPUT_NUMERATOR);
    CHECK(find_output(train, "lr")->attributes->output == OUTPUT_LOG);
    CHECK(find_output(train, "grad_norm") && !find_output(eval, "lr") && !find_output(train, "h"));
    const struct graph *metrics = module_find_graph(net.module, "metrics");
    CHECK(find_output(train, "t")->attributes->output == OUTPUT_METRIC && !find_output(eval, "t"));
    CHECK(find_output(eval, "t.total.0")->attributes->output == OUTPUT_TOTAL && find_output(eval, "t.total.1"));
    CHECK(metrics && find_output(metrics, "t")->attributes->output == OUTPUT_METRIC);
    for (ptrdiff_t i = 0; i < arrlen(metrics->nodes); i++)
        CHECK(metrics->nodes[i]->op == OP_input || metrics->nodes[i]->op == OP_output ||
              metrics->nodes[i]->pin == ELEMENT_F32);
    CHECK(net.module->accumulate == 3 && arrlen(net.module->minimizes) == 1);
    CHECK(net.module->scaling.present && net.module->scaling.rules[0] &&
          find_output(net.module->scaling.rules[0], "scale"));
    int draws = 0, writes = 0;
    for (ptrdiff_t i = 0; i < arrlen(train->nodes); i++) {
        draws += train->nodes[i]->op == OP_random;
        writes += train->nodes[i]->op == OP_write;
    }
    CHECK(draws == 1 && writes == 2 * 3 + 2); /* p, m, v of two parameters; step and attempt */
    for (ptrdiff_t i = 0; i < arrlen(eval->nodes); i++)
        CHECK(eval->nodes[i]->op != OP_random && eval->nodes[i]->op != OP_write);
    char *states = variable_list(&net, VARIABLE_OPTIMIZER);
    CHECK_TEXT(states, "train/attempt[] train/step[] train/linear1.weight.m[3,4] train/linear1.weight.v[3,4] "
                       "train/linear1.bias.m[3] train/linear1.bias.v[3] train/scale[] ");
    free(states);
    net_case_close(&net);
}

static void check_fetches(void)
{
    static const char *const fetch[] = {"fc.y", "grad:fc.weight", "h", "fc.bias", "dropout1.kept"};
    static const char *const feed[] = {"dropout1.kept"};
    struct elaborate_request request = {
        .batch = 2, .fetch = fetch, .fetch_count = 5, .feed = feed, .feed_count = 1, .no_update = true};
    struct net_case net = net_case_open(INPUT "h = linear(x, 3) as fc |> dropout(0.5)\nloss = mean(h)\n}\n"
                                              "train { batch 2; steps 5; minimize loss with adam(lr = 1e-3) }",
                                        request, NULL, NULL);
    CHECK(net.module != NULL);
    const struct graph *train = net.module ? module_find_graph(net.module, "train") : NULL;
    for (int i = 0; train && i < 5; i++)
        CHECK(find_output(train, fetch[i]) != NULL);
    int inputs = 0;
    for (ptrdiff_t i = 0; train && i < arrlen(train->nodes); i++) {
        inputs += train->nodes[i]->op == OP_input;
        CHECK(train->nodes[i]->op != OP_write);
    }
    CHECK(inputs == 2);
    net_case_close(&net);
    static const char *const wrong[] = {"fc.z"};
    request = (struct elaborate_request){.batch = 2, .fetch = wrong, .fetch_count = 1};
    net = net_case_open(INPUT "h = linear(x, 3) as fc\n}\n", request, NULL, NULL);
    char *messages = net_case_messages(&net);
    CHECK(!net.module && strstr(messages, "there is no value `fc.z` to fetch") && strstr(messages, "did you mean"));
    free(messages);
    net_case_close(&net);
}

static void check_pins_and_scopes(void)
{
    struct net_case net = open_text(INPUT "precision f32 { y = softmax(x) }\nz = cast(x, bf16)\n"
                                          "repeat i in 0..1 as l { w = linear(x, 2) |> layer_norm as n }\n}");
    const struct graph *eval = net.module ? module_find_graph(net.module, "eval") : NULL;
    int pinned = 0, explicit = 0, scoped = 0;
    for (ptrdiff_t i = 0; eval && i < arrlen(eval->nodes); i++) {
        pinned += eval->nodes[i]->op == OP_exp && eval->nodes[i]->pin == ELEMENT_F32 &&
                  strcmp(eval->nodes[i]->scope, ":softmax") == 0;
        explicit += eval->nodes[i]->op == OP_cast && eval->nodes[i]->attributes->explicit_cast;
        scoped += eval->nodes[i]->op == OP_rsqrt && strcmp(eval->nodes[i]->scope, "l.0.n:layer_norm") == 0;
    }
    CHECK(pinned == 1 && explicit == 1 && scoped == 1);
    net_case_close(&net);
}

/* Two graphs and two runs give the same keys to the same draws; two draws never share one. */
static void check_keys(void)
{
    uint64_t keys[2][3] = {{0}};
    for (int run = 0; run < 2; run++) {
        struct net_case net = open_text(INPUT "y = dropout(x, 0.5) |> dropout(0.5)\nz = uniform(shape = [3])\n}");
        const struct graph *train = net.module ? module_find_graph(net.module, "train") : NULL;
        int count = 0;
        for (ptrdiff_t i = 0; train && i < arrlen(train->nodes); i++)
            if (train->nodes[i]->op == OP_random && count < 3)
                keys[run][count++] = train->nodes[i]->attributes->key;
        CHECK(count == 3);
        net_case_close(&net);
    }
    CHECK(memcmp(keys[0], keys[1], sizeof keys[0]) == 0);
    CHECK(keys[0][0] != keys[0][1] && keys[0][0] != keys[0][2] && keys[0][1] != keys[0][2]);
}

/* ---- settings ---- */

static void check_settings(void)
{
    struct name_text flag = {"epochs", "3"}, set = {"size", "16"};
    struct net_case net = net_case_open(
        "option size = 8\n" INPUT "loss = mean(linear(x, size)); metric good = mean(x)\n}\n"
        "train { data idx(\"folder\") |> rename(x = features) |> normalize([0.5, 0.25], 2) |> random_crop(2)\n"
        "batch 2 * size; steps 100; seed 7; accumulate 4; minimize loss with sgd(lr = 1)\n"
        "precision autocast(bf16); evaluate every 2 epochs; checkpoint every 10 steps keep best good }",
        (struct elaborate_request){0}, &set, &flag);
    const struct settings *s = net.settings;
    CHECK(net.module != NULL && s != NULL);
    if (s) {
        CHECK(s->batch == 32 && s->epochs == 3 && s->steps == 0 && s->seed == 7 && s->accumulate == 4 && s->trains);
        CHECK(strcmp(s->policy, "autocast") == 0 && s->half == ELEMENT_BF16);
        CHECK(s->evaluate.unit == INTERVAL_EPOCHS && s->evaluate.count == 2);
        CHECK(s->checkpoint.unit == INTERVAL_STEPS && s->keep.highest && strcmp(s->keep.name, "good") == 0);
        CHECK(strcmp(s->data->lines[0].source.name, "idx") == 0 && s->data->lines[0].stage_count == 3);
        CHECK(strcmp(s->data->lines[0].source.arguments[0].text, "folder") == 0);
        CHECK(strcmp(s->data->lines[0].stages[0].arguments[0].text, "features") == 0);
        CHECK(s->data->lines[0].stages[1].arguments[0].count == 2 &&
              s->data->lines[0].stages[1].arguments[1].number == 2);
        CHECK(strcmp(s->data->lines[0].stages[2].name, "random_crop") == 0 &&
              s->data->lines[0].stages[2].arguments[0].number == 2);
        const struct data_stage *normalize = data_describe(net.arena, s->data)->sources[0].stages;
        CHECK(normalize->kind == DATA_NORMALIZE && normalize->channels == 2);
        CHECK(normalize->mean[0] == 0.5 && normalize->mean[1] == 0.25);
        CHECK(normalize->deviation[0] == 2 && normalize->deviation[1] == 2);
    }
    net_case_close(&net);
}

/* The loss of `keep best loss` may stand in a block, or be one of several names. */
static void check_kept_loss(void)
{
    static const char *const bodies[] = {"precision f32 { loss = mean(x) }", "repeat i in 0..2 { loss = mean(x) * i }",
                                         "if training { precision f32 { loss = mean(x) } } else { loss = mean(x) }",
                                         "y, loss = two(x)"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "function two(x) { return x, mean(x) }\n" INPUT "%s\n}\n"
                 "train { batch 2; checkpoint every 5 steps keep best loss }\n",
                 bodies[i]);
        struct net_case net = open_text(text);
        CHECK(net.settings && net.settings->keep.name && !net.settings->keep.highest);
        net_case_close(&net);
    }
}

/* Definitions as the language's contract shows them: a file may hold its own layers, optimizers and scale rules. */
static void check_own_definitions(void)
{
    struct net_case net = open_text(
        "module linear(x: [.., k], n, bias = true) {\n"
        "    param weight: [n, k] ~ kaiming_uniform(fan_in = k)\n"
        "    y = x @ weight'\n"
        "    if bias { param bias: [n] ~ uniform(-1 / sqrt(k), 1 / sqrt(k));  y = y + bias }\n"
        "    return y\n"
        "}\n"
        "function softmax(x, axis = -1) {\n"
        "    e = exp(x - stop_gradient(max(x, axis = axis)))\n"
        "    return e / sum(e, axis = axis)\n"
        "}\n"
        "module head(x, classes) { return x |> linear(classes) as out |> softmax }\n"
        "optimizer momentum(p, g, lr, beta = 0.9) {\n"
        "    state m = zeros_like(p)\n"
        "    state slow = p\n"
        "    m <- beta * m + g\n"
        "    p <- p - lr * m\n"
        "    slow <- 0.9 * slow + 0.1 * p\n"
        "}\n"
        "scaler halving(found_inf, init = 1024) {\n"
        "    state scale = init\n"
        "    scale <- if found_inf then scale / 2 else scale\n"
        "    return scale\n"
        "}\n" INPUT "y = x |> head(3) as head1\nloss = mean((y - 1) ^ 2) + 0.01 * sum(grad(mean(y ^ 3), x) ^ 2)\n}\n"
        "train { batch 2; steps 4; rate = 0.1; scale halving(init = 64)\n"
        "minimize loss over \"head1.*\" with momentum(lr = rate * cosine(step, steps)) { beta = 0.5 for rank < 2 } }");
    if (net.module) {
        struct environment *environment = net_case_initialise(&net, 1, 4);
        const struct tensor *weight = environment_variable(environment, "head1.out.weight");
        const struct tensor *slow = environment_variable(environment, "train/head1.out.weight.slow");
        for (int i = 0; i < 12; i++)
            CHECK(weight->values[i] == slow->values[i]);
        CHECK(environment_variable(environment, "train/scale")->values[0] == 64);
        environment_free(environment);
    }
    net_case_close(&net);
}

/* Twenty thousand blocks: elaboration is linear and quick (the bound is generous: about 0.4 s here). */
static void check_deep(void)
{
    struct net_case net = net_case_open("module block(x: [b, c]) { return x + relu(x) * 0.5 }\n" INPUT
                                        "repeat i in 0..20000 { x = x |> block }\nloss = mean(x)\n}",
                                        (struct elaborate_request){.batch = 2}, NULL, NULL);
    CHECK(net.module && arrlen(module_find_graph(net.module, "train")->nodes) > 100000);
    net_case_close(&net);
}

/* The text of an option that is a long list takes memory as long as it is, not as its square: 2 GB here. */
static void check_long_option(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    fputs("option numbers = [0", stream);
    for (int i = 1; i < 30000; i++)
        fprintf(stream, ", %d", i);
    fputs("]\n" INPUT "loss = mean(x)\n}\n", stream);
    fclose(stream);
    struct net_case net = open_text(text);
    CHECK(net.unit && strlen(unit_option_text(net.unit, 0)) > 150000);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss < 1000000);
    net_case_close(&net);
    free(text);
}

int main(void)
{
    check_names();
    check_classes();
    check_precedence_of_definitions();
    check_values();
    check_graphs();
    check_fetches();
    check_pins_and_scopes();
    check_keys();
    check_settings();
    check_kept_loss();
    check_own_definitions();
    check_deep();
    check_long_option();
    return check_result();
}
