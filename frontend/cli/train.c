/* castor train, eval and profile: compile, open the data, and hand both to the runtime's loops. */
#include "runtime/train.h"
#include "frontend/compile.h"
#include "frontend/data.h"
#include "runtime/data/data.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A compilation with the data that it trains on. */
struct session {
    struct compilation compilation;
    struct dataset *dataset;
    struct loader *loader;
    struct batches batches;
};

static int runtime_failure(const struct error *error)
{
    error_print(error, stderr);
    return error->code;
}

static int open_data(struct session *session)
{
    const struct settings *settings = session->compilation.settings;
    struct error error = {0};
    if (!settings->data) {
        fprintf(stderr, "castor: %s has no `data` line in its train block; --data gives one\n",
                session->compilation.file);
        return EXIT_TEXT;
    }
    struct data_description *description = data_describe(session->compilation.arena, settings->data);
    const struct invocation *invocation = session->compilation.invocation;
    if (!flag_share(invocation, FLAG_validate, &description->validate_share))
        return EXIT_USAGE;
    session->dataset = data_open(description, &error);
    return session->dataset ? 0 : runtime_failure(&error);
}

static const struct program_entry *input_entry(const struct program *program)
{
    static const char *const names[] = {"train", "micro", "eval", "eval_tail"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (program_find_entry(program, names[i]))
            return program_find_entry(program, names[i]);
    return NULL;
}

static int bind_data(struct session *session)
{
    const struct program_entry *entry = input_entry(session->compilation.program);
    struct error error = {0};
    session->loader = loader_open(session->dataset, entry->inputs, entry->input_count,
                                  (uint64_t)session->compilation.settings->seed, &error);
    if (!session->loader)
        return runtime_failure(&error);
    session->batches = loader_batches(session->loader);
    return 0;
}

/* What policy cost chose; and that f16 (and bf16 on CPUs without it) has the right numerics here but no speed. */
static void say_emulated(const struct compilation *compilation)
{
    enum element half = compilation->policy->half;
    if (compilation->policy->verdict)
        fprintf(stderr, "castor: %s\n", compilation->policy->verdict);
    if (strcmp(compilation->policy->name, "f32") == 0 || compilation->policy->verdict || !target_emulates(&compilation->target, half))
        return;
    if (half == ELEMENT_F16 && compilation->facts.bf16)
        fprintf(stderr,
                "castor: f16 is emulated on the host: the same numerics, no speed; --half bf16 is native here\n");
    else
        fprintf(stderr, "castor: %s is emulated on this CPU: the same numerics, no speed%s\n", element_name(half),
                half == ELEMENT_F16 ? " (--half bf16 is native on CPUs with bf16 instructions)" : "");
}

/* The graphs for whole batches, and for what is left of the test and the validation set. */
static struct compile_request session_request(const struct session *session, bool train_graph, bool eval_graph)
{
    int64_t batch = session->compilation.settings->batch, test = data_examples(session->dataset, SPLIT_TEST);
    int64_t validate = data_examples(session->dataset, SPLIT_VALIDATE);
    struct compile_request request = {.batch = train_graph ? batch : 0, .observe = true};
    if (!eval_graph)
        return request;
    request.eval = test >= batch || validate ? batch : 0;
    request.tail = test % batch;
    request.validate_tail = validate % batch == request.tail ? 0 : validate % batch;
    return request;
}

static int open_session(struct session *session, const struct invocation *invocation, bool train_graph, bool eval_graph)
{
    *session = (struct session){0};
    struct compilation *compilation = &session->compilation;
    int code = compilation_open(compilation, invocation);
    if (!code && train_graph && !compilation->settings->trains) {
        fprintf(stderr, "castor: %s has no `minimize` line in its train block\n", compilation->file);
        code = EXIT_TEXT;
    }
    if (!code && !compilation->settings->batch) {
        fprintf(stderr, "castor: %s has no `batch` line in its train block; --batch gives one\n", compilation->file);
        code = EXIT_TEXT;
    }
    if (!code)
        code = open_data(session);
    if (code)
        return code;
    int64_t test = data_examples(session->dataset, SPLIT_TEST);
    if (eval_graph && !train_graph && !test) {
        fprintf(stderr, "castor: the data has no test set to evaluate on\n"
                        "  hint: idx folders hold one; npz(file, test = 0.1) and synthetic(…, test = 1000) make one\n");
        return EXIT_DEVICE;
    }
    struct compile_request request = session_request(session, train_graph, eval_graph);
    code = compilation_module(compilation, &request);
    if (!code)
        code = compilation_program(compilation);
    if (!code)
        code = compilation_device(compilation);
    if (!code)
        code = bind_data(session);
    if (!code && !flag_given(invocation, FLAG_quiet))
        say_emulated(compilation);
    return code;
}

static int close_session(struct session *session, int code)
{
    if (session->loader)
        loader_close(session->loader);
    if (session->dataset)
        data_close(session->dataset);
    return compilation_close(&session->compilation, code);
}

/* "autocast(f16)" for messages. */
static const char *precision_text(const struct compilation *compilation)
{
    const struct policy *policy = compilation->policy;
    if (strcmp(policy->name, "f32") == 0)
        return policy->name;
    return arena_printf(compilation->arena, "%s(%s)", policy->name, element_name(policy->half));
}

static void set_interval(const struct interval *interval, int64_t *steps, int64_t *epochs)
{
    if (interval->unit == INTERVAL_STEPS)
        *steps = (int64_t)interval->count;
    else
        *epochs = interval->unit == INTERVAL_EPOCHS ? (int64_t)interval->count : 1;
}

static struct train_settings train_settings(const struct session *session)
{
    const struct compilation *compilation = &session->compilation;
    const struct invocation *invocation = compilation->invocation;
    const struct settings *settings = compilation->settings;
    struct train_settings result = {.name = compilation->module->name,
                                    .model_text = compilation->text,
                                    .out = flag_text(invocation, FLAG_out),
                                    .precision = precision_text(compilation),
                                    .epochs = (int64_t)settings->epochs,
                                    .steps = settings->steps,
                                    .seed = (uint64_t)settings->seed,
                                    .weights = flag_text(invocation, FLAG_weights),
                                    .weights_partial = flag_given(invocation, FLAG_weights_partial),
                                    .best = settings->keep.name,
                                    .quiet = flag_given(invocation, FLAG_quiet),
                                    .json = flag_given(invocation, FLAG_json),
                                    .check = flag_given(invocation, FLAG_check)};
    result.best_direction = !settings->keep.name ? 0 : settings->keep.highest ? 1 : -1;
    set_interval(&settings->evaluate, &result.evaluate_steps, &result.evaluate_epochs);
    set_interval(&settings->checkpoint, &result.checkpoint_steps, &result.checkpoint_epochs);
    return result;
}

int command_train(const struct invocation *invocation)
{
    struct session session;
    int code = open_session(&session, invocation, true, true);
    if (!code) {
        struct train_settings settings = train_settings(&session);
        struct train_result *result = calloc(1, sizeof *result);
        struct error error = {0};
        if (!result || !train(session.compilation.device, session.compilation.program, &session.batches, &settings,
                              result, &error))
            code = runtime_failure(&error);
        free(result);
    }
    return close_session(&session, code);
}

static void print_evaluation(const struct invocation *invocation, const struct evaluation *evaluation)
{
    json_t *scores = json_object();
    for (int i = 0; i < evaluation->count; i++) {
        const struct score *score = &evaluation->scores[i];
        json_object_set_new(scores, score->name, json_real(score->value));
        if (!flag_given(invocation, FLAG_json))
            printf("%-12s %.6g\n", score->name, score->value);
    }
    if (flag_given(invocation, FLAG_json)) {
        json_t *row = json_pack("{s:O, s:I}", "eval", scores, "examples", (json_int_t)evaluation->examples);
        json_dumpf(row, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(row);
    } else {
        printf("%-12s %lld\n", "examples", (long long)evaluation->examples);
    }
    json_decref(scores);
}

int command_eval(const struct invocation *invocation)
{
    struct session session;
    if (!flag_given(invocation, FLAG_weights))
        return usage_error(invocation,
                           "it needs --weights FILE: castor train leaves best.safetensors in its run folder");
    int code = open_session(&session, invocation, false, true);
    if (!code) {
        struct evaluation evaluation;
        struct error error = {0};
        if (evaluate_weights(session.compilation.device, session.compilation.program, &session.batches,
                             flag_text(invocation, FLAG_weights), flag_given(invocation, FLAG_weights_partial),
                             (uint64_t)session.compilation.settings->seed, &evaluation, &error))
            print_evaluation(invocation, &evaluation);
        else
            code = runtime_failure(&error);
    }
    return close_session(&session, code);
}

/* ---- profile ---- */

static bool is_library(const struct program_step *step)
{
    return step->kind == PROGRAM_MATMUL_STEP || step->kind == PROGRAM_CONV_STEP;
}

static void print_profile(const struct session *session, const struct program_entry *entry, const double *seconds,
                          double load_seconds)
{
    const struct compilation *compilation = &session->compilation;
    bool text = !flag_given(compilation->invocation, FLAG_json);
    double total = 0, library = 0;
    for (int i = 0; i < entry->step_count; i++) {
        total += seconds[i];
        library += is_library(&entry->steps[i]) ? seconds[i] : 0;
    }
    json_t *rows = json_array();
    if (text)
        printf("%9s %6s %8s %9s  %s\n", "us", "share", "GB/s", "GFLOP/s", "step");
    for (int i = 0; i < entry->step_count; i++) {
        const struct program_step *step = &entry->steps[i];
        double time = seconds[i] > 0 ? seconds[i] : 1e-9;
        if (text)
            printf("%9.1f %5.1f%% %8.2f %9.2f  %s %s\n", 1e6 * seconds[i], 100 * seconds[i] / total,
                   1e-9 * (double)step->bytes / time, 1e-9 * (double)step->flops / time,
                   is_library(step) ? "oneDNN" : "kernel", step->name);
        json_array_append_new(rows, json_pack("{s:s, s:b, s:f, s:I, s:I}", "name", step->name, "library",
                                              is_library(step), "us", 1e6 * seconds[i], "bytes",
                                              (json_int_t)step->bytes, "flops", (json_int_t)step->flops));
    }
    if (text)
        printf("%9.1f us a step, %.0f examples/s, %.0f%% inside oneDNN\n", 1e6 * total, (double)entry->batch / total,
               100 * library / total);
    json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:o}", "name", compilation->module->name, "step_ms",
                            1e3 * total, "examples_per_s", (double)entry->batch / total, "library_share",
                            library / total, "compile_ms", 1e3 * (compilation->seconds + load_seconds), "arena_bytes",
                            (json_int_t)entry->scratch_bytes, "steps", rows);
    if (!text) {
        json_dumpf(row, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(row);
}

int command_profile(const struct invocation *invocation)
{
    struct session session;
    int code = open_session(&session, invocation, true, false);
    int64_t runs = 50;
    if (!code && !flag_integer(invocation, FLAG_steps, 1, &runs))
        code = EXIT_USAGE;
    if (!code) {
        const struct program_entry *entry = input_entry(session.compilation.program);
        double *seconds = calloc((size_t)entry->step_count, sizeof *seconds), load_seconds = 0;
        struct error error = {0};
        if (seconds && train_profile(session.compilation.device, session.compilation.program, &session.batches,
                                     (uint64_t)session.compilation.settings->seed, (int)runs, entry->name, seconds,
                                     &load_seconds, &error))
            print_profile(&session, entry, seconds, load_seconds);
        else
            code = runtime_failure(&error);
        free(seconds);
    }
    return close_session(&session, code);
}
