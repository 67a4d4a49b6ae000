/* castor run: one execution, or some training steps, on tensors from a file. */
#include "runtime/run.h"
#include "frontend/compile.h"
#include "frontend/language/ast.h"
#include "runtime/safetensors.h"

#include <stb/stb_ds.h>
#include <string.h>

/* The batch size as fed: the first axis of the first model input in the file; -1 when none is there. Names in the feed
 * that are neither inputs nor parameters are random draws, which elaboration turns into inputs. */
static int64_t fed_batch(const struct ast_file *syntax, const struct safetensors *feed)
{
    const struct ast_parameters *inputs = ast_model_inputs(syntax);
    for (int i = 0; inputs && i < inputs->count; i++) {
        const struct safetensors_tensor *tensor = safetensors_find(feed, inputs->items[i].name);
        if (tensor && tensor->rank)
            return tensor->dimension[0];
    }
    return -1;
}

/* "a,b" as an stb_ds array of interned names. */
static const char **split_names(struct arena *arena, const char *text)
{
    const char **names = NULL;
    while (text && *text) {
        size_t length = strcspn(text, ",");
        if (length)
            arrput(names, arena_intern_length(arena, text, length));
        text += length + (text[length] == ',');
    }
    return names;
}

/* An stb_ds array. */
static const char **input_names(const struct compilation *compilation)
{
    const struct ast_parameters *inputs = ast_model_inputs(compilation->syntax);
    const char **names = NULL;
    for (int i = 0; inputs && i < inputs->count; i++)
        arrput(names, inputs->items[i].name);
    return names;
}

static bool is_among(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Says what was not fed, where it turned out not to be needed. */
static void tell_unfed(const struct compilation *compilation, const struct compile_request *request,
                       const struct run_settings *settings)
{
    const struct graph *eval = module_find_graph(compilation->module, "eval");
    for (int i = 0; eval && i < settings->input_count; i++) {
        bool there = is_among(settings->inputs[i], request->feed, request->feed_count);
        for (ptrdiff_t k = 0; k < arrlen(eval->nodes) && !there; k++)
            there =
                eval->nodes[k]->op == OP_input && strcmp(eval->nodes[k]->attributes->symbol, settings->inputs[i]) == 0;
        if (!there)
            fprintf(stderr, "castor: %s is not fed: what needs it is left out\n", settings->inputs[i]);
    }
}

static int execute(struct compilation *compilation, const struct run_settings *settings)
{
    struct error error = {0};
    int code = compilation_program(compilation);
    const struct program_entry *entry = code ? NULL : program_find_entry(compilation->program, settings->entry);
    if (entry && entry->input_count && !settings->feed)
        return usage_error(compilation->invocation, "it needs --feed FILE: the graph %s takes %s", settings->entry,
                           entry->inputs[0].name);
    if (!code)
        code = compilation_device(compilation);
    if (!code && !run_program(compilation->device, compilation->program, settings, &error)) {
        error_print(&error, stderr);
        code = error.code;
    }
    return code;
}

static int check_fed(int64_t examples, const char *feed)
{
    if (examples > 0)
        return 0;
    fprintf(stderr, "castor: %s: a batch of no examples\n", feed);
    return EXIT_DEVICE;
}

static int run(struct compilation *compilation, struct run_settings *settings)
{
    const struct invocation *invocation = compilation->invocation;
    struct error error = {0};
    struct safetensors *feed = settings->feed ? safetensors_open(settings->feed, &error) : NULL;
    if (settings->feed && !feed) {
        error_print(&error, stderr);
        return error.code;
    }
    int64_t fed_examples = feed ? fed_batch(compilation->syntax, feed) : -1;
    int64_t batch = fed_examples < 0 ? compilation->settings->batch : fed_examples;
    bool training = strcmp(settings->entry, "train") == 0;
    int parts = training && settings->steps && settings->feed ? compilation->settings->accumulate : 1;
    if (batch % parts) {
        fprintf(stderr, "castor: %lld examples are no %d micro-batches of one size\n", (long long)batch, parts);
        return EXIT_DEVICE;
    }
    const char **fetch = split_names(compilation->arena, flag_text(invocation, FLAG_values)), **fed = NULL;
    const char **inputs = input_names(compilation);
    settings->inputs = inputs;
    settings->input_count = (int)arrlen(inputs);
    for (int i = 0; feed && i < feed->count; i++)
        arrput(fed, arena_intern(compilation->arena, feed->tensors[i].name));
    if (feed)
        safetensors_close(feed);
    struct compile_request request = {.batch = training ? batch / parts : 0,
                                      .eval = training ? 0 : batch,
                                      .fetch = fetch,
                                      .fetch_count = (int)arrlen(fetch),
                                      .feed = fed,
                                      .feed_count = (int)arrlen(fed),
                                      .fetch_gradients = training && !fetch && !settings->steps,
                                      .no_update = !settings->steps,
                                      .outputs = true,
                                      .one_batch = true,
                                      .only_fed = true,
                                      .observe = true};
    int code = fed_examples < 0 ? compilation_wants_batch(compilation) : check_fed(fed_examples, settings->feed);
    if (!code)
        code = compilation_module(compilation, &request);
    if (!code) {
        tell_unfed(compilation, &request, settings);
        code = execute(compilation, settings);
    }
    arrfree(fetch);
    arrfree(fed);
    arrfree(inputs);
    return code;
}

int command_run(const struct invocation *invocation)
{
    const char *graph = flag_text(invocation, FLAG_graph);
    struct run_settings settings = {.entry = graph ? graph : "eval",
                                    .feed = flag_text(invocation, FLAG_feed),
                                    .fetch = flag_text(invocation, FLAG_fetch),
                                    .weights = flag_text(invocation, FLAG_weights),
                                    .partial = flag_given(invocation, FLAG_weights_partial),
                                    .check = flag_given(invocation, FLAG_check)};
    if (!flag_output(invocation, FLAG_fetch) || !flag_choice(invocation, FLAG_graph) ||
        !flag_integer(invocation, FLAG_steps, 1, &settings.steps))
        return EXIT_USAGE;
    if (settings.steps && strcmp(settings.entry, "train") != 0)
        return usage_error(invocation, "--steps goes with --graph train");
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code) {
        settings.seed = (uint64_t)compilation.settings->seed;
        code = run(&compilation, &settings);
    }
    return compilation_close(&compilation, code);
}
