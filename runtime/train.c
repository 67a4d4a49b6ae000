/* The training loop: passes over the data, steps, and between them evaluations and checkpoints. */
#include "runtime/train.h"
#include "runtime/clock.h"
#include "runtime/file.h"
#include "runtime/interrupt.h"
#include "runtime/run_folder.h"
#include "runtime/shell.h"
#include "runtime/tensor.h"
#include "runtime/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is due ---- */

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* Whether something that is to happen every so many steps or epochs is due after this step. */
static bool is_due_now(const struct trainer *trainer, int64_t steps, int64_t epochs)
{
    return trainer->launched == trainer->total || is_due(trainer->launched, steps) ||
           is_due(trainer->launched, epochs * trainer->steps_per_epoch);
}

/* Whether the last step is one after which there is an evaluation, and that did not come to its end. */
static bool owes_evaluation(const struct trainer *trainer)
{
    const struct train_settings *settings = trainer->settings;
    return trainer->best_split != SPLIT_COUNT && trainer->launched && !trainer->micro &&
           trainer->evaluated != trainer->launched &&
           is_due_now(trainer, settings->evaluate_steps, settings->evaluate_epochs);
}

/* ---- beginning ---- */

static bool plan_steps(struct trainer *trainer, struct error *error)
{
    const struct train_settings *settings = trainer->settings;
    int64_t examples = trainer->batches->examples[SPLIT_TRAIN], batch = trainer->feeder.program->batch;
    trainer->step_examples = batch * trainer->program->accumulate;
    if (batch < 1)
        return error_set(error, "the batch has %lld examples", (long long)batch);
    trainer->steps_per_epoch = examples / trainer->step_examples;
    if (!trainer->steps_per_epoch)
        return error_set(error, "the training set has %lld examples, fewer than the %lld of one step",
                         (long long)examples, (long long)trainer->step_examples);
    trainer->total = settings->steps ? settings->steps : settings->epochs * trainer->steps_per_epoch;
    if (trainer->total < 1)
        return error_set(error, "there is nothing to train: 0 steps");
    if (trainer->launched + (trainer->micro > 0) > trainer->total) {
        error_set(error, "%s stands at step %lld, beyond the %lld steps in all", settings->resume,
                  (long long)trainer->launched, (long long)trainer->total);
        error_hint(error, "--epochs or --steps gives it more");
        return false;
    }
    if (trainer->launched < trainer->total && trainer->launched % trainer->steps_per_epoch == 0 && !trainer->micro &&
        !owes_evaluation(trainer))
        tally_reset(&trainer->epoch);
    executor_set(trainer->executor, "train/steps", (double)trainer->total);
    return true;
}

/* "1 step", "2 steps" */
static void say_count(int64_t count, const char *what)
{
    fprintf(stderr, "%lld %s%s", (long long)count, what, count == 1 ? "" : "s");
}

static void announce(const struct trainer *trainer)
{
    const struct train_settings *settings = trainer->settings;
    int64_t examples = trainer->batches->examples[SPLIT_TRAIN];
    int64_t left_out = examples - trainer->steps_per_epoch * trainer->step_examples;
    if (settings->quiet)
        return;
    fprintf(stderr, "%s: ", settings->name);
    say_count(examples, "example");
    fprintf(stderr, ", %lld a step, ", (long long)trainer->step_examples);
    say_count(trainer->steps_per_epoch, "step");
    fprintf(stderr, " an epoch, %lld in all", (long long)trainer->total);
    if (settings->resume && trainer->saved_total != trainer->total)
        fprintf(stderr, " (%lld when it was saved)", (long long)trainer->saved_total);
    if (left_out) {
        fputs("; each pass leaves out ", stderr);
        say_count(left_out, "example");
    }
    if (trainer->result->run[0])
        fprintf(stderr, "; writing to %s", trainer->result->run);
    if (settings->resume)
        fprintf(stderr, "; going on after step %lld", (long long)trainer->launched);
    fputc('\n', stderr);
}

/* The run folder has the text that it began with. */
static void compare_text(const char *path, const char *text)
{
    struct error error = {0};
    size_t size;
    char *kept = file_read(path, &size, &error);
    if (!kept || strcmp(kept, text) != 0)
        fprintf(stderr, "castor: %s is not the text that is trained now; it stays as it is\n", path);
    free(kept);
}

static bool write_texts(const struct train_settings *settings, const char *run, struct error *error)
{
    bool ok = true;
    for (int i = 0; i < settings->file_count && ok; i++) {
        const struct run_file *file = &settings->files[i];
        char *path = file_text("%s/%s", run, file->name), *slash = strrchr(path, '/');
        if (!settings->resume || file->begins || access(path, F_OK) != 0) {
            *slash = '\0';
            file_make_folders(path);
            *slash = '/';
            ok = file_write(path, file->text, strlen(file->text), error);
        } else
            compare_text(path, file->text);
        free(path);
    }
    return ok;
}

static bool open_files(struct trainer *trainer, struct error *error)
{
    const struct train_settings *settings = trainer->settings;
    FILE *copy = settings->json ? stdout : NULL;
    if (settings->no_files)
        return log_open(&trainer->log, NULL, copy, error);
    char *run =
        settings->resume ? file_text("%s", settings->resume) : run_folder_make(settings->name, settings->out, error);
    if (!run)
        return false;
    snprintf(trainer->result->run, sizeof trainer->result->run, "%s", run);
    char *log = file_text("%s/log.jsonl", run);
    bool ok = settings->resume ? log_reopen(&trainer->log, log, trainer->log.lines, copy, error)
                               : log_open(&trainer->log, log, copy, error);
    ok = ok && (settings->resume || run_folder_lock(run, &trainer->lock, error)) && write_texts(settings, run, error);
    free(log);
    free(run);
    return ok;
}

/* Whether an evaluation gives a loss or metric of this name. */
static bool is_evaluated(const struct program *program, const char *name)
{
    for (int i = 0; i < program->entry_count; i++) {
        const struct program_entry *entry = &program->entries[i];
        bool evaluates = strncmp(entry->name, "eval", 4) == 0 || strcmp(entry->name, "metrics") == 0;
        for (int j = 0; evaluates && j < entry->output_count; j++) {
            enum program_output_kind kind = entry->outputs[j].kind;
            if ((kind == PROGRAM_LOSS || kind == PROGRAM_METRIC || kind == PROGRAM_NUMERATOR) &&
                strcmp(entry->outputs[j].name, name) == 0)
                return true;
        }
    }
    return false;
}

/* On which set the best weights are chosen, and that what chooses them is there. */
static bool choose_best(struct trainer *trainer, struct error *error)
{
    const int64_t *examples = trainer->batches->examples;
    const char *best = trainer->settings->best;
    bool evaluates =
        executor_entry(trainer->executor, "eval") >= 0 || executor_entry(trainer->executor, "eval_tail") >= 0;
    trainer->best_split = !evaluates                 ? SPLIT_COUNT
                          : examples[SPLIT_VALIDATE] ? SPLIT_VALIDATE
                          : examples[SPLIT_TEST]     ? SPLIT_TEST
                                                     : SPLIT_COUNT;
    return !best || trainer->best_split == SPLIT_COUNT || is_evaluated(trainer->program, best) ||
           error_set(error, "no loss or metric is named %s, which is to choose the best weights", best);
}

/* Whether all evaluations to come are possible, so that none fails after hours. */
static bool check_evaluations(const struct trainer *trainer, struct error *error)
{
    enum split best = trainer->best_split;
    bool tests = best == SPLIT_VALIDATE && trainer->batches->examples[SPLIT_TEST]; /* at the end */
    return (best == SPLIT_COUNT || evaluation_check(trainer->program, trainer->batches, best, error)) &&
           (!tests || evaluation_check(trainer->program, trainer->batches, SPLIT_TEST, error));
}

/* How many overflows on end a rule of the scale lets pass before it lowers it: what its state `left`, which stands
 * beside its `scale`, begins with. */
static int64_t scale_patience(const struct trainer *trainer)
{
    double most = 0;
    for (int i = 0; i < trainer->program->variable_count; i++) {
        const char *name = trainer->program->variables[i].name;
        size_t length = strlen(name);
        if (length < strlen("train/left") || strcmp(name + length - strlen("left"), "left") != 0)
            continue;
        char *scale = file_text("%.*sscale", (int)(length - strlen("left")), name);
        double left = program_find_variable(trainer->program, scale) ? executor_get(trainer->executor, name) : 0;
        most = left - 1 > most && left < INT32_MAX ? left - 1 : most; /* the last of them lowers it */
        free(scale);
    }
    return (int64_t)most;
}

/* Two processes in one run folder would each remove what the other one has saved. */
static bool take_up(struct trainer *trainer, struct error *error)
{
    return run_folder_lock(trainer->settings->resume, &trainer->lock, error) && trainer_resume(trainer, error);
}

static bool open_trainer(struct trainer *trainer, struct device *device, struct error *error)
{
    const struct train_settings *settings = trainer->settings;
    trainer->executor = executor_new(device, trainer->program, settings->check, error);
    if (!trainer->executor)
        return false;
    bool accumulates = trainer->program->accumulate > 1;
    trainer->update = accumulates ? executor_entry(trainer->executor, "update") : -1;
    trainer->epoch_variable = program_find_variable(trainer->program, "train/epoch");
    trainer->overflow = program_find_variable(trainer->program, "train/overflow");
    if (accumulates && trainer->update < 0)
        return error_set(error, "the program has no entry update");
    if (!choose_best(trainer, error) || !check_evaluations(trainer, error) ||
        !feeder_open(&trainer->feeder, trainer->executor, accumulates ? "micro" : "train", trainer->batches, error) ||
        !executor_initialise(trainer->executor, settings->seed, settings->weights, settings->weights_partial, error))
        return false;
    trainer->divergence.patience = scale_patience(trainer);
    if ((settings->resume && !take_up(trainer, error)) || !plan_steps(trainer, error) || !open_files(trainer, error))
        return false;
    trainer->progress = progress_begin(settings->quiet ? NULL : stderr, trainer->total, trainer->steps_per_epoch);
    announce(trainer);
    return true;
}

/* ---- steps ---- */

static void set_epoch(struct trainer *trainer)
{
    char bytes[16];
    if (!trainer->epoch_variable)
        return;
    const struct program_tensor *tensor = &trainer->epoch_variable->tensor;
    tensor_put(tensor->storage, bytes, (double)trainer->launched / (double)trainer->steps_per_epoch);
    executor_write(trainer->executor, trainer->epoch_variable, bytes);
}

/* Kernels keep the smallest number that they tell. */
static void clear_overflow(struct trainer *trainer)
{
    const int32_t none = INT32_MAX;
    if (trainer->overflow && trainer->overflow->tensor.storage == PROGRAM_I32)
        executor_write(trainer->executor, trainer->overflow, &none);
}

/* Adds the time since `clock` to what was waited for data, in those steps that are timed. */
static void count_wait(struct trainer *trainer, double clock)
{
    if (trainer->finished > trainer->begun)
        trainer->waited_seconds += clock_seconds() - clock;
}

/* What was trained outlives data or an evaluation that fail: a resumed run begins with what failed. */
static void save_trained(struct trainer *trainer, const char *what)
{
    struct error other = {0};
    if (trainer_drain(trainer, &other) && (trainer->finished || trainer->micro) && trainer_save_last(trainer, &other) &&
        trainer->result->run[0])
        fprintf(stderr, "castor: %s after step %lld failed; %s/last.safetensors has what was trained\n", what,
                (long long)trainer->finished, trainer->result->run);
}

/* Begins the pass over the data in which the next step lies, at its place there. */
static bool begin_pass(struct trainer *trainer, struct error *error)
{
    const struct batches *batches = trainer->batches;
    int64_t pass = trainer->launched / trainer->steps_per_epoch;
    int64_t first = trainer->launched % trainer->steps_per_epoch * trainer->program->accumulate + trainer->micro;
    if (pass == trainer->pass)
        return true;
    trainer->pass = pass;
    double clock = clock_seconds();
    bool ok = batches->start(batches->source, SPLIT_TRAIN, pass, trainer->feeder.program->batch, first, error);
    count_wait(trainer, clock);
    if (!ok)
        save_trained(trainer, "reading data");
    return ok;
}

static bool next_batch(struct trainer *trainer, int64_t *count, struct error *error)
{
    double clock = clock_seconds();
    bool ok = feeder_next(&trainer->feeder, SPLIT_TRAIN, count, error);
    count_wait(trainer, clock);
    if (!ok)
        save_trained(trainer, "reading data");
    return ok;
}

/* One step; or its batches up to an interruption. */
static bool launch_step(struct trainer *trainer, struct error *error)
{
    struct feeder *feeder = &trainer->feeder;
    if (!trainer->micro) {
        set_epoch(trainer);
        clear_overflow(trainer);
    }
    while (trainer->micro < trainer->program->accumulate) {
        int64_t count = 0;
        if (trainer->micro && interrupt_requested())
            return true;
        if (!next_batch(trainer, &count, error))
            return false;
        if (count != feeder->program->batch)
            return error_set(error, "the data gave a training batch of %lld examples instead of %lld", (long long)count,
                             (long long)feeder->program->batch);
        if (!trainer_launch(trainer, feeder->entry, feeder->inputs, count, trainer->update < 0, error))
            return false;
        trainer->micro++;
    }
    trainer->micro = 0;
    trainer->launched++;
    return trainer->update < 0 || trainer_launch(trainer, trainer->update, NULL, 0, true, error);
}

/* False where it failed. An interrupted one leaves nothing behind: it is owed. */
static bool try_evaluation(struct trainer *trainer, struct evaluation evaluations[2], bool *done, struct error *error)
{
    *done = trainer_evaluate(trainer, evaluations, error);
    if (*done)
        return true;
    if (error->code != ERROR_INTERRUPTED) {
        if (trainer->evaluated != trainer->finished) /* else it was the disk that failed */
            save_trained(trainer, "the evaluation");
        return false;
    }
    *error = (struct error){0};
    return true;
}

static bool pause_with(struct trainer *trainer, bool evaluates, struct evaluation evaluations[2], struct error *error)
{
    const struct train_settings *settings = trainer->settings;
    bool saves = is_due_now(trainer, settings->checkpoint_steps, settings->checkpoint_epochs);
    bool epoch_ends = is_due_now(trainer, 0, 1), evaluated = false;
    if (evaluates && (!try_evaluation(trainer, evaluations, &evaluated, error) || !evaluated))
        return !error->code;
    if (saves && !trainer_save_last(trainer, error))
        return false;
    if (evaluates || epoch_ends) {
        struct progress_state state = trainer_state(trainer);
        progress_epoch(&trainer->progress, &state, evaluates ? evaluations : NULL,
                       evaluates && has_averages(trainer->program) ? &evaluations[1] : NULL);
    }
    if (epoch_ends && trainer->launched < trainer->total)
        tally_reset(&trainer->epoch);
    trainer->clock = clock_seconds();
    return true;
}

/* What happens between steps: evaluation, checkpoint, the epoch's line. */
static bool between_steps(struct trainer *trainer, struct error *error)
{
    const struct train_settings *settings = trainer->settings;
    struct evaluation evaluations[2] = {0};
    bool evaluates = owes_evaluation(trainer);
    if (!evaluates && !is_due_now(trainer, settings->checkpoint_steps, settings->checkpoint_epochs) &&
        !is_due_now(trainer, 0, 1))
        return true;
    bool ok = trainer_drain(trainer, error) && pause_with(trainer, evaluates, evaluations, error);
    scores_free(&evaluations[0].scores);
    scores_free(&evaluations[1].scores);
    return ok;
}

static bool run_steps(struct trainer *trainer, struct error *error)
{
    trainer->clock = clock_seconds();
    if (owes_evaluation(trainer) && !between_steps(trainer, error)) /* the resumed run was interrupted in it */
        return false;
    while (trainer->launched < trainer->total && !interrupt_requested())
        if (!begin_pass(trainer, error) || !launch_step(trainer, error) ||
            (!trainer->micro && !between_steps(trainer, error)))
            return false;
    return trainer_drain(trainer, error);
}

/* ---- ending ---- */

static bool report_interrupt(struct trainer *trainer, struct error *error)
{
    const char *run = trainer->result->run, *command = trainer->settings->command;
    char batches[64] = "";
    if (!trainer_save_last(trainer, error))
        return false;
    if (trainer->micro)
        snprintf(batches, sizeof batches, " and %lld of %d batches of the next", (long long)trainer->micro,
                 trainer->program->accumulate);
    error_set_code(error, ERROR_INTERRUPTED, "interrupted after step %lld of %lld%s%s", (long long)trainer->finished,
                   (long long)trainer->total, batches, owes_evaluation(trainer) ? ", in the evaluation behind it" : "");
    char *quoted = shell_word(run);
    if (run[0] && command)
        error_hint(error, "go on with `%s --resume %s`", command, quoted);
    else if (run[0])
        error_hint(error, "go on with --resume %s", quoted);
    free(quoted);
    return false;
}

/* False with code 4 when the last evaluation shows that the weights are lost, which skipped steps alone do not. */
static bool judge_scores(const struct trainer *trainer, struct error *error)
{
    const struct train_result *result = trainer->result;
    for (int i = 0; i < result->scores.count; i++) {
        const struct score *score = &result->scores.list[i];
        if (score->loss && !isfinite(score->value)) {
            error_set_code(error, ERROR_DIVERGED, "training diverged: `%s` is %s in the last evaluation", score->name,
                           isnan(score->value) ? "NaN" : "infinite");
            error_hint(error, "lower the learning rate");
            return false;
        }
    }
    return true;
}

static void conclude(const struct trainer *trainer)
{
    const struct train_result *result = trainer->result;
    if (trainer->settings->quiet)
        return;
    fprintf(stderr, "%lld step%s", (long long)result->steps, result->steps == 1 ? "" : "s");
    if (result->step_seconds > 0)
        fprintf(stderr, ", %.3g ms each (%.1f %% waiting for data), %.0f examples/s", 1e3 * result->step_seconds,
                100 * result->wait_share, result->examples_per_second);
    if (result->skipped)
        fprintf(stderr, "; %lld skipped", (long long)result->skipped);
    if (!isnan(result->best))
        fprintf(stderr, "; %s %s %.4g on the %s set", trainer->best_direction > 0 ? "highest" : "lowest",
                trainer->best_name, result->best, trainer->best_split == SPLIT_TEST ? "test" : "validation");
    if (result->run[0])
        fprintf(stderr, "; weights in %s", result->run);
    fputc('\n', stderr);
}

static bool finish_result(struct trainer *trainer, struct error *error)
{
    struct train_result *result = trainer->result;
    if (trainer->timed_steps && trainer->timed_seconds > 0) {
        result->step_seconds = trainer->timed_seconds / (double)trainer->timed_steps;
        result->examples_per_second = (double)trainer->step_examples / result->step_seconds;
        result->wait_share = trainer->waited_seconds / trainer->timed_seconds;
    }
    result->scale = executor_get(trainer->executor, "train/scale");
    return result->scores.count || tally_scores(&trainer->epoch, &result->scores) || error_set(error, "out of memory");
}

static void close_trainer(struct trainer *trainer)
{
    progress_clear(&trainer->progress);
    feeder_close(&trainer->feeder);
    tally_free(&trainer->step);
    tally_free(&trainer->epoch);
    divergence_free(&trainer->divergence);
    free(trainer->best_name);
    if (trainer->lock >= 0)
        close(trainer->lock);
    executor_free(trainer->executor);
}

bool train(struct device *device, const struct program *program, const struct batches *batches,
           const struct train_settings *settings, struct train_result *result, struct error *error)
{
    struct trainer trainer = {.settings = settings,
                              .batches = batches,
                              .program = program,
                              .result = result,
                              .pass = -1,
                              .saved_step = -1,
                              .lock = -1};
    *result = (struct train_result){.scale = NAN, .best = NAN, .best_average = NAN};
    bool ok = open_trainer(&trainer, device, error);
    if (ok) {
        interrupt_begin();
        ok = run_steps(&trainer, error);
        if (ok && interrupt_requested() && (trainer.finished < trainer.total || owes_evaluation(&trainer)))
            ok = report_interrupt(&trainer, error);
        else if (ok) /* a run that was killed at its very end is saved whole now */
            ok = trainer_save_last(&trainer, error) && divergence_end(&trainer.divergence, trainer.finished, error) &&
                 trainer_final_test(&trainer, error) && judge_scores(&trainer, error);
        interrupt_end();
        ok = finish_result(&trainer, error) && ok;
        if (ok)
            conclude(&trainer);
    }
    ok = log_close(&trainer.log, error) && ok;
    close_trainer(&trainer);
    return ok;
}

/* One run more, for its losses. */
static bool find_finite(struct executor *executor, const struct feeder *feeder, bool *finite, struct error *error)
{
    uint64_t ticket = executor_launch(executor, feeder->entry, feeder->inputs, error);
    const double *results = ticket ? executor_results(executor, ticket, error) : NULL;
    *finite = true;
    for (int i = 0; results && i < feeder->program->output_count; i++)
        *finite &= feeder->program->outputs[i].kind != PROGRAM_LOSS || isfinite(results[i]);
    return results;
}

bool train_profile(struct device *device, const struct program *program, const struct batches *batches, uint64_t seed,
                   int runs, const char *entry, struct executor_cost *costs, struct train_profile *profile,
                   struct error *error)
{
    struct feeder feeder = {0};
    int64_t count = 0;
    double start = device->finish(device);
    struct executor *executor = executor_new(device, program, false, error);
    profile->load_seconds = device->finish(device) - start;
    bool ok = executor && feeder_open(&feeder, executor, entry, batches, error) &&
              executor_initialise(executor, seed, NULL, false, error);
    if (ok)
        executor_set(executor, "train/steps", runs);
    if (ok && feeder.program->input_count)
        ok = batches->start(batches->source, SPLIT_TRAIN, 0, feeder.program->batch, 0, error) &&
             feeder_next(&feeder, SPLIT_TRAIN, &count, error);
    ok = ok && executor_profile(executor, feeder.entry, feeder.inputs, runs, costs, error) &&
         find_finite(executor, &feeder, &profile->finite, error);
    feeder_close(&feeder);
    executor_free(executor);
    return ok;
}
