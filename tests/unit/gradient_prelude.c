/* Every differentiable layer, activation, loss and function of the prelude against central differences, to its inputs
 * and to its parameters, first order and where it is smooth second order. A definition that no case below uses, and
 * that is not in the list of those without a gradient, is a failure. */
#include "../gradient_check.h"
#include "frontend/language/ast.h"
#include "frontend/language/elaborate.h"

#include <ctype.h>
#include <stdlib.h>

enum order { FIRST, SECOND };

/* The body of a model over x and z (f32), and label (class(4)); its value y is differentiated. */
static const struct {
    const char *body;
    double low, high;
    enum order order;
} cases[] = {
    {"y = relu(x)", -2, 2, SECOND},
    {"y = leaky_relu(x, 0.1)", -2, 2, SECOND},
    {"y = elu(x)", -2, 2, SECOND},
    {"y = sigmoid(x)", -2, 2, SECOND},
    {"y = silu(x)", -2, 2, SECOND},
    {"y = softplus(x)", -2, 2, SECOND},
    {"y = gelu(x)", -2, 2, SECOND},
    {"y = gelu(x, approximate = true)", -2, 2, SECOND},
    {"y = hard_swish(x)", -5, 5, SECOND},
    {"y = softmax(x)", -2, 2, SECOND},
    {"y = softmax(x, axis = 0)", -2, 2, SECOND},
    {"y = log_softmax(x)", -2, 2, SECOND},
    {"y = clamp(x, -1, 1) * x", -2, 2, SECOND},
    {"y = logsumexp(x, axis = -1)", -2, 2, SECOND},
    {"y = norm(x)", -2, 2, SECOND},
    {"y = norm(x, axis = 1)", -2, 2, SECOND},
    {"y = mean(x, axis = 0) * var(x, axis = 0)", -2, 2, SECOND},
    {"y = x |> linear(3)", -2, 2, SECOND},
    {"y = x |> linear(3, bias = false) |> tanh", -2, 2, SECOND},
    {"y = embedding(label, 4, 3) |> tanh", -2, 2, SECOND},
    {"y = x |> layer_norm", -2, 2, SECOND},
    {"y = x |> layer_norm(affine = false)", -2, 2, SECOND},
    {"y = x |> batch_norm |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> batch_norm(affine = false) |> tanh", -2, 2, SECOND},
    {"y = x |> rms_norm(eps = 0.1) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 4, 2, 4]) |> group_norm(2) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 4, 8]) |> instance_norm |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 4, 8]) |> instance_norm(affine = true) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 4, 8]) |> local_response_norm(3, alpha = 0.5)", -2, 2, SECOND},
    {"y = x |> dropout(0.4)", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> conv(3, 3, pad = 1, stride = 2)", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> conv(2, [1, 2], groups = 2, bias = false) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> conv_transpose(3, 3, stride = 2, pad = 1, output_pad = 1)", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> conv_transpose(2, [1, 2], groups = 2, bias = false) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> max_pool(2) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> max_pool(3, stride = 1, pad = 1) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> max_pool(3, ceil = true) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> avg_pool(2) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> avg_pool(3, stride = 1, pad = 1) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> adaptive_avg_pool(2) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> adaptive_avg_pool([3, 5]) |> tanh", -2, 2, SECOND},
    {"y = reshape(z, [batch, 2, 4, 4]) |> upsample(2) |> tanh", -2, 2, SECOND},
    {"y = attention(x, 2 * x, tanh(x))", -2, 2, SECOND},
    {"q = reshape(z, [batch, 4, 8]); y = attention(q, tanh(q), q[.., 2:4], causal = true)", -2, 2, SECOND},
    {"y = attention(x, x, x, drop = 0.3)", -2, 2, SECOND},
    {"h, c = lstm_cell(x, z[:, 0:2], z[:, 2:4], 2); y = h * c", -2, 2, SECOND},
    {"h, c = lstm_gates(z, tanh(z[:, 0:8])); y = h * c", -2, 2, SECOND},
    {"y = gru_cell(x, z[:, 0:2], 2)", -2, 2, SECOND},
    {"y = reshape(x[:, 0:4], [batch, 2, 2]) |> lstm(2)", -2, 2, SECOND},
    {"y, i = sort(x)", -2, 2, SECOND},
    {"y, i = sort(reshape(z, [batch, 4, 8]), axis = 1, descending = true, k = 3)", -2, 2, SECOND},
    {"values, i = top_k(x, 2); y = tanh(values)", -2, 2, SECOND},
    {"y = cross_entropy(x[:, 0:4], label)", -2, 2, SECOND},
    {"y = cross_entropy(x[:, 0:4], label, smoothing = 0.1)", -2, 2, SECOND},
    {"y = nll(log_softmax(x[:, 0:4]), label)", -2, 2, SECOND},
    {"y = binary_cross_entropy_with_logits(x, sigmoid(z[:, 0:5]))", -2, 2, SECOND},
    {"y = mse(x, z[:, 0:5])", -2, 2, SECOND},
    {"y = l1(x, z[:, 0:5])", -2, 2, SECOND},
    {"y = smooth_l1(x, z[:, 0:5])", -2, 2, SECOND},
    {"y = huber(x, z[:, 0:5], delta = 0.7)", -2, 2, SECOND},
    {"y = kl_div(log_softmax(x), softmax(z[:, 0:5]))", -2, 2, SECOND},
    {"y = perplexity(x[:, 0:4], label)", -2, 2, SECOND},
};

static const char *const without_gradient[] = {"pool_rest", "accuracy", "top_k_accuracy", "precedes", "places"};
static const char *const files[] = {"activations", "layers", "losses", "normalisation", "sequences", "tensors"};

static void run_case(const char *body, double low, double high, bool second)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena,
                                    "model (x: f32[batch, 5], z: f32[batch, 32], label: class(4)[batch]) {\n"
                                    "    %s\n    output y\n}\n",
                                    body);
    diagnostics_add_source(diagnostics, "case.net", text);
    struct ast_file *file = parse_net(arena, diagnostics, "case.net", text);
    struct unit *unit = file ? unit_load(arena, diagnostics, file, NULL, 0) : NULL;
    struct elaborate_request request = {.name = "case", .batch = 3, .outputs = true, .no_update = true};
    struct module *module = unit && settings_read(unit, NULL, 0) ? elaborate(unit, &request) : NULL;
    struct graph *graph = module ? module_find_graph(module, "train") : NULL;
    CHECK(graph);
    if (!graph)
        diagnostics_print(diagnostics, stderr);
    struct node *y = NULL;
    for (ptrdiff_t i = 0; graph && i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (node->op == OP_output && strcmp(node->attributes->symbol, "y") == 0)
            y = node->operands[0];
    }
    CHECK(y);
    if (y)
        check_gradient(graph, y, low, high, second, body);
    module_free(module);
    unit_free(unit);
    arena_free(arena);
}

/* True when the word stands in the text, followed by no more letters. */
static bool mentions(const char *text, const char *word, size_t length)
{
    for (const char *at = text; (at = strstr(at, word)); at++) {
        char before = at == text ? ' ' : at[-1];
        if (!isalnum((unsigned char)at[length]) && at[length] != '_' && !isalnum((unsigned char)before) &&
            before != '_')
            return true;
    }
    return false;
}

static bool is_covered(const char *name)
{
    for (size_t i = 0; i < sizeof without_gradient / sizeof *without_gradient; i++)
        if (strcmp(without_gradient[i], name) == 0)
            return true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mentions(cases[i].body, name, strlen(name)))
            return true;
    return false;
}

/* Looks through a file of the prelude for definitions that no case uses. Gives how many it found. */
static int check_covered(const char *source, const char *name)
{
    char path[4096], line[1024], word[64];
    snprintf(path, sizeof path, "%s/frontend/prelude/%s.net", source, name);
    FILE *in = fopen(path, "r");
    CHECK(in);
    int found = 0;
    while (in && fgets(line, sizeof line, in)) {
        if (sscanf(line, "module %63[a-z0-9_]", word) != 1 && sscanf(line, "function %63[a-z0-9_]", word) != 1)
            continue;
        found++;
        bool covered = is_covered(word);
        CHECK(covered);
        if (!covered)
            fprintf(stderr, "no gradient check for %s\n", word);
    }
    if (in)
        fclose(in);
    return found;
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(cases[i].body, cases[i].low, cases[i].high, cases[i].order == SECOND);
    const char *source = getenv("CASTOR_SOURCE");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        CHECK(check_covered(source ? source : ".", files[i]) > 0);
    return check_result();
}
