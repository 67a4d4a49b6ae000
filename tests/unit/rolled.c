/* Rolled repeats: what the evaluator says of a loop is what it says of the same text unrolled, values and gradients;
 * and gradients are those of central differences. Texts that cannot stay rolled are refused. */
#include "../gradient_check.h"
#include "../net_case.h"

enum { BATCH = 3 };

/* The body of a model over x, z (f32) and label (class(4)); `@` stands for `rolled` or for nothing. y is the result. */
static const char *const cases[] = {
    /* a cell with its weights, one instance for all turns */
    "h = zeros([batch, 2]); repeat @ t in 0..5 { h = cell(x[:, t], h) as c; collect s = h }\n"
    "y = concat(h, reshape(permute(s, [1, 0, 2]), [batch, 10]), axis = 1)",
    "h = zeros([batch, 2]); c = h\n"
    "repeat @ t in 0..5 { h, c = lstm_cell(x[:, t], h, c, 2) as cell; collect y = h }",
    "h = tanh(x[:, 0]); repeat @ t in 1..5 { h = gru_cell(x[:, t], h, 3) as cell }; y = h",
    /* indices: backwards, shifted, from the end, by a product */
    "h = x[:, 0]; repeat @ t in 0..5 { h = tanh(h * 0.9 + x[:, 4 - t]) }; y = h",
    "h = x[:, 0]; repeat @ t in 1..4 { h = tanh(h + x[:, t + 1] * x[:, t - 1]); collect y = h }",
    "h = x[:, 0]; repeat @ t in 0..5 { h = tanh(h + x[:, t - 5]) }; y = h",
    "h = x[:, 0]; repeat @ t in 0..3 { h = tanh(h + x[:, t * t]) }; y = h",
    "h = x[:, 0, 0:2]; repeat @ t in 0..3 { h = tanh(h + x[:, t, 0:2]) }; y = h",
    "h = x[:, 0, 0]; repeat @ t in 0..3 { h = tanh(h + x[:, t, t]) }; y = h",
    "h = z[:, 0]; repeat @ t in 2..30 { h = tanh(h + z[:, t]); collect y = h * h }",
    /* the turn as a number */
    "h = x[:, 0]; repeat @ t in 1..5 { h = tanh(h * (t + 1) / 3 + x[:, t]); collect y = h * t }",
    /* several carried values that change places; one that stays; one that is no float */
    "a = x[:, 0]; b = x[:, 1]; repeat @ t in 2..5 { m = b; b = tanh(a + x[:, t]); a = m }; y = concat(a, b, axis = 1)",
    "a = x[:, 0]; b = x[:, 1]; repeat @ t in 2..5 { b = b; a = a * b; collect s = b }; y = a + b + sum(s) + s[0]",
    "a = x[:, 0]; n = label; repeat @ t in 0..4 { a = tanh(a + unsqueeze(cast(n == t, f32), 1) * x[:, t])\n"
    "    n = n; k = argmax(a); collect picked = gather(w, k) }; y = sum(picked) * a",
    /* tensors from outside: whole, moved, made of constants */
    "h = x[:, 0]; u = w'; repeat @ t in 0..4 { h = tanh(h @ w + x[:, t] @ u + z[:, 0:3]) }; y = h",
    "h = x[:, 0]; one = ones([3]); repeat @ t in 0..4 { h = tanh(h + one * x[:, t]); collect y = w; collect v = one }\n"
    "y = y + sum(h) + sum(v)",
    /* what takes no gradient */
    "h = x[:, 0]; repeat @ t in 1..5 { h = tanh(stop_gradient(h) * x[:, t] + h) }; y = h",
    /* loops in loops */
    "h = x[:, 0]; repeat @ i in 1..4 { repeat @ j in 0..2 { h = tanh(h @ w + x[:, i] * x[:, j + 1]) }; collect y = h }",
    "h = x[:, 0]; repeat @ i in 1..4 { g = h; repeat j in 0..2 { g = tanh(g @ w + x[:, i] * (j + 1)) }; h = g }; y = h",
    "h = x[:, 0]; repeat @ i in 0..3 { repeat @ j in 0..3 { h = tanh(h + unsqueeze(x[:, i, j], 1)) } }; y = h",
    /* products that leave the loop: of places and what is made of them, of what is the same; looked up rows */
    "h = x[:, 0]; repeat @ t in 0..4 { h = tanh(h @ w + tanh(x[:, t] * 2 + z[:, 0:3]) @ w' @ w) }; y = h",
    "h = x[:, 0]; repeat @ t in 0..4 { h = tanh(h @ (w @ w) + x[:, t]); collect y = h @ w' }",
    "h = x[:, 0]; n = argmax(x); repeat @ t in 0..4 { h = tanh(h + gather(w, n[:, t])) }; y = h",
    "h = x[:, 0]; repeat @ t in 0..4 { h = tanh(h + (reshape(x[:, t], [1, 9]) |> reshape([3, 3]) |> permute([1, 0])) @ "
    "w) }; y = h",
    /* gradients that are sums of values of as many axes as there can be */
    "h = x[:, 0]; p = reshape(w[0], [1, 1, 1, 1, 1, 1, 1, 3]); repeat @ t in 1..4 {\n"
    "    h = tanh(reshape(p + reshape(h, [1, 1, 1, 1, 1, 1, batch, 3]), [batch, 3]) * x[:, t]) }; y = h",
    /* a turn alone, and turns that carry nothing */
    "h = x[:, 0]; repeat @ t in 3..4 { h = tanh(h + x[:, t]); collect s = h }; y = h + s[0]",
    "repeat @ t in 0..5 { collect y = tanh(x[:, t] @ w) }",
    "h = x[:, 0]; repeat @ t in 0..5 { if 1 < 2 { v = h * x[:, t] } else { v = h }; h = tanh(v) }; y = h",
    "h = x[:, 0]; s = stack(h, h); repeat @ t in 0..3 { repeat j in 0..2 { collect s = tanh(h + s[j]) }; h = s[0] - "
    "s[1] }\n"
    "y = h + s[1]",
    /* names bound anew that were a param or an option; what is known at compile time and stays as it is */
    "h = x[:, 0]; repeat @ t in 0..3 { h = tanh(h @ w + x[:, t]); w = w * 0.5 }; y = h @ w",
    "h = x[:, 0]; repeat @ t in 0..3 { gain = gain * 0.5; h = tanh(h * gain + x[:, t]) }; y = h * gain",
    "h = x[:, 0]; on = true; n = [batch, 3]; repeat @ t in 0..3 { if on { h = reshape(tanh(h + x[:, t]), n) }\n"
    "    on = true; n = [batch, 3] }; if on { y = reshape(h, n) }",
    "total = 0; repeat @ t in 0..5 { total = total + mean(x[:, t] ^ 2) }; y = total",
};

static const char model[] = "option gain = 2\n"
                            "function looped(n) { a = n; repeat rolled t in 0..2 { a = a + 1 }; return a }\n"
                            "module cell(x: [b, k], h: [b, n]) {\n"
                            "    param u: [n, n] ~ normal(0, 0.4)\n"
                            "    return tanh(linear(x, n) + h @ u)\n"
                            "}\n"
                            "model (x: f32[batch, 5, 3], z: f32[batch, 32], label: class(4)[batch]) {\n"
                            "    param w: [3, 3] ~ normal(0, 0.4)\n"
                            "    %s\n    output y\n}\n";

/* The case with the word in the place of each @. */
static const char *text_of(struct arena *arena, const char *body, const char *word)
{
    const char *text = "";
    for (const char *at; (at = strchr(body, '@')); body = at + 1) {
        bool repeat = at - body >= 7 && strncmp(at - 7, "repeat ", 7) == 0;
        text = arena_printf(arena, "%s%.*s%s", text, (int)(at - body), body, repeat ? word : "@");
    }
    return arena_printf(arena, model, arena_printf(arena, "%s%s", text, body));
}

struct result {
    struct net_case net;
    struct evaluation *evaluation;
    struct gradient_check check;
};

static double value_of(const char *symbol, int64_t i, bool real, int classes)
{
    uint32_t hash = 2166136261u;
    for (; *symbol; symbol++)
        hash = (hash ^ (unsigned char)*symbol) * 16777619u;
    hash = (hash ^ (uint32_t)i) * 16777619u;
    hash ^= hash >> 13;
    hash *= 16777619u;
    double unit = (double)(hash >> 8) / (1 << 24);
    return real ? 3 * unit - 1.5 : floor(unit * (classes ? classes : 2));
}

static void feed(struct gradient_check *check, const struct node *leaf)
{
    int64_t count = shape_elements(&leaf->type.shape);
    double *values = ARENA_ARRAY(check->graph->module->arena, double, count + 1);
    for (int64_t i = 0; i < count; i++)
        values[i] =
            value_of(leaf->attributes->symbol, i, element_is_float(leaf->type.element), leaf->attributes->index);
    struct type type = type_make(ELEMENT_F64, leaf->type.shape);
    if (leaf->op == OP_read)
        environment_set_variable(check->environment, leaf->attributes->symbol, &type, values);
    else
        environment_set_input(check->environment, leaf->attributes->symbol, &type, values);
}

static void run_on_all(struct module *module, void pass(struct graph *, struct pass_context *))
{
    struct pass_context context = {.limit = -1};
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        pass(module->graphs[i], &context);
    CHECK(verify_module(module, module->diagnostics));
}

/* Elaborates, and adds sum(y * weights) as `first` and its gradients to all leaves as d0, d1, … With `hoist`, what can
 * leave loops does. */
static bool open_result(struct result *result, const char *text, bool hoist)
{
    struct elaborate_request request = {.name = "case", .batch = BATCH, .outputs = true, .no_update = true};
    result->net = net_case_open(text, request, NULL, NULL);
    struct graph *graph = result->net.module ? module_find_graph(result->net.module, "train") : NULL;
    CHECK(graph);
    if (!graph) {
        diagnostics_print(result->net.diagnostics, stderr);
        return false;
    }
    result->check = (struct gradient_check){graph, environment_new(), NULL, 12345, -1, 1};
    struct node *y = NULL;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op == OP_input || node->op == OP_read) {
            feed(&result->check, node);
            if (element_is_float(node->type.element))
                arrput(result->check.inputs, node);
        }
        if (node->op == OP_output && strcmp(node->attributes->symbol, "y") == 0)
            y = node->operands[0];
    }
    CHECK(y);
    if (!y)
        return false;
    struct builder builder = {.graph = graph, .scope = ""};
    struct node *loss = gradient_weigh(&result->check, &builder, y, "weights of y");
    build_output(&builder, "first", loss, OUTPUT_VALUE);
    gradient_of(&result->check, &builder, loss, "d");
    if (hoist)
        run_on_all(result->net.module, pass_hoist);
    run_on_all(result->net.module, pass_gradients);
    if (hoist) {
        run_on_all(result->net.module, pass_hoist);
        run_on_all(result->net.module, pass_cse);
        run_on_all(result->net.module, pass_dce);
    }
    diagnostics_print(result->net.diagnostics, stderr);
    result->evaluation = evaluate_graph(graph, result->check.environment, EVALUATE_EXACT);
    return true;
}

static void close_result(struct result *result)
{
    if (result->evaluation) {
        evaluation_free(result->evaluation);
        environment_free(result->check.environment);
        arrfree(result->check.inputs);
    }
    net_case_close(&result->net);
}

static void compare(const struct tensor *got, const struct tensor *wanted, const char *body, const char *what)
{
    CHECK(got && wanted && shape_equal(&got->shape, &wanted->shape));
    for (int64_t i = 0; got && wanted && i < shape_elements(&wanted->shape); i++) {
        bool close = fabs(got->values[i] - wanted->values[i]) <= 1e-11 * (1 + fabs(wanted->values[i]));
        CHECK(close);
        if (!close)
            fprintf(stderr, "%s\n%s of element %d: %.15g rolled, %.15g unrolled\n", body, what, (int)i, got->values[i],
                    wanted->values[i]);
    }
}

static int count_loops(const struct graph *graph)
{
    int count = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        count += graph->nodes[i]->op == OP_loop;
    return count;
}

static void compare_results(struct arena *arena, const struct result *rolled, const struct result *unrolled,
                            const char *body)
{
    compare(evaluation_output(rolled->evaluation, "y"), evaluation_output(unrolled->evaluation, "y"), body, "y");
    for (ptrdiff_t i = 0; i < arrlen(rolled->check.inputs); i++)
        for (ptrdiff_t k = 0; k < arrlen(unrolled->check.inputs); k++) {
            const char *symbol = rolled->check.inputs[i]->attributes->symbol;
            if (strcmp(symbol, unrolled->check.inputs[k]->attributes->symbol) != 0)
                continue;
            compare(evaluation_output(rolled->evaluation, arena_printf(arena, "d%d", (int)i)),
                    evaluation_output(unrolled->evaluation, arena_printf(arena, "d%d", (int)k)), body, symbol);
        }
}

static void run_case(struct arena *arena, const char *body)
{
    const char *text = text_of(arena, body, "rolled");
    struct result rolled = {0}, hoisted = {0}, unrolled = {0};
    if (open_result(&rolled, text, false) && open_result(&hoisted, text, true) &&
        open_result(&unrolled, text_of(arena, body, ""), false)) {
        CHECK(count_loops(rolled.check.graph) >= 2 && count_loops(unrolled.check.graph) == 0);
        compare_results(arena, &rolled, &unrolled, body);
        compare_results(arena, &hoisted, &unrolled, body);
        if (!strstr(body, "stop_gradient")) /* which differences do not know */
            gradient_compare(&rolled.check, "first", "d", body);
    }
    close_result(&rolled);
    close_result(&hoisted);
    close_result(&unrolled);
}

/* ---- what is refused ---- */

static const struct {
    const char *body, *message;
} wrong[] = {
    {"h = x[:, 0]; repeat rolled t in 0..5 { h = h |> linear(3) }; y = h", "without a label"},
    {"h = x[:, 0]; repeat rolled t in 0..5 as l { h = h |> linear(3) }; y = h", "names an instance for each turn"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { h = h |> batch_norm as n }; y = h", "changes its state"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { param v: [3] ~ zeros; h = h + v }; y = h", "a param has no place"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { h = concat(h, h, axis = 1) }; y = h", "is f32[3,3] before the repeat"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { if t == 0 { h = h + 1 } }; y = h", "the condition of an `if`"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { h = h + x[:, t + 1] }; y = h", "places 1 to 5 of an axis that has 5"},
    {"h = x[:, 0]; on = true; repeat rolled t in 0..5 { if on { h = h + 1 }; on = false }; y = h",
     "`on` is a truth value before the repeat and another value after a turn"},
    {"h = x[:, 0]; n = [batch, 3]; repeat rolled t in 0..5 { n = [3, batch, 1] }; y = h", "`n` is a list before"},
    {"h = x[:, 0]; on = true; repeat rolled t in 0..5 { on = h > 0 }; y = h", "`on` is a truth value before"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { repeat j in 0..2 { collect v = h }; h = v[0] }; y = v[0]",
     "there is no value `v`"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { v = h; h = v }; y = v", "there is no value `v`"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { output o = h }; y = h", "a declaration has no place"},
    {"h = x[:, 0]; repeat rolled t in 0..5 { h = h + grad(sum(h * h), h) }; y = h", "`grad` has no place"},
    {"param v: [3] ~ looped(3); y = v", "not in what is computed before it runs"},
    {"y = x; z = zeros([looped(2)])", "a size must be known at compile time"},
    {"y = x; repeat rolled t in 0..3 { y = y + sum(uniform(shape = [1, 1, 1, 1, 1, 1, 1, 1])) }", "one more"},
    {"h = x[:, 0]; repeat twice t in 0..5 { h = h + 1 }; y = h", "only `repeat rolled`"},
};

static void run_wrong(struct arena *arena, const char *body, const char *message)
{
    struct elaborate_request request = {.name = "case", .batch = BATCH, .outputs = true, .no_update = true};
    struct net_case net = net_case_open(arena_printf(arena, model, body), request, NULL, NULL);
    char *text = net_case_messages(&net);
    bool told = !net.module && strstr(text, message);
    CHECK(told);
    if (!told)
        fprintf(stderr, "%s\nsays\n%s", body, text);
    free(text);
    net_case_close(&net);
}

/* The gradient of a gradient would be a loop over what a loop differentiated; what is carried would be stacked. */
static void run_without_gradient(struct arena *arena, const char *body)
{
    struct elaborate_request request = {.name = "case", .batch = BATCH, .outputs = true, .no_update = true};
    struct net_case net = net_case_open(arena_printf(arena, model, body), request, NULL, NULL);
    CHECK(net.module);
    struct graph *graph = module_find_graph(net.module, "train");
    struct builder builder = {.graph = graph, .scope = ""};
    struct node *x = NULL, *y = NULL;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        if (node->op == OP_input && strcmp(node->attributes->symbol, "x") == 0)
            x = node;
        if (node->op == OP_output && strcmp(node->attributes->symbol, "y") == 0)
            y = node->operands[0];
    }
    struct node *operands[] = {y, x};
    build_output(&builder, "dd", build(&builder, OP_grad, operands, 2, NULL, NULL), OUTPUT_VALUE);
    net_case_differentiate(&net, "train");
    char *text = net_case_messages(&net);
    CHECK(strstr(text, "E0806"));
    free(text);
    net_case_close(&net);
}

int main(void)
{
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(arena, cases[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        run_wrong(arena, wrong[i].body, wrong[i].message);
    run_without_gradient(arena, "h = x[:, 0]; repeat rolled t in 0..5 { h = tanh(h + x[:, t]) }\n"
                                "y = sum(grad(sum(h * h), x) ^ 2); loss = y");
    run_without_gradient(arena, "h = reshape(x[:, 0], [1, 1, 1, 1, 1, 1, batch, 3]); g = h\n"
                                "repeat rolled t in 0..5 { h = h * tanh(g) }; y = sum(h); loss = y");
    arena_free(arena);
    return check_result();
}
