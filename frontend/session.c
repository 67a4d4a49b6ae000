/* Opening and closing sessions. */
#include "frontend/session.h"
#include "frontend/data.h"
#include "frontend/language/ast.h"
#include "frontend/run_files.h"

#include <stdlib.h>
#include <string.h>

/* Paths of data are those of the current folder; one that only the file's own folder has is explained. */
static void hint_beside(const struct session *session, const struct data_description *description, struct error *error)
{
    for (int i = 0; i < description->source_count; i++) {
        const char *path = description->sources[i].path;
        char *beside = path ? compilation_beside(&session->compilation, path) : NULL;
        if (beside) {
            error->hint[0] = '\0';
            error_hint(error, "there is %s: paths in a file are relative to the folder where castor runs", beside);
        }
        free(beside);
    }
}

/* Fields that are no input of the model need not be readable. */
static void name_wanted(const struct compilation *compilation, struct data_description *description)
{
    const struct ast_parameters *inputs = ast_model_inputs(compilation->syntax);
    int count = inputs ? inputs->count : 0;
    const char **names = ARENA_ARRAY(compilation->arena, const char *, count);
    for (int i = 0; i < count; i++)
        names[i] = inputs->items[i].name;
    description->wanted = names;
    description->wanted_count = count;
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
    name_wanted(&session->compilation, description);
    const struct invocation *invocation = session->compilation.invocation;
    if (!flag_share(invocation, FLAG_validate, &description->validate_share))
        return EXIT_USAGE;
    session->dataset = data_open(description, &error);
    if (!session->dataset)
        hint_beside(session, description, &error);
    return session->dataset ? 0 : report_failure(&error);
}

const struct program_entry *session_entry(const struct program *program)
{
    static const char *const names[] = {"train", "micro", "eval", "eval_tail"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (program_find_entry(program, names[i]))
            return program_find_entry(program, names[i]);
    return NULL;
}

static int bind_data(struct session *session)
{
    struct error error = {0};
    int count;
    struct program_input *inputs = program_data_inputs(session->compilation.program, &count);
    if (!inputs)
        arena_exhausted();
    session->loader =
        loader_open(session->dataset, inputs, count, (uint64_t)session->compilation.settings->seed, 0, &error);
    free(inputs);
    if (!session->loader)
        return report_failure(&error);
    session->batches = loader_batches(session->loader);
    return 0;
}

/* What policy cost chose; and that f16 (and bf16 on CPUs without it) has the right numerics here but no speed. */
static void say_emulated(const struct compilation *compilation)
{
    enum element half = compilation->policy->half;
    if (compilation->policy->verdict)
        fprintf(stderr, "castor: %s\n", compilation->policy->verdict);
    if (strcmp(compilation->policy->name, "f32") == 0 || compilation->policy->verdict ||
        !target_emulates(&compilation->target, half))
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

int session_compile(struct session *session, const struct invocation *invocation, const char *policy, bool train_graph,
                    bool eval_graph)
{
    *session = (struct session){0};
    struct compilation *compilation = &session->compilation;
    int code = compilation_open_with(compilation, invocation, policy);
    if (!code && train_graph)
        code = compilation_wants_training(compilation);
    if (!code)
        code = compilation_wants_batch(compilation);
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
    return code ? code : bind_data(session);
}

int session_open(struct session *session, const struct invocation *invocation, const char *policy, bool train_graph,
                 bool eval_graph)
{
    int code = session_compile(session, invocation, policy, train_graph, eval_graph);
    if (!code)
        code = compilation_device(&session->compilation);
    if (!code && !flag_given(invocation, FLAG_quiet))
        say_emulated(&session->compilation);
    return code;
}

int session_close(struct session *session, int code)
{
    if (session->loader)
        loader_close(session->loader);
    if (session->dataset)
        data_close(session->dataset);
    return compilation_close(&session->compilation, code);
}

static void set_interval(const struct interval *interval, int64_t *steps, int64_t *epochs)
{
    if (interval->unit == INTERVAL_STEPS)
        *steps = interval->count;
    else
        *epochs = interval->unit == INTERVAL_EPOCHS ? interval->count : 1;
}

struct train_settings session_train_settings(const struct session *session)
{
    const struct compilation *compilation = &session->compilation;
    const struct invocation *invocation = compilation->invocation;
    const struct settings *settings = compilation->settings;
    struct train_settings result = {.name = compilation->module->name,
                                    .out = flag_text(invocation, FLAG_out),
                                    .precision = compilation_policy_text(compilation),
                                    .epochs = settings->epochs,
                                    .steps = settings->steps,
                                    .seed = (uint64_t)settings->seed,
                                    .weights = flag_text(invocation, FLAG_weights),
                                    .weights_partial = flag_given(invocation, FLAG_weights_partial),
                                    .resume = flag_text(invocation, FLAG_resume),
                                    .optimizer = settings->optimizer,
                                    .entries = settings->text,
                                    .keep = settings->kept,
                                    .best = settings->keep.name,
                                    .quiet = flag_given(invocation, FLAG_quiet),
                                    .json = flag_given(invocation, FLAG_json),
                                    .check = flag_given(invocation, FLAG_check)};
    run_files(compilation, &result);
    result.best_direction = !settings->keep.name ? 0 : settings->keep.highest ? 1 : -1;
    set_interval(&settings->evaluate, &result.evaluate_steps, &result.evaluate_epochs);
    set_interval(&settings->checkpoint, &result.checkpoint_steps, &result.checkpoint_epochs);
    return result;
}
