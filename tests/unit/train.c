/* The training loop on a program made by hand: one weight w, loss (w x - t)^2 with x = 1, gradient descent with rate
 * 1/4, so that w after n steps towards t = 1 is 1 - 2^-n, without rounding. Logs, weights, evaluation with a tail,
 * accumulation, interruption and divergence. */
#include "runtime/train.h"
#include "check.h"
#include "runtime/file.h"
#include "runtime/host/host.h"
#include "runtime/interrupt.h"
#include "runtime/safetensors.h"
#include "runtime/weights.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* State: w at 0, train/seed (i64) at 64, train/epoch at 128, train/steps at 192, the copy of w at 256, gradient at 320.
 * Scratch: loss at 0, lr at 64, scale at 128, skipped at 192, hits at 256, count at 320. */
static const char source[] =
    "void init(char *const *b, const long long *k, const long *strip)\n{\n    *(float *)b[0] = 0;\n    *(float *)b[1] "
    "= 0;\n    "
    "(void)k;\n}\n"
    "static float mean_loss(const float *t, long long n, float w, float *g)\n{\n    float l = 0;\n    *g = 0;\n"
    "    for (long long i = 0; i < n; i++) {\n        float d = w - t[i];\n        l += d * d / n;\n"
    "        *g += 2 * d / n;\n    }\n    return l;\n}\n"
    "void train(char *const *b, const long long *k, const long *strip)\n{\n    float g, *w = (float *)b[1];\n"
    "    *(float *)b[2] = k[1] == 2 ? 0.0f / 0.0f : mean_loss((const float *)b[0], k[0], *w, &g);\n"
    "    *(float *)b[3] = 0.25f;\n    *(float *)b[4] = 8;\n    *(_Bool *)b[5] = k[1] == 1;\n"
    "    if (k[1] == 0)\n        *w -= 0.25f * g;\n}\n"
    "void micro(char *const *b, const long long *k, const long *strip)\n{\n    float g;\n"
    "    *(float *)b[2] = mean_loss((const float *)b[0], k[0], *(float *)b[1], &g);\n    *(float *)b[3] += g;\n}\n"
    "void update(char *const *b, const long long *k, const long *strip)\n{\n    (void)k;\n    *(float *)b[0] -= 0.25f "
    "* *(float *)b[1] / "
    "2;\n"
    "    *(float *)b[1] = 0;\n    *(float *)b[2] = 0.25f;\n}\n"
    "void eval(char *const *b, const long long *k, const long *strip)\n{\n    float g, hits = 0;\n    const float *t = "
    "(const float "
    "*)b[0];\n"
    "    *(float *)b[2] = mean_loss(t, k[0], *(float *)b[1], &g);\n"
    "    for (long long i = 0; i < k[0]; i++)\n        hits += t[i] > 0;\n    *(float *)b[3] = hits;\n"
    "    *(float *)b[4] = k[0];\n}\n"
    "void refresh(char *const *b, const long long *k, const long *strip)\n{\n    (void)k;\n    *(float *)b[1] = "
    "*(float *)b[0];\n}\n";

static const char *const kernel_names[] = {"init", "train", "micro", "update", "eval", "refresh"};

enum { INIT, TRAIN, MICRO, UPDATE, EVAL, REFRESH, KERNELS };

enum { NORMAL, OVERFLOWS, NOT_A_NUMBER };

static const struct program_tensor f32 = {.element = PROGRAM_F32, .storage = PROGRAM_F32};
static const struct program_tensor boolean = {.element = PROGRAM_BOOL, .storage = PROGRAM_BOOL};
static const struct program_tensor i64 = {.element = PROGRAM_I64, .storage = PROGRAM_I64};

struct place {
    enum program_space space;
    uint64_t offset;
};

/* An entry of one kernel over these places, with the integers {batch, behaviour}. */
static struct program_entry *add_entry(struct program *program, const char *name, uint32_t kernel, int64_t batch,
                                       int64_t behaviour, const struct place *places, int count)
{
    struct program_entry *entry = &program->entries[program->entry_count++];
    *entry = (struct program_entry){.name = name, .batch = batch, .scratch_bytes = 384, .step_count = 1};
    struct program_step *step = entry->steps = program_allocate(program, sizeof *step);
    *step = (struct program_step){.name = name, .kernel = kernel, .buffer_count = count, .integer_count = 2};
    step->integers = program_allocate(program, 2 * sizeof(int64_t));
    step->integers[0] = batch;
    step->integers[1] = behaviour;
    step->buffers = program_allocate(program, sizeof *step->buffers * (size_t)count);
    for (int i = 0; i < count; i++)
        step->buffers[i] = (struct program_place){places[i].space, 0, places[i].offset};
    entry->outputs = program_allocate(program, 8 * sizeof *entry->outputs);
    if (batch) {
        entry->input_count = 1;
        entry->inputs = program_allocate(program, sizeof *entry->inputs);
        entry->inputs[0] = (struct program_input){.name = "t", .tensor = f32};
        entry->inputs[0].tensor.rank = 1;
        entry->inputs[0].tensor.dimension[0] = batch;
    }
    return entry;
}

static void add_output(struct program_entry *entry, const char *name, enum program_output_kind kind,
                       struct program_tensor tensor, uint64_t offset)
{
    entry->outputs[entry->output_count++] =
        (struct program_output){.name = name, .kind = kind, .tensor = tensor, .place = {PROGRAM_SCRATCH, 0, offset}};
}

static void add_train_entries(struct program *program, int behaviour, bool accumulates)
{
    const struct place train[] = {{PROGRAM_INPUT, 0},    {PROGRAM_STATE, 0},     {PROGRAM_SCRATCH, 0},
                                  {PROGRAM_SCRATCH, 64}, {PROGRAM_SCRATCH, 128}, {PROGRAM_SCRATCH, 192}};
    const struct place micro[] = {{PROGRAM_INPUT, 0}, {PROGRAM_STATE, 0}, {PROGRAM_SCRATCH, 0}, {PROGRAM_STATE, 320}};
    const struct place update[] = {{PROGRAM_STATE, 0}, {PROGRAM_STATE, 320}, {PROGRAM_SCRATCH, 64}};
    if (accumulates) {
        add_output(add_entry(program, "micro", MICRO, 2, 0, micro, 4), "loss", PROGRAM_LOSS, f32, 0);
        add_output(add_entry(program, "update", UPDATE, 0, 0, update, 3), "lr", PROGRAM_LOG, f32, 64);
        program->accumulate = 2;
        return;
    }
    struct program_entry *entry = add_entry(program, "train", TRAIN, 4, behaviour, train, 6);
    add_output(entry, "loss", PROGRAM_LOSS, f32, 0);
    add_output(entry, "lr", PROGRAM_LOG, f32, 64);
    add_output(entry, "scale", PROGRAM_LOG, f32, 128);
    add_output(entry, "skipped", PROGRAM_LOG, boolean, 192);
}

static struct program *make_program(int behaviour, bool accumulates)
{
    struct program *program = program_new();
    program->name = "line";
    program->state_bytes = 384;
    program->kernel_count = KERNELS;
    program->kernels = program_allocate(program, sizeof *program->kernels * KERNELS);
    for (int i = 0; i < KERNELS; i++)
        program->kernels[i] = (struct program_kernel){.name = kernel_names[i], .source = i ? "" : source};
    const struct program_variable variables[] = {
        {"w", PROGRAM_PARAMETER, f32, 0},        {"train/seed", PROGRAM_HOST, i64, 64},
        {"train/epoch", PROGRAM_HOST, f32, 128}, {"train/steps", PROGRAM_HOST, f32, 192},
        {"w:half", PROGRAM_COPY, f32, 256},      {"train/g", PROGRAM_OPTIMIZER, f32, 320}};
    program->variable_count = 6;
    program->variables = program_allocate(program, sizeof variables);
    memcpy(program->variables, variables, sizeof variables);
    program->entries = program_allocate(program, 8 * sizeof *program->entries);
    const struct place init[] = {{PROGRAM_STATE, 0}, {PROGRAM_STATE, 320}},
                       copy[] = {{PROGRAM_STATE, 0}, {PROGRAM_STATE, 256}};
    const struct place eval[] = {
        {PROGRAM_INPUT, 0}, {PROGRAM_STATE, 0}, {PROGRAM_SCRATCH, 0}, {PROGRAM_SCRATCH, 256}, {PROGRAM_SCRATCH, 320}};
    add_entry(program, "init", INIT, 0, 0, init, 2);
    add_entry(program, "refresh", REFRESH, 0, 0, copy, 2);
    add_train_entries(program, behaviour, accumulates);
    for (int tail = 0; tail < 2; tail++) {
        struct program_entry *entry = add_entry(program, tail ? "eval_tail" : "eval", EVAL, tail ? 2 : 4, 0, eval, 5);
        add_output(entry, "loss", PROGRAM_LOSS, f32, 0);
        add_output(entry, "ones", PROGRAM_NUMERATOR, f32, 256);
        add_output(entry, "ones", PROGRAM_DENOMINATOR, f32, 320);
    }
    return program;
}

/* Training: 10 examples with t = 1. Test: t = 0, 0, 0, 0, 1, 1. */
struct source {
    int64_t at[SPLIT_COUNT], batch[SPLIT_COUNT];
    int64_t passes, interrupt_at, fail_at, batches;
    bool interrupt_tests, fail_tests;
    _Alignas(64) float values[4];
};

static bool start(void *own, enum split split, int64_t pass, int64_t batch, int64_t first, struct error *error)
{
    struct source *from = own;
    (void)error;
    from->passes += split == SPLIT_TRAIN;
    CHECK(split != SPLIT_TRAIN || pass == from->passes - 1);
    from->at[split] = first * batch;
    from->batch[split] = batch;
    return true;
}

static bool next(void *own, enum split split, const void **fields, int64_t *count, struct error *error)
{
    struct source *from = own;
    int64_t left = (split == SPLIT_TRAIN ? 10 : 6) - from->at[split];
    *count = left < from->batch[split] ? left : from->batch[split];
    if (split == SPLIT_TRAIN && ++from->batches == from->interrupt_at)
        raise(SIGINT);
    if (split == SPLIT_TRAIN && from->batches == from->fail_at)
        return error_set(error, "the disk is on fire");
    if (split == SPLIT_TEST && from->interrupt_tests)
        raise(SIGINT);
    if (split == SPLIT_TEST && from->fail_tests)
        return error_set(error, "the disk is on fire");
    for (int64_t i = 0; i < *count; i++)
        from->values[i] = split == SPLIT_TRAIN || from->at[split] + i >= 4 ? 1 : 0;
    from->at[split] += *count;
    fields[0] = NULL;
    fields[1] = from->values;
    return true;
}

/* Trains again with the same result. */
static bool trains(struct device *device, const struct program *program, const struct batches *batches,
                   const struct train_settings *settings, struct train_result *result, struct error *error)
{
    scores_free(&result->scores);
    return train(device, program, batches, settings, result, error);
}

static const char *const fields[] = {"unused", "t"};

static struct batches make_batches(struct source *own)
{
    return (struct batches){
        .source = own, .examples = {10, 6, 0}, .field_count = 2, .fields = fields, .start = start, .next = next};
}

static char folder[] = "/tmp/castor-test-XXXXXX";

static char *log_without_rates(const char *run)
{
    struct error error = {0};
    size_t size = 0;
    char *path = file_text("%s/log.jsonl", run), *text = file_read(path, &size, &error);
    free(path);
    CHECK(text);
    for (char *at = text; at && (at = strstr(at, "\"examples_per_s\":")); at++) {
        char *digits = at + strlen("\"examples_per_s\":");
        memmove(digits, digits + strspn(digits, "0123456789"), strlen(digits + strspn(digits, "0123456789")) + 1);
    }
    return text;
}

static float saved_weight(const char *run, const char *name)
{
    struct error error = {0};
    char *path = file_text("%s/%s", run, name);
    struct safetensors *file = safetensors_open(path, &error);
    float value = NAN;
    const struct safetensors_tensor *weight = file ? safetensors_find(file, "w") : NULL;
    CHECK(weight && weight->bytes == sizeof value);
    if (weight)
        memcpy(&value, weight->data, sizeof value);
    safetensors_close(file);
    free(path);
    return value;
}

static void check_training(struct device *device)
{
    struct source own = {0};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, false);
    const struct run_file files[] = {{"model.net", "model\n", false}, {"imports/a.net", "module\n", false}};
    struct train_settings settings = {
        .name = "line", .files = files, .file_count = 2, .epochs = 2, .seed = 7, .evaluate_epochs = 1, .quiet = true};
    CHECK(trains(device, program, &batches, &settings, &result, &error));
    CHECK_TEXT(error.text, "");
    CHECK_TEXT(result.run, "runs/line.1");
    CHECK(result.steps == 4 && result.skipped == 0 && own.passes == 2);
    CHECK(saved_weight(result.run, "last.safetensors") == 0.9375f);
    double w = 0.9375, wanted = (4 * w * w + 2 * (1 - w) * (1 - w)) / 6;
    CHECK(result.scores.count == 2 && fabs(result.scores.list[0].value - wanted) < 1e-6);
    CHECK(result.scores.list[1].value == 2.0 / 6 && strcmp(result.scores.list[1].name, "ones") == 0 &&
          !result.scores.list[1].loss);
    char *log = log_without_rates(result.run);
    CHECK_TEXT(
        log, "{\"step\":1,\"epoch\":1,\"loss\":1,\"lr\":0.25,\"scale\":8,\"skipped\":0,\"examples_per_s\":}\n"
             "{\"step\":2,\"epoch\":1,\"loss\":0.25,\"lr\":0.25,\"scale\":8,\"skipped\":0,\"examples_per_s\":}\n"
             "{\"epoch\":1,\"eval\":{\"loss\":0.39583333,\"ones\":0.33333333},\"step\":2,\"set\":\"test\",\"best_on\":"
             "\"test\"}\n"
             "{\"step\":3,\"epoch\":2,\"loss\":0.0625,\"lr\":0.25,\"scale\":8,\"skipped\":0,\"examples_per_s\":}\n"
             "{\"step\":4,\"epoch\":2,\"loss\":0.015625,\"lr\":0.25,\"scale\":8,\"skipped\":0,\"examples_per_s\":}\n"
             "{\"epoch\":2,\"eval\":{\"loss\":0.58723958,\"ones\":0.33333333},\"step\":4,\"set\":\"test\",\"best_on\":"
             "\"test\"}\n");
    free(log);
    /* `ones` never improves, so the best weights are the first evaluation's */
    CHECK(saved_weight(result.run, "best.safetensors") == 0.75f);

    /* From saved weights; runs are numbered on; best by loss; a named folder is never overwritten. */
    own = (struct source){0};
    settings = (struct train_settings){
        .name = "line", .steps = 1, .weights = "runs/line.1/last.safetensors", .best = "loss", .quiet = true};
    CHECK(trains(device, program, &batches, &settings, &result, &error));
    CHECK_TEXT(result.run, "runs/line.2");
    CHECK(saved_weight(result.run, "last.safetensors") == 0.96875f && result.scores.list[0].value == result.best);
    settings.out = "runs/line.1";
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_RUNTIME);
    CHECK(strstr(error.text, "never overwritten"));
    scores_free(&result.scores);
    program_free(program);
}

static void check_accumulation(struct device *device)
{
    struct source own = {0};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, true);
    struct train_settings settings = {.name = "micro", .epochs = 1, .quiet = true};
    CHECK(trains(device, program, &batches, &settings, &result, &error));
    char *log = log_without_rates(result.run);
    CHECK(strstr(log, "{\"step\":2,\"epoch\":1,\"loss\":0.25,\"lr\":0.25,\"scale\":1,\"skipped\":0,"));
    free(log);
    CHECK(result.steps == 2 && saved_weight(result.run, "last.safetensors") == 0.75f);
    scores_free(&result.scores);
    program_free(program);
}

static void check_interrupt(struct device *device)
{
    struct source own = {.interrupt_at = 3};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, false);
    struct train_settings settings = {.name = "stop", .epochs = 5, .quiet = true};
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_INTERRUPTED);
    CHECK_TEXT(error.text, "interrupted after step 3 of 10");
    CHECK_TEXT(error.hint, "go on with --resume runs/stop.1");
    CHECK(saved_weight(result.run, "last.safetensors") == 0.875f);
    scores_free(&result.scores);
    program_free(program);
}

/* An evaluation stops as well, leaves no line in the log, and stands first when the run goes on. */
static void check_interrupted_evaluation(struct device *device)
{
    struct source own = {.interrupt_tests = true};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, false);
    struct train_settings settings = {.name = "stop", .epochs = 2, .evaluate_epochs = 1, .quiet = true};
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_INTERRUPTED);
    CHECK_TEXT(error.text, "interrupted after step 2 of 4, in the evaluation behind it");
    char *log = log_without_rates(result.run), run[sizeof result.run];
    CHECK(strstr(log, "\"step\":2") && !strstr(log, "eval"));
    free(log);
    snprintf(run, sizeof run, "%s", result.run);
    own = (struct source){.passes = 1};
    settings.resume = run;
    error = (struct error){0};
    CHECK(trains(device, program, &batches, &settings, &result, &error) && result.steps == 4);
    log = log_without_rates(run);
    const char *second = strstr(log, "\"step\":2"), *evaluation = strstr(log, "eval");
    CHECK(second && evaluation && second < evaluation && evaluation < strstr(log, "\"step\":3"));
    free(log);
    scores_free(&result.scores);
    program_free(program);
}

/* An evaluation that fails takes nothing with it: the run goes on with it. */
static void check_failed_evaluation(struct device *device)
{
    struct source own = {.fail_tests = true};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, false);
    struct train_settings settings = {.name = "fire", .epochs = 2, .evaluate_epochs = 1, .quiet = true};
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_RUNTIME);
    CHECK_TEXT(error.text, "the disk is on fire");
    char run[sizeof result.run];
    snprintf(run, sizeof run, "%s", result.run);
    own = (struct source){.passes = 1};
    settings.resume = run;
    error = (struct error){0};
    CHECK(trains(device, program, &batches, &settings, &result, &error) && result.steps == 4);
    char *log = log_without_rates(run);
    const char *second = strstr(log, "\"step\":2"), *evaluation = strstr(log, "eval");
    CHECK(second && evaluation && second < evaluation && evaluation < strstr(log, "\"step\":3"));
    free(log);
    scores_free(&result.scores);
    program_free(program);
}

/* Data that cannot be read take nothing with them: the run goes on with the batch that failed. */
static void check_failed_data(struct device *device, bool accumulates)
{
    struct source own = {.fail_at = 4};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, accumulates);
    struct train_settings settings = {.name = "whole", .epochs = 3, .quiet = true};
    const int64_t steps = 6, left = accumulates ? 9 : 3; /* batches */
    struct source good = {0};
    struct batches whole = make_batches(&good);
    CHECK(trains(device, program, &whole, &settings, &result, &error) && result.steps == steps);
    float weight = saved_weight(result.run, "last.safetensors");
    settings.name = "burnt";
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_RUNTIME);
    CHECK_TEXT(error.text, "the disk is on fire");
    char run[sizeof result.run];
    snprintf(run, sizeof run, "%s", result.run);
    CHECK(saved_weight(run, "last.safetensors") != weight);
    own = (struct source){.passes = !accumulates};
    settings.resume = run;
    error = (struct error){0};
    CHECK(trains(device, program, &batches, &settings, &result, &error) && result.steps == steps);
    CHECK(own.batches == left && saved_weight(run, "last.safetensors") == weight);
    scores_free(&result.scores);
    program_free(program);
}

/* The second Ctrl-C leaves at once. */
static void check_second_interrupt(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        interrupt_begin();
        raise(SIGINT);
        if (!interrupt_requested())
            _exit(1);
        raise(SIGINT);
        _exit(2);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == ERROR_INTERRUPTED);
}

static void check_divergence(struct device *device, int behaviour, const char *wanted)
{
    struct source own = {0};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(behaviour, false);
    struct train_settings settings = {.name = "bad", .epochs = 100, .quiet = true, .no_files = true};
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && error.code == ERROR_DIVERGED);
    CHECK(strstr(error.text, wanted) && strstr(error.text, "(step 50)"));
    CHECK(result.skipped == (behaviour == OVERFLOWS ? 50 : 0));
    scores_free(&result.scores);
    program_free(program);
}

static void check_evaluation(struct device *device)
{
    struct source own = {0};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct evaluation evaluation;
    struct program *program = make_program(NORMAL, false);
    CHECK(evaluate_weights(device, program, &batches, "runs/line.1/last.safetensors", false, 1, &evaluation, &error));
    CHECK(evaluation.examples == 6 && evaluation.scores.count == 2 &&
          fabs(evaluation.scores.list[0].value - 0.58723958) < 1e-6);
    scores_free(&evaluation.scores);
    program->entries[program->entry_count - 1].name = "other";
    CHECK(!evaluate_weights(device, program, &batches, NULL, false, 1, &evaluation, &error));
    CHECK_TEXT(error.text,
               "the test set has 6 examples, and the program has no entry that evaluates the last 2 of them");
    own.batches = 0;
    error = (struct error){0};
    struct train_result result = {0};
    struct train_settings settings = {.name = "bad", .epochs = 1, .quiet = true, .no_files = true};
    CHECK(!trains(device, program, &batches, &settings, &result, &error) && own.batches == 0); /* before it trains */
    CHECK(strstr(error.text, "no entry that evaluates the last 2"));
    scores_free(&result.scores);
    program_free(program);
}

static void check_errors(struct device *device)
{
    static const char *const wrong[] = {"image"};
    struct source own = {0};
    struct batches batches = make_batches(&own);
    struct error error = {0};
    struct train_result result = {0};
    struct program *program = make_program(NORMAL, false);
    struct train_settings settings = {.name = "bad", .epochs = 1, .quiet = true, .no_files = true};
    settings.best = "acuracy";
    CHECK(!trains(device, program, &batches, &settings, &result, &error));
    CHECK_TEXT(error.text, "no loss or metric is named acuracy, which is to choose the best weights");
    settings.best = NULL;
    error = (struct error){0};
    batches.examples[SPLIT_TRAIN] = 3;
    CHECK(!trains(device, program, &batches, &settings, &result, &error));
    CHECK_TEXT(error.text, "the training set has 3 examples, fewer than the 4 of one step");
    batches.field_count = 1;
    batches.fields = wrong;
    error = (struct error){0};
    CHECK(!trains(device, program, &batches, &settings, &result, &error));
    CHECK_TEXT(error.text, "the data has no field t, which the network takes as input");
    scores_free(&result.scores);
    program_free(program);
}

int main(void)
{
    struct error error = {0};
    CHECK(mkdtemp(folder) && chdir(folder) == 0);
    char *cache = file_text("%s/cache", folder);
    struct device *device = host_device_new(&(struct host_settings){.threads = 1, .cache = cache}, &error);
    check_training(device);
    check_accumulation(device);
    check_interrupt(device);
    check_interrupted_evaluation(device);
    check_failed_evaluation(device);
    check_failed_data(device, false);
    check_failed_data(device, true);
    check_second_interrupt();
    check_divergence(device, OVERFLOWS, "overflowed at scale 8");
    check_divergence(device, NOT_A_NUMBER, "NaN or infinite");
    check_evaluation(device);
    check_errors(device);
    device->free(device);
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    free(cache);
    return check_result();
}
