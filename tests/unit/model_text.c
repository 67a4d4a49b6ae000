/* Every model, after every pass, under several policies: the module verifies, and its text parses back to the same
 * text. The passes that only place values (layout to memory) keep what the step computes, bit for bit. And the order of
 * the table of passes. */
#include "ir/parse.h"
#include "ir/print.h"
#include "passes/pipeline.h"
#include "passes/policies/policy.h"
#include "tests/net_case.h"
#include "tests/random_graph.h"
#include "tests/unit/check.h"

static const struct target target = {.name = "host",
                                     .storage = {[ELEMENT_F16] = ELEMENT_F32,
                                                 [ELEMENT_BF16] = ELEMENT_BF16,
                                                 [ELEMENT_F32] = ELEMENT_F32,
                                                 [ELEMENT_F64] = ELEMENT_F64,
                                                 [ELEMENT_I32] = ELEMENT_I32,
                                                 [ELEMENT_I64] = ELEMENT_I64,
                                                 [ELEMENT_U8] = ELEMENT_U8,
                                                 [ELEMENT_BOOL] = ELEMENT_BOOL},
                                     .channels_last = true,
                                     .epilogues = EPILOGUE_BIAS | EPILOGUE_RELU | EPILOGUE_ADD | EPILOGUE_STATISTICS,
                                     .alignment = 64,
                                     .cache_bytes = 1 << 20,
                                     .threads = 2};

static char *read_model(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s.net", getenv("CASTOR_SOURCE"), name);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    char *text = NULL;
    size_t size = 0;
    if (file && getdelim(&text, &size, '\0', file) < 0)
        CHECK_TEXT("the model is empty", path);
    if (file)
        fclose(file);
    return text;
}

static char *module_text(const struct module *module)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_module(module, out);
    fclose(out);
    return text;
}

/* Prints the first line in which two texts differ. */
static void show_difference(const char *one, const char *other)
{
    while (*one && strcspn(one, "\n") == strcspn(other, "\n") && !strncmp(one, other, strcspn(one, "\n"))) {
        one += strcspn(one, "\n") + 1;
        other += strcspn(other, "\n") + (other[strcspn(other, "\n")] == '\n');
    }
    fprintf(stderr, "  %.*s\n  %.*s\n", (int)strcspn(one, "\n"), one, (int)strcspn(other, "\n"), other);
}

static void check_round_trip(struct net_case *net, const char *where)
{
    bool good = verify_module(net->module, net->diagnostics);
    char *text = module_text(net->module);
    struct diagnostics *diagnostics = diagnostics_new(net->arena);
    struct module *parsed = parse_module(net->arena, diagnostics, "dump.ir", text);
    char *again = parsed ? module_text(parsed) : strdup("");
    if (!good || strcmp(text, again) != 0) {
        fprintf(stderr, "after %s:\n", where);
        diagnostics_print(net->diagnostics, stderr);
        diagnostics_print(diagnostics, stderr);
        show_difference(text, again);
    }
    CHECK(good);
    CHECK(strcmp(text, again) == 0);
    free(text);
    free(again);
    module_free(parsed);
}

static void run_pass(struct net_case *net, const struct pass *pass, struct pass_context *context)
{
    for (ptrdiff_t i = 0; i < arrlen(net->module->graphs); i++)
        pass->run(net->module->graphs[i], context);
}

/* Both graphs compute the same outputs and writes from the same state and batch, bit for bit. */
static void check_same_step(const struct graph *before, const struct graph *after,
                            const struct environment *environment)
{
    struct evaluation *wanted = evaluate_graph(before, environment, EVALUATE_ROUNDED);
    struct evaluation *got = evaluate_graph(after, environment, EVALUATE_ROUNDED);
    int effects = 0;
    for (ptrdiff_t i = 0; i < arrlen(before->nodes); i++) {
        const struct node *node = before->nodes[i];
        if (!op_is(node->op, CLASS_EFFECT))
            continue;
        const struct tensor *a = evaluation_value(wanted, node);
        const struct tensor *b = node->op == OP_output ? evaluation_output(got, node->attributes->symbol)
                                                       : evaluation_write(got, node->attributes->symbol);
        CHECK(b && !memcmp(a->values, b->values, sizeof *a->values * (size_t)shape_elements(&a->shape)));
        effects++;
    }
    CHECK(effects > 5);
    evaluation_free(wanted);
    evaluation_free(got);
}

static bool is_placing(const struct pass *pass)
{
    static const char *const names[] = {"layout", "fuse", "schedule", "memory"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(pass->name, names[i]) == 0)
            return true;
    return false;
}

/* All passes in their order; where `evaluates`, a copy from before pass layout says what must be computed. */
static void run_passes(struct net_case *net, const char *name, const char *policy, bool evaluates)
{
    struct pass_context context = {.target = &target, .limit = -1};
    context.policy = policy_load(net->arena, net->diagnostics, policy, ELEMENT_NONE, (struct span){0});
    check_round_trip(net, "elaboration");
    struct module *before = NULL;
    size_t count;
    const struct pass *passes = pass_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (is_placing(&passes[i]) && !before)
            before = module_copy(net->module, net->arena);
        run_pass(net, &passes[i], &context);
        check_round_trip(net, arena_printf(net->arena, "%s of %s, %s", passes[i].name, name, policy));
    }
    if (evaluates) {
        struct environment *environment = net_case_initialise(net, 1, 100);
        const struct graph *train = module_find_graph(net->module, "train");
        random_fill_inputs(environment, train, 1);
        check_same_step(module_find_graph(before, "train"), train, environment);
        environment_free(environment);
    }
    module_free(before);
}

static void check_model(const char *name, const char *policy, const struct name_text *set)
{
    char *text = read_model(name);
    struct elaborate_request request = {.batch = 4, .eval = 4, .tail = 3};
    struct net_case net = net_case_open(text, request, set, NULL);
    if (!net.module)
        diagnostics_print(net.diagnostics, stderr);
    CHECK(net.module != NULL);
    if (net.module)
        run_passes(&net, name, policy, set != NULL);
    net_case_close(&net);
    free(text);
}

/* The table's order is the one in which the pipeline first runs the passes. It tells by --time-passes, and does so for
 * a module without graphs too. */
static void check_table_order(void)
{
    char *text;
    size_t size, count, next = 0;
    FILE *out = open_memstream(&text, &size);
    struct arena *arena = arena_new();
    struct module *module = module_new(arena, diagnostics_new(arena), "empty");
    struct pass_context context = {.target = &target, .limit = -1};
    struct pipeline_options options = {.time_passes = true, .messages = out};
    CHECK(pipeline_run(module, &context, &options).done);
    fclose(out);
    const struct pass *passes = pass_table(&count);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, " ")] = '\0';
        if (next < count && strcmp(line, passes[next].name) == 0)
            next++;
        else
            CHECK(pass_find(line) && pass_find(line) < passes + next); /* it has run before */
    }
    CHECK(next == count);
    module_free(module);
    arena_free(arena);
    free(text);
}

int main(void)
{
    check_table_order();
    check_model("fashion_mlp", "f32", NULL);
    check_model("fashion_mlp", "autocast(f16)", &(struct name_text){"width", "16"});
    check_model("fashion_cnn", "autocast(bf16)", &(struct name_text){"channels", "3"});
    check_model("fashion_cnn", "half(f16)", NULL);
    check_model("fashion_resnet", "almost(bf16)", NULL);
    return check_result();
}
